//! What is done to a disk, and what is promised of it.
//!
//! * Nothing panics, whatever the bytes are.
//! * Reading writes nothing.
//! * On a disk that is in order, what ends with a refusal writes nothing, and nothing ends with any
//!   other error.
//! * On another one whatever was written puts right what was not in order, also before a refusal.
//! * Afterwards both copies are sound, the same, and at the ends of the disk. Only the bits that are
//!   ours differ from what was there before, and only sectors of the tables, or of an MBR that was
//!   lost, are written.
//! * If GRUB's model booted something before, it boots something afterwards, unless somebody forced
//!   it not to; so does the strict model, if the table was sound.
//! * What the models write, signpost reads.

use std::sync::Arc;

use signpost::loader::LoaderRun;
use signpost::table::Fault;
use signpost::testing::carry_out;
use signpost::{ActiveChoice, BootDisk, Command, Force, Slot, SlotStore, SpendTry};

use crate::facts::{Facts, device, loaders};
use crate::journal::Journal;

/// Something that is done to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A command, while this set runs.
    Run(Slot, Command, Forced),
    /// Both copies are written anew.
    Rewrite,
    /// A damaged copy is made whole.
    Repair,
    /// Our own boot loader takes a try off.
    Spend,
    /// GRUB's model boots.
    Grub,
    /// The strict model boots.
    Strict,
}

/// Whether the guard is overridden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forced {
    /// It is.
    Yes,
    /// It is not.
    No,
}

impl Act {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Rewrite,
            Self::Repair,
            Self::Spend,
            Self::Grub,
            Self::Strict,
        ];
        for slot in Slot::BOTH {
            for command in Command::ALL {
                let run = |forced| Self::Run(slot, command, forced);
                all.extend([Forced::No, Forced::Yes].map(run));
            }
        }
        all
    }

    /// The ones that a byte of the input stands for: mostly a single one, as they take their time.
    pub fn of(byte: u8) -> Vec<Self> {
        let all = Self::all();
        match all.get(usize::from(byte) % (all.len() + 1)) {
            Some(act) => vec![*act],
            None => all,
        }
    }
}

/// Does to `disk` what `act` stands for, each time from the disk as it is now, and checks every
/// promise.
pub fn check(disk: &Arc<Journal>, sector: usize, act: u8) {
    let start = disk.writes();
    for size in [sector, 512, 4096] {
        let _boots = loaders(disk, size);
    }
    let read = BootDisk::read(device(disk));
    assert_eq!(disk.writes(), start, "reading writes");
    let Ok(read) = read else {
        return;
    };
    let facts = Facts::of(disk, &read);
    assert_eq!(facts.set_over_a_table(disk), None);
    assert_same_pick(disk, &facts, read);
    for act in Act::of(act) {
        perform(disk, &facts, act);
        disk.undo_to(start);
    }
}

/// Where GRUB's model boots something, signpost says the same.
fn assert_same_pick(disk: &Arc<Journal>, facts: &Facts, mut read: BootDisk) {
    let next = read.select(SpendTry::No).expect("it has just been read");
    facts.assert_untouched(disk, "looking what boots next");
    if let Some(slot) = facts.grub.pick {
        let next = next.map(|pick| (pick.slot, pick.last_resort));
        assert_eq!(next, Some((slot, false)), "GRUB boots {slot}");
    }
}

fn perform(disk: &Arc<Journal>, facts: &Facts, act: Act) {
    match act {
        Act::Run(slot, command, forced) => run(disk, facts, slot, command, forced),
        Act::Rewrite | Act::Repair => rewrite(disk, facts, act),
        Act::Spend => spend(disk, facts),
        Act::Grub => boot(disk, facts, &facts.grub),
        Act::Strict => boot(disk, facts, &facts.strict),
    }
}

fn run(disk: &Arc<Journal>, facts: &Facts, slot: Slot, command: Command, forced: Forced) {
    let by = command.to_string();
    let Ok(mut store) = SlotStore::from_device(device(disk), ActiveChoice::Set(slot)) else {
        let read = BootDisk::read(device(disk)).expect("it has been read before");
        assert!(read.sets().get(slot).is_none(), "set {slot} is there");
        return;
    };
    let force = match forced {
        Forced::No => Force::No,
        Forced::Yes => Force::Because("a fuzzer".parse().expect("a reason")),
    };
    match store.run(command, &force) {
        Err(error) => {
            facts.assert_settled_at_most(disk, &by);
            let refused = error.refusal().is_some();
            assert!(refused || !facts.in_order, "{by}: {error:?}");
        }
        Ok(outcome) => {
            assert_eq!(outcome.changed, outcome.before != outcome.after, "{by}");
            if outcome.changed {
                facts.assert_changed(disk, &by);
            } else {
                facts.assert_settled_at_most(disk, &by);
            }
            let now = BootDisk::read(device(disk)).expect("it has just been written");
            assert_eq!(now.bits(), outcome.after.bits(), "after {by}");
            assert_eq!(now.private(), outcome.after.private(), "after {by}");
        }
    }
    if forced == Forced::No {
        assert_still_boots(disk, facts, &by);
    }
}

fn assert_still_boots(disk: &Journal, facts: &Facts, by: &str) {
    let [grub, strict] = loaders(disk, facts.sector);
    if facts.grub.pick.is_some() {
        assert!(grub.pick.is_some(), "GRUB boots nothing after {by}");
    }
    if facts.strict.pick.is_some() && facts.damage.is_none() {
        assert!(strict.pick.is_some(), "nothing boots strictly after {by}");
    }
}

fn rewrite(disk: &Arc<Journal>, facts: &Facts, act: Act) {
    let by = format!("{act:?}");
    let mut read = BootDisk::read(device(disk)).expect("it has been read before");
    let before = (read.bits(), read.private());
    let done = match act {
        Act::Repair => read.repair(),
        _ => read.rewrite_table(),
    };
    match done {
        Err(error) => {
            facts.assert_settled_at_most(disk, &by);
            assert!(!facts.in_order, "{by}: {error:?}");
        }
        Ok(damage) => {
            assert_eq!(damage, facts.damage);
            if act == Act::Repair && facts.in_order {
                facts.assert_untouched(disk, &by);
            }
            let now = facts.assert_changed(disk, &by);
            assert_eq!((now.bits(), now.private()), before, "after {by}");
        }
    }
    let [grub, _] = loaders(disk, facts.sector);
    if facts.grub.pick.is_some() {
        assert_eq!(grub.pick, facts.grub.pick, "after {by}");
    }
}

fn spend(disk: &Arc<Journal>, facts: &Facts) {
    let by = "spending a try";
    let mut read = BootDisk::read(device(disk)).expect("it has been read before");
    let before = read.bits();
    let expected = signpost::select(&before);
    match read.select(SpendTry::Yes) {
        Err(error) => {
            facts.assert_settled_at_most(disk, by);
            assert!(!facts.in_order, "{by}: {error:?}");
        }
        Ok(pick) => {
            assert_eq!(pick, expected);
            let mut bits = before;
            if let Some(pick) = pick {
                bits[pick.slot] = pick.after;
            }
            if bits == before && facts.in_order {
                facts.assert_untouched(disk, by);
            }
            let now = facts.assert_changed(disk, by);
            assert_eq!(now.bits(), bits);
        }
    }
}

/// Lets a model write what it wants to, and looks whether signpost still reads the table.
fn boot(disk: &Arc<Journal>, facts: &Facts, run: &LoaderRun) {
    carry_out(&**disk, facts.sector, &run.steps).expect("a loader writes within the disk");
    if run == &facts.strict {
        // It repairs nothing, and does not write to a copy that has more in its header's sector than
        // a header: that one differs afterwards.
        let now = BootDisk::read(device(disk)).expect("a loader leaves a table");
        let left = now.damage().map(|damage| &damage.fault);
        let before = facts.damage.as_ref().map(|damage| &damage.fault);
        assert!(left == before || left == Some(&Fault::Differs), "{left:?}");
    } else if !run.steps.is_empty() {
        facts.assert_table_kept(disk, "GRUB");
    }
}
