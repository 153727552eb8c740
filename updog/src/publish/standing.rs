//! Whether anything is published in a folder of metadata.
//!
//! `timestamp.json` is the one file that clients ask for by a name they know, and the last that is
//! written. So a folder without it may be one whose first release stopped halfway, or one whose
//! `timestamp.json` was lost: taking the second for the first would throw away every release. What
//! else lies there tells them apart, and where it does not, nothing is published and a person asked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu};
use tough::schema::{Signed, Targets};

use super::bounded;
use super::published::MAX_TARGETS_BYTES;
use super::release::metadata::TIMESTAMP;

/// Names that a message gives; of the others only their number.
const NAMES_SHOWN: usize = 5;

/// Why nothing is done to a folder.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum StandingError {
    /// The folder, or a file in it, cannot be looked at.
    #[snafu(display("looking at {}", path.display()))]
    Look { path: PathBuf, source: io::Error },
    /// Every release would be lost.
    #[snafu(display(
        "{} has no {TIMESTAMP}, but {}: what was published there is not given up; put {TIMESTAMP} \
         back from the newest copy (each host keeps one in state_dir/tuf), or, if no release was \
         ever finished there, remove what is named here",
        folder.display(), some_of(files)
    ))]
    Lost { folder: PathBuf, files: Vec<String> },
}

impl StandingError {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }
}

/// What a folder of metadata is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has a `timestamp.json`, good or bad.
    Published,
    /// It has nothing that a timestamp could lead to, or does not exist.
    Nothing,
    /// It has no `timestamp.json`, and no more than a first release of the same targets leaves that
    /// stopped halfway.
    Unfinished(Leftovers),
    /// It has no `timestamp.json`, but these files, which something else left.
    Lost(Vec<String>),
}

/// What a first release that stopped halfway left; no client was ever led to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// The snapshot role, if it got so far, then the targets role.
    files: Vec<PathBuf>,
    /// The highest version of the two.
    pub highest: Option<u64>,
}

impl Leftovers {
    /// They are in the way of everything but the release that left them.
    pub(super) fn lost(&self, folder: &Path) -> StandingError {
        StandingError::Lost {
            folder: folder.to_path_buf(),
            files: self.names(),
        }
    }

    /// The names of the files.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().map(|name| name.display().to_string());
        self.files.iter().filter_map(name).collect()
    }

    /// Removes them, so that a release that stops twice does not look like two releases. What is not
    /// there any more is no error.
    pub fn remove(&self) -> Result<(), StandingError> {
        self.files
            .iter()
            .try_for_each(|path| match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).context(LookSnafu { path })
                }
                _ => Ok(()),
            })
    }
}

impl Standing {
    /// Looks at `folder`, for somebody who would publish the targets `planned`, or no others than
    /// are published.
    ///
    /// # Errors
    /// [`StandingError::Look`] for whatever is not the plain absence of a file: what cannot be seen
    /// now may be there all the same.
    pub fn of(folder: &Path, planned: &[String]) -> Result<Self, StandingError> {
        let path = folder.join(TIMESTAMP);
        if is_there(&path).context(LookSnafu { path: &path })? {
            return Ok(Self::Published);
        }
        let (mut targets, mut snapshots, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for name in names(folder).context(LookSnafu { path: folder })? {
            match followed(&name) {
                None => {}
                Some(Followed::Targets(version)) => targets.push((version, name)),
                Some(Followed::Snapshot(version)) => snapshots.push((version, name)),
                Some(Followed::Other) => others.push(name),
            }
        }
        if targets.is_empty() && snapshots.is_empty() && others.is_empty() {
            return Ok(Self::Nothing);
        }
        if let ([(_, name)], [] | [_], []) = (&targets[..], &snapshots[..], &others[..]) {
            let path = folder.join(name);
            let bytes = bounded::read(&path, MAX_TARGETS_BYTES).context(LookSnafu { path })?;
            if lists_only(&bytes, planned) {
                let left = || snapshots.iter().chain(&targets);
                return Ok(Self::Unfinished(Leftovers {
                    files: left().map(|(_, name)| folder.join(name)).collect(),
                    highest: left().map(|(version, _)| *version).max(),
                }));
            }
        }
        let versioned = targets.into_iter().chain(snapshots).map(|(_, name)| name);
        let mut files: Vec<String> = versioned.chain(others).collect();
        files.sort();
        Ok(Self::Lost(files))
    }
}

/// Whether a name is in use. A link to nowhere is: what it led to was there once.
///
/// # Errors
/// Every error but the absence of the file, or of a folder on the way to it.
pub fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Pure: whether a file of this name makes a folder one of metadata.
pub fn is_metadata(name: &str) -> bool {
    name == TIMESTAMP || name.ends_with(".root.json") || followed(name).is_some()
}

/// A file that a timestamp leads to.
enum Followed {
    Targets(u64),
    Snapshot(u64),
    /// Of a delegated role, or not under its version.
    Other,
}

fn followed(name: &str) -> Option<Followed> {
    let stem = name.strip_suffix(".json")?;
    let versioned = stem
        .split_once('.')
        .and_then(|(version, role)| Some((version.parse().ok()?, role)));
    match versioned {
        Some((_, "root" | "timestamp")) => None,
        Some((version, "targets")) => Some(Followed::Targets(version)),
        Some((version, "snapshot")) => Some(Followed::Snapshot(version)),
        Some(_) => Some(Followed::Other),
        None => matches!(stem, "targets" | "snapshot").then_some(Followed::Other),
    }
}

/// Whether `bytes` are a targets role with no other targets than `planned`.
fn lists_only(bytes: &[u8], planned: &[String]) -> bool {
    serde_json::from_slice::<Signed<Targets>>(bytes).is_ok_and(|role| {
        let delegations = role.signed.delegations.as_ref();
        let mut targets = role.signed.targets.keys();
        delegations.is_none_or(|delegations| delegations.roles.is_empty())
            && targets.all(|name| planned.iter().any(|planned| planned == name.raw()))
    })
}

/// The names in a folder; none where it does not exist.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is not UTF-8 cannot be one of ours.
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

/// `a, b and 3 more`.
pub(super) fn some_of(files: &[String]) -> String {
    let shown = files.len().min(NAMES_SHOWN);
    let names = files[..shown].join(", ");
    match files.len().saturating_sub(shown) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        dir
    }

    /// A targets role with these targets.
    fn role(names: &[&str]) -> String {
        let hash = "00".repeat(32);
        let target = |name: &&str| {
            let facts = serde_json::json!({"length": 1, "hashes": {"sha256": hash}});
            ((*name).to_owned(), facts)
        };
        let targets: serde_json::Map<_, _> = names.iter().map(target).collect();
        serde_json::json!({"signatures": [], "signed": {
            "_type": "targets", "spec_version": "1.0.0", "version": 7,
            "expires": "2031-03-01T01:00:00Z", "targets": targets
        }})
        .to_string()
    }

    #[test]
    fn only_what_the_same_first_release_leaves_counts_as_unfinished() {
        let planned = ["a".to_owned(), "b".to_owned()];
        let (ours, more) = (role(&["a", "b"]), role(&["a", "b", "c"]));
        let lost = |names: &[&str]| Standing::Lost(names.iter().map(ToString::to_string).collect());
        for (files, expected) in [
            (vec![], Standing::Nothing),
            (
                vec![("1.root.json", ""), ("2.root.json", "")],
                Standing::Nothing,
            ),
            (
                vec![(".updata-x", ""), ("notes.json", "")],
                Standing::Nothing,
            ),
            (vec![("timestamp.json", "torn")], Standing::Published),
            (
                vec![("7.targets.json", &more[..])],
                lost(&["7.targets.json"]),
            ),
            (vec![("7.targets.json", "torn")], lost(&["7.targets.json"])),
            (vec![("7.snapshot.json", "")], lost(&["7.snapshot.json"])),
            (vec![("targets.json", &ours)], lost(&["targets.json"])),
            (
                vec![("7.targets.json", &ours), ("8.targets.json", &ours)],
                lost(&["7.targets.json", "8.targets.json"]),
            ),
            (
                vec![
                    ("7.targets.json", &ours),
                    ("7.snapshot.json", ""),
                    ("8.snapshot.json", ""),
                ],
                lost(&["7.snapshot.json", "7.targets.json", "8.snapshot.json"]),
            ),
            (
                vec![("7.targets.json", &ours), ("7.team.json", "")],
                lost(&["7.targets.json", "7.team.json"]),
            ),
        ] {
            let dir = folder(&files);
            assert_eq!(
                Standing::of(dir.path(), &planned).unwrap(),
                expected,
                "{files:?}"
            );
        }
        let dir = folder(&[("7.targets.json", &ours), ("9.snapshot.json", "")]);
        let Standing::Unfinished(left) = Standing::of(dir.path(), &planned).unwrap() else {
            panic!("it is what the same release leaves");
        };
        assert_eq!(left.highest, Some(9));
        left.remove().unwrap();
        assert_eq!(
            Standing::of(dir.path(), &planned).unwrap(),
            Standing::Nothing
        );
        left.remove().unwrap();
    }

    #[test]
    fn what_cannot_be_seen_is_not_taken_for_absent() {
        let dir = folder(&[("file", "")]);
        // A file where the folder should be: not the error of an absent one.
        let error = Standing::of(&dir.path().join("file"), &[]).unwrap_err();
        assert!(matches!(error, StandingError::Look { .. }), "{error}");
        assert_eq!(
            Standing::of(&dir.path().join("absent"), &[]).unwrap(),
            Standing::Nothing
        );
        std::os::unix::fs::symlink("gone", dir.path().join("timestamp.json")).unwrap();
        assert_eq!(Standing::of(dir.path(), &[]).unwrap(), Standing::Published);
    }

    #[test]
    fn a_message_names_a_few_files_and_counts_the_others() {
        let names: Vec<_> = (1..=7).map(|n| n.to_string()).collect();
        assert_eq!(some_of(&names), "1, 2, 3, 4, 5 and 2 more");
        assert_eq!(some_of(&names[..2]), "1, 2");
    }
}
