//! Asks this host's update API.

use std::env;
use std::process::ExitCode;

use updog::apiclient;

fn main() -> ExitCode {
    match apiclient::parse(env::args_os()) {
        Ok(cli) => apiclient::run(cli).into(),
        Err(error) => error.exit(),
    }
}
