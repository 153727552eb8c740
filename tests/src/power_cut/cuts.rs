//! Pure: every disk that a power cut may leave.
//!
//! Writes since the last sync may be there or not, in any combination. The write that was under way
//! may be there up to a sector, or in any part; the sector that was being written reads as old, new,
//! garbage or an error, and so may its whole 4 KiB physical block, neighbours included.

use std::sync::Arc;

use signpost::testing::Operation;

use super::overlay::{Overlay, SECTOR, Sector};

/// Sectors of a physical block.
const BLOCK_SECTORS: u64 = 8;

/// How many of the combinations are tried where there are too many for all.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// All subsets of up to so many unsynced writes; beyond, samples.
    pub all_subsets_up_to: usize,
    /// Beyond, so many of those that are there up to a write, so many of those that lack one.
    pub edges: usize,
    /// Seeded subsets beyond that.
    pub sampled_subsets: usize,
    /// Sectors of a write that are torn; the first, the last, and seeded ones.
    pub torn_sectors: usize,
}

impl Bounds {
    /// For every run of the tests.
    pub const NORMAL: Self = Self {
        all_subsets_up_to: 4,
        edges: 3,
        sampled_subsets: 3,
        torn_sectors: 2,
    };
    /// For the long mode.
    pub const LONG: Self = Self {
        all_subsets_up_to: 8,
        edges: 12,
        sampled_subsets: 24,
        torn_sectors: 12,
    };
}

/// Calls `visit` with every disk that a cut during `operations` on `base` may leave, from before
/// the first to after the last.
///
/// # Panics
/// When an operation does not fit the disk; it was recorded on one of the same size.
pub fn for_each(
    base: &Overlay,
    operations: &[Operation],
    bounds: Bounds,
    visit: &mut dyn FnMut(&Overlay),
) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut durable = base.clone();
    let mut pending: Vec<(u64, &[u8])> = Vec::new();
    for operation in operations {
        match operation {
            Operation::Write { offset, bytes } => {
                for subset in subsets(pending.len(), bounds, &mut random) {
                    let disk = with(&durable, &pending, &subset);
                    visit(&disk);
                    torn(&disk, *offset, bytes, bounds, &mut random, visit);
                }
                pending.push((*offset, bytes));
            }
            Operation::Sync => {
                for subset in subsets(pending.len(), bounds, &mut random) {
                    visit(&with(&durable, &pending, &subset));
                }
                durable = with(&durable, &pending, &vec![true; pending.len()]);
                pending.clear();
            }
        }
    }
    for subset in subsets(pending.len(), bounds, &mut random) {
        visit(&with(&durable, &pending, &subset));
    }
}

/// `base` with those of `writes` that `chosen` says.
fn with(base: &Overlay, writes: &[(u64, &[u8])], chosen: &[bool]) -> Overlay {
    let mut disk = base.clone();
    for ((offset, bytes), chosen) in writes.iter().zip(chosen) {
        if *chosen {
            disk.write(*offset, bytes)
                .expect("it was written to a disk of this size");
        }
    }
    disk
}

/// `disk` with the write at `offset` under way.
fn torn(
    disk: &Overlay,
    offset: u64,
    bytes: &[u8],
    bounds: Bounds,
    random: &mut Random,
    visit: &mut dyn FnMut(&Overlay),
) {
    let sectors = disk
        .sectors_of(offset, bytes)
        .expect("it was written to a disk of this size");
    for at in places(sectors.len(), bounds.torn_sectors, random) {
        let mut before = disk.clone();
        for (index, sector) in &sectors[..at] {
            before.put(*index, sector.clone());
        }
        visit(&before);
        let (index, _) = sectors[at];
        for broken in [Sector::Unreadable, random.garbage()] {
            let mut sector = before.clone();
            sector.put(index, broken.clone());
            visit(&sector);
            let mut block = before.clone();
            let first = index / BLOCK_SECTORS * BLOCK_SECTORS;
            for neighbour in first..first + BLOCK_SECTORS {
                let sector = u64::try_from(SECTOR).expect("512");
                if (neighbour + 1).saturating_mul(sector) <= disk.len() {
                    let broken = match broken {
                        Sector::Unreadable => Sector::Unreadable,
                        Sector::Data(_) => random.garbage(),
                    };
                    block.put(neighbour, broken);
                }
            }
            visit(&block);
        }
        // A disk that writes sectors in an order of its own.
        let mut some = disk.clone();
        for (index, sector) in &sectors {
            if random.next().is_multiple_of(2) {
                some.put(*index, sector.clone());
            }
        }
        visit(&some);
    }
}

/// Which of `count` writes are there, in each case to try.
fn subsets(count: usize, bounds: Bounds, random: &mut Random) -> Vec<Vec<bool>> {
    if count <= bounds.all_subsets_up_to {
        return (0..1_u64 << count)
            .map(|bits| (0..count).map(|at| bits >> at & 1 == 1).collect())
            .collect();
    }
    let edges = places(count, bounds.edges, random);
    let prefixes = edges
        .iter()
        .map(|last| (0..count).map(|at| at <= *last).collect());
    let all_but_one = edges
        .iter()
        .map(|missing| (0..count).map(|at| at != *missing).collect());
    let samples: Vec<Vec<bool>> = (0..bounds.sampled_subsets)
        .map(|_| {
            (0..count)
                .map(|_| random.next().is_multiple_of(2))
                .collect()
        })
        .collect();
    let none = vec![false; count];
    let all = vec![true; count];
    [none, all]
        .into_iter()
        .chain(prefixes)
        .chain(all_but_one)
        .chain(samples)
        .collect()
}

/// Up to `limit` of `count` places, the first and the last among them.
fn places(count: usize, limit: usize, random: &mut Random) -> Vec<usize> {
    if count <= limit {
        return (0..count).collect();
    }
    let modulus = u64::try_from(count).expect("a count in memory");
    let mut places = vec![0, count - 1];
    while places.len() < limit {
        let place = usize::try_from(random.next() % modulus).expect("below a count in memory");
        places.push(place);
    }
    places.sort_unstable();
    places.dedup();
    places
}

/// A small generator: the same cuts in every run.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn garbage(&mut self) -> Sector {
        let mut bytes = [0; SECTOR];
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes());
        }
        Sector::Data(Arc::new(bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn write(sector: u64, value: u8) -> Operation {
        Operation::Write {
            offset: sector * 512,
            bytes: vec![value; SECTOR],
        }
    }

    /// First bytes of the first `count` sectors, `None` for unreadable ones.
    fn firsts(disk: &Overlay, count: u64) -> Vec<Option<u8>> {
        (0..count)
            .map(|index| match disk.get(index) {
                Sector::Data(bytes) if bytes.iter().all(|byte| *byte == bytes[0]) => Some(bytes[0]),
                Sector::Data(_) => Some(255),
                Sector::Unreadable => None,
            })
            .collect()
    }

    fn visited(operations: &[Operation]) -> BTreeSet<Vec<Option<u8>>> {
        let mut seen = BTreeSet::new();
        let base = Overlay::new(vec![0; 16 * SECTOR]);
        for_each(&base, operations, Bounds::NORMAL, &mut |disk| {
            seen.insert(firsts(disk, 9));
        });
        seen
    }

    fn disk(first: u8, ninth: u8) -> Vec<Option<u8>> {
        let mut disk = vec![Some(0); 9];
        (disk[0], disk[8]) = (Some(first), Some(ninth));
        disk
    }

    #[test]
    fn unsynced_writes_are_there_or_not_in_any_combination() {
        let seen = visited(&[write(0, 1), write(8, 2)]);
        for (first, ninth) in [(0, 0), (1, 0), (0, 2), (1, 2), (255, 0), (1, 255)] {
            assert!(seen.contains(&disk(first, ninth)), "{first} {ninth}");
        }
    }

    #[test]
    fn a_sync_orders_what_is_before_and_after_it() {
        let seen = visited(&[write(0, 1), Operation::Sync, write(8, 2)]);
        assert!(seen.contains(&disk(1, 2)));
        assert!(
            !seen.contains(&disk(0, 2)),
            "the second write waits for the sync"
        );
        assert!(
            !seen
                .iter()
                .any(|disk| disk[0] != Some(1) && disk[8] != Some(0))
        );
    }

    #[test]
    fn a_tear_may_take_the_whole_physical_block_and_no_more() {
        let seen = visited(&[write(3, 1)]);
        let mut block = vec![None; 8];
        block.push(Some(0));
        assert!(seen.contains(&block));
        let mut garbage = vec![Some(255); 8];
        garbage.push(Some(0));
        assert!(seen.contains(&garbage));
        assert!(seen.iter().all(|disk| disk[8] == Some(0)));
    }

    #[test]
    fn more_writes_than_all_subsets_allow_are_sampled() {
        let writes: Vec<_> = (0..9).map(|sector| write(sector, 1)).collect();
        let seen = visited(&writes);
        assert!(seen.contains(&vec![Some(1); 9]));
        assert!(seen.contains(&vec![Some(0); 9]));
        assert!(seen.len() > 50, "{}", seen.len());
    }
}
