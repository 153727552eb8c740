//! What can be wrong with a table that can still be read, and what was put right.

use std::fmt;

use crate::gpt::{Fault, MbrFault, Side};

/// One copy of the table was not as it should be when it was read. The other one was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The copy.
    pub side: Side,
    /// What was wrong with it.
    pub fault: Fault,
    /// The header of the primary is lost: only its place says that the table in the last sector is
    /// this disk's, and not one that an earlier owner left there.
    pub unconfirmed: bool,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the {} partition table is not in order: {}",
            self.side, self.fault
        )?;
        if self.unconfirmed {
            f.write_str(" (the copy in the last sector is the only one)")?;
        }
        Ok(())
    }
}

/// Something that was put right on the disk before anything else was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// A copy was made from the other one.
    Copy(Damage),
    /// The backup was not in the last sector. There is one there now, and the primary says so.
    BackupMoved {
        /// The sector of its header before.
        from: u64,
        /// The sector of its header now, the last one.
        to: u64,
    },
    /// The system's memory had another table than the medium, which counts: a write was not made
    /// durable. Both copies are written anew.
    Memory,
    /// Sector 0 was no MBR.
    Mbr(MbrFault),
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy(damage) => write!(f, "{damage}; it is repaired"),
            Self::BackupMoved { from, to } => write!(
                f,
                "the backup partition table was at sector {from}, not at the end of the disk; it is \
                 moved to sector {to}"
            ),
            Self::Memory => f.write_str(
                "what was last written to the partition table had not reached the disk; both copies \
                 are written anew from the disk",
            ),
            Self::Mbr(fault) => write!(f, "{fault}; it is written anew"),
        }
    }
}
