//! verity.

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::lab::{Lab, pattern};

#[test]
fn two_blocks_have_the_root_hash_of_their_hashes() {
    let lab = Lab::new();
    let image = pattern(2 * 4096, 3);
    lab.write("root.img", &image);
    let out = lab.json(&[
        "verity",
        "root.img",
        "--salt",
        "00ff",
        "--hash-out",
        "hash.img",
    ]);

    let hash = |block: &[u8]| -> [u8; 32] { Sha256::digest([&[0, 0xff], block].concat()).into() };
    let mut level = [hash(&image[..4096]), hash(&image[4096..])].concat();
    level.resize(4096, 0);
    assert_eq!(
        out,
        json!({
            "root_hash": hex::encode(hash(&level)), "salt": "00ff", "data_blocks": 2,
            "data_block_size": 4096, "hash_block_size": 4096, "hash_length": 8192,
            "hash_image": "hash.img",
        })
    );
    let written = lab.read("hash.img");
    assert_eq!(&written[..8], b"verity\0\0");
    assert_eq!(&written[4096..], level);
}

#[test]
fn a_salt_that_nobody_chose_is_32_random_bytes() {
    let lab = Lab::new();
    lab.write("root.img", pattern(4096, 3));
    let [one, two] = [(); 2].map(|()| lab.json(&["verity", "root.img"]));
    assert_eq!(one["salt"].as_str().unwrap().len(), 64);
    assert_ne!(one["salt"], two["salt"]);
    assert_ne!(one["root_hash"], two["root_hash"]);
    assert_eq!(lab.names("."), ["root.img"]);
}

#[test]
fn people_read_root_hash_and_salt() {
    let lab = Lab::new();
    lab.write("root.img", pattern(4096, 3));
    let out = lab.json(&["verity", "root.img", "--salt", "ab"]);
    assert_eq!(
        lab.ok(&["verity", "root.img", "--salt", "ab"]),
        format!(
            "root hash  {}\nsalt       ab\nblocks     1 of 4096 bytes\n",
            out["root_hash"].as_str().unwrap()
        )
    );
}

#[test]
fn what_has_no_tree_is_named() {
    let lab = Lab::new();
    lab.write("root.img", pattern(4097, 3));
    lab.updata(&["verity", "root.img", "--hash-out", "hash.img"])
        .ends_with(
            1,
            "updata: making a verity tree over root.img: \
         root image of 4097 bytes is not 1 blocks of 4096 bytes",
        );
    lab.updata(&["verity", "root.img", "--salt", "0"])
        .says(2, "--salt");
    lab.updata(&["verity", "absent"])
        .says(1, "updata: opening absent: No such file");
    lab.write("root.img.lz4", [0x04, 0x22, 0x4d, 0x18, 0x60]);
    lab.updata(&["verity", "root.img.lz4"]).ends_with(
        1,
        "updata: root.img.lz4 is compressed already; give the plain file, updata compresses it",
    );
    assert_eq!(lab.names("."), ["root.img", "root.img.lz4"]);
}
