//! Updates that a host does not take again by itself.

use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::manifest::Update;

/// Why an update is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldKind {
    /// It did not boot on this host.
    Quarantined,
    /// Somebody went back from it by hand.
    Left,
}

/// As part of a sentence: `1.2.0 is ...`.
impl fmt::Display for HeldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quarantined => "quarantined",
            Self::Left => "held",
        })
    }
}

/// An update of the manifest that this host does not take unless it is forced.
///
/// Whether a listed update is the one that failed is for the caller to find out, by the digests of
/// its images: a version that was published anew is another update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What it is for.
    pub variant: String,
    /// The same.
    pub arch: String,
    /// Its version.
    pub version: Version,
    /// Which gate it does not pass.
    pub kind: HeldKind,
    /// What happened and what can be done, as a plain clause without a full stop.
    pub reason: String,
}

impl Held {
    /// Whether this is about `update`.
    pub(crate) fn is(&self, update: &Update) -> bool {
        self.version == update.version && self.variant == update.variant && self.arch == update.arch
    }
}
