//! A host: a disk-image file with two partition sets, a configuration, and a boot that is played.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::programs::{self, Ran};
use crate::publisher::{ARCH, Images, Publisher, VARIANT};
use crate::settings;

/// A folder with `disk.img`, `updog.toml`, `os-release`, `root.json`, and what `updog` keeps.
#[derive(Debug)]
pub struct Host {
    dir: TempDir,
    /// The set that runs, `A` or `B`.
    pub active: String,
    metadata_url: String,
    targets_url: String,
    device: Option<PathBuf>,
}

impl Host {
    /// A host fresh from the factory: `version` in set A, good and running.
    ///
    /// # Panics
    /// When `updata disk` fails.
    pub fn new(publisher: &Publisher, version: &str, images: &Images, base_url: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let disk = dir.path().join("disk.img");
        let path = |path: &Path| path.display().to_string();
        programs::run(
            "updata",
            [
                &["disk", "--out", &path(&disk), "--version", version][..],
                &["--variant", VARIANT, "--arch", ARCH],
                &[
                    "--root-image",
                    &path(&images.root),
                    "--boot-image",
                    &path(&images.boot),
                ],
                &["--hash-image", &path(&images.hash)],
            ]
            .concat(),
        )
        .done();
        fs::copy(publisher.path("root.json"), dir.path().join("root.json")).expect("a root");
        let mut host = Self {
            dir,
            active: "A".to_owned(),
            metadata_url: String::new(),
            targets_url: format!("{base_url}/targets"),
            device: None,
        };
        host.metadata_url = format!("{base_url}/{VARIANT}/{ARCH}");
        host.runs(version);
        host.configure("");
        host
    }

    /// A host without a disk, for what only reads the repository at `base_url` and trusts the root
    /// in `root`. It runs `version`.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn without_disk(root: &Path, version: &str, base_url: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::copy(root, dir.path().join("root.json")).expect("a root");
        let mut host = Self {
            dir,
            active: "A".to_owned(),
            metadata_url: String::new(),
            targets_url: String::new(),
            device: None,
        };
        host.runs(version);
        host.fetch_from(base_url);
        host
    }

    /// A path in the host's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The disk: the disk-image file, unless it is seen through a device.
    pub fn disk(&self) -> PathBuf {
        self.device.clone().unwrap_or_else(|| self.path("disk.img"))
    }

    /// From now on the disk is seen through a block device.
    pub fn see_through(&mut self, device: &Path) {
        self.device = Some(device.to_owned());
        self.configure("");
    }

    /// From now on `version` runs.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn runs(&self, version: &str) {
        let text = format!("VARIANT_ID={VARIANT}\nVERSION_ID={version}\n");
        fs::write(self.path("os-release"), text).expect("os-release");
    }

    /// Fetches from another place from now on.
    pub fn fetch_from(&mut self, base_url: &str) {
        self.metadata_url = format!("{base_url}/{VARIANT}/{ARCH}");
        self.targets_url = format!("{base_url}/targets");
        self.configure("");
    }

    /// Writes the configuration, with more lines.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn configure(&self, more: &str) {
        let path = |name: &str| self.path(name).display().to_string();
        let text = format!(
            "metadata_base_url = \"{}\"\n\
             targets_base_url = \"{}\"\n\
             seed = 1000\n\
             trusted_root = \"{}\"\n\
             os_release = \"{}\"\n\
             state_dir = \"{}\"\n\
             metadata_cache = \"{}\"\n\
             migrations_dir = \"{}\"\n\
             lock_file = \"{}\"\n\
             socket_path = \"{}\"\n\
             datastore = \"{}\"\n\
             disk = \"{}\"\n\
             active = \"{}\"\n\
             {more}",
            self.metadata_url,
            self.targets_url,
            path("root.json"),
            path("os-release"),
            path("state"),
            path("metadata"),
            path("migrations"),
            path("run/lock"),
            path("api.sock"),
            path("datastore/current"),
            self.disk().display(),
            self.active,
        );
        fs::write(self.path("updog.toml"), text).expect("updog.toml");
    }

    /// Gives the host settings as the first boot of `version` leaves them, each a path below
    /// `live/settings` and a value.
    ///
    /// # Panics
    /// When the files cannot be written.
    pub fn has_settings(&self, version: &str, settings: &[(&str, &str)]) {
        let store = settings::first_boot(&self.path("datastore"), version);
        for (path, value) in settings {
            let path = store.join("live/settings").join(path);
            fs::create_dir_all(path.parent().expect("below the store")).expect("a folder");
            fs::write(path, value).expect("a setting");
        }
    }

    /// The settings in use, by their paths below `live/settings`.
    ///
    /// # Panics
    /// When there are none.
    pub fn settings(&self) -> Vec<(String, String)> {
        let folder = self.path("datastore/current/live/settings");
        settings::values(&folder).into_iter().collect()
    }

    /// What the running system does with its settings early in its boot.
    pub fn migrate(&self) -> Ran {
        let path = |name: &str| self.path(name).display().to_string();
        programs::run(
            "migrator",
            [
                &["--datastore-path", &path("datastore/current")][..],
                &["--metadata-directory", &path("metadata")],
                &["--migration-directory", &path("migrations")],
                &["--root-path", &path("root.json")],
                &["--os-release", &path("os-release")],
                &["--migrate-to-version-from-os-release"],
            ]
            .concat(),
        )
    }

    /// Runs `updog` with this host's configuration.
    pub fn updog(&self, arguments: &[&str]) -> Ran {
        let config = self.path("updog.toml").display().to_string();
        programs::run("updog", [&["--config", &config], arguments].concat())
    }

    /// The same, to be run by the caller.
    pub fn updog_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs::path("updog"));
        command
            .arg("--config")
            .arg(self.path("updog.toml"))
            .args(arguments);
        command
    }

    /// Runs `signpost` on this host's disk.
    pub fn signpost(&self, arguments: &[&str]) -> Ran {
        let disk = self.disk().display().to_string();
        programs::run(
            "signpost",
            [&["--disk", &disk, "--active", &self.active], arguments].concat(),
        )
    }

    /// What the boot loader would boot now: `A`, `B` or `None`.
    ///
    /// # Panics
    /// When `signpost` fails.
    pub fn next(&self) -> String {
        self.signpost(&["select"]).done().stdout.trim().to_owned()
    }

    /// Plays the boot loader: picks a set, spends its try, and that set runs.
    ///
    /// # Panics
    /// When `signpost` fails.
    pub fn boot(&mut self) -> &str {
        let ran = self.signpost(&["select", "--consume-try"]).done();
        ran.stdout.trim().clone_into(&mut self.active);
        self.configure("");
        &self.active
    }

    /// The bits of both sets as `[priority, tries_left, successful]`, A first.
    ///
    /// # Panics
    /// When `signpost` fails.
    pub fn bits(&self) -> [[u64; 3]; 2] {
        let status = self.signpost(&["status", "--json"]).done().json();
        ["A", "B"].map(|set| {
            let set = &status["sets"][set];
            let number = |name: &str| set[name].as_u64().unwrap_or_else(|| panic!("{status}"));
            let successful = set["successful"]
                .as_bool()
                .unwrap_or_else(|| panic!("{status}"));
            [
                number("priority"),
                number("tries_left"),
                u64::from(successful),
            ]
        })
    }

    /// Where a partition starts on the disk.
    ///
    /// # Panics
    /// When `signpost` does not say.
    pub fn offset(&self, set: &str, kind: &str) -> u64 {
        let status = self.signpost(&["status", "--json"]).done().json();
        let name = status["sets"][set][kind]
            .as_str()
            .expect("a partition's name")
            .to_owned();
        let (_, offset) = name.rsplit_once('@').expect("a partition of a file");
        offset.parse().expect("an offset")
    }

    /// The disk's bytes from the start of a partition on, 8 MiB at most.
    ///
    /// # Panics
    /// When the file cannot be read.
    pub fn partition(&self, set: &str, kind: &str) -> Vec<u8> {
        let mut disk = fs::File::open(self.disk()).expect("the disk");
        disk.seek(SeekFrom::Start(self.offset(set, kind)))
            .expect("an offset inside");
        let mut bytes = Vec::new();
        disk.take(8 << 20)
            .read_to_end(&mut bytes)
            .expect("the partition");
        bytes
    }

    /// Writes `bytes` over the start of a partition.
    ///
    /// # Panics
    /// When that fails.
    pub fn overwrite(&self, set: &str, kind: &str, bytes: &[u8]) {
        let disk = fs::File::options().write(true).open(self.disk());
        let disk = disk.expect("the disk");
        disk.write_all_at(bytes, self.offset(set, kind))
            .expect("a partition that is longer");
    }
}
