//! Whole updates: real programs, a real repository, a real socket, a disk-image file.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;

use system_tests::publisher::{ARCH, VARIANT};
use system_tests::server::Fault;
use system_tests::world::TwoReleases as World;

const FACTORY: [[u64; 3]; 2] = [[1, 0, 1], [0, 0, 0]];
const VALID: [[u64; 3]; 2] = [[1, 0, 1], [0, 1, 0]];
const ARMED: [[u64; 3]; 2] = [[1, 0, 1], [2, 1, 0]];

#[test]
fn an_update_goes_from_repository_to_boot_and_is_marked_good() {
    let World {
        mut host,
        new,
        publisher: _publisher,
        ..
    } = World::new();
    let check = host.updog(&["check-update"]).done();
    assert_eq!(check.stdout, format!("{VARIANT} 1.1.0\n"));
    assert_eq!(host.bits(), FACTORY);

    let update = host.updog(&["update"]).done();
    assert_eq!(update.stdout, format!("updated to {VARIANT} 1.1.0\n"));
    assert_eq!(host.bits(), ARMED);
    for (kind, image) in [
        ("boot", &new.boot),
        ("root", &new.root),
        ("hash", &new.hash),
    ] {
        let image = fs::read(image).unwrap();
        assert_eq!(host.partition("B", kind)[..image.len()], image, "{kind}");
    }

    assert_eq!(host.boot(), "B");
    host.runs("1.1.0");
    assert_eq!(host.bits(), [[1, 0, 1], [2, 0, 0]]);
    host.signpost(&["mark-successful-boot"]).done();
    assert_eq!(host.bits(), [[1, 0, 1], [2, 0, 1]]);
    assert_eq!(host.boot(), "B");

    let check = host
        .updog(&["check-update"])
        .expect(3)
        .says("this host is up to date");
    assert_eq!(check.stdout, "");
    host.updog(&["update"]).done().says("no update required");
}

#[test]
fn an_update_that_never_comes_up_falls_back_and_the_next_one_works() {
    let World {
        publisher,
        mut host,
        ..
    } = World::new();
    host.updog(&["update"]).done();
    assert_eq!(host.boot(), "B");
    assert_eq!(host.boot(), "A");
    publisher.release("1.2.0");
    let update = host.updog(&["update"]).done();
    assert_eq!(update.stdout, format!("updated to {VARIANT} 1.2.0\n"));
    assert_eq!(host.bits(), ARMED);
}

#[test]
fn the_steps_of_an_update_can_be_taken_one_by_one_and_repeated() {
    let World {
        host,
        publisher: _publisher,
        ..
    } = World::new();
    host.updog(&["update-apply"])
        .expect(4)
        .says("holds no update that was prepared");
    for verb in ["prepare", "update-image", "prepare"] {
        host.updog(&[verb]).done();
        assert_eq!(host.bits(), VALID);
        assert_eq!(host.next(), "A");
    }
    for _ in 0..2 {
        let apply = host.updog(&["update-apply"]).done();
        assert_eq!(apply.stdout, "");
        assert_eq!(host.bits(), ARMED);
    }
    for _ in 0..2 {
        host.updog(&["update-revert"]).done();
        assert_eq!(host.bits(), [[2, 0, 1], [0, 1, 0]]);
        assert_eq!(host.next(), "A");
    }
    host.updog(&["update-apply"]).done();
    assert_eq!(host.bits(), ARMED);
}

#[test]
fn apply_and_revert_need_no_network() {
    let World {
        mut host,
        publisher: _publisher,
        ..
    } = World::new();
    host.updog(&["prepare"]).done();
    // Nobody listens there.
    host.fetch_from("http://127.0.0.1:1");
    host.updog(&["update-apply"]).done();
    assert_eq!(host.next(), "B");
    host.updog(&["update-revert"]).done();
    assert_eq!(host.next(), "A");
}

#[test]
fn a_repository_of_files_needs_no_server() {
    let World {
        publisher,
        mut host,
        ..
    } = World::new();
    host.fetch_from(&format!("file://{}", publisher.repo().display()));
    host.updog(&["update"]).done();
    assert_eq!(host.bits(), ARMED);
}

#[test]
fn prepare_refuses_while_the_running_set_is_not_marked_successful() {
    let World {
        publisher,
        server,
        mut host,
        ..
    } = World::new();
    host.updog(&["update"]).done();
    assert_eq!(host.boot(), "B");
    host.runs("1.1.0");
    publisher.release("1.2.0");
    server.seen();
    for verb in ["prepare", "update"] {
        host.updog(&[verb])
            .expect(4)
            .says("has not been marked successful");
    }
    assert_eq!(server.seen(), [], "refused before anything is fetched");
    assert_eq!(host.bits(), [[1, 0, 1], [2, 0, 0]]);
    host.updog(&["update-revert"]).expect(4);
    assert_eq!(host.bits(), [[1, 0, 1], [2, 0, 0]]);
}

#[test]
fn json_is_the_manifests_own_entry_and_nothing_else_is_on_stdout() {
    let World {
        host,
        publisher: _publisher,
        ..
    } = World::new();
    let chosen = host.updog(&["check-update", "--json"]).done().json();
    assert_eq!(chosen["version"], "1.1.0");
    assert_eq!(chosen["variant"], VARIANT);
    assert_eq!(chosen["arch"], ARCH);
    assert_eq!(
        chosen["images"]["root"],
        format!("{VARIANT}-{ARCH}-1.1.0-root.ext4.lz4")
    );
    let all = host.updog(&["whats", "--all", "--json"]).done().json();
    let versions: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|u| u["version"].clone())
        .collect();
    assert_eq!(versions, ["1.1.0", "1.0.0"]);
    assert_eq!(all[0], chosen);
    let lines = host.updog(&["check-update", "--all"]).done().stdout;
    assert_eq!(lines, format!("{VARIANT} 1.1.0\n{VARIANT} 1.0.0\n"));
    assert_eq!(host.updog(&["update", "-j"]).done().json(), chosen);
    host.runs("9.9.9");
    let none = host
        .updog(&["check-update", "--all", "--json", "--variant", "other"])
        .done();
    assert_eq!(none.json(), serde_json::json!([]));
}

#[test]
fn a_forced_version_may_be_older_or_the_same() {
    let World {
        mut host,
        publisher: _publisher,
        ..
    } = World::new();
    host.runs("1.1.0");
    host.updog(&["update", "--image", "1.0.0"])
        .done()
        .says("going back to 1.0.0");
    assert_eq!(host.bits(), ARMED);
    let again = host.updog(&["prepare", "-i", "1.1.0"]).done();
    assert_eq!(again.stdout, format!("prepared {VARIANT} 1.1.0\n"));
    host.updog(&["check-update", "-i", "3.0.0"])
        .expect(3)
        .says("no update");
    host.fetch_from("http://127.0.0.1:1");
    host.updog(&["update", "-i", "v1.0.0"]).expect(2);
}

#[test]
fn an_update_waits_for_its_wave_and_says_until_when() {
    let World {
        publisher, host, ..
    } = World::new();
    let waves = publisher.path("waves.toml");
    fs::write(
        &waves,
        "[[waves]]\nstart_after = \"1 hour\"\nfleet_percentage = 10\n\
         [[waves]]\nstart_after = \"1 day\"\nfleet_percentage = 100\n",
    )
    .unwrap();
    let images = publisher.images("1.2.0", 64);
    let waves = waves.display().to_string();
    let more = ["--waves", &waves, "--wave-start", "2999-01-01T00:00:00Z"];
    publisher.release_with("1.2.0", &images, &more).done();
    host.runs("1.1.0");
    host.updog(&["check-update"])
        .expect(3)
        .says("1.2.0 becomes ready for this host at 2999-01-02T00:00:00Z");
    let now = host.updog(&["check-update", "--now"]).done();
    assert_eq!(now.stdout, format!("{VARIANT} 1.2.0\n"));
    host.updog(&["check-update", "--ignore-waves"]).done();
    host.configure("ignore_waves = true\n");
    host.updog(&["check-update"]).done();
}

#[test]
fn the_server_is_told_version_seed_target_and_migrations() {
    let World {
        publisher,
        server,
        host,
        ..
    } = World::new();
    let migration = publisher.path("add-widget");
    fs::write(&migration, "#!/bin/sh\nexit 0\n").unwrap();
    let images = publisher.images("1.2.0", 64);
    let migration = format!("1.1.0:1.2.0:{}", migration.display());
    publisher
        .release_with("1.2.0", &images, &["--migration", &migration])
        .done();
    server.seen();
    host.updog(&["update"]).done();
    let seen = server.seen();
    let query = |part: &str| {
        let hit = seen.iter().find(|request| request.path.contains(part));
        hit.unwrap_or_else(|| panic!("no request for {part}"))
            .query
            .clone()
    };
    assert_eq!(query("timestamp.json"), "seed=1000&version=1.0.0");
    assert_eq!(query("manifest.json"), "seed=1000&version=1.0.0");
    assert_eq!(
        query("migrate_v1.2.0_add-widget"),
        "seed=1000&target=1.2.0&version=1.0.0"
    );
    // The hash image is computed.
    for image in ["boot.ext4", "root.ext4", "root.ext4.lz4.map"] {
        assert_eq!(
            query(image),
            "migrations=migrate_v1.2.0_add-widget.lz4%2Cmanifest.json&seed=1000&target=1.2.0&version=1.0.0"
        );
    }
}

#[test]
fn what_the_migrator_needs_is_cached_as_a_repository_of_files() {
    let World {
        publisher, host, ..
    } = World::new();
    let migration = publisher.path("add-widget");
    fs::write(&migration, "#!/bin/sh\nexit 0\n").unwrap();
    let images = publisher.images("1.2.0", 64);
    let migration = format!("1.1.0:1.2.0:{}", migration.display());
    publisher
        .release_with("1.2.0", &images, &["--migration", &migration])
        .done();
    host.updog(&["prepare"]).done();

    let names = |folder: &str| {
        let mut names: Vec<_> = fs::read_dir(host.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    for (folder, ours) in [
        ("metadata", publisher.metadata()),
        ("migrations", publisher.targets()),
    ] {
        for name in names(folder) {
            let cached = fs::read(host.path(folder).join(&name)).unwrap();
            assert_eq!(cached, fs::read(ours.join(&name)).unwrap(), "{name}");
        }
    }
    assert_eq!(names("migrations").len(), 2);
    let roles: Vec<_> = names("metadata")
        .iter()
        .map(|name| {
            name.trim_start_matches(|c: char| c.is_ascii_digit())
                .to_owned()
        })
        .collect();
    for role in [
        ".root.json",
        ".snapshot.json",
        ".targets.json",
        "timestamp.json",
    ] {
        assert!(roles.iter().any(|name| name == role), "{roles:?}");
    }
}

#[test]
fn a_missing_migration_path_is_found_before_anything_is_written() {
    let World {
        publisher: _publisher,
        server,
        host,
        ..
    } = World::new();
    host.runs("0.5.0");
    server.seen();
    host.updog(&["update"])
        .expect(1)
        .says("no migrations lead from 0.5.0 to 1.1.0");
    assert_eq!(host.bits(), FACTORY);
    assert!(
        !server
            .seen()
            .iter()
            .any(|request| request.path.contains("root.ext4"))
    );
}

#[test]
fn a_second_session_is_refused_and_told_who_is_at_work() {
    let World {
        host,
        publisher: _publisher,
        ..
    } = World::new();
    fs::create_dir(host.path("run")).unwrap();
    let lock = fs::File::create(host.path("run/lock")).unwrap();
    lock.lock().unwrap();
    fs::write(host.path("run/lock"), "updog update, process 7").unwrap();
    for verb in ["prepare", "update", "update-apply", "update-revert"] {
        host.updog(&[verb])
            .expect(4)
            .says("updog update, process 7");
    }
    host.updog(&["check-update"]).done();
    assert_eq!(host.bits(), FACTORY);
}

#[test]
fn a_reboot_is_asked_for_once_all_is_written_and_its_failure_is_told() {
    let World {
        host,
        publisher: _publisher,
        ..
    } = World::new();
    let asked = host.path("asked");
    host.configure(&format!(
        "reboot_command = [\"touch\", \"{}\"]\n",
        asked.display()
    ));
    host.updog(&["update", "--reboot"]).done();
    assert!(asked.exists());
    host.configure("reboot_command = [\"false\"]\n");
    host.updog(&["update-apply", "--reboot"])
        .expect(1)
        .says("'false' did not start the reboot")
        .says("any reboot takes the new set");
    assert_eq!(host.bits(), ARMED);
}

#[test]
fn broken_transfers_are_continued_where_they_stopped() {
    let World {
        server,
        host,
        publisher: _publisher,
        ..
    } = World::new();
    server.hide_block_maps();
    server.fault("root.ext4", Fault::DropAfter(30_000), 3);
    server.fault("timestamp.json", Fault::Status(503), 2);
    server.seen();
    host.updog(&["update"]).done();
    let ranges: Vec<_> = server
        .seen()
        .into_iter()
        .filter(|request| request.path.contains("root.ext4"))
        .map(|request| request.range)
        .collect();
    assert_eq!(ranges.len(), 4);
    assert_eq!(ranges[0], None);
    assert!(ranges[1..].iter().all(Option::is_some), "{ranges:?}");
    assert_eq!(host.bits(), ARMED);
}

#[test]
fn a_server_that_does_not_continue_as_asked_still_serves_the_update() {
    for fault in [
        Fault::IgnoreRange,
        Fault::LieAboutRange,
        Fault::RefuseRange(416),
        Fault::RefuseRange(403),
    ] {
        let World {
            server,
            host,
            publisher: _publisher,
            ..
        } = World::new();
        server.hide_block_maps();
        server.fault("root.ext4", Fault::DropAfter(30_000), 1);
        server.fault("root.ext4", fault.clone(), 1);
        host.updog(&["update"]).done();
        assert_eq!(host.bits(), ARMED, "{fault:?}");
    }
}

#[test]
fn a_wrong_command_line_or_configuration_says_what_is_wrong() {
    let World {
        host,
        publisher: _publisher,
        ..
    } = World::new();
    host.updog(&["no-such-verb"]).expect(2).says("no-such-verb");
    host.updog(&[]).expect(2);
    host.updog(&["--help"]).done();
    host.configure("colour = \"red\"\n");
    host.updog(&["check-update"])
        .done()
        .says("key 'colour' means nothing here");
    host.configure("stall_timeout_seconds = \"soon\"\n");
    let path = host.path("updog.toml").display().to_string();
    host.updog(&["check-update"])
        .expect(1)
        .says(&format!("updog: {path}:14: "));
    fs::remove_file(&path).unwrap();
    host.updog(&["check-update"]).expect(1).says(&path);
}

#[test]
fn a_set_that_holds_the_update_already_is_verified_and_not_written_again() {
    let World {
        server,
        host,
        publisher: _publisher,
        ..
    } = World::new();
    host.updog(&["prepare"]).done();
    server.seen();
    // A mirror that lost the images does not undo what is written.
    server.fault("ext4", Fault::Status(404), 99);
    for bits in [ARMED, ARMED] {
        let update = host.updog(&["update"]).done().says("holds 1.1.0 already");
        assert_eq!(update.stdout, format!("updated to {VARIANT} 1.1.0\n"));
        assert_eq!(host.bits(), bits);
    }
    assert!(
        !server
            .seen()
            .iter()
            .any(|request| request.path.contains("ext4"))
    );
}

#[test]
fn output_that_cannot_be_written_does_not_keep_the_host_from_its_update() {
    let World {
        host,
        publisher: _publisher,
        ..
    } = World::new();
    let asked = host.path("asked");
    host.configure(&format!(
        "reboot_command = [\"touch\", \"{}\"]\n",
        asked.display()
    ));
    let full = || {
        fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let mut command = host.updog_command(&["update", "--reboot"]);
    let status = command.stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(1), "stdout could not be written");
    assert_eq!(host.bits(), ARMED);
    assert!(asked.exists());
    let mut command = host.updog_command(&["update"]);
    assert_eq!(
        command.stderr(full()).output().unwrap().status.code(),
        Some(0)
    );
}

#[test]
fn a_set_that_another_program_armed_while_it_was_written_is_cleared_when_writing_fails() {
    let World {
        server,
        host,
        publisher: _publisher,
        ..
    } = World::new();
    let disk = host.disk().display().to_string();
    server.when("root.ext4", move || {
        for command in ["mark-inactive-valid", "upgrade-to-inactive"] {
            system_tests::programs::run("signpost", ["--disk", &disk, "--active", "A", command])
                .done();
        }
    });
    server.fault("root.ext4", Fault::Replace(vec![0; 100]), 2);
    host.updog(&["update"])
        .expect(1)
        .says("armed set B while it was written");
    assert_eq!(host.bits(), FACTORY);
}

#[test]
fn a_version_that_was_asked_for_and_does_not_exist_is_a_failure() {
    let World {
        host,
        publisher: _publisher,
        ..
    } = World::new();
    for verb in ["prepare", "update"] {
        host.updog(&[verb, "-i", "9.9.9"])
            .expect(1)
            .says("updog: nothing was written: the manifest has no 9.9.9");
    }
    assert_eq!(host.bits(), FACTORY);
}
