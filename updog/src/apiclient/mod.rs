//! `apiclient`: asks this host's update API, for people, scripts and fleet agents.
//!
//! Names, streams and the text of a failed request are those of Bottlerocket's program of that name
//! (interface sheet, section 5.6), and its server is one that this works with. Data go to stdout,
//! everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 and 143 by a signal
//! while a command is waited for, which goes on.

mod cli;
mod command;
mod connection;
mod failure;
mod help;
mod json;
mod look;
mod output;
mod raw;
mod sse;
mod talk;
mod update;
mod wait;
mod watch;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use snafu::ResultExt;
use tokio::runtime::Builder;

pub use self::cli::Cli;
use self::cli::{UpdateVerb, Verb};
use self::command::Client;
use self::connection::Api;
use self::failure::{Failure, SignalsSnafu, StartSnafu};
use self::look::Form;
use self::talk::Talk;
use self::update::{After, Check};
use crate::cancel::Cancel;
use crate::cli::signals;
use crate::exit::Exit;

/// What can be typed, for manual pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// What is meant by `line`.
///
/// # Errors
/// Where it means nothing; the error knows what to print, and the exit code.
pub fn parse(line: impl IntoIterator<Item: Into<OsString> + Clone>) -> Result<Cli, clap::Error> {
    let cli = Cli::try_parse_from(line)?;
    if cli.raw.is_some() && cli.verb.is_some() {
        let mut command = command();
        let text = "a request stands alone, or after `raw`";
        return Err(command.error(ErrorKind::ArgumentConflict, text));
    }
    Ok(cli)
}

/// Does what was typed and says how it ended. Everything that there is to say was said.
pub fn run(cli: Cli) -> Exit {
    let Cli { options, raw, verb } = cli;
    // One of them is there: see `parse`.
    let Some(verb) = verb.or_else(|| raw.map(Verb::Raw)) else {
        return Exit::Usage;
    };
    let mut client = Client {
        api: Api::at(&options.socket_path),
        talk: Talk::on_stderr(options.loudness()),
        cancel: Cancel::default(),
        patience: options.patience(),
    };
    match start(&mut client, verb) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            client.talk.failure(&failure, client.api.socket());
            failure.exit()
        }
    }
}

fn start(client: &mut Client, verb: Verb) -> Result<(), Failure> {
    // Others have nothing to say at the end, and to an agent whoever dies of a signal has rebooted.
    if verb.waits() {
        client.cancel = signals::watch().context(SignalsSnafu)?;
    }
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime
        .context(StartSnafu)?
        .block_on(dispatch(client, verb))
}

async fn dispatch(client: &Client, verb: Verb) -> Result<(), Failure> {
    let form = |json| if json { Form::Json } else { Form::Lines };
    let after = |reboot| {
        if reboot {
            After::Reboot
        } else {
            After::Nothing
        }
    };
    match verb {
        Verb::Raw(args) => raw::raw(client, args).await,
        Verb::Reboot => update::reboot(client).await,
        Verb::Update(verb) => match verb {
            UpdateVerb::Check => update::check(client).await.map(|_| ()),
            UpdateVerb::Apply { check, reboot } => {
                let check = if check { Check::First } else { Check::Done };
                update::apply(client, check, after(reboot)).await
            }
            UpdateVerb::Cancel => update::cancel(client).await,
            UpdateVerb::Rollback { reboot } => update::rollback(client, after(reboot)).await,
            UpdateVerb::Status { json } => look::status(client, form(json)).await,
            UpdateVerb::Explain { only } => look::explain(client, only.as_ref()).await,
            UpdateVerb::Plan => look::show(client, "/updates/plan").await,
            UpdateVerb::History => look::show(client, "/updates/history").await,
            UpdateVerb::Watch { json } => watch::watch(client, form(json)).await,
        },
    }
}
