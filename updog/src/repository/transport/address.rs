//! Pure: where a file of the repository is asked for, and that it lies in one of its two folders.
//!
//! Names of targets come from signed metadata of anybody's making. They are asked for below the
//! base URL or not at all: a part that a server, or the file system, could take for more than one
//! part (`%2F`) is refused like one that climbs.
//!
//! A target in a sub-folder is asked for as the specification names it, `dir/HASH.file`. tough
//! names it `HASH.dir/file`, and so do repositories that were written with it; that is the second
//! place to look.

use std::path::Path;

use snafu::ensure;
use url::Url;

use super::error::{OutsideSnafu, TransferError};

/// Hex digits of a SHA-256.
const DIGEST_DIGITS: usize = 64;

/// The repository's two folders; both URLs end with a slash.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) metadata: Url,
    pub(super) targets: Url,
}

/// Where to ask for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Here first.
    pub(super) first: Url,
    /// And here where the first does not exist.
    pub(super) second: Option<Url>,
}

impl Places {
    pub(super) fn uses_https(&self) -> bool {
        [&self.metadata, &self.targets]
            .iter()
            .any(|url| url.scheme() == "https")
    }

    /// The file name of `url` if it lies right in the metadata folder.
    pub(super) fn metadata_name<'a>(&self, url: &'a Url) -> Option<&'a str> {
        let name = url.as_str().strip_prefix(self.metadata.as_str())?;
        let is_role = Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "json");
        (is_role && !name.contains('/')).then_some(name)
    }

    /// Where to ask for what tough calls `url`.
    ///
    /// # Errors
    /// [`TransferError::Outside`].
    pub(super) fn address(&self, url: &Url) -> Result<Address, TransferError> {
        if self.metadata_name(url).is_some() {
            let name = below(&self.metadata, url)?;
            return Ok(Address {
                first: joined(&self.metadata, &name)?,
                second: None,
            });
        }
        let name = below(&self.targets, url)?;
        let named_by_tough = joined(&self.targets, &name)?;
        Ok(match as_specified(&name) {
            Some(specified) => Address {
                first: joined(&self.targets, &specified)?,
                second: Some(named_by_tough),
            },
            None => Address {
                first: named_by_tough,
                second: None,
            },
        })
    }
}

/// What follows `base` in `url`, as a relative path in a URL's form.
fn below(base: &Url, url: &Url) -> Result<String, TransferError> {
    // Bases have neither query nor fragment: what looks like one belongs to the name.
    let name = url
        .as_str()
        .strip_prefix(base.as_str())
        .map(|name| name.replace('?', "%3F").replace('#', "%23"))
        .unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    let hides_more = ["%2f", "%5c", "%00"]
        .iter()
        .any(|hidden| lower.contains(hidden));
    let has_parts = name.split('/').all(|part| !part.is_empty());
    ensure!(has_parts && !hides_more, OutsideSnafu);
    Ok(name)
}

/// `base` and `name`, if that is below `base`: the parser has resolved every `..` by now.
fn joined(base: &Url, name: &str) -> Result<Url, TransferError> {
    // `./` keeps a colon in the first part from making a scheme of it.
    base.join(&format!("./{name}"))
        .ok()
        .filter(|url| url.as_str().starts_with(base.as_str()))
        .ok_or(TransferError::Outside)
}

/// `dir/HASH.file` for `HASH.dir/file`.
fn as_specified(name: &str) -> Option<String> {
    let (digest, path) = name.split_at_checked(DIGEST_DIGITS)?;
    let path = path.strip_prefix('.')?;
    let (folder, file) = path.rsplit_once('/')?;
    let is_digest = digest
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
    (is_digest && !folder.is_empty() && !folder.starts_with('/') && !file.is_empty())
        .then(|| format!("{folder}/{digest}.{file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn places(targets: &str) -> Places {
        Places {
            metadata: "https://example.com/meta/".parse().unwrap(),
            targets: targets.parse().unwrap(),
        }
    }

    /// As tough makes the URL of a target.
    fn of_target(targets: &str, name: &str) -> Result<Address, TransferError> {
        let places = places(targets);
        let url = places.targets.join(name).unwrap();
        places.address(&url)
    }

    #[test]
    fn a_target_in_a_folder_is_asked_for_as_specified_and_then_as_tough_has_it() {
        for base in ["https://example.com/targets/", "file:///srv/targets/"] {
            for (name, first, second) in [
                (format!("{HASH}.f"), format!("{HASH}.f"), None),
                ("f".to_owned(), "f".to_owned(), None),
                ("d/f".to_owned(), "d/f".to_owned(), None),
                (
                    format!("{HASH}.d/f"),
                    format!("d/{HASH}.f"),
                    Some(format!("{HASH}.d/f")),
                ),
                (
                    format!("{HASH}.d/e/f g"),
                    format!("d/e/{HASH}.f%20g"),
                    Some(format!("{HASH}.d/e/f%20g")),
                ),
                (format!("{HASH}./f"), format!("{HASH}./f"), None),
                ("0.c:d".to_owned(), "0.c:d".to_owned(), None),
                (format!("{HASH}.a?b#c"), format!("{HASH}.a%3Fb%23c"), None),
                (
                    format!("{HASH}.what?/f"),
                    format!("what%3F/{HASH}.f"),
                    Some(format!("{HASH}.what%3F/f")),
                ),
            ] {
                let url = |name: &str| format!("{base}{name}").parse::<Url>().unwrap();
                let expected = Address {
                    first: url(&first),
                    second: second.as_deref().map(url),
                };
                assert_eq!(of_target(base, &name).unwrap(), expected, "{name}");
            }
        }
    }

    #[test]
    fn nothing_outside_the_two_folders_is_asked_for() {
        for base in ["https://example.com/targets/", "file:///srv/targets/"] {
            for name in [
                "../secret",
                "/etc/shadow",
                "a/../../secret",
                "a/%2e%2e/%2E%2e/secret",
                "..%2Fsecret",
                "%2e%2e%2fsecret",
                "a%2F..%2F..%2Fsecret",
                "a%5C..%5Csecret",
                "a%00b",
                "..\\secret",
                "https://elsewhere.example/x",
                "file:///etc/shadow",
                "//elsewhere.example/x",
                "",
                "a/",
                "a//b",
            ] {
                let found = of_target(base, name);
                assert!(matches!(found, Err(TransferError::Outside)), "{name}");
            }
        }
    }

    #[test]
    fn a_name_that_only_looks_like_a_way_out_stays_inside() {
        // What resolves to a name inside is that name.
        let base = "file:///srv/targets/";
        for (name, path) in [
            ("a/../b", "/srv/targets/b"),
            ("..hidden", "/srv/targets/..hidden"),
            ("%252e%252e/f", "/srv/targets/%2e%2e/f"),
        ] {
            let address = of_target(base, name).unwrap();
            let found = address.first.to_file_path().unwrap();
            assert_eq!(found, Path::new(path), "{name}");
        }
    }

    #[test]
    fn metadata_are_told_from_targets() {
        let places = places("https://example.com/meta/targets/");
        for (url, name) in [
            (
                "https://example.com/meta/timestamp.json",
                Some("timestamp.json"),
            ),
            ("https://example.com/meta/2.root.json", Some("2.root.json")),
            ("https://example.com/meta/targets/x.json", None),
            ("https://example.com/meta/x", None),
            ("https://example.com/x.json", None),
        ] {
            let url = url.parse().unwrap();
            assert_eq!(places.metadata_name(&url), name, "{url}");
        }
    }
}
