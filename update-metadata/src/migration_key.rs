//! The `(FROM, TO)` keys of a migration graph.

use semver::Version;
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use std::str::FromStr;

/// The longest key that is searched for a pair: the search is quadratic in the parentheses.
const MAX_KEY_LEN: usize = 1024;

/// The version pair that a key holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MigrationKey {
    pub(crate) from: Version,
    pub(crate) to: Version,
}

/// Why a key holds no version pair.
#[derive(Debug, Snafu)]
pub(crate) enum MigrationKeyError {
    /// No pair of versions is that long.
    #[snafu(display("a migration key of {length} bytes is longer than {MAX_KEY_LEN}"))]
    TooLong { length: usize },

    /// There are no two words in parentheses.
    #[snafu(display("migration key {key:?} has no `(FROM, TO)` in it"))]
    NoPair { key: String },

    /// One of the two words is no version.
    #[snafu(display("{version:?} in migration key {key:?} is not a version"))]
    NotAVersion {
        key: String,
        version: String,
        source: semver::Error,
    },
}

/// Reads the first `(FROM, TO)` in the text; what stands around it is ignored, as Bottlerocket's
/// reader does.
///
/// A word is a run without white space and commas. Between the comma and the second word there may
/// be white space, elsewhere not.
impl FromStr for MigrationKey {
    type Err = MigrationKeyError;

    fn from_str(key: &str) -> Result<Self, MigrationKeyError> {
        ensure!(key.len() <= MAX_KEY_LEN, TooLongSnafu { length: key.len() });
        let (from, to) = key
            .match_indices('(')
            .find_map(|(open, paren)| pair(&key[open + paren.len()..]))
            .context(NoPairSnafu { key })?;
        let version =
            |text: &str| Version::parse(text).context(NotAVersionSnafu { key, version: text });
        Ok(Self {
            from: version(from)?,
            to: version(to)?,
        })
    }
}

/// The two words of a pair whose opening parenthesis stands just before `text`.
fn pair(text: &str) -> Option<(&str, &str)> {
    let (from, rest) = text.split_once(',')?;
    let second = rest.trim_start();
    let second = &second[..second.find(ends_word).unwrap_or(second.len())];
    // The word may itself hold parentheses: the last one closes the pair.
    let to = &second[..second.rfind(')')?];
    let is_word = |word: &str| !word.is_empty() && !word.contains(ends_word);
    (is_word(from) && !to.is_empty()).then_some((from, to))
}

fn ends_word(c: char) -> bool {
    c == ',' || c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(key: &str) -> Result<(String, String), String> {
        key.parse::<MigrationKey>()
            .map(|key| (key.from.to_string(), key.to.to_string()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_of_nothing_but_parentheses_is_refused_by_its_length() {
        let error = read(&"(".repeat(10 << 20)).unwrap_err();
        assert_eq!(
            error,
            "a migration key of 10485760 bytes is longer than 1024"
        );
    }

    #[test]
    fn text_around_a_pair_is_tolerated() {
        let pair = Ok(("4.0.0".to_owned(), "4.1.0".to_owned()));
        for key in [
            "(4.0.0, 4.1.0)",
            "(4.0.0,4.1.0)",
            "(4.0.0,   4.1.0)",
            " (4.0.0, 4.1.0) ",
            "from (4.0.0, 4.1.0) on",
            "x(4.0.0, 4.1.0)y",
            "(4.0.0, 4.1.0), (5.0.0, 5.1.0)",
            "( (4.0.0, 4.1.0)",
            "(,(4.0.0, 4.1.0)",
            "(4.0.0 ,9.9.9)(4.0.0, 4.1.0)",
        ] {
            assert_eq!(read(key), pair, "{key:?}");
        }
        assert_eq!(
            read("(1.0.0-rc.1+b, 1.0.0+c)"),
            Ok(("1.0.0-rc.1+b".to_owned(), "1.0.0+c".to_owned()))
        );
    }

    #[test]
    fn a_key_without_a_parenthesised_pair_is_refused() {
        for key in [
            "",
            "4.0.0, 4.1.0",
            "(4.0.0, 4.1.0",
            "4.0.0, 4.1.0)",
            "(4.0.0 4.1.0)",
            "(4.0.0)",
            "(4.0.0,)",
            "(,4.0.0)",
            "( 4.0.0, 4.1.0)",
            "(4.0.0 , 4.1.0)",
            "(4.0.0, 4.1.0 )",
            "[4.0.0, 4.1.0]",
            "(4.0.0,,4.1.0)",
        ] {
            assert_eq!(
                read(key),
                Err(format!("migration key {key:?} has no `(FROM, TO)` in it"))
            );
        }
    }

    #[test]
    fn both_words_of_a_pair_are_versions() {
        for (key, word) in [
            ("(4.0, 4.1.0)", "4.0"),
            ("(4.0.0, v4.1.0)", "v4.1.0"),
            ("(4.0.0, latest)", "latest"),
            ("((4.0.0, 4.1.0)", "(4.0.0"),
            ("(4.0.0, 4.1.0))", "4.1.0)"),
        ] {
            let error = format!("{word:?} in migration key {key:?} is not a version");
            assert_eq!(read(key), Err(error));
        }
    }

    proptest! {
        #[test]
        fn no_string_panics(text in "[(), 0-9.a-zé\u{a0}\\PC]*") {
            let _ = text.parse::<MigrationKey>();
        }
    }
}
