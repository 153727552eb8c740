//! How the library reads a repository of files: by the path that a URL stands for, and no more of a
//! file than clients read.
//!
//! The library's own transport for files takes a URL's path as it is written, so that a folder with
//! a space or a letter outside ASCII in its name is never found.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use snafu::{OptionExt, Snafu};
use tough::{Transport, TransportError, TransportErrorKind, TransportStream};
use update_metadata::MAX_MANIFEST_BYTES;
use url::Url;

use crate::repository::transport::MetadataLimits;

const CHUNK_BYTES: usize = 64 << 10;
/// Metadata larger than that are not worth a judgement.
const MAX_JUDGED_BYTES: u64 = 64 << 20;

/// The folder has no URL.
#[derive(Debug, Snafu)]
#[snafu(display("the repository's path {} cannot be made absolute", path.display()))]
pub struct FolderUrlError {
    path: PathBuf,
}

/// The URL of a folder, ending with a slash.
pub(super) fn folder_url(path: &Path) -> Result<Url, FolderUrlError> {
    std::path::absolute(path)
        .ok()
        .and_then(|path| Url::from_directory_path(path).ok())
        .context(FolderUrlSnafu { path })
}

/// Reads metadata and manifests from `file://` URLs. Images are read by their paths, not by this.
#[derive(Debug, Clone)]
pub(super) struct FileTransport {
    /// Bytes of the largest file that is read.
    limit: u64,
}

impl Default for FileTransport {
    fn default() -> Self {
        Self {
            limit: MetadataLimits::default().metadata.max(MAX_MANIFEST_BYTES),
        }
    }
}

impl FileTransport {
    /// For who tells that metadata are larger than clients read: those are read here all the same.
    pub(super) fn to_judge() -> Self {
        Self {
            limit: MAX_JUDGED_BYTES,
        }
    }
}

#[async_trait]
impl Transport for FileTransport {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let failed = |url: Url, error: io::Error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => TransportErrorKind::FileNotFound,
                _ => TransportErrorKind::Other,
            };
            TransportError::new_with_cause(kind, url, error)
        };
        let opened = url
            .to_file_path()
            .map_err(|()| io::Error::other("it is not the URL of a file"))
            .and_then(|path| open(&path));
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(failed(url, error));
            }
            // Not from here: the library takes every error of a fetch for the end of the chain of
            // root roles, and would go on with an old one.
            Err(error) => return Ok(Box::pin(stream::iter([Err(failed(url, error))]))),
        };
        // Nothing else runs on this thread that a read could hold up.
        let chunks = stream::try_unfold((file, self.limit), move |(mut file, left)| {
            let chunk = chunk(&mut file, left).map_err(|error| failed(url.clone(), error));
            async move {
                Ok(chunk?.map(|bytes| {
                    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    (bytes, (file, left.saturating_sub(length)))
                }))
            }
        });
        Ok(Box::pin(chunks))
    }
}

/// A regular file. It is looked at before it is opened: opening a pipe waits for whoever writes to it.
fn open(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    File::open(path)
}

/// The next bytes, none at the end; an error where the file has more than the `left` that may come.
fn chunk(file: &mut File, left: u64) -> io::Result<Option<Bytes>> {
    let mut bytes = vec![0; CHUNK_BYTES];
    let length = loop {
        match file.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            length => break length?,
        }
    };
    if u64::try_from(length).is_ok_and(|length| length <= left) {
        bytes.truncate(length);
        Ok((length > 0).then(|| bytes.into()))
    } else {
        Err(io::Error::other("it is larger than any that is read"))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs;

    use tough::IntoVec as _;

    use super::*;
    use crate::publish::tuf;

    fn fetch(limit: u64, path: &Path) -> Result<Vec<u8>, TransportError> {
        let url = Url::from_file_path(path).unwrap();
        let transport = FileTransport { limit };
        tuf::block_on(async { transport.fetch(url).await?.into_vec().await }).unwrap()
    }

    #[test]
    fn a_path_with_characters_that_a_url_escapes_is_read() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a b", "a#b", "a%20b", "a?b", "zä", "[x]"] {
            let folder = dir.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("1.root.json"), name).unwrap();
            let url = folder_url(&folder).unwrap().join("1.root.json").unwrap();
            let path = url.to_file_path().unwrap();
            assert_eq!(fetch(100, &path).unwrap(), name.as_bytes());
        }
    }

    #[test]
    fn absent_endless_and_large_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let absent = fetch(9, &dir.path().join("absent")).unwrap_err();
        assert_eq!(absent.kind(), TransportErrorKind::FileNotFound);
        let endless = fetch(9, Path::new("/dev/zero")).unwrap_err();
        assert_eq!(endless.kind(), TransportErrorKind::Other);
        assert!(endless.source().unwrap().to_string().contains("regular"));
        let path = dir.path().join("f");
        let large = vec![1; CHUNK_BYTES + 1];
        fs::write(&path, &large).unwrap();
        let length = u64::try_from(large.len()).unwrap();
        assert_eq!(fetch(length, &path).unwrap(), large);
        let error = fetch(length - 1, &path).unwrap_err();
        assert!(error.source().unwrap().to_string().contains("larger"));
    }
}
