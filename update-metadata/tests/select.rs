//! What a host takes: the table of cases, the sentences an operator reads, and a second, plainer
//! selection that always has to agree.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use semver::Version;
use update_metadata::{
    Decision, GateName, Held, HeldKind, Host, Images, Manifest, MigrationGraph, Seed, Update,
    UpdateDirection, UpdatePolicy, VersionLock, WaveCheck, WaveSchedule, candidates, select,
};

fn version(text: &str) -> Version {
    Version::parse(text).expect("a version of this file")
}

fn now() -> DateTime<Utc> {
    "2031-03-01T00:00:00Z".parse().expect("a time")
}

fn hours(count: i64) -> DateTime<Utc> {
    now() + TimeDelta::hours(count)
}

/// A host with seed 512.
fn host(running: &str) -> Host {
    Host {
        variant: "demo".to_owned(),
        arch: "x86_64".to_owned(),
        version: version(running),
        seed: Seed::new(512).expect("a seed"),
    }
}

/// An update for every host, without waves.
fn update(number: &str, max: &str) -> Update {
    let image = |kind: &str| format!("demo-{number}-{kind}.lz4");
    Update {
        variant: "demo".to_owned(),
        arch: "x86_64".to_owned(),
        version: version(number),
        max_version: version(max),
        waves: WaveSchedule::new(),
        images: Images {
            boot: image("boot"),
            root: image("root"),
            hash: image("hash"),
        },
        verity: None,
        raw_images: None,
        block_maps: None,
    }
}

/// The same, open from a time on.
fn from(mut update: Update, time: DateTime<Utc>) -> Update {
    update.waves.insert(0, time).expect("the only bound");
    update
}

fn manifest(updates: Vec<Update>) -> Manifest {
    Manifest {
        updates,
        migrations: MigrationGraph::new(),
    }
}

fn latest() -> UpdatePolicy {
    UpdatePolicy::default()
}

fn locked(lock: &str) -> UpdatePolicy {
    UpdatePolicy {
        lock: lock.parse().expect("a lock of this file"),
        ..latest()
    }
}

fn forced(number: &str) -> UpdatePolicy {
    UpdatePolicy {
        forced: Some(version(number)),
        ..locked("1.1.0")
    }
}

fn held_version(number: &str, kind: HeldKind) -> Held {
    Held {
        variant: "demo".to_owned(),
        arch: "x86_64".to_owned(),
        version: version(number),
        kind,
        reason: "as a test says".to_owned(),
    }
}

#[test]
fn what_failed_or_was_left_on_this_host_is_taken_only_if_forced() {
    let offers = [("1.2.0", "1.2.0"), ("1.1.0", "1.2.0")];
    for (kind, word) in [
        (HeldKind::Quarantined, "quarantined"),
        (HeldKind::Left, "held"),
    ] {
        let holding = |policy: UpdatePolicy| UpdatePolicy {
            held: vec![held_version("1.2.0", kind)],
            ..policy
        };
        for (running, policy, line) in [
            (
                "1.0.0",
                latest(),
                "upgrade to 1.1.0: 1.1.0 is newer than the running 1.0.0".to_owned(),
            ),
            (
                "1.1.0",
                latest(),
                format!("no update: 1.2.0 is {word}: as a test says"),
            ),
            (
                "1.1.0",
                locked("1.2.0"),
                format!("version lock 1.2.0 cannot be met: 1.2.0 is {word}: as a test says"),
            ),
            (
                "1.1.0",
                forced("1.2.0"),
                "upgrade to 1.2.0: version 1.2.0 was forced".to_owned(),
            ),
            // A newer version ends it.
            ("1.2.0", latest(), "this host is up to date".to_owned()),
        ] {
            assert_eq!(decide(running, &holding(policy), &offers), line);
        }
    }
    // Another variant's version is another update.
    let mut other = held_version("1.2.0", HeldKind::Quarantined);
    "other".clone_into(&mut other.variant);
    let policy = UpdatePolicy {
        held: vec![other],
        ..latest()
    };
    assert_eq!(
        decide("1.0.0", &policy, &offers),
        "upgrade to 1.2.0: 1.2.0 is newer than the running 1.0.0"
    );
}

/// The decision for a manifest of `(version, max_version)` pairs, as its line for operators.
fn decide(running: &str, policy: &UpdatePolicy, updates: &[(&str, &str)]) -> String {
    let updates = updates
        .iter()
        .map(|(version, max)| update(version, max))
        .collect();
    select(&manifest(updates), &host(running), policy, now())
        .decision
        .to_string()
}

#[test]
fn latest_takes_the_highest_version_above_the_running_one() {
    let offers = [("1.1.0", "1.3.0"), ("1.3.0", "1.3.0"), ("1.2.0", "1.3.0")];
    for (running, line) in [
        (
            "1.0.0",
            "upgrade to 1.3.0: 1.3.0 is newer than the running 1.0.0",
        ),
        (
            "1.2.9",
            "upgrade to 1.3.0: 1.3.0 is newer than the running 1.2.9",
        ),
        (
            "1.3.0-rc.1",
            "upgrade to 1.3.0: 1.3.0 is newer than the running 1.3.0-rc.1",
        ),
        ("1.3.0", "this host is up to date"),
    ] {
        assert_eq!(decide(running, &latest(), &offers), line);
    }
}

#[test]
fn an_update_above_its_own_ceiling_is_not_offered() {
    assert_eq!(
        decide("1.18.0", &latest(), &[("1.25.0", "1.20.0")]),
        "no update: max version 1.20.0 is lower than 1.25.0"
    );
    assert_eq!(
        decide(
            "1.18.0",
            &latest(),
            &[("1.25.0", "1.20.0"), ("1.20.0", "1.20.0")]
        ),
        "upgrade to 1.20.0: 1.20.0 is newer than the running 1.18.0"
    );
}

#[test]
fn a_host_above_the_ceiling_goes_back_to_the_highest_version_offered() {
    let offers = [("0.1.1", "0.1.2"), ("0.1.2", "0.1.2"), ("0.1.0", "0.1.2")];
    assert_eq!(
        decide("0.1.3", &latest(), &offers),
        "downgrade to 0.1.2: the running 0.1.3 is withdrawn: the highest version offered up to max \
         version 0.1.2 is 0.1.2"
    );
    // The withdrawn version is still listed, above its ceiling.
    let offers = [("0.1.3", "0.1.2"), ("0.1.1", "0.1.2")];
    assert!(decide("0.1.3", &latest(), &offers).starts_with("downgrade to 0.1.1: "));
}

#[test]
fn a_host_that_runs_a_version_within_the_ceiling_never_goes_back() {
    assert_eq!(
        decide("1.2.0", &latest(), &[("1.1.0", "1.3.0")]),
        "this host is up to date"
    );
    assert_eq!(
        decide("1.3.0", &latest(), &[("1.1.0", "1.3.0")]),
        "this host is up to date"
    );
}

#[test]
fn a_lock_takes_exactly_its_version_up_or_down() {
    let offers = [("1.1.0", "1.3.0"), ("1.2.0", "1.3.0"), ("1.3.0", "1.3.0")];
    for (running, lock, line) in [
        ("1.1.0", "v1.2.0", "upgrade to 1.2.0: version lock is 1.2.0"),
        (
            "1.3.0",
            "1.2.0",
            "downgrade to 1.2.0: version lock is 1.2.0",
        ),
        ("1.2.0", "1.2.0", "this host is up to date"),
        (
            "1.1.0",
            "1.2.5",
            "version lock 1.2.5 cannot be met: the manifest has no 1.2.5 for demo on x86_64",
        ),
    ] {
        assert_eq!(decide(running, &locked(lock), &offers), line);
    }
    assert_eq!(
        decide("1.1.0", &locked("1.3.0"), &[("1.3.0", "1.2.0")]),
        "version lock 1.3.0 cannot be met: max version 1.2.0 is lower than 1.3.0"
    );
    // A lock holds even a withdrawn version, offered or not.
    assert_eq!(
        decide("1.3.0", &locked("1.3.0"), &[("1.2.0", "1.2.0")]),
        "this host is up to date"
    );
}

#[test]
fn a_forced_version_overrides_lock_and_running_version() {
    let offers = [("1.1.0", "1.2.0"), ("1.2.0", "1.2.0"), ("1.3.0", "1.2.0")];
    for (running, force, line) in [
        (
            "1.0.0",
            "1.2.0",
            "upgrade to 1.2.0: version 1.2.0 was forced",
        ),
        (
            "1.2.0",
            "1.1.0",
            "downgrade to 1.1.0: version 1.1.0 was forced",
        ),
        (
            "1.2.0",
            "1.2.0",
            "reinstall 1.2.0: version 1.2.0 was forced",
        ),
        (
            "1.0.0",
            "1.3.0",
            "no update: max version 1.2.0 is lower than 1.3.0",
        ),
        (
            "1.0.0",
            "9.9.9",
            "no update: the manifest has no 9.9.9 for demo on x86_64",
        ),
    ] {
        assert_eq!(decide(running, &forced(force), &offers), line);
    }
}

#[test]
fn updates_for_other_variants_and_architectures_are_not_candidates() {
    let other_variant = Update {
        variant: "other".to_owned(),
        ..update("1.1.0", "1.1.0")
    };
    let other_arch = Update {
        arch: "aarch64".to_owned(),
        ..update("1.1.0", "1.1.0")
    };
    let manifest = manifest(vec![other_variant, other_arch]);
    let selection = select(&manifest, &host("1.0.0"), &latest(), now());
    assert_eq!(
        selection.decision,
        Decision::NoCandidate {
            reason: "the manifest has no update for demo on x86_64".into()
        }
    );
    let reasons: Vec<_> = selection
        .explanations
        .iter()
        .map(|explanation| {
            let gate = explanation.first_failed().expect("a failed gate");
            (gate.name, gate.reason.as_str())
        })
        .collect();
    assert_eq!(
        reasons,
        [
            (GateName::Variant, "variant is other, this host's is demo"),
            (
                GateName::Architecture,
                "architecture is aarch64, this host's is x86_64"
            ),
        ]
    );
    assert!(candidates(&manifest, &host("1.0.0"), WaveCheck::Ignore, now()).is_empty());
}

#[test]
fn an_update_whose_wave_is_to_come_is_not_yet() {
    let manifest = manifest(vec![
        from(update("1.1.0", "1.3.0"), hours(2)),
        from(update("1.2.0", "1.3.0"), hours(1)),
        from(update("1.3.0", "1.3.0"), hours(3)),
    ]);
    let at = |time| {
        select(&manifest, &host("1.0.0"), &latest(), time)
            .decision
            .to_string()
    };
    assert_eq!(
        at(now()),
        "1.2.0 becomes ready for this host at 2031-03-01T01:00:00Z"
    );
    assert_eq!(
        at(hours(1)),
        "upgrade to 1.2.0: 1.2.0 is newer than the running 1.0.0"
    );
    assert_eq!(
        at(hours(3)),
        "upgrade to 1.3.0: 1.3.0 is newer than the running 1.0.0"
    );
}

#[test]
fn of_updates_that_become_ready_together_the_highest_is_named() {
    let manifest = manifest(vec![
        from(update("1.1.0", "1.2.0"), hours(1)),
        from(update("1.2.0", "1.2.0"), hours(1)),
    ]);
    assert_eq!(
        select(&manifest, &host("1.0.0"), &latest(), now()).decision,
        Decision::NotYet {
            version: version("1.2.0"),
            at: hours(1)
        }
    );
}

#[test]
fn waves_hold_back_locked_and_forced_versions_too() {
    let manifest = manifest(vec![from(update("1.2.0", "1.2.0"), hours(1))]);
    let not_yet = Decision::NotYet {
        version: version("1.2.0"),
        at: hours(1),
    };
    for policy in [latest(), locked("1.2.0"), forced("1.2.0")] {
        assert_eq!(
            select(&manifest, &host("1.0.0"), &policy, now()).decision,
            not_yet
        );
        let ignoring = UpdatePolicy {
            waves: WaveCheck::Ignore,
            ..policy
        };
        let decision = select(&manifest, &host("1.0.0"), &ignoring, now()).decision;
        assert!(matches!(decision, Decision::Update { .. }), "{decision}");
    }
    // A version that is not wanted is not waited for.
    assert!(matches!(
        select(&manifest, &host("1.0.0"), &locked("1.1.0"), now()).decision,
        Decision::LockedOut { .. }
    ));
    assert_eq!(
        select(&manifest, &host("1.2.0"), &latest(), now()).decision,
        Decision::UpToDate
    );
}

#[test]
fn a_withdrawn_version_above_the_ceiling_does_not_hide_that_the_host_is_up_to_date() {
    let manifest = manifest(vec![update("1.25.0", "1.20.0"), update("1.20.0", "1.20.0")]);
    assert_eq!(
        select(&manifest, &host("1.20.0"), &latest(), now()).decision,
        Decision::UpToDate
    );
}

#[test]
fn a_host_above_a_ceiling_under_which_nothing_is_left_is_told_so() {
    let manifest = manifest(vec![update("1.9.0", "1.8.0")]);
    assert_eq!(
        select(&manifest, &host("2.0.0"), &latest(), now()).decision,
        Decision::NoCandidate {
            reason: "max version 1.8.0 is lower than 1.9.0".to_owned()
        }
    );
}

#[test]
fn the_wave_of_a_downgrade_is_waited_for() {
    let manifest = manifest(vec![from(update("1.1.0", "1.1.0"), hours(1))]);
    assert_eq!(
        select(&manifest, &host("1.2.0"), &latest(), now()).decision,
        Decision::NotYet {
            version: version("1.1.0"),
            at: hours(1)
        }
    );
}

#[test]
fn every_gate_of_every_update_is_explained_from_the_highest_version_down() {
    let manifest = manifest(vec![
        from(update("1.18.0", "1.20.0"), hours(-1)),
        update("1.25.0", "1.20.0"),
        from(update("1.20.0", "1.20.0"), hours(24)),
    ]);
    let selection = select(&manifest, &host("1.18.0"), &latest(), now());
    let explained: Vec<String> = selection
        .explanations
        .iter()
        .flat_map(|explanation| {
            explanation.gates.iter().map(|gate| {
                let mark = if gate.passed { "+" } else { "-" };
                format!("{} {mark} {}", explanation.version, gate.reason)
            })
        })
        .collect();
    assert_eq!(
        explained,
        [
            "1.25.0 + variant is demo",
            "1.25.0 + architecture is x86_64",
            "1.25.0 - max version 1.20.0 is lower than 1.25.0",
            "1.25.0 + 1.25.0 is not quarantined",
            "1.25.0 + 1.25.0 is not held",
            "1.25.0 + the update has no waves",
            "1.25.0 + no version lock",
            "1.25.0 + this host runs the older 1.18.0",
            "1.20.0 + variant is demo",
            "1.20.0 + architecture is x86_64",
            "1.20.0 + max version 1.20.0 allows 1.20.0",
            "1.20.0 + 1.20.0 is not quarantined",
            "1.20.0 + 1.20.0 is not held",
            "1.20.0 - wave opens for seed 512 at 2031-03-02T00:00:00Z",
            "1.20.0 + no version lock",
            "1.20.0 + this host runs the older 1.18.0",
            "1.18.0 + variant is demo",
            "1.18.0 + architecture is x86_64",
            "1.18.0 + max version 1.20.0 allows 1.18.0",
            "1.18.0 + 1.18.0 is not quarantined",
            "1.18.0 + 1.18.0 is not held",
            "1.18.0 + wave opened for seed 512 at 2031-02-28T23:00:00Z",
            "1.18.0 + no version lock",
            "1.18.0 - this host runs 1.18.0 already",
        ]
    );
    let eligible: Vec<_> = selection
        .explanations
        .iter()
        .map(update_metadata::Explanation::eligible_at)
        .collect();
    assert_eq!(eligible, [None, Some(hours(24)), None]);
    assert_eq!(
        selection.decision,
        Decision::NotYet {
            version: version("1.20.0"),
            at: hours(24)
        }
    );
}

/// The reason of one gate for the only update.
fn reason(name: GateName, update: Update, running: &str, policy: &UpdatePolicy) -> String {
    let selection = select(&manifest(vec![update]), &host(running), policy, now());
    let gates = &selection.explanations[0].gates;
    gates
        .iter()
        .find(|gate| gate.name == name)
        .expect("every gate is there")
        .reason
        .clone()
}

#[test]
fn the_remaining_reasons_are_plain_sentences() {
    let offer = || update("1.2.0", "1.3.0");
    let ignoring = UpdatePolicy {
        waves: WaveCheck::Ignore,
        ..latest()
    };
    let mut later = offer();
    later.waves.insert(513, hours(1)).expect("the only bound");
    for (name, update, running, policy, expected) in [
        (
            GateName::Wave,
            from(offer(), hours(1)),
            "1.0.0",
            ignoring,
            "waves are ignored",
        ),
        (
            GateName::Wave,
            later,
            "1.0.0",
            latest(),
            "no wave holds seed 512 back",
        ),
        (
            GateName::Lock,
            offer(),
            "1.0.0",
            locked("1.1.0"),
            "version lock is 1.1.0",
        ),
        (
            GateName::Lock,
            offer(),
            "1.0.0",
            forced("1.2.0"),
            "forced version is 1.2.0",
        ),
        (
            GateName::AlreadyRunning,
            offer(),
            "1.1.0",
            locked("1.2.0"),
            "this host runs 1.1.0",
        ),
        (
            GateName::AlreadyRunning,
            offer(),
            "1.2.0",
            locked("1.2.0"),
            "this host runs 1.2.0 already",
        ),
        (
            GateName::AlreadyRunning,
            offer(),
            "1.2.0",
            forced("1.2.0"),
            "a forced version replaces the running 1.2.0, whatever it is",
        ),
        (
            GateName::AlreadyRunning,
            offer(),
            "1.3.0",
            latest(),
            "this host runs the newer 1.3.0",
        ),
        (
            GateName::AlreadyRunning,
            offer(),
            "1.4.0",
            latest(),
            "this host runs 1.4.0, withdrawn by max version 1.3.0",
        ),
    ] {
        assert_eq!(reason(name, update, running, &policy), expected);
    }
}

#[test]
fn builds_are_versions_of_their_own_with_an_order() {
    let offers = [("1.0.0+a", "1.0.0+b"), ("1.0.0+b", "1.0.0+b")];
    assert!(decide("1.0.0+a", &latest(), &offers).starts_with("upgrade to 1.0.0+b: "));
    assert!(decide("1.0.0", &locked("1.0.0+a"), &offers).starts_with("upgrade to 1.0.0+a: "));
    assert_eq!(
        decide("1.0.0", &locked("1.0.0"), &offers),
        "this host is up to date"
    );
    assert_eq!(
        decide("0.9.0", &locked("1.0.0"), &offers),
        "version lock 1.0.0 cannot be met: the manifest has no 1.0.0 for demo on x86_64"
    );
}

#[test]
fn of_the_same_update_listed_twice_the_first_counts() {
    let mut second = update("1.1.0", "1.1.0");
    second.images.boot = "second".to_owned();
    let manifest = manifest(vec![update("1.1.0", "1.1.0"), second]);
    let Decision::Update { update, .. } =
        select(&manifest, &host("1.0.0"), &latest(), now()).decision
    else {
        panic!("an update is offered");
    };
    assert_eq!(update.images.boot, "demo-1.1.0-boot.lz4");
}

#[test]
fn candidates_are_what_the_filter_leaves_whatever_lock_and_running_version() {
    let manifest = manifest(vec![
        update("1.1.0", "1.3.0"),
        from(update("1.2.0", "1.3.0"), hours(1)),
        update("1.3.0", "1.3.0"),
        update("1.4.0", "1.3.0"),
        Update {
            variant: "other".to_owned(),
            ..update("1.0.0", "1.3.0")
        },
    ]);
    let versions = |waves| -> Vec<String> {
        candidates(&manifest, &host("1.3.0"), waves, now())
            .iter()
            .map(|update| update.version.to_string())
            .collect()
    };
    assert_eq!(versions(WaveCheck::Respect), ["1.3.0", "1.1.0"]);
    assert_eq!(versions(WaveCheck::Ignore), ["1.3.0", "1.2.0", "1.1.0"]);
}

#[test]
fn an_empty_manifest_has_nothing() {
    let selection = select(&manifest(vec![]), &host("1.0.0"), &latest(), now());
    assert_eq!(
        selection.decision.to_string(),
        "no update: the manifest has no update for demo on x86_64"
    );
    assert!(selection.explanations.is_empty());
}

#[test]
fn a_selection_is_plain_json() {
    let manifest = manifest(vec![from(update("1.1.0", "1.1.0"), hours(1))]);
    let selection = select(&manifest, &host("1.0.0"), &latest(), now());
    let gate = |name: &str, reason: &str| {
        serde_json::json!({
            "name": name, "passed": true, "reason": reason
        })
    };
    assert_eq!(
        serde_json::to_value(&selection).expect("JSON"),
        serde_json::json!({
            "decision": { "kind": "not_yet", "version": "1.1.0", "at": "2031-03-01T01:00:00Z" },
            "explanations": [{
                "version": "1.1.0",
                "variant": "demo",
                "arch": "x86_64",
                "gates": [
                    gate("variant", "variant is demo"),
                    gate("architecture", "architecture is x86_64"),
                    gate("max_version", "max version 1.1.0 allows 1.1.0"),
                    gate("quarantine", "1.1.0 is not quarantined"),
                    gate("hold", "1.1.0 is not held"),
                    {
                        "name": "wave",
                        "passed": false,
                        "reason": "wave opens for seed 512 at 2031-03-01T01:00:00Z",
                        "eligible_at": "2031-03-01T01:00:00Z"
                    },
                    gate("lock", "no version lock"),
                    gate("already_running", "this host runs the older 1.0.0"),
                ]
            }]
        })
    );
    let decided = |policy: &UpdatePolicy, running: &str, time| {
        let decision = select(&manifest, &host(running), policy, time).decision;
        serde_json::to_value(&decision).expect("JSON")
    };
    let taken = decided(&latest(), "1.0.0", hours(1));
    assert_eq!(taken["kind"], "update");
    assert_eq!(taken["direction"], "upgrade");
    assert_eq!(taken["update"]["images"]["boot"], "demo-1.1.0-boot.lz4");
    assert_eq!(
        decided(&latest(), "1.1.0", now()),
        serde_json::json!({ "kind": "up_to_date" })
    );
    assert_eq!(
        decided(&locked("1.0.5"), "1.0.0", now()),
        serde_json::json!({
            "kind": "locked_out",
            "lock": "1.0.5",
            "reason": "the manifest has no 1.0.5 for demo on x86_64"
        })
    );
    assert_eq!(
        decided(&forced("1.0.5"), "1.0.0", now()),
        serde_json::json!({
            "kind": "no_candidate",
            "reason": "the manifest has no 1.0.5 for demo on x86_64"
        })
    );
}

/// What the interface says, written down once more in its own order: filter, sort, first match.
fn plain_choice<'a>(
    manifest: &'a Manifest,
    host: &Host,
    policy: &UpdatePolicy,
    now: DateTime<Utc>,
) -> Option<&'a Update> {
    let mut offered: Vec<&Update> = Vec::new();
    for update in &manifest.updates {
        if update.variant == host.variant
            && update.arch == host.arch
            && update.version <= update.max_version
            && (policy.waves == WaveCheck::Ignore || update.waves.is_ready(host.seed, now))
        {
            offered.push(update);
        }
    }
    offered.sort_by(|a, b| b.version.cmp(&a.version));
    if let Some(forced) = &policy.forced {
        return offered.into_iter().find(|update| update.version == *forced);
    }
    if let VersionLock::Exactly(lock) = &policy.lock {
        if *lock == host.version {
            return None;
        }
        let mut offered = offered.into_iter();
        return offered.find(|update| update.version == *lock && !is_held(policy, update));
    }
    offered.retain(|update| !is_held(policy, update));
    let mut offered = offered.into_iter();
    offered.find(|update| host.version < update.version || host.version > update.max_version)
}

fn is_held(policy: &UpdatePolicy, update: &Update) -> bool {
    policy.held.iter().any(|held| {
        (&held.variant, &held.arch, &held.version)
            == (&update.variant, &update.arch, &update.version)
    })
}

prop_compose! {
    fn any_update()(
        other_variant in prop::bool::weighted(0.1),
        other_arch in prop::bool::weighted(0.1),
        minor in 0_u64..6,
        max in 0_u64..6,
        opens in prop::option::of(-2_i64..3),
    ) -> Update {
        let mut update = update(&format!("1.{minor}.0"), &format!("1.{max}.0"));
        if other_variant {
            "other".clone_into(&mut update.variant);
        }
        if other_arch {
            "aarch64".clone_into(&mut update.arch);
        }
        match opens {
            Some(opens) => from(update, hours(opens)),
            None => update,
        }
    }
}

prop_compose! {
    fn any_policy()(
        lock in prop::option::of(0_u64..6),
        forced in prop::option::weighted(0.3, 0_u64..6),
        ignore in any::<bool>(),
        held in prop::collection::vec((0_u64..6, any::<bool>()), 0..3),
    ) -> UpdatePolicy {
        let number = |minor| Version::new(1, minor, 0);
        UpdatePolicy {
            lock: lock.map_or(VersionLock::Latest, |minor| VersionLock::Exactly(number(minor))),
            forced: forced.map(number),
            waves: if ignore { WaveCheck::Ignore } else { WaveCheck::Respect },
            held: held
                .into_iter()
                .map(|(minor, left)| held_version(
                    &format!("1.{minor}.0"),
                    if left { HeldKind::Left } else { HeldKind::Quarantined },
                ))
                .collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_gates_choose_what_the_interface_says(
        updates in prop::collection::vec(any_update(), 0..8),
        policy in any_policy(),
        running in 0_u64..6,
    ) {
        let manifest = manifest(updates);
        let host = host(&format!("1.{running}.0"));
        let selection = select(&manifest, &host, &policy, now());
        let chosen = match &selection.decision {
            Decision::Update { update, .. } => Some(update.as_ref()),
            _ => None,
        };
        prop_assert_eq!(chosen, plain_choice(&manifest, &host, &policy, now()));

        // The explanation holds the decision.
        prop_assert_eq!(selection.explanations.len(), manifest.updates.len());
        let passing = selection.explanations.iter().find(|explanation| explanation.passed());
        prop_assert_eq!(
            passing.map(|explanation| &explanation.version),
            chosen.map(|update| &update.version)
        );
        prop_assert!(selection.explanations.is_sorted_by(|a, b| a.version >= b.version));
    }

    #[test]
    fn what_is_not_yet_is_there_at_its_time_and_not_before(
        updates in prop::collection::vec(any_update(), 0..8),
        policy in any_policy(),
        running in 0_u64..6,
    ) {
        let manifest = manifest(updates);
        let host = host(&format!("1.{running}.0"));
        let decide = |time| select(&manifest, &host, &policy, time).decision;
        match decide(now()) {
            Decision::NotYet { version, at } => {
                let before = decide(at - TimeDelta::nanoseconds(1));
                prop_assert_eq!(before, Decision::NotYet { version: version.clone(), at });
                match decide(at) {
                    Decision::Update { update, .. } => prop_assert_eq!(update.version, version),
                    other => prop_assert!(false, "{other}"),
                }
            }
            Decision::Update { update, direction, .. } => {
                let expected = match update.version.cmp(&host.version) {
                    std::cmp::Ordering::Greater => UpdateDirection::Upgrade,
                    std::cmp::Ordering::Less => UpdateDirection::Downgrade,
                    std::cmp::Ordering::Equal => UpdateDirection::Reinstall,
                };
                prop_assert_eq!(direction, expected);
            }
            // Without a wave to wait for, time changes nothing.
            settled => prop_assert_eq!(decide(hours(1000)), settled),
        }
    }
}
