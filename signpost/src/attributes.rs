//! Pure: the attribute bits of a partition's table entry, as the boot loader reads them.
//!
//! | Bits  | Meaning                                                                  |
//! |-------|--------------------------------------------------------------------------|
//! | 0–47  | not ours: never touched                                                  |
//! | 48–51 | priority, 0 to 15; the loader boots the highest, and never 0             |
//! | 52–55 | tries left, 0 to 15; the loader takes one off before it boots            |
//! | 56    | successful: this set has booted and was found healthy                    |
//! | 57    | on the private partition only: some set has booted well on this disk     |
//! | 58–63 | not ours: never touched                                                  |
//!
//! The first three fields live on a set's boot partition ([`BootAttributes`]), the last on the
//! private partition ([`PrivateAttributes`]). They are the fields of GRUB's `gptprio` module; bit
//! 57 is Bottlerocket's addition. Every change goes through a `with_…` method, and none of them
//! can reach a bit that is not its own.

use core::fmt;

use serde::Serialize;
use serde::ser::SerializeStruct;

const PRIORITY_SHIFT: u32 = 48;
const TRIES_LEFT_SHIFT: u32 = 52;
const NIBBLE: u64 = 0xf;
const SUCCESSFUL: u64 = 1 << 56;
const EVER_SUCCEEDED: u64 = 1 << 57;

/// What a boot loader sorts sets by: 0 to 15, the highest first. It never boots a set at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// The priority that does not boot.
    pub const ZERO: Self = Self(0);
    /// The priority of a set that the other one is preferred to.
    pub const ONE: Self = Self(1);
    /// The priority of the set that boots next.
    pub const TWO: Self = Self(2);

    /// `value` as a priority, or nothing when it does not fit the four bits it has.
    pub const fn new(value: u8) -> Option<Self> {
        if value <= 15 { Some(Self(value)) } else { None }
    }

    /// The number, 0 to 15.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// How often a boot loader may still try a set that is not marked successful: 0 to 15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TriesLeft(u8);

impl TriesLeft {
    /// No try left: only the successful bit can still make such a set boot.
    pub const ZERO: Self = Self(0);
    /// A single try, which is what a newly written set gets.
    pub const ONE: Self = Self(1);

    /// `value` as a number of tries, or nothing when it does not fit the four bits it has.
    pub const fn new(value: u8) -> Option<Self> {
        if value <= 15 { Some(Self(value)) } else { None }
    }

    /// The number, 0 to 15.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// The 64 attribute bits of a set's boot partition.
///
/// Prints and serialises as its three fields; the other bits are carried along unchanged.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct BootAttributes(u64);

impl BootAttributes {
    /// Takes all 64 bits as they stand in the table entry.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// All 64 bits, as they go into the table entry.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Bits 48 to 51.
    pub const fn priority(self) -> u8 {
        self.0.to_le_bytes()[6] & 0x0f
    }

    /// Bits 52 to 55.
    pub const fn tries_left(self) -> u8 {
        self.0.to_le_bytes()[6] >> 4
    }

    /// Bit 56.
    pub const fn successful(self) -> bool {
        self.0 & SUCCESSFUL != 0
    }

    /// The same bits with another priority.
    #[must_use]
    pub fn with_priority(self, priority: Priority) -> Self {
        Self(self.0 & !(NIBBLE << PRIORITY_SHIFT) | u64::from(priority.0) << PRIORITY_SHIFT)
    }

    /// The same bits with another number of tries.
    #[must_use]
    pub fn with_tries_left(self, tries: TriesLeft) -> Self {
        Self(self.0 & !(NIBBLE << TRIES_LEFT_SHIFT) | u64::from(tries.0) << TRIES_LEFT_SHIFT)
    }

    /// The same bits with the successful bit set or cleared.
    #[must_use]
    pub const fn with_successful(self, successful: bool) -> Self {
        if successful {
            Self(self.0 | SUCCESSFUL)
        } else {
            Self(self.0 & !SUCCESSFUL)
        }
    }

    /// The same bits with priority, tries and success all 0: a set that nothing boots.
    #[must_use]
    pub fn cleared(self) -> Self {
        self.with_priority(Priority::ZERO)
            .with_tries_left(TriesLeft::ZERO)
            .with_successful(false)
    }

    /// Whether priority, tries and success are all 0.
    pub fn is_cleared(self) -> bool {
        self == self.cleared()
    }

    /// Whether the set would boot once it had the highest priority.
    ///
    /// This is the question `rollback-to-inactive` asks, and Bottlerocket's rule for it: a priority
    /// with tries left, or success. It is *not* what a loader asks, to which a priority of 0 means
    /// no; that is [`grub_boots`](crate::bootloader::grub_boots).
    pub const fn will_boot(self) -> bool {
        (self.priority() > 0 && self.tries_left() > 0) || self.successful()
    }
}

impl fmt::Debug for BootAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootAttributes({:#018x}: {self})", self.0)
    }
}

/// `priority=2 tries_left=1 successful=false`
impl fmt::Display for BootAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "priority={} tries_left={} successful={}",
            self.priority(),
            self.tries_left(),
            self.successful()
        )
    }
}

impl Serialize for BootAttributes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("BootAttributes", 3)?;
        fields.serialize_field("priority", &self.priority())?;
        fields.serialize_field("tries_left", &self.tries_left())?;
        fields.serialize_field("successful", &self.successful())?;
        fields.end()
    }
}

/// The 64 attribute bits of the private partition.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PrivateAttributes(u64);

impl PrivateAttributes {
    /// Takes all 64 bits as they stand in the table entry.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// All 64 bits, as they go into the table entry.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Bit 57: whether any set was ever marked successful on this disk.
    pub const fn has_boot_ever_succeeded(self) -> bool {
        self.0 & EVER_SUCCEEDED != 0
    }

    /// The same bits with bit 57 set. Nothing clears it: it records the past.
    #[must_use]
    pub const fn with_boot_succeeded(self) -> Self {
        Self(self.0 | EVER_SUCCEEDED)
    }
}

impl fmt::Debug for PrivateAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateAttributes({:#018x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_bit_patterns_read_as_their_fields() {
        let cases: [(u64, u8, u8, bool); 6] = [
            (0x0101_0000_0000_0000, 1, 0, true),
            (0x0012_0000_0000_0000, 2, 1, false),
            (0x0102_0000_0000_0000, 2, 0, true),
            (0x5555_5555_5555_5555, 5, 5, true),
            (0x0000_0000_0000_0000, 0, 0, false),
            (0xffff_ffff_ffff_ffff, 15, 15, true),
        ];
        for (bits, priority, tries_left, successful) in cases {
            let attributes = BootAttributes::from_bits(bits);
            assert_eq!(
                (
                    attributes.priority(),
                    attributes.tries_left(),
                    attributes.successful()
                ),
                (priority, tries_left, successful),
                "{bits:#018x}"
            );
            assert_eq!(attributes.bits(), bits);
        }
    }

    #[test]
    fn known_private_bit_patterns_read_as_their_field() {
        let cases = [
            (0x0200_0000_0000_0000, true),
            (0, false),
            (!0x0200_0000_0000_0000, false),
            (!0, true),
        ];
        for (bits, ever) in cases {
            assert_eq!(
                PrivateAttributes::from_bits(bits).has_boot_ever_succeeded(),
                ever,
                "{bits:#018x}"
            );
        }
    }

    #[test]
    fn numbers_of_more_than_four_bits_are_no_priority_and_no_tries() {
        for value in 0..=u8::MAX {
            assert_eq!(
                Priority::new(value).map(Priority::get),
                (value < 16).then_some(value)
            );
            assert_eq!(
                TriesLeft::new(value).map(TriesLeft::get),
                (value < 16).then_some(value)
            );
        }
    }

    #[test]
    fn fields_print_as_status_shows_them() {
        let attributes = BootAttributes::from_bits(0x0012_0000_0000_0001);
        assert_eq!(
            attributes.to_string(),
            "priority=2 tries_left=1 successful=false"
        );
        assert_eq!(
            serde_json::to_string(&attributes).unwrap(),
            r#"{"priority":2,"tries_left":1,"successful":false}"#
        );
    }

    #[test]
    fn only_a_priority_with_tries_or_success_will_boot() {
        for (bits, expected) in [
            (0x0000_0000_0000_0000, false),
            (0x0001_0000_0000_0000, false),
            (0x0010_0000_0000_0000, false),
            (0x0011_0000_0000_0000, true),
            (0x0100_0000_0000_0000, true),
            (0x0110_0000_0000_0000, true),
        ] {
            assert_eq!(
                BootAttributes::from_bits(bits).will_boot(),
                expected,
                "{bits:#018x}"
            );
        }
    }

    /// Replaces the bits `low..=high` one by one: the slow way, to compare with.
    fn spliced(bits: u64, low: u32, high: u32, value: u64) -> u64 {
        (0..64).fold(0, |all, bit| {
            let source = if (low..=high).contains(&bit) {
                value >> (bit - low)
            } else {
                bits >> bit
            };
            all | (source & 1) << bit
        })
    }

    proptest! {
        #[test]
        fn a_change_touches_its_own_bits_and_no_others(
            bits: u64, priority in 0u8..16, tries in 0u8..16, successful: bool
        ) {
            let before = BootAttributes::from_bits(bits);
            let with_priority = before.with_priority(Priority::new(priority).unwrap());
            prop_assert_eq!(with_priority.bits(), spliced(bits, 48, 51, priority.into()));
            prop_assert_eq!(with_priority.priority(), priority);
            let with_tries = before.with_tries_left(TriesLeft::new(tries).unwrap());
            prop_assert_eq!(with_tries.bits(), spliced(bits, 52, 55, tries.into()));
            prop_assert_eq!(with_tries.tries_left(), tries);
            let with_successful = before.with_successful(successful);
            prop_assert_eq!(with_successful.bits(), spliced(bits, 56, 56, successful.into()));
            prop_assert_eq!(with_successful.successful(), successful);
            prop_assert_eq!(before.cleared().bits(), spliced(bits, 48, 56, 0));
            prop_assert!(before.cleared().is_cleared());
        }

        #[test]
        fn recording_a_good_boot_touches_bit_57_only(bits: u64) {
            prop_assert_eq!(
                PrivateAttributes::from_bits(bits).with_boot_succeeded().bits(),
                spliced(bits, 57, 57, 1)
            );
        }
    }
}
