//! Which version and variant runs: the `os-release` file of this image.
//!
//! Keys are matched in any case, one leading and one trailing double quote are stripped each by
//! itself, comments and lines without `=` are skipped, and of a repeated key the last one counts.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use semver::Version;
use snafu::{OptionExt, ResultExt, Snafu};

const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why the running version is not known.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum OsReleaseError {
    /// The file cannot be read, or is not text.
    #[snafu(display("reading {}", path.display()))]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A key that the engine needs is missing.
    #[snafu(display("{}: key {key} is missing", path.display()))]
    Missing { path: PathBuf, key: &'static str },
    /// `VERSION_ID` is not a full version.
    #[snafu(display("{}: VERSION_ID '{value}' is not a version like 1.2.3", path.display()))]
    Version {
        path: PathBuf,
        value: String,
        source: semver::Error,
    },
}

/// What the running image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsRelease {
    /// `VARIANT_ID`.
    pub variant: String,
    /// `VERSION_ID`.
    pub version: Version,
}

impl OsRelease {
    /// Reads the file at `path`, at most 1 MiB of it.
    ///
    /// # Errors
    /// Every [`OsReleaseError`].
    pub fn load(path: &Path) -> Result<Self, OsReleaseError> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
            .context(ReadSnafu { path })?;
        Self::parse(&text, path)
    }

    /// Pure: the meaning of `text`; `path` is for messages.
    ///
    /// # Errors
    /// [`OsReleaseError::Missing`] and [`OsReleaseError::Version`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, OsReleaseError> {
        let value = |wanted: &'static str| {
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split_once('='))
                .filter(|(key, _)| key.trim().eq_ignore_ascii_case(wanted))
                .map(|(_, value)| unquote(value.trim()))
                .next_back()
                .filter(|value| !value.is_empty())
                .context(MissingSnafu { path, key: wanted })
        };
        let version = value("VERSION_ID")?;
        Ok(Self {
            variant: value("VARIANT_ID")?.to_owned(),
            version: version.parse().context(VersionSnafu {
                path,
                value: version,
            })?,
        })
    }
}

fn unquote(value: &str) -> &str {
    let value = value.strip_prefix('"').unwrap_or(value);
    value.strip_suffix('"').unwrap_or(value)
}

/// The architecture that this program was built for, as manifests name it.
pub const ARCH: &str = std::env::consts::ARCH;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<OsRelease, String> {
        OsRelease::parse(text, Path::new("/os-release")).map_err(|error| error.to_string())
    }

    #[test]
    fn quotes_comments_and_case_do_not_matter() {
        let expected = OsRelease {
            variant: "demo-k8s".into(),
            version: Version::new(1, 2, 3),
        };
        for text in [
            "VARIANT_ID=demo-k8s\nVERSION_ID=1.2.3\n",
            "# VERSION_ID=9.9.9\nVERSION_ID=\"1.2.3\"\nnonsense\nvariant_id=\"demo-k8s\"",
            "VERSION_ID=0.0.1\nVARIANT_ID=demo-k8s\"\nVERSION_ID=\"1.2.3\n",
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert_eq!(
            parse("VERSION_ID=1.2.3").unwrap_err(),
            "/os-release: key VARIANT_ID is missing"
        );
        assert_eq!(
            parse("").unwrap_err(),
            "/os-release: key VERSION_ID is missing"
        );
        assert_eq!(
            parse("VERSION_ID=1.2\nVARIANT_ID=x").unwrap_err(),
            "/os-release: VERSION_ID '1.2' is not a version like 1.2.3"
        );
    }
}
