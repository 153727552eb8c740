//! Whether a folder of files is the repository that the migrator of the next boot can use.

use std::fs;
use std::io;
use std::path::Path;

use futures::StreamExt as _;
use snafu::ResultExt;
use tough::{ExpirationEnforcement, FilesystemTransport, RepositoryLoader};
use url::Url;

use super::error::{
    CancelledSnafu, FolderSnafu, ReadTargetSnafu, RefreshSnafu, RepositoryError, ToughError,
};
use super::{SignedTarget, UpdateRepository};

impl UpdateRepository {
    /// Loads the repository in `metadata` and `files` from the root of trust at `trusted_root`,
    /// with nothing else at hand, and reads every one of `targets` to its end. Expiry is not looked
    /// at: the migrator does not either, since it must not fail for the time that has passed.
    ///
    /// # Errors
    /// [`RepositoryError::Refresh`] and [`RepositoryError::ReadTarget`], of the folder.
    pub(super) fn check_files(
        &self,
        targets: &[SignedTarget],
        metadata: &Path,
        files: &Path,
        trusted_root: &Path,
    ) -> Result<(), RepositoryError> {
        let url = |path: &Path| {
            Url::from_directory_path(path)
                .map_err(|()| io::Error::from(io::ErrorKind::InvalidInput))
                .context(FolderSnafu { path })
        };
        let (metadata_url, targets_url) = (url(metadata)?, url(files)?);
        let root = fs::read(trusted_root).context(FolderSnafu { path: trusted_root })?;
        let check = async {
            let repository = RepositoryLoader::new(&root, metadata_url.clone(), targets_url)
                .transport(FilesystemTransport)
                .expiration_enforcement(ExpirationEnforcement::Unsafe)
                .load()
                .await
                .context(RefreshSnafu { url: metadata_url })?;
            for target in targets {
                let name = target.name();
                let failed = |error| io::Error::other(ToughError::from(error));
                let missing = || io::Error::from(io::ErrorKind::NotFound);
                let read = async {
                    let stream = repository.read_target(&target.tough_name).await;
                    let mut stream = Box::pin(stream.map_err(failed)?.ok_or_else(missing)?);
                    // Only at its end is the digest compared.
                    while let Some(chunk) = stream.next().await {
                        chunk.map_err(failed)?;
                    }
                    Ok::<_, io::Error>(())
                };
                read.await.context(ReadTargetSnafu { name })?;
            }
            Ok(())
        };
        self.network
            .block_on(self.settings.watch.cancel(), check)
            .with_context(|_| CancelledSnafu {
                url: self.settings.metadata_base_url.clone(),
            })?
    }
}
