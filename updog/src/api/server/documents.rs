//! `GET /openapi.json`: this API, described for programs.

use axum::http::header;
use axum::response::IntoResponse;

/// Held against the running server by tests.
const OPENAPI: &str = include_str!("../openapi.json");

pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}
