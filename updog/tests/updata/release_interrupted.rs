//! release: a publisher that stops halfway leaves the old repository valid, and the same command
//! finishes the job.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use tough::ExpirationEnforcement::{Safe, Unsafe};
use updog::publish::event::ignore;
use updog::publish::release;

use super::lab::{Lab, release_line};

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
    assert_eq!(published.targets().len(), 6);
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
    assert_eq!(existed, [true; 6], "targets that are there are kept");
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

/// Every file of the repository.
fn files(lab: &Lab) -> BTreeMap<String, Vec<u8>> {
    let folders = [METADATA, "repo/targets"];
    let paths = folders.iter().flat_map(|folder| {
        let names = lab.names(folder).into_iter();
        names.map(move |name| format!("{folder}/{name}"))
    });
    paths.map(|path| (path.clone(), lab.read(&path))).collect()
}

#[test]
fn a_stop_after_any_file_leaves_the_old_ones_valid_and_the_same_command_finishes() {
    let lab = published();
    lab.write("m", "#!/bin/sh\n");
    let mut args = lab.release_args("1.1.0");
    let migration = format!("1.0.0:1.1.0:{}", lab.path("m").display());
    args.migration = vec![migration.parse().unwrap()];
    let release = || release::run(&args, later(), &mut ignore).unwrap();
    let old = files(&lab);
    let outcome = release();
    let new = files(&lab);

    // In the order in which they are placed; the timestamp, which is the end, is the last.
    let version = outcome.metadata_version;
    let targets = outcome.targets.iter();
    let order: Vec<String> = targets
        .map(|target| format!("repo/targets/{}.{}", target.sha256, target.name))
        .chain(["targets", "snapshot"].map(|role| format!("{METADATA}/{version}.{role}.json")))
        .collect();
    let placed: BTreeSet<&String> = new.keys().filter(|path| !old.contains_key(*path)).collect();
    assert_eq!(
        placed,
        order.iter().collect(),
        "every new file but the timestamp"
    );

    for stop in 0..=order.len() {
        for path in new.keys() {
            fs::remove_file(lab.path(path)).unwrap();
        }
        for (path, content) in &old {
            lab.write(path, content);
        }
        for path in &order[..stop] {
            lab.write(path, &new[path]);
        }
        // And half of the next one, under no name yet.
        if let Some(next) = order.get(stop) {
            let (folder, _) = next.rsplit_once('/').unwrap();
            let half = &new[next][..new[next].len() / 2];
            lab.write(&format!("{folder}/.updata-a1B2c3"), half);
        }
        assert_old(&lab);
        let again = release();
        assert_new(&lab);
        let kept = again.targets.iter().filter(|target| target.existed).count();
        assert_eq!(
            kept,
            stop.min(outcome.targets.len()),
            "stopped after {stop} files"
        );
    }
}

/// The names in the repository's folders, unfinished files included.
fn look(lab: &Lab, seen: &mut BTreeSet<String>) {
    for folder in [METADATA, "repo/targets"] {
        let entries = fs::read_dir(lab.path(folder)).unwrap();
        seen.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
    }
}

#[test]
fn a_publisher_that_is_killed_leaves_a_valid_repository_and_the_same_command_finishes() {
    let lab = Lab::publisher(updog::clock::now());
    lab.ok(&release_line("1.0.0"));
    let mut killed = 0;
    // A release makes about nineteen names: each file has a temporary one first.
    for moment in 1..=19 {
        lab.images(moment);
        let version = format!("1.{moment}.0");
        let versions = |lab: &Lab| lab.load(Safe).manifest().updates.len();
        let before = versions(&lab);
        let mut seen = BTreeSet::new();
        look(&lab, &mut seen);
        let start = seen.len();
        let mut child = lab.start(&release_line(&version));
        while seen.len() < start + usize::from(moment) && child.try_wait().unwrap().is_none() {
            look(&lab, &mut seen);
        }
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        killed += usize::from(!ended.success());

        let published = lab.load(Safe);
        for name in published.targets() {
            published.fetch(&name);
        }
        let done = versions(&lab) > before;
        assert!(
            done || !ended.success(),
            "a success is one that clients see"
        );
        if !done {
            lab.ok(&release_line(&version));
        }
        assert_eq!(versions(&lab), before + 1);
        let findings = lab.json(&["lint", "repo", "--deep"]);
        assert_eq!(findings["errors"], 0, "{findings}");
    }
    assert!(killed > 0, "every release was faster than its killer");
}

#[test]
fn of_two_publishers_at_once_each_is_done_or_refused() {
    let lab = Lab::publisher(updog::clock::now());
    lab.ok(&release_line("1.0.0"));
    let mut expected = 1;
    for round in 1..=5 {
        let versions = [format!("1.{round}.1"), format!("1.{round}.2")];
        let children: Vec<_> = versions
            .iter()
            .map(|version| lab.start(&release_line(version)))
            .collect();
        let ends: Vec<_> = children
            .into_iter()
            .map(|child| child.wait_with_output().unwrap())
            .collect();
        let done = ends.iter().filter(|end| end.status.success()).count();
        assert!(done > 0, "{ends:?}");
        for end in ends.iter().filter(|end| !end.status.success()) {
            assert_eq!(end.status.code(), Some(4), "{ends:?}");
            assert_eq!(
                String::from_utf8_lossy(&end.stderr),
                "updata: another updata is publishing to repo; run again when it is done\n"
            );
        }
        expected += done;
        let published = lab.load(Safe);
        assert_eq!(published.manifest().updates.len(), expected);
        for name in published.targets() {
            published.fetch(&name);
        }
    }
}
