//! Images on their way into a partition: decoded, checked, written, read back.

pub mod codec;
pub mod read_back;
pub mod verity;
pub mod write;

#[cfg(test)]
mod tests;
