//! What the last run did, for people and monitors, and which version ran before: `migrator.json` in
//! the folder of the datastore. Nothing is decided by it but which old stores are pruned.

use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use semver::Version;
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu};
use update_metadata::Stored;

use crate::folder::Folder;
use crate::host;

/// The version of the file's form.
const SCHEMA: u32 = 1;
/// A run has a thousand steps at most; ordinary ones a handful.
const MAX_FILE_BYTES: u64 = 4 << 20;
const FILE: &str = "migrator.json";

/// Why it cannot be read or written.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum RecordError {
    /// It is there and cannot be read.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// It cannot be written.
    #[snafu(display("writing {}", path.display()))]
    Write { path: PathBuf, source: io::Error },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// A new store is in use.
    Migrated,
    /// The same store serves the other version.
    Relinked,
    /// The store that the booting version last ran with is in use again.
    FellBack,
    /// The links are as they were.
    Failed,
}

/// One run that had something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// The version whose store was in use.
    pub from: Version,
    /// The booting version.
    pub to: Version,
    /// How it ended.
    pub result: Ending,
    /// Why, when it is not as hoped.
    pub reason: Option<String>,
    /// The store in use afterwards.
    pub store: String,
    /// Settings that the way back put back.
    #[serde(default)]
    pub restored: Vec<String>,
}

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The last run that had something to do.
    pub last_run: Option<LastRun>,
    /// The version whose store was in use before that of `reached`.
    pub previous: Option<Version>,
    /// The version that the last move led to.
    #[serde(default)]
    pub reached: Option<Version>,
}

impl History {
    /// The version that ran before `version`. Not known when a move was cut off before it was
    /// remembered: then what is remembered is about another version.
    pub fn previous_of(&self, version: &Version) -> Option<&Version> {
        let is_about_it = self.reached.as_ref() == Some(version);
        self.previous.as_ref().filter(|_| is_about_it)
    }
}

/// The record as it is on the disk.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    /// What is remembered.
    pub history: History,
    /// Whether it stays as it is, since a newer version wrote it.
    stays: bool,
}

#[derive(Serialize)]
struct Written<'a> {
    schema: u32,
    #[serde(flatten)]
    history: &'a History,
}

impl Record {
    /// Reads the file in `folder`. One that is missing or not understood is an empty history; the
    /// log says which.
    ///
    /// # Errors
    /// [`RecordError::Read`].
    pub fn load(folder: &Path) -> Result<Self, RecordError> {
        let path = folder.join(FILE);
        let mut bytes = Vec::new();
        let read = host::open_plain(&path)
            .and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
        let (history, stays) = match read {
            Ok(_) => understand(&bytes, &path),
            Err(error) if error.kind() == ErrorKind::NotFound => (History::default(), false),
            // Nothing of ours, and waiting for it would end no boot: the next run puts a file there.
            Err(error) if error.kind() == ErrorKind::Other => {
                tracing::warn!("{} is begun anew: {error}", path.display());
                (History::default(), false)
            }
            Err(source) => return Err(source).context(ReadSnafu { path }),
        };
        Ok(Self {
            path,
            history,
            stays,
        })
    }

    /// Remembers a run. After a crash in the middle the file is the old one or the new one.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn keep(&mut self, effects: &dyn Folder, run: LastRun) -> Result<(), RecordError> {
        if run.result != Ending::Failed {
            self.history.previous = Some(run.from.clone());
            self.history.reached = Some(run.to.clone());
        }
        self.history.last_run = Some(run);
        if self.stays {
            return Ok(());
        }
        let written = Written {
            schema: SCHEMA,
            history: &self.history,
        };
        let path = &self.path;
        let mut json = serde_json::to_vec_pretty(&written)
            .map_err(io::Error::from)
            .context(WriteSnafu { path })?;
        json.push(b'\n');
        effects
            .replace_file(path, &json)
            .context(WriteSnafu { path })
    }
}

fn understand(bytes: &[u8], path: &Path) -> (History, bool) {
    match Stored::from_slice(bytes, SCHEMA) {
        Ok(Stored::Known(history)) => (history, false),
        Ok(Stored::Newer) => {
            tracing::warn!(
                "{} was written by a newer version: it is left alone, and this run is not \
                 remembered",
                path.display()
            );
            (History::default(), true)
        }
        Err(error) => {
            tracing::warn!(
                "{} is not understood and begun anew: {error}",
                path.display()
            );
            (History::default(), false)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::folder::Disk;

    fn run(result: Ending) -> LastRun {
        LastRun {
            from: Version::new(1, 0, 0),
            to: Version::new(1, 1, 0),
            result,
            reason: None,
            store: "v1.1.0_aaaaaaaaaaaaaaaa".to_owned(),
            restored: Vec::new(),
        }
    }

    #[test]
    fn a_run_is_read_as_it_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::load(dir.path()).unwrap();
        assert_eq!(record.history, History::default());
        record.keep(&Disk, run(Ending::Migrated)).unwrap();
        let history = &record.history;
        assert_eq!(
            history.previous_of(&Version::new(1, 1, 0)),
            Some(&Version::new(1, 0, 0))
        );
        assert_eq!(history.previous_of(&Version::new(1, 0, 0)), None);
        assert_eq!(Record::load(dir.path()).unwrap().history, record.history);
    }

    #[test]
    fn a_failed_run_leaves_the_previous_version_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::load(dir.path()).unwrap();
        record.keep(&Disk, run(Ending::Failed)).unwrap();
        assert_eq!(Record::load(dir.path()).unwrap().history.previous, None);
    }

    #[test]
    fn a_pipe_or_a_link_in_its_place_is_neither_waited_for_nor_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join(FILE), dir.path().join("other"));
        fs::write(&other, "{\"schema\": 2}").unwrap();
        let pipe = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::RWXU;
        for is_pipe in [true, false] {
            if is_pipe {
                rustix::fs::mknodat(rustix::fs::CWD, &path, pipe, mode, 0).unwrap();
            } else {
                std::os::unix::fs::symlink(&other, &path).unwrap();
            }
            let mut record = Record::load(dir.path()).unwrap();
            assert_eq!(record.history, History::default());
            record.keep(&Disk, run(Ending::Migrated)).unwrap();
            assert_eq!(Record::load(dir.path()).unwrap().history, record.history);
            fs::remove_file(&path).unwrap();
        }
        assert_eq!(fs::read_to_string(&other).unwrap(), "{\"schema\": 2}");
    }

    #[test]
    fn what_a_newer_version_wrote_stays_and_what_is_damaged_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for (text, stays) in [
            ("{\"schema\": 2, \"last_run\": \"other\"}", true),
            ("{\"schema\": 1, \"last_run\": 3}", false),
            ("", false),
            ("{", false),
        ] {
            fs::write(&path, text).unwrap();
            let mut record = Record::load(dir.path()).unwrap();
            assert_eq!(record.history, History::default(), "{text}");
            record.keep(&Disk, run(Ending::Failed)).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap() == text, stays, "{text}");
        }
    }
}
