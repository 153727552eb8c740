//! PURE: what is cached for the migrator is swapped as a whole, so that whatever else lay in those folders
//! would be gone with the next update.

use std::path::Path;

use signpost::DiskChoice;

use super::Config;

/// The key of a cache folder in which something else is, the place in the text that `starts` has for
/// it, and what is wrong.
pub(super) fn overlap(
    config: &Config,
    starts: [Option<usize>; 2],
) -> Option<(&'static str, Option<usize>, String)> {
    let caches = [
        ("metadata_cache", config.metadata_cache.as_path(), starts[0]),
        ("migrations_dir", config.migrations_dir.as_path(), starts[1]),
    ];
    let mut others: Vec<(&str, &Path)> = vec![
        ("state_dir", &config.state_dir),
        ("lock_file", &config.lock_file),
        ("trusted_root", &config.trusted_root),
        ("os_release", &config.os_release),
    ];
    if let DiskChoice::Path(disk) = &config.disk {
        others.push(("disk", disk));
    }
    others.extend(caches.iter().map(|(key, path, _)| (*key, *path)));
    caches.into_iter().find_map(|(key, cache, start)| {
        let (other, path) = others
            .iter()
            .find(|(other, path)| *other != key && path.starts_with(cache))?;
        let what = format!(
            "'{}' holds '{}', which is '{other}': each update replaces this folder with all that \
             is in it, so it has to be one of its own",
            cache.display(),
            path.display()
        );
        Some((key, start, what))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const URLS: &str = "metadata_base_url = \"file:///m\"\ntargets_base_url = \"file:///t\"\n";

    #[test]
    fn a_cache_folder_that_holds_something_else_is_refused() {
        for (lines, says) in [
            ("state_dir = \"/s\"\nmetadata_cache = \"/s/cache\"", None),
            (
                "metadata_cache = \"/var\"",
                Some("key 'metadata_cache': '/var' holds '/var/lib/updog', which is 'state_dir'"),
            ),
            (
                "state_dir = \"/s\"\nmigrations_dir = \"/s/\"",
                Some("key 'migrations_dir': '/s/' holds '/s', which is 'state_dir'"),
            ),
            (
                "metadata_cache = \"/c\"\nmigrations_dir = \"/c\"",
                Some("key 'metadata_cache': '/c' holds '/c', which is 'migrations_dir'"),
            ),
            (
                "disk = \"/d/disk.img\"\nmigrations_dir = \"/d\"",
                Some("key 'migrations_dir': '/d' holds '/d/disk.img', which is 'disk'"),
            ),
        ] {
            let parsed = Config::parse(&format!("{URLS}{lines}\n"), Path::new("/updog.toml"));
            match (parsed, says) {
                (Ok(_), None) => {}
                (Err(error), Some(says)) => {
                    let text = error.to_string();
                    assert!(text.contains(says), "{text}");
                    assert!(text.starts_with("/updog.toml:"), "{text}");
                }
                (parsed, _) => panic!("{lines}: {parsed:?}"),
            }
        }
    }
}
