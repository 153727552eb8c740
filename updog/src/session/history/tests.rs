use proptest::prelude::*;
use signpost::{BootAttributes, Command, Force, PerSlot, PrivateAttributes, Sets};

use super::follow::MAX_REASON;
use super::*;

fn now() -> DateTime<Utc> {
    "2031-03-01T01:00:00Z".parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// A release whose images are told apart by `build`.
fn release(text: &str, build: u8) -> Release {
    Release {
        variant: "demo".into(),
        arch: "x86_64".into(),
        version: version(text),
        targets: vec![Digest::from([build; 32]); 3],
        root_hash: None,
    }
}

fn bits((priority, tries, successful): (u64, u64, u64)) -> BootAttributes {
    BootAttributes::from_bits((successful << 8 | tries << 4 | priority) << 48)
}

/// The state in which `active` runs; bits of A, bits of B.
fn disk(active: Slot, a: (u64, u64, u64), b: (u64, u64, u64)) -> BootState {
    let sets = Sets::Dual(PerSlot {
        a: bits(a),
        b: bits(b),
    });
    BootState::new(active, sets, PrivateAttributes::default()).unwrap()
}

/// A host that runs 1.0.0 from A and goes through updates of B, and what it remembers.
struct Machine {
    history: History,
    state: BootState,
}

impl Machine {
    fn new() -> Self {
        Self {
            history: History::default(),
            state: disk(Slot::A, (1, 0, 1), (0, 0, 0)),
        }
    }

    fn command(&mut self, command: Command) -> &mut Self {
        self.state = self.state.apply(command, &Force::No).unwrap();
        self
    }

    /// A session begins.
    fn look(&mut self) -> &mut Self {
        let running = match self.state.active() {
            Slot::A => "1.0.0",
            Slot::B => "1.1.0",
        };
        let inactive = release("1.1.0", 1);
        self.history.reconcile(
            &self.state,
            Some(&version(running)),
            Some(&inactive),
            Looks::Alone,
            now(),
        );
        self
    }

    fn writes(&mut self, release: Release) -> &mut Self {
        self.look();
        self.history.begin(
            AttemptKind::Update,
            &version("1.0.0"),
            Some(release),
            Slot::B,
            now(),
        );
        self.command(Command::ClearInactive)
            .command(Command::MarkInactiveValid);
        self.history.written(Digest::from([9; 32]), 1234);
        self
    }

    fn updates(&mut self, release: Release) -> &mut Self {
        self.writes(release).command(Command::UpgradeToInactive)
    }

    /// The boot loader takes B.
    fn boots(&mut self) -> &mut Self {
        assert_eq!(self.state.next(), Some(Slot::B));
        self.state = disk(Slot::B, (1, 0, 1), (2, 0, 0));
        self
    }

    /// B does not come up: A runs again.
    fn falls_back(&mut self) -> &mut Self {
        self.state = disk(Slot::A, (1, 0, 1), (2, 0, 0));
        self
    }

    fn result(&self) -> AttemptResult {
        self.history.last().unwrap().result
    }

    fn held(&self, release: &Release) -> Vec<HeldKind> {
        let held = self.history.held(release);
        held.iter().map(|held| held.kind).collect()
    }
}

#[test]
fn an_update_is_followed_to_its_good_end() {
    use AttemptResult::{Good, Ready, Staged, Trial};
    let mut machine = Machine::new();
    machine.writes(release("1.1.0", 1)).look();
    assert_eq!(machine.result(), Staged);
    machine.command(Command::UpgradeToInactive).look();
    assert_eq!(machine.result(), Ready);
    machine.command(Command::CancelUpgrade).look();
    assert_eq!(machine.result(), Staged);
    machine.command(Command::UpgradeToInactive).look();
    machine.boots().look();
    assert_eq!(machine.result(), Trial);
    machine.command(Command::MarkSuccessfulBoot).look();
    assert_eq!(machine.result(), Good);
    let attempt = machine.history.last().unwrap();
    assert_eq!((attempt.id, attempt.bytes), (0, 1234));
    assert_eq!(attempt.ended, Some(now()));
    assert!(attempt.seen_running);
    assert_eq!(machine.history.holds(), []);
}

#[test]
fn a_boot_lost_without_a_sign_of_life_is_tried_once_more_and_then_quarantined() {
    let mut machine = Machine::new();
    let bad = release("1.1.0", 1);
    machine.updates(bad.clone()).falls_back().look();
    assert_eq!(machine.result(), AttemptResult::Lost);
    assert_eq!(machine.held(&bad), []);
    machine.updates(bad.clone()).falls_back().look();
    assert_eq!(machine.held(&bad), [HeldKind::Quarantined]);
    let held = &machine.history.held(&bad)[0];
    assert_eq!(
        held.reason,
        "1.1.0 did not come up 2 times; to take it again: updog release-hold 1.1.0"
    );
    assert_eq!(machine.history.holds()[0].attempts, [0, 1]);
    // The same version from other images is another release, and a newer one too.
    assert_eq!(machine.held(&release("1.1.0", 2)), []);
    assert_eq!(machine.held(&release("1.2.0", 1)), []);
}

#[test]
fn a_version_that_came_as_far_as_user_space_and_fell_back_is_quarantined_at_once() {
    let mut machine = Machine::new();
    let bad = release("1.1.0", 1);
    machine.updates(bad.clone()).boots().look();
    machine.falls_back().look();
    assert_eq!(machine.result(), AttemptResult::Lost);
    assert_eq!(machine.held(&bad), [HeldKind::Quarantined]);
    assert!(machine.history.release(&version("1.1.0")));
    assert!(!machine.history.release(&version("1.1.0")));
    // What was released is not held again for what happened before.
    machine.look();
    assert_eq!(machine.held(&bad), []);
}

#[test]
fn a_lost_boot_is_found_out_without_a_record_of_it() {
    let mut machine = Machine::new();
    machine.falls_back().look().look();
    assert_eq!(machine.result(), AttemptResult::Lost);
    assert_eq!(machine.history.attempts().len(), 1);
    assert_eq!(machine.held(&release("1.1.0", 1)), []);
    machine.updates(release("1.1.0", 1)).falls_back().look();
    assert_eq!(machine.held(&release("1.1.0", 1)), [HeldKind::Quarantined]);
}

#[test]
fn a_good_version_that_is_left_by_hand_is_held_until_a_newer_one_is_good() {
    let mut machine = Machine::new();
    let left = release("1.1.0", 1);
    machine.updates(left.clone()).boots().look();
    machine
        .command(Command::MarkSuccessfulBoot)
        .look()
        .command(Command::RollbackToInactive);
    machine.state = disk(Slot::A, (2, 0, 1), (1, 0, 1));
    machine.look();
    assert_eq!(machine.result(), AttemptResult::Left);
    assert_eq!(machine.held(&left), [HeldKind::Left]);
    machine.updates(release("1.2.0", 2)).boots().look();
    assert_eq!(machine.held(&left), [HeldKind::Left]);
    machine.command(Command::MarkSuccessfulBoot).look();
    assert_eq!(machine.held(&left), []);
}

#[test]
fn a_rollback_that_is_taken_back_before_the_reboot_leaves_no_hold() {
    let mut machine = Machine::new();
    let left = release("1.1.0", 1);
    machine.updates(left.clone()).boots().look();
    machine.command(Command::MarkSuccessfulBoot).look();
    let back = release("1.0.0", 0);
    let (kind, from) = (AttemptKind::Rollback, version("1.1.0"));
    machine
        .history
        .begin(kind, &from, Some(back), Slot::A, now());
    machine
        .history
        .hold_left(left.clone(), now(), "as asked for");
    machine.command(Command::RollbackOnce).look();
    assert_eq!(machine.result(), AttemptResult::Ready);
    assert_eq!(machine.held(&left), [HeldKind::Left]);
    machine.command(Command::CancelUpgrade).look();
    assert_eq!(machine.result(), AttemptResult::Staged);
    assert_eq!(machine.held(&left), []);
}

#[test]
fn what_was_being_written_when_its_process_ended_has_failed() {
    let mut machine = Machine::new();
    let (kind, from) = (AttemptKind::Update, version("1.0.0"));
    let to = release("1.1.0", 1);
    machine.history.begin(kind, &from, Some(to), Slot::B, now());
    machine.command(Command::ClearInactive).look();
    assert_eq!(machine.result(), AttemptResult::Failed);
    assert!(machine.history.last().unwrap().reason.is_some());
    assert_eq!(machine.history.holds(), []);
}

#[test]
fn what_was_valid_when_its_process_ended_is_staged_if_it_is_what_was_to_be_written() {
    for (build, expected) in [(1, AttemptResult::Staged), (2, AttemptResult::Failed)] {
        let mut machine = Machine::new();
        let (kind, from) = (AttemptKind::Update, version("1.0.0"));
        let to = release("1.1.0", build);
        machine.history.begin(kind, &from, Some(to), Slot::B, now());
        machine
            .command(Command::ClearInactive)
            .command(Command::MarkInactiveValid);
        let before = machine.history.clone();
        let (running, inactive) = (version("1.0.0"), release("1.1.0", 1));
        machine.history.reconcile(
            &machine.state,
            Some(&running),
            Some(&inactive),
            Looks::Beside,
            now(),
        );
        assert_eq!(machine.history, before, "somebody may be at work");
        machine.look();
        assert_eq!(machine.result(), expected);
    }
}

#[test]
fn what_runs_was_written_though_that_was_never_put_on_record() {
    let to = release("1.1.0", 1);
    let begun = || {
        let mut machine = Machine::new();
        let (kind, from) = (AttemptKind::Update, version("1.0.0"));
        let to = Some(to.clone());
        machine.history.begin(kind, &from, to, Slot::B, now());
        machine
            .command(Command::ClearInactive)
            .command(Command::MarkInactiveValid)
            .command(Command::UpgradeToInactive);
        machine
    };
    let mut machine = begun();
    machine.boots().look();
    assert_eq!(machine.result(), AttemptResult::Trial);
    machine.falls_back().look();
    assert_eq!(machine.held(&to), [HeldKind::Quarantined]);
    let mut machine = begun();
    machine.falls_back().look();
    assert_eq!(machine.result(), AttemptResult::Lost, "nobody saw it run");
}

#[test]
fn a_version_that_proved_itself_is_held_no_longer() {
    let mut machine = Machine::new();
    let (good, other) = (release("1.1.0", 1), release("1.1.0", 2));
    machine.history.hold_left(good.clone(), now(), "left");
    machine.history.hold_left(other.clone(), now(), "left");
    machine.updates(good.clone()).boots().look();
    assert_eq!(machine.held(&good), [HeldKind::Left], "not yet");
    machine.command(Command::MarkSuccessfulBoot).look();
    assert_eq!(machine.held(&good), []);
    assert_eq!(machine.held(&other), [HeldKind::Left], "other images");
}

#[test]
fn a_newer_good_system_in_the_other_set_was_left_by_hand_though_no_record_says_so() {
    for (bits_of_b, expected) in [
        ((1, 0, 1), vec![HeldKind::Left]),
        ((0, 0, 1), vec![HeldKind::Left]),
        ((0, 1, 0), vec![]),
        ((0, 0, 0), vec![]),
    ] {
        let mut machine = Machine::new();
        machine.state = disk(Slot::A, (2, 0, 1), bits_of_b);
        machine.look().look();
        assert_eq!(
            machine.held(&release("1.1.0", 1)),
            expected,
            "{bits_of_b:?}"
        );
    }
    // Set A of an updated host: older, and where it came from.
    let mut machine = Machine::new();
    machine.state = disk(Slot::B, (1, 0, 1), (2, 0, 1));
    let (running, older) = (version("1.1.0"), release("1.0.0", 0));
    let (state, looks) = (machine.state, Looks::Alone);
    let history = &mut machine.history;
    history.reconcile(&state, Some(&running), Some(&older), looks, now());
    assert_eq!(history.attempts(), []);
}

#[test]
fn a_lost_boot_is_counted_whatever_failed_since() {
    let mut machine = Machine::new();
    let bad = release("1.1.0", 1);
    machine.updates(bad.clone()).falls_back().look();
    for _ in 0..200 {
        let (kind, from, to) = (AttemptKind::Update, version("1.0.0"), bad.clone());
        machine.history.begin(kind, &from, Some(to), Slot::B, now());
        machine.history.failed("no network", now());
        machine.command(Command::ClearInactive);
    }
    assert_eq!(machine.history.attempts().len(), MAX_ATTEMPTS);
    machine.updates(bad.clone()).falls_back().look();
    assert_eq!(machine.held(&bad), [HeldKind::Quarantined]);
}

#[test]
fn the_record_is_bounded() {
    let mut history = History::default();
    let from = version("1.0.0");
    for number in 0..200_u64 {
        let to = release(&format!("1.{number}.0"), 1);
        history.begin(AttemptKind::Update, &from, Some(to.clone()), Slot::B, now());
        history.failed(&"x".repeat(5000), now());
        history.hold_left(to, now(), "left");
    }
    assert_eq!(history.attempts().len(), MAX_ATTEMPTS);
    assert_eq!(history.holds().len(), MAX_HOLDS);
    assert_eq!(history.last().unwrap().id, 199);
    let reason = history.last().unwrap().reason.as_ref().unwrap();
    assert_eq!(reason.len(), MAX_REASON);
}

#[test]
fn releases_are_compared_by_what_is_known_of_both() {
    let ours = release("1.1.0", 1);
    let with = |targets: &[Digest], root_hash: Option<u8>| Release {
        targets: targets.to_vec(),
        root_hash: root_hash.map(|byte| Digest::from([byte; 32])),
        ..ours.clone()
    };
    let other_targets = release("1.1.0", 2).targets;
    for (a, b, same) in [
        (
            with(&ours.targets, None),
            with(&ours.targets, Some(1)),
            true,
        ),
        (
            with(&ours.targets, Some(1)),
            with(&other_targets, Some(1)),
            false,
        ),
        (with(&[], Some(1)), with(&ours.targets, Some(1)), true),
        (with(&[], Some(1)), with(&ours.targets, Some(2)), false),
        (with(&[], None), with(&ours.targets, Some(2)), true),
    ] {
        assert_eq!(a.is_same(&b), same, "{a:?} {b:?}");
        assert_eq!(b.is_same(&a), same, "{b:?} {a:?}");
    }
    assert!(!ours.is_same(&release("1.1.1", 1)));
}

proptest! {
    /// Whatever the bits are and however often a session begins, the second look is no news.
    #[test]
    fn looking_again_changes_nothing(
        a in (0_u64..16, 0_u64..16, 0_u64..2),
        b in (0_u64..16, 0_u64..16, 0_u64..2),
        runs_b in any::<bool>(),
        begun in any::<bool>(),
    ) {
        let active = if runs_b { Slot::B } else { Slot::A };
        let mut machine = Machine::new();
        if begun {
            machine.writes(release("1.1.0", 1));
        }
        machine.state = disk(active, a, b);
        machine.look();
        let once = machine.history.clone();
        machine.look();
        prop_assert_eq!(once, machine.history);
    }
}
