//! Pure: the value of a setting.

use std::fmt;

use serde_json::Value as Json;
use snafu::{ResultExt, Snafu, ensure};

/// Why bytes or JSON are no value.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum ValueError {
    /// It is no JSON.
    #[snafu(display("no JSON value: {source}"))]
    Syntax { source: serde_json::Error },
    /// It is an object, or a list of lists or objects.
    #[snafu(display("neither a JSON scalar nor a list of scalars"))]
    Kind,
}

/// A JSON scalar, or a list of scalars. `null` means no value to the API server; it is carried like
/// any other.
#[derive(Clone, Debug, PartialEq)]
pub struct Value(Json);

impl Value {
    /// The value that a file holds.
    ///
    /// # Errors
    /// Every [`ValueError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ValueError> {
        serde_json::from_slice::<Json>(bytes)
            .context(SyntaxSnafu)?
            .try_into()
    }

    /// The value as JSON.
    pub fn as_json(&self) -> &Json {
        &self.0
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_str()
    }

    /// The scalars of a list.
    pub fn as_list(&self) -> Option<&[Json]> {
        self.0.as_array().map(Vec::as_slice)
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.0 {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::String(_) => "a string",
            Json::Array(_) => "a list",
            Json::Object(_) => "an object",
        }
    }
}

/// The bytes of its file.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<Json> for Value {
    type Error = ValueError;

    fn try_from(json: Json) -> Result<Self, ValueError> {
        let scalar = |json: &Json| !json.is_array() && !json.is_object();
        let fits = match &json {
            Json::Array(list) => list.iter().all(scalar),
            other => scalar(other),
        };
        ensure!(fits, KindSnafu);
        Ok(Self(json))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self(value.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self(number.into())
    }
}

/// A list of strings.
impl From<Vec<String>> for Value {
    fn from(list: Vec<String>) -> Self {
        Self(list.into())
    }
}

/// A list of strings.
impl<const N: usize> From<[&str; N]> for Value {
    fn from(list: [&str; N]) -> Self {
        Self(list.into_iter().map(Json::from).collect())
    }
}
