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
mod tests {
    use super::*;

    const URLS: &str = "metadata_base_url = \"https://example.com/meta\"\n\
                        targets_base_url = \"https://example.com/targets/\"\n";

    fn parse(more: &str) -> Result<Config, String> {
        Config::parse(
            &format!("{URLS}{more}"),
            Path::new("/etc/updog.toml"),
            || Ok("0123456789abcdef0123456789abcdef\n".to_owned()),
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn everything_but_the_urls_has_a_default() {
        let config = parse("").unwrap();
        assert_eq!(
            config.metadata_base_url.as_str(),
            "https://example.com/meta/"
        );
        assert_eq!(
            config.targets_base_url.as_str(),
            "https://example.com/targets/"
        );
        assert_eq!(config.version_lock, VersionLock::Latest);
        assert!(!config.ignore_waves);
        assert_eq!(config.trusted_root, Path::new("/usr/share/updog/root.json"));
        assert_eq!(config.lock_file, Path::new("/run/updog/lock"));
        assert_eq!(config.disk, DiskChoice::Auto);
        assert_eq!(config.active, ActiveChoice::Auto);
        assert_eq!(config.reboot_command, ["shutdown", "-r", "now"]);
    }

    #[test]
    fn every_key_is_read() {
        let config = parse(
            "seed = 2047\nversion_lock = \"v1.2.3\"\nignore_waves = true\n\
             https_proxy = \"proxy.example:3128\"\nno_proxy = [\"localhost\"]\n\
             trusted_root = \"/a\"\nos_release = \"/b\"\nstate_dir = \"/c\"\n\
             metadata_cache = \"/d\"\nmigrations_dir = \"/e\"\nlock_file = \"/f\"\n\
             disk = \"/g\"\nactive = \"B\"\nconnect_timeout_seconds = 1\n\
             stall_timeout_seconds = 3600\noutage_timeout_seconds = 2\nreboot_command = [\"true\"]\n",
        )
        .unwrap();
        assert_eq!(config.seed.get(), 2047);
        assert_eq!(
            config.version_lock,
            VersionLock::Exactly("1.2.3".parse().unwrap())
        );
        assert!(config.ignore_waves);
        assert_eq!(
            config.https_proxy.unwrap().as_str(),
            "http://proxy.example:3128/"
        );
        assert_eq!(config.no_proxy, ["localhost"]);
        let paths = [
            &config.trusted_root,
            &config.os_release,
            &config.state_dir,
            &config.metadata_cache,
            &config.migrations_dir,
            &config.lock_file,
        ];
        assert_eq!(
            paths.map(|path| path.to_str().unwrap()),
            ["/a", "/b", "/c", "/d", "/e", "/f"]
        );
        assert_eq!(config.disk, DiskChoice::Path("/g".into()));
        assert_eq!(config.active, ActiveChoice::Set(Slot::B));
        assert_eq!(config.connect_timeout, Duration::from_secs(1));
        assert_eq!(config.stall_timeout, Duration::from_secs(3600));
        assert_eq!(config.outage_timeout, Duration::from_secs(2));
        assert_eq!(config.reboot_command, ["true"]);
    }

    #[test]
    fn an_empty_proxy_is_none() {
        assert_eq!(parse("https_proxy = \"\"\n").unwrap().https_proxy, None);
    }

    #[test]
    fn unknown_keys_are_kept_harmless() {
        let config = parse("colour = \"red\"\n[later]\na = 1\n").unwrap();
        assert_eq!(config.unknown_keys, ["colour", "later"]);
    }

    #[test]
    fn a_wrong_value_is_refused_with_file_line_and_key() {
        for (line, expected) in [
            ("seed = 2048", "key 'seed': "),
            ("version_lock = \"1.0\"", "key 'version_lock': "),
            ("https_proxy = \"ftp://x\"", "key 'https_proxy': "),
            (
                "state_dir = \"relative\"",
                "key 'state_dir': 'relative' is not an absolute path",
            ),
            ("disk = \"sda\"", "key 'disk': "),
            (
                "active = \"C\"",
                "key 'active': 'C' is not \"auto\", \"A\" or \"B\"",
            ),
            ("active = \"\"", "key 'active': "),
            (
                "stall_timeout_seconds = 0",
                "key 'stall_timeout_seconds': must be from 1 to 3600",
            ),
            ("reboot_command = []", "key 'reboot_command': "),
        ] {
            let message = parse(&format!("\n{line}\n")).unwrap_err();
            assert!(message.starts_with("/etc/updog.toml:4: "), "{message}");
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused_with_its_line() {
        for line in [
            "seed = \"1\"",
            "seed = -1",
            "ignore_waves = 1",
            "seed = ",
            "= 1",
            "seed = 1\nseed = 1",
        ] {
            let message = parse(&format!("{line}\n")).unwrap_err();
            assert!(
                message.starts_with("/etc/updog.toml:3: ")
                    || message.starts_with("/etc/updog.toml:4: "),
                "{line}: {message}"
            );
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused_with_its_key() {
        let message = parse("seed = \"1\"\n").unwrap_err();
        assert!(
            message.starts_with("/etc/updog.toml:3: key 'seed': invalid type"),
            "{message}"
        );
    }

    #[test]
    fn the_urls_are_required_and_must_be_fetchable() {
        let path = Path::new("/c");
        let error = Config::parse("", path, no_id).unwrap_err().to_string();
        assert_eq!(error, "/c: key 'metadata_base_url' is missing");
        for url in [
            "example.com",
            "ftp://example.com/",
            "https://example.com/?a=b",
            "",
        ] {
            let text = format!("metadata_base_url = \"{url}\"\ntargets_base_url = \"{url}\"\n");
            let error = Config::parse(&text, path, no_id).unwrap_err().to_string();
            assert!(
                error.starts_with("/c:1: key 'metadata_base_url': "),
                "{error}"
            );
        }
    }

    fn no_id() -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    #[test]
    fn a_missing_seed_is_derived_stably_from_the_machine_id() {
        // printf 'updog wave seed\0%s' ID | sha256sum, the first 16 digits modulo 2048
        assert_eq!(parse("").unwrap().seed.get(), 1996);
        assert_ne!(derive_seed("a"), derive_seed("b"));
    }

    #[test]
    fn without_seed_and_machine_id_the_message_says_what_to_set() {
        let error = Config::parse(URLS, Path::new("/c"), no_id)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "/c: key 'seed' is missing, and it cannot be derived from /etc/machine-id"
        );
    }
}
