//! Disks to test with: in memory, in a file, and watched. For tests only.
//!
//! Behind the feature `testing`, so that no program carries it. A mistake in a test's own set-up
//! panics.

mod cached;
mod disk;
mod firmware;
mod memory;
#[cfg(test)]
pub(crate) mod raw;
mod recording;

pub use cached::CachedDevice;
pub use disk::DiskBuilder;
pub use firmware::carry_out;
pub use memory::MemoryDevice;
pub use recording::{Operation, RecordingDevice};
