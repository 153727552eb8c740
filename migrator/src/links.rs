//! The links by which a version finds its store, and the flip from one store to another.
//!
//! ```text
//! current     -> v1
//! v1          -> v1.5
//! v1.5        -> v1.5.2
//! v1.5.2      -> v1.5.2_a8Qf0ZpK3xTs7LwD      a folder: the store
//! ```
//!
//! The version is the name of the third link. A store's own name may show an older version, when
//! none of its settings had to change since. A link stays when another version takes over, so it
//! tells which store a version last ran with; nothing else does. A link is made only once its store
//! is on the disk whole, so a store that no link names is one that was never finished.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use semver::Version;
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use crate::folder::Folder;
use crate::host;

/// How names of things begin that a run makes and does not leave.
pub const STRAY_PREFIX: &str = ".migrator-";
/// Letters and digits after a store's version.
const RANDOM_LENGTH: usize = 16;
/// Names in the folder of the datastore. An ordinary host has about ten.
const MAX_ENTRIES: usize = 10_000;

/// Why the links do not lead to a store, or cannot be changed.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum LinkError {
    /// The path has no folder or no name.
    #[snafu(display(
        "the datastore's path {} does not end in the name of a link, as .../datastore/current does",
        path.display()
    ))]
    Path { path: PathBuf },
    /// Something cannot be looked at.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// There is something that is not a link.
    #[snafu(display(
        "{} is not a link; expected is {expected}",
        path.display()
    ))]
    NotALink {
        path: PathBuf,
        expected: &'static str,
    },
    /// A link leads out of the folder.
    #[snafu(display(
        "the link {} leads to {}, which is not the name of something in the same folder",
        path.display(),
        target.display()
    ))]
    Outside { path: PathBuf, target: PathBuf },
    /// A link leads to nothing.
    #[snafu(display("the link {} leads to {target}, which does not exist", path.display()))]
    Dangling { path: PathBuf, target: String },
    /// The links do not end after four.
    #[snafu(display(
        "the link {} leads to {target}, which is not a folder: after the links of the major, the \
         minor and the full version the store itself has to come",
        path.display()
    ))]
    NoStore { path: PathBuf, target: String },
    /// The third link does not say a version.
    #[snafu(display(
        "the link {} has no name of a version like v1.5.2",
        path.display()
    ))]
    NoVersion { path: PathBuf },
    /// The folder is not that of a datastore.
    #[snafu(display("{} has more than {MAX_ENTRIES} entries", path.display()))]
    TooMany { path: PathBuf },
    /// A link cannot be made or moved.
    #[snafu(display("letting the link {} lead to {target}", path.display()))]
    Flip {
        path: PathBuf,
        target: String,
        source: io::Error,
    },
    /// The links are changed, and it is not known whether on the disk.
    #[snafu(display("syncing the folder {}", path.display()))]
    Sync { path: PathBuf, source: io::Error },
}

/// The names of the links of one version, `current` apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkNames {
    /// `v1.5.2`; with everything after it when there is something: `v1.5.2-rc.1`.
    pub patch: String,
    /// `v1.5`
    pub minor: String,
    /// `v1`
    pub major: String,
}

impl LinkNames {
    /// Pure.
    pub fn of(version: &Version) -> Self {
        Self {
            patch: format!("v{version}"),
            minor: format!("v{}.{}", version.major, version.minor),
            major: format!("v{}", version.major),
        }
    }
}

/// The version in the name of a third link.
fn version_of_link(name: &str) -> Option<Version> {
    name.strip_prefix('v')?.parse().ok()
}

/// Whether a link is named like one of ours: `v1`, `v1.5` or `v1.5.2` and what may come after it.
fn is_like_a_version(name: &str) -> bool {
    let numbers = |text: &str| {
        let mut parts = text.split('.');
        text.split('.').count() <= 2 && parts.all(|part| part.parse::<u64>().is_ok())
    };
    version_of_link(name).is_some() || name.strip_prefix('v').is_some_and(numbers)
}

/// The version in the name of a store: `v<version>_<16 letters and digits>`.
pub fn version_of_store(name: &str) -> Option<Version> {
    let (version, random) = name.strip_prefix('v')?.rsplit_once('_')?;
    let is_random =
        random.len() == RANDOM_LENGTH && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    version.parse().ok().filter(|_| is_random)
}

/// A name for a new store.
///
/// # Errors
/// When the kernel gives no random bytes.
pub fn new_store_name(version: &Version) -> io::Result<String> {
    Ok(format!("v{version}_{}", host::random_name(RANDOM_LENGTH)?))
}

/// One full version's link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionLink {
    /// The link's name.
    pub name: String,
    /// The version that it is for.
    pub version: Version,
    /// The name of the store, which exists.
    pub store: String,
}

/// What the folder of a datastore holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The folder, without links in its path.
    pub folder: PathBuf,
    /// The name of the link that all readers of the datastore begin with: `current`.
    pub current: String,
    /// The version whose store is in use.
    pub version: Version,
    /// The name of the store in use.
    pub store: String,
    /// The links that lead there, first to last.
    pub chain: [String; 4],
    /// For each version the store that it last ran with, in the order of versions.
    pub versions: Vec<VersionLink>,
    /// The links that lead to another link, and to which: `v1` to `v1.5`.
    pub shortcuts: BTreeMap<String, String>,
    /// Every store, finished or not, in the order of names.
    pub stores: BTreeSet<String>,
    /// Every link that leads to nothing and is named like one of a version.
    pub dangling: BTreeSet<String>,
    /// What an earlier run did not finish, apart from stores.
    pub strays: BTreeSet<String>,
}

/// What there is in one name.
enum Entry {
    Link(PathBuf),
    Folder,
    Other,
}

impl Layout {
    /// Reads the folder of the datastore at `path`; `None` when there is nothing at `path`: no
    /// version ran here before.
    ///
    /// # Errors
    /// Every [`LinkError`] but [`LinkError::Flip`] and [`LinkError::Sync`].
    pub fn read(path: &Path) -> Result<Option<Self>, LinkError> {
        let (parent, name) = path
            .parent()
            .zip(path.file_name())
            .context(PathSnafu { path })?;
        let current = name.to_str().context(PathSnafu { path })?.to_owned();
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        let folder = match fs::canonicalize(parent) {
            Ok(folder) => folder,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(source).context(ReadSnafu { path: parent }),
        };
        if look(&folder.join(&current))?.is_none() {
            return Ok(None);
        }
        let chain = chain(&folder, &current)?;
        let [_, _, _, full] = &chain.links;
        let full_path = folder.join(full);
        let link_version = version_of_link(full).context(NoVersionSnafu { path: &full_path })?;
        let contents = Contents::read(&folder)?;
        let mut layout = Self {
            version: link_version,
            store: chain.store,
            chain: chain.links,
            current,
            versions: contents.versions,
            shortcuts: contents.shortcuts,
            stores: contents.stores,
            dangling: contents.dangling,
            strays: contents.strays,
            folder,
        };
        layout.correct_version();
        Ok(Some(layout))
    }

    /// Whoever makes the first store names its links by three numbers, also for `1.5.2-rc.1`. Then
    /// the store's name tells the version, unless that version has a link of its own: such a one
    /// only we make, and we name the others in full, too.
    fn correct_version(&mut self) {
        let numbers = |version: &Version| (version.major, version.minor, version.patch);
        let is_plain = self.version.pre.is_empty() && self.version.build.is_empty();
        if let Some(full) = version_of_store(&self.store)
            && is_plain
            && full != self.version
            && numbers(&full) == numbers(&self.version)
            && !self.versions.iter().any(|link| link.version == full)
        {
            self.version = full;
        }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The name of the store that `version` last ran with.
    pub fn store_of(&self, version: &Version) -> Option<&str> {
        if *version == self.version {
            return Some(&self.store);
        }
        let link = self.versions.iter().find(|link| link.version == *version);
        link.map(|link| link.store.as_str())
    }

    /// Whether store `name` was finished.
    pub fn is_complete(&self, name: &str) -> bool {
        name == self.store || self.versions.iter().any(|link| link.store == name)
    }

    /// Lets `current` lead to `store` as the store of `version`.
    ///
    /// Before: the store is on the disk whole. After: `current` leads to it, on the disk. After a
    /// crash in the middle `current` leads to the old store or to the new one, and the same call
    /// finishes the job: a link is moved only once everything behind it is on the disk. The version
    /// that is left keeps a link of its own.
    ///
    /// # Errors
    /// [`LinkError::Flip`], [`LinkError::Sync`] and [`LinkError::Read`].
    pub fn flip(
        &self,
        effects: &dyn Folder,
        version: &Version,
        store: &str,
    ) -> Result<(), LinkError> {
        // Only where the version was read off its store: see `correct_version`.
        let left = LinkNames::of(&self.version).patch;
        if look(&self.path(&left))?.is_none() {
            self.set_link(effects, &left, &self.store)?;
        }
        let names = LinkNames::of(version);
        self.set_link(effects, &names.patch, store)?;
        self.set_link(effects, &names.minor, &names.patch)?;
        self.set_link(effects, &names.major, &names.minor)?;
        self.set_link(effects, &self.current, &names.major)?;
        // Also when nothing had to change: an earlier run may have been cut off before its sync.
        self.sync(effects)
    }

    fn set_link(&self, effects: &dyn Folder, name: &str, target: &str) -> Result<(), LinkError> {
        let path = self.path(name);
        if fs::read_link(&path).is_ok_and(|now| now == Path::new(target)) {
            return Ok(());
        }
        let change = || {
            let random = host::random_name(RANDOM_LENGTH)?;
            let new = self.path(&format!("{STRAY_PREFIX}link-{random}"));
            effects.symlink(Path::new(target), &new)?;
            effects.rename(&new, &path)
        };
        change().context(FlipSnafu {
            path: &path,
            target,
        })?;
        self.sync(effects)
    }

    fn sync(&self, effects: &dyn Folder) -> Result<(), LinkError> {
        let path = &self.folder;
        effects.sync_dir(path).context(SyncSnafu { path })
    }
}

/// What is at `path`, links not followed; `None` if nothing.
fn look(path: &Path) -> Result<Option<Entry>, LinkError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            let target = fs::read_link(path).context(ReadSnafu { path })?;
            Ok(Some(Entry::Link(target)))
        }
        Ok(found) if found.is_dir() => Ok(Some(Entry::Folder)),
        Ok(_) => Ok(Some(Entry::Other)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(source).context(ReadSnafu { path }),
    }
}

struct Chain {
    links: [String; 4],
    store: String,
}

/// Follows the links from `current`, each by hand: what leads out of the folder is refused before
/// it is looked at, and what goes round in circles ends after four.
fn chain(folder: &Path, current: &str) -> Result<Chain, LinkError> {
    const EXPECTED: [&str; 4] = [
        "a link to that of a major version",
        "a link to that of a minor version",
        "a link to that of a full version",
        "a link to a store",
    ];
    let mut name = current.to_owned();
    let mut links = Vec::new();
    for expected in EXPECTED {
        let path = folder.join(&name);
        let target = match look(&path)? {
            Some(Entry::Link(target)) => target,
            Some(_) => return NotALinkSnafu { path, expected }.fail(),
            None => {
                // Every name but the first is the target of the link before it.
                let path = folder.join(links.last().unwrap_or(&name));
                return DanglingSnafu { path, target: name }.fail();
            }
        };
        let next = plain_name(&target).context(OutsideSnafu {
            path: &path,
            target: &target,
        })?;
        links.push(std::mem::replace(&mut name, next));
    }
    let store = name;
    let links = <[String; 4]>::try_from(links).unwrap_or_default();
    let path = folder.join(&links[3]);
    match look(&folder.join(&store))? {
        Some(Entry::Folder) => Ok(Chain { links, store }),
        Some(_) => NoStoreSnafu {
            path,
            target: store,
        }
        .fail(),
        None => DanglingSnafu {
            path,
            target: store,
        }
        .fail(),
    }
}

/// The one name that `target` consists of.
fn plain_name(target: &Path) -> Option<String> {
    let mut parts = target.components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) => name.to_str().map(str::to_owned),
        _ => None,
    }
}

/// Everything in the folder that is ours.
#[derive(Default)]
struct Contents {
    versions: Vec<VersionLink>,
    shortcuts: BTreeMap<String, String>,
    kept: Vec<String>,
    stores: BTreeSet<String>,
    dangling: BTreeSet<String>,
    strays: BTreeSet<String>,
}

impl Contents {
    fn read(folder: &Path) -> Result<Self, LinkError> {
        let mut contents = Self::default();
        let entries = fs::read_dir(folder).context(ReadSnafu { path: folder })?;
        for (count, entry) in entries.enumerate() {
            ensure!(count < MAX_ENTRIES, TooManySnafu { path: folder });
            let entry = entry.context(ReadSnafu { path: folder })?;
            let Ok(name) = entry.file_name().into_string() else {
                continue; // None of ours.
            };
            contents.sort_in(folder, name)?;
        }
        let Self { kept, stores, .. } = &mut contents;
        kept.retain(|name| !crate::steps::store_of_kept(name).is_some_and(|s| stores.contains(s)));
        let kept = std::mem::take(kept);
        contents.strays.extend(kept);
        contents
            .versions
            .sort_by(|one, other| (&one.version, &one.name).cmp(&(&other.version, &other.name)));
        Ok(contents)
    }

    fn sort_in(&mut self, folder: &Path, name: String) -> Result<(), LinkError> {
        let path = folder.join(&name);
        if name.starts_with(STRAY_PREFIX) {
            self.strays.insert(name);
            return Ok(());
        }
        match look(&path)? {
            Some(Entry::Folder) if version_of_store(&name).is_some() => {
                self.stores.insert(name);
            }
            Some(Entry::Link(target)) if name.starts_with('v') => {
                let Some(target) = plain_name(&target) else {
                    return Ok(()); // None of ours, and nothing that we use leads through it.
                };
                match (version_of_link(&name), look(&folder.join(&target))?) {
                    (_, None) if is_like_a_version(&name) => {
                        self.dangling.insert(name);
                    }
                    (Some(version), Some(Entry::Folder)) => self.versions.push(VersionLink {
                        name,
                        version,
                        store: target,
                    }),
                    (_, Some(Entry::Link(_))) => {
                        self.shortcuts.insert(name, target);
                    }
                    _ => {}
                }
            }
            Some(Entry::Other) if crate::steps::store_of_kept(&name).is_some() => {
                self.kept.push(name);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
