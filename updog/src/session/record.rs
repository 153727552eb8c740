//! The file of the [`History`]: `state_dir/history.json`. Its writer holds the session lock.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu};

use super::history::History;
use crate::durable::{self, ReplaceError};

/// The version of the file's form.
const SCHEMA: u32 = 1;
/// Sixty-four attempts and as many holds take a few hundred bytes each.
const MAX_FILE_BYTES: u64 = 1 << 20;

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
    /// Whether a newer engine wrote the file, or it cannot be read: then it stays as it is.
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
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                file.take(MAX_FILE_BYTES)
                    .read_to_end(&mut bytes)
                    .context(ReadSnafu { path: &path })?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self::of(path, History::default(), false));
            }
            Err(source) => return Err(source).context(ReadSnafu { path }),
        }
        let (history, is_newer) = understand(&bytes, &path);
        Ok(Self::of(path, history, is_newer))
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

fn understand(bytes: &[u8], path: &Path) -> (History, bool) {
    #[derive(Deserialize)]
    struct Form {
        schema: u32,
    }
    let result = serde_json::from_slice::<Form>(bytes).and_then(|form| {
        if form.schema > SCHEMA {
            tracing::warn!(
                "{} was written by a newer version: attempts before this are not known, and this \
                 one is not remembered",
                path.display()
            );
            return Ok((History::default(), true));
        }
        Ok((serde_json::from_slice(bytes)?, false))
    });
    result.unwrap_or_else(|error| {
        tracing::warn!(
            "{} is not understood and begun anew: {error}",
            path.display()
        );
        (History::default(), false)
    })
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
        }
    }
}
