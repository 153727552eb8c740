//! Writes a planned disk into a file and reads it back.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use gptman::{GPT, GPTHeader, GPTPartitionEntry};
use signpost::guid::Guid;
use signpost::layout::{self, ByteRange, Entry, Layout};
use snafu::{ResultExt, Snafu, ensure};
use update_metadata::{ImageKind, RawImage};

use super::plan::{DiskPlan, Partition};
use crate::publish::event::Observer;
use crate::publish::image_file::{self, ImageFile, ImageFileError};
use crate::publish::random::{self, RandomError};

/// Pieces of zeros this long are left as holes.
const HOLE_BYTES: usize = 64 * 1024;

/// Why the file is not the planned disk.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum WriteError {
    /// The file cannot be extended, written, synced or read.
    #[snafu(display("writing the disk {}", disk.display()))]
    Io { disk: PathBuf, source: io::Error },
    /// The table could not be rendered or read back.
    #[snafu(display("the partition table of {}", disk.display()))]
    Table {
        disk: PathBuf,
        source: gptman::Error,
    },
    /// The sets of the table that was read back are not what a boot loader expects.
    #[snafu(display("the partition table of {} does not hold two sets", disk.display()))]
    Layout {
        disk: PathBuf,
        source: layout::Error,
    },
    /// What was read back is not what was written.
    #[snafu(display("{} reads back with another {what} than was written", disk.display()))]
    ReadBack { disk: PathBuf, what: String },
    /// An image cannot be read.
    #[snafu(transparent)]
    Image { source: ImageFileError },
    /// No identifier could be drawn.
    #[snafu(transparent)]
    Random { source: RandomError },
}

/// What goes into set A.
pub struct Content<'a> {
    /// The boot image, and what an earlier pass over it saw.
    pub boot: (&'a mut ImageFile, RawImage),
    /// The root image, and what an earlier pass over it saw.
    pub root: (&'a mut ImageFile, RawImage),
    /// The whole hash image.
    pub hash: &'a [u8],
}

/// A disk that is being written.
pub struct DiskWriter<'a> {
    /// The open, empty file.
    pub file: &'a mut File,
    /// What it will be called, for messages.
    pub name: PathBuf,
    /// Where everything goes.
    pub plan: &'a DiskPlan,
    /// 512 or 4096.
    pub sector_size: u64,
}

impl DiskWriter<'_> {
    /// Writes images and table, syncs, and compares all of it with what a second reading finds.
    pub fn write(
        &mut self,
        content: Content<'_>,
        observer: Observer<'_>,
    ) -> Result<(), WriteError> {
        let disk = self.name.clone();
        self.file
            .set_len(self.plan.length)
            .context(IoSnafu { disk: &disk })?;
        let boot = self.copy_image(ImageKind::Boot, content.boot, observer)?;
        let root = self.copy_image(ImageKind::Root, content.root, observer)?;
        let start = self.plan.installed(ImageKind::Hash).start;
        self.write_sparse(start, content.hash)?;
        let entries = self.entries()?;
        self.write_table(&entries)?;
        self.file.sync_all().context(IoSnafu { disk: &disk })?;

        self.verify_table(&entries)?;
        self.verify_image(ImageKind::Boot, &boot)?;
        self.verify_image(ImageKind::Root, &root)?;
        self.verify_image(ImageKind::Hash, &image_file::raw_image_of(content.hash))
    }

    fn copy_image(
        &self,
        kind: ImageKind,
        (image, expected): (&mut ImageFile, RawImage),
        observer: Observer<'_>,
    ) -> Result<RawImage, WriteError> {
        let mut at = self.plan.installed(kind).start;
        let copied = image.pass("copying", observer, |chunk| {
            self.write_sparse(at, chunk)?;
            at += u64::try_from(chunk.len()).expect("a slice's length fits in 64 bits");
            Ok::<_, WriteError>(())
        })?;
        image.ensure_same(&expected, &copied)?;
        Ok(copied)
    }

    /// Writes what is not zero; the file was all hole before.
    fn write_sparse(&self, mut at: u64, bytes: &[u8]) -> Result<(), WriteError> {
        for piece in bytes.chunks(HOLE_BYTES) {
            if piece.iter().any(|byte| *byte != 0) {
                self.file
                    .write_all_at(piece, at)
                    .context(IoSnafu { disk: &self.name })?;
            }
            at += u64::try_from(piece.len()).expect("a slice's length fits in 64 bits");
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<GPTPartitionEntry>, WriteError> {
        let entry = |partition: &Partition| {
            Ok(GPTPartitionEntry {
                partition_type_guid: partition.type_guid.bytes(),
                unique_partition_guid: random::guid()?,
                starting_lba: partition.start / self.sector_size,
                ending_lba: (partition.start + partition.length) / self.sector_size - 1,
                attribute_bits: partition.attributes,
                partition_name: partition.label.into(),
            })
        };
        self.plan.partitions.iter().map(entry).collect()
    }

    fn write_table(&mut self, entries: &[GPTPartitionEntry]) -> Result<(), WriteError> {
        let disk = &self.name;
        let mut table = GPT::new_from(self.file, self.sector_size, random::guid()?)
            .context(TableSnafu { disk })?;
        for (partition, entry) in self.plan.partitions.iter().zip(entries) {
            table[partition.number] = entry.clone();
        }
        GPT::write_protective_mbr_into(self.file, self.sector_size)
            .and_then(|()| table.write_into(self.file))
            .context(TableSnafu { disk })?;
        Ok(())
    }

    /// Both copies, each read by its own header.
    fn verify_table(&mut self, written: &[GPTPartitionEntry]) -> Result<(), WriteError> {
        let disk = self.name.clone();
        let backup = self.plan.length - self.sector_size;
        for (copy, header_at) in [("primary", self.sector_size), ("backup", backup)] {
            self.file
                .seek(SeekFrom::Start(header_at))
                .context(IoSnafu { disk: &disk })?;
            let read = GPTHeader::read_from(self.file)
                .and_then(|header| header.read_partitions(self.file, self.sector_size))
                .context(TableSnafu { disk: &disk })?;
            let used: Vec<_> = read
                .into_iter()
                .filter(GPTPartitionEntry::is_used)
                .collect();
            let what = format!("{copy} partition table");
            ensure!(used == written, ReadBackSnafu { disk: &disk, what });
        }
        let entries: Vec<Entry> = self
            .plan
            .partitions
            .iter()
            .zip(written)
            .map(to_entry)
            .collect();
        Layout::from_entries(&entries).context(LayoutSnafu { disk })?;
        Ok(())
    }

    fn verify_image(&mut self, kind: ImageKind, expected: &RawImage) -> Result<(), WriteError> {
        let disk = &self.name;
        let start = self.plan.installed(kind).start;
        self.file
            .seek(SeekFrom::Start(start))
            .context(IoSnafu { disk })?;
        let found = image_file::raw_image(&mut (&*self.file).take(expected.length))
            .context(IoSnafu { disk })?;
        let what = format!("{kind} image");
        ensure!(found == *expected, ReadBackSnafu { disk, what });
        Ok(())
    }
}

fn to_entry((planned, written): (&Partition, &GPTPartitionEntry)) -> Entry {
    Entry {
        number: planned.number,
        type_guid: Guid(written.partition_type_guid),
        guid: Guid(written.unique_partition_guid),
        range: ByteRange::new(planned.start, planned.length),
        attributes: written.attribute_bits,
    }
}
