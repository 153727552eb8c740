//! The first step of a release: everything that can be judged without the repository.

use std::collections::HashMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use snafu::ensure;
use tough::schema::RoleType;
use update_metadata::WaveSchedule;

use super::ReleaseArgs;
use super::edges::Edge;
use super::error::{
    Error, MissingKeySnafu, MoreSignersSnafu, NotConsistentSnafu, RootExpiredSnafu, SameNameSnafu,
};
use super::metadata::{Expiries, Periods};
use crate::publish::durable;
use crate::publish::image_file::ImageFile;
use crate::publish::keyring::RoleKey;
use crate::publish::tuf::{self, RootFile};
use crate::publish::wave_file;

/// The roles that a release signs. The root key stays in its safe.
const SIGNED_ROLES: [RoleType; 3] = [RoleType::Targets, RoleType::Snapshot, RoleType::Timestamp];

/// Opened, read and found to be usable.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) root: RootFile,
    pub(super) keys: Vec<RoleKey>,
    pub(super) periods: Periods,
    pub(super) expires: Expiries,
    pub(super) waves: Option<WaveSchedule>,
    pub(super) root_image: ImageFile,
    pub(super) boot_image: ImageFile,
    /// Target name and program of each migration, every name once.
    pub(super) migrations: Vec<(String, ImageFile)>,
    /// The migrations given, one edge for each pair of versions.
    pub(super) edges: Vec<Edge>,
}

impl Inputs {
    pub(super) fn check(args: &ReleaseArgs, now: DateTime<Utc>) -> Result<Self, Error> {
        let root = usable_root(args, now)?;
        let keys = if let Some(dir) = &args.prepare {
            durable::refuse_occupied(dir)?;
            args.keys.read_present(&SIGNED_ROLES)?
        } else {
            let keys = args.keys.read_present(&SIGNED_ROLES)?;
            ensure_signers(&root, &keys, args)?;
            keys
        };
        let periods = Periods {
            targets: args.expires_targets,
            snapshot: args.expires_snapshot,
            timestamp: args.expires_timestamp,
        };
        let start = args.wave_start.unwrap_or(now);
        let waves = args
            .waves
            .as_deref()
            .map(|path| wave_file::schedule(path, start))
            .transpose()?;
        let (migrations, edges) = migrations(args)?;
        Ok(Self {
            root,
            keys,
            periods,
            expires: Expiries::of(periods, now)?,
            waves,
            root_image: ImageFile::open(&args.root_image)?,
            boot_image: ImageFile::open(&args.boot_image)?,
            migrations,
            edges,
        })
    }
}

fn usable_root(args: &ReleaseArgs, now: DateTime<Utc>) -> Result<RootFile, Error> {
    let path = &args.root_role;
    let root = RootFile::read(path)?;
    ensure!(root.root().consistent_snapshot, NotConsistentSnafu { path });
    let expires = root.root().expires;
    let valid = tuf::to_jiff(now).is_some_and(|now| now < expires);
    ensure!(
        valid,
        RootExpiredSnafu {
            path,
            expires: expires.to_string()
        }
    );
    Ok(root)
}

/// Whether the keys of each role are enough, so that a missing one is found before the work.
fn ensure_signers(root: &RootFile, keys: &[RoleKey], args: &ReleaseArgs) -> Result<(), Error> {
    for role in SIGNED_ROLES {
        let needed = root.threshold(role);
        let of_role = keys.iter().filter(|key| key.role == role);
        let usable = of_role.filter(|key| key.id_in(root.root()).is_some());
        let usable = u64::try_from(usable.count()).expect("a count of files fits in 64 bits");
        let root = &args.root_role;
        let place = args.keys.place();
        ensure!(usable > 0, MissingKeySnafu { role, root, place });
        ensure!(
            usable >= needed,
            MoreSignersSnafu {
                role,
                needed,
                usable
            }
        );
    }
    Ok(())
}

type Migrations = (Vec<(String, ImageFile)>, Vec<Edge>);

/// The files of the `--migration` options, and the edges that they make; the order of the options
/// for one pair of versions is the order in which they run.
fn migrations(args: &ReleaseArgs) -> Result<Migrations, Error> {
    let mut paths: HashMap<String, PathBuf> = HashMap::new();
    let mut files = Vec::new();
    let mut edges: Vec<Edge> = Vec::new();
    for migration in &args.migration {
        let same_pair = |edge: &Edge| edge.from == migration.from && edge.to == migration.to;
        let at = edges.iter().position(same_pair).unwrap_or_else(|| {
            let (from, to) = (migration.from.clone(), migration.to.clone());
            edges.push(Edge {
                from,
                to,
                targets: Vec::new(),
            });
            edges.len() - 1
        });
        let Some(path) = &migration.file else {
            continue;
        };
        let name = migration.target_name(path)?;
        if let Some(first) = paths.get(&name) {
            let second = path;
            ensure!(
                first == second,
                SameNameSnafu {
                    name,
                    first,
                    second
                }
            );
        } else {
            files.push((name.clone(), ImageFile::open(path)?));
            paths.insert(name.clone(), path.clone());
        }
        edges[at].targets.push(name);
    }
    Ok((files, edges))
}
