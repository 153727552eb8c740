//! `Release.toml`: the version of a release, and the migrations up to it.

use crate::migrations::MigrationGraph;
use semver::Version;
use serde::Deserialize;
use snafu::{ResultExt, Snafu};

/// What a publisher's `Release.toml` says.
///
/// A `version`, and a table `[migrations]` with the same `"(FROM, TO)"` keys as a manifest. Other
/// keys are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Release {
    /// The version of the release.
    pub version: Version,
    /// All migrations that the manifest is to have.
    pub migrations: MigrationGraph,
}

/// The text is no `Release.toml`. The source says what is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
#[snafu(display("the release file is not valid"))]
pub struct ReleaseError {
    source: toml::de::Error,
}

impl Release {
    /// Reads a `Release.toml`.
    pub fn from_toml(text: &str) -> Result<Self, ReleaseError> {
        toml::from_str(text).context(ReleaseSnafu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::error::Error;

    const RELEASE: &str = r#"
version = "4.2.0"
motto = "ignored"

[migrations]
"(4.0.0, 4.1.0)" = ["migrate_v4.1.0_add-widget.lz4", "migrate_v4.1.0_drop-gadget.lz4"]
"(4.1.0, 4.2.0)" = []
"#;

    #[test]
    fn a_release_is_its_version_and_its_migrations() {
        let release = Release::from_toml(RELEASE).unwrap();
        assert_eq!(release.version, Version::new(4, 2, 0));
        assert_eq!(release.migrations.len(), 2);
        let path = release
            .migrations
            .path(&Version::new(4, 0, 0), &release.version)
            .unwrap();
        assert_eq!(
            path.targets,
            [
                "migrate_v4.1.0_add-widget.lz4",
                "migrate_v4.1.0_drop-gadget.lz4"
            ]
        );
    }

    #[test]
    fn what_is_no_release_is_refused_with_the_place() {
        for (text, expected) in [
            ("", "missing field `version`"),
            ("version = '4.2.0'", "missing field `migrations`"),
            (
                "version = '4.2'\n[migrations]",
                "unexpected end of input while parsing minor",
            ),
            (
                "version = 'v4.2.0'\n[migrations]",
                "unexpected character 'v'",
            ),
            (
                "version = '4.2.0'\nmigrations = []",
                "expected an object of `(FROM, TO)` keys",
            ),
            (
                "version = '4.2.0'\n[migrations]\n'4.1.0' = []",
                "has no `(FROM, TO)` in it",
            ),
            (
                "version = '4.2.0'\n[migrations]\n'(1.0.0, x)' = []",
                "\"x\" in migration key",
            ),
            (
                "version = '4.2.0'\n[migrations]\n'(1.0.0, 1.1.0)' = []\n'(1.0.0,1.1.0)' = []",
                "the migrations from 1.0.0 to 1.1.0 are given twice",
            ),
            (
                "version = '4.2.0'\n[migrations]\n'(1.0.0, 1.1.0)' = []\n'(1.0.0, 1.1.0)' = []",
                "duplicate key",
            ),
            (
                "version = '4.2.0'\n[migrations]\n'(1.0.0, 1.1.0)' = ['/m']",
                "the target name \"/m\" is an absolute path",
            ),
        ] {
            let error = Release::from_toml(text).unwrap_err();
            assert_eq!(error.to_string(), "the release file is not valid");
            let source = error.source().unwrap().to_string();
            assert!(source.contains(expected), "{source}");
        }
    }

    proptest! {
        #[test]
        fn no_string_panics(text: String, key: String) {
            let _ = Release::from_toml(&text);
            let _ = Release::from_toml(&format!("version = '1.0.0'\n[migrations]\n{key:?} = []"));
        }
    }
}
