//! The publisher's changes to a manifest.
//!
//! Each either happens as a whole or leaves the manifest as it was.

use crate::images::{BlockMaps, ImageKind, Images, RawImages};
use crate::manifest::{MAX_UPDATES, Manifest, Update};
use crate::migrations::MigrationGraph;
use crate::target_name::{NameError, check_target_name, check_word};
use crate::verity::{Verity, VerityError};
use crate::wave::{WaveError, WaveSchedule};
use semver::Version;
use snafu::{ResultExt, Snafu, ensure};

/// An update to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUpdate {
    /// The variant of the system.
    pub variant: String,
    /// The architecture.
    pub arch: String,
    /// The version.
    pub version: Version,
    /// The new ceiling of the variant and architecture; see [`Manifest::add_update`].
    pub max_version: Option<Version>,
    /// The target names of the images.
    pub images: Images,
    /// The dm-verity facts of the root image, if they are published.
    pub verity: Option<Verity>,
    /// Length and digest of the decoded images, if they are published.
    pub raw_images: Option<RawImages>,
    /// The target names of the images' block maps.
    pub block_maps: Option<BlockMaps>,
}

/// Why a change to a manifest is refused.
#[derive(Clone, Debug, PartialEq, Snafu)]
#[non_exhaustive]
pub enum EditError {
    /// The manifest lists this version of the variant and architecture already.
    #[snafu(display("the manifest has version {version} of {variant} for {arch} already"))]
    DuplicateUpdate {
        /// The variant.
        variant: String,
        /// The architecture.
        arch: String,
        /// The version.
        version: Version,
    },

    /// The manifest lists [`MAX_UPDATES`] updates already.
    #[snafu(display("the manifest has {MAX_UPDATES} updates already, which is the most"))]
    TooManyUpdates,

    /// The variant's or the architecture's name cannot stand in a manifest.
    #[snafu(display("bad {what}"))]
    Name {
        /// `variant` or `architecture`.
        what: &'static str,
        /// What is wrong with the name.
        source: NameError,
    },

    /// An image's name cannot be a target.
    #[snafu(display("bad target name for the {image} image"))]
    ImageName {
        /// Which image.
        image: ImageKind,
        /// What is wrong with the name.
        source: NameError,
    },

    /// A block map's name cannot be a target.
    #[snafu(display("bad target name for the block map of the {image} image"))]
    MapName {
        /// Of which image.
        image: ImageKind,
        /// What is wrong with the name.
        source: NameError,
    },

    /// The dm-verity facts are out of bounds.
    #[snafu(display("bad verity facts"))]
    Verity {
        /// What is wrong with them.
        source: VerityError,
    },

    /// The waves of an update, maybe one that was not to be changed, are out of order.
    #[snafu(display("the waves of version {version} of {variant} for {arch} are out of order"))]
    WavesUnordered {
        /// The variant.
        variant: String,
        /// The architecture.
        arch: String,
        /// The version.
        version: Version,
        /// The waves at fault.
        #[snafu(source(from(WaveError, Box::new)))]
        source: Box<WaveError>,
    },
}

impl Manifest {
    /// Adds an update without waves, as the last one.
    ///
    /// Its ceiling, which becomes that of every update of the same variant and architecture, is
    /// `new.max_version`, or by default the higher of the new version and the ceiling of the first
    /// update of the same variant and architecture. An explicit one may be lower than the version:
    /// the update is then published but not offered.
    ///
    /// Bottlerocket's publisher takes the default from the first update of the file whatever its
    /// variant. In a file of one variant and architecture that is the same; in a mixed one it would
    /// let one variant's ceiling withdraw another's releases, so it is not done here.
    pub fn add_update(&mut self, new: NewUpdate) -> Result<(), EditError> {
        let NewUpdate {
            variant,
            arch,
            version,
            max_version,
            images,
            verity,
            raw_images,
            block_maps,
        } = new;
        check_word(&variant).context(NameSnafu { what: "variant" })?;
        check_word(&arch).context(NameSnafu {
            what: "architecture",
        })?;
        for image in ImageKind::ALL {
            check_target_name(images.get(image)).context(ImageNameSnafu { image })?;
        }
        block_maps.iter().try_for_each(check_map_names)?;
        if let Some(verity) = &verity {
            verity.check().context(VeritySnafu)?;
        }
        ensure!(self.updates.len() < MAX_UPDATES, TooManyUpdatesSnafu);
        let is_listed = self
            .updates
            .iter()
            .any(|update| update.is(&variant, &arch, &version));
        ensure!(
            !is_listed,
            DuplicateUpdateSnafu {
                variant,
                arch,
                version
            }
        );

        let max_version = max_version.unwrap_or_else(|| {
            let ceiling = self
                .updates
                .iter()
                .find(|update| update.is_for(&variant, &arch));
            ceiling
                .map_or(&version, |update| {
                    std::cmp::max(&version, &update.max_version)
                })
                .clone()
        });
        self.set_max_version_for(&variant, &arch, &max_version);
        self.updates.push(Update {
            variant,
            arch,
            version,
            max_version,
            waves: WaveSchedule::new(),
            images,
            verity,
            raw_images,
            block_maps,
        });
        Ok(())
    }

    /// Removes an update, and returns how many entries that were. The ceiling stays as it is.
    pub fn remove_update(&mut self, variant: &str, arch: &str, version: &Version) -> usize {
        let before = self.updates.len();
        self.updates
            .retain(|update| !update.is(variant, arch, version));
        before - self.updates.len()
    }

    /// Sets the ceiling of every update, whatever its variant and architecture; returns their
    /// number.
    pub fn set_max_version(&mut self, max_version: &Version) -> usize {
        set_all(self.updates.iter_mut(), max_version)
    }

    /// Sets the ceiling of every update of one variant and architecture; returns their number.
    pub fn set_max_version_for(
        &mut self,
        variant: &str,
        arch: &str,
        max_version: &Version,
    ) -> usize {
        let updates = self
            .updates
            .iter_mut()
            .filter(|update| update.is_for(variant, arch));
        set_all(updates, max_version)
    }

    /// Replaces the waves of an update; returns how many entries that were, which may be none.
    ///
    /// # Errors
    ///
    /// [`EditError::WavesUnordered`] if afterwards any update of the manifest had waves out of
    /// order, whether `waves` or those of another update.
    pub fn set_waves(
        &mut self,
        variant: &str,
        arch: &str,
        version: &Version,
        waves: &WaveSchedule,
    ) -> Result<usize, EditError> {
        for update in &self.updates {
            let is_meant = update.is(variant, arch, version);
            let after = if is_meant { waves } else { &update.waves };
            after.check_order().with_context(|_| WavesUnorderedSnafu {
                variant: update.variant.clone(),
                arch: update.arch.clone(),
                version: update.version.clone(),
            })?;
        }
        let meant = self
            .updates
            .iter_mut()
            .filter(|update| update.is(variant, arch, version));
        Ok(meant.map(|update| update.waves = waves.clone()).count())
    }

    /// Replaces the names of an update's block maps; returns how many entries that were, which may be
    /// none.
    ///
    /// # Errors
    ///
    /// [`EditError::MapName`].
    pub fn set_block_maps(
        &mut self,
        variant: &str,
        arch: &str,
        version: &Version,
        maps: &BlockMaps,
    ) -> Result<usize, EditError> {
        check_map_names(maps)?;
        let meant = self
            .updates
            .iter_mut()
            .filter(|update| update.is(variant, arch, version));
        Ok(meant
            .map(|update| update.block_maps = Some(maps.clone()))
            .count())
    }

    /// Replaces all migrations.
    pub fn set_migrations(&mut self, migrations: MigrationGraph) {
        self.migrations = migrations;
    }
}

impl Update {
    fn is_for(&self, variant: &str, arch: &str) -> bool {
        self.variant == variant && self.arch == arch
    }

    fn is(&self, variant: &str, arch: &str, version: &Version) -> bool {
        self.is_for(variant, arch) && self.version == *version
    }
}

fn check_map_names(maps: &BlockMaps) -> Result<(), EditError> {
    ImageKind::ALL.into_iter().try_for_each(|image| {
        let name = maps.get(image).map_or(Ok(()), check_target_name);
        name.context(MapNameSnafu { image })
    })
}

fn set_all<'a>(updates: impl Iterator<Item = &'a mut Update>, max_version: &Version) -> usize {
    updates
        .map(|update| update.max_version = max_version.clone())
        .count()
}
