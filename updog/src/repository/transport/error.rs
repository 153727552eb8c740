//! Why one try, or a transfer, ended early, and what that means for the next try.

use std::error::Error;
use std::io::ErrorKind;
use std::ops::Range;
use std::time::Duration;

use reqwest::StatusCode;
use snafu::Snafu;
use url::Url;

use super::super::pace::GiveUp;
use super::super::ranges::RangesError;
use super::super::shown;
use super::settings::SizeLimit;

/// Why one try, or the transfer, ended early.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
#[allow(missing_docs)] // the message says what each field is
pub(super) enum TransferError {
    #[snafu(display("the server answered {status}{}", hint(*status)))]
    Status { status: StatusCode },
    #[snafu(display("{reason}{}", tls_hint(source)))]
    Http {
        reason: &'static str,
        source: reqwest::Error,
    },
    #[snafu(display("{reason}: nothing came for {} s", waited.as_secs()))]
    Stalled {
        reason: &'static str,
        waited: Duration,
    },
    #[snafu(display("the server continued the file at another place, or another file"))]
    WrongRange,
    #[snafu(display(
        "the file had {known} bytes when its transfer began and has {now} now: it was replaced \
         meanwhile"
    ))]
    Changed { known: u64, now: u64 },
    #[snafu(display("the body ended after {received} of {expected} bytes"))]
    Short { received: u64, expected: u64 },
    #[snafu(display(
        "the file has {} bytes, and {} allows no more than {}",
        length.map_or_else(|| format!("more than {}", limit.bytes), |length| length.to_string()),
        limit.key,
        limit.bytes
    ))]
    TooLarge {
        /// Where the other side says it.
        length: Option<u64>,
        limit: SizeLimit,
    },
    #[snafu(display("reading the file"))]
    File { source: std::io::Error },
    #[snafu(display("the URL is not the path of a file"))]
    NotAPath,
    #[snafu(display("a folder or a device, not a regular file"))]
    NotRegular,
    #[snafu(display("the name leads out of the repository, and is not asked for"))]
    Outside,
    #[snafu(display("giving up, {why}, after the last failure"))]
    GaveUp {
        why: GiveUp,
        source: Box<TransferError>,
    },
    #[snafu(display("giving up: {why}"))]
    NoUse { why: GiveUp },
    #[snafu(display("the server refuses to continue the file ({status})"))]
    RangeRefused { status: StatusCode },
    #[snafu(display("parts of the file cannot be had"), context(false))]
    NoParts { source: RangeFault },
}

/// Why parts of a file cannot be had from a server that may have the whole of it.
#[derive(Debug, PartialEq, Eq, Snafu)]
#[snafu(visibility(pub(super)))]
#[allow(missing_docs)] // the message says what each field is
pub(super) enum RangeFault {
    #[snafu(display("the server refuses them ({status})"))]
    Refused { status: StatusCode },
    #[snafu(display("it does not say which bytes it sends"))]
    Unnamed,
    #[snafu(display(
        "it was asked for bytes {}-{} and sends bytes {first}-{last}",
        asked.start,
        asked.end.saturating_sub(1)
    ))]
    OtherBytes {
        asked: Range<u64>,
        first: u64,
        last: u64,
    },
    #[snafu(display("it has a file of {found} bytes, and {length} are signed"))]
    OtherLength { found: u64, length: u64 },
    #[snafu(display("it has parts of different files"))]
    OtherFile,
    #[snafu(display("it sends more than the {wanted} bytes of which it speaks"))]
    Lying { wanted: u64 },
}

impl TransferError {
    /// What it means for whoever wanted ranges of the file at `url`, of which some came if `has_begun`.
    pub(super) fn of_ranges(self, url: &Url, has_begun: bool) -> RangesError {
        let file = shown(url);
        match self {
            Self::NoParts { source } => RangesError::Unusable {
                file,
                source: source.into(),
            },
            // A server may fail at ranges in any way, and send the whole file.
            Self::GaveUp { .. } if !has_begun => RangesError::Unusable {
                file,
                source: self.into(),
            },
            other => RangesError::Transfer {
                file,
                source: other.into(),
            },
        }
    }

    pub(super) fn is_not_found(&self) -> bool {
        match self {
            // 403 is no answer to whether a file exists; a server that says it has a problem.
            Self::Status { status } => {
                matches!(*status, StatusCode::NOT_FOUND | StatusCode::GONE)
            }
            Self::File { source } => {
                matches!(
                    source.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory
                )
            }
            _ => false,
        }
    }

    /// Whether the same request may succeed a moment later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Status { status } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            Self::Http { source, .. } => {
                !source.is_redirect() && !source.is_builder() && distrust(source).is_none()
            }
            Self::Stalled { .. }
            | Self::WrongRange
            | Self::RangeRefused { .. }
            | Self::Short { .. } => true,
            _ => false,
        }
    }
}

/// What a status may mean beyond its name.
fn hint(status: StatusCode) -> &'static str {
    if status == StatusCode::FORBIDDEN {
        ", which does not say whether the file exists: a file store without the right to list its \
         files answers so for a missing one, and then no repository can be read from it"
    } else {
        ""
    }
}

/// Which side of a TLS connection does not trust the other. Time does not mend that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Distrust {
    /// We do not trust the server.
    OfServer,
    /// The server wants to know who we are.
    OfClient,
}

fn distrust(error: &reqwest::Error) -> Option<Distrust> {
    use rustls::AlertDescription as Alert;
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = next {
        match cause.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(_)) => return Some(Distrust::OfServer),
            Some(rustls::Error::AlertReceived(
                Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::UnknownCA
                | Alert::CertificateUnknown
                | Alert::CertificateExpired
                | Alert::CertificateRevoked
                | Alert::DecryptError
                | Alert::AccessDenied,
            )) => return Some(Distrust::OfClient),
            _ => {}
        }
        // What an io::Error wraps, it hides from `source`; and one wraps another here.
        next = match cause.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => cause.source(),
        };
    }
    None
}

fn tls_hint(error: &reqwest::Error) -> &'static str {
    match distrust(error) {
        Some(Distrust::OfServer) => {
            " (ca_file names authorities to trust besides the system's; a wrong clock can be the \
             cause too)"
        }
        Some(Distrust::OfClient) => {
            " (the server does not accept who we are: see client_certificate and client_key)"
        }
        None => "",
    }
}
