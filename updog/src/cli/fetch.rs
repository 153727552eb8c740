//! `fetch`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use snafu::ResultExt;
use update_metadata::Digest;

use super::printer::Printer;
use super::{CliError, PrintSnafu};
use crate::durable::Readers;
use crate::env::Env;
use crate::event::{Event, Step};
use crate::exit::Exit;
use crate::repository::UpdateRepository;
use crate::repository::save::{Existing, Saved};

/// What `fetch --json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    target: &'a str,
    path: &'a Path,
    bytes: u64,
    sha256: Digest,
    written: bool,
}

/// The name of a file. Nothing that is not verified leaves this program, so stdout is none.
pub(super) fn parse_output(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" => Err("a target is verified before any of it can be read, so it needs a file".into()),
        "" => Err("the name of a file is needed".into()),
        path => Ok(PathBuf::from(path)),
    }
}

/// Fetches a signed target to a file.
pub(super) fn fetch(
    env: &Env,
    name: &str,
    path: &Path,
    existing: Existing,
    printer: Printer,
) -> Result<Exit, CliError> {
    env.observer.observe(&Event::Step(Step::Refresh));
    let repository = UpdateRepository::refresh(env.repository_settings(), env.now)?;
    env.observer.observe(&Event::StepEnd);
    let target = repository.target(name)?;
    env.observer.observe(&Event::Step(Step::Fetch {
        target: name.to_owned(),
        bytes: target.length,
    }));
    let saved = repository.save(&target, path, existing, Readers::Everyone)?;
    env.observer.observe(&Event::StepEnd);
    if saved == Saved::AlreadyThere {
        Printer::note(&format!(
            "updog: {} holds target {name} already; nothing was fetched",
            path.display()
        ));
    }
    let report = Report {
        target: name,
        path,
        bytes: target.length,
        sha256: target.sha256,
        written: saved == Saved::Written,
    };
    // As sha256sum prints it, and `sha256sum --check` reads it.
    let line = format!("{}  {}", target.sha256, path.display());
    printer.data(&report, [line]).context(PrintSnafu)?;
    Ok(Exit::Done)
}
