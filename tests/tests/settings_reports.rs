//! What `migrator` prints as JSON, and what `migrator check` tells, held against committed files. A
//! change of one of them is a change for whoever reads them: it belongs into the changelog.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;

use system_tests::programs::Ran;
use system_tests::settings::{Scripts, Settings};

/// Renames a setting, drops another one, and has one that only the new version knows.
const DOCUMENT: &str = r#"format = 1

[[step]]
rename = { from = "settings.host.name", to = "settings.network.hostname" }

[[step]]
remove = { settings = ["settings.motd"], if-equals = "hello" }

[[step]]
add = { settings = ["settings.banner"], prefixes = ["settings.proxy."] }

[[step]]
variants = ["other"]
replace-in-list = { setting = "settings.time.servers", old = "a.example.org", new = "b.example.org" }
"#;

/// What differs from run to run and from file system to file system.
const FILTERS: [(&str, &str); 4] = [
    (r"_[A-Za-z0-9]{16}\b", "_[random]"),
    (r#""(bytes|took_ms)": \d+"#, r#""$1": "[number]""#),
    (r"\(\d+ ms\)", "([number] ms)"),
    (r"(/[^/ ]+)*/\.tmp[A-Za-z0-9]+", "[folder]"),
];

/// Holds one command line, its data and its exit code against the file `name`.
fn matches(name: &str, line: &[&str], ran: &Ran) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, replacement) in FILTERS {
        settings.add_filter(pattern, replacement);
    }
    let code = ran.code.unwrap();
    let text = format!(
        "$ migrator {}\n{}[exit code {code}]\n",
        line.join(" "),
        ran.stdout
    );
    settings.bind(|| insta::assert_snapshot!(format!("migrator-{name}"), text));
}

fn shows(settings: &Settings, name: &str, line: &[&str]) {
    matches(name, line, &settings.migrator(line));
}

/// 1.0.0 with the settings of a first boot, and the way to 1.1.0.
fn host() -> Settings {
    let scripts = Scripts::new().release("1.0.0", "1.1.0", &[("names.toml", DOCUMENT)]);
    let settings = Settings::new("1.0.0");
    settings.cache(&scripts.publisher);
    let waiting = settings.path("datastore/current/pending/some%20work/settings/host");
    fs::create_dir_all(&waiting).unwrap();
    fs::write(waiting.join("name"), "\"two\"").unwrap();
    let name = settings.path("datastore/current/live/settings/host/name.affected-services");
    fs::write(name, "[\"host\"]").unwrap();
    settings
}

#[test]
fn before_the_first_boot() {
    let settings = Settings::without_datastore();
    shows(&settings, "none-status", &["status", "--json"]);
    shows(&settings, "none-list", &["list", "--json"]);
    let line = ["rehearse", "--to", "1.1.0", "--json"];
    shows(&settings, "none-rehearse", &line);
}

#[test]
fn before_and_after_an_update() {
    let settings = host();
    shows(&settings, "fresh-status", &["status", "--json"]);
    let line = ["rehearse", "--to", "1.1.0", "--json"];
    shows(&settings, "rehearse", &line);
    let line = ["rehearse", "--to", "1.1.0", "--json", "--values"];
    shows(&settings, "rehearse-values", &line);
    settings.boot("1.1.0").done();
    shows(&settings, "migrated-status", &["status", "--json"]);
    shows(&settings, "migrated-list", &["list", "--json"]);
    settings.boot("1.0.0").done();
    shows(&settings, "back-status", &["status", "--json"]);
}

#[test]
fn a_way_back_that_fails() {
    let script = "[[ $DIRECTION == --forward ]] || { echo no such setting >&2; exit 7; }\n\
                  cp -r \"$SOURCE\" \"$TARGET\"";
    let scripts = Scripts::new().release("1.0.0", "1.1.0", &[("one-way", script)]);
    let settings = Settings::new("1.0.0");
    settings.cache(&scripts.publisher);
    let line = ["rehearse", "--to", "1.1.0", "--json"];
    shows(&settings, "rehearse-failed", &line);
    settings.boot("1.1.0").done();
    settings.boot("1.0.0").done();
    shows(&settings, "fell-back-status", &["status", "--json"]);
    // A store that was never finished, and one that cannot be read.
    fs::create_dir(settings.path("datastore/v1.2.0_bbbbbbbbbbbbbbbb")).unwrap();
    fs::remove_dir_all(settings.path("datastore/current/live")).unwrap();
    shows(&settings, "damaged-status", &["status", "--json"]);
    shows(&settings, "damaged-list", &["list", "--json"]);
}

#[test]
fn a_document_is_told_and_a_wrong_one_refused_with_its_step_and_name() {
    let settings = Settings::without_datastore();
    let check = |name: &str, content: &str| {
        fs::write(settings.path(name), content).unwrap();
        let path = settings.path(name).display().to_string();
        settings.migrator(&["check", &path])
    };
    let ran = check("names.toml", DOCUMENT).done();
    matches("check", &["check", "names.toml"], &ran);
    let wrong = DOCUMENT.replace("settings.motd", "settings..motd");
    check("wrong.toml", &wrong)
        .expect(1)
        .says("step 2: 'remove': the name \"settings..motd\" has an empty segment");
    check("newer.toml", "format = 2\nnew = 1\n")
        .expect(1)
        .says("format 2");
    check("field.toml", "format = 1\n[[step]]\nremvoe = 1\n")
        .expect(1)
        .says("remvoe");
    check("names", DOCUMENT)
        .expect(1)
        .says("is run as a program");
    // As it is signed: what the publisher compressed, and what is no whole frame.
    let scripts = Scripts::new().release("1.0.0", "1.1.0", &[("names.toml", DOCUMENT)]);
    settings.cache(&scripts.publisher);
    let signed = settings.cached("migrate_v1.1.0_names.toml.lz4").remove(0);
    let again = settings.migrator(&["check", &signed.display().to_string()]);
    assert_eq!(again.done().stdout, ran.stdout);
    let bytes = fs::read(&signed).unwrap();
    fs::write(&signed, &bytes[..bytes.len() - 3]).unwrap();
    settings
        .migrator(&["check", &signed.display().to_string()])
        .expect(1)
        .says("reading");
}
