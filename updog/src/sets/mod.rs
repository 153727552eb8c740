//! What the partition sets hold, by signed facts: recorded when a set is written, matched against
//! the disk whenever they are used.
//!
//! A set is known by its dm-verity root hash, recomputed from what is on the disk in milliseconds.
//! So a stale or copied record is never believed, and a lost one costs no more than the knowledge.

mod blocks;
mod facts;
mod identity;
mod known;
mod tree_damage;
mod verify;

pub use self::blocks::{BlockDigests, BlockHasher};
pub use self::facts::{FactsError, FactsStore, ImageFacts, SetFacts, Verified};
pub use self::identity::{IdentityError, root_hash};
pub use self::known::{KnownError, known};
pub use self::verify::{Finding, Verdict, VerifyError, verify};
