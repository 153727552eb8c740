//! Pure: what the targets of a release are called.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use semver::Version;
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use update_metadata::{BlockMaps, Images};

use super::maps::map_name;
use crate::publish::compression::Compression;
use crate::publish::word::Word;

/// Why there is no name.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum NameError {
    /// Not two versions and perhaps a file.
    #[snafu(display("'{text}' is not FROM:TO:FILE, or FROM:TO for no migration"))]
    Shape { text: String },
    /// One of the two is no version.
    #[snafu(display("'{version}' in '{text}' is not a version"))]
    Version {
        text: String,
        version: String,
        source: semver::Error,
    },
    /// Migrations are written from the lower version to the higher; backward they run in reverse.
    #[snafu(display("'{text}' does not lead from a lower version to a higher one"))]
    NotUpward { text: String },
    /// The file says that it is for another version.
    #[snafu(display(
        "'{}' is named for version {named}, but leads to {to}; rename it or correct the option",
        path.display()
    ))]
    OtherVersion {
        path: PathBuf,
        named: Version,
        to: Version,
    },
    /// The file's name cannot be made into a target's.
    #[snafu(display(
        "'{}' gives no name for a migration: use letters, digits, dots, underscores and dashes",
        path.display()
    ))]
    Stem { path: PathBuf },
}

/// `V-A-X-boot.ext4.lz4` and so on. The hash image is LZ4 always: it is small, and every host reads it.
pub fn images(variant: &Word, arch: &Word, version: &Version, compression: Compression) -> Images {
    let name = |part, extension| format!("{variant}-{arch}-{version}-{part}.{extension}");
    let extension = compression.extension();
    Images {
        boot: name("boot.ext4", extension),
        root: name("root.ext4", extension),
        hash: name("root.verity", Compression::Lz4.extension()),
    }
}

/// The names of the images' block maps.
pub fn block_maps(images: &Images) -> BlockMaps {
    BlockMaps {
        boot: map_name(&images.boot),
        root: map_name(&images.root),
    }
}

/// A `--migration` option: a file that migrates settings from one version to the next, or the
/// statement that nothing needs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationArg {
    /// The lower version.
    pub from: Version,
    /// The higher version.
    pub to: Version,
    /// The migration program, not compressed.
    pub file: Option<PathBuf>,
}

impl MigrationArg {
    /// The target's name: `migrate_v<TO>_<name>.lz4`. The name is the file's, without a prefix that
    /// says the same and without its extension; but `.toml` stays, which makes it a document.
    pub fn target_name(&self, file: &Path) -> Result<String, NameError> {
        let prefix = format!("migrate_v{}_", self.to);
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .context(StemSnafu { path: file })?;
        // The prefix first: the extension of `migrate_v1.1.0_add-x` would be `0_add-x`.
        let bare = match named_version(name) {
            Some((named, bare)) => {
                let to = self.to.clone();
                ensure!(
                    named == to,
                    OtherVersionSnafu {
                        path: file,
                        named,
                        to
                    }
                );
                bare
            }
            None => name.strip_prefix("migrate-").unwrap_or(name),
        };
        let stem = Path::new(bare)
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        ensure!(
            !stem.is_empty() && stem.chars().all(good),
            StemSnafu { path: file }
        );
        let kind = match Path::new(bare).extension() {
            Some(extension) if extension == "toml" => ".toml",
            _ => "",
        };
        Ok(format!("{prefix}{stem}{kind}.lz4"))
    }
}

/// The version in `migrate_v<VERSION>_<name>`, and the name.
fn named_version(name: &str) -> Option<(Version, &str)> {
    let (version, bare) = name.strip_prefix("migrate_v")?.split_once('_')?;
    Some((version.parse().ok()?, bare))
}

impl FromStr for MigrationArg {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut parts = text.splitn(3, ':');
        let from = parts.next().context(ShapeSnafu { text })?;
        let to = parts.next().context(ShapeSnafu { text })?;
        let file = parts.next();
        ensure!(file != Some(""), ShapeSnafu { text });
        let version = |version: &str| version.parse().context(VersionSnafu { text, version });
        let arg = Self {
            from: version(from)?,
            to: version(to)?,
            file: file.map(PathBuf::from),
        };
        ensure!(arg.from < arg.to, NotUpwardSnafu { text });
        Ok(arg)
    }
}

#[cfg(test)]
mod tests {
    use update_metadata::ImageKind;

    use super::*;

    #[test]
    fn images_are_named_after_variant_architecture_and_version() {
        let word = |text: &str| text.parse().unwrap();
        for (compression, boot, root) in [
            (Compression::Lz4, "boot.ext4.lz4", "root.ext4.lz4"),
            (Compression::Zstd, "boot.ext4.zst", "root.ext4.zst"),
        ] {
            let version = Version::new(4, 2, 0);
            let names = images(&word("demo-k8s"), &word("x86_64"), &version, compression);
            let name = |part| format!("demo-k8s-x86_64-4.2.0-{part}");
            assert_eq!(
                ImageKind::ALL.map(|kind| names.get(kind).to_owned()),
                [name(boot), name(root), name("root.verity.lz4")]
            );
            let maps = block_maps(&names);
            assert_eq!(maps.boot, name(boot) + ".map.lz4");
            assert_eq!(maps.root, name(root) + ".map.lz4");
        }
    }

    #[test]
    fn migrations_are_named_after_the_version_they_lead_to_and_their_file() {
        let arg: MigrationArg = "1.0.0:1.1.0:x".parse().unwrap();
        for (file, name) in [
            ("add-widget", "migrate_v1.1.0_add-widget.lz4"),
            ("dir/add-widget.sh", "migrate_v1.1.0_add-widget.lz4"),
            ("migrate-add-widget", "migrate_v1.1.0_add-widget.lz4"),
            ("migrate_v1.1.0_add-widget", "migrate_v1.1.0_add-widget.lz4"),
            (
                "migrate_v1.1.0_add-widget.py",
                "migrate_v1.1.0_add-widget.lz4",
            ),
            ("x/rename.toml", "migrate_v1.1.0_rename.toml.lz4"),
            (
                "migrate_v1.1.0_rename.toml",
                "migrate_v1.1.0_rename.toml.lz4",
            ),
            ("migrate_vault", "migrate_v1.1.0_migrate_vault.lz4"),
        ] {
            assert_eq!(arg.target_name(Path::new(file)).unwrap(), name, "{file}");
        }
        for file in ["", "..", "/", "ä", "a b", "migrate_v1.1.0_"] {
            assert!(arg.target_name(Path::new(file)).is_err(), "{file}");
        }
        assert_eq!(
            arg.target_name(Path::new("migrate_v1.0.0_old"))
                .unwrap_err()
                .to_string(),
            "'migrate_v1.0.0_old' is named for version 1.0.0, but leads to 1.1.0; \
             rename it or correct the option"
        );
    }

    #[test]
    fn an_option_is_two_versions_and_perhaps_a_file_with_colons() {
        let arg: MigrationArg = "1.0.0:1.1.0:a:b".parse().unwrap();
        assert_eq!(arg.file, Some("a:b".into()));
        let arg: MigrationArg = "1.0.0-rc.1+x:1.1.0".parse().unwrap();
        assert_eq!(
            (arg.from.to_string().as_str(), arg.file),
            ("1.0.0-rc.1+x", None)
        );
    }

    #[test]
    fn other_options_are_refused_by_what_is_wrong() {
        for (text, message) in [
            (
                "1.0.0",
                "'1.0.0' is not FROM:TO:FILE, or FROM:TO for no migration",
            ),
            (
                "1.0.0:1.1.0:",
                "'1.0.0:1.1.0:' is not FROM:TO:FILE, or FROM:TO for no migration",
            ),
            ("1.0:1.1.0:f", "'1.0' in '1.0:1.1.0:f' is not a version"),
            (
                "1.0.0:latest",
                "'latest' in '1.0.0:latest' is not a version",
            ),
            (
                "1.1.0:1.0.0:f",
                "'1.1.0:1.0.0:f' does not lead from a lower version to a higher one",
            ),
            (
                "1.0.0:1.0.0",
                "'1.0.0:1.0.0' does not lead from a lower version to a higher one",
            ),
        ] {
            assert_eq!(
                text.parse::<MigrationArg>().unwrap_err().to_string(),
                message
            );
        }
    }
}
