//! PURE: where a host stands and what can be done next, in one plain clause each.

use std::fmt;

use semver::Version;
use signpost::Slot;

use super::machine::State;

/// What the words are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// By the boot bits.
    pub(super) state: State,
    /// What runs, where that is known.
    pub(super) running: Option<Version>,
    /// What the other set holds, where that is known.
    pub(super) other: Option<Version>,
    /// The other set.
    pub(super) other_slot: Slot,
    /// Whether it was good once.
    pub(super) other_was_good: bool,
    /// What the boot loader takes.
    pub(super) boots_next: BootsNext,
    /// Whether it takes the other set because of a rollback.
    pub(super) is_rolling_back: bool,
    /// Whether another process holds the session lock.
    pub(super) is_at_work: bool,
}

/// What the boot loader takes next, seen from the running set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BootsNext {
    /// The running set.
    Running,
    /// The other one.
    Other,
    /// It stops.
    Nothing,
}

impl BootsNext {
    /// The same by the names of the sets.
    pub(super) fn of(next: Option<Slot>, active: Slot) -> Self {
        match next {
            None => Self::Nothing,
            Some(slot) if slot == active => Self::Running,
            Some(_) => Self::Other,
        }
    }
}

impl Standing {
    fn running(&self) -> Named<'_> {
        Named(self.running.as_ref(), "the running system")
    }

    fn other(&self) -> Named<'_> {
        Named(self.other.as_ref(), "the system in the other set")
    }
}

/// A version, or what to say where it is not known.
struct Named<'a>(Option<&'a Version>, &'static str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(version) => version.fmt(f),
            None => f.write_str(self.1),
        }
    }
}

/// Where the host stands.
pub(super) fn summary(standing: &Standing) -> String {
    let (running, other, slot) = (standing.running(), standing.other(), standing.other_slot);
    match (standing.state, standing.boots_next) {
        (State::Idle, BootsNext::Running) => format!("{running} runs and boots next"),
        // `State::of` calls it ready if the other set boots next.
        (State::Idle, _) => format!("{running} runs, and no set boots next"),
        (State::Staged, BootsNext::Running) if standing.other_was_good => {
            format!(
                "{running} runs and boots next; set {slot} holds {other}, the system from before"
            )
        }
        (State::Staged, BootsNext::Running) => {
            format!("{other} is written to set {slot}, and {running} boots next")
        }
        (State::Staged, _) => format!("{other} is written to set {slot}, and no set boots next"),
        (State::Ready, _) | (State::Trial, BootsNext::Other) if standing.is_rolling_back => {
            format!("{other}, the system from before {running}, boots next")
        }
        (State::Ready, _) if standing.other_was_good => {
            format!("{other} in set {slot}, which was good before, boots next")
        }
        (State::Ready, _) => format!("{other} is written and boots next"),
        (State::Trial, BootsNext::Other) => {
            format!(
                "{running} runs on trial, and {other} boots next unless it is marked successful"
            )
        }
        (State::Trial, BootsNext::Running) => {
            format!("{running} runs on trial, and has a try left")
        }
        (State::Trial, BootsNext::Nothing) => {
            format!("{running} runs on trial, and no set boots next unless it is marked successful")
        }
    }
}

/// What can be done next.
pub(super) fn next_step(standing: &Standing) -> String {
    let (running, other) = (standing.running(), standing.other());
    if standing.is_at_work {
        return "another session is at work: wait until it is done".to_owned();
    }
    match (standing.state, standing.boots_next) {
        (State::Idle, BootsNext::Running) => {
            "to see what is offered: updog check-update".to_owned()
        }
        (State::Idle, _) => format!("to let {running} boot next: updog update-revert"),
        (State::Staged, BootsNext::Running) if standing.other_was_good => {
            format!("to go back to {other}: updog rollback, then reboot")
        }
        (State::Staged, BootsNext::Running) => {
            format!("to take {other}: updog update-apply, then reboot")
        }
        (State::Staged, _) => format!(
            "to let {running} boot next: updog update-revert; to take {other}: updog update-apply"
        ),
        (State::Ready, _) => {
            format!("reboot to take it, or, to stay with {running}: updog update-revert")
        }
        (State::Trial, BootsNext::Other) if standing.is_rolling_back => format!(
            "reboot to take it, or, to stay with {running}: signpost mark-successful-boot, then updog \
             update-revert"
        ),
        (State::Trial, BootsNext::Other) => {
            "if this boot is good: signpost mark-successful-boot; if it is not: reboot".to_owned()
        }
        (State::Trial, BootsNext::Running) => {
            format!(
                "if this boot is good: signpost mark-successful-boot; to go back to {other}: updog \
                 rollback"
            )
        }
        (State::Trial, BootsNext::Nothing) => {
            "do not reboot before: signpost mark-successful-boot".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(state: State, boots_next: BootsNext) -> Standing {
        Standing {
            state,
            running: Some(Version::new(1, 0, 0)),
            other: Some(Version::new(1, 1, 0)),
            other_slot: Slot::B,
            other_was_good: false,
            boots_next,
            is_rolling_back: false,
            is_at_work: false,
        }
    }

    #[test]
    fn every_state_is_told_with_the_command_that_leads_on() {
        use BootsNext::{Nothing, Other, Running};
        use State::{Idle, Ready, Staged, Trial};
        for (state, next, told, command) in [
            (
                Idle,
                Running,
                "1.0.0 runs and boots next",
                "updog check-update",
            ),
            (
                Idle,
                Nothing,
                "1.0.0 runs, and no set boots next",
                "updog update-revert",
            ),
            (
                Staged,
                Running,
                "1.1.0 is written to set B, and 1.0.0 boots next",
                "updog update-apply",
            ),
            (
                Staged,
                Nothing,
                "1.1.0 is written to set B, and no set boots next",
                "updog update-apply",
            ),
            (
                Ready,
                Other,
                "1.1.0 is written and boots next",
                "updog update-revert",
            ),
            (
                Trial,
                Other,
                "1.0.0 runs on trial, and 1.1.0 boots next unless it is marked successful",
                "signpost mark-successful-boot",
            ),
            (
                Trial,
                Running,
                "1.0.0 runs on trial, and has a try left",
                "updog rollback",
            ),
            (
                Trial,
                Nothing,
                "1.0.0 runs on trial, and no set boots next unless it is marked successful",
                "signpost mark-successful-boot",
            ),
        ] {
            let standing = standing(state, next);
            assert_eq!(summary(&standing), told);
            let step = next_step(&standing);
            assert!(step.contains(command), "{step}");
        }
    }

    #[test]
    fn a_way_back_is_not_called_an_update() {
        let back = Standing {
            other_was_good: true,
            ..standing(State::Ready, BootsNext::Other)
        };
        assert_eq!(
            summary(&back),
            "1.1.0 in set B, which was good before, boots next"
        );
        let rollback = Standing {
            is_rolling_back: true,
            ..back
        };
        let told = "1.1.0, the system from before 1.0.0, boots next";
        assert_eq!(summary(&rollback), told);
        let on_trial = Standing {
            state: State::Trial,
            ..rollback.clone()
        };
        assert_eq!(summary(&on_trial), told);
        assert!(next_step(&on_trial).contains("mark-successful-boot, then updog update-revert"));
        let taken_back = Standing {
            state: State::Staged,
            boots_next: BootsNext::Running,
            is_rolling_back: false,
            ..rollback
        };
        assert!(summary(&taken_back).ends_with("holds 1.1.0, the system from before"));
        assert!(next_step(&taken_back).contains("updog rollback"));
    }

    #[test]
    fn what_is_not_known_has_a_name_and_who_is_at_work_is_waited_for() {
        let unknown = Standing {
            running: None,
            other: None,
            is_at_work: true,
            ..standing(State::Staged, BootsNext::Running)
        };
        assert_eq!(
            summary(&unknown),
            "the system in the other set is written to set B, and the running system boots next"
        );
        assert_eq!(
            next_step(&unknown),
            "another session is at work: wait until it is done"
        );
    }
}
