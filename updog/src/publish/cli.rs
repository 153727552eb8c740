//! The command line of `updata`: what was typed, which verb that is, and how its result is told.
//!
//! Data go to stdout, once, at the end; progress and errors to stderr. The exit codes are those of
//! [`Exit`]: 0 done, 1 failed, 2 wrong usage, 4 refused (a rule forbids it, or another publisher
//! holds the repository).

use std::error::Error as StdError;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};

use chrono::{DateTime, Utc};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use serde::Serialize;

use super::add_block_maps::{self, AddBlockMapsArgs};
use super::add_update::{self, AddUpdateArgs};
use super::disk::{self, DiskArgs};
use super::event::Observer;
use super::init::{self, InitArgs};
use super::inspect::{self, InspectArgs};
use super::keyring::RoleFile;
use super::keys::{self, KeysNewArgs};
use super::keys_public::{self, KeysPublicArgs};
use super::lint::{self, LintArgs, finding};
use super::manifest_file::ManifestFileError;
use super::progress::Bar;
use super::publish_staged::{self, PublishArgs};
use super::refresh::{self, RefreshArgs};
use super::release::{self, ReleaseArgs};
use super::remove_update::{self, RemoveUpdateArgs};
use super::root::{self, RootNewArgs};
use super::root_publish::{self, RootPublishArgs};
use super::root_rotate::{self, RootRotateArgs};
use super::set_max_version::{self, SetMaxVersionArgs};
use super::set_migrations::{self, SetMigrationsArgs};
use super::set_waves::{self, SetWavesArgs};
use super::sign::{self, SignArgs};
use super::validate::{self, ValidateArgs};
use super::verity::{self, VerityArgs};
use crate::exit::{Exit, chain};

/// Publishes A/B updates: signs releases into a TUF repository, and makes the disks that take them.
#[derive(Debug, Parser)]
#[command(
    name = "updata",
    version,
    after_help = "\
From nothing to a first release:
  updata keys new --out keys
  updata root new --keys keys --out root.json
  updata verity root.img --hash-out hash.img        # the root hash goes into boot.img
  updata disk --out disk.img --variant demo --arch x86_64 --version 1.0.0 \\
      --root-image root.img --boot-image boot.img --hash-image hash.img
  updata release --repo repo --root-role root.json --keys keys \\
      --variant demo --arch x86_64 --version 1.0.0 \\
      --root-image root.img --boot-image boot.img --hash-image hash.img

Serve the folder repo with any web server; hosts use URL/demo/x86_64/ for metadata and
URL/targets/ for targets.

Exit codes: 0 done, 1 failed, 2 wrong usage, 4 refused."
)]
struct Cli {
    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make signing keys
    #[command(subcommand)]
    Keys(KeysVerb),
    /// Make a root role
    #[command(subcommand)]
    Root(RootVerb),
    /// Compute a root image's dm-verity root hash, and its hash image
    #[command(after_help = "\
Example:
  updata verity root.img --hash-out hash.img --salt 7c0ffee1

With one salt for all releases of a variant, the tree of the set that a host runs tells it which
blocks of the next one it has already.")]
    Verity(VerityArgs),
    /// Publish a version: compress, sign, write
    #[command(after_help = "\
Example:
  updata release --repo repo --root-role root.json --keys keys \\
      --variant demo --arch x86_64 --version 1.1.0 \\
      --root-image root.img --boot-image boot.img --hash-image hash.img \\
      --migration 1.0.0:1.1.0:migrations/add-widget --waves default-waves.toml

Without a --migration to the new version, its settings have the form of the version just below.
A release that stops halfway changes nothing; run it again.

Beside the boot and the root image a block map is published: with it a host fetches only the parts
that it does not have. A host finds these quickest if all releases of a variant have one verity salt:
`updata verity --salt`, or --salt here. It is no secret.")]
    Release(Box<ReleaseArgs>),
    /// Add a signature to a prepared release or a root role
    #[command(after_help = "\
Example:
  updata sign --staged 1.1.0.staged --role targets                     # show, sign nothing
  updata sign --staged 1.1.0.staged --role targets --key alice.key
  updata sign --staged root-2.json --role root --old-root root.json --key bob.key")]
    Sign(SignArgs),
    /// Publish a prepared release that has its signatures
    #[command(after_help = "\
Example:
  updata publish --staged 1.1.0.staged --repo repo --root-role root.json --keys keys")]
    Publish(PublishArgs),
    /// Give published metadata new expiries, for a daily job
    #[command(after_help = "\
Example:
  updata refresh --repo repo --root-role root.json \\
      --key snapshot=snapshot.key --key timestamp=timestamp.key")]
    Refresh(Box<RefreshArgs>),
    /// Show roles, keys, signatures, expiries and versions, with warnings
    #[command(after_help = "Example:\n  updata inspect repo")]
    Inspect(InspectArgs),
    /// Add block maps to versions that are published, so that hosts fetch only what they lack
    #[command(after_help = "\
Example:
  updata add-block-maps --repo repo --root-role root.json --keys keys \\
      --variant demo --arch x86_64

The images stay as they are. What can have a map: one LZ4 frame of independent blocks, as `lz4` and
`lz4 -9` write it, or zstd frames of at most 4 MiB each. From frames of 4 MiB a host fetches 4 MiB
for each block that changed: a release, which makes its maps itself, has frames of 64 KiB.")]
    AddBlockMaps(Box<AddBlockMapsArgs>),
    /// Look for what would go wrong on hosts
    #[command(after_help = "\
Example:
  updata lint repo --deep --os-image-size-gib 2

Exit code 0 without errors, 4 with one; each finding names its rule, and --allow RULE takes it out
of the count.")]
    Lint(LintArgs),
    /// Make a factory disk: both sets, the first installed and good
    #[command(after_help = "\
Example:
  updata disk --out disk.img --variant demo --arch x86_64 --version 1.0.0 \\
      --root-image root.img --boot-image boot.img --os-image-size-gib 2")]
    Disk(Box<DiskArgs>),
    /// Make an empty manifest
    #[command(after_help = "Example:\n  updata init manifest.json")]
    Init(InitArgs),
    /// Check that a file is a manifest
    #[command(after_help = "Example:\n  updata validate manifest.json")]
    Validate(ValidateArgs),
    /// Add an update to a manifest
    #[command(after_help = "\
Example:
  updata add-update manifest.json -f demo -v 1.1.0 -a x86_64 \\
      -r demo-root.ext4.lz4 -b demo-boot.ext4.lz4 -h demo-root.verity.lz4

Here -h is the hash image; --help is this text.")]
    AddUpdate(AddUpdateArgs),
    /// Remove an update from a manifest
    #[command(after_help = "\
Example:
  updata remove-update manifest.json -l demo -v 1.1.0 -a x86_64")]
    RemoveUpdate(RemoveUpdateArgs),
    /// Set the waves of an update
    #[command(after_help = "\
Example:
  updata set-waves manifest.json -l demo -v 1.1.0 -a x86_64 -w default-waves.toml \\
      --start-at 2031-03-01T01:00:00Z")]
    SetWaves(SetWavesArgs),
    /// Set the highest version offered, for every update of a manifest
    #[command(after_help = "Example:\n  updata set-max-version manifest.json -v 1.0.0")]
    SetMaxVersion(SetMaxVersionArgs),
    /// Replace all migrations of a manifest by those of a release file
    #[command(after_help = "Example:\n  updata set-migrations -f Release.toml -t manifest.json")]
    SetMigrations(SetMigrationsArgs),
}

#[derive(Debug, Subcommand)]
enum KeysVerb {
    /// Make separate root, targets, snapshot and timestamp keys
    #[command(after_help = "\
Example:
  updata keys new --out keys --type rsa --root-keys 3 --targets-keys 2")]
    New(KeysNewArgs),
    /// Print the public half of a key, as PEM
    #[command(after_help = "Example:\n  updata keys public root-2.key --out root-2.pub")]
    Public(KeysPublicArgs),
}

#[derive(Debug, Subcommand)]
enum RootVerb {
    /// Write and sign version 1
    #[command(after_help = "\
Example:
  updata root new --keys keys --out root.json --threshold 2 --expires 52w")]
    New(Box<RootNewArgs>),
    /// Write and sign the next version: other keys, thresholds, a later expiry
    #[command(after_help = "\
Example:
  updata root rotate --root-role root.json --out root-2.json --keys keys \\
      --replace timestamp=new/timestamp.key --threshold 2 --add root=new/root.key")]
    Rotate(Box<RootRotateArgs>),
    /// Put the next version into every metadata folder of a repository
    #[command(after_help = "\
Example:
  updata root publish --repo repo --root-role root-2.json --old-root root.json \\
      --keys keys --key timestamp=new/timestamp.key")]
    Publish(Box<RootPublishArgs>),
}

/// Parses `args` (the program's name first), runs the verb, prints its result, and says how it
/// ended.
pub fn main(args: impl IntoIterator<Item = OsString>, now: DateTime<Utc>) -> Exit {
    let cli = match parse(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout and is no error. If it cannot be printed, nobody is listening.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
        }
    };
    let output = if cli.json { Output::Json } else { Output::Text };
    let bar = Bar::for_stderr();
    let result = dispatch(&cli.verb, now, &mut |event| bar.draw(&event));
    bar.clear();
    let told = result.and_then(
        |Told {
             outcome,
             exit,
             talk,
         }| {
            say(&talk);
            match outcome.tell(output, &mut io::stdout().lock()) {
                Ok(()) => Ok(exit),
                Err(error) => Err(Failure::new(
                    Exit::Failed,
                    format!("writing the result: {error}"),
                )),
            }
        },
    );
    match told {
        Ok(exit) => exit,
        Err(Failure {
            exit,
            talk,
            message,
        }) => {
            say(&talk);
            say(&[message]);
            exit
        }
    }
}

/// One line each to stderr. The exit code is the answer where that is closed.
fn say(lines: &[String]) {
    for line in lines {
        let _ = writeln!(io::stderr(), "updata: {line}");
    }
}

/// What can be typed, for manual pages and completions too.
pub fn command() -> Command {
    // `-h` is the hash image there, as in Bottlerocket's tool.
    let help = Arg::new("help")
        .long("help")
        .action(ArgAction::Help)
        .help("Print help");
    Cli::command().mut_subcommand("add-update", |verb| verb.disable_help_flag(true).arg(help))
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let cli = Cli::from_arg_matches(&command().try_get_matches_from(args)?)?;
    if cli.verb.keys_from_stdin() > 1 {
        let message = "stdin holds one key: give `-` only once\n";
        return Err(command().error(ErrorKind::ArgumentConflict, message));
    }
    Ok(cli)
}

impl Verb {
    fn keys_from_stdin(&self) -> usize {
        let files = |files: &[RoleFile]| files.iter().filter(|file| file.is_stdin()).count();
        match self {
            Self::Root(RootVerb::New(args)) => args.keys.from_stdin() + files(&args.public),
            Self::Root(RootVerb::Rotate(args)) => {
                args.keys.from_stdin() + files(&args.add) + files(&args.replace)
            }
            Self::Root(RootVerb::Publish(args)) => args.keys.from_stdin(),
            Self::Release(args) => args.keys.from_stdin(),
            Self::AddBlockMaps(args) => args.keys.from_stdin(),
            Self::Sign(args) => args.from_stdin(),
            Self::Publish(args) => args.keys.from_stdin(),
            Self::Refresh(args) => args.keys.from_stdin(),
            _ => 0,
        }
    }
}

fn dispatch(verb: &Verb, now: DateTime<Utc>, observer: Observer<'_>) -> Result<Told, Failure> {
    match verb {
        Verb::Keys(KeysVerb::New(args)) => done(keys::run(args), keys::Error::is_refusal),
        Verb::Keys(KeysVerb::Public(args)) => {
            done(keys_public::run(args), keys_public::Error::is_refusal)
        }
        Verb::Root(RootVerb::New(args)) => done(root::run(args, now), root::Error::is_refusal),
        Verb::Root(RootVerb::Rotate(args)) => {
            done(root_rotate::run(args, now), root_rotate::Error::is_refusal)
        }
        Verb::Root(RootVerb::Publish(args)) => done(
            root_publish::run(args, now),
            root_publish::Error::is_refusal,
        ),
        Verb::Sign(args) => done(sign::run(args, now), sign::Error::is_refusal),
        Verb::Publish(args) => done(
            publish_staged::run(args, now),
            publish_staged::Error::is_refusal,
        ),
        Verb::Refresh(args) => refreshed(refresh::run(args, now)),
        Verb::Inspect(args) => done(inspect::run(args, now), inspect::Error::is_refusal),
        Verb::Verity(args) => done(verity::run(args, observer), verity::Error::is_refusal),
        Verb::Release(args) => released(release::run(args, now, observer)),
        Verb::AddBlockMaps(args) => mapped(add_block_maps::run(args, now, observer)),
        Verb::Lint(args) => linted(lint::run(args, now, observer)),
        Verb::Disk(args) => done(disk::run(args, observer), disk::Error::is_refusal),
        Verb::Init(args) => done(init::run(args), ManifestFileError::is_refusal),
        Verb::Validate(args) => done(validate::run(args), ManifestFileError::is_refusal),
        Verb::AddUpdate(args) => added(add_update::run(args)),
        Verb::RemoveUpdate(args) => done(remove_update::run(args), ManifestFileError::is_refusal),
        Verb::SetWaves(args) => done(set_waves::run(args, now), set_waves::Error::is_refusal),
        Verb::SetMaxVersion(args) => {
            done(set_max_version::run(args), ManifestFileError::is_refusal)
        }
        Verb::SetMigrations(args) => {
            done(set_migrations::run(args), set_migrations::Error::is_refusal)
        }
    }
}

/// How a verb's result is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Text,
    Json,
}

/// What a verb found or did.
trait Outcome {
    fn tell(&self, output: Output, to: &mut dyn Write) -> io::Result<()>;
}

impl<T: Display + Serialize> Outcome for T {
    fn tell(&self, output: Output, to: &mut dyn Write) -> io::Result<()> {
        match output {
            Output::Text => writeln!(to, "{self}"),
            Output::Json => {
                serde_json::to_writer_pretty(&mut *to, self)?;
                writeln!(to)
            }
        }
    }
}

/// What is left to say of a verb that did its work.
struct Told {
    outcome: Box<dyn Outcome>,
    exit: Exit,
    /// Lines for stderr.
    talk: Vec<String>,
}

/// What is left to say of an error.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    /// Lines for stderr before the message.
    talk: Vec<String>,
    message: String,
}

impl Failure {
    fn new(exit: Exit, message: String) -> Self {
        let talk = Vec::new();
        Self {
            exit,
            talk,
            message,
        }
    }
}

/// A release tells of the rules that it breaks.
fn released(result: Result<release::ReleaseOutcome, release::Error>) -> Result<Told, Failure> {
    let talk = match &result {
        Ok(outcome) => finding::lines(&outcome.findings),
        Err(error) => finding::lines(error.findings()),
    };
    match done(result, release::Error::is_refusal) {
        Ok(told) => Ok(Told { talk, ..told }),
        Err(failure) => Err(Failure { talk, ..failure }),
    }
}

/// A refresh tells of the folders that it could not do, after all others were done.
fn refreshed(result: Result<refresh::RefreshOutcome, refresh::Error>) -> Result<Told, Failure> {
    let ended = result.as_ref().ok().map(|done| (done.exit(), done.lines()));
    let told = done(result, refresh::Error::is_refusal)?;
    let (exit, talk) = ended.unwrap_or((Exit::Done, Vec::new()));
    Ok(Told { exit, talk, ..told })
}

/// Versions that cannot have block maps are told of, after all others have theirs.
fn mapped(
    result: Result<add_block_maps::AddBlockMapsOutcome, add_block_maps::Error>,
) -> Result<Told, Failure> {
    let ended = result.as_ref().ok().map(|done| (done.exit(), done.lines()));
    let told = done(result, add_block_maps::Error::is_refusal)?;
    let (exit, talk) = ended.unwrap_or((Exit::Done, Vec::new()));
    Ok(Told { exit, talk, ..told })
}

/// An update is added under any architecture, as Bottlerocket's tool does; which hosts have is told.
fn added(result: Result<add_update::AddUpdateOutcome, ManifestFileError>) -> Result<Told, Failure> {
    let warning = result
        .as_ref()
        .ok()
        .and_then(add_update::AddUpdateOutcome::warning);
    let told = done(result, ManifestFileError::is_refusal)?;
    Ok(Told {
        talk: warning.into_iter().collect(),
        ..told
    })
}

fn linted(result: Result<lint::LintOutcome, lint::Error>) -> Result<Told, Failure> {
    let exit = match &result {
        Ok(outcome) if outcome.errors > 0 => Exit::Refused,
        _ => Exit::Done,
    };
    let told = done(result, |_| false)?;
    Ok(Told { exit, ..told })
}

fn done<T, E>(result: Result<T, E>, is_refusal: impl FnOnce(&E) -> bool) -> Result<Told, Failure>
where
    T: Display + Serialize + 'static,
    E: StdError + 'static,
{
    match result {
        Ok(outcome) => Ok(Told {
            outcome: Box::new(outcome),
            exit: Exit::Done,
            talk: Vec::new(),
        }),
        Err(error) => {
            let exit = if is_refusal(&error) {
                Exit::Refused
            } else {
                Exit::Failed
            };
            Err(Failure::new(exit, chain(&error)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Cli, clap::Error> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    /// The verbs that are no groups of verbs.
    fn leaves(command: &mut Command, path: &str, seen: &mut Vec<String>) {
        for verb in command
            .get_subcommands_mut()
            .filter(|verb| verb.get_name() != "help")
        {
            let path = format!("{path} {}", verb.get_name());
            if verb.has_subcommands() {
                leaves(verb, &path, seen);
            } else {
                let help = verb.render_long_help().to_string();
                assert!(
                    help.contains(&format!("Example:\n  {path} ")),
                    "{path}: {help}"
                );
                seen.push(path);
            }
        }
    }

    #[test]
    fn every_verb_shows_an_example_of_itself() {
        let mut command = command();
        command.build();
        let mut seen = Vec::new();
        leaves(&mut command, "updata", &mut seen);
        assert_eq!(seen.len(), 21, "{seen:?}");
    }

    #[test]
    fn h_is_the_hash_image_of_add_update_and_help_everywhere_else() {
        let line = "updata add-update m -f d -v 1.0.0 -a x86_64 -r r -b b -h h";
        let Verb::AddUpdate(args) = parse_line(line).unwrap().verb else {
            panic!("{line}")
        };
        assert_eq!(args.hash, "h");
        for line in ["updata init -h", "updata add-update --help", "updata -h"] {
            let error = parse_line(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{line}");
        }
    }

    #[test]
    fn options_that_contradict_each_other_are_usage_errors() {
        let release = "updata release --repo r --root-role r --keys k --variant d --arch x86_64 \
                       --version 1.0.0 --root-image i --boot-image b";
        assert!(parse_line(release).is_ok());
        for more in [
            "--salt 00 --hash-image h",
            "--wave-start 2031-03-01T01:00:00Z",
            "--migration 1.0.0",
            "--expires-targets 2m",
            "--salt 0",
        ] {
            assert!(parse_line(&format!("{release} {more}")).is_err(), "{more}");
        }
        assert!(parse_line(&release.replace("--variant d", "--variant targets")).is_err());
    }
}
