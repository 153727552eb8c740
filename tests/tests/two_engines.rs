//! Two versions of the engine over one state folder, as after a fallback: the other set has a newer
//! engine, which keeps more, or keeps it in another form.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use system_tests::host::Host;
use system_tests::publisher::Publisher;
use system_tests::server::Server;
use system_tests::world::TwoReleases;

/// A host that was updated from 1.0.0 (set A) to 1.1.0 (set B), which runs and is good; 1.2.0 waits.
fn world() -> (Publisher, Server, Host) {
    let TwoReleases {
        publisher,
        server,
        mut host,
        ..
    } = TwoReleases::new();
    host.updog(&["update"]).done();
    assert_eq!(host.boot(), "B");
    host.runs("1.1.0");
    host.signpost(&["mark-successful-boot"]).done();
    host.updog(&["verify", "--set", "A"]).done();
    publisher.release("1.2.0");
    (publisher, server, host)
}

/// Every file of the folder that says which form it has, by its path.
fn with_schema(state: &Path) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut folders = vec![state.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(json) = serde_json::from_slice::<Value>(&fs::read(&path).unwrap())
                && json.get("schema").is_some()
            {
                let name = path.strip_prefix(state).unwrap();
                found.insert(name.to_str().unwrap().to_owned(), json);
            }
        }
    }
    found
}

fn names(files: &BTreeMap<String, Value>) -> Vec<&str> {
    files.keys().map(String::as_str).collect()
}

const FILES: [&str; 4] = [
    "history.json",
    "sets/A.json",
    "sets/B.json",
    "tuf/versions.json",
];

/// Where this engine remembers while a newer one's history is there.
const OWN_HISTORY: &str = "history.schema-1.json";

/// Writes `files` back, each as `change` makes it.
fn rewrite(state: &Path, files: &BTreeMap<String, Value>, change: impl Fn(&Value) -> Value) {
    for (name, json) in files {
        fs::write(state.join(name), change(json).to_string()).unwrap();
    }
}

#[test]
fn what_a_newer_engine_keeps_in_a_newer_form_stays_and_stops_nothing() {
    let (_publisher, _server, mut host) = world();
    let state = host.path("state");
    let of_this = with_schema(&state);
    assert_eq!(names(&of_this), FILES);
    // Another form, which would mislead whoever reads it as this one.
    rewrite(&state, &of_this, |json| {
        let schema = json["schema"].as_u64().unwrap() + 1;
        json!({"schema": schema, "body": json.to_string(), "version": [1, 2], "attempts": 3})
    });
    fs::write(state.join("sources.json"), r#"{"schema": 7}"#).unwrap();
    let of_newer = with_schema(&state);

    for verb in ["status", "check-update", "plan", "explain", "history"] {
        host.updog(&[verb]).done();
        assert_eq!(with_schema(&state), of_newer, "{verb}");
    }
    host.updog(&["verify", "--set", "A"]).done();
    assert_eq!(with_schema(&state), of_newer, "verify");
    // The set is written again, and only what describes it goes.
    host.updog(&["update"]).done();
    assert_eq!(host.boot(), "A");
    host.runs("1.2.0");
    host.signpost(&["mark-successful-boot"]).done();
    let mut after = with_schema(&state);
    assert_eq!(after["sets/A.json"]["schema"], 1);
    assert_eq!(after["sets/A.json"]["version"], "1.2.0");
    // What this engine remembers has a file of its own.
    assert_eq!(after.remove(OWN_HISTORY).unwrap()["schema"], 1);
    after.insert("sets/A.json".to_owned(), of_newer["sets/A.json"].clone());
    assert_eq!(after, of_newer);

    // Back, with nothing but the disk and the cached manifest to say what is there.
    host.updog(&["rollback"]).done();
    assert_eq!(host.boot(), "B");
    host.runs("1.1.0");
    host.updog(&["status"]).done();
    let after = with_schema(&state);
    assert_eq!(after["history.json"], of_newer["history.json"]);
    assert_eq!(after["tuf/versions.json"], of_newer["tuf/versions.json"]);
    assert_eq!(after["sources.json"], of_newer["sources.json"]);
}

#[test]
fn what_a_newer_engine_adds_under_the_same_form_is_read_over() {
    let (_publisher, _server, host) = world();
    let state = host.path("state");
    let before = host.updog(&["status", "--json"]).done().json();
    let history = host.updog(&["history", "--json"]).done().json();
    rewrite(&state, &with_schema(&state), |json| {
        let mut json = json.clone();
        json["added_later"] = json!({"deep": [1, 2, 3]});
        json
    });
    let after = host.updog(&["status", "--json"]).done().json();
    for part in ["disk", "history", "running", "repository"] {
        let (mut before, mut after) = (before[part].clone(), after[part].clone());
        for report in [&mut before, &mut after] {
            // Told by the clock.
            if let Some(trust) = report.get_mut("trust") {
                *trust = trust["roles"].as_array().map(Vec::len).into();
            }
        }
        assert_eq!(before, after, "{part}");
    }
    assert_eq!(host.updog(&["history", "--json"]).done().json(), history);
    host.updog(&["update"]).done();
    assert_eq!(host.next(), "A");
}

/// The newer engine's history is in another form; what else it keeps is not.
fn newer_history(host: &Host) -> Value {
    let path = host.path("state/history.json");
    let json = json!({"schema": 2, "tried": []});
    fs::write(path, json.to_string()).unwrap();
    json
}

#[test]
fn a_version_that_falls_back_is_not_taken_for_ever_because_its_engine_wrote_a_newer_history() {
    let publisher = Publisher::new();
    let old = publisher.release("1.0.0");
    publisher.release("1.1.0");
    let server = Server::start(&publisher.repo());
    let mut host = Host::new(&publisher, "1.0.0", &old, &server.url());
    let mut taken = 0;
    let newer = loop {
        let update = host.updog(&["update"]).done();
        if !update.stdout.contains("1.1.0") {
            let reason = "1.1.0 is quarantined: 1.1.0 did not come up 2 times";
            assert!(update.stderr.contains(reason), "{}", update.stderr);
            break newer_history(&host);
        }
        taken += 1;
        assert!(taken <= 2, "the host goes round for ever");
        assert_eq!(host.boot(), "B");
        newer_history(&host);
        "A".clone_into(&mut host.active);
        host.configure("");
    };
    assert_eq!(with_schema(&host.path("state"))["history.json"], newer);
    host.updog(&["release-hold", "1.1.0"]).done();
    let update = host.updog(&["update"]).done();
    assert!(update.stdout.contains("1.1.0"), "the way out is kept");
}

#[test]
fn what_was_left_by_hand_is_not_taken_again_though_the_record_of_it_is_lost() {
    for lost in [true, false] {
        let (_publisher, _server, mut host) = world();
        host.updog(&["rollback"]).done();
        assert_eq!(host.boot(), "A");
        host.runs("1.0.0");
        host.signpost(&["mark-successful-boot"]).done();
        if lost {
            fs::remove_file(host.path("state/history.json")).unwrap();
        } else {
            newer_history(&host);
        }
        let explained = host.updog(&["explain", "--version", "1.1.0", "--json"]);
        let explained = explained.done().json();
        let gates = explained["explanations"][0]["gates"].as_array().unwrap();
        let hold = gates.iter().find(|gate| gate["name"] == "hold").unwrap();
        assert_eq!(hold["passed"], false, "{hold}");
        host.updog(&["release-hold", "1.1.0"]).done();
        let history = host.updog(&["history", "--json"]).done().json();
        assert_eq!(history["holds"], json!([]));
    }
}
