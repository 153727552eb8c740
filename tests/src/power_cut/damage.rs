//! Disks that were not in order before the command.

use super::overlay::{Overlay, SECTOR, Sector};

/// Ways in which one copy of the table is no good.
#[derive(Debug, Clone, Copy)]
pub(super) enum Damage {
    PrimaryHeader,
    PrimaryEntries,
    BackupHeader,
    BackupEntries,
    PrimaryUnreadable,
}

impl Damage {
    pub(super) const ALL: [Self; 5] = [
        Self::PrimaryHeader,
        Self::PrimaryEntries,
        Self::BackupHeader,
        Self::BackupEntries,
        Self::PrimaryUnreadable,
    ];

    pub(super) fn on(self, disk: &Overlay, sector: usize) -> Overlay {
        let mut disk = disk.clone();
        let sector = u64::try_from(sector).expect("512 or 4096");
        let last = disk.len() - sector;
        let at = match self {
            Self::PrimaryHeader | Self::PrimaryUnreadable => sector,
            Self::PrimaryEntries => 2 * sector + 200,
            Self::BackupHeader => last,
            Self::BackupEntries => last - 16384 + 200,
        };
        if matches!(self, Self::PrimaryUnreadable) {
            disk.put(at / u64::try_from(SECTOR).expect("512"), Sector::Unreadable);
        } else {
            disk.write(at, &[0xa5; 30]).expect("inside the disk");
        }
        disk
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PrimaryHeader => "primary header damaged",
            Self::PrimaryEntries => "primary entries damaged",
            Self::BackupHeader => "backup header damaged",
            Self::BackupEntries => "backup entries damaged",
            Self::PrimaryUnreadable => "primary header unreadable",
        })
    }
}
