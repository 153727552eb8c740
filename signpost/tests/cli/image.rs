//! Disk images in folders of their own, and the program run on them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use signpost::testing::DiskBuilder;
use signpost::{BootAttributes, Slot};
use tempfile::TempDir;

/// What a run of the program said and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) data: String,
    pub(crate) talk: String,
}

/// A disk image in a folder of its own.
pub(crate) struct Image {
    pub(crate) folder: TempDir,
}

impl Image {
    pub(crate) fn of(builder: &DiskBuilder) -> Self {
        let image = Self {
            folder: TempDir::new().unwrap(),
        };
        builder.build_file(&image.path()).unwrap();
        image
    }

    pub(crate) fn factory() -> Self {
        Self::of(&small())
    }

    /// The bits of set A and set B, as sixteen-bit numbers: `0x0101` is priority 1 and successful.
    pub(crate) fn with(a: u64, b: u64) -> Self {
        let bits = |field: u64| BootAttributes::from_bits(field << 48);
        Self::of(&small().bits(Slot::A, bits(a)).bits(Slot::B, bits(b)))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("os.img")
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    pub(crate) fn edit(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes();
        change(&mut bytes);
        fs::write(self.path(), bytes).unwrap();
    }

    /// Runs the program in the folder of the image. Words are separated by spaces.
    pub(crate) fn run(&self, words: &str) -> Ran {
        self.run_args(&words.split(' ').collect::<Vec<_>>())
    }

    pub(crate) fn run_args(&self, args: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_signpost"))
            .args(args)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran {
            exit: output.status.code().unwrap(),
            data: String::from_utf8(output.stdout).unwrap(),
            talk: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command with this set running, which must succeed and put nothing on stdout.
    pub(crate) fn change(&self, active: &str, words: &str) -> String {
        let ran = self.run(&format!("{words} --disk os.img --active {active}"));
        assert_eq!(
            (ran.exit, ran.data.as_str()),
            (0, ""),
            "{words}: {}",
            ran.talk
        );
        ran.talk
    }

    pub(crate) fn json(&self, words: &str) -> Value {
        let ran = self.run(&format!("{words} --json --disk os.img"));
        assert_eq!(ran.exit, 0, "{words}: {}", ran.talk);
        serde_json::from_str(&ran.data).unwrap()
    }

    pub(crate) fn select(&self, words: &str) -> String {
        let ran = self.run(&format!("select {words} --disk os.img").replace("  ", " "));
        assert_eq!(ran.exit, 0, "{}", ran.talk);
        ran.data
    }
}

/// A disk of a few hundred KiB.
pub(crate) fn small() -> DiskBuilder {
    DiskBuilder::new().unit(32 * 1024)
}
