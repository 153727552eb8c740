//! Pure: the small part of templates that migrations need.
//!
//! A template is text with `{{ settings.name }}` in it, which stands for the setting's value, and
//! `{{ helper settings.name "text" }}`, which stands for what the helper makes of its arguments. A
//! string is rendered as it is, without escapes, a number and a boolean as in JSON. There are no
//! blocks, no partials, no comments, no lists: a template with those is an error, found before any
//! data is looked at.

use std::collections::BTreeMap;

use super::{MigrationData, MigrationError};
use crate::key::Key;

/// What a helper's name stands for in a template: the text for its arguments, or what is wrong.
pub type Helper = fn(&[&str]) -> Result<String, String>;

pub(super) type Helpers = BTreeMap<String, Helper>;

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Value(Key),
    Call {
        helper: String,
        arguments: Vec<Argument>,
    },
}

#[derive(Debug, PartialEq)]
enum Argument {
    Value(Key),
    Text(String),
}

/// A template that can be rendered.
#[derive(Debug)]
pub(super) struct Template<'a> {
    text: &'a str,
    helpers: &'a Helpers,
    parts: Vec<Part>,
}

impl<'a> Template<'a> {
    pub(super) fn parse(text: &'a str, helpers: &'a Helpers) -> Result<Self, MigrationError> {
        let wrong = |reason: String| MigrationError::Template {
            template: text.to_owned(),
            reason,
        };
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) = after
                .split_once("}}")
                .ok_or_else(|| wrong("a '{{' without its '}}'".to_owned()))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let part = expression(inside, helpers)
                .map_err(|reason| wrong(format!("in '{inside}': {reason}")))?;
            parts.push(part);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self {
            text,
            helpers,
            parts,
        })
    }

    /// The text with the values of `data`; `None` where one of them is missing, or is no scalar.
    ///
    /// # Errors
    /// What a helper finds wrong.
    pub(super) fn render(&self, data: &MigrationData) -> Result<Option<String>, MigrationError> {
        let mut rendered = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => rendered.push_str(text),
                Part::Value(key) => match scalar(data, key) {
                    Some(text) => rendered.push_str(&text),
                    None => return Ok(None),
                },
                Part::Call { helper, arguments } => {
                    let values: Option<Vec<_>> = arguments
                        .iter()
                        .map(|argument| match argument {
                            Argument::Value(key) => scalar(data, key),
                            Argument::Text(text) => Some(text.clone()),
                        })
                        .collect();
                    let (Some(values), Some(call)) = (values, self.helpers.get(helper)) else {
                        return Ok(None);
                    };
                    let values: Vec<_> = values.iter().map(String::as_str).collect();
                    let text = call(&values).map_err(|reason| MigrationError::Template {
                        template: self.text.to_owned(),
                        reason: format!("the helper '{helper}': {reason}"),
                    })?;
                    rendered.push_str(&text);
                }
            }
        }
        Ok(Some(rendered))
    }
}

fn expression(inside: &str, helpers: &Helpers) -> Result<Part, String> {
    let words = words(inside)?;
    let key = |word: &str| Key::data(word).map_err(|error| error.to_string());
    match words.as_slice() {
        [] => Err("nothing to render".to_owned()),
        [Word::Text(_), ..] => Err("a text is no setting and no helper".to_owned()),
        [Word::Bare(name)] => Ok(Part::Value(key(name)?)),
        [Word::Bare(helper), arguments @ ..] => {
            if !helpers.contains_key(*helper) {
                return Err(format!("there is no helper '{helper}'"));
            }
            let argument = |word: &Word<'_>| match word {
                Word::Text(text) => Ok(Argument::Text((*text).to_owned())),
                Word::Bare(name) => key(name).map(Argument::Value),
            };
            Ok(Part::Call {
                helper: (*helper).to_owned(),
                arguments: arguments.iter().map(argument).collect::<Result<_, _>>()?,
            })
        }
    }
}

enum Word<'a> {
    Bare(&'a str),
    Text(&'a str),
}

/// Words between white space; one that begins with a quotation mark ends with the next one.
fn words(inside: &str) -> Result<Vec<Word<'_>>, String> {
    let mut words = Vec::new();
    let mut rest = inside.trim_start();
    while !rest.is_empty() {
        let after = if let Some(text) = rest.strip_prefix('"') {
            let (text, after) = text.split_once('"').ok_or("a text without an end")?;
            if !after.is_empty() && !after.starts_with(char::is_whitespace) {
                return Err("a text is followed by something".to_owned());
            }
            words.push(Word::Text(text));
            after
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            words.push(Word::Bare(word));
            after
        };
        rest = after.trim_start();
    }
    Ok(words)
}

fn scalar(data: &MigrationData, key: &Key) -> Option<String> {
    let value = data.data.get(key)?;
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let json = value.as_json();
    (json.is_number() || json.is_boolean()).then(|| json.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::sample;
    use super::*;

    fn helpers() -> Helpers {
        let join: Helper = |words| {
            if words.contains(&"bad") {
                return Err("bad word".to_owned());
            }
            Ok(words.join("+"))
        };
        Helpers::from([("join".to_owned(), join)])
    }

    #[test]
    fn values_and_helpers_are_rendered() {
        let data = sample(
            json!({"s.a": "x<y", "s.n": 5, "s.t": true, "s.l": ["x"], "s.\"p.q\"": "quoted"}),
            json!({}),
        )
        .unwrap();
        let helpers = helpers();
        for (template, expected) in [
            ("", Some("")),
            ("plain } text", Some("plain } text")),
            ("{{s.a}}", Some("x<y")),
            ("a {{ s.a }}-{{s.n}}{{ s.t }} z", Some("a x<y-5true z")),
            ("{{ s.\"p.q\" }}", Some("quoted")),
            ("{{ join s.a \"two words\" s.n }}", Some("x<y+two words+5")),
            ("{{ s.missing }}", None),
            ("{{ s.l }}", None),
            ("{{ join s.missing }}", None),
        ] {
            let rendered = Template::parse(template, &helpers).unwrap().render(&data);
            assert_eq!(rendered.unwrap().as_deref(), expected, "{template}");
        }
        let error = Template::parse("{{ join \"bad\" }}", &helpers)
            .unwrap()
            .render(&data)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the template \"{{ join \\\"bad\\\" }}\": the helper 'join': bad word"
        );
    }

    #[test]
    fn what_is_beyond_the_small_part_is_an_error() {
        for (template, reason) in [
            ("{{", "a '{{' without its '}}'"),
            ("{{ }}", "nothing to render"),
            ("{{ \"x\" }}", "a text is no setting"),
            ("{{#if s.a}}x{{/if}}", "there is no helper '#if'"),
            ("{{{s.a}}}", "has the character '{'"),
            ("{{! note }}", "there is no helper '!'"),
            ("{{ other s.a }}", "there is no helper 'other'"),
            ("{{ join \"x }}", "a text without an end"),
            ("{{ join \"x\"y }}", "a text is followed by something"),
        ] {
            let helpers = helpers();
            let error = Template::parse(template, &helpers).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
