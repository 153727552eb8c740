//! What is left on the disk by a session that was told to stop.

use super::machine::Effect;
use crate::env::Env;

/// What `effect` would have been, in words.
pub(super) fn doing(effect: Effect) -> &'static str {
    match effect {
        Effect::Refresh => "the repository was asked",
        Effect::StageMigrations => "migrations were cached",
        Effect::Rehearse => "the migrations were rehearsed",
        Effect::Clear => "the other set was given up",
        Effect::SwapMigrations => "the cached migrations were put in place",
        Effect::PruneMigrations => "what was cached before was removed",
        Effect::Write => "the images were written",
        Effect::ReadBack => "the images were read back",
        Effect::MarkValid => "the set was marked valid",
        Effect::Verify => "the set was verified",
        Effect::Arm | Effect::ArmBack => "the other set was to boot next",
        Effect::Disarm => "the running set was to boot next",
        Effect::Hold => "the running version was held",
    }
}

/// How the disk stands, as a clause; read from it now. Nothing where it cannot be read.
pub fn standing(env: &Env) -> Option<String> {
    let store = env.disk.look().ok()?;
    let bits = store.state();
    let (running, other) = (bits.active(), bits.inactive());
    let other_is = match bits.get(other) {
        Some(_) if bits.next() == Some(other) => "boots next",
        Some(bits) if bits.successful() => "still holds the system from before",
        Some(bits) if bits.tries_left() > 0 => "holds a whole update that does not boot next",
        _ => "is not bootable",
    };
    let running_is = if bits.next() == Some(running) {
        "is untouched and boots next"
    } else {
        "is untouched"
    };
    Some(format!(
        "set {other} {other_is}, the running set {running} {running_is}"
    ))
}
