//! What a program printed, without what differs from run to run and from machine to machine, so
//! that it can be compared with a committed file.

use crate::host::Host;
use crate::programs::Ran;
use crate::publisher::ARCH;

/// What is replaced in a snapshot: regular expressions and what stands there instead.
///
/// Sizes of compressed files and of metadata depend on salts, keys and times; those of images and
/// partitions stay.
pub const FILTERS: [(&str, &str); 22] = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
    (r"\b[0-9a-f]{64}\b", "[digest]"),
    (r"\broot hash [0-9a-f]{12}\b", "root hash [hash]"),
    (r"\b\d+ (d \d+ h|h \d+ min|min|s)\b", "[span]"),
    (r#""seconds_left": -?\d+"#, r#""seconds_left": "[seconds]""#),
    (r"http://127\.0\.0\.1:\d+", "[server]"),
    (r"process \d+", "process [pid]"),
    (r"(/[^/ ]+)*/\.tmp[A-Za-z0-9]+", "[folder]"),
    (
        r#""(free|needed|compressed_bytes|bytes_to_fetch)": \d+"#,
        r#""$1": "[bytes]""#,
    ),
    (
        r#"("(?:name|path)": "[^"]*",\s+"bytes": )\d+"#,
        r#"$1"[bytes]""#,
    ),
    (r#""bytes": \d+(,\s+"files")"#, r#""bytes": "[bytes]"$1"#),
    (r#"("ended": [^,]*,\s+"bytes": )[1-9]\d*"#, r#"$1"[bytes]""#),
    (r"(image: )\d+ bytes", "$1[bytes]"),
    (r"(migrator: [^:]*: )\d+ bytes", "$1[bytes]"),
    (r"room: \d+ bytes", "room: [bytes]"),
    (r"free: \d+", "free: [bytes]"),
    (
        r"in all, \d+ bytes are fetched",
        "in all, [bytes] are fetched",
    ),
    (
        r"\d+ files, \d+ bytes, \d+ of them",
        "[files], [bytes], [bytes] of them",
    ),
    (r"of \d+ bytes is larger", "of [bytes] is larger"),
    (
        r"has \d+ bytes free, and \d+ are needed",
        "has [bytes] free, and [bytes] are needed",
    ),
    // Metadata versions are times. After what may be as long.
    (r"\b\d{10}\b", "[version]"),
    (ARCH, "[arch]"),
];

/// A command line, its data, what it said to a person or warned of, and its exit code.
pub fn shown(arguments: &[&str], ran: &Ran) -> String {
    let is_told = |line: &&str| line.starts_with("updog: ") || line.trim().starts_with("WARN ");
    let told: Vec<&str> = ran.stderr.lines().filter(is_told).collect();
    let mut shown = format!("$ updog {}\n", arguments.join(" "));
    for text in [ran.stdout.trim_end(), &told.join("\n")] {
        if !text.is_empty() {
            shown.push_str(text);
            shown.push('\n');
        }
    }
    let code = ran
        .code
        .map_or_else(|| "none".to_owned(), |code| code.to_string());
    shown + &format!("[exit code {code}]\n")
}

/// Runs `verb` on `host`, for a person and as JSON.
pub fn of_host(host: &Host, verb: &[&str]) -> String {
    let json = [verb, &["--json"]].concat();
    [verb, &json]
        .map(|arguments| shown(arguments, &host.updog(arguments)))
        .join("\n")
}
