//! What changes a table.

use std::sync::Arc;

use signpost::device::DeviceSectors;
use signpost::loader::{LoaderRun, grub_boot, strict_boot};
use signpost::testing::{MemoryDevice, carry_out};
use signpost::{ActiveChoice, BlockDevice, BootDisk, Command, Force, Slot, SlotStore, SpendTry};

use super::random::Random;

/// Something that is done to a sound table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A command, while this set runs.
    Run(Slot, Command),
    /// The same, whatever the guard says.
    Force(Slot, Command),
    /// Both copies are written anew.
    Rewrite,
    /// Our own boot loader takes a try off.
    Spend,
    /// GRUB's model boots.
    Grub,
    /// The strict model boots.
    Strict,
}

impl Act {
    /// Any of them, mostly a command.
    pub fn random(random: &mut Random) -> Self {
        let slot = random.pick(&Slot::BOTH);
        let command = random.pick(&Command::ALL);
        match random.below(12) {
            0 => Self::Rewrite,
            1 => Self::Spend,
            2 => Self::Grub,
            3 => Self::Strict,
            4..8 => Self::Force(slot, command),
            _ => Self::Run(slot, command),
        }
    }

    /// Does it, whether or not it is refused.
    ///
    /// # Panics
    /// When it fails.
    pub fn perform(self, device: &Arc<MemoryDevice>, sector: usize) {
        let shared = || Arc::clone(device) as Arc<dyn BlockDevice>;
        let disk = || BootDisk::read(shared()).expect("a sound table");
        let sectors = DeviceSectors::new(&**device, sector);
        let boot = |run: LoaderRun| {
            carry_out(&**device, sector, &run.steps).expect("a loader stays within the disk");
        };
        match self {
            Self::Run(slot, command) => run(shared(), slot, command, &Force::No),
            Self::Force(slot, command) => {
                let reason = "a test".parse().expect("a reason");
                run(shared(), slot, command, &Force::Because(reason));
            }
            Self::Rewrite => {
                disk().rewrite_table().expect("a sound table");
            }
            Self::Spend => {
                disk().select(SpendTry::Yes).expect("a sound table");
            }
            Self::Grub => boot(grub_boot(&sectors)),
            Self::Strict => boot(strict_boot(&sectors)),
        }
    }
}

fn run(device: Arc<dyn BlockDevice>, slot: Slot, command: Command, force: &Force) {
    let sets = BootDisk::read(Arc::clone(&device))
        .expect("a sound table")
        .sets();
    if sets.get(slot).is_none() {
        return;
    }
    let mut store =
        SlotStore::from_device(device, ActiveChoice::Set(slot)).expect("the set is there");
    if let Err(error) = store.run(command, force) {
        assert!(error.refusal().is_some(), "{command}: {error:?}");
    }
}
