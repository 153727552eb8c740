//! `signpost`: reads and changes the bits by which a boot loader chooses between two partition
//! sets.

mod cli;
mod printer;
mod status;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Args;
use crate::printer::Printer;

fn main() -> ExitCode {
    let args = Args::parse();
    let mut printer = Printer::new(std::io::stdout(), std::io::stderr());
    match cli::run(&args, &mut printer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error, error.advice());
            ExitCode::from(error.exit_code())
        }
    }
}
