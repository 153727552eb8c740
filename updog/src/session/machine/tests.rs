use std::collections::BTreeSet;

use signpost::{Force, PerSlot, PrivateAttributes, Sets, Slot};

use super::picture::{picture, table};
use super::*;

/// Every state of a disk with two sets, of which A runs: priority and tries up to 3, success.
fn every_disk() -> impl Iterator<Item = BootState> {
    let fields = || {
        (0..4_u64).flat_map(|p| (0..3_u64).flat_map(move |t| (0..2_u64).map(move |s| (p, t, s))))
    };
    let bits = |(p, t, s): (u64, u64, u64)| BootAttributes::from_bits((s << 8 | t << 4 | p) << 48);
    fields().flat_map(move |a| {
        fields().map(move |b| {
            let sets = Sets::Dual(PerSlot {
                a: bits(a),
                b: bits(b),
            });
            BootState::new(Slot::A, sets, PrivateAttributes::default()).unwrap()
        })
    })
}

/// What an effect does to the boot bits.
fn command(effect: Effect) -> Option<signpost::Command> {
    match effect {
        Effect::Clear => Some(signpost::Command::ClearInactive),
        Effect::MarkValid => Some(signpost::Command::MarkInactiveValid),
        Effect::Arm => Some(signpost::Command::UpgradeToInactive),
        Effect::Disarm => Some(signpost::Command::CancelUpgrade),
        Effect::ArmBack => Some(signpost::Command::RollbackOnce),
        _ => None,
    }
}

fn facts(disk: &BootState, offer: Offer) -> Facts {
    Facts {
        state: State::of(disk),
        running_boots_next: disk.next() == Some(disk.active()),
        other_was_good: disk.get(disk.inactive()).unwrap().successful(),
        is_rolling_back: false,
        other_is_verified: false,
        offer,
    }
}

#[test]
fn the_boot_bits_are_after_every_plan_where_the_machine_says() {
    let mut plans = 0;
    for disk in every_disk() {
        for offer in [Offer::Unknown, Offer::Nothing, Offer::Update] {
            for verb in Command::ALL {
                let Ok(effects) = plan(&facts(&disk, offer), verb) else {
                    continue;
                };
                let (mut bits, mut expected) = (disk, facts(&disk, offer));
                for effect in effects {
                    if let Some(command) = command(effect) {
                        let Ok(after) = bits.apply(command, &Force::No) else {
                            // Bits that no command of ours makes; the guard has the last word.
                            break;
                        };
                        bits = after;
                    }
                    expected = advance(expected, effect);
                    assert_eq!(
                        State::of(&bits),
                        expected.state,
                        "{disk:?} {verb} {effect:?}"
                    );
                    plans += 1;
                }
            }
        }
    }
    assert!(plans > 1000, "{plans}");
}

#[test]
fn nothing_is_written_before_the_bits_are_cleared_nor_valid_before_it_was_read_back() {
    for facts in Facts::every() {
        for command in Command::ALL {
            let effects = plan(&facts, command).unwrap_or_default();
            let at = |effect| effects.iter().position(|e| *e == effect);
            // The set that falls back to the old migrations is given up before these are replaced.
            if at(Effect::Clear).is_some() {
                assert!(at(Effect::Clear) < at(Effect::SwapMigrations));
            }
            for (first, then) in [
                (Effect::StageMigrations, Effect::Rehearse),
                (Effect::Rehearse, Effect::Clear),
                (Effect::Rehearse, Effect::SwapMigrations),
                (Effect::Clear, Effect::Write),
                (Effect::Write, Effect::ReadBack),
                (Effect::ReadBack, Effect::MarkValid),
                (Effect::Verify, Effect::ArmBack),
                (Effect::Hold, Effect::ArmBack),
            ] {
                if let Some(then) = at(then) {
                    assert!(
                        at(first).is_some_and(|first| first < then),
                        "{facts:?} {command}"
                    );
                }
            }
            // Nothing is armed that was not verified, now or in this boot.
            if at(Effect::Arm).is_some() {
                let is_verified = at(Effect::ReadBack).or(at(Effect::Verify)).is_some();
                assert!(
                    is_verified || facts.other_is_verified,
                    "{facts:?} {command}"
                );
            }
            let sorted: BTreeSet<Effect> = effects.iter().copied().collect();
            assert_eq!(sorted.len(), effects.len(), "no effect twice");
        }
    }
}

#[test]
fn a_command_that_was_carried_out_has_nothing_left_to_do() {
    for disk in every_disk() {
        for verb in [Command::Apply, Command::Revert] {
            let Ok(effects) = plan(&facts(&disk, Offer::Unknown), verb) else {
                continue;
            };
            let after = effects
                .iter()
                .try_fold(disk, |bits, effect| match command(*effect) {
                    Some(command) => bits.apply(command, &Force::No),
                    None => Ok(bits),
                });
            if let Ok(after) = after {
                assert_eq!(
                    plan(&facts(&after, Offer::Unknown), verb),
                    Ok(vec![]),
                    "{disk:?} {verb}"
                );
            }
        }
    }
}

#[test]
fn the_document_shows_this_machine() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md");
    let document = std::fs::read_to_string(path).unwrap();
    let missing: Vec<String> = [picture(), table()]
        .into_iter()
        .filter(|part| !document.contains(part))
        .collect();
    let missing = missing.join("\n");
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md has to contain:\n{missing}"
    );
}
