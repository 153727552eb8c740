//! Interrupts updates at moments drawn from a seed, runs each again, and prints what was left.
//!
//!     cargo run --release --example interrupts [-- COUNT [SEED]]

#![allow(clippy::print_stdout)] // an example talks to whoever runs it

use std::io::Write as _;
use std::process::ExitCode;

use system_tests::interrupts::{self, Resources};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let (Ok(count), Ok(seed)) = (
        arguments.next().unwrap_or(Ok(1000)),
        arguments.next().unwrap_or(Ok(1)),
    ) else {
        println!("usage: interrupts [COUNT [SEED]]");
        return ExitCode::from(2);
    };
    let report = interrupts::run(count, u64::try_from(seed).unwrap_or(1), |done| {
        if done % 50 == 0 {
            print!("\r{done} of {count}");
            // Nobody is told of a terminal that is gone.
            let _ = std::io::stdout().flush();
        }
    });
    println!(
        "\r{:14} {:>7} {:>9} {:>10} {:>14}",
        "by", "runs", "stopped", "had ended", "slowest end"
    );
    for (blow, row) in &report.rows {
        println!(
            "{blow:14} {:>7} {:>9} {:>10} {:>11} ms",
            row.runs,
            row.stopped,
            row.finished,
            row.slowest.as_millis()
        );
    }
    println!("\nstopped during");
    for (effect, times) in &report.moments {
        println!("  {effect:22} {times:>7}");
    }
    println!("\n{:24} {:>9} {:>9}", "", "before", "after");
    let line = |what, of: fn(&Resources) -> usize| {
        println!(
            "{what:24} {:>9} {:>9}",
            of(&report.before),
            of(&report.after)
        );
    };
    line("files and folders", |seen| seen.files.len());
    line("bytes remembered", |seen| {
        usize::try_from(seen.state_bytes).unwrap_or(usize::MAX)
    });
    line("open descriptors", |seen| seen.descriptors);
    line("threads", |seen| seen.threads);
    println!("\nOf attempts, the last 64 are remembered; so the bytes grow until then.");
    println!("failures: {}", report.failures.len());
    for failure in &report.failures {
        println!("  {failure}");
    }
    if report.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
