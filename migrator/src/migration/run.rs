//! The `main` of a migration's program.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use snafu::{ResultExt, Snafu};

use super::arguments::{Arguments, USAGE};
use super::os_release::{self, OS_RELEASE};
use super::{Direction, Migration, MigrationError, apply};
use crate::datastore::{DatastoreError, Store};

const FAILED: u8 = 1;
const USAGE_CODE: u8 = 2;

/// Why a migration did not run to its end.
#[derive(Debug, Snafu)]
enum RunError {
    #[snafu(display("reading the settings at {}", path.display()))]
    Source {
        path: PathBuf,
        source: DatastoreError,
    },
    #[snafu(display("migrating {direction}"))]
    Migrate {
        direction: Direction,
        source: MigrationError,
    },
    #[snafu(display("writing the settings to {}", path.display()))]
    Target {
        path: PathBuf,
        source: DatastoreError,
    },
}

/// Runs `migration` as this program's command line says: reads the store at `--source-datastore`,
/// migrates it `--forward` or `--backward`, and writes the outcome as a new store at
/// `--target-datastore`. The source is only read.
///
/// What the booting image's `/usr/lib/os-release` says is in the data as `os.pretty_name`,
/// `os.variant_id`, `os.version_id`, `os.build_id` and `os.arch`, and in the outcome.
///
/// The code is 0 when it is done, 1 when it failed, and 2 when the command line is wrong. Errors go
/// to stderr, and so does a word about each file in the store that is no setting. The outcome is not
/// synced: who runs the migration does that, once for all.
#[allow(clippy::needless_pass_by_value)] // `main` has nothing else to do with it
pub fn run(migration: impl Migration) -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            say(&format!("{wrong}\n{USAGE}"));
            return ExitCode::from(USAGE_CODE);
        }
    };
    match perform(&migration, &arguments, Path::new(OS_RELEASE), &say) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&chain(&error));
            ExitCode::from(FAILED)
        }
    }
}

/// Words that nobody hears are no reason to fail.
fn say(words: &str) {
    let _ = writeln!(io::stderr(), "migration: {words}");
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn perform(
    migration: &impl Migration,
    arguments: &Arguments,
    os_release: &Path,
    say: &dyn Fn(&str),
) -> Result<(), RunError> {
    let Arguments {
        direction,
        source,
        target,
    } = arguments;
    let mut store = Store::read(source).context(SourceSnafu { path: source })?;
    for stray in &store.strays {
        say(&format!(
            "{} is no setting and stays as it is: {}",
            stray.path.to_string_lossy().escape_debug(),
            stray.reason
        ));
    }
    match os_release::load(os_release) {
        Ok(values) => {
            os_release::merge(&values, &mut store.live);
            for tree in store.pending.values_mut() {
                os_release::merge(&values, tree);
            }
        }
        // Few migrations look at these, and the last image's are in the store.
        Err(error) => say(&format!(
            "going on without the values of {}: {error}",
            os_release.display()
        )),
    }
    apply(migration, *direction, &mut store).context(MigrateSnafu {
        direction: *direction,
    })?;
    store.write(target).context(TargetSnafu { path: target })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;

    use serde_json::json;

    use super::super::check::sample;
    use super::super::{RenameSettings, ReplaceLists};
    use super::*;

    struct Lab {
        temporary: tempfile::TempDir,
        said: RefCell<Vec<String>>,
    }

    impl Lab {
        fn new(store: &Store) -> Self {
            let temporary = tempfile::tempdir().unwrap();
            store.write(&temporary.path().join("source")).unwrap();
            fs::write(temporary.path().join("os-release"), "VERSION_ID=1.1.0\n").unwrap();
            Self {
                temporary,
                said: RefCell::default(),
            }
        }

        fn perform(&self, migration: &impl Migration) -> Result<Store, String> {
            let dir = self.temporary.path();
            let arguments = Arguments {
                direction: Direction::Forward,
                source: dir.join("source"),
                target: dir.join("target"),
            };
            let say = |words: &str| self.said.borrow_mut().push(words.to_owned());
            perform(migration, &arguments, &dir.join("os-release"), &say)
                .map_err(|error| chain(&error).replace(&dir.display().to_string(), "DIR"))?;
            Ok(Store::read(&arguments.target).unwrap())
        }
    }

    #[test]
    fn live_and_pending_settings_are_migrated_and_know_the_image() {
        let mut store = Store {
            live: sample(json!({"s.a": 1}), json!({"s.a": {"t": 1}})).unwrap(),
            ..Store::default()
        };
        let pending = sample(json!({"s.a": 2}), json!({"s.a": {"t": 2}})).unwrap();
        store.pending.insert("my change".to_owned(), pending);
        let lab = Lab::new(&store);
        let outcome = lab.perform(&RenameSettings::new([("s.a", "s.b")])).unwrap();
        let arch = std::env::consts::ARCH;
        let expected = |value: i64, metadata| {
            let data = json!({"s.b": value, "os.version_id": "1.1.0", "os.arch": arch});
            sample(data, metadata).unwrap()
        };
        assert_eq!(outcome.live, expected(1, json!({"s.b": {"t": 1}})));
        // A transaction's metadata are nobody's business.
        let pending = &outcome.pending["my change"];
        assert_eq!(pending, &expected(2, json!({"s.a": {"t": 2}})));
        assert_eq!(lab.said.take(), Vec::<String>::new());
    }

    #[test]
    fn a_stray_is_named_and_a_missing_os_release_is_no_error() {
        let lab = Lab::new(&Store::default());
        fs::write(lab.temporary.path().join("source/live/torn"), "").unwrap();
        fs::remove_file(lab.temporary.path().join("os-release")).unwrap();
        let outcome = lab.perform(&RenameSettings::new([("s.a", "s.b")])).unwrap();
        assert_eq!(outcome.live, sample(json!({}), json!({})).unwrap());
        assert_eq!(outcome.strays.len(), 1);
        let said = lab.said.take();
        assert!(said[0].starts_with("live/torn is no setting and stays as it is: no JSON value"));
        assert!(said[1].starts_with("going on without the values of "));
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn a_failure_says_what_failed_and_leaves_no_target() {
        let store = Store {
            live: sample(json!({"s.a": [1]}), json!({})).unwrap(),
            ..Store::default()
        };
        let lab = Lab::new(&store);
        let lists = ReplaceLists::new([("s.a", &["x"][..], &["y"][..])]);
        assert_eq!(
            lab.perform(&lists).unwrap_err(),
            "migrating forward: s.a is a list with other things than strings in it, where only a \
             list of strings is right"
        );
        let target = lab.temporary.path().join("target");
        assert!(!target.exists());

        fs::create_dir(&target).unwrap();
        let rename = RenameSettings::new([("s.a", "s.b")]);
        assert_eq!(
            lab.perform(&rename).unwrap_err(),
            "writing the settings to DIR/target: DIR/target exists, and a store is only written \
             where nothing is"
        );
        fs::remove_dir_all(lab.temporary.path().join("source/live")).unwrap();
        assert_eq!(
            lab.perform(&rename).unwrap_err(),
            "reading the settings at DIR/source: DIR/source has no folder 'live': it is no \
             settings store"
        );
    }
}
