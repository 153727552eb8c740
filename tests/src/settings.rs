//! A host's settings: a datastore as it is made on a first boot, a cached repository, and a boot
//! that is played for the migrator.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::programs::{self, Ran};
use crate::publisher::Publisher;

/// A folder with `datastore/current`, `metadata`, `migrations`, `root.json` and `os-release`.
#[derive(Debug)]
pub struct Settings {
    dir: TempDir,
}

/// Releases whose migrations are scripts.
#[derive(Debug)]
pub struct Scripts {
    /// Who releases them.
    pub publisher: Publisher,
    releases: u32,
}

impl Settings {
    /// The settings of `version` after its first boot: `settings.motd` and `settings.host.name`.
    ///
    /// # Panics
    /// When the files cannot be made.
    pub fn new(version: &str) -> Self {
        let settings = Self::without_datastore();
        settings.first_boot(version);
        settings
    }

    /// The same, with what `scripts` have released in the cache.
    ///
    /// # Panics
    /// When the files cannot be made.
    pub fn with_cache(version: &str, scripts: &Scripts) -> Self {
        let settings = Self::new(version);
        settings.cache(&scripts.publisher);
        settings
    }

    /// Before the first boot.
    ///
    /// # Panics
    /// When the files cannot be made.
    pub fn without_datastore() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let settings = Self { dir };
        for folder in ["datastore", "metadata", "migrations"] {
            fs::create_dir(settings.path(folder)).expect("a new folder");
        }
        settings
    }

    /// What the first boot of `version` leaves, with two settings.
    fn first_boot(&self, version: &str) {
        let live = first_boot(&self.path("datastore"), version).join("live/settings");
        fs::create_dir_all(live.join("host")).expect("a store");
        fs::write(live.join("motd"), "\"hello\"").expect("a value");
        fs::write(live.join("host/name"), "\"one\"").expect("a value");
    }

    /// The folder of all of it.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// A path in the host's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Caches what is published, as the update before the boot does.
    ///
    /// # Panics
    /// When files cannot be copied.
    pub fn cache(&self, publisher: &Publisher) {
        copy(&publisher.metadata(), &self.path("metadata"));
        copy(&publisher.targets(), &self.path("migrations"));
        fs::copy(publisher.path("root.json"), self.path("root.json")).expect("a root");
    }

    /// The files of cached target `name`: of a manifest one for each release.
    ///
    /// # Panics
    /// When there is none.
    pub fn cached(&self, name: &str) -> Vec<PathBuf> {
        let found: Vec<PathBuf> = fs::read_dir(self.path("migrations"))
            .expect("the cached targets")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.to_string_lossy().ends_with(&format!(".{name}")))
            .collect();
        assert!(!found.is_empty(), "no cached target {name}");
        found
    }

    /// `migrator` with this host's paths.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs::path("migrator"));
        command
            .arg("--datastore-path")
            .arg(self.path("datastore/current"))
            .arg("--metadata-directory")
            .arg(self.path("metadata"))
            .arg("--migration-directory")
            .arg(self.path("migrations"))
            .arg("--root-path")
            .arg(self.path("root.json"))
            .arg("--os-release")
            .arg(self.path("os-release"))
            .args(arguments);
        command
    }

    /// Runs it.
    pub fn migrator(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// Boots `version`, with more arguments.
    ///
    /// # Panics
    /// When `os-release` cannot be written.
    pub fn boot_with(&self, version: &str, more: &[&str]) -> Ran {
        let text = format!("VARIANT_ID=demo\nVERSION_ID={version}\n");
        fs::write(self.path("os-release"), text).expect("os-release");
        let unit = [&["--migrate-to-version-from-os-release"], more].concat();
        self.migrator(&unit)
    }

    /// Boots `version`.
    ///
    /// # Panics
    /// When `os-release` cannot be written.
    pub fn boot(&self, version: &str) -> Ran {
        self.boot_with(version, &[])
    }

    /// The version whose settings are in use, by the links alone.
    ///
    /// # Panics
    /// When the links are not four.
    pub fn version(&self) -> String {
        let mut link = "current".to_owned();
        for _ in 0..3 {
            let target = fs::read_link(self.path("datastore").join(&link)).expect("a link");
            target.to_str().expect("a name").clone_into(&mut link);
        }
        link.trim_start_matches('v').to_owned()
    }

    /// The values that are in use, by path below `live`.
    ///
    /// # Panics
    /// When `current` does not lead to a store.
    pub fn values(&self) -> BTreeMap<String, String> {
        values(&self.path("datastore/current/live"))
    }

    /// What is in the datastore's folder, in order.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path("datastore"))
            .expect("the datastore's folder")
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| name.to_str().expect("a plain name").to_owned())
            .collect();
        names.sort();
        names
    }

    /// How many stores there are.
    ///
    /// # Panics
    /// When the folder cannot be read.
    pub fn stores(&self) -> usize {
        let is_store = |name: &&String| name.contains('_') && !name.ends_with(".kept.json");
        self.names().iter().filter(is_store).count()
    }

    /// What `migrator status --json` says.
    ///
    /// # Panics
    /// When it fails.
    pub fn status(&self) -> serde_json::Value {
        self.migrator(&["status", "--json"]).done().json()
    }
}

/// What the first boot of `version` leaves in `folder`: links with three numbers, whatever comes
/// after them, and a store, whose path this is, without settings.
///
/// # Panics
/// When it cannot be made.
pub fn first_boot(folder: &Path, version: &str) -> PathBuf {
    let (numbers, _) = version.split_once('-').unwrap_or((version, ""));
    let (minor, _) = numbers.rsplit_once('.').expect("three numbers");
    let (major, _) = minor.split_once('.').expect("three numbers");
    let store = format!("v{version}_aaaaaaaaaaaaaaaa");
    let path = folder.join(&store);
    fs::create_dir_all(path.join("live")).expect("a store");
    for (link, target) in [
        (format!("v{numbers}"), store),
        (format!("v{minor}"), format!("v{numbers}")),
        (format!("v{major}"), format!("v{minor}")),
        ("current".to_owned(), format!("v{major}")),
    ] {
        symlink(target, folder.join(link)).expect("a link");
    }
    path
}

/// Copies the store, then changes `motd` in a way that can be undone.
const MARK: &str = r#"
cp -r "$SOURCE" "$TARGET"
motd=$(<"$TARGET/live/settings/motd")
if [[ $DIRECTION == --forward ]]; then motd=${motd%\"}-NAME\"; else motd=${motd%-NAME\"}\"; fi
printf %s "$motd" >"$TARGET/live/settings/motd"
"#;

/// A script that puts `-NAME` behind the message of the day going forward, and takes it off going back.
pub fn mark(name: &str) -> String {
    MARK.replace("NAME", name)
}

/// Every file below `folder` and what is in it.
///
/// # Panics
/// When it cannot be read.
pub fn values(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder of a store") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if path.is_dir() {
            for (below, value) in values(&path) {
                found.insert(format!("{name}/{below}"), value);
            }
        } else {
            let value = fs::read_to_string(&path).expect("a value");
            found.insert(name.into_owned(), value);
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        if path.is_file() {
            fs::copy(&path, to.join(name)).expect("a copy");
        }
    }
}

impl Scripts {
    /// A publisher with one release, `1.0.0`.
    ///
    /// # Panics
    /// When `updata` fails.
    #[allow(clippy::new_without_default)] // it runs programs and makes files
    pub fn new() -> Self {
        let publisher = Publisher::new();
        publisher.release("1.0.0");
        Self {
            publisher,
            releases: 0,
        }
    }

    /// Releases `version`, to which the scripts lead from `from`, each a name and the lines of a
    /// bash script. `$SOURCE` and `$TARGET` are the stores, `$DIRECTION` is the direction. What has a
    /// name with `.toml` is a document instead.
    ///
    /// # Panics
    /// When `updata` fails.
    #[must_use]
    pub fn release(mut self, from: &str, version: &str, scripts: &[(&str, &str)]) -> Self {
        self.releases += 1;
        let folder = self.publisher.path(&format!("scripts-{}", self.releases));
        fs::create_dir(&folder).expect("a new folder");
        let mut arguments = Vec::new();
        for (name, script) in scripts {
            let path = folder.join(name);
            let text = format!(
                "#!/bin/bash\nset -eu\nDIRECTION=$1 SOURCE=$3 TARGET=$5\n\
                 [[ $2 == --source-datastore && $4 == --target-datastore && $# == 5 ]]\n{script}\n"
            );
            let is_document = path.extension().is_some_and(|end| end == "toml");
            let content = if is_document { *script } else { &text };
            fs::write(&path, content).expect("a migration");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
            arguments.push("--migration".to_owned());
            arguments.push(format!("{from}:{version}:{}", path.display()));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let images = self.publisher.images(version, 4);
        self.publisher
            .release_with(version, &images, &arguments)
            .done();
        self
    }
}
