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

use snafu::{ResultExt, ensure};
use tokio::sync::{broadcast, watch};

pub use self::error::EngineError;
use self::error::{BusySnafu, StoppingSnafu, ThreadSnafu};
use self::under_way::{Onlooker, UnderWay, told};
use super::announced::{Announced, Overrides, View};
use super::meters::Meters;
use super::progress::Progress;
use super::updates::{Command, RunningCommand, UpdatesStatus};
use super::view;
use super::work::{self, Order};
use crate::cancel::{Cancel, Signal};
use crate::clock;
use crate::config::{Config, ConfigError};
use crate::env::Env;
use crate::event::{Event, Observer};
use crate::lock::{self, LockError, SessionLock};
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

    /// How updates stand.
    ///
    /// # Errors
    /// [`EngineError`], but neither [`EngineError::Refused`] nor [`EngineError::Thread`].
    pub fn status(&self) -> Result<UpdatesStatus, EngineError> {
        let env = self.look(Cancel::default())?;
        let (announced, running) = self.announced(&env)?;
        Ok(announced.status(&view::read(&env)?, running))
    }

    /// What was told, and the command that is under way, here or in another process.
    fn announced(&self, env: &Env) -> Result<(Announced, Option<RunningCommand>), EngineError> {
        let lock = commands_lock(&env.config.lock_file);
        let mut seen = None;
        for _ in 0..LOOKS {
            // A command of this process is under way until its end is on record and the lock free.
            let ours = self.state().under_way.as_ref().and_then(UnderWay::told);
            if let Some((announced, running)) = ours {
                return Ok((announced, Some(running)));
            }
            let (_, mut announced) = self.record(env);
            let Some(begun) = announced.begun() else {
                return Ok((announced, None));
            };
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
        if let Some(holder) = lock::holder_of(&commands_lock(&env.config.lock_file))? {
            return BusySnafu { holder }.fail();
        }
        self.judge(&env, command).map(drop)
    }

    /// Begins `command`, if it may begin; it goes on in a thread of its own.
    ///
    /// # Errors
    /// Every [`EngineError`]. Nothing was done then; after [`EngineError::Thread`] the command is on
    /// record as one with an unknown end.
    pub fn begin(
        self: &Arc<Self>,
        command: Command,
        overrides: Overrides,
    ) -> Result<Accepted, EngineError> {
        let cancel = Cancel::default();
        let progress = Arc::<Mutex<Progress>>::default();
        {
            let mut state = self.state();
            ensure!(!state.is_stopped, StoppingSnafu);
            if let Some(other) = &state.under_way {
                let holder = other.command.to_string();
                return BusySnafu { holder }.fail();
            }
            state.under_way = Some(UnderWay {
                command,
                announced: None,
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
        let (file, mut announced, view) = self.judge(&env, command)?;
        let order = Order {
            chosen: announced.chosen(&view).cloned(),
            other: view.other,
            overrides,
        };
        announced.begin(command, env.now);
        let unkept = keep(&file, &announced);
        self.state().unkept = unkept;
        Ok(Ready {
            env,
            command,
            order,
            record: (file, announced),
            lock,
        })
    }

    /// Whether `command` may begin, as far as sessions and states go; what was told, and what the disk
    /// says. For whoever has the lock, or knows that nobody has it: no command is under way.
    fn judge(
        &self,
        env: &Env,
        command: Command,
    ) -> Result<(StateFile, Announced, View), EngineError> {
        // Who asks the repository is in nobody's way.
        if command != Command::Refresh
            && let Some(holder) = lock::holder_of(&env.config.lock_file)?
        {
            return BusySnafu { holder }.fail();
        }
        let (file, mut announced) = self.record(env);
        announced.settle();
        let view = view::read(env)?;
        announced.check(&view, command)?;
        Ok((file, announced, view))
    }

    /// What callers were told last: by the file, or, where that could not be written, by this process.
    fn record(&self, env: &Env) -> (StateFile, Announced) {
        let (file, kept) = read(&env.config.state_dir);
        let unkept = self.state().unkept.clone();
        // Another process may have written since.
        let unkept = unkept.filter(|unkept| !kept.is_newer_than(unkept));
        (file, unkept.unwrap_or(kept))
    }

    fn start(self: &Arc<Self>, ready: Ready) -> Result<Accepted, EngineError> {
        let ended = self.ended.subscribe();
        // None but this one can end next.
        let before = *ended.borrow();
        let announced = &ready.record.1;
        let begun = announced.begun();
        if let Some(under_way) = &mut self.state().under_way {
            under_way.announced = Some(announced.clone());
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
        let end = ended.how();
        self.meters.ended(command, end.exit, began.elapsed());
        env.observer.observe(&Event::End(end));
        announced.end(ended, clock::now());
        // A disk that stands still is waited for here, and by nobody who reads.
        let unkept = keep(&file, &announced);
        {
            // Who sees the end may go on at once.
            let mut state = self.state();
            state.unkept = unkept;
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

/// Returns what could not be kept. A full or failing state folder keeps nobody from going on: the disk
/// says how updates stand, and the rest is told by this process as long as it lives.
fn keep(file: &StateFile, announced: &Announced) -> Option<Announced> {
    let error = file.keep(announced).err()?;
    tracing::warn!(
        "what callers are told is not remembered: {}",
        crate::exit::chain(&error)
    );
    Some(announced.clone())
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
        assert!(matches!(begin(), Err(EngineError::Stopping)));
        assert!(engine.is_idle());
    }
}
