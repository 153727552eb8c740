//! Which path does what.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::LengthLimitError;
use semver::Version;
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};

pub(super) use axum::extract::Query;

use super::answer::Failure;
use super::peer::Peer;
use super::reads::{self, StopWhenDropped, bad_query};
use super::{documents, events, metrics};
use crate::api::announced::Overrides;
use crate::api::engine::{Engine, EngineError};
use crate::api::updates::Command;
use crate::cancel::Cancel;
use crate::env::Env;
use crate::session::{self, SessionError};

/// No request has anything to say in its body.
const MAX_BODY_BYTES: usize = 16 << 10;
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions to the repository at once; others wait for their turn.
const MAX_QUESTIONS: usize = 2;
/// The same for looks at the disk.
const MAX_LOOKS: usize = 16;
/// And for whatever changes something; all but one of them are refused at once.
const MAX_CHANGES: usize = 4;
/// A reboot command that hangs is not started over and over.
const MAX_REBOOTS: usize = 1;
/// The number of the command that was begun.
const COMMAND: HeaderName = HeaderName::from_static("updog-command");
/// RFC 7240.
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What requests are answered from.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) engine: Arc<Engine>,
    /// Becomes true when streams are to end.
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) looks: Turns,
    questions: Turns,
    changes: Turns,
    reboots: Turns,
}

impl Api {
    pub(super) fn new(engine: Arc<Engine>, stopping: watch::Receiver<bool>) -> Self {
        Self {
            engine,
            stopping,
            looks: Turns::new(MAX_LOOKS),
            questions: Turns::new(MAX_QUESTIONS),
            changes: Turns::new(MAX_CHANGES),
            reboots: Turns::new(MAX_REBOOTS),
        }
    }

    /// Does `work`, which asks the repository, until it is done or nobody waits for it any more.
    pub(super) async fn ask_repository<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Env) -> Result<T, SessionError> + Send + 'static,
    ) -> Result<T, Failure> {
        let cancel = Cancel::default();
        let engine = self.engine.clone();
        let _stop = StopWhenDropped(cancel.clone());
        self.questions
            .blocking(move || Ok(work(&engine.look(cancel)?)?))
            .await?
    }
}

/// How much of a kind is done at once.
#[derive(Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// Does what may wait for a disk or a network, beside everything else.
    ///
    /// The turn ends when the work does, and not when nobody waits for it any more: whoever asks and
    /// hangs up, again and again, would have more of it under way than there are threads and files.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        // It is never closed.
        let turn = self.0.clone().acquire_owned().await.ok();
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Failure::internal(&error))
    }
}

/// Every path that there is.
pub(super) fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/updates/status", get(reads::status))
        .route("/updates/explain", get(reads::explain))
        .route("/updates/plan", get(reads::plan))
        .route("/updates/history", get(reads::history))
        .route("/updates/events", get(events::events))
        .route("/os", get(reads::os))
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", get(documents::openapi))
        .route(Command::Refresh.path(), post(refresh))
        .route(Command::Prepare.path(), post(prepare))
        .route(Command::Activate.path(), post(activate))
        .route(Command::Deactivate.path(), post(deactivate))
        .route(Command::Rollback.path(), post(rollback))
        .route("/actions/release-hold", post(release_hold))
        .route("/actions/reboot", post(reboot))
        .fallback(|| async {
            Failure::new(
                StatusCode::NOT_FOUND,
                "no_such_path",
                "there is nothing here; GET /openapi.json has every path",
            )
        })
        .method_not_allowed_fallback(|| async {
            Failure::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method",
                "this path has no such method",
            )
        })
        .layer(from_fn(read_body))
        .with_state(api)
}

/// Reads the body, within its limits, before anything is done.
async fn read_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => {
            let source = std::error::Error::source(&error);
            let is_long = source.is_some_and(<dyn std::error::Error>::is::<LengthLimitError>);
            return if is_long {
                Failure::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "too_large",
                    format!("a body has at most {MAX_BODY_BYTES} bytes here"),
                )
            } else {
                Failure::bad_request(crate::exit::chain(&error))
            }
            .into_response();
        }
        Err(_) => {
            return Failure::new(
                StatusCode::REQUEST_TIMEOUT,
                "too_slow",
                format!("the body did not come within {} s", BODY_TIMEOUT.as_secs()),
            )
            .into_response();
        }
    };
    next.run(Request::from_parts(parts, Body::from(body))).await
}

/// What root may ask a refresh for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefreshQuery {
    version: Option<Version>,
    #[serde(default)]
    ignore_waves: bool,
}

async fn refresh(
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
    command(api, peer, Command::Refresh, overrides, preferred).await
}

async fn prepare(
    api: State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    preferred: Preferred,
) -> Result<Response, Failure> {
    command(api, peer, Command::Prepare, Overrides::default(), preferred).await
}

async fn activate(
    api: State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    preferred: Preferred,
) -> Result<Response, Failure> {
    command(
        api,
        peer,
        Command::Activate,
        Overrides::default(),
        preferred,
    )
    .await
}

async fn deactivate(
    api: State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    preferred: Preferred,
) -> Result<Response, Failure> {
    command(
        api,
        peer,
        Command::Deactivate,
        Overrides::default(),
        preferred,
    )
    .await
}

async fn rollback(
    api: State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    preferred: Preferred,
) -> Result<Response, Failure> {
    for_operators(peer, "a rollback")?;
    command(
        api,
        peer,
        Command::Rollback,
        Overrides::default(),
        preferred,
    )
    .await
}

async fn command(
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
            let is_busy = matches!(error, EngineError::Busy { .. });
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
struct HoldQuery {
    version: Version,
}

async fn release_hold(
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

async fn reboot(
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

/// What a caller would rather have, of RFC 7240 only `wait`: to be answered when the command has ended,
/// or so many seconds are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Preferred {
    wait: Option<Duration>,
}

impl<S: Sync> FromRequestParts<S> for Preferred {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.headers))
    }
}

impl Preferred {
    fn of(headers: &HeaderMap) -> Self {
        let wait = headers
            .get_all(PREFER)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split([',', ';']))
            .find_map(|preference| {
                let (name, seconds) = preference.split_once('=')?;
                let is_wait = name.trim().eq_ignore_ascii_case("wait");
                let seconds: u32 = seconds.trim().trim_matches('"').parse().ok()?;
                is_wait.then_some(Duration::from_secs(seconds.into()))
            });
        Self { wait }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn whoever_hangs_up_gives_no_turn_away_before_the_work_is_over() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().unwrap();
        runtime.block_on(async {
            let turns = Turns::new(1);
            let (go_on, told) = channel::<()>();
            // It has begun, and nobody waits for it any more.
            let work = turns.blocking(move || told.recv().unwrap());
            assert!(work.now_or_never().is_none());
            assert!(turns.blocking(|| ()).now_or_never().is_none());
            go_on.send(()).unwrap();
            turns.blocking(|| ()).await.unwrap();
        });
    }

    #[test]
    fn a_caller_may_want_to_wait() {
        for (values, seconds) in [
            (&[][..], None),
            (&["wait=10"], Some(10)),
            (&["respond-async, wait=10"], Some(10)),
            (&["return=minimal", "Wait = \"7\""], Some(7)),
            (&["wait"], None),
            (&["wait=-1"], None),
            (&["wait=99999999999"], None),
            (&["await=10"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, HeaderValue::from_static(value));
            }
            let wait = seconds.map(Duration::from_secs);
            assert_eq!(Preferred::of(&headers), Preferred { wait }, "{values:?}");
        }
    }
}
