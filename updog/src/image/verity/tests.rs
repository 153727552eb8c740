use proptest::prelude::*;

use super::*;

fn build(data: &[u8], salt: &[u8], piece: usize) -> Tree {
    let length = u64::try_from(data.len()).unwrap();
    let mut builder = TreeBuilder::new(Geometry::for_image(length, salt.to_vec()).unwrap());
    for bytes in data.chunks(piece) {
        builder.update(bytes);
    }
    builder.finish().unwrap()
}

#[test]
fn one_block_has_no_tree_and_its_own_hash_as_root() {
    let tree = build(&[7; 4096], b"salt", 1000);
    let expected: [u8; 32] = Sha256::digest([b"salt".as_slice(), &[7; 4096]].concat()).into();
    assert_eq!(tree.root_hash(), Digest::from(expected));
    assert_eq!(tree.geometry().hash_length(), 4096);
    assert_eq!(tree.to_hash_image([0; 16]).len(), 4096);
}

#[test]
fn levels_follow_the_number_of_blocks() {
    // (data blocks, hash blocks of the whole image with the superblock's)
    for (blocks, expected) in [
        (1, 1),
        (2, 2),
        (128, 2),
        (129, 4),
        (16_384, 130),
        (16_385, 133),
    ] {
        let geometry = Geometry::for_image(blocks * 4096, vec![]).unwrap();
        assert_eq!(geometry.hash_length(), expected * 4096, "{blocks} blocks");
    }
}

#[test]
fn the_image_is_as_long_as_the_geometry_says() {
    let tree = build(&vec![1; 4096 * 300], b"", 4096);
    let length = u64::try_from(tree.to_hash_image([0; 16]).len()).unwrap();
    assert_eq!(length, tree.geometry().hash_length());
}

#[test]
fn images_of_other_lengths_are_refused() {
    for length in [0, 1, 4095, 4097] {
        assert!(Geometry::for_image(length, vec![]).is_err(), "{length}");
    }
    let geometry = Geometry::for_image(8192, vec![]).unwrap();
    for length in [0, 4096, 8191, 8193, 12_288] {
        let mut builder = TreeBuilder::new(geometry.clone());
        builder.update(&vec![0; length]);
        assert_eq!(
            builder.finish().unwrap_err(),
            VerityError::WrongDataLength {
                length: u64::try_from(length).unwrap(),
                blocks: 2,
                block_size: 4096
            }
        );
    }
}

#[test]
fn a_superblock_with_another_value_is_refused_by_field() {
    let good = Geometry::for_image(4096, vec![1, 2, 3])
        .unwrap()
        .to_superblock([9; 16]);
    assert!(Geometry::from_superblock(&good).is_ok());
    for (at, value, field) in [
        (8, 2, "version"),
        (12, 0, "hash type"),
        (37, b'1', "algorithm"),
        (64, 1, "data block size"),
        (70, 2, "hash block size"),
        (81, 2, "salt length"),
    ] {
        let mut bad = good;
        bad[at] = value;
        let error = Geometry::from_superblock(&bad).unwrap_err();
        assert!(
            matches!(error, VerityError::Unsupported { field: f, .. } if f == field),
            "{field}: {error}"
        );
    }
    let mut huge = good;
    huge[72..80].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(
        Geometry::from_superblock(&huge),
        Err(VerityError::OutOfRange { .. })
    ));
}

proptest! {
    #[test]
    fn superblocks_round_trip(
        salt in proptest::collection::vec(any::<u8>(), 0..=256),
        blocks in 1_u64..1 << 40,
        uuid: [u8; 16],
    ) {
        let geometry = Geometry::for_image(blocks * 4096, salt).unwrap();
        prop_assert_eq!(
            Geometry::from_superblock(&geometry.to_superblock(uuid)).unwrap(),
            geometry
        );
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1024)) {
        let _ = Geometry::from_superblock(&bytes);
        let mut signed = SIGNATURE.to_vec();
        signed.extend(bytes);
        let _ = Geometry::from_superblock(&signed);
    }

    #[test]
    fn the_pieces_do_not_matter(
        blocks in 1_usize..10,
        piece in 1_usize..9000,
        seed: u8,
    ) {
        let data: Vec<u8> = (0..blocks * 4096)
            .map(|i| u8::try_from((i / 7) % 251).unwrap() ^ seed)
            .collect();
        let whole = build(&data, b"s", data.len());
        let pieces = build(&data, b"s", piece);
        prop_assert_eq!(whole.root_hash(), pieces.root_hash());
        prop_assert_eq!(whole.to_hash_image([0; 16]), pieces.to_hash_image([0; 16]));
    }
}
