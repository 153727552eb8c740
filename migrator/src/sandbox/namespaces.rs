//! The outer stage.

use std::ffi::OsString;
use std::fs;
use std::io;

use rustix::process::{getegid, geteuid, setsid};
use rustix::thread::UnshareFlags;

use super::{Policy, Stage, Word, die_with_parent, missing, say};

/// Leaves what it can of the host and waits for what it starts.
pub(super) fn outer(mut policy: Policy, program: &[OsString]) -> io::Result<()> {
    die_with_parent()?;
    // A session of its own, so also a process group, by which all of it can be ended.
    setsid()?;
    let (user, group) = (geteuid(), getegid());
    if !user.is_root() {
        match unshare(UnshareFlags::NEWUSER) {
            Ok(()) => {
                policy.own_users = true;
                // The same numbers inside as outside; other users' there are none.
                fs::write("/proc/self/setgroups", "deny")?;
                let map = |id: u32| format!("{id} {id} 1");
                fs::write("/proc/self/uid_map", map(user.as_raw()))?;
                fs::write("/proc/self/gid_map", map(group.as_raw()))?;
            }
            Err(error) => missing("a user namespace", &error),
        }
    }
    for (what, flag) in [
        ("a network namespace", UnshareFlags::NEWNET),
        ("an IPC namespace", UnshareFlags::NEWIPC),
        ("a host name namespace", UnshareFlags::NEWUTS),
        ("a process namespace", UnshareFlags::NEWPID),
    ] {
        if let Err(error) = unshare(flag) {
            missing(what, &error);
        }
    }
    let mut child = policy.next(Stage::Init, program)?.spawn()?;
    // Its number in the migrator's namespace, which is also this process's.
    if let Ok(pid) = i32::try_from(child.id()) {
        say(&Word::Init(pid));
    }
    child.wait()?;
    Ok(())
}

#[expect(
    deprecated,
    reason = "the warning is about UnshareFlags::FILES and other threads; neither is here"
)]
fn unshare(flag: UnshareFlags) -> io::Result<()> {
    Ok(rustix::thread::unshare(flag)?)
}
