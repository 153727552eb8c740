//! Repositories of others as we read them, and ours as others do.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use system_tests::host::Host;
use system_tests::oracle;
use system_tests::programs::Ran;
use system_tests::publisher::{ARCH, Publisher, VARIANT};
use system_tests::server::Server;
use tempfile::TempDir;
use updog::cancel::Cancel;
use updog::config::Config;
use updog::env::{ConfiguredDisk, Env};
use updog::event::Unobserved;
use updog::repository::UpdateRepository;
use updog::session::{Choice, SessionError, choose};

const KINDS: [&str; 3] = ["ed25519", "rsa", "ecdsa"];

/// A repository that python-tuf published, its server, and a host that trusts its first root.
struct Theirs {
    folder: TempDir,
    server: Server,
    host: Host,
}

impl Theirs {
    fn new(python: &Path, kind: &str, consistent: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let metadata = folder.path().join(VARIANT).join(ARCH);
        script(python, include_str!("publish.py"))
            .arg(folder.path())
            .arg(&metadata)
            .args([kind, if consistent { "true" } else { "false" }])
            .status()
            .unwrap()
            .success()
            .then_some(())
            .expect("python-tuf publishes");
        let server = Server::start(folder.path());
        let host = Host::without_disk(&metadata.join("1.root.json"), "1.0.0", &server.url());
        Self {
            folder,
            server,
            host,
        }
    }

    fn read(&self) -> Result<UpdateRepository, SessionError> {
        let config = Config::load(&self.host.path("updog.toml")).unwrap();
        let env = Env {
            disk: Box::new(ConfiguredDisk {
                disk: config.disk.clone(),
                active: config.active,
            }),
            config,
            now: updog::clock::now(),
            boot_id: String::new(),
            observer: Arc::new(Unobserved),
            cancel: Cancel::default(),
        };
        choose(&env, &Choice::default()).map(|offer| offer.repository)
    }
}

fn script(python: &Path, text: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", text]);
    command
}

#[test]
fn repositories_of_python_tuf_are_read_and_verified() {
    const TEST: &str = "repositories_of_python_tuf_are_read_and_verified";
    let Some(python) = oracle::python_tuf(TEST) else {
        return;
    };
    let plain: Vec<u8> = (0..=255).cycle().take(256_000).collect();
    for kind in KINDS {
        for consistent in [true, false] {
            let theirs = Theirs::new(&python, kind, consistent);
            let found = theirs.host.updog(&["check-update"]).done();
            assert_eq!(found.stdout, format!("{VARIANT} 1.7.0\n"));
            let repository = theirs.read().unwrap();
            assert_eq!(repository.is_consistent(), consistent);
            assert_eq!(repository.metadata().root.root.signed.version.get(), 3);
            for (name, content) in [("plain.bin", &plain[..]), ("empty", b"")] {
                let target = repository.target(name).unwrap();
                assert_eq!(
                    repository.read(&target, 1 << 20).unwrap(),
                    content,
                    "{name}"
                );
            }
            assert!(repository.target("no-such-target").is_err());
        }
    }
}

#[test]
fn a_target_in_a_folder_is_asked_for_by_the_name_of_the_specification() {
    const TEST: &str = "a_target_in_a_folder_is_asked_for_by_the_name_of_the_specification";
    let Some(python) = oracle::python_tuf(TEST) else {
        return;
    };
    let content = b"in a folder";
    let digest = hex::encode(Sha256::digest(content));
    for (consistent, path) in [
        (true, format!("/targets/some%20dir/sub/{digest}.file.bin")),
        (false, "/targets/some%20dir/sub/file.bin".to_owned()),
    ] {
        let theirs = Theirs::new(&python, "ed25519", consistent);
        // The server knows its files as they are called on the disk.
        let folder = theirs.folder.path().join("targets");
        fs::rename(folder.join("some dir"), folder.join("some%20dir")).unwrap();
        let repository = theirs.read().unwrap();
        let target = repository.target("some dir/sub/file.bin").unwrap();
        theirs.server.seen();
        let read = repository.read(&target, 100);
        let asked: Vec<_> = theirs
            .server
            .seen()
            .into_iter()
            .map(|seen| seen.path)
            .collect();
        assert_eq!(asked, [path]);
        assert_eq!(read.unwrap(), content);
    }
}

#[test]
fn a_change_in_what_python_tuf_signed_is_noticed() {
    const TEST: &str = "a_change_in_what_python_tuf_signed_is_noticed";
    let Some(python) = oracle::python_tuf(TEST) else {
        return;
    };
    for kind in KINDS {
        let theirs = Theirs::new(&python, kind, true);
        let metadata = theirs.folder.path().join(VARIANT).join(ARCH);
        for name in [
            "2.root.json",
            "3.root.json",
            "timestamp.json",
            "5.snapshot.json",
            "7.targets.json",
        ] {
            let path = metadata.join(name);
            let good = fs::read(&path).unwrap();
            let text = String::from_utf8(good.clone()).unwrap();
            // In a field that nobody knows; it is signed all the same.
            let bad = text
                .replacen("true", "false", 2)
                .replacen("empty", "emptier", 1);
            assert_ne!(bad, text);
            fs::write(&path, bad).unwrap();
            assert!(theirs.read().is_err(), "{kind} {name}");
            fs::write(&path, good).unwrap();
        }
        assert!(theirs.read().is_ok(), "{kind}");
    }
}

/// Publishers with keys of every kind, by the names of their files.
fn publishers(python: &Path) -> Vec<Publisher> {
    let mixed = |files: &'static [&'static str], threshold| {
        Publisher::with_threshold(threshold, |folder| {
            let made = script(python, include_str!("keys.py"))
                .arg(folder)
                .args(files)
                .status();
            assert!(made.unwrap().success(), "keys");
        })
    };
    vec![
        Publisher::new(),
        mixed(
            &[
                "root.key:ed25519",
                "root-2.key:rsa",
                "root-3.key:ecdsa",
                "targets.key:ecdsa",
                "snapshot.key:rsa",
                "timestamp.key:ed25519",
            ],
            2,
        ),
        mixed(
            &[
                "root.key:rsa",
                "targets.key:rsa",
                "snapshot.key:ecdsa",
                "timestamp.key:rsa",
            ],
            1,
        ),
        mixed(
            &[
                "root.key:ecdsa",
                "targets.key:ed25519",
                "targets-2.key:rsa",
                "snapshot.key:ed25519",
                "timestamp.key:ecdsa",
            ],
            1,
        ),
    ]
}

#[test]
fn python_tuf_reads_every_kind_of_repository_that_updata_makes() {
    const TEST: &str = "python_tuf_reads_every_kind_of_repository_that_updata_makes";
    let Some(python) = oracle::python_tuf(TEST) else {
        return;
    };
    for publisher in publishers(&python) {
        publisher.release("1.0.0");
        let migration = publisher.path("add-widget");
        fs::write(&migration, "#!/bin/sh\n").unwrap();
        let images = publisher.images("1.1.0", 64);
        let migration = format!("1.0.0:1.1.0:{}", migration.display());
        publisher
            .release_with("1.1.0", &images, &["--migration", &migration])
            .done();
        let server = Server::start(&publisher.repo());
        // Every target that is published, by its name without the digest; of the manifests the
        // newest one.
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for entry in fs::read_dir(publisher.targets()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let (digest, name) = name.split_once('.').unwrap();
            files.insert(name.to_owned(), digest.to_owned());
        }
        let ran = Ran::of(
            script(&python, include_str!("fetch.py"))
                .arg(format!("{}/{VARIANT}/{ARCH}/", server.url()))
                .arg(format!("{}/targets/", server.url()))
                .arg(publisher.path("root.json"))
                .args(files.keys()),
        )
        .done();
        assert_eq!(ran.stdout.lines().count(), files.len());
        assert!(files.len() >= 8, "{files:?}");
        for line in ran.stdout.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let path = publisher
                .targets()
                .join(format!("{}.{}", words[2], words[0]));
            assert_eq!(
                fs::metadata(path).unwrap().len().to_string(),
                words[1],
                "{line}"
            );
            if words[0] != "manifest.json" {
                assert_eq!(files[words[0]], words[2]);
            }
        }
    }
}

#[test]
fn securesystemslib_verifies_every_signature_of_updata() {
    const TEST: &str = "securesystemslib_verifies_every_signature_of_updata";
    let Some(python) = oracle::python_tuf(TEST) else {
        return;
    };
    for publisher in publishers(&python) {
        publisher.release("1.0.0");
        publisher.release("1.1.0");
        let verify = || {
            Ran::of(
                script(&python, include_str!("signatures.py"))
                    .arg(publisher.path("root.json"))
                    .arg(publisher.metadata()),
            )
        };
        let names = verify().done().stdout;
        // One root, the timestamp, and snapshot and targets of both releases.
        assert_eq!(names.lines().count(), 6, "{names}");
        for role in ["root", "timestamp", "snapshot", "targets"] {
            assert!(names.contains(&format!("{role}.json")), "{names}");
        }
        let timestamp = publisher.metadata().join("timestamp.json");
        let text = fs::read_to_string(&timestamp).unwrap();
        fs::write(&timestamp, text.replacen("20", "21", 1)).unwrap();
        assert_eq!(verify().code, Some(1), "it can say no");
    }
}
