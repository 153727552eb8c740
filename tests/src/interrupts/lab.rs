//! The publisher, the server and the host on which updates are interrupted.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use updog::boot_id;
use updog::cancel::{self, Cancel, Signal as Stop};
use updog::config::Config;
use updog::env::{ConfiguredDisk, Env};
use updog::event::{Event, Observer, Unobserved};
use updog::session::{self, Choice};

use super::{Blow, Length, Moment, Report, Resources};
use crate::host::Host;
use crate::publisher::{Images, Publisher};
use crate::running::{self, Running, Signal};
use crate::server::Server;

/// Blocks of a root image: more than one piece of a write.
const ROOT_BLOCKS: usize = 700;
/// The two releases that take turns in set B.
const VERSIONS: [&str; 2] = ["1.1.0", "1.2.0"];
/// Descriptors and threads of an ended run are given back by threads of their own.
const SETTLE: Duration = Duration::from_secs(20);

pub(super) struct Lab {
    _publisher: Publisher,
    server: Server,
    host: Host,
    images: [Images; 2],
    /// Where programs put temporary files.
    temporary: TempDir,
    /// What set A holds from the factory.
    old: Images,
}

/// How an interrupted run ended.
struct Interrupted {
    stopped: bool,
    effect: String,
    took: Duration,
}

impl Lab {
    pub(super) fn new() -> Self {
        let publisher = Publisher::new();
        let release = |version| {
            let images = publisher.images(version, ROOT_BLOCKS);
            publisher.release_with(version, &images, &[]).done();
            images
        };
        let old = release("1.0.0");
        let images = VERSIONS.map(release);
        let server = Server::start(&publisher.repo());
        let host = Host::new(&publisher, "1.0.0", &old, &server.url());
        Self {
            _publisher: publisher,
            server,
            host,
            images,
            temporary: tempfile::tempdir().expect("a temporary folder"),
            old,
        }
    }

    /// A run that nobody interrupts.
    pub(super) fn clean(&self, turn: usize) -> Length {
        let env = self.env(Arc::new(Unobserved), Cancel::default());
        session::update(&env, &choice(turn)).expect("a whole update");
        self.server.seen();
        let ended = self.start(turn).end();
        assert!(ended.status.success(), "{ended:#?}");
        self.check_written(turn).expect("a whole update");
        Length {
            events: ended.events.len(),
            requests: self.server.seen().len(),
        }
    }

    pub(super) fn turn(
        &self,
        turn: usize,
        blow: Blow,
        moment: Moment,
        report: &mut Report,
    ) -> Result<(), String> {
        let interrupted = match blow {
            Blow::Told => self.tell(turn, moment)?,
            Blow::Interrupt => self.blow(turn, moment, Signal::INT, Some(130))?,
            Blow::Terminate => self.blow(turn, moment, Signal::TERM, Some(143))?,
            Blow::Kill => self.blow(turn, moment, Signal::KILL, None)?,
        };
        let row = report.rows.entry(blow).or_default();
        row.runs += 1;
        row.slowest = row.slowest.max(interrupted.took);
        if interrupted.stopped {
            row.stopped += 1;
            *report.moments.entry(interrupted.effect).or_default() += 1;
        } else {
            row.finished += 1;
        }
        self.check_bootable(turn)?;

        if blow == Blow::Told {
            let env = self.env(Arc::new(Unobserved), Cancel::default());
            session::update(&env, &choice(turn)).map_err(|error| updog::exit::chain(&error))?;
        } else {
            let ended = self.start(turn).end();
            if !ended.status.success() {
                return Err(format!("the rerun failed: {:#?}", ended.events));
            }
        }
        self.check_written(turn)?;
        let files = self.files();
        if files != report.before.files {
            let more: Vec<_> = files.difference(&report.before.files).collect();
            let less: Vec<_> = report.before.files.difference(&files).collect();
            return Err(format!("files are left over {more:?}, or missing {less:?}"));
        }
        Ok(())
    }

    fn start(&self, turn: usize) -> Running {
        let version = VERSIONS[turn % 2];
        let arguments = ["--progress", "json", "update", "--image", version];
        let mut command = self.host.updog_command(&arguments);
        Running::start(command.env("TMPDIR", self.temporary.path()))
    }

    /// Runs `hook` when the request of `moment` comes, if it is one.
    fn when(&self, moment: Moment, hook: impl FnOnce() + Send + 'static) {
        self.server.forget_hooks();
        let Moment::Request(request) = moment else {
            return;
        };
        for _ in 1..request {
            self.server.when("", || {});
        }
        self.server.when("", hook);
    }

    /// Sends `signal` to an update at `moment`.
    fn blow(
        &self,
        turn: usize,
        moment: Moment,
        signal: Signal,
        code: Option<i32>,
    ) -> Result<Interrupted, String> {
        let (pid, of_whom) = channel();
        let (tell, told) = channel();
        let send = move || {
            // Nobody is left to be sent anything if the turn is over.
            if let Ok(pid) = of_whom.recv() {
                let _ = tell.send(Instant::now());
                running::send(pid, signal);
            }
        };
        let mut running;
        let mut effect = String::from("before the first");
        let mut see = |event: &serde_json::Value| {
            if let Some(name) = event["effect"].as_str() {
                name.clone_into(&mut effect);
            }
        };
        if let Moment::Event(event) = moment {
            running = self.start(turn);
            pid.send(running.pid()).expect("held below");
            for _ in 0..event {
                let Some(event) = running.event() else { break };
                see(&event);
            }
            send();
        } else {
            self.when(moment, send);
            running = self.start(turn);
            pid.send(running.pid()).expect("held by the server");
        }
        let ended = running.end();
        let took = told
            .try_recv()
            .map_or(Duration::ZERO, |told| told.elapsed());
        ended.events.iter().for_each(see);
        let stopped = match ended.status.code() {
            Some(0) => false,
            None if ended.status.signal() == Some(signal.as_raw()) => true,
            found if found == code => true,
            _ => return Err(format!("{:?}: {:#?}", ended.status, ended.events)),
        };
        Ok(Interrupted {
            stopped,
            effect,
            took,
        })
    }

    /// Tells an update in this process to stop at `moment`.
    fn tell(&self, turn: usize, moment: Moment) -> Result<Interrupted, String> {
        let cancel = Cancel::default();
        let stopper = Arc::new(Stopper {
            cancel: cancel.clone(),
            left: AtomicUsize::new(match moment {
                Moment::Event(event) => event,
                Moment::Request(_) => usize::MAX,
            }),
            effect: Mutex::new(String::from("before the first")),
            told: Mutex::default(),
        });
        let asked = stopper.clone();
        self.when(moment, move || asked.stop());
        let env = self.env(stopper.clone(), cancel);
        let result = session::update(&env, &choice(turn));
        let told = *stopper.told.lock().expect("no panic");
        let took = told.map(|told| told.elapsed()).unwrap_or_default();
        let effect = stopper.effect.lock().expect("no panic").clone();
        match result {
            Ok(_) => Ok(Interrupted {
                stopped: false,
                effect,
                took,
            }),
            Err(error) if cancel::find(&error).is_some() => Ok(Interrupted {
                stopped: true,
                effect,
                took,
            }),
            Err(error) => Err(updog::exit::chain(&error)),
        }
    }

    fn env(&self, observer: Arc<dyn Observer>, cancel: Cancel) -> Env {
        let config = Config::load(&self.host.path("updog.toml")).expect("a configuration");
        Env {
            disk: Box::new(ConfiguredDisk {
                disk: config.disk.clone(),
                active: config.active,
            }),
            config,
            now: updog::clock::now(),
            boot_id: boot_id::read(),
            observer,
            cancel,
        }
    }

    /// The set that boots next is a whole one.
    fn check_bootable(&self, turn: usize) -> Result<(), String> {
        let [_, other] = self.host.bits();
        self.check_images("A", &self.old)?;
        match self.host.next().as_str() {
            "A" if other == [0, 0, 0] => Ok(()),
            "A" | "B" => self.check_written_images(turn).or_else(|why| {
                // It was not given up yet.
                self.check_written_images(turn + 1).map_err(|_| why)
            }),
            next => Err(format!("{next} boots next")),
        }
    }

    fn check_written(&self, turn: usize) -> Result<(), String> {
        let bits = self.host.bits();
        if self.host.next() != "B" || bits[1] != [2, 1, 0] {
            return Err(format!("not armed after the rerun: {bits:?}"));
        }
        self.check_written_images(turn)
    }

    fn check_written_images(&self, turn: usize) -> Result<(), String> {
        self.check_images("B", &self.images[turn % 2])
    }

    fn check_images(&self, set: &str, images: &Images) -> Result<(), String> {
        for (kind, path) in [
            ("boot", &images.boot),
            ("root", &images.root),
            ("hash", &images.hash),
        ] {
            let image = fs::read(path).expect("an image");
            if self.host.partition(set, kind)[..image.len()] != image {
                return Err(format!("set {set} does not hold its {kind} image"));
            }
        }
        Ok(())
    }

    fn files(&self) -> BTreeSet<PathBuf> {
        let mut files = BTreeSet::new();
        walk(&self.host.path(""), &mut files);
        walk(self.temporary.path(), &mut files);
        files
    }

    /// Waits until threads and descriptors are no more than `wanted`, or it is clear that they
    /// stay.
    pub(super) fn resources(&self, wanted: Option<&Resources>) -> Resources {
        let count = |of: &str| fs::read_dir(of).map_or(0, Iterator::count);
        let start = Instant::now();
        let mut lowest = (usize::MAX, usize::MAX);
        while start.elapsed() < SETTLE {
            let (descriptors, threads) = (count("/proc/self/fd"), count("/proc/self/task"));
            lowest = (lowest.0.min(descriptors), lowest.1.min(threads));
            let enough = wanted.map(|wanted| (wanted.descriptors, wanted.threads));
            match enough {
                Some(enough) if lowest.0 <= enough.0 && lowest.1 <= enough.1 => break,
                // What is counted first has to be settled too; a second of quiet shows it.
                None if start.elapsed() > Duration::from_secs(1) => break,
                _ => std::thread::yield_now(),
            }
        }
        let mut state = BTreeSet::new();
        walk(&self.host.path("state"), &mut state);
        Resources {
            files: self.files(),
            state_bytes: state
                .iter()
                .filter_map(|path| fs::metadata(path).ok())
                .filter(fs::Metadata::is_file)
                .map(|found| found.len())
                .sum(),
            descriptors: lowest.0,
            threads: lowest.1,
        }
    }
}

fn choice(turn: usize) -> Choice {
    let version = VERSIONS[turn % 2].parse().expect("a version");
    Choice {
        forced: Some(version),
        ..Choice::default()
    }
}

/// Counts events, and says stop at one.
struct Stopper {
    cancel: Cancel,
    left: AtomicUsize,
    effect: Mutex<String>,
    told: Mutex<Option<Instant>>,
}

impl Observer for Stopper {
    fn observe(&self, event: &Event) {
        if let Event::Effect(effect) = event
            && self.cancel.check().is_ok()
        {
            let name = serde_json::to_value(effect).expect("a name");
            let name = name.as_str().unwrap_or_default();
            name.clone_into(&mut self.effect.lock().expect("no panic"));
        }
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.stop();
        }
    }
}

impl Stopper {
    fn stop(&self) {
        *self.told.lock().expect("no panic") = Some(Instant::now());
        self.cancel.cancel(Stop::Terminate);
    }
}

/// Everything below `folder`.
fn walk(folder: &Path, into: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, into);
        }
        into.insert(path);
    }
}
