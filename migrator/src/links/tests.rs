use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;
use crate::folder::Disk;
use crate::prune::{Finished, Prune};

const A: &str = "aaaaaaaaaaaaaaaa";

fn v(text: &str) -> Version {
    text.parse().unwrap()
}

/// A folder with stores, `NAME/`, and links, `NAME TARGET`.
fn folder(entries: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in entries {
        match entry.split_once(' ') {
            Some((link, target)) => symlink(target, dir.path().join(link)).unwrap(),
            None => fs::create_dir_all(dir.path().join(entry)).unwrap(),
        }
    }
    dir
}

fn read(dir: &tempfile::TempDir) -> Result<Option<Layout>, String> {
    Layout::read(&dir.path().join("current")).map_err(|error| {
        // Without the folder's name.
        let text = crate::cli::chain(&error);
        let folder = fs::canonicalize(dir.path()).unwrap();
        text.replace(&format!("{}/", folder.display()), "")
    })
}

const ORDINARY: [&str; 5] = [
    "v1.5.2_aaaaaaaaaaaaaaaa",
    "v1.5.2 v1.5.2_aaaaaaaaaaaaaaaa",
    "v1.5 v1.5.2",
    "v1 v1.5",
    "current v1",
];

fn ordinary_but(replaced: &str) -> Vec<&str> {
    let name = replaced.split(' ').next().unwrap();
    let others = ORDINARY.into_iter();
    let others = others.filter(|entry| entry.split(' ').next() != Some(name));
    others.chain([replaced]).collect()
}

#[test]
fn an_ordinary_folder_is_read() {
    let layout = read(&folder(&ORDINARY)).unwrap().unwrap();
    assert_eq!(layout.version, v("1.5.2"));
    assert_eq!(layout.store, format!("v1.5.2_{A}"));
    assert_eq!(layout.chain, ["current", "v1", "v1.5", "v1.5.2"]);
    assert_eq!(layout.store_of(&v("1.5.2")), Some(layout.store.as_str()));
    assert_eq!(layout.store_of(&v("1.5.1")), None);
    assert!(layout.is_complete(&layout.store));
}

#[test]
fn nothing_there_is_no_error() {
    assert_eq!(read(&folder(&["something"])), Ok(None));
    assert!(matches!(
        Layout::read(Path::new("/no/such/folder/current")),
        Ok(None)
    ));
    assert!(Layout::read(Path::new("/")).is_err());
    assert!(Layout::read(Path::new("folder/..")).is_err());
}

#[test]
fn links_that_are_not_in_order_are_refused_with_the_place() {
    let outside = "which is not the name of something in the same folder";
    for (entry, expected) in [
        (
            "current /etc",
            format!("the link current leads to /etc, {outside}"),
        ),
        (
            "v1 ../v1.5",
            format!("the link v1 leads to ../v1.5, {outside}"),
        ),
        ("v1.5 a/b", format!("the link v1.5 leads to a/b, {outside}")),
        ("v1.5 .", format!("the link v1.5 leads to ., {outside}")),
        (
            "v1.5 v1.5.9",
            "the link v1.5 leads to v1.5.9, which does not exist".into(),
        ),
        (
            "current v9",
            "the link current leads to v9, which does not exist".into(),
        ),
        (
            "v1.5.2 v1.5.1_aaaaaaaaaaaaaaaa",
            "the link v1.5.2 leads to v1.5.1_aaaaaaaaaaaaaaaa, which does not exist".into(),
        ),
        (
            "v1.5 v1",
            "the link v1 leads to v1.5, which is not a folder".into(),
        ),
        (
            "current current",
            "the link current leads to current, which is not a folder".into(),
        ),
        (
            "current v1.5",
            "v1.5.2_aaaaaaaaaaaaaaaa is not a link; expected is a link to a store".into(),
        ),
        (
            "current",
            "current is not a link; expected is a link to that of a major".into(),
        ),
    ] {
        let error = read(&folder(&ordinary_but(entry))).unwrap_err();
        assert!(error.starts_with(&expected), "{entry}: {error}");
    }
    let mut entries = ordinary_but("v1.5 stable");
    entries.push("stable v1.5.2_aaaaaaaaaaaaaaaa");
    let error = read(&folder(&entries)).unwrap_err();
    assert!(
        error.starts_with("the link stable has no name of a version"),
        "{error}"
    );
}

#[test]
fn the_stores_name_tells_a_version_that_the_links_cannot() {
    let rc = "v1.5.2-rc.1_aaaaaaaaaaaaaaaa";
    let links = ["v1.5 v1.5.2", "v1 v1.5", "current v1"];
    let to_rc = format!("v1.5.2 {rc}");
    let made_first = [&links[..], &[rc, &to_rc]].concat();
    let layout = read(&folder(&made_first)).unwrap().unwrap();
    assert_eq!(layout.version, v("1.5.2-rc.1"));
    // With a link of its own, `v1.5.2` is the release, which the same store serves.
    let own = format!("v1.5.2-rc.1 {rc}");
    let moved_on = [&made_first[..], &[&own]].concat();
    let layout = read(&folder(&moved_on)).unwrap().unwrap();
    assert_eq!(layout.version, v("1.5.2"));
    // An older store says nothing.
    let older = ordinary_but("v1.5.2 v1.5.1-rc.1_aaaaaaaaaaaaaaaa");
    let older = [&older[..], &["v1.5.1-rc.1_aaaaaaaaaaaaaaaa"]].concat();
    assert_eq!(read(&folder(&older)).unwrap().unwrap().version, v("1.5.2"));
}

#[test]
fn every_version_comes_back_as_it_was_flipped_to() {
    for text in [
        "1.5.3",
        "1.6.0",
        "2.0.0",
        "1.5.2-rc.1",
        "1.5.2+build.5",
        "0.1.0-a+b",
    ] {
        let dir = folder(&ORDINARY);
        let store = format!("v{text}_bbbbbbbbbbbbbbbb");
        fs::create_dir(dir.path().join(&store)).unwrap();
        let before = read(&dir).unwrap().unwrap();
        before.flip(&Disk, &v(text), &store).unwrap();
        let after = read(&dir).unwrap().unwrap();
        assert_eq!((after.version.clone(), &after.store), (v(text), &store));
        assert_eq!(
            after.store_of(&v("1.5.2")),
            Some(before.store.as_str()),
            "{text}"
        );
        assert!(
            after.strays.is_empty() && after.dangling.is_empty(),
            "{after:?}"
        );
        // The same once more changes nothing.
        after.flip(&Disk, &v(text), &store).unwrap();
        assert_eq!(read(&dir).unwrap().unwrap(), after);
        // And back.
        after.flip(&Disk, &v("1.5.2"), &before.store).unwrap();
        assert_eq!(read(&dir).unwrap().unwrap().version, v("1.5.2"), "{text}");
    }
}

#[test]
fn only_stores_of_other_versions_and_unfinished_things_are_pruned() {
    let entries = [
        &ORDINARY[..],
        &[
            "v1.4.0_bbbbbbbbbbbbbbbb",
            "v1.4.0 v1.4.0_bbbbbbbbbbbbbbbb",
            "v1.4 v1.4.0",
            "v0.9.0_cccccccccccccccc",
            "v0.9.0 v0.9.0_cccccccccccccccc",
            "v0.9 v0.9.0",
            "v0 v0.9",
            "v1.5.2_dddddddddddddddd", // no link: not finished
            ".migrator-attempt-x",
            "v1.3.0 v1.3.0_eeeeeeeeeeeeeeee", // leads to nothing
            "v1.5.2_backup",
            "lost+found",
        ],
    ]
    .concat();
    let dir = folder(&entries);
    let layout = read(&dir).unwrap().unwrap();
    let unfinished = Prune::of(&layout, Finished::Keep);
    assert_eq!(unfinished.stores, ["v1.5.2_dddddddddddddddd"]);
    assert_eq!(unfinished.links, ["v1.3.0"]);
    assert_eq!(unfinished.strays, [".migrator-attempt-x"]);
    assert!(!unfinished.is_empty());
    let (running, previous) = (v("1.5.2"), v("1.4.0"));
    let all = Prune::of(&layout, Finished::KeepOnly(&[&running, &previous]));
    assert_eq!(
        all.stores,
        ["v0.9.0_cccccccccccccccc", "v1.5.2_dddddddddddddddd"]
    );
    assert_eq!(all.links, ["v0", "v0.9", "v0.9.0", "v1.3.0"]);
    all.run(&layout, &Disk);
    let after = read(&dir).unwrap().unwrap();
    assert!(Prune::of(&after, Finished::KeepOnly(&[&running, &previous])).is_empty());
    assert_eq!(after.store_of(&previous), Some("v1.4.0_bbbbbbbbbbbbbbbb"));
    for kept in ["v1.5.2_backup", "lost+found"] {
        assert!(dir.path().join(kept).exists());
    }
}

#[test]
fn the_store_in_use_is_never_pruned() {
    let dir = folder(&ORDINARY);
    let layout = read(&dir).unwrap().unwrap();
    let other = v("7.0.0");
    assert!(Prune::of(&layout, Finished::KeepOnly(&[&other])).is_empty());
}

#[test]
fn kept_values_without_their_store_are_pruned() {
    let dir = folder(&ORDINARY);
    for name in [
        "v1.5.2_aaaaaaaaaaaaaaaa.kept.json",
        "v1.5.2_ffffffffffffffff.kept.json",
    ] {
        fs::write(dir.path().join(name), "{}").unwrap();
    }
    let layout = read(&dir).unwrap().unwrap();
    let expected = BTreeSet::from(["v1.5.2_ffffffffffffffff.kept.json".to_owned()]);
    assert_eq!(layout.strays, expected);
    Prune::of(&layout, Finished::Keep).run(&layout, &Disk);
    assert!(read(&dir).unwrap().unwrap().strays.is_empty());
}

const VERSIONS: [&str; 8] = [
    "1.5.2",
    "1.5.3",
    "1.5.3-rc.1",
    "1.5.3-rc.2+b",
    "1.6.0",
    "2.0.0",
    "2.0.0-beta",
    "0.1.0",
];

proptest! {
    #[test]
    fn whatever_ran_before_the_last_two_versions_keep_their_stores(
        boots in prop::collection::vec((0..VERSIONS.len(), any::<bool>()), 1..12),
    ) {
        let dir = folder(&ORDINARY);
        for (index, (version, relink)) in boots.into_iter().enumerate() {
            let before = read(&dir).unwrap().unwrap();
            let to = v(VERSIONS[version]);
            if to == before.version {
                continue;
            }
            let store = if relink {
                before.store.clone()
            } else {
                let name = format!("v{to}_{index:016}");
                fs::create_dir(dir.path().join(&name)).unwrap();
                name
            };
            before.flip(&Disk, &to, &store).unwrap();
            let flipped = read(&dir).unwrap().unwrap();
            let kept = [&to, &before.version];
            Prune::of(&flipped, Finished::KeepOnly(&kept)).run(&flipped, &Disk);
            let after = read(&dir).unwrap().unwrap();
            prop_assert_eq!(&after.version, &to);
            prop_assert_eq!(&after.store, &store);
            prop_assert_eq!(after.store_of(&before.version), Some(before.store.as_str()));
            prop_assert!(after.dangling.is_empty(), "{:?}", after.dangling);
            prop_assert!(after.stores.len() <= 2, "{:?}", after.stores);
        }
    }

    #[test]
    fn no_name_of_a_store_or_a_link_panics(name: String, target: String) {
        let _ = (version_of_store(&name), version_of_link(&name), plain_name(Path::new(&target)));
    }
}
