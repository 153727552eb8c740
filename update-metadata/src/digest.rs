//! A SHA-256 digest as a manifest writes it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use snafu::{ResultExt, Snafu};
use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest.
///
/// Written as 64 hexadecimal digits, lower case; read in either case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a string is no digest.
#[derive(Clone, Debug, PartialEq, Snafu)]
#[snafu(display("a digest is 64 hexadecimal digits, not {text:?}"))]
pub struct DigestError {
    text: String,
    source: hex::FromHexError,
}

impl Digest {
    /// The digest's 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).context(DigestSnafu { text })?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// As hexadecimal, which is how everything else that prints a digest shows it.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;
    use proptest::prelude::*;

    /// SHA-256 of no bytes at all.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_reads_both_cases_and_writes_lower_case() {
        let digest: Digest = EMPTY.parse().unwrap();
        assert_eq!(digest.as_bytes()[..4], [0xe3, 0xb0, 0xc4, 0x42]);
        assert_eq!(EMPTY.to_uppercase().parse(), Ok(digest));
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(format!("{digest:?}"), format!("Digest({EMPTY})"));
        assert_eq!(
            serde_json::to_string(&digest).unwrap(),
            format!("\"{EMPTY}\"")
        );
    }

    #[test]
    fn anything_but_64_digits_is_refused() {
        for text in [
            "",
            "e3b0",
            &EMPTY[1..],
            &format!("{EMPTY}00"),
            &EMPTY.replace('e', "g"),
        ] {
            let error = text.parse::<Digest>().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("a digest is 64 hexadecimal digits, not {text:?}")
            );
        }
        let error = serde_json::from_str::<Digest>("\"e3b0\"").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a digest is 64 hexadecimal digits, not \"e3b0\""
        );
    }

    proptest! {
        #[test]
        fn every_digest_survives_text_and_json(bytes: [u8; 32]) {
            let digest = Digest::from(bytes);
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
            let json = serde_json::to_string(&digest).unwrap();
            prop_assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        }

        #[test]
        fn no_string_panics(text: String) {
            let _ = text.parse::<Digest>();
        }
    }
}
