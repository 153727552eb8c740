//! The command line: what can be asked, and what is answered.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::boot_disk::{self, BootDisk};
use crate::gpt::MbrFault;
use crate::table::{Damage, Repaired};
use crate::{
    Access, ActiveChoice, BootState, Command, DiskChoice, Force, PartitionKind, Reason, Slot,
    SlotStore, SpendTry, store,
};
use clap::{CommandFactory as _, Parser, Subcommand};
use serde_json::json;
use snafu::{ResultExt, Snafu};

use crate::printer::Printer;
use crate::status::{SetStatus, Status};

const EXIT_FAILED: u8 = 1;
const EXIT_REFUSED: u8 = 4;

/// What can be done about what is not in order.
const NOT_REPAIRED: &str = "`signpost repair` repairs it";
const NOT_PROTECTIVE: &str = "it is left alone; `gdisk`, x, n writes one";

const ABOUT: &str = "\
Read and change the bits by which the boot loader chooses between two partition sets

A disk has two sets of partitions, A and B, each with a whole system. The partition table says of \
each set how much it is preferred (priority), how often it may still be tried (tries left), and \
whether it has ever come up healthy (successful). The boot loader boots the set of the highest \
priority that is successful or has a try left, and takes a try off first. So a new set that does \
not come up is left behind by itself.";

const AFTER_HELP: &str = "\
Examples:
  signpost status
      Show both sets, which one runs, and which one boots next.

  signpost clear-inactive          nothing boots the other set; now write the update to it
  signpost mark-inactive-valid     what was written is verified: allow one try
  signpost upgrade-to-inactive     boot it next
  reboot
  signpost mark-successful-boot    it came up healthy: keep it

  signpost rollback-to-inactive    go back to the system before this one; then reboot

  signpost status --disk os.img --active A
      Look at a disk image; which set would be running has to be said.

  signpost select --disk os.img --consume-try
      Do what the boot loader does.

  signpost repair
      Put right a damaged copy of the partition table, or what a larger disk needs.

Exit codes: 0 done, 1 failed, 2 wrong usage, 4 refused or locked";

/// The program: reads what was typed, does it, and says how it ended.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let mut printer = Printer::new(io::stdout(), io::stderr());
    match run(&args, &mut printer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error, error.advice());
            ExitCode::from(error.exit_code())
        }
    }
}

/// What can be typed, for manual pages and completions.
pub fn command() -> clap::Command {
    Args::command()
}

/// What was typed.
#[derive(Debug, Parser)]
#[command(version, about = ABOUT.lines().next(), long_about = ABOUT, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The disk, a block device or a disk image [default: the one this system runs from]
    #[arg(long, global = true, value_name = "PATH")]
    disk: Option<PathBuf>,

    /// The set that counts as running, A or B [default: the one this system runs from]
    #[arg(long, global = true, value_name = "SET")]
    active: Option<Slot>,

    /// Print the answer as a JSON object
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show both sets, which one runs, and which one boots next
    Status,
    /// The running set has come up healthy: it boots without tries from now on
    MarkSuccessfulBoot(Change),
    /// Make sure that nothing boots the inactive set, so that it can be written
    ClearInactive(Change),
    /// The inactive set is written and verified: allow it one try
    MarkInactiveValid(Change),
    /// Boot the inactive set next; it must have been cleared and marked valid
    UpgradeToInactive(Change),
    /// Keep booting the running set after all
    CancelUpgrade(Change),
    /// Boot the inactive set next, which holds the system before this one
    RollbackToInactive(Change),
    /// Print `true` if any set was ever marked successful on this disk, else nothing
    HasBootEverSucceeded,
    /// Put the partition table in order: a copy that is damaged or differs is made from the one that
    /// counts, the backup moved to the end of the disk, a lost protective MBR written anew
    Repair,
    /// Write both copies of the partition table anew, with what they say now
    RewriteTable,
    /// Print what the boot loader boots now: A, B or None
    Select {
        /// Take the try off, as the boot loader does before it boots
        #[arg(long)]
        consume_try: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Change {
    /// Do it although it takes away the last set that is known to boot
    #[arg(long, value_name = "REASON")]
    force: Option<Reason>,
}

impl Change {
    fn force(&self) -> Force {
        self.force.clone().map_or(Force::No, Force::Because)
    }
}

/// Why it did not work.
#[derive(Debug, Snafu)]
pub(crate) enum Error {
    #[snafu(transparent)]
    Store { source: store::Error },
    #[snafu(transparent)]
    Disk { source: boot_disk::Error },
    #[snafu(display("writing to standard output"))]
    Output { source: io::Error },
}

impl Error {
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Store { source } => source.advice(),
            Self::Disk { source } => source.advice(),
            Self::Output { .. } => None,
        }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Store { source } if source.is_refusal() => EXIT_REFUSED,
            Self::Disk { source } if source.is_refusal() => EXIT_REFUSED,
            Self::Store { .. } | Self::Disk { .. } | Self::Output { .. } => EXIT_FAILED,
        }
    }
}

/// Does what was typed.
pub(crate) fn run<O: Write, E: Write>(
    args: &Args,
    printer: &mut Printer<O, E>,
) -> Result<(), Error> {
    match &args.verb {
        Verb::Status => status(args, printer),
        Verb::MarkSuccessfulBoot(change) => {
            self::change(args, Command::MarkSuccessfulBoot, change, printer)
        }
        Verb::ClearInactive(change) => self::change(args, Command::ClearInactive, change, printer),
        Verb::MarkInactiveValid(change) => {
            self::change(args, Command::MarkInactiveValid, change, printer)
        }
        Verb::UpgradeToInactive(change) => {
            self::change(args, Command::UpgradeToInactive, change, printer)
        }
        Verb::CancelUpgrade(change) => self::change(args, Command::CancelUpgrade, change, printer),
        Verb::RollbackToInactive(change) => {
            self::change(args, Command::RollbackToInactive, change, printer)
        }
        Verb::HasBootEverSucceeded => has_boot_ever_succeeded(args, printer),
        Verb::Repair => repair(args, printer),
        Verb::RewriteTable => rewrite_table(args, printer),
        Verb::Select { consume_try: false } => select(args, SpendTry::No, printer),
        Verb::Select { consume_try: true } => select(args, SpendTry::Yes, printer),
    }
}

impl Args {
    fn disk(&self) -> DiskChoice {
        self.disk.clone().map_or(DiskChoice::Auto, DiskChoice::Path)
    }

    fn open_store(&self, access: Access) -> Result<SlotStore, store::Error> {
        let active = self.active.map_or(ActiveChoice::Auto, ActiveChoice::Set);
        SlotStore::open(&self.disk(), active, access)
    }
}

fn status<O: Write, E: Write>(args: &Args, printer: &mut Printer<O, E>) -> Result<(), Error> {
    let store = args.open_store(Access::ReadOnly)?;
    let state = store.state();
    let sets = state.sets().try_map(|slot, bits| -> Result<_, Error> {
        let name = |kind| {
            store
                .partition_name(slot, kind)
                .map(Option::unwrap_or_default)
        };
        Ok(SetStatus {
            boot: name(PartitionKind::Boot)?,
            root: name(PartitionKind::Root)?,
            hash: name(PartitionKind::Hash)?,
            bits,
        })
    })?;
    let status = Status {
        os_disk: store.disk_name(),
        sets,
        active: state.active(),
        next: state.next(),
        last_resort: state
            .select()
            .filter(|pick| pick.last_resort)
            .map(|pick| pick.slot),
        has_boot_ever_succeeded: state.has_boot_ever_succeeded(),
        table_damage: damage_of(store.damage(), store.mbr_fault()),
    };
    say_damage(store.damage(), store.mbr_fault(), printer);
    if args.json {
        printer.json(&status)
    } else {
        printer.data(&status)
    }
    .context(OutputSnafu)
}

fn change<O: Write, E: Write>(
    args: &Args,
    command: Command,
    change: &Change,
    printer: &mut Printer<O, E>,
) -> Result<(), Error> {
    let mut store = args.open_store(Access::ReadWrite)?;
    let ran = store.run(command, &change.force());
    say_repaired(store.repaired(), store.mbr_fault(), printer);
    let outcome = ran?;
    let (before, after) = (outcome.before, outcome.after);
    // What would have been refused without the reason, if anything.
    let overridden = before.apply(command, &Force::No).err();

    if let (Some(refusal), Some(reason)) = (overridden, &change.force) {
        printer.talk(format_args!("forced ({reason}), although {refusal}"));
    }
    if args.json {
        let forced = overridden.and(change.force.as_ref()).map(Reason::as_str);
        let answer = json!({
            "command": command.to_string(),
            "changed": outcome.changed,
            "before": before,
            "after": after,
            "forced": forced,
            "table_damage": outcome.damage.as_ref().map(Damage::to_string),
        });
        printer.json(&answer).context(OutputSnafu)?;
    } else {
        say_changes(&before, &after, printer);
    }
    Ok(())
}

/// Everything that is not in order, for an answer.
fn damage_of(damage: Option<&Damage>, mbr: Option<&MbrFault>) -> Option<String> {
    let all = [damage.map(Damage::to_string), mbr.map(MbrFault::to_string)];
    let all: Vec<_> = all.into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Says what is not in order and stays so.
fn say_damage<O: Write, E: Write>(
    damage: Option<&Damage>,
    mbr: Option<&MbrFault>,
    printer: &mut Printer<O, E>,
) {
    if let Some(damage) = damage {
        printer.talk(format_args!("{damage}; {NOT_REPAIRED}"));
    }
    if let Some(fault) = mbr {
        let then = if fault.may_be_repaired() {
            NOT_REPAIRED
        } else {
            NOT_PROTECTIVE
        };
        printer.talk(format_args!("{fault}; {then}"));
    }
}

/// Says what was put right, and what of sector 0 was not.
fn say_repaired<O: Write, E: Write>(
    repaired: &[Repaired],
    mbr: Option<&MbrFault>,
    printer: &mut Printer<O, E>,
) {
    for repaired in repaired {
        printer.talk(repaired);
    }
    say_damage(None, mbr, printer);
}

fn say_changes<O: Write, E: Write>(
    before: &BootState,
    after: &BootState,
    printer: &mut Printer<O, E>,
) {
    if before == after {
        printer.talk("nothing to change");
    }
    if before.has_boot_ever_succeeded() != after.has_boot_ever_succeeded() {
        printer.talk("recorded that a boot has succeeded on this disk");
    }
    let (old, new) = (before.bits(), after.bits());
    for slot in Slot::BOTH {
        if old[slot] != new[slot] {
            printer.talk(format_args!("set {slot}: {} -> {}", old[slot], new[slot]));
        }
    }
}

fn has_boot_ever_succeeded<O: Write, E: Write>(
    args: &Args,
    printer: &mut Printer<O, E>,
) -> Result<(), Error> {
    let disk = BootDisk::open(&args.disk(), Access::ReadOnly)?;
    let ever = disk.private().has_boot_ever_succeeded();
    if args.json {
        printer
            .json(&json!({ "has_boot_ever_succeeded": ever }))
            .context(OutputSnafu)
    } else if ever {
        printer.data(true).context(OutputSnafu)
    } else {
        Ok(())
    }
}

fn repair<O: Write, E: Write>(args: &Args, printer: &mut Printer<O, E>) -> Result<(), Error> {
    let mut disk = BootDisk::open(&args.disk(), Access::ReadWrite)?;
    let damage = disk.repair();
    say_repaired(disk.repaired(), disk.mbr_fault(), printer);
    let damage = damage?;
    let done: Vec<_> = disk.repaired().iter().map(Repaired::to_string).collect();
    if done.is_empty() {
        printer.talk("both partition tables are in order; nothing was written");
    }
    if args.json {
        let answer = json!({
            "command": "repair",
            "changed": !done.is_empty(),
            "done": done,
            "repaired": damage.as_ref().map(|damage| damage.side),
            "table_damage": damage.as_ref().map(Damage::to_string),
        });
        printer.json(&answer).context(OutputSnafu)?;
    }
    Ok(())
}

fn rewrite_table<O: Write, E: Write>(
    args: &Args,
    printer: &mut Printer<O, E>,
) -> Result<(), Error> {
    let mut disk = BootDisk::open(&args.disk(), Access::ReadWrite)?;
    let damage = disk.rewrite_table();
    say_repaired(disk.repaired(), disk.mbr_fault(), printer);
    let damage = damage?;
    if args.json {
        let answer = json!({
            "command": "rewrite-table",
            "table_damage": damage.as_ref().map(Damage::to_string),
        });
        printer.json(&answer).context(OutputSnafu)?;
    }
    Ok(())
}

fn select<O: Write, E: Write>(
    args: &Args,
    spend: SpendTry,
    printer: &mut Printer<O, E>,
) -> Result<(), Error> {
    let access = match spend {
        SpendTry::Yes => Access::ReadWrite,
        SpendTry::No => Access::ReadOnly,
    };
    let mut disk = BootDisk::open(&args.disk(), access)?;
    let pick = disk.select(spend);
    match spend {
        SpendTry::Yes => say_repaired(disk.repaired(), disk.mbr_fault(), printer),
        SpendTry::No => say_damage(disk.damage(), disk.mbr_fault(), printer),
    }
    let pick = pick?;
    if pick.is_some_and(|pick| pick.last_resort) {
        printer.talk("this is the last resort: GRUB would boot nothing");
    }
    if args.json {
        let answer = json!({
            "select": pick.map(|pick| pick.slot),
            "last_resort": pick.is_some_and(|pick| pick.last_resort),
        });
        return printer.json(&answer).context(OutputSnafu);
    }
    match pick {
        Some(pick) => printer.data(pick.slot),
        None => printer.data("None"),
    }
    .context(OutputSnafu)
}
