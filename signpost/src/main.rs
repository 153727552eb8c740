//! `signpost`: reads and changes the bits by which a boot loader chooses between two partition
//! sets. See [`signpost::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    signpost::cli::main()
}
