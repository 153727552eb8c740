//! Files as disks. Block devices need root: they are in `tests/loop_device.rs`.

use std::fs;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, mpsc};

use tempfile::TempDir;

use super::*;
use crate::Window;

fn folder() -> TempDir {
    TempDir::new().unwrap()
}

fn image(folder: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("disk.img");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_missing_disk_is_not_created() {
    let folder = folder();
    let path = folder.path().join("vda");
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let error = FileDevice::open(&path, access).unwrap_err();
        assert_eq!(error.to_string(), format!("looking at {}", path.display()));
        assert_eq!(error.advice(), Some("is the path right?"));
        assert!(!path.exists());
    }
}

#[test]
fn opening_for_writing_keeps_every_byte() {
    let folder = folder();
    let path = image(&folder, b"12345");
    let device = FileDevice::open(&path, Access::ReadWrite).unwrap();
    assert_eq!(
        (device.len(), device.block_size(), device.number()),
        (5, 512, None)
    );
    assert_eq!(device.name(), path.display().to_string());
    assert_eq!(fs::read(&path).unwrap(), b"12345");
}

#[test]
fn what_does_not_fit_is_not_written_and_makes_nothing_longer() {
    let folder = folder();
    let path = image(&folder, b"12345");
    let device = FileDevice::open(&path, Access::ReadWrite).unwrap();
    for offset in [4, 5, 6, u64::MAX] {
        let error = device.write_at(offset, b"xy").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{offset}");
        assert!(device.read_at(offset, &mut [0; 2]).is_err());
        assert!(device.read_back_at(offset, &mut [0; 2]).is_err());
    }
    assert_eq!(fs::read(&path).unwrap(), b"12345");
    device.write_at(3, b"xy").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"123xy");
}

#[test]
fn zeros_are_made_in_their_place_and_nowhere_else() {
    let folder = folder();
    let path = image(&folder, &vec![7; 20_000]);
    let device = FileDevice::open(&path, Access::ReadWrite).unwrap();
    for (offset, length) in [(20_000, 1), (19_999, 2), (u64::MAX, 1), (0, usize::MAX)] {
        let error = device.zero_at(offset, length).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{offset}");
    }
    assert!(!device.zero_at(0, 0).unwrap());
    assert_eq!(fs::read(&path).unwrap(), vec![7; 20_000]);

    let device: Arc<dyn BlockDevice> = Arc::new(device);
    let window = Window::new(device, 4096, 12_288, Access::ReadWrite, "window").unwrap();
    assert!(window.zero_at(4096, 8193).is_err());
    assert!(window.zero_at(4096, 8192).unwrap());
    let mut expected = vec![7; 20_000];
    expected[8192..16_384].fill(0);
    assert_eq!(fs::read(&path).unwrap(), expected);
    let mut found = [1; 12_288];
    window.read_back_at(0, &mut found).unwrap();
    assert_eq!(found, expected[4096..16_384]);
}

#[test]
fn a_disk_opened_for_reading_is_not_written() {
    let folder = folder();
    let path = image(&folder, b"12345");
    let device = FileDevice::open(&path, Access::ReadOnly).unwrap();
    assert_eq!(
        device.zero_at(0, 5).unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    assert_eq!(
        device.write_at(0, b"x").unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    assert_eq!(fs::read(&path).unwrap(), b"12345");
}

#[test]
fn what_is_no_disk_is_refused_without_opening_it() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("folder")).unwrap();
    // Opening a pipe that nobody writes to would wait for ever.
    rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _listener = UnixListener::bind(path("socket")).unwrap();
    let cases = [
        (path("folder"), "a directory"),
        (path("pipe"), "a pipe"),
        (path("socket"), "a socket"),
        (PathBuf::from("/dev/zero"), "a character device"),
    ];
    for (path, kind) in cases {
        for claim in [Claim::Shared, Claim::Exclusive] {
            let error = FileDevice::open_as(&path, Access::ReadOnly, claim).unwrap_err();
            let expected = format!(
                "{} is {kind}, not a block device or a disk image",
                path.display()
            );
            assert_eq!(error.to_string(), expected);
        }
    }
}

#[test]
fn a_link_to_a_disk_is_followed() {
    let folder = folder();
    let path = image(&folder, b"12345");
    let link = folder.path().join("by-id");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let device = FileDevice::open_exclusive(&link, Access::ReadWrite).unwrap();
    assert_eq!((device.len(), device.path()), (5, link.as_path()));
}

/// Reads at every kind of alignment, past the page cache and, where that cannot be, through it.
#[test]
fn reading_back_gives_the_same_bytes_at_any_offset() {
    let folder = folder();
    // Longer than one direct read, and of no even length.
    let length = DIRECT_CHUNK + DIRECT_CHUNK / 2 + 777;
    let mut byte = 0u8;
    let bytes: Vec<u8> = (0..length)
        .map(|_| {
            byte = byte.wrapping_mul(5).wrapping_add(13);
            byte
        })
        .collect();
    let path = image(&folder, &bytes);
    let mut device = FileDevice::open(&path, Access::ReadWrite).unwrap();
    let ranges = [
        (0, 0),
        (0, 1),
        (0, 4096),
        (1, 4096),
        (511, 2),
        (4095, 2),
        (4096, 8192),
        (12_345, 1),
        (0, length),
        (1, length - 1),
        (DIRECT_CHUNK - 1, 2),
        (DIRECT_CHUNK - 4000, 100_000),
        (length - 1, 1),
        (length - 777, 777),
        (length - 5000, 5000),
        (length, 0),
    ];
    for direct in [true, false] {
        if !direct {
            device.direct = None;
        }
        for (start, count) in ranges {
            let mut found = vec![0; count];
            device
                .read_back_at(u64::try_from(start).unwrap(), &mut found)
                .unwrap();
            assert!(
                found == bytes[start..start + count],
                "{count} at {start}, direct: {direct}"
            );
        }
    }
}

#[test]
fn what_was_written_and_synced_is_read_back() {
    let folder = folder();
    let path = image(&folder, &vec![0; 20_000]);
    let device = FileDevice::open(&path, Access::ReadWrite).unwrap();
    device.write_at(5000, &[7; 3000]).unwrap();
    device.sync().unwrap();
    let mut found = [0; 3002];
    device.read_back_at(4999, &mut found).unwrap();
    assert_eq!((found[0], found[3001]), (0, 0));
    assert_eq!(found[1..3001], [7; 3000]);
}

#[test]
fn the_lock_keeps_a_second_opening_waiting() {
    let folder = folder();
    let path = image(&folder, b"12345");
    let first = FileDevice::open(&path, Access::ReadWrite).unwrap();
    let second = FileDevice::open(&path, Access::ReadOnly).unwrap();
    first.lock().unwrap();
    let (told, tell) = (mpsc::channel(), mpsc::channel());
    thread::scope(|scope| {
        scope.spawn(|| {
            told.0.send("waiting").unwrap();
            second.lock().unwrap();
            tell.0.send("locked").unwrap();
        });
        assert_eq!(told.1.recv(), Ok("waiting"));
        assert!(tell.1.try_recv().is_err());
        first.unlock().unwrap();
        assert_eq!(tell.1.recv(), Ok("locked"));
    });
}

#[test]
fn a_device_number_has_more_than_eight_bits() {
    let raw = rustix::fs::makedev(259, 4_660);
    assert_eq!(DeviceNumber::from_raw(raw).to_string(), "259:4660");
}
