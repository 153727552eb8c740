//! What the booting image says of itself, as settings below `os`.
//!
//! Reads the file as `update_metadata::OsRelease` does, which a migration does not have: it stays small.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::MigrationData;
use crate::datastore::Value;
use crate::key::Key;

pub(super) const OS_RELEASE: &str = "/usr/lib/os-release";

const MAX_FILE_BYTES: u64 = 1 << 20;

/// The values that migrations see, by the key of the file.
const NAMES: [(&str, &str); 4] = [
    ("PRETTY_NAME", "os.pretty_name"),
    ("VARIANT_ID", "os.variant_id"),
    ("VERSION_ID", "os.version_id"),
    ("BUILD_ID", "os.build_id"),
];

/// The values of the file at `path`, and the architecture that this program was built for.
///
/// # Errors
/// That of reading the file.
pub(super) fn load(path: &Path) -> io::Result<Vec<(Key, Value)>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

/// Pure: the same of the file's text. Of a repeated key the last one counts; a key that is missing
/// gives no value.
fn parse(text: &str) -> Vec<(Key, Value)> {
    let find = |wanted: &str| {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
            .map(|(_, value)| unquote(value.trim()))
            .next_back()
    };
    NAMES
        .into_iter()
        .filter_map(|(name, key)| Some((key, find(name)?)))
        .chain([("os.arch", std::env::consts::ARCH)])
        .filter_map(|(key, value)| Some((Key::data(key).ok()?, value.into())))
        .collect()
}

fn unquote(value: &str) -> &str {
    let value = value.strip_prefix('"').unwrap_or(value);
    value.strip_suffix('"').unwrap_or(value)
}

/// Puts the values into `data`.
pub(super) fn merge(values: &[(Key, Value)], data: &mut MigrationData) {
    for (key, value) in values {
        data.data.insert(key.clone(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::sample;
    use super::*;

    #[test]
    fn the_files_keys_become_settings() {
        let text = "PRETTY_NAME=\"Demo OS 1.2.3\"\n# VERSION_ID=0\nVERSION_ID=1.0.0\n\
                    version_id=1.2.3\nnonsense\nID=demo\nBUILD_ID=abc=d\n";
        let mut data = sample(json!({"os.version_id": "0.9.0"}), json!({})).unwrap();
        merge(&parse(text), &mut data);
        let expected = sample(
            json!({
                "os.pretty_name": "Demo OS 1.2.3",
                "os.version_id": "1.2.3",
                "os.build_id": "abc=d",
                "os.arch": std::env::consts::ARCH,
            }),
            json!({}),
        );
        assert_eq!(data, expected.unwrap());
    }
}
