//! Which path does what.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::LengthLimitError;
use tokio::sync::watch;

use super::answer::Failure;
use super::reads;
use super::turns::Turns;
use super::{actions, documents, events, metrics};
use crate::api::engine::Engine;
use crate::api::updates::Command;
use crate::cancel::{Cancel, Signal};
use crate::env::Env;
use crate::session::SessionError;

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

/// What requests are answered from.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) engine: Arc<Engine>,
    /// Becomes true when streams are to end.
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) looks: Turns,
    questions: Turns,
    pub(super) changes: Turns,
    pub(super) reboots: Turns,
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

/// Stops what it belongs to when nobody waits for it any more.
struct StopWhenDropped(Cancel);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.cancel(Signal::Terminate);
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
        .route(Command::Refresh.path(), post(actions::refresh))
        .route(Command::Prepare.path(), actions::plain(Command::Prepare))
        .route(Command::Activate.path(), actions::plain(Command::Activate))
        .route(
            Command::Deactivate.path(),
            actions::plain(Command::Deactivate),
        )
        .route(Command::Rollback.path(), post(actions::rollback))
        .route("/actions/release-hold", post(actions::release_hold))
        .route("/actions/reboot", post(actions::reboot))
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
