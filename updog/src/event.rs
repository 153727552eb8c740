//! What happens during a session, as values. Libraries emit them; a renderer shows them.

use std::fmt;

use update_metadata::ImageKind;

use crate::session::machine::Effect;

/// Something that an onlooker may want to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The next effect of the plan begins.
    Effect(Effect),
    /// A step begins.
    Step(Step),
    /// `done` of `total` units of the current step are behind us. `done` never falls.
    Progress {
        /// Bytes behind us.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
}

/// The steps of a session that take time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Fetching and verifying the repository's metadata.
    Refresh,
    /// Caching migrations and metadata for the next boot.
    CacheMigrations,
    /// Fetching the target of this name to a file; the units are bytes of the target.
    Fetch(String),
    /// Fetching, decoding and writing an image; the units are bytes of the compressed image.
    Write(ImageKind),
    /// Reading an image back from the disk; the units are bytes of the image.
    ReadBack(ImageKind),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refresh => f.write_str("refreshing the repository"),
            Self::CacheMigrations => f.write_str("caching migrations"),
            Self::Fetch(name) => write!(f, "fetching {name}"),
            Self::Write(kind) => write!(f, "writing the {kind} image"),
            Self::ReadBack(kind) => write!(f, "reading back the {kind} image"),
        }
    }
}

/// Sees events as they happen. Must be quick and must not fail.
pub trait Observer {
    /// `event` happens now.
    fn observe(&self, event: &Event);
}

/// Looks away.
#[derive(Debug, Clone, Copy)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _: &Event) {}
}
