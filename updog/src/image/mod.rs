//! Images on their way into a partition: decoded, checked, written, read back.

pub mod apply;
pub mod buffer;
pub mod codec;
pub mod frame;
pub mod index;
pub mod judge;
pub mod plan;
pub mod read_back;
mod sha256_pair;
mod stretches;
pub mod survey;
pub mod verity;
pub mod write;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
