//! `migrator status`

use std::fmt::Write as _;
use std::process::ExitCode;

use super::{Common, Done, Form, print, print_json};
use crate::record::Ending;
use crate::status::Status;

pub(super) fn run(common: &Common, form: &Form) -> Done {
    let status = Status::read(&common.datastore_path)?;
    if form.json {
        print_json(&status)?;
    } else {
        print(&text(&status)?)?;
    }
    let is_well = !status.exists || status.readable;
    Ok(ExitCode::from(u8::from(!is_well)))
}

fn text(status: &Status) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let path = status.datastore.display();
    let (Some(version), Some(store)) = (&status.version, &status.store) else {
        writeln!(text, "no datastore at {path}: no version ran here yet")?;
        return Ok(text);
    };
    writeln!(text, "settings of {version}, in {store}")?;
    if let Some(problem) = &status.problem {
        writeln!(text, "which cannot be read: {problem}")?;
    }
    if let Some(previous) = &status.previous {
        writeln!(text, "before that: {previous}")?;
    }
    super::list::table(&mut text, &status.stores)?;
    for (version, keys) in &status.kept {
        let keys = keys.join(" ");
        writeln!(text, "kept for the way back from {version}: {keys}")?;
    }
    if let Some(run) = &status.last_run {
        let how = match run.result {
            Ending::Migrated => "migrated",
            Ending::Relinked => "no setting had to change",
            Ending::FellBack => "fell back to the settings that version last ran with",
            Ending::Failed => "failed, nothing was changed",
        };
        writeln!(text, "last run: {} to {}: {how}", run.from, run.to)?;
        if let Some(reason) = &run.reason {
            writeln!(text, "  because: {reason}")?;
        }
        if !run.restored.is_empty() {
            writeln!(text, "  put back: {}", run.restored.join(" "))?;
        }
    }
    Ok(text)
}
