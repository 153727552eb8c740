//! A disk as a shared base and the sectors that differ from it, cheap to copy by the thousand.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signpost::device;
use signpost::device::check_bounds;

/// The unit in which a disk loses writes, and the smallest logical sector.
pub const SECTOR: usize = 512;

/// What one sector holds instead of the base's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sector {
    /// These bytes.
    Data(Arc<[u8; SECTOR]>),
    /// Reading it is an error.
    Unreadable,
}

/// A disk's content.
#[derive(Clone, Debug)]
pub struct Overlay {
    base: Arc<Vec<u8>>,
    sectors: BTreeMap<u64, Sector>,
    /// Changes with every sector, and back: equal disks over one base have equal prints.
    print: u64,
}

impl Overlay {
    /// The base alone.
    ///
    /// # Panics
    /// When it is not a whole number of sectors.
    pub fn new(base: Vec<u8>) -> Self {
        assert_eq!(base.len() % SECTOR, 0, "a disk is made of sectors");
        Self {
            base: Arc::new(base),
            sectors: BTreeMap::new(),
            print: 0,
        }
    }

    /// Bytes of the disk.
    pub fn len(&self) -> u64 {
        u64::try_from(self.base.len()).expect("memory has fewer than 2^64 bytes")
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.base.is_empty()
    }

    /// Stands for the content; see [`Overlay`].
    pub fn print(&self) -> u64 {
        self.print
    }

    /// The same content as a base of its own, with unreadable sectors kept as such.
    #[must_use]
    pub fn flattened(&self) -> Self {
        let mut base = self.base.to_vec();
        let mut unreadable = Vec::new();
        for (&index, sector) in &self.sectors {
            match sector {
                Sector::Data(bytes) => base[range(index)].copy_from_slice(&bytes[..]),
                Sector::Unreadable => unreadable.push(index),
            }
        }
        let mut flat = Self::new(base);
        for index in unreadable {
            flat.put(index, Sector::Unreadable);
        }
        flat
    }

    /// Sector `index` as it is now.
    pub fn get(&self, index: u64) -> Sector {
        self.sectors.get(&index).cloned().unwrap_or_else(|| {
            let bytes = self.base[range(index)].try_into().expect("one sector");
            Sector::Data(Arc::new(bytes))
        })
    }

    /// Sector `index` becomes `sector`.
    pub fn put(&mut self, index: u64, sector: Sector) {
        self.print ^= self
            .sectors
            .get(&index)
            .map_or(0, |old| print_of(index, old));
        let is_base =
            matches!(&sector, Sector::Data(bytes) if bytes[..] == self.base[range(index)]);
        if is_base {
            self.sectors.remove(&index);
        } else {
            self.print ^= print_of(index, &sector);
            self.sectors.insert(index, sector);
        }
    }

    /// Whether the disk has exactly `bytes` from `offset` on.
    pub fn holds(&self, offset: u64, bytes: &[u8]) -> bool {
        let mut found = vec![0; bytes.len()];
        self.read(offset, &mut found).is_ok() && found == bytes
    }

    /// Reads, across sectors.
    ///
    /// # Errors
    /// Outside the disk, and on an unreadable sector.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        check_bounds(self.len(), offset, buf.len())?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        buf.copy_from_slice(&self.base[start..start + buf.len()]);
        let sector = u64::try_from(SECTOR).expect("512");
        let end = offset + u64::try_from(buf.len()).expect("memory has fewer than 2^64 bytes");
        for (&index, content) in self.sectors.range(offset / sector..end.div_ceil(sector)) {
            let Sector::Data(bytes) = content else {
                return Err(io::Error::other("unreadable sector"));
            };
            for (at, byte) in range(index).zip(&bytes[..]) {
                if let Some(place) = at.checked_sub(start).and_then(|at| buf.get_mut(at)) {
                    *place = *byte;
                }
            }
        }
        Ok(())
    }

    /// Writes, across sectors. A sector that is written whole becomes readable again.
    ///
    /// # Errors
    /// Outside the disk, and when part of an unreadable sector would have to be kept.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        check_bounds(self.len(), offset, bytes.len())?;
        for (index, sector) in self.sectors_of(offset, bytes)? {
            self.put(index, sector);
        }
        Ok(())
    }

    /// The sectors that a write would leave, in order.
    ///
    /// # Errors
    /// When part of an unreadable sector would have to be kept.
    pub fn sectors_of(&self, offset: u64, bytes: &[u8]) -> io::Result<Vec<(u64, Sector)>> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + bytes.len();
        (start / SECTOR..end.div_ceil(SECTOR))
            .map(|number| {
                let index = u64::try_from(number).expect("an index in memory");
                let place = range(index);
                let whole = place.start >= start && place.end <= end;
                let mut content = match self.get(index) {
                    Sector::Data(old) => *old,
                    Sector::Unreadable if whole => [0; SECTOR],
                    Sector::Unreadable => return Err(io::Error::other("unreadable sector")),
                };
                for (at, byte) in place.zip(&mut content) {
                    if let Some(new) = at.checked_sub(start).and_then(|at| bytes.get(at)) {
                        *byte = *new;
                    }
                }
                Ok((index, Sector::Data(Arc::new(content))))
            })
            .collect()
    }
}

fn range(index: u64) -> std::ops::Range<usize> {
    let start = usize::try_from(index).expect("an index in memory") * SECTOR;
    start..start + SECTOR
}

fn print_of(index: u64, sector: &Sector) -> u64 {
    let mut hasher = DefaultHasher::new();
    index.hash(&mut hasher);
    match sector {
        Sector::Data(bytes) => bytes.hash(&mut hasher),
        Sector::Unreadable => u64::MAX.hash(&mut hasher),
    }
    hasher.finish()
}

/// An [`Overlay`] as a device.
#[derive(Debug)]
pub struct OverlayDevice {
    disk: Mutex<Overlay>,
    block_size: u32,
}

impl OverlayDevice {
    /// `disk`, with logical sectors of `block_size` bytes.
    pub fn new(disk: Overlay, block_size: u32) -> Self {
        Self {
            disk: Mutex::new(disk),
            block_size,
        }
    }

    /// The content now.
    pub fn content(&self) -> Overlay {
        self.disk().clone()
    }

    fn disk(&self) -> MutexGuard<'_, Overlay> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl device::BlockDevice for OverlayDevice {
    fn len(&self) -> u64 {
        self.disk().len()
    }

    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.disk().read(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.disk().write(offset, buf)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_back_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buf)
    }

    fn name(&self) -> String {
        "disk".to_owned()
    }
}
