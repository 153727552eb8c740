//! What is promised of any bytes that should be a manifest.
//!
//! * Reading never panics, and what was read is within the bounds that are promised.
//! * Printed and read again it is the same manifest, and the same text.
//! * No decision on it panics: for each host that it speaks of, at each time that it names.
//! * An update that is to be taken is listed, for this host, not above its ceiling, in its wave, and
//!   as asked for; when waves are ignored there is no waiting.
//! * A way through the migrations is made of entries, each from where the one before led to, all in
//!   one direction; where there is none, the search by brute force finds none.
//!
//! Bytes that start as text are a manifest as written. Others stand for one: a few bytes an update
//! or a migration, so that the fuzzer need not find out what a version looks like.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use semver::Version;
use serde_json::{Map, json};
use update_metadata::select::candidates;
use update_metadata::{
    Decision, Direction, Host, MAX_NAME_LEN, MAX_UPDATES, MAX_WAVES, Manifest, Seed, Update,
    UpdatePolicy, VersionLock, WaveCheck, check_target_name, select,
};

use crate::wave_plan::{RECIPE, check_error, check_schedule};

/// So many updates and migrations are put to the test; a manifest may have thousands.
const FEW: usize = 6;
/// So many updates and migrations are made from an input that is no text.
const MOST: usize = 24;
/// So many updates and versions of hosts are, each with every time and policy.
const FEWER: usize = 2;

/// Checks every promise.
pub fn run(data: &[u8]) {
    let manifest = match Manifest::from_slice(&text(data)) {
        Ok(manifest) => manifest,
        Err(error) => return check_error(&error),
    };
    check_bounds(&manifest);
    let printed = manifest.to_json_pretty();
    let again = Manifest::from_slice(&printed).expect("our own text");
    assert_eq!(again, manifest);
    assert_eq!(again.to_json_pretty(), printed);
    check_decisions(&manifest);
    check_paths(&manifest);
}

/// The manifest that an input stands for.
pub fn text(data: &[u8]) -> Vec<u8> {
    if data.first().is_none_or(|first| *first < RECIPE) {
        return data.to_vec();
    }
    let version = |byte: u8| match byte % 16 {
        15 => "1.2.0-rc.1".to_owned(),
        14 => "1.2.0+build.7".to_owned(),
        small => format!("1.{small}.0"),
    };
    let mut updates = Vec::new();
    let mut migrations = Map::new();
    for entry in data[1..].chunks_exact(5).take(MOST) {
        let [kind, first, second, third, fourth] = *entry else {
            unreachable!("five bytes")
        };
        if kind % 2 == 0 {
            let pair = format!("({}, {})", version(first), version(second));
            let targets: Vec<_> = (0..third % 4).map(|n| format!("m{fourth}-{n}")).collect();
            migrations.insert(pair, json!(targets));
            continue;
        }
        let waves: Map<_, _> = (0..third % 5)
            .map(|n| {
                let bound = u32::from(fourth) * u32::from(n) * 3;
                let time = format!("2031-03-{:02}T00:00:0{n}Z", 1 + (fourth ^ n) % 28);
                (bound.to_string(), json!(time))
            })
            .collect();
        updates.push(json!({
            "variant": if kind & 2 == 0 { "demo" } else { "other" },
            "arch": if kind & 4 == 0 { "x86_64" } else { "aarch64" },
            "version": version(first),
            "max_version": version(second),
            "waves": waves,
            "images": {"boot": "b", "root": "r", "hash": "h"},
        }));
    }
    let manifest = json!({"updates": updates, "migrations": migrations});
    manifest.to_string().into_bytes()
}

fn check_bounds(manifest: &Manifest) {
    assert!(manifest.updates.len() <= MAX_UPDATES);
    for update in &manifest.updates {
        for word in [&update.variant, &update.arch] {
            assert!((1..=MAX_NAME_LEN).contains(&word.len()));
            assert!(!word.contains(char::is_control));
        }
        let images = &update.images;
        for name in [&images.boot, &images.root, &images.hash] {
            assert_eq!(check_target_name(name), Ok(()));
        }
        assert!(update.waves.len() <= MAX_WAVES);
        check_schedule(&update.waves);
        if let Some(verity) = &update.verity {
            assert_eq!(verity.check(), Ok(()));
            assert!(verity.data_len().is_ok());
        }
    }
    for (_, _, targets) in &manifest.migrations {
        for name in targets {
            assert_eq!(check_target_name(name), Ok(()));
        }
    }
}

fn check_decisions(manifest: &Manifest) {
    for about in manifest.updates.iter().take(FEWER) {
        let running = versions(manifest).into_iter().rev().take(FEWER);
        for version in running.chain([about.version.clone(), Version::new(1, 0, 0)]) {
            for seed in [0, 1000] {
                let host = Host {
                    variant: about.variant.clone(),
                    arch: about.arch.clone(),
                    version: version.clone(),
                    seed: Seed::new(seed).expect("in range"),
                };
                for now in times(about, host.seed) {
                    for policy in policies(about) {
                        check_decision(manifest, &host, &policy, now);
                    }
                }
            }
        }
    }
}

/// Before and after everything, and on both sides of when the update is ready.
fn times(update: &Update, seed: Seed) -> Vec<DateTime<Utc>> {
    let mut times = vec![DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC];
    if let Some(at) = update.waves.ready_at(seed) {
        times.push(at);
        times.extend(at.checked_sub_signed(TimeDelta::nanoseconds(1)));
    }
    times
}

fn policies(about: &Update) -> [UpdatePolicy; 5] {
    let locked = || VersionLock::Exactly(about.version.clone());
    let forced = || Some(about.max_version.clone());
    [
        (VersionLock::Latest, None, WaveCheck::Respect),
        (VersionLock::Latest, None, WaveCheck::Ignore),
        (locked(), None, WaveCheck::Respect),
        (VersionLock::Latest, forced(), WaveCheck::Respect),
        (locked(), forced(), WaveCheck::Ignore),
    ]
    .map(|(lock, forced, waves)| UpdatePolicy {
        held: Vec::new(),
        lock,
        forced,
        waves,
    })
}

fn check_decision(manifest: &Manifest, host: &Host, policy: &UpdatePolicy, now: DateTime<Utc>) {
    let ready = |update: &Update| {
        policy.waves == WaveCheck::Ignore || update.waves.is_ready(host.seed, now)
    };
    let offered = |update: &&Update| {
        update.variant == host.variant
            && update.arch == host.arch
            && update.version <= update.max_version
            && ready(update)
    };
    let running = &host.version;
    let wanted = |update: &&Update| match (&policy.forced, &policy.lock) {
        (Some(forced), _) => update.version == *forced,
        (None, VersionLock::Exactly(locked)) => update.version == *locked && locked != running,
        (None, VersionLock::Latest) => update.version > *running || update.max_version < *running,
    };
    let offers = candidates(manifest, host, policy.waves, now);
    assert!(offers.iter().all(offered));
    assert_eq!(
        offers.len(),
        manifest.updates.iter().filter(offered).count()
    );
    assert!(offers.is_sorted_by(|one, next| one.version >= next.version));

    let selection = select(manifest, host, policy, now);
    assert_eq!(selection.explanations.len(), manifest.updates.len());
    assert!(!selection.decision.to_string().is_empty());
    let mut best: Option<&Update> = None;
    for update in manifest.updates.iter().filter(offered).filter(wanted) {
        if best.is_none_or(|best| update.version > best.version) {
            best = Some(update);
        }
    }
    match (&selection.decision, best) {
        (Decision::Update { update, .. }, Some(best)) => assert_eq!(**update, *best),
        (Decision::Update { update, .. }, None) => panic!("takes {}", update.version),
        (other, Some(best)) => panic!("{other}, not {}", best.version),
        (Decision::NotYet { at, .. }, None) => {
            assert!(*at > now && policy.waves == WaveCheck::Respect);
        }
        (_, None) => {}
    }
}

/// Versions that the manifest names, and one that it does not.
fn versions(manifest: &Manifest) -> BTreeSet<Version> {
    let edges = manifest.migrations.iter().take(FEW);
    let mut versions: BTreeSet<_> = edges
        .flat_map(|(from, to, _)| [from.clone(), to.clone()])
        .collect();
    for update in manifest.updates.iter().take(FEW) {
        versions.insert(update.version.clone());
    }
    versions.insert(Version::new(1, 2, 3));
    versions
}

fn check_paths(manifest: &Manifest) {
    let graph = &manifest.migrations;
    let versions = versions(manifest);
    for from in &versions {
        for to in &versions {
            let reachable = reaches(manifest, from.min(to), from.max(to));
            let path = match graph.path(from, to) {
                Ok(path) => path,
                Err(missing) => {
                    assert!(!reachable, "{missing}");
                    assert_eq!((missing.from(), missing.to()), (from, to));
                    continue;
                }
            };
            assert!(reachable, "there is no way from {from} to {to}");
            assert_eq!(path.direction, Direction::between(from, to));
            let mut at = from;
            let mut targets: Vec<&str> = Vec::new();
            for (start, end) in &path.hops {
                assert_eq!(start, at);
                assert_eq!(Direction::between(start, end), path.direction);
                let entry = graph.get(start.min(end), start.max(end)).expect("an entry");
                let mut entry: Vec<_> = entry.iter().map(String::as_str).collect();
                if path.direction == Direction::Backward {
                    entry.reverse();
                }
                targets.extend(entry);
                at = end;
            }
            assert_eq!(at, to);
            assert_eq!(path.targets, targets);
        }
    }
}

/// Whether entries lead upward from one version to the other, by trying until nothing new is found.
fn reaches(manifest: &Manifest, lower: &Version, higher: &Version) -> bool {
    let mut reached = BTreeSet::from([lower]);
    loop {
        let before = reached.len();
        for (from, to, _) in &manifest.migrations {
            if reached.contains(from) && from < to && to <= higher {
                reached.insert(to);
            }
        }
        if reached.len() == before {
            return reached.contains(higher);
        }
    }
}
