//! Pure: declarative migrations. A target whose name ends in `.toml.lz4`, or `.toml`, is a document, not
//! a program; targets are compressed whatever they are called.
//!
//! What a document says is done with the migrations of the kit, so a document runs no code of its
//! publisher's, and going back is known for every operation:
//!
//! | operation | forward | backward |
//! |---|---|---|
//! | `add` | nothing | removes the settings, and all whose names begin with a prefix |
//! | `remove` | removes the settings, `if-equals` that value | nothing; what was kept comes back |
//! | `rename` | from the old name to the new one, `if-equals` that value | from the new name to the old one, likewise |
//! | `replace` | the old value becomes the new one | the new value becomes the old one |
//! | `replace-in-list` | the old element becomes the new one, unless that is in the list already | the other way |
//! | `add-metadata` | nothing | removes the metadata |
//! | `remove-metadata` | removes the metadata, `if-equals` that value | nothing; what was kept comes back |
//! | `replace-metadata` | the old value becomes the new one | the new value becomes the old one |
//!
//! Steps run in order; backward, the last one first. `add` and `add-metadata` have no `if-equals`: a
//! version that does not know a setting cannot have it, whatever its value. For the two `replace`s
//! the old value is the condition.

mod describe;
mod form;
mod step;

use serde::Deserialize;
use snafu::{ResultExt, Snafu, ensure};

use crate::datastore::Store;
use crate::key::Key;
use crate::migration::{Direction, MigrationError, apply};

pub use describe::StepInWords;
use step::Step;
pub use step::StepError;

/// The formats that this version understands, lowest first.
pub const KNOWN_FORMATS: &[u32] = &[1];

/// The most bytes in a document.
pub const MAX_DOCUMENT_BYTES: usize = 256 << 10;
/// The most steps in a document.
pub const MAX_STEPS: usize = 1024;
/// The most names of settings, prefixes and metadata in a document, all steps together.
pub const MAX_NAMES: usize = 4096;
/// The most variants in one list, each of at most 190 bytes.
pub const MAX_VARIANTS: usize = 64;
const MAX_VARIANT_LEN: usize = 190;

/// Why bytes are no document, or a document fails.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum DocumentError {
    /// It is larger than any migration.
    #[snafu(display("the document has {bytes} bytes, at most {MAX_DOCUMENT_BYTES} are allowed"))]
    TooLarge { bytes: usize },
    /// It is not UTF-8.
    #[snafu(display("the document is no text"))]
    NoText { source: std::str::Utf8Error },
    /// It is no TOML, or has a field that the format does not know.
    #[snafu(display("the document is not valid"))]
    Syntax { source: toml::de::Error },
    /// It does not say which format it has.
    #[snafu(display("the document has no number 'format'"))]
    MissingFormat,
    /// A newer version's format, as a rule.
    #[snafu(display(
        "the document has format {found}, and this version understands only {known:?}"
    ))]
    UnknownFormat { found: i64, known: &'static [u32] },
    /// There are more steps than allowed.
    #[snafu(display("the document has {count} steps, at most {MAX_STEPS} are allowed"))]
    TooManySteps { count: usize },
    /// There are more names than allowed.
    #[snafu(display("the document has {count} names, at most {MAX_NAMES} are allowed"))]
    TooManyNames { count: usize },
    /// A list of variants is empty, too long, or has something in it that names none.
    #[snafu(display("the document's list of variants: {reason}"))]
    Variants { reason: String },
    /// A step is not right; the first one has number 1.
    #[snafu(display("step {number}"))]
    Step { number: usize, source: StepError },
    /// A step fails with the settings that there are.
    #[snafu(display("step {number}, {direction}"))]
    Apply {
        number: usize,
        direction: Direction,
        source: MigrationError,
    },
}

/// Whether a target of this name is a document: it ends in `.toml.lz4` or `.toml`.
pub fn is_declarative(target_name: &str) -> bool {
    // Names are compared as they are signed, so the case counts.
    target_name
        .strip_suffix(".lz4")
        .unwrap_or(target_name)
        .rsplit_once('.')
        .is_some_and(|(stem, end)| !stem.is_empty() && end == "toml")
}

/// A declarative migration.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    format: u32,
    /// The variants that it concerns; `None` for all.
    variants: Option<Vec<String>>,
    steps: Vec<Step>,
}

impl Document {
    /// Reads a document. Nothing is ignored: a field that the format does not know is an error.
    ///
    /// # Errors
    /// Every [`DocumentError`] but [`DocumentError::Apply`]. [`DocumentError::UnknownFormat`] comes
    /// before any other judgement of the content.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        ensure!(
            bytes.len() <= MAX_DOCUMENT_BYTES,
            TooLargeSnafu { bytes: bytes.len() }
        );
        let text = str::from_utf8(bytes).context(NoTextSnafu)?;
        let format = format(text)?;
        let form: form::Document = toml::from_str(text).context(SyntaxSnafu)?;
        let count = form.step.len();
        ensure!(count <= MAX_STEPS, TooManyStepsSnafu { count });
        check_variants(form.variants.as_deref())
            .map_err(|reason| DocumentError::Variants { reason })?;
        let mut steps = Vec::with_capacity(count);
        let mut names: usize = 0;
        for (number, step) in (1_usize..).zip(form.step) {
            let step = Step::new(step).context(StepSnafu { number })?;
            names = names.saturating_add(step.names());
            ensure!(names <= MAX_NAMES, TooManyNamesSnafu { count: names });
            steps.push(step);
        }
        Ok(Self {
            format,
            variants: form.variants,
            steps,
        })
    }

    /// The document's format, one of [`KNOWN_FORMATS`].
    pub fn format(&self) -> u32 {
        self.format
    }

    /// Migrates `store` on a host of `variant`. A document or a step for other variants changes
    /// nothing.
    ///
    /// # Errors
    /// [`DocumentError::Apply`]; then the store may have any content.
    pub fn apply(
        &self,
        direction: Direction,
        store: &mut Store,
        variant: &str,
    ) -> Result<(), DocumentError> {
        if !concerns(self.variants.as_deref(), variant) {
            return Ok(());
        }
        for (number, step) in self.in_order(direction) {
            if concerns(step.variants.as_deref(), variant) {
                apply(&step.operation, direction, store)
                    .context(ApplySnafu { number, direction })?;
            }
        }
        Ok(())
    }

    /// Which settings have another name afterwards: pairs of the name before and after, in the order
    /// in which they take place, of all variants. What lies within the one moves within the other,
    /// and a setting may move more than once.
    pub fn renamed(&self, direction: Direction) -> Vec<(Key, Key)> {
        self.in_order(direction)
            .flat_map(|(_, step)| step.operation.renamed(direction))
            .collect()
    }

    fn in_order(&self, direction: Direction) -> impl Iterator<Item = (usize, &Step)> {
        let mut steps: Vec<_> = (1..).zip(&self.steps).collect();
        if direction == Direction::Backward {
            steps.reverse();
        }
        steps.into_iter()
    }
}

/// Only the format, whatever else is there.
fn format(text: &str) -> Result<u32, DocumentError> {
    #[derive(Deserialize)]
    struct Form {
        format: Option<toml::Value>,
    }
    let form: Form = toml::from_str(text).context(SyntaxSnafu)?;
    let Some(toml::Value::Integer(found)) = form.format else {
        return MissingFormatSnafu.fail();
    };
    let known = KNOWN_FORMATS
        .iter()
        .find(|&&known| i64::from(known) == found);
    match known {
        Some(&format) => Ok(format),
        None => UnknownFormatSnafu {
            found,
            known: KNOWN_FORMATS,
        }
        .fail(),
    }
}

fn check_variants(variants: Option<&[String]>) -> Result<(), String> {
    let Some(variants) = variants else {
        return Ok(());
    };
    if variants.is_empty() {
        return Err("it is empty, so that nothing would ever be done".to_owned());
    }
    if variants.len() > MAX_VARIANTS {
        return Err(format!("it has more than {MAX_VARIANTS} names"));
    }
    let is_name = |name: &String| {
        !name.is_empty() && name.len() <= MAX_VARIANT_LEN && !name.contains(char::is_control)
    };
    match variants.iter().find(|name| !is_name(name)) {
        Some(name) => Err(format!("{name:?} names no variant")),
        None => Ok(()),
    }
}

fn concerns(variants: Option<&[String]>, variant: &str) -> bool {
    variants.is_none_or(|variants| variants.iter().any(|name| name == variant))
}

#[cfg(test)]
mod tests;
