//! Where output goes: data to stdout, talk to stderr.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

/// The two streams of the program.
pub(crate) struct Printer<O, E> {
    data: O,
    talk: E,
}

impl<O: Write, E: Write> Printer<O, E> {
    pub(crate) const fn new(data: O, talk: E) -> Self {
        Self { data, talk }
    }

    /// Prints what was asked for.
    pub(crate) fn data(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.data, "{text}")?;
        self.data.flush()
    }

    /// Prints what was asked for, as one JSON object.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        self.data(text)
    }

    /// Says something about it.
    pub(crate) fn talk(&mut self, text: impl Display) {
        // When stderr is gone there is nobody left to tell, and the work is what counts.
        let _ = writeln!(self.talk, "signpost: {text}");
    }

    /// Says what went wrong and why, and on a second line what can be done.
    pub(crate) fn error(&mut self, error: &dyn Error, advice: Option<&str>) {
        let mut chain = error.to_string();
        let mut next = error.source();
        while let Some(source) = next {
            chain.push_str(": ");
            chain.push_str(&source.to_string());
            next = source.source();
        }
        self.talk(chain);
        if let Some(advice) = advice {
            self.talk(advice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_its_chain_on_one_line_and_the_advice_on_the_next() {
        let parsing = "x".parse::<crate::Slot>().unwrap_err();
        let outer = io::Error::other(parsing);
        let (mut data, mut talk) = (Vec::new(), Vec::new());
        Printer::new(&mut data, &mut talk).error(&outer, Some("say A"));
        let said = "signpost: a partition set is A or B\nsignpost: say A\n";
        assert_eq!(String::from_utf8(talk).unwrap(), said);
        assert!(data.is_empty());
    }
}
