//! What whole-system tests and the quickstart share: a publisher, a host with a two-set disk, a
//! file server that can misbehave, and independent programs to check against.
//!
//! Everything goes through the real programs, real files and real sockets.

pub mod api;
pub mod client;
pub mod foreign;
pub mod forge;
pub mod host;
pub mod in_process;
pub mod interrupts;
pub mod large;
pub mod oracle;
pub mod power_cut;
pub mod programs;
pub mod proxy;
pub mod publisher;
pub mod report;
pub mod running;
pub mod server;
pub mod settings;
pub mod tables;
pub mod tls;
pub mod world;
