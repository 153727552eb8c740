//! `serve`.

use std::path::Path;

use super::CliError;
use crate::api;
use crate::env::Env;
use crate::exit::Exit;

/// Serves the API until a signal says to stop, which is how it ends well.
pub(super) fn serve(env: &Env, config: &Path) -> Result<Exit, CliError> {
    api::server::serve(config.to_owned(), &env.cancel, env.observer.clone())?;
    Ok(Exit::Done)
}
