//! The signals that end a run: wired once, here.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::SIGINT;
use signal_hook::flag;

use crate::cancel::{Cancel, Signal};

/// What SIGINT and SIGTERM ask to stop from now on. A second SIGINT ends the process at once: whoever
/// asks twice does not want to wait for a disk.
pub(crate) fn watch() -> io::Result<Cancel> {
    let cancel = Cancel::default();
    let asked_before = Arc::new(AtomicBool::new(false));
    // In this order: the first SIGINT must not find its own mark.
    flag::register_conditional_default(SIGINT, asked_before.clone())?;
    flag::register(SIGINT, asked_before)?;
    for signal in Signal::ALL {
        flag::register_usize(signal.number(), cancel.flag(), signal.flag())?;
    }
    Ok(cancel)
}
