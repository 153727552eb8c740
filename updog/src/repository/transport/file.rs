//! A transfer from a `file://` URL.

use std::io::SeekFrom;

use bytes::BytesMut;
use snafu::{ResultExt, ensure};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use url::Url;

use super::super::pace::FileKind;
use super::Shared;
use super::delivery::{Delivery, Ended};
use super::error::{FileSnafu, NotAPathSnafu, NotRegularSnafu, ShortSnafu, TransferError};
use super::parts::{PIECE_BYTES, PartsJob};
use super::request::length_of;

const CHUNK_BYTES: usize = 64 << 10;

pub(super) async fn transfer(
    shared: &Shared,
    url: &Url,
    delivery: &mut Delivery<'_>,
) -> Result<(), Ended> {
    let (mut file, length) = open(url).await?;
    delivery.check_length(length)?;
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        if file.read_buf(&mut chunk).await.context(FileSnafu)? == 0 {
            return Ok(());
        }
        let mut chunk = chunk.freeze();
        let (kind, most) = (delivery.kind(), delivery.most());
        while let Some(piece) = shared.piece(kind, &mut chunk, most).await {
            delivery.chunk(piece).await?;
        }
    }
}

/// Only the ranges.
pub(super) async fn parts(shared: &Shared, url: &Url, job: &mut PartsJob<'_>) -> Result<(), Ended> {
    let (mut file, found) = open(url).await?;
    job.check_length(found)?;
    while let Some(range) = job.wanted.take() {
        let start = SeekFrom::Start(range.start);
        file.seek(start).await.context(FileSnafu)?;
        let (mut at, end) = (range.start, range.end);
        while at < end {
            let left = end - at;
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let mut chunk = BytesMut::with_capacity(room);
            let part = (&mut file).take(left).read_buf(&mut chunk).await;
            if part.context(FileSnafu)? == 0 {
                let (received, expected) = (at - range.start, end - range.start);
                return Err(ShortSnafu { received, expected }.build().into());
            }
            let mut chunk = chunk.freeze();
            job.counts.add_received(length_of(&chunk));
            while let Some(piece) = shared
                .piece(FileKind::Target, &mut chunk, PIECE_BYTES)
                .await
            {
                let came = length_of(&piece);
                job.send(at, piece).await?;
                at += came;
            }
        }
    }
    Ok(())
}

async fn open(url: &Url) -> Result<(File, u64), TransferError> {
    let Ok(path) = url.to_file_path() else {
        return NotAPathSnafu.fail();
    };
    // Looked at before it is opened: opening a pipe waits for whoever writes to it.
    let metadata = fs::metadata(&path).await.context(FileSnafu)?;
    ensure!(metadata.is_file(), NotRegularSnafu);
    let file = File::open(path).await.context(FileSnafu)?;
    Ok((file, metadata.len()))
}
