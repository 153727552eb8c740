//! A transfer from a `file://` URL.

use bytes::BytesMut;
use tokio::fs::{self, File};
use tokio::io::AsyncReadExt as _;
use url::Url;

use super::error::{FileSnafu, NotAPathSnafu, NotRegularSnafu, TransferError};
use super::transfer::{Delivery, ReaderGone};
use snafu::ResultExt;

const CHUNK_BYTES: usize = 64 << 10;

pub(super) async fn transfer(
    url: &Url,
    delivery: &mut Delivery<'_>,
) -> Result<Result<(), TransferError>, ReaderGone> {
    let mut file = match open(url, delivery).await {
        Ok(file) => file,
        Err(error) => return Ok(Err(error)),
    };
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        match file.read_buf(&mut chunk).await {
            Ok(0) => return Ok(Ok(())),
            Ok(_) => {
                if let Err(error) = delivery.chunk(chunk.freeze()).await? {
                    return Ok(Err(error));
                }
            }
            Err(source) => return Ok(Err(TransferError::File { source })),
        }
    }
}

async fn open(url: &Url, delivery: &Delivery<'_>) -> Result<File, TransferError> {
    let Ok(path) = url.to_file_path() else {
        return NotAPathSnafu.fail();
    };
    // Looked at before it is opened: opening a pipe waits for whoever writes to it.
    let metadata = fs::metadata(&path).await.context(FileSnafu)?;
    if !metadata.is_file() {
        return NotRegularSnafu.fail();
    }
    delivery.check_length(metadata.len())?;
    File::open(path).await.context(FileSnafu)
}
