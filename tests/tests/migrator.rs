//! The migrator at boot, on repositories that `updata` signs and migrations that are bash scripts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use system_tests::host::Host;
use system_tests::oracle::small_file_system;
use system_tests::publisher::Publisher;
use system_tests::settings::{Scripts, Settings, mark};

fn values(motd: &str) -> BTreeMap<String, String> {
    [("settings/motd", motd), ("settings/host/name", "\"one\"")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// 1.0.0, then 1.1.0 with two migrations, then 1.2.0 with one.
fn three_releases() -> Scripts {
    Scripts::new()
        .release("1.0.0", "1.1.0", &[("a", &mark("a")), ("b", &mark("b"))])
        .release("1.1.0", "1.2.0", &[("c", &mark("c"))])
}

#[test]
fn settings_go_forward_and_come_back_as_they_were() {
    let settings = Settings::with_cache("1.0.0", &three_releases());
    settings
        .boot("1.2.0")
        .done()
        .says("the settings are those of 1.2.0 now");
    assert_eq!(settings.version(), "1.2.0");
    assert_eq!(settings.values(), values("\"hello-a-b-c\""));
    // The store of the version before stays, the intermediate ones do not.
    assert_eq!(settings.stores(), 2, "{:?}", settings.names());

    settings.boot("1.2.0").done().says("those of 1.2.0 already");
    assert_eq!(settings.stores(), 2);

    settings.boot("1.0.0").done();
    assert_eq!(settings.version(), "1.0.0");
    assert_eq!(settings.values(), values("\"hello\""));
    assert_eq!(settings.stores(), 2, "{:?}", settings.names());

    let status = settings.status();
    assert_eq!(status["version"], "1.0.0");
    assert_eq!(status["previous"], "1.2.0");
    assert_eq!(status["readable"], true);
    assert_eq!(status["last_run"]["result"], "migrated");
    assert_eq!(status["stores"].as_array().unwrap().len(), 2);
    let list = settings.migrator(&["list", "--json"]).done().json();
    assert_eq!(list, status["stores"]);
    settings.migrator(&["list"]).done();
}

#[test]
fn a_first_boot_has_nothing_to_migrate() {
    let settings = Settings::without_datastore();
    settings
        .boot("1.0.0")
        .done()
        .says("nothing to migrate on a first boot");
    assert!(settings.names().is_empty());
    let status = settings.status();
    assert_eq!(status["exists"], false);
    settings.migrator(&["rehearse", "--to", "1.1.0"]).done();
}

#[test]
fn without_migrations_the_same_store_serves_both_versions() {
    let scripts = Scripts::new().release("1.0.0", "1.0.1", &[]);
    let settings = Settings::with_cache("1.0.0", &scripts);
    settings.boot("1.0.1").done().says("need no change");
    assert_eq!(settings.version(), "1.0.1");
    let store = fs::canonicalize(settings.path("datastore/current")).unwrap();
    assert!(store.ends_with("v1.0.0_aaaaaaaaaaaaaaaa"));
    settings.boot("1.0.0").done();
    assert_eq!(settings.version(), "1.0.0");
    assert_eq!(settings.stores(), 1);
}

#[test]
fn a_version_before_its_release_is_a_version_of_its_own() {
    let scripts = Scripts::new()
        .release("1.0.0", "1.1.0-rc.1", &[("a", &mark("a"))])
        .release("1.1.0-rc.1", "1.1.0", &[("b", &mark("b"))]);
    let settings = Settings::with_cache("1.0.0", &scripts);
    settings.boot("1.1.0-rc.1").done();
    assert_eq!(settings.version(), "1.1.0-rc.1");
    settings.boot("1.1.0-rc.1").done().says("already");
    settings.boot("1.1.0").done();
    assert_eq!(settings.version(), "1.1.0");
    assert_eq!(settings.values(), values("\"hello-a-b\""));
    settings.boot("1.1.0-rc.1").done();
    assert_eq!(settings.values(), values("\"hello-a\""));
}

#[test]
fn a_first_boot_of_a_version_before_its_release_is_understood() {
    let scripts = Scripts::new().release("1.0.0", "1.1.0-rc.1", &[]).release(
        "1.1.0-rc.1",
        "1.1.0",
        &[("b", &mark("b"))],
    );
    let settings = Settings::with_cache("1.1.0-rc.1", &scripts);
    assert_eq!(settings.version(), "1.1.0", "as the links say");
    settings.boot("1.1.0-rc.1").done().says("already");
    settings.boot("1.1.0").done();
    assert_eq!(settings.values(), values("\"hello-b\""));
    settings.boot("1.1.0-rc.1").done();
    assert_eq!(settings.values(), values("\"hello\""));
    assert_eq!(settings.version(), "1.1.0-rc.1");
}

#[test]
fn a_failed_way_forward_leaves_everything_as_it_was() {
    let scripts = Scripts::new().release(
        "1.0.0",
        "1.1.0",
        &[
            ("a", &mark("a")),
            ("bad", "echo no such setting >&2; exit 3"),
        ],
    );
    let settings = Settings::with_cache("1.0.0", &scripts);
    let before = settings.names();
    let ran = settings.boot("1.1.0").expect(1);
    let ran = ran.says("migration migrate_v1.1.0_bad.lz4 (forward, step 2 of 2)");
    let ran = ran.says("exit code 3");
    ran.says("no such setting");
    assert_eq!(settings.version(), "1.0.0");
    assert_eq!(settings.values(), values("\"hello\""));
    let mut after = settings.names();
    after.retain(|name| name != "migrator.json");
    assert_eq!(after, before);
    let status = settings.status();
    assert_eq!(status["last_run"]["result"], "failed");
    settings.boot("1.0.0").done().says("already");
}

#[test]
fn a_failed_way_back_ends_with_the_settings_that_the_version_last_ran_with() {
    let script = format!("[[ $DIRECTION == --forward ]] || exit 7\n{}", mark("a"));
    let scripts = Scripts::new().release("1.0.0", "1.1.0", &[("a", &script)]);
    let settings = Settings::with_cache("1.0.0", &scripts);
    settings.boot("1.1.0").done();
    let newer = fs::canonicalize(settings.path("datastore/current")).unwrap();
    settings
        .boot("1.0.0")
        .done()
        .says("no way back from 1.1.0 to 1.0.0");
    assert_eq!(settings.version(), "1.0.0");
    assert_eq!(settings.values(), values("\"hello\""));
    assert!(newer.join("live/settings/motd").exists(), "kept aside");
    assert_eq!(settings.status()["last_run"]["result"], "fell_back");
    // And forward again.
    settings.boot("1.1.0").done();
    assert_eq!(settings.values(), values("\"hello-a\""));
}

#[test]
fn without_a_cache_the_way_back_ends_with_the_settings_of_before() {
    let settings = Settings::with_cache("1.0.0", &three_releases());
    settings.boot("1.2.0").done();
    for folder in ["metadata", "migrations"] {
        fs::remove_dir_all(settings.path(folder)).unwrap();
    }
    settings.boot("1.0.0").done();
    assert_eq!(settings.values(), values("\"hello\""));
    // Forward there is no such recourse.
    settings.boot("1.1.0").expect(1);
    settings.boot("1.2.0").expect(1);
    assert_eq!(settings.version(), "1.0.0");
}

#[test]
fn a_way_back_without_a_path_and_without_a_kept_store_fails() {
    let settings = Settings::with_cache("1.2.0", &three_releases());
    settings
        .boot("0.9.0")
        .expect(1)
        .says("no migrations lead from 1.2.0 to 0.9.0");
    assert_eq!(settings.version(), "1.2.0");
}

#[test]
fn of_two_runs_at_once_one_refuses() {
    let settings = Settings::with_cache("1.0.0", &three_releases());
    let folder = File::open(settings.path("datastore")).unwrap();
    folder.try_lock().unwrap();
    settings
        .boot("1.2.0")
        .expect(1)
        .says("another migrator is at work");
    assert_eq!(settings.version(), "1.0.0");
    drop(folder);
    settings.boot("1.2.0").done();
}

type Harm = fn(&Path);

#[test]
fn migrations_that_are_not_what_was_signed_are_not_run() {
    let scripts = three_releases();
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let at = bytes.len() - 8;
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let cut = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    };
    let longer = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, [bytes, vec![0]].concat()).unwrap();
    };
    let gone = |path: &Path| fs::remove_file(path).unwrap();
    let harms: [(&str, Harm); 4] = [
        ("same length", flip),
        ("truncated", cut),
        ("longer", longer),
        ("missing", gone),
    ];
    for (what, harm) in harms {
        for name in ["migrate_v1.1.0_b.lz4", "manifest.json"] {
            let settings = Settings::with_cache("1.0.0", &scripts);
            settings.cached(name).iter().for_each(|file| harm(file));
            let ran = settings.boot("1.2.0").expect(1).says(name);
            // Found before the first migration ran.
            assert!(
                !ran.stderr.contains(": done"),
                "{what} {name}: {}",
                ran.stderr
            );
            assert_eq!(settings.version(), "1.0.0", "{what} {name}");
            assert_eq!(settings.stores(), 1, "{what} {name}");
        }
    }
    let settings = Settings::with_cache("1.0.0", &scripts);
    let [a, b] = ["migrate_v1.1.0_a.lz4", "migrate_v1.1.0_b.lz4"]
        .map(|name| settings.cached(name).remove(0));
    let bytes = fs::read(&a).unwrap();
    fs::copy(&b, &a).unwrap();
    fs::write(&b, bytes).unwrap();
    settings
        .boot("1.2.0")
        .expect(1)
        .says("reading target migrate_v1.1.0_");
    assert_eq!(settings.version(), "1.0.0");
}

#[test]
fn a_cache_with_a_pipe_or_a_device_is_not_waited_for() {
    let scripts = three_releases();
    for (folder, name) in [("metadata", "timestamp.json"), ("migrations", "x")] {
        for device in [false, true] {
            let settings = Settings::with_cache("1.0.0", &scripts);
            let path = settings.path(folder).join(name);
            let _ = fs::remove_file(&path);
            if device {
                std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
            } else {
                let made = Command::new("mkfifo").arg(&path).status().unwrap();
                assert!(made.success());
            }
            settings
                .boot("1.2.0")
                .expect(1)
                .says("is neither a file nor a folder");
        }
    }
}

#[test]
fn a_repository_of_other_keys_is_refused() {
    let settings = Settings::with_cache("1.0.0", &three_releases());
    let other = Scripts::new();
    fs::copy(
        other.publisher.path("root.json"),
        settings.path("root.json"),
    )
    .unwrap();
    settings
        .boot("1.2.0")
        .expect(1)
        .says("loading the cached repository");
    assert_eq!(settings.version(), "1.0.0");
}

#[test]
fn a_repository_that_expired_is_used() {
    let scripts = three_releases();
    let images = scripts.publisher.images("1.3.0", 4);
    scripts
        .publisher
        .release_at("1.3.0", &images, "2020-01-01T00:00:00Z");
    let settings = Settings::with_cache("1.0.0", &scripts);
    settings.boot("1.3.0").done();
    assert_eq!(settings.values(), values("\"hello-a-b-c\""));
}

#[test]
fn without_room_nothing_is_begun_and_the_way_back_still_ends_with_settings() {
    let settings = Settings::with_cache("1.0.0", &three_releases());
    settings.boot("1.2.0").done();
    let small = settings.path("small");
    let test = "without_room_nothing_is_begun";
    let Some(_mounted) = small_file_system(test, &small, 9 << 20) else {
        return;
    };
    let copied = Command::new("cp")
        .arg("-a")
        .args([settings.path("datastore"), small.clone()])
        .status();
    assert!(copied.unwrap().success());
    fs::write(small.join("full"), vec![1; 4 << 20]).unwrap();
    let current = small.join("datastore/current").display().to_string();
    let boot = |version: &str| settings.boot_with(version, &["--datastore-path", &current]);
    let motd = || fs::read_to_string(small.join("datastore/current/live/settings/motd")).unwrap();

    boot("1.0.0")
        .done()
        .says("not enough room for the new store");
    assert_eq!(motd(), "\"hello\"");
    boot("1.2.0")
        .expect(1)
        .says("not enough room for the new store");
    assert_eq!(motd(), "\"hello\"");
    fs::remove_file(small.join("full")).unwrap();
    boot("1.2.0").done();
    assert_eq!(motd(), "\"hello-a-b-c\"");
}

#[test]
fn a_document_renames_and_what_a_migration_removes_comes_back() {
    let document =
        "format = 1\n[[step]]\nrename = { from = \"settings.motd\", to = \"settings.banner\" }\n";
    let remove = "cp -r \"$SOURCE\" \"$TARGET\"\n\
                  [[ $DIRECTION == --backward ]] || rm \"$TARGET/live/settings/host/name\"";
    let migrations = [
        ("rename.toml", document),
        ("remove", remove),
        ("m", &mark_banner()),
    ];
    let scripts = Scripts::new().release("1.0.0", "1.1.0", &migrations);
    let settings = Settings::with_cache("1.0.0", &scripts);
    settings.boot("1.1.0").done();
    let expected = [("settings/banner".to_owned(), "\"hello-m\"".to_owned())];
    assert_eq!(settings.values(), expected.into());
    let status = settings.status();
    assert_eq!(
        status["kept"]["1.0.0"],
        serde_json::json!(["settings.host.name"])
    );
    let ran = settings
        .migrator(&["rehearse", "--to", "1.0.0", "--json"])
        .done();
    assert_eq!(ran.json()["lost"], serde_json::json!([]));
    settings.boot("1.0.0").done();
    assert_eq!(settings.values(), values("\"hello\""));
    let restored = &settings.status()["last_run"]["restored"];
    assert_eq!(*restored, serde_json::json!(["settings.host.name"]));
}

fn mark_banner() -> String {
    mark("m").replace("motd", "banner")
}

#[test]
fn what_updog_cached_is_what_the_migrator_finds() {
    let publisher = Publisher::new();
    let old = publisher.release("1.0.0");
    let script = publisher.path("a");
    fs::write(&script, "#!/bin/sh\ncp -r \"$3\" \"$5\"\n").unwrap();
    let images = publisher.images("1.1.0", 4);
    let migration = format!("1.0.0:1.1.0:{}", script.display());
    publisher
        .release_with("1.1.0", &images, &["--migration", &migration])
        .done();
    let base = format!("file://{}", publisher.repo().display());
    let host = Host::new(&publisher, "1.0.0", &old, &base);
    host.updog(&["update"]).done();

    let settings = Settings::new("1.0.0");
    let path = |name: &str| host.path(name).display().to_string();
    let boot = |version: &str| {
        settings.boot_with(
            version,
            &[
                "--metadata-directory",
                &path("metadata"),
                "--migration-directory",
                &path("migrations"),
                "--root-path",
                &path("root.json"),
            ],
        )
    };
    boot("1.1.0").done();
    assert_eq!(settings.version(), "1.1.0");
    boot("1.0.0").done();
    assert_eq!(settings.version(), "1.0.0");
    assert_eq!(settings.values(), values("\"hello\""));
}

#[test]
fn wrong_usage_and_damaged_links_are_told_apart() {
    let settings = Settings::with_cache("1.0.0", &three_releases());
    settings.migrator(&[]).expect(2);
    settings
        .migrator(&["--migrate-to-version", "1.2"])
        .expect(2);
    let minor = settings.path("datastore/v1.0");
    for (target, expected) in [
        ("/etc", "not the name of something in the same folder"),
        (
            "../metadata",
            "not the name of something in the same folder",
        ),
        ("v1", "which is not a folder"),
        ("v1.0.7", "which does not exist"),
    ] {
        fs::remove_file(&minor).unwrap();
        std::os::unix::fs::symlink(target, &minor).unwrap();
        settings.boot("1.2.0").expect(1).says(expected);
    }
}
