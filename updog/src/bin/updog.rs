//! Updates this host from a signed repository.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    updog::cli::run(&updog::cli::Cli::parse()).into()
}
