//! What this host's disk says, for whoever decides by it.

use super::announced::View;
use super::updates::Image;
use crate::env::Env;
use crate::os_release;
use crate::session::{self, SessionError};

/// Reads the boot bits, and what is known of both sets.
pub(super) fn read(env: &Env) -> Result<View, SessionError> {
    let look = session::look(env)?;
    Ok(View {
        facts: look.facts,
        other_boots_next: look.other_boots_next,
        running: look.running.map(|os| Image {
            arch: os_release::ARCH.to_owned(),
            version: os.version,
            variant: os.variant,
        }),
        held: look.held,
        other: look.other.map(|facts| Image {
            arch: facts.arch,
            version: facts.version,
            variant: facts.variant,
        }),
    })
}
