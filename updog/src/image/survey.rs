//! What is where: which blocks of an image lie in their place, and what the running set has.
//!
//! What this finds is where to look. Whoever takes a block from there hashes it.

use signpost::BlockDevice;
use update_metadata::block_map::BlockMap;

use super::buffer::AlignedBuffer;
use super::index::Index;
use super::judge::{HASH_BYTES, Hash, Judge, UNKNOWN};
use super::stretches::{blocks_in_stretch, in_stretches};
use super::verity::{Geometry, SUPERBLOCK_BYTES};
use crate::cancel::Cancelled;
use crate::watch::Watch;

/// Bytes of a tree that are read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Places of a partition that are looked at before it is read through.
const PROBES: usize = 16;

/// Reads partitions, on so many threads.
#[derive(Debug, Clone, Copy)]
pub struct Survey<'a> {
    /// At least one works.
    pub threads: usize,
    /// Whether to go on.
    pub watch: &'a Watch,
}

impl Survey<'_> {
    /// Reads `device` through and hashes its blocks. What cannot be read is not found.
    ///
    /// # Errors
    /// [`Cancelled`].
    pub fn read_through(
        &self,
        device: &dyn BlockDevice,
        judge: &Judge,
    ) -> Result<Index, Cancelled> {
        let zero = Judge::key(judge.zero());
        let length_in_blocks = whole_blocks(device, judge);
        let length = usize::try_from(length_in_blocks).unwrap_or(usize::MAX);
        let mut keys = vec![zero; length / judge.block_length()];
        let (block, threads) = (judge.block_length(), self.threads);
        let tally = self.watch.tally(length_in_blocks);
        in_stretches(&mut keys, block, threads, |first, keys, buffer| {
            self.watch.check()?;
            let blocks = read(device, judge, first, keys.len(), length_in_blocks, buffer);
            let hashes = judge.hashes(blocks.into_iter().flatten());
            for (key, hash) in keys.iter_mut().zip(hashes) {
                *key = Judge::key(&hash);
            }
            tally.add(keys.len().saturating_mul(block));
            Ok(())
        })?;
        Ok(Index::new(keys, zero))
    }

    /// The hashes of those blocks of the image of `map` that lie in their place in `device`,
    /// [`UNKNOWN`] for the others; none at all where it does not look as if any did. What an interrupted
    /// run wrote begins at the start.
    ///
    /// # Errors
    /// [`Cancelled`].
    pub fn in_place(
        &self,
        device: &dyn BlockDevice,
        map: &BlockMap,
        judge: &Judge,
    ) -> Result<Vec<Hash>, Cancelled> {
        let per_stretch = blocks_in_stretch(judge.block_length());
        let last = map.block_count().saturating_sub(per_stretch);
        let mut probes = (0..PROBES).map(|probe| probe.saturating_mul(last) / (PROBES - 1));
        let is_there = |block| is_in_place(device, map, judge, block);
        if !probes.any(|first| telling(map, judge, first, per_stretch).any(is_there)) {
            return Ok(Vec::new());
        }
        let mut kept = vec![UNKNOWN; map.block_count()];
        let (block, threads) = (judge.block_length(), self.threads);
        let end = map.parts().raw.length;
        let tally = self.watch.tally(end);
        in_stretches(&mut kept, block, threads, |first, kept, buffer| {
            self.watch.check()?;
            let mut telling = telling(map, judge, first, kept.len()).peekable();
            let is_worth_reading = match telling.peek() {
                Some(_) => telling.any(is_there),
                None => is_there(first),
            };
            if is_worth_reading {
                let blocks = read(device, judge, first, kept.len(), end, buffer);
                let hashes = judge.hashes(blocks.into_iter().flatten());
                for ((number, kept), hash) in (first..).zip(kept.iter_mut()).zip(hashes) {
                    if map.parts().hashes.admits(number, &hash) {
                        *kept = hash;
                    }
                }
            }
            tally.add(kept.len().saturating_mul(block));
            Ok(())
        })?;
        Ok(kept)
    }
}

/// Bytes of `device` that [`Survey::read_through`] reads: a rest that is no block is none of an image.
pub fn whole_blocks(device: &dyn BlockDevice, judge: &Judge) -> u64 {
    let block = u64::try_from(judge.block_length()).unwrap_or(u64::MAX);
    device.len() - device.len() % block
}

/// What the hash image of the running set says of its root image, if that is hashed as the wanted one
/// is: the same salt and size of blocks.
pub fn from_tree(hash: &dyn BlockDevice, wanted: &Geometry, judge: &Judge) -> Option<Index> {
    let mut superblock = [0; SUPERBLOCK_BYTES];
    hash.read_at(0, &mut superblock).ok()?;
    let geometry = Geometry::from_superblock(&superblock).ok()?;
    let is_alike =
        geometry.salt == wanted.salt && geometry.data_block_size == wanted.data_block_size;
    if !is_alike || geometry.hash_length() > hash.len() {
        return None;
    }
    let blocks = usize::try_from(geometry.data_blocks).ok()?;
    // Hash blocks hold a power of two of hashes, which are packed.
    let mut at = geometry.leaves_offset()?;
    let mut buffer = AlignedBuffer::new(CHUNK_BYTES);
    let mut keys = Vec::with_capacity(blocks);
    while keys.len() < blocks {
        let count = (blocks - keys.len()).min(CHUNK_BYTES / HASH_BYTES);
        let bytes = &mut buffer[..count * HASH_BYTES];
        hash.read_at(at, bytes).ok()?;
        keys.extend(
            bytes
                .chunks_exact(HASH_BYTES)
                .filter_map(<[u8]>::first_chunk)
                .copied(),
        );
        at = at.checked_add(u64::try_from(bytes.len()).ok()?)?;
    }
    Some(Index::new(keys, Judge::key(judge.zero())))
}

/// `count` blocks of `device` from number `first` on, up to its byte `end`.
fn read<'a>(
    device: &dyn BlockDevice,
    judge: &Judge,
    first: usize,
    count: usize,
    end: u64,
    buffer: &'a mut [u8],
) -> Option<impl Iterator<Item = &'a [u8]>> {
    let block = judge.block_length();
    let at = u64::try_from(first.checked_mul(block)?).ok()?;
    let left = usize::try_from(end.min(device.len()).checked_sub(at)?).unwrap_or(usize::MAX);
    let length = count.checked_mul(block)?.min(left);
    let bytes = buffer.get_mut(..length)?;
    device.read_back_at(at, bytes).ok()?;
    Some(bytes.chunks(block))
}

/// The first block of each quarter of a stretch that is not all zeros, of which an empty disk has many.
fn telling(
    map: &BlockMap,
    judge: &Judge,
    first: usize,
    count: usize,
) -> impl Iterator<Item = usize> {
    let wanted = &map.parts().hashes;
    let end = first.saturating_add(count).min(map.block_count());
    let quarter = count.div_ceil(4).max(1);
    (first..end).step_by(quarter).filter_map(move |start| {
        let quarter_end = start.saturating_add(quarter).min(end);
        (start..quarter_end).find(|&block| !judge.is_zero(wanted, block))
    })
}

/// Whether block `number` is in its place.
fn is_in_place(device: &dyn BlockDevice, map: &BlockMap, judge: &Judge, number: usize) -> bool {
    let mut buffer = AlignedBuffer::new(judge.block_length());
    let end = map.parts().raw.length;
    read(device, judge, number, 1, end, &mut buffer)
        .and_then(|mut blocks| blocks.next())
        .is_some_and(|block| map.parts().hashes.admits(number, &judge.hash(block)))
}

#[cfg(test)]
mod tests;
