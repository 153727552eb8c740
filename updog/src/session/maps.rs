//! The block maps of an update: fetched, and held against everything else that is signed.

use std::fmt;
use std::io::{self, Read};

use update_metadata::block_map::{BlockHashes, BlockMap, HashImage};
use update_metadata::lz4::Lz4Reader;
use update_metadata::{ImageKind, Update};

use super::inactive_set::ImageTargets;
use crate::cancel::Cancelled;
use crate::event::Step;
use crate::exit::chain;
use crate::image::judge::Judge;
use crate::image::verity::Geometry;
use crate::repository::{SignedTarget, TargetReader, UpdateRepository};
use crate::watch::Watch;

/// The maps of an update, which fit its images and each other.
#[derive(Debug)]
pub(super) struct Maps {
    /// Of the boot image, with whole hashes.
    pub(super) boot: BlockMap,
    /// Of the root image, with the leaves of its tree.
    pub(super) root: BlockMap,
    /// What the leaves are hashed with.
    pub(super) geometry: Geometry,
    /// What the hash image consists of besides the tree.
    pub(super) hash_image: HashImage,
    /// Bytes that they were fetched in.
    pub(super) fetched: u64,
}

impl Maps {
    /// How the boot image's blocks are hashed.
    pub(super) fn boot_judge(&self) -> Judge {
        Judge::plain(self.boot.parts().block_length)
    }

    /// How the root image's blocks are hashed.
    pub(super) fn root_judge(&self) -> Judge {
        Judge::leaves(&self.geometry)
    }
}

/// Fetches the maps of `update`. `None` where it has none, or none that can be used; the log then says
/// why, and the images are fetched whole.
///
/// # Errors
/// [`Cancelled`].
pub(super) fn load(
    repository: &UpdateRepository,
    update: &Update,
    targets: &ImageTargets,
) -> Result<Option<Maps>, Cancelled> {
    let version = &update.version;
    let Some(names) = &update.block_maps else {
        tracing::info!("{version} has no block maps: its images are fetched whole");
        return Ok(None);
    };
    let read = || {
        let (boot, mut fetched) = read(repository, &names.boot)?;
        let (root, more) = read(repository, &names.root)?;
        fetched = fetched.saturating_add(more);
        fit((boot, root), fetched, update, targets)
    };
    let maps = read();
    // Whoever is told to stop is not told of a map that did not come.
    repository.watch().check()?;
    match maps {
        Ok(maps) => Ok(Some(maps)),
        Err(unusable) => {
            tracing::warn!(
                "the block maps of {version} cannot be used, and its images are fetched whole: \
                 {unusable}"
            );
            Ok(None)
        }
    }
}

/// Why maps cannot be used, as a clause.
struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Unusable {
    fn of(name: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        Self(format!("{name}: {}", chain(error)))
    }
}

/// A map, and the bytes that it was fetched in.
fn read(repository: &UpdateRepository, name: &str) -> Result<(BlockMap, u64), Unusable> {
    let target = repository
        .target(name)
        .map_err(|error| Unusable::of(name, &error))?;
    let watch = repository.watch();
    watch.step(Step::Fetch {
        target: name.to_owned(),
        bytes: target.length,
    });
    let input = Decoded {
        reader: Lz4Reader::new(repository.open(&target)),
        watch,
        total: target.length,
    };
    let map = BlockMap::read(input);
    watch.step_end();
    let map = map.map_err(|error| Unusable::of(name, &error))?;
    Ok((map, target.length))
}

/// A compressed target; who looks on is told how much of it came.
struct Decoded<'a> {
    reader: Lz4Reader<TargetReader>,
    watch: &'a Watch,
    total: u64,
}

impl Read for Decoded<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buf)?;
        let received = self.reader.input().received();
        self.watch.progress(received, self.total);
        Ok(length)
    }
}

/// Holds the maps, which were fetched in so many bytes, against the targets and the facts that the
/// manifest signs.
fn fit(
    (boot, root): (BlockMap, BlockMap),
    fetched: u64,
    update: &Update,
    targets: &ImageTargets,
) -> Result<Maps, Unusable> {
    let demand = |holds: bool, what: &str| {
        if holds {
            Ok(())
        } else {
            Err(Unusable(what.to_owned()))
        }
    };
    // A map says what its image is, and nothing here would tell if that were wrong.
    let Some(raw_images) = &update.raw_images else {
        return Err(Unusable(
            "the manifest does not say what its images are".to_owned(),
        ));
    };
    for (kind, map, target) in [
        (ImageKind::Boot, &boot, &targets.boot),
        (ImageKind::Root, &root, &targets.root),
    ] {
        let parts = map.parts();
        demand(
            is_of(map, target),
            &format!("that of the {kind} image is of another file"),
        )?;
        demand(
            *raw_images.get(kind) == parts.raw,
            &format!("that of the {kind} image is of another image"),
        )?;
    }
    let BlockHashes::Whole(_) = boot.parts().hashes else {
        return Err(Unusable(
            "that of the boot image has no whole hashes".to_owned(),
        ));
    };
    let BlockHashes::Leaves { hash_image, .. } = &root.parts().hashes else {
        return Err(Unusable("that of the root image has no leaves".to_owned()));
    };
    let geometry = Geometry::from_superblock(&hash_image.superblock[..])
        .map_err(|error| Unusable::of("the superblock in that of the root image", &error))?;
    demand(
        geometry.data_block_size == root.parts().block_length
            && geometry.data_length() == root.parts().raw.length
            && geometry.hash_length() <= hash_image.raw.length,
        "the superblock in that of the root image is another image's",
    )?;
    let signed = update.verity.as_ref().map(Geometry::of);
    demand(
        signed.is_none_or(|signed| signed.is_ok_and(|signed| signed == geometry))
            && raw_images.hash == hash_image.raw,
        "that of the root image has another tree than the manifest says",
    )?;
    Ok(Maps {
        hash_image: hash_image.clone(),
        fetched,
        boot,
        root,
        geometry,
    })
}

fn is_of(map: &BlockMap, target: &SignedTarget) -> bool {
    let file = &map.parts().compressed;
    (file.length, file.sha256) == (target.length, target.sha256)
}
