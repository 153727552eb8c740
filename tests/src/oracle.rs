//! Independent programs that know our formats. A test that needs one which is not installed is
//! skipped, and says so where `tests/run` counts it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set by `tests/run`: a file that gets one line for each skipped test.
pub const SKIPS_VARIABLE: &str = "UPDOG_TEST_SKIPS";
/// Set by `tests/run`: a Python in which `tuf` is installed.
pub const PYTHON_VARIABLE: &str = "UPDOG_TEST_PYTHON";

/// The path of `program`, or `None` after noting that `test` is skipped without it.
///
/// # Panics
/// When the note cannot be written: a skip must never go unseen.
pub fn find(test: &str, program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        skip(test, program);
    }
    found
}

/// A Python with the module `tuf`, or `None` after noting that `test` is skipped without it.
///
/// # Panics
/// When the note cannot be written.
pub fn python_tuf(test: &str) -> Option<PathBuf> {
    python_with(test, "tuf", "python-tuf")
}

/// The same with the module `schemathesis`.
///
/// # Panics
/// When the note cannot be written.
pub fn schemathesis(test: &str) -> Option<PathBuf> {
    python_with(test, "schemathesis", "schemathesis")
}

fn python_with(test: &str, module: &str, name: &str) -> Option<PathBuf> {
    let python = std::env::var_os(PYTHON_VARIABLE)
        .map(PathBuf::from)
        .filter(|path| {
            Command::new(path)
                .args(["-c", &format!("import {module}")])
                .status()
                .is_ok_and(|s| s.success())
        });
    if python.is_none() {
        skip(test, name);
    }
    python
}

/// Whether loop devices can be made here; notes that `test` is skipped if not.
///
/// # Panics
/// When the note cannot be written.
pub fn has_loop_devices(test: &str) -> bool {
    let attached = Command::new("losetup").arg("--find").output();
    let usable = attached.is_ok_and(|output| output.status.success());
    if !usable {
        skip(test, "root with loop devices");
    }
    usable
}

/// A file system of a few pages, in memory.
#[derive(Debug)]
pub struct SmallFileSystem(PathBuf);

/// Mounts one of `bytes` bytes on the new folder `dir`; `None` after noting that `test` is skipped
/// where that cannot be done.
///
/// # Panics
/// When the folder cannot be made or the note not be written.
pub fn small_file_system(test: &str, dir: &Path, bytes: u64) -> Option<SmallFileSystem> {
    std::fs::create_dir(dir).expect("a new folder");
    let size = format!("size={bytes}");
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
        .arg(dir)
        .output();
    if mount.is_ok_and(|output| output.status.success()) {
        Some(SmallFileSystem(dir.to_owned()))
    } else {
        skip(test, "root that may mount");
        None
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        // What is left of it goes with the machine's mounts; a test cannot do more.
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Notes that `test` did not run for want of `what`.
///
/// # Panics
/// When the note cannot be written.
pub fn skip(test: &str, what: &str) {
    let line = format!("{test}: {what} is not there\n");
    if let Some(path) = std::env::var_os(SKIPS_VARIABLE) {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .unwrap_or_else(|error| panic!("noting a skip in {}: {error}", path.display()));
    }
    // To the terminal of whoever runs one test by hand.
    let _ = write!(std::io::stderr(), "skipped: {line}");
}
