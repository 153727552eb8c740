//! `updata set-migrations`: all migrations of a manifest, from a release file.

use std::fmt;
use std::io;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use snafu::{ResultExt, Snafu};
use update_metadata::{Release, ReleaseError};

use super::bounded;
use super::manifest_file::{self, ManifestFileError};

/// A larger file is not a release file.
const MAX_RELEASE_BYTES: u64 = 10 << 20;

/// From where to where.
#[derive(Debug, Clone, Args)]
pub struct SetMigrationsArgs {
    /// The release file, whose table of migrations is taken
    #[arg(short = 'f', long, value_name = "RELEASE.TOML")]
    pub from: PathBuf,
    /// The manifest
    #[arg(short = 't', long, value_name = "FILE")]
    pub to: PathBuf,
}

/// The migrations that were set.
#[derive(Debug, Clone, Serialize)]
pub struct SetMigrationsOutcome {
    /// The manifest.
    pub file: PathBuf,
    /// Between how many pairs of versions it has migrations now.
    pub migrations: usize,
}

/// Why the migrations are as they were.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// The release file cannot be read.
    #[snafu(display("reading the release file {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The release file is none.
    #[snafu(display("{} is not a release file", path.display()))]
    Parse { path: PathBuf, source: ReleaseError },
    /// The manifest cannot be changed.
    #[snafu(transparent)]
    Manifest { source: ManifestFileError },
}

impl Error {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Manifest { source } if source.is_refusal())
    }
}

/// Replaces the whole table of migrations.
pub fn run(args: &SetMigrationsArgs) -> Result<SetMigrationsOutcome, Error> {
    let path = &args.from;
    let text = bounded::read_text(path, MAX_RELEASE_BYTES).context(ReadSnafu { path })?;
    let release = Release::from_toml(&text).context(ParseSnafu { path })?;
    let migrations = release.migrations.len();
    manifest_file::edit(&args.to, |manifest| {
        manifest.set_migrations(release.migrations);
        Ok(())
    })?;
    Ok(SetMigrationsOutcome {
        file: args.to.clone(),
        migrations,
    })
}

impl fmt::Display for SetMigrationsOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, migrations } = self;
        write!(
            f,
            "{}: migrations between {migrations} pair(s) of versions",
            file.display()
        )
    }
}
