//! `migrator check`

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use snafu::{ResultExt, Snafu, ensure};
use update_metadata::lz4::Lz4Reader;

use super::{CheckArgs, Done, print};
use crate::document::{Document, DocumentError, MAX_DOCUMENT_BYTES, StepInWords, is_declarative};
use crate::migration::Direction;

/// Why a file is no declarative migration.
#[derive(Debug, Snafu)]
enum CheckError {
    /// A target of this name would be executed.
    #[snafu(display(
        "{}: the name of a document ends in .toml or .toml.lz4; what has another name is run as a \
         program",
        path.display()
    ))]
    Name { path: PathBuf },
    /// It cannot be read.
    #[snafu(display("reading {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// It is no document.
    #[snafu(display("{}", path.display()))]
    Document {
        path: PathBuf,
        source: DocumentError,
    },
}

pub(super) fn run(args: &CheckArgs) -> Done {
    let document = load(&args.file)?;
    let steps = document.in_words();
    print(&text(document.variants(), &steps)?)?;
    Ok(ExitCode::SUCCESS)
}

fn load(path: &Path) -> Result<Document, CheckError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ensure!(is_declarative(&name), NameSnafu { path });
    // One byte more than allowed is enough to be told so.
    let limit = u64::try_from(MAX_DOCUMENT_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut bytes = Vec::new();
    let file = File::open(path).context(ReadSnafu { path })?;
    let read = if name.ends_with(".lz4") {
        Lz4Reader::new(io::BufReader::new(file))
            .take(limit)
            .read_to_end(&mut bytes)
    } else {
        file.take(limit).read_to_end(&mut bytes)
    };
    read.context(ReadSnafu { path })?;
    Document::parse(&bytes).context(DocumentSnafu { path })
}

fn text(variants: Option<&[String]>, steps: &[StepInWords]) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let concerned = |variants: Option<&[String]>| {
        variants.map_or_else(String::new, |names| {
            format!(", only on {}", names.join(", "))
        })
    };
    let count = steps.len();
    let plural = if count == 1 { "" } else { "s" };
    writeln!(text, "{count} step{plural}{}", concerned(variants))?;
    for step in steps {
        let variants = concerned(step.variants.as_deref());
        writeln!(text, "step {}: {}{variants}", step.number, step.operation)?;
        for direction in [Direction::Forward, Direction::Backward] {
            for line in step.lines(direction) {
                writeln!(text, "  {:9} {line}", format!("{direction}:"))?;
            }
        }
    }
    if count > 1 {
        writeln!(text, "Backward, the last step comes first.")?;
    }
    Ok(text)
}
