//! Power cuts under the real code, in the bounds of every run. `cargo run --release --example
//! power-cut -- --long` goes further and prints the counts.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use signpost::testing::Operation;
use system_tests::power_cut::{Effort, scenario};

fn survives(sector: usize) {
    let counts = scenario::run(sector, Effort::NORMAL, &mut |_| {});
    let failures: Vec<_> = counts
        .iter()
        .flat_map(|count| {
            count
                .failures
                .iter()
                .map(move |why| format!("{}: {why}", count.name))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let states: usize = counts.iter().map(|count| count.states).sum();
    assert!(states > 3000, "only {states} states were tried");
}

#[test]
fn whatever_a_cut_leaves_a_complete_set_boots_and_the_same_command_finishes_on_512_byte_sectors() {
    survives(512);
}

#[test]
fn whatever_a_cut_leaves_a_complete_set_boots_and_the_same_command_finishes_on_4096_byte_sectors() {
    survives(4096);
}

/// An order as it must not be, and whether the cuts notice.
fn is_noticed(reorder: fn(Vec<Operation>) -> Vec<Operation>) -> bool {
    let count = scenario::reordered(reorder);
    assert!(
        count.states > 100,
        "only {} states were tried",
        count.states
    );
    !count.failures.is_empty()
}

/// Where the images are written, as opposed to the table.
fn is_image(operation: &Operation) -> bool {
    matches!(operation, Operation::Write { bytes, .. } if bytes.len() > 4096)
}

#[test]
fn the_order_as_recorded_passes() {
    assert!(!is_noticed(|operations| operations));
}

#[test]
fn a_missing_sync_is_noticed() {
    assert!(is_noticed(|operations| {
        operations
            .into_iter()
            .filter(|operation| *operation != Operation::Sync)
            .collect()
    }));
}

#[test]
fn boot_bits_before_the_images_are_noticed() {
    assert!(is_noticed(|operations| {
        let first = operations.iter().position(is_image).unwrap();
        let last = operations.iter().rposition(is_image).unwrap();
        let (before, images, after) = (
            &operations[..first],
            &operations[first..=last],
            &operations[last + 1..],
        );
        [before, after, images].concat()
    }));
}

#[test]
fn a_primary_before_its_backup_is_noticed() {
    assert!(is_noticed(|operations| {
        // A change of the table is four synced groups: header and entries of the backup, then of
        // the primary.
        let groups: Vec<_> = operations
            .split_inclusive(|op| *op == Operation::Sync)
            .collect();
        // Marked valid, and armed.
        let (images, table) = groups.split_at(groups.len() - 8);
        let is_change = |group: &&[Operation]| group.len() > 1 && !group.iter().any(is_image);
        assert!(table.iter().all(is_change));
        let swapped = table
            .chunks(4)
            .flat_map(|change| [change[2], change[3], change[0], change[1]]);
        [images.concat(), swapped.collect::<Vec<_>>().concat()].concat()
    }));
}
