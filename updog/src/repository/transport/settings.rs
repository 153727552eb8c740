//! How a repository is reached, as values.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

/// No metadata file is larger, whatever the settings or a signed file say.
pub const MAX_METADATA_BYTES: usize = 64 << 20;

/// Rates in bytes a second that transfers can be held to. A server that is slower is given up.
pub const RATES: RangeInclusive<u64> = 1 << 10..=1 << 40;

/// How a repository is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportSettings {
    /// How long a connection may take to open, TLS and a proxy's tunnel included.
    pub connect_timeout: Duration,
    /// How long a transfer may stand still before its connection is given up.
    pub stall_timeout: Duration,
    /// How long a transfer may bring nothing before it is given up.
    pub outage_timeout: Duration,
    /// How many bytes of targets are taken in a second, all of them together.
    pub max_rate: Option<NonZeroU64>,
    /// The proxy for https; the environment's where there is none.
    pub https_proxy: Option<Url>,
    /// Hosts reached without it.
    pub no_proxy: Vec<String>,
    /// Authorities in PEM that are trusted for TLS besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Who this host is to a server that asks.
    pub client_identity: Option<ClientIdentity>,
    /// How large metadata may be.
    pub limits: MetadataLimits,
}

/// A certificate for TLS, and the key to it. Shown to every server that asks for one; what it says
/// is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate in PEM, followed by those that lead from it to an authority.
    pub certificate: PathBuf,
    /// Its private key in PEM, without a passphrase.
    pub key: PathBuf,
}

/// How large metadata may be, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataLimits {
    /// Of a root, and of the timestamp: read before anything is known to be good.
    pub root: u64,
    /// Of every other file.
    pub metadata: u64,
}

impl Default for MetadataLimits {
    fn default() -> Self {
        Self {
            root: 1 << 20,
            metadata: 10 << 20,
        }
    }
}

/// What a file may be large, and the key that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SizeLimit {
    pub(super) bytes: u64,
    pub(super) key: &'static str,
}

impl MetadataLimits {
    /// Of the metadata file `name`.
    pub(super) fn of(self, name: &str) -> SizeLimit {
        let early = name == "timestamp.json" || name == "root.json" || name.ends_with(".root.json");
        if early {
            SizeLimit {
                bytes: self.root,
                key: "max_root_bytes",
            }
        } else {
            SizeLimit {
                bytes: self.metadata,
                key: "max_metadata_bytes",
            }
        }
    }

    /// The same for tough, whose own limits must not be stricter.
    pub fn for_tough(self) -> tough::Limits {
        tough::Limits {
            max_root_size: self.root,
            max_timestamp_size: self.root,
            max_snapshot_size: self.metadata,
            max_targets_size: self.metadata,
            ..tough::Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_before_anything_is_trusted_is_smaller() {
        let limits = MetadataLimits {
            root: 1,
            metadata: 2,
        };
        for (name, bytes) in [
            ("timestamp.json", 1),
            ("1.root.json", 1),
            ("root.json", 1),
            ("3.snapshot.json", 2),
            ("snapshot.json", 2),
            ("targets.json", 2),
            ("my-root.json", 2),
        ] {
            assert_eq!(limits.of(name).bytes, bytes, "{name}");
        }
    }
}
