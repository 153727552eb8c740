//! `plan`.

use snafu::ResultExt;

use super::printer::Printer;
use super::{CliError, PrintSnafu};
use crate::env::Env;
use crate::exit::Exit;
use crate::rehearsal::{Change, Rehearsal};
use crate::repository::cached::Room;
use crate::session::machine::Effect;
use crate::session::{self, Choice, Obstacle, PlannedImage, PlannedUpdate, UpdatePlan};

/// Prints what the next update would do.
pub(super) fn plan(env: &Env, choice: &Choice, printer: Printer) -> Result<Exit, CliError> {
    let plan = session::plan_update(env, choice)?;
    printer.data(&plan, lines(&plan)).context(PrintSnafu)?;
    Ok(if !plan.obstacles.is_empty() {
        Exit::Refused
    } else if plan.update.is_none() {
        Exit::NothingToUpdate
    } else {
        Exit::Done
    })
}

fn lines(plan: &UpdatePlan) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(plan.decision.as_ref().map(ToString::to_string));
    if let Some(update) = &plan.update {
        lines.extend(of_update(plan, update));
    }
    lines.extend(plan.obstacles.iter().map(obstacle));
    lines
}

fn of_update(plan: &UpdatePlan, update: &PlannedUpdate) -> Vec<String> {
    let mut lines = vec![match (&plan.holds, update.is_written) {
        (_, true) => format!("set {} holds it already: it is verified", plan.set),
        (Some(version), false) => format!("set {} is written, which holds {version}", plan.set),
        (None, false) => format!("set {} is written", plan.set),
    }];
    lines.push(String::new());
    lines.extend(update.images.iter().flat_map(image));
    lines.extend(update.migrations.iter().map(|target| {
        let where_from = if target.is_cached {
            "cached"
        } else {
            "to be fetched"
        };
        format!(
            "for the migrator: {}: {} bytes, {where_from}",
            target.name, target.bytes
        )
    }));
    lines.extend(update.rehearsal.iter().flat_map(rehearsal));
    lines.extend(update.rooms.iter().map(room));
    let written = update.bytes_to_write.map_or_else(
        || "it is not stated how many are written".to_owned(),
        |bytes| format!("{bytes} are written"),
    );
    lines.push(format!(
        "in all, {} bytes are fetched, and {written}",
        update.bytes_to_fetch
    ));
    lines.push(String::new());
    let steps = plan.effects.iter().zip(1..);
    lines.extend(steps.map(|(effect, number)| format!("{number:>2}. {}", words(*effect))));
    lines
}

fn image(image: &PlannedImage) -> Vec<String> {
    let size = match (image.bytes, image.fits) {
        (Some(bytes), Some(true)) => format!("{bytes} bytes, fits into"),
        (Some(bytes), _) => format!("{bytes} bytes, DOES NOT FIT into"),
        (None, _) => "size not stated, for".to_owned(),
    };
    let whole = format!(
        "{} image: {} bytes compressed, {size} {} of {} bytes",
        image.kind, image.compressed_bytes, image.partition, image.partition_bytes
    );
    let blocks = image.blocks.map(|blocks| {
        format!(
            "  {} bytes are fetched in {} for {} of it; {} are copied from the running set, {} in \
             place, {} made here",
            blocks.bytes_to_fetch,
            requests(blocks.requests),
            blocks.decoded,
            blocks.copied,
            blocks.kept,
            blocks.made
        )
    });
    [Some(whole), blocks].into_iter().flatten().collect()
}

/// `1 request`.
fn requests(count: usize) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} request{s}")
}

fn rehearsal(rehearsal: &Rehearsal) -> Vec<String> {
    let mut lines =
        vec!["the migrations work with this host's settings, forward and back".to_owned()];
    let told = |change: &Change, what: &str| {
        let metadata = change.metadata.as_ref();
        let metadata = metadata.map(|name| format!(", its metadata {name}"));
        let pending = change.pending.as_ref();
        let pending = pending.map(|name| format!(" (waiting in transaction {name})"));
        format!(
            "  {}{}{}: {what}",
            change.key,
            metadata.unwrap_or_default(),
            pending.unwrap_or_default()
        )
    };
    let changes = rehearsal.changes.iter();
    lines.extend(changes.map(|change| told(change, &format!("would be {}", change.change))));
    let lost = rehearsal.lost.iter();
    lines.extend(lost.map(|change| {
        told(
            change,
            &format!("after going back it would be {}", change.change),
        )
    }));
    lines
}

fn room(room: &Room) -> String {
    let folders: Vec<String> = room
        .folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    let free = room
        .free
        .map_or_else(|| "not known how many".to_owned(), |free| format!("{free}"));
    format!(
        "room: {} bytes for {}, free: {free}",
        room.needed,
        folders.join(" and ")
    )
}

fn obstacle(obstacle: &Obstacle) -> String {
    match &obstacle.advice {
        None => format!("would be refused: {}", obstacle.reason),
        Some(advice) => format!("would be refused: {}; to go on: {advice}", obstacle.reason),
    }
}

/// What an effect does, as one of a list of steps.
fn words(effect: Effect) -> &'static str {
    match effect {
        Effect::Refresh => "refresh the repository",
        Effect::StageMigrations => "stage what the migrator needs",
        Effect::Rehearse => "rehearse the migrations on a copy of the settings",
        Effect::Clear => "clear the boot bits of the set",
        Effect::SwapMigrations => "give the migrator what was staged",
        Effect::PruneMigrations => "remove what the migrator had before",
        Effect::Write => "write the images",
        Effect::ReadBack => "read them back and compare",
        Effect::MarkValid => "mark the set valid, for one try",
        Effect::Verify => "verify the set",
        Effect::Arm => "let it boot next",
        Effect::Disarm => "let the running set boot next",
        Effect::Hold => "hold the running version",
        Effect::ArmBack => "let the system from before boot next",
    }
}
