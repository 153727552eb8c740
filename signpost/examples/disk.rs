//! Makes a small disk image with two partition sets, to try `signpost` on.

use std::env;
use std::io;
use std::path::Path;

use signpost::testing::DiskBuilder;

fn main() -> io::Result<()> {
    let Some(path) = env::args_os().nth(1) else {
        return Err(io::Error::other("usage: disk PATH"));
    };
    DiskBuilder::new().build_file(Path::new(&path))
}
