//! The example as a real program, run as the migrator runs one.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "../examples/example-migration.rs"]
#[allow(dead_code)] // its `main`; here are its tests
mod example;

use std::path::PathBuf;
use std::process::{Command, Output};

use migrator::datastore::Store;
use migrator::key::Key;
use migrator::migration::check::sample;
use serde_json::json;

/// Built by `cargo test` beside this test's own program.
fn program() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let profile = deps.parent().unwrap().parent().unwrap();
    let example = profile.join("examples/example-migration");
    assert!(
        example.exists(),
        "{} is built by `cargo test -p migrator`",
        example.display()
    );
    example
}

struct Lab {
    temporary: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let live = sample(
            json!({"settings.motd": "hello", "settings.host.name": "box"}),
            json!({"settings.host.name": {"affected-services": ["hostname"]}}),
        );
        let store = Store {
            live: live.unwrap(),
            ..Store::default()
        };
        store.write(&temporary.path().join("old")).unwrap();
        Self { temporary }
    }

    fn store(&self, name: &str) -> Store {
        Store::read(&self.temporary.path().join(name)).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(program())
            .args(arguments)
            .current_dir(&self.temporary)
            .output()
            .unwrap()
    }

    fn migrate(&self, direction: &str, from: &str, to: &str) -> Output {
        let paths = ["--source-datastore", from, "--target-datastore", to];
        self.run(&[&[direction], &paths[..]].concat())
    }
}

#[test]
fn it_goes_forth_and_back_and_leaves_its_source_alone() {
    let lab = Lab::new();
    let old = lab.store("old");
    let forth = lab.migrate("--forward", "old", "new");
    assert_eq!(forth.status.code(), Some(0), "{forth:?}");
    assert_eq!(lab.store("old"), old);
    let new = lab.store("new").live;
    let key = |name| Key::data(name).unwrap();
    assert_eq!(new.data.get(&key("settings.motd")), None);
    assert_eq!(new.data[&key("settings.network.hostname")], "box".into());
    assert_eq!(new.data[&key("os.arch")], std::env::consts::ARCH.into());

    let back = lab.migrate("--backward", "new", "back");
    assert_eq!(back.status.code(), Some(0), "{back:?}");
    let back = lab.store("back").live;
    assert_eq!(back.data[&key("settings.host.name")], "box".into());
    assert_eq!(back.metadata, old.live.metadata);
}

#[test]
fn exit_codes_tell_a_failure_from_a_wrong_command_line() {
    let lab = Lab::new();
    for (output, code, words) in [
        (
            lab.run(&[]),
            2,
            "migration: --forward or --backward is missing\nusage: ",
        ),
        (
            lab.migrate("--forward", "old", "old"),
            2,
            "migration: the source and the target are the same\nusage: ",
        ),
        (
            lab.migrate("--forward", "none", "new"),
            1,
            "migration: reading the settings at none: reading none: No such file",
        ),
        (
            lab.migrate("--forward", "old", "."),
            1,
            "migration: writing the settings to .: . exists, and",
        ),
    ] {
        let said = String::from_utf8(output.stderr).unwrap();
        // A host without an os-release file is told of it first.
        let said = said.lines().filter(|line| !line.contains("os-release"));
        let said = said.collect::<Vec<_>>().join("\n");
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.starts_with(words), "{said}");
        assert_eq!(output.stdout, b"");
    }
}
