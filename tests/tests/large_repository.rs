//! Memory stays small however much is published. The times are printed by
//! `cargo run --release --example large-repository`.

use system_tests::large::LargeRepository;

#[test]
fn two_thousand_targets_fit_in_64_mib_for_hosts_and_publishers() {
    let mut repository = LargeRepository::publish(10, 220);
    assert!(repository.targets() >= 2000);
    // A root image larger than the bound, of which nothing but the tree may be kept.
    let root_blocks = 96 << 20 >> 12;
    for cost in [
        repository.check_update(),
        repository.release_on_top(root_blocks),
        repository.lint(&[]),
        repository.lint(&["--deep"]),
    ] {
        assert!(cost.peak < 64 << 20, "{cost:?}");
    }
}
