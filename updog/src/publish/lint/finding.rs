//! Pure: a broken rule, and what it is about.

use std::fmt;
use std::path::PathBuf;

use semver::Version;
use serde::Serialize;

use super::rule::{Rule, Severity};
use crate::exit::printable;

/// What a finding is about; what does not apply is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct About {
    /// The metadata folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// The variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// The version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The name of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which.
    pub rule: Rule,
    /// How bad that is.
    pub severity: Severity,
    /// Whether the publisher said that it may be.
    pub allowed: bool,
    /// What it is about.
    pub about: About,
    /// What was found, as a clause.
    pub problem: String,
    /// What hosts suffer, as a clause.
    pub harm: &'static str,
    /// What to do, as a clause.
    pub advice: &'static str,
}

impl Finding {
    /// A finding that is not allowed.
    pub fn new(rule: Rule, about: About, problem: impl Into<String>) -> Self {
        Self {
            rule,
            severity: rule.severity(),
            allowed: false,
            about,
            problem: problem.into(),
            harm: rule.harm(),
            advice: rule.advice(),
        }
    }

    /// Whether nothing may be published.
    pub fn refuses(&self) -> bool {
        self.severity == Severity::Error && !self.allowed
    }
}

/// Marks what the publisher allows.
pub fn allow(findings: &mut [Finding], rules: &[Rule]) {
    for finding in findings {
        finding.allowed = rules.contains(&finding.rule);
    }
}

/// What is not allowed, a line each, for a log.
pub fn lines(findings: &[Finding]) -> Vec<String> {
    let told = findings.iter().filter(|finding| !finding.allowed);
    told.map(|finding| {
        let Finding { harm, advice, .. } = finding;
        format!("{finding} (hosts: {harm}; do: {advice})")
    })
    .collect()
}

/// `demo x86_64 1.1.0`, or as much of it as there is, or the folder.
impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_ref().map(ToString::to_string);
        let words: Vec<&str> = [&self.variant, &self.arch, &version]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        match (&words[..], &self.folder) {
            ([], Some(folder)) => write!(f, "{}", folder.display()),
            ([], None) => f.write_str("the repository"),
            (words, _) => f.write_str(&words.join(" ")),
        }
    }
}

/// One line, without what hosts suffer and what to do.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed = if self.allowed { "allowed " } else { "" };
        let Self {
            rule,
            severity,
            about,
            problem,
            ..
        } = self;
        // Names of targets may be anything, also what talks to a terminal.
        let line = format!("{allowed}{severity} {rule}: {about}: {problem}");
        f.write_str(&printable(&line))
    }
}
