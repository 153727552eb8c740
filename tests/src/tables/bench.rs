//! A disk that we have in memory and the other programs in a file, or on a loop device.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use signpost::layout::Entry;
use signpost::testing::MemoryDevice;
use signpost::{BootDisk, boot_disk};
use tempfile::TempDir;

use super::spec::Spec;
use super::verdict::{Oracles, Partitions, Printed, Sgdisk};
use crate::oracle;
use crate::programs::Ran;

/// Where tables are compared.
#[derive(Debug)]
pub struct Bench {
    oracles: Oracles,
    folder: TempDir,
    /// Bytes of a sector. On a file both programs believe in 512.
    pub sector: usize,
}

/// Which programs have looked at a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// `cgpt` does not take it.
    BySgdisk,
    /// Both.
    ByBoth,
}

impl Bench {
    /// A bench for tables in sectors of this size, or nothing after noting what `test` lacks.
    ///
    /// # Panics
    /// When there is no place for temporary files.
    pub fn find(test: &str, sector: usize) -> Option<Self> {
        let oracles = Oracles::find(test)?;
        if sector != 512 && !oracle::has_loop_devices(test) {
            return None;
        }
        Some(Self {
            oracles,
            folder: tempfile::tempdir().expect("a temporary folder"),
            sector,
        })
    }

    /// What we make of a disk.
    ///
    /// # Errors
    /// As for [`BootDisk::read`].
    pub fn read(&self, disk: &[u8]) -> Result<BootDisk, boot_disk::Error> {
        BootDisk::read(self.device(disk))
    }

    /// The disk in memory.
    ///
    /// # Panics
    /// Never: a sector has 512 or 4096 bytes.
    pub fn device(&self, disk: &[u8]) -> Arc<MemoryDevice> {
        let sector = u32::try_from(self.sector).expect("512 or 4096");
        Arc::new(MemoryDevice::new(disk.to_vec(), sector))
    }

    /// What `sgdisk` makes of a disk that was made from `spec`.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn sgdisk(&self, disk: &[u8], spec: &Spec) -> Sgdisk {
        let planned = spec.entries.iter().map(|entry| entry.number);
        let mut numbers: BTreeSet<u32> = planned.collect();
        // Damage may make a partition of an entry that was none.
        if let Ok(disk) = self.read(disk) {
            numbers.extend(disk.entries().iter().map(|entry| entry.number));
        }
        let numbers: Vec<_> = numbers.into_iter().collect();
        self.show(disk, |path| self.oracles.sgdisk(path, &numbers))
    }

    /// The disk after `sgdisk` was told to change it.
    ///
    /// # Panics
    /// When it cannot.
    pub fn changed_by_sgdisk(&self, disk: &[u8], arguments: &[&str]) -> Vec<u8> {
        self.show(disk, |path| self.oracles.change(path, arguments));
        fs::read(self.path()).expect("the file that was shown")
    }

    /// Both programs find on a disk what we find there, number for number and bit for bit.
    ///
    /// # Panics
    /// When they do not.
    pub fn assert_same(&self, disk: &[u8], sgdisk: &Sgdisk, what: &str) -> Seen {
        let read = self.read(disk).expect("a table that we read");
        let ours = read.entries();
        let ours = comparable(ours.iter().map(|entry| self.printed(entry)));
        assert_eq!(comparable(sgdisk.partitions.clone()), ours, "{what}");
        match self.show(disk, |path| self.oracles.cgpt(path)) {
            None => Seen::BySgdisk,
            Some(theirs) => {
                let top = |(number, partition): (u32, Printed)| {
                    let attributes = partition.attributes >> 48;
                    let partition = Printed {
                        attributes,
                        ..partition
                    };
                    (number, partition)
                };
                let ours: Partitions = ours.into_iter().map(top).collect();
                assert_eq!(comparable(theirs), ours, "{what}");
                Seen::ByBoth
            }
        }
    }

    /// Priority, tries left and success of the boot partitions, which `cgpt` gives one by one.
    ///
    /// # Panics
    /// When it finds others than we do.
    pub fn assert_same_flags(&self, disk: &[u8], what: &str) {
        let read = self.read(disk).expect("a table that we read");
        for (slot, set) in read.layout().sets.iter() {
            let bits = read.bits()[slot];
            let ours = [
                u64::from(bits.priority()),
                u64::from(bits.tries_left()),
                u64::from(bits.successful()),
            ];
            let number = set.boot.number;
            let theirs = self.show(disk, |path| self.oracles.cgpt_bits(path, number));
            assert_eq!(theirs, ours, "{what}");
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("disk.img")
    }

    /// Shows the disk to a program: a file, or for other sectors a loop device.
    fn show<T>(&self, disk: &[u8], look: impl FnOnce(&Path) -> T) -> T {
        let path = self.path();
        fs::write(&path, disk).expect("a place for the disk");
        if self.sector == 512 {
            return look(&path);
        }
        let sector = self.sector.to_string();
        let mut attach = Command::new("losetup");
        attach.args(["--find", "--show", "--sector-size", &sector]);
        let attached = Ran::of(attach.arg(&path)).done().stdout;
        let node = attached.trim();
        let seen = look(Path::new(node));
        Ran::of(Command::new("losetup").args(["--detach", node])).done();
        seen
    }

    fn printed(&self, entry: &Entry) -> (u32, Printed) {
        let sector = u64::try_from(self.sector).expect("512 or 4096");
        let (first, sectors) = entry.range.map_or((0, 0), |range| {
            (range.start() / sector, range.length() / sector)
        });
        let printed = Printed {
            type_guid: entry.type_guid.to_string().to_uppercase(),
            guid: entry.guid.to_string().to_uppercase(),
            first,
            sectors,
            attributes: entry.attributes,
            name: String::new(),
        };
        (entry.number, printed)
    }
}

/// Without names, which each prints in its own way, and without entries that begin at sector 0: to
/// `sgdisk` these are unused, whatever their type.
fn comparable(partitions: impl IntoIterator<Item = (u32, Printed)>) -> Partitions {
    let used = partitions
        .into_iter()
        .filter(|(_, printed)| printed.first > 0);
    used.map(|(number, printed)| {
        let name = String::new();
        (number, Printed { name, ..printed })
    })
    .collect()
}
