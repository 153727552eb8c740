//! What a repository of fifty versions and two thousand targets costs: its hosts, the next release,
//! and a look at it.
//!
//!     cargo run --release --example large-repository

use system_tests::large::{Cost, LargeRepository};

const VERSIONS: usize = 50;
const MIGRATIONS: usize = 38;
/// 256 MiB.
const ROOT_BLOCKS: usize = 65_536;

#[allow(clippy::print_stdout)] // an example for people
fn main() {
    println!("publishing {VERSIONS} versions with {MIGRATIONS} migrations each ...");
    let mut repository = LargeRepository::publish(VERSIONS, MIGRATIONS);
    let [targets, manifest] = repository.metadata_bytes();
    println!(
        "{} targets; targets.json has {targets} bytes, the manifest {manifest}\n",
        repository.targets()
    );
    println!("{:<46} {:>8} {:>10}", "operation", "seconds", "peak MiB");
    let line = |cost: &Cost, more: &str| {
        let operation = format!("{}{more}", cost.operation);
        let mib = cost.peak.div_ceil(1 << 20);
        println!("{operation:<46} {:>8.2} {mib:>10}", cost.time.as_secs_f64());
    };
    let [first, last] = repository.releases.clone();
    line(&first, ", the first");
    line(&last, ", with migrations");
    line(&repository.check_update(), "");
    line(&repository.release_on_top(16), ", on top");
    line(&repository.lint(&[]), "");
    line(&repository.lint(&["--deep"]), "");
    line(
        &repository.release_on_top(ROOT_BLOCKS),
        ", root image of 256 MiB",
    );
    line(&repository.check_update(), "");
    line(&repository.lint(&["--deep"]), ", root image of 256 MiB");
}
