//! A command is asked for and waited for, in this order: the status before it, the request, looks at
//! the status until it is over.

use std::cell::Cell;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use snafu::ResultExt;
use tokio::time::sleep;

use super::connection::{ANSWER_LIMIT, Answer, Api, Ask, ConnectionError, STATUS_LIMIT, collect};
use super::failure::{Failure, GarbageSnafu, NoTextSnafu};
use super::talk::{Going, Talk};
use super::wait::{Asked, End, Look, Patience, Stage, Standing, stage};
use crate::api::updates::{COMMAND_HEADER, Command, STATUS_PATH};
use crate::cancel::{Cancel, Cancelled};
use crate::exit::{chain, printable};

/// A server says at once whether it takes a command.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Between two looks for a command of somebody else to end.
const LOOK: Duration = Duration::from_millis(250);

/// What verbs work with.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) api: Api,
    pub(super) talk: Talk,
    pub(super) cancel: Cancel,
    /// For how long nothing may happen.
    pub(super) patience: Duration,
}

impl Client {
    /// The answer to `ask` if that was a success, however long it takes.
    pub(super) async fn ask(&self, ask: &Ask, limit: usize) -> Result<Answer, Failure> {
        let answer = self.api.answer(ask, limit).await;
        self.success(ask, answer)
    }

    /// The answer to `ask` with its body still to come, if it is a success.
    pub(super) async fn open(&self, ask: &Ask) -> Result<Response<Incoming>, Failure> {
        let opened = self.api.open(ask).await;
        let opened = opened.map_err(|source| ask.unanswered(source))?;
        if opened.status().is_success() {
            return Ok(opened);
        }
        let answer = collect(opened, ANSWER_LIMIT).await;
        let answer = answer.map_err(|source| ask.unanswered(source))?;
        Err(ask.refused(&answer))
    }

    /// Carries `command` out; the status after it.
    pub(super) async fn carry_out(&self, command: Command) -> Result<Standing, Failure> {
        let is_begun = Cell::new(false);
        let all = async {
            self.talk.begin();
            let asked = self.begin(command, &is_begun).await?;
            self.end(&asked).await
        };
        let ended = self.cancel.unless(all).await;
        self.talk.clear();
        ended.unwrap_or_else(|Cancelled { signal }| {
            Err(Failure::Interrupted {
                command,
                signal,
                is_begun: is_begun.get(),
            })
        })
    }

    /// The status as soon as no command hides it; `None` before the first refresh.
    pub(super) async fn standing(&self) -> Result<Option<Standing>, Failure> {
        let waits = async {
            let mut is_told = false;
            loop {
                match self.look().await? {
                    Look::Status(standing) => return Ok(Some(*standing)),
                    Look::Locked => self.say_waiting(&mut is_told),
                    _ => return Ok(None),
                }
                sleep(LOOK).await;
            }
        };
        self.unless_stopped(waits).await?
    }

    /// Waits for `future`, or until the run is to stop. The future is dropped then.
    pub(super) async fn unless_stopped<F: Future>(&self, future: F) -> Result<F::Output, Failure> {
        let ended = self.cancel.unless(future).await;
        ended.map_err(|Cancelled { signal }| Failure::Stopped { signal })
    }

    fn say_waiting(&self, is_told: &mut bool) {
        if !*is_told {
            *is_told = true;
            self.talk
                .say("another command is under way; waiting for it to end");
        }
    }

    /// Asks for `command`, as soon as there is no other.
    async fn begin(&self, command: Command, is_begun: &Cell<bool>) -> Result<Asked, Failure> {
        let since = Instant::now();
        let mut patience = Patience::of(self.patience, Duration::ZERO);
        let mut is_first = true;
        let mut is_told = false;
        loop {
            // A server that is not there to begin with is none to wait for.
            let look = match self.look().await {
                Ok(look) => look,
                Err(failure) if is_first => return Err(failure),
                Err(failure) => Look::Unusable(chain(&failure)),
            };
            is_first = false;
            let look = match look {
                Look::Absent | Look::Status(_) => match self.post(command, look, is_begun).await? {
                    Ok(asked) => return Ok(asked),
                    Err(look) => look,
                },
                look => look,
            };
            let stage = match look {
                Look::Unusable(_) => Stage::Quiet,
                _ => Stage::UnderWay,
            };
            if stage == Stage::UnderWay {
                self.say_waiting(&mut is_told);
            }
            let elapsed = since.elapsed();
            self.talk.going(&going(command, true, &look, elapsed));
            let gone = self.gone(command, &look);
            match patience.after(&stage, look, elapsed) {
                Some(pause) => sleep(pause).await,
                None => return Err(gone),
            }
        }
    }

    /// Asks for `command` now, before which there was `look`; or what is in its way.
    async fn post(
        &self,
        command: Command,
        look: Look,
        is_begun: &Cell<bool>,
    ) -> Result<Result<Asked, Look>, Failure> {
        let ask = Ask::post(command.path());
        is_begun.set(true);
        let answer = self
            .api
            .answer_within(&ask, STATUS_LIMIT, ANSWER_TIME)
            .await;
        match answer {
            Ok(answer) if answer.code == StatusCode::LOCKED => {
                is_begun.set(false);
                let body = printable(String::from_utf8_lossy(&answer.body).trim_end());
                self.talk
                    .detail(&format!("POST {}: 423: {body}", command.path()));
                Ok(Err(match look {
                    // It may say which command that is.
                    Look::Status(standing) if standing.status.running_command.is_some() => {
                        Look::Status(standing)
                    }
                    _ => Look::Locked,
                }))
            }
            // Nobody was there to take it.
            Err(error) if error.is_unsent() => {
                is_begun.set(false);
                Ok(Err(Look::Unusable(chain(&error))))
            }
            answer => {
                let answer = self.success(&ask, answer)?;
                let before = match look {
                    Look::Status(standing) => {
                        let last = standing.status.most_recent_command;
                        last.map(|last| last.timestamp)
                    }
                    _ => None,
                };
                let id = answer.headers.get(COMMAND_HEADER);
                let id = id.and_then(|id| id.to_str().ok()?.parse().ok());
                Ok(Ok(Asked {
                    command,
                    id,
                    before,
                }))
            }
        }
    }

    /// Looks until what was asked for is over.
    async fn end(&self, asked: &Asked) -> Result<Standing, Failure> {
        let command = asked.command;
        let since = Instant::now();
        let mut patience = Patience::of(self.patience, Duration::ZERO);
        let mut was_usable = true;
        loop {
            let look = self.look().await;
            let look = look.unwrap_or_else(|failure| Look::Unusable(chain(&failure)));
            let (stage, look) = match (stage(asked, &look), look) {
                (Stage::Over(end), Look::Status(standing)) => {
                    return self.over(command, end, *standing);
                }
                going_on => going_on,
            };
            if let (Look::Unusable(reason), true) = (&look, was_usable) {
                self.talk
                    .say(&format!("no usable answer, trying again: {reason}"));
            }
            was_usable = !matches!(look, Look::Unusable(_));
            let elapsed = since.elapsed();
            self.talk.going(&going(command, false, &look, elapsed));
            let gone = self.gone(command, &look);
            match patience.after(&stage, look, elapsed) {
                Some(pause) => sleep(pause).await,
                None => return Err(gone),
            }
        }
    }

    fn over(&self, command: Command, end: End, standing: Standing) -> Result<Standing, Failure> {
        self.talk.clear();
        if let Some(other) = end.overtaken_by {
            self.talk.say(&format!(
                "another {other} has ended since this {command}; judging by the state that it left"
            ));
        }
        match end.result {
            Ok(()) => Ok(standing),
            Err(failure) => Err(Failure::Command {
                command,
                source: Box::new(failure),
            }),
        }
    }

    /// What giving up after `look` is.
    fn gone(&self, command: Command, look: &Look) -> Failure {
        let after = self.patience;
        match look {
            Look::Unusable(last) => Failure::Gone {
                command,
                after,
                last: last.clone(),
            },
            _ => Failure::Lost { command, after },
        }
    }

    /// What the status says now.
    pub(super) async fn look(&self) -> Result<Look, Failure> {
        let ask = Ask::get(STATUS_PATH);
        let answer = self.api.answer_within(&ask, STATUS_LIMIT, self.patience);
        match answer.await {
            Ok(answer) if answer.code == StatusCode::LOCKED => Ok(Look::Locked),
            Ok(answer) if answer.code == StatusCode::NOT_FOUND => Ok(Look::Absent),
            answer => {
                let text = ask.text(self.success(&ask, answer)?)?;
                let status =
                    serde_json::from_str(&text).context(GarbageSnafu { uri: STATUS_PATH })?;
                Ok(Look::Status(Box::new(Standing { status, text })))
            }
        }
    }

    fn success(
        &self,
        ask: &Ask,
        answer: Result<Answer, ConnectionError>,
    ) -> Result<Answer, Failure> {
        let answer = answer.map_err(|source| ask.unanswered(source))?;
        let Answer { code, .. } = answer;
        self.talk
            .detail(&format!("{} {}: {code}", ask.method, ask.uri));
        if code.is_success() {
            Ok(answer)
        } else {
            Err(ask.refused(&answer))
        }
    }
}

impl Ask {
    fn refused(&self, answer: &Answer) -> Failure {
        Failure::Status {
            method: self.method.clone(),
            uri: self.uri.to_string(),
            code: answer.code,
            body: String::from_utf8_lossy(&answer.body).trim_end().to_owned(),
        }
    }

    fn unanswered(&self, source: ConnectionError) -> Failure {
        Failure::Request {
            method: self.method.clone(),
            uri: self.uri.to_string(),
            source,
        }
    }

    /// The body of `answer`, which is to be text.
    pub(super) fn text(&self, answer: Answer) -> Result<String, Failure> {
        let uri = self.uri.to_string();
        String::from_utf8(answer.body.into()).context(NoTextSnafu { uri })
    }
}

fn going(command: Command, is_queued: bool, look: &Look, elapsed: Duration) -> Going<'_> {
    Going {
        command,
        is_queued,
        running: match look {
            Look::Status(standing) => standing.status.running_command.as_ref(),
            _ => None,
        },
        elapsed,
    }
}
