//! Tables as bytes: damaged, foreign and torn ones, judged by a second reading of the format that
//! shares no code with the first.

mod crash;
mod grown;
mod mbr;
mod reading;
mod writing;
