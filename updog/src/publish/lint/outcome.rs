//! What a look at a repository found.

use std::fmt;

use serde::Serialize;

use super::finding::Finding;
use super::rule::Severity;

/// The findings, and what was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct LintOutcome {
    /// Metadata folders.
    pub folders: u64,
    /// Updates in their manifests.
    pub updates: u64,
    /// Targets that they list.
    pub targets: u64,
    /// Bytes of targets that were read: with `--deep` all of them, otherwise the boot images whose
    /// root hash the manifest states.
    pub bytes_read: u64,
    /// Errors that are not allowed.
    pub errors: u64,
    /// Warnings that are not allowed.
    pub warnings: u64,
    /// Everything that was found, errors first.
    pub findings: Vec<Finding>,
}

impl LintOutcome {
    /// With `findings` counted.
    pub(super) fn new(findings: Vec<Finding>) -> Self {
        let count = |severity| {
            let counted = |finding: &&Finding| finding.severity == severity && !finding.allowed;
            u64::try_from(findings.iter().filter(counted).count()).unwrap_or(u64::MAX)
        };
        Self {
            folders: 0,
            updates: 0,
            targets: 0,
            bytes_read: 0,
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            findings,
        }
    }
}

impl fmt::Display for LintOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
            writeln!(f, "    hosts: {}", finding.harm)?;
            writeln!(f, "    do:    {}", finding.advice)?;
        }
        let Self {
            folders,
            updates,
            targets,
            bytes_read,
            errors,
            warnings,
            ..
        } = self;
        write!(
            f,
            "{errors} error(s), {warnings} warning(s) in {folders} metadata folder(s) with \
             {updates} update(s) and {targets} target(s), {bytes_read} bytes of them read"
        )
    }
}
