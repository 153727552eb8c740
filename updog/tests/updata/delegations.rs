//! A repository that delegates targets, which updata does not make and `updog mirror` copies whole.

use std::fs;
use std::process::Command;

use tough::{ExpirationEnforcement, FilesystemTransport, RepositoryLoader};
use url::Url;

use super::forge::Forge;
use super::lab::{Lab, block_on, release_line};

#[test]
fn a_mirror_of_a_repository_that_delegates_can_be_used() {
    let lab = Lab::publisher(updog::clock::now());
    lab.ok(&release_line("1.0.0"));
    lab.images(2);
    lab.ok(&release_line("1.1.0"));
    let mut forge = Forge::of(&lab);
    forge.delegate("team");
    forge.sign();
    let url = |name: &str| Url::from_directory_path(lab.path(name)).unwrap();
    let path = |name: &str| lab.path(name).display().to_string();
    lab.write(
        "updog.toml",
        format!(
            "metadata_base_url = '{}'\ntargets_base_url = '{}'\ntrusted_root = '{}'\n\
             state_dir = '{}'\n",
            url("repo/demo/x86_64"),
            url("repo/targets"),
            path("root.json"),
            path("state"),
        ),
    );
    let line = "--config updog.toml mirror --out mirror --variant demo --from 1.0.0 --now";
    let output = Command::new(env!("CARGO_BIN_EXE_updog"))
        .args(line.split(' '))
        .current_dir(lab.path("."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");

    let names = lab.names("mirror/metadata");
    let team = names.iter().find(|name| name.ends_with(".team.json"));
    let team = team.unwrap_or_else(|| panic!("{names:?}"));
    assert_eq!(
        lab.read(&format!("mirror/metadata/{team}")),
        lab.read(&format!("repo/demo/x86_64/{team}"))
    );
    // As a migrator reads it, which has nothing else.
    fs::rename(lab.path("repo"), lab.path("gone")).unwrap();
    let root = lab.read("root.json");
    let loader = RepositoryLoader::new(&root, url("mirror/metadata"), url("mirror/targets"))
        .transport(FilesystemTransport)
        .expiration_enforcement(ExpirationEnforcement::Safe);
    let repository = block_on(loader.load()).unwrap();
    assert!(repository.delegated_role("team").is_some());
}
