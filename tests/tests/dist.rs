//! The units of `dist/`, as systemd itself reads them, and as the programs that they start need them.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use system_tests::host::Host;
use system_tests::oracle;
use system_tests::programs;
use system_tests::server::Server;
use system_tests::settings::{Scripts, Settings};

const SERVICES: [(&str, &str); 6] = [
    ("signpost", "mark-successful-boot.service"),
    ("signpost", "has-boot-ever-succeeded.service"),
    ("updog", "updog-check.service"),
    ("updog", "updog-update.service"),
    ("migrator", "migrator.service"),
    ("updog", "updog-api.service"),
];
/// What else has to be there and to be right for these.
const OTHERS: [&str; 5] = [
    "updog-api.socket",
    "updog-check.timer",
    "updog-update.timer",
    "boot-complete.target",
    "emergency.service",
];
/// What `systemd-analyze security` may give a service, of 10.
const MOST_EXPOSED: f64 = 2.5;

fn dist(package: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(package)
        .join("dist")
}

/// The values of `key` in the unit, in their order, with continued lines joined.
fn values(package: &str, unit: &str, key: &str) -> Vec<String> {
    let text = fs::read_to_string(dist(package).join(unit)).unwrap();
    text.replace("\\\n", " ")
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(str::to_owned)
        .collect()
}

/// An image, as far as systemd looks: its own units, ours, and programs that could be started.
struct Image {
    root: tempfile::TempDir,
    analyze: PathBuf,
}

impl Image {
    fn new(test: &str) -> Option<Self> {
        let analyze = oracle::find(test, "systemd-analyze")?;
        let image = Self {
            root: tempfile::tempdir().unwrap(),
            analyze,
        };
        let system = image.path("usr/lib/systemd");
        fs::create_dir_all(&system).unwrap();
        copy("/usr/lib/systemd/system", &system);
        fs::create_dir_all(image.path("usr/bin")).unwrap();
        for program in ["signpost", "updog", "migrator", "sleep"] {
            let path = image.path("usr/bin").join(program);
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for package in ["signpost", "updog", "migrator"] {
            copy(dist(package).join("."), &system.join("system"));
        }
        Some(image)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Everything that systemd finds wrong with the units.
    fn faults(&self) -> String {
        let output = Command::new(&self.analyze)
            .args(["verify", "--man=no", "--root"])
            .arg(self.root.path())
            .args(SERVICES.map(|(_, service)| service))
            .args(OTHERS)
            .output()
            .unwrap();
        let mut said = text(&output);
        if !output.status.success() {
            said.push_str(&output.status.to_string());
        }
        said
    }
}

fn copy(from: impl AsRef<Path>, to: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from.as_ref())
        .arg(to)
        .status();
    assert!(copied.unwrap().success());
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|part| String::from_utf8_lossy(part))
        .concat()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let Some(image) = Image::new("systemd_finds_nothing_wrong_with_the_units") else {
        return;
    };
    assert_eq!(image.faults(), "");
}

/// Without this, the test above could be one that never fails.
#[test]
fn systemd_would_find_what_is_wrong() {
    let Some(image) = Image::new("systemd_would_find_what_is_wrong") else {
        return;
    };
    let cases = [
        (
            "mark-successful-boot.service",
            "RemainAfterExit",
            "RemainsAfterExit",
        ),
        ("updog-check.service", "/usr/bin/updog", "/usr/bin/updig"),
        ("updog-check.timer", "00/6:00:00", "26:00:00"),
        ("updog-api.socket", "SocketMode=0660", "SocketMode=rw"),
        ("updog-api.service", "WatchdogSec=1min", "WatchdogSec=often"),
        ("boot-complete.target.d/50-fall-back.conf", "10min", "soon"),
    ];
    for (unit, right, wrong) in cases {
        let path = image.path("usr/lib/systemd/system").join(unit);
        let good = fs::read_to_string(&path).unwrap();
        assert!(good.contains(right), "{unit}");
        fs::write(&path, good.replace(right, wrong)).unwrap();
        assert_ne!(image.faults(), "", "{wrong} in {unit}");
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn services_are_exposed_to_little() {
    let Some(image) = Image::new("services_are_exposed_to_little") else {
        return;
    };
    for (_, service) in SERVICES {
        let output = Command::new(&image.analyze)
            .args(["security", "--offline=true", "--no-pager", "--root"])
            .arg(image.root.path())
            .arg(service)
            .output()
            .unwrap();
        let said = text(&output);
        let exposure: f64 = said
            .lines()
            .find_map(|line| {
                line.split_once("Overall exposure level for")?
                    .1
                    .split_once(": ")
            })
            .and_then(|(_, rest)| rest.split(' ').next())
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("{service}: {said}"));
        assert!(exposure <= MOST_EXPOSED, "{service}: {said}");
    }
}

/// A target that only orders: it is there if something else asks for it, so that wanting a unit from it
/// starts nothing.
const PASSIVE: [&str; 4] = [
    "local-fs-pre.target",
    "network.target",
    "network-pre.target",
    "time-sync.target",
];

#[test]
fn what_is_enabled_is_wanted_by_what_every_boot_reaches() {
    for (package, service) in SERVICES {
        for key in ["WantedBy", "RequiredBy"] {
            for targets in values(package, service, key) {
                for target in targets.split_whitespace() {
                    assert!(!PASSIVE.contains(&target), "{service}: {target}");
                }
            }
        }
    }
}

#[test]
fn no_output_goes_to_a_folder_that_systemd_makes_only_after_it() {
    for (package, service) in SERVICES {
        for folder in values(package, service, "RuntimeDirectory") {
            for output in values(package, service, "StandardOutput") {
                assert!(
                    !output.contains(&format!(":/run/{folder}/")),
                    "{service}: {output}"
                );
            }
        }
    }
}

#[test]
fn the_programs_know_the_arguments_that_the_units_give_them() {
    for (package, service) in SERVICES {
        let program = match package {
            "signpost" => signpost::cli::command(),
            "updog" => updog::cli::command(),
            _ => migrator::cli::command(),
        };
        for line in values(package, service, "ExecStart") {
            let parsed = program
                .clone()
                .try_get_matches_from(line.split_whitespace());
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }
}

/// The system calls in a unit's `SystemCallFilter=` lines, as systemd adds them up.
fn allowed(analyze: &Path, package: &str, service: &str) -> BTreeSet<String> {
    let mut calls = members(analyze, "@default");
    for line in values(package, service, "SystemCallFilter") {
        let (names, is_denied) = match line.strip_prefix('~') {
            Some(names) => (names, true),
            None => (line.as_str(), false),
        };
        for name in names.split_whitespace() {
            for call in members(analyze, name) {
                if is_denied {
                    calls.remove(&call);
                } else {
                    calls.insert(call);
                }
            }
        }
    }
    calls
}

/// The system calls of a group, and of the groups in it.
fn members(analyze: &Path, name: &str) -> BTreeSet<String> {
    if !name.starts_with('@') {
        return BTreeSet::from([name.to_owned()]);
    }
    let output = Command::new(analyze)
        .args(["syscall-filter", "--no-pager", name])
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {}", text(&output));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .skip(1)
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .flat_map(|line| members(analyze, line))
        .collect()
}

/// The system calls that the command and all that it starts make, and how it ended.
fn calls_of(strace: &Path, trace: &Path, command: &Command) -> (BTreeSet<String>, Output) {
    let output = Command::new(strace)
        .args(["-f", "-qq", "-e", "signal=none", "-o"])
        .arg(trace)
        .arg(command.get_program())
        .args(command.get_args())
        .output()
        .unwrap();
    let calls = fs::read_to_string(trace)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .map(|(call, _)| call.to_owned())
        .filter(|call| call.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .collect();
    (calls, output)
}

#[test]
fn the_programs_make_no_system_call_that_their_units_forbid() {
    let test = "the_programs_make_no_system_call_that_their_units_forbid";
    let (Some(analyze), Some(strace)) = (
        oracle::find(test, "systemd-analyze"),
        oracle::find(test, "strace"),
    ) else {
        return;
    };
    let copies = "cp -r \"$SOURCE\" \"$TARGET\"\n";
    let scripts = Scripts::new().release("1.0.0", "1.1.0", &[("copies", copies)]);
    let publisher = &scripts.publisher;
    let server = Server::start(&publisher.repo());
    let settings = Settings::new("1.0.0");
    settings.cache(publisher);
    let host = Host::new(
        publisher,
        "1.0.0",
        &publisher.images("1.0.0", 64),
        &server.url(),
    );
    host.has_settings("1.0.0", &[("motd", "\"hello\"")]);

    let signpost = |verb: &str| {
        let mut command = Command::new(programs::path("signpost"));
        command.arg("--disk").arg(host.disk());
        command.args(["--active", "A", verb]);
        command
    };
    let runs = [
        (SERVICES[0], signpost("mark-successful-boot")),
        (SERVICES[1], signpost("has-boot-ever-succeeded")),
        (SERVICES[2], host.updog_command(&["check-update"])),
        // The migrations are rehearsed.
        (SERVICES[3], host.updog_command(&["update"])),
        (
            SERVICES[4],
            settings.command(&["--migrate-to-version", "1.1.0"]),
        ),
    ];
    for ((package, service), command) in runs {
        let (calls, output) = calls_of(&strace, &host.path("trace"), &command);
        assert!(output.status.success(), "{service}: {}", text(&output));
        assert!(calls.contains("execve"), "{calls:?}");
        let allowed = allowed(&analyze, package, service);
        let forbidden: Vec<&String> = calls.difference(&allowed).collect();
        assert!(forbidden.is_empty(), "{service}: {forbidden:?}");
    }
    assert_eq!(settings.version(), "1.1.0");
}
