//! Why a command is not begun.

use std::io;

use snafu::Snafu;

use crate::api::announced::Refused;
use crate::config::ConfigError;
use crate::lock::LockError;
use crate::session::SessionError;

/// Why a command is not begun, or nothing can be told.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
#[allow(missing_docs)] // the message says what each field is
pub enum EngineError {
    /// Another command, or another session, is at work.
    #[snafu(display("another command is under way: {holder}"))]
    Busy { holder: String },
    /// This process has been told to end.
    #[snafu(display("the engine is about to end"))]
    Stopping,
    /// Not now.
    #[snafu(transparent)]
    Refused { source: Refused },
    /// There is no usable configuration.
    #[snafu(transparent)]
    Config { source: ConfigError },
    /// The lock cannot be had.
    #[snafu(transparent)]
    Lock { source: LockError },
    /// The disk cannot be read.
    #[snafu(transparent)]
    Session { source: SessionError },
    /// There is no thread to do it in.
    #[snafu(display("starting the command"))]
    Thread { source: io::Error },
}
