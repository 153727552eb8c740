//! Pure: the names of settings and of their metadata, and the files that hold them.
//!
//! A name is dotted segments, `settings.kubernetes.node-labels."a.b/c"`; a segment that holds a dot
//! stands in quotation marks, which are no part of it. Below `live` or a pending transaction each
//! segment but the last is a folder and the last one a file. Metadata of a setting are files beside
//! the setting's own, with a dot and the name of the metadata behind it.
//!
//! Characters that are not an ASCII letter or digit, `_` or `-` are `%XX` in file names. A file name
//! counts only if it is written exactly as [`Name::path`] writes it, so that every name has one file
//! and every file one name.

mod component;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use snafu::{OptionExt, Snafu, ensure};

pub(crate) use component::{decode, encode};

/// The longest name accepted, in bytes and as written, quotation marks included.
pub const MAX_NAME_LEN: usize = 255;

/// Why a text names no setting and no metadata, or a path holds neither.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum KeyError {
    /// The name is longer than [`MAX_NAME_LEN`].
    #[snafu(display(
        "the name {start:?}... has {length} bytes, at most {MAX_NAME_LEN} are allowed"
    ))]
    TooLong { start: String, length: usize },
    /// A segment is empty, or the whole name is.
    #[snafu(display("the name {name:?} has an empty segment"))]
    EmptySegment { name: String },
    /// A character cannot stand in a segment; a dot can in one that is quoted.
    #[snafu(display(
        "the name {name:?} has the character {character:?}; allowed are a-z A-Z 0-9 _ - /"
    ))]
    Character { name: String, character: char },
    /// A quotation mark is not closed, or does not end its segment.
    #[snafu(display("the name {name:?} has a quotation mark that does not enclose one segment"))]
    Quote { name: String },
    /// The name of metadata has one segment.
    #[snafu(display("the metadata name {name:?} has more than one segment; quote a dot"))]
    SeveralSegments { name: String },
    /// No name is stored in a file of this path.
    #[snafu(display("no name is stored as {}", path.display()))]
    Path { path: PathBuf },
}

/// The name of a setting, or of metadata: at least one segment. Equal if the segments are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    segments: Vec<String>,
}

impl Key {
    /// The name of a setting.
    ///
    /// # Errors
    /// Every [`KeyError`] but those of metadata and of paths.
    pub fn data(name: &str) -> Result<Self, KeyError> {
        ensure!(
            name.len() <= MAX_NAME_LEN,
            TooLongSnafu {
                start: name.chars().take(40).collect::<String>(),
                length: name.len()
            }
        );
        let mut segments = Vec::new();
        let mut rest = name;
        loop {
            let (segment, quoted, after) = if let Some(inner) = rest.strip_prefix('"') {
                let (segment, after) = inner.split_once('"').context(QuoteSnafu { name })?;
                (segment, true, after)
            } else {
                let (segment, after) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
                (segment, false, after)
            };
            ensure!(!segment.is_empty(), EmptySegmentSnafu { name });
            let wrong = |c: &char| !(in_segment(*c) || quoted && *c == '.');
            if let Some(character) = segment.chars().find(wrong) {
                return CharacterSnafu { name, character }.fail();
            }
            segments.push(segment.to_owned());
            if after.is_empty() {
                return Ok(Self { segments });
            }
            rest = after.strip_prefix('.').context(QuoteSnafu { name })?;
        }
    }

    /// The name of metadata: one segment.
    ///
    /// # Errors
    /// Every [`KeyError`] but that of paths.
    pub fn metadata(name: &str) -> Result<Self, KeyError> {
        let key = Self::data(name)?;
        ensure!(key.segments.len() == 1, SeveralSegmentsSnafu { name });
        Ok(key)
    }

    /// The name of these segments, without quotation marks.
    ///
    /// # Errors
    /// Those of [`Key::data`].
    pub fn from_segments<S: AsRef<str>>(segments: &[S]) -> Result<Self, KeyError> {
        Self::data(&Joined(segments).to_string())
    }

    /// The segments, without quotation marks; at least one.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// Whether this is `other`, or lies below it, segment by segment.
    pub fn is_within(&self, other: &Self) -> bool {
        self.segments.starts_with(&other.segments)
    }

    /// The names that this one lies below, the shortest first.
    pub fn parents(&self) -> impl Iterator<Item = Self> {
        (1..self.segments.len()).filter_map(|length| {
            let segments = self.segments.get(..length)?.to_vec();
            Some(Self { segments })
        })
    }

    /// This name with `to` in the place of `from`, which it lies within; `None` when it does not.
    ///
    /// # Errors
    /// [`KeyError::TooLong`] when the new name is.
    pub fn moved(&self, from: &Self, to: &Self) -> Option<Result<Self, KeyError>> {
        let rest = self.segments.strip_prefix(from.segments.as_slice())?;
        let segments: Vec<_> = to.segments.iter().chain(rest).collect();
        Some(Self::from_segments(&segments))
    }
}

fn in_segment(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/')
}

/// As [`Key::data`].
impl FromStr for Key {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        Self::data(name)
    }
}

/// Segments that hold a dot are quoted.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Joined(&self.segments).fmt(f)
    }
}

struct Joined<'a, S>(&'a [S]);

impl<S: AsRef<str>> fmt::Display for Joined<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            let segment = segment.as_ref();
            let quote = if segment.contains('.') { "\"" } else { "" };
            write!(f, "{dot}{quote}{segment}{quote}")?;
        }
        Ok(())
    }
}

/// What a file of the store holds: a setting, or metadata of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// The value of a setting.
    Data(Key),
    /// Metadata of a setting.
    Metadata {
        /// The setting.
        data: Key,
        /// The name of the metadata: one segment.
        metadata: Key,
    },
}

impl Name {
    /// The parts of the path below `live` or a pending transaction; at least one.
    pub fn components(&self) -> Vec<String> {
        let (data, metadata) = match self {
            Self::Data(data) => (data, None),
            Self::Metadata { data, metadata } => (data, Some(metadata)),
        };
        let mut components: Vec<_> = data.segments.iter().map(|part| encode(part)).collect();
        if let (Some(last), Some(metadata)) = (components.last_mut(), metadata) {
            last.push('.');
            last.extend(metadata.segments.iter().map(|part| encode(part)));
        }
        components
    }

    /// The path below `live` or a pending transaction.
    pub fn path(&self) -> PathBuf {
        self.components().iter().collect()
    }

    /// The name whose [`Name::path`] is `path`.
    ///
    /// # Errors
    /// [`KeyError::Path`] when there is none: a part is no encoded segment, is encoded in another
    /// way, or there is more than the one dot of metadata. [`KeyError::TooLong`] and its like when
    /// the name could not be stored by us.
    pub fn decode(path: &Path) -> Result<Self, KeyError> {
        let no_name = || PathSnafu { path };
        let text = path.to_str().with_context(no_name)?;
        let (data, metadata) = match text.split_once('.') {
            Some((data, metadata)) => (data, Some(metadata)),
            None => (text, None),
        };
        let segments: Vec<_> = data
            .split('/')
            .map(|part| decode(part).with_context(no_name))
            .collect::<Result<_, _>>()?;
        let data = Key::from_segments(&segments)?;
        let Some(metadata) = metadata else {
            return Ok(Self::Data(data));
        };
        let segment = decode(metadata).with_context(no_name)?;
        let metadata = Key::from_segments(&[segment])?;
        Ok(Self::Metadata { data, metadata })
    }
}

/// `setting`, or `setting (metadata)`.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data) => data.fmt(f),
            Self::Metadata { data, metadata } => write!(f, "{data} ({metadata})"),
        }
    }
}

#[cfg(test)]
mod tests;
