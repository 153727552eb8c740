//! Cuts the power at every write of every command and prints what was tried.
//!
//!     cargo run --release --example power-cut [-- --long]

#![allow(clippy::print_stdout)] // an example talks to whoever runs it

use std::process::ExitCode;

use system_tests::power_cut::{Effort, scenario};

fn main() -> ExitCode {
    let long = std::env::args().any(|argument| argument == "--long");
    let effort = if long { Effort::LONG } else { Effort::NORMAL };
    println!(
        "{:46} {:>9} {:>9} {:>8} {:>9}",
        "phase", "states", "distinct", "reruns", "failures"
    );
    let counts = [512, 4096]
        .map(|sector| scenario::run(sector, effort, &mut |count| println!("{count}")))
        .concat();
    let sum =
        |of: fn(&system_tests::power_cut::Count) -> usize| counts.iter().map(of).sum::<usize>();
    let failures = sum(|count| count.failures.len());
    println!(
        "{:46} {:>9} {:>9} {:>8} {failures:>9}",
        "in all",
        sum(|count| count.states),
        sum(|count| count.distinct),
        sum(|count| count.reruns),
    );
    for count in &counts {
        for why in &count.failures {
            println!("{}: {why}", count.name);
        }
    }
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
