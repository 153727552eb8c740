//! Files that are whole or absent, also after a power cut.
//!
//! The bytes go to a temporary file in the folder of the destination, are synced, and get their
//! name by a rename; then the folder is synced. A crash before the rename leaves a temporary file
//! whose name starts with [`TEMP_PREFIX`] and nothing else.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use snafu::{IntoError as _, OptionExt, ResultExt, Snafu, ensure};
use tempfile::NamedTempFile;

/// How the name of every unfinished file begins, so that leftovers can be told from content.
pub const TEMP_PREFIX: &str = ".updata-";

/// What a web server may read; cut down further by the umask.
const PUBLIC_MODE: u32 = 0o644;

/// Why a file is not in its place.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum DurableError {
    /// No temporary file could be made in the folder.
    #[snafu(display("making a temporary file beside {}", path.display()))]
    CreateTemp { path: PathBuf, source: io::Error },
    /// The content could not be written or synced.
    #[snafu(display("writing {}", path.display()))]
    Write { path: PathBuf, source: io::Error },
    /// The finished file could not be given its name.
    #[snafu(display("moving the finished file to {}", path.display()))]
    Rename { path: PathBuf, source: io::Error },
    /// The folder could not be made.
    #[snafu(display("making the folder {}", path.display()))]
    CreateDir { path: PathBuf, source: io::Error },
    /// The folder could not be synced.
    #[snafu(display("syncing the folder {}", path.display()))]
    SyncDir { path: PathBuf, source: io::Error },
    /// A file that must be new is there already.
    #[snafu(display("{} exists and is not overwritten; choose another name", path.display()))]
    Exists { path: PathBuf },
    /// A folder that must be new has something in it.
    #[snafu(display("{} exists and is not empty; choose another folder", path.display()))]
    NotEmpty { path: PathBuf },
    /// The path names no folder that could be made.
    #[snafu(display("'{}' has no last part to make a folder of", path.display()))]
    NoName { path: PathBuf },
    /// The destination is a device, a folder or the like.
    #[snafu(display("{} is not a regular file and is not replaced", path.display()))]
    NotRegular { path: PathBuf },
}

impl DurableError {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Exists { .. } | Self::NotRegular { .. } | Self::NotEmpty { .. }
        )
    }
}

/// A file that has no name yet. Dropped without a commit, it leaves nothing behind.
#[derive(Debug)]
pub struct NewFile {
    temp: NamedTempFile,
    destination: PathBuf,
}

impl NewFile {
    /// Starts an empty file that can become `destination`, whose folder must exist.
    pub fn beside(destination: &Path) -> Result<Self, DurableError> {
        // Opened here, since the error of `tempfile_in` names the temporary file, which is nobody's.
        let temp = tempfile::Builder::new()
            .prefix(TEMP_PREFIX)
            .make_in(folder_of(destination), |path| {
                OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .mode(PUBLIC_MODE)
                    .open(path)
            })
            .context(CreateTempSnafu { path: destination })?;
        Ok(Self {
            temp,
            destination: destination.to_path_buf(),
        })
    }

    /// Where the bytes go.
    pub fn file(&mut self) -> &mut File {
        self.temp.as_file_mut()
    }

    /// Renames to another destination in the same folder than the one announced.
    pub fn rename_to(&mut self, destination: PathBuf) {
        self.destination = destination;
    }

    /// Syncs the content and puts it in place of whatever regular file is there.
    pub fn commit_replacing(self) -> Result<(), DurableError> {
        let path = &self.destination;
        match fs::metadata(path) {
            Ok(old) => {
                ensure!(old.is_file(), NotRegularSnafu { path });
                self.temp
                    .as_file()
                    .set_permissions(old.permissions())
                    .context(WriteSnafu { path })?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(source).context(RenameSnafu { path }),
        }
        self.temp
            .as_file()
            .sync_all()
            .context(WriteSnafu { path })?;
        self.temp
            .persist(path)
            .map_err(|e| e.error)
            .context(RenameSnafu { path })?;
        sync_dir(folder_of(path))
    }

    /// Syncs the content and gives it its name, unless something has that name.
    ///
    /// # Errors
    /// [`DurableError::Exists`], also when the other file appeared a moment ago.
    pub fn commit_new(self) -> Result<(), DurableError> {
        let path = &self.destination;
        self.temp
            .as_file()
            .sync_all()
            .context(WriteSnafu { path })?;
        match self.temp.persist_noclobber(path) {
            Ok(_) => sync_dir(folder_of(path)),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                ExistsSnafu { path }.fail()
            }
            Err(error) => Err(error.error).context(RenameSnafu { path }),
        }
    }
}

/// Writes `bytes` to `path`: afterwards, and after a crash, the file is the old or the new one.
/// A link is followed, so that the file it points to is what is replaced.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), DurableError> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let mut new = NewFile::beside(&target)?;
    new.file().write_all(bytes).context(WriteSnafu { path })?;
    new.commit_replacing()
}

/// Writes `bytes` to `path`, which must not exist.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), DurableError> {
    refuse_existing(path)?;
    let mut new = NewFile::beside(path)?;
    new.file().write_all(bytes).context(WriteSnafu { path })?;
    new.commit_new()
}

/// Says early, before expensive work, what [`NewFile::commit_new`] would say at its end.
pub fn refuse_existing(path: &Path) -> Result<(), DurableError> {
    ensure!(fs::symlink_metadata(path).is_err(), ExistsSnafu { path });
    Ok(())
}

/// Makes a folder and those above it, each durable.
pub fn create_dir_all(path: &Path) -> Result<(), DurableError> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
        .collect();
    fs::create_dir_all(path).context(CreateDirSnafu { path })?;
    missing
        .into_iter()
        .try_for_each(|dir| sync_dir(folder_of(dir)))
}

/// Makes the folder `dir` with what `fill` puts into it, for its owner alone where `mode` says so.
///
/// Afterwards, and after a crash, the folder is whole or does not exist; a crash can leave a
/// temporary folder beside it whose name starts with [`TEMP_PREFIX`]. An empty folder in its place
/// is replaced.
///
/// # Errors
/// [`DurableError::NotEmpty`] when there is something already; those of `fill`, which must sync its
/// files.
pub fn create_dir_whole<E: From<DurableError>>(
    dir: &Path,
    mode: u32,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    refuse_occupied(dir)?;
    let parent = folder_of(dir);
    create_dir_all(parent)?;
    let staging = tempfile::Builder::new()
        .prefix(TEMP_PREFIX)
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(without_path)
        .context(CreateDirSnafu { path: dir })?;
    let staged = staging.path().join("new");
    DirBuilder::new()
        .mode(mode)
        .create(&staged)
        .context(CreateDirSnafu { path: dir })?;
    fill(&staged)?;
    sync_dir(&staged)?;
    match fs::rename(&staged, dir) {
        Ok(()) => Ok(sync_dir(parent)?),
        Err(error) if occupied(&error) => Err(NotEmptySnafu { path: dir }.build().into()),
        Err(source) => Err(RenameSnafu { path: dir }.into_error(source).into()),
    }
}

/// Says early what [`create_dir_whole`] would say at its end.
pub fn refuse_occupied(path: &Path) -> Result<(), DurableError> {
    let empty = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    ensure!(empty, NotEmptySnafu { path });
    path.file_name().context(NoNameSnafu { path })?;
    Ok(())
}

/// An error of `tempfile` without the path of the temporary folder, which is nobody's.
fn without_path(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.split_once(" at path \"") {
        Some((text, _)) => io::Error::new(error.kind(), text.to_owned()),
        None => error,
    }
}

/// The errors of renaming a folder over something that is not an empty folder.
fn occupied(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory
    )
}

/// Makes renames in `path` durable.
pub fn sync_dir(path: &Path) -> Result<(), DurableError> {
    crate::durable::sync_dir(path).context(SyncDirSnafu { path })
}

/// The folder that holds `path`; the current one for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest.json");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(names(dir.path()), ["manifest.json"]);
    }

    #[test]
    fn a_link_stays_a_link_and_its_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        let link = dir.path().join("link");
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn an_existing_file_survives_create_and_the_refusal_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.json");
        fs::write(&path, "old").unwrap();
        let error = create(&path, b"new").unwrap_err();
        assert!(error.is_refusal());
        assert_eq!(
            error.to_string(),
            format!(
                "{} exists and is not overwritten; choose another name",
                path.display()
            )
        );
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["root.json"]);
    }

    #[test]
    fn a_file_that_appears_during_the_work_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        let mut new = NewFile::beside(&path).unwrap();
        new.file().write_all(b"ours").unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(matches!(
            new.commit_new().unwrap_err(),
            DurableError::Exists { .. }
        ));
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        assert_eq!(names(dir.path()), ["disk.img"]);
    }

    #[test]
    fn only_regular_files_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folder");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"x").unwrap_err().is_refusal());
        assert!(path.is_dir());
    }
}
