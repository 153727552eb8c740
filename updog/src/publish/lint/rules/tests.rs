//! Each rule, broken in one place of a repository that is otherwise clean.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use semver::Version;
use update_metadata::{
    BlockMaps, Digest, Images, Manifest, MigrationGraph, NewUpdate, RawImage, RawImages, Salt,
    Update, Verity, VerityAlgorithm,
};

use super::super::facts::{
    Content, FolderFacts, Found, RoleFacts, RootFacts, TargetFacts, Unlisted, UpdateFacts,
    Yardstick,
};
use super::super::rule::{Rule, Severity};
use super::*;

const DAY: TimeDelta = TimeDelta::days(1);

fn now() -> DateTime<Utc> {
    "2031-03-01T01:00:00Z".parse().unwrap()
}

fn yardstick() -> Yardstick {
    Yardstick {
        now: now(),
        os_image_size_gib: None,
        timestamp_horizon: "2d".parse().unwrap(),
        horizon: "7d".parse().unwrap(),
    }
}

fn raw(length: u64) -> RawImage {
    RawImage {
        length,
        sha256: Digest::from([1; 32]),
    }
}

/// 64 blocks of data; their tree is one block after the superblock's.
fn verity() -> Verity {
    Verity {
        algorithm: VerityAlgorithm::Sha256,
        root_hash: Digest::from([7; 32]),
        salt: Salt::new(vec![9]).unwrap(),
        data_block_size: 4096,
        hash_block_size: 4096,
        data_blocks: 64,
    }
}

fn new_update(version: &str) -> NewUpdate {
    let name = |kind| format!("demo-x86_64-{version}-{kind}.lz4");
    NewUpdate {
        variant: "demo".into(),
        arch: "x86_64".into(),
        version: version.parse().unwrap(),
        max_version: None,
        images: Images {
            boot: name("boot"),
            root: name("root"),
            hash: name("hash"),
        },
        verity: Some(verity()),
        raw_images: Some(RawImages {
            boot: raw(70_000),
            root: raw(64 * 4096),
            hash: raw(2 * 4096),
        }),
        block_maps: None,
    }
}

fn target(name: &str) -> TargetFacts {
    TargetFacts {
        length: Some(100),
        sha256: Some(Digest::from([2; 32])),
        found: Found::File(PathBuf::from(format!("targets/{name}")), 100),
        content: None,
    }
}

/// Two versions and a migration between them; nothing is wrong.
fn clean() -> FolderFacts {
    let mut manifest = Manifest::default();
    for version in ["1.0.0", "1.1.0"] {
        manifest.add_update(new_update(version)).unwrap();
    }
    let migration = "migrate_v1.1.0_a.lz4".to_owned();
    let (from, to) = (Version::new(1, 0, 0), Version::new(1, 1, 0));
    manifest
        .migrations
        .insert(from, to, vec![migration])
        .unwrap();
    let role = |role, days| RoleFacts {
        role,
        expires: now() + DAY * days,
        bytes: Some(1000),
    };
    let mut folder = FolderFacts {
        folder: "repo/demo/x86_64".into(),
        root: RootFacts {
            consistent_snapshot: true,
            keys: (0..5).map(|n| (format!("{n}"), vec![n])).collect(),
            roles: vec![
                ("root", vec!["0".into(), "1".into()], 2),
                ("targets", vec!["2".into()], 1),
                ("snapshot", vec!["3".into()], 1),
                ("timestamp", vec!["4".into()], 1),
            ],
        },
        roles: vec![
            role("root", 300),
            role("timestamp", 7),
            role("snapshot", 14),
            role("targets", 14),
        ],
        delegates: false,
        updates: vec![UpdateFacts::default(); 2],
        targets: BTreeMap::new(),
        manifest,
        releasing: None,
    };
    folder.targets = uses(&folder)
        .into_keys()
        .map(|name| (name.to_owned(), target(name)))
        .collect();
    folder
}

fn judged(folder: &FolderFacts, by: &Yardstick) -> Vec<Finding> {
    in_order(judge(folder, by))
}

fn names(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.rule.name()).collect()
}

const BOOT: &str = "demo-x86_64-1.1.0-boot.lz4";
const ROOT: &str = "demo-x86_64-1.1.0-root.lz4";

fn get<'a>(folder: &'a mut FolderFacts, name: &str) -> &'a mut TargetFacts {
    folder.targets.get_mut(name).unwrap()
}

fn maps() -> BlockMaps {
    BlockMaps {
        boot: BOOT.into(),
        root: "root.map.lz4".into(),
    }
}

/// Another salt of the second version's tree, which has maps or not.
fn set_salt(folder: &mut FolderFacts, has_maps: bool) {
    let update = &mut folder.manifest.updates[1];
    update.verity.as_mut().unwrap().salt = Salt::new(vec![8]).unwrap();
    if has_maps {
        update.block_maps = Some(maps());
        let map = target("root.map.lz4");
        folder.targets.insert("root.map.lz4".to_owned(), map);
    }
}

fn rename_boot(folder: &mut FolderFacts, name: &str) {
    let facts = folder.targets.remove(BOOT).unwrap();
    folder.targets.insert(name.to_owned(), facts);
    name.clone_into(&mut folder.manifest.updates[1].images.boot);
}

fn content(decoded: Result<RawImage, String>) -> Content {
    Content {
        sha256: Digest::from([2; 32]),
        decoded: Some(decoded),
    }
}

fn set_waves(update: &mut Update, waves: &[(u32, i32)]) {
    for (bound, days) in waves {
        update.waves.insert(*bound, now() + DAY * *days).unwrap();
    }
}

type Break = fn(&mut FolderFacts);

/// What breaks a rule, the rules that are then broken, and a part of what is said.
const TABLE: &[(Break, &[&str], &str)] = &[
    (|_| {}, &[], ""),
    (
        |f| f.manifest.migrations = MigrationGraph::new(),
        &["migration-path", "target-unused"],
        "no migrations lead from 1.0.0 to 1.1.0",
    ),
    (
        |f| {
            f.manifest.updates.push(f.manifest.updates[1].clone());
            f.updates.push(UpdateFacts::default());
        },
        &["update-twice"],
        "more than once",
    ),
    (
        |f| {
            let raw = f.manifest.updates[1].raw_images.as_mut().unwrap();
            raw.boot.length = (1 << 20) + 1;
        },
        &["image-growth"],
        "the boot image has 1048577 bytes, its partition 1048576",
    ),
    (
        |f| f.updates[1].boot_names_root_hash = Some(false),
        &["boot-root-hash"],
        "does not contain the root hash 0707",
    ),
    (|f| f.updates[1].boot_names_root_hash = Some(true), &[], ""),
    (
        |f| f.manifest.updates[1].verity.as_mut().unwrap().data_blocks = 63,
        &["verity-facts"],
        "a root image of 258048 bytes, it has 262144",
    ),
    (
        |f| {
            f.manifest.updates[1]
                .verity
                .as_mut()
                .unwrap()
                .hash_block_size = 1000;
        },
        &["verity-facts"],
        "hash block size is 1000",
    ),
    (|f| f.updates[1].tree = Some(Ok(verity())), &[], ""),
    (
        |f| {
            f.updates[1].tree = Some(Ok(Verity {
                root_hash: Digest::from([8; 32]),
                ..verity()
            }));
        },
        &["verity-facts"],
        "the root hash is 0808",
    ),
    (
        |f| {
            f.updates[1].tree = Some(Ok(Verity {
                salt: Salt::new(vec![1]).unwrap(),
                ..verity()
            }));
        },
        &["verity-facts"],
        "hashed with salt 01",
    ),
    (
        |f| f.updates[1].tree = Some(Err("they differ at byte 4096".into())),
        &["verity-tree"],
        "they differ at byte 4096",
    ),
    (
        |f| drop(f.targets.remove(BOOT)),
        &["target-unlisted"],
        "demo-x86_64-1.1.0-boot.lz4 is not listed",
    ),
    (
        |f| drop(f.targets.remove("migrate_v1.1.0_a.lz4")),
        &["target-unlisted"],
        "migrate_v1.1.0_a.lz4 is not listed",
    ),
    (
        |f| get(f, BOOT).found = Found::Absent("targets/x".into()),
        &["target-missing"],
        "targets/x does not exist",
    ),
    (|f| get(f, BOOT).found = Found::ToBePlaced, &[], ""),
    (
        |f| get(f, BOOT).found = Found::File("targets/x".into(), 99),
        &["target-length"],
        "targets/x has 99 bytes, signed are 100",
    ),
    (
        |f| {
            get(f, BOOT).content = Some(Content {
                sha256: Digest::from([3; 32]),
                decoded: Some(Err("it ends".into())),
            });
        },
        &["target-digest"],
        "SHA-256 0303",
    ),
    (
        |f| get(f, BOOT).content = Some(content(Err("it ends".into()))),
        &["image-frame"],
        "it is not exactly one LZ4 frame: it ends",
    ),
    (
        |f| get(f, BOOT).content = Some(content(Ok(raw(70_000)))),
        &[],
        "",
    ),
    (
        |f| get(f, BOOT).content = Some(content(Ok(raw(70_001)))),
        &["raw-image"],
        "the boot image decodes to 70001 bytes",
    ),
    (
        |f| {
            let problem = "its frame 3 is not the image's".to_owned();
            f.updates[1].map_problems.insert(ImageKind::Root, problem);
        },
        &["block-map"],
        "its frame 3 is not the image's",
    ),
    (
        |f| f.manifest.updates[1].block_maps = Some(maps()),
        &["block-map"],
        "root.map.lz4 is not listed",
    ),
    (
        |f| rename_boot(f, "images/boot.lz4"),
        &["target-name"],
        "\"images/boot.lz4\" has a folder",
    ),
    (
        |f| {
            f.root.consistent_snapshot = false;
            rename_boot(f, "images/boot.lz4");
        },
        &["target-name-odd", "consistent-snapshot"],
        "images/boot.lz4",
    ),
    (
        |f| rename_boot(f, "boot?v=1.lz4"),
        &["target-name"],
        "'?' in the target name \"boot?v=1.lz4\" has a meaning of its own",
    ),
    (
        |f| rename_boot(f, "../boot.lz4"),
        &["target-name"],
        "has an empty, `.` or `..` part",
    ),
    (
        |f| rename_boot(f, "boot+1.lz4"),
        &["target-name-odd"],
        "1 target(s) with a name to be escaped: boot+1.lz4",
    ),
    (
        |f| {
            for n in 0..7 {
                f.targets.insert(format!("kit-{n}"), target("kit"));
            }
            get(f, "kit-3").found = Found::Absent("targets/x".into());
        },
        &["target-unused"],
        "7 target(s) of 700 bytes are listed and used by no update, 1 of them without a file: \
         kit-0, kit-1, kit-2, kit-3, kit-4 and 2 more",
    ),
    (
        |f| set_waves(&mut f.manifest.updates[1], &[(0, 1), (1024, 2)]),
        &[],
        "",
    ),
    (
        |f| set_waves(&mut f.manifest.updates[1], &[(0, 2), (1024, 1)]),
        &["wave-order"],
        "the wave from seed 1024 starts at",
    ),
    (
        |f| set_waves(&mut f.manifest.updates[1], &[(0, 1), (2049, 2)]),
        &["wave-bound"],
        "bounded by seed 2049, seeds end at 2048",
    ),
    (
        |f| set_waves(&mut f.manifest.updates[1], &[(20, 1), (2048, 2)]),
        &["wave-gap"],
        "the first wave starts at seed 20",
    ),
    (
        |f| set_waves(&mut f.manifest.updates[1], &[(0, 181)]),
        &["wave-time"],
        "the first wave starts only at 2031-08-29T01:00:00Z",
    ),
    (
        |f| set_waves(&mut f.manifest.updates[1], &[(0, -700)]),
        &[],
        "waves of what was published long ago are over",
    ),
    (
        |f| {
            set_waves(&mut f.manifest.updates[1], &[(0, -700)]);
            f.releasing = Some(Version::new(1, 1, 0));
        },
        &["wave-time"],
        "the last wave started at",
    ),
    (
        |f| set_waves(&mut f.manifest.updates[1], &[(0, -7301)]),
        &["wave-time"],
        "the first wave started at 2011",
    ),
    (
        |f| f.roles[1].expires = now(),
        &["expired"],
        "timestamp expired at 2031-03-01T01:00:00Z",
    ),
    (
        |f| f.roles[1].expires = now() + DAY,
        &["expires-soon"],
        "timestamp expires at 2031-03-02T01:00:00Z, in less than 2d",
    ),
    (
        |f| f.roles[3].expires = now() + DAY * 6,
        &["expires-soon", "expiry-order"],
        "targets expires at 2031-03-07T01:00:00Z, in less than 1w",
    ),
    (
        |f| f.roles[3].bytes = Some((10 << 20) + 1),
        &["metadata-size"],
        "the targets metadata have 10485761 bytes, hosts read 10485760",
    ),
    (
        |f| f.manifest.updates[0].max_version = Version::new(1, 0, 0),
        &["max-version-mixed"],
        "its max_version is 1.0.0, that of 1.1.0 is 1.1.0",
    ),
    (
        |f| {
            for update in &mut f.manifest.updates {
                update.max_version = Version::new(0, 9, 0);
            }
        },
        &["max-version-low"],
        "max_version 0.9.0 is below the lowest version, 1.0.0",
    ),
    (
        |f| {
            for update in &mut f.manifest.updates {
                update.max_version = Version::new(1, 0, 1);
            }
        },
        &["max-version-unknown"],
        "max_version 1.0.1 is not a published version",
    ),
    (
        |f| f.root.keys[1].1 = vec![0],
        &["key-twice"],
        "the keys 0 and 1 are one and the same",
    ),
    (
        |f| f.root.roles[2].1 = vec!["2".into()],
        &["key-shared"],
        "targets and snapshot share the key 2",
    ),
    (
        |f| f.root.roles[0].2 = 1,
        &["root-threshold"],
        "one root key is enough",
    ),
    (
        |f| set_salt(f, true),
        &["verity-salt"],
        "its verity salt is 08, that of 1.0.0 is 09",
    ),
    // Without maps nothing is copied.
    (|f| set_salt(f, false), &[], ""),
    (
        |f| f.delegates = true,
        &["delegations"],
        "delegated to other roles",
    ),
];

#[test]
fn each_rule_is_told_when_it_is_broken_and_only_then() {
    for (number, (break_it, expected, text)) in TABLE.iter().enumerate() {
        let mut folder = clean();
        break_it(&mut folder);
        let findings = judged(&folder, &yardstick());
        assert_eq!(names(&findings), *expected, "row {number}: {findings:?}");
        if let Some(first) = findings.first() {
            assert!(first.problem.contains(text), "row {number}: {first}");
        }
    }
}

#[test]
fn salts_of_versions_below_the_newest_are_past_mending() {
    let mut folder = clean();
    set_salt(&mut folder, true);
    assert_eq!(names(&judged(&folder, &yardstick())), ["verity-salt"]);
    folder.manifest.add_update(new_update("1.2.0")).unwrap();
    folder.updates.push(UpdateFacts::default());
    let newest = &mut folder.manifest.updates[2];
    newest.block_maps = Some(maps());
    newest.verity.as_mut().unwrap().salt = Salt::new(vec![8]).unwrap();
    let findings = judged(&folder, &yardstick());
    assert!(!names(&findings).contains(&"verity-salt"), "{findings:?}");
}

#[test]
fn a_folder_without_a_timestamp_is_an_error_that_names_what_is_there() {
    let files: Vec<String> = (1..=7).map(|n| format!("{n}.snapshot.json")).collect();
    let finding = judge_lost(Path::new("repo/demo/x86_64"), &files);
    assert!(finding.refuses());
    assert_eq!(
        finding.to_string(),
        "error timestamp-missing: repo/demo/x86_64: there is no timestamp.json, but 1.snapshot.json, \
         2.snapshot.json, 3.snapshot.json, 4.snapshot.json, 5.snapshot.json and 2 more"
    );
}

#[test]
fn the_table_and_the_tests_beside_it_break_every_rule() {
    let beside = [Rule::ImageSize, Rule::FileUnlisted, Rule::TimestampMissing];
    for &rule in Rule::ALL {
        let broken = TABLE
            .iter()
            .any(|(_, rules, _)| rules.contains(&rule.name()));
        assert!(broken != beside.contains(&rule), "{rule}");
    }
}

#[test]
fn the_plan_of_the_disks_decides_whether_an_image_fits() {
    let by = |gib| Yardstick {
        os_image_size_gib: Some(gib),
        ..yardstick()
    };
    let mut folder = clean();
    let raw = folder.manifest.updates[1].raw_images.as_mut().unwrap();
    // Exactly the boot partition of 1 GiB of disk.
    raw.boot.length = 20 << 20;
    assert_eq!(names(&judged(&folder, &by(1))), [""; 0]);
    let raw = folder.manifest.updates[1].raw_images.as_mut().unwrap();
    raw.boot.length += 1;
    let findings = judged(&folder, &by(1));
    assert_eq!(
        findings[0].to_string(),
        "error image-size: demo x86_64 1.1.0: the boot image has 20971521 bytes, its partition \
         20971520"
    );
    assert_eq!(findings.len(), 1);
    assert_eq!(names(&judged(&folder, &by(2))), [""; 0]);
}

#[test]
fn what_an_image_decodes_to_counts_where_the_manifest_does_not_say() {
    let mut folder = clean();
    folder.manifest.updates[1].raw_images = None;
    get(&mut folder, ROOT).content = Some(content(Ok(raw(1 << 30))));
    let findings = judged(&folder, &yardstick());
    assert_eq!(names(&findings), ["image-growth"]);
    assert_eq!(findings[0].about.target.as_deref(), Some(ROOT));
}

#[test]
fn files_that_nobody_lists_are_counted_and_a_few_of_them_named() {
    assert_eq!(judge_unlisted(&Unlisted::default()), None);
    let unlisted = Unlisted {
        folder: "repo/targets".into(),
        count: 3,
        bytes: 42,
        first: vec!["a".into(), "b".into()],
    };
    assert_eq!(
        judge_unlisted(&unlisted).unwrap().to_string(),
        "warning file-unlisted: the repository: 3 file(s) of 42 bytes in repo/targets are listed \
         by no metadata: a, b and 1 more"
    );
}

#[test]
fn errors_come_before_warnings_and_allowed_ones_do_not_refuse() {
    let mut folder = clean();
    folder.root.roles[0].2 = 1;
    folder.roles[1].expires = now();
    let mut findings = judged(&folder, &yardstick());
    assert_eq!(names(&findings), ["expired", "root-threshold"]);
    assert_eq!(
        findings
            .iter()
            .map(|f| (f.severity, f.refuses()))
            .collect::<Vec<_>>(),
        [(Severity::Error, true), (Severity::Warning, false)]
    );
    super::super::finding::allow(&mut findings, &[Rule::Expired]);
    assert!(!findings[0].refuses());
    assert!(
        findings[0]
            .to_string()
            .starts_with("allowed error expired: repo/demo/x86_64: ")
    );
}

#[test]
fn thousands_of_versions_are_judged_by_neighbours_and_not_by_pairs() {
    let mut folder = clean();
    folder.manifest = Manifest::default();
    let count = 5000_u64;
    for minor in 0..count {
        let mut update = clean().manifest.updates.remove(0);
        update.version = Version::new(1, minor, 0);
        update.max_version = Version::new(1, count - 1, 0);
        folder.manifest.updates.push(update);
        if minor > 0 {
            let (from, to) = (Version::new(1, minor - 1, 0), Version::new(1, minor, 0));
            folder.manifest.migrations.insert(from, to, vec![]).unwrap();
        }
    }
    folder.updates = vec![UpdateFacts::default(); folder.manifest.updates.len()];
    let findings = judged(&folder, &yardstick());
    assert!(!names(&findings).contains(&"migration-path"));
}
