//! Our formats as other programs see them.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use system_tests::host::Host;
use system_tests::oracle;
use system_tests::programs::{self, Ran};
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
    let image = format!("{VARIANT}-{ARCH}-1.0.0-root.ext4.lz4");
    let lines = python_reads(&python, &publisher, &["manifest.json", &image]);
    assert_eq!(lines.len(), 2, "{lines:?}");
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

#[test]
fn python_tuf_follows_from_keys_of_one_kind_to_keys_of_another() {
    const TEST: &str = "python_tuf_follows_from_keys_of_one_kind_to_keys_of_another";
    let Some(python) = oracle::python_tuf(TEST) else {
        return;
    };
    let kinds = ["ed25519", "rsa", "ecdsa", "ed25519"];
    for pair in kinds.windows(2) {
        let publisher = Publisher::with_keys(|keys| {
            let keys = keys.display().to_string();
            programs::run("updata", ["keys", "new", "--out", &keys, "--type", pair[0]]).done();
        });
        publisher.release("1.0.0");
        assert_eq!(
            python_reads(&python, &publisher, &["manifest.json"]).len(),
            1
        );

        let new = publisher.text("new");
        let (root, next) = (publisher.text("root.json"), publisher.text("root-2.json"));
        publisher
            .updata([
                "keys",
                "new",
                "--out",
                &new,
                "--type",
                pair[1],
                "--targets-keys",
                "2",
            ])
            .done();
        let roles = ["root", "targets", "snapshot", "timestamp"];
        let files = roles.map(|role| format!("{role}={new}/{role}.key"));
        let second = format!("targets={new}/targets-2.key");
        let (keys, repo) = (publisher.text("keys"), publisher.text("repo"));
        let mut rotate = vec!["root", "rotate", "--root-role", &root, "--out", &next];
        rotate.extend([
            "--keys",
            &keys,
            "--targets-threshold",
            "2",
            "--replace",
            &second,
        ]);
        for file in &files {
            rotate.extend(["--replace", file]);
        }
        publisher.updata(rotate).done();
        let line = ["root", "publish", "--repo", &repo, "--root-role", &next];
        let more = ["--old-root", &root, "--keys", &new];
        publisher.updata([&line[..], &more[..]].concat()).done();
        // It has the first root role and finds the second.
        assert_eq!(
            python_reads(&python, &publisher, &["manifest.json"]).len(),
            1
        );
        let line = [
            "refresh",
            "--repo",
            &repo,
            "--root-role",
            &next,
            "--keys",
            &new,
        ];
        publisher.updata(line).done();
        assert_eq!(
            python_reads(&python, &publisher, &["manifest.json"]).len(),
            1
        );
    }
}

#[test]
fn python_tuf_accepts_what_two_people_signed() {
    const TEST: &str = "python_tuf_accepts_what_two_people_signed";
    let Some(python) = oracle::python_tuf(TEST) else {
        return;
    };
    let publisher = Publisher::new();
    publisher.release("1.0.0");
    let text = |name: &str| publisher.text(name);
    let (keys, repo, root, next) = (
        text("keys"),
        text("repo"),
        text("root.json"),
        text("root-2.json"),
    );
    let (staged, bob) = (text("staged"), text("bob"));
    publisher
        .updata(["keys", "new", "--out", &bob, "--type", "ecdsa"])
        .done();
    let add = format!("targets={bob}/targets.key");
    let rotate = [
        "root",
        "rotate",
        "--root-role",
        &root,
        "--out",
        &next,
        "--keys",
        &keys,
    ];
    let more = ["--add", &add, "--targets-threshold", "2"];
    publisher.updata([&rotate[..], &more[..]].concat()).done();
    let line = [
        "root",
        "publish",
        "--repo",
        &repo,
        "--root-role",
        &next,
        "--old-root",
        &root,
    ];
    let more = ["--keys", &keys, "--key", &add];
    publisher.updata([&line[..], &more[..]].concat()).done();

    let images = publisher.images("1.1.0", 64);
    let prepared = publisher.release_with("1.1.0", &images, &["--prepare", &staged]);
    assert!(
        prepared.stderr.contains("give --root-role the newest one"),
        "{prepared:?}"
    );
    fs::rename(&root, text("root-1.json")).unwrap();
    fs::copy(&next, &root).unwrap();
    publisher
        .release_with("1.1.0", &images, &["--prepare", &staged])
        .done();
    let key = format!("{bob}/targets.key");
    publisher
        .updata([
            "sign", "--staged", &staged, "--role", "targets", "--key", &key,
        ])
        .done();
    let line = [
        "publish",
        "--staged",
        &staged,
        "--repo",
        &repo,
        "--root-role",
        &root,
    ];
    publisher
        .updata([&line[..], &["--keys", &keys]].concat())
        .done();
    // A client that has the first root role yet.
    fs::copy(text("root-1.json"), &root).unwrap();
    let image = format!("{VARIANT}-{ARCH}-1.1.0-root.ext4.lz4");
    assert_eq!(python_reads(&python, &publisher, &[&image]).len(), 1);
}

/// What python-tuf says of these targets, from the publisher's root role on.
fn python_reads(python: &Path, publisher: &Publisher, names: &[&str]) -> Vec<String> {
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
    let ran = Ran::of(
        Command::new(python)
            .args(["-c", &script, &server.url()])
            .arg(publisher.path("root.json"))
            .args(names),
    )
    .done();
    ran.stdout.lines().map(str::to_owned).collect()
}

/// The options of `openssl genpkey` for the kinds of keys that updata signs with.
const OPENSSL_KEYS: [&[&str]; 3] = [
    &["-algorithm", "ed25519"],
    &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
];

#[test]
fn keys_that_openssl_made_sign_a_release() {
    const TEST: &str = "keys_that_openssl_made_sign_a_release";
    let Some(openssl) = oracle::find(TEST, "openssl") else {
        return;
    };
    let run = |args: &[&str]| Ran::of(Command::new(&openssl).args(args));
    for options in OPENSSL_KEYS {
        for form in ["PEM", "DER"] {
            let publisher = Publisher::with_keys(|keys| {
                fs::create_dir(keys).unwrap();
                for role in ["root", "targets", "snapshot", "timestamp"] {
                    let path = keys.join(format!("{role}.key")).display().to_string();
                    let more = ["-outform", form, "-out", &path];
                    run(&[&["genpkey"][..], options, &more].concat()).done();
                }
            });
            publisher.release("1.0.0");
            // The public half is openssl's, byte for byte.
            let key = publisher.text("keys/root.key");
            let theirs = run(&["pkey", "-in", &key, "-inform", form, "-pubout"])
                .done()
                .stdout;
            let ours = publisher.updata(["keys", "public", &key]).done().stdout;
            assert_eq!(ours, theirs, "{options:?} {form}");
            let public = publisher.text("public");
            fs::write(&public, theirs).unwrap();
            let json = ["keys", "public", "--json", &public];
            let of_public = publisher.updata(json).done().json();
            let json = ["keys", "public", "--json", &key];
            assert_eq!(of_public, publisher.updata(json).done().json());
        }
    }
}

#[test]
fn openssl_reads_our_keys_and_what_we_do_not_read_of_its_own_is_said() {
    const TEST: &str = "openssl_reads_our_keys_and_what_we_do_not_read_of_its_own_is_said";
    let Some(openssl) = oracle::find(TEST, "openssl") else {
        return;
    };
    let run = |args: &[&str]| Ran::of(Command::new(&openssl).args(args));
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    for (kind, name) in [
        ("ed25519", "ED25519 "),
        ("ecdsa", "prime256v1"),
        ("rsa", "3072 bit"),
    ] {
        let folder = path(kind);
        programs::run("updata", ["keys", "new", "--out", &folder, "--type", kind]).done();
        let key = format!("{folder}/root.key");
        let text = run(&["pkey", "-in", &key, "-noout", "-text"]).done().stdout;
        assert!(text.contains(name), "{text}");
    }
    let other = path("other");
    let plain = path("rsa/root.key");
    let refusals: [(&[&str], &str); 4] = [
        (
            &[
                "pkey", "-in", &plain, "-aes256", "-passout", "pass:x", "-out", &other,
            ],
            " is encrypted; give the plain key through a pipe: `openssl pkey -in ",
        ),
        (
            &["ecparam", "-genkey", "-name", "prime256v1", "-out", &other],
            " is not in PKCS#8 (EC PARAMETERS); convert it: `openssl pkcs8 -topk8 -nocrypt -in ",
        ),
        (
            &[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-384",
                "-out",
                &other,
            ],
            " is a private key of another kind than ed25519, ECDSA P-256 and RSA",
        ),
        (
            &["genpkey", "-algorithm", "ed448", "-out", &other],
            " is a private key of another kind than ed25519, ECDSA P-256 and RSA",
        ),
    ];
    for (make, message) in refusals {
        run(make).done();
        let ran = programs::run("updata", ["keys", "public", &other]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains(message), "{make:?}: {}", ran.stderr);
    }
    // What the message tells to do helps.
    run(&["ecparam", "-genkey", "-name", "prime256v1", "-out", &other]).done();
    let new = path("new");
    run(&["pkcs8", "-topk8", "-nocrypt", "-in", &other, "-out", &new]).done();
    programs::run("updata", ["keys", "public", &new]).done();
}
