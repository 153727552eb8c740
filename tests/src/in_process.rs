//! The session's own code on a device of the test's choice: a publisher whose repository is read as
//! files, and hosts that exist only as settings.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use signpost::layout::Layout;
use signpost::store::Error as StoreError;
use signpost::{ActiveChoice, BlockDevice, PartitionKind, Slot, SlotStore};
use tempfile::TempDir;
use updog::cancel::Cancel;
use updog::config::Config;
use updog::env::{Env, OpenDisk};
use updog::event::Unobserved;

use crate::publisher::{ARCH, Images, Publisher, VARIANT};

/// A publisher with releases, and the folder of a host.
#[derive(Debug)]
pub struct Site {
    publisher: Publisher,
    host: TempDir,
    releases: Vec<(String, Images)>,
    now: DateTime<Utc>,
}

/// Opens one device, with one set named as running.
struct Named(Arc<dyn BlockDevice>, Slot);

impl OpenDisk for Named {
    fn open(&self) -> Result<SlotStore, StoreError> {
        SlotStore::from_device(self.0.clone(), ActiveChoice::Set(self.1))
    }
}

impl Site {
    /// Publishes `versions`, in this order.
    ///
    /// # Panics
    /// When that fails.
    pub fn new(versions: &[&str]) -> Self {
        let publisher = Publisher::new();
        let releases = versions
            .iter()
            .map(|version| ((*version).to_owned(), publisher.release(version)))
            .collect();
        let host = tempfile::tempdir().expect("a temporary folder");
        fs::copy(publisher.path("root.json"), host.path().join("root.json")).expect("a root");
        Self {
            publisher,
            host,
            releases,
            now: updog::clock::now(),
        }
    }

    fn images(&self, version: &str) -> &Images {
        let found = self.releases.iter().find(|(name, _)| name == version);
        &found.expect("a version that was published").1
    }

    /// The bytes of a factory disk with `version` in set A, with sectors of 512 or 4096 bytes.
    ///
    /// # Panics
    /// When `updata disk` fails.
    pub fn factory_disk(&self, version: &str, sector: usize) -> Vec<u8> {
        let disk = self.host.path().join("factory");
        let images = self.images(version);
        let path = |path: &Path| path.display().to_string();
        let (root, boot, hash) = (path(&images.root), path(&images.boot), path(&images.hash));
        let (out, sector) = (path(&disk), sector.to_string());
        let arguments = [
            &["disk", "--out", &out, "--version", version][..],
            &[
                "--variant",
                VARIANT,
                "--arch",
                ARCH,
                "--sector-size",
                &sector,
            ],
            &[
                "--root-image",
                &root,
                "--boot-image",
                &boot,
                "--hash-image",
                &hash,
            ],
        ]
        .concat();
        self.publisher.updata(arguments).done();
        let bytes = fs::read(&disk).expect("the disk that was made");
        fs::remove_file(disk).expect("the disk that was made");
        bytes
    }

    /// A host that runs `version` from `active` of `device`.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn env(&self, device: Arc<dyn BlockDevice>, active: Slot, version: &str) -> Env {
        let path = |name: &str| self.host.path().join(name).display().to_string();
        let text = format!("VARIANT_ID={VARIANT}\nVERSION_ID={version}\n");
        fs::write(self.host.path().join("os-release"), text).expect("os-release");
        let repo = self.publisher.repo().display().to_string();
        let text = format!(
            "metadata_base_url = \"file://{repo}/{VARIANT}/{ARCH}\"\n\
             targets_base_url = \"file://{repo}/targets\"\n\
             seed = 1\ntrusted_root = \"{}\"\nos_release = \"{}\"\nstate_dir = \"{}\"\n\
             metadata_cache = \"{}\"\nmigrations_dir = \"{}\"\nlock_file = \"{}\"\n",
            path("root.json"),
            path("os-release"),
            path("state"),
            path("metadata"),
            path("migrations"),
            path("lock"),
        );
        let config = Config::parse(&text, Path::new("updog.toml"));
        Env {
            config: config.expect("a configuration"),
            now: self.now,
            disk: Box::new(Named(device, active)),
            boot_id: "boot".to_owned(),
            observer: Arc::new(Unobserved),
            cancel: Cancel::default(),
        }
    }

    /// The images of a release with the offsets at which they lie in `slot`.
    ///
    /// # Panics
    /// When the disk has no such set.
    pub fn images_in(&self, layout: &Layout, slot: Slot, version: &str) -> Vec<(u64, Vec<u8>)> {
        let images = self.images(version);
        [
            (PartitionKind::Boot, &images.boot),
            (PartitionKind::Root, &images.root),
            (PartitionKind::Hash, &images.hash),
        ]
        .map(|(kind, path)| {
            let partition = layout.partition(slot, kind).expect("both sets");
            (partition.start, fs::read(path).expect("an image"))
        })
        .to_vec()
    }
}
