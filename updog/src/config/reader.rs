//! Pure: from one written value to what it means, or to a message with file, line and key.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use signpost::{ActiveChoice, Slot};
use snafu::OptionExt;
use toml::Spanned;
use url::Url;

use super::{ConfigError, MissingSnafu, ValueSnafu};

/// Turns written values into meant ones, and failures into messages with file, line and key.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) path: &'a Path,
}

impl Reader<'_> {
    pub(super) fn read<T, U, E: ToString>(
        &self,
        key: &'static str,
        value: &Spanned<T>,
        parse: impl FnOnce(&T) -> Result<U, E>,
    ) -> Result<U, ConfigError> {
        parse(value.get_ref()).map_err(|error| ConfigError::Value {
            path: self.path.to_owned(),
            line: line_of(self.text, value.span().start),
            key,
            message: error.to_string(),
        })
    }

    pub(super) fn base_url(
        &self,
        key: &'static str,
        value: Option<&Spanned<String>>,
    ) -> Result<Url, ConfigError> {
        let value = value.context(MissingSnafu {
            path: self.path,
            key,
        })?;
        self.read(key, value, |text| parse_base_url(text))
    }

    pub(super) fn path(
        &self,
        key: &'static str,
        value: Option<Spanned<PathBuf>>,
        default: &str,
    ) -> Result<PathBuf, ConfigError> {
        let Some(value) = value else {
            return Ok(PathBuf::from(default));
        };
        self.read(key, &value, |path| {
            if path.is_absolute() {
                Ok(path.clone())
            } else {
                Err(format!("'{}' is not an absolute path", path.display()))
            }
        })
    }

    pub(super) fn number(
        &self,
        key: &'static str,
        value: Option<&Spanned<u64>>,
        default: u64,
        range: RangeInclusive<u64>,
        unit: &str,
    ) -> Result<u64, ConfigError> {
        let Some(value) = value else {
            return Ok(default);
        };
        self.read(key, value, |&number| {
            if range.contains(&number) {
                Ok(number)
            } else {
                let (least, most) = (range.start(), range.end());
                Err(format!("must be from {least} to {most} {unit}"))
            }
        })
    }

    /// Refuses the value of `key`, which is at `offset`, because of another key.
    pub(super) fn refuse<T>(
        &self,
        key: &'static str,
        offset: Option<usize>,
        message: &str,
    ) -> Result<T, ConfigError> {
        ValueSnafu {
            path: self.path,
            line: line_of(self.text, offset.unwrap_or(0)),
            key,
            message,
        }
        .fail()
    }
}

fn parse_base_url(text: &str) -> Result<Url, String> {
    let mut url: Url = text
        .parse()
        .map_err(|error| format!("'{text}' is not a URL: {error}"))?;
    if !matches!(url.scheme(), "https" | "http" | "file") {
        return Err(format!("'{text}' is not an https, http or file URL"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!(
            "'{text}' has a query or a fragment; a base URL has none"
        ));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

pub(super) fn parse_proxy(text: &str) -> Result<Url, String> {
    // `host:port` is how proxies are often written; it is http.
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url: Url = with_scheme
        .parse()
        .map_err(|error| format!("'{text}' is not a proxy URL: {error}"))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err(format!("'{text}' is not an http or https proxy URL"))
    }
}

pub(super) fn parse_active(text: &str) -> Result<ActiveChoice, String> {
    match text {
        "auto" => Ok(ActiveChoice::Auto),
        "A" => Ok(ActiveChoice::Set(Slot::A)),
        "B" => Ok(ActiveChoice::Set(Slot::B)),
        other => Err(format!("'{other}' is not \"auto\", \"A\" or \"B\"")),
    }
}

/// The key of the line that `offset` is on.
pub(super) fn key_at(text: &str, offset: usize) -> Option<&str> {
    let line = text.lines().nth(line_of(text, offset) - 1)?;
    let key = line.split_once('=')?.0.trim();
    let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (!key.is_empty() && key.chars().all(is_key)).then_some(key)
}

pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}
