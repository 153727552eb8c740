//! What a system says of itself: the text of its `os-release` file.

use semver::Version;
use snafu::{OptionExt, Snafu};

/// A larger file is none.
pub const MAX_OS_RELEASE_BYTES: u64 = 1 << 20;

/// Why the version or the variant is not known.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum OsReleaseError {
    /// It does not say.
    #[snafu(display("key {key} is missing"))]
    Missing { key: &'static str },
    /// It says something else.
    #[snafu(display("VERSION_ID '{value}' is not a version like 1.2.3"))]
    Version { value: String },
}

/// The text of an `os-release` file, as Bottlerocket's programs read it: keys are matched in any case,
/// one leading and one trailing double quote are stripped each by itself, comments and lines without
/// `=` are skipped, and of a repeated key the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OsRelease<'a>(pub &'a str);

impl<'a> OsRelease<'a> {
    /// `VERSION_ID`, a full version.
    ///
    /// # Errors
    /// [`OsReleaseError`].
    pub fn version(self) -> Result<Version, OsReleaseError> {
        let value = self.value("VERSION_ID")?;
        value.parse().ok().context(VersionSnafu { value })
    }

    /// `VARIANT_ID`.
    ///
    /// # Errors
    /// [`OsReleaseError::Missing`].
    pub fn variant(self) -> Result<&'a str, OsReleaseError> {
        self.value("VARIANT_ID")
    }

    /// `PRETTY_NAME`, if there is one.
    pub fn pretty_name(self) -> Option<&'a str> {
        self.value("PRETTY_NAME").ok()
    }

    /// `BUILD_ID`, if there is one.
    pub fn build_id(self) -> Option<&'a str> {
        self.value("BUILD_ID").ok()
    }

    fn value(self, wanted: &'static str) -> Result<&'a str, OsReleaseError> {
        self.0
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .filter(|(key, _)| key.trim().eq_ignore_ascii_case(wanted))
            .map(|(_, value)| unquote(value.trim()))
            .next_back()
            .filter(|value| !value.is_empty())
            .context(MissingSnafu { key: wanted })
    }
}

fn unquote(value: &str) -> &str {
    let value = value.strip_prefix('"').unwrap_or(value);
    value.strip_suffix('"').unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_and_case_do_not_matter() {
        for text in [
            "VARIANT_ID=demo-k8s\nVERSION_ID=1.2.3-rc.1\n",
            "# VERSION_ID=9.9.9\nVERSION_ID=\"1.2.3-rc.1\"\nnonsense\nvariant_id=\"demo-k8s\"",
            "VERSION_ID=0.0.1\nVARIANT_ID=demo-k8s\"\nversion_id=\"1.2.3-rc.1\n",
        ] {
            let system = OsRelease(text);
            assert_eq!(
                system.version().unwrap().to_string(),
                "1.2.3-rc.1",
                "{text}"
            );
            assert_eq!(system.variant().unwrap(), "demo-k8s", "{text}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let system = OsRelease("VERSION_ID=1.2\nVARIANT_ID=\n");
        assert_eq!(
            system.version().unwrap_err().to_string(),
            "VERSION_ID '1.2' is not a version like 1.2.3"
        );
        assert_eq!(
            system.variant().unwrap_err().to_string(),
            "key VARIANT_ID is missing"
        );
        assert_eq!(
            OsRelease("").version().unwrap_err().to_string(),
            "key VERSION_ID is missing"
        );
    }
}
