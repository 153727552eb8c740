//! What `sgdisk` and `cgpt` say about a disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use signpost::table::Side;

use crate::oracle;
use crate::programs::Ran;

/// The two programs.
#[derive(Debug, Clone)]
pub struct Oracles {
    sgdisk: PathBuf,
    cgpt: PathBuf,
}

/// A partition as a program prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    /// Its type, in capitals.
    pub type_guid: String,
    /// Its own identifier, in capitals.
    pub guid: String,
    /// Its first sector.
    pub first: u64,
    /// How many it has.
    pub sectors: u64,
    /// Its attribute bits: all 64 from `sgdisk`, 48 to 63 from `cgpt`.
    pub attributes: u64,
    /// Its name, quoted as the program does.
    pub name: String,
}

/// Partitions by their numbers.
pub type Partitions = BTreeMap<u32, Printed>;

/// What `sgdisk -v -p -i …` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sgdisk {
    /// All of it.
    pub text: String,
    /// What that comes to.
    pub judgement: Judgement,
    /// The partitions that were asked for and are there.
    pub partitions: Partitions,
}

/// What `sgdisk` makes of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It finds nothing to complain about.
    Content,
    /// Its only complaint is that the backup is not in the last sector.
    BackupNotAtEnd,
    /// Something is wrong; of these copies it says that they are damaged.
    Complains(Vec<Side>),
    /// It finds no table, or none that it can go by, and shows an empty one instead.
    NoTable,
    /// It did not come to an end.
    Silent,
}

impl Oracles {
    /// Both, or nothing after noting that `test` is skipped.
    pub fn find(test: &str) -> Option<Self> {
        Some(Self {
            sgdisk: oracle::find(test, "sgdisk")?,
            cgpt: oracle::find(test, "cgpt")?,
        })
    }

    /// Lets `sgdisk` verify a disk and print partitions. What it finds is in its words, not in its
    /// exit code. After two seconds at work it is ended.
    pub fn sgdisk(&self, disk: &Path, numbers: &[u32]) -> Sgdisk {
        // It walks from the first usable sector to the last, be there 2^64 of them.
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -t 2; exec \"$@\"", "sh"])
            .arg(&self.sgdisk)
            .args(["-v", "-p"]);
        for number in numbers {
            command.args(["-i", &number.to_string()]);
        }
        let ran = Ran::of(command.arg(disk));
        let text = format!("{}{}", ran.stdout, ran.stderr);
        let blocks = text.split("Partition GUID code: ").skip(1);
        let listed = listed(&text);
        let shown = numbers.iter().filter(|number| listed.contains(number));
        let partitions = blocks
            .zip(shown.copied())
            .filter_map(|(block, number)| Some((number, printed_by_sgdisk(block)?)))
            .collect();
        Sgdisk {
            judgement: Judgement::of(&text),
            text,
            partitions,
        }
    }

    /// Lets `sgdisk` change a disk.
    pub fn change(&self, disk: &Path, arguments: &[&str]) {
        Ran::of(Command::new(&self.sgdisk).args(arguments).arg(disk)).done();
    }

    /// The partitions as `cgpt` sees them; nothing when it does not take the table.
    pub fn cgpt(&self, disk: &Path) -> Option<Partitions> {
        let ran = Ran::of(
            Command::new(&self.cgpt)
                .args(["show", "-n", "-v"])
                .arg(disk),
        );
        (ran.code == Some(0)).then(|| printed_by_cgpt(&ran.stdout))
    }

    /// Priority, tries left and success of a partition, each asked for by itself.
    ///
    /// # Panics
    /// When `cgpt` does not say.
    pub fn cgpt_bits(&self, disk: &Path, number: u32) -> [u64; 3] {
        ["-P", "-T", "-S"].map(|flag| {
            let number = number.to_string();
            let mut command = Command::new(&self.cgpt);
            let ran = Ran::of(command.args(["show", "-i", &number, flag]).arg(disk)).done();
            ran.stdout.trim().parse().expect("a number")
        })
    }
}

impl Judgement {
    fn of(text: &str) -> Self {
        let damaged = |side: &str| {
            let error = |part: &str| text.contains(&format!("{side} {part}: ERROR"));
            error("header") || error("partition table")
        };
        let sides = [("Main", Side::Primary), ("Backup", Side::Backup)];
        let blamed: Vec<_> = sides
            .into_iter()
            .filter(|(name, _)| damaged(name))
            .map(|(_, side)| side)
            .collect();
        let content = text.contains("No problems found");
        let only = text.contains("Identified 1 problems") && blamed.is_empty();
        if text.contains("Creating new GPT entries") {
            Self::NoTable
        } else if content && blamed.is_empty() {
            Self::Content
        } else if only && text.contains("doesn't reside\nat the end of the disk") {
            Self::BackupNotAtEnd
        } else if content || text.contains("Identified ") {
            Self::Complains(blamed)
        } else {
            Self::Silent
        }
    }
}

/// The numbers that `sgdisk` lists. Of others `-i` prints a line, or, if their type alone is set,
/// nothing.
fn listed(text: &str) -> Vec<u32> {
    text.lines()
        .skip_while(|line| !line.starts_with("Number  Start (sector)"))
        .skip(1)
        .map_while(|line| line.split_whitespace().next()?.parse().ok())
        .collect()
}

fn printed_by_sgdisk(block: &str) -> Option<Printed> {
    let field = |label: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(label))?;
        Some(line.trim())
    };
    let word = |label: &str| field(label)?.split_whitespace().next();
    let first = word("First sector: ")?.parse().ok()?;
    let last: u64 = word("Last sector: ")?.parse().ok()?;
    Some(Printed {
        type_guid: block.split_whitespace().next()?.to_owned(),
        guid: field("Partition unique GUID: ")?.to_owned(),
        first,
        sectors: last.checked_sub(first)?.checked_add(1)?,
        attributes: u64::from_str_radix(field("Attribute flags: ")?, 16).ok()?,
        name: field("Partition name: ")?.to_owned(),
    })
}

/// A partition takes four lines, of which the first begins with three numbers.
fn printed_by_cgpt(text: &str) -> Partitions {
    let mut partitions = Partitions::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((numbers, name)) = line.split_once("Label: ") else {
            continue;
        };
        let numbers: Vec<u64> = numbers
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let mut field = |label: &str| {
            let line = lines.next()?.trim();
            line.strip_prefix(label).map(str::to_owned)
        };
        let (type_guid, guid, bits) = (field("Type: "), field("UUID: "), field("Attr: "));
        if let ([first, sectors, number], Some(type_guid), Some(guid), Some(bits)) =
            (&numbers[..], type_guid, guid, bits)
            && let Ok(number) = u32::try_from(*number)
            && let Ok(bits) = u64::from_str_radix(bits.trim_matches(['[', ']']), 16)
        {
            let printed = Printed {
                type_guid,
                guid,
                first: *first,
                sectors: *sectors,
                attributes: bits,
                name: name.to_owned(),
            };
            partitions.insert(number, printed);
        }
    }
    partitions
}
