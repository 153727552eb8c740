//! The whole of it on a file: releases are published, verified, written to the inactive set of a
//! GPT disk, armed, "booted", rolled back, and refused. Real programs, real files, a real socket;
//! no root, no virtual machine. Only the boot is played: `signpost select --consume-try` does what
//! the boot loader does.
//!
//!     cargo run --example quickstart

#![allow(clippy::print_stdout)] // an example talks to whoever runs it

mod stage;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use system_tests::programs;
use system_tests::server::Server;

use self::stage::{find, indented, say};

const VARIANT: &str = "quickstart";
const ARCH: &str = std::env::consts::ARCH;

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
        self.step("A mirror serves a root image with bits flipped");
        self.release("1.3.0")?;
        let name = format!("{VARIANT}-{ARCH}-1.3.0-root.ext4.lz4");
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
}
