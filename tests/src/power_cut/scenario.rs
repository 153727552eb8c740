//! The commands that are cut: an update and its life, on one disk after the other.

use std::sync::Arc;

use signpost::testing::{Operation, RecordingDevice};
use signpost::{ActiveChoice, BlockDevice, BootDisk, Command, Force, PerSlot, Slot, SlotStore};
use updog::env::Env;
use updog::exit::chain;
use updog::session::{self, Choice};

use super::damage::Damage;
use super::loaders::{Grub, Strict};
use super::overlay::{Overlay, OverlayDevice, SECTOR, Sector};
use super::{Count, Effort, Loader, Phase, WrittenImages, try_phase};
use crate::in_process::Site;

/// Three releases, and disks with sectors of one size.
struct World {
    site: Site,
    sector: usize,
}

/// Tries every phase on disks with sectors of `sector` bytes, 512 or 4096.
///
/// # Panics
/// When the world cannot be made, or a command fails without a cut.
pub fn run(sector: usize, effort: Effort, report: &mut dyn FnMut(&Count)) -> Vec<Count> {
    let mut counts = Vec::new();
    World::new(sector).try_all(effort, &mut |mut count| {
        count.name = format!("{} ({sector})", count.name);
        report(&count);
        counts.push(count);
    });
    counts
}

/// An `update` from factory state whose record was brought into another order, to show that a wrong
/// order is noticed.
///
/// # Panics
/// When the world cannot be made.
pub fn reordered(reorder: fn(Vec<Operation>) -> Vec<Operation>) -> Count {
    let world = World::new(512);
    let mut last = Count::default();
    let mut story = Story {
        world: &world,
        loaders: [&Grub(512), &Strict(512)],
        effort: Effort {
            all_reruns: false,
            ..Effort::NORMAL
        },
        reorder,
        report: &mut |count| last = count,
    };
    let holds = PerSlot {
        a: vec!["1.0.0"],
        b: vec![],
    };
    story.update(
        "update",
        &world.factory(),
        &holds,
        Slot::A,
        "1.0.0",
        "1.1.0",
    );
    last
}

impl World {
    fn new(sector: usize) -> Self {
        Self {
            site: Site::new(&["1.0.0", "1.1.0", "1.2.0"]),
            sector,
        }
    }

    /// The factory disk, with 1.0.0 in set A.
    fn factory(&self) -> Overlay {
        Overlay::new(self.site.factory_disk("1.0.0", self.sector))
    }

    fn block_size(&self) -> u32 {
        u32::try_from(self.sector).expect("512 or 4096")
    }

    /// A host that runs `version` from `active` of `device`.
    fn env(&self, device: Arc<dyn BlockDevice>, active: Slot, version: &str) -> Env {
        self.site.env(device, active, version)
    }

    /// The images of a release as they lie in `slot`.
    fn written(&self, disk: &Overlay, slot: Slot, version: &str) -> WrittenImages {
        let device = OverlayDevice::new(disk.clone(), self.block_size());
        let disk = BootDisk::read(Arc::new(device)).expect("a sound disk");
        WrittenImages {
            version: version.to_owned(),
            images: self.site.images_in(disk.layout(), slot, version),
        }
    }

    fn try_all(&self, effort: Effort, report: &mut dyn FnMut(Count)) {
        let loaders: [&dyn Loader; 2] = [&Grub(self.sector), &Strict(self.sector)];
        let mut disk = self.factory();
        let mut holds = PerSlot {
            a: vec!["1.0.0"],
            b: vec![],
        };
        let mut story = Story {
            world: self,
            loaders,
            effort,
            reorder: |as_recorded| as_recorded,
            report,
        };

        // 1.1.0 into set B, the first time with a cut and another run in the middle.
        let half = story.half_written(&disk);
        story.prepare(
            "prepare after a prepare that was cut",
            &half,
            &holds,
            Slot::A,
            "1.0.0",
            "1.1.0",
        );
        disk = story.prepare("prepare", &disk, &holds, Slot::A, "1.0.0", "1.1.0");
        holds.b = vec!["1.1.0"];
        let valid = story.apply("update-apply", &disk, &holds, Slot::A, "1.0.0");
        disk = story.revert("update-revert", &valid, &holds, Slot::A, "1.0.0");
        disk = story.apply(
            "update-apply after a revert",
            &disk,
            &holds,
            Slot::A,
            "1.0.0",
        );
        for damage in Damage::ALL {
            let damaged = damage.on(&disk, self.sector);
            story.repair(&format!("signpost repair, {damage}"), &damaged, &holds);
            story.revert(
                &format!("update-revert, {damage}"),
                &damaged,
                &holds,
                Slot::A,
                "1.0.0",
            );
        }
        disk = story.boots(&disk, &holds, Slot::B);
        disk = story.command(
            Command::MarkSuccessfulBoot,
            &disk,
            &holds,
            Slot::B,
            [None, Some([2, 0, 1])],
        );
        disk = story.command(
            Command::RollbackToInactive,
            &disk,
            &holds,
            Slot::B,
            [Some([2, 0, 1]), None],
        );
        disk = story.boots(&disk, &holds, Slot::A);
        disk = story.command(
            Command::RollbackToInactive,
            &disk,
            &holds,
            Slot::A,
            [None, Some([2, 0, 1])],
        );
        disk = story.boots(&disk, &holds, Slot::B);
        // Back for one try, which is not used up: the next start but one is B again.
        disk = story.command(
            Command::RollbackOnce,
            &disk,
            &holds,
            Slot::B,
            [Some([2, 1, 0]), None],
        );
        disk = story.boots(&disk, &holds, Slot::A);
        disk = story.boots(&disk, &holds, Slot::B);
        // 1.2.0 over the old set A, from B: `update` in one go.
        disk = story.update("update", &disk, &holds, Slot::B, "1.1.0", "1.2.0");
        holds.a = vec!["1.2.0"];
        disk = story.boots(&disk, &holds, Slot::A);
        // It is not marked: the next start is B again.
        story.boots(&disk, &holds, Slot::B);
    }
}

struct Story<'a> {
    world: &'a World,
    loaders: [&'a dyn Loader; 2],
    effort: Effort,
    /// What is done to the record before it is cut: nothing, but for showing that cuts are noticed.
    reorder: fn(Vec<Operation>) -> Vec<Operation>,
    report: &'a mut dyn FnMut(Count),
}

type Bits = [u8; 3];

impl Story<'_> {
    /// Runs `command` on a recording of `disk`, tries every cut, and returns the disk after it.
    fn phase<'s>(
        &mut self,
        name: &str,
        disk: &Overlay,
        holds: &PerSlot<Vec<&str>>,
        command: impl Fn(Arc<dyn BlockDevice>) -> Result<(), String> + 's,
        after: impl Fn(&Overlay) -> Result<(), String> + 's,
        rerun_limit: usize,
    ) -> Overlay {
        let world = self.world;
        let device = Arc::new(OverlayDevice::new(disk.clone(), world.block_size()));
        let recording = Arc::new(RecordingDevice::new(device.clone()));
        command(recording.clone()).unwrap_or_else(|why| panic!("{name}, not cut: {why}"));
        let content = device.content();
        after(&content).unwrap_or_else(|why| panic!("{name}, not cut: {why}"));
        let complete = |slot| {
            holds[slot]
                .iter()
                .map(|version| world.written(&content, slot, version))
                .collect()
        };
        let phase = Phase {
            name: name.to_owned(),
            base: disk.clone(),
            damaged: self.is_damaged(disk),
            operations: (self.reorder)(recording.take()),
            complete: PerSlot {
                a: complete(Slot::A),
                b: complete(Slot::B),
            },
            block_size: world.block_size(),
            rerun: Some(Box::new(command)),
            after: Box::new(after),
            rerun_limit,
        };
        let count = try_phase(&phase, &self.loaders, self.effort);
        (self.report)(count);
        content.flattened()
    }

    fn is_damaged(&self, disk: &Overlay) -> bool {
        let device = OverlayDevice::new(disk.clone(), self.world.block_size());
        BootDisk::read(Arc::new(device)).is_ok_and(|disk| disk.damage().is_some())
    }

    fn prepare(
        &mut self,
        name: &str,
        disk: &Overlay,
        holds: &PerSlot<Vec<&str>>,
        active: Slot,
        running: &str,
        version: &str,
    ) -> Overlay {
        let world = self.world;
        let choice = Choice {
            forced: version.parse().ok(),
            ..Choice::default()
        };
        let command = |device| {
            let outcome = session::prepare(&world.env(device, active, running), &choice);
            outcome.map(|_| ()).map_err(|error| chain(&error))
        };
        let inactive = active.other();
        // While it is being written only the running set may boot.
        let mut running_only = holds.clone();
        running_only[inactive] = vec![];
        let expected = world.written(disk, inactive, version);
        let after = move |disk: &Overlay| {
            if !expected.are_on(disk) {
                return Err(format!("{version} is not whole in set {inactive}"));
            }
            expect_bits(world, disk, inactive, [0, 1, 0])
        };
        self.phase(name, disk, &running_only, command, after, 12)
    }

    fn update(
        &mut self,
        name: &str,
        disk: &Overlay,
        holds: &PerSlot<Vec<&str>>,
        active: Slot,
        running: &str,
        version: &'static str,
    ) -> Overlay {
        let world = self.world;
        let choice = Choice {
            forced: version.parse().ok(),
            ..Choice::default()
        };
        let command = |device| {
            let outcome = session::update(&world.env(device, active, running), &choice);
            outcome.map(|_| ()).map_err(|error| chain(&error))
        };
        let inactive = active.other();
        let mut complete = holds.clone();
        complete[inactive] = vec![version];
        let expected = world.written(disk, inactive, version);
        let after = move |disk: &Overlay| {
            if !expected.are_on(disk) {
                return Err(format!("{version} is not whole in set {inactive}"));
            }
            expect_bits(world, disk, inactive, [2, 1, 0])
        };
        self.phase(name, disk, &complete, command, after, 12)
    }

    fn apply(
        &mut self,
        name: &str,
        disk: &Overlay,
        holds: &PerSlot<Vec<&str>>,
        active: Slot,
        running: &str,
    ) -> Overlay {
        let world = self.world;
        let command = |device| {
            let applied = session::apply(&world.env(device, active, running));
            applied.map(|_| ()).map_err(|error| chain(&error))
        };
        let after = |disk: &Overlay| expect_bits(world, disk, active.other(), [2, 1, 0]);
        self.phase(name, disk, holds, command, after, usize::MAX)
    }

    fn revert(
        &mut self,
        name: &str,
        disk: &Overlay,
        holds: &PerSlot<Vec<&str>>,
        active: Slot,
        running: &str,
    ) -> Overlay {
        let world = self.world;
        let command = |device| {
            let reverted = session::revert(&world.env(device, active, running));
            reverted.map(|_| ()).map_err(|error| chain(&error))
        };
        let after = |disk: &Overlay| {
            expect_bits(world, disk, active, [2, 0, 1])?;
            expect_bits(world, disk, active.other(), [0, 1, 0])
        };
        self.phase(name, disk, holds, command, after, 100)
    }

    fn command(
        &mut self,
        command: Command,
        disk: &Overlay,
        holds: &PerSlot<Vec<&str>>,
        active: Slot,
        expected: [Option<Bits>; 2],
    ) -> Overlay {
        let world = self.world;
        let run = |device| {
            let mut store = SlotStore::from_device(device, ActiveChoice::Set(active))
                .map_err(|error| chain(&error))?;
            store
                .run(command, &Force::No)
                .map(|_| ())
                .map_err(|error| chain(&error))
        };
        let after = |disk: &Overlay| {
            for (slot, bits) in Slot::BOTH.into_iter().zip(expected) {
                if let Some(bits) = bits {
                    expect_bits(world, disk, slot, bits)?;
                }
            }
            Ok(())
        };
        self.phase(
            &format!("signpost {command}"),
            disk,
            holds,
            run,
            after,
            usize::MAX,
        )
    }

    fn repair(&mut self, name: &str, disk: &Overlay, holds: &PerSlot<Vec<&str>>) -> Overlay {
        let run = |device| {
            BootDisk::read(device)
                .and_then(|mut disk| disk.repair())
                .map(|_| ())
                .map_err(|error| chain(&error))
        };
        let block_size = self.world.block_size();
        let after = move |disk: &Overlay| {
            let device = Arc::new(OverlayDevice::new(disk.clone(), block_size));
            let disk = BootDisk::read(device).map_err(|error| chain(&error))?;
            disk.damage()
                .map_or(Ok(()), |damage| Err(format!("still damaged: {damage:?}")))
        };
        self.phase(name, disk, holds, run, after, 100)
    }

    /// GRUB boots `expected`; its own writes are the phase.
    fn boots(&mut self, disk: &Overlay, holds: &PerSlot<Vec<&str>>, expected: Slot) -> Overlay {
        let world = self.world;
        let (_, pick) = self.loaders[0].boot(disk);
        assert_eq!(pick, Some(expected), "what boots next");
        let command = move |device: Arc<dyn BlockDevice>| {
            let sector = world.sector;
            let mut bytes = vec![0; usize::try_from(device.len()).expect("a disk in memory")];
            // Sector by sector, since one may be unreadable.
            let mut image = Overlay::new(bytes.clone());
            for (index, content) in (0_u64..).zip(bytes.chunks_exact_mut(SECTOR)) {
                let offset = index * u64::try_from(SECTOR).expect("512");
                let sector = match device.read_at(offset, content) {
                    Ok(()) => Sector::Data(Arc::new((&*content).try_into().expect("a sector"))),
                    Err(_) => Sector::Unreadable,
                };
                image.put(index, sector);
            }
            for operation in Grub(sector).boot(&image).0 {
                let done = match operation {
                    Operation::Write { offset, bytes } => device.write_at(offset, &bytes),
                    Operation::Sync => device.sync(),
                };
                done.map_err(|error| error.to_string())?;
            }
            Ok(())
        };
        // Whether the try was spent before the cut or is spent now, both sets are complete.
        self.phase(
            &format!("the boot loader starts {expected}"),
            disk,
            holds,
            command,
            |_| Ok(()),
            4,
        )
    }

    /// A disk on which `prepare` was cut while it wrote the root image.
    fn half_written(&self, disk: &Overlay) -> Overlay {
        let world = self.world;
        let device = Arc::new(OverlayDevice::new(disk.clone(), world.block_size()));
        let recording = Arc::new(RecordingDevice::new(device));
        let env = world.env(recording.clone(), Slot::A, "1.0.0");
        let choice = Choice {
            forced: "1.1.0".parse().ok(),
            ..Choice::default()
        };
        session::prepare(&env, &choice).expect("a prepare that is not cut");
        let mut half = disk.clone();
        for operation in recording.take() {
            if let Operation::Write { offset, bytes } = operation {
                // The root image is the largest single write; half of it arrives.
                let largest = bytes.len() > 200_000;
                let arrives = if largest {
                    &bytes[..bytes.len() / 2]
                } else {
                    &bytes[..]
                };
                half.write(offset, arrives).expect("a write that fits");
                if largest {
                    break;
                }
            }
        }
        half.flattened()
    }
}

fn expect_bits(world: &World, disk: &Overlay, slot: Slot, expected: Bits) -> Result<(), String> {
    let device = Arc::new(OverlayDevice::new(disk.clone(), world.block_size()));
    let disk = BootDisk::read(device).map_err(|error| chain(&error))?;
    let bits = disk.bits()[slot];
    let found = [
        bits.priority(),
        bits.tries_left(),
        u8::from(bits.successful()),
    ];
    if found == expected {
        Ok(())
    } else {
        Err(format!("set {slot} has {found:?} instead of {expected:?}"))
    }
}
