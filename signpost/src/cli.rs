//! The command line: what can be asked, and what is answered.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serde_json::json;
use signpost::boot_disk::{self, BootDisk};
use signpost::table::Damage;
use signpost::{
    Access, ActiveChoice, BootState, Command, DiskChoice, Force, PartitionKind, Reason, Slot,
    SlotStore, SpendTry, store,
};
use snafu::{ResultExt, Snafu};

use crate::printer::Printer;
use crate::status::{SetStatus, Status};

const EXIT_FAILED: u8 = 1;
const EXIT_REFUSED: u8 = 4;

/// What became of a damaged copy of the table.
const REPAIRED: &str = "it is repaired";
const NOT_REPAIRED: &str = "`signpost repair` repairs it";

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
      Make a damaged copy of the partition table from the good one.

Exit codes: 0 done, 1 failed, 2 wrong usage, 4 refused";

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
    /// Make a copy of the partition table that is damaged, or differs, from the one that counts
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

    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Store { source } if source.refusal().is_some() => EXIT_REFUSED,
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
        table_damage: store.damage().map(Damage::to_string),
    };
    if let Some(damage) = &status.table_damage {
        printer.talk(format_args!("{damage}; {NOT_REPAIRED}"));
    }
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
    let outcome = store.run(command, &change.force())?;
    let (before, after) = (outcome.before, outcome.after);
    // What would have been refused without the reason, if anything.
    let overridden = before.apply(command, &Force::No).err();

    if let (Some(refusal), Some(reason)) = (overridden, &change.force) {
        printer.talk(format_args!("forced ({reason}), although {refusal}"));
    }
    if let Some(damage) = &outcome.damage {
        let then = if outcome.changed {
            REPAIRED
        } else {
            NOT_REPAIRED
        };
        printer.talk(format_args!("{damage}; {then}"));
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
    let damage = disk.repair()?;
    match &damage {
        Some(damage) => printer.talk(format_args!("{damage}; {REPAIRED}")),
        None => printer.talk("both partition tables are in order; nothing was written"),
    }
    if args.json {
        let answer = json!({
            "command": "repair",
            "changed": damage.is_some(),
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
    let damage = disk.rewrite_table()?;
    if let Some(damage) = &damage {
        printer.talk(format_args!("{damage}; {REPAIRED}"));
    }
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
    let damage = disk.damage().cloned();
    let pick = disk.select(spend)?;
    if let Some(damage) = damage {
        let then = match disk.damage() {
            None => REPAIRED,
            Some(_) => NOT_REPAIRED,
        };
        printer.talk(format_args!("{damage}; {then}"));
    }
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
