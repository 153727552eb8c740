//! Sector 0: a lost protective MBR is written anew, and any other MBR is nobody's business.

use std::sync::Arc;

use super::super::*;
use crate::testing::raw::{BOOT_B, Raw};
use crate::testing::{Operation, RecordingDevice};

const READY: u64 = 0x0012_0000_0000_0000;

/// With boot code, so that there is something to keep.
fn disk(sector: u32) -> Raw {
    Raw::with_foreign_bytes(sector)
}

#[test]
fn a_lost_protective_mbr_is_written_anew_and_the_boot_code_kept() {
    for sector in [512, 4096] {
        let good = disk(sector);
        let mut bad = good.clone();
        bad.bytes[440..512].fill(0xe5);
        let device = bad.device();
        let mut table = Table::read(&device).unwrap();
        assert_eq!(table.mbr_fault(), Some(&MbrFault::NoSignature));
        assert_eq!(table.damage(), None, "both copies are sound");
        assert_eq!(table.repair(&device).unwrap(), Written::Changed);
        assert_eq!(table.repaired(), [Repaired::Mbr(MbrFault::NoSignature)]);
        assert!(device.to_bytes() == good.bytes);
        assert_eq!(Table::read(&device).unwrap().mbr_fault(), None);
    }
}

/// Sector 0 may share a physical block with the primary.
#[test]
fn the_mbr_is_written_once_both_copies_are_sound_and_before_they_change() {
    let good = disk(512);
    let mut bad = good.clone();
    bad.bytes[..1024].fill(0xe5);
    let device = RecordingDevice::new(Arc::new(bad.device()));
    let mut table = Table::read(&device).unwrap();
    table.set_attributes(BOOT_B, READY).unwrap();
    table.write(&device).unwrap();
    let operations = device.take();
    let at = operations
        .iter()
        .position(|operation| matches!(operation, Operation::Write { offset: 0, .. }))
        .unwrap();
    assert_eq!(operations[at + 1], Operation::Sync);
    // Before it the primary is restored, header and 32 sectors; after it comes the change.
    assert_eq!((at, operations.len()), (35, 35 + 2 + 8));
}

#[test]
fn a_hybrid_mbr_stays_byte_for_byte() {
    for sector in [512, 4096] {
        let mut raw = disk(sector);
        // An ordinary partition first, the protective entry second, and a disk signature.
        raw.bytes.copy_within(446..462, 462);
        raw.bytes[446..462]
            .copy_from_slice(&[0x80, 1, 2, 3, 0x0c, 4, 5, 6, 7, 8, 9, 0, 1, 1, 0, 0]);
        raw.bytes[440..446].copy_from_slice(&[1, 2, 3, 4, 5, 6]);
        untouched(&raw, None);
    }
}

#[test]
fn an_mbr_that_does_not_protect_is_reported_and_left_to_its_owner() {
    let mut raw = disk(512);
    raw.bytes[450] = 0x83;
    untouched(&raw, Some(&MbrFault::NotProtective));
}

/// Changes, repairs and rewrites the table, and looks at sector 0.
fn untouched(raw: &Raw, fault: Option<&MbrFault>) {
    let device = raw.device();
    let mut table = Table::read(&device).unwrap();
    assert_eq!(table.mbr_fault(), fault);
    table.set_attributes(BOOT_B, READY).unwrap();
    table.write(&device).unwrap();
    table.repair(&device).unwrap();
    table.rewrite(&device).unwrap();
    assert_eq!(table.repaired(), []);
    assert_eq!(table.mbr_fault(), fault);
    assert!(device.to_bytes()[..raw.sector] == raw.bytes[..raw.sector]);
}
