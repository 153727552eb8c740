//! `verify`: a set against what was signed of it. No network.

use signpost::{Slot, SlotStore};
use snafu::{OptionExt, ResultExt};

use super::update_session::UpdateSession;
use super::{KnownSnafu, NotKnownSnafu, SessionError, VerifySnafu};
use crate::env::Env;
use crate::sets::{self, Finding, SetFacts, Verified};

/// Which set an operator means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichSet {
    /// By its name.
    Named(Slot),
    /// The running one.
    Active,
    /// The other one.
    Inactive,
}

/// A set, what it should hold, and what is wrong with it.
#[derive(Debug)]
pub struct Verification {
    /// The set.
    pub slot: Slot,
    /// What was signed.
    pub facts: SetFacts,
    /// The first thing that is wrong with each image; none when every byte is right.
    pub findings: Vec<Finding>,
    /// What can be done about that.
    pub advice: Option<&'static str>,
}

/// Reads the whole set and compares it with its facts. A set that is good is recorded as verified
/// now.
///
/// # Errors
/// [`SessionError::NotKnown`] when nothing was signed of what the set holds, as far as this host
/// knows; a damaged set is no error here.
pub fn verify(env: &Env, which: WhichSet) -> Result<Verification, SessionError> {
    let session = UpdateSession::begin(env, "verify")?;
    let store = &session.store;
    let slot = match which {
        WhichSet::Named(slot) => slot,
        WhichSet::Active => store.active(),
        WhichSet::Inactive => store.inactive(),
    };
    let facts = known_facts(env, store, slot)?.context(NotKnownSnafu { slot })?;
    let findings = verify_set(env, store, slot, facts.clone())?;
    let bits = store.state();
    let advice = (!findings.is_empty()).then_some(if slot == store.active() {
        "to leave it: updog rollback"
    } else if bits.next() == Some(slot) {
        "it boots next: to stay with the running set: updog update-revert; to write it again: updog \
         update"
    } else {
        "to write it again: updog prepare"
    });
    Ok(Verification {
        slot,
        facts,
        findings,
        advice,
    })
}

/// What is known of `slot`.
pub(super) fn known_facts(
    env: &Env,
    store: &SlotStore,
    slot: Slot,
) -> Result<Option<SetFacts>, SessionError> {
    sets::known(store, slot, &env.facts(), &env.config.migrations_dir).context(KnownSnafu)
}

/// Verifies `slot`, and records how it was found.
pub(super) fn verify_set(
    env: &Env,
    store: &SlotStore,
    slot: Slot,
    mut facts: SetFacts,
) -> Result<Vec<Finding>, SessionError> {
    let verdict = sets::verify(store, slot, &facts, &env.watch()).context(VerifySnafu { slot })?;
    let is_good = verdict.findings.is_empty();
    let was_good = facts.verified != Verified::never();
    if is_good {
        facts.boot_blocks = verdict.boot_blocks;
        facts.verified = env.verified_now();
    } else {
        // Nobody is to arm it for what was found before.
        facts.verified = Verified::never();
    }
    if is_good || was_good {
        // A full disk must not keep anybody from going back to a good set.
        if let Err(error) = env.facts().confirm(slot, &facts) {
            tracing::warn!(
                "how set {slot} was found is not remembered: {}",
                crate::exit::chain(&error)
            );
        }
    }
    Ok(verdict.findings)
}
