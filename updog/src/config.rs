//! `/etc/updog.toml`: what was written -> what is meant.
//!
//! [`Config::parse`] is pure; [`Config::load`] reads the file. Every key has a default but the two
//! URLs. Unknown keys are ignored, since an image of another version may have written the file, and
//! named in [`Config::unknown_keys`]. What a value leads to (the machine id, certificates) is read
//! where it is needed, so that no verb fails over what it does not use.

mod folders;
mod reader;
mod seed;
mod socket;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::num::{NonZeroU64, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use signpost::{ActiveChoice, DiskChoice};
use snafu::{ResultExt, Snafu};
use toml::Spanned;
use update_metadata::{Seed, VersionLock};
use url::Url;

use self::reader::{Reader, key_at, line_of, parse_active, parse_proxy};
pub use self::seed::SeedSource;
pub use self::socket::{DEFAULT_SOCKET, Group, SocketSettings};
use crate::repository::transport::{
    ClientIdentity, MAX_METADATA_BYTES, MetadataLimits, RATES, TransportSettings,
};

/// Where the file is when `--config` does not say otherwise.
pub const DEFAULT_PATH: &str = "/etc/updog.toml";
/// A larger file is not a configuration.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// How many threads may be asked for; more only take memory.
pub const THREADS: RangeInclusive<u64> = 1..=64;
/// So many more than there are cores: while some wait for the disk, others compute.
const WAITING_THREADS: u64 = 2;
/// As many are used unasked, at most.
const MAX_DEFAULT_THREADS: u64 = 8;

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
        "{}: key 'seed' is missing, and it cannot be derived from {}",
        path.display(),
        seed::MACHINE_ID
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
    pub seed: SeedSource,
    /// The version that this host is held to.
    pub version_lock: VersionLock,
    /// Whether updates are taken before their wave.
    pub ignore_waves: bool,
    /// Whether blocks are copied from the running set instead of fetched.
    pub delta: bool,
    /// Threads that decode, hash and write; at least one.
    pub threads: usize,
    /// How the repository is reached.
    pub transport: TransportSettings,
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
    /// What reboots this host, and its arguments.
    pub reboot_command: Vec<String>,
    /// The program that converts settings; looked for where it is not named.
    pub migrator: Option<PathBuf>,
    /// The link that all readers of the settings begin with.
    pub datastore: PathBuf,
    /// Where the API is served, and to whom.
    pub socket: SocketSettings,
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
    delta: Option<bool>,
    threads: Option<Spanned<u64>>,
    https_proxy: Option<Spanned<String>>,
    no_proxy: Option<Vec<String>>,
    ca_file: Option<Spanned<PathBuf>>,
    client_certificate: Option<Spanned<PathBuf>>,
    client_key: Option<Spanned<PathBuf>>,
    max_metadata_bytes: Option<Spanned<u64>>,
    max_root_bytes: Option<Spanned<u64>>,
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
    max_bytes_per_second: Option<Spanned<u64>>,
    reboot_command: Option<Spanned<Vec<String>>>,
    migrator: Option<Spanned<PathBuf>>,
    datastore: Option<Spanned<PathBuf>>,
    socket_path: Option<Spanned<PathBuf>>,
    socket_group: Option<Spanned<Group>>,
    #[serde(flatten)]
    unknown: BTreeMap<String, toml::Value>,
}

impl Config {
    /// Reads `path`.
    ///
    /// # Errors
    /// Every [`ConfigError`] but [`ConfigError::NoSeed`]; all name the file, and the line where
    /// there is one.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read_bounded(path)?, path)
    }

    /// The meaning of `text`; `path` is for messages.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`], [`ConfigError::Missing`] and [`ConfigError::Value`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut written: Written = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            message: match key_at(text, error.span().map_or(0, |span| span.start)) {
                Some(key) => format!("key '{key}': {}", error.message()),
                None => error.message().to_owned(),
            },
        })?;
        let reader = Reader { text, path };
        let transport = transport(&reader, &mut written)?;
        let caches = [&written.metadata_cache, &written.migrations_dir]
            .map(|cache| cache.as_ref().map(|cache| cache.span().start));
        let config = Self {
            metadata_base_url: reader
                .base_url("metadata_base_url", written.metadata_base_url.as_ref())?,
            targets_base_url: reader
                .base_url("targets_base_url", written.targets_base_url.as_ref())?,
            seed: match written.seed {
                Some(value) => {
                    SeedSource::Written(reader.read("seed", &value, |&seed| Seed::new(seed))?)
                }
                None => SeedSource::MachineId {
                    config: path.to_owned(),
                },
            },
            version_lock: written
                .version_lock
                .map_or(Ok(VersionLock::Latest), |value| {
                    reader.read("version_lock", &value, |lock| lock.parse::<VersionLock>())
                })?,
            ignore_waves: written.ignore_waves.unwrap_or(false),
            delta: written.delta.unwrap_or(true),
            threads: threads(&reader, written.threads.as_ref())?,
            transport,
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
            migrator: written
                .migrator
                .map(|value| reader.path("migrator", Some(value), ""))
                .transpose()?,
            datastore: reader.path(
                "datastore",
                written.datastore,
                "/var/lib/bottlerocket/datastore/current",
            )?,
            socket: SocketSettings {
                path: reader.path("socket_path", written.socket_path, DEFAULT_SOCKET)?,
                group: written
                    .socket_group
                    .map(|value| reader.read("socket_group", &value, Group::checked))
                    .transpose()?,
            },
            unknown_keys: written.unknown.into_keys().collect(),
        };
        if let Some((key, line, what)) = folders::overlap(&config, caches) {
            return reader.refuse(key, line, &what);
        }
        Ok(config)
    }
}

/// [`WAITING_THREADS`] more than there are cores, up to [`MAX_DEFAULT_THREADS`], if nothing is written.
fn threads(reader: &Reader<'_>, written: Option<&Spanned<u64>>) -> Result<usize, ConfigError> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let default = u64::try_from(cores)
        .unwrap_or(1)
        .saturating_add(WAITING_THREADS)
        .min(MAX_DEFAULT_THREADS);
    let threads = reader.number("threads", written, default, THREADS, "threads")?;
    Ok(usize::try_from(threads).unwrap_or(1))
}

/// What `written` says of how the repository is reached; takes it out.
fn transport(reader: &Reader<'_>, written: &mut Written) -> Result<TransportSettings, ConfigError> {
    let file = |key, value: Option<Spanned<PathBuf>>| {
        value
            .map(|value| reader.path(key, Some(value), ""))
            .transpose()
    };
    let key_line = written.client_key.as_ref().map(|key| key.span().start);
    let certificate_line = written.client_certificate.as_ref().map(|c| c.span().start);
    let certificate = file("client_certificate", written.client_certificate.take())?;
    let key = file("client_key", written.client_key.take())?;
    let client_identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(ClientIdentity { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            let what = "needs 'client_key', the private key to it";
            return reader.refuse("client_certificate", certificate_line, what);
        }
        (None, Some(_)) => {
            let what = "needs 'client_certificate', the certificate that it belongs to";
            return reader.refuse("client_key", key_line, what);
        }
    };
    let limits = MetadataLimits::default();
    let bytes = |key, value: Option<&Spanned<u64>>, default| {
        let most = u64::try_from(MAX_METADATA_BYTES).unwrap_or(u64::MAX);
        reader.number(key, value, default, 1024..=most, "bytes")
    };
    let seconds = |key, value: Option<&Spanned<u64>>, default| {
        let seconds = reader.number(key, value, default, 1..=3600, "seconds")?;
        Ok(Duration::from_secs(seconds))
    };
    Ok(TransportSettings {
        connect_timeout: seconds(
            "connect_timeout_seconds",
            written.connect_timeout_seconds.as_ref(),
            10,
        )?,
        stall_timeout: seconds(
            "stall_timeout_seconds",
            written.stall_timeout_seconds.as_ref(),
            30,
        )?,
        outage_timeout: seconds(
            "outage_timeout_seconds",
            written.outage_timeout_seconds.as_ref(),
            120,
        )?,
        max_rate: NonZeroU64::new(reader.number(
            "max_bytes_per_second",
            written.max_bytes_per_second.as_ref(),
            0,
            RATES,
            "bytes",
        )?),
        https_proxy: written
            .https_proxy
            .take()
            .filter(|value| !value.get_ref().is_empty())
            .map(|value| reader.read("https_proxy", &value, |proxy| parse_proxy(proxy)))
            .transpose()?,
        no_proxy: written.no_proxy.take().unwrap_or_default(),
        ca_file: file("ca_file", written.ca_file.take())?,
        client_identity,
        limits: MetadataLimits {
            root: bytes(
                "max_root_bytes",
                written.max_root_bytes.as_ref(),
                limits.root,
            )?,
            metadata: bytes(
                "max_metadata_bytes",
                written.max_metadata_bytes.as_ref(),
                limits.metadata,
            )?,
        },
    })
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
