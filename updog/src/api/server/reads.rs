//! What can be asked without changing anything.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::answer::Failure;
use super::router::Api;
use crate::cancel::Cancel;
use crate::os_release::OsRelease;
use crate::session::{self, Choice, HistoryReport};

/// `GET /updates/status`.
pub(super) async fn status(State(api): State<Arc<Api>>) -> Result<Response, Failure> {
    let engine = api.engine.clone();
    let status = api.looks.look(move || engine.status()).await??;
    if status.is_blank() {
        return Err(Failure::new(
            StatusCode::NOT_FOUND,
            "never_refreshed",
            "updates were never looked for on this host: POST /actions/refresh-updates",
        ));
    }
    Ok(Json(status).into_response())
}

/// The query of `GET /updates/explain`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Explain {
    version: Option<Version>,
}

/// `GET /updates/explain`.
pub(super) async fn explain(
    State(api): State<Arc<Api>>,
    query: Result<Query<Explain>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(Explain { version }) = query.map_err(bad_query)?;
    let mut explained = api
        .ask_repository(|env| session::explain(env, &Choice::default()))
        .await?;
    if let Some(version) = version
        && !explained.retain(&version)
    {
        return Err(Failure::new(
            StatusCode::NOT_FOUND,
            "no_such_version",
            format!("the manifest has no {version}"),
        ));
    }
    Ok(Json(explained).into_response())
}

/// `GET /updates/plan`.
pub(super) async fn plan(State(api): State<Arc<Api>>) -> Result<Response, Failure> {
    let plan = api
        .ask_repository(|env| session::plan_update(env, &Choice::default()))
        .await?;
    Ok(Json(plan).into_response())
}

/// `GET /updates/history`.
pub(super) async fn history(State(api): State<Arc<Api>>) -> Result<Response, Failure> {
    let engine = api.engine.clone();
    let history = move || {
        let env = engine.look(Cancel::default())?;
        Ok::<_, Failure>(session::history(&env)?)
    };
    let history = api.looks.look(history).await??;
    Ok(Json(HistoryReport::of(&history)).into_response())
}

/// The query of `GET /os`.
#[derive(Debug, Deserialize)]
pub(super) struct Prefix {
    prefix: Option<String>,
}

/// What the running image says of itself, as far as it says so.
#[derive(Debug, Serialize)]
struct Os {
    pretty_name: String,
    variant_id: String,
    version_id: Version,
    build_id: String,
    arch: &'static str,
}

/// `GET /os`.
pub(super) async fn os(
    State(api): State<Arc<Api>>,
    query: Result<Query<Prefix>, QueryRejection>,
) -> Result<Json<Map<String, Value>>, Failure> {
    let Query(Prefix { prefix }) = query.map_err(bad_query)?;
    if prefix.as_deref() == Some("") {
        return Err(Failure::bad_request("the prefix is empty"));
    }
    let engine = api.engine.clone();
    let load = move || {
        let env = engine.look(Cancel::default())?;
        OsRelease::load(&env.config.os_release).map_err(|error| Failure::internal(&error))
    };
    let os = api.looks.look(load).await??;
    let os = Os {
        pretty_name: os.pretty_name,
        variant_id: os.variant,
        version_id: os.version,
        build_id: os.build_id,
        arch: crate::os_release::ARCH,
    };
    Ok(Json(with_prefix(&os, prefix.as_deref())))
}

/// The fields of `os` whose names begin with `prefix`; `os.` before them may be left out.
fn with_prefix(os: &Os, prefix: Option<&str>) -> Map<String, Value> {
    let mut fields = match serde_json::to_value(os) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    match prefix {
        None | Some("os" | "os.") => {}
        Some(prefix) => {
            let prefix = prefix.strip_prefix("os.").unwrap_or(prefix);
            fields.retain(|name, _| name.starts_with(prefix));
        }
    }
    fields
}

/// A query that cannot be read.
#[allow(clippy::needless_pass_by_value)] // as `map_err` has it
pub(super) fn bad_query(rejection: QueryRejection) -> Failure {
    Failure::bad_request(crate::exit::chain(&rejection))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_may_begin_with_os() {
        let os = Os {
            pretty_name: "Demo 1.2.3".to_owned(),
            variant_id: "demo".to_owned(),
            version_id: Version::new(1, 2, 3),
            build_id: "abc".to_owned(),
            arch: "x86_64",
        };
        for (prefix, names) in [
            (
                None,
                &[
                    "arch",
                    "build_id",
                    "pretty_name",
                    "variant_id",
                    "version_id",
                ][..],
            ),
            (
                Some("os"),
                &[
                    "arch",
                    "build_id",
                    "pretty_name",
                    "variant_id",
                    "version_id",
                ],
            ),
            (Some("v"), &["variant_id", "version_id"]),
            (Some("os.version_id"), &["version_id"]),
            (Some("version_id_"), &[]),
        ] {
            let fields = with_prefix(&os, prefix);
            assert_eq!(fields.keys().collect::<Vec<_>>(), names, "{prefix:?}");
        }
    }
}
