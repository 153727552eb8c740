//! init, validate, add-update, remove-update, set-waves, set-max-version, set-migrations.

use serde_json::{Value, json};

use super::lab::Lab;

const EMPTY: &str = "{\n  \"updates\": [],\n  \"migrations\": {}\n}\n";

fn with_manifest() -> Lab {
    let lab = Lab::new();
    lab.ok(&["init", "m.json"]);
    lab
}

fn add<'a>(variant: &'a str, version: &'a str) -> Vec<&'a str> {
    let line = [
        "add-update",
        "m.json",
        "-f",
        variant,
        "-v",
        version,
        "-a",
        "x86_64",
    ];
    [&line[..], &["-r", "r.lz4", "-b", "b.lz4", "-h", "h.lz4"]].concat()
}

fn manifest(lab: &Lab) -> Value {
    serde_json::from_slice(&lab.read("m.json")).unwrap()
}

#[test]
fn init_writes_an_empty_manifest_and_never_over_another() {
    let lab = Lab::new();
    assert_eq!(lab.ok(&["init", "m.json"]), "m.json: an empty manifest\n");
    assert_eq!(lab.read_text("m.json"), EMPTY);
    lab.write("m.json", "precious");
    lab.updata(&["init", "m.json"]).ends_with(
        4,
        "updata: m.json exists and is not overwritten; choose another name",
    );
    assert_eq!(lab.read_text("m.json"), "precious");
    assert_eq!(lab.names("."), ["m.json"]);
}

#[test]
fn validate_counts_and_changes_nothing() {
    let lab = with_manifest();
    assert_eq!(
        lab.ok(&["validate", "m.json"]),
        "m.json: valid, 0 update(s), migrations between 0 pair(s) of versions\n"
    );
    assert_eq!(
        lab.json(&["validate", "m.json"]),
        json!({"file": "m.json", "updates": 0, "migrations": 0})
    );
    assert_eq!(lab.read_text("m.json"), EMPTY);
}

#[test]
fn validate_says_what_is_wrong_and_where() {
    let lab = Lab::new();
    lab.write("m.json", "{\n  \"updates\": []\n}");
    lab.updata(&["validate", "m.json"]).ends_with(
        1,
        "updata: m.json is not a manifest: the manifest is not valid: \
         missing field `migrations` at line 3 column 1",
    );
    lab.updata(&["validate", "absent.json"]).says(
        1,
        "updata: reading the manifest absent.json: No such file or directory",
    );
}

#[test]
fn added_updates_raise_the_ceiling_of_their_own_variant_only() {
    let lab = with_manifest();
    assert_eq!(
        lab.ok(&add("demo", "1.0.0")),
        "m.json: added demo x86_64 1.0.0, max_version 1.0.0\n"
    );
    lab.ok(&add("other", "9.0.0"));
    assert_eq!(
        lab.json(&add("demo", "1.1.0")),
        json!({
            "file": "m.json", "variant": "demo", "arch": "x86_64",
            "version": "1.1.0", "max_version": "1.1.0",
        })
    );
    let images = json!({"boot": "b.lz4", "root": "r.lz4", "hash": "h.lz4"});
    let update = |variant: &str, version: &str, max: &str| {
        json!({
            "variant": variant, "arch": "x86_64", "version": version, "max_version": max,
            "waves": {}, "images": images,
        })
    };
    assert_eq!(
        manifest(&lab)["updates"],
        json!([
            update("demo", "1.0.0", "1.1.0"),
            update("other", "9.0.0", "9.0.0"),
            update("demo", "1.1.0", "1.1.0"),
        ])
    );
}

#[test]
fn an_explicit_ceiling_may_be_lower() {
    let lab = with_manifest();
    lab.ok(&add("demo", "1.0.0"));
    lab.ok(&[&add("demo", "1.1.0")[..], &["-m", "1.0.0"]].concat());
    let updates = &manifest(&lab)["updates"];
    assert_eq!(updates[0]["max_version"], "1.0.0");
    assert_eq!(updates[1]["max_version"], "1.0.0");
}

#[test]
fn an_update_is_added_once() {
    let lab = with_manifest();
    lab.ok(&add("demo", "1.0.0"));
    let before = lab.read("m.json");
    lab.updata(&add("demo", "1.0.0")).ends_with(
        4,
        "updata: changing the manifest m.json: \
         the manifest has version 1.0.0 of demo for x86_64 already",
    );
    assert_eq!(lab.read("m.json"), before);
}

#[test]
fn removing_says_how_many_matched() {
    let lab = with_manifest();
    lab.ok(&add("demo", "1.0.0"));
    lab.ok(&add("demo", "1.1.0"));
    let line = [
        "remove-update",
        "m.json",
        "-l",
        "demo",
        "-v",
        "1.0.0",
        "-a",
        "x86_64",
    ];
    assert_eq!(lab.ok(&line), "m.json: 1 update(s) removed\n");
    assert_eq!(lab.ok(&line), "m.json: no such update, 0 removed\n");
    assert_eq!(lab.json(&line), json!({"file": "m.json", "removed": 0}));
    let updates = manifest(&lab)["updates"].clone();
    assert_eq!(updates.as_array().unwrap().len(), 1);
    assert_eq!(updates[0]["max_version"], "1.1.0", "the ceiling stays");
}

#[test]
fn waves_start_where_the_release_starts() {
    let lab = with_manifest();
    lab.ok(&add("demo", "1.0.0"));
    lab.write(
        "waves.toml",
        "[[waves]]\nstart_after = '1 hour'\nfleet_percentage = 1\n\
         [[waves]]\nstart_after = '1 day'\nfleet_percentage = 50\n\
         [[waves]]\nstart_after = '2 days'\nfleet_percentage = 100\n",
    );
    let line = |version| {
        [
            "set-waves",
            "m.json",
            "-l",
            "demo",
            "-a",
            "x86_64",
            "-w",
            "waves.toml",
            "-v",
            version,
        ]
    };
    let start = ["--start-at", "2031-03-01T02:00:00+01:00"];
    assert_eq!(
        lab.ok(&[&line("1.0.0")[..], &start].concat()),
        "m.json: 3 wave(s) for 1 update(s)\n"
    );
    let waves = json!({
        "0": "2031-03-01T02:00:00Z", "20": "2031-03-02T01:00:00Z", "1024": "2031-03-03T01:00:00Z",
    });
    assert_eq!(manifest(&lab)["updates"][0]["waves"], waves);
    assert_eq!(
        lab.json(&[&line("2.0.0")[..], &start].concat()),
        json!({"file": "m.json", "changed": 0, "waves": waves})
    );
    assert_eq!(
        lab.ok(&line("2.0.0")),
        "m.json: no such update, the waves of 0 were set\n"
    );
}

#[test]
fn a_bad_policy_or_start_leaves_the_waves_alone() {
    let lab = with_manifest();
    lab.ok(&add("demo", "1.0.0"));
    let before = lab.read("m.json");
    lab.write(
        "waves.toml",
        "[[waves]]\nstart_after = 'soon'\nfleet_percentage = 1\n",
    );
    let line = [
        "set-waves",
        "m.json",
        "-l",
        "demo",
        "-a",
        "x86_64",
        "-w",
        "waves.toml",
        "-v",
        "1.0.0",
    ];
    lab.updata(&line)
        .says(1, "updata: waves.toml makes no waves: wave 1 at line 2");
    lab.updata(&[&line[..], &["--start-at", "yesterday"]].concat())
        .says(2, "--start-at");
    assert_eq!(lab.read("m.json"), before);
}

#[test]
fn the_ceiling_is_set_for_every_update() {
    let lab = with_manifest();
    lab.ok(&add("demo", "1.0.0"));
    lab.ok(&add("other", "9.0.0"));
    assert_eq!(
        lab.ok(&["set-max-version", "m.json", "-v", "1.5.0"]),
        "m.json: max_version 1.5.0 for 2 update(s)\n"
    );
    for update in manifest(&lab)["updates"].as_array().unwrap() {
        assert_eq!(update["max_version"], "1.5.0");
    }
}

#[test]
fn migrations_are_replaced_whole() {
    let lab = with_manifest();
    let line = ["set-migrations", "-f", "Release.toml", "-t", "m.json"];
    lab.write(
        "Release.toml",
        "version = '1.1.0'\n[migrations]\n'(1.0.0, 1.1.0)' = ['a', 'b']\n",
    );
    assert_eq!(
        lab.ok(&line),
        "m.json: migrations between 1 pair(s) of versions\n"
    );
    assert_eq!(
        manifest(&lab)["migrations"],
        json!({"(1.0.0, 1.1.0)": ["a", "b"]})
    );
    lab.write(
        "Release.toml",
        "version = '1.2.0'\n[migrations]\n'(1.1.0, 1.2.0)' = []\n",
    );
    assert_eq!(lab.json(&line), json!({"file": "m.json", "migrations": 1}));
    assert_eq!(manifest(&lab)["migrations"], json!({"(1.1.0, 1.2.0)": []}));
    lab.write("Release.toml", "[migrations]\n");
    lab.updata(&line)
        .says(1, "updata: Release.toml is not a release file: ");
}

#[test]
fn what_cannot_be_understood_is_a_usage_error() {
    let lab = with_manifest();
    for line in [
        vec!["unheard-of"],
        vec![],
        vec!["init"],
        vec!["add-update", "m.json"],
        add("demo", "1.0"),
        vec!["set-max-version", "m.json", "-v", "latest"],
    ] {
        let run = lab.updata(&line);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{line:?}");
        assert!(run.stderr.contains("--help"), "{run:?}");
    }
    let help = lab.updata(&["add-update", "--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    assert!(
        help.stdout.contains("-h, --hash <TARGET>"),
        "{}",
        help.stdout
    );
}

#[test]
fn an_update_for_an_architecture_that_no_host_has_is_added_with_a_warning() {
    let lab = Lab::new();
    lab.ok(&["init", "m.json"]);
    let line = "add-update m.json -f demo -v 1.0.0 -r r -b b -h h -a";
    let add = |arch: &str| lab.updata(&line.split(' ').chain([arch]).collect::<Vec<_>>());
    assert_eq!(add("aarch64").stderr, "");
    let run = add("mips");
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (
            0,
            "updata: warning: no host is mips: manifests name the architectures x86_64 and aarch64\n"
        )
    );
    assert!(lab.read_text("m.json").contains("\"mips\""));
}
