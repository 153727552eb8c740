//! `explain`.

use chrono::{DateTime, Utc};
use semver::Version;
use snafu::ResultExt;
use update_metadata::{Explanation, Gate, GateName};

use super::printer::Printer;
use super::time::{span, stamp};
use super::{CliError, PrintSnafu};
use crate::env::Env;
use crate::exit::Exit;
use crate::session::{self, Choice, Explained};

/// Prints every version with every gate, and the decision; with `only`, of the versions this one.
pub(super) fn explain(
    env: &Env,
    choice: &Choice,
    only: Option<&Version>,
    printer: Printer,
) -> Result<Exit, CliError> {
    let mut explained = session::explain(env, choice)?;
    if let Some(version) = only
        && !explained.retain(version)
    {
        Printer::note(&format!("updog: the manifest has no {version}"));
        return Ok(Exit::NothingToUpdate);
    }
    printer
        .data(&explained, lines(&explained))
        .context(PrintSnafu)?;
    Ok(Exit::Done)
}

fn lines(explained: &Explained) -> Vec<String> {
    let host = &explained.host;
    let mut lines = vec![format!(
        "this host: {} {} {}, seed {}",
        host.variant, host.arch, host.version, host.seed
    )];
    for explanation in &explained.selection.explanations {
        lines.push(String::new());
        lines.push(title(explanation, explained.at));
        lines.extend(explanation.gates.iter().map(line));
    }
    lines.push(String::new());
    lines.push(format!("decision: {}", explained.selection.decision));
    lines
}

fn title(explanation: &Explanation, now: DateTime<Utc>) -> String {
    let Explanation {
        version,
        variant,
        arch,
        ..
    } = explanation;
    let verdict = if explanation.passed() {
        "passes every gate".to_owned()
    } else if let Some(at) = explanation.eligible_at() {
        format!("eligible at {} (in {})", stamp(at), span(at - now))
    } else {
        "cannot be taken".to_owned()
    };
    format!("{version} for {variant} on {arch}: {verdict}")
}

fn line(gate: &Gate) -> String {
    let mark = if gate.passed { "pass" } else { "FAIL" };
    format!("  {mark}  {:15}  {}", name(gate.name), gate.reason)
}

/// As in the JSON, with spaces.
fn name(gate: GateName) -> &'static str {
    match gate {
        GateName::Variant => "variant",
        GateName::Architecture => "architecture",
        GateName::MaxVersion => "max version",
        GateName::Quarantine => "quarantine",
        GateName::Hold => "hold",
        GateName::Wave => "wave",
        GateName::Lock => "lock",
        GateName::AlreadyRunning => "already running",
    }
}
