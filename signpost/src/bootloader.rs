//! Pure: what a boot loader makes of the bits.
//!
//! Two models. [`grub_pick`] is GRUB's `gptprio.next`, which is what the machines out there boot
//! with; every refusal in this crate is judged by it. [`select`] is the loader that this project
//! prints and can act as: the same choice, and where GRUB gives up, one [last resort](last_resort).
//!
//! The bits of a set that the disk does not have are all 0 here, which no loader boots.

use crate::attributes::{BootAttributes, TriesLeft};
use crate::slot::{PerSlot, Slot};

/// Whether GRUB would boot a set with these bits if there were no other.
///
/// It wants a priority above 0, and a try or the successful bit.
pub const fn grub_boots(attributes: BootAttributes) -> bool {
    attributes.priority() > 0 && (attributes.tries_left() > 0 || attributes.successful())
}

/// The set that GRUB boots, or nothing, at which it stops with an error.
///
/// It walks the entries in the order of the table and takes a set that may boot when its priority
/// is strictly above the best so far, which begins at 0: so of two equals the first wins, and a
/// priority of 0 never boots, however successful the set was.
pub fn grub_pick(bits: &PerSlot<BootAttributes>) -> Option<Slot> {
    let mut best = 0;
    let mut pick = None;
    for (slot, attributes) in bits.iter() {
        let may_boot = attributes.tries_left() > 0 || attributes.successful();
        if may_boot && attributes.priority() > best {
            best = attributes.priority();
            pick = Some(slot);
        }
    }
    pick
}

/// The set to boot when [`grub_pick`] finds nothing: one that has booted well before and stands at
/// priority 0. Of two such sets the first.
///
/// Nothing when GRUB would boot something, and never a set that was not successful: a cleared one
/// (all three fields 0) may hold half an image.
pub fn last_resort(bits: &PerSlot<BootAttributes>) -> Option<Slot> {
    if grub_pick(bits).is_some() {
        return None;
    }
    bits.iter()
        .find(|(_, attributes)| attributes.successful() && attributes.priority() == 0)
        .map(|(slot, _)| slot)
}

/// The bits after a loader has spent a try on them, which it does before it boots, and also when
/// the set is successful. Without a try left they stay as they are.
#[must_use]
pub fn consume_try(attributes: BootAttributes) -> BootAttributes {
    match attributes
        .tries_left()
        .checked_sub(1)
        .and_then(TriesLeft::new)
    {
        Some(fewer) => attributes.with_tries_left(fewer),
        None => attributes,
    }
}

/// What a loader boots, and what it leaves in the table before it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The set that boots.
    pub slot: Slot,
    /// Whether only the last resort found it: GRUB would boot nothing.
    pub last_resort: bool,
    /// The set's bits once its try is spent.
    pub after: BootAttributes,
}

/// GRUB's pick, else the last resort, else nothing.
pub fn select(bits: &PerSlot<BootAttributes>) -> Option<Pick> {
    let picked = grub_pick(bits).map(|slot| (slot, false));
    let (slot, last_resort) = picked.or_else(|| last_resort(bits).map(|slot| (slot, true)))?;
    Some(Pick {
        slot,
        last_resort,
        after: consume_try(bits[slot]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Priority;

    fn bits(priority: u8, tries: u8, successful: u8) -> BootAttributes {
        BootAttributes::default()
            .with_priority(Priority::new(priority).unwrap())
            .with_tries_left(TriesLeft::new(tries).unwrap())
            .with_successful(successful == 1)
    }

    type Fields = (u8, u8, u8);

    fn both(a: Fields, b: Fields) -> PerSlot<BootAttributes> {
        PerSlot { a, b }.map(|(priority, tries, successful)| bits(priority, tries, successful))
    }

    #[test]
    fn grub_picks_by_the_table() {
        use Slot::{A, B};
        let cases: [(Fields, Fields, Option<Slot>); 14] = [
            ((1, 0, 1), (0, 0, 0), Some(A)),
            ((1, 0, 1), (0, 1, 0), Some(A)),
            ((1, 0, 1), (2, 1, 0), Some(B)),
            ((1, 0, 1), (2, 0, 0), Some(A)),
            ((1, 0, 1), (2, 0, 1), Some(B)),
            ((2, 0, 1), (0, 1, 0), Some(A)),
            ((1, 0, 1), (1, 0, 1), Some(A)),
            ((1, 0, 0), (1, 0, 1), Some(B)),
            ((15, 15, 1), (15, 15, 1), Some(A)),
            ((14, 0, 1), (15, 0, 1), Some(B)),
            ((0, 0, 1), (0, 0, 1), None),
            ((0, 15, 1), (0, 15, 1), None),
            ((15, 0, 0), (15, 0, 0), None),
            ((0, 0, 0), (0, 0, 0), None),
        ];
        for (a, b, expected) in cases {
            assert_eq!(grub_pick(&both(a, b)), expected, "{a:?} {b:?}");
        }
    }

    /// Every pair of states against the rule said the other way round: sort what may boot by
    /// priority, highest first and A before B, and take the first.
    #[test]
    fn grub_picks_the_first_of_the_highest_for_every_pair() {
        let every = || (0..512u64).map(|field| BootAttributes::from_bits(field << 48));
        for a in every() {
            for b in every() {
                let mut candidates: Vec<_> = [(Slot::A, a), (Slot::B, b)]
                    .into_iter()
                    .filter(|(_, bits)| grub_boots(*bits))
                    .collect();
                candidates.sort_by_key(|(slot, bits)| (15 - bits.priority(), *slot));
                let pair = PerSlot { a, b };
                let picked = candidates.first().map(|(slot, _)| *slot);
                assert_eq!(grub_pick(&pair), picked, "{pair:?}");
                assert!(picked.is_none() || last_resort(&pair).is_none(), "{pair:?}");
            }
        }
    }

    #[test]
    fn the_last_resort_is_a_successful_set_at_priority_0() {
        use Slot::{A, B};
        let cases: [(Fields, Fields, Option<Slot>); 7] = [
            ((0, 0, 1), (2, 0, 0), Some(A)),
            ((2, 0, 0), (0, 0, 1), Some(B)),
            ((0, 0, 1), (0, 0, 1), Some(A)),
            ((0, 1, 0), (0, 3, 1), Some(B)),
            ((0, 0, 0), (0, 0, 0), None),
            ((0, 15, 0), (15, 0, 0), None),
            ((0, 0, 1), (1, 1, 0), None),
        ];
        for (a, b, expected) in cases {
            assert_eq!(last_resort(&both(a, b)), expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_try_is_spent_also_on_a_successful_set_and_never_below_0() {
        for (before, after) in [
            ((2, 1, 0), (2, 0, 0)),
            ((2, 15, 1), (2, 14, 1)),
            ((1, 0, 1), (1, 0, 1)),
            ((0, 0, 0), (0, 0, 0)),
        ] {
            let foreign = BootAttributes::from_bits(0xfe00_ffff_ffff_ffff);
            let with = |(p, t, s)| BootAttributes::from_bits(foreign.bits() | bits(p, t, s).bits());
            assert_eq!(consume_try(with(before)), with(after), "{before:?}");
        }
    }

    #[test]
    fn select_says_what_it_leaves_behind() {
        assert_eq!(
            select(&both((1, 0, 1), (2, 1, 0))),
            Some(Pick {
                slot: Slot::B,
                last_resort: false,
                after: bits(2, 0, 0)
            })
        );
        assert_eq!(
            select(&both((0, 0, 1), (2, 0, 0))),
            Some(Pick {
                slot: Slot::A,
                last_resort: true,
                after: bits(0, 0, 1)
            })
        );
        assert_eq!(select(&both((0, 0, 0), (2, 0, 0))), None);
    }
}
