//! How both sets stand, for whoever only looks: no network, no lock, nothing written.

use semver::Version;
use snafu::ResultExt;

use super::history::History;
use super::machine::{Facts, Offer};
use super::update_session::{facts, readable_facts, remembered};
use super::{SessionError, StoreSnafu};
use crate::env::Env;
use crate::exit::chain;
use crate::os_release::OsRelease;
use crate::sets::SetFacts;

/// How both sets stand.
#[derive(Debug)]
pub struct Look {
    /// What the machine plans from.
    pub facts: Facts,
    /// Whether the boot loader takes the other set next.
    pub other_boots_next: bool,
    /// What runs, by the os-release file.
    pub running: Option<OsRelease>,
    /// What the other set holds, if that is known.
    pub other: Option<SetFacts>,
    /// The versions that are held back.
    pub held: Vec<Version>,
}

/// Reads the boot bits, and what is known besides.
///
/// # Errors
/// [`SessionError::Store`] when the disk cannot be read.
pub fn look(env: &Env) -> Result<Look, SessionError> {
    let store = env.disk.look().context(StoreSnafu)?;
    let history = remembered(env).map_or_else(
        |error| {
            tracing::warn!("what was tried before is not known: {}", chain(&error));
            History::default()
        },
        |record| record.history,
    );
    let facts = facts(env, &store, &history, Offer::Unknown);
    let bits = store.state();
    Ok(Look {
        facts,
        other_boots_next: bits.next() == Some(bits.inactive()),
        running: OsRelease::load(&env.config.os_release)
            .inspect_err(|error| tracing::warn!("{}", chain(error)))
            .ok(),
        other: readable_facts(env, &store, bits.inactive()),
        held: held(&history),
    })
}

/// The versions that `history` holds back.
pub(crate) fn held(history: &History) -> Vec<Version> {
    let holds = history.holds().iter();
    holds.map(|hold| hold.release.version.clone()).collect()
}
