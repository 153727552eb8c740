//! `updata`: publishes updates. See [`updog::publish`].

use std::env;
use std::process::ExitCode;

use updog::{clock, publish};

fn main() -> ExitCode {
    publish::cli::main(env::args_os(), clock::now()).into()
}
