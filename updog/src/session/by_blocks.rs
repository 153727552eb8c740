//! The set, put together block by block: what is in its place is kept, what the running set has is
//! copied, and only the rest is fetched.
//!
//! Where that cannot be done the images are fetched whole, see [`Failure::Doubt`].

use std::error::Error;
use std::io::{self, ErrorKind};

use bytes::Bytes;
use signpost::{BlockDevice, InactivePartition, SlotStore, Window};
use snafu::ResultExt;
use update_metadata::block_map::BlockMap;
use update_metadata::{ImageKind, Update};

use super::inactive_set::{ImageTargets, partition_kind};
use super::maps::Maps;
use crate::cancel::Cancelled;
use crate::env::Env;
use crate::event::{Note, Step, Wait};
use crate::exit::chain;
use crate::image::apply::{self, ApplyError, Fetched, Image};
use crate::image::index::Index;
use crate::image::judge::{Hash, Judge, UNKNOWN};
use crate::image::plan::{Found, Plan, Sums};
use crate::image::survey::{self, Survey};
use crate::image::verity::{Geometry, Tree};
use crate::image::write::{self, SyncSnafu, WriteError, Written};
use crate::repository::{RangeReader, UpdateRepository};
use crate::watch::Watch;

/// What an update is put together from, besides what its partitions hold.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    pub(super) maps: &'a Maps,
    pub(super) update: &'a Update,
    pub(super) targets: &'a ImageTargets,
    pub(super) repository: &'a UpdateRepository,
    /// The running set's partitions, where there are any and blocks may be taken from them.
    active: Option<Active>,
    threads: usize,
    watch: Watch,
}

#[derive(Debug)]
struct Active {
    boot: Window,
    root: Window,
    hash: Window,
}

/// Why an image is not in its partition.
#[derive(Debug)]
pub(super) enum Failure {
    /// It has to be fetched whole, for this reason.
    Doubt(String),
    /// That would not help.
    Fatal(WriteError),
}

impl Failure {
    fn doubt(error: &(dyn Error + 'static)) -> Self {
        Self::Doubt(chain(error))
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        Self::Fatal(error)
    }
}

/// Which failures the whole image may still help against: what came, or what the map says, is not
/// what was signed.
impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        match &error {
            ApplyError::Write { .. } | ApplyError::Cancelled { .. } => {
                Self::Fatal(WriteError::Apply { source: error })
            }
            ApplyError::Fetch { source, .. } if source.kind() != ErrorKind::InvalidData => {
                Self::Fatal(WriteError::Apply { source: error })
            }
            _ => Self::doubt(&error),
        }
    }
}

/// What came over the network for an image.
#[derive(Debug, Default)]
struct Came {
    /// Bytes.
    fetched: u64,
    requests: u64,
}

impl<'a> Sources<'a> {
    /// For the set of `store` that does not run.
    pub(super) fn new(
        maps: &'a Maps,
        update: &'a Update,
        targets: &'a ImageTargets,
        repository: &'a UpdateRepository,
        (env, store): (&Env, &SlotStore),
    ) -> Self {
        let open = |kind| {
            store
                .open_partition(store.active(), partition_kind(kind))
                .ok()
        };
        let active = || {
            Some(Active {
                boot: open(ImageKind::Boot)?,
                root: open(ImageKind::Root)?,
                hash: open(ImageKind::Hash)?,
            })
        };
        Self {
            maps,
            update,
            targets,
            repository,
            active: if env.config.delta { active() } else { None },
            threads: env.config.threads,
            watch: env.watch(),
        }
    }

    /// Looks where the blocks of an image are, `place` being where they are to be; `None` for the hash
    /// image, which is made from the root image's.
    ///
    /// # Errors
    /// [`Cancelled`].
    pub(super) fn plan(
        &self,
        kind: ImageKind,
        place: &dyn BlockDevice,
    ) -> Result<Option<Plan>, Cancelled> {
        let (map, judge) = match kind {
            ImageKind::Boot => (&self.maps.boot, self.maps.boot_judge()),
            ImageKind::Root => (&self.maps.root, self.maps.root_judge()),
            ImageKind::Hash => return Ok(None),
        };
        let (plan, _) = self.plan_of(kind, map, &judge, place)?;
        Ok(Some(plan))
    }

    /// The plan, and a hash for each block: of those in their place.
    fn plan_of(
        &self,
        kind: ImageKind,
        map: &BlockMap,
        judge: &Judge,
        place: &dyn BlockDevice,
    ) -> Result<(Plan, Vec<Hash>), Cancelled> {
        self.watch.step(Step::Survey {
            image: kind,
            is_active: false,
            bytes: map.parts().raw.length,
        });
        let survey = Survey {
            threads: self.threads,
            watch: &self.watch,
        };
        let mut kept = survey.in_place(place, map, judge)?;
        self.watch.step_end();
        let is_there = !kept.is_empty() && !kept.contains(&UNKNOWN);
        let active = match &self.active {
            Some(active) if !is_there => {
                Some(active.index(kind, survey, &self.maps.geometry, judge)?)
            }
            _ => None,
        };
        let found = Found {
            kept: &kept,
            active: active.as_ref(),
        };
        let plan = Plan::new(map, judge, found);
        // Gone before memory for all hashes is taken.
        drop(active);
        kept.resize(map.block_count(), UNKNOWN);
        Ok((plan, kept))
    }

    /// Puts the root image and, made again from its blocks, the hash image into their partitions.
    /// Both are synced.
    pub(super) fn put_root(
        &self,
        root: &InactivePartition,
        hash: &InactivePartition,
    ) -> Result<(Written, Written, Tree), Failure> {
        let Maps {
            root: map,
            geometry,
            hash_image,
            ..
        } = self.maps;
        let (leaves, fetched) = self.put(ImageKind::Root, map, &self.maps.root_judge(), root)?;
        let tree =
            Tree::from_leaves(geometry.clone(), leaves).map_err(|error| Failure::doubt(&error))?;
        if let Some(signed) = &self.update.verity
            && signed.root_hash != tree.root_hash()
        {
            return Err(Failure::Doubt(format!(
                "its blocks have the root hash {}, not {}",
                tree.root_hash(),
                signed.root_hash
            )));
        }
        let written = write::hash_image(&tree, hash_image, hash)?;
        // Says the same of a tree whose root hash the manifest does not have.
        if written.sha256 != hash_image.raw.sha256 {
            return Err(Failure::Doubt(format!(
                "the hash image that its blocks give has the SHA-256 {}, not {}",
                written.sha256, hash_image.raw.sha256
            )));
        }
        self.sync(ImageKind::Hash, hash)?;
        Ok((
            self.written(ImageKind::Root, map, fetched, root)?,
            written,
            tree,
        ))
    }

    /// Puts the boot image into its partition, and syncs it.
    pub(super) fn put_boot(&self, partition: &InactivePartition) -> Result<Written, Failure> {
        let map = &self.maps.boot;
        let judge = self.maps.boot_judge();
        let (_, fetched) = self.put(ImageKind::Boot, map, &judge, partition)?;
        Ok(self.written(ImageKind::Boot, map, fetched, partition)?)
    }

    /// Puts an image into `partition`. Returns the hashes of its blocks, and how many bytes came.
    fn put(
        &self,
        kind: ImageKind,
        map: &BlockMap,
        judge: &Judge,
        partition: &InactivePartition,
    ) -> Result<(Vec<Hash>, u64), Failure> {
        write::check_room(kind, map.parts().raw.length, partition)?;
        let plan = self.plan_of(kind, map, judge, partition);
        let (plan, mut hashes) = plan.map_err(|source| ApplyError::Cancelled { kind, source })?;
        let image = Image {
            kind,
            map,
            judge,
            partition,
            active: self.active.as_ref().map(|active| active.get(kind)),
        };
        let mut came = Came::default();
        let sums = self.assemble(image, plan, &mut hashes, &mut came);
        let Came { fetched, requests } = came;
        self.watch.note(match &sums {
            Ok(sums) => Note::Assembled {
                image: kind,
                fetched,
                requests,
                decoded: sums.decoded,
                copied: sums.copied,
                kept: sums.kept,
                made: sums.zero,
            },
            Err(_) => Note::Incomplete {
                image: kind,
                fetched,
                requests,
            },
        });
        sums.map(|_| (hashes, fetched))
    }

    /// Does what `plan` says, and a second time for what turned out to be other blocks, which is then
    /// fetched. Returns where the blocks came from in the end; `came` counts in any case.
    fn assemble(
        &self,
        image: Image<'_>,
        mut plan: Plan,
        hashes: &mut [Hash],
        came: &mut Came,
    ) -> Result<Sums, Failure> {
        let Image {
            kind, map, judge, ..
        } = image;
        let mut sums = plan.sums();
        for _ in 0..2 {
            self.watch.step(Step::Assemble {
                image: kind,
                bytes: map.parts().raw.length,
            });
            let ranges = plan.ranges().to_vec();
            let reader = self.repository.open_ranges(self.targets.get(kind), ranges);
            let mut reader = reader.map_err(|error| Failure::doubt(&error))?;
            let applied =
                apply::apply(image, &plan, hashes, &mut reader, self.threads, &self.watch);
            came.fetched = came.fetched.saturating_add(reader.received());
            came.requests = came.requests.saturating_add(reader.requests());
            let lacking = applied?;
            if reader.is_whole() {
                tracing::warn!(
                    "the server sends the {kind} image whole instead of parts of it: it does not \
                     serve ranges, and more is fetched than is needed"
                );
            }
            self.watch.step_end();
            if lacking.is_empty() {
                return Ok(sums);
            }
            tracing::warn!(
                "{} of the blocks of the {kind} image that the running set should have are others \
                 there, and are fetched; it may be damaged: updog verify --set active",
                lacking.len()
            );
            for block in lacking {
                if let Some(hash) = hashes.get_mut(block) {
                    *hash = UNKNOWN;
                }
            }
            let found = Found {
                kept: hashes,
                active: None,
            };
            plan = Plan::new(map, judge, found);
            sums = sums.instead(plan.sums());
        }
        Err(Failure::Doubt(
            "its blocks do not stay as they are read".to_owned(),
        ))
    }

    fn written(
        &self,
        kind: ImageKind,
        map: &BlockMap,
        fetched: u64,
        partition: &InactivePartition,
    ) -> Result<Written, WriteError> {
        self.sync(kind, partition)?;
        Ok(Written {
            kind,
            length: map.parts().raw.length,
            sha256: map.parts().raw.sha256,
            fetched,
        })
    }

    fn sync(&self, kind: ImageKind, partition: &InactivePartition) -> Result<(), WriteError> {
        let synced = self.watch.while_waiting(Wait::Sync, || partition.sync());
        synced.with_context(|_| SyncSnafu {
            kind,
            partition: partition.name(),
        })
    }
}

impl Active {
    fn get(&self, kind: ImageKind) -> &dyn BlockDevice {
        match kind {
            ImageKind::Boot => &self.boot,
            ImageKind::Root => &self.root,
            ImageKind::Hash => &self.hash,
        }
    }

    /// Where the blocks of the running set's image are.
    fn index(
        &self,
        kind: ImageKind,
        survey: Survey<'_>,
        wanted: &Geometry,
        judge: &Judge,
    ) -> Result<Index, Cancelled> {
        let known = match kind {
            ImageKind::Root => survey::from_tree(&self.hash, wanted, judge),
            ImageKind::Boot | ImageKind::Hash => None,
        };
        if let Some(index) = known {
            return Ok(index);
        }
        let partition = self.get(kind);
        survey.watch.step(Step::Survey {
            image: kind,
            is_active: true,
            bytes: survey::whole_blocks(partition, judge),
        });
        let index = survey.read_through(partition, judge)?;
        survey.watch.step_end();
        Ok(index)
    }
}

impl Fetched for RangeReader {
    /// What the server does not do, or lies about, is invalid data.
    fn next(&mut self) -> io::Result<Option<(u64, Bytes)>> {
        match self.next_chunk() {
            Ok(chunk) => Ok(chunk.map(|chunk| (chunk.offset, chunk.bytes))),
            Err(error) if error.is_unusable() => Err(io::Error::new(ErrorKind::InvalidData, error)),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}
