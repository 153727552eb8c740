//! Why a store cannot be read or written.

use std::io;
use std::path::PathBuf;

use snafu::Snafu;

use super::files::{MAX_DEPTH, MAX_ENTRIES, MAX_FILE_BYTES, MAX_TOTAL_BYTES};
use crate::key::Key;

/// Why a store cannot be read or written.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
#[allow(missing_docs)] // the message says what each field is
pub enum DatastoreError {
    /// A file or a folder cannot be read.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The folder has no `live` in it: it is no store, or a damaged one.
    #[snafu(display("{} has no folder 'live': it is no settings store", path.display()))]
    MissingLive { path: PathBuf },
    /// Something is a symbolic link, which would lead out of the store.
    #[snafu(display("{} is a symbolic link, and a settings store has none", path.display()))]
    Link { path: PathBuf },
    /// Something is a device, a pipe or a socket.
    #[snafu(display("{} is neither a plain file nor a folder", path.display()))]
    Special { path: PathBuf },
    /// A file is larger than any setting.
    #[snafu(display("{} has more than {MAX_FILE_BYTES} bytes", path.display()))]
    LargeFile { path: PathBuf },
    /// All files together are larger than any store.
    #[snafu(display("{} holds more than {MAX_TOTAL_BYTES} bytes of settings", path.display()))]
    TooLarge { path: PathBuf },
    /// There are more files and folders than any store has.
    #[snafu(display("{} has more than {MAX_ENTRIES} files and folders", path.display()))]
    TooMany { path: PathBuf },
    /// Folders lie deeper than any name leads.
    #[snafu(display("{} lies more than {MAX_DEPTH} folders deep", path.display()))]
    TooDeep { path: PathBuf },
    /// There is something where the new store should be.
    #[snafu(display("{} exists, and a store is only written where nothing is", path.display()))]
    Exists { path: PathBuf },
    /// A setting has a value and another one lies below it; no file is also a folder.
    #[snafu(display("{key} has a value, so that {below}, below it, cannot be stored"))]
    Conflict { key: Key, below: Key },
    /// A file that is no setting has a path that leads elsewhere.
    #[snafu(display("the path {} of a file that is no setting leads out of the store", path.display()))]
    StrayPath { path: PathBuf },
    /// A file or a folder cannot be written.
    #[snafu(display("writing {}", path.display()))]
    Write { path: PathBuf, source: io::Error },
}
