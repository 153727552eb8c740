//! Where the bytes of a whole file go.

use bytes::Bytes;
use snafu::ensure;
use tokio::sync::mpsc;
use tough::TransportError;

use super::super::pace::FileKind;
use super::error::{TooLargeSnafu, TransferError};
use super::parts::{self, Wanted};
use super::request::length_of;
use super::settings::{MAX_METADATA_BYTES, SizeLimit};

pub(super) type Sink = mpsc::Sender<Result<Bytes, TransportError>>;

/// Why a transfer ends before its file does.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nobody wants more of it: the reader is gone, or has everything.
    Enough,
    Failed(TransferError),
}

impl From<TransferError> for Ended {
    fn from(error: TransferError) -> Self {
        Self::Failed(error)
    }
}

/// Where the bytes of a whole file go.
pub(super) struct Delivery<'a> {
    outlet: Outlet<'a>,
    /// How many came so far.
    pub(super) sent: u64,
}

enum Outlet<'a> {
    /// Metadata are also recorded.
    Tough(&'a Sink, Option<Record>),
    Parts(&'a parts::Sink, &'a mut Wanted),
}

/// The bytes of a metadata file so far, and how many there may be.
struct Record {
    bytes: Vec<u8>,
    limit: SizeLimit,
}

impl<'a> Delivery<'a> {
    /// To tough; recorded, and bounded, if it is metadata.
    pub(super) fn to_tough(sink: &'a Sink, metadata: Option<SizeLimit>) -> Self {
        let bytes = Vec::new();
        let recorded = metadata.map(|limit| Record { bytes, limit });
        Self {
            outlet: Outlet::Tough(sink, recorded),
            sent: 0,
        }
    }

    /// To a reader who wants parts of a target.
    pub(super) fn of_parts(sink: &'a parts::Sink, wanted: &'a mut Wanted) -> Self {
        Self {
            outlet: Outlet::Parts(sink, wanted),
            sent: 0,
        }
    }

    /// The next bytes of the file.
    pub(super) async fn chunk(&mut self, mut chunk: Bytes) -> Result<(), Ended> {
        let mut at = self.sent;
        let sent = at.saturating_add(length_of(&chunk));
        match &mut self.outlet {
            Outlet::Tough(sink, recorded) => {
                if let Some(Record { bytes, limit }) = recorded {
                    let length = bytes.len().saturating_add(chunk.len());
                    if sent > limit.bytes || length > MAX_METADATA_BYTES {
                        let (limit, length) = (*limit, None);
                        return Err(TooLargeSnafu { length, limit }.build().into());
                    }
                    bytes.extend_from_slice(&chunk);
                }
                self.sent = sent;
                sink.send(Ok(chunk)).await.map_err(|_| Ended::Enough)
            }
            Outlet::Parts(sink, wanted) => {
                self.sent = sent;
                while let Some(part) = wanted.cut(&mut at, &mut chunk) {
                    sink.send(Ok(part)).await.map_err(|_| Ended::Enough)?;
                }
                if wanted.is_empty() {
                    return Err(Ended::Enough);
                }
                Ok(())
            }
        }
    }

    /// Refuses metadata that are said to be too large before their first byte is read.
    pub(super) fn check_length(&self, length: u64) -> Result<(), TransferError> {
        if let Outlet::Tough(_, Some(Record { limit, .. })) = self.outlet {
            ensure!(length <= limit.bytes, TooLargeSnafu { length, limit });
        }
        Ok(())
    }

    pub(super) fn kind(&self) -> FileKind {
        match self.outlet {
            Outlet::Tough(_, Some(_)) => FileKind::Metadata,
            Outlet::Tough(_, None) | Outlet::Parts(..) => FileKind::Target,
        }
    }

    /// The most bytes that are handed over at once.
    pub(super) fn most(&self) -> usize {
        match self.outlet {
            Outlet::Tough(..) => usize::MAX,
            Outlet::Parts(..) => parts::PIECE_BYTES,
        }
    }

    /// What was recorded.
    pub(super) fn recorded(self) -> Option<Vec<u8>> {
        match self.outlet {
            Outlet::Tough(_, recorded) => recorded.map(|record| record.bytes),
            Outlet::Parts(..) => None,
        }
    }
}
