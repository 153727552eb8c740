//! Key rotation from end to end: what updata publishes, and hosts that have an older root role.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use system_tests::host::Host;
use system_tests::programs::Ran;
use system_tests::publisher::{Publisher, VARIANT};
use system_tests::server::Server;

const REPLACED: [&str; 2] = ["snapshot", "timestamp"];

/// Replaces the snapshot and timestamp keys by those of the folder `new`, and publishes with the
/// keys of `folders`.
fn rotate(publisher: &Publisher, folders: &[&str]) {
    let text = |name: &str| publisher.text(name);
    let (keys, new, repo) = (text("keys"), text("new"), text("repo"));
    let (root, next) = (text("root.json"), text("root-2.json"));
    publisher.updata(["keys", "new", "--out", &new]).done();
    let replace = REPLACED.map(|role| format!("{role}={new}/{role}.key"));
    let rotate = ["root", "rotate", "--root-role", &root, "--out", &next];
    let more = [
        "--keys",
        &keys,
        "--replace",
        &replace[0],
        "--replace",
        &replace[1],
    ];
    publisher.updata([&rotate[..], &more].concat()).done();
    let mut line: Vec<String> = ["root", "publish", "--repo", &repo, "--root-role", &next]
        .into_iter()
        .chain(["--old-root", &root])
        .map(str::to_owned)
        .collect();
    for folder in folders {
        for role in REPLACED {
            let file = publisher.text(&format!("{folder}/{role}.key"));
            line.extend(["--key".to_owned(), format!("{role}={file}")]);
        }
    }
    publisher.updata(line.iter().map(String::as_str)).done();
}

/// Refreshes everything, as if it were `now`.
fn refresh_at(publisher: &Publisher, now: DateTime<Utc>) {
    let text = |name: &str| publisher.text(name);
    let (repo, root, keys) = (text("repo"), text("root.json"), text("keys"));
    let line = [
        "updata",
        "refresh",
        "--repo",
        &repo,
        "--root-role",
        &root,
        "--keys",
        &keys,
    ];
    let line = line.iter().chain(&["--targets"]).map(OsString::from);
    assert_eq!(updog::publish::cli::main(line, now).code(), 0);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn finds(host: &Host, version: &str) -> Ran {
    let found = host.updog(&["check-update"]).done();
    assert_eq!(found.stdout, format!("{VARIANT} {version}\n"));
    found
}

#[test]
fn hosts_follow_a_rotation_and_find_the_next_release() {
    for folders in [&["keys", "new"][..], &["new"]] {
        let publisher = Publisher::new();
        let old = publisher.release("1.0.0");
        publisher.release("1.1.0");
        let server = Server::start(&publisher.repo());
        let seen = Host::new(&publisher, "1.0.0", &old, &server.url());
        let unseen = Host::new(&publisher, "1.0.0", &old, &server.url());
        finds(&seen, "1.1.0");
        rotate(&publisher, folders);
        for host in [&seen, &unseen] {
            finds(host, "1.1.0");
        }
        // The next release, with the keys as they are now.
        for role in REPLACED {
            let name = format!("{role}.key");
            fs::rename(
                publisher.path("new").join(&name),
                publisher.path("keys").join(&name),
            )
            .unwrap();
        }
        fs::rename(publisher.path("root-2.json"), publisher.path("root.json")).unwrap();
        publisher.release("1.2.0");
        for host in [&seen, &unseen] {
            finds(host, "1.2.0");
        }
    }
}

#[test]
fn hosts_forget_the_versions_that_a_thief_raised() {
    let publisher = Publisher::new();
    let old = publisher.release("1.0.0");
    publisher.release("1.1.0");
    let server = Server::start(&publisher.repo());
    let host = Host::new(&publisher, "1.0.0", &old, &server.url());
    let saved = publisher.path("saved");
    copy(&publisher.repo(), &saved);

    // The thief publishes the version of a day months ahead, and the host sees it.
    let now = updog::clock::now();
    refresh_at(&publisher, now + TimeDelta::weeks(30));
    finds(&host, "1.1.0");
    let folder = publisher.metadata();
    fs::remove_dir_all(&folder).unwrap();
    let parts = folder.strip_prefix(publisher.repo()).unwrap();
    copy(&saved.join(parts), &folder);
    host.updog(&["check-update"]).done().says("stale mirror");

    rotate(&publisher, &["new"]);
    let ran = host.updog(&["check-update"]).done();
    assert!(!ran.stderr.contains("stale mirror"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "demo 1.1.0\n");
}
