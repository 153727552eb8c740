//! Updates over HTTP on a Unix socket: what fleet updaters call.
//!
//! [`updates`] has the bodies as values, and is all that server and client share. [`announced`] (PURE)
//! says what callers are told and what they may ask for; [`engine`] carries one command at a time out,
//! through the same session as the command line.

pub mod announced;
pub mod engine;
mod meters;
mod progress;
pub mod server;
pub mod updates;
mod view;
mod work;
