//! An error with its causes on one line, for deserialisers that can carry nothing but text.

use std::error::Error;
use std::fmt;

/// Shows an error and every cause beneath it, joined by colons.
///
/// `serde` keeps the text of a custom error and drops its source, so the causes have to be written
/// out at that border.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Chain;
    use crate::VersionLock;

    #[test]
    fn causes_follow_the_error_they_explain() {
        let error = "1.0".parse::<VersionLock>().unwrap_err();
        assert_eq!(
            Chain(&error).to_string(),
            "\"1.0\" is neither `latest` nor a full version: \
             unexpected end of input while parsing minor version number"
        );
    }
}
