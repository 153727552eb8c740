//! The first step of a release: everything that can be judged without the repository.

use std::collections::HashMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use snafu::ensure;
use update_metadata::WaveSchedule;

use super::ReleaseArgs;
use super::edges::Edge;
use super::error::{Error, SameNameSnafu};
use super::metadata::Periods;
use super::signing::Signing;
use crate::publish::image_file::ImageFile;
use crate::publish::wave_file;

/// Opened, read and found to be usable.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) signing: Signing,
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
        let periods = Periods {
            targets: args.expires_targets,
            snapshot: args.expires_snapshot,
            timestamp: args.expires_timestamp,
        };
        let (root, prepare) = (&args.root_role, args.prepare.as_deref());
        let signing = Signing::check(root, &args.keys, prepare, periods, now)?;
        let start = args.wave_start.unwrap_or(now);
        let waves = args
            .waves
            .as_deref()
            .map(|path| wave_file::schedule(path, start))
            .transpose()?;
        let (migrations, edges) = migrations(args)?;
        Ok(Self {
            signing,
            waves,
            root_image: ImageFile::open(&args.root_image)?,
            boot_image: ImageFile::open(&args.boot_image)?,
            migrations,
            edges,
        })
    }
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
