//! A program that is told to stop: real signals to real processes, each at a known moment. The
//! moment is a request that comes to the server, or an event that the program tells.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use system_tests::host::Host;
use system_tests::publisher::{Images, Publisher};
use system_tests::running::{Ended, Pid, Running, Signal, send};
use system_tests::server::{Fault, Server};
use updog::cancel::{self, Cancel, Signal as Stop};
use updog::config::Config;
use updog::env::{ConfiguredDisk, Env};
use updog::event::{Event, Observer};
use updog::session::machine::Effect;
use updog::session::{self, Choice};

/// Far less than any timeout of a transfer, and far more than a slow machine needs.
const SOON: Duration = Duration::from_secs(8);
const FACTORY: [[u64; 3]; 2] = [[1, 0, 1], [0, 0, 0]];
const VALID: [[u64; 3]; 2] = [[1, 0, 1], [0, 1, 0]];
const ARMED: [[u64; 3]; 2] = [[1, 0, 1], [2, 1, 0]];
/// Large enough that reading it takes longer than a signal does.
const LARGE_BLOCKS: usize = 48 << 8;

struct World {
    publisher: Publisher,
    server: Server,
    host: Host,
    new: Images,
}

impl World {
    fn new() -> Self {
        Self::with(|publisher, version| publisher.images(version, 64))
    }

    /// With root images that are large and compress to almost nothing.
    fn large() -> Self {
        Self::with(|publisher, version| {
            let mut root = vec![0; LARGE_BLOCKS * 4096];
            root[..version.len()].copy_from_slice(version.as_bytes());
            publisher.images_of(version, &root)
        })
    }

    fn with(images: impl Fn(&Publisher, &str) -> Images) -> Self {
        let publisher = Publisher::new();
        let [old, new] = ["1.0.0", "1.1.0"].map(|version| {
            let images = images(&publisher, version);
            publisher.release_with(version, &images, &[]).done();
            images
        });
        let server = Server::start(&publisher.repo());
        let host = Host::new(&publisher, "1.0.0", &old, &server.url());
        Self {
            publisher,
            server,
            host,
            new,
        }
    }

    fn command(&self, verb: &[&str]) -> Command {
        self.host
            .updog_command(&[&["--progress", "json"], verb].concat())
    }

    fn start(&self, verb: &[&str]) -> Running {
        Running::start(&mut self.command(verb))
    }

    /// Starts `verb` and sends `signal` when a path that contains `part` is asked for, before it is
    /// answered.
    fn signal_when_asked(&self, verb: &[&str], part: &str, signal: Signal) -> Ended {
        let (sender, receiver) = mpsc::channel();
        self.server.when(part, move || {
            send(receiver.recv().unwrap(), signal);
        });
        let running = self.start(verb);
        sender.send(running.pid()).unwrap();
        running.end()
    }

    /// What the last attempt came to.
    fn last_attempt(&self) -> Value {
        let history = self.host.updog(&["history", "--json"]).done().json();
        history["attempts"][0].clone()
    }

    fn finishes(&self) {
        self.host.updog(&["update"]).done();
        assert_eq!(self.host.bits(), ARMED);
        for (kind, path) in [
            ("boot", &self.new.boot),
            ("root", &self.new.root),
            ("hash", &self.new.hash),
        ] {
            let image = fs::read(path).unwrap();
            let found = self.host.partition("B", kind);
            let length = image.len().min(found.len());
            assert!(found[..length] == image[..length], "{kind}");
        }
    }
}

/// `code`, the outcome, and the sentence about what is left.
fn assert_interrupted(ended: &Ended, signal: Signal, leaves: &str) {
    let code = 128 + signal.as_raw();
    assert_eq!(ended.status.code(), Some(code), "{ended:#?}");
    assert_eq!(ended.stdout, "");
    let last = ended.last();
    assert_eq!(last["event"], "end");
    assert_eq!(last["outcome"], "interrupted");
    assert_eq!(last["code"], code);
    assert_eq!(
        last["advice"],
        format!("{leaves}; run the command again"),
        "{last}"
    );
    let name = if signal == Signal::INT {
        "SIGINT"
    } else {
        "SIGTERM"
    };
    let error = last["error"].as_str().unwrap();
    assert!(
        error.ends_with(&format!("interrupted by {name}")),
        "{error}"
    );
}

const CLEARED: &str = "set B is not bootable, the running set A is untouched and boots next";

#[test]
fn a_signal_while_something_is_fetched_stops_and_the_rerun_finishes() {
    for (part, by_blocks, is_tried) in [
        ("timestamp.json", true, Some(false)),
        ("targets.json", true, Some(false)),
        ("manifest.json", true, Some(false)),
        // The last that is fetched before it begins, which may come before the signal does.
        ("root.ext4.lz4.map", true, None),
        ("root.ext4", true, Some(true)),
        ("boot.ext4", true, Some(true)),
        ("root.verity", false, Some(true)),
        ("root.ext4", false, Some(true)),
        ("boot.ext4", false, Some(true)),
    ] {
        for signal in [Signal::INT, Signal::TERM] {
            let world = World::new();
            if !by_blocks {
                world.server.hide_block_maps();
            }
            let ended = world.signal_when_asked(&["update"], part, signal);
            assert_interrupted(&ended, signal, CLEARED);
            assert_eq!(world.host.bits(), FACTORY, "{part}");
            assert_eq!(world.host.next(), "A");
            let attempt = world.last_attempt();
            if is_tried == Some(true) {
                assert_eq!(attempt["result"], "failed", "{part}");
                let reason = attempt["reason"].as_str().unwrap();
                assert!(reason.contains("interrupted by SIG"), "{reason}");
            } else if is_tried == Some(false) {
                assert_eq!(attempt, Value::Null, "{part}: nothing was tried");
            }
            world.server.forgive();
            world.finishes();
        }
    }
}

#[test]
fn a_plan_that_is_interrupted_is_no_refusal() {
    let world = World::new();
    for part in ["timestamp.json", "root.ext4.lz4.map"] {
        let ended = world.signal_when_asked(&["plan"], part, Signal::TERM);
        assert_interrupted(&ended, Signal::TERM, "nothing was changed on the disk");
    }
}

#[test]
fn a_set_that_waits_to_be_booted_is_told_of_as_what_it_is() {
    let world = World::new();
    world.host.updog(&["prepare"]).done();
    let waits = "set B holds a whole update that does not boot next, the running set A is untouched \
                 and boots next";
    let ended = world.signal_when_asked(&["update"], "timestamp.json", Signal::INT);
    assert_interrupted(&ended, Signal::INT, waits);
    assert_eq!(world.host.bits(), VALID);
    world.host.updog(&["update-apply"]).done();
    let ended = world.signal_when_asked(&["update"], "timestamp.json", Signal::INT);
    assert_interrupted(
        &ended,
        Signal::INT,
        "set B boots next, the running set A is untouched",
    );
    assert_eq!(world.host.bits(), ARMED);
}

#[test]
fn whatever_is_waited_for_a_signal_ends_it_soon() {
    for (fault, part, wait) in [
        (Fault::Silence, "timestamp.json", "server"),
        (Fault::Silence, "root.ext4", "server"),
        (Fault::StallAfter(40_000), "root.ext4", "data"),
        (Fault::StallAfter(100), "targets.json", "data"),
        (Fault::Status(503), "timestamp.json", "pause"),
        (Fault::Status(503), "root.ext4", "pause"),
    ] {
        let world = World::new();
        world.server.fault(part, fault.clone(), usize::MAX);
        let mut running = world.start(&["update"]);
        running.until(&[("event", "waiting"), ("for", wait)]);
        let sent = Instant::now();
        running.signal(Signal::TERM);
        let ended = running.end();
        assert!(
            sent.elapsed() < SOON,
            "{part} {fault:?}: {:?}",
            sent.elapsed()
        );
        assert_interrupted(&ended, Signal::TERM, CLEARED);
        assert_eq!(world.host.bits(), FACTORY);
    }
}

#[test]
fn a_signal_while_images_are_read_back_stops_before_the_set_is_valid() {
    let world = World::large();
    let mut running = world.start(&["update"]);
    running.until(&[("step", "read_back"), ("image", "root")]);
    running.signal(Signal::INT);
    let ended = running.end();
    assert_interrupted(&ended, Signal::INT, CLEARED);
    assert_eq!(world.host.bits(), FACTORY);
    world.finishes();
}

#[test]
fn a_signal_while_an_image_is_written_stops_between_two_blocks() {
    for step in ["assemble", "write"] {
        let world = World::large();
        if step == "write" {
            world.server.hide_block_maps();
        }
        let mut running = world.start(&["prepare"]);
        running.until(&[("step", step), ("image", "root")]);
        running.until(&[("event", "progress")]);
        running.signal(Signal::TERM);
        let ended = running.end();
        assert_interrupted(&ended, Signal::TERM, CLEARED);
        assert_eq!(world.host.bits(), FACTORY);
        assert_eq!(world.last_attempt()["result"], "failed");
        world.server.forgive();
        world.finishes();
    }
}

#[test]
fn a_verification_that_is_interrupted_changes_nothing() {
    let world = World::large();
    world.host.updog(&["prepare"]).done();
    let mut running = world.start(&["verify"]);
    running.until(&[("step", "verify"), ("image", "root")]);
    running.signal(Signal::TERM);
    let ended = running.end();
    assert_interrupted(
        &ended,
        Signal::TERM,
        "set B holds a whole update that does not boot next, the running set A is untouched and \
         boots next",
    );
    assert_eq!(world.host.bits(), VALID);
    world.host.updog(&["verify"]).done();
}

#[test]
fn fetch_and_mirror_leave_no_part_of_a_file() {
    let world = World::new();
    let out = world.host.path("out");
    let text = out.display().to_string();
    let name = format!("{}-{}-1.1.0-root.ext4.lz4", "demo", std::env::consts::ARCH);
    fs::create_dir(&out).unwrap();
    let file = out.join("root").display().to_string();
    for (verb, leaves) in [
        (
            &["fetch", &name, "--output", &file][..],
            "no part of the file was left behind",
        ),
        (
            &["mirror", "--out", &text, "--now"],
            "what is in the folder already is kept",
        ),
    ] {
        let ended = world.signal_when_asked(verb, "1.1.0-root.ext4", Signal::INT);
        assert_interrupted(&ended, Signal::INT, leaves);
        assert_eq!(parts(&out), 0, "{verb:?}");
        world.host.updog(verb).done();
    }
}

/// Unfinished files below `folder`.
fn parts(folder: &Path) -> usize {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let below = if path.is_dir() { parts(&path) } else { 0 };
            below + usize::from(name.starts_with('.'))
        })
        .sum()
}

#[test]
fn a_process_that_is_killed_leaves_what_the_next_one_finds_and_removes() {
    for part in ["timestamp.json", "manifest.json", "root.ext4", "boot.ext4"] {
        let world = World::new();
        let temporary = tempfile::tempdir().unwrap();
        let (sender, receiver) = mpsc::channel();
        world
            .server
            .when(part, move || send(receiver.recv().unwrap(), Signal::KILL));
        let mut command = world.command(&["update"]);
        let running = Running::start(command.env("TMPDIR", temporary.path()));
        sender.send(running.pid()).unwrap();
        let ended = running.end();
        assert_eq!(ended.status.signal(), Some(9), "{part}");
        assert_eq!(world.host.bits(), FACTORY, "{part}");
        assert_eq!(world.host.next(), "A");
        world.finishes();
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
        assert_eq!(parts(&world.host.path("state")), 0, "{part}");
    }
}

#[test]
fn a_second_interrupt_ends_the_process_at_once() {
    let world = World::new();
    // What cannot be interrupted: a reboot that is under way.
    let fifo = world.host.path("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let script = format!("echo asked; read line < '{}'", fifo.display());
    world.host.configure(&format!(
        "reboot_command = [\"sh\", \"-c\", \"{script}\"]\n"
    ));
    world.host.updog(&["prepare"]).done();
    let mut command = world.host.updog_command(&["update-apply", "--reboot"]);
    let mut child = command
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while line.trim() != "asked" {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut stderr, &mut line).unwrap() > 0);
    }
    let pid = Pid::from_child(&child);
    send(pid, Signal::INT);
    while is_pending(child.id()) {
        std::thread::yield_now();
    }
    assert!(child.try_wait().unwrap().is_none(), "one is not enough");
    send(pid, Signal::INT);
    let sent = Instant::now();
    let mut ended = None;
    while ended.is_none() && sent.elapsed() < SOON {
        ended = child.try_wait().unwrap();
        std::thread::yield_now();
    }
    // The command goes on: it is not ours to stop.
    let mut pipe = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    pipe.write_all(b"go\n").unwrap();
    assert_eq!(ended.and_then(|status| status.signal()), Some(2));
    assert_eq!(world.host.bits(), ARMED);
}

/// Whether a signal has been sent to a process and not been handled yet.
fn is_pending(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .filter(|line| line.starts_with("SigPnd") || line.starts_with("ShdPnd"))
        .any(|line| !line.ends_with("0000000000000000"))
}

#[test]
fn the_signal_with_which_init_stops_us_does_not_stop_the_reboot() {
    for signal in ["TERM", "INT"] {
        let world = World::new();
        let asked = world.host.path("asked");
        let script = format!("kill -{signal} $PPID; touch '{}'", asked.display());
        world.host.configure(&format!(
            "reboot_command = [\"sh\", \"-c\", \"{script}\"]\n"
        ));
        world.host.updog(&["update", "--reboot"]).done();
        assert!(asked.exists());
        assert_eq!(world.host.bits(), ARMED);
    }
}

#[test]
fn a_reboot_command_that_is_killed_has_not_rebooted() {
    let world = World::new();
    world
        .host
        .configure("reboot_command = [\"sh\", \"-c\", \"kill -KILL $$\"]\n");
    world
        .host
        .updog(&["update", "--reboot"])
        .expect(1)
        .says("did not start the reboot: signal: 9")
        .says("any reboot takes the new set");
    assert_eq!(world.host.bits(), ARMED);
    world
        .host
        .configure("reboot_command = [\"/no/such/program\"]\n");
    world
        .host
        .updog(&["update-apply", "--reboot"])
        .expect(1)
        .says("running '/no/such/program' to reboot: No such file")
        .says("any reboot takes the new set");
}

#[test]
fn what_has_nothing_to_do_does_not_reboot() {
    let world = World::new();
    let asked = world.host.path("asked");
    world.host.runs("1.1.0");
    world.host.configure(&format!(
        "reboot_command = [\"touch\", \"{}\"]\n",
        asked.display()
    ));
    world.host.updog(&["update", "--reboot"]).done();
    world.host.updog(&["update-apply", "--reboot"]).expect(4);
    assert!(!asked.exists());
}

/// Says stop when an effect begins, and remembers what began.
struct StopAt {
    effect: Effect,
    cancel: Cancel,
    began: Mutex<Vec<Effect>>,
}

impl Observer for StopAt {
    fn observe(&self, event: &Event) {
        if let Event::Effect(effect) = event {
            self.began.lock().unwrap().push(*effect);
            if *effect == self.effect {
                self.cancel.cancel(Stop::Terminate);
            }
        }
    }
}

/// No process can be signalled at exactly this moment; a run can be told.
#[test]
fn a_table_write_is_finished_and_the_next_effect_not_begun() {
    for (effect, bits, stops) in [
        (Effect::Clear, FACTORY, true),
        (Effect::MarkValid, VALID, true),
        (Effect::PruneMigrations, VALID, true),
        (Effect::Arm, ARMED, false),
    ] {
        let world = World::new();
        let config = Config::load(&world.host.path("updog.toml")).unwrap();
        let cancel = Cancel::default();
        let observer = Arc::new(StopAt {
            effect,
            cancel: cancel.clone(),
            began: Mutex::default(),
        });
        let env = Env {
            disk: Box::new(ConfiguredDisk {
                disk: config.disk.clone(),
                active: config.active,
            }),
            config,
            now: updog::clock::now(),
            boot_id: "boot".into(),
            observer: observer.clone(),
            cancel,
        };
        let result = session::update(&env, &Choice::default());
        assert_eq!(result.is_err(), stops, "{effect:?}");
        if let Err(error) = result {
            assert!(cancel::find(&error).is_some(), "{error:?}");
        } else {
            // Armed, and told to stop before the reboot.
            let error = session::reboot(&env).unwrap_err();
            assert!(cancel::find(&error).is_some(), "{error:?}");
        }
        assert_eq!(world.host.bits(), bits, "{effect:?}");
        let began = observer.began.lock().unwrap().clone();
        let after = match effect {
            // What was replaced is removed all the same.
            Effect::MarkValid => Effect::PruneMigrations,
            effect => effect,
        };
        assert_eq!(began.last(), Some(&after), "{effect:?}");
        world.finishes();
        drop(world.publisher);
    }
}
