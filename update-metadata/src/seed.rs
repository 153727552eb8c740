//! A host's place in the order in which a fleet is updated.

use serde::{Deserialize, Serialize};
use snafu::{Snafu, ensure};
use std::fmt;

/// The end of the seed range, and the highest seed bound that is ever looked at in a wave.
///
/// Hosts have the seeds 0 to 2047; 2048 itself only ends the last wave.
pub const MAX_SEED: u32 = 2048;

/// A host's seed: a number from 0 to 2047 that decides when an update reaches it.
///
/// Low seeds come first. A host keeps its seed, so that its place in the fleet stays the same from
/// one release to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Seed(u32);

/// A number is too large for a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Snafu)]
#[snafu(display("seed {seed} is not below {MAX_SEED}"))]
pub struct SeedError {
    seed: u32,
}

impl Seed {
    /// Accepts 0 to 2047.
    pub fn new(seed: u32) -> Result<Self, SeedError> {
        ensure!(seed < MAX_SEED, SeedSnafu { seed });
        Ok(Self(seed))
    }

    /// Folds a number of any size into a seed: `number mod 2048`.
    ///
    /// 2048 divides 2^64, so evenly spread numbers give evenly spread seeds.
    pub fn from_u64(number: u64) -> Self {
        let seed = u32::try_from(number % u64::from(MAX_SEED));
        Self(seed.expect("a remainder below 2048 fits in a u32"))
    }

    /// A seed from the first eight bytes of a hash, read as a big-endian number, `mod 2048`.
    ///
    /// For hosts without a configured seed: the hash of something stable and unique to the host,
    /// its machine id for one, gives the same seed after every boot and spreads a fleet evenly.
    /// Which hash, and of what, is the caller's choice and must never change.
    pub fn from_hash_bytes(bytes: [u8; 8]) -> Self {
        Self::from_u64(u64::from_be_bytes(bytes))
    }

    /// The seed as a number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Seed {
    type Error = SeedError;

    fn try_from(seed: u32) -> Result<Self, SeedError> {
        Self::new(seed)
    }
}

impl From<Seed> for u32 {
    fn from(seed: Seed) -> Self {
        seed.0
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn seeds_are_0_to_2047() {
        for seed in [0, 1, 1024, 2047] {
            assert_eq!(Seed::new(seed).unwrap().get(), seed);
        }
        for seed in [2048, 2049, u32::MAX] {
            let error = Seed::new(seed).unwrap_err();
            assert_eq!(error.to_string(), format!("seed {seed} is not below 2048"));
        }
    }

    #[test]
    fn a_seed_is_a_checked_number_in_json() {
        assert_eq!(serde_json::from_str::<Seed>("2047").unwrap(), Seed(2047));
        assert_eq!(serde_json::to_string(&Seed(7)).unwrap(), "7");
        let error = serde_json::from_str::<Seed>("2048").unwrap_err();
        assert_eq!(error.to_string(), "seed 2048 is not below 2048");
        for json in ["-1", "1.5", "\"7\"", "4294967296", "null"] {
            assert!(serde_json::from_str::<Seed>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_hash_gives_the_low_eleven_bits_of_its_first_eight_bytes() {
        let cases = [
            ([0; 8], 0),
            ([0, 0, 0, 0, 0, 0, 0, 1], 1),
            ([0xff; 8], 2047),
            ([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x08, 0x00], 0),
            ([0, 0, 0, 0, 0, 0, 0x0b, 0xad], 0x3ad),
        ];
        for (bytes, seed) in cases {
            assert_eq!(Seed::from_hash_bytes(bytes), Seed(seed));
        }
    }

    proptest! {
        #[test]
        fn any_number_folds_into_the_range(number: u64) {
            let seed = Seed::from_u64(number);
            prop_assert_eq!(Seed::new(seed.get()), Ok(seed));
            prop_assert_eq!(Seed::from_u64(number.wrapping_add(2048)), seed);
        }
    }
}
