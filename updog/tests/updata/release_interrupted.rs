//! release: a publisher that stops halfway leaves the old repository valid, and the same command
//! finishes the job.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use tough::ExpirationEnforcement::Unsafe;

use super::lab::Lab;

fn start() -> DateTime<Utc> {
    "2031-03-01T01:00:00Z".parse().unwrap()
}

fn later() -> DateTime<Utc> {
    start() + TimeDelta::hours(1)
}

const METADATA: &str = "repo/demo/x86_64";

/// 1.0.0 is published, the images of 1.1.0 lie ready.
fn published() -> Lab {
    let lab = Lab::publisher(start());
    lab.release_at("1.0.0", start()).unwrap();
    lab.images(2);
    lab
}

/// The old repository is what clients load, every target of it.
fn assert_old(lab: &Lab) {
    let published = lab.load(Unsafe);
    assert_eq!(
        published.version(),
        u64::try_from(start().timestamp()).unwrap()
    );
    assert_eq!(published.targets().len(), 4);
    for name in published.targets() {
        published.fetch(&name);
    }
}

fn assert_new(lab: &Lab) {
    let published = lab.load(Unsafe);
    assert_eq!(published.manifest().updates.len(), 2);
    for name in published.targets() {
        published.fetch(&name);
    }
    for folder in [METADATA, "repo/targets"] {
        for name in lab.names(folder) {
            assert!(!name.starts_with(".updata-"), "{folder}/{name}");
        }
    }
}

#[test]
fn a_stop_before_any_of_the_metadata_leaves_the_old_ones_valid() {
    let version = later().timestamp();
    for blocked in [
        format!("{version}.targets.json"),
        format!("{version}.snapshot.json"),
    ] {
        let lab = published();
        // A folder where the file should go makes the rename fail, as a full disk would.
        let obstacle = lab.path(&format!("{METADATA}/{blocked}"));
        fs::create_dir(&obstacle).unwrap();
        let error = lab.release_at("1.1.0", later()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{} is not a regular file and is not replaced",
                obstacle.display()
            )
        );
        assert_old(&lab);
        fs::remove_dir(&obstacle).unwrap();
        lab.release_at("1.1.0", later()).unwrap();
        assert_new(&lab);
    }
}

#[test]
fn a_stop_between_snapshot_and_timestamp_leaves_the_old_ones_valid() {
    let lab = published();
    let old = lab.read(&format!("{METADATA}/timestamp.json"));
    lab.release_at("1.1.0", later()).unwrap();
    // All but the last rename happened.
    lab.write(&format!("{METADATA}/timestamp.json"), old);
    assert_old(&lab);
    let again = lab.release_at("1.1.0", later()).unwrap();
    assert_new(&lab);
    let existed: Vec<_> = again.targets.iter().map(|target| target.existed).collect();
    assert_eq!(existed, [true; 4], "targets that are there are kept");
}

#[test]
fn leftovers_are_not_served_and_the_next_release_removes_them() {
    let lab = published();
    for folder in [METADATA, "repo/targets"] {
        lab.write(&format!("{folder}/.updata-a1B2c3"), "half a file");
    }
    assert_old(&lab);
    lab.release_at("1.1.0", later()).unwrap();
    assert_new(&lab);
}

#[test]
fn a_first_release_that_stopped_before_its_timestamp_starts_again() {
    let lab = Lab::publisher(start());
    lab.release_at("1.0.0", start()).unwrap();
    fs::remove_file(lab.path(&format!("{METADATA}/timestamp.json"))).unwrap();
    let again = lab.release_at("1.0.0", later()).unwrap();
    assert_eq!(
        again.metadata_version,
        u64::try_from(later().timestamp()).unwrap()
    );
    assert!(again.targets.iter().all(|target| target.existed));
    assert_eq!(lab.load(Unsafe).manifest().updates.len(), 1);
}
