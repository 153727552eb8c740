//! The event stream as JSON, one object a line.

use std::time::Duration;

use chrono::SecondsFormat;
use serde::Serialize;

use crate::clock;
use crate::event::{Event, Note, SCHEMA};

/// Progress is told at most so often, and at the end of a step.
const SPACING: Duration = Duration::from_millis(100);

/// One line: `{"schema": 1, "time": "2031-03-01T01:00:00.000Z", "event": ...}`.
#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    time: String,
    #[serde(flatten)]
    event: &'a Event,
    /// A note in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// `event` as a line, with its end.
pub(crate) fn line(event: &Event) -> String {
    let message = match event {
        // It has its own.
        Event::Note(Note::Message { .. }) => None,
        Event::Note(note) => Some(note.to_string()),
        _ => None,
    };
    let line = Line {
        schema: SCHEMA,
        time: clock::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        event,
        message,
    };
    let mut json = serde_json::to_string(&line).expect("plain data with string keys");
    json.push('\n');
    json
}

/// Keeps fast progress from flooding whoever reads.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    told_at: Option<Duration>,
}

impl Throttle {
    /// Whether `event` is told.
    pub(crate) fn lets_pass(&mut self, event: &Event, now: Duration) -> bool {
        let Event::Progress { done, total } = event else {
            // What follows is the first progress of something else.
            if matches!(event, Event::Step(_) | Event::Resumed) {
                self.told_at = None;
            }
            return true;
        };
        let is_early = self
            .told_at
            .is_some_and(|told_at| now.saturating_sub(told_at) < SPACING);
        if is_early && done < total {
            return false;
        }
        self.told_at = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use update_metadata::ImageKind;

    use super::*;
    use crate::event::Step;

    #[test]
    fn a_line_is_one_object_with_schema_and_time() {
        let note = Note::Retry {
            file: "http://h/x".into(),
            at: 5,
            reason: "it\nbroke".into(),
        };
        let line = line(&Event::Note(note));
        assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["schema"], 1);
        assert_eq!(value["event"], "note");
        assert_eq!(value["note"], "retry");
        assert_eq!(
            value["message"],
            "fetching http://h/x at byte 5: it\nbroke; trying again"
        );
        let time = value["time"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.len() == "2031-03-01T01:00:00.000Z".len());
    }

    #[test]
    fn a_message_is_told_once() {
        let message = "m".to_owned();
        let line = line(&Event::Note(Note::Message { message }));
        assert_eq!(line.matches("message").count(), 2, "kind and key: {line}");
    }

    #[test]
    fn fast_progress_is_thinned_and_its_end_is_not() {
        let mut throttle = Throttle::default();
        let mut told = Vec::new();
        let step = |bytes| {
            let image = ImageKind::Root;
            Event::Step(Step::Write { image, bytes })
        };
        throttle.lets_pass(&step(250), Duration::ZERO);
        for done in 1..=250 {
            let event = Event::Progress { done, total: 250 };
            if throttle.lets_pass(&event, Duration::from_millis(done)) {
                told.push(done);
            }
        }
        assert_eq!(told, [1, 101, 201, 250]);
        throttle.lets_pass(&step(9), Duration::from_millis(250));
        let first = Event::Progress { done: 1, total: 9 };
        assert!(throttle.lets_pass(&first, Duration::from_millis(251)));
    }
}
