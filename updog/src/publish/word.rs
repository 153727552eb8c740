//! Pure: a variant's or an architecture's name as the publisher may choose it.
//!
//! It becomes a folder of the repository and a part of target names, so it is held to characters
//! that mean nothing to a shell, a URL or a path.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use snafu::{Snafu, ensure};

/// Three words and a version must fit into one file name.
const MAX_BYTES: usize = 64;
/// The folder of a repository that holds the targets, next to those of the variants.
pub const TARGETS_FOLDER: &str = "targets";

/// The architectures that there are, as hosts and manifests name them.
pub const ARCHES: [&str; 2] = ["x86_64", "aarch64"];

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[snafu(display(
    "'{text}' is not a name: use 1 to {MAX_BYTES} of a-z A-Z 0-9 . _ -, the first a letter or \
     digit, and not '{TARGETS_FOLDER}'"
))]
pub struct WordError {
    text: String,
}

/// A name of letters, digits, dots, underscores and dashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Word(String);

impl Word {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Word {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        ensure!(
            text.len() <= MAX_BYTES
                && text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text.chars().all(good)
                && text != TARGETS_FOLDER,
            WordSnafu { text }
        );
        Ok(Self(text.to_owned()))
    }
}

/// An architecture that no host calls its own.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[snafu(display("hosts are {}; manifests name no other architecture", ARCHES.join(" or ")))]
pub struct ArchError;

/// Pure: the name of an architecture, for `#[arg(value_parser = ...)]`.
///
/// # Errors
/// [`ArchError`] for any but [`ARCHES`].
pub fn arch(text: &str) -> Result<Word, ArchError> {
    ensure!(ARCHES.contains(&text), ArchSnafu);
    Ok(Word(text.to_owned()))
}

impl TryFrom<String> for Word {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        text.parse()
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_architecture_is_one_that_hosts_have() {
        for text in ARCHES {
            assert_eq!(arch(text).unwrap().as_str(), text);
        }
        for text in ["", "mips", "X86_64", "amd64", "arm64", "x86_64 "] {
            assert_eq!(
                arch(text).unwrap_err().to_string(),
                "hosts are x86_64 or aarch64; manifests name no other architecture"
            );
        }
    }

    #[test]
    fn names_that_are_also_paths_options_or_the_targets_folder_are_refused() {
        for text in ["demo-k8s-9", "x86_64", "a", "9", "v1.0", &"a".repeat(64)] {
            assert_eq!(text.parse::<Word>().unwrap().as_str(), text);
        }
        for text in [
            "",
            ".",
            "..",
            "-a",
            "_a",
            "a/b",
            "a b",
            "a\n",
            "ü",
            "targets",
            &"a".repeat(65),
        ] {
            assert!(text.parse::<Word>().is_err(), "{text:?}");
        }
    }
}
