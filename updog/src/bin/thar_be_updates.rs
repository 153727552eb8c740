//! Begins an update command on behalf of an API server that is not ours.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    updog::thar_be_updates::run(&updog::thar_be_updates::Cli::parse())
}
