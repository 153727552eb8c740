//! Writes the seeds into `corpus/`, for each target the same: `cargo run --example seeds`.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in ["gpt_512", "gpt_4096"] {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in updog_fuzz::seeds::seeds() {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}
