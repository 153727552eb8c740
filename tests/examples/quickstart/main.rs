//! The whole of it on a file: releases are published, verified, written to the inactive set of a
//! GPT disk, armed, "booted", rolled back, and refused. Real programs, real files, a real socket;
//! no root, no virtual machine. Only the boot is played: `signpost select --consume-try` does what
//! the boot loader does.
//!
//!     cargo run --release --example quickstart

#![allow(clippy::print_stdout)] // an example talks to whoever runs it

use std::fs;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use system_tests::programs;
use system_tests::server::Server;

const VARIANT: &str = "quickstart";
const ARCH: &str = std::env::consts::ARCH;
/// Programs of this machine that make up the releases, where they exist.
const FILES: [&str; 8] = [
    "/usr/bin/env",
    "/usr/bin/ls",
    "/usr/bin/cat",
    "/usr/bin/sort",
    "/usr/bin/sed",
    "/usr/bin/grep",
    "/usr/bin/tar",
    "/usr/bin/bash",
];

/// What is set on the host: paths and values.
const SETTINGS: [(&str, &str); 4] = [
    ("settings/motd", "\"hello from 1.0.0\""),
    ("settings/host/name", "\"box\""),
    ("settings/ntp/servers", "[\"ntp.example.org\"]"),
    ("settings/log/level", "\"verbose\""),
];
const DOCUMENT: &str = "\
format = 1

[[step]]
rename = { from = \"settings.ntp\", to = \"settings.time\" }

[[step]]
replace = { setting = \"settings.log.level\", old = \"verbose\", new = \"debug\" }
";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nquickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    for program in ["mke2fs", "debugfs"] {
        if find(program).is_none() {
            return Err(format!(
                "{program} is not installed; it makes the file systems of the releases. On Debian: \
                 apt-get install e2fsprogs"
            )
            .into());
        }
    }
    println!("Building updog, updata, signpost and migrator ...");
    let mut tour = Tour::start()?;
    tour.publish_first_release()?;
    tour.make_host()?;
    tour.update_to_second_release()?;
    tour.roll_back_and_forward()?;
    tour.fall_back_from_a_bad_release()?;
    tour.refuse_a_tampered_mirror()?;
    tour.leave()
}

struct Tour {
    dir: PathBuf,
    server: Server,
    /// The set that runs.
    active: String,
    steps: u32,
}

impl Tour {
    fn start() -> Result<Self> {
        let target = programs::folder().parent().ok_or("the target folder")?;
        let dir = target.join("quickstart");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        for folder in ["images", "repo", "host"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let server = Server::start(&dir);
        Ok(Self {
            dir,
            server,
            active: "A".to_owned(),
            steps: 0,
        })
    }

    fn publish_first_release(&mut self) -> Result<()> {
        self.step("A publisher makes keys, a root of trust and a first release");
        say(
            "Root, targets, snapshot and timestamp have keys of their own. The root file system is \
             hashed into a dm-verity tree, and its root hash goes into the boot image.",
        );
        self.shell(
            "updata",
            &["keys", "new", "--out", "keys", "--root-keys", "2"],
        )?;
        self.shell(
            "updata",
            &[
                "root",
                "new",
                "--keys",
                "keys",
                "--out",
                "root.json",
                "--threshold",
                "2",
            ],
        )?;
        self.release("1.0.0")
    }

    fn make_host(&mut self) -> Result<()> {
        self.step("A host leaves the factory with 1.0.0 in set A");
        say(
            "The disk is a file with a GPT. Each set is a boot, a root and a hash partition; the \
             boot partitions carry priority, tries left and successful.",
        );
        let arguments = ["disk", "--out", "host/disk.img", "--version", "1.0.0"];
        let images = [
            "--variant",
            VARIANT,
            "--arch",
            ARCH,
            "--root-image",
            "images/1.0.0-root.ext4",
        ];
        let more = [
            "--boot-image",
            "images/1.0.0-boot.ext4",
            "--hash-image",
            "images/1.0.0-hash",
        ];
        self.shell("updata", &[&arguments[..], &images, &more].concat())?;
        fs::copy(self.dir.join("root.json"), self.dir.join("host/root.json"))?;
        say(
            "Its settings lie in a datastore, one file a setting, under the version that wrote them:",
        );
        self.make_datastore("1.0.0")?;
        self.show_settings()?;
        self.become_booted("A")?;
        self.signpost(&["status"])
    }

    fn update_to_second_release(&mut self) -> Result<()> {
        self.step("1.1.0 is published, and the host takes it");
        say(
            "1.1.0 knows no motd, and calls two settings something else. One migration is a program \
             (migrator/examples), the other one a document:",
        );
        let document = self.dir.join("images/rename-ntp.toml");
        fs::write(&document, DOCUMENT)?;
        println!("\n{}", indented(DOCUMENT));
        let program = programs::example("migrator", "example-migration");
        self.release_with(
            "1.1.0",
            &[
                format!("1.0.0:1.1.0:{}", program.display()),
                "1.0.0:1.1.0:images/rename-ntp.toml".to_owned(),
            ],
        )?;
        self.updog(&["check-update"])?;
        say("Before anything is written the migrations are tried on a copy, forward and back:");
        self.updog(&["plan"])?;
        say(
            "update clears the boot bits of set B, streams hash, root and boot image into it, reads \
             them back from the disk, and only then lets B be tried once.",
        );
        self.updog(&["update"])?;
        self.signpost(&["status"])?;
        say("Until the reboot, and after it, every byte can be checked again without a network:");
        self.updog(&["verify"])?;
        self.boot()?;
        self.show_settings()?;
        say(
            "Before it can say that it is well, the machine loses power. Its one try is spent: 1.0.0 \
             boots, and finds its settings as they were, also the one that 1.1.0 does not have.",
        );
        self.boot()?;
        self.show_settings()?;
        say("Once more; a power cut is no bad release:");
        self.updog(&["update"])?;
        self.boot()?;
        say("This time it comes up well, so the host says so.");
        self.signpost(&["mark-successful-boot"])
    }

    fn roll_back_and_forward(&mut self) -> Result<()> {
        self.step("Somebody rolls back by hand, and forward again");
        say(
            "Set A still holds 1.0.0. No network and no download: it is read, compared with its record, \
             and gets one try. What is left is not taken again by itself.",
        );
        self.updog(&["rollback"])?;
        self.boot()?;
        say("The settings followed:");
        self.show_settings()?;
        self.signpost(&["mark-successful-boot"])?;
        self.updog(&["status"])?;
        self.updog(&["rollback"])?;
        self.boot()?;
        self.signpost(&["mark-successful-boot"])
    }

    fn fall_back_from_a_bad_release(&mut self) -> Result<()> {
        self.step("1.2.0 never comes up");
        self.release("1.2.0")?;
        self.updog(&["update"])?;
        self.boot()?;
        say(
            "Nothing marks this boot successful: imagine a kernel that hangs and a watchdog that \
             resets. Its one try is spent, so the boot loader goes back by itself.",
        );
        self.boot()?;
        say("It may have been a power cut: it is tried once more, and then no more.");
        self.updog(&["history"])?;
        self.updog(&["explain", "--version", "1.2.0"])
    }

    fn refuse_a_tampered_mirror(&mut self) -> Result<()> {
        self.step("A mirror serves a root image with one bit flipped");
        let name = format!("{VARIANT}-{ARCH}-1.2.0-root.ext4.lz4");
        let (original, path) = self.tamper(&name)?;
        self.refused("updog", &["--config", "host/updog.toml", "update"])?;
        fs::write(path, original)?;
        say("The image was never finished, so nothing became bootable; 1.1.0 runs on:");
        self.signpost(&["select"])
    }

    fn leave(&mut self) -> Result<()> {
        self.step("Your turn");
        // The server ends with this program; the same repository can be read as files.
        self.configure(&format!("file://{}", self.dir.display()))?;
        let folder = self.dir.display();
        let bin = programs::folder().display();
        println!(
            "Everything is in {folder}; the host reads the repository there as files.\n\
             \n\
             \x20 cd {folder}\n\
             \x20 export PATH=\"{bin}:$PATH\"\n\
             \x20 updog --config host/updog.toml status\n\
             \x20 updog --config host/updog.toml plan\n\
             \x20 updog --config host/updog.toml update\n\
             \x20 signpost --disk host/disk.img select --consume-try\n\
             \x20 updata validate --help"
        );
        Ok(())
    }

    /// A datastore as the first boot of `version` leaves it.
    fn make_datastore(&self, version: &str) -> Result<()> {
        let folder = self.dir.join("host/datastore");
        let store = format!("v{version}_quickstart000000");
        for (path, value) in SETTINGS {
            let path = folder.join(&store).join("live").join(path);
            fs::create_dir_all(path.parent().ok_or("a setting lies in a folder")?)?;
            fs::write(path, value)?;
        }
        let links = [
            ("v1.0.0", store.as_str()),
            ("v1.0", "v1.0.0"),
            ("v1", "v1.0"),
            ("current", "v1"),
        ];
        for (link, to) in links {
            symlink(to, folder.join(link))?;
        }
        Ok(())
    }

    /// Shows the settings in use, as files.
    fn show_settings(&self) -> Result<()> {
        println!("\n  $ cd host/datastore/current/live && grep -r .");
        let ran = Command::new("grep")
            .args(["-r", "."])
            .current_dir(self.dir.join("host/datastore/current/live"))
            .output()?;
        let text = String::from_utf8(ran.stdout)?;
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        for line in lines {
            println!("    {line}");
        }
        Ok(())
    }

    /// Makes and publishes a release from programs of this machine.
    fn release(&self, version: &str) -> Result<()> {
        self.release_with(version, &[])
    }

    /// The same, with migrations.
    fn release_with(&self, version: &str, migrations: &[String]) -> Result<()> {
        let image = |kind: &str| format!("images/{version}-{kind}");
        let (root, boot, hash) = (image("root.ext4"), image("boot.ext4"), image("hash"));
        let tree = self.dir.join(image("tree"));
        let programs = tree.join("usr/bin");
        fs::create_dir_all(&programs)?;
        fs::create_dir_all(tree.join("usr/lib"))?;
        for file in FILES.map(Path::new).iter().filter(|file| file.exists()) {
            fs::copy(
                file,
                programs.join(file.file_name().ok_or("a program has a name")?),
            )?;
        }
        fs::write(
            tree.join("usr/lib/os-release"),
            format!("NAME=Quickstart\nVARIANT_ID={VARIANT}\nVERSION_ID={version}\n"),
        )?;
        self.make_ext4(&tree, &root, "16M")?;
        let facts = self.shell_data("updata", &["verity", &root, "--hash-out", &hash, "--json"])?;
        let facts: serde_json::Value = serde_json::from_str(&facts)?;
        let root_hash = facts["root_hash"]
            .as_str()
            .ok_or("updata verity prints the root hash")?;

        let tree = self.dir.join(image("boot"));
        fs::create_dir_all(tree.join("grub"))?;
        fs::write(
            tree.join("grub/grub.cfg"),
            format!("linux /vmlinuz roothash={root_hash}\n"),
        )?;
        self.make_ext4(&tree, &boot, "4M")?;
        let arguments = [
            "release",
            "--repo",
            "repo",
            "--root-role",
            "root.json",
            "--keys",
            "keys",
        ];
        let release = ["--variant", VARIANT, "--arch", ARCH, "--version", version];
        let images = [
            "--root-image",
            &root,
            "--boot-image",
            &boot,
            "--hash-image",
            &hash,
        ];
        let migrations = migrations.iter().flat_map(|m| ["--migration", m]);
        let migrations: Vec<&str> = migrations.collect();
        self.shell(
            "updata",
            &[&arguments[..], &release, &images, &migrations].concat(),
        )
    }

    fn make_ext4(&self, tree: &Path, image: &str, size: &str) -> Result<()> {
        let mke2fs = find("mke2fs").ok_or("mke2fs was found before")?;
        let status = Command::new(mke2fs)
            .args(["-q", "-t", "ext4", "-O", "^has_journal", "-b", "4096", "-d"])
            .arg(tree)
            .arg(self.dir.join(image))
            .arg(size)
            .stdout(Stdio::null())
            .status()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("mke2fs of {image}: {status}").into())
        }
    }

    /// Plays the boot loader: picks a set, spends its try, and that set runs.
    fn boot(&mut self) -> Result<()> {
        say("The boot loader picks a set, and spends its try:");
        let slot = self.shell_data(
            "signpost",
            &["--disk", "host/disk.img", "select", "--consume-try"],
        )?;
        self.become_booted(slot.trim())?;
        say("Early in its boot the system brings the settings into its own form:");
        let arguments = [
            "--datastore-path",
            "host/datastore/current",
            "--metadata-directory",
            "host/metadata",
            "--migration-directory",
            "host/migrations",
            "--root-path",
            "host/root.json",
        ];
        let version = [
            "--os-release",
            "host/os-release",
            "--migrate-to-version-from-os-release",
        ];
        self.shell("migrator", &[&arguments[..], &version].concat())
    }

    /// `slot` runs now: its version is read from the root file system in its partition.
    fn become_booted(&mut self, slot: &str) -> Result<()> {
        slot.clone_into(&mut self.active);
        let status = programs::run_in(
            &self.dir,
            "signpost",
            &[
                "--disk",
                "host/disk.img",
                "--active",
                slot,
                "--json",
                "status",
            ],
        )
        .done()
        .json();
        let root = status["sets"][slot]["root"]
            .as_str()
            .ok_or("a root partition")?;
        let (_, offset) = root.rsplit_once('@').ok_or("a partition of a file")?;
        let debugfs = find("debugfs").ok_or("debugfs was found before")?;
        let image = format!(
            "{}?offset={offset}",
            self.dir.join("host/disk.img").display()
        );
        let output = Command::new(debugfs)
            .args(["-R", "cat /usr/lib/os-release", &image])
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        if !text.contains("VERSION_ID=") {
            return Err(format!("set {slot} holds no root file system").into());
        }
        fs::write(self.dir.join("host/os-release"), &text)?;
        self.configure(&self.server.url())?;
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_ID="));
        println!(
            "  (set {slot} runs, with version {})",
            version.unwrap_or("unknown")
        );
        Ok(())
    }

    fn configure(&self, base_url: &str) -> Result<()> {
        let host = self.dir.join("host");
        let host = host.display();
        let active = &self.active;
        fs::write(
            self.dir.join("host/updog.toml"),
            format!(
                "metadata_base_url = \"{base_url}/repo/{VARIANT}/{ARCH}/\"\n\
                 targets_base_url = \"{base_url}/repo/targets/\"\n\
                 seed = 512\n\
                 trusted_root = \"{host}/root.json\"\n\
                 os_release = \"{host}/os-release\"\n\
                 state_dir = \"{host}/state\"\n\
                 metadata_cache = \"{host}/metadata\"\n\
                 migrations_dir = \"{host}/migrations\"\n\
                 lock_file = \"{host}/run/lock\"\n\
                 disk = \"{host}/disk.img\"\n\
                 datastore = \"{host}/datastore/current\"\n\
                 # This machine is not the one that is updated.\n\
                 reboot_command = [\"echo\", \"here the host would reboot\"]\n\
                 # On a file nobody can ask the kernel which set runs.\n\
                 active = \"{active}\"\n"
            ),
        )?;
        Ok(())
    }

    /// Flips one bit in the middle of a target. Returns what was there, and where.
    fn tamper(&self, name: &str) -> Result<(Vec<u8>, PathBuf)> {
        let targets = self.dir.join("repo/targets");
        let path = fs::read_dir(targets)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.to_string_lossy().ends_with(name))
            .ok_or("the root image is published")?;
        let original = fs::read(&path)?;
        let middle = original.len() / 2;
        let bit = [original[middle] ^ 1];
        fs::OpenOptions::new()
            .write(true)
            .open(&path)?
            .write_all_at(&bit, u64::try_from(middle)?)?;
        println!("  (bit flipped at byte {middle} of {name})");
        Ok((original, path))
    }

    fn updog(&self, arguments: &[&str]) -> Result<()> {
        self.shell(
            "updog",
            &[&["--config", "host/updog.toml"], arguments].concat(),
        )
    }

    fn signpost(&self, arguments: &[&str]) -> Result<()> {
        let disk = ["--disk", "host/disk.img", "--active", &self.active];
        self.shell("signpost", &[&disk, arguments].concat())
    }

    fn shell(&self, program: &str, arguments: &[&str]) -> Result<()> {
        self.shell_data(program, arguments).map(|_| ())
    }

    fn shell_data(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let ran = self.show(program, arguments);
        if ran.code == Some(0) {
            Ok(ran.stdout)
        } else {
            Err(format!("that ended with {:?} instead of 0", ran.code).into())
        }
    }

    fn refused(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let ran = self.show(program, arguments);
        println!("  (exit code {})", ran.code.unwrap_or(-1));
        if ran.code == Some(1) {
            Ok(())
        } else {
            Err("that should have been refused".into())
        }
    }

    /// Shows the command, runs it in the tour's folder and shows what it says.
    fn show(&self, program: &str, arguments: &[&str]) -> programs::Ran {
        println!("\n  $ {program} {}", arguments.join(" "));
        let ran = programs::run_in(&self.dir, program, arguments);
        for line in ran.stderr.lines().chain(ran.stdout.lines()) {
            println!("    {line}");
        }
        ran
    }

    fn step(&mut self, title: &str) {
        self.steps += 1;
        println!("\n{}. {title}", self.steps);
    }
}

fn say(text: &str) {
    let mut column = 0;
    println!();
    for word in text.split_whitespace() {
        if column + word.len() > 76 {
            println!();
            column = 0;
        }
        print!("{}{word}", if column == 0 { "  " } else { " " });
        column += word.len() + 1;
    }
    println!();
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
