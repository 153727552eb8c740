//! The verbs that have something done.

use super::command::Client;
use super::connection::{ANSWER_LIMIT, Ask};
use super::failure::Failure;
use super::output;
use super::wait::Standing;
use crate::api::updates::{Command, STATUS_PATH, UpdateState};

/// Whether to look for an update before one is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    First,
    /// Somebody did since the host booted.
    Done,
}

/// What comes after success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Reboot,
    Nothing,
}

/// Asks the repository, and prints the status.
pub(super) async fn check(client: &Client) -> Result<Standing, Failure> {
    let standing = client.carry_out(Command::Refresh).await?;
    output::json(STATUS_PATH, &standing.text)?;
    Ok(standing)
}

/// Writes the chosen update, and lets it boot next.
pub(super) async fn apply(client: &Client, first: Check, after: After) -> Result<(), Failure> {
    let state = match first {
        Check::First => check(client).await?.status.update_state,
        Check::Done => match client.standing().await? {
            Some(standing) => standing.status.update_state,
            None => return Err(Failure::NeverChecked),
        },
    };
    match (first, state) {
        (Check::First, UpdateState::Idle) => {
            client.talk.say("there is no update to apply");
            return Ok(());
        }
        (_, UpdateState::Ready) => client.talk.say("the other set boots next already"),
        // Where the last check found nothing, the server says so.
        _ => {
            client.carry_out(Command::Prepare).await?;
            client.carry_out(Command::Activate).await?;
            client.talk.say("the update is written, and boots next");
        }
    }
    then(client, after).await
}

/// Lets the running set boot next after all.
pub(super) async fn cancel(client: &Client) -> Result<(), Failure> {
    client.carry_out(Command::Deactivate).await?;
    client.talk.say("the running set boots next");
    Ok(())
}

/// Lets the system from before boot next.
pub(super) async fn rollback(client: &Client, after: After) -> Result<(), Failure> {
    client.carry_out(Command::Rollback).await?;
    client.talk.say("the system from before boots next");
    then(client, after).await
}

/// Reboots.
pub(super) async fn reboot(client: &Client) -> Result<(), Failure> {
    client.talk.say("rebooting");
    let ask = Ask::post("/actions/reboot");
    let answer = client.ask(&ask, ANSWER_LIMIT);
    client.unless_stopped(answer).await?.map(|_| ())
}

async fn then(client: &Client, after: After) -> Result<(), Failure> {
    match after {
        After::Reboot => reboot(client).await,
        After::Nothing => Ok(()),
    }
}
