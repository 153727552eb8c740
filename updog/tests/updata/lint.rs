//! lint: each rule is told by the program, and a release is held to it before anything is signed.

mod rows;
mod verb;

use std::fs;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::forge::Forge;
use super::lab::{Lab, Run, release_line};

fn now() -> DateTime<Utc> {
    updog::clock::now()
}

/// 1.0.0 and 1.1.0 are published, the images of 1.2.0 lie ready.
fn published() -> Lab {
    let lab = Lab::publisher(now());
    lab.ok(&release_line("1.0.0"));
    lab.images(2);
    lab.ok(&release_line("1.1.0"));
    // The manifest before this one, which no metadata list any more.
    for name in lab.names("repo/targets") {
        let path = format!("repo/targets/{name}");
        if name.ends_with("manifest.json") && !lab.read_text(&path).contains("\"1.1.0\"") {
            fs::remove_file(lab.path(&path)).unwrap();
        }
    }
    lab.images(3);
    lab
}

fn lint(lab: &Lab, more: &str) -> Run {
    let line = "lint repo --allow root-threshold --json".split(' ');
    lab.updata(&line.chain(more.split_whitespace()).collect::<Vec<_>>())
}

/// The rules that count, in the order of the findings, and the problems.
fn told(run: &Run) -> (Vec<String>, String) {
    let out: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:?}"));
    let findings = out["findings"].as_array().unwrap();
    let counted = findings
        .iter()
        .filter(|finding| finding["allowed"] == false);
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let rules = counted.clone().map(|finding| text(finding, "rule"));
    let problems: Vec<_> = counted.map(|finding| text(finding, "problem")).collect();
    (rules.collect(), problems.join("\n"))
}

/// Every file of the repository.
fn files(lab: &Lab) -> Vec<(String, Vec<u8>)> {
    let folders = ["repo/targets", "repo/demo/x86_64"];
    let paths = folders.iter().flat_map(|folder| {
        let names = lab.names(folder).into_iter();
        names.map(move |name| format!("{folder}/{name}"))
    });
    paths
        .filter(|path| lab.path(path).is_file())
        .map(|path| (path.clone(), lab.read(&path)))
        .collect()
}

fn forged(lab: &Lab, edit: impl FnOnce(&mut Forge<'_>)) {
    let mut forge = Forge::of(lab);
    edit(&mut forge);
    let old = forge.file("manifest.json");
    forge.sign();
    let _ = fs::remove_file(lab.path(&old));
}

fn with_root(lab: &Lab, edit: impl FnOnce(&mut Forge<'_>)) {
    let mut forge = Forge::of(lab);
    edit(&mut forge);
    forge.sign_root();
}
