//! Partition tables by the thousand, made without signpost, and two other programs' judgement.

pub mod act;
pub mod bench;
pub mod harm;
pub mod random;
pub mod raw;
pub mod spec;
pub mod verdict;
