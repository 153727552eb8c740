//! A session: the lock, the disk as it is under it, and what this host remembers, brought together
//! before anything is done.

use std::collections::VecDeque;

use semver::Version;
use signpost::{BootState, Slot, SlotStore};
use snafu::{ResultExt, ensure};

use super::history::{History, Looks, Release};
use super::machine::{self, Effect, Facts, Offer, Refusal, State};
use super::record::Record;
use super::verify::known_facts;
use super::{
    InterruptedSnafu, LockSnafu, NotYetGoodSnafu, OutOfOrderSnafu, RecordSnafu, RefusedSnafu,
    SessionError, StoreSnafu,
};
use crate::env::Env;
use crate::event::Event;
use crate::lock::SessionLock;
use crate::os_release::OsRelease;
use crate::sets::SetFacts;
use crate::state_file::StateFileError;
use crate::watch::Watch;

/// One process at a time has one. What the last one left is settled when it begins.
pub(super) struct UpdateSession<'a> {
    pub(super) env: &'a Env,
    pub(super) store: SlotStore,
    pub(super) record: Record,
    /// Why there is none.
    unread: Option<StateFileError>,
    _lock: SessionLock,
}

impl<'a> UpdateSession<'a> {
    /// Takes the lock for `verb`, opens the disk, and brings the history up to what the disk says.
    ///
    /// A history that cannot be read or kept is told to the log: whoever takes an update back on a
    /// failing disk is not held up by it. [`UpdateSession::require_record`] and
    /// [`UpdateSession::remember`] are stricter.
    ///
    /// # Errors
    /// [`SessionError::Lock`] and [`SessionError::Store`].
    pub(super) fn begin(env: &'a Env, verb: &str) -> Result<Self, SessionError> {
        let lock = SessionLock::take(&env.config.lock_file, verb, env.now).context(LockSnafu)?;
        let store = env.disk.open().context(StoreSnafu)?;
        let (mut record, unread) = match Record::load(&env.config.state_dir) {
            Ok(record) => (record, None),
            Err(error) => {
                tracing::warn!(
                    "what was tried before is not known: {}",
                    crate::exit::chain(&error)
                );
                (Record::unread(&env.config.state_dir), Some(error))
            }
        };
        reconcile(env, &store, &mut record, Looks::Alone);
        let mut session = Self {
            env,
            store,
            record,
            unread,
            _lock: lock,
        };
        session.try_to_remember();
        Ok(session)
    }

    /// Whether the history was read, for whoever chooses by it.
    ///
    /// # Errors
    /// [`SessionError::Record`], with why it was not.
    pub(super) fn require_record(&mut self) -> Result<(), SessionError> {
        self.unread.take().map_or(Ok(()), Err).context(RecordSnafu)
    }

    /// Keeps the history, before something is done that it has to know of.
    ///
    /// # Errors
    /// [`SessionError::Record`].
    pub(super) fn remember(&mut self) -> Result<(), SessionError> {
        self.record.keep().context(RecordSnafu)
    }

    /// Keeps the history, where what it tells is done already.
    pub(super) fn try_to_remember(&mut self) {
        if let Err(error) = self.record.keep() {
            tracing::warn!(
                "this is not remembered, and a version that fails may be tried again: {}",
                crate::exit::chain(&error)
            );
        }
    }

    /// What the machine plans from.
    pub(super) fn facts(&self, offer: Offer) -> Facts {
        facts(self.env, &self.store, &self.record.history, offer)
    }

    /// The plan of `command` from here on.
    ///
    /// # Errors
    /// [`SessionError::NotYetGood`] and [`SessionError::Refused`].
    pub(super) fn plan(
        &self,
        command: machine::Command,
        offer: Offer,
    ) -> Result<Steps, SessionError> {
        let facts = self.facts(offer);
        let (active, inactive) = (self.store.active(), self.store.inactive());
        let effects = machine::plan(&facts, command).map_err(|refusal| match refusal {
            Refusal::NotYetGood => NotYetGoodSnafu { slot: active }.build(),
            refusal => RefusedSnafu {
                refusal,
                slot: inactive,
            }
            .build(),
        })?;
        Ok(Steps {
            left: effects.into(),
            watch: self.env.watch(),
        })
    }

    /// What `slot` holds, as far as this host knows.
    pub(super) fn release_in(&self, slot: Slot) -> Option<Release> {
        release_in(self.env, &self.store, &self.record, slot)
    }
}

/// The effects that are left of a plan.
pub(super) struct Steps {
    left: VecDeque<Effect>,
    watch: Watch,
}

impl Steps {
    /// Begins `effect`, which has to be the next one of the plan.
    ///
    /// # Errors
    /// [`SessionError::Interrupted`] when the run is to stop, unless the effect finishes what was
    /// begun. [`SessionError::OutOfOrder`]: code and plan disagree, and nothing more is done.
    pub(super) fn begin(&mut self, effect: Effect) -> Result<(), SessionError> {
        let planned = self.left.pop_front();
        ensure!(planned == Some(effect), OutOfOrderSnafu { effect, planned });
        // What was replaced is removed, and a hold that is on record leads to its rollback.
        if !matches!(effect, Effect::PruneMigrations | Effect::ArmBack) {
            self.watch.check().context(InterruptedSnafu { effect })?;
        }
        self.watch.tell(&Event::Effect(effect));
        Ok(())
    }

    /// Begins `effect` if it is the next one of the plan.
    pub(super) fn has_next(&self, effect: Effect) -> bool {
        self.left.front() == Some(&effect)
    }

    /// Whether there is nothing to do.
    pub(super) fn is_done(&self) -> bool {
        self.left.is_empty()
    }
}

/// What the machine plans from, also for whoever only looks.
pub(super) fn facts(env: &Env, store: &SlotStore, history: &History, offer: Offer) -> Facts {
    let bits = store.state();
    let (active, inactive) = (bits.active(), bits.inactive());
    let recorded = readable_facts(env, store, inactive);
    let way_back = WayBack::of(&bits, history);
    Facts {
        state: State::of(&bits),
        running_boots_next: bits.next() == Some(active),
        other_was_good: way_back.other_was_good,
        is_rolling_back: way_back.is_rolling_back,
        other_is_verified: recorded.is_some_and(|facts| facts.verified.is_in(&env.boot_id)),
        offer,
    }
}

/// What bits and history together say of the other set as a way back.
#[derive(Debug, Clone, Copy)]
pub(super) struct WayBack {
    /// See [`Facts::other_was_good`].
    pub(super) other_was_good: bool,
    /// See [`Facts::is_rolling_back`].
    pub(super) is_rolling_back: bool,
}

impl WayBack {
    pub(super) fn of(bits: &BootState, history: &History) -> Self {
        let other = bits.inactive();
        let of = |slot| bits.get(slot).unwrap_or_default();
        // On trial the other set boots next without being put first.
        let is_first =
            bits.next() == Some(other) && of(other).priority() > of(bits.active()).priority();
        Self {
            other_was_good: of(other).successful() || history.was_rolling_back_to(other),
            is_rolling_back: history.is_rolling_back() && is_first,
        }
    }
}

/// Brings `record` up to what the disk says.
pub(super) fn reconcile(env: &Env, store: &SlotStore, record: &mut Record, looks: Looks) {
    let bits = store.state();
    let inactive = release_in(env, store, record, bits.inactive());
    let running = running_version(env, store);
    record
        .history
        .reconcile(&bits, running.as_ref(), inactive.as_ref(), looks, env.now);
}

/// The version that runs: by the os-release file, or else by what its set is known to hold.
fn running_version(env: &Env, store: &SlotStore) -> Option<Version> {
    if let Ok(os) = OsRelease::load(&env.config.os_release) {
        return Some(os.version);
    }
    readable_facts(env, store, store.active()).map(|facts| facts.version)
}

/// What is known of `slot`. A set that cannot be read, as after a cut in the middle of a write, is
/// one of which nothing is known: that must not keep anybody from writing it again.
pub(super) fn readable_facts(env: &Env, store: &SlotStore, slot: Slot) -> Option<SetFacts> {
    store.state().get(slot)?;
    known_facts(env, store, slot).unwrap_or_else(|error| {
        tracing::warn!(
            "what set {slot} holds is not known: {}",
            crate::exit::chain(&error)
        );
        None
    })
}

fn release_in(env: &Env, store: &SlotStore, record: &Record, slot: Slot) -> Option<Release> {
    let facts = readable_facts(env, store, slot)?;
    let mut release = Release {
        variant: facts.variant,
        arch: facts.arch,
        version: facts.version,
        targets: Vec::new(),
        root_hash: Some(facts.verity.root_hash),
    };
    // The targets that it came as are known of what was written here.
    let written = record.history.attempts().iter().rev().find_map(|attempt| {
        let to = attempt.to.as_ref()?;
        let is_it = attempt.slot == slot && to.root_hash == release.root_hash;
        (is_it && to.version == release.version).then_some(to)
    });
    if let Some(written) = written {
        release.targets.clone_from(&written.targets);
    }
    Some(release)
}

/// What is remembered, for whoever only looks and holds no lock: brought up to what the disk says,
/// if it can be read, and not kept.
///
/// # Errors
/// [`SessionError::Record`] when the history is there and cannot be read.
pub(super) fn remembered(env: &Env) -> Result<Record, SessionError> {
    let mut record = Record::load(&env.config.state_dir).context(RecordSnafu)?;
    if let Ok(store) = env.disk.look() {
        reconcile(env, &store, &mut record, Looks::Beside);
    }
    Ok(record)
}
