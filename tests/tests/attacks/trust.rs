//! What the host remembers between runs, and what it does when some of it is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use system_tests::forge::Role;

use crate::{World, version_in};

/// The mark of how far the repository had come.
fn marks(world: &World) -> Value {
    serde_json::from_slice(&fs::read(world.kept_file("versions.json")).unwrap()).unwrap()
}

#[test]
fn the_versions_that_were_verified_are_written_down() {
    let mut world = World::new();
    world.forge.next_root().write();
    world
        .forge
        .release(4)
        .version(Role::Timestamp, 6)
        .version(Role::Snapshot, 5)
        .write();
    world.takes(4);
    let marks = marks(&world);
    for (role, version) in [
        ("root", 2),
        ("timestamp", 6),
        ("snapshot", 5),
        ("targets", 4),
    ] {
        assert_eq!(marks[role], version, "{marks}");
    }
}

/// Ways in which a power cut or a bad disk loses files.
fn losses(world: &World) -> Vec<Vec<(PathBuf, Option<Vec<u8>>)>> {
    let file = |name: &str| world.kept_file(name);
    let torn = |name: &str| {
        let bytes = fs::read(file(name)).unwrap();
        (file(name), Some(bytes[..bytes.len() / 2].to_vec()))
    };
    vec![
        vec![(file("timestamp.json"), None)],
        vec![(file("snapshot.json"), None)],
        vec![
            (file("timestamp.json"), None),
            (file("snapshot.json"), None),
        ],
        vec![torn("timestamp.json"), torn("snapshot.json")],
        vec![
            (file("timestamp.json"), Some(Vec::new())),
            (file("snapshot.json"), Some(vec![0; 4096])),
        ],
        vec![
            (file("timestamp.json"), None),
            (file("snapshot.json"), None),
            (file("targets.json"), None),
        ],
    ]
}

#[test]
fn a_lost_or_torn_cache_does_not_let_an_older_repository_in() {
    let world = World::new();
    world.forge.publish(3);
    world.takes(3);
    for loss in losses(&world) {
        let before: Vec<_> = world.kept().into_iter().collect();
        for (path, bytes) in &loss {
            match bytes {
                None => fs::remove_file(path).unwrap(),
                Some(bytes) => fs::write(path, bytes).unwrap(),
            }
        }
        // The old repository as it was, and with a timestamp of the newest version.
        for timestamp in [2, 3, 4] {
            world
                .forge
                .release(2)
                .version(Role::Timestamp, timestamp)
                .write();
            let ran = world.host.updog(&["check-update"]);
            // What is still known may be used; what is not, is never replaced by older.
            assert!(
                ran.code == Some(1) || ran.stdout.contains("1.3.0"),
                "{loss:?}\n{ran:?}"
            );
            assert!(!ran.stdout.contains("1.2.0"), "{loss:?}");
            for role in [Role::Snapshot, Role::Targets] {
                let path = world.kept_file(&format!("{role}.json"));
                let is_whole = fs::read(&path)
                    .is_ok_and(|bytes| serde_json::from_slice::<Value>(&bytes).is_ok());
                assert!(!is_whole || version_in(&path) >= 3, "{role} {loss:?}");
            }
        }
        for (name, bytes) in before {
            fs::write(world.kept_file(&name), bytes).unwrap();
        }
    }
}

#[test]
fn an_older_repository_is_named_as_such_when_the_trusted_one_is_lost() {
    let world = World::new();
    world.forge.publish(3);
    world.takes(3);
    for name in ["timestamp.json", "snapshot.json"] {
        fs::remove_file(world.kept_file(name)).unwrap();
    }
    world.forge.publish(2);
    world
        .refuses_after_keeping("offers version 2 of timestamp")
        .says("version 3");
    // The same state again heals the host, and so does a newer one.
    world.forge.publish(3);
    world.takes(3);
    assert_eq!(world.kept_version(Role::Timestamp), 3);
    world.forge.publish(4);
    world.takes(4);
}

#[test]
fn the_marks_are_written_before_what_they_guard() {
    let world = World::new();
    world.forge.publish(2);
    // While the run is under way the place of the timestamp is taken, so that it cannot be kept: as
    // if the power went right before.
    let place = world.kept_file("timestamp.json");
    world.server.when("2.targets.json", {
        let place = place.clone();
        move || {
            fs::remove_file(&place).unwrap();
            fs::create_dir(&place).unwrap();
            fs::write(place.join("something"), b"").unwrap();
        }
    });
    world.refuses_after_keeping("timestamp.json");
    assert_eq!(marks(&world)["timestamp"], 2);
    fs::remove_dir_all(place).unwrap();
    world.forge.publish(1);
    world.refuses_after_keeping("version 2");
    world.forge.publish(2);
    world.takes(2);
}

#[test]
fn damaged_marks_are_made_anew_and_the_kept_files_still_protect() {
    let world = World::new();
    world.forge.publish(3);
    world.takes(3);
    for damage in [&b""[..], b"{", b"null", b"{\"schema\": 1}", &[0xff; 100]] {
        fs::write(world.kept_file("versions.json"), damage).unwrap();
        world.forge.publish(2);
        world.takes_and_warns(3).says("stale mirror");
        world.forge.publish(3);
        world.takes_and_warns(3);
    }
    world.forge.publish(4);
    world.takes_and_warns(4);
    assert_eq!(marks(&world)["timestamp"], 4);
}

#[test]
fn a_removed_folder_forgets_and_the_host_goes_on() {
    let world = World::new();
    world.forge.publish(3);
    world.takes(3);
    fs::remove_dir_all(world.host.path("state/tuf")).unwrap();
    world.forge.publish(2);
    world.takes(2);
}

#[test]
fn a_kept_root_that_is_damaged_is_fetched_again() {
    let mut world = World::new();
    world.forge.next_root().rotate(Role::Timestamp).write();
    world.forge.next_root().rotate(Role::Root).write();
    world.forge.publish(2);
    world.takes(2);
    fs::write(world.kept_file("roots/2.root.json"), b"{}").unwrap();
    world.takes_and_warns(2);
    assert!(world.kept()["roots/2.root.json"] == world.forge.read("2.root.json"));
    world.takes(2);
    // An older state is still known to be one.
    world.forge.publish(1);
    world.takes_and_warns(2).says("stale mirror");
}

/// The host's folder after each of the writes by which it goes from `before` to `after`: the marks
/// of a role, then its file, role by role.
fn cuts(before: &Folder, after: &Folder) -> Vec<Folder> {
    let marks =
        |folder: &Folder| -> Value { serde_json::from_slice(&folder["versions.json"]).unwrap() };
    let (old, new) = (marks(before), marks(after));
    let mut folder = before.clone();
    let mut cuts = vec![folder.clone()];
    let mut seen = old.clone();
    let mut write = |name: &str, bytes: Vec<u8>| {
        folder.insert(name.to_owned(), bytes);
        cuts.push(folder.clone());
    };
    if new["root"] != old["root"] {
        for field in ["root", "root_keys"] {
            seen[field] = new[field].clone();
        }
        write("versions.json", seen.to_string().into_bytes());
        for (name, bytes) in after.iter().filter(|(name, _)| name.starts_with("roots/")) {
            write(name, bytes.clone());
        }
    }
    if new["keys"] != old["keys"] {
        for role in ["timestamp", "snapshot", "targets"] {
            seen[role] = 0.into();
        }
        seen["keys"] = new["keys"].clone();
    }
    for role in ["timestamp", "snapshot", "targets"] {
        seen[role] = new[role].clone();
        write("versions.json", seen.to_string().into_bytes());
        let name = format!("{role}.json");
        write(&name, after[&name].clone());
    }
    cuts
}

type Folder = BTreeMap<String, Vec<u8>>;

fn folder(world: &World) -> Folder {
    let mut folder = world.kept();
    let marks = fs::read(world.kept_file("versions.json")).unwrap();
    folder.insert("versions.json".to_owned(), marks);
    folder
}

fn restore(world: &World, folder: &Folder) {
    fs::remove_dir_all(world.kept_file("")).unwrap();
    fs::create_dir_all(world.kept_file("roots")).unwrap();
    for (name, bytes) in folder {
        fs::write(world.kept_file(name), bytes).unwrap();
    }
}

#[test]
fn a_cut_after_any_write_of_a_refresh_locks_nobody_out() {
    let world = World::new();
    let before = folder(&world);
    world.forge.publish(2);
    world.takes(2);
    let cuts = cuts(&before, &folder(&world));
    assert_eq!(cuts.len(), 7);
    for cut in cuts {
        restore(&world, &cut);
        world.takes(2);
        restore(&world, &cut);
        world.forge.publish(3);
        world.takes(3);
        world.forge.publish(2);
    }
}

#[test]
fn a_cut_after_any_write_that_follows_a_rotation_locks_nobody_out() {
    for role in Role::ONLINE {
        let mut world = World::new();
        // Out of reach, if it were to count any longer.
        world.forge.publish(u64::MAX / 2);
        world.host.updog(&["check-update"]).done();
        let before = folder(&world);
        world.forge.next_root().rotate(role).write();
        if role == Role::Targets {
            // That does not void the versions of the others.
            world.forge.publish(u64::MAX / 2 + 1);
            continue;
        }
        world.forge.publish(2);
        world.takes(2);
        for cut in cuts(&before, &folder(&world)) {
            restore(&world, &cut);
            world.takes(2);
        }
    }
}

#[test]
fn a_torn_root_does_not_let_the_repository_from_before_a_rotation_in() {
    let mut world = World::new();
    let before: Vec<_> = fs::read_dir(world.forge.metadata())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    let mut root = world.forge.next_root();
    for role in Role::ALL {
        root = root.rotate(role);
    }
    root.write();
    world.forge.publish(2);
    world.takes(2);
    let rotated = folder(&world);
    fs::write(world.kept_file("roots/2.root.json"), "torn").unwrap();
    fs::remove_file(world.forge.metadata().join("2.root.json")).unwrap();
    for (path, bytes) in before {
        fs::write(path, bytes).unwrap();
    }
    world
        .refuses_after_keeping("version 1 of root")
        .says("version 2");
    assert_eq!(marks(&world)["root"], 2);
    restore(&world, &rotated);
    world.refuses("timestamp");
}

#[test]
fn kept_files_that_cannot_be_read_are_done_without() {
    let world = World::new();
    for name in [
        "timestamp.json",
        "snapshot.json",
        "targets.json",
        "versions.json",
    ] {
        let path = world.kept_file(name);
        // Sparse: larger than any metadata, and nothing on the disk.
        fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
        let ran = world.takes_and_warns(1);
        assert!(ran.stderr.contains("is not used"), "{name}: {}", ran.stderr);
        world.takes(1);
    }
}

#[test]
fn another_mirror_may_not_begin_lower() {
    let mut world = World::new();
    world.forge.publish(5);
    world.takes(5);
    let mirror = system_tests::server::Server::start(world.forge.folder());
    world.host.fetch_from(&mirror.url());
    world.forge.publish(2);
    world.takes_and_warns(5).says("stale mirror");
}
