//! Somebody with the root of trust and the address of a repository, and nothing of a host: no disk,
//! no os-release, no seed, no variant.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;
use updog::cancel::Cancel;
use updog::config::Config;
use updog::env::{ConfiguredDisk, Env};
use updog::event::Unobserved;

use crate::programs::{self, Ran};
use crate::publisher::{ARCH, Publisher, VARIANT};

/// What a proxy is taken from.
pub const PROXY_VARIABLES: [&str; 8] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// A folder with `updog.toml` and `root.json`.
#[derive(Debug)]
pub struct Client {
    dir: TempDir,
    metadata_url: String,
    targets_url: String,
}

impl Client {
    /// Of what `publisher` publishes at `base_url`.
    pub fn new(publisher: &Publisher, base_url: &str) -> Self {
        Self::of(
            publisher,
            &format!("{base_url}/{VARIANT}/{ARCH}"),
            &format!("{base_url}/targets"),
        )
    }

    /// The same with two addresses.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn of(publisher: &Publisher, metadata_url: &str, targets_url: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::copy(publisher.path("root.json"), dir.path().join("root.json")).expect("a root");
        let client = Self {
            dir,
            metadata_url: metadata_url.to_owned(),
            targets_url: targets_url.to_owned(),
        };
        client.configure("");
        client
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes the configuration, with more lines.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn configure(&self, more: &str) {
        fs::write(self.path("updog.toml"), self.configuration(more)).expect("updog.toml");
    }

    fn configuration(&self, more: &str) -> String {
        format!(
            "metadata_base_url = \"{}\"\ntargets_base_url = \"{}\"\n\
             trusted_root = \"{}\"\nstate_dir = \"{}\"\nos_release = \"/nowhere/os-release\"\n{more}",
            self.metadata_url,
            self.targets_url,
            self.text("root.json"),
            self.text("state"),
        )
    }

    /// `updog` with this configuration and without any proxy of the environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs::path("updog"));
        command
            .arg("--config")
            .arg(self.path("updog.toml"))
            .args(arguments);
        for variable in PROXY_VARIABLES {
            command.env_remove(variable);
        }
        command
    }

    /// Runs it.
    pub fn updog(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// The same settings for code of this process.
    ///
    /// # Panics
    /// When the configuration is wrong.
    pub fn env(&self, more: &str) -> Env {
        let config = Config::parse(&self.configuration(more), Path::new("updog.toml"))
            .expect("a configuration");
        Env {
            disk: Box::new(ConfiguredDisk {
                disk: config.disk.clone(),
                active: config.active,
            }),
            config,
            now: updog::clock::now(),
            boot_id: String::new(),
            observer: Arc::new(Unobserved),
            cancel: Cancel::default(),
        }
    }
}
