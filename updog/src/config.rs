//! `/etc/updog.toml`: what was written -> what is meant.
//!
//! [`Config::parse`] is pure but for the machine id, which it asks for only where `seed` is missing;
//! [`Config::load`] reads the files. Every key has a default but the two URLs. Unknown keys are ignored, since an image
//! of another version may have written the file, and named in [`Config::unknown_keys`].

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use signpost::{ActiveChoice, DiskChoice, Slot};
use snafu::{OptionExt, ResultExt, Snafu};
use toml::Spanned;
use update_metadata::{Seed, VersionLock};
use url::Url;

/// Where the file is when `--config` does not say otherwise.
pub const DEFAULT_PATH: &str = "/etc/updog.toml";
/// A larger file is not a configuration.
const MAX_FILE_BYTES: u64 = 1 << 20;
const MACHINE_ID: &str = "/etc/machine-id";

/// Why there is no usable configuration.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum ConfigError {
    /// The file cannot be read.
    #[snafu(display("reading configuration {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The file is larger than any configuration.
    #[snafu(display("configuration {} is larger than {MAX_FILE_BYTES} bytes", path.display()))]
    TooLarge { path: PathBuf },
    /// The file is not TOML, or a key has a value of another type.
    #[snafu(display("{}:{line}: {message}", path.display()))]
    Syntax {
        path: PathBuf,
        line: usize,
        message: String,
    },
    /// A key that has no default is missing.
    #[snafu(display("{}: key '{key}' is missing", path.display()))]
    Missing { path: PathBuf, key: &'static str },
    /// A key has a value that means nothing.
    #[snafu(display("{}:{line}: key '{key}': {message}", path.display()))]
    Value {
        path: PathBuf,
        line: usize,
        key: &'static str,
        message: String,
    },
    /// There is no `seed`, and nothing to derive one from.
    #[snafu(display(
        "{}: key 'seed' is missing, and it cannot be derived from {MACHINE_ID}", path.display()
    ))]
    NoSeed { path: PathBuf, source: io::Error },
}

/// Everything that an operator can set, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where `timestamp.json` is; ends with a slash.
    pub metadata_base_url: Url,
    /// Where targets are; ends with a slash.
    pub targets_base_url: Url,
    /// This host's place in the waves.
    pub seed: Seed,
    /// The version that this host is held to.
    pub version_lock: VersionLock,
    /// Whether updates are taken before their wave.
    pub ignore_waves: bool,
    /// The proxy for https; the environment's `HTTPS_PROXY` where it is not set.
    pub https_proxy: Option<Url>,
    /// Hosts that are reached without the proxy.
    pub no_proxy: Vec<String>,
    /// The root of trust that the image ships.
    pub trusted_root: PathBuf,
    /// Says which version and variant runs.
    pub os_release: PathBuf,
    /// What the engine remembers between runs.
    pub state_dir: PathBuf,
    /// Verified metadata, for the migrator of the next boot.
    pub metadata_cache: PathBuf,
    /// Migration targets, for the migrator of the next boot.
    pub migrations_dir: PathBuf,
    /// Held by whoever changes the disk.
    pub lock_file: PathBuf,
    /// The disk that carries the partition sets.
    pub disk: DiskChoice,
    /// The set that runs.
    pub active: ActiveChoice,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long a transfer may stand still.
    pub stall_timeout: Duration,
    /// How long a transfer may bring nothing at all.
    pub outage_timeout: Duration,
    /// What reboots this host, and its arguments.
    pub reboot_command: Vec<String>,
    /// Keys of the file that mean nothing to this version.
    pub unknown_keys: Vec<String>,
}

/// The file as written. Spans lead from a value back to its line.
#[derive(Debug, Deserialize)]
struct Written {
    metadata_base_url: Option<Spanned<String>>,
    targets_base_url: Option<Spanned<String>>,
    seed: Option<Spanned<u32>>,
    version_lock: Option<Spanned<String>>,
    ignore_waves: Option<bool>,
    https_proxy: Option<Spanned<String>>,
    no_proxy: Option<Vec<String>>,
    trusted_root: Option<Spanned<PathBuf>>,
    os_release: Option<Spanned<PathBuf>>,
    state_dir: Option<Spanned<PathBuf>>,
    metadata_cache: Option<Spanned<PathBuf>>,
    migrations_dir: Option<Spanned<PathBuf>>,
    lock_file: Option<Spanned<PathBuf>>,
    disk: Option<Spanned<PathBuf>>,
    active: Option<Spanned<String>>,
    connect_timeout_seconds: Option<Spanned<u64>>,
    stall_timeout_seconds: Option<Spanned<u64>>,
    outage_timeout_seconds: Option<Spanned<u64>>,
    reboot_command: Option<Spanned<Vec<String>>>,
    #[serde(flatten)]
    unknown: BTreeMap<String, toml::Value>,
}

impl Config {
    /// Reads `path`, and the machine id where the file has no `seed`.
    ///
    /// # Errors
    /// Every [`ConfigError`]; all name the file, and the line where there is one.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read_bounded(path)?, path, || {
            fs::read_to_string(MACHINE_ID)
        })
    }

    /// The meaning of `text`; `path` is for messages, and `machine_id` is asked where there is no
    /// `seed`.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`], [`ConfigError::Missing`], [`ConfigError::Value`], and
    /// [`ConfigError::NoSeed`] where the machine id is needed and fails.
    pub fn parse(
        text: &str,
        path: &Path,
        machine_id: impl FnOnce() -> io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let written: Written = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            message: match key_at(text, error.span().map_or(0, |span| span.start)) {
                Some(key) => format!("key '{key}': {}", error.message()),
                None => error.message().to_owned(),
            },
        })?;
        let reader = Reader { text, path };
        Ok(Self {
            metadata_base_url: reader
                .base_url("metadata_base_url", written.metadata_base_url.as_ref())?,
            targets_base_url: reader
                .base_url("targets_base_url", written.targets_base_url.as_ref())?,
            seed: match written.seed {
                Some(value) => reader.read("seed", &value, |&seed| Seed::new(seed))?,
                None => derive_seed(machine_id().context(NoSeedSnafu { path })?.trim()),
            },
            version_lock: written
                .version_lock
                .map_or(Ok(VersionLock::Latest), |value| {
                    reader.read("version_lock", &value, |lock| lock.parse::<VersionLock>())
                })?,
            ignore_waves: written.ignore_waves.unwrap_or(false),
            https_proxy: written
                .https_proxy
                .filter(|value| !value.get_ref().is_empty())
                .map(|value| reader.read("https_proxy", &value, |proxy| parse_proxy(proxy)))
                .transpose()?,
            no_proxy: written.no_proxy.unwrap_or_default(),
            trusted_root: reader.path(
                "trusted_root",
                written.trusted_root,
                "/usr/share/updog/root.json",
            )?,
            os_release: reader.path("os_release", written.os_release, "/usr/lib/os-release")?,
            state_dir: reader.path("state_dir", written.state_dir, "/var/lib/updog")?,
            metadata_cache: reader.path(
                "metadata_cache",
                written.metadata_cache,
                "/var/cache/bottlerocket-metadata",
            )?,
            migrations_dir: reader.path(
                "migrations_dir",
                written.migrations_dir,
                "/var/lib/bottlerocket-migrations",
            )?,
            lock_file: reader.path("lock_file", written.lock_file, "/run/updog/lock")?,
            disk: match written.disk {
                None => DiskChoice::Auto,
                Some(value) if value.get_ref() == Path::new("auto") => DiskChoice::Auto,
                Some(value) => DiskChoice::Path(reader.path("disk", Some(value), "")?),
            },
            active: written.active.map_or(Ok(ActiveChoice::Auto), |value| {
                reader.read("active", &value, |active| parse_active(active))
            })?,
            connect_timeout: reader.seconds(
                "connect_timeout_seconds",
                written.connect_timeout_seconds.as_ref(),
                10,
            )?,
            stall_timeout: reader.seconds(
                "stall_timeout_seconds",
                written.stall_timeout_seconds.as_ref(),
                30,
            )?,
            outage_timeout: reader.seconds(
                "outage_timeout_seconds",
                written.outage_timeout_seconds.as_ref(),
                120,
            )?,
            reboot_command: written.reboot_command.map_or_else(
                || Ok(["shutdown", "-r", "now"].map(str::to_owned).to_vec()),
                |value| {
                    reader.read("reboot_command", &value, |command| {
                        if command.is_empty() || command.iter().any(String::is_empty) {
                            Err("must be a program and its arguments, none of them empty")
                        } else {
                            Ok(command.clone())
                        }
                    })
                },
            )?,
            unknown_keys: written.unknown.into_keys().collect(),
        })
    }
}

/// Turns written values into meant ones, and failures into messages with file, line and key.
struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Reader<'_> {
    fn read<T, U, E: ToString>(
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

    fn base_url(
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

    fn path(
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

    fn seconds(
        &self,
        key: &'static str,
        value: Option<&Spanned<u64>>,
        default: u64,
    ) -> Result<Duration, ConfigError> {
        let Some(value) = value else {
            return Ok(Duration::from_secs(default));
        };
        self.read(key, value, |&seconds| {
            if (1..=3600).contains(&seconds) {
                Ok(Duration::from_secs(seconds))
            } else {
                Err("must be from 1 to 3600 seconds")
            }
        })
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

fn parse_proxy(text: &str) -> Result<Url, String> {
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

fn parse_active(text: &str) -> Result<ActiveChoice, String> {
    match text {
        "auto" => Ok(ActiveChoice::Auto),
        "A" => Ok(ActiveChoice::Set(Slot::A)),
        "B" => Ok(ActiveChoice::Set(Slot::B)),
        other => Err(format!("'{other}' is not \"auto\", \"A\" or \"B\"")),
    }
}

/// A host without a configured seed keeps one place in the waves for as long as it keeps its
/// machine id. The id itself is confidential (machine-id(5)), hence the keyed hash.
fn derive_seed(machine_id: &str) -> Seed {
    let hash = Sha256::new()
        .chain_update(b"updog wave seed\0")
        .chain_update(machine_id)
        .finalize();
    let first = hash
        .first_chunk::<8>()
        .expect("a SHA-256 digest has 32 bytes");
    Seed::from_u64(u64::from_be_bytes(*first))
}

/// The key of the line that `offset` is on.
fn key_at(text: &str, offset: usize) -> Option<&str> {
    let line = text.lines().nth(line_of(text, offset) - 1)?;
    let key = line.split_once('=')?.0.trim();
    let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (!key.is_empty() && key.chars().all(is_key)).then_some(key)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

fn read_bounded(path: &Path) -> Result<String, ConfigError> {
    let mut text = String::new();
    let file = fs::File::open(path).context(ReadSnafu { path })?;
    let length = file
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .context(ReadSnafu { path })?;
    if u64::try_from(length).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return TooLargeSnafu { path }.fail();
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
