//! `updog check-update` at another time than the clock's:
//!
//! ```text
//! updog-at TIME CONFIG
//! ```

use std::path::Path;
use std::process::ExitCode;

use tracing::level_filters::LevelFilter;
use updog::config::Config;
use updog::env::{ConfiguredDisk, Env};
use updog::event::Unobserved;
use updog::exit::{Exit, chain};
use updog::render::Renderer;
use updog::session::{Choice, choose};

#[allow(clippy::print_stdout, clippy::print_stderr)] // a program for tests
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [time, config] = arguments.as_slice() else {
        return Exit::Usage.into();
    };
    let Ok(now) = time.parse() else {
        return Exit::Usage.into();
    };
    Renderer::for_stderr().init_logging(LevelFilter::INFO);
    let config = match Config::load(Path::new(config)) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("updog: {}", chain(&error));
            return Exit::Failed.into();
        }
    };
    let disk = ConfiguredDisk {
        disk: config.disk.clone(),
        active: config.active,
    };
    let env = Env {
        config,
        now,
        disk: Box::new(disk),
        boot_id: String::new(),
        observer: Box::new(Unobserved),
    };
    match choose(&env, &Choice::default()) {
        Ok(offer) => {
            println!("{}", offer.selection.decision);
            Exit::Done.into()
        }
        Err(error) => {
            eprintln!("updog: {}", chain(&error));
            error.exit().into()
        }
    }
}
