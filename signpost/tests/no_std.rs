//! The pure modules, in a program that has no operating system.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

const MANIFEST: &str = r#"
[package]
name = "without-std"
edition = "2024"

[lib]
path = "lib.rs"
crate-type = ["staticlib"]

[dependencies]
signpost = { path = "SIGNPOST", default-features = false }

[profile.dev]
panic = "abort"
debug = false

[workspace]
"#;

#[test]
fn a_program_with_a_panic_handler_of_its_own_can_be_built_on_the_pure_modules() {
    let signpost = env!("CARGO_MANIFEST_DIR");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-std");
    fs::create_dir_all(&folder).unwrap();
    let manifest = folder.join("Cargo.toml");
    fs::write(&manifest, MANIFEST.replace("SIGNPOST", signpost)).unwrap();
    fs::write(folder.join("lib.rs"), include_str!("no_std/lib.rs")).unwrap();
    // The same versions, so that nothing has to be fetched.
    let lock = Path::new(signpost).join("../Cargo.lock");
    fs::copy(lock, folder.join("Cargo.lock")).unwrap();

    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(folder.join("target"))
        .output()
        .unwrap();
    let talk = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{talk}");
}
