//! `migrator rehearse`: both ways on a copy, with migrations that are bash scripts.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use system_tests::settings::{Scripts, Settings, mark};

#[test]
fn a_rehearsal_tells_what_would_change_and_changes_nothing() {
    let lossy = r#"
        cp -r "$SOURCE" "$TARGET"
        if [[ $DIRECTION == --forward ]]; then
            rm "$TARGET/live/settings/host/name"
            printf '"secret"' >"$TARGET/live/settings/token"
        fi"#;
    let scripts = Scripts::new().release("1.0.0", "1.1.0", &[("a", &mark("a")), ("l", lossy)]);
    let settings = Settings::with_cache("1.0.0", &scripts);
    let before = settings.names();
    let arguments = ["rehearse", "--to", "1.1.0", "--json"];
    let ran = settings.migrator(&arguments).done();
    assert!(!ran.stdout.contains("secret"), "values are hidden");
    let report = ran.json();
    assert_eq!(report["result"], "ok");
    assert_eq!(report["there"]["steps"].as_array().unwrap().len(), 2);
    assert_eq!(report["back"]["steps"][0]["direction"], "backward");
    let changes = |name: &str| -> Vec<String> {
        let list = report[name].as_array().unwrap();
        let words = |change: &serde_json::Value| {
            format!("{} {}", change["change"], change["key"]).replace('"', "")
        };
        list.iter().map(words).collect()
    };
    assert_eq!(
        changes("changes"),
        [
            "removed settings.host.name",
            "changed settings.motd",
            "added settings.token"
        ]
    );
    let lost = changes("lost");
    assert!(
        lost.contains(&"added settings.token".to_owned()),
        "{lost:?}"
    );
    assert_eq!(settings.names(), before);
    let with_values = settings.migrator(&[&arguments[..], &["--values"]].concat());
    assert!(with_values.done().stdout.contains("secret"));
    settings.migrator(&arguments[..3]).done();
}

#[test]
fn a_rehearsal_that_fails_says_why() {
    let script = format!("[[ $DIRECTION == --forward ]] || exit 7\n{}", mark("a"));
    let scripts = Scripts::new().release("1.0.0", "1.1.0", &[("a", &script)]);
    let settings = Settings::with_cache("1.0.0", &scripts);
    let ran = settings
        .migrator(&["rehearse", "--to", "1.1.0", "--json"])
        .expect(1);
    let report = ran.json();
    assert_eq!(report["result"], "failed");
    let reason = report["reason"].as_str().unwrap();
    assert!(reason.contains("backward, step 1 of 1"), "{reason}");
    assert!(report["there"]["reason"].is_null());
    let report = settings
        .migrator(&["rehearse", "--to", "3.0.0", "--json"])
        .expect(1)
        .json();
    assert!(
        report["reason"]
            .as_str()
            .unwrap()
            .contains("no migrations lead")
    );
}
