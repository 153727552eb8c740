//! Migrations that misbehave. They are signed, so nobody expects it of them; they may not take the
//! host with them all the same.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use system_tests::programs::{self, Ran};
use system_tests::settings::{Scripts, Settings};

/// A host on 1.0.0, and 1.1.0 with this one migration.
fn host(script: &str) -> Settings {
    let scripts = Scripts::new().release("1.0.0", "1.1.0", &[("bad", script)]);
    Settings::with_cache("1.0.0", &scripts)
}

/// Boots 1.1.0, which fails, and everything is as before, nothing of the attempt left.
fn fails(settings: &Settings, more: &[&str]) -> Ran {
    let ran = settings.boot_with("1.1.0", more).expect(1);
    assert_eq!(settings.version(), "1.0.0");
    assert_eq!(settings.values()["settings/motd"], "\"hello\"");
    assert_eq!(settings.stores(), 1, "{:?}", settings.names());
    let strays = |name: &String| name.starts_with(".migrator-");
    assert!(
        !settings.names().iter().any(strays),
        "{:?}",
        settings.names()
    );
    ran
}

/// A number of seconds for `sleep` that no other process has, to find it by.
fn marker(salt: u32) -> String {
    format!("{}{salt:03}", 4_000_000 + std::process::id())
}

fn runs(marker: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("the processes");
    processes.flatten().any(|entry| {
        // Most are no processes, and some are gone by now.
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).starts_with(&format!("sleep\0{marker}"))
    })
}

#[test]
fn one_that_hangs_is_ended() {
    let marker = marker(1);
    let settings = host(&format!(
        "cp -r \"$SOURCE\" \"$TARGET\"\necho working\nsleep {marker}"
    ));
    let began = Instant::now();
    let ran = fails(&settings, &["--migration-timeout", "1"]);
    assert!(began.elapsed() < Duration::from_secs(60));
    ran.says("it was ended after 1 seconds; its last words: working");
    assert!(!runs(&marker));
}

#[test]
fn one_that_hides_in_other_sessions_is_ended_with_all_that_it_started() {
    let marker = marker(2);
    let settings = host(&format!(
        "for i in 1 2 3; do (setsid setsid sleep {marker} </dev/null >/dev/null 2>&1 &); done\n\
         sleep {marker}"
    ));
    fails(&settings, &["--migration-timeout", "1"]).says("it was ended after 1 seconds");
    assert!(!runs(&marker));
}

#[test]
fn what_a_good_one_leaves_running_is_ended() {
    let marker = marker(3);
    let settings = host(&format!(
        "cp -r \"$SOURCE\" \"$TARGET\"\n(setsid sleep {marker} &)"
    ));
    let began = Instant::now();
    settings.boot("1.1.0").done();
    assert!(began.elapsed() < Duration::from_secs(60));
    assert!(!runs(&marker));
}

#[test]
fn a_migrator_that_is_killed_takes_its_migration_along_and_the_next_run_tidies_up() {
    let marker = marker(6);
    let settings = host(&format!("cp -r \"$SOURCE\" \"$TARGET\"\nsleep {marker}"));
    let mut child = settings
        .command(&["--migrate-to-version", "1.1.0"])
        .spawn()
        .unwrap();
    until(|| runs(&marker));
    child.kill().unwrap();
    child.wait().unwrap();
    until(|| !runs(&marker));
    assert_eq!(settings.version(), "1.0.0");
    assert!(
        settings
            .names()
            .iter()
            .any(|name| name.starts_with(".migrator-"))
    );
    // The same version again: what was left is removed.
    settings.boot("1.0.0").done();
    assert!(
        !settings
            .names()
            .iter()
            .any(|name| name.starts_with(".migrator-"))
    );
    assert_eq!(settings.stores(), 1);
}

/// Looks again and again, for a minute at most.
fn until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::yield_now();
    }
}

#[test]
fn one_that_writes_too_much_is_ended() {
    let one_file = "mkdir -p \"$TARGET/live\"\nhead -c 10G /dev/zero >\"$TARGET/live/x\"";
    fails(&host(one_file), &[]).says("(forward, step 1 of 1)");
    let many_bytes = "mkdir -p \"$TARGET/live\"\n\
                      for i in {1..1000}; do head -c 10M /dev/zero >\"$TARGET/live/$i\"; done";
    fails(&host(many_bytes), &[]).says("it was ended for writing more than");
    let many_files = "mkdir -p \"$TARGET/live\"\n\
                      for i in {1..1000000}; do : >\"$TARGET/live/$i\"; done";
    fails(&host(many_files), &[]).says("it was ended for writing more than");
}

#[test]
fn one_that_hides_what_it_writes_in_folders_without_end_is_ended_and_leaves_nothing() {
    let script = "name=$(printf %0100d 0)\nmkdir \"$TARGET\"\ncd \"$TARGET\"\n\
                  for i in {1..1500}; do mkdir $name; cd -P $name; done\n\
                  sleep 1000";
    fails(&host(script), &["--migration-timeout", "60"])
        .says("it was ended because what it wrote cannot be counted");
}

#[test]
fn one_that_never_stops_talking_is_listened_to_and_forgotten() {
    let script = "head -c 1G /dev/zero\nhead -c 1G /dev/zero >&2\necho done\necho careful >&2\n\
                  cp -r \"$SOURCE\" \"$TARGET\"";
    let ran = host(script)
        .boot_with("1.1.0", &["--log-level", "debug"])
        .done();
    let ran = ran.says("bytes of its stdout came before these and were not kept");
    let ran = ran.says("WARN migrate_v1.1.0_bad.lz4: ").says("careful");
    assert!(ran.stderr.len() < 2 << 20, "{}", ran.stderr.len());
}

#[test]
fn one_that_asks_the_network_is_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    fails(&host(&script), &[]).says("exit code 1");
    let error = listener.accept().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "somebody called");
}

#[test]
fn one_that_reaches_for_other_files_gets_none() {
    let secret = tempfile::tempdir().unwrap();
    let path = secret.path().join("secret");
    fs::write(&path, "secret").unwrap();
    let path = path.display();
    // Fails with the number of the first thing that it could do.
    let script = format!(
        "can() {{ if eval \"$2\" 2>/dev/null; then echo \"can $1\" >&2; exit \"$1\"; fi; }}\n\
         can 10 'cat {path}'\n\
         can 11 'echo x >>{path}'\n\
         can 12 'echo x >\"$SOURCE/live/settings/motd\"'\n\
         can 13 'mkdir \"$SOURCE/../v9.9.9_aaaaaaaaaaaaaaaa\"'\n\
         can 14 'rm \"$SOURCE/../current\"'\n\
         can 15 'ls \"$SOURCE/..\"'\n\
         can 16 'chroot / true'\n\
         can 17 'mknod null c 1 3'\n\
         can 18 'mount -t tmpfs x .'\n\
         can 19 'hostname x'\n\
         can 20 'read -t 1 line'\n\
         can 21 'kill -9 $PPID && ! kill -0 $PPID'\n\
         can 22 '(ulimit -f unlimited)'\n\
         can 23 '[[ -n ${{HOME:-}}${{CARGO:-}} ]]'\n\
         can 24 'echo {{\\\"exit\\\":0}} >&0'\n\
         cp -r \"$SOURCE\" \"$TARGET\""
    );
    let settings = host(&script);
    let ran = settings.boot_with("1.1.0", &["--log-level", "debug"]);
    if ran.stderr.contains("not confined by Landlock") {
        system_tests::oracle::skip("hostile_migrations", "the kernel's Landlock");
        return;
    }
    ran.done();
    assert_eq!(
        fs::read_to_string(secret.path().join("secret")).unwrap(),
        "secret"
    );
}

/// Without root there is a user namespace, or less of a sandbox; the settings are migrated anyway.
#[test]
fn an_ordinary_user_can_migrate_and_is_alone_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let marker = marker(4);
    let script = format!(
        "cp -r \"$SOURCE\" \"$TARGET\"\n(setsid sleep {marker} &)\n\
         ! (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null"
    );
    let settings = host(&script);
    let give = ["-R", "65534:65534"];
    let given = Command::new("chown")
        .args(give)
        .arg(settings.folder())
        .status();
    // The program may lie where only its owner can go.
    let program = settings.path("migrator");
    fs::copy(programs::path("migrator"), &program).unwrap();
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut command = Command::new("setpriv");
    command.args(user).arg(&program);
    command.args(
        settings
            .command(&["--migrate-to-version", "1.1.0"])
            .get_args(),
    );
    command.args(["--log-level", "debug"]);
    let ran = Command::new("setpriv").args(user).arg("true").status();
    if !given.is_ok_and(|status| status.success()) || !ran.is_ok_and(|status| status.success()) {
        system_tests::oracle::skip("hostile_migrations", "setpriv as root");
        return;
    }
    let ran = Ran::of(&mut command);
    if ran.stderr.contains("not confined by a user namespace") {
        system_tests::oracle::skip("hostile_migrations", "user namespaces of ordinary users");
        return;
    }
    let ran = ran.done();
    assert!(!ran.stderr.contains("not confined"), "{}", ran.stderr);
    assert!(!runs(&marker));
    assert_eq!(settings.version(), "1.1.0");
}

/// A kernel that gives no namespaces.
#[test]
fn without_namespaces_migrations_run_and_are_ended_all_the_same() {
    let bare = |settings: &Settings, more: &[&str]| {
        let set = "for n in user pid net ipc uts; do \
                   echo 0 >/proc/sys/user/max_${n}_namespaces || exit 99; done; exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", set, "sh"]);
        command.arg(programs::path("migrator"));
        command.args(
            settings
                .command(&["--migrate-to-version", "1.1.0"])
                .get_args(),
        );
        Ran::of(command.args(["--log-level", "debug"]).args(more))
    };
    let marker = marker(5);
    let settings = host(&format!(
        "cp -r \"$SOURCE\" \"$TARGET\"\n(setsid sleep {marker} &)\necho done >&2"
    ));
    let ran = bare(&settings, &[]);
    if ran.code == Some(99) || ran.stderr.contains("unshare failed") {
        system_tests::oracle::skip("hostile_migrations", "user namespaces");
        return;
    }
    let ran = ran.done().says("not confined by a process namespace");
    ran.says("not confined by a network namespace");
    assert!(!runs(&marker), "an orphan of a good one");

    let settings = host(&format!("sleep {marker} & sleep {marker}"));
    let ran = bare(&settings, &["--migration-timeout", "1"]).expect(1);
    ran.says("it was ended after 1 seconds");
    assert!(!runs(&marker));
}

#[test]
fn one_that_dies_by_a_signal_is_told_so() {
    fails(&host("echo oh no >&2; kill -SEGV $$"), &[])
        .says("signal 11 ended it; its last words: oh no");
}

#[test]
fn one_that_leaves_no_store_or_one_with_links_has_failed() {
    fails(&host("true"), &[]).says("it left no folder");
    let link = "cp -r \"$SOURCE\" \"$TARGET\"; cd \"$TARGET/live/settings\"\n\
                rm motd; ln -s /etc/passwd motd";
    fails(&host(link), &[]).says("it left no sound store");
    let store = "ln -s \"$SOURCE\" \"$TARGET\"";
    fails(&host(store), &[]).says("it left no folder");
}

#[test]
fn what_is_no_program_or_lacks_its_interpreter_fails() {
    for (content, expected) in [
        (
            &b"#!/no/such/interpreter\n"[..],
            "starting it: it cannot be executed",
        ),
        (b"\x7fELF and nothing else", "(forward, step 1 of 1)"),
        (b"", "it left no folder"),
    ] {
        let scripts = Scripts::new();
        let file = scripts.publisher.path("garbage");
        fs::write(&file, content).unwrap();
        let images = scripts.publisher.images("1.1.0", 4);
        let migration = format!("1.0.0:1.1.0:{}", file.display());
        let arguments = ["--migration", &migration];
        let released = scripts.publisher.release_with("1.1.0", &images, &arguments);
        if content.is_empty() && released.code != Some(0) {
            continue; // Not even published.
        }
        released.done();
        let settings = Settings::new("1.0.0");
        settings.cache(&scripts.publisher);
        fails(&settings, &[]).says(expected);
    }
}
