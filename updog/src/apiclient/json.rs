//! PURE: JSON as it came, indented. Order of keys and digits of numbers stay, unlike in a value that is
//! read and written again.

use std::io::{self, Write};

use serde_json::Value;

/// Text that is JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// `text`, if it is JSON. That also bounds how deep values are in others, and by that how far a
    /// line is indented.
    pub(super) fn of(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<Value>(text).map(|_| Self(text))
    }

    /// Writes it indented by two, and a newline.
    pub(super) fn indent(self, out: &mut impl Write) -> io::Result<()> {
        indent(self.0, out)
    }
}

fn indent(text: &str, out: &mut impl Write) -> io::Result<()> {
    let mut depth = 0;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                write!(out, "\"")?;
                while let Some(c) = rest.next() {
                    match c {
                        '\\' => write!(out, "\\{}", rest.next().unwrap_or_default())?,
                        // JSON lets them stand; a terminal would obey.
                        c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c))?,
                        c => write!(out, "{c}")?,
                    }
                    if c == '"' {
                        break;
                    }
                }
            }
            '{' | '[' => {
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = rest.next_if(|c| matches!(c, '}' | ']')) {
                    write!(out, "{c}{end}")?;
                } else {
                    depth += 1;
                    write!(out, "{c}\n{:1$}", "", depth * 2)?;
                }
            }
            '}' | ']' => {
                depth -= 1;
                write!(out, "\n{:1$}{c}", "", depth * 2)?;
            }
            ',' => write!(out, ",\n{:1$}", "", depth * 2)?,
            ':' => write!(out, ": ")?,
            c if c.is_ascii_whitespace() => {}
            c => write!(out, "{c}")?,
        }
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn indented(text: &str) -> String {
        let mut out = Vec::new();
        Json::of(text).unwrap().indent(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn keys_and_numbers_stay_as_they_are() {
        let text = r#"{"b":1.50,"a":18446744073709551616,"c":{"n":[ ],"o":{}}}"#;
        let expected = r#"{
  "b": 1.50,
  "a": 18446744073709551616,
  "c": {
    "n": [],
    "o": {}
  }
}
"#;
        assert_eq!(indented(text), expected);
    }

    #[test]
    fn no_string_talks_to_a_terminal() {
        assert_eq!(
            indented("\"a\u{9b}2J\\\"\\\\\""),
            "\"a\\u009b2J\\\"\\\\\"\n"
        );
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_refused() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        for text in ["", "{", "{\"a\":1} {}", "<html>", &deep] {
            assert!(Json::of(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_is_what_the_library_makes_of_a_value(value in value()) {
            let compact = serde_json::to_string(&value).unwrap();
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(indented(&compact), format!("{pretty}\n"));
            prop_assert_eq!(indented(&pretty), format!("{pretty}\n"));
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ -~]{0,4}", inner, 0..4).prop_map(Value::from_iter),
            ]
        })
    }
}
