//! `update watch`: what happens, as it happens.

use http_body_util::BodyExt as _;
use hyper::header::CONTENT_TYPE;
use serde_json::Value;
use snafu::ResultExt;

use super::command::Client;
use super::connection::Ask;
use super::failure::{BrokenSnafu, Failure, NoStreamSnafu};
use super::look::{Form, running_command};
use super::output;
use super::sse::{MESSAGE_LIMIT, Message, Parser};
use crate::api::updates::UpdatesStatus;
use crate::exit::printable;

const EVENTS: &str = "/updates/events";
/// What every line of the stream has; it says nothing to people.
const PLUMBING: [&str; 3] = ["schema", "time", "event"];

/// Prints messages until the server ends the stream.
pub(super) async fn watch(client: &Client, form: Form) -> Result<(), Failure> {
    let opened = client.open(&Ask::get(EVENTS)).await?;
    let kind = opened.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !is_stream(kind) {
        return NoStreamSnafu {
            uri: EVENTS,
            found: if kind.is_empty() { "of no type" } else { kind },
        }
        .fail();
    }
    let mut body = opened.into_body();
    let mut parser = Parser::default();
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.context(BrokenSnafu)?.into_data() else {
            continue;
        };
        let messages = parser.feed(&bytes).map_err(|_| Failure::LargeMessage {
            uri: EVENTS.to_owned(),
            limit: MESSAGE_LIMIT,
        })?;
        for message in messages {
            match form {
                Form::Json => output::line(&message.data)?,
                Form::Lines => output::line(&line(&message))?,
            }
        }
    }
    Ok(())
}

fn is_stream(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("text/event-stream")
}

/// PURE: a message in one line.
fn line(message: &Message) -> String {
    let Message { event, data } = message;
    let text = match event.as_str() {
        "status" => serde_json::from_str(data).ok().map(|it| status(&it)),
        "event" => serde_json::from_str(data).ok().and_then(|it| of_event(&it)),
        _ => None,
    };
    // What a later server says is told as it is.
    text.unwrap_or_else(|| printable(&format!("{event}: {data}")))
}

fn status(status: &UpdatesStatus) -> String {
    let mut parts = vec![format!("status {}", status.update_state)];
    let chosen = status.chosen_update.as_ref();
    parts.extend(chosen.map(|chosen| format!("chosen {}", chosen.version)));
    match (&status.running_command, &status.last_outcome) {
        (Some(running), _) => parts.push(running_command(running)),
        (None, Some(last)) => {
            let outcome = printable(&last.outcome.replace('_', " "));
            parts.push(format!("last {}: {outcome}", last.command));
        }
        (None, None) => {}
    }
    parts.join(", ")
}

/// An event of the stream that `updog --progress json` writes.
fn of_event(event: &Value) -> Option<String> {
    let object = event.as_object()?;
    let time = object.get("time").and_then(Value::as_str);
    let time = time.map(|time| format!("{time} ")).unwrap_or_default();
    let kind = object.get("event")?.as_str()?;
    let others = object
        .iter()
        .filter(|(key, _)| !PLUMBING.contains(&key.as_str()));
    let others: String = others
        .map(|(key, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            match key.as_str() {
                "message" => format!(": {value}"),
                _ if value.contains(' ') => format!(" {key}={value:?}"),
                _ => format!(" {key}={value}"),
            }
        })
        .collect();
    Some(printable(&format!("{time}{kind}{others}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        let status = r#"{"update_state": "Available", "available_updates": ["1.1.0"],
            "chosen_update": {"arch": "x86_64", "version": "1.1.0", "variant": "demo"},
            "active_partition": null, "staging_partition": null, "most_recent_command": null,
            "running_command": {"command": "prepare", "id": 2, "since": "2031-03-02T10:00:00.5Z",
                "step": "writing the root image", "done": 1024, "total": 4096}}"#;
        for (event, data, expected) in [
            (
                "status",
                status,
                "status Available, chosen 1.1.0, prepare since 2031-03-02T10:00:00Z, \
                 writing the root image, 1.00 KiB of 4.00 KiB",
            ),
            (
                "event",
                r#"{"schema":1,"time":"T","event":"step","step":"write","image":"root","total":9}"#,
                "T step image=root step=write total=9",
            ),
            (
                "event",
                r#"{"schema":1,"time":"T","event":"log","level":"warn","message":"a\nb"}"#,
                "T log level=warn: a\\nb",
            ),
            (
                "event",
                r#"{"event":"end","outcome":"failed","code":1,"error":"no way"}"#,
                "end code=1 error=\"no way\" outcome=failed",
            ),
            ("event", "no json\u{1b}[2J", "event: no json\\u{1b}[2J"),
            ("status", "{}", "status: {}"),
            ("later", "{}", "later: {}"),
        ] {
            let (event, data) = (event.to_owned(), data.to_owned());
            assert_eq!(line(&Message { event, data }), expected);
        }
    }
}
