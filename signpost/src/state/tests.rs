//! The commands, against an oracle that says the same rules in another way, over every state there
//! is: 512 bit patterns of either set, which of the two runs, and each command.

use proptest::prelude::*;

mod reachable;

use super::*;

/// Priority, tries left, successful.
type Fields = (u8, u8, bool);

const GOOD: Fields = (1, 0, true);
const CLEAR: Fields = (0, 0, false);

fn bits((priority, tries, successful): Fields) -> BootAttributes {
    let field = u64::from(successful) << 8 | u64::from(tries) << 4 | u64::from(priority);
    BootAttributes::from_bits(field << 48)
}

fn fields(bits: BootAttributes) -> Fields {
    (bits.priority(), bits.tries_left(), bits.successful())
}

fn dual(active: Slot, a: Fields, b: Fields) -> BootState {
    let sets = Sets::Dual(PerSlot {
        a: bits(a),
        b: bits(b),
    });
    BootState::new(active, sets, PrivateAttributes::default()).unwrap()
}

fn single(a: Fields) -> BootState {
    BootState::new(Slot::A, Sets::Single(bits(a)), PrivateAttributes::default()).unwrap()
}

fn forced() -> Force {
    Force::Because("the test wants it".parse().unwrap())
}

/// What a refusal is about, without the particulars.
#[derive(Debug, PartialEq, Eq)]
enum Why {
    Marked,
    NotValid,
    WontBoot,
    NothingBoots,
    LastGood,
}

fn why(refusal: Refusal) -> Why {
    match refusal {
        Refusal::NoInactiveSet => unreachable!("the disk has both sets"),
        Refusal::AlreadyMarked { .. } => Why::Marked,
        Refusal::NotValid { .. } => Why::NotValid,
        Refusal::InactiveWillNotBoot { .. } => Why::WontBoot,
        Refusal::NothingWouldBoot { .. } => Why::NothingBoots,
        Refusal::LastGoodSet { .. } => Why::LastGood,
    }
}

/// The running set's and the other set's fields after the command, and whether bit 57 was set.
fn oracle_effect(command: Command, run: Fields, other: Fields) -> Result<(Fields, Fields), Why> {
    let ((run_p, run_t, run_s), (p, t, s)) = (run, other);
    match command {
        Command::MarkSuccessfulBoot => Ok(((run_p, run_t, true), other)),
        Command::ClearInactive => Ok((run, (0, 0, false))),
        Command::MarkInactiveValid => Ok((run, (p, 1, s))),
        Command::UpgradeToInactive if p != 0 || s => Err(Why::Marked),
        Command::UpgradeToInactive if t == 0 => Err(Why::NotValid),
        Command::UpgradeToInactive => Ok(((1, run_t, run_s), (2, t, false))),
        Command::CancelUpgrade => Ok(((2, run_t, run_s), (0, t, s))),
        Command::RollbackToInactive if s || (p != 0 && t != 0) => {
            Ok(((1, run_t, run_s), (2, t, s)))
        }
        Command::RollbackOnce if s && run_s => Ok(((1, run_t, true), (2, 1, false))),
        Command::RollbackOnce if s || (p != 0 && t != 0) => Ok(((1, run_t, run_s), (2, t, s))),
        Command::RollbackToInactive | Command::RollbackOnce => Err(Why::WontBoot),
    }
}

/// The guard. Which of two sets comes first does not matter to any of its questions.
fn oracle_guard(before: [Fields; 2], after: [Fields; 2]) -> Option<Why> {
    let boots = |(p, t, s): &Fields| *p != 0 && (*t != 0 || *s);
    let good_and_boots = |(p, _, s): &Fields| *p != 0 && *s;
    let good = |(_, _, s): &Fields| *s;
    if before.iter().any(boots) && !after.iter().any(boots) {
        return Some(Why::NothingBoots);
    }
    let lost = |is: &dyn Fn(&Fields) -> bool| before.iter().any(is) && !after.iter().any(is);
    (lost(&good_and_boots) || lost(&good)).then_some(Why::LastGood)
}

fn every_fields() -> impl Iterator<Item = Fields> {
    (0..16).flat_map(|p| (0..16).flat_map(move |t| [false, true].map(|s| (p, t, s))))
}

#[test]
fn every_command_on_every_state_does_what_the_oracle_says() {
    let force = forced();
    for run in every_fields() {
        for other in every_fields() {
            for command in Command::ALL {
                let effect = oracle_effect(command, run, other);
                let guarded = effect.as_ref().ok().and_then(|(new_run, new_other)| {
                    oracle_guard([run, other], [*new_run, *new_other])
                });
                for active in Slot::BOTH {
                    let state = match active {
                        Slot::A => dual(active, run, other),
                        Slot::B => dual(active, other, run),
                    };
                    let seen = |result: Result<BootState, Refusal>| {
                        result.map_err(why).map(|after| {
                            assert_eq!(after.active(), active);
                            let marked = command == Command::MarkSuccessfulBoot;
                            assert_eq!(after.has_boot_ever_succeeded(), marked);
                            (
                                fields(after.bits()[active]),
                                fields(after.bits()[active.other()]),
                            )
                        })
                    };
                    let context = || format!("{command} running {run:?} other {other:?}");
                    assert_eq!(seen(state.apply(command, &force)), effect, "{}", context());
                    let unforced = seen(state.apply(command, &Force::No));
                    match &guarded {
                        Some(why) => assert_eq!(unforced.as_ref(), Err(why), "{}", context()),
                        None => assert_eq!(unforced, effect, "{}", context()),
                    }
                }
            }
        }
    }
}

#[test]
fn a_disk_with_one_set_can_only_be_marked_successful() {
    for a in every_fields() {
        let state = single(a);
        for command in Command::ALL {
            let result = state.apply(command, &Force::No);
            if command == Command::MarkSuccessfulBoot {
                let after = result.unwrap();
                assert_eq!(after.sets(), Sets::Single(bits((a.0, a.1, true))));
                assert!(after.has_boot_ever_succeeded());
            } else {
                assert_eq!(result, Err(Refusal::NoInactiveSet));
                assert_eq!(state.apply(command, &forced()), Err(Refusal::NoInactiveSet));
            }
        }
    }
}

#[test]
fn b_does_not_run_on_a_disk_without_b() {
    let sets = Sets::Single(bits(GOOD));
    assert_eq!(
        BootState::new(Slot::B, sets, PrivateAttributes::default()),
        None
    );
}

/// Applies the commands without force, and checks the fields of both sets after each.
fn walk(mut state: BootState, steps: &[(Command, Fields, Fields)]) -> BootState {
    for (command, a, b) in steps {
        state = state.apply(*command, &Force::No).unwrap();
        assert_eq!(
            state.bits().map(fields),
            PerSlot { a: *a, b: *b },
            "after {command}"
        );
    }
    state
}

const TO_READY: [(Command, Fields, Fields); 3] = [
    (Command::ClearInactive, GOOD, CLEAR),
    (Command::MarkInactiveValid, GOOD, (0, 1, false)),
    (Command::UpgradeToInactive, GOOD, (2, 1, false)),
];

#[test]
fn an_update_walks_through_the_known_bits_and_the_new_set_is_kept() {
    let ready = walk(dual(Slot::A, GOOD, CLEAR), &TO_READY);
    let pick = ready.select().unwrap();
    assert_eq!((pick.slot, pick.last_resort), (Slot::B, false));
    assert_eq!(fields(pick.after), (2, 0, false));

    let first_boot = dual(Slot::B, GOOD, fields(pick.after));
    let kept = walk(
        first_boot,
        &[(Command::MarkSuccessfulBoot, GOOD, (2, 0, true))],
    );
    assert_eq!(kept.next(), Some(Slot::B));
    assert!(kept.has_boot_ever_succeeded());
}

#[test]
fn a_set_that_fails_is_left_behind_and_can_be_written_again() {
    let failed = dual(Slot::A, GOOD, (2, 0, false));
    assert_eq!(failed.next(), Some(Slot::A));
    walk(failed, &TO_READY);
}

#[test]
fn an_upgrade_can_be_cancelled_before_the_reboot_and_given_again() {
    let ready = walk(dual(Slot::A, GOOD, CLEAR), &TO_READY);
    let cancelled = walk(
        ready,
        &[(Command::CancelUpgrade, (2, 0, true), (0, 1, false))],
    );
    assert_eq!(cancelled.next(), Some(Slot::A));
    let again = walk(
        cancelled,
        &[(Command::UpgradeToInactive, GOOD, (2, 1, false))],
    );
    assert_eq!(again.next(), Some(Slot::B));
}

#[test]
fn a_rollback_boots_the_old_set_and_can_be_rolled_back() {
    let state = walk(
        dual(Slot::B, GOOD, (2, 0, true)),
        &[(Command::RollbackToInactive, (2, 0, true), GOOD)],
    );
    assert_eq!(state.next(), Some(Slot::A));
    let back = dual(Slot::A, (2, 0, true), GOOD);
    let state = walk(back, &[(Command::RollbackToInactive, GOOD, (2, 0, true))]);
    assert_eq!(state.next(), Some(Slot::B));
}

#[test]
fn a_rollback_for_one_try_falls_back_by_itself() {
    let state = walk(
        dual(Slot::B, GOOD, (2, 0, true)),
        &[(Command::RollbackOnce, (2, 1, false), GOOD)],
    );
    assert_eq!(state.next(), Some(Slot::A));
    // The boot loader spent the try, and A did not come up.
    assert_eq!(dual(Slot::B, (2, 0, false), GOOD).next(), Some(Slot::B));
    // From a set that is not known to be good there is nothing to return to.
    walk(
        first_boot(),
        &[(Command::RollbackOnce, (2, 0, true), (1, 0, false))],
    );
}

#[test]
fn a_good_set_at_priority_0_can_be_rolled_back_to() {
    let after_cancel = dual(Slot::A, (2, 0, true), (0, 0, true));
    let state = walk(
        after_cancel,
        &[(Command::RollbackToInactive, GOOD, (2, 0, true))],
    );
    assert_eq!(state.next(), Some(Slot::B));
}

#[test]
fn an_upgrade_is_refused_unless_cleared_and_marked_valid() {
    let refused = |other| {
        let state = dual(Slot::A, GOOD, other);
        state
            .apply(Command::UpgradeToInactive, &forced())
            .unwrap_err()
    };
    let slot = Slot::B;
    for other in [
        (2, 1, false),
        (1, 1, false),
        (0, 1, true),
        (0, 0, true),
        (2, 0, false),
    ] {
        assert_eq!(
            refused(other),
            Refusal::AlreadyMarked {
                slot,
                bits: bits(other),
                boots_next: matches!(other, (2, 1, false))
            }
        );
    }
    assert_eq!(
        refused(CLEAR),
        Refusal::NotValid {
            slot,
            bits: bits(CLEAR)
        }
    );
}

/// On the first boot of B, before it is marked successful: A is the only way back.
fn first_boot() -> BootState {
    dual(Slot::B, GOOD, (2, 0, false))
}

#[test]
fn cancel_during_first_boot_is_refused() {
    let command = Command::CancelUpgrade;
    assert_eq!(
        first_boot().apply(command, &Force::No),
        Err(Refusal::NothingWouldBoot { command })
    );
    // With a try left GRUB would still find B, and then nothing.
    let with_a_try = dual(Slot::B, GOOD, (2, 1, false));
    assert_eq!(
        with_a_try.apply(command, &Force::No),
        Err(Refusal::LastGoodSet {
            command,
            slot: Slot::A
        })
    );
    let after = first_boot().apply(command, &forced()).unwrap();
    assert_eq!(after.next(), None);
}

#[test]
fn clear_during_first_boot_is_refused() {
    let command = Command::ClearInactive;
    assert_eq!(
        first_boot().apply(command, &Force::No),
        Err(Refusal::NothingWouldBoot { command })
    );
    let with_tries = dual(Slot::B, GOOD, (2, 3, false));
    assert_eq!(
        with_tries.apply(command, &Force::No),
        Err(Refusal::LastGoodSet {
            command,
            slot: Slot::A
        })
    );
}

#[test]
fn clearing_a_set_that_only_the_last_resort_would_boot_is_refused() {
    let command = Command::ClearInactive;
    let state = dual(Slot::B, (0, 0, true), (2, 0, false));
    assert_eq!(state.next(), None);
    assert_eq!(
        state.apply(command, &Force::No),
        Err(Refusal::LastGoodSet {
            command,
            slot: Slot::A
        })
    );
}

#[test]
fn once_marked_successful_the_new_set_may_give_up_the_old_one() {
    let marked = first_boot()
        .apply(Command::MarkSuccessfulBoot, &Force::No)
        .unwrap();
    walk(
        marked,
        &[(Command::CancelUpgrade, (0, 0, true), (2, 0, true))],
    );
    walk(marked, &[(Command::ClearInactive, CLEAR, (2, 0, true))]);
}

#[test]
fn a_rollback_during_first_boot_is_the_way_back_and_allowed() {
    let state = walk(
        first_boot(),
        &[(Command::RollbackToInactive, (2, 0, true), (1, 0, false))],
    );
    assert_eq!(state.next(), Some(Slot::A));
}

#[test]
fn a_command_given_twice_changes_nothing_the_second_time() {
    for a in every_fields() {
        for b in every_fields() {
            let state = dual(Slot::A, a, b);
            for command in Command::ALL {
                // An upgrade says of itself that it was given already.
                if command == Command::UpgradeToInactive {
                    continue;
                }
                if let Ok(once) = state.apply(command, &Force::No) {
                    assert_eq!(
                        once.apply(command, &Force::No),
                        Ok(once),
                        "{command} {state:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_reason_must_say_something() {
    for text in ["", " ", "\t\n"] {
        assert_eq!(text.parse::<Reason>(), Err(NoReason), "{text:?}");
    }
    assert_eq!(
        " lab machine ".parse::<Reason>().unwrap().as_str(),
        "lab machine"
    );
}

#[test]
fn a_state_in_json_is_stable() {
    assert_eq!(
        serde_json::to_value(first_boot()).unwrap(),
        serde_json::json!({
            "active": "B",
            "sets": {
                "A": { "priority": 1, "tries_left": 0, "successful": true },
                "B": { "priority": 2, "tries_left": 0, "successful": false }
            },
            "has_boot_ever_succeeded": false
        })
    );
    let one = serde_json::to_value(single(GOOD)).unwrap();
    assert_eq!(one["sets"].as_object().unwrap().len(), 1);
}

proptest! {
    #[test]
    fn bits_that_are_not_ours_survive_every_command(
        a: u64, b: u64, private: u64, a_runs: bool, command in 0..Command::ALL.len()
    ) {
        const OURS: u64 = 0x01ff << 48;
        let sets = Sets::Dual(PerSlot { a, b }.map(BootAttributes::from_bits));
        let active = if a_runs { Slot::A } else { Slot::B };
        let before =
            BootState::new(active, sets, PrivateAttributes::from_bits(private)).unwrap();
        if let Ok(after) = before.apply(Command::ALL[command], &forced()) {
            prop_assert_eq!(after.bits().a.bits() & !OURS, a & !OURS);
            prop_assert_eq!(after.bits().b.bits() & !OURS, b & !OURS);
            prop_assert_eq!(after.private().bits() | 1 << 57, private | 1 << 57);
        }
    }
}
