//! What migrating 10,000 settings costs: the store on the disk, each kind of declarative step on all
//! of them, what is kept, and beside it a migration that is a program, from its start to its end,
//! which reads a store and writes another:
//!
//!     cargo build --release -p migrator --no-default-features --example example-migration
//!     cargo run --release -p migrator --example migration-cost

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use migrator::datastore::{Store, Tree, Value};
use migrator::document::{Document, MAX_STEPS};
use migrator::kept::{Kept, Step};
use migrator::key::Key;
use migrator::migration::Direction;
use semver::Version;

const SETTINGS: usize = 10_000;
/// A hundred in each group, as many groups as it takes.
const IN_A_GROUP: usize = 100;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[allow(clippy::print_stdout)] // an example for people
fn main() -> Outcome<()> {
    let store = store()?;
    let temporary = tempfile::tempdir()?;
    let dir = temporary.path().join("store");
    println!("{SETTINGS} settings, each with one item of metadata\n");
    println!("{:<40} {:>9} {:>9}", "operation", "there ms", "back ms");
    let (ms, written) = timed(|| store.write(&dir));
    written?;
    println!("{:<40} {ms:>9.2}", "write the store, without sync");
    let (ms, read) = timed(|| Store::read(&dir));
    println!("{:<40} {ms:>9.2}", "read the store");
    if read? != store {
        return Err("the store that was read is not the one that was written".into());
    }
    for (name, text) in documents()? {
        let (parse, document) = timed(|| Document::parse(text.as_bytes()));
        let document = document?;
        let mut migrated = store.clone();
        let (there, done) = timed(|| document.apply(Direction::Forward, &mut migrated, "demo"));
        done?;
        let (back, done) = timed(|| document.apply(Direction::Backward, &mut migrated, "demo"));
        done?;
        println!("{name:<40} {there:>9.2} {back:>9.2}   (parsed in {parse:.2})");
    }
    let mut kept = Kept::default();
    let mut empty = Store::default();
    let version = Version::new(1, 0, 0);
    let mut step = Step {
        migration: "migration",
        direction: Direction::Forward,
        version: &version,
        renamed: &[],
    };
    let (there, _) = timed(|| kept.after_step(&step, &store, &mut empty));
    step.direction = Direction::Backward;
    let nothing = empty.clone();
    let (back, outcome) = timed(|| kept.after_step(&step, &nothing, &mut empty));
    println!("{:<40} {there:>9.2} {back:>9.2}", "keep all of them");
    if outcome.put_back.len() != SETTINGS * 2 {
        return Err("not everything came back".into());
    }
    programs(&dir, temporary.path())
}

/// The example migration on the store in `dir`, with all that `folder` is for.
#[allow(clippy::print_stdout)] // an example for people
fn programs(dir: &Path, folder: &Path) -> Outcome<()> {
    let program = std::env::current_exe()?.with_file_name("example-migration");
    if !program.exists() {
        println!(
            "\n{} is not built: see the head of this example",
            program.display()
        );
        return Ok(());
    }
    let run = |direction: &str, source: &Path, target: &Path| -> Outcome<f64> {
        let mut command = Command::new(&program);
        command.arg(direction);
        command.arg("--source-datastore").arg(source);
        command.arg("--target-datastore").arg(target);
        let (ms, status) = timed(|| command.status());
        if !status?.success() {
            return Err(format!("{} {direction} failed", program.display()).into());
        }
        Ok(ms)
    };
    let (there, back) = (folder.join("there"), folder.join("back"));
    let there_ms = run("--forward", dir, &there)?;
    let back_ms = run("--backward", &there, &back)?;
    let bytes = std::fs::metadata(&program)?.len();
    println!(
        "{:<40} {there_ms:>9.2} {back_ms:>9.2}   ({bytes} bytes)",
        "a program: read, migrate, write"
    );
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed().as_secs_f64() * 1000.0, done)
}

fn name(number: usize) -> String {
    format!("settings.g{}.s{}", number / IN_A_GROUP, number % IN_A_GROUP)
}

fn store() -> Outcome<Store> {
    let mut live = Tree::default();
    let metadata = Key::metadata("affected-services")?;
    for number in 0..SETTINGS {
        let key = Key::data(&name(number))?;
        let item = BTreeMap::from([(metadata.clone(), Value::from(["one", "two"]))]);
        live.metadata.insert(key.clone(), item);
        live.data.insert(key, ["old", "mine"].into());
    }
    Ok(Store {
        live,
        ..Store::default()
    })
}

/// A document for each kind of step: one step for each group where a step can name groups, and as
/// many steps as a document may have where it names one setting.
fn documents() -> Outcome<Vec<(String, String)>> {
    let groups = SETTINGS / IN_A_GROUP;
    let mut documents = Vec::new();
    let mut add = |kind: &str, count: usize, step: &dyn Fn(usize) -> String| -> Outcome<()> {
        let mut text = "format = 1\n".to_owned();
        for number in 0..count {
            writeln!(text, "[[step]]\n{kind} = {}", step(number))?;
        }
        documents.push((format!("{count} x {kind}"), text));
        Ok(())
    };
    let old_and_new = "old = ['old', 'mine'], new = 'new'";
    add("rename", groups, &|n| {
        format!("{{ from = 'settings.g{n}', to = 'settings.h{n}' }}")
    })?;
    add("add", 1, &|_| "{ prefixes = ['settings.'] }".to_owned())?;
    add("add", groups, &|n| {
        format!("{{ prefixes = ['settings.g{n}.'] }}")
    })?;
    add("remove", MAX_STEPS, &|n| {
        format!("{{ settings = ['{}'] }}", name(n))
    })?;
    add("replace", MAX_STEPS, &|n| {
        format!("{{ setting = '{}', {old_and_new} }}", name(n))
    })?;
    add("replace-in-list", MAX_STEPS, &|n| {
        format!("{{ setting = '{}', old = 'old', new = 'new' }}", name(n))
    })?;
    add("add-metadata", MAX_STEPS, &|n| {
        format!(
            "{{ setting = '{}', metadata = ['affected-services'] }}",
            name(n)
        )
    })?;
    add("remove-metadata", MAX_STEPS, &|n| {
        format!(
            "{{ setting = '{}', metadata = ['affected-services'] }}",
            name(n)
        )
    })?;
    add("replace-metadata", MAX_STEPS, &|n| {
        format!(
            "{{ setting = '{}', metadata = 'affected-services', old = ['one', 'two'], new = 'new' }}",
            name(n)
        )
    })?;
    Ok(documents)
}
