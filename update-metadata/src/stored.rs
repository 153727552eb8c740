//! Files that outlive the version that wrote them: JSON objects with the key `schema`.
//!
//! After a fallback an older engine finds what a newer one wrote. A form that it does not know is
//! neither an error nor replaced, so every reader of such a file asks here first.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};

/// What such a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored<T> {
    /// Something in the reader's own form.
    Known(T),
    /// Something in the form of a newer version. The file stays as it is.
    Newer,
}

impl<T: DeserializeOwned> Stored<T> {
    /// Reads `bytes`, in the form of number `schema` or a newer one.
    ///
    /// # Errors
    /// When they are neither: the file is damaged, and may be begun anew.
    pub fn from_slice(bytes: &[u8], schema: u32) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Form {
            schema: u32,
        }
        let found = serde_json::from_slice::<Form>(bytes)?.schema;
        if found > schema {
            return Ok(Self::Newer);
        }
        if found < schema {
            return Err(serde_json::Error::custom(format!(
                "schema {found} is none of this file"
            )));
        }
        serde_json::from_slice(bytes).map(Self::Known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    struct Counter {
        count: u32,
    }

    fn read(text: &str) -> Result<Stored<Counter>, serde_json::Error> {
        Stored::from_slice(text.as_bytes(), 2)
    }

    #[test]
    fn the_readers_form_is_read_whatever_else_it_has() {
        let known = Stored::Known(Counter { count: 3 });
        for text in [
            r#"{"schema": 2, "count": 3}"#,
            r#"{"count": 3, "added": [1], "schema": 2}"#,
        ] {
            assert_eq!(read(text).unwrap(), known, "{text}");
        }
    }

    #[test]
    fn a_newer_form_is_told_apart_whatever_it_looks_like() {
        for text in [
            r#"{"schema": 3}"#,
            r#"{"schema": 4294967295, "count": "many"}"#,
        ] {
            assert_eq!(read(text).unwrap(), Stored::Newer, "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_damaged() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"count": 3}"#,
            r#"{"schema": 2}"#,
            r#"{"schema": 1, "count": 3}"#,
            r#"{"schema": 0, "count": 3}"#,
            r#"{"schema": -1, "count": 3}"#,
            r#"{"schema": 4294967296, "count": 3}"#,
            r#"{"schema": "3"}"#,
        ] {
            read(text).unwrap_err();
        }
    }
}
