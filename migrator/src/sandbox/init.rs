//! The first process of the new process namespace.

use std::ffi::OsString;
use std::fs;
use std::io;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

use super::{Policy, Stage, Word, die_with_parent, missing, say};

/// Starts the migration, takes over what it leaves behind, and says how it ended. With the end of
/// this process the kernel ends all others in the namespace.
pub(super) fn init(policy: &Policy, program: &[OsString]) -> io::Result<()> {
    die_with_parent()?;
    let is_first = getpid() == Pid::INIT;
    if !is_first && let Err(error) = set_child_subreaper(Some(getpid())) {
        missing("taking over its orphans", &error);
    }
    let child = policy.next(Stage::Enter, program)?.spawn()?;
    let id = i32::try_from(child.id()).map_err(io::Error::other)?;
    loop {
        let (pid, status) = match wait(WaitOptions::empty()) {
            Ok(Some(ended)) => ended,
            Ok(None) | Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if pid.as_raw_nonzero().get() != id {
            continue; // An orphan.
        }
        if let Some(code) = status.exit_status() {
            say(&Word::Exit(code));
            break;
        }
        if let Some(signal) = status.terminating_signal() {
            say(&Word::Signal(signal));
            break;
        }
    }
    if !is_first {
        end_orphans();
    }
    Ok(())
}

/// Where no namespace does it: ends what the migration left, and what that leaves in turn. At most
/// so often: whoever is faster than this stays.
fn end_orphans() {
    for _ in 0..1000 {
        let Ok(children) = fs::read_to_string("/proc/thread-self/children") else {
            return;
        };
        let children: Vec<Pid> = children
            .split_whitespace()
            .filter_map(|word| word.parse().ok().and_then(Pid::from_raw))
            .collect();
        if children.is_empty() {
            return;
        }
        for child in children {
            let _ = kill_process(child, Signal::KILL);
            let _ = wait(WaitOptions::empty());
        }
    }
}
