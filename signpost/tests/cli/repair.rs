//! A table of which one copy is damaged, or both, or that says two things.

use serde_json::json;
use signpost::testing::DiskBuilder;

use crate::image::{Image, Ran, small};

/// What is said of a copy that has no signature. The primary header also knows where the other copy is.
fn no_signature(side: &str) -> String {
    let only = match side {
        "primary" => " (the copy in the last sector is the only one)",
        _ => "",
    };
    format!("the {side} partition table is not in order: it has no signature{only}")
}

const BOTH_DAMAGED: &str = "\
signpost: both partition tables of os.img are damaged: of the primary, the checksum of its header does \
not match; of the backup, the checksum of its header does not match
signpost: nothing was written; save both ends of the disk with dd, then rebuild the table with \
`sgdisk --load-backup=FILE` from a saved one, or from the partition plan of the image, and set the \
bits anew
";

/// Where the headers are: the first sector after the MBR, and the last of the disk.
fn headers(image: &Image, sector: usize) -> [(&'static str, usize); 2] {
    [
        ("primary", sector),
        ("backup", image.bytes().len() - sector),
    ]
}

fn quiet(talk: String) -> Ran {
    Ran {
        exit: 0,
        data: String::new(),
        talk,
    }
}

/// A disk whose backup has the bits of another disk.
fn of_two_minds(primary: (u64, u64), backup: (u64, u64)) -> Image {
    let image = Image::with(primary.0, primary.1);
    let other = Image::with(backup.0, backup.1).bytes();
    let at = other.len() - 33 * 512;
    image.edit(|bytes| bytes[at..].copy_from_slice(&other[at..]));
    image
}

#[test]
fn a_damaged_copy_is_made_from_the_good_one_and_then_there_is_nothing_to_do() {
    for sector in [512u32, 4096] {
        let builder: DiskBuilder = small().sector_size(sector);
        let sector = usize::try_from(sector).unwrap();
        for (side, header) in headers(&Image::of(&builder), sector) {
            let image = Image::of(&builder);
            let before = image.bytes();
            image.edit(|bytes| bytes[header..header + sector].fill(0));
            let said = format!("signpost: {}; it is repaired\n", no_signature(side));
            assert_eq!(image.run("repair --disk os.img"), quiet(said));
            assert!(image.bytes() == before);
            let said = "signpost: both partition tables are in order; nothing was written\n";
            assert_eq!(image.run("repair --disk os.img"), quiet(said.to_owned()));
            assert!(image.bytes() == before);
        }
    }
}

#[test]
fn the_answer_in_json_names_the_copy_and_what_was_wrong_with_it() {
    let image = Image::factory();
    let [_, (_, backup)] = headers(&image, 512);
    image.edit(|bytes| bytes[backup + 16] ^= 1);
    assert_eq!(
        image.json("repair"),
        json!({
            "command": "repair",
            "changed": true,
            "done": ["the backup partition table is not in order: the checksum of its header does \
                      not match; it is repaired"],
            "repaired": "backup",
            "table_damage": "the backup partition table is not in order: the checksum of its \
                             header does not match"
        })
    );
    assert_eq!(
        image.json("repair"),
        json!({
            "command": "repair",
            "changed": false,
            "done": [],
            "repaired": null,
            "table_damage": null
        })
    );
}

#[test]
fn of_two_copies_that_differ_the_primary_counts() {
    let image = of_two_minds((0x0101, 0x0012), (0x0101, 0x0000));
    assert_eq!(image.select(""), "B\n");
    let said = "signpost: the backup partition table is not in order: it differs from the primary \
                table; it is repaired\n";
    assert_eq!(image.run("repair --disk os.img"), quiet(said.to_owned()));
    assert!(image.bytes() == Image::with(0x0101, 0x0012).bytes());
}

#[test]
fn with_both_copies_damaged_nothing_is_written_and_the_way_out_is_named() {
    let image = Image::factory();
    for (_, header) in headers(&image, 512) {
        image.edit(|bytes| bytes[header + 60] ^= 1);
    }
    let before = image.bytes();
    for words in ["repair", "repair --json", "rewrite-table"] {
        let failed = Ran {
            exit: 1,
            data: String::new(),
            talk: BOTH_DAMAGED.to_owned(),
        };
        assert_eq!(image.run(&format!("{words} --disk os.img")), failed);
    }
    assert!(image.bytes() == before);
}

#[test]
fn a_change_says_that_it_repaired_first() {
    for nth in [0, 1] {
        let image = Image::with(0x0101, 0x0010);
        let (side, header) = headers(&image, 512)[nth];
        image.edit(|bytes| bytes[header..header + 8].fill(0));
        let said = format!(
            "signpost: {}; it is repaired\n\
             signpost: set B: priority=0 tries_left=1 successful=false -> \
             priority=2 tries_left=1 successful=false\n",
            no_signature(side)
        );
        assert_eq!(image.change("A", "upgrade-to-inactive"), said);
        assert!(image.bytes() == Image::with(0x0101, 0x0012).bytes());

        image.edit(|bytes| bytes[header..header + 8].fill(0));
        let ran = image.run("select --consume-try --disk os.img");
        let said = format!("signpost: {}; it is repaired\n", no_signature(side));
        assert_eq!((ran.data.as_str(), ran.talk), ("B\n", said));
        assert!(image.bytes() == Image::with(0x0101, 0x0002).bytes());
    }
}

#[test]
fn looking_repairs_nothing_and_says_what_does() {
    let image = Image::factory();
    image.edit(|bytes| bytes[512..520].fill(0));
    let before = image.bytes();
    let hint = format!(
        "signpost: {}; `signpost repair` repairs it\n",
        no_signature("primary")
    );
    for words in ["select", "status --active A"] {
        let ran = image.run(&format!("{words} --disk os.img"));
        assert_eq!((ran.exit, ran.talk.as_str()), (0, hint.as_str()), "{words}");
    }
    assert!(image.bytes() == before);
}

#[test]
fn what_is_refused_or_has_nothing_to_change_repairs_and_says_so() {
    for (words, exit, rest) in [
        (
            "clear-inactive --active A",
            0,
            "signpost: nothing to change\n",
        ),
        ("select --consume-try", 0, ""),
        (
            "upgrade-to-inactive --active A",
            4,
            "signpost: the inactive set B has not been marked valid (priority=0 tries_left=0 \
             successful=false)\nsignpost: verify what was written to the set, then give \
             `mark-inactive-valid`\n",
        ),
    ] {
        let image = Image::factory();
        let before = image.bytes();
        image.edit(|bytes| bytes[512..520].fill(0));
        let said = format!(
            "signpost: {}; it is repaired\n{rest}",
            no_signature("primary")
        );
        let ran = image.run(&format!("{words} --disk os.img"));
        assert_eq!((ran.exit, ran.talk), (exit, said), "{words}");
        assert!(image.bytes() == before);
    }
}
