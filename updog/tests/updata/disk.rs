//! disk.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;

use gptman::{GPT, GPTPartitionEntry};
use serde_json::json;
use signpost::attributes::BootAttributes;

use super::lab::{Lab, pattern};

const MIB: u64 = 1 << 20;
const LINE: &str = "disk --out disk.img --version 1.0.0 --variant demo --arch x86_64 \
                    --root-image root.img --boot-image boot.img --hash-image hash.img";

fn line(more: &str) -> Vec<&str> {
    LINE.split(' ').chain(more.split_whitespace()).collect()
}

fn lab() -> Lab {
    let lab = Lab::new();
    lab.images(1);
    lab
}

fn table(lab: &Lab, sector_size: u64) -> GPT {
    GPT::read_from(&mut File::open(lab.path("disk.img")).unwrap(), sector_size).unwrap()
}

/// The bytes of a partition.
fn content(disk: &[u8], entry: &GPTPartitionEntry, sector_size: u64) -> Vec<u8> {
    let at = |lba: u64| usize::try_from(lba * sector_size).unwrap();
    disk[at(entry.starting_lba)..at(entry.ending_lba + 1)].to_vec()
}

#[test]
fn updog_advises_its_own_configuration_and_no_option_of_signpost() {
    let lab = lab();
    lab.ok(&line(""));
    lab.write("empty", vec![0; 1 << 16]);
    let path = |name: &str| lab.path(name).display().to_string();
    for (disk, advice) in [
        (
            "disk.img",
            "name the running set, A or B: the configuration's key `active`",
        ),
        (
            "empty",
            "name the disk that the system boots from: the configuration's key `disk`",
        ),
        (
            ".",
            "name the disk that the system boots from: the configuration's key `disk`",
        ),
    ] {
        lab.write(
            "updog.toml",
            format!(
                "metadata_base_url = 'file:///m/'\ntargets_base_url = 'file:///t/'\n\
                 state_dir = '{}'\nlock_file = '{}'\ndisk = '{}'\n",
                path("state"),
                path("lock"),
                path(disk),
            ),
        );
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_updog"))
            .args(["--config", &path("updog.toml"), "update-apply"])
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.contains(&format!("updog: to go on: {advice}\n")),
            "{stderr}"
        );
        assert!(!stderr.contains("--"), "{stderr}");
    }
}

#[test]
fn set_a_is_installed_and_good_and_set_b_is_nothing() {
    let lab = lab();
    for sector_size in [512, 4096] {
        let _ = fs::remove_file(lab.path("disk.img"));
        let option = format!("--sector-size {sector_size}");
        lab.ok(&line(&option));
        let table = table(&lab, sector_size);
        let disk = lab.read("disk.img");
        assert_eq!(
            table.iter().filter(|(_, entry)| entry.is_used()).count(),
            13
        );
        for (number, name) in [(3, "boot.img"), (4, "root.img"), (5, "hash.img")] {
            let mut expected = lab.read(name);
            let found = content(&disk, &table[number], sector_size);
            expected.resize(found.len(), 0);
            assert!(found == expected, "{name} in partition {number}");
        }
        for number in 6..=13 {
            let found = content(&disk, &table[number], sector_size);
            assert!(found.iter().all(|byte| *byte == 0), "partition {number}");
        }
        let bits = |number| BootAttributes::from_bits(table[number].attribute_bits);
        let fields = |bits: BootAttributes| (bits.priority(), bits.tries_left(), bits.successful());
        assert_eq!(
            (fields(bits(3)), fields(bits(8))),
            ((1, 0, true), (0, 0, false))
        );
        assert!(bits(8).is_cleared());
        assert_eq!(table[12].attribute_bits, 0);
        assert_eq!(&disk[510..512], [0x55, 0xaa], "a protective MBR");
    }
}

#[test]
fn a_disk_of_2_gib_is_2_gib_and_sparse() {
    let lab = lab();
    let out = lab.json(&line("--os-image-size-gib 2"));
    let metadata = fs::metadata(lab.path("disk.img")).unwrap();
    assert_eq!(metadata.len(), 2 << 30);
    assert!(
        metadata.blocks() * 512 < 8 * MIB,
        "{} blocks",
        metadata.blocks()
    );
    assert_eq!(out["length"], 2_u64 << 30);
    assert_eq!(out["boot_names_root_hash"], true);
    assert_eq!(out["images"]["root"]["length"], 64 * 4096);
    assert_eq!(
        out["partitions"][8],
        json!({
            "number": 9, "label": "BOTTLEROCKET-ROOT-B", "start": 1050 * MIB, "length": 920 * MIB,
        })
    );
    let table = table(&lab, 512);
    let root_b = &table[9];
    assert_eq!(
        (root_b.starting_lba, root_b.size().unwrap()),
        (1050 * 2048, 920 * 2048)
    );
    assert_eq!(root_b.partition_name.as_str(), "BOTTLEROCKET-ROOT-B");
}

#[test]
fn two_disks_share_no_identifier() {
    let lab = lab();
    let mut seen = HashSet::new();
    for _ in 0..2 {
        lab.ok(&line(""));
        let table = table(&lab, 512);
        seen.insert(table.header.disk_guid);
        let used = table.iter().filter(|(_, entry)| entry.is_used());
        seen.extend(used.map(|(_, entry)| entry.unique_partition_guid));
        fs::remove_file(lab.path("disk.img")).unwrap();
    }
    assert_eq!(seen.len(), 2 * (1 + 13));
}

#[test]
fn a_hash_image_is_made_where_none_is_given() {
    let lab = lab();
    let without = |more: &'static str| -> Vec<&'static str> {
        let line = LINE
            .split(' ')
            .filter(|word| !matches!(*word, "--hash-image" | "hash.img"));
        line.chain(more.split_whitespace()).collect()
    };
    let out = lab.json(&without("--salt 5a17"));
    assert_eq!(out["salt"], "5a17");
    assert_eq!(
        out["boot_names_root_hash"], true,
        "the salt decides the root hash"
    );
    fs::remove_file(lab.path("disk.img")).unwrap();
    let text = lab.ok(&without(""));
    assert!(
        text.contains("\nnote: the boot image does not contain this root hash, "),
        "{text}"
    );
}

#[test]
fn what_does_not_fit_or_is_there_already_is_refused() {
    let lab = lab();
    lab.write("disk.img", "precious");
    lab.updata(&line("")).ends_with(
        4,
        "updata: disk.img exists and is not overwritten; choose another name",
    );
    assert_eq!(lab.read_text("disk.img"), "precious");
    fs::remove_file(lab.path("disk.img")).unwrap();

    let large = 20 * MIB + 1;
    File::create(lab.path("boot.img"))
        .unwrap()
        .set_len(large)
        .unwrap();
    lab.updata(&line("--os-image-size-gib 1")).ends_with(
        1,
        "updata: the boot image has 20971521 bytes, its partition 20971520; choose a larger \
         --os-image-size-gib, or leave the option out to size the disk by the images",
    );
    lab.write("root.img", pattern(64 * 4096, 9));
    lab.updata(&line(""))
        .says(1, "updata: hash.img is not the verity tree of root.img");
    lab.updata(&line("--sector-size 1024"))
        .says(2, "--sector-size");
    lab.updata(&line("--os-image-size-gib 0"))
        .says(2, "--os-image-size-gib");
    assert_eq!(lab.names("."), ["boot.img", "hash.img", "root.img"]);
}
