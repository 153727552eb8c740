//! What the story is played with: releases from programs of this machine, a host that is a folder, its
//! boot, and a shell that shows what it runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use system_tests::programs;

use super::{ARCH, Result, Tour, VARIANT};

/// One for all releases: the tree of the running set tells where its blocks lie.
const SALT: &str = "7c0ffee1";

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

impl Tour {
    /// A datastore as the first boot of `version` leaves it.
    pub(super) fn make_datastore(&self, version: &str) -> Result<()> {
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
    pub(super) fn show_settings(&self) -> Result<()> {
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
    pub(super) fn release(&self, version: &str) -> Result<()> {
        self.release_with(version, &[])
    }

    /// The same, with migrations.
    pub(super) fn release_with(&self, version: &str, migrations: &[String]) -> Result<()> {
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
        let facts = self.shell_data(
            "updata",
            &[
                "verity",
                &root,
                "--hash-out",
                &hash,
                "--salt",
                SALT,
                "--json",
            ],
        )?;
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

    pub(super) fn make_ext4(&self, tree: &Path, image: &str, size: &str) -> Result<()> {
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
    pub(super) fn boot(&mut self) -> Result<()> {
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
    pub(super) fn become_booted(&mut self, slot: &str) -> Result<()> {
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

    pub(super) fn configure(&self, base_url: &str) -> Result<()> {
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

    /// Flips bits all over a target. Returns what was there, and where.
    pub(super) fn tamper(&self, name: &str) -> Result<(Vec<u8>, PathBuf)> {
        let targets = self.dir.join("repo/targets");
        let path = fs::read_dir(targets)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.to_string_lossy().ends_with(name))
            .ok_or("the root image is published")?;
        let original = fs::read(&path)?;
        // In each part of it: of an image a host fetches only the parts that it lacks.
        let mut tampered = original.clone();
        for byte in tampered.iter_mut().skip(4095).step_by(4096) {
            *byte ^= 1;
        }
        fs::write(&path, tampered)?;
        println!("  (a bit flipped in every 4096 bytes of {name})");
        Ok((original, path))
    }

    pub(super) fn updog(&self, arguments: &[&str]) -> Result<()> {
        self.shell(
            "updog",
            &[&["--config", "host/updog.toml"], arguments].concat(),
        )
    }

    pub(super) fn signpost(&self, arguments: &[&str]) -> Result<()> {
        let disk = ["--disk", "host/disk.img", "--active", &self.active];
        self.shell("signpost", &[&disk, arguments].concat())
    }

    pub(super) fn shell(&self, program: &str, arguments: &[&str]) -> Result<()> {
        self.shell_data(program, arguments).map(|_| ())
    }

    pub(super) fn shell_data(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let ran = self.show(program, arguments);
        if ran.code == Some(0) {
            Ok(ran.stdout)
        } else {
            Err(format!("that ended with {:?} instead of 0", ran.code).into())
        }
    }

    pub(super) fn refused(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let ran = self.show(program, arguments);
        println!("  (exit code {})", ran.code.unwrap_or(-1));
        if ran.code == Some(1) {
            Ok(())
        } else {
            Err("that should have been refused".into())
        }
    }

    /// Shows the command, runs it in the tour's folder and shows what it says.
    pub(super) fn show(&self, program: &str, arguments: &[&str]) -> programs::Ran {
        println!("\n  $ {program} {}", arguments.join(" "));
        let ran = programs::run_in(&self.dir, program, arguments);
        for line in ran.stderr.lines().chain(ran.stdout.lines()) {
            println!("    {line}");
        }
        ran
    }

    pub(super) fn step(&mut self, title: &str) {
        self.steps += 1;
        println!("\n{}. {title}", self.steps);
    }
}

pub(super) fn say(text: &str) {
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

pub(super) fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
