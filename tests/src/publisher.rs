//! A publisher: keys, a root of trust, and releases in a repository folder.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::programs::{self, Ran};

/// The variant that tests publish for.
pub const VARIANT: &str = "demo";
/// The architecture of this machine.
pub const ARCH: &str = std::env::consts::ARCH;

/// The files of one release.
#[derive(Debug, Clone)]
pub struct Images {
    /// The root file system.
    pub root: PathBuf,
    /// Its hash tree.
    pub hash: PathBuf,
    /// Names the root hash.
    pub boot: PathBuf,
    /// In hex.
    pub root_hash: String,
}

/// A folder with `keys/`, `root.json`, `repo/` and `images/`.
#[derive(Debug)]
pub struct Publisher {
    dir: TempDir,
}

impl Publisher {
    /// New keys and a new root of trust; nothing is published yet.
    ///
    /// # Panics
    /// When `updata` fails.
    #[allow(clippy::new_without_default)] // it runs programs and makes files
    pub fn new() -> Self {
        Self::with_keys(|keys| {
            let keys = keys.display().to_string();
            programs::run("updata", ["keys", "new", "--out", &keys]).done();
        })
    }

    /// As [`Publisher::new`], with the keys that `make` puts into the folder it is given.
    ///
    /// # Panics
    /// When `updata` fails.
    pub fn with_keys(make: impl FnOnce(&Path)) -> Self {
        Self::with_threshold(1, make)
    }

    /// The same where so many root keys must sign a root.
    ///
    /// # Panics
    /// When `updata` fails.
    pub fn with_threshold(threshold: u8, make: impl FnOnce(&Path)) -> Self {
        let publisher = Self {
            dir: tempfile::tempdir().expect("a temporary folder"),
        };
        fs::create_dir(publisher.path("images")).expect("a new folder");
        make(&publisher.path("keys"));
        let (keys, root) = (publisher.text("keys"), publisher.text("root.json"));
        let threshold = threshold.to_string();
        publisher
            .updata([
                "root",
                "new",
                "--keys",
                &keys,
                "--out",
                &root,
                "--threshold",
                &threshold,
            ])
            .done();
        publisher
    }

    /// A path in the publisher's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The repository.
    pub fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    /// The folder of the metadata of [`VARIANT`] and [`ARCH`].
    pub fn metadata(&self) -> PathBuf {
        self.repo().join(VARIANT).join(ARCH)
    }

    /// The folder of the targets.
    pub fn targets(&self) -> PathBuf {
        self.repo().join("targets")
    }

    /// The file of target `name`.
    ///
    /// # Panics
    /// When there is none.
    pub fn target(&self, name: &str) -> PathBuf {
        fs::read_dir(self.targets())
            .expect("the targets folder")
            .map(|entry| entry.expect("an entry").path())
            .find(|path| path.to_string_lossy().ends_with(&format!(".{name}")))
            .unwrap_or_else(|| panic!("no target {name} in {}", self.targets().display()))
    }

    /// Runs `updata`.
    pub fn updata<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ran {
        programs::run("updata", arguments)
    }

    /// Images of `version`: a root of `root_blocks` blocks of 4 KiB whose content depends on the
    /// version, its hash tree, and a boot image that names the root hash.
    ///
    /// # Panics
    /// When `updata verity` fails.
    pub fn images(&self, version: &str, root_blocks: usize) -> Images {
        self.images_of(version, &content(version, root_blocks * 4096))
    }

    /// The same around a root image of the caller's choice.
    ///
    /// # Panics
    /// When `updata verity` fails.
    pub fn images_of(&self, version: &str, root_image: &[u8]) -> Images {
        self.salted_images_of(version, root_image, &[])
    }

    /// The same with more arguments to `updata verity`, such as a salt.
    ///
    /// # Panics
    /// When `updata verity` fails.
    pub fn salted_images_of(&self, version: &str, root_image: &[u8], more: &[&str]) -> Images {
        let file = |suffix: &str| self.path(&format!("images/{version}-{suffix}"));
        let (root, hash, boot) = (file("root"), file("hash"), file("boot"));
        fs::write(&root, root_image).expect("a root image");
        let facts = self
            .updata(
                [
                    &["verity", &root.display().to_string()][..],
                    &["--hash-out", &hash.display().to_string(), "--json"],
                    more,
                ]
                .concat(),
            )
            .done()
            .json();
        let root_hash = facts["root_hash"].as_str().expect("a root hash").to_owned();
        let mut image = content(&format!("boot {version}"), 60_000);
        image.extend_from_slice(format!("dm-mod.create=\"{root_hash}\"").as_bytes());
        image.resize(64 << 10, 0);
        fs::write(&boot, image).expect("a boot image");
        Images {
            root,
            hash,
            boot,
            root_hash,
        }
    }

    /// Publishes `version` with images of 64 blocks.
    ///
    /// # Panics
    /// When `updata release` fails.
    pub fn release(&self, version: &str) -> Images {
        let images = self.images(version, 64);
        self.release_with(version, &images, &[]).done();
        images
    }

    /// Publishes `images` as `version`, with more arguments.
    pub fn release_with(&self, version: &str, images: &Images, more: &[&str]) -> Ran {
        let mut arguments = self.release_arguments(version, images);
        arguments.extend(more.iter().map(ToString::to_string));
        programs::run("updata", arguments)
    }

    /// Publishes `images` as `version` as if it were `time` (RFC 3339), so that it has expired.
    ///
    /// # Panics
    /// When that fails.
    pub fn release_at(&self, version: &str, images: &Images, time: &str) {
        let program = std::iter::once("updata".to_owned());
        let arguments = program.chain(self.release_arguments(version, images));
        let exit = updog::publish::cli::main(
            arguments.map(OsString::from),
            time.parse().expect("an RFC 3339 time"),
        );
        assert_eq!(exit.code(), 0, "publishing {version} at {time}");
    }

    fn release_arguments(&self, version: &str, images: &Images) -> Vec<String> {
        let (repo, root, keys) = (self.text("repo"), self.text("root.json"), self.text("keys"));
        let image = |path: &Path| path.display().to_string();
        [
            &[
                "release",
                "--repo",
                &repo,
                "--root-role",
                &root,
                "--keys",
                &keys,
            ][..],
            &["--variant", VARIANT, "--arch", ARCH, "--version", version],
            &[
                "--root-image",
                &image(&images.root),
                "--boot-image",
                &image(&images.boot),
            ],
            &["--hash-image", &image(&images.hash)],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
    }
}

/// `length` bytes that depend on `seed`: half noise, half zeros, so that compression has something
/// to do and nothing to hide in.
pub fn content(seed: &str, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = noise(seed, length)
        .chunks(8)
        .flat_map(|word| [word, &[0; 8]].concat())
        .collect();
    bytes.truncate(length);
    bytes
}

/// `length` bytes that depend on `seed` and do not compress.
pub fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut state = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
