//! The file of what is kept: beside the store's folder, so that who points to another store has what
//! was kept with that one, too.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu};
use update_metadata::Stored;

use super::form;
use super::{Kept, MAX_BYTES};
use crate::host;

/// Names and values, each perhaps in the longest escapes that JSON has, and what stands around them.
const MAX_FILE_BYTES: u64 = 8 * MAX_BYTES as u64;

/// Why the file cannot be read or written.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum KeptError {
    /// The file is there and cannot be read.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The file cannot be written; what was there before still is.
    #[snafu(display("writing {}", path.display()))]
    Write { path: PathBuf, source: io::Error },
}

/// What is kept with the store in the folder `dir`: `dir` itself with `.kept.json` behind its name.
pub fn path_beside(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".kept.json");
    dir.with_file_name(name)
}

/// What is kept, as it is on the disk.
#[derive(Clone, Debug, Default)]
pub struct KeptFile {
    /// What migrations removed.
    pub kept: Kept,
    /// The file, where a newer version wrote it: it goes along unchanged, for that version to find
    /// again.
    newer: Option<Vec<u8>>,
}

impl KeptFile {
    /// Reads the file at `path`. One that is missing is empty, and so is one that is not understood;
    /// the log says so. A newer version's is empty, too, and goes along: [`KeptFile::save`] writes it
    /// again as it was.
    ///
    /// # Errors
    /// [`KeptError::Read`] when it is there and cannot be read.
    pub fn load(path: &Path) -> Result<Self, KeptError> {
        let Some(bytes) = read(path).context(ReadSnafu { path })? else {
            return Ok(Self::default());
        };
        match form::parse(&bytes) {
            Ok(Stored::Known(kept)) => Ok(Self { kept, newer: None }),
            Ok(Stored::Newer) => {
                tracing::warn!(
                    "{} was written by a newer version: what it keeps does not come back this time, \
                     and what is removed now is not kept",
                    path.display()
                );
                Ok(Self {
                    kept: Kept::default(),
                    newer: Some(bytes),
                })
            }
            Err(reason) => {
                tracing::warn!(
                    "{} is not understood, and what it kept does not come back: {reason}",
                    path.display()
                );
                Ok(Self::default())
            }
        }
    }

    /// Writes the file at `path`, readable by its owner alone, since settings can be secret. Where
    /// there is nothing to keep and no file, none is made; a newer version's file stays.
    ///
    /// After a crash in the middle: the old file or the new one, and at most a stray one beside it
    /// whose name begins with `.tmp`.
    ///
    /// # Errors
    /// [`KeptError::Read`] and [`KeptError::Write`].
    pub fn save(&self, path: &Path) -> Result<(), KeptError> {
        let present = read(path).context(ReadSnafu { path })?;
        let bytes = match &self.newer {
            Some(bytes) => bytes.clone(),
            None => form::render(&self.kept),
        };
        let stays = match present {
            None => self.kept.is_empty() && self.newer.is_none(),
            Some(present) => present == bytes || form::parse(&present) == Ok(Stored::Newer),
        };
        if stays {
            return Ok(());
        }
        replace(path, &bytes).context(WriteSnafu { path })
    }
}

/// The file's bytes, at most so many; `None` where there is none. Anything but a plain file is an
/// error.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match host::open_plain(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let mut file = tempfile::Builder::new().tempfile_in(parent)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use semver::Version;
    use serde_json::json;

    use super::super::Step;
    use super::*;
    use crate::datastore::Store;
    use crate::migration::Direction;
    use crate::migration::check::sample;

    fn something() -> KeptFile {
        let mut file = KeptFile::default();
        let input = Store {
            live: sample(
                json!({"s.a": [1, "x"], "s.\"b.c\"": 0.1}),
                json!({"s.a": {"\"t.u\"": true}}),
            )
            .unwrap(),
            ..Store::default()
        };
        for (migration, direction) in [("m", Direction::Forward), ("n", Direction::Backward)] {
            let step = Step {
                migration,
                direction,
                version: &Version::new(1, 0, 0),
                renamed: &[],
            };
            file.kept.after_step(&step, &input, &mut Store::default());
        }
        file
    }

    #[test]
    fn what_is_kept_is_read_as_it_was_written_and_only_by_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_beside(&dir.path().join("v1.1.0_abc"));
        assert_eq!(path, dir.path().join("v1.1.0_abc.kept.json"));
        let file = something();
        file.save(&path).unwrap();
        assert_eq!(KeptFile::load(&path).unwrap().kept, file.kept);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // Emptied, it must not come back from the old file.
        KeptFile::default().save(&path).unwrap();
        assert!(KeptFile::load(&path).unwrap().kept.is_empty());
    }

    #[test]
    fn nothing_to_keep_makes_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none");
        let file = KeptFile::load(&path).unwrap();
        assert!(file.kept.is_empty());
        file.save(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn the_form_of_the_file_does_not_change_by_accident() {
        let file = something();
        let text = String::from_utf8(form::render(&file.kept)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let data = json!({"s.a": [1, "x"], "s.\"b.c\"": 0.1});
        let metadata = json!({"s.a": {"\"t.u\"": true}});
        let entry = |migration, direction| {
            json!({
                "migration": migration, "direction": direction, "version": "1.0.0",
                "data": data, "metadata": metadata,
            })
        };
        let kept = [entry("m", "forward"), entry("n", "backward")];
        assert_eq!(json, json!({"schema": 1, "kept": kept}));
    }

    #[test]
    fn a_newer_versions_file_goes_along_and_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let newer = "{\"schema\": 2, \"kept\": {\"other\": \"form\"}}";
        fs::write(&old, newer).unwrap();
        let mut file = KeptFile::load(&old).unwrap();
        assert!(file.kept.is_empty());
        file.kept = something().kept;
        file.save(&new).unwrap();
        assert_eq!(fs::read_to_string(&new).unwrap(), newer);
        something().save(&new).unwrap();
        assert_eq!(fs::read_to_string(&new).unwrap(), newer);
    }

    #[test]
    fn a_damaged_file_is_empty_and_one_that_is_no_file_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kept");
        let entry = "\"migration\": \"m\", \"direction\": \"forward\", \"version\": \"1.0.0\"";
        for text in [
            String::new(),
            "{".into(),
            "[]".into(),
            "{\"schema\": 1}".into(),
            format!("{{\"schema\": 1, \"kept\": [{{{entry}}}]}}"),
            format!(
                "{{\"schema\": 1, \"kept\": [{{{entry}, \"data\": {{\"a..b\": 1}}, \"metadata\": {{}}}}]}}"
            ),
            format!(
                "{{\"schema\": 1, \"kept\": [{{{entry}, \"data\": {{\"a\": {{}}}}, \"metadata\": {{}}}}]}}"
            ),
        ] {
            fs::write(&path, &text).unwrap();
            assert!(KeptFile::load(&path).unwrap().kept.is_empty(), "{text}");
            something().save(&path).unwrap();
            assert!(!KeptFile::load(&path).unwrap().kept.is_empty(), "{text}");
        }
        let link = dir.path().join("link");
        symlink("/etc/shadow", &link).unwrap();
        KeptFile::load(&link).unwrap_err();
        KeptFile::load(dir.path()).unwrap_err();
    }
}
