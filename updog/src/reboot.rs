//! Handing the host over to its init system.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::SIGTERM;
use snafu::{ResultExt, Snafu, ensure};

use crate::cancel::{Cancel, Cancelled};

/// Why this host does not reboot. What was armed stays armed: any later reboot takes it.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum RebootError {
    /// The run was told to stop before.
    #[snafu(display("not asking for it"))]
    Cancelled { source: Cancelled },
    /// SIGTERM cannot be held off.
    #[snafu(display("holding off SIGTERM"))]
    Signal { source: io::Error },
    /// The configured command cannot be started.
    #[snafu(display("running '{command}' to reboot"))]
    Spawn { command: String, source: io::Error },
    /// The configured command says that it failed.
    #[snafu(display("'{command}' did not start the reboot: {status}"))]
    Failed { command: String, status: ExitStatus },
}

/// Runs `command` (a program and its arguments; not empty: checked in the configuration) and waits
/// for it.
///
/// SIGTERM is ignored from here until the process ends: the init system sends it to stop us while
/// the command is still at work, and a command that dies half-way would leave the reboot undone.
///
/// # Errors
/// Every [`RebootError`].
pub fn reboot(command: &[String], cancel: &Cancel) -> Result<(), RebootError> {
    cancel.check().context(CancelledSnafu)?;
    signal_hook::flag::register(SIGTERM, Arc::new(AtomicBool::new(false))).context(SignalSnafu)?;
    run(command)
}

/// The same for a process that has its own way with SIGTERM. The command is not in our process group:
/// what ends us from now on does not reach it.
///
/// # Errors
/// [`RebootError::Spawn`] and [`RebootError::Failed`].
pub fn run(command: &[String]) -> Result<(), RebootError> {
    let text = command.join(" ");
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::ErrorKind::InvalidInput.into()).context(SpawnSnafu { command: text });
    };
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0)
        // Data goes to stdout, and this is none.
        .stdout(io::stderr())
        .status()
        .context(SpawnSnafu { command: &text })?;
    ensure!(
        status.success(),
        FailedSnafu {
            command: text,
            status
        }
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(command: &[&str]) -> Result<(), String> {
        let command: Vec<String> = command.iter().map(ToString::to_string).collect();
        reboot(&command, &Cancel::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_commands_own_word_is_believed() {
        message(&["true"]).unwrap();
        assert_eq!(
            message(&["false"]).unwrap_err(),
            "'false' did not start the reboot: exit status: 1"
        );
        assert_eq!(
            message(&["/no/such/program", "-r"]).unwrap_err(),
            "running '/no/such/program -r' to reboot"
        );
        assert!(message(&[]).is_err());
    }
}
