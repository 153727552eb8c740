//! Interrupted and run again, in the bounds of every run. `cargo run --release --example interrupts`
//! goes further and prints the counts.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use system_tests::interrupts::{self, Blow};

/// The only test of this file: it counts the descriptors and threads of the process.
#[test]
fn whatever_interrupts_an_update_the_rerun_finishes_and_nothing_is_left_over() {
    let report = interrupts::run(24, 7, |_| {});
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    for blow in Blow::ALL {
        let row = report.rows[&blow];
        assert_eq!(row.runs, 6, "{blow}");
        assert!(row.stopped >= 4, "{blow} hardly stopped anything: {row:?}");
    }
    let (before, after) = (&report.before, &report.after);
    assert_eq!(after.files, before.files);
    // The history has a bound.
    assert!(after.state_bytes < 200_000, "{}", after.state_bytes);
    assert!(
        after.descriptors <= before.descriptors,
        "{} descriptors, {} before",
        after.descriptors,
        before.descriptors
    );
    assert!(
        after.threads <= before.threads,
        "{} threads, {} before",
        after.threads,
        before.threads
    );
}
