//! The publisher's changes, each with what it leaves alone.

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use semver::Version;
use std::error::Error;
use update_metadata::{
    BlockMaps, Digest, EditError, ImageKind, Images, Manifest, MigrationGraph, NewUpdate, Salt,
    Verity, VerityAlgorithm, VerityError, WaveSchedule,
};

fn version(text: &str) -> Version {
    Version::parse(text).expect("a version of this file")
}

fn new(variant: &str, arch: &str, number: &str) -> NewUpdate {
    let image = |kind: &str| format!("{variant}-{arch}-{number}-{kind}.lz4");
    NewUpdate {
        variant: variant.to_owned(),
        arch: arch.to_owned(),
        version: version(number),
        max_version: None,
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

fn with_max(max: &str, update: NewUpdate) -> NewUpdate {
    NewUpdate {
        max_version: Some(version(max)),
        ..update
    }
}

fn manifest(updates: &[NewUpdate]) -> Manifest {
    let mut manifest = Manifest::default();
    for update in updates {
        manifest
            .add_update(update.clone())
            .expect("an update of this file");
    }
    manifest
}

/// Each update as `VARIANT ARCH VERSION MAX`.
fn listed(manifest: &Manifest) -> Vec<String> {
    let show = |update: &update_metadata::Update| {
        format!(
            "{} {} {} {}",
            update.variant, update.arch, update.version, update.max_version
        )
    };
    manifest.updates.iter().map(show).collect()
}

fn waves(times: &[(u32, &str)]) -> WaveSchedule {
    let mut waves = WaveSchedule::new();
    for (bound, time) in times {
        let time: DateTime<Utc> = time.parse().expect("a time of this file");
        waves.insert(*bound, time).expect("a bound of this file");
    }
    waves
}

#[test]
fn block_maps_are_named_for_every_entry_of_a_version_and_no_other() {
    let mut manifest = manifest(&[
        new("a", "x86_64", "1.0.0"),
        new("a", "x86_64", "1.1.0"),
        new("b", "x86_64", "1.0.0"),
    ]);
    let before = manifest.clone();
    let maps = |root: &str| BlockMaps {
        boot: "boot.map".to_owned(),
        root: root.to_owned(),
    };
    let mut set = |number: &str, maps: &BlockMaps| {
        let changed = manifest.set_block_maps("a", "x86_64", &version(number), maps);
        (changed, manifest.clone())
    };
    let (changed, after) = set("1.1.0", &maps("root.map"));
    assert_eq!(changed, Ok(1));
    let named: Vec<_> = after
        .updates
        .iter()
        .map(|update| &update.block_maps)
        .collect();
    assert_eq!(named, [&None, &Some(maps("root.map")), &None]);
    assert_eq!(set("9.9.9", &maps("root.map")), (Ok(0), after.clone()));
    assert_eq!(after.migrations, before.migrations);

    let (refused, unchanged) = set("1.1.0", &maps("../root.map"));
    let error = refused.expect_err("a name that leads out");
    assert_eq!(
        error.to_string(),
        "bad target name for the block map of the root image"
    );
    assert_eq!(unchanged, after);
}

#[test]
fn the_first_update_is_its_own_ceiling() {
    assert_eq!(
        listed(&manifest(&[new("a", "x86_64", "1.0.0")])),
        ["a x86_64 1.0.0 1.0.0"]
    );
}

#[test]
fn a_higher_version_raises_the_ceiling_of_all_and_a_lower_one_takes_it() {
    let manifest = manifest(&[
        new("a", "x86_64", "1.0.0"),
        new("a", "x86_64", "1.2.0"),
        new("a", "x86_64", "1.1.0"),
    ]);
    assert_eq!(
        listed(&manifest),
        [
            "a x86_64 1.0.0 1.2.0",
            "a x86_64 1.2.0 1.2.0",
            "a x86_64 1.1.0 1.2.0"
        ]
    );
}

#[test]
fn an_explicit_ceiling_is_taken_as_it_is() {
    let manifest = manifest(&[
        new("a", "x86_64", "1.0.0"),
        with_max("1.5.0", new("a", "x86_64", "1.1.0")),
        with_max("1.0.0", new("a", "x86_64", "1.2.0")),
    ]);
    assert_eq!(
        listed(&manifest),
        [
            "a x86_64 1.0.0 1.0.0",
            "a x86_64 1.1.0 1.0.0",
            "a x86_64 1.2.0 1.0.0"
        ]
    );
}

#[test]
fn a_new_update_leaves_the_ceilings_of_other_variants_and_architectures_alone() {
    let manifest = manifest(&[
        new("a", "x86_64", "1.0.0"),
        new("b", "x86_64", "5.0.0"),
        new("a", "aarch64", "3.0.0"),
        new("b", "x86_64", "4.9.1"),
        new("a", "x86_64", "2.0.0"),
    ]);
    assert_eq!(
        listed(&manifest),
        [
            "a x86_64 1.0.0 2.0.0",
            "b x86_64 5.0.0 5.0.0",
            "a aarch64 3.0.0 3.0.0",
            "b x86_64 4.9.1 5.0.0",
            "a x86_64 2.0.0 2.0.0",
        ]
    );
}

#[test]
fn a_new_update_has_no_waves_and_keeps_its_facts() {
    let verity = Verity {
        algorithm: VerityAlgorithm::Sha256,
        root_hash: Digest::from([1; 32]),
        salt: Salt::default(),
        data_block_size: 4096,
        hash_block_size: 4096,
        data_blocks: 7,
    };
    let update = NewUpdate {
        verity: Some(verity.clone()),
        ..new("a", "x86_64", "1.0.0")
    };
    let manifest = manifest(&[update]);
    assert!(manifest.updates[0].waves.is_empty());
    assert_eq!(manifest.updates[0].verity, Some(verity));
    assert_eq!(
        manifest.updates[0].images.get(ImageKind::Boot),
        "a-x86_64-1.0.0-boot.lz4"
    );
}

#[test]
fn the_same_update_is_not_added_twice() {
    let mut manifest = manifest(&[new("a", "x86_64", "1.0.0")]);
    let before = manifest.clone();
    let error = manifest
        .add_update(with_max("9.0.0", new("a", "x86_64", "1.0.0")))
        .unwrap_err();
    assert_eq!(
        error,
        EditError::DuplicateUpdate {
            variant: "a".to_owned(),
            arch: "x86_64".to_owned(),
            version: version("1.0.0"),
        }
    );
    assert_eq!(
        error.to_string(),
        "the manifest has version 1.0.0 of a for x86_64 already"
    );
    assert_eq!(manifest, before);
}

#[test]
fn what_no_client_would_read_is_not_added() {
    let good = new("a", "x86_64", "1.0.0");
    let bad_image = |root: &str| {
        let images = Images {
            root: root.to_owned(),
            ..good.images.clone()
        };
        NewUpdate {
            images,
            ..good.clone()
        }
    };
    let bad_verity = Verity {
        algorithm: VerityAlgorithm::Sha256,
        root_hash: Digest::from([1; 32]),
        salt: Salt::default(),
        data_block_size: 4096,
        hash_block_size: 4096,
        data_blocks: 0,
    };
    for (update, error, cause) in [
        (
            NewUpdate {
                variant: String::new(),
                ..good.clone()
            },
            "bad variant",
            "the name is empty",
        ),
        (
            NewUpdate {
                arch: "x\n".to_owned(),
                ..good.clone()
            },
            "bad architecture",
            "the name \"x\\n\" holds a control character",
        ),
        (
            bad_image("../root"),
            "bad target name for the root image",
            "the target name \"../root\" has an empty, `.` or `..` part",
        ),
        (
            NewUpdate {
                verity: Some(bad_verity),
                ..good.clone()
            },
            "bad verity facts",
            &VerityError::NoBlocks.to_string(),
        ),
    ] {
        let mut manifest = Manifest::default();
        let refused = manifest.add_update(update).unwrap_err();
        assert_eq!(refused.to_string(), error);
        assert_eq!(refused.source().expect("a cause").to_string(), cause);
        assert_eq!(manifest, Manifest::default());
    }
}

#[test]
fn no_more_updates_are_added_than_are_read() {
    let first = manifest(&[new("a", "x86_64", "1.0.0")]);
    let mut full = Manifest {
        updates: vec![first.updates[0].clone(); 10_000],
        migrations: MigrationGraph::new(),
    };
    let error = full.add_update(new("a", "x86_64", "1.1.0")).unwrap_err();
    assert_eq!(error, EditError::TooManyUpdates);
    assert_eq!(full.updates.len(), 10_000);
}

#[test]
fn removing_an_update_keeps_the_ceiling_and_says_how_many_there_were() {
    let mut manifest = manifest(&[
        new("a", "x86_64", "1.0.0"),
        new("a", "x86_64", "1.1.0"),
        new("a", "aarch64", "1.1.0"),
        new("b", "x86_64", "1.1.0"),
    ]);
    assert_eq!(manifest.remove_update("a", "x86_64", &version("1.2.0")), 0);
    assert_eq!(manifest.updates.len(), 4);
    assert_eq!(manifest.remove_update("a", "x86_64", &version("1.1.0")), 1);
    assert_eq!(
        listed(&manifest),
        [
            "a x86_64 1.0.0 1.1.0",
            "a aarch64 1.1.0 1.1.0",
            "b x86_64 1.1.0 1.1.0"
        ]
    );
    manifest.updates.push(manifest.updates[0].clone());
    assert_eq!(manifest.remove_update("a", "x86_64", &version("1.0.0")), 2);
}

#[test]
fn the_ceiling_is_set_for_all_or_for_one_variant_and_architecture() {
    let mut manifest = manifest(&[
        new("a", "x86_64", "1.0.0"),
        new("b", "x86_64", "2.0.0"),
        new("a", "aarch64", "3.0.0"),
    ]);
    assert_eq!(manifest.set_max_version(&version("1.5.0")), 3);
    assert_eq!(
        manifest.set_max_version_for("a", "x86_64", &version("0.9.0")),
        1
    );
    assert_eq!(
        manifest.set_max_version_for("c", "x86_64", &version("0.1.0")),
        0
    );
    assert_eq!(
        listed(&manifest),
        [
            "a x86_64 1.0.0 0.9.0",
            "b x86_64 2.0.0 1.5.0",
            "a aarch64 3.0.0 1.5.0"
        ]
    );
    assert_eq!(Manifest::default().set_max_version(&version("1.0.0")), 0);
}

#[test]
fn waves_replace_those_of_the_update_and_of_no_other() {
    let mut manifest = manifest(&[new("a", "x86_64", "1.0.0"), new("a", "x86_64", "1.1.0")]);
    let first = waves(&[(0, "2031-03-01T00:00:00Z"), (20, "2031-03-02T00:00:00Z")]);
    let second = waves(&[(0, "2031-04-01T00:00:00Z")]);
    for waves in [first, second.clone()] {
        assert_eq!(
            manifest.set_waves("a", "x86_64", &version("1.1.0"), &waves),
            Ok(1)
        );
        assert_eq!(manifest.updates[1].waves, waves);
    }
    assert!(manifest.updates[0].waves.is_empty());
    assert_eq!(
        manifest.set_waves("a", "x86_64", &version("9.0.0"), &second),
        Ok(0)
    );
    assert_eq!(
        manifest.set_waves("b", "x86_64", &version("1.1.0"), &second),
        Ok(0)
    );
    let none = WaveSchedule::new();
    assert_eq!(
        manifest.set_waves("a", "x86_64", &version("1.1.0"), &none),
        Ok(1)
    );
    assert!(manifest.updates[1].waves.is_empty());
}

#[test]
fn waves_out_of_order_are_refused_wherever_they_are() {
    let good = waves(&[(0, "2031-03-01T00:00:00Z"), (20, "2031-03-02T00:00:00Z")]);
    let bad = waves(&[(0, "2031-03-02T00:00:00Z"), (20, "2031-03-01T00:00:00Z")]);
    let mut manifest = manifest(&[new("a", "x86_64", "1.0.0"), new("a", "x86_64", "1.1.0")]);

    let before = manifest.clone();
    let error = manifest
        .set_waves("a", "x86_64", &version("1.1.0"), &bad)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the waves of version 1.1.0 of a for x86_64 are out of order"
    );
    assert_eq!(
        error.source().expect("a cause").to_string(),
        "the wave from seed 20 starts at 2031-03-01T00:00:00Z, not after 2031-03-02T00:00:00Z, \
         when the wave from seed 0 starts"
    );
    assert_eq!(manifest, before);

    // Another update's waves, read from a file that nobody had checked.
    manifest.updates[0].waves = bad;
    let before = manifest.clone();
    let error = manifest
        .set_waves("a", "x86_64", &version("1.1.0"), &good)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the waves of version 1.0.0 of a for x86_64 are out of order"
    );
    assert_eq!(manifest, before);

    // Replacing the very waves that are out of order mends the manifest.
    assert_eq!(
        manifest.set_waves("a", "x86_64", &version("1.0.0"), &good),
        Ok(1)
    );
}

#[test]
fn migrations_are_replaced_as_a_whole() {
    let graph = |minor| {
        let mut graph = MigrationGraph::new();
        let (from, to) = (Version::new(1, minor, 0), Version::new(1, minor + 1, 0));
        graph
            .insert(from, to, vec!["m".to_owned()])
            .expect("the only entry");
        graph
    };
    let mut manifest = Manifest::default();
    manifest.set_migrations(graph(0));
    manifest.set_migrations(graph(1));
    assert_eq!(manifest.migrations, graph(1));
}

proptest! {
    #[test]
    fn after_each_default_add_the_ceiling_is_the_highest_version_so_far(
        minors in prop::collection::btree_set(0_u64..20, 1..10).prop_map(Vec::from_iter),
        shuffle in any::<u64>(),
    ) {
        let mut minors = minors;
        let len = u64::try_from(minors.len()).expect("a small number");
        minors.rotate_left(usize::try_from(shuffle % len).expect("a small number"));
        let mut manifest = Manifest::default();
        for (count, minor) in minors.iter().enumerate() {
            manifest.add_update(new("a", "x86_64", &format!("1.{minor}.0"))).expect("a new one");
            let highest = minors[..=count].iter().max().expect("at least one");
            for update in &manifest.updates {
                prop_assert_eq!(&update.max_version, &Version::new(1, *highest, 0));
            }
        }
    }
}
