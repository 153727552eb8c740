//! The way to another version and back again, on a copy: what would change, what would be lost.
//!
//! Writes to one scratch folder and to nothing else, and removes it. Takes no lock: it looks at the
//! store in use once, and works on what it saw.

use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::Version;
use serde::Serialize;
use snafu::{ResultExt, Snafu};
use update_metadata::MigrationGraph;

use crate::changes::{Change, Values, between};
use crate::cli::chain;
use crate::datastore::{DatastoreError, Store};
use crate::kept::KeptFile;
use crate::links::{Layout, LinkError};
use crate::plan::{Course, course, step_versions};
use crate::repository::{Places, Repository};
use crate::run::{Ports, WayError, room, steps};
use crate::steps::{StepReport, Walker, read_kept};

/// The version of the report's form.
const SCHEMA: u32 = 1;

/// What is rehearsed.
#[derive(Debug, Clone)]
pub struct Options {
    /// The link that all readers of the datastore begin with.
    pub datastore: PathBuf,
    /// The cached repository.
    pub places: Places,
    /// The version to go to.
    pub to: Version,
    /// The variant.
    pub variant: String,
    /// How long one migration may take.
    pub time: Duration,
    /// In which folder the scratch folder is made; the system's for temporary files if none.
    pub scratch: Option<PathBuf>,
    /// Whether values are told.
    pub values: Values,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Both ways can be gone.
    Ok,
    /// One cannot.
    Failed,
    /// There is no datastore yet, so nothing to go wrong.
    NoDatastore,
}

/// One way.
#[derive(Debug, Clone, Serialize)]
pub struct Leg {
    /// From which version.
    pub from: Version,
    /// To which.
    pub to: Version,
    /// Every step that was begun.
    pub steps: Vec<StepReport>,
    /// Why it cannot be gone.
    pub reason: Option<String>,
}

/// The report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of this form.
    pub schema: u32,
    /// How it went.
    pub result: Verdict,
    /// The version whose store is in use.
    pub from: Option<Version>,
    /// The version that was rehearsed.
    pub to: Version,
    /// Why it failed.
    pub reason: Option<String>,
    /// The way to the version.
    pub there: Option<Leg>,
    /// The way back.
    pub back: Option<Leg>,
    /// What would change.
    pub changes: Vec<Change>,
    /// What would not be the same after the way back.
    pub lost: Vec<Change>,
}

/// Why it cannot even begin.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum RehearseError {
    /// The links are not in order.
    #[snafu(transparent)]
    Links { source: LinkError },
    /// The store in use cannot be read.
    #[snafu(display("reading the store in use"))]
    Read { source: DatastoreError },
    /// There is no scratch folder.
    #[snafu(display("making a scratch folder"))]
    Scratch { source: std::io::Error },
    /// The copy cannot be made.
    #[snafu(display("copying the store in use"))]
    Copy { source: DatastoreError },
    /// A way cannot be gone.
    #[snafu(transparent)]
    Way { source: WayError },
}

impl Report {
    fn of(options: &Options) -> Self {
        Self {
            schema: SCHEMA,
            result: Verdict::NoDatastore,
            from: None,
            to: options.to.clone(),
            reason: None,
            there: None,
            back: None,
            changes: Vec::new(),
            lost: Vec::new(),
        }
    }
}

/// Rehearses. What goes wrong is in the report.
pub fn rehearse(options: &Options, ports: Ports<'_>) -> Report {
    let mut report = Report::of(options);
    if let Err(error) = fill(&mut report, options, ports) {
        report.result = Verdict::Failed;
        report.reason = Some(chain(&error));
    }
    report
}

fn fill(report: &mut Report, options: &Options, ports: Ports<'_>) -> Result<(), RehearseError> {
    let Some(layout) = Layout::read(&options.datastore)? else {
        return Ok(());
    };
    report.from = Some(layout.version.clone());
    let before = Store::read(&layout.path(&layout.store)).context(ReadSnafu)?;
    let kept = read_kept(&layout.folder, &layout.store);
    let scratch = match &options.scratch {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    }
    .context(ScratchSnafu)?;
    // Rules about folders go by real paths.
    let scratch_path = std::fs::canonicalize(scratch.path()).context(ScratchSnafu)?;
    let copy = scratch_path.join("copy");
    before.write(&copy).context(CopySnafu)?;
    let repository = (ports.open)(&options.places, &[&scratch_path]).map_err(WayError::from)?;
    let graph = repository.graph().map_err(WayError::from)?;
    let stage = Stage {
        options,
        ports,
        repository: &*repository,
        graph: &graph,
        scratch: &scratch_path,
        home: &layout.folder,
    };
    let (from, to) = (&layout.version, &options.to);
    let (leg, end) = stage.go((from, to), (&copy, kept));
    report.there = Some(leg);
    let (path, store, kept) = end?;
    report.changes = between(&before, &store, options.values);
    let (leg, end) = stage.go((to, from), (&path, kept));
    report.back = Some(leg);
    let (_, store, _) = end?;
    report.lost = between(&before, &store, options.values);
    report.result = Verdict::Ok;
    Ok(())
}

struct Stage<'a> {
    options: &'a Options,
    ports: Ports<'a>,
    repository: &'a dyn Repository,
    graph: &'a MigrationGraph,
    scratch: &'a Path,
    /// The datastore's folder, where the same has to have the room.
    home: &'a Path,
}

type End = Result<(PathBuf, Store, KeptFile), WayError>;

impl Stage<'_> {
    fn go(&self, (from, to): (&Version, &Version), start: (&Path, KeptFile)) -> (Leg, End) {
        let mut reports = Vec::new();
        let end = self.walk((from, to), start, &mut reports);
        let leg = Leg {
            from: from.clone(),
            to: to.clone(),
            steps: reports,
            reason: end.as_ref().err().map(|error| chain(error)),
        };
        (leg, end)
    }

    fn walk(
        &self,
        (from, to): (&Version, &Version),
        (source, kept): (&Path, KeptFile),
        reports: &mut Vec<StepReport>,
    ) -> End {
        let Course::Migrate(path) = course(from, to, self.graph)? else {
            let store = Store::read(source).map_err(|source| WayError::Unreadable { source })?;
            return Ok((source.to_owned(), store, kept));
        };
        let steps = steps(&path, &step_versions(&path, self.graph));
        // A boot that ends for want of room is a boot lost.
        room(self.home, source, &steps)?;
        let walker = Walker {
            effects: self.ports.effects,
            exec: self.ports.exec,
            source: self.repository,
            variant: &self.options.variant,
            limit: room(self.scratch, source, &steps)?,
            time: self.options.time,
        };
        walker.check(&steps)?;
        let place = self.scratch.join(format!("to-{to}"));
        let folder = self.scratch;
        self.ports
            .effects
            .make_dir(&place)
            .map_err(|source| WayError::Begin {
                folder: folder.to_owned(),
                source,
            })?;
        let made = walker.walk(&steps, (source, kept), (&place, "store"), reports)?;
        Ok((made.path, made.store, made.kept))
    }
}
