use serde_json::Value;

use super::*;

fn assert_forms(forms: impl IntoIterator<Item = (Event, &'static str)>) {
    for (event, expected) in forms {
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(serde_json::to_value(&event).unwrap(), expected);
    }
}

#[test]
fn the_json_form_of_a_step_is_the_documented_one() {
    let (image, bytes) = (ImageKind::Root, 7);
    let target = "t".to_owned();
    assert_forms(
        [
            (Step::Refresh, r#"{"event": "step", "step": "refresh"}"#),
            (
                Step::CacheMigrations,
                r#"{"event": "step", "step": "cache_migrations"}"#,
            ),
            (
                Step::Fetch { target, bytes },
                r#"{"event": "step", "step": "fetch", "target": "t", "unit": "bytes", "total": 7}"#,
            ),
            (
                Step::Write { image, bytes },
                r#"{"event": "step", "step": "write", "image": "root", "unit": "bytes", "total": 7}"#,
            ),
            (
                Step::Survey {
                    image,
                    is_active: false,
                    bytes,
                },
                r#"{"event": "step", "step": "survey", "image": "root", "place": "inactive", "unit": "bytes", "total": 7}"#,
            ),
            (
                Step::Survey {
                    image,
                    is_active: true,
                    bytes,
                },
                r#"{"event": "step", "step": "survey", "image": "root", "place": "active", "unit": "bytes", "total": 7}"#,
            ),
            (
                Step::ReadBack { image, bytes },
                r#"{"event": "step", "step": "read_back", "image": "root", "unit": "bytes", "total": 7}"#,
            ),
            (
                Step::Verify { image, bytes },
                r#"{"event": "step", "step": "verify", "image": "root", "unit": "bytes", "total": 7}"#,
            ),
        ]
        .map(|(step, form)| (Event::Step(step), form)),
    );
    let wait = |wait, form| (Event::Waiting(wait), form);
    assert_forms([
        wait(Wait::Server, r#"{"event": "waiting", "for": "server"}"#),
        wait(Wait::Data, r#"{"event": "waiting", "for": "data"}"#),
        wait(
            Wait::Pause { milliseconds: 9 },
            r#"{"event": "waiting", "for": "pause", "milliseconds": 9}"#,
        ),
        wait(Wait::Sync, r#"{"event": "waiting", "for": "sync"}"#),
    ]);
}

#[test]
fn the_json_form_of_everything_else_is_the_documented_one() {
    let (verb, version) = ("update", "0.1.0");
    let (level, message) = ("warn", "m".to_owned());
    let reason = || "r".to_owned();
    let end = |exit, error: Option<&str>, advice: Option<&str>| {
        Event::End(End {
            exit,
            error: error.map(str::to_owned),
            advice: advice.map(str::to_owned),
        })
    };
    assert_forms([
        (
            Event::Begin { verb, version },
            r#"{"event": "begin", "verb": "update", "version": "0.1.0"}"#,
        ),
        (
            Event::Effect(Effect::ReadBack),
            r#"{"event": "effect", "effect": "read_back"}"#,
        ),
        (
            Event::Progress { done: 1, total: 2 },
            r#"{"event": "progress", "done": 1, "total": 2}"#,
        ),
        (Event::StepEnd, r#"{"event": "step_end"}"#),
        (Event::Resumed, r#"{"event": "resumed"}"#),
        (
            Event::Log { level, message },
            r#"{"event": "log", "level": "warn", "message": "m"}"#,
        ),
        (
            end(Exit::Done, None, None),
            r#"{"event": "end", "outcome": "done", "code": 0}"#,
        ),
        (
            end(Exit::Refused, Some("e"), Some("a")),
            r#"{"event": "end", "outcome": "refused", "code": 4, "error": "e", "advice": "a"}"#,
        ),
    ]);
    assert_forms(
        [
            (
                Note::NothingToDo { reason: reason() },
                r#"{"event": "note", "note": "nothing_to_do", "reason": "r"}"#,
            ),
            (
                Note::NotOffered { reason: reason() },
                r#"{"event": "note", "note": "not_offered", "reason": "r"}"#,
            ),
            (
                Note::HoldsAlready {
                    set: Slot::B,
                    version: Version::new(1, 2, 3),
                },
                r#"{"event": "note", "note": "holds_already", "set": "B", "version": "1.2.3"}"#,
            ),
            (
                Note::Incomplete {
                    image: ImageKind::Boot,
                    fetched: 3,
                    requests: 2,
                },
                r#"{"event": "note", "note": "incomplete", "image": "boot", "fetched": 3, "requests": 2}"#,
            ),
            (
                Note::StaleMirror {
                    repository: "u".to_owned(),
                },
                r#"{"event": "note", "note": "stale_mirror", "repository": "u"}"#,
            ),
            (
                Note::Retry {
                    file: "f".to_owned(),
                    at: 3,
                    reason: reason(),
                },
                r#"{"event": "note", "note": "retry", "file": "f", "at": 3, "reason": "r"}"#,
            ),
            (
                Note::Message {
                    message: "m".to_owned(),
                },
                r#"{"event": "note", "note": "message", "message": "m"}"#,
            ),
        ]
        .map(|(note, form)| (Event::Note(note), form)),
    );
}
