//! `GET /updates/events`: what happens, as it happens, as server-sent events.
//!
//! The first message, and one after every command that begins or ends, is `status`: the body of
//! `GET /updates/status`. In between each `event` has one object of the typed stream.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::future::{Either, select};
use futures::stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::router::Api;
use crate::api::engine::Told;

/// How often something is sent where nothing happens: somebody who is gone is noticed by that.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

struct Listener {
    api: Arc<Api>,
    events: Receiver<Told>,
    stopping: watch::Receiver<bool>,
    /// Whether the status is due.
    is_changed: bool,
}

pub(super) async fn events(State(api): State<Arc<Api>>) -> Response {
    let listener = Listener {
        events: api.engine.listen(),
        stopping: api.stopping.clone(),
        is_changed: true,
        api,
    };
    let messages = stream::unfold(listener, |mut listener| async {
        let message = listener.next().await?;
        Some((Ok::<_, Infallible>(message), listener))
    });
    Sse::new(messages)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}

impl Listener {
    /// The next message; none once the server stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.is_changed {
                self.is_changed = false;
                if let Some(status) = self.status().await {
                    return Some(status);
                }
            }
            let stop = pin!(self.stopping.wait_for(|stopping| *stopping));
            let told = match select(stop, pin!(self.events.recv())).await {
                Either::Left(_) => return None,
                Either::Right((told, _)) => told,
            };
            match told {
                Ok(Told::Event(line)) => return Some(Event::default().event("event").data(line)),
                // What somebody missed is gone; how things stand is told anew.
                Ok(Told::Changed) | Err(RecvError::Lagged(_)) => self.is_changed = true,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// How updates stand; nothing where nothing was ever asked for, or where it cannot be told.
    async fn status(&self) -> Option<Event> {
        let engine = self.api.engine.clone();
        let status = self.api.looks.look(move || engine.status()).await;
        let status = status.ok()?.ok()?;
        if status.is_blank() {
            return None;
        }
        Event::default().event("status").json_data(status).ok()
    }
}
