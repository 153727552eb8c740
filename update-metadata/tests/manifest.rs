//! The manifest's JSON: what is read, what is refused, what is written.

use proptest::prelude::*;
use semver::Version;
use std::error::Error;
use update_metadata::{
    BlockMaps, Digest, ImageKind, Images, MAX_MANIFEST_BYTES, Manifest, ManifestError,
    MigrationGraph, RawImage, RawImages, Salt, Seed, Update, Verity, VerityAlgorithm, WaveSchedule,
};

const MANIFEST: &str = r#"{
  "updates": [
    {
      "variant": "demo-k8s-9",
      "arch": "x86_64",
      "version": "4.2.0",
      "max_version": "4.2.0",
      "waves": {
        "0": "2031-03-01T01:00:00Z",
        "204": "2031-03-02T00:00:00Z",
        "1024": "2031-03-04T00:00:00Z"
      },
      "images": {
        "boot": "acme-demo-k8s-9-x86_64-4.2.0-0badcafe-boot.ext4.lz4",
        "root": "acme-demo-k8s-9-x86_64-4.2.0-0badcafe-root.ext4.lz4",
        "hash": "acme-demo-k8s-9-x86_64-4.2.0-0badcafe-root.verity.lz4"
      }
    }
  ],
  "migrations": {
    "(4.0.0, 4.1.0)": [
      "migrate_v4.1.0_add-widget.lz4"
    ],
    "(4.1.0, 4.2.0)": []
  }
}
"#;

fn read(json: &str) -> Manifest {
    Manifest::from_slice(json.as_bytes()).expect("a manifest of this file")
}

/// What is wrong with a text that is no manifest.
fn refused(json: &str) -> String {
    let error = Manifest::from_slice(json.as_bytes()).expect_err("a bad manifest of this file");
    assert_eq!(error.to_string(), "the manifest is not valid");
    error.source().expect("what is wrong").to_string()
}

#[test]
fn a_manifest_is_written_as_it_was_read() {
    let manifest = read(MANIFEST);
    assert_eq!(manifest.updates.len(), 1);
    let update = &manifest.updates[0];
    assert_eq!(update.variant, "demo-k8s-9");
    assert_eq!(update.arch, "x86_64");
    assert_eq!(update.version, Version::new(4, 2, 0));
    assert_eq!(update.max_version, Version::new(4, 2, 0));
    assert_eq!(update.waves.len(), 3);
    assert_eq!(
        update.images.get(ImageKind::Hash),
        "acme-demo-k8s-9-x86_64-4.2.0-0badcafe-root.verity.lz4"
    );
    assert_eq!(update.verity, None);
    assert_eq!(update.raw_images, None);
    let targets: Vec<_> = manifest.migrations.all_targets().collect();
    assert_eq!(targets, ["migrate_v4.1.0_add-widget.lz4"]);

    assert_eq!(
        String::from_utf8(manifest.to_json_pretty()).expect("text"),
        MANIFEST
    );
}

#[test]
fn an_empty_manifest_is_two_empty_parts() {
    let json = "{\n  \"updates\": [],\n  \"migrations\": {}\n}\n";
    assert_eq!(Manifest::default().to_json_pretty(), json.as_bytes());
    assert_eq!(read(json), Manifest::default());
}

#[test]
fn unknown_keys_are_ignored_everywhere() {
    let json = MANIFEST
        .replace("\"updates\"", "\"schema\": {\"a\": [1, null]}, \"updates\"")
        .replace("\"arch\"", "\"status\": \"Ready\", \"arch\"")
        .replace("\"boot\"", "\"kernel\": 7, \"boot\"");
    assert_eq!(read(&json), read(MANIFEST));
}

#[test]
fn the_optional_facts_come_last_and_only_if_known() {
    let digest = |byte: u8| format!("{byte:02x}").repeat(32);
    let facts = format!(
        r#",
      "verity": {{
        "algorithm": "sha256",
        "root_hash": "{root}",
        "salt": "0badcafe",
        "data_block_size": 4096,
        "hash_block_size": 4096,
        "data_blocks": 230400
      }},
      "raw_images": {{
        "boot": {{
          "length": 41943040,
          "sha256": "{boot}"
        }},
        "root": {{
          "length": 943718400,
          "sha256": "{root}"
        }},
        "hash": {{
          "length": 10485760,
          "sha256": "{hash}"
        }}
      }},
      "block_maps": {{
        "boot": "boot.map.lz4",
        "root": "root.map.lz4"
      }}
    }}
  ]"#,
        root = digest(1),
        boot = digest(2),
        hash = digest(3),
    );
    let json = MANIFEST.replace("\n    }\n  ]", &facts);
    let manifest = read(&json);
    let update = &manifest.updates[0];
    let raw = |length, byte| RawImage {
        length,
        sha256: Digest::from([byte; 32]),
    };
    assert_eq!(
        update.raw_images,
        Some(RawImages {
            boot: raw(41_943_040, 2),
            root: raw(943_718_400, 1),
            hash: raw(10_485_760, 3),
        })
    );
    assert_eq!(
        update.block_maps,
        Some(BlockMaps {
            boot: "boot.map.lz4".to_owned(),
            root: "root.map.lz4".to_owned(),
        })
    );
    assert_eq!(
        update.verity,
        Some(Verity {
            algorithm: VerityAlgorithm::Sha256,
            root_hash: Digest::from([1; 32]),
            salt: Salt::new(vec![0x0b, 0xad, 0xca, 0xfe]).expect("a short salt"),
            data_block_size: 4096,
            hash_block_size: 4096,
            data_blocks: 230_400,
        })
    );
    assert_eq!(
        String::from_utf8(manifest.to_json_pretty()).expect("text"),
        json
    );

    let bad = json.replace("4096", "4095");
    assert!(refused(&bad).starts_with("block size 4095 is not a power of two from 512 to 65536"));
    let bad = json.replace("\"sha256\",", "\"md5\",");
    assert!(refused(&bad).starts_with("unknown variant `md5`, expected `sha256`"));
    let bad = json.replace("0badcafe\"", "0badcaf\"");
    assert!(refused(&bad).starts_with("the salt is not an even number of hexadecimal digits"));
}

#[test]
fn every_required_key_is_required() {
    for key in [
        "updates",
        "migrations",
        "variant",
        "arch",
        "version",
        "max_version",
        "waves",
        "images",
        "boot",
        "root",
        "hash",
    ] {
        let json = MANIFEST.replace(&format!("\"{key}\""), &format!("\"no-{key}\""));
        let error = refused(&json);
        assert!(
            error.starts_with(&format!("missing field `{key}` at line ")),
            "{error}"
        );
    }
}

#[test]
fn a_key_given_twice_is_refused() {
    for (key, again) in [
        ("updates", "\"updates\": [], "),
        ("migrations", "\"migrations\": {}, "),
        ("arch", "\"arch\": \"x86_64\", "),
        ("waves", "\"waves\": {}, "),
        ("boot", "\"boot\": \"b\", "),
    ] {
        let quoted = format!("\"{key}\"");
        let json = MANIFEST.replace(&quoted, &format!("{again}{quoted}"));
        let error = refused(&json);
        assert!(
            error.starts_with(&format!("duplicate field `{key}` at line ")),
            "{error}"
        );
    }
}

#[test]
fn what_is_refused_is_said_with_line_and_column() {
    for (old, new, error) in [
        (
            "\"204\"",
            "\"two\"",
            "wave bound \"two\" is not a number of 32 bits: invalid digit found in string at line \
             10 column 13",
        ),
        (
            "\"204\"",
            "\"00\"",
            "wave bound 0 is given twice at line 10 column 36",
        ),
        (
            "2031-03-02T00:00:00Z",
            "soon",
            "input contains invalid characters at line 10 column 21",
        ),
        (
            "\"(4.1.0, 4.2.0)\"",
            "\"4.1.0 to 4.2.0\"",
            "migration key \"4.1.0 to 4.2.0\" has no `(FROM, TO)` in it at line 24 column 20",
        ),
        (
            "\"(4.1.0, 4.2.0)\"",
            "\"(4.0.0,4.1.0)\"",
            "the migrations from 4.0.0 to 4.1.0 are given twice at line 24 column 19",
        ),
        (
            "\"x86_64\"",
            "\"x86\\u001b[1m\"",
            "the name \"x86\\u{1b}[1m\" holds a control character at line 5 column 28",
        ),
        (
            "migrate_v4.1.0_add-widget.lz4",
            "../../etc/passwd",
            "a migration from 4.0.0 to 4.1.0 cannot be a target: the target name \
             \"../../etc/passwd\" has an empty, `.` or `..` part at line 23 column 5",
        ),
        (
            "\"version\": \"4.2.0\"",
            "\"version\": \"4.2\"",
            "unexpected end of input while parsing minor version number at line 6 column 22",
        ),
    ] {
        assert_eq!(refused(&MANIFEST.replacen(old, new, 1)), error);
    }
}

#[test]
fn waves_out_of_order_are_read() {
    let json = MANIFEST.replace("2031-03-04", "2031-03-01");
    assert!(read(&json).updates[0].waves.check_order().is_err());
}

#[test]
fn the_same_update_twice_is_read() {
    let manifest = read(MANIFEST);
    let updates = vec![manifest.updates[0].clone(); 2];
    let twice = Manifest {
        updates,
        ..manifest
    };
    assert_eq!(
        Manifest::from_slice(&twice.to_json_pretty()).expect("a manifest"),
        twice
    );
}

#[test]
fn a_manifest_past_the_size_bound_is_refused_unread() {
    let bound = usize::try_from(MAX_MANIFEST_BYTES).expect("10 MiB");
    let mut json = Manifest::default().to_json_pretty();
    json.resize(bound, b' ');
    assert_eq!(
        Manifest::from_slice(&json).expect("just within the bound"),
        Manifest::default()
    );
    json.push(b' ');
    let error = Manifest::from_slice(&json).unwrap_err();
    assert!(matches!(error, ManifestError::TooLarge { length } if length == bound + 1));
    assert_eq!(
        error.to_string(),
        "the manifest has 10485761 bytes, the largest that is read has 10485760"
    );
}

#[test]
fn more_updates_than_the_bound_are_refused() {
    let update = Update {
        waves: WaveSchedule::new(),
        ..read(MANIFEST).updates[0].clone()
    };
    let full = Manifest {
        updates: vec![update; 10_000],
        migrations: MigrationGraph::new(),
    };
    let read = Manifest::from_slice(&full.to_json_pretty()).expect("just within the bound");
    assert_eq!(read, full);
    let mut updates = full.updates;
    updates.push(updates[0].clone());
    let json = Manifest {
        updates,
        migrations: MigrationGraph::new(),
    }
    .to_json_pretty();
    let error = refused(&String::from_utf8(json).expect("text"));
    assert!(
        error.starts_with("more than 10000 elements in one list at line "),
        "{error}"
    );
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    const DEPTH: usize = 1_000_000;
    let (open, close) = ("[".repeat(DEPTH), "]".repeat(DEPTH));
    assert!(refused(&format!("{{\"unknown\": {open}")).starts_with("EOF while parsing"));
    assert!(refused(&open).starts_with("invalid type: sequence"));
    let nested = format!("{{\"unknown\": {open}{close}, \"updates\": [], \"migrations\": {{}}}}");
    assert_eq!(read(&nested), Manifest::default());
}

#[test]
fn a_seed_reads_its_time_from_a_manifest() {
    let waves = &read(MANIFEST).updates[0].waves;
    let seed = Seed::new(614).expect("a seed");
    // Half way from 204 to 1024, so half way through those two days.
    let at = waves.ready_at(seed).expect("a wave");
    assert_eq!(at.to_rfc3339(), "2031-03-03T00:00:00+00:00");
}

fn any_manifest() -> impl Strategy<Value = Manifest> {
    let number = || (0_u64..9, 0_u64..9, 0_u64..9).prop_map(|(a, b, c)| Version::new(a, b, c));
    let name = || "[a-z0-9][a-z0-9._-]{0,20}".prop_filter("no dots only", |n| n != "..");
    let raw = (any::<u64>(), any::<[u8; 32]>()).prop_map(|(length, digest)| RawImage {
        length,
        sha256: Digest::from(digest),
    });
    let raw_images = prop::option::of((raw.clone(), raw.clone(), raw))
        .prop_map(|raw| raw.map(|(boot, root, hash)| RawImages { boot, root, hash }));
    let verity = (
        any::<[u8; 32]>(),
        prop::collection::vec(any::<u8>(), 0..=256),
        1..u64::MAX >> 16,
    )
        .prop_map(|(root_hash, salt, data_blocks)| Verity {
            algorithm: VerityAlgorithm::Sha256,
            root_hash: Digest::from(root_hash),
            salt: Salt::new(salt).expect("a short salt"),
            data_block_size: 4096,
            hash_block_size: 1024,
            data_blocks,
        });
    let waves =
        prop::collection::btree_map(0_u32..3000, 0_i64..4_000_000_000, 0..5).prop_map(|waves| {
            let mut schedule = WaveSchedule::new();
            for (bound, seconds) in waves {
                let time = chrono::DateTime::from_timestamp(seconds, 0).expect("a time");
                schedule.insert(bound, time).expect("each bound comes once");
            }
            schedule
        });
    let maps = (name(), name()).prop_map(|(boot, root)| BlockMaps { boot, root });
    let images =
        (name(), name(), name()).prop_map(|(boot, root, hash)| Images { boot, root, hash });
    let update = (
        name(),
        name(),
        number(),
        number(),
        waves,
        images,
        prop::option::of(verity),
        (raw_images, prop::option::of(maps)),
    )
        .prop_map(
            |(variant, arch, version, max_version, waves, images, verity, optional)| Update {
                variant,
                arch,
                version,
                max_version,
                waves,
                images,
                verity,
                raw_images: optional.0,
                block_maps: optional.1,
            },
        );
    let migrations = prop::collection::btree_map(
        (number(), number()),
        prop::collection::vec(name(), 0..4),
        0..5,
    )
    .prop_map(|entries| {
        let mut graph = MigrationGraph::new();
        for ((from, to), targets) in entries {
            graph
                .insert(from, to, targets)
                .expect("each pair comes once");
        }
        graph
    });
    (prop::collection::vec(update, 0..5), migrations).prop_map(|(updates, migrations)| Manifest {
        updates,
        migrations,
    })
}

proptest! {
    #[test]
    fn every_manifest_survives_json(manifest in any_manifest()) {
        let json = manifest.to_json_pretty();
        prop_assert_eq!(Manifest::from_slice(&json).expect("a manifest"), manifest);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = Manifest::from_slice(&bytes);
    }

    #[test]
    fn no_damage_to_a_manifest_panics(
        manifest in any_manifest(),
        place in any::<prop::sample::Index>(),
        byte: u8,
        cut in any::<bool>(),
    ) {
        let mut json = manifest.to_json_pretty();
        let place = place.index(json.len());
        json[place] = byte;
        if cut {
            json.truncate(place);
        }
        let _ = Manifest::from_slice(&json);
    }
}
