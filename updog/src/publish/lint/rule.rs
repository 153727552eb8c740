//! Pure: the rules by name, and of each what breaking it does to hosts and what helps.
//!
//! The names are stable: scripts and `--allow` rely on them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use snafu::{OptionExt, Snafu};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Some host fails, or is left without protection. Nothing like it is published unless the
    /// publisher allows it by name.
    Error,
    /// It may be meant.
    Warning,
}

/// Not the name of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[snafu(display(
    "'{text}' is no rule; `updata lint` prints the name of each rule that it finds broken"
))]
pub struct UnknownRule {
    text: String,
}

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $rule:ident = $severity:ident $name:literal,
        $harm:literal, $advice:literal;)+) => {
        /// What a repository is held to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[doc = $doc])+ $rule,)+
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$rule),+];

            /// Its stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$rule => $name),+ }
            }

            /// How bad it is to break it.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$rule => Severity::$severity),+ }
            }

            /// What hosts suffer, as a clause.
            pub const fn harm(self) -> &'static str {
                match self { $(Self::$rule => $harm),+ }
            }

            /// What the publisher can do, as a clause.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$rule => $advice),+ }
            }
        }
    };
}

rules! {
    /// Every published version is joined to the next one by migrations.
    MigrationPath = Error "migration-path",
        "hosts on one of the two cannot get to the other, nor past it",
        "publish the missing step: `updata release --migration FROM:TO[:FILE]`";
    /// A version of a variant and architecture is listed once.
    UpdateTwice = Error "update-twice",
        "hosts take the first entry, and no other is ever offered",
        "remove one with `updata remove-update` and publish again";
    /// Each decoded image fits into its partition of the given plan.
    ImageSize = Error "image-size",
        "the update is refused on every host whose disk has that plan; partitions cannot grow",
        "make the image smaller";
    /// Each decoded image fits where `updata disk` would have put the oldest version's.
    ImageGrowth = Warning "image-growth",
        "the update is refused on hosts whose disk was made for the oldest version without \
         --os-image-size-gib",
        "make the image smaller, or say with --os-image-size-gib how large the disks are";
    /// The boot image contains the root hash that the manifest states.
    BootRootHash = Error "boot-root-hash",
        "the kernel refuses the root file system, and the host falls back",
        "withdraw the version with --max-version, and release a boot image made for this root image";
    /// The manifest's verity facts go with the images.
    VerityFacts = Error "verity-facts",
        "hosts write the images, find that they do not fit together, and never boot them",
        "withdraw the version with --max-version, and release a new one";
    /// The hash image is the verity tree of the root image.
    VerityTree = Error "verity-tree",
        "hosts write the images, find that they do not fit together, and never boot them",
        "withdraw the version with --max-version, and release a new one";
    /// The newest version, if it has block maps, has the verity salt of the version below it.
    VeritySalt = Warning "verity-salt",
        "hosts cannot look in the tree of the running set for blocks to copy, but read and hash all of it",
        "make the next hash images with one salt: `updata verity --salt`, or `updata release --salt`";
    /// What the manifest names is listed in targets.json.
    TargetUnlisted = Error "target-unlisted",
        "the update fails before anything is written",
        "publish the target, or remove what names it from the manifest";
    /// The file of a target that the manifest names exists.
    TargetMissing = Error "target-missing",
        "the update fails when the host asks for the file",
        "restore the file from a backup or a mirror";
    /// The file of a target is as long as signed.
    TargetLength = Error "target-length",
        "the update fails when the host has read the file",
        "restore the file from a backup or a mirror";
    /// The file of a target has the signed SHA-256.
    TargetDigest = Error "target-digest",
        "the update fails when the host has read the file",
        "restore the file from a backup or a mirror";
    /// Images, block maps and migrations are exactly one whole LZ4 frame, or, as `.zst`, whole zstd
    /// frames.
    ImageFrame = Error "image-frame",
        "the update fails while the host decodes it",
        "withdraw the version with --max-version, and release a new one";
    /// The decoded image has the length and digest that the manifest states.
    RawImage = Error "raw-image",
        "the update fails when the host has decoded the image",
        "withdraw the version with --max-version, and release a new one";
    /// A block map is that of its image.
    BlockMap = Error "block-map",
        "hosts cannot use it, and fetch whole images",
        "make it again: `updata add-block-maps --version VERSION`, with the repository, keys, variant \
         and arch";
    /// A folder of metadata has the file that clients ask for first.
    TimestampMissing = Error "timestamp-missing",
        "no host finds an update",
        "put timestamp.json back from the newest copy, or run the first release again if it never \
         ended";
    /// A client can ask for the target.
    TargetName = Error "target-name",
        "the host asks for another file, or clients disagree on where the file is",
        "publish it under a name of letters, digits, dots, underscores and dashes";
    /// Target names mean nothing to a URL, and have no folders.
    TargetNameOdd = Warning "target-name-odd",
        "some web servers and file stores answer with another file, or with none",
        "use names of letters, digits, dots, underscores and dashes";
    /// Each listed target is used.
    TargetUnused = Warning "target-unused",
        "none; it is signed again with every release and kept for nobody",
        "leave it if something else reads it";
    /// Each file in the targets folder is listed.
    FileUnlisted = Warning "file-unlisted",
        "none; older manifests are kept for hosts that are in the middle of an update",
        "remove what is older than the last metadata that named it: see their expiry";
    /// Waves start one after the other.
    WaveOrder = Error "wave-order",
        "later waves start before or with earlier ones",
        "set them again: `updata set-waves`";
    /// No wave is bounded by a seed that no host has.
    WaveBound = Error "wave-bound",
        "seeds end at 2048: the hosts of the last wave all start together",
        "set them again: `updata set-waves`";
    /// The first wave starts at seed 0.
    WaveGap = Warning "wave-gap",
        "hosts with a seed below the first wave's do not wait at all",
        "start the first wave at seed 0";
    /// Waves start about now.
    WaveTime = Warning "wave-time",
        "waves that are over hold nobody back; those far ahead hold everybody back",
        "look at the year of --wave-start";
    /// No role has expired.
    Expired = Error "expired",
        "every host refuses the repository",
        "sign it again: a release does so for timestamp, snapshot and targets; a new root role \
         needs the root keys";
    /// Every role is valid for some time yet.
    ExpiresSoon = Warning "expires-soon",
        "when it has expired, every host refuses the repository",
        "sign it again in time";
    /// No role expires before the timestamp.
    ExpiryOrder = Warning "expiry-order",
        "a fresh timestamp will lead to metadata that have expired",
        "let the other roles be valid for longer than the timestamp";
    /// All updates of a variant and architecture have one ceiling.
    MaxVersionMixed = Error "max-version-mixed",
        "which versions are withdrawn depends on the update that a host looks at",
        "set one ceiling: `updata set-max-version`";
    /// The ceiling leaves something to offer.
    MaxVersionLow = Warning "max-version-low",
        "no version is offered to any host",
        "raise it, unless everything is meant to be withdrawn";
    /// The ceiling is a published version.
    MaxVersionUnknown = Warning "max-version-unknown",
        "none now; a version published later below it is offered at once",
        "set it to a published version: `updata set-max-version`";
    /// No key is listed under two ids.
    KeyTwice = Error "key-twice",
        "one stolen key counts twice toward a threshold",
        "publish a root role that lists each key once";
    /// Each role has keys of its own.
    KeyShared = Warning "key-shared",
        "one stolen key is good for two roles",
        "give each role keys of its own";
    /// One stolen root key is not enough.
    RootThreshold = Warning "root-threshold",
        "whoever has that one root key can replace every key; whoever loses it can replace none",
        "make more root keys, and demand two or more of them";
    /// No targets are delegated.
    Delegations = Error "delegations",
        "hosts ignore delegated targets, and one bad delegated role makes them refuse the repository",
        "list every target in targets.json";
    /// Metadata and targets never change under their name.
    ConsistentSnapshot = Warning "consistent-snapshot",
        "a host that reads while files are replaced sees some old and some new, and fails",
        "publish a root role with consistent_snapshot; updata extends no other repository";
    /// Metadata are within what hosts read.
    MetadataSize = Error "metadata-size",
        "hosts refuse metadata larger than they are willing to read",
        "remove updates and targets that nobody needs";
}

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let found = Self::ALL.iter().find(|rule| rule.name() == text);
        found.copied().context(UnknownRuleSnafu { text })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_that_is_read_back() {
        let names: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        assert_eq!(names.len(), Rule::ALL.len());
        for &rule in Rule::ALL {
            assert_eq!(rule.name().parse(), Ok(rule));
        }
        assert!("target".parse::<Rule>().is_err());
    }

    #[test]
    fn the_readme_has_each_rule_with_its_severity_and_no_other() {
        let readme = include_str!("../../../README.md");
        let rows = readme.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let name = cells.next()?.trim_end().strip_suffix('`')?;
            let severity = cells.next()?.trim();
            matches!(severity, "error" | "warning").then(|| format!("{name} {severity}"))
        });
        let expected: BTreeSet<_> = Rule::ALL
            .iter()
            .map(|rule| format!("{rule} {}", rule.severity()))
            .collect();
        assert_eq!(rows.collect::<BTreeSet<_>>(), expected);
    }
}
