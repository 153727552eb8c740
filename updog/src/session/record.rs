//! The file of the [`History`]: `state_dir/history.json`. Its writer holds the session lock.
//!
//! A newer engine's file, after a fallback, stays as it is, and this engine remembers in one of its
//! own: an engine that forgets would take a version that does not boot here again and again.

use std::path::Path;

use super::history::History;
use crate::state_file::{StateFile, StateFileError};

const NAME: &str = "history";
/// The version of the file's form. Sixty-four attempts and as many holds take a few hundred bytes
/// each.
const SCHEMA: u32 = 1;

/// The history, and what of it is on the disk.
#[derive(Debug)]
pub struct Record {
    file: StateFile,
    /// What is remembered; changes are kept by [`Record::keep`].
    pub history: History,
    kept: History,
    /// Whether the file cannot be read: then it stays as it is.
    stays: bool,
}

impl Record {
    /// Reads the file in `state_dir`. One that is missing or not understood is an empty history;
    /// the log says which.
    ///
    /// # Errors
    /// [`StateFileError::Read`] when the file is there and cannot be read.
    pub fn load(state_dir: &Path) -> Result<Self, StateFileError> {
        let (file, history): (_, History) = StateFile::open(state_dir, NAME, SCHEMA)?;
        Ok(Self {
            file,
            kept: history.clone(),
            history,
            stays: false,
        })
    }

    /// An empty history in the place of one that cannot be read, and is not replaced.
    pub(super) fn unread(state_dir: &Path) -> Self {
        Self {
            file: StateFile::unread(state_dir, NAME, SCHEMA),
            history: History::default(),
            kept: History::default(),
            stays: true,
        }
    }

    /// Writes what has changed. After a crash in the middle the file is the old one or the new one.
    ///
    /// # Errors
    /// [`StateFileError::MakeFolder`] and [`StateFileError::Write`].
    pub fn keep(&mut self) -> Result<(), StateFileError> {
        if self.stays || self.history == self.kept {
            return Ok(());
        }
        self.file.keep(&self.history)?;
        self.kept = self.history.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use semver::Version;
    use signpost::Slot;

    use super::super::history::AttemptKind;
    use super::*;

    #[test]
    fn only_what_has_changed_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let mut record = Record::load(&state).unwrap();
        record.keep().unwrap();
        assert!(!state.exists(), "nothing to remember");
        let now = "2031-03-01T01:00:00Z".parse().unwrap();
        let from = Version::new(1, 0, 0);
        let kind = AttemptKind::Rollback;
        record.history.begin(kind, &from, None, Slot::B, now);
        record.keep().unwrap();
        assert_eq!(Record::load(&state).unwrap().history, record.history);
    }

    #[test]
    fn what_could_not_be_read_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::unread(dir.path());
        let now = "2031-03-01T01:00:00Z".parse().unwrap();
        let (kind, from) = (AttemptKind::Rollback, Version::new(1, 0, 0));
        record.history.begin(kind, &from, None, Slot::B, now);
        record.keep().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
