//! Disks that fail: an error at every single operation, no space, short writes, bytes that are not
//! kept. Nothing
//! becomes valid that is not whole on the disk, and the same command finishes once the disk works.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use signpost::testing::MemoryDevice;
use signpost::{BlockDevice, BootDisk, Slot};
use system_tests::in_process::Site;
use updog::session::{self, Choice};

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The operation with this number, reads included, reports an error.
    ErrorAt(i64, io::ErrorKind),
    /// Bytes written from the first offset to the second are forgotten.
    Forgets(u64, u64),
}

#[derive(Debug)]
struct FailingDisk {
    memory: MemoryDevice,
    error: io::ErrorKind,
    /// Operations until one fails.
    left: AtomicI64,
    /// Where nothing is kept.
    forgets: Mutex<Range<u64>>,
    done: AtomicI64,
}

impl FailingDisk {
    fn new(bytes: Vec<u8>, fault: Fault) -> Arc<Self> {
        let (left, error, forgets) = match fault {
            Fault::ErrorAt(at, kind) => (at, kind, 0..0),
            Fault::Forgets(start, end) => (i64::MAX, io::ErrorKind::Other, start..end),
        };
        Arc::new(Self {
            memory: MemoryDevice::new(bytes, 512),
            error,
            left: AtomicI64::new(left),
            forgets: Mutex::new(forgets),
            done: AtomicI64::new(0),
        })
    }

    fn works(&self) {
        self.left.store(i64::MAX, Ordering::SeqCst);
        *self.forgets.lock().unwrap() = 0..0;
    }

    fn operation(&self) -> io::Result<()> {
        self.done.fetch_add(1, Ordering::SeqCst);
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            Err(self.error.into())
        } else {
            Ok(())
        }
    }
}

impl BlockDevice for FailingDisk {
    fn len(&self) -> u64 {
        self.memory.len()
    }

    fn block_size(&self) -> u32 {
        self.memory.block_size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.operation()?;
        self.memory.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        if let Err(error) = self.operation() {
            // A write that fails may have been a short one.
            self.memory.write_at(offset, &buf[..buf.len() / 2])?;
            return Err(error);
        }
        let forgets = self.forgets.lock().unwrap().clone();
        let mut kept = buf.to_vec();
        for (at, byte) in (offset..).zip(&mut kept) {
            if forgets.contains(&at) {
                let mut old = [0];
                self.memory.read_at(at, &mut old)?;
                *byte = old[0];
            }
        }
        self.memory.write_at(offset, &kept)
    }

    fn sync(&self) -> io::Result<()> {
        self.operation()?;
        self.memory.sync()
    }

    fn read_back_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.operation()?;
        self.memory.read_back_at(offset, buf)
    }

    fn name(&self) -> String {
        "disk".to_owned()
    }
}

/// Bits of set B, and whether it holds 1.1.0.
fn set_b(site: &Site, disk: &FailingDisk) -> ([u8; 3], bool) {
    let bytes = disk.memory.to_bytes();
    let table = BootDisk::read(Arc::new(MemoryDevice::new(bytes.clone(), 512))).unwrap();
    let bits = table.bits()[Slot::B];
    let whole = site
        .images_in(table.layout(), Slot::B, "1.1.0")
        .iter()
        .all(|(offset, image)| bytes[usize::try_from(*offset).unwrap()..].starts_with(image));
    (
        [
            bits.priority(),
            bits.tries_left(),
            u8::from(bits.successful()),
        ],
        whole,
    )
}

fn update(site: &Site, disk: &Arc<FailingDisk>) -> bool {
    let env = site.env(disk.clone(), Slot::A, "1.0.0");
    session::update(&env, &Choice::default()).is_ok()
}

#[test]
fn an_error_at_any_operation_makes_nothing_valid_that_is_not_whole() {
    let site = Site::new(&["1.0.0", "1.1.0"]);
    let factory = site.factory_disk("1.0.0", 512);
    let good = FailingDisk::new(
        factory.clone(),
        Fault::ErrorAt(i64::MAX, io::ErrorKind::Other),
    );
    assert!(update(&site, &good));
    let operations = good.done.load(Ordering::SeqCst);
    assert!(operations > 30, "only {operations} operations");
    for at in 0..operations {
        let kind = if at % 2 == 0 {
            io::ErrorKind::Other
        } else {
            io::ErrorKind::StorageFull
        };
        let disk = FailingDisk::new(factory.clone(), Fault::ErrorAt(at, kind));
        let succeeded = update(&site, &disk);
        let (bits, whole) = set_b(&site, &disk);
        // A read that fails may have been that of a copy of the table whose other copy did.
        assert!(
            !succeeded || (whole && bits == [2, 1, 0]),
            "operation {at}: {bits:?}"
        );
        assert!(
            whole || bits == [0, 0, 0],
            "operation {at}: {bits:?} and not whole"
        );
        disk.works();
        assert!(
            update(&site, &disk),
            "again after an error at operation {at}"
        );
        assert_eq!(
            set_b(&site, &disk),
            ([2, 1, 0], true),
            "again after operation {at}"
        );
    }
}

#[test]
fn a_medium_that_forgets_a_part_of_an_image_is_found_out() {
    let site = Site::new(&["1.0.0", "1.1.0"]);
    let mut factory = site.factory_disk("1.0.0", 512);
    let table = BootDisk::read(Arc::new(MemoryDevice::new(factory.clone(), 512))).unwrap();
    let images = site.images_in(table.layout(), Slot::B, "1.1.0");
    // What is forgotten shows, also where the image is zero.
    for (offset, image) in &images {
        let offset = usize::try_from(*offset).unwrap();
        factory[offset..offset + image.len()].fill(0xa5);
    }
    for (offset, image) in images {
        let length = u64::try_from(image.len()).unwrap();
        for (start, end) in [
            (0, length),
            (512, 513),
            (length / 2, length),
            (length - 1, length),
        ] {
            let lost = Fault::Forgets(offset + start, offset + end);
            let disk = FailingDisk::new(factory.clone(), lost);
            assert!(
                !update(&site, &disk),
                "bytes {start} to {end} forgotten at {offset}"
            );
            assert_eq!(set_b(&site, &disk), ([0, 0, 0], false));
            disk.works();
            assert!(update(&site, &disk));
            assert_eq!(set_b(&site, &disk), ([2, 1, 0], true));
        }
    }
}
