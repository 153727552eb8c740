//! Manual pages and completions are made from the command lines, say all of them, and other programs
//! read them.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output};
use std::sync::OnceLock;

use clap::{Arg, Command};
use system_tests::oracle;
use system_tests::programs::documents as documents_program;

/// Every program, with the names that a user finds its verbs under.
fn programs() -> [Command; 6] {
    [
        updog::cli::command(),
        updog::publish::cli::command(),
        updog::apiclient::command(),
        updog::thar_be_updates::command(),
        signpost::cli::command(),
        migrator::cli::command(),
    ]
    .map(|program| {
        let mut program = program.disable_help_subcommand(true);
        program.build();
        program
    })
}

/// The folder of the documents, made once.
fn documents() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("documents");
        // What an earlier run made is not what is tested.
        let _ = fs::remove_dir_all(&out);
        let made = Process::new(documents_program())
            .arg("--out")
            .arg(&out)
            .status();
        assert!(made.unwrap().success());
        out
    })
}

fn pages() -> Vec<PathBuf> {
    let pages = fs::read_dir(documents().join("man/man1")).unwrap();
    pages.map(|entry| entry.unwrap().path()).collect()
}

/// The completions of `program` for bash, zsh and fish.
fn completions(program: &str) -> [PathBuf; 3] {
    [
        format!("bash-completion/completions/{program}"),
        format!("zsh/site-functions/_{program}"),
        format!("fish/vendor_completions.d/{program}.fish"),
    ]
    .map(|path| documents().join(path))
}

/// A page as a reader sees it: without what roff needs.
fn read(path: &Path) -> String {
    let text = fs::read_to_string(path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .replace("\\-", "-")
        .replace("\\fB", "")
        .replace("\\fI", "")
        .replace("\\fR", "")
        .replace("\\*(Aq", "'")
}

/// Calls `check` with every command and the name of its page.
fn each(command: &Command, check: &mut dyn FnMut(&Command, &str)) {
    let name = command.get_display_name().unwrap_or(command.get_name());
    check(command, name);
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        each(verb, check);
    }
}

fn flags(argument: &Arg) -> Vec<String> {
    let long = argument.get_long_and_visible_aliases().unwrap_or_default();
    let short = argument.get_short_and_visible_aliases().unwrap_or_default();
    let long = long.iter().map(|long| format!("--{long}"));
    let short = short.iter().map(|short| format!("-{short}"));
    long.chain(short).collect()
}

#[test]
fn every_verb_and_flag_has_its_place_in_a_page() {
    let mut seen = 0;
    for program in programs() {
        each(&program, &mut |command, page| {
            seen += 1;
            let text = read(&documents().join(format!("man/man1/{page}.1")));
            let title = format!(".TH {}", page.to_uppercase());
            assert!(text.contains(&title), "{page}");
            for argument in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                for flag in flags(argument) {
                    assert!(text.contains(&flag), "{page}: {flag}");
                }
                if argument.is_positional() {
                    let shown = argument.get_value_names().unwrap()[0].as_str();
                    assert!(text.contains(shown), "{page}: {shown}");
                }
            }
            for alias in command.get_visible_aliases() {
                assert!(text.contains(alias), "{page}: {alias}");
            }
            let verbs = command.get_subcommands();
            for verb in verbs.filter(|verb| !verb.is_hide_set()) {
                let verb = format!("{page}-{}(1)", verb.get_name());
                assert!(text.contains(&verb), "{page}: {verb}");
            }
            // An example is a line of its own.
            let after = command.get_after_help().map(ToString::to_string);
            for line in after.iter().flat_map(|after| after.lines()) {
                if line.starts_with("  ") {
                    let line = line.trim_start().trim_end_matches('\\').trim_end();
                    let is_it = |found: &str| found.trim_start().starts_with(line);
                    assert!(text.lines().any(is_it), "{page}: {line}");
                }
            }
        });
    }
    assert_eq!(pages().len(), seen, "no other pages");
}

#[test]
fn every_verb_and_flag_is_completed_in_each_shell() {
    for program in programs() {
        for path in completions(program.get_name()) {
            let text = read(&path);
            each(&program, &mut |command, _| {
                let longs = command.get_arguments().filter_map(Arg::get_long);
                let verbs = command.get_subcommands().map(Command::get_name);
                for word in longs.chain(verbs) {
                    assert!(text.contains(word), "{}: {word}", path.display());
                }
            });
        }
    }
    // bash, asked for what this can become.
    let [bash, ..] = completions("updog");
    let script = format!(
        "source '{}'; COMP_WORDS=(updog update-); COMP_CWORD=1; _updog updog update- updog; \
         echo \"${{COMPREPLY[@]}}\"",
        bash.display()
    );
    let ran = Process::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&ran.stdout).trim(),
        "update-image update-apply update-revert",
        "{}",
        said(&ran)
    );
}

#[test]
fn each_shell_can_parse_its_completions() {
    let test = "each_shell_can_parse_its_completions";
    for (shell, which) in [("bash", 0), ("zsh", 1), ("fish", 2)] {
        let Some(shell) = oracle::find(test, shell) else {
            continue;
        };
        for program in programs() {
            let path = &completions(program.get_name())[which];
            let ran = Process::new(&shell).arg("-n").arg(path).output().unwrap();
            assert!(ran.status.success(), "{}: {}", path.display(), said(&ran));
        }
    }
}

#[test]
fn mandoc_has_nothing_to_say_against_the_pages() {
    let Some(mandoc) = oracle::find("mandoc_has_nothing_to_say_against_the_pages", "mandoc") else {
        return;
    };
    let ran = Process::new(mandoc)
        .args(["-T", "lint", "-W", "warning"])
        .args(pages())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", said(&ran));
}

#[test]
fn man_shows_the_pages_without_a_warning() {
    let Some(man) = oracle::find("man_shows_the_pages_without_a_warning", "man") else {
        return;
    };
    for page in pages() {
        let ran = Process::new(&man)
            .args(["--warnings", "--local-file"])
            .arg(&page)
            .env("LC_ALL", "C.UTF-8")
            .env("MANWIDTH", "100")
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", said(&ran));
        assert!(ran.stderr.is_empty(), "{}: {}", page.display(), said(&ran));
        assert!(String::from_utf8_lossy(&ran.stdout).contains("SYNOPSIS"));
    }
}

fn said(ran: &Output) -> String {
    let [out, err] = [&ran.stdout, &ran.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}
