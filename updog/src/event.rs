//! What happens during a run, as values: the one stream that bar, log lines and JSON lines are made
//! of. Libraries emit events and never print; a renderer shows them.
//!
//! As JSON an event is an object whose key `event` says which one it is, and whose other keys are
//! described at each. `schema`, `time` and that key are in every line. New events and new keys may
//! come under the same [`SCHEMA`]; what is there keeps its name and meaning.

use std::fmt;

use indicatif::HumanBytes;
use semver::Version;
use serde::{Serialize, Serializer};
use signpost::Slot;
use update_metadata::ImageKind;

use crate::exit::Exit;
use crate::session::machine::Effect;

/// The version of the JSON form. It changes when a reader of the former one could be misled.
pub const SCHEMA: u32 = 1;

/// Something that an onlooker may want to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A program begins: `{"verb": "update", "version": "0.1.0"}`. The first event.
    Begin {
        /// What it was asked for.
        verb: &'static str,
        /// Its own version.
        version: &'static str,
    },
    /// The next effect of the plan begins: `{"effect": "read_back"}`.
    Effect(#[serde(serialize_with = "effect")] Effect),
    /// A step begins: `{"step": "write", "image": "root", "unit": "bytes",
    /// "total": 4194304}`. `unit` and `total` are there where it is known how much there is to do.
    Step(Step),
    /// So many units of the current step are behind us: `{"done": 1048576, "total": 4194304}`.
    /// `done` never falls.
    Progress {
        /// Units behind us.
        done: u64,
        /// Units in all.
        total: u64,
    },
    /// The step is done. Steps do not overlap; one that fails has no such end.
    StepEnd,
    /// Nothing goes on until this comes, [`Event::Resumed`] says when: `{"for": "server"}`.
    Waiting(Wait),
    /// What was waited for has come.
    Resumed,
    /// Something worth telling: `{"note": "retry", ..., "message": "..."}`.
    Note(Note),
    /// A line of the log: `{"level": "warn", "message": "..."}`.
    Log {
        /// `error`, `warn`, `info`, `debug` or `trace`.
        level: &'static str,
        /// The line.
        message: String,
    },
    /// The program ends. The last event.
    End(End),
}

/// The steps of a run that take time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Fetching and verifying the repository's metadata: `refresh`.
    Refresh,
    /// Caching migrations and metadata for the next boot: `cache_migrations`.
    CacheMigrations,
    /// Trying the migrations on a copy of the settings: `rehearse`.
    Rehearse,
    /// Fetching a target to a file: `fetch`, with `target`.
    Fetch {
        /// Its signed name.
        target: String,
        /// Its length.
        bytes: u64,
    },
    /// Fetching, decoding and writing an image: `write`, with `image`. The bytes are those of the
    /// compressed image.
    Write {
        /// Which.
        image: ImageKind,
        /// Compressed.
        bytes: u64,
    },
    /// Looking whether the blocks of an image are in their place, or where the running set has them:
    /// `survey`, with `image` and `place`, which is `inactive` or `active`.
    Survey {
        /// Which.
        image: ImageKind,
        /// In the running set, not in their place.
        is_active: bool,
        /// The length of what is looked through.
        bytes: u64,
    },
    /// Putting an image together from blocks that are there and blocks that are fetched: `assemble`,
    /// with `image`.
    Assemble {
        /// Which.
        image: ImageKind,
        /// Its length.
        bytes: u64,
    },
    /// Reading back from the disk an image that was just written: `read_back`, with `image`.
    ReadBack {
        /// Which.
        image: ImageKind,
        /// Its length.
        bytes: u64,
    },
    /// Reading an image of a set and comparing it with what was signed: `verify`, with `image`.
    Verify {
        /// Which.
        image: ImageKind,
        /// Its length.
        bytes: u64,
    },
}

/// What nothing goes on without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Wait {
    /// A connection, or the answer to a request.
    Server,
    /// The next bytes of an answer: the transfer stands still.
    Data,
    /// The time before a request is tried again.
    Pause {
        /// How long, in all.
        milliseconds: u64,
    },
    /// The disk, until everything that was written is on it.
    Sync,
}

/// Something that an operator may want to know, and that no failure is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// There is no update for this host.
    NothingToDo {
        /// As a plain clause.
        reason: String,
    },
    /// The version that was asked for is none for this host.
    NotOffered {
        /// As a plain clause.
        reason: String,
    },
    /// The set holds the update already, and is verified instead of written.
    HoldsAlready {
        /// Which.
        set: Slot,
        /// What it holds.
        version: Version,
    },
    /// An image was put together from its blocks.
    Assembled {
        /// Which.
        image: ImageKind,
        /// Bytes that came over the network.
        fetched: u64,
        /// In so many requests.
        requests: u64,
        /// Bytes of the image that these decoded to.
        decoded: u64,
        /// Bytes that were copied from the running set.
        copied: u64,
        /// Bytes that were in their place.
        kept: u64,
        /// Bytes that are zeros.
        made: u64,
    },
    /// Putting an image together from its blocks has ended without it: the run ends, or the image is
    /// fetched whole.
    Incomplete {
        /// Which.
        image: ImageKind,
        /// Bytes that came over the network.
        fetched: u64,
        /// In so many requests.
        requests: u64,
    },
    /// There are no settings yet that a migration could be tried on.
    NothingToRehearse {
        /// Where they would be.
        datastore: String,
    },
    /// The migrations work with the settings of this host.
    Rehearsed {
        /// Settings that the new version would find changed.
        changes: usize,
        /// Settings that would not be as they are after going back.
        lost: usize,
    },
    /// The server has an older state than the trusted one, which stays in use.
    StaleMirror {
        /// Its address, without secrets.
        repository: String,
    },
    /// A transfer broke and goes on.
    Retry {
        /// The address of the file, without secrets.
        file: String,
        /// Bytes that came so far.
        at: u64,
        /// What happened.
        reason: String,
    },
    /// A sentence for whoever gave the command.
    Message {
        /// The sentence.
        message: String,
    },
}

/// How a program ended: `{"outcome": "refused", "code": 4, "error": "...", "advice": "..."}`. The
/// last two only where something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct End {
    /// The exit, as `outcome` and `code`.
    #[serde(flatten)]
    pub exit: Exit,
    /// Why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What can be done next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Step {
    /// How many bytes there are to go through, where that is known.
    pub fn total(&self) -> Option<u64> {
        match self {
            Self::Refresh | Self::CacheMigrations | Self::Rehearse => None,
            Self::Fetch { bytes, .. }
            | Self::Write { bytes, .. }
            | Self::Survey { bytes, .. }
            | Self::Assemble { bytes, .. }
            | Self::ReadBack { bytes, .. }
            | Self::Verify { bytes, .. } => Some(*bytes),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refresh => f.write_str("refreshing the repository"),
            Self::CacheMigrations => f.write_str("caching migrations"),
            Self::Rehearse => f.write_str("rehearsing migrations"),
            Self::Fetch { target, .. } => write!(f, "fetching {target}"),
            Self::Write { image, .. } | Self::Assemble { image, .. } => {
                write!(f, "writing the {image} image")
            }
            Self::Survey {
                image, is_active, ..
            } => {
                let place = if *is_active {
                    "in the running set"
                } else {
                    "in their place"
                };
                write!(f, "looking for blocks of the {image} image {place}")
            }
            Self::ReadBack { image, .. } => write!(f, "reading back the {image} image"),
            Self::Verify { image, .. } => write!(f, "verifying the {image} image"),
        }
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form<'a> {
            step: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            target: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            image: Option<ImageKind>,
            #[serde(skip_serializing_if = "Option::is_none")]
            place: Option<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            unit: Option<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            total: Option<u64>,
        }
        let place = match self {
            Self::Survey { is_active, .. } => Some(if *is_active { "active" } else { "inactive" }),
            _ => None,
        };
        let (step, target, image) = match self {
            Self::Refresh => ("refresh", None, None),
            Self::CacheMigrations => ("cache_migrations", None, None),
            Self::Rehearse => ("rehearse", None, None),
            Self::Fetch { target, .. } => ("fetch", Some(target.as_str()), None),
            Self::Write { image, .. } => ("write", None, Some(*image)),
            Self::Survey { image, .. } => ("survey", None, Some(*image)),
            Self::Assemble { image, .. } => ("assemble", None, Some(*image)),
            Self::ReadBack { image, .. } => ("read_back", None, Some(*image)),
            Self::Verify { image, .. } => ("verify", None, Some(*image)),
        };
        Form {
            step,
            target,
            image,
            place,
            unit: self.total().map(|_| "bytes"),
            total: self.total(),
        }
        .serialize(serializer)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde wants it
fn effect<S: Serializer>(effect: &Effect, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Form {
        effect: Effect,
    }
    Form { effect: *effect }.serialize(serializer)
}

/// Bytes, and in how many requests they came.
struct Fetched(u64, u64);

impl fmt::Display for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes, requests) = self;
        write!(f, "{} fetched", HumanBytes(*bytes))?;
        match requests {
            // From a file.
            0 => Ok(()),
            1 => f.write_str(" in 1 request"),
            _ => write!(f, " in {requests} requests"),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingToDo { reason } => write!(f, "no update required: {reason}"),
            Self::NotOffered { reason } => write!(f, "nothing was written: {reason}"),
            Self::HoldsAlready { set, version } => {
                write!(f, "set {set} holds {version} already; verifying it")
            }
            Self::Assembled {
                image,
                fetched,
                requests,
                decoded,
                copied,
                kept,
                made,
            } => {
                write!(f, "the {image} image: {}", Fetched(*fetched, *requests))?;
                write!(
                    f,
                    " for {} of it; {} copied from the running set, {} in place, {} of zeros",
                    HumanBytes(*decoded),
                    HumanBytes(*copied),
                    HumanBytes(*kept),
                    HumanBytes(*made)
                )
            }
            Self::Incomplete {
                image,
                fetched,
                requests,
            } => {
                let fetched = Fetched(*fetched, *requests);
                write!(
                    f,
                    "the {image} image was not put together from its blocks; {fetched} for that"
                )
            }
            Self::NothingToRehearse { datastore } => write!(
                f,
                "there are no settings at {datastore} to rehearse migrations on"
            ),
            Self::Rehearsed { changes, lost } => write!(
                f,
                "rehearsed the migrations, forward and back: {changes} settings would change, {lost} \
                 would not come back as they are"
            ),
            Self::StaleMirror { repository } => write!(
                f,
                "stale mirror: {repository} serves an older state than this host trusts; the \
                 trusted one is still valid and stays in use"
            ),
            Self::Retry { file, at, reason } => {
                write!(f, "fetching {file} at byte {at}: {reason}; trying again")
            }
            Self::Message { message } => f.write_str(message),
        }
    }
}

/// Sees events as they happen, from any thread. Must be quick and must not fail.
pub trait Observer: Send + Sync {
    /// `event` happens now.
    fn observe(&self, event: &Event);
}

/// Looks away.
#[derive(Debug, Clone, Copy)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _: &Event) {}
}

#[cfg(test)]
mod tests;
