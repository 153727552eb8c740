//! PURE: the states of a host between two updates, what each command does in each of them, and in
//! which order.
//!
//! The state is read from the boot bits and stored nowhere. [`plan`] says which effects a command
//! has, or why it has none; [`advance`] says where each effect leads. The session carries them out
//! and refuses to do anything that is not next in the plan. The picture in ARCHITECTURE.md is drawn
//! from these two, and a test holds it to them.

use std::fmt;

use serde::Serialize;
use signpost::{BootAttributes, BootState};
use snafu::{Snafu, ensure};

/// Where a host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The running set is good and boots next; the other one holds nothing that waits to be booted.
    Idle,
    /// The other set is written and verified, and does not boot next.
    Staged,
    /// The other set boots next.
    Ready,
    /// The running set has not been marked successful yet; the other one is the way back.
    Trial,
}

/// What can be asked of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Command {
    /// `prepare`: writes the offered update.
    Prepare,
    /// `update`: the same, and lets it boot next.
    Update,
    /// `update-apply`: lets what is written boot next.
    Apply,
    /// `update-revert`: lets the running set boot next after all.
    Revert,
    /// `rollback`: lets the system from before this one boot next.
    Rollback,
}

/// What the repository has for this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It was not asked yet.
    Unknown,
    /// Nothing.
    Nothing,
    /// An update.
    Update,
    /// The update that the other set holds already, valid, byte for byte as far as its record says.
    Written,
}

/// What a plan is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a question with two answers
pub struct Facts {
    /// Where the host stands.
    pub state: State,
    /// Whether the boot loader takes the running set next.
    pub running_boots_next: bool,
    /// Whether the other set was marked successful once, also where a rollback that was taken back
    /// has left it a try instead.
    pub other_was_good: bool,
    /// Whether the other set boots next because of a rollback, whichever set is good.
    pub is_rolling_back: bool,
    /// Whether the other set was verified in this boot.
    pub other_is_verified: bool,
    /// What the repository has. Only `prepare` and `update` ask.
    pub offer: Offer,
}

/// One step of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Ask the repository.
    Refresh,
    /// Put what the migrator will need beside what it needs now.
    StageMigrations,
    /// Try what was staged on a copy of the settings, forward and back again.
    Rehearse,
    /// Take every boot bit from the other set, synced.
    Clear,
    /// Let the migrator find what was staged for it.
    SwapMigrations,
    /// Remove what the migrator was given before.
    PruneMigrations,
    /// Write the three images.
    Write,
    /// Read them back from the disk and compare.
    ReadBack,
    /// Record what the other set holds, and give it its try.
    MarkValid,
    /// Read the other set and compare it with its record.
    Verify,
    /// Let the other set boot next.
    Arm,
    /// Let the running set boot next.
    Disarm,
    /// Hold back the running version.
    Hold,
    /// Let the other set boot next, as the system from before.
    ArmBack,
}

/// Why a command is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Snafu)]
pub enum Refusal {
    /// There would be no way back.
    #[snafu(display(
        "the running set has not been marked successful: the other set is the only way back"
    ))]
    NotYetGood,
    /// Somebody goes back, and the set that he goes back to would be given up.
    #[snafu(display("a rollback waits for its reboot: the other set is what it goes back to"))]
    RollbackReady,
    /// Nothing waits to be booted.
    #[snafu(display("the other set holds no update that was prepared"))]
    NothingPrepared,
    /// There is nothing to go back to.
    #[snafu(display("the other set holds no system that ran before"))]
    NoPrevious,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Staged, Self::Ready, Self::Trial];

    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Staged => "staged",
            Self::Ready => "ready",
            Self::Trial => "trial",
        }
    }

    /// Reads the state from the boot bits.
    pub fn of(bits: &BootState) -> Self {
        let (running, other) = (bits.get(bits.active()), bits.get(bits.inactive()));
        // First of all: its try is spent, so that the other set boots next whatever was asked.
        if !running.is_some_and(BootAttributes::successful) {
            Self::Trial
        } else if bits.next() == Some(bits.inactive()) {
            Self::Ready
        } else if other.is_some_and(|other| other.tries_left() > 0 && !other.successful()) {
            Self::Staged
        } else {
            Self::Idle
        }
    }
}

/// The effects of `command`, in order; none where there is nothing to do.
///
/// `prepare` and `update` are planned twice: as long as the offer is unknown they ask for it.
///
/// # Errors
/// A [`Refusal`]. Nothing happens then, neither on the disk nor on the network.
pub fn plan(facts: &Facts, command: Command) -> Result<Vec<Effect>, Refusal> {
    use Effect::{
        Arm, ArmBack, Clear, Disarm, Hold, MarkValid, PruneMigrations, ReadBack, Refresh, Rehearse,
        StageMigrations, SwapMigrations, Verify, Write,
    };
    let mut effects = Vec::new();
    match command {
        Command::Prepare | Command::Update => {
            ensure!(facts.state != State::Trial, NotYetGoodSnafu);
            ensure!(!facts.is_rolling_back, RollbackReadySnafu);
            match facts.offer {
                Offer::Unknown => effects.push(Refresh),
                Offer::Nothing => {}
                Offer::Update => effects.extend([
                    StageMigrations,
                    Rehearse,
                    Clear,
                    SwapMigrations,
                    Write,
                    ReadBack,
                    MarkValid,
                    PruneMigrations,
                ]),
                Offer::Written => {
                    effects.extend([
                        StageMigrations,
                        Rehearse,
                        SwapMigrations,
                        PruneMigrations,
                        Verify,
                    ]);
                }
            }
            let is_armed = facts.offer == Offer::Written && facts.state == State::Ready;
            let is_there = matches!(facts.offer, Offer::Update | Offer::Written);
            if command == Command::Update && is_there && !is_armed {
                effects.push(Arm);
            }
        }
        Command::Apply => match facts.state {
            State::Idle | State::Trial => return NothingPreparedSnafu.fail(),
            State::Staged if facts.other_is_verified => effects.push(Arm),
            State::Staged => effects.extend([Verify, Arm]),
            State::Ready => {}
        },
        Command::Revert => {
            ensure!(facts.state != State::Trial, NotYetGoodSnafu);
            if !facts.running_boots_next {
                effects.push(Disarm);
            }
        }
        Command::Rollback => {
            if facts.is_rolling_back {
                return Ok(effects);
            }
            ensure!(facts.other_was_good, NoPreviousSnafu);
            effects.extend([Verify, Hold, ArmBack]);
        }
    }
    Ok(effects)
}

/// The facts after `effect`.
#[must_use]
pub fn advance(facts: Facts, effect: Effect) -> Facts {
    // Only a boot that is marked successful ends the trial.
    let to = |state| match facts.state {
        State::Trial => State::Trial,
        _ => state,
    };
    match effect {
        Effect::Refresh
        | Effect::StageMigrations
        | Effect::Rehearse
        | Effect::SwapMigrations
        | Effect::PruneMigrations
        | Effect::Write
        | Effect::Hold => facts,
        Effect::Clear => Facts {
            state: to(State::Idle),
            other_was_good: false,
            other_is_verified: false,
            ..facts
        },
        Effect::ReadBack | Effect::Verify => Facts {
            other_is_verified: true,
            ..facts
        },
        Effect::MarkValid => Facts {
            state: to(State::Staged),
            ..facts
        },
        Effect::Arm | Effect::ArmBack => Facts {
            state: to(State::Ready),
            running_boots_next: false,
            is_rolling_back: effect == Effect::ArmBack,
            ..facts
        },
        Effect::Disarm => Facts {
            // A system from before goes back to waiting for a rollback.
            state: match facts.state {
                State::Ready if facts.other_was_good => State::Idle,
                State::Ready => State::Staged,
                state => state,
            },
            running_boots_next: true,
            is_rolling_back: false,
            ..facts
        },
    }
}

/// The verb on the command line.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "prepare",
            Self::Update => "update",
            Self::Apply => "update-apply",
            Self::Revert => "update-revert",
            Self::Rollback => "rollback",
        })
    }
}

#[cfg(test)]
mod picture;
#[cfg(test)]
mod tests;
