//! Everything that can become of a disk, from the factory on: all commands, in any order, from a set
//! that came up well or badly, with the power going at any time. Whatever it is, there is a complete
//! set to boot, and a good one in the end.
//!
//! The guard is not asked here whether it is right: what a set holds is kept beside the bits.

use std::collections::HashSet;

use super::*;
use crate::bootloader;

/// What is in a set's partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Content {
    /// Comes up healthy, unless the power goes.
    Good,
    /// Complete, and comes up only to be found unhealthy, or not at all.
    Bad,
    /// Somebody began to write it.
    Partial,
}

const CONTENTS: [Content; 3] = [Content::Good, Content::Bad, Content::Partial];

/// A machine: its bits, what the sets hold, and the set that runs if one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Machine {
    bits: [(u8, u8, bool); 2],
    ever: bool,
    content: [Content; 2],
    running: Option<Slot>,
}

fn index(slot: Slot) -> usize {
    usize::from(slot == Slot::B)
}

impl Machine {
    const FACTORY: Self = Self {
        bits: [GOOD, CLEAR],
        ever: false,
        content: [Content::Good, Content::Partial],
        running: None,
    };

    fn bits(&self) -> PerSlot<BootAttributes> {
        let [a, b] = self.bits.map(bits);
        PerSlot { a, b }
    }

    fn with_bits(self, bits: PerSlot<BootAttributes>) -> Self {
        Self {
            bits: [fields(bits.a), fields(bits.b)],
            ..self
        }
    }

    fn content(&self, slot: Slot) -> Content {
        self.content[index(slot)]
    }

    /// The machine once a loader has begun to boot this set: its try is spent.
    fn booting(self) -> Option<(Slot, Self)> {
        let mut bits = self.bits();
        let slot = bootloader::grub_pick(&bits)?;
        bits[slot] = bootloader::consume_try(bits[slot]);
        let machine = Self {
            running: None,
            ..self.with_bits(bits)
        };
        Some((slot, machine))
    }

    /// Every machine that this one can be next.
    fn next(self, force: &Force) -> Vec<Self> {
        // The power goes; or the loader spends the try, and the power goes, or the set comes up.
        let mut next = vec![Self {
            running: None,
            ..self
        }];
        if let Some((slot, machine)) = self.booting() {
            next.push(machine);
            next.push(Self {
                running: Some(slot),
                ..machine
            });
        }
        let Some(running) = self.running else {
            return next;
        };
        let inactive = running.other();
        for command in Command::ALL {
            // What operators are told: a set that is not complete is not marked valid, and one that
            // is not healthy is not marked successful.
            let lie = match command {
                Command::MarkInactiveValid => self.content(inactive) == Content::Partial,
                Command::MarkSuccessfulBoot => self.content(running) != Content::Good,
                _ => false,
            };
            let private = PrivateAttributes::default();
            let private = if self.ever {
                private.with_boot_succeeded()
            } else {
                private
            };
            let state = BootState::new(running, Sets::Dual(self.bits()), private).unwrap();
            if let (false, Ok(after)) = (lie, state.apply(command, force)) {
                next.push(Self {
                    ever: after.has_boot_ever_succeeded(),
                    ..self.with_bits(after.bits())
                });
            }
        }
        // A cleared set, and no other, is given out for writing.
        if self.bits[index(inactive)] == CLEAR {
            for content in CONTENTS {
                let mut written = self;
                written.content[index(inactive)] = content;
                next.push(written);
            }
        }
        next
    }

    /// What is wrong, if there is something.
    fn trouble(self) -> Option<&'static str> {
        let mut machine = self;
        // Each boot spends a try, and there are never more than two of them.
        for _ in 0..4 {
            let Some((slot, booted)) = machine.booting() else {
                return Some("nothing boots");
            };
            match machine.content(slot) {
                Content::Partial => return Some("half a set boots"),
                Content::Good => return None,
                Content::Bad => machine = booted,
            }
        }
        Some("a bad set boots for ever")
    }
}

/// All machines that can be reached.
fn reachable(force: &Force) -> HashSet<Machine> {
    let mut seen = HashSet::from([Machine::FACTORY]);
    let mut new = vec![Machine::FACTORY];
    while let Some(machine) = new.pop() {
        for next in machine.next(force) {
            if seen.insert(next) {
                new.push(next);
            }
        }
    }
    seen
}

#[test]
fn whatever_happens_to_a_machine_a_complete_set_boots_and_in_the_end_a_good_one() {
    let all = reachable(&Force::No);
    assert!(all.len() > 100, "{} machines", all.len());
    for machine in all {
        assert_eq!(machine.trouble(), None, "{machine:?}");
    }
}

#[test]
fn without_the_guard_it_may_be_that_nothing_boots() {
    let troubles: HashSet<_> = reachable(&forced())
        .into_iter()
        .filter_map(Machine::trouble)
        .collect();
    assert!(troubles.contains("nothing boots"), "{troubles:?}");
}
