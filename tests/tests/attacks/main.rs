//! Each step of the TUF specification's client workflow, each attack that it lists, and what the
//! library below does not do for us: what a host does then. `tests/ATTACKS.md` is the table of it.
//!
//! Repositories are forged, served over a socket, and read by `updog`.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod clock;
mod delegations;
mod keys;
mod root;
mod rotation;
mod snapshot;
mod table;
mod targets;
mod timestamp;
mod trust;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use system_tests::forge::{Forge, Role};
use system_tests::host::Host;
use system_tests::programs::Ran;
use system_tests::publisher::VARIANT;
use system_tests::server::{Seen, Server};

/// A forged repository, its web server, and a host that reads it.
struct World {
    forge: Forge,
    server: Server,
    host: Host,
}

impl World {
    /// Release 1 is published, and the host has taken note of it.
    fn new() -> Self {
        Self::of(Forge::new())
    }

    /// The same with this repository.
    fn of(forge: Forge) -> Self {
        let server = Server::start(forge.folder());
        let host = Host::without_disk(&forge.root_file(1), "1.0.0", &server.url());
        let world = Self {
            forge,
            server,
            host,
        };
        world.forge.publish(1);
        world.takes(1);
        world
    }

    /// The host finds `release`, without a word of warning.
    fn takes(&self, release: u64) {
        let ran = self.takes_and_warns(release);
        assert!(!ran.stderr.contains("WARN"), "{}", ran.stderr);
    }

    fn takes_and_warns(&self, release: u64) -> Ran {
        let ran = self.host.updog(&["check-update"]).done();
        assert_eq!(
            ran.stdout,
            format!("{VARIANT} 1.{release}.0\n"),
            "{}",
            ran.stderr
        );
        ran
    }

    /// The host finds nothing, says `text`, and keeps what it kept before.
    fn refuses(&self, text: &str) -> Ran {
        let before = self.kept();
        let ran = self.refuses_after_keeping(text);
        assert_eq!(names(&self.kept()), names(&before));
        assert!(
            self.kept() == before,
            "something of it was kept\n{}",
            ran.stderr
        );
        ran
    }

    /// The host finds nothing and says `text`.
    fn refuses_after_keeping(&self, text: &str) -> Ran {
        let ran = self.host.updog(&["check-update"]).expect(1).says(text);
        assert_eq!(ran.stdout, "");
        ran
    }

    /// The host refuses what is published, and takes `release` once it is published rightly.
    fn refuses_until(&self, text: &str, release: u64) {
        self.refuses(text);
        self.forge.publish(release);
        self.takes(release);
    }

    /// `updog check-update` at another time.
    fn at(&self, time: &str) -> Ran {
        let program = env!("CARGO_BIN_EXE_updog-at");
        Ran::of(
            Command::new(program)
                .arg(time)
                .arg(self.host.path("updog.toml")),
        )
    }

    /// A file that the host keeps of the repository.
    fn kept_file(&self, name: &str) -> std::path::PathBuf {
        self.host.path("state/tuf").join(name)
    }

    /// The metadata that the host keeps, by file name.
    fn kept(&self) -> BTreeMap<String, Vec<u8>> {
        let mut kept = BTreeMap::new();
        for folder in ["", "roots/"] {
            for entry in fs::read_dir(self.kept_file(folder)).into_iter().flatten() {
                let path = entry.unwrap().path();
                let is_metadata = path.extension().is_some_and(|end| end == "json");
                if is_metadata && !path.ends_with("versions.json") {
                    let name = path.file_name().unwrap().to_string_lossy();
                    kept.insert(format!("{folder}{name}"), fs::read(&path).unwrap());
                }
            }
        }
        kept
    }

    /// The version of a role that the host keeps.
    fn kept_version(&self, role: Role) -> u64 {
        version_in(&self.kept_file(&format!("{role}.json")))
    }

    /// The names of the files that were asked for since the last time.
    fn asked(&self) -> Vec<String> {
        self.server.seen().iter().map(file_name).collect()
    }
}

fn version_in(path: &Path) -> u64 {
    let document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    document["signed"]["version"].as_u64().unwrap()
}

fn file_name(seen: &Seen) -> String {
    seen.path.rsplit('/').next().unwrap().to_owned()
}

fn names(kept: &BTreeMap<String, Vec<u8>>) -> Vec<&String> {
    kept.keys().collect()
}

/// Changes a digest or signature in hex into another one.
fn bend(hex: &mut Value) {
    let text = hex.as_str().unwrap();
    let first = if text.starts_with('0') { '1' } else { '0' };
    *hex = format!("{first}{}", &text[1..]).into();
}
