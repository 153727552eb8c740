//! Frames as the programs `lz4` and `zstd` write and read them: ours by them, theirs by us.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::{Digest as _, Sha256};
use system_tests::oracle;
use system_tests::programs::Ran;
use system_tests::publisher::{ARCH, Publisher, VARIANT, content};
use twox_hash::XxHash32;
use update_metadata::block_map::{BlockMap, Codec};
use updog::publish::block_map::{MapError, PackedImage};

#[test]
fn zstd_agrees_with_our_zstd_targets() {
    const TEST: &str = "zstd_agrees_with_our_zstd_targets";
    let Some(zstd) = oracle::find(TEST, "zstd") else {
        return;
    };
    let publisher = Publisher::new();
    let images = publisher.images("1.0.0", 3000);
    let more = ["--compression", "zstd"];
    publisher.release_with("1.0.0", &images, &more).done();
    for (kind, image) in [("boot", &images.boot), ("root", &images.root)] {
        let target = publisher.target(&format!("{VARIANT}-{ARCH}-1.0.0-{kind}.ext4.zst"));
        Ran::of(Command::new(&zstd).args(["-q", "-t"]).arg(&target)).done();
        let decoded = publisher.path("decoded");
        Ran::of(
            Command::new(&zstd)
                .args(["-q", "-d", "-f"])
                .arg(&target)
                .arg("-o")
                .arg(&decoded),
        )
        .done();
        assert!(fs::read(&decoded).unwrap() == fs::read(image).unwrap());
    }
}

/// The map of a compressed file.
fn map(packed: &Path, codec: Codec) -> Result<BlockMap, MapError> {
    let image = PackedImage {
        path: packed,
        codec,
        length: fs::metadata(packed).unwrap().len(),
    };
    image.map(4096, &mut updog::publish::event::ignore)
}

/// What a map says of blocks is true of `raw`.
fn assert_blocks(map: &BlockMap, raw: &[u8]) {
    let blocks: Vec<_> = raw.chunks(4096).collect();
    assert_eq!(map.block_count(), blocks.len());
    for (index, block) in blocks.into_iter().enumerate() {
        let hash = Sha256::digest(block).into();
        assert!(map.parts().hashes.admits(index, &hash), "block {index}");
    }
}

#[test]
fn files_of_the_lz4_program_have_block_maps_unless_their_blocks_are_linked() {
    const TEST: &str = "files_of_the_lz4_program_have_block_maps_unless_their_blocks_are_linked";
    let Some(lz4) = oracle::find(TEST, "lz4") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (raw, packed) = (dir.path().join("raw"), dir.path().join("packed"));
    // A program, as images hold them, and more than one of the largest blocks.
    let mut content = fs::read(&lz4).unwrap();
    content.extend_from_slice(&self::content("lz4", 5_000_000));
    fs::write(&raw, &content).unwrap();
    let pack = |settings: &[&str]| {
        let mut command = Command::new(&lz4);
        command.args(["-q", "-f"]).args(settings);
        Ran::of(command.args([&raw, &packed])).done();
    };
    for (settings, frame) in [
        (&["-9"][..], 4 << 20),
        (&["-1", "-B4"], 64 << 10),
        (&["-9", "-B6", "-BX", "--content-size"], 1 << 20),
        (&["-12", "-B5", "--no-frame-crc"], 256 << 10),
    ] {
        pack(settings);
        let map = map(&packed, Codec::Lz4).unwrap();
        assert_eq!(map.parts().frame_length, frame, "{settings:?}");
        assert_blocks(&map, &content);
        // The program decodes each frame alone, given the header and an end mark.
        let bytes = fs::read(&packed).unwrap();
        let part = |range: std::ops::Range<u64>| {
            &bytes[range.start.try_into().unwrap()..range.end.try_into().unwrap()]
        };
        let mut found = Vec::new();
        for index in 0..map.frame_count() {
            let header = part(0..map.parts().header_length.into());
            // Without content size and checksum, which are of the whole.
            let mut alone = header[..4].to_vec();
            alone.extend([header[4] & !0x0c, header[5]]);
            let checksum = XxHash32::oneshot(0, &alone[4..]) >> 8;
            alone.push(checksum.to_le_bytes()[0]);
            alone.extend_from_slice(part(map.frame_range(index)));
            alone.extend([0; 4]);
            let file = dir.path().join("alone");
            fs::write(&file, alone).unwrap();
            let decoded = Command::new(&lz4)
                .args(["-q", "-d", "-c"])
                .arg(&file)
                .output();
            let decoded = decoded.unwrap();
            assert!(decoded.status.success(), "{settings:?}: frame {index}");
            found.extend(decoded.stdout);
        }
        assert!(found == content, "{settings:?}");
    }
    pack(&["-9", "-BD"]);
    let error = map(&packed, Codec::Lz4).unwrap_err();
    assert!(
        updog::exit::chain(&error).contains("its LZ4 blocks depend on each other"),
        "{error}"
    );
}

#[test]
fn frames_of_the_zstd_program_have_a_block_map() {
    const TEST: &str = "frames_of_the_zstd_program_have_a_block_map";
    let Some(zstd) = oracle::find(TEST, "zstd") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (raw, packed) = (dir.path().join("raw"), dir.path().join("packed"));
    let content = content("zstd", 3 * (1 << 20) + 5000);
    for settings in [&["-3"][..], &["-19"], &["-1", "--no-check"]] {
        let mut file = Vec::new();
        let mut ends = Vec::new();
        for chunk in content.chunks(1 << 20) {
            fs::write(&raw, chunk).unwrap();
            let mut command = Command::new(&zstd);
            let made = command.args(["-q", "-c"]).args(settings).arg(&raw).output();
            file.extend(made.unwrap().stdout);
            ends.push(u64::try_from(file.len()).unwrap());
        }
        fs::write(&packed, &file).unwrap();
        let map = map(&packed, Codec::Zstd).unwrap();
        assert_blocks(&map, &content);
        let found = (0..map.frame_count()).map(|index| map.frame_range(index).end);
        assert_eq!(found.collect::<Vec<_>>(), ends, "{settings:?}");
    }
    fs::write(&raw, self::content("zstd", 9_000_000)).unwrap();
    let mut command = Command::new(&zstd);
    command.args(["-q", "-f"]).arg(&raw).arg("-o").arg(&packed);
    Ran::of(&mut command).done();
    let error = map(&packed, Codec::Zstd).unwrap_err();
    assert!(
        updog::exit::chain(&error).ends_with("its frame 0 is of more than 4194304 bytes"),
        "{error}"
    );
}
