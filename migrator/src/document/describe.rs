//! Pure: what a document does, in words, for whoever wrote it and whoever signs it.

use std::fmt::Display;

use super::step::Operation;
use super::{Direction, Document};
use crate::datastore::Value;
use crate::key::Key;

const NOTHING: &str = "nothing";
const COMES_BACK: &str = "nothing; what was kept comes back";

/// One step, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepInWords {
    /// The first one has number 1.
    pub number: usize,
    /// What is written: `rename`.
    pub operation: &'static str,
    /// The variants that it concerns; `None` for all that the document concerns.
    pub variants: Option<Vec<String>>,
    /// What it does on the way to the higher version, one line for each name.
    pub forward: Vec<String>,
    /// What it does on the way back.
    pub backward: Vec<String>,
}

impl StepInWords {
    /// One way.
    pub fn lines(&self, direction: Direction) -> &[String] {
        match direction {
            Direction::Forward => &self.forward,
            Direction::Backward => &self.backward,
        }
    }
}

impl Document {
    /// The variants that it concerns; `None` for all.
    pub fn variants(&self) -> Option<&[String]> {
        self.variants.as_deref()
    }

    /// What each step does, in the order of going forward.
    pub fn in_words(&self) -> Vec<StepInWords> {
        let steps = (1..).zip(&self.steps);
        steps
            .map(|(number, step)| {
                let (operation, forward, backward) = words(&step.operation);
                StepInWords {
                    number,
                    operation,
                    variants: step.variants.clone(),
                    forward,
                    backward,
                }
            })
            .collect()
    }
}

fn words(operation: &Operation) -> (&'static str, Vec<String>, Vec<String>) {
    let one = |text: &str| vec![text.to_owned()];
    match operation {
        Operation::Add {
            settings, prefixes, ..
        } => {
            let prefixes = prefixes.prefixes().iter();
            let removed = settings.keys.iter().map(|key| format!("{key} is removed"));
            let all = prefixes.map(|text| format!("all that begin with {text:?} are removed"));
            ("add", one(NOTHING), removed.chain(all).collect())
        }
        Operation::Remove(remove) => {
            let only = only_if(remove.only_if.as_ref());
            let keys = remove.keys.iter();
            let forward = keys.map(|key| format!("{key} is removed{only}")).collect();
            ("remove", forward, one(COMES_BACK))
        }
        Operation::Rename(rename) => {
            let only = only_if(rename.only_if.as_ref());
            let pair = |from: &Key, to: &Key| {
                format!("{from}, and all within it, is called {to}{only}; {to} stays if it is set")
            };
            let renames = &rename.renames;
            let forward = renames.iter().map(|one| pair(&one.from, &one.to));
            let backward = renames.iter().rev().map(|one| pair(&one.to, &one.from));
            ("rename", forward.collect(), backward.collect())
        }
        Operation::Replace(replace) => {
            let (setting, old, new) = (&replace.setting, &replace.old, &replace.new);
            let (forward, backward) = both(setting, old, new);
            ("replace", forward, backward)
        }
        Operation::ReplaceInList(replace) => {
            let (old, new) = (&replace.old, &replace.new);
            let (forward, backward) = both(&format!("an element of {}", replace.setting), old, new);
            ("replace-in-list", forward, backward)
        }
        Operation::AddMetadata(add) => {
            let backward = each_metadata(&add.items, "");
            ("add-metadata", one(NOTHING), backward)
        }
        Operation::RemoveMetadata(remove) => {
            let forward = each_metadata(&remove.items, &only_if(remove.only_if.as_ref()));
            ("remove-metadata", forward, one(COMES_BACK))
        }
        Operation::ReplaceMetadata(replace) => {
            let (mut forward, mut backward) = (Vec::new(), Vec::new());
            for one in &replace.replacements {
                let what = format!("metadata {} of {}", one.metadata, one.setting);
                let (there, back) = both(&what, &one.old, &one.new);
                forward.extend(there);
                backward.extend(back);
            }
            ("replace-metadata", forward, backward)
        }
    }
}

fn both(what: &dyn Display, old: &dyn Display, new: &dyn Display) -> (Vec<String>, Vec<String>) {
    let becomes =
        |from: &dyn Display, to: &dyn Display| vec![format!("{what}: {from} becomes {to}")];
    (becomes(old, new), becomes(new, old))
}

fn each_metadata(items: &[(Key, Vec<Key>)], only: &str) -> Vec<String> {
    items
        .iter()
        .flat_map(|(setting, names)| names.iter().map(move |name| (setting, name)))
        .map(|(setting, name)| format!("metadata {name} of {setting} is removed{only}"))
        .collect()
}

fn only_if(value: Option<&Value>) -> String {
    value.map_or_else(String::new, |value| format!(", if it is {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each operation, with what it says forward and backward.
    #[test]
    fn every_operation_says_what_it_does_both_ways() {
        let cases = [
            (
                "add = { settings = [\"s.a\"], prefixes = [\"s.p.\"] }",
                "nothing",
                "s.a is removed|all that begin with \"s.p.\" are removed",
            ),
            (
                "remove = { settings = [\"s.a\", \"s.b\"], if-equals = 1 }",
                "s.a is removed, if it is 1|s.b is removed, if it is 1",
                "nothing; what was kept comes back",
            ),
            (
                "rename = { from = \"s.a\", to = \"s.b\" }",
                "s.a, and all within it, is called s.b; s.b stays if it is set",
                "s.b, and all within it, is called s.a; s.a stays if it is set",
            ),
            (
                "replace = { setting = \"s.a\", old = \"x\", new = [1] }",
                "s.a: \"x\" becomes [1]",
                "s.a: [1] becomes \"x\"",
            ),
            (
                "replace-in-list = { setting = \"s.a\", old = \"x\", new = \"y\" }",
                "an element of s.a: \"x\" becomes \"y\"",
                "an element of s.a: \"y\" becomes \"x\"",
            ),
            (
                "add-metadata = { setting = \"s.a\", metadata = [\"m\", \"n\"] }",
                "nothing",
                "metadata m of s.a is removed|metadata n of s.a is removed",
            ),
            (
                "remove-metadata = { setting = \"s.a\", metadata = [\"m\"] }",
                "metadata m of s.a is removed",
                "nothing; what was kept comes back",
            ),
            (
                "replace-metadata = { setting = \"s.a\", metadata = \"m\", old = 1, new = 2 }",
                "metadata m of s.a: 1 becomes 2",
                "metadata m of s.a: 2 becomes 1",
            ),
        ];
        for (step, forward, backward) in cases {
            let text = format!("format = 1\n[[step]]\nvariants = [\"v\"]\n{step}\n");
            let words = Document::parse(text.as_bytes()).unwrap().in_words();
            let [step_in_words] = words.as_slice() else {
                panic!("{step}");
            };
            let (operation, _) = step.split_once(' ').unwrap();
            assert_eq!(step_in_words.operation, operation);
            assert_eq!(step_in_words.variants, Some(vec!["v".to_owned()]));
            assert_eq!(step_in_words.lines(Direction::Forward).join("|"), forward);
            assert_eq!(step_in_words.lines(Direction::Backward).join("|"), backward);
        }
    }
}
