//! Which boot this is.

const PATH: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's id of this boot; empty where it does not say.
pub fn read() -> String {
    std::fs::read_to_string(PATH)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
