//! `migrator`: brings the settings into the form of the version that boots.

use std::process::ExitCode;

fn main() -> ExitCode {
    migrator::cli::main(std::env::args_os())
}
