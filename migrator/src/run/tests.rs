//! Runs that are cut off after every single change of the folder.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use update_metadata::MigrationGraph;

use super::*;
use crate::folder::Disk;
use crate::kept::KeptFile;
use crate::runner::{ExecError, Execution};

/// Carries out so many changes, then none any more: what is left when a run is cut off.
struct Cut {
    left: Cell<usize>,
    log: RefCell<Vec<String>>,
}

impl Cut {
    fn after(left: usize) -> Self {
        Self {
            left: Cell::new(left),
            log: RefCell::new(Vec::new()),
        }
    }

    /// Whether there is one more; if so it is written down.
    fn next(&self, what: &str, path: &Path) -> io::Result<()> {
        let left = self.left.get().checked_sub(1);
        self.left
            .set(left.ok_or_else(|| io::Error::other("cut off"))?);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.log.borrow_mut().push(format!("{what} {name}"));
        Ok(())
    }
}

impl Folder for Cut {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.next("make", path)?;
        Disk.make_dir(path)
    }

    fn write_store(&self, store: &Store, dir: &Path) -> Result<(), DatastoreError> {
        if self.next("write", dir).is_err() {
            // A part of it was written.
            fs::create_dir_all(dir.join("live")).unwrap();
            return Store::read(Path::new("/nowhere")).map(drop);
        }
        Disk.write_store(store, dir)
    }

    fn write_kept(&self, kept: &KeptFile, path: &Path) -> Result<(), KeptError> {
        if self.next("kept", path).is_err() {
            return kept.save(Path::new("/nowhere/at/all"));
        }
        Disk.write_kept(kept, path)
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.next("link to", target)?;
        Disk.symlink(target, link)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.next("rename to", to)?;
        Disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.next("remove", path)?;
        Disk.remove_file(path)
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        if let Err(error) = self.next("remove all of", path) {
            // A part of it is gone.
            let _ = fs::remove_file(path.join("live/settings/motd"));
            return Err(error);
        }
        Disk.remove_tree(path)
    }

    fn replace_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.next("replace", path)?;
        fs::write(path, bytes)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.next("sync", dir)
    }

    fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        self.next("sync all of", dir)
    }
}

/// Appends the migration's name to `motd`, or takes it off; cut off, it leaves half a store.
struct Marks<'a>(&'a Cut);

impl MigrationExec for Marks<'_> {
    fn run(&self, execution: &Execution<'_>) -> Result<(), ExecError> {
        // The store before, unless it is the one in use, and the one to be made.
        let attempt = execution.folder.parent().unwrap();
        assert!(fs::read_dir(attempt).unwrap().count() <= 2);
        let live = execution.target.join("live/settings");
        fs::create_dir_all(&live).unwrap();
        if self.0.next("run", Path::new(execution.name)).is_err() {
            return Err(ExecError::Unknown {
                output: String::new(),
            });
        }
        let motd = fs::read_to_string(execution.source.join("live/settings/motd")).unwrap();
        let motd = motd.trim_matches('"');
        let mark = format!("-{}", execution.name);
        let motd = match execution.direction {
            Direction::Forward => format!("{motd}{mark}"),
            Direction::Backward => motd.strip_suffix(&mark).unwrap().to_owned(),
        };
        fs::write(live.join("motd"), format!("\"{motd}\"")).unwrap();
        Ok(())
    }
}

struct Three;

impl Repository for Three {
    fn graph(&self) -> Result<MigrationGraph, RepositoryError> {
        let json = r#"{"(1.0.0, 1.0.1)": ["a", "b"], "(1.0.1, 1.1.0)": ["c"],
                       "(1.1.0, 2.0.0)": ["d"], "(2.0.0, 2.0.1)": []}"#;
        Ok(serde_json::from_str(json).unwrap())
    }

    fn migration(&self, _name: &str) -> Result<Vec<u8>, RepositoryError> {
        Ok(Vec::new())
    }
}

/// What `motd` is in the settings of each version.
fn expected(version: &str) -> &'static str {
    let table: BTreeMap<_, _> = [
        ("1.0.0", "\"hello\""),
        ("1.0.1", "\"hello-a-b\""),
        ("1.1.0", "\"hello-a-b-c\""),
        ("2.0.0", "\"hello-a-b-c-d\""),
        ("2.0.1", "\"hello-a-b-c-d\""),
    ]
    .into();
    table[version]
}

fn datastore(version: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let names = crate::links::LinkNames::of(&version.parse().unwrap());
    let store = format!("v{version}_aaaaaaaaaaaaaaaa");
    let settings = dir.path().join(&store).join("live/settings");
    fs::create_dir_all(&settings).unwrap();
    fs::write(settings.join("motd"), expected(version)).unwrap();
    for (link, target) in [
        (&names.patch, &store),
        (&names.minor, &names.patch),
        (&names.major, &names.minor),
        (&"current".to_owned(), &names.major),
    ] {
        symlink(target, dir.path().join(link)).unwrap();
    }
    dir
}

fn boot(dir: &Path, to: &str, cut: &Cut) -> Result<Outcome, RunError> {
    boot_with(dir, to, cut, &Marks(cut))
}

fn boot_with(
    dir: &Path,
    to: &str,
    cut: &Cut,
    exec: &dyn MigrationExec,
) -> Result<Outcome, RunError> {
    let options = Options {
        datastore: dir.join("current"),
        places: Places {
            metadata: PathBuf::new(),
            targets: PathBuf::new(),
            root: PathBuf::new(),
        },
        to: to.parse().unwrap(),
        variant: "demo".to_owned(),
        time: Duration::from_secs(1),
    };
    let ports = Ports {
        effects: cut,
        exec,
        open: &|_, _| Ok(Box::new(Three)),
    };
    run(&options, ports)
}

/// The version and `motd` of the settings in use.
fn in_use(dir: &Path) -> (String, String) {
    let layout = Layout::read(&dir.join("current")).unwrap().unwrap();
    let motd = layout.path(&layout.store).join("live/settings/motd");
    (
        layout.version.to_string(),
        fs::read_to_string(motd).unwrap(),
    )
}

#[test]
fn cut_off_anywhere_the_old_or_the_new_settings_are_in_use_and_the_next_run_finishes() {
    for (from, to) in [
        ("1.0.0", "1.0.1"),
        ("1.0.1", "1.1.0"),
        ("1.0.0", "2.0.0"),
        ("2.0.0", "2.0.1"),
        ("1.0.1", "1.0.0"),
        ("2.0.1", "1.0.0"),
        ("1.1.0", "1.0.1"),
    ] {
        let whole = Cut::after(usize::MAX);
        let dir = datastore(from);
        boot(dir.path(), to, &whole).unwrap();
        let count = whole.log.borrow().len();
        assert!(count > 5, "{from} to {to}: {:?}", whole.log);
        for left in 0..count {
            let dir = datastore(from);
            let cut = Cut::after(left);
            let ran = boot(dir.path(), to, &cut);
            let now = in_use(dir.path());
            let place = format!("{from} to {to}, cut after {:?}", cut.log.borrow().last());
            assert!(
                [from, to]
                    .map(|v| (v.to_owned(), expected(v).to_owned()))
                    .contains(&now),
                "{place}: {now:?}"
            );
            if ran.is_ok() {
                assert_eq!(now.0, to, "{place}");
            }
            // The other version may boot next, or the same again.
            for next in [to, from, to] {
                boot(dir.path(), next, &Cut::after(usize::MAX)).unwrap();
                let expected = (next.to_owned(), expected(next).to_owned());
                assert_eq!(in_use(dir.path()), expected, "{place}");
            }
            let layout = Layout::read(&dir.path().join("current")).unwrap().unwrap();
            assert!(layout.strays.is_empty(), "{place}: {:?}", layout.strays);
            assert!(layout.stores.len() <= 2, "{place}: {:?}", layout.stores);
            assert!(layout.dangling.is_empty(), "{place}: {:?}", layout.dangling);
        }
    }
}

/// The way back fails at its first step.
struct NoWayBack<'a>(&'a Cut);

impl MigrationExec for NoWayBack<'_> {
    fn run(&self, execution: &Execution<'_>) -> Result<(), ExecError> {
        match execution.direction {
            Direction::Forward => Marks(self.0).run(execution),
            Direction::Backward => {
                fs::create_dir_all(execution.target.join("live")).unwrap();
                Err(ExecError::Failed {
                    code: 1,
                    output: String::new(),
                })
            }
        }
    }
}

#[test]
fn a_fallback_that_is_cut_off_anywhere_ends_with_the_settings_of_before() {
    let fall_back = |dir: &Path, cut: &Cut| boot_with(dir, "1.0.0", cut, &NoWayBack(cut));
    let updated = || {
        let dir = datastore("1.0.0");
        boot(dir.path(), "2.0.0", &Cut::after(usize::MAX)).unwrap();
        dir
    };
    let whole = Cut::after(usize::MAX);
    let outcome = fall_back(updated().path(), &whole).unwrap();
    let Outcome::Moved(run) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(run.result, Ending::FellBack);
    let ways = ["1.0.0", "2.0.0"].map(|v| (v.to_owned(), expected(v).to_owned()));
    let count = whole.log.borrow().len();
    for left in 0..count {
        let dir = updated();
        let _ = fall_back(dir.path(), &Cut::after(left));
        assert!(ways.contains(&in_use(dir.path())), "cut after {left}");
        fall_back(dir.path(), &Cut::after(usize::MAX)).unwrap();
        assert_eq!(in_use(dir.path()), ways[0], "cut after {left}");
        let layout = Layout::read(&dir.path().join("current")).unwrap().unwrap();
        let newer = layout.store_of(&"2.0.0".parse().unwrap());
        assert!(newer.is_some(), "kept aside, cut after {left}");
    }
}

#[test]
fn a_link_moves_only_after_all_behind_it_is_on_the_disk() {
    let dir = datastore("1.0.0");
    let cut = Cut::after(usize::MAX);
    boot(dir.path(), "2.0.0", &cut).unwrap();
    let log = cut.log.borrow();
    let at = |what: &str| {
        let found = log.iter().position(|line| line.starts_with(what));
        found.unwrap_or_else(|| panic!("{what}: {log:?}"))
    };
    let store = at("rename to v2.0.0_");
    let kept = at("kept v2.0.0_");
    let synced = at("sync all of");
    assert!(kept < store && store < synced, "{log:?}");
    let mut last = synced;
    for link in [
        "rename to v2.0.0",
        "rename to v2.0",
        "rename to v2",
        "rename to current",
    ] {
        let moved = log.iter().position(|line| line == link).unwrap();
        assert!(last < moved, "{link}: {log:?}");
        assert!(log[moved + 1].starts_with("sync "), "{link}: {log:?}");
        last = moved;
    }
    // Old stores go after that.
    let removed = log
        .iter()
        .rposition(|line| line.starts_with("remove"))
        .unwrap();
    assert!(removed < synced || last < removed, "{log:?}");
}
