use signpost::Slot;

use super::*;

const URLS: &str = "metadata_base_url = \"https://example.com/meta\"\n\
                    targets_base_url = \"https://example.com/targets/\"\n";

fn parse(more: &str) -> Result<Config, String> {
    Config::parse(&format!("{URLS}{more}"), Path::new("/etc/updog.toml"))
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
    assert_eq!(config.migrator, None);
    assert_eq!(
        config.datastore,
        Path::new("/var/lib/bottlerocket/datastore/current")
    );
    assert_eq!(config.transport.ca_file, None);
    assert_eq!(config.transport.client_identity, None);
    assert_eq!(config.transport.limits, MetadataLimits::default());
    assert_eq!(config.transport.outage_timeout, Duration::from_secs(120));
    assert_eq!(config.transport.max_rate, None);
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    assert_eq!(config.threads, (cores + 2).min(8));
}

#[test]
fn every_key_is_read() {
    let config = parse(
        "seed = 2047\nversion_lock = \"v1.2.3\"\nignore_waves = true\n\
         https_proxy = \"proxy.example:3128\"\nno_proxy = [\"localhost\"]\n\
         trusted_root = \"/a\"\nos_release = \"/b\"\nstate_dir = \"/c\"\n\
         metadata_cache = \"/d\"\nmigrations_dir = \"/e\"\nlock_file = \"/f\"\n\
         disk = \"/g\"\nactive = \"B\"\nconnect_timeout_seconds = 1\n\
         stall_timeout_seconds = 3600\nca_file = \"/h\"\n\
         client_certificate = \"/i\"\nclient_key = \"/j\"\n\
         max_metadata_bytes = 20000000\nmax_root_bytes = 1024\noutage_timeout_seconds = 2\nreboot_command = [\"true\"]\n\
         migrator = \"/k\"\ndatastore = \"/l\"\nmax_bytes_per_second = 100000\n",
    )
    .unwrap();
    assert_eq!(config.seed, SeedSource::Written(Seed::new(2047).unwrap()));
    assert_eq!(
        config.version_lock,
        VersionLock::Exactly("1.2.3".parse().unwrap())
    );
    assert!(config.ignore_waves);
    let transport = config.transport;
    assert_eq!(
        transport.https_proxy.unwrap().as_str(),
        "http://proxy.example:3128/"
    );
    assert_eq!(transport.no_proxy, ["localhost"]);
    assert_eq!(transport.ca_file.unwrap(), Path::new("/h"));
    let identity = transport.client_identity.unwrap();
    assert_eq!(identity.certificate, Path::new("/i"));
    assert_eq!(identity.key, Path::new("/j"));
    assert_eq!(transport.limits.metadata, 20_000_000);
    assert_eq!(transport.limits.root, 1024);
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
    assert_eq!(transport.connect_timeout, Duration::from_secs(1));
    assert_eq!(transport.stall_timeout, Duration::from_secs(3600));
    assert_eq!(transport.outage_timeout, Duration::from_secs(2));
    assert_eq!(transport.max_rate, NonZeroU64::new(100_000));
    assert_eq!(config.reboot_command, ["true"]);
    assert_eq!(config.migrator.as_deref(), Some(Path::new("/k")));
    assert_eq!(config.datastore, Path::new("/l"));
}

#[test]
fn an_empty_proxy_is_none() {
    assert_eq!(
        parse("https_proxy = \"\"\n").unwrap().transport.https_proxy,
        None
    );
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
        (
            "ca_file = \"ca.pem\"",
            "key 'ca_file': 'ca.pem' is not an absolute path",
        ),
        (
            "client_certificate = \"/c\"",
            "key 'client_certificate': needs 'client_key'",
        ),
        (
            "client_key = \"/k\"",
            "key 'client_key': needs 'client_certificate'",
        ),
        (
            "max_metadata_bytes = 0",
            "key 'max_metadata_bytes': must be from 1024 to 67108864 bytes",
        ),
        ("max_root_bytes = 99999999", "key 'max_root_bytes': must be"),
        (
            "max_bytes_per_second = 0",
            "key 'max_bytes_per_second': must be from 1024 to 1099511627776 bytes",
        ),
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
    let error = Config::parse("", path).unwrap_err().to_string();
    assert_eq!(error, "/c: key 'metadata_base_url' is missing");
    for url in [
        "example.com",
        "ftp://example.com/",
        "https://example.com/?a=b",
        "",
    ] {
        let text = format!("metadata_base_url = \"{url}\"\ntargets_base_url = \"{url}\"\n");
        let error = Config::parse(&text, path).unwrap_err().to_string();
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
    let id = || Ok("0123456789abcdef0123456789abcdef\n".to_owned());
    let source = parse("").unwrap().seed;
    assert_eq!(source.read_with(id).unwrap().get(), 1996);
    assert_ne!(seed::derive("a"), seed::derive("b"));
}

#[test]
fn a_written_seed_needs_no_machine_id() {
    let source = parse("seed = 7\n").unwrap().seed;
    assert_eq!(source.read_with(no_id).unwrap().get(), 7);
}

#[test]
fn without_seed_and_machine_id_the_message_says_what_to_set() {
    // Only whoever asks for the seed fails.
    let source = Config::parse(URLS, Path::new("/c")).unwrap().seed;
    assert_eq!(
        source.read_with(no_id).unwrap_err().to_string(),
        "/c: key 'seed' is missing, and it cannot be derived from /etc/machine-id"
    );
}
