//! `updog check-update` at another time than the clock's:
//!
//! ```text
//! updog-at TIME CONFIG
//! ```

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use updog::cancel::Cancel;
use updog::config::Config;
use updog::env::{ConfiguredDisk, Env};
use updog::exit::{Exit, chain};
use updog::render::{Progress, Renderer};
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
    let renderer = Renderer::for_stderr(Progress::Auto);
    renderer.init_logging(LevelFilter::INFO);
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
        observer: Arc::new(renderer),
        cancel: Cancel::default(),
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
