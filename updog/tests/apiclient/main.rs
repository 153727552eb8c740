//! The program `apiclient` against servers on real sockets: one of the kind of `updog serve`, one of
//! the kind that came before it, and some that are no servers at all.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod commands;
mod engine;
mod looking;
mod requests;
mod server;
mod waiting;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// How a run ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn command(socket: &Path, line: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apiclient"));
    command.arg("--socket-path").arg(socket).args(line);
    command.stdin(Stdio::null());
    command
}

/// Runs `apiclient LINE` against the server at `socket`.
fn apiclient(socket: &Path, line: &[&str]) -> Ended {
    ended(command(socket, line).output().unwrap())
}

fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    let nobody = Path::new("/nobody");
    for (line, expected) in [
        (&["raw"][..], 2),
        (&["-m", "POST"], 2),
        (&["-u", "/os", "reboot"], 2),
        (&["update"], 2),
        (&["update", "apply", "extra"], 2),
        (&["--help"], 0),
        (&["update", "apply", "--help"], 0),
    ] {
        let ended = apiclient(nobody, line);
        assert_eq!(ended.code, Some(expected), "{line:?}: {ended:?}");
        assert_eq!(ended.stdout.is_empty(), expected == 2, "{line:?}");
    }
}
