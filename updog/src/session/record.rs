//! The file of the [`History`]: `state_dir/history.json`. Its writer holds the session lock.
//!
//! After a fallback that file may be of a newer engine, in a form that is not understood here. It
//! stays as it is, and this engine remembers in a file of its own, named after its form: an engine
//! that forgets would take a version that does not boot here again and again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use snafu::{ResultExt, Snafu};
use update_metadata::Stored;

use super::history::History;
use crate::durable::{self, ReplaceError};

/// The version of the file's form.
const SCHEMA: u32 = 1;
/// Sixty-four attempts and as many holds take a few hundred bytes each.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where this form is kept beside a newer one.
const BESIDE_NEWER: &str = "history.schema-1.json";

/// Why the history cannot be read or kept.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum RecordError {
    /// The folder cannot be made.
    #[snafu(display("making the folder {}", path.display()))]
    MakeFolder { path: PathBuf, source: io::Error },
    /// The file cannot be read.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The file cannot be written.
    #[snafu(display("remembering this attempt"))]
    Write { source: ReplaceError },
}

/// The history, and what of it is on the disk.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    /// What is remembered; changes are kept by [`Record::keep`].
    pub history: History,
    kept: History,
    /// Whether the file cannot be read: then it stays as it is.
    stays: bool,
}

#[derive(Serialize)]
struct Written<'a> {
    schema: u32,
    #[serde(flatten)]
    history: &'a History,
}

impl Record {
    /// Reads the file in `state_dir`. One that is missing or not understood is an empty history;
    /// the log says which.
    ///
    /// # Errors
    /// [`RecordError::Read`] when the file is there and cannot be read.
    pub fn load(state_dir: &Path) -> Result<Self, RecordError> {
        let path = state_dir.join("history.json");
        match read(&path)? {
            Stored::Known(history) => Ok(Self::of(path, history, false)),
            Stored::Newer => {
                let own = state_dir.join(BESIDE_NEWER);
                tracing::warn!(
                    "{} was written by a newer version, whose attempts are not known here; those \
                     of this version are in {}",
                    path.display(),
                    own.display()
                );
                let history = match read(&own)? {
                    Stored::Known(history) => history,
                    Stored::Newer => History::default(),
                };
                Ok(Self::of(own, history, false))
            }
        }
    }

    /// An empty history in the place of one that cannot be read, and is not replaced.
    pub(super) fn unread(state_dir: &Path) -> Self {
        Self::of(state_dir.join("history.json"), History::default(), true)
    }

    fn of(path: PathBuf, history: History, stays: bool) -> Self {
        Self {
            path,
            kept: history.clone(),
            history,
            stays,
        }
    }

    /// Writes what has changed. After a crash in the middle the file is the old one or the new one.
    ///
    /// # Errors
    /// [`RecordError::MakeFolder`] and [`RecordError::Write`].
    pub fn keep(&mut self) -> Result<(), RecordError> {
        if self.stays || self.history == self.kept {
            return Ok(());
        }
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent).context(MakeFolderSnafu { path: parent })?;
            durable::remove_strays(parent);
        }
        let written = Written {
            schema: SCHEMA,
            history: &self.history,
        };
        let mut json = serde_json::to_vec_pretty(&written).expect("plain data with string keys");
        json.push(b'\n');
        durable::replace(&self.path, &json).context(WriteSnafu)?;
        self.kept = self.history.clone();
        Ok(())
    }
}

/// The history in the file at `path`; an empty one where there is no file, or none that makes sense.
fn read(path: &Path) -> Result<Stored<History>, RecordError> {
    let Some(bytes) = durable::read(path, MAX_FILE_BYTES).context(ReadSnafu { path })? else {
        return Ok(Stored::Known(History::default()));
    };
    Ok(Stored::from_slice(&bytes, SCHEMA).unwrap_or_else(|error| {
        tracing::warn!(
            "{} is not understood and begun anew: {error}",
            path.display()
        );
        Stored::Known(History::default())
    }))
}

#[cfg(test)]
mod tests {
    use semver::Version;
    use signpost::Slot;

    use super::super::history::{AttemptKind, Release};
    use super::*;

    fn begin(record: &mut Record) {
        let release = Release {
            variant: "demo".into(),
            arch: "x86_64".into(),
            version: Version::new(1, 1, 0),
            targets: vec![],
            root_hash: None,
        };
        let now = "2031-03-01T01:00:00Z".parse().unwrap();
        let from = Version::new(1, 0, 0);
        let kind = AttemptKind::Update;
        record
            .history
            .begin(kind, &from, Some(release), Slot::B, now);
    }

    #[test]
    fn a_history_is_read_as_it_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let mut record = Record::load(&state).unwrap();
        record.keep().unwrap();
        assert!(!state.exists(), "nothing to remember");
        begin(&mut record);
        record.keep().unwrap();
        assert_eq!(Record::load(&state).unwrap().history, record.history);
    }

    #[test]
    fn what_a_newer_engine_wrote_stays_and_what_is_damaged_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.json");
        let own = dir.path().join(BESIDE_NEWER);
        for (text, stays) in [
            ("{\"schema\": 2, \"attempts\": \"other\"}", true),
            ("{\"schema\": 1}", false),
            ("", false),
            ("{", false),
        ] {
            fs::write(&path, text).unwrap();
            let mut record = Record::load(dir.path()).unwrap();
            assert_eq!(record.history, History::default(), "{text}");
            begin(&mut record);
            record.keep().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap() == text, stays, "{text}");
            assert_eq!(own.exists(), stays, "{text}");
            let again = Record::load(dir.path()).unwrap();
            assert_eq!(again.history, record.history, "{text}");
            if stays {
                fs::remove_file(&own).unwrap();
            }
        }
    }
}
