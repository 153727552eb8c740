//! A repository as it is after years of releases, and what reading and extending it costs.

use std::fs;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::programs;
use crate::publisher::{ARCH, Images, Publisher, VARIANT};
use crate::server::Server;

/// Blocks of a root image whose size does not matter.
const SMALL: usize = 16;
/// How often the memory of a program is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// What one run of a program cost.
#[derive(Debug, Clone)]
pub struct Cost {
    /// What was done.
    pub operation: String,
    /// From its start to its end.
    pub time: Duration,
    /// Bytes of memory that it held at most, as the kernel counts them (`VmHWM`).
    pub peak: u64,
}

impl Cost {
    /// Runs `command`, which must succeed.
    ///
    /// # Panics
    /// With everything it said, if it does not, and when the system does not tell its memory.
    pub fn of(operation: &str, command: &mut Command) -> Self {
        // Files, since nobody empties a pipe while the program is watched.
        let mut said = tempfile::tempfile().expect("a temporary file");
        let to = || said.try_clone().expect("a file can be shared");
        command.stdout(Stdio::from(to())).stderr(Stdio::from(to()));
        let start = Instant::now();
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut peak = 0;
        // The kernel forgets the peak together with the process, so it is asked until the end. It
        // only rises, and what is missed is what a program takes in its last moment.
        while child
            .try_wait()
            .expect("a child can be waited for")
            .is_none()
        {
            peak = high_water_mark(child.id()).unwrap_or(peak);
            thread::sleep(LOOK);
        }
        let time = start.elapsed();
        let status = child.wait().expect("a child can be waited for");
        if !status.success() {
            let mut text = String::new();
            said.rewind().expect("a file has a start");
            said.read_to_string(&mut text).expect("what it said");
            panic!("{command:?}: {status}\n{text}");
        }
        assert!(
            peak > 0,
            "{command:?} ended before its memory was looked at"
        );
        Self {
            operation: operation.to_owned(),
            time,
            peak,
        }
    }
}

/// `VmHWM` of a process, in bytes; nothing when it has ended.
fn high_water_mark(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

/// A repository with many versions.
#[derive(Debug)]
pub struct LargeRepository {
    publisher: Publisher,
    versions: usize,
    oldest: Images,
    /// What the first and the last release cost.
    pub releases: [Cost; 2],
}

impl LargeRepository {
    /// Publishes `versions` versions, one after the other, each with `migrations` programs from the
    /// one before.
    ///
    /// # Panics
    /// When a release fails.
    pub fn publish(versions: usize, migrations: usize) -> Self {
        let publisher = Publisher::new();
        let oldest = publisher.images(&version(0), SMALL);
        let first = release(&publisher, 0, 0, &oldest);
        let mut last = first.clone();
        for number in 1..versions {
            let images = publisher.images(&version(number), SMALL);
            last = release(&publisher, number, migrations, &images);
        }
        Self {
            publisher,
            versions,
            oldest,
            releases: [first, last],
        }
    }

    /// Targets that are listed.
    ///
    /// # Panics
    /// When `updata lint` fails.
    pub fn targets(&self) -> u64 {
        let lint = programs::run("updata", ["lint", &self.publisher.text("repo"), "--json"]);
        let outcome = lint.done().json();
        outcome["targets"].as_u64().expect("a count")
    }

    /// A host that runs the oldest version looks for an update, and finds one.
    ///
    /// # Panics
    /// When it does not.
    pub fn check_update(&self) -> Cost {
        let server = Server::start(&self.publisher.repo());
        let host = Host::new(&self.publisher, &version(0), &self.oldest, &server.url());
        Cost::of("check-update", &mut host.updog_command(&["check-update"]))
    }

    /// One more version is published, its root image of `root_blocks` blocks of 4 KiB.
    ///
    /// # Panics
    /// When the release fails.
    pub fn release_on_top(&mut self, root_blocks: usize) -> Cost {
        let number = self.versions;
        self.versions = number + 1;
        let images = self.publisher.images(&version(number), root_blocks);
        release(&self.publisher, number, 0, &images)
    }

    /// `updata lint`, with more arguments.
    ///
    /// # Panics
    /// When it finds an error.
    pub fn lint(&self, more: &[&str]) -> Cost {
        let mut command = Command::new(programs::path("updata"));
        command.arg("lint").arg(self.publisher.repo()).args(more);
        Cost::of(&["lint", &more.join(" ")].join(" "), &mut command)
    }

    /// Bytes of the newest `targets.json`, and of the newest manifest.
    ///
    /// # Panics
    /// When there are none.
    pub fn metadata_bytes(&self) -> [u64; 2] {
        let newest = |folder: PathBuf, suffix: &str| {
            fs::read_dir(folder)
                .expect("a folder")
                .map(|entry| entry.expect("an entry").path())
                .filter(|path| path.to_string_lossy().ends_with(suffix))
                .map(|path| fs::metadata(path).expect("a file").len())
                .max()
                .expect("a file")
        };
        [
            newest(self.publisher.metadata(), ".targets.json"),
            newest(self.publisher.targets(), ".manifest.json"),
        ]
    }
}

fn version(number: usize) -> String {
    format!("1.{number}.0")
}

fn release(publisher: &Publisher, number: usize, migrations: usize, images: &Images) -> Cost {
    let new = version(number);
    let mut command = Command::new(programs::path("updata"));
    command
        .args([
            "release",
            "--variant",
            VARIANT,
            "--arch",
            ARCH,
            "--version",
            &new,
        ])
        .args([Path::new("--repo"), &publisher.repo()])
        .args([Path::new("--root-role"), &publisher.path("root.json")])
        .args([Path::new("--keys"), &publisher.path("keys")])
        .args([Path::new("--root-image"), &images.root])
        .args([Path::new("--boot-image"), &images.boot])
        .args([Path::new("--hash-image"), &images.hash]);
    for migration in 0..migrations {
        let file = publisher.path(&format!("images/step-{number}-{migration}"));
        fs::write(&file, format!("#!/bin/sh\necho {number} {migration}\n")).expect("a program");
        let from = version(number - 1);
        command
            .arg("--migration")
            .arg(format!("{from}:{new}:{}", file.display()));
    }
    Cost::of(&format!("release {new}"), &mut command)
}
