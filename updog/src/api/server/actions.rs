//! What can be asked for, and by whom.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use semver::Version;
use serde::Deserialize;

use super::answer::Failure;
use super::peer::Peer;
use super::preferred::Preferred;
use super::reads::bad_query;
use super::router::Api;
use crate::api::announced::Overrides;
use crate::api::engine::EngineError;
use crate::api::updates::Command;
use crate::cancel::Cancel;
use crate::session;

/// The number of the command that was begun.
const COMMAND: HeaderName = HeaderName::from_static("updog-command");
/// RFC 7240.
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What root may ask a refresh for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RefreshQuery {
    version: Option<Version>,
    #[serde(default)]
    ignore_waves: bool,
}

pub(super) async fn refresh(
    api: State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    query: Result<Query<RefreshQuery>, QueryRejection>,
    preferred: Preferred,
) -> Result<Response, Failure> {
    let Query(RefreshQuery {
        version,
        ignore_waves,
    }) = query.map_err(bad_query)?;
    let overrides = Overrides {
        version,
        ignore_waves,
        lock: None,
    };
    if !overrides.is_none() {
        for_operators(peer, "overriding what the configuration says")?;
    }
    begin(api, peer, Command::Refresh, overrides, preferred).await
}

/// A command that whoever is connected may ask for, and of which there is nothing more to say.
pub(super) fn plain(command: Command) -> MethodRouter<Arc<Api>> {
    post(
        move |api: State<Arc<Api>>, Extension(peer): Extension<Peer>, preferred: Preferred| {
            begin(api, peer, command, Overrides::default(), preferred)
        },
    )
}

pub(super) async fn rollback(
    api: State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    preferred: Preferred,
) -> Result<Response, Failure> {
    for_operators(peer, "a rollback")?;
    let overrides = Overrides::default();
    begin(api, peer, Command::Rollback, overrides, preferred).await
}

async fn begin(
    State(api): State<Arc<Api>>,
    peer: Peer,
    command: Command,
    overrides: Overrides,
    preferred: Preferred,
) -> Result<Response, Failure> {
    let engine = api.engine.clone();
    let accepted = api
        .changes
        .blocking(move || engine.begin(command, overrides))
        .await?;
    let accepted = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            let is_busy = matches!(error, EngineError::Busy { .. } | EngineError::Stopping);
            let failure = Failure::from(error);
            if is_busy {
                // Who waits for another command to end asks twice a second.
                tracing::debug!("{command}, asked for by {peer}: {failure}");
            } else {
                tracing::warn!("{command}, asked for by {peer}: {failure}");
            }
            return Err(failure);
        }
    };
    tracing::info!("{command}, asked for by {peer}, begins");
    let id = HeaderValue::from(accepted.id);
    let mut response = (StatusCode::NO_CONTENT, [(COMMAND, id)]).into_response();
    if let Some(limit) = preferred.wait {
        // Whether it ended well is read from the status, as by those who do not wait.
        drop(tokio::time::timeout(limit, accepted.ended()).await);
        let applied = HeaderValue::from_static("wait");
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldQuery {
    version: Version,
}

pub(super) async fn release_hold(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    query: Result<Query<HoldQuery>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(HoldQuery { version }) = query.map_err(bad_query)?;
    for_operators(peer, "releasing a hold")?;
    tracing::info!("{version} is to be taken again, asked for by {peer}");
    let engine = api.engine.clone();
    let asked = version.clone();
    let released = api
        .changes
        .blocking(move || {
            let env = engine.look(Cancel::default())?;
            Ok::<_, Failure>(session::release_hold(&env, &asked)?)
        })
        .await??;
    if released {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Failure::new(
            StatusCode::NOT_FOUND,
            "no_such_hold",
            format!("{version} is not held back on this host"),
        ))
    }
}

pub(super) async fn reboot(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
) -> Result<StatusCode, Failure> {
    tracing::info!("a reboot, asked for by {peer}");
    let engine = api.engine.clone();
    let reboot = move || {
        let env = engine.look(Cancel::default())?;
        crate::reboot::run(&env.config.reboot_command).map_err(|error| Failure::internal(&error))
    };
    api.reboots.blocking(reboot).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Some things are root's to do, whoever else may open the socket.
fn for_operators(peer: Peer, what: &str) -> Result<(), Failure> {
    if peer.is_operator() {
        return Ok(());
    }
    tracing::warn!("{what}, asked for by {peer}, is refused");
    Err(Failure::new(
        StatusCode::FORBIDDEN,
        "not_permitted",
        format!("{what} is for root only"),
    ))
}
