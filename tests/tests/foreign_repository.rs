//! Repositories that another tool made and signed: looked at, extended, and installed from.

// Clippy exempts tests from this lint, but not the functions that they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use system_tests::host::Host;
use system_tests::oracle;
use system_tests::programs::{self, Ran};
use system_tests::publisher::{ARCH, Images, Publisher, VARIANT};
use system_tests::server::Server;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign_repository.py");
/// Another variant in the same repository.
const OTHER: &str = "demo-k8s";
/// In the targets for whoever builds kernel modules; no update names it.
const KIT: &str = "demo-kmod-kit.tar.xz";
const MIGRATION: &str = "migrate_v1.1.0_add-widget.lz4";

/// What was made elsewhere, and the images of the versions in it.
struct Foreign {
    publisher: Publisher,
    first: Images,
}

impl Foreign {
    /// 1.0.0 and 1.1.0 with a migration between them, by python-tuf.
    fn made_by(python: &Path) -> Self {
        let publisher = Publisher::new();
        // Of our own repository only the compressed images are used.
        let migration = publisher.path("add-widget");
        fs::write(&migration, "#!/bin/sh\n").unwrap();
        let first = publisher.release("1.0.0");
        let second = publisher.images("1.1.0", 64);
        let migration = format!("1.0.0:1.1.0:{}", migration.display());
        publisher
            .release_with("1.1.0", &second, &["--migration", &migration])
            .done();
        let files = publisher.path("files");
        fs::create_dir(&files).unwrap();
        let mut names = vec![MIGRATION.to_owned()];
        for version in ["1.0.0", "1.1.0"] {
            for part in ["boot.ext4", "root.ext4", "root.verity"] {
                names.push(image(version, part));
            }
        }
        for name in names {
            fs::copy(publisher.target(&name), files.join(name)).unwrap();
        }
        fs::write(files.join(KIT), "a kit").unwrap();
        fs::write(files.join("manifest.json"), manifest().to_string()).unwrap();

        Ran::of(
            Command::new(python)
                .args([Path::new(SCRIPT), &files, &publisher.path("elsewhere")])
                .args([VARIANT, OTHER, ARCH]),
        )
        .done();
        Self { publisher, first }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.publisher.path("elsewhere").join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn lint(&self) -> Value {
        let repo = self.text("repo");
        let ran = programs::run("updata", ["lint", &repo, "--deep", "--json"]).done();
        assert_eq!(ran.stderr, "");
        ran.json()
    }

    fn release(&self, version: &str) -> (Images, Ran) {
        let images = self.publisher.images(version, 64);
        let text = |path: &Path| path.display().to_string();
        let line = [
            [
                "release",
                "--repo",
                &self.text("repo"),
                "--version",
                version,
            ]
            .map(str::to_owned),
            ["--json", "--keys", &self.text("keys"), "--arch", ARCH].map(str::to_owned),
        ];
        let more = [
            ("--root-role", self.text("root.json")),
            ("--variant", VARIANT.to_owned()),
            ("--root-image", text(&images.root)),
            ("--boot-image", text(&images.boot)),
            ("--hash-image", text(&images.hash)),
        ];
        let more = more
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value]);
        let ran = programs::run("updata", line.concat().into_iter().chain(more));
        (images, ran)
    }

    /// The signed part of the newest targets role.
    fn targets(&self, variant: &str) -> Value {
        let folder = self.path(&format!("repo/{variant}/{ARCH}"));
        let newest = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".targets.json")?.parse::<u64>().ok())
            .max()
            .unwrap();
        let bytes = fs::read(folder.join(format!("{newest}.targets.json"))).unwrap();
        let mut role: Value = serde_json::from_slice(&bytes).unwrap();
        role["signed"].take()
    }

    fn manifest(&self, targets: &Value) -> Value {
        let digest = targets["targets"]["manifest.json"]["hashes"]["sha256"]
            .as_str()
            .unwrap();
        let path = self.path(&format!("repo/targets/{digest}.manifest.json"));
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// Serves the repository to a host that runs 1.0.0 and was shipped with its root role.
    fn host(&self) -> (Server, Host) {
        let server = Server::start(&self.path("repo"));
        let host = Host::new(&self.publisher, "1.0.0", &self.first, &server.url());
        fs::copy(self.path("root.json"), host.path("root.json")).unwrap();
        (server, host)
    }
}

fn image(version: &str, part: &str) -> String {
    format!("{VARIANT}-{ARCH}-{version}-{part}.lz4")
}

/// With a field of former times, and none of ours.
fn manifest() -> Value {
    let update = |version: &str| {
        json!({
            "variant": "VARIANT",
            "arch": ARCH,
            "version": version,
            "max_version": "1.1.0",
            "status": "Ready",
            "waves": {"0": "2020-07-07T00:00:00Z", "1024": "2020-07-08T00:00:00Z"},
            "images": {
                "boot": image(version, "boot.ext4"),
                "root": image(version, "root.ext4"),
                "hash": image(version, "root.verity"),
            },
        })
    };
    json!({
        "updates": [update("1.1.0"), update("1.0.0")],
        "migrations": {"(1.0.0, 1.1.0)": [MIGRATION]},
    })
}

/// The rules that were told, in order.
fn rules(outcome: &Value) -> Vec<&str> {
    let findings = outcome["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|finding| finding["rule"].as_str().unwrap())
        .collect()
}

impl Foreign {
    /// python-tuf finds targets of its own and of ours at `url`.
    fn is_read_by_its_makers(&self, python: &Path, url: &str) {
        let script = format!(
            "import sys, tempfile\n\
             from tuf.ngclient import Updater\n\
             d = tempfile.mkdtemp()\n\
             u = Updater(d, '{url}/{VARIANT}/{ARCH}/', d, '{url}/targets/',\n\
             \x20           bootstrap=open(sys.argv[1], 'rb').read())\n\
             u.refresh()\n\
             for name in sys.argv[2:]:\n\
             \x20   print(open(u.download_target(u.get_targetinfo(name)), 'rb').read()[:5])\n"
        );
        let ran = Ran::of(
            Command::new(python)
                .args(["-c", &script, &self.text("root.json"), KIT])
                .arg(image("1.2.0", "root.ext4")),
        )
        .done();
        assert!(
            ran.stdout.starts_with("b'a kit'\nb'\\x04\"M\\x18"),
            "{}",
            ran.stdout
        );
    }
}

/// What a manifest's entry says once a release of ours is among its updates: also which folder it
/// is for.
fn with_place(custom: &Value) -> Value {
    let mut custom = custom.clone();
    custom["variant"] = VARIANT.into();
    custom["arch"] = ARCH.into();
    custom
}

#[test]
fn a_repository_of_python_tuf_is_looked_at_extended_and_installed_from() {
    const TEST: &str = "a_repository_of_python_tuf_is_looked_at_extended_and_installed_from";
    let Some(python) = oracle::python_tuf(TEST) else {
        return;
    };
    let foreign = Foreign::made_by(&python);
    let found = foreign.lint();
    assert_eq!(rules(&found), ["target-unused", "target-unused"], "{found}");
    assert_eq!(
        (&found["folders"], &found["updates"]),
        (&json!(2), &json!(4))
    );
    let (server, host) = foreign.host();
    host.updog(&["check-update"]).done();

    let (old, other) = (foreign.targets(VARIANT), foreign.targets(OTHER));
    let (images, ran) = foreign.release("1.2.0");
    let outcome = ran.done();
    assert_eq!(
        rules(&outcome.json()),
        ["target-unused"],
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains(KIT), "{}", outcome.stderr);

    // What others listed is listed as they did, to the last field.
    let new = foreign.targets(VARIANT);
    for (name, target) in old["targets"].as_object().unwrap() {
        if name == "manifest.json" {
            assert_ne!(&new["targets"][name], target);
            assert_eq!(
                new["targets"][name]["custom"],
                with_place(&target["custom"])
            );
        } else {
            assert_eq!(&new["targets"][name], target, "{name}");
        }
    }
    assert_eq!(
        foreign.targets(OTHER),
        other,
        "the other variant is none of our business"
    );
    let manifest = foreign.manifest(&new);
    assert_eq!(manifest["migrations"]["(1.0.0, 1.1.0)"], json!([MIGRATION]));
    let versions: Vec<_> = manifest["updates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|update| {
            (
                update["version"].as_str().unwrap(),
                update["max_version"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        versions,
        [("1.1.0", "1.2.0"), ("1.0.0", "1.2.0"), ("1.2.0", "1.2.0")]
    );
    for (before, after) in foreign.manifest(&old)["updates"]
        .as_array()
        .unwrap()
        .iter()
        .zip(manifest["updates"].as_array().unwrap())
    {
        assert_eq!(
            (&before["waves"], &before["images"]),
            (&after["waves"], &after["images"])
        );
    }
    let found = foreign.lint();
    let rules = rules(&found);
    assert_eq!(
        rules,
        ["file-unlisted", "target-unused", "target-unused"],
        "{found}"
    );

    // Its makers can still read it, and hosts install from it.
    foreign.is_read_by_its_makers(&python, &server.url());
    host.updog(&["update"]).done();
    let raw = fs::read(&images.root).unwrap();
    assert_eq!(host.partition("B", "root")[..raw.len()], raw);
    assert!(host.path("migrations").read_dir().unwrap().count() > 0);
}

#[test]
fn another_tools_repository_is_not_extended_with_keys_that_its_root_role_does_not_name() {
    const TEST: &str =
        "another_tools_repository_is_not_extended_with_keys_that_its_root_role_does_not_name";
    let Some(python) = oracle::python_tuf(TEST) else {
        return;
    };
    let foreign = Foreign::made_by(&python);
    let old = foreign.targets(VARIANT);
    fs::remove_dir_all(foreign.path("keys")).unwrap();
    programs::run("updata", ["keys", "new", "--out", &foreign.text("keys")]).done();
    let (_, ran) = foreign.release("1.2.0");
    ran.expect(4).says("has too few of the targets keys that");
    assert_eq!(foreign.targets(VARIANT), old);
}
