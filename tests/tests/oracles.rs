//! Our formats as other programs see them.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use system_tests::host::Host;
use system_tests::oracle;
use system_tests::programs::Ran;
use system_tests::publisher::{ARCH, Images, Publisher, VARIANT, content};
use system_tests::server::Server;

fn host(publisher: &Publisher) -> (Host, Images, Server) {
    let images = publisher.release("1.0.0");
    publisher.release("1.1.0");
    let server = Server::start(&publisher.repo());
    (
        Host::new(publisher, "1.0.0", &images, &server.url()),
        images,
        server,
    )
}

#[test]
fn sgdisk_and_cgpt_agree_with_every_table_we_write() {
    const TEST: &str = "sgdisk_and_cgpt_agree_with_every_table_we_write";
    let (Some(sgdisk), Some(cgpt)) = (oracle::find(TEST, "sgdisk"), oracle::find(TEST, "cgpt"))
    else {
        return;
    };
    let publisher = Publisher::new();
    let (mut host, _, _server) = host(&publisher);
    let check = |host: &Host| {
        // sgdisk ends with 0 whatever it finds; its words are the answer.
        let verdict = Ran::of(Command::new(&sgdisk).arg("-v").arg(host.disk()))
            .done()
            .stdout;
        assert!(verdict.contains("No problems found"), "{verdict}");
        for (slot, number) in [(0, "3"), (1, "8")] {
            let bits = ["-P", "-T", "-S"].map(|flag| {
                let ran = Ran::of(
                    Command::new(&cgpt)
                        .args(["show", "-i", number, flag])
                        .arg(host.disk()),
                );
                ran.done().stdout.trim().parse::<u64>().expect("a number")
            });
            assert_eq!(bits, host.bits()[slot], "partition {number}");
        }
    };
    check(&host);
    let steps: [&[&str]; 6] = [
        &["clear-inactive"],
        &["mark-inactive-valid"],
        &["upgrade-to-inactive"],
        &["cancel-upgrade"],
        &["upgrade-to-inactive"],
        &["rewrite-table"],
    ];
    for step in steps {
        host.signpost(step).done();
        check(&host);
    }
    host.boot();
    check(&host);
    host.signpost(&["mark-successful-boot"]).done();
    check(&host);
    host.signpost(&["rollback-to-inactive"]).done();
    check(&host);
    host.boot();
    host.updog(&["update"]).done();
    check(&host);
    host.updog(&["update-revert"]).done();
    check(&host);
}

#[test]
fn sgdisk_finds_the_partitions_of_a_factory_disk_at_both_sector_sizes() {
    const TEST: &str = "sgdisk_finds_the_partitions_of_a_factory_disk_at_both_sector_sizes";
    let Some(sgdisk) = oracle::find(TEST, "sgdisk") else {
        return;
    };
    let publisher = Publisher::new();
    let images = publisher.images("1.0.0", 64);
    let path = |path: &Path| path.display().to_string();
    for size in ["512", "4096"] {
        let disk = publisher.path(&format!("disk-{size}"));
        let (root, boot) = (path(&images.root), path(&images.boot));
        publisher
            .updata([
                "disk",
                "--out",
                &path(&disk),
                "--version",
                "1.0.0",
                "--variant",
                VARIANT,
                "--arch",
                ARCH,
                "--root-image",
                &root,
                "--boot-image",
                &boot,
                "--hash-image",
                &path(&images.hash),
                "--os-image-size-gib",
                "2",
                "--sector-size",
                size,
            ])
            .done();
        let status = system_tests::programs::run(
            "signpost",
            ["--disk", &path(&disk), "--active", "A", "status"],
        );
        status.done();
        // sgdisk takes a file for a disk of 512-byte sectors.
        if size == "512" {
            let printed = Ran::of(Command::new(&sgdisk).args(["-v", "-p"]).arg(&disk))
                .done()
                .stdout;
            assert!(printed.contains("No problems found"), "{printed}");
            let names = [
                "BIOS-BOOT",
                "EFI-SYSTEM",
                "BOTTLEROCKET-BOOT-A",
                "BOTTLEROCKET-ROOT-A",
                "BOTTLEROCKET-HASH-A",
                "BOTTLEROCKET-RESERVED-A",
                "EFI-BACKUP",
                "BOTTLEROCKET-BOOT-B",
                "BOTTLEROCKET-ROOT-B",
                "BOTTLEROCKET-HASH-B",
                "BOTTLEROCKET-RESERVED-B",
                "BOTTLEROCKET-PRIVATE",
            ];
            for (index, name) in names.iter().enumerate() {
                let number = (index + 1).to_string();
                let line = printed.lines().find(|line| {
                    let mut words = line.split_whitespace();
                    words.next() == Some(&number)
                        && words
                            .last()
                            .is_some_and(|word| name.starts_with(word.trim_end_matches("...")))
                });
                assert!(line.is_some(), "partition {number} is {name}\n{printed}");
            }
            let boot_b = Ran::of(Command::new(&sgdisk).args(["-i", "8"]).arg(&disk))
                .done()
                .stdout;
            assert!(
                boot_b.contains("6B636168-7420-6568-2070-6C616E657421"),
                "{boot_b}"
            );
            assert!(
                boot_b.contains("First sector: 2068480 (at 1010.0 MiB)"),
                "{boot_b}"
            );
            assert!(
                boot_b.contains("Attribute flags: 0000000000000000"),
                "{boot_b}"
            );
            let boot_a = Ran::of(Command::new(&sgdisk).args(["-i", "3"]).arg(&disk))
                .done()
                .stdout;
            assert!(
                boot_a.contains("Attribute flags: 0101000000000000"),
                "{boot_a}"
            );
        }
    }
}

#[test]
fn veritysetup_accepts_our_trees_and_refuses_them_for_other_data() {
    const TEST: &str = "veritysetup_accepts_our_trees_and_refuses_them_for_other_data";
    let Some(veritysetup) = oracle::find(TEST, "veritysetup") else {
        return;
    };
    let publisher = Publisher::new();
    for blocks in [1, 2, 64, 128, 129, 1000] {
        let images = publisher.images(&format!("1.0.{blocks}"), blocks);
        let verify = |root: &Path| {
            Ran::of(
                Command::new(&veritysetup)
                    .arg("verify")
                    .args([root, &images.hash])
                    .arg(&images.root_hash),
            )
        };
        verify(&images.root).done();
        let mut other = fs::read(&images.root).unwrap();
        *other.last_mut().unwrap() ^= 1;
        let path = publisher.path("other");
        fs::write(&path, other).unwrap();
        assert_ne!(verify(&path).code, Some(0), "{blocks} blocks");
    }
}

#[test]
fn trees_that_veritysetup_made_are_ours_byte_for_byte_and_are_published() {
    const TEST: &str = "trees_that_veritysetup_made_are_ours_byte_for_byte_and_are_published";
    let Some(veritysetup) = oracle::find(TEST, "veritysetup") else {
        return;
    };
    let publisher = Publisher::new();
    for blocks in [1, 2, 64, 129] {
        let ours = publisher.images(&format!("1.0.{blocks}"), blocks);
        let facts = Ran::of(Command::new(&veritysetup).arg("dump").arg(&ours.hash))
            .done()
            .stdout;
        let fact = |name: &str| {
            let line = facts.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{facts}")).trim().to_owned()
        };
        let theirs = publisher.path(&format!("theirs-{blocks}"));
        let made = Ran::of(
            Command::new(&veritysetup)
                .args(["format", "--salt", &fact("Salt:"), "--uuid", &fact("UUID:")])
                .args([&ours.root, &theirs]),
        )
        .done();
        assert!(made.stdout.contains(&ours.root_hash), "{}", made.stdout);
        assert_eq!(
            fs::read(&theirs).unwrap(),
            fs::read(&ours.hash).unwrap(),
            "{blocks} blocks"
        );
        let images = Images {
            hash: theirs,
            ..ours
        };
        publisher
            .release_with(&format!("1.0.{blocks}"), &images, &[])
            .done();
    }
}

#[test]
fn lz4_and_sha256sum_agree_with_our_targets() {
    const TEST: &str = "lz4_and_sha256sum_agree_with_our_targets";
    let (Some(lz4), Some(sha256sum)) = (oracle::find(TEST, "lz4"), oracle::find(TEST, "sha256sum"))
    else {
        return;
    };
    let publisher = Publisher::new();
    // More than one compressed block of any size that LZ4 has.
    let images = publisher.images("1.0.0", 3000);
    publisher.release_with("1.0.0", &images, &[]).done();
    for (suffix, image) in [
        ("boot.ext4", &images.boot),
        ("root.ext4", &images.root),
        ("root.verity", &images.hash),
    ] {
        let target = publisher.target(&format!("{VARIANT}-{ARCH}-1.0.0-{suffix}.lz4"));
        Ran::of(Command::new(&lz4).args(["-q", "-t"]).arg(&target)).done();
        let decoded = publisher.path("decoded");
        Ran::of(
            Command::new(&lz4)
                .args(["-q", "-d", "-f"])
                .args([&target, &decoded]),
        )
        .done();
        assert_eq!(
            fs::read(&decoded).unwrap(),
            fs::read(image).unwrap(),
            "{suffix}"
        );
        let sum = Ran::of(Command::new(&sha256sum).arg(&target)).done().stdout;
        let name = target.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(
            sum.split_whitespace().next(),
            name.split('.').next(),
            "{name}"
        );
    }
}

#[test]
fn frames_of_the_lz4_program_are_decoded_at_every_setting() {
    const TEST: &str = "frames_of_the_lz4_program_are_decoded_at_every_setting";
    let Some(lz4) = oracle::find(TEST, "lz4") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (raw, packed) = (dir.path().join("raw"), dir.path().join("packed"));
    fs::write(&raw, content("lz4", 9_000_000)).unwrap();
    for settings in [
        &["-1"][..],
        &["-9"],
        &["-9", "-B4"],
        &["-1", "-B4", "-BD"],
        &["-1", "-B7", "-BX"],
        &["--no-frame-crc"],
        &["--content-size"],
    ] {
        Ran::of(
            Command::new(&lz4)
                .args(["-q", "-f"])
                .args(settings)
                .args([&raw, &packed]),
        )
        .done();
        let bytes = fs::read(&packed).unwrap();
        let mut decoded = Vec::new();
        updog::image::codec::Lz4Reader::new(bytes.as_slice())
            .read_to_end(&mut decoded)
            .unwrap();
        assert!(decoded == fs::read(&raw).unwrap(), "{settings:?}");
        for cut in [1, 4, 5, 8, bytes.len() / 2] {
            let part = &bytes[..bytes.len() - cut];
            let result = updog::image::codec::Lz4Reader::new(part).read_to_end(&mut Vec::new());
            assert!(result.is_err(), "{settings:?} without the last {cut} bytes");
        }
    }
}

#[test]
fn python_tuf_reads_what_updata_signs() {
    const TEST: &str = "python_tuf_reads_what_updata_signs";
    let Some(python) = oracle::python_tuf(TEST) else {
        return;
    };
    let publisher = Publisher::new();
    publisher.release("1.0.0");
    publisher.release("1.1.0");
    let server = Server::start(&publisher.repo());
    let script = format!(
        "import os, sys, tempfile\n\
         from tuf.ngclient import Updater, UpdaterConfig\n\
         url, root, names = sys.argv[1], sys.argv[2], sys.argv[3:]\n\
         d = tempfile.mkdtemp()\n\
         u = Updater(d, f'{{url}}/{VARIANT}/{ARCH}/', d, f'{{url}}/targets/',\n\
         \x20           bootstrap=open(root, 'rb').read())\n\
         u.refresh()\n\
         for name in names:\n\
         \x20   info = u.get_targetinfo(name)\n\
         \x20   path = u.download_target(info, os.path.join(d, 'target'))\n\
         \x20   print(name, info.length, info.hashes['sha256'], os.path.getsize(path))\n"
    );
    let image = format!("{VARIANT}-{ARCH}-1.0.0-root.ext4.lz4");
    let ran = Ran::of(
        Command::new(python)
            .args(["-c", &script, &server.url()])
            .arg(publisher.path("root.json"))
            .args(["manifest.json", &image]),
    )
    .done();
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.stdout);
    let file = publisher.target(&image);
    let length = fs::metadata(&file).unwrap().len();
    let digest = file
        .file_name()
        .unwrap()
        .to_string_lossy()
        .split('.')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(lines[1], format!("{image} {length} {digest} {length}"));
}
