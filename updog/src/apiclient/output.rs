//! What goes to stdout: data, and nothing else.

use std::io::{self, BufWriter, Write as _};

use snafu::ResultExt;

use super::failure::{Failure, GarbageSnafu, PrintSnafu};
use super::json::Json;

/// The JSON `text` that `uri` was answered with, indented.
pub(super) fn json(uri: &str, text: &str) -> Result<(), Failure> {
    let json = Json::of(text).context(GarbageSnafu { uri })?;
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = json.indent(&mut out).and_then(|()| out.flush());
    printed.context(PrintSnafu)
}

/// A line, at once.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    bytes(text.as_bytes())
}

/// `body` and a newline.
pub(super) fn bytes(body: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let printed = out.write_all(body).and_then(|()| out.write_all(b"\n"));
    printed.and_then(|()| out.flush()).context(PrintSnafu)
}
