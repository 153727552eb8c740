//! Images on their way into a partition: decoded, checked, written, read back.

pub mod read_back;
pub mod verity;
pub mod write;

pub use update_metadata::lz4 as codec;

#[cfg(test)]
mod tests;
