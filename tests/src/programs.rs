//! The programs under test, built once for each process that asks.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The example that writes manual pages and completions.
const DOCUMENTS: &str = "documents";

/// What examples run. In release each is linked for a minute or two.
const EXAMPLES_RUN: [&str; 4] = ["updog", "updata", "signpost", "migrator"];

/// Where the programs are, built in the profile of the running one.
///
/// # Panics
/// When they do not build.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let this = std::env::current_exe().expect("the running program has a path");
        // target/PROFILE/deps/TEST, or target/PROFILE/examples/EXAMPLE
        let folder = this
            .ancestors()
            .nth(2)
            .expect("cargo puts it two folders deep")
            .to_owned();
        let mut build = cargo_build(&folder);
        // The packages and kinds of targets for which cargo has compiled every library already,
        // with the same features: those of the running program.
        build.arg("--workspace");
        if this
            .parent()
            .is_some_and(|parent| parent.ends_with("examples"))
        {
            let example = this.file_name().expect("the running program has a name");
            build.arg("--example").arg(example);
            build.args(EXAMPLES_RUN.iter().flat_map(|name| ["--bin", name]));
        } else {
            build.args(["--bins", "--example", DOCUMENTS]);
        }
        let status = build.status().expect("cargo runs");
        assert!(status.success(), "building the programs failed: {status}");
        folder
    })
}

/// `cargo build` into the profile whose folder is `folder`.
fn cargo_build(folder: &Path) -> Command {
    let target = folder
        .parent()
        .expect("the profile's folder lies in the target folder");
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    build
}

/// The path of one program.
pub fn path(name: &str) -> PathBuf {
    folder().join(name)
}

/// The path of the program that writes manual pages and completions.
pub fn documents() -> PathBuf {
    folder().join("examples").join(DOCUMENTS)
}

/// The path of an example without default features, built as [`folder`] builds the programs.
///
/// # Panics
/// When it does not build.
pub fn example(package: &str, name: &str) -> PathBuf {
    let folder = folder();
    let mut build = cargo_build(folder);
    build.args([
        "--package",
        package,
        "--example",
        name,
        "--no-default-features",
    ]);
    let status = build.status().expect("cargo runs");
    assert!(
        status.success(),
        "building the example {name} failed: {status}"
    );
    folder.join("examples").join(name)
}

/// Runs a program of ours and waits for it.
///
/// # Panics
/// When it cannot be started.
pub fn run<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Ran {
    let mut command = Command::new(path(name));
    command.args(arguments);
    Ran::of(&mut command)
}

/// The same, in a folder of the caller's choice.
///
/// # Panics
/// When it cannot be started.
pub fn run_in(folder: &Path, name: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(path(name));
    command.args(arguments).current_dir(folder);
    Ran::of(&mut command)
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Ran {
    /// The command line, for messages.
    pub command: String,
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its data.
    pub stdout: String,
    /// Its talk.
    pub stderr: String,
}

#[allow(clippy::return_self_not_must_use)] // the demand is made by calling
impl Ran {
    /// Runs `command` to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn of(command: &mut Command) -> Self {
        let Output {
            status,
            stdout,
            stderr,
        } = command
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            command: format!("{command:?}"),
            code: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// The same, if it ended with `code`.
    ///
    /// # Panics
    /// With everything it said, if it did not.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "{}\n{}{}",
            self.command,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Demands exit code 0.
    ///
    /// # Panics
    /// With everything it said, if it failed.
    pub fn done(self) -> Self {
        self.expect(0)
    }

    /// Demands that stderr says `text`.
    ///
    /// # Panics
    /// With everything it said, if it does not.
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "{}\nis expected to say '{text}'\n{}{}",
            self.command,
            self.stdout,
            self.stderr
        );
        self
    }

    /// stdout as JSON.
    ///
    /// # Panics
    /// When it is not exactly one JSON value.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", self.command, self.stdout))
    }
}
