//! Writes manual pages and shell completions of all programs, made from what they accept on
//! their command lines:
//!
//!     cargo run --example documents -- --out DIR
//!
//! `DIR` is laid out as `/usr/share` is: `man/man1/`, `bash-completion/completions/`,
//! `zsh/site-functions/` and `fish/vendor_completions.d/`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, Parser};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, roman};
use updog::clock;

/// Writes manual pages and shell completions.
#[derive(Debug, Parser)]
struct Args {
    /// The folder; made where it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Args { out } = Args::parse();
    for program in [
        updog::cli::command(),
        updog::publish::cli::command(),
        updog::apiclient::command(),
        updog::thar_be_updates::command(),
        signpost::cli::command(),
        migrator::cli::command(),
    ] {
        completions(program.clone(), &out)?;
        let name = program.get_name().to_owned();
        let folder = out.join("man/man1");
        fs::create_dir_all(&folder)?;
        let mut program = program.disable_help_subcommand(true);
        program.build();
        pages(&program, &name, &folder)?;
    }
    Ok(())
}

fn completions(mut program: Command, out: &Path) -> Result<(), Box<dyn Error>> {
    let name = program.get_name().to_owned();
    for (shell, folder, file) in [
        (Shell::Bash, "bash-completion/completions", name.clone()),
        (Shell::Zsh, "zsh/site-functions", format!("_{name}")),
        (
            Shell::Fish,
            "fish/vendor_completions.d",
            format!("{name}.fish"),
        ),
    ] {
        let folder = out.join(folder);
        fs::create_dir_all(&folder)?;
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut program, &name, &mut text);
        fs::write(folder.join(file), text)?;
    }
    Ok(())
}

/// The page of `command`, and one for each verb below it.
fn pages(command: &Command, program: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let name = command.get_display_name().unwrap_or(program).to_owned();
    fs::write(
        folder.join(format!("{name}.1")),
        page(command, &name, program)?,
    )?;
    // What a program says to itself is nothing for people.
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        pages(verb, program, folder)?;
    }
    Ok(())
}

fn page(command: &Command, name: &str, program: &str) -> Result<String, Box<dyn Error>> {
    let after = command
        .get_after_long_help()
        .or_else(|| command.get_after_help())
        .map(ToString::to_string);
    // The library runs examples together into one paragraph.
    let plain = command
        .clone()
        .after_help(None::<&str>)
        .after_long_help(None::<&str>)
        .mut_args(|argument| {
            let long = argument.get_visible_aliases().unwrap_or_default();
            let short = argument.get_visible_short_aliases().unwrap_or_default();
            let long = long.iter().map(|long| format!("--{long}"));
            let short = short.iter().map(|short| format!("-{short}"));
            let others: Vec<_> = long.chain(short).collect();
            if others.is_empty() {
                return argument;
            }
            let help = argument.get_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            let also = format!("{help}. Also {}", others.join(", "));
            argument.help(also)
        });
    let mut text = Vec::new();
    Man::new(plain)
        .title(name.to_uppercase())
        .date(clock::build_time().format("%Y-%m-%d").to_string())
        .source(format!("{program} {}", env!("CARGO_PKG_VERSION")))
        .manual("A/B updates")
        .render(&mut text)?;
    // It breaks the line before and after an empty one, which is a break by itself.
    let mut text = String::from_utf8(text)?.replace("\n.br\n\n.br\n", "\n.sp\n");

    let mut more = Roff::new();
    let aliases: Vec<_> = command.get_visible_aliases().collect();
    if !aliases.is_empty() {
        more.control("SH", ["ALSO CALLED"]);
        more.text([roman(aliases.join(", "))]);
    }
    if let Some(after) = after {
        sections(&after, &mut more);
    }
    if name != program {
        more.control("SH", ["SEE ALSO"]);
        more.text([roman(format!("{program}(1)"))]);
    }
    // What is verbatim must not be hyphenated or filled, and has the apostrophes of a shell.
    text.push_str(&more.render());
    Ok(text)
}

/// What `--help` says below the flags: examples, which stay as they are, and paragraphs.
fn sections(after: &str, to: &mut Roff) {
    let mut heading = "";
    for paragraph in after.split("\n\n").filter(|text| !text.trim().is_empty()) {
        let is_status = paragraph.starts_with("Exit codes:");
        let has_example = paragraph.lines().any(is_verbatim);
        let wanted = match (is_status, has_example) {
            (true, _) => "EXIT STATUS",
            (_, true) => "EXAMPLES",
            _ => "NOTES",
        };
        if wanted == heading {
            to.control("PP", []);
        } else {
            to.control("SH", [wanted]);
            heading = wanted;
        }
        let mut verbatim = false;
        for line in paragraph.lines() {
            if matches!(line, "Example:" | "Examples:") {
                continue;
            }
            if is_verbatim(line) != verbatim {
                verbatim = !verbatim;
                to.control(if verbatim { "nf" } else { "fi" }, []);
            }
            to.text([text(line)]);
        }
        if verbatim {
            to.control("fi", []);
        }
    }
}

fn is_verbatim(line: &str) -> bool {
    line.starts_with("  ")
}

fn text(line: &str) -> Inline {
    roman(line.strip_prefix("  ").unwrap_or(line))
}
