//! `migrator rehearse`

use std::fmt::{self, Write as _};
use std::process::ExitCode;

use super::{Common, Done, RehearseArgs, print, print_json};
use crate::changes::{Change, ChangeKind, Values};
use crate::host::OsRelease;
use crate::rehearse::{Options, Report, Verdict, rehearse};

pub(super) fn run(common: &Common, args: &RehearseArgs) -> Done {
    let variant = args
        .variant
        .clone()
        .unwrap_or_else(|| super::migrate::variant(&OsRelease::load(&common.os_release)));
    let options = Options {
        datastore: common.datastore_path.clone(),
        places: common.places(),
        to: args.to.clone(),
        variant,
        time: common.migration_timeout,
        scratch: args.scratch.clone(),
        values: if args.values {
            Values::Tell
        } else {
            Values::Hide
        },
    };
    let report = super::with_ports(|ports| rehearse(&options, ports));
    if args.form.json {
        print_json(&report)?;
    } else {
        print(&text(&report)?)?;
    }
    let failed = report.result == Verdict::Failed;
    Ok(ExitCode::from(u8::from(failed)))
}

fn text(report: &Report) -> Result<String, fmt::Error> {
    let mut text = String::new();
    if report.result == Verdict::NoDatastore {
        writeln!(text, "there is no datastore yet: nothing to rehearse")?;
        return Ok(text);
    }
    for leg in report.there.iter().chain(&report.back) {
        writeln!(text, "{} to {}", leg.from, leg.to)?;
        for step in &leg.steps {
            writeln!(
                text,
                "  {} {}: {} ({} ms)",
                step.migration, step.direction, step.result, step.took_ms
            )?;
        }
        if leg.steps.is_empty() && leg.reason.is_none() {
            writeln!(text, "  no setting changes")?;
        }
    }
    list(&mut text, "would change", &report.changes)?;
    list(&mut text, "would differ after the way back", &report.lost)?;
    if let Some(reason) = &report.reason {
        writeln!(text, "failed: {reason}")?;
    }
    Ok(text)
}

fn list(text: &mut String, title: &str, changes: &[Change]) -> fmt::Result {
    if changes.is_empty() {
        return Ok(());
    }
    writeln!(text, "{title}:")?;
    for change in changes {
        let sign = match change.change {
            ChangeKind::Added => '+',
            ChangeKind::Removed => '-',
            ChangeKind::Changed => '~',
        };
        write!(text, "  {sign} {}", change.key)?;
        if let Some(metadata) = &change.metadata {
            write!(text, " ({metadata})")?;
        }
        if let Some(pending) = &change.pending {
            write!(text, " (not committed: {})", pending.escape_debug())?;
        }
        for (word, value) in [("was", &change.before), ("is", &change.after)] {
            if let Some(value) = value {
                write!(text, " {word} {value}")?;
            }
        }
        writeln!(text)?;
    }
    Ok(())
}
