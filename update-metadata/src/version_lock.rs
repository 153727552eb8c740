//! Which version a host is meant to run, as its settings say it.

use crate::chain::Chain;
use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use snafu::{ResultExt, Snafu};
use std::fmt;
use std::str::FromStr;

/// The word that stands for "no fixed version".
const LATEST: &str = "latest";

/// A host's version lock.
///
/// As text: `latest`, or a full semantic version with an optional single leading `v`. Written
/// without the `v`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VersionLock {
    /// Follow the highest version that is offered.
    #[default]
    Latest,
    /// Run exactly this version, even if that is a downgrade.
    Exactly(Version),
}

/// Why a string names no version.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum VersionLockError {
    /// The text is neither `latest` nor a version.
    #[snafu(display("{text:?} is neither `latest` nor a full version"))]
    NotALock {
        /// The text.
        text: String,
        /// What is wrong with it as a version.
        source: semver::Error,
    },

    /// The text is no version where only a version is allowed.
    #[snafu(display("{text:?} is not a full version"))]
    NotAVersion {
        /// The text.
        text: String,
        /// What is wrong with it as a version.
        source: semver::Error,
    },
}

/// Reads a version as operators write it: all three numbers, an optional pre-release and build, and
/// an optional single leading `v`.
///
/// `1.0`, `v` and `vv1.0.0` are not versions.
pub fn parse_friendly_version(text: &str) -> Result<Version, VersionLockError> {
    parse(text).context(NotAVersionSnafu { text })
}

fn parse(text: &str) -> Result<Version, semver::Error> {
    Version::parse(text.strip_prefix('v').unwrap_or(text))
}

impl FromStr for VersionLock {
    type Err = VersionLockError;

    fn from_str(text: &str) -> Result<Self, VersionLockError> {
        if text == LATEST {
            return Ok(Self::Latest);
        }
        parse(text)
            .map(Self::Exactly)
            .context(NotALockSnafu { text })
    }
}

impl fmt::Display for VersionLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str(LATEST),
            Self::Exactly(version) => fmt::Display::fmt(version, f),
        }
    }
}

impl Serialize for VersionLock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VersionLock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|error| de::Error::custom(Chain(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn full_versions_are_accepted_with_one_optional_v() {
        for text in [
            "1.0.0",
            "0.0.0",
            "1.2.3-alpha.1",
            "1.2.3+build.7",
            "1.2.3-rc.1+build",
            "10.20.30",
        ] {
            let version = Version::parse(text).unwrap();
            for spelling in [text.to_owned(), format!("v{text}")] {
                assert_eq!(parse_friendly_version(&spelling).unwrap(), version);
                let lock: VersionLock = spelling.parse().unwrap();
                assert_eq!(lock, VersionLock::Exactly(version.clone()));
                assert_eq!(lock.to_string(), text);
            }
        }
    }

    #[test]
    fn latest_is_a_lock_but_not_a_version() {
        assert_eq!(
            "latest".parse::<VersionLock>().unwrap(),
            VersionLock::Latest
        );
        assert_eq!(VersionLock::Latest.to_string(), "latest");
        assert_eq!(VersionLock::default(), VersionLock::Latest);
        let error = parse_friendly_version("latest").unwrap_err();
        assert_eq!(error.to_string(), "\"latest\" is not a full version");
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "", "v", "1", "1.0", "v1.0", "vv1.0.0", "V1.0.0", "1.0.0.0", "01.0.0", " 1.0.0",
            "1.0.0 ", "1.0.0-", "Latest", "vlatest", "latest ", "1.x.0", "^1.0.0",
        ] {
            let error = text.parse::<VersionLock>().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{text:?} is neither `latest` nor a full version")
            );
            assert!(parse_friendly_version(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_lock_is_a_string_in_json() {
        let lock: VersionLock = serde_json::from_str("\"v1.19.0\"").unwrap();
        assert_eq!(lock, VersionLock::Exactly(Version::new(1, 19, 0)));
        assert_eq!(serde_json::to_string(&lock).unwrap(), "\"1.19.0\"");
        assert_eq!(
            serde_json::from_str::<VersionLock>("\"1.0\"")
                .unwrap_err()
                .to_string(),
            "\"1.0\" is neither `latest` nor a full version: unexpected end of input while \
             parsing minor version number"
        );
    }

    proptest! {
        #[test]
        fn no_string_panics(text: String) {
            let _ = text.parse::<VersionLock>();
        }

        #[test]
        fn every_lock_survives_its_text(major: u64, minor: u64, patch: u64) {
            let lock = VersionLock::Exactly(Version::new(major, minor, patch));
            prop_assert_eq!(lock.to_string().parse::<VersionLock>().unwrap(), lock);
        }
    }
}
