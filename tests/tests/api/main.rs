//! The update API, through real sockets and processes.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod at_once;
mod crashes;
mod events;
mod hostile;
mod init;
mod openapi;
mod operators;
mod states;
mod thar_be_updates;
