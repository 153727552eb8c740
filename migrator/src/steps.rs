//! From one store to the next, migration by migration, in a folder of its own.
//!
//! Never changes the store that it starts from, and has at most one intermediate store besides the
//! one that is being made. A step that fails, or leaves something that does not read as a store,
//! ends it; whoever gave the folder removes it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use semver::Version;
use serde::Serialize;
use snafu::{ResultExt, Snafu, ensure};

use crate::datastore::{DatastoreError, Store};
use crate::document::{Document, DocumentError, is_declarative};
use crate::folder::Folder;
use crate::kept::{self, KeptError, KeptFile};
use crate::key::{Key, Name};
use crate::migration::Direction;
use crate::repository::{Repository, RepositoryError};
use crate::room::Size;
use crate::runner::{ExecError, Execution, MigrationExec};

const KEPT_SUFFIX: &str = ".kept.json";

/// The name of the file with the values that were kept on the way to store `name`.
pub fn kept_name(name: &str) -> String {
    format!("{name}{KEPT_SUFFIX}")
}

/// The other way round.
pub(crate) fn store_of_kept(name: &str) -> Option<&str> {
    name.strip_suffix(KEPT_SUFFIX)
        .filter(|store| crate::links::version_of_store(store).is_some())
}

/// The values that were kept on the way to store `name` in `folder`. What cannot be read is said,
/// and is then not put back: no reason to be without settings.
pub fn read_kept(folder: &Path, name: &str) -> KeptFile {
    KeptFile::load(&folder.join(kept_name(name))).unwrap_or_else(|error| {
        tracing::warn!(
            "values kept for the way back are lost: {}",
            crate::cli::chain(&error)
        );
        KeptFile::default()
    })
}

/// One migration to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The target.
    pub migration: String,
    /// Which way.
    pub direction: Direction,
    /// The version that has the settings before.
    pub version: Version,
}

/// Which step failed, and why.
#[derive(Debug, Snafu)]
#[snafu(display("migration {migration} ({direction}, step {number} of {count})"))]
#[allow(missing_docs)] // the message says what each field is
pub struct StepError {
    pub migration: String,
    pub direction: Direction,
    pub number: usize,
    pub count: usize,
    #[snafu(source(from(StepFault, Box::new)))]
    pub source: Box<StepFault>,
}

/// What is wrong with a step.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum StepFault {
    /// The migration is not there as signed.
    #[snafu(transparent)]
    Repository { source: RepositoryError },
    /// A declarative migration is not understood, or does not apply.
    #[snafu(display("its document"))]
    Document { source: DocumentError },
    /// Its folder cannot be made.
    #[snafu(display("making the folder {}", path.display()))]
    MakeFolder { path: PathBuf, source: io::Error },
    /// It ran, and not to a good end.
    #[snafu(transparent)]
    Execution { source: ExecError },
    /// It left nothing, or a link.
    #[snafu(display("it left no folder at {}", path.display()))]
    NoFolder { path: PathBuf },
    /// What it left is no store.
    #[snafu(display("it left no sound store"))]
    Result { source: DatastoreError },
    /// The store that it starts from cannot be read.
    #[snafu(display("reading the store to start from"))]
    Source { source: DatastoreError },
    /// The store cannot be written.
    #[snafu(display("writing the store"))]
    Write { source: DatastoreError },
    /// The kept values cannot be written.
    #[snafu(display("writing what is kept for the way back"))]
    Kept { source: KeptError },
}

/// How one step went.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    /// The target.
    pub migration: String,
    /// `forward` or `backward`.
    pub direction: String,
    /// Milliseconds.
    pub took_ms: u64,
    /// Values that this step put back.
    pub restored: Vec<String>,
    /// `done`, or why not.
    pub result: String,
}

/// A store that was made.
#[derive(Debug)]
pub struct Made {
    /// Where it is: below the folder that was given.
    pub path: PathBuf,
    /// What it holds.
    pub store: Store,
    /// What was kept on the way.
    pub kept: KeptFile,
}

/// What steps are run with.
#[derive(Clone, Copy)]
pub struct Walker<'a> {
    /// Changes of the folder.
    pub effects: &'a dyn Folder,
    /// Runs programs.
    pub exec: &'a dyn MigrationExec,
    /// Where the migrations come from.
    pub source: &'a dyn Repository,
    /// The booting variant.
    pub variant: &'a str,
    /// What one store may become.
    pub limit: Size,
    /// How long one migration may take.
    pub time: Duration,
}

/// A store on the disk: the one that was started from, or an intermediate one in its own folder.
struct OnDisk {
    path: PathBuf,
    folder: Option<PathBuf>,
}

impl Walker<'_> {
    /// Reads every migration once, so that one that is damaged is found before the first one runs.
    ///
    /// # Errors
    /// [`StepError`] for the first that is not there as signed, or a document that is not one.
    pub fn check(&self, steps: &[Step]) -> Result<(), StepError> {
        for (index, step) in steps.iter().enumerate() {
            self.load(step).map_err(|fault| at(fault, index, steps))?;
        }
        Ok(())
    }

    /// Runs `steps`, beginning with the store at `from`, and leaves a store called `name` below
    /// `place`, an empty folder. `reports` gets an entry for each step that was begun.
    ///
    /// # Errors
    /// [`StepError`]; something unfinished may then be in `place`.
    pub fn walk(
        &self,
        steps: &[Step],
        (from, mut kept): (&Path, KeptFile),
        (place, name): (&Path, &str),
        reports: &mut Vec<StepReport>,
    ) -> Result<Made, StepError> {
        let mut store = Store::read(from)
            .context(SourceSnafu)
            .map_err(|fault| at(fault, 0, steps))?;
        for stray in &store.strays {
            let path = stray.path.display();
            tracing::warn!(
                "{path} is no setting, and is carried along: {}",
                stray.reason
            );
        }
        let mut on_disk = Some(OnDisk {
            path: from.to_owned(),
            folder: None,
        });
        for (index, step) in steps.iter().enumerate() {
            let began = Instant::now();
            let folder = place.join(index.to_string());
            let result = self.step(step, &mut store, &mut on_disk, &mut kept, (&folder, name));
            reports.push(StepReport::of(step, began.elapsed(), &result));
            result.map_err(|fault| at(fault, index, steps))?;
        }
        let last = steps.len().saturating_sub(1);
        let path = match on_disk {
            Some(OnDisk {
                path,
                folder: Some(_),
            }) => path,
            _ => self
                .write(&store, (&place.join("last"), name))
                .map_err(|fault| at(fault, last, steps))?,
        };
        Ok(Made { path, store, kept })
    }

    fn load(&self, step: &Step) -> Result<Migration, StepFault> {
        let bytes = self.source.migration(&step.migration)?;
        if is_declarative(&step.migration) {
            let document = Document::parse(&bytes).context(DocumentSnafu)?;
            return Ok(Migration::Document(document));
        }
        Ok(Migration::Program(bytes))
    }

    /// Returns what was put back.
    fn step(
        &self,
        step: &Step,
        store: &mut Store,
        on_disk: &mut Option<OnDisk>,
        kept: &mut KeptFile,
        (folder, name): (&Path, &str),
    ) -> Result<Vec<Name>, StepFault> {
        let before = store.clone();
        match self.load(step)? {
            Migration::Document(document) => {
                document
                    .apply(step.direction, store, self.variant)
                    .context(DocumentSnafu)?;
                let renamed = document.renamed(step.direction);
                let restored = keep(kept, (step, &renamed), &before, store);
                self.drop_intermediate(on_disk.take());
                Ok(restored)
            }
            Migration::Program(program) => {
                let source = if let Some(source) = on_disk.take() {
                    source
                } else {
                    // Beside the folder of this step, which the program may write to.
                    let folder = folder.with_extension("source");
                    let path = self.write(store, (&folder, name))?;
                    OnDisk {
                        path,
                        folder: Some(folder),
                    }
                };
                let made = self.run_program((step, &program), &source.path, (folder, name))?;
                *store = Store::read(&made.path).context(ResultSnafu)?;
                self.drop_intermediate(Some(source));
                let restored = keep(kept, (step, &[]), &before, store);
                if restored.is_empty() {
                    *on_disk = Some(made);
                } else {
                    // What is on the disk lacks what was put back; it is written when it is needed.
                    self.drop_intermediate(Some(made));
                }
                Ok(restored)
            }
        }
    }

    fn run_program(
        &self,
        (step, program): (&Step, &[u8]),
        source: &Path,
        (folder, name): (&Path, &str),
    ) -> Result<OnDisk, StepFault> {
        self.make_folder(folder)?;
        let path = folder.join(name);
        self.exec.run(&Execution {
            name: &step.migration,
            program,
            direction: step.direction,
            source,
            target: &path,
            folder,
            limit: self.limit,
            time: self.time,
        })?;
        // A link would be followed, to wherever it leads.
        let is_folder = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        ensure!(is_folder, NoFolderSnafu { path: &path });
        Ok(OnDisk {
            path,
            folder: Some(folder.to_owned()),
        })
    }

    fn make_folder(&self, path: &Path) -> Result<(), StepFault> {
        self.effects
            .make_dir(path)
            .context(MakeFolderSnafu { path })
    }

    fn write(&self, store: &Store, (folder, name): (&Path, &str)) -> Result<PathBuf, StepFault> {
        self.make_folder(folder)?;
        let path = folder.join(name);
        self.effects.write_store(store, &path).context(WriteSnafu)?;
        Ok(path)
    }

    /// A failure costs space until the whole place is removed, nothing else.
    fn drop_intermediate(&self, store: Option<OnDisk>) {
        if let Some(folder) = store.and_then(|store| store.folder)
            && let Err(error) = self.effects.remove_tree(&folder)
        {
            tracing::warn!(
                "removing the intermediate store {}: {error}",
                folder.display()
            );
        }
    }
}

/// Keeps what a step removed and puts back what it removed on the way here; returns that.
fn keep(
    kept: &mut KeptFile,
    (step, renamed): (&Step, &[(Key, Key)]),
    before: &Store,
    after: &mut Store,
) -> Vec<Name> {
    let done = kept::Step {
        migration: &step.migration,
        direction: step.direction,
        version: &step.version,
        renamed,
    };
    let outcome = kept.kept.after_step(&done, before, after);
    for dropped in outcome.dropped {
        tracing::warn!(
            "{} values that {} removed {} are kept no longer: there are too many",
            dropped.count,
            dropped.migration,
            dropped.direction
        );
    }
    outcome.put_back
}

enum Migration {
    Program(Vec<u8>),
    Document(Document),
}

fn at(source: StepFault, index: usize, steps: &[Step]) -> StepError {
    let step = steps.get(index);
    StepError {
        migration: step.map_or_else(String::new, |step| step.migration.clone()),
        direction: step.map_or(Direction::Forward, |step| step.direction),
        number: index.saturating_add(1),
        count: steps.len(),
        source: Box::new(source),
    }
}

impl StepReport {
    fn of(step: &Step, took: Duration, result: &Result<Vec<Name>, StepFault>) -> Self {
        Self {
            migration: step.migration.clone(),
            direction: step.direction.to_string(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            restored: result.iter().flatten().map(ToString::to_string).collect(),
            result: match result {
                Ok(_) => "done".to_owned(),
                Err(fault) => crate::cli::chain(fault),
            },
        }
    }
}
