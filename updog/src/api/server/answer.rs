//! What is answered where something is not done: one line of text, and its kind for programs.

use std::fmt;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::announced::Refused;
use crate::api::engine::EngineError;
use crate::config::ConfigError;
use crate::exit::{Exit, chain};
use crate::session::SessionError;

/// Names the kind of an error, for those who do not read sentences.
const ERROR_KIND: HeaderName = HeaderName::from_static("updog-error");

/// An answer that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    code: StatusCode,
    kind: &'static str,
    line: String,
}

impl Failure {
    pub(super) fn new(code: StatusCode, kind: &'static str, line: impl Into<String>) -> Self {
        let line = line.into();
        Self { code, kind, line }
    }

    /// The request makes no sense.
    pub(super) fn bad_request(line: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", line)
    }

    /// Something here does not work.
    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", chain(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        let headers = [
            (header::CONTENT_TYPE, text),
            (ERROR_KIND, HeaderValue::from_static(self.kind)),
        ];
        (self.code, headers, self.line).into_response()
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let (code, kind) = match &error {
            EngineError::Busy { .. } | EngineError::Stopping => (StatusCode::LOCKED, "busy"),
            EngineError::Refused { source } => match source {
                Refused::WrongState { .. } | Refused::Machine { .. } => {
                    (StatusCode::CONFLICT, "wrong_state")
                }
                Refused::NoUpdate => (StatusCode::NOT_FOUND, "no_update"),
                Refused::NoStagedImage => (StatusCode::NOT_FOUND, "no_staged_image"),
            },
            EngineError::Session { source } => return session(source),
            _ => return Self::internal(&error),
        };
        Self::new(code, kind, chain(&error))
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        session(&error)
    }
}

fn session(error: &SessionError) -> Failure {
    let (code, kind) = match error {
        SessionError::Lock { .. } if error.exit() == Exit::Refused => (StatusCode::LOCKED, "busy"),
        _ if error.exit() == Exit::Refused => (StatusCode::CONFLICT, "wrong_state"),
        _ => return Failure::internal(error),
    };
    Failure::new(code, kind, chain(error))
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::internal(&error)
    }
}
