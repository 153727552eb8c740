//! The session lock: one process at a time changes the disk.
//!
//! An advisory lock on a file (flock). It goes with its holder, so nobody has to clean up after a
//! crash. The file is 0600: flock needs no write permission, and whoever can open the file could
//! hold up every update of this host. It names its holder, for the message that a second session
//! gets.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use rustix::fs::OFlags;
use snafu::{ResultExt, Snafu};

/// Why the lock is not ours.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum LockError {
    /// Another process has it; `holder` is what it wrote about itself.
    #[snafu(display("another session holds {}: {holder}", path.display()))]
    Held { path: PathBuf, holder: String },
    /// Whether somebody has it cannot be seen.
    #[snafu(display("looking at {}, to see who holds the lock", path.display()))]
    Look { path: PathBuf, source: io::Error },
    /// The file or its folder cannot be made, opened, locked or written.
    #[snafu(display("taking the lock {}", path.display()))]
    Io { path: PathBuf, source: io::Error },
}

/// Held until dropped.
#[derive(Debug)]
pub struct SessionLock {
    _file: File,
}

impl SessionLock {
    /// Takes the lock at `path` without waiting; makes the file, and its folder (0700) where that
    /// does not exist. `verb` and `now` tell the next session who is here.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process has it.
    pub fn take(path: &Path, verb: &str, now: DateTime<Utc>) -> Result<Self, LockError> {
        if let Some(parent) = path.parent()
            && !parent.exists()
        {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)
                .context(IoSnafu { path })?;
        }
        let mut file = open(path).context(IoSnafu { path })?;
        match try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return HeldSnafu {
                    path,
                    holder: holder(&file),
                }
                .fail();
            }
            Err(TryLockError::Error(source)) => return Err(source).context(IoSnafu { path }),
        }
        let since = now.to_rfc3339_opts(SecondsFormat::Secs, true);
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| {
            write!(
                file,
                "updog {verb}, process {}, since {since}",
                process::id()
            )
        });
        // The lock is ours whatever is written into it; where that file system is full, a host can
        // still be led back.
        if let Err(error) = written {
            tracing::warn!(
                "who holds the lock is not written into {}: {error}",
                path.display()
            );
        }
        Ok(Self { _file: file })
    }
}

/// Opens the lock file at `path`, and makes it where it does not exist (0600).
///
/// # Errors
/// Also when something else than a file has the name.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags())
        .open(path)?;
    is_file(&file)?;
    Ok(file)
}

/// How long nobody may seem to hold a lock.
const LINGERS: Duration = Duration::from_millis(300);
/// How often it is tried meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// Takes the lock on `file`, unless somebody has it.
///
/// A lock that was let go lingers as long as a child that was being started at that moment has not
/// become its program yet. So a held one is tried again, for less than a second.
///
/// # Errors
/// [`TryLockError`].
pub(crate) fn try_lock(file: &File) -> Result<(), TryLockError> {
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if begin.elapsed() < LINGERS => thread::sleep(LOOK),
            result => return result,
        }
    }
}

/// A link may lead to a file that is not ours to empty, and a pipe is waited at.
fn flags() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

fn is_file(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() {
        Ok(())
    } else {
        Err(io::Error::other("not a file"))
    }
}

/// Where the kernel lists the locks that are held.
const LOCKS: &str = "/proc/locks";
/// A larger list is none.
const MAX_LOCKS_BYTES: usize = 16 << 20;
/// What is asked for at once.
const READ_BYTES: usize = 64 << 10;
/// How often a lock has to be missing from the list.
const LOOKS: usize = 3;

/// Who holds the lock at `path`, in their own words; `None` when nobody does.
///
/// Only looks. Trying the lock, shared or not, could make a session fail that begins at the same
/// moment, so the kernel's list is asked instead. The answer may be old by the time it is used.
///
/// # Errors
/// [`LockError::Look`].
pub fn holder_of(path: &Path) -> Result<Option<String>, LockError> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(source).context(LookSnafu { path }),
    };
    is_file(&file).context(LookSnafu { path })?;
    let found = file.metadata().context(LookSnafu { path })?;
    let holder = holder(&file);
    for _ in 0..LOOKS {
        let locks = read_locks().context(LookSnafu { path: LOCKS })?;
        if is_held(&locks, found.dev(), found.ino(), pid_in(&holder)) {
            return Ok(Some(holder));
        }
    }
    Ok(None)
}

/// The kernel's list. One read is one moment as far as a page goes, some sixty locks, and only if a
/// page is asked for at once; between two reads an entry is missed when one ahead of it goes.
fn read_locks() -> io::Result<String> {
    let mut file = File::open(LOCKS)?;
    let mut part = vec![0; READ_BYTES];
    let mut locks = Vec::new();
    loop {
        match file.read(&mut part) {
            Ok(0) => break,
            Ok(_) if locks.len() > MAX_LOCKS_BYTES => return Err(ErrorKind::FileTooLarge.into()),
            Ok(read) => locks.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&locks).into_owned())
}

/// Whether the kernel's list `locks` has a lock on this file.
///
/// A file system may go by another device number there than in `stat` (btrfs, overlayfs): then it
/// is the same file if the holder, too, is the one who wrote `pid` into it.
fn is_held(locks: &str, device: u64, inode: u64, pid: Option<&str>) -> bool {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let (device, inode) = (format!("{major:02x}:{minor:02x}"), inode.to_string());
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`; who waits has `->` before FLOCK.
        let [_, "FLOCK", _, _, holder, file, ..] = words[..] else {
            return false;
        };
        file.rsplit_once(':').is_some_and(|(on, number)| {
            number == inode && (on == device || pid.is_some_and(|pid| pid == holder))
        })
    })
}

/// The process that a holder names.
fn pid_in(holder: &str) -> Option<&str> {
    let (_, rest) = holder.split_once("process ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest.get(..end.unwrap_or(rest.len()))
        .filter(|pid| !pid.is_empty())
}

/// What the holder wrote; it may be in the middle of writing, so anything is possible.
fn holder(file: &File) -> String {
    let mut bytes = Vec::new();
    let known = file.take(200).read_to_end(&mut bytes).is_ok() && !bytes.is_empty();
    if known {
        String::from_utf8_lossy(&bytes)
            .chars()
            .filter(|c| !c.is_control())
            .collect()
    } else {
        "it has not said who it is yet".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::durable;

    #[test]
    fn a_second_session_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/updog/lock");
        let now = "2031-03-01T01:00:00Z".parse().unwrap();
        let first = SessionLock::take(&path, "update", now).unwrap();
        let error = SessionLock::take(&path, "prepare", now).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "another session holds {}: updog update, process {}, since 2031-03-01T01:00:00Z",
                path.display(),
                process::id()
            )
        );
        drop(first);
        SessionLock::take(&path, "prepare", now).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }

    #[test]
    fn what_is_no_file_of_ours_is_neither_emptied_nor_waited_at() {
        let dir = tempfile::tempdir().unwrap();
        let now = "2031-03-01T01:00:00Z".parse().unwrap();
        let (precious, link) = (dir.path().join("precious"), dir.path().join("link"));
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, &link).unwrap();
        let pipe = dir.path().join("pipe");
        durable::make_pipe(&pipe);
        for path in [&link, &pipe] {
            assert!(SessionLock::take(path, "update", now).is_err());
            assert!(holder_of(path).is_err());
        }
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
    }

    #[test]
    fn looking_tells_the_holder_and_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let now = "2031-03-01T01:00:00Z".parse().unwrap();
        assert_eq!(holder_of(&path).unwrap(), None, "never locked");
        let held = SessionLock::take(&path, "update", now).unwrap();
        let holder = holder_of(&path).unwrap().unwrap();
        assert!(holder.starts_with("updog update, process "), "{holder}");
        drop(held);
        assert_eq!(holder_of(&path).unwrap(), None, "its text stays behind");
        SessionLock::take(&path, "update", now).unwrap();
    }

    #[test]
    fn a_lock_is_known_by_its_file_or_by_number_and_holder() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 08:01:100 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 7 08:01:200 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 8 08:01:300 0 EOF\n\
                     3: FLOCK  ADVISORY  READ  9 00:1f:400 0 EOF\n";
        let device = rustix::fs::makedev(8, 1);
        for (inode, pid, held) in [
            (100, None, false),
            (200, None, true),
            (200, Some("1"), true),
            (20, None, false),
            (300, Some("8"), false),
            (400, None, false),
            (400, Some("7"), false),
            (400, Some("9"), true),
        ] {
            assert_eq!(is_held(locks, device, inode, pid), held, "{inode} {pid:?}");
        }
    }

    #[test]
    fn a_holder_names_its_process() {
        assert_eq!(pid_in("updog update, process 712, since 2031"), Some("712"));
        assert_eq!(pid_in("process 712"), Some("712"));
        assert_eq!(pid_in("process me"), None);
        assert_eq!(pid_in("it has not said who it is yet"), None);
    }

    #[test]
    fn a_lock_is_seen_while_others_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let now = "2031-03-01T01:00:00Z".parse().unwrap();
        let path = dir.path().join("lock");
        let _held = SessionLock::take(&path, "update", now).unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for number in 0..2 {
                let (is_over, other) = (&is_over, dir.path().join(number.to_string()));
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        drop(SessionLock::take(&other, "other", now).unwrap());
                    }
                });
            }
            let seen = (0..1000).filter(|_| matches!(holder_of(&path), Ok(Some(_))));
            let seen = seen.count();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(seen, 1000);
        });
    }
}
