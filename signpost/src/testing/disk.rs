//! A builder of disks with partition sets, laid out and labelled like a Bottlerocket image.

use std::fs::OpenOptions;
use std::io::{self, Cursor, Read, Seek, Write};
use std::path::Path;

use gptman::{GPT, GPTPartitionEntry};

use super::MemoryDevice;
use crate::attributes::{BootAttributes, PrivateAttributes};
use crate::guid::{self, Guid};
use crate::slot::{PerSlot, Slot};

const MIB: u64 = 1024 * 1024;

/// Describes a disk image: two sets (or one), and the partitions around them.
///
/// The numbers are those of a real image: boot, root and hash are 3, 4, 5 and 8, 9, 10, the private
/// partition is 12. With one set they are 3, 4, 5 and 7. The bits are those of a factory image: set
/// A has priority 1 and is successful, set B is clear. The partitions hold zeros.
#[derive(Clone, Debug)]
pub struct DiskBuilder {
    sector_size: u32,
    unit: u64,
    dual: bool,
    boot_mib: u64,
    root_mib: u64,
    hash_mib: u64,
    private_mib: u64,
    bits: PerSlot<BootAttributes>,
    private: PrivateAttributes,
}

impl Default for DiskBuilder {
    fn default() -> Self {
        Self::new()
    }
}

struct Planned {
    type_guid: Guid,
    label: &'static str,
    mib: u64,
    attributes: u64,
}

impl DiskBuilder {
    /// Two sets of boot 1, root 4 and hash 1 MiB, and 1 MiB private, on sectors of 512 bytes.
    pub fn new() -> Self {
        Self {
            sector_size: 512,
            unit: MIB,
            dual: true,
            boot_mib: 1,
            root_mib: 4,
            hash_mib: 1,
            private_mib: 1,
            bits: PerSlot {
                a: BootAttributes::from_bits(0x0101_0000_0000_0000),
                b: BootAttributes::default(),
            },
            private: PrivateAttributes::default(),
        }
    }

    /// Sectors of `bytes`, which is 512 or 4096.
    #[must_use]
    pub fn sector_size(self, bytes: u32) -> Self {
        Self {
            sector_size: bytes,
            ..self
        }
    }

    /// Counts in units of `bytes` wherever it says MiB: a small disk for a test that copies it often.
    /// Not below 32 KiB, which a table takes up.
    #[must_use]
    pub fn unit(self, bytes: u64) -> Self {
        Self {
            unit: bytes,
            ..self
        }
    }

    /// Set A only.
    #[must_use]
    pub fn single(self) -> Self {
        Self {
            dual: false,
            ..self
        }
    }

    /// The size of each boot partition.
    #[must_use]
    pub fn boot_mib(self, mib: u64) -> Self {
        Self {
            boot_mib: mib,
            ..self
        }
    }

    /// The size of each root partition.
    #[must_use]
    pub fn root_mib(self, mib: u64) -> Self {
        Self {
            root_mib: mib,
            ..self
        }
    }

    /// The size of each hash partition.
    #[must_use]
    pub fn hash_mib(self, mib: u64) -> Self {
        Self {
            hash_mib: mib,
            ..self
        }
    }

    /// The size of the private partition.
    #[must_use]
    pub fn private_mib(self, mib: u64) -> Self {
        Self {
            private_mib: mib,
            ..self
        }
    }

    /// The boot bits of `slot`.
    #[must_use]
    pub fn bits(mut self, slot: Slot, bits: BootAttributes) -> Self {
        self.bits[slot] = bits;
        self
    }

    /// Bit 57 of the private partition set: some set has booted well before.
    #[must_use]
    pub fn boot_succeeded(self) -> Self {
        Self {
            private: self.private.with_boot_succeeded(),
            ..self
        }
    }

    /// How many bytes the disk has.
    pub fn length(&self) -> u64 {
        let partitions: u64 = self.plan().iter().map(|planned| planned.mib).sum();
        (1 + partitions + 1) * self.unit
    }

    /// The disk in memory.
    pub fn build(&self) -> MemoryDevice {
        let length = usize::try_from(self.length()).expect("a disk in memory fits into memory");
        let mut bytes = Cursor::new(vec![0; length]);
        self.write_table(&mut bytes)
            .expect("the disk is made large enough for its table");
        MemoryDevice::new(bytes.into_inner(), self.sector_size)
    }

    /// The disk as a new file, in which only the table takes up space.
    ///
    /// # Errors
    /// When there is something at `path` already, or it cannot be written.
    pub fn build_file(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        file.set_len(self.length())?;
        self.write_table(&mut file)
    }

    fn write_table<D: Read + Write + Seek>(&self, disk: &mut D) -> io::Result<()> {
        let sector_size = u64::from(self.sector_size);
        let disk_guid = unique_guid(0);
        let mut table =
            GPT::new_from(disk, sector_size, disk_guid.bytes()).map_err(io::Error::other)?;
        let mut start = self.unit;
        for (number, planned) in (1u32..).zip(self.plan()) {
            let end = start + planned.mib * self.unit;
            table[number] = GPTPartitionEntry {
                partition_type_guid: planned.type_guid.bytes(),
                unique_partition_guid: unique_guid(number).bytes(),
                starting_lba: start / sector_size,
                ending_lba: end / sector_size - 1,
                attribute_bits: planned.attributes,
                partition_name: planned.label.into(),
            };
            start = end;
        }
        table.write_into(disk).map_err(io::Error::other)?;
        GPT::write_protective_mbr_into(disk, sector_size).map_err(io::Error::other)
    }

    fn plan(&self) -> Vec<Planned> {
        let plain = |type_guid, label, mib| Planned {
            type_guid,
            label,
            mib,
            attributes: 0,
        };
        let boot = |label, slot| Planned {
            attributes: self.bits[slot].bits(),
            ..plain(guid::BOOT, label, self.boot_mib)
        };
        let private = Planned {
            attributes: self.private.bits(),
            ..plain(guid::PRIVATE, "BOTTLEROCKET-PRIVATE", self.private_mib)
        };
        let mut planned = vec![
            plain(guid::BIOS_BOOT, "BIOS-BOOT", 1),
            plain(guid::EFI_SYSTEM, "EFI-SYSTEM", 1),
            boot("BOTTLEROCKET-BOOT-A", Slot::A),
            plain(guid::ROOT, "BOTTLEROCKET-ROOT-A", self.root_mib),
            plain(guid::HASH, "BOTTLEROCKET-HASH-A", self.hash_mib),
            plain(guid::RESERVED, "BOTTLEROCKET-RESERVED-A", 1),
        ];
        if self.dual {
            planned.extend([
                plain(guid::EFI_BACKUP, "EFI-BACKUP", 1),
                boot("BOTTLEROCKET-BOOT-B", Slot::B),
                plain(guid::ROOT, "BOTTLEROCKET-ROOT-B", self.root_mib),
                plain(guid::HASH, "BOTTLEROCKET-HASH-B", self.hash_mib),
                plain(guid::RESERVED, "BOTTLEROCKET-RESERVED-B", 1),
            ]);
        }
        planned.extend([private, plain(guid::DATA, "", 1)]);
        planned
    }
}

/// A GUID that is always the same for the same number, and different for every other.
fn unique_guid(number: u32) -> Guid {
    let [a, b, c, d] = number.to_le_bytes();
    Guid([a, b, c, d, 0, 0, 0, 0x40, 0x80, 0, 0, 0, 0, 0, 0, 1])
}
