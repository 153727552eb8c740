use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::testing;

fn key(name: &str) -> Key {
    Key::data(name).unwrap()
}

/// A store of `files`, in a folder that goes away with the first part.
fn on_disk(files: &[(&str, &[u8])]) -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("store");
    fs::create_dir_all(dir.join("live")).unwrap();
    for (path, bytes) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    (temporary, dir)
}

fn all_files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn settings_metadata_and_transactions_are_read() {
    let (_temporary, dir) = on_disk(&[
        ("live/settings/motd", b"\"hello\""),
        ("live/settings/motd.template", b"\"{{ settings.name }}\""),
        ("live/settings/motd.x%2Ey", b"1"),
        ("live/settings/kernel/modules", b"[\"a\",\"b\"]"),
        ("pending/test%20transaction/settings/motd", b"\"later\"\n"),
    ]);
    fs::create_dir(dir.join("pending/empty")).unwrap();
    let store = Store::read(&dir).unwrap();
    let motd = key("settings.motd");
    assert_eq!(store.live.data[&motd], "hello".into());
    assert_eq!(
        store.live.data[&key("settings.kernel.modules")],
        ["a", "b"].into()
    );
    assert_eq!(store.live.data.len(), 2);
    let metadata = |name| store.live.metadata[&motd][&Key::metadata(name).unwrap()].clone();
    assert_eq!(metadata("template"), "{{ settings.name }}".into());
    assert_eq!(metadata("\"x.y\""), 1.into());
    assert_eq!(store.pending.len(), 2);
    assert_eq!(
        store.pending["test transaction"].data[&motd],
        "later".into()
    );
    assert_eq!(store.pending["empty"], Tree::default());
    assert_eq!(store.strays, []);
}

#[test]
fn what_is_no_setting_is_carried_and_named() {
    let odd = OsStr::from_bytes(b"\xff\xfe").to_str();
    assert_eq!(odd, None);
    let (_temporary, dir) = on_disk(&[
        ("live/settings/torn", b""),
        ("live/settings/cut", b"\"hel"),
        ("live/settings/object", b"{\"a\": 1}"),
        ("live/settings/lists", b"[[1]]"),
        ("live/settings/a.b.c", b"1"),
        ("live/settings/%6dotd", b"1"),
        ("live/settings/not text", b"\xff"),
        ("pending/file", b"1"),
        ("pending/a b/settings/motd", b"1"),
        ("notes/motd", b"1"),
        ("live/settings/motd", b"true"),
    ]);
    let non_utf8 = dir.join("live").join(OsStr::from_bytes(b"\xff\xfe"));
    fs::write(&non_utf8, "1").unwrap();
    let store = Store::read(&dir).unwrap();
    assert_eq!(store.live.data.len(), 1);
    assert_eq!(store.pending.len(), 0);
    assert_eq!(store.strays.len(), 11);
    let reason = |path: &str| {
        let stray = store.strays.iter().find(|s| s.path == Path::new(path));
        stray.unwrap().reason.clone()
    };
    assert!(reason("live/settings/torn").starts_with("no JSON value: EOF"));
    assert_eq!(
        reason("live/settings/lists"),
        "neither a JSON scalar nor a list of scalars"
    );
    assert_eq!(reason("notes/motd"), "neither live nor pending");
    assert_eq!(
        reason("pending/a b/settings/motd"),
        "no transaction has such a name"
    );
    let copy = dir.with_file_name("copy");
    store.write(&copy).unwrap();
    assert_eq!(all_files(&copy), all_files(&dir));
}

#[test]
fn a_setting_takes_the_place_of_a_stray() {
    let stray = |path: &str| Stray {
        path: path.into(),
        bytes: b"torn".to_vec(),
        reason: String::new(),
    };
    let mut store = Store::default();
    store.live.data.insert(key("a.b"), 1.into());
    for path in ["live", "live/a", "live/a/b", "live/a/b/c", "live/a/c"] {
        store.strays.push(stray(path));
    }
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("store");
    store.write(&dir).unwrap();
    let files = all_files(&dir);
    assert_eq!(files.len(), 2);
    assert_eq!(files[Path::new("live/a/b")], b"1");
    assert_eq!(files[Path::new("live/a/c")], b"torn");

    for path in ["../out", "/out", "", "live/../../out"] {
        let store = Store {
            strays: vec![stray(path)],
            ..Store::default()
        };
        let dir = temporary.path().join("none");
        let error = store.write(&dir).unwrap_err();
        assert!(matches!(error, DatastoreError::StrayPath { .. }), "{error}");
        assert!(!dir.exists());
    }
}

#[test]
fn a_folder_without_live_is_no_store() {
    let temporary = tempfile::tempdir().unwrap();
    let error = |dir: &Path| Store::read(dir).unwrap_err();
    assert!(matches!(
        error(temporary.path()),
        DatastoreError::MissingLive { .. }
    ));
    fs::write(temporary.path().join("live"), "").unwrap();
    assert!(matches!(
        error(temporary.path()),
        DatastoreError::MissingLive { .. }
    ));
    assert!(matches!(
        error(&temporary.path().join("none")),
        DatastoreError::Read { .. }
    ));
}

#[test]
fn a_link_is_named_and_not_followed() {
    for (link, target) in [
        ("live/settings/shadow", "/etc/shadow"),
        ("live/settings/up", ".."),
        ("live/settings/dangling", "nowhere"),
        ("pending", "live"),
        ("other", "live/settings/motd"),
    ] {
        let (_temporary, dir) = on_disk(&[("live/settings/motd", b"1")]);
        symlink(target, dir.join(link)).unwrap();
        let error = Store::read(&dir).unwrap_err().to_string();
        let path = dir.join(link);
        assert_eq!(
            error,
            format!(
                "{} is a symbolic link, and a settings store has none",
                path.display()
            )
        );
    }
    let (_temporary, dir) = on_disk(&[]);
    fs::rename(dir.join("live"), dir.join("real")).unwrap();
    symlink("real", dir.join("live")).unwrap();
    let error = Store::read(&dir).unwrap_err();
    assert!(matches!(error, DatastoreError::Link { .. }));
}

#[test]
fn a_pipe_or_a_socket_does_not_hang_the_reader() {
    for kind in [FileType::Fifo, FileType::Socket] {
        let (_temporary, dir) = on_disk(&[]);
        let path = dir.join("live/odd");
        mknodat(CWD, &path, kind, Mode::RUSR, 0).unwrap();
        let error = Store::read(&dir).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{} is neither a plain file nor a folder", path.display())
        );
    }
}

#[test]
fn large_files_many_files_and_deep_folders_are_refused() {
    let limit = usize::try_from(MAX_FILE_BYTES).unwrap();
    let largest = format!("\"{}\"", "a".repeat(limit - 2));
    let (_temporary, dir) = on_disk(&[("live/large", largest.as_bytes())]);
    assert_eq!(Store::read(&dir).unwrap().live.data.len(), 1);
    // Sparse: a reader that trusted its length would run out of memory.
    let large = fs::File::create(dir.join("live/large")).unwrap();
    large.set_len(1 << 40).unwrap();
    let error = Store::read(&dir).unwrap_err();
    assert!(matches!(error, DatastoreError::LargeFile { .. }), "{error}");
    fs::remove_file(dir.join("live/large")).unwrap();

    for number in 0..65 {
        let file = fs::File::create(dir.join(format!("live/{number}"))).unwrap();
        file.set_len(MAX_FILE_BYTES).unwrap();
    }
    let error = Store::read(&dir).unwrap_err();
    assert!(matches!(error, DatastoreError::TooLarge { .. }), "{error}");

    let (_temporary, dir) = on_disk(&[("live/a/b", b"1"), ("live/c", b"1")]);
    assert!(files::read(&dir, 4).is_ok());
    let error = files::read(&dir, 3).err().unwrap();
    assert!(matches!(error, DatastoreError::TooMany { .. }), "{error}");

    let (_temporary, dir) = on_disk(&[]);
    fs::create_dir_all(dir.join("live").join("a/".repeat(MAX_DEPTH - 1))).unwrap();
    Store::read(&dir).unwrap();
    fs::create_dir_all(dir.join("live").join("a/".repeat(MAX_DEPTH))).unwrap();
    let error = Store::read(&dir).unwrap_err();
    assert!(matches!(error, DatastoreError::TooDeep { .. }), "{error}");
}

#[test]
fn a_deeply_nested_value_is_a_stray() {
    let nested = "[".repeat(100_000);
    let (_temporary, dir) = on_disk(&[("live/nested", nested.as_bytes())]);
    let store = Store::read(&dir).unwrap();
    assert_eq!(store.strays.len(), 1);
}

#[test]
fn a_store_is_written_only_where_nothing_is() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("store");
    let store = Store::default();
    store.write(&dir).unwrap();
    assert!(matches!(
        store.write(&dir).unwrap_err(),
        DatastoreError::Exists { .. }
    ));
    let link = temporary.path().join("link");
    symlink("elsewhere", &link).unwrap();
    assert!(matches!(
        store.write(&link).unwrap_err(),
        DatastoreError::Exists { .. }
    ));
    assert!(matches!(
        store.write(&dir.join("no/such")).unwrap_err(),
        DatastoreError::Write { .. }
    ));
}

#[test]
fn a_setting_below_a_value_is_refused_before_anything_is_written() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("store");
    let mut store = Store::default();
    store.live.data.insert(key("a.b"), 1.into());
    store.live.data.insert(key("a.b.c"), 1.into());
    assert_eq!(
        store.write(&dir).unwrap_err().to_string(),
        "a.b has a value, so that a.b.c, below it, cannot be stored"
    );
    store.live.data.remove(&key("a.b.c"));
    store.live.metadata.insert(key("a.b.c"), BTreeMap::new());
    assert!(matches!(
        store.write(&dir).unwrap_err(),
        DatastoreError::Conflict { .. }
    ));
    store.live.metadata = BTreeMap::from([(key("a.b"), BTreeMap::new())]);
    store.write(&dir).unwrap();
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    // The umask belongs to the whole process, and other tests write the same modes beside this one.
    let old = rustix::process::umask(Mode::from_bits_retain(0o077));
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("store");
    let mut store = Store::default();
    store.live.data.insert(key("settings.motd"), "hello".into());
    store.write(&dir).unwrap();
    rustix::process::umask(old);
    let mode = |path: &str| fs::metadata(dir.join(path)).unwrap().permissions().mode() & 0o7777;
    for folder in ["", "live", "live/settings"] {
        assert_eq!(mode(folder), 0o755, "{folder}");
    }
    assert_eq!(mode("live/settings/motd"), 0o644);
    assert_eq!(
        fs::read(dir.join("live/settings/motd")).unwrap(),
        b"\"hello\""
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_store_that_is_written_is_read_back(store in testing::store()) {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("store");
        store.write(&dir).unwrap();
        prop_assert_eq!(Store::read(&dir).unwrap(), store);
    }
}
