//! Repositories whose path has characters that a URL escapes, and errors that name the real path.

use super::lab::{Lab, release_line};

#[test]
fn a_repository_with_a_space_or_a_sign_in_its_path_takes_a_second_release() {
    for name in ["my repo", "a#b", "100%", "a%20b", "what?", "zähler", "[1]"] {
        let lab = Lab::publisher(updog::clock::now());
        let named = |line: &[&str]| -> Vec<String> {
            let word = |word: &&str| if *word == "repo" { name } else { word }.to_owned();
            line.iter().map(word).collect()
        };
        let ok = |line: &[&str]| {
            let line = named(line);
            lab.ok(&line.iter().map(String::as_str).collect::<Vec<_>>())
        };
        for (seed, version) in [(1, "1.0.0"), (2, "1.1.0"), (3, "1.2.0")] {
            lab.images(seed);
            ok(&release_line(version));
        }
        let judged = ok(&["lint", "repo", "--deep", "--allow", "root-threshold"]);
        assert!(judged.contains("0 error(s)"), "{name}: {judged}");
        assert!(judged.contains("with 3 update(s)"), "{name}: {judged}");
        let line = "refresh --repo repo --root-role root.json --keys keys";
        ok(&line.split(' ').collect::<Vec<_>>());
        lab.ok(&super::rotation::rotate(&["--keys", "keys"]));
        ok(&super::rotation::publish(&["--keys", "keys"]));
        let text = ok(&["inspect", "repo"]);
        assert!(
            text.contains("demo x86_64: 1.0.0, 1.1.0, 1.2.0, offered up to 1.2.0"),
            "{name}: {text}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_made_is_told_of_by_its_own_path_alone() {
    let lab = Lab::publisher(updog::clock::now());
    for (line, message) in [
        (
            "root new --keys keys --out absent/root.json",
            "updata: making a temporary file beside absent/root.json: No such file or directory (os \
             error 2)",
        ),
        (
            // No folder can be made there, by nobody.
            "keys new --out /proc/updata-keys",
            "updata: making the folder /proc/updata-keys: No such file or directory (os error 2)",
        ),
    ] {
        let line: Vec<_> = line.split(' ').collect();
        lab.updata(&line).ends_with(1, message);
    }
}

#[test]
fn a_target_that_does_not_fit_is_told_of_by_its_folder_and_in_words() {
    let lab = Lab::publisher(updog::clock::now());
    // As a full disk, but for this process alone.
    let limited = "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"";
    let output = std::process::Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_updata")])
        .args(release_line("1.0.0"))
        .current_dir(lab.path("."))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "updata: writing demo-x86_64-1.0.0-boot.ext4.lz4 into repo/targets: File too large (os error \
         27)\n"
    );
    assert_eq!(lab.names("repo/targets"), [""; 0], "nothing is left behind");
}
