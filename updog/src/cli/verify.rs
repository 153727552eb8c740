//! `verify`.

use serde::Serialize;
use signpost::Slot;
use snafu::ResultExt;
use update_metadata::Digest;

use super::printer::Printer;
use super::{CliError, PrintSnafu};
use crate::env::Env;
use crate::exit::Exit;
use crate::session::{self, Verification, WhichSet};

/// What `verify --json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    set: Slot,
    version: &'a semver::Version,
    variant: &'a str,
    root_hash: Digest,
    good: bool,
    findings: Vec<String>,
}

/// `A`, `B`, `active` or `inactive`.
pub(super) fn parse_set(text: &str) -> Result<WhichSet, String> {
    match text {
        "active" => Ok(WhichSet::Active),
        "inactive" => Ok(WhichSet::Inactive),
        name => name
            .parse()
            .map(WhichSet::Named)
            .map_err(|_| "a set is A, B, active or inactive".to_owned()),
    }
}

/// Verifies a set; exit code 1 when it is damaged.
pub(super) fn verify(env: &Env, which: WhichSet, printer: Printer) -> Result<Exit, CliError> {
    let Verification {
        slot,
        facts,
        findings,
        advice,
    } = session::verify(env, which)?;
    let report = Report {
        set: slot,
        version: &facts.version,
        variant: &facts.variant,
        root_hash: facts.verity.root_hash,
        good: findings.is_empty(),
        findings: findings.iter().map(ToString::to_string).collect(),
    };
    let verdict = if report.good {
        "every byte is what was signed"
    } else {
        "damaged"
    };
    let title = format!("set {slot}: {} {}: {verdict}", facts.variant, facts.version);
    let lines = std::iter::once(title).chain(report.findings.iter().cloned());
    printer.data(&report, lines).context(PrintSnafu)?;
    if let Some(advice) = advice {
        Printer::note(&format!("updog: to go on: {advice}"));
    }
    Ok(if report.good {
        Exit::Done
    } else {
        Exit::Failed
    })
}
