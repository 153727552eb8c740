//! What may stand as a name in a manifest: of a target, a variant, an architecture.
//!
//! Names from a manifest become paths below a folder, parts of addresses and words on an
//! operator's terminal. The rules here are what those three need; the repository's own rules for
//! target names come on top of them.

use serde::de::{Deserialize, Deserializer, Error};
use snafu::{Snafu, ensure};

/// The longest name accepted, in bytes: with a SHA-256 in hex and a dot before it, as repositories
/// and caches name targets, it still is one file name of 255 bytes.
pub const MAX_NAME_LEN: usize = 190;

/// Why a string cannot be a target name, or a variant's or an architecture's name.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    #[snafu(display("the name is empty"))]
    Empty,

    /// The name is longer than [`MAX_NAME_LEN`] bytes.
    #[snafu(display("the name has {length} bytes, the longest allowed has {MAX_NAME_LEN}"))]
    TooLong {
        /// The name's length in bytes.
        length: usize,
    },

    /// The name holds a control character, or an invisible one that moves text, either of which
    /// could mislead an operator at a terminal.
    #[snafu(display("the name {name:?} holds a control character"))]
    ControlCharacter {
        /// The name.
        name: String,
    },

    /// The name starts with a slash, so it would leave any folder it is joined to.
    #[snafu(display("the target name {name:?} is an absolute path"))]
    Absolute {
        /// The name.
        name: String,
    },

    /// A part between slashes is empty, `.` or `..`.
    #[snafu(display("the target name {name:?} has an empty, `.` or `..` part"))]
    BadComponent {
        /// The name.
        name: String,
    },
}

/// Checks that `name` can name a target of the repository.
///
/// Accepted is a relative path: not empty, at most [`MAX_NAME_LEN`] bytes, without control
/// characters, and every part between slashes a real name (neither empty nor `.` nor `..`).
pub fn check_target_name(name: &str) -> Result<(), NameError> {
    check_word(name)?;
    ensure!(!name.starts_with('/'), AbsoluteSnafu { name });
    ensure!(
        name.split('/').all(|part| !matches!(part, "" | "." | "..")),
        BadComponentSnafu { name }
    );
    Ok(())
}

/// Checks that `name` can be shown and compared: not empty, bounded, no control characters.
pub(crate) fn check_word(name: &str) -> Result<(), NameError> {
    ensure!(!name.is_empty(), EmptySnafu);
    ensure!(
        name.len() <= MAX_NAME_LEN,
        TooLongSnafu { length: name.len() }
    );
    ensure!(
        !name.chars().any(moves_text),
        ControlCharacterSnafu { name }
    );
    Ok(())
}

/// Control characters, and those invisible ones that turn the direction of the text around them or
/// join nothing to nothing.
fn moves_text(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}')
}

/// Reads a target name; for `#[serde(deserialize_with = "...")]`.
pub(crate) fn target_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    check_target_name(&name).map_err(D::Error::custom)?;
    Ok(name)
}

/// Reads a variant or an architecture; for `#[serde(deserialize_with = "...")]`.
pub(crate) fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    check_word(&name).map_err(D::Error::custom)?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_and_of_paths_below_a_folder_are_accepted() {
        for name in [
            "acme-demo-k8s-9-x86_64-4.2.0-0badcafe-boot.ext4.lz4",
            "migrate_v4.1.0_add-widget.lz4",
            "images/4.2.0/root.lz4",
            "...",
            "..hidden",
            "a b",
            "größe",
        ] {
            assert_eq!(check_target_name(name), Ok(()), "{name:?}");
        }
        assert_eq!(check_target_name(&"n".repeat(190)), Ok(()));
    }

    #[test]
    fn names_that_could_leave_a_folder_or_a_line_are_refused() {
        let absolute = |name: &str| NameError::Absolute { name: name.into() };
        let component = |name: &str| NameError::BadComponent { name: name.into() };
        let control = |name: &str| NameError::ControlCharacter { name: name.into() };
        let cases = [
            ("", NameError::Empty),
            ("/etc/shadow", absolute("/etc/shadow")),
            ("/", absolute("/")),
            ("..", component("..")),
            (".", component(".")),
            ("a/../b", component("a/../b")),
            ("a/..", component("a/..")),
            ("./a", component("./a")),
            ("a//b", component("a//b")),
            ("a/", component("a/")),
            ("a\nb", control("a\nb")),
            ("a\u{1b}[2J", control("a\u{1b}[2J")),
            ("a\0", control("a\0")),
            ("\u{85}", control("\u{85}")),
            ("a\u{202e}b", control("a\u{202e}b")),
            ("a\u{200b}b", control("a\u{200b}b")),
        ];
        for (name, error) in cases {
            assert_eq!(check_target_name(name), Err(error), "{name:?}");
        }
        let error = check_target_name(&"n".repeat(191)).unwrap_err();
        assert_eq!(error, NameError::TooLong { length: 191 });
        assert_eq!(
            error.to_string(),
            "the name has 191 bytes, the longest allowed has 190"
        );
    }

    #[test]
    fn a_refused_name_is_shown_with_its_control_characters_escaped() {
        let error = check_target_name("a\u{1b}[2J").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"the name "a\u{1b}[2J" holds a control character"#
        );
    }

    #[test]
    fn a_variant_may_look_like_a_path_because_it_is_none() {
        assert_eq!(check_word("/a/../b"), Ok(()));
        assert_eq!(check_word(""), Err(NameError::Empty));
        assert_eq!(
            check_word("a\tb"),
            Err(NameError::ControlCharacter {
                name: "a\tb".into()
            })
        );
    }
}
