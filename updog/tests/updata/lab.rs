//! A folder to publish from, and the program in it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tough::schema::{RoleType, Root, Signed, Target};
use tough::{
    ExpirationEnforcement, FilesystemTransport, IntoVec as _, Repository, RepositoryLoader,
};
use update_metadata::Manifest;
use updog::publish::compression::Compression;
use updog::publish::keyring::KeyArgs;
use updog::publish::keys::{self, KeysNewArgs};
use updog::publish::lint::rule::Rule;
use updog::publish::period::Period;
use updog::publish::release::{self, ReleaseArgs, ReleaseOutcome};
use updog::publish::root::{self, RootNewArgs};
use updog::publish::{keyring, tuf};
use url::Url;

/// A temporary folder; every path that the program is given is relative to it.
pub(crate) struct Lab {
    dir: tempfile::TempDir,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Asserts the exit code and the whole of stderr, and that stdout has no data.
    #[track_caller]
    pub(crate) fn ends_with(&self, code: i32, message: &str) {
        assert_eq!(
            (self.code, self.stderr.as_str()),
            (code, format!("{message}\n").as_str())
        );
        assert_eq!(self.stdout, "");
    }

    /// Asserts the exit code, and that stderr contains a text.
    #[track_caller]
    pub(crate) fn says(&self, code: i32, text: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.contains(text), "{self:?}");
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// With keys, a root role valid for a year from `now`, and images of one version.
    pub(crate) fn publisher(now: DateTime<Utc>) -> Self {
        let lab = Self::new();
        keys::run(&KeysNewArgs::new(lab.path("keys"))).unwrap();
        lab.root_at("root.json", now);
        lab.images(1);
        lab
    }

    /// With keys and a root role made by these further arguments, and images of one version.
    pub(crate) fn publisher_with(keys: &[&str], root: &[&str]) -> Self {
        let lab = Self::new();
        lab.ok(&[&["keys", "new", "--out", "keys"], keys].concat());
        let line = ["root", "new", "--keys", "keys", "--out", "root.json"];
        lab.ok(&[&line[..], root].concat());
        lab.images(1);
        lab
    }

    /// Every file of the repository but the lock, so that a test can say that nothing changed.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec!["repo".to_owned()];
        while let Some(folder) = folders.pop() {
            for name in self.names(&folder) {
                let path = format!("{folder}/{name}");
                if self.path(&path).is_dir() {
                    folders.push(path);
                } else if name != ".updata.lock" {
                    files.insert(path.clone(), self.read(&path));
                }
            }
        }
        files
    }

    /// Makes a root role of the keys in `keys`.
    pub(crate) fn root_at(&self, out: &str, now: DateTime<Utc>) {
        let args = RootNewArgs::new(KeyArgs::folder(self.path("keys")), self.path(out));
        root::run(&args, now).unwrap();
    }

    /// Writes `root.img`, `hash.img` and a `boot.img` that names the root hash.
    pub(crate) fn images(&self, seed: u8) {
        self.write("root.img", pattern(64 * 4096, seed));
        let out = self.json(&[
            "verity",
            "root.img",
            "--hash-out",
            "hash.img",
            "--salt",
            "5a17",
        ]);
        let root_hash = out["root_hash"].as_str().unwrap();
        let boot = [
            &pattern(70_000, seed)[..],
            b" verity=",
            root_hash.as_bytes(),
            b" ",
        ]
        .concat();
        self.write("boot.img", boot);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn read_text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// The names in a folder, sorted.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn updata(&self, args: &[&str]) -> Run {
        self.updata_with(args, &[])
    }

    /// Runs the program with `stdin`.
    pub(crate) fn updata_with(&self, args: &[&str], stdin: &[u8]) -> Run {
        let mut child = Command::new(env!("CARGO_BIN_EXE_updata"))
            .args(args)
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that needs no stdin may have closed it.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        Run {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts the program and does not wait for it.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_updata"))
            .args(args)
            .current_dir(self.dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs a verb that succeeds without a word on stderr; its stdout.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let run = self.updata(args);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{args:?}");
        run.stdout
    }

    /// As [`Lab::ok`] with `--json`.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).unwrap()
    }

    /// Replaces `root.json` by its successor `versions` later, signed by the root keys in `keys`.
    pub(crate) fn next_root(&self, versions: u64, keys: &str) {
        let mut root: Signed<Root> = serde_json::from_slice(&self.read("root.json")).unwrap();
        let keys = keyring::read(&self.path(keys), &[RoleType::Root]).unwrap();
        root.signed.version = root.signed.version.checked_add(versions).unwrap();
        for key in &keys {
            root.signed.keys.insert(key.id.clone(), key.public.clone());
        }
        let ids = keys.iter().map(|key| key.id.clone()).collect();
        root.signed.roles.get_mut(&RoleType::Root).unwrap().keyids = ids;
        let signed = block_on(tuf::sign(root.signed.clone(), &root.signed, &keys)).unwrap();
        self.write("root.json", signed.buffer());
    }

    /// The arguments of a release of the present images.
    pub(crate) fn release_args(&self, version: &str) -> ReleaseArgs {
        ReleaseArgs {
            repo: self.path("repo"),
            root_role: self.path("root.json"),
            keys: KeyArgs::folder(self.path("keys")),
            prepare: None,
            variant: "demo".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
            version: version.parse().unwrap(),
            root_image: self.path("root.img"),
            boot_image: self.path("boot.img"),
            hash_image: Some(self.path("hash.img")),
            salt: None,
            compression: Compression::Lz4,
            migration: vec![],
            waves: None,
            wave_start: None,
            max_version: None,
            no_verity_check: false,
            os_image_size_gib: None,
            allow: vec![Rule::RootThreshold],
            expires_targets: Period::weeks(2),
            expires_snapshot: Period::weeks(2),
            expires_timestamp: Period::weeks(1),
        }
    }

    /// Releases the present images at a time of the test's choosing.
    pub(crate) fn release_at(
        &self,
        version: &str,
        now: DateTime<Utc>,
    ) -> Result<ReleaseOutcome, release::Error> {
        release::run(
            &self.release_args(version),
            now,
            &mut updog::publish::event::ignore,
        )
    }

    /// Loads what is published for demo on `x86_64`.
    pub(crate) fn load(&self, expiry: ExpirationEnforcement) -> Published {
        Published::load(self.dir.path(), "demo", expiry)
    }
}

/// The command line of a release of the present images.
pub(crate) fn release_line(version: &str) -> Vec<&str> {
    [
        "release --repo repo --root-role root.json --keys keys --variant demo --arch x86_64",
        "--root-image root.img --boot-image boot.img --hash-image hash.img",
        // One root key is enough for a lab.
        "--allow root-threshold --version",
    ]
    .iter()
    .flat_map(|part| part.split(' '))
    .chain([version])
    .collect()
}

/// Bytes that differ from block to block and compress a little.
pub(crate) fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|i| u8::try_from((i / 11 + i / 4096) % 251).unwrap() ^ seed)
        .collect()
}

/// A repository as a client sees it.
pub(crate) struct Published {
    pub(crate) repository: Repository,
}

impl Published {
    pub(crate) fn load(lab: &Path, variant: &str, expiry: ExpirationEnforcement) -> Self {
        Self::load_from(lab, "root.json", variant, expiry).unwrap()
    }

    /// As a client does whose newest root role is `root`.
    pub(crate) fn load_from(
        lab: &Path,
        root: &str,
        variant: &str,
        expiry: ExpirationEnforcement,
    ) -> Result<Self, tough::error::Error> {
        let root = fs::read(lab.join(root)).unwrap();
        let metadata = lab.join(format!("repo/{variant}/x86_64"));
        let url = |path: PathBuf| Url::from_directory_path(path).unwrap();
        let loader = RepositoryLoader::new(&root, url(metadata), url(lab.join("repo/targets")))
            .transport(FilesystemTransport)
            .expiration_enforcement(expiry);
        let repository = block_on(loader.load())?;
        Ok(Self { repository })
    }

    /// The version of the metadata, the same in all three roles.
    pub(crate) fn version(&self) -> u64 {
        let version = self.repository.timestamp().signed.version.get();
        assert_eq!(self.repository.snapshot().signed.version.get(), version);
        assert_eq!(self.repository.targets().signed.version.get(), version);
        version
    }

    /// The names of all targets, sorted.
    pub(crate) fn targets(&self) -> Vec<String> {
        let targets = &self.repository.targets().signed.targets;
        let mut names: Vec<_> = targets.keys().map(|name| name.raw().to_owned()).collect();
        names.sort();
        names
    }

    pub(crate) fn target(&self, name: &str) -> &Target {
        &self.repository.targets().signed.targets[&name.parse().unwrap()]
    }

    /// A target's bytes, verified by the library to the last one.
    pub(crate) fn fetch(&self, name: &str) -> Vec<u8> {
        let name = name.parse().unwrap();
        block_on(async {
            let stream = self.repository.read_target(&name).await.unwrap().unwrap();
            stream.into_vec().await.unwrap()
        })
    }

    /// A target's bytes, decompressed.
    pub(crate) fn decode(&self, name: &str) -> Vec<u8> {
        let frame = self.fetch(name);
        let mut decoded = Vec::new();
        std::io::copy(
            &mut lz4_flex::frame::FrameDecoder::new(&frame[..]),
            &mut decoded,
        )
        .unwrap();
        decoded
    }

    pub(crate) fn manifest(&self) -> Manifest {
        Manifest::from_slice(&self.fetch("manifest.json")).unwrap()
    }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}
