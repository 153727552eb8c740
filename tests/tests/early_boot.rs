//! What the migrator needs of a host that is hardly up, and what it finds when the cached repository
//! does not hold what its manifest promises.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::path::Path;

use serde_json::json;
use system_tests::forge::Forge;
use system_tests::oracle::small_file_system;
use system_tests::programs::Ran;
use system_tests::settings::{Scripts, Settings};

const COPY: &str = "cp -r \"$SOURCE\" \"$TARGET\"";

fn host() -> Settings {
    let scripts = Scripts::new().release("1.0.0", "1.1.0", &[("a", COPY)]);
    Settings::with_cache("1.0.0", &scripts)
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn a_migration_that_the_manifest_names_and_nobody_signed_is_not_run() {
    let name = "migrate_v1.1.0_unsigned.lz4";
    let manifest = json!({"updates": [], "migrations": {"(1.0.0, 1.1.0)": [name]}});
    let forge = Forge::new();
    let draft = forge.release(1);
    draft
        .target("manifest.json", manifest.to_string().as_bytes())
        .write();
    let settings = Settings::new("1.0.0");
    copy(&forge.metadata(), &settings.path("metadata"));
    copy(&forge.targets(), &settings.path("migrations"));
    fs::copy(forge.root_file(1), settings.path("root.json")).unwrap();
    // It is there, under every name that it could be looked for by.
    let scripts = Scripts::new().release("1.0.0", "1.1.0", &[("a", COPY)]);
    let other = Settings::without_datastore();
    other.cache(&scripts.publisher);
    let program = other.cached("migrate_v1.1.0_a.lz4").remove(0);
    let digest = program.file_name().unwrap().to_string_lossy();
    let digest = digest.split_once('.').unwrap().0;
    for file in [name.to_owned(), format!("{digest}.{name}")] {
        fs::copy(&program, settings.path("migrations").join(file)).unwrap();
    }
    let ran = settings.boot("1.1.0").expect(1);
    ran.says(&format!(
        "target {name} is not in the cached repository's metadata"
    ));
    assert_eq!(settings.version(), "1.0.0");
    assert_eq!(settings.stores(), 1);
    settings.migrator(&["rehearse", "--to", "1.1.0"]).expect(1);
}

#[test]
fn a_boot_and_a_rehearsal_need_no_folder_for_temporary_files() {
    let settings = host();
    let without = |line: &[&str]| {
        let mut command = settings.command(line);
        command.env("TMPDIR", settings.path("nowhere"));
        Ran::of(&mut command).done()
    };
    let scratch = settings.path("scratch");
    fs::create_dir(&scratch).unwrap();
    let text = scratch.display().to_string();
    let before = settings.names();
    without(&["rehearse", "--to", "1.1.0", "--scratch", &text]);
    assert_eq!(settings.names(), before);
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    without(&["--migrate-to-version", "1.1.0"]);
    let is_stray = |name: &String| name.starts_with(".migrator-");
    assert!(!settings.names().iter().any(is_stray));
    assert_eq!(settings.version(), "1.1.0");
}

#[test]
fn a_rehearsal_finds_that_the_boot_will_not_have_the_room() {
    let settings = host();
    let small = settings.path("small");
    let test = "a_rehearsal_finds_that_the_boot_will_not_have_the_room";
    let Some(_mounted) = small_file_system(test, &small, 6 << 20) else {
        return;
    };
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([settings.path("datastore"), small.clone()])
        .status();
    assert!(copied.unwrap().success());
    let current = small.join("datastore/current").display().to_string();
    let line = ["rehearse", "--to", "1.1.0", "--datastore-path", &current];
    let ran = settings.migrator(&line).expect(1);
    let place = small.join("datastore").display().to_string();
    let reason = format!("not enough room for the new store in {place}");
    assert!(ran.stdout.contains(&reason), "{}", ran.stdout);
}
