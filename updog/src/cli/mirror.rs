//! `mirror`.

use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use semver::Version;
use serde::Serialize;
use snafu::ResultExt;

use super::check_update::line;
use super::printer::Printer;
use super::{CliError, PrintSnafu};
use crate::env::Env;
use crate::exit::Exit;
use crate::repository::mirror::MirroredFile;
use crate::session::{self, Choice, MirrorOutcome, Mirrored, OtherHost};

/// What `mirror --json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    variant: &'a str,
    arch: &'a str,
    from: &'a Version,
    version: &'a Version,
    valid_until: DateTime<Utc>,
    metadata_base_url: &'a str,
    targets_base_url: &'a str,
    bytes: u64,
    files: &'a [MirroredFile],
}

/// Mirrors the chosen update to `dir`, and prints the lines for the configuration of its host.
pub(super) fn mirror(
    env: &Env,
    choice: &Choice,
    other: &OtherHost,
    dir: &Path,
    printer: Printer,
) -> Result<Exit, CliError> {
    let mirrored = match session::mirror(env, choice, other, dir)? {
        MirrorOutcome::Done(mirrored) => mirrored,
        MirrorOutcome::NothingToDo(decision) => {
            Printer::note(&format!("updog: nothing was mirrored: {decision}"));
            return Ok(Exit::NothingToUpdate);
        }
    };
    let Mirrored {
        update,
        host,
        mirror,
        valid_until,
    } = *mirrored;
    let all = sum(mirror.files.iter());
    let new = sum(mirror.files.iter().filter(|file| file.written));
    Printer::note(&format!(
        "updog: {} for a host that runs {} ({}): {} files, {} bytes, {} of them new; to be used \
         until {}",
        line(&update),
        host.version,
        host.arch,
        mirror.files.len(),
        all,
        new,
        valid_until.to_rfc3339_opts(SecondsFormat::Secs, true)
    ));
    let report = Report {
        variant: &update.variant,
        arch: &update.arch,
        from: &host.version,
        version: &update.version,
        valid_until,
        metadata_base_url: mirror.metadata_base_url.as_str(),
        targets_base_url: mirror.targets_base_url.as_str(),
        bytes: all,
        files: &mirror.files,
    };
    let lines = [
        format!("metadata_base_url = \"{}\"", mirror.metadata_base_url),
        format!("targets_base_url = \"{}\"", mirror.targets_base_url),
    ];
    printer.data(&report, lines).context(PrintSnafu)?;
    Ok(Exit::Done)
}

fn sum<'a>(files: impl Iterator<Item = &'a MirroredFile>) -> u64 {
    files.map(|file| file.bytes).fold(0, u64::saturating_add)
}
