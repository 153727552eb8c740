//! What is put right before anything else is written: a damaged copy, a backup that is not at the end
//! of the disk, a lost MBR.

use std::io;
use std::ops::Range;

use snafu::{ResultExt, ensure};

use super::copy::{Remains, TableCopy};
use super::error::{BackupNotAtEndSnafu, Error, MbrSnafu, RenderSnafu, StaleSnafu};
use super::medium::Medium;
use super::step::{Extent, Step};
use super::{Origin, RenderError, Repaired, Side, Table, Twin, Written, tail};
use crate::device::BlockDevice;
use crate::gpt::{MbrFault, check_mbr, protective_mbr};

impl Table {
    /// Puts right what is not in order, in the order given at the head of the module `table`, and
    /// notes what it was. Does nothing at all to a disk that is in order.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn settle(&mut self, device: &dyn BlockDevice) -> Result<Written, Error> {
        let before = self.repaired.len();
        self.settle_copies(device)?;
        self.settle_memory(device)?;
        self.settle_mbr(device)?;
        Ok(if self.repaired.len() == before {
            Written::Nothing
        } else {
            Written::Changed
        })
    }

    fn settle_copies(&mut self, device: &dyn BlockDevice) -> Result<(), Error> {
        let damage = self.damage().cloned();
        let (from, to) = (self.trusted.backup_lba(), self.geometry.last_lba());
        let steps = if from == to {
            self.whole_twin()
        } else {
            self.check_unchanged(device)?;
            self.moved(device)?
        }
        .context(RenderSnafu { disk: &self.disk })?;
        if steps.is_empty() {
            return Ok(());
        }
        self.carry_out(device, steps)?;
        self.repaired.extend(damage.map(Repaired::Copy));
        if from != to {
            self.repaired.push(Repaired::BackupMoved { from, to });
        }
        Ok(())
    }

    /// The step that makes a damaged copy from the other one, if there is a damaged one.
    fn whole_twin(&self) -> Result<Vec<Step>, RenderError> {
        let Twin::Broken { remains, .. } = &self.twin else {
            return Ok(Vec::new());
        };
        let twin = self.trusted.twin(remains.as_deref(), &self.geometry)?;
        Ok(vec![Step::whole(&twin, &self.geometry)])
    }

    /// The steps that put a backup at the end of the disk and then make the primary point to it.
    ///
    /// Only in this order: were the primary header torn while the backup is elsewhere, it would not
    /// be found. Until the primary points to the new one, the old backup stays what it is.
    fn moved(&self, device: &dyn BlockDevice) -> Result<Result<Vec<Step>, RenderError>, Error> {
        let geometry = &self.geometry;
        let (backup_remains, primary_remains) = self.remains();
        let made = self
            .trusted
            .backup_at_end(backup_remains.as_ref(), geometry);
        let backup = match made {
            Ok(backup) => backup,
            Err(error) => return Ok(Err(error)),
        };
        let own: Vec<Range<u64>> = backup_remains
            .iter()
            .flat_map(|remains| tail::sectors(&remains.header, geometry))
            .collect();
        let only = self.trusted.side == Side::Backup;
        let medium = Medium(device);
        tail::check_free(&medium, &backup, &own, only, geometry).context(BackupNotAtEndSnafu {
            disk: &self.disk,
            lba: self.trusted.backup_lba(),
        })?;
        let primary = match self.trusted.side {
            Side::Primary => self
                .trusted
                .with_backup_at(geometry.last_lba(), geometry)
                .map(|new| Step::new(&self.trusted, new, Extent::ChangedSectors, geometry)),
            Side::Backup => backup
                .twin(primary_remains.as_ref(), geometry)
                .map(|primary| Step::whole(&primary, geometry)),
        };
        Ok(primary.map(|primary| vec![Step::whole(&backup, geometry), primary]))
    }

    /// What there is of the headers of the backup and of the primary.
    fn remains(&self) -> (Option<Remains>, Option<Remains>) {
        let trusted = Some(self.trusted.remains());
        let other = match &self.twin {
            Twin::Sound(twin) => Some(twin.remains()),
            Twin::Broken { remains, .. } => remains.as_deref().cloned(),
        };
        match self.trusted.side {
            Side::Primary => (other, trusted),
            Side::Backup => (trusted, other),
        }
    }

    /// Writes both copies as they are on the medium when the system's memory has something else.
    fn settle_memory(&mut self, device: &dyn BlockDevice) -> Result<(), Error> {
        let Origin::Medium {
            memory_differs: true,
        } = self.origin
        else {
            return Ok(());
        };
        let whole = |copy: &TableCopy| Step::whole(copy, &self.geometry);
        let steps = self.copies().into_iter().flatten().map(whole).collect();
        self.carry_out(device, steps)?;
        self.origin = Origin::Memory;
        self.repaired.push(Repaired::Memory);
        Ok(())
    }

    /// Writes a protective MBR where there is no MBR. Sector 0 may share a physical block with the
    /// primary, so this is done while both copies are sound.
    fn settle_mbr(&mut self, device: &dyn BlockDevice) -> Result<(), Error> {
        let disk = &self.disk;
        let Some(fault) = self.mbr.take_if(|fault| fault.may_be_repaired()) else {
            return Ok(());
        };
        let mut sector = vec![0; self.geometry.sector()];
        if !matches!(fault, MbrFault::Unreadable { .. }) {
            device.read_at(0, &mut sector).context(MbrSnafu { disk })?;
            let still = check_mbr(&sector).err().as_ref() == Some(&fault);
            ensure!(still, StaleSnafu { disk });
        }
        let sector = protective_mbr(&sector, self.geometry.sectors());
        device.write_at(0, &sector).context(MbrSnafu { disk })?;
        device.sync().context(MbrSnafu { disk })?;
        let mut found = vec![0; sector.len()];
        device
            .read_back_at(0, &mut found)
            .context(MbrSnafu { disk })?;
        if found != sector {
            let lost = io::Error::other("the disk does not hold what was written");
            return Err(lost).context(MbrSnafu { disk });
        }
        self.repaired.push(Repaired::Mbr(fault));
        Ok(())
    }
}
