//! Pure: the boot bits of a disk as one value, and what each command makes of them.
//!
//! | Command                | Active set                       | Inactive set                | Refused when the inactive set…     |
//! |------------------------|----------------------------------|-----------------------------|------------------------------------|
//! | `mark-successful-boot` | successful=1, and private bit 57 |                             |                                    |
//! | `clear-inactive`       |                                  | priority=0 tries=0 successful=0 | is missing                     |
//! | `mark-inactive-valid`  |                                  | tries=1                     | is missing                         |
//! | `upgrade-to-inactive`  | priority=1                       | priority=2 successful=0     | is missing, is marked, has no try  |
//! | `cancel-upgrade`       | priority=2                       | priority=0                  | is missing                         |
//! | `rollback-to-inactive` | priority=1                       | priority=2                  | is missing, would not boot         |
//! | `rollback-once`        | priority=1                       | priority=2, and if it and the active set are successful: tries=1 successful=0 | is missing, would not boot |
//!
//! What is not named stays. These effects are Bottlerocket's, bit for bit, but for the last, which
//! no program gives by itself: a rollback that can itself fall back. On top of them stands one
//! refusal of our own, the *guard*: no command takes away the way back. See [`BootState::apply`].

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use serde::Serialize;
use serde::ser::SerializeStruct;
use snafu::{OptionExt, Snafu, ensure};

use crate::attributes::{BootAttributes, Priority, PrivateAttributes, TriesLeft};
use crate::bootloader::{self, Pick};
use crate::slot::{PerSlot, Sets, Slot};

/// A change of the boot bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Command {
    /// The running set has booted well: from now on it boots without tries.
    MarkSuccessfulBoot,
    /// Nothing boots the inactive set any more. Comes before anything is written to it.
    ClearInactive,
    /// The inactive set is written and verified, and may be tried once.
    MarkInactiveValid,
    /// The inactive set boots next.
    UpgradeToInactive,
    /// The running set boots next, after all.
    CancelUpgrade,
    /// The inactive set, which held the system before this one, boots next.
    RollbackToInactive,
    /// The same, for one try if the running set is good: should the old system not come up any
    /// more, the boot loader returns to the running one.
    RollbackOnce,
}

impl Command {
    /// Every command, in the order in which an update gives them.
    pub const ALL: [Self; 7] = [
        Self::ClearInactive,
        Self::MarkInactiveValid,
        Self::UpgradeToInactive,
        Self::CancelUpgrade,
        Self::MarkSuccessfulBoot,
        Self::RollbackToInactive,
        Self::RollbackOnce,
    ];
}

/// The name on the command line.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MarkSuccessfulBoot => "mark-successful-boot",
            Self::ClearInactive => "clear-inactive",
            Self::MarkInactiveValid => "mark-inactive-valid",
            Self::UpgradeToInactive => "upgrade-to-inactive",
            Self::CancelUpgrade => "cancel-upgrade",
            Self::RollbackToInactive => "rollback-to-inactive",
            Self::RollbackOnce => "rollback-once",
        })
    }
}

/// Why somebody overrides the guard. Never empty or blank.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason(String);

impl Reason {
    /// The reason as it was given, without space around it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text gives no reason.
#[derive(Debug, Snafu, Clone, PartialEq, Eq)]
#[snafu(display("a reason must say something"))]
pub struct NoReason;

impl FromStr for Reason {
    type Err = NoReason;

    fn from_str(text: &str) -> Result<Self, NoReason> {
        let text = text.trim();
        ensure!(!text.is_empty(), NoReasonSnafu);
        Ok(Self(text.to_string()))
    }
}

/// Whether the guard of [`BootState::apply`] may be overridden.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Force {
    /// It may not.
    No,
    /// Somebody answers for it, and says why. The disk may be left without anything to boot.
    Because(Reason),
}

/// Why a command was not carried out. The disk is as it was.
#[derive(Debug, Snafu, Clone, Copy, PartialEq, Eq, Hash)]
#[snafu(visibility(pub(crate)))]
pub enum Refusal {
    /// The disk has one set.
    #[snafu(display("inactive set not available: this disk has a single partition set"))]
    NoInactiveSet,
    /// `upgrade-to-inactive`: the inactive set already has a priority or the successful bit, so it
    /// was not cleared for this update, or the upgrade was already given.
    #[snafu(display("the inactive set {slot} is already marked for boot ({bits})"))]
    AlreadyMarked {
        /// The inactive set.
        slot: Slot,
        /// Its bits.
        bits: BootAttributes,
        /// Whether it boots next, as after an upgrade that was given before.
        boots_next: bool,
    },
    /// `upgrade-to-inactive`: the inactive set has no try, so nobody said that its contents are
    /// good.
    #[snafu(display("the inactive set {slot} has not been marked valid ({bits})"))]
    NotValid {
        /// The inactive set.
        slot: Slot,
        /// Its bits.
        bits: BootAttributes,
    },
    /// `rollback-to-inactive`, `rollback-once`: the inactive set has neither a try nor success.
    #[snafu(display("the inactive set {slot} would not boot ({bits})"))]
    InactiveWillNotBoot {
        /// The inactive set.
        slot: Slot,
        /// Its bits.
        bits: BootAttributes,
    },
    /// The guard: the boot loader finds a set to boot now, and would find none afterwards.
    #[snafu(display("{command} would leave the boot loader nothing to boot"))]
    NothingWouldBoot {
        /// What was asked for.
        command: Command,
    },
    /// The guard: this is the last set that ever booted well, and what remains may not.
    #[snafu(display("{command} would give up set {slot}, the last one known to boot"))]
    LastGoodSet {
        /// What was asked for.
        command: Command,
        /// The set that would be lost.
        slot: Slot,
    },
}

impl Refusal {
    /// What the operator can do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NoInactiveSet => {
                "this disk was made without in-place updates; replace it with a new image"
            }
            Self::AlreadyMarked {
                boots_next: true, ..
            } => {
                "the set boots next already; to keep booting the running one give `cancel-upgrade`"
            }
            Self::AlreadyMarked { .. } => {
                "to start over give `clear-inactive`, write the set anew, then `mark-inactive-valid`"
            }
            Self::NotValid { .. } => {
                "verify what was written to the set, then give `mark-inactive-valid`"
            }
            Self::InactiveWillNotBoot { .. } => {
                "the set holds nothing that is known to boot; write an update to it instead"
            }
            Self::NothingWouldBoot { .. } | Self::LastGoodSet { .. } => {
                "if the running set is healthy give `mark-successful-boot` first; `--force REASON` \
                 overrides, at the risk of a machine that does not boot"
            }
        }
    }

    /// Whether [`Force::Because`] would have overridden it.
    pub const fn can_be_forced(self) -> bool {
        matches!(
            self,
            Self::NothingWouldBoot { .. } | Self::LastGoodSet { .. }
        )
    }
}

/// The boot bits of a disk, seen from the set that runs.
///
/// The running set always has bits, so there is no state in which B runs on a disk without B.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BootState {
    active: Slot,
    running: BootAttributes,
    inactive: Option<BootAttributes>,
    private: PrivateAttributes,
}

impl BootState {
    /// The state, or nothing when `active` is a set that the disk does not have.
    pub fn new(
        active: Slot,
        sets: Sets<BootAttributes>,
        private: PrivateAttributes,
    ) -> Option<Self> {
        let running = *sets.get(active)?;
        let inactive = sets.get(active.other()).copied();
        Some(Self {
            active,
            running,
            inactive,
            private,
        })
    }

    /// The set that runs.
    pub const fn active(&self) -> Slot {
        self.active
    }

    /// The other place, whether or not the disk has a set there.
    pub const fn inactive(&self) -> Slot {
        self.active.other()
    }

    /// The bits of `slot`, if the disk has that set.
    pub fn get(&self, slot: Slot) -> Option<BootAttributes> {
        if slot == self.active {
            Some(self.running)
        } else {
            self.inactive
        }
    }

    /// The bits of each set that the disk has.
    pub fn sets(&self) -> Sets<BootAttributes> {
        match self.inactive {
            None => Sets::Single(self.running),
            Some(_) => Sets::Dual(self.bits()),
        }
    }

    /// The bits as a boot loader sees them: all 0 for a set that the disk does not have.
    pub fn bits(&self) -> PerSlot<BootAttributes> {
        let inactive = self.inactive.unwrap_or_default();
        match self.active {
            Slot::A => PerSlot {
                a: self.running,
                b: inactive,
            },
            Slot::B => PerSlot {
                a: inactive,
                b: self.running,
            },
        }
    }

    /// The bits of the private partition.
    pub const fn private(&self) -> PrivateAttributes {
        self.private
    }

    /// Whether any set was ever marked successful on this disk.
    pub const fn has_boot_ever_succeeded(&self) -> bool {
        self.private.has_boot_ever_succeeded()
    }

    /// The set that GRUB boots next, or nothing if it would stop.
    pub fn next(&self) -> Option<Slot> {
        bootloader::grub_pick(&self.bits())
    }

    /// What our own loader boots next: [`next`](Self::next), else the last resort.
    pub fn select(&self) -> Option<Pick> {
        bootloader::select(&self.bits())
    }

    /// The state after `command`, by the table at the head of this module.
    ///
    /// Unless `force` gives a reason, the *guard* refuses a change
    ///
    /// * after which GRUB's model boots nothing, where it booted something before; or
    /// * after which no set can both be booted by that model and has booted well, where one could
    ///   before; or
    /// * after which no set at all has the successful bit, where one had it before, at whatever
    ///   priority: our own loader could still have fallen back to it.
    ///
    /// So on the first boot of a new set, until it is marked successful, `cancel-upgrade` and
    /// `clear-inactive` are refused: the old set is the only way back. The guard judges by GRUB's
    /// model without the last resort. A command that changes nothing always passes.
    ///
    /// # Errors
    /// The refusals of the table, which nothing overrides, and those of the guard.
    pub fn apply(&self, command: Command, force: &Force) -> Result<Self, Refusal> {
        let after = self.effect(command)?;
        match force {
            Force::Because(_) => {}
            Force::No => self.guard(&after, command)?,
        }
        Ok(after)
    }

    /// The table, without the guard.
    fn effect(&self, command: Command) -> Result<Self, Refusal> {
        let slot = self.inactive();
        let inactive = || self.inactive.context(NoInactiveSetSnafu);
        let (running, inactive) = match command {
            Command::MarkSuccessfulBoot => {
                let running = self.running.with_successful(true);
                let private = self.private.with_boot_succeeded();
                return Ok(Self {
                    running,
                    private,
                    ..*self
                });
            }
            Command::ClearInactive => (self.running, inactive()?.cleared()),
            Command::MarkInactiveValid => {
                (self.running, inactive()?.with_tries_left(TriesLeft::ONE))
            }
            Command::UpgradeToInactive => {
                let bits = inactive()?;
                ensure!(
                    bits.priority() == 0 && !bits.successful(),
                    AlreadyMarkedSnafu {
                        slot,
                        bits,
                        boots_next: self.next() == Some(slot)
                    }
                );
                ensure!(bits.tries_left() > 0, NotValidSnafu { slot, bits });
                (
                    self.running.with_priority(Priority::ONE),
                    bits.with_priority(Priority::TWO).with_successful(false),
                )
            }
            Command::CancelUpgrade => (
                self.running.with_priority(Priority::TWO),
                inactive()?.with_priority(Priority::ZERO),
            ),
            Command::RollbackToInactive | Command::RollbackOnce => {
                let bits = inactive()?;
                ensure!(bits.will_boot(), InactiveWillNotBootSnafu { slot, bits });
                // Only a running set that is good can be returned to.
                let once = command == Command::RollbackOnce
                    && bits.successful()
                    && self.running.successful();
                let tried = if once {
                    bits.with_tries_left(TriesLeft::ONE).with_successful(false)
                } else {
                    bits
                };
                (
                    self.running.with_priority(Priority::ONE),
                    tried.with_priority(Priority::TWO),
                )
            }
        };
        Ok(Self {
            running,
            inactive: Some(inactive),
            ..*self
        })
    }

    fn guard(&self, after: &Self, command: Command) -> Result<(), Refusal> {
        let (before, after) = (self.bits(), after.bits());
        ensure!(
            bootloader::grub_pick(&before).is_none() || bootloader::grub_pick(&after).is_some(),
            NothingWouldBootSnafu { command }
        );
        let bootable = |bits: &BootAttributes| bits.successful() && bits.priority() > 0;
        let lost = lost_last(&before, &after, bootable)
            .or_else(|| lost_last(&before, &after, |bits| bits.successful()));
        match lost {
            Some(slot) => LastGoodSetSnafu { command, slot }.fail(),
            None => Ok(()),
        }
    }
}

/// A slot that was good before, if none is good after.
fn lost_last(
    before: &PerSlot<BootAttributes>,
    after: &PerSlot<BootAttributes>,
    good: impl Fn(&BootAttributes) -> bool,
) -> Option<Slot> {
    if after.iter().any(|(_, bits)| good(bits)) {
        return None;
    }
    before
        .iter()
        .find(|(_, bits)| good(bits))
        .map(|(slot, _)| slot)
}

/// `{"active":"A","sets":{"A":{…},"B":{…}},"has_boot_ever_succeeded":true}`
impl Serialize for BootState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("BootState", 3)?;
        fields.serialize_field("active", &self.active)?;
        fields.serialize_field("sets", &self.sets())?;
        fields.serialize_field("has_boot_ever_succeeded", &self.has_boot_ever_succeeded())?;
        fields.end()
    }
}

#[cfg(test)]
mod tests;
