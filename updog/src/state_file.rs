//! One file of the folder `state_dir`: JSON with a schema number, old or new after a crash.
//!
//! After a fallback such a file may be of a newer engine, in a form that is not understood here. It
//! stays as it is, and this engine uses a file of its own beside it, named after its form.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use snafu::{ResultExt, Snafu};
use update_metadata::Stored;

use crate::durable::{self, ReplaceError};

/// A larger file is none of ours.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why a state file cannot be read or kept.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum StateFileError {
    /// The folder cannot be made.
    #[snafu(display("making the folder {}", path.display()))]
    MakeFolder { path: PathBuf, source: io::Error },
    /// The file cannot be read.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The file cannot be written.
    #[snafu(transparent)]
    Write { source: ReplaceError },
}

/// Where a value is kept, in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateFile {
    path: PathBuf,
    schema: u32,
}

#[derive(Serialize)]
struct Written<'a, T> {
    schema: u32,
    #[serde(flatten)]
    value: &'a T,
}

impl StateFile {
    /// The file `name` with its ending, whatever is in it.
    pub(crate) fn unread(state_dir: &Path, name: &str, schema: u32) -> Self {
        Self {
            path: state_dir.join(format!("{name}.json")),
            schema,
        }
    }

    /// Reads `name.json` in `state_dir`, or, where that is of a newer form, `name.schema-N.json`
    /// beside it. A file that is missing or not understood is the default; the log says which.
    ///
    /// # Errors
    /// [`StateFileError::Read`] when the file is there and cannot be read.
    pub(crate) fn open<T>(
        state_dir: &Path,
        name: &str,
        schema: u32,
    ) -> Result<(Self, T), StateFileError>
    where
        T: Default + DeserializeOwned,
    {
        let file = Self::unread(state_dir, name, schema);
        if let Stored::Known(value) = file.read()? {
            return Ok((file, value));
        }
        let own = Self {
            path: state_dir.join(format!("{name}.schema-{schema}.json")),
            schema,
        };
        tracing::warn!(
            "{} was written by a newer version, and what it says is not known here; what this \
             version has to say is in {}",
            file.path.display(),
            own.path.display()
        );
        let value = match own.read()? {
            Stored::Known(value) => value,
            Stored::Newer => T::default(),
        };
        Ok((own, value))
    }

    /// Writes `value`. After a crash in the middle the file is the old one or the new one.
    ///
    /// # Errors
    /// [`StateFileError::MakeFolder`] and [`StateFileError::Write`].
    pub(crate) fn keep(&self, value: &impl Serialize) -> Result<(), StateFileError> {
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent).context(MakeFolderSnafu { path: parent })?;
            durable::remove_strays(parent);
        }
        let schema = self.schema;
        let written = Written { schema, value };
        let mut json = serde_json::to_vec_pretty(&written).expect("plain data with string keys");
        json.push(b'\n');
        durable::replace(&self.path, &json)?;
        Ok(())
    }

    fn read<T>(&self) -> Result<Stored<T>, StateFileError>
    where
        T: Default + DeserializeOwned,
    {
        let path = &self.path;
        let Some(bytes) = durable::read(path, MAX_FILE_BYTES).context(ReadSnafu { path })? else {
            return Ok(Stored::Known(T::default()));
        };
        Ok(
            Stored::from_slice(&bytes, self.schema).unwrap_or_else(|error| {
                tracing::warn!(
                    "{} is not understood and begun anew: {error}",
                    path.display()
                );
                Stored::Known(T::default())
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    struct Counter {
        count: u32,
    }

    fn open(state_dir: &Path) -> (StateFile, Counter) {
        StateFile::open(state_dir, "counter", 1).unwrap()
    }

    #[test]
    fn a_value_is_read_as_it_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (file, value) = open(&state);
        assert_eq!(value, Counter::default());
        assert!(!state.exists(), "nothing was to be kept");
        file.keep(&Counter { count: 3 }).unwrap();
        assert_eq!(open(&state).1, Counter { count: 3 });
    }

    #[test]
    fn what_a_newer_engine_wrote_stays_and_what_is_damaged_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counter.json");
        let own = dir.path().join("counter.schema-1.json");
        for (text, stays) in [
            ("{\"schema\": 2, \"count\": \"other\"}", true),
            ("{\"schema\": 1}", false),
            ("", false),
            ("{", false),
        ] {
            fs::write(&path, text).unwrap();
            let (file, value) = open(dir.path());
            assert_eq!(value, Counter::default(), "{text}");
            file.keep(&Counter { count: 3 }).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap() == text, stays, "{text}");
            assert_eq!(own.exists(), stays, "{text}");
            assert_eq!(open(dir.path()).1, Counter { count: 3 }, "{text}");
            if stays {
                fs::remove_file(&own).unwrap();
            }
        }
    }
}
