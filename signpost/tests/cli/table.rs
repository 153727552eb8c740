//! The disk around the table: a backup that is not at its end, sector 0, and another program's lock.

use std::fs::File;

use serde_json::json;

use crate::image::Image;

/// A factory disk that is put onto a larger one.
fn grown() -> Image {
    let image = Image::factory();
    image.edit(|bytes| bytes.resize(bytes.len() + (1 << 20), 0));
    image
}

#[test]
fn a_backup_that_had_to_be_moved_is_told() {
    let image = grown();
    let sectors = image.bytes().len() / 512;
    let said = format!(
        "signpost: the backup partition table was at sector {}, not at the end of the disk; it is \
         moved to sector {}\n",
        sectors - 2048 - 1,
        sectors - 1
    );
    let ran = image.run("status --disk os.img --active A");
    assert_eq!((ran.exit, ran.talk.as_str()), (0, ""));
    let change = image.change("A", "mark-inactive-valid");
    assert!(change.starts_with(&said), "{change}");
    assert_eq!(
        image.run("repair --disk os.img").talk,
        "signpost: both partition tables are in order; nothing was written\n"
    );
    assert_eq!(grown().run("repair --disk os.img").talk, said);
}

#[test]
fn a_backup_that_cannot_be_moved_is_refused_also_with_a_reason() {
    let image = grown();
    image.edit(|bytes| *bytes.last_mut().unwrap() = 1);
    let before = image.bytes();
    let name = ["--disk", "os.img"];
    let running = ["--active", "A"];
    let clear = ["clear-inactive", "--force", "why"];
    for words in [
        &[&clear[..], &running].concat()[..],
        &["repair"],
        &["rewrite-table"],
    ] {
        let ran = image.run_args(&[words, &name].concat());
        assert_eq!(ran.exit, 4, "{words:?}: {}", ran.talk);
        assert!(ran.talk.contains("sgdisk -e"), "{}", ran.talk);
    }
    assert!(image.bytes() == before);
}

#[test]
fn a_lost_protective_mbr_is_damage_and_comes_back() {
    let image = Image::factory();
    let before = image.bytes();
    image.edit(|bytes| bytes[..512].fill(0));
    let fault = "there is no protective MBR: sector 0 does not end in 0x55AA";
    let ran = image.run("status --disk os.img --active A");
    assert_eq!(
        (ran.exit, ran.talk),
        (
            0,
            format!("signpost: {fault}; `signpost repair` repairs it\n")
        )
    );
    assert_eq!(image.json("status --active A")["table_damage"], fault);
    assert_eq!(
        image.json("repair"),
        json!({
            "command": "repair",
            "changed": true,
            "done": [format!("{fault}; it is written anew")],
            "repaired": null,
            "table_damage": null
        })
    );
    assert!(image.bytes() == before);
}

#[test]
fn an_mbr_without_a_protective_entry_is_told_and_left_alone() {
    let image = Image::factory();
    image.edit(|bytes| bytes[450] = 0x83);
    let before = image.bytes();
    let said = "signpost: there is no protective MBR: the one in sector 0 has no entry of type 0xEE; \
                it is left alone; `gdisk`, x, n writes one\n";
    let ran = image.run("repair --disk os.img");
    assert_eq!(ran.exit, 0);
    assert!(ran.talk.starts_with(said), "{}", ran.talk);
    assert!(image.bytes() == before);
}

/// Takes the ten seconds for which the program waits.
#[test]
fn a_lock_that_another_program_holds_has_exit_code_4() {
    let image = Image::factory();
    let before = image.bytes();
    let other = File::open(image.path()).unwrap();
    other.lock().unwrap();
    let ran = image.run("mark-inactive-valid --disk os.img --active A");
    assert_eq!((ran.exit, ran.data.as_str()), (4, ""));
    assert_eq!(
        ran.talk,
        "signpost: locking os.img: another program holds the lock\n\
         signpost: nothing was written; wait for the other program to end\n"
    );
    assert!(image.bytes() == before);
}
