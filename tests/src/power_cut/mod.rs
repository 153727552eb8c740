//! Power cuts under the real code: every command is run on a recording disk, every disk that a cut
//! may leave is made from the record, and each must boot a complete, verified set under every loader
//! model; then the command is run again on it and must finish.
//!
//! What the model leaves unprotected: sector 0. It shares a 4 KiB physical block with the primary
//! header on a disk of 512-byte sectors, so a torn block can take the protective MBR, and with it a
//! loader that lives there, as any write to the table can on such a disk. The models do not look at
//! it.

pub mod cuts;
mod damage;
mod loaders;
pub mod overlay;
pub mod scenario;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use signpost::testing::Operation;
use signpost::{BlockDevice, PerSlot, Slot};

use self::cuts::Bounds;
use self::overlay::{Overlay, OverlayDevice};

/// How a loader starts a machine.
pub trait Loader {
    /// For reports.
    fn name(&self) -> &'static str;
    /// Whether it makes a damaged copy of the table good before it writes to the other one. A cut
    /// while it writes to the only good copy there is costs the table, and no order of ours helps:
    /// then its writes are cut only on the disk as it was before the command.
    fn repairs(&self) -> bool;
    /// What it does to the disk before it boots, and what it boots.
    fn boot(&self, disk: &Overlay) -> (Vec<Operation>, Option<Slot>);
}

/// The images of one version, at home in one set.
#[derive(Debug, Clone)]
pub struct WrittenImages {
    /// For reports.
    pub version: String,
    /// Offset on the disk and content.
    pub images: Vec<(u64, Vec<u8>)>,
}

impl WrittenImages {
    fn are_on(&self, disk: &Overlay) -> bool {
        self.images
            .iter()
            .all(|(offset, bytes)| disk.holds(*offset, bytes))
    }
}

type Rerun<'a> = Box<dyn Fn(Arc<dyn BlockDevice>) -> Result<(), String> + 'a>;
type Check<'a> = Box<dyn Fn(&Overlay) -> Result<(), String> + 'a>;

/// A command, recorded.
pub struct Phase<'a> {
    /// For reports.
    pub name: String,
    /// The disk before.
    pub base: Overlay,
    /// Whether a copy of its table is no good.
    pub damaged: bool,
    /// What the command did.
    pub operations: Vec<Operation>,
    /// What may boot from each set.
    pub complete: PerSlot<Vec<WrittenImages>>,
    /// Logical sector size of the disk.
    pub block_size: u32,
    /// The command again.
    pub rerun: Option<Rerun<'a>>,
    /// What holds after the command, run once more if need be.
    pub after: Check<'a>,
    /// At the most so many reruns, spread over the distinct disks; each takes its time.
    pub rerun_limit: usize,
}

/// What came of a phase.
#[derive(Debug, Clone, Default)]
pub struct Count {
    /// The phase.
    pub name: String,
    /// Cuts tried, those inside the loader's own writes included.
    pub states: usize,
    /// Different disks among them.
    pub distinct: usize,
    /// Disks on which the command was run again.
    pub reruns: usize,
    /// What went wrong; the first few.
    pub failures: Vec<String>,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            states,
            distinct,
            reruns,
            failures,
        } = self;
        write!(
            f,
            "{name:46} {states:>9} {distinct:>9} {reruns:>8} {:>9}",
            failures.len()
        )
    }
}

/// How far to go.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Of the command's writes.
    pub bounds: Bounds,
    /// Disks on which the loader's own writes are cut too.
    pub nested: usize,
    /// Whether reruns are limited by each phase, or only by the number of disks.
    pub all_reruns: bool,
}

impl Effort {
    /// For every run of the tests.
    pub const NORMAL: Self = Self {
        bounds: Bounds::NORMAL,
        nested: 16,
        all_reruns: false,
    };
    /// For the long mode.
    pub const LONG: Self = Self {
        bounds: Bounds::LONG,
        nested: 400,
        all_reruns: true,
    };
}

/// Tries every cut of `phase`.
pub fn try_phase(phase: &Phase<'_>, loaders: &[&dyn Loader], effort: Effort) -> Count {
    let mut count = Count {
        name: phase.name.clone(),
        ..Count::default()
    };
    let mut prints = BTreeSet::new();
    let mut disks = Vec::new();
    cuts::for_each(&phase.base, &phase.operations, effort.bounds, &mut |disk| {
        count.states += 1;
        if prints.insert(disk.print()) {
            disks.push(disk.clone());
        }
    });
    count.distinct = disks.len();
    let mut failures = Vec::new();
    for disk in &disks {
        for loader in loaders {
            if let Err(why) = boots_twice(phase, *loader, disk) {
                failures.push(format!("{}: {why}", loader.name()));
            }
        }
    }
    for loader in loaders {
        let cut_too = if !loader.repairs() && phase.damaged {
            &[]
        } else if loader.repairs() {
            &disks[..]
        } else {
            std::slice::from_ref(&phase.base)
        };
        for disk in spread(cut_too, effort.nested) {
            let (operations, _) = loader.boot(disk);
            cuts::for_each(disk, &operations, Bounds::NORMAL, &mut |disk| {
                count.states += 1;
                if let Err(why) = boots_twice(phase, *loader, disk) {
                    failures.push(format!("{}, cut itself: {why}", loader.name()));
                }
            });
        }
    }
    if let Some(rerun) = &phase.rerun {
        let limit = if effort.all_reruns {
            usize::MAX
        } else {
            phase.rerun_limit
        };
        for disk in spread(&disks, limit) {
            count.reruns += 1;
            let device = Arc::new(OverlayDevice::new(disk.clone(), phase.block_size));
            let again = rerun(device.clone()).and_then(|()| (phase.after)(&device.content()));
            if let Err(why) = again {
                failures.push(format!("run again: {why}"));
            }
        }
    }
    failures.truncate(20);
    count.failures = failures;
    count
}

/// The set that boots is complete, and so is the one that boots if that boot comes to nothing.
fn boots_twice(phase: &Phase<'_>, loader: &dyn Loader, disk: &Overlay) -> Result<(), String> {
    let mut disk = disk.clone();
    for start in ["first", "second"] {
        let (operations, pick) = loader.boot(&disk);
        let slot = pick.ok_or_else(|| format!("nothing boots at the {start} start"))?;
        if !phase.complete[slot]
            .iter()
            .any(|images| images.are_on(&disk))
        {
            return Err(format!(
                "set {slot} boots at the {start} start and is not complete"
            ));
        }
        for operation in operations {
            if let Operation::Write { offset, bytes } = operation {
                disk.write(offset, &bytes)
                    .map_err(|error| format!("the loader's write: {error}"))?;
            }
        }
    }
    Ok(())
}

/// Up to `limit` of `disks`, evenly.
fn spread(disks: &[Overlay], limit: usize) -> impl Iterator<Item = &Overlay> {
    let step = disks.len().div_ceil(limit.max(1)).max(1);
    disks.iter().step_by(step)
}
