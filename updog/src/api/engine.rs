//! One command at a time, carried out beside whoever asks how it goes.
//!
//! What is shared with other processes is on the disk: the boot bits, `state_dir/announced.json`, and
//! a lock beside the session lock that is held from before a command is on record until after its end
//! is. A reader takes no lock. Who reads here that a command has ended finds the lock free.

mod error;
mod under_way;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use snafu::ResultExt;
use tokio::sync::{broadcast, watch};

pub use self::error::EngineError;
use self::error::{BusySnafu, ThreadSnafu};
use self::under_way::{Onlooker, UnderWay, told};
use super::announced::{Announced, Ended, Overrides, View};
use super::meters::Meters;
use super::progress::Progress;
use super::updates::{Command, Image, RunningCommand, UpdatesStatus};
use super::work::{self, Order};
use crate::cancel::{Cancel, Signal};
use crate::clock;
use crate::config::{Config, ConfigError};
use crate::env::Env;
use crate::event::{End, Event, Observer};
use crate::exit::Exit;
use crate::lock::{self, LockError, SessionLock};
use crate::session::{self, SessionError};
use crate::state_file::StateFile;

const NAME: &str = "announced";
/// The version of the file's form.
const SCHEMA: u32 = 1;
/// Events that somebody who listens may be behind; who is further behind misses some.
const MAX_BEHIND: usize = 1024;
/// How often a file is read again that changes under a reader.
const LOOKS: usize = 8;

/// Carries out one command at a time, and says how it goes.
#[derive(Debug)]
pub struct Engine {
    /// Read again for each command: it may be written anew at any time.
    config: PathBuf,
    state: Mutex<State>,
    /// How many commands have ended here.
    ended: watch::Sender<u64>,
    events: broadcast::Sender<Told>,
    log: Log,
    meters: Meters,
}

/// What is told to those who listen.
#[derive(Debug, Clone)]
pub enum Told {
    /// An event, as a line of JSON without its end.
    Event(Arc<str>),
    /// How updates stand has changed.
    Changed,
}

/// Sees every event besides: the log.
#[derive(Clone)]
struct Log(Arc<dyn Observer>);

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

/// What only this process knows.
#[derive(Debug, Default)]
struct State {
    under_way: Option<UnderWay>,
    /// What callers were told, where it could not be kept.
    unkept: Option<Announced>,
    /// Whether the process is about to end.
    is_stopped: bool,
}

/// A command that was begun.
#[derive(Debug)]
pub struct Accepted {
    /// Its number.
    pub id: u64,
    ended: watch::Receiver<u64>,
    /// How many had ended before.
    before: u64,
}

impl Accepted {
    /// Comes when the command has ended. How is read from the status.
    pub async fn ended(mut self) {
        let before = self.before;
        // An engine that is gone has ended everything.
        drop(self.ended.wait_for(|ended| *ended > before).await);
    }

    /// The same for whoever has a thread for it.
    pub fn wait(self) {
        futures::executor::block_on(self.ended());
    }
}

impl Engine {
    /// An engine whose configuration is at `config`; everything that happens is told to `log`, too.
    pub fn new(config: PathBuf, log: Arc<dyn Observer>) -> Self {
        Self {
            config,
            state: Mutex::default(),
            ended: watch::Sender::new(0),
            events: broadcast::Sender::new(MAX_BEHIND),
            log: Log(log),
            meters: Meters::default(),
        }
    }

    /// What happens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Told> {
        self.events.subscribe()
    }

    /// The outside as it is configured now, for whoever only looks.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn look(&self, cancel: Cancel) -> Result<Env, ConfigError> {
        Ok(Env::of(
            Config::load(&self.config)?,
            Arc::new(crate::event::Unobserved),
            cancel,
        ))
    }

    /// How updates stand. `None` where nothing was ever asked for.
    ///
    /// # Errors
    /// [`EngineError`], but neither [`EngineError::Busy`] nor [`EngineError::Refused`].
    pub fn status(&self) -> Result<Option<UpdatesStatus>, EngineError> {
        let env = self.look(Cancel::default())?;
        let (announced, running) = self.announced(&env)?;
        if announced.is_blank() && running.is_none() {
            return Ok(None);
        }
        Ok(Some(announced.status(&view(&env)?, running)))
    }

    /// The same where nothing was asked for yet, too.
    ///
    /// # Errors
    /// As [`Engine::status`].
    pub fn first_status(&self) -> Result<UpdatesStatus, EngineError> {
        let env = self.look(Cancel::default())?;
        let (announced, running) = self.announced(&env)?;
        Ok(announced.status(&view(&env)?, running))
    }

    /// What was told, and the command that is under way, here or in another process.
    fn announced(&self, env: &Env) -> Result<(Announced, Option<RunningCommand>), EngineError> {
        let lock = commands_lock(&env.config.lock_file);
        let mut seen = None;
        for _ in 0..LOOKS {
            // The end of a command of this process is on record before it is not under way.
            let state = self.state();
            let mut announced = match &state.unkept {
                Some(unkept) => unkept.clone(),
                None => read(&env.config.state_dir).1,
            };
            let ours = state.under_way.as_ref().and_then(UnderWay::told);
            drop(state);
            let Some(begun) = announced.begun() else {
                return Ok((announced, None));
            };
            if let Some(ours) = ours {
                return Ok((announced, Some(ours)));
            }
            if seen == Some(begun) {
                // Nobody held the lock after it had begun, and it has not ended since.
                announced.settle();
                return Ok((announced, None));
            }
            if lock::holder_of(&lock)?.is_some() {
                return Ok((announced, Some(told(begun, &Progress::default()))));
            }
            seen = Some(begun);
        }
        BusySnafu {
            holder: "commands come and go faster than their record can be read",
        }
        .fail()
    }

    /// Whether `command` may begin now. Another one may come first all the same.
    ///
    /// # Errors
    /// As [`Engine::begin`].
    pub fn check(&self, command: Command) -> Result<(), EngineError> {
        let env = self.look(Cancel::default())?;
        let session_lock = &env.config.lock_file;
        let holder = match lock::holder_of(&commands_lock(session_lock))? {
            None if command != Command::Refresh => lock::holder_of(session_lock)?,
            holder => holder,
        };
        if let Some(holder) = holder {
            return BusySnafu { holder }.fail();
        }
        let (_, mut announced) = read(&env.config.state_dir);
        announced.settle();
        Ok(announced.check(&view(&env)?, command)?)
    }

    /// Begins `command`, if it may begin; it goes on in a thread of its own.
    ///
    /// # Errors
    /// Every [`EngineError`]. Nothing has happened then.
    pub fn begin(
        self: &Arc<Self>,
        command: Command,
        overrides: Overrides,
    ) -> Result<Accepted, EngineError> {
        let cancel = Cancel::default();
        let progress = Arc::<Mutex<Progress>>::default();
        {
            let mut state = self.state();
            if state.is_stopped {
                let holder = "the server is about to end";
                return BusySnafu { holder }.fail();
            }
            if let Some(other) = &state.under_way {
                let holder = other.command.to_string();
                return BusySnafu { holder }.fail();
            }
            state.under_way = Some(UnderWay {
                command,
                begun: None,
                cancel: cancel.clone(),
                progress: progress.clone(),
            });
        }
        let observer = Arc::new(Onlooker::new(self.clone(), progress));
        let begun = self
            .make_ready(command, overrides, cancel, observer)
            .and_then(|ready| self.start(ready));
        if begun.is_err() {
            self.state().under_way = None;
        }
        begun
    }

    fn make_ready(
        &self,
        command: Command,
        overrides: Overrides,
        cancel: Cancel,
        observer: Arc<Onlooker>,
    ) -> Result<Ready, EngineError> {
        let env = Env::of(Config::load(&self.config)?, observer, cancel);
        let taken = SessionLock::take(
            &commands_lock(&env.config.lock_file),
            command.verb(),
            env.now,
        );
        let lock = match taken {
            Err(LockError::Held { holder, .. }) => return BusySnafu { holder }.fail(),
            taken => taken?,
        };
        // Who asks the repository is in nobody's way.
        if command != Command::Refresh
            && let Some(holder) = lock::holder_of(&env.config.lock_file)?
        {
            return BusySnafu { holder }.fail();
        }
        let (file, kept) = read(&env.config.state_dir);
        let mut announced = self.state().unkept.clone().unwrap_or(kept);
        // The lock is ours, so nobody carries it out.
        announced.settle();
        let view = view(&env)?;
        announced.check(&view, command)?;
        let order = Order {
            chosen: announced.chosen(&view).cloned(),
            other: view.other,
            overrides,
        };
        announced.begin(command, env.now);
        Self::keep(&mut self.state(), &file, &announced);
        Ok(Ready {
            env,
            command,
            order,
            record: (file, announced),
            lock,
        })
    }

    fn start(self: &Arc<Self>, ready: Ready) -> Result<Accepted, EngineError> {
        let ended = self.ended.subscribe();
        // None but this one can end next.
        let before = *ended.borrow();
        let begun = ready.record.1.begun();
        if let Some(under_way) = &mut self.state().under_way {
            under_way.begun = begun;
        }
        let engine = self.clone();
        self.tell(Told::Changed);
        thread::Builder::new()
            .name(ready.command.to_string())
            .spawn(move || engine.carry_out(ready))
            .context(ThreadSnafu)?;
        Ok(Accepted {
            id: begun.map_or(0, |begun| begun.id),
            ended,
            before,
        })
    }

    fn carry_out(&self, ready: Ready) {
        let Ready {
            env,
            command,
            order,
            record: (file, mut announced),
            lock,
        } = ready;
        env.observer.observe(&Event::Begin {
            verb: command.verb(),
            version: env!("CARGO_PKG_VERSION"),
        });
        let began = Instant::now();
        let ended = work::run(&env, command, order);
        let end = end(&ended);
        self.meters.ended(command, end.exit, began.elapsed());
        env.observer.observe(&Event::End(end));
        announced.end(ended, clock::now());
        {
            // Who sees the new state may go on at once.
            let mut state = self.state();
            Self::keep(&mut state, &file, &announced);
            drop(lock);
            state.under_way = None;
        }
        self.ended
            .send_modify(|ended| *ended = ended.saturating_add(1));
        self.tell(Told::Changed);
    }

    /// Asks the command that is under way to stop at the next safe point. None begins after that:
    /// nobody would stop it.
    pub fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        if let Some(under_way) = &state.under_way {
            under_way.cancel.cancel(Signal::Terminate);
        }
    }

    /// What is counted.
    pub(super) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Whether no command of this process is under way.
    pub fn is_idle(&self) -> bool {
        self.state().under_way.is_none()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A full or failing state folder keeps nobody from going on: the disk says how updates stand,
    /// and the rest is told by this process as long as it lives.
    fn keep(state: &mut State, file: &StateFile, announced: &Announced) {
        state.unkept = match file.keep(announced) {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(
                    "what callers are told is not remembered: {}",
                    crate::exit::chain(&error)
                );
                Some(announced.clone())
            }
        };
    }

    fn tell(&self, told: Told) {
        // Nobody has to listen.
        drop(self.events.send(told));
    }
}

/// A command that may begin.
struct Ready {
    env: Env,
    command: Command,
    order: Order,
    record: (StateFile, Announced),
    lock: SessionLock,
}

/// The same for those who follow the events.
fn end(ended: &Ended) -> End {
    match ended {
        Ended::Refreshed {
            chosen: None,
            reason,
            ..
        } => End {
            exit: Exit::NothingToUpdate,
            error: reason.clone(),
            advice: None,
        },
        Ended::Refreshed { .. } | Ended::Done { .. } => End {
            exit: Exit::Done,
            error: None,
            advice: None,
        },
        Ended::NotDone {
            exit,
            error,
            advice,
            ..
        } => End {
            exit: *exit,
            error: Some(error.clone()),
            advice: advice.clone(),
        },
    }
}

/// Held while a command of the API is carried out, in whichever process.
fn commands_lock(session_lock: &Path) -> PathBuf {
    let mut name = session_lock.as_os_str().to_owned();
    name.push(".commands");
    PathBuf::from(name)
}

/// What callers were told. One that cannot be read keeps nobody from going on: the disk says how far
/// an update is.
fn read(state_dir: &Path) -> (StateFile, Announced) {
    StateFile::open(state_dir, NAME, SCHEMA).unwrap_or_else(|error| {
        tracing::warn!(
            "what callers were told before is not known: {}",
            crate::exit::chain(&error)
        );
        let file = StateFile::unread(state_dir, NAME, SCHEMA);
        (file, Announced::default())
    })
}

fn view(env: &Env) -> Result<View, SessionError> {
    let look = session::look(env)?;
    Ok(View {
        facts: look.facts,
        other_boots_next: look.other_boots_next,
        running: look.running.map(work::running),
        held: look.held,
        other: look.other.map(|facts| Image {
            arch: facts.arch,
            version: facts.version,
            variant: facts.variant,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Unobserved;

    #[test]
    fn no_command_begins_after_the_engine_was_told_to_stop() {
        let config = PathBuf::from("/no/such/configuration");
        let engine = Arc::new(Engine::new(config, Arc::new(Unobserved)));
        let begin = || engine.begin(Command::Refresh, Overrides::default());
        assert!(matches!(begin(), Err(EngineError::Config { .. })));
        engine.stop();
        assert!(matches!(begin(), Err(EngineError::Busy { .. })));
        assert!(engine.is_idle());
    }
}
