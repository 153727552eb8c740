//! The port to a disk: bytes at offsets of something that already exists.
//!
//! Nothing here creates, truncates or extends anything. A read or write that does not fit is an
//! error and moves no byte. [`FileDevice`] is the only place in this project that opens a disk.

mod error;
mod sectors;

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{Advice, FallocateFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use snafu::ResultExt;

pub use self::error::Error;
use self::error::{InUseSnafu, InspectSnafu, LengthSnafu, NotADiskSnafu, OpenSnafu};
pub use self::sectors::DeviceSectors;

/// What an opened disk may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only looked at: writing is an error.
    ReadOnly,
    /// Looked at and written.
    ReadWrite,
}

/// A fixed number of bytes that can be read, written and made durable.
///
/// Implementations report plain [`io::Error`]s; the caller knows what it was doing and adds that,
/// with [`name`](Self::name) and the offset.
pub trait BlockDevice: Send + Sync + fmt::Debug {
    /// How many bytes there are. Does not change.
    fn len(&self) -> u64;

    /// Whether there is no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of a logical sector, the unit in which the device numbers its blocks: 512 or 4096. A
    /// regular file has none and says 512. A hint where to look for a partition table; reads and
    /// writes need not be aligned to it.
    fn block_size(&self) -> u32;

    /// Fills `buf` from `offset` on, or fails.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Writes all of `buf` at `offset`, or fails having written none or some of it. Not durable
    /// before [`sync`](Self::sync).
    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()>;

    /// Like [`write_at`](Self::write_at), but past memory where the system can do that: for much that
    /// is not read again soon. It can where `offset`, length and address of `buf` are multiples of
    /// [`DIRECT_ALIGNMENT`].
    fn write_direct_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.write_at(offset, buf)
    }

    /// Turns `length` bytes from `offset` on into zeros without writing them, where that can be done, and
    /// says whether it was; if not, some of them may be zeros all the same. Not durable before
    /// [`sync`](Self::sync).
    ///
    /// # Errors
    /// When they are not within the device, or it may not be written.
    fn zero_at(&self, offset: u64, length: usize) -> io::Result<bool> {
        check_bounds(self.len(), offset, length).map(|()| false)
    }

    /// Returns once everything written before is on the medium.
    fn sync(&self) -> io::Result<()>;

    /// Like [`read_at`](Self::read_at), but from the medium rather than from memory, as far as the
    /// system allows. Call [`sync`](Self::sync) first, unless the question is whether memory and
    /// medium differ. Quickest where `offset`, length and address of `buf` are multiples of
    /// [`DIRECT_ALIGNMENT`].
    fn read_back_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// What to call it in a message: its path, if it has one.
    fn name(&self) -> String;

    /// Waits, for a bounded time, until no other program holds this lock, and takes it. Programs
    /// that change a partition table take it around reading, deciding and writing.
    fn lock(&self) -> io::Result<()> {
        Ok(())
    }

    /// Gives the lock back.
    fn unlock(&self) -> io::Result<()> {
        Ok(())
    }
}

/// An error unless `length` bytes from `offset` on lie within a device of `device_length` bytes.
pub fn check_bounds(device_length: u64, offset: u64, length: usize) -> io::Result<()> {
    let end = u64::try_from(length)
        .ok()
        .and_then(|length| offset.checked_add(length));
    match end {
        Some(end) if end <= device_length => Ok(()),
        _ => Err(io::Error::new(
            ErrorKind::InvalidInput,
            format!("{length} bytes at {offset} do not fit into {device_length}"),
        )),
    }
}

/// The number by which the kernel knows a device, as in `/sys/dev/block/254:0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceNumber {
    /// Which driver.
    pub major: u32,
    /// Which device of that driver. Has more than eight bits.
    pub minor: u32,
}

impl DeviceNumber {
    /// Splits the number that `stat` gives.
    pub fn from_raw(device: u64) -> Self {
        Self {
            major: rustix::fs::major(device),
            minor: rustix::fs::minor(device),
        }
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A block device, or a file that holds the image of one.
#[derive(Debug)]
pub struct FileDevice {
    path: PathBuf,
    file: File,
    /// The same, opened past the page cache, where the file system can do that.
    direct: Option<File>,
    length: u64,
    block_size: u32,
    number: Option<DeviceNumber>,
    access: Access,
}

/// How a device node is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Shared,
    Exclusive,
}

/// Offsets, lengths and addresses of what goes past the page cache are multiples of this, which suits
/// sectors of either size.
pub const DIRECT_ALIGNMENT: usize = 4096;
/// The same, as an offset.
const DIRECT_ALIGNMENT_BYTES: u64 = 4096;
/// Bytes that a direct read moves at a time.
const DIRECT_CHUNK: usize = 1024 * 1024;
/// No page of the cache is larger, on any machine.
const LARGEST_PAGE: u64 = 64 * 1024;
/// How often, and after what pause, a lock that another program holds is asked for again.
const LOCK_ATTEMPTS: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

impl FileDevice {
    /// Opens a block device or a regular file that exists.
    ///
    /// Nothing is created, truncated or written by this. A path to anything else is refused before
    /// it is opened, so that a pipe does not hang and a terminal is not disturbed.
    ///
    /// # Errors
    /// When there is nothing at the path, when it is no disk, or when it may not be opened so.
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Self, Error> {
        Self::open_as(path.as_ref(), access, Claim::Shared)
    }

    /// Like [`open`](Self::open), and on a block device nobody else may mount it or build on it for
    /// as long as this is open.
    ///
    /// # Errors
    /// [`Error::InUse`] when somebody already does. A regular file cannot be claimed; it is opened
    /// as by `open`.
    pub fn open_exclusive(path: impl AsRef<Path>, access: Access) -> Result<Self, Error> {
        Self::open_as(path.as_ref(), access, Claim::Exclusive)
    }

    fn open_as(path: &Path, access: Access, claim: Claim) -> Result<Self, Error> {
        let seen = rustix::fs::stat(path)
            .map_err(io::Error::from)
            .context(InspectSnafu { path })?;
        check_type(path, seen.st_mode)?;

        let claim = match (claim, FileType::from_raw_mode(seen.st_mode)) {
            (Claim::Exclusive, FileType::BlockDevice) => OFlags::EXCL,
            _ => OFlags::empty(),
        };
        let mode = match access {
            Access::ReadOnly => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        let mut file = match open(path, mode | claim) {
            Ok(file) => file,
            Err(Errno::BUSY) => return Err(Errno::BUSY.into()).context(InUseSnafu { path }),
            Err(error) => return Err(error.into()).context(OpenSnafu { path }),
        };
        // The path may have been given to something else in between.
        let opened = rustix::fs::fstat(&file)
            .map_err(io::Error::from)
            .context(InspectSnafu { path })?;
        check_type(path, opened.st_mode)?;

        let length = file.seek(SeekFrom::End(0)).context(LengthSnafu { path })?;
        let is_block = FileType::from_raw_mode(opened.st_mode) == FileType::BlockDevice;
        let block_size = if is_block {
            rustix::fs::ioctl_blksszget(&file)
                .map_err(io::Error::from)
                .context(InspectSnafu { path })?
        } else {
            512
        };
        let same = |file: &File| {
            rustix::fs::fstat(file).is_ok_and(|direct| {
                (direct.st_dev, direct.st_ino) == (opened.st_dev, opened.st_ino)
            })
        };
        Ok(Self {
            path: path.to_path_buf(),
            direct: open(path, mode | OFlags::DIRECT).ok().filter(same),
            file,
            length,
            block_size,
            number: is_block.then(|| DeviceNumber::from_raw(opened.st_rdev)),
            access,
        })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kernel's number of it, if it is a block device.
    pub const fn number(&self) -> Option<DeviceNumber> {
        self.number
    }

    /// Drops the pages of these bytes from the cache. Only whole pages can be, and only as far as
    /// nobody uses them; a failure changes nothing.
    fn forget(&self, offset: u64, length: usize) {
        let start = offset - offset % LARGEST_PAGE;
        let end = u64::try_from(length).ok().and_then(|length| {
            offset
                .checked_add(length)?
                .checked_next_multiple_of(LARGEST_PAGE)
        });
        if let Some(length) = end.and_then(|end| NonZeroU64::new(end - start)) {
            let _ = rustix::fs::fadvise(&self.file, start, Some(length), Advice::DontNeed);
        }
    }
}

impl BlockDevice for FileDevice {
    fn len(&self) -> u64 {
        self.length
    }

    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        check_bounds(self.length, offset, buf.len())?;
        self.file.read_exact_at(buf, offset)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        check_access(self.access)?;
        check_bounds(self.length, offset, buf.len())?;
        self.file.write_all_at(buf, offset)
    }

    fn write_direct_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        check_access(self.access)?;
        check_bounds(self.length, offset, buf.len())?;
        if let Some(direct) = self.direct.as_ref().filter(|_| is_aligned(offset, buf)) {
            match direct.write_all_at(buf, offset) {
                // As with reads: taken at opening, refused now.
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {}
                done => return done,
            }
        }
        self.file.write_all_at(buf, offset)
    }

    /// A hole: a block device that can do so forgets what it had there, a file takes less room.
    fn zero_at(&self, offset: u64, length: usize) -> io::Result<bool> {
        check_access(self.access)?;
        check_bounds(self.length, offset, length)?;
        let Ok(length) = u64::try_from(length) else {
            return Ok(false);
        };
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // Whatever is in the way: who writes the zeros then sees whether it is an error.
        let zeroed =
            rustix::io::retry_on_intr(|| rustix::fs::fallocate(&self.file, flags, offset, length));
        Ok(zeroed.is_ok())
    }

    /// A block device is also told to empty its own write cache.
    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Reads past the page cache where the file system allows that (`O_DIRECT`); else empties the
    /// cache of these bytes and reads them again. Either way the cache forgets what is not waiting to
    /// be written: after a write that failed it has bytes that the medium has not.
    ///
    /// What neither way proves: that a drive did not answer from its own cache, that a loop device
    /// did not answer from the page cache of its backing file, and on a file system that lives in
    /// memory, anything at all.
    fn read_back_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        check_bounds(self.length, offset, buf.len())?;
        self.forget(offset, buf.len());
        if let Some(direct) = &self.direct {
            match read_direct(direct, offset, buf) {
                // Some file systems take the flag at opening and refuse it at reading.
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {}
                done => return done,
            }
        }
        // Pages that are still dirty cannot be dropped.
        self.file.sync_all()?;
        self.forget(offset, buf.len());
        self.read_at(offset, buf)
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// An advisory lock on the file or the whole device, which also keeps udev from probing a table
    /// that is being rewritten. Waits ten seconds at most.
    fn lock(&self) -> io::Result<()> {
        for _ in 0..LOCK_ATTEMPTS {
            match rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(LOCK_PAUSE),
                done => return done.map_err(io::Error::from),
            }
        }
        Err(io::Error::new(
            ErrorKind::TimedOut,
            "another program holds the lock",
        ))
    }

    fn unlock(&self) -> io::Result<()> {
        Ok(rustix::fs::flock(&self.file, FlockOperation::Unlock)?)
    }
}

/// An error unless writing is allowed.
pub(crate) fn check_access(access: Access) -> io::Result<()> {
    match access {
        Access::ReadWrite => Ok(()),
        Access::ReadOnly => Err(io::Error::new(
            ErrorKind::PermissionDenied,
            "opened for reading only",
        )),
    }
}

fn open(path: &Path, flags: OFlags) -> Result<File, Errno> {
    // Neither CREATE nor TRUNC, ever: a device node that is missing must stay missing.
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())).map(File::from)
}

fn check_type(path: &Path, mode: u32) -> Result<(), Error> {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::BlockDevice | FileType::RegularFile => return Ok(()),
        FileType::Directory => "a directory",
        FileType::CharacterDevice => "a character device",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::Symlink | FileType::Unknown => "something else",
    };
    NotADiskSnafu { path, kind }.fail()
}

/// Whether these bytes can go past the page cache as they are.
fn is_aligned(offset: u64, buf: &[u8]) -> bool {
    offset.is_multiple_of(DIRECT_ALIGNMENT_BYTES)
        && buf.len().is_multiple_of(DIRECT_ALIGNMENT)
        && buf.as_ptr().align_offset(DIRECT_ALIGNMENT) == 0
}

/// Fills `buf` with aligned reads, of more than was asked for where `buf` is not aligned.
fn read_direct(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<()> {
    if is_aligned(offset, buf) {
        return file.read_exact_at(buf, offset);
    }
    let mut store = vec![0; DIRECT_CHUNK + DIRECT_ALIGNMENT];
    let skip = store.as_ptr().align_offset(DIRECT_ALIGNMENT);
    let aligned = store
        .get_mut(skip..)
        .and_then(|rest| rest.get_mut(..DIRECT_CHUNK))
        .ok_or_else(|| io::Error::other("no aligned memory"))?;

    let mut rest = buf;
    let mut at = offset;
    while !rest.is_empty() {
        let lead = usize::try_from(at % DIRECT_ALIGNMENT_BYTES).map_err(io::Error::other)?;
        let start = at - at % DIRECT_ALIGNMENT_BYTES;
        let wanted = lead.saturating_add(rest.len()).min(DIRECT_CHUNK);
        let wanted = wanted.next_multiple_of(DIRECT_ALIGNMENT);
        // At the end of the device this is short, and need not be aligned.
        let got = read_once(file, start, &mut aligned[..wanted])?;
        let useful = got.saturating_sub(lead).min(rest.len());
        if useful == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let (filled, unfilled) = rest.split_at_mut(useful);
        filled.copy_from_slice(&aligned[lead..lead + useful]);
        rest = unfilled;
        at += u64::try_from(useful).map_err(io::Error::other)?;
    }
    Ok(())
}

fn read_once(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read_at(buf, offset) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests;
