//! Pure: what the manifest names is listed, is there, and can be asked for.

use update_metadata::check_target_name;

use super::super::facts::{FolderFacts, Found, TargetFacts, Unlisted};
use super::super::finding::{About, Finding};
use super::super::rule::Rule;
use super::{about_folder, some_of, uses, with_file};

/// Characters that end or bend the path of a URL.
const URL_CHARACTERS: [char; 5] = ['?', '#', '%', '\\', ':'];

pub(super) fn judge(folder: &FolderFacts, findings: &mut Vec<Finding>) {
    let uses = uses(folder);
    for (name, about) in &uses {
        if let Some(problem) = cannot_be_asked_for(name, folder.root.consistent_snapshot) {
            findings.push(Finding::new(Rule::TargetName, about.clone(), problem));
        }
        if let Some(target) = folder.targets.get(*name) {
            in_its_place(name, target, about, findings);
        } else {
            let problem = format!("{name} is not listed in targets.json");
            findings.push(Finding::new(Rule::TargetUnlisted, about.clone(), problem));
        }
    }
    let names = || {
        folder
            .targets
            .iter()
            .map(|(name, target)| (name.as_str(), target))
    };
    // What is an error is not told once more as a warning.
    let is_told = |name: &str| {
        uses.contains_key(name)
            && cannot_be_asked_for(name, folder.root.consistent_snapshot).is_some()
    };
    let odd = names().filter(|(name, _)| !is_plain(name) && !is_told(name));
    let unused = names().filter(|(name, _)| !uses.contains_key(name));
    if let Some(group) = Group::of(odd) {
        let problem = format!(
            "{} target(s) with a name to be escaped: {group}",
            group.count
        );
        findings.push(Finding::new(
            Rule::TargetNameOdd,
            about_folder(folder),
            problem,
        ));
    }
    if let Some(group) = Group::of(unused) {
        let Group {
            count,
            bytes,
            absent,
            ..
        } = group;
        let absent = if absent == 0 {
            String::new()
        } else {
            format!(", {absent} of them without a file")
        };
        let problem = format!(
            "{count} target(s) of {bytes} bytes are listed and used by no update{absent}: {group}"
        );
        findings.push(Finding::new(
            Rule::TargetUnused,
            about_folder(folder),
            problem,
        ));
    }
}

pub(super) fn judge_unlisted(unlisted: &Unlisted) -> Option<Finding> {
    let Unlisted {
        folder,
        count,
        bytes,
        first,
    } = unlisted;
    let about = About {
        file: Some(folder.clone()),
        ..About::default()
    };
    let problem = format!(
        "{count} file(s) of {bytes} bytes in {} are listed by no metadata: {}",
        folder.display(),
        some_of(first, *count)
    );
    (*count > 0).then(|| Finding::new(Rule::FileUnlisted, about, problem))
}

fn in_its_place(name: &str, target: &TargetFacts, about: &About, findings: &mut Vec<Finding>) {
    match &target.found {
        Found::ToBePlaced => {}
        Found::Absent(path) => {
            let problem = format!("{name} is listed, but {} does not exist", path.display());
            let about = with_file(about.clone(), path);
            findings.push(Finding::new(Rule::TargetMissing, about, problem));
        }
        Found::File(path, length) => {
            if let Some(signed) = target.length.filter(|signed| signed != length) {
                let problem = format!("{} has {length} bytes, signed are {signed}", path.display());
                let about = with_file(about.clone(), path);
                findings.push(Finding::new(Rule::TargetLength, about, problem));
            }
        }
    }
}

/// Why a host would not get the file, if it would not.
fn cannot_be_asked_for(name: &str, consistent_snapshot: bool) -> Option<String> {
    if let Err(error) = check_target_name(name) {
        return Some(error.to_string());
    }
    if let Some(c) = name.chars().find(|c| URL_CHARACTERS.contains(c)) {
        return Some(format!(
            "in a URL, '{c}' in the target name {name:?} has a meaning of its own"
        ));
    }
    (consistent_snapshot && name.contains('/')).then(|| {
        format!("the target name {name:?} has a folder, before which or in which the digest goes")
    })
}

/// Whether nothing in the name has to be escaped, and no file store takes it for something else.
fn is_plain(name: &str) -> bool {
    name.chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// Targets that share a finding.
struct Group<'a> {
    first: Vec<&'a str>,
    count: u64,
    bytes: u64,
    absent: u64,
}

impl<'a> Group<'a> {
    fn of(targets: impl Iterator<Item = (&'a str, &'a TargetFacts)>) -> Option<Self> {
        let mut group = Self {
            first: Vec::new(),
            count: 0,
            bytes: 0,
            absent: 0,
        };
        for (name, target) in targets {
            if group.first.len() < super::NAMES_SHOWN {
                group.first.push(name);
            }
            group.count = group.count.saturating_add(1);
            group.bytes = group.bytes.saturating_add(target.length.unwrap_or(0));
            if matches!(target.found, Found::Absent(_)) {
                group.absent = group.absent.saturating_add(1);
            }
        }
        (group.count > 0).then_some(group)
    }
}

impl std::fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&some_of(&self.first, self.count))
    }
}
