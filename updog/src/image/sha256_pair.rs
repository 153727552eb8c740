//! SHA-256 of two blocks at once.
//!
//! One hash leaves most of a processor's SHA unit idle, since each step waits for the one before it. The
//! steps of two hashes in turn do not wait for each other. Where the processor has no such
//! instructions there is no pair, and the caller hashes one block after the other; the tests hold both ways
//! against each other.
//!
//! This is the only module of the project with `unsafe` in it: one call, of a function that is compiled for
//! instructions that were found to be there.

use super::judge::Hash;
use super::verity::MAX_SALT_BYTES;

/// The hashes of `salt` and each of two blocks; nothing where that is not to be had in one go, or a block
/// is of less than 64 bytes. The more their lengths differ, the less is gained.
pub(super) fn hash(salt: &[u8], blocks: [&[u8]; 2]) -> Option<[Hash; 2]> {
    let is_long = blocks.iter().all(|block| block.len() >= CHUNK_BYTES);
    if salt.len() > MAX_SALT_BYTES || !is_long {
        return None;
    }
    in_turn(salt, blocks)
}

/// Bytes that are taken in at once.
const CHUNK_BYTES: usize = 64;

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)] // see the module's documentation
fn in_turn(salt: &[u8], blocks: [&[u8]; 2]) -> Option<[Hash; 2]> {
    let is_there = is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse4.1")
        && is_x86_feature_detected!("ssse3");
    // SAFETY: the processor has the three sets of instructions that the function is compiled for.
    is_there.then(|| unsafe { x86::hash(salt, blocks) })
}

#[cfg(not(target_arch = "x86_64"))]
fn in_turn(_: &[u8], _: [&[u8]; 2]) -> Option<[Hash; 2]> {
    None
}

/// With the instructions of x86's SHA extensions. The constants are those of FIPS 180-4.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_extract_epi32, _mm_set_epi32,
        _mm_set_epi64x, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
        _mm_shuffle_epi8, _mm_shuffle_epi32,
    };

    use super::super::judge::{HASH_BYTES, Hash};
    use super::super::verity::MAX_SALT_BYTES;
    use super::CHUNK_BYTES;

    /// The initial words f, e, b, a, as the instructions want them.
    const INITIAL_ABEF: [u32; 4] = [0x9b05_688c, 0x510e_527f, 0xbb67_ae85, 0x6a09_e667];
    /// h, g, d, c.
    const INITIAL_CDGH: [u32; 4] = [0x5be0_cd19, 0x1f83_d9ab, 0xa54f_f53a, 0x3c6e_f372];

    #[rustfmt::skip]
    const ROUNDS: [u32; 64] = [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
        0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
        0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
        0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
        0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
        0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
        0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
    ];

    /// The longest head: a salt, and what fills its last chunk.
    const HEAD_BYTES: usize = MAX_SALT_BYTES + CHUNK_BYTES;

    /// Of one hash, in the order that the instructions want.
    #[derive(Clone, Copy)]
    struct State {
        abef: __m128i,
        cdgh: __m128i,
    }

    #[target_feature(enable = "sha,sse4.1,ssse3")]
    pub(super) fn hash(salt: &[u8], blocks: [&[u8]; 2]) -> [Hash; 2] {
        let [one, other] = blocks;
        let filled = salt.len().next_multiple_of(CHUNK_BYTES) - salt.len();
        let mut states = [initial(), initial()];
        let heads = [head(salt, &one[..filled]), head(salt, &other[..filled])];
        let end = salt.len() + filled;
        take(&mut states, [&heads[0][..end], &heads[1][..end]]);
        let rest = [&one[filled..], &other[filled..]];
        let common = rest[0].len().min(rest[1].len());
        let common = common - common % CHUNK_BYTES;
        take(&mut states, [&rest[0][..common], &rest[1][..common]]);
        let rest = rest.map(|rest| &rest[common..]);
        let [one_tail, other_tail] = [0, 1].map(|lane| {
            let length = salt.len() + blocks[lane].len();
            tail(rest[lane], length)
        });
        if one.len() == other.len() {
            take(&mut states, [one_tail.bytes(), other_tail.bytes()]);
        } else {
            take_rest(&mut states[0], rest[0], one_tail.bytes());
            take_rest(&mut states[1], rest[1], other_tail.bytes());
        }
        [digest(states[0]), digest(states[1])]
    }

    /// What one message has more than the other.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn take_rest(state: &mut State, rest: &[u8], tail: &[u8]) {
        let whole = &rest[..rest.len() - rest.len() % CHUNK_BYTES];
        // Twice the same takes no longer than once.
        let mut states = [*state; 2];
        take(&mut states, [whole; 2]);
        take(&mut states, [tail; 2]);
        *state = states[0];
    }

    /// The last chunks of a message: what is no whole chunk of it, and the padding.
    struct Tail {
        chunks: [u8; 2 * CHUNK_BYTES],
        start: usize,
    }

    impl Tail {
        fn bytes(&self) -> &[u8] {
            &self.chunks[self.start..]
        }
    }

    fn head(salt: &[u8], block: &[u8]) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[..salt.len()].copy_from_slice(salt);
        head[salt.len()..salt.len() + block.len()].copy_from_slice(block);
        head
    }

    /// Of a message of `length` bytes that ends with `rest`.
    fn tail(rest: &[u8], length: usize) -> Tail {
        let rest = &rest[rest.len() - rest.len() % CHUNK_BYTES..];
        let mut chunks = [0; 2 * CHUNK_BYTES];
        // A one behind the message, and eight bytes of length.
        let start = chunks.len() - (rest.len() + 9).next_multiple_of(CHUNK_BYTES);
        chunks[start..start + rest.len()].copy_from_slice(rest);
        chunks[start + rest.len()] = 0x80;
        let length = u64::try_from(length).expect("a salt and what fits into memory");
        let bits = length << 3;
        chunks[2 * CHUNK_BYTES - 8..].copy_from_slice(&bits.to_be_bytes());
        Tail { chunks, start }
    }

    /// Takes in two messages of whole chunks; of the longer one, as much as of the shorter.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn take(states: &mut [State; 2], messages: [&[u8]; 2]) {
        let [mut one, mut other] = *states;
        let chunks = messages.map(|message| message.as_chunks::<CHUNK_BYTES>().0);
        let rounds = ROUNDS.as_chunks::<16>().0;
        for (a, b) in chunks[0].iter().zip(chunks[1]) {
            let before = (one, other);
            let (mut a, mut b) = (load(a), load(b));
            sixteen_rounds::<false>((&mut one, &mut a), (&mut other, &mut b), &rounds[0]);
            sixteen_rounds::<true>((&mut one, &mut a), (&mut other, &mut b), &rounds[1]);
            sixteen_rounds::<true>((&mut one, &mut a), (&mut other, &mut b), &rounds[2]);
            sixteen_rounds::<true>((&mut one, &mut a), (&mut other, &mut b), &rounds[3]);
            one = sum(one, before.0);
            other = sum(other, before.1);
        }
        *states = [one, other];
    }

    /// Sixteen words of a schedule, four to a vector, the oldest first.
    type Words = [__m128i; 4];

    /// Sixteen rounds of two hashes in turn. Written out, since everything has to stay in registers; with
    /// `EXTENDS` each four words of the schedule are replaced by the next ones first.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn sixteen_rounds<const EXTENDS: bool>(
        (one, a): (&mut State, &mut Words),
        (other, b): (&mut State, &mut Words),
        constants: &[u32; 16],
    ) {
        macro_rules! four_rounds {
            ($oldest:literal, $older:literal, $newer:literal, $newest:literal) => {
                if EXTENDS {
                    a[$oldest] = extend(a[$oldest], a[$older], a[$newer], a[$newest]);
                    b[$oldest] = extend(b[$oldest], b[$older], b[$newer], b[$newest]);
                }
                let constants = vector(constants.as_chunks::<4>().0[$oldest]);
                let (x, y) = (
                    _mm_add_epi32(a[$oldest], constants),
                    _mm_add_epi32(b[$oldest], constants),
                );
                one.cdgh = _mm_sha256rnds2_epu32(one.cdgh, one.abef, x);
                other.cdgh = _mm_sha256rnds2_epu32(other.cdgh, other.abef, y);
                let (x, y) = (_mm_shuffle_epi32::<0x0e>(x), _mm_shuffle_epi32::<0x0e>(y));
                one.abef = _mm_sha256rnds2_epu32(one.abef, one.cdgh, x);
                other.abef = _mm_sha256rnds2_epu32(other.abef, other.cdgh, y);
            };
        }
        four_rounds!(0, 1, 2, 3);
        four_rounds!(1, 2, 3, 0);
        four_rounds!(2, 3, 0, 1);
        four_rounds!(3, 0, 1, 2);
    }

    /// The four words of the schedule that follow these sixteen.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn extend(oldest: __m128i, older: __m128i, newer: __m128i, newest: __m128i) -> __m128i {
        let begun = _mm_sha256msg1_epu32(oldest, older);
        let begun = _mm_add_epi32(begun, _mm_alignr_epi8::<4>(newest, newer));
        _mm_sha256msg2_epu32(begun, newest)
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn sum(state: State, before: State) -> State {
        State {
            abef: _mm_add_epi32(state.abef, before.abef),
            cdgh: _mm_add_epi32(state.cdgh, before.cdgh),
        }
    }

    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn initial() -> State {
        State {
            abef: vector(INITIAL_ABEF),
            cdgh: vector(INITIAL_CDGH),
        }
    }

    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn digest(state: State) -> Hash {
        // f e b a and h g d c, from the lowest.
        let low = _mm_shuffle_epi32::<0x1b>(state.abef);
        let high = _mm_shuffle_epi32::<0xb1>(state.cdgh);
        let halves = [
            _mm_blend_epi16::<0xf0>(low, high),
            _mm_alignr_epi8::<8>(high, low),
        ];
        let mut hash = [0; HASH_BYTES];
        for (bytes, half) in hash.as_chunks_mut::<16>().0.iter_mut().zip(halves) {
            let words = [
                _mm_extract_epi32::<0>(half),
                _mm_extract_epi32::<1>(half),
                _mm_extract_epi32::<2>(half),
                _mm_extract_epi32::<3>(half),
            ];
            for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
                *bytes = word.to_be_bytes();
            }
        }
        hash
    }

    /// Four words, the first one lowest.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn vector(words: [u32; 4]) -> __m128i {
        let [a, b, c, d] = words.map(u32::cast_signed);
        _mm_set_epi32(d, c, b, a)
    }

    /// The words of a chunk, which are big-endian.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn load(chunk: &[u8; CHUNK_BYTES]) -> Words {
        let quarters = chunk.as_chunks::<16>().0;
        [
            load_four(&quarters[0]),
            load_four(&quarters[1]),
            load_four(&quarters[2]),
            load_four(&quarters[3]),
        ]
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn load_four(bytes: &[u8; 16]) -> __m128i {
        let [low, high] = [0, 1].map(|half| i64::from_le_bytes(bytes.as_chunks::<8>().0[half]));
        let bytes = _mm_set_epi64x(high, low);
        let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        _mm_shuffle_epi8(bytes, order)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn one(salt: &[u8], block: &[u8]) -> Hash {
        Sha256::new_with_prefix(salt)
            .chain_update(block)
            .finalize()
            .into()
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_processor_that_has_the_instructions_is_asked_for_pairs() {
        let has_them = ["sha_ni", "sse4_1", "ssse3"].iter().all(|flag| {
            let info = std::fs::read_to_string("/proc/cpuinfo").unwrap();
            info.split_whitespace().any(|word| word == *flag)
        });
        assert_eq!(hash(&[], [&[0; 64]; 2]).is_some(), has_them);
    }

    #[test]
    fn blocks_that_make_no_pair_are_none() {
        assert_eq!(hash(&[], [&[0; 64], &[0; 63]]), None);
        assert_eq!(hash(&[0; 257], [&[0; 64]; 2]), None);
    }

    proptest! {
        #[test]
        fn a_pair_hashes_as_one_after_the_other(
            salt in prop::collection::vec(any::<u8>(), 0..=256),
            a in prop::collection::vec(any::<u8>(), 64..600),
            mut b in prop::collection::vec(any::<u8>(), 64..600),
            is_alike in any::<bool>(),
        ) {
            if is_alike {
                b.resize(a.len(), 7);
            }
            if let Some(pair) = hash(&salt, [&a, &b]) {
                prop_assert_eq!(pair, [one(&salt, &a), one(&salt, &b)]);
            }
        }
    }

    #[test]
    fn whole_blocks_with_the_salts_that_are_used_hash_alike() {
        let blocks: [Vec<u8>; 2] = [3_usize, 7].map(|factor| {
            let bytes = (0..65_536_usize).map(|at| (at * factor / 5).to_le_bytes()[0]);
            bytes.collect()
        });
        for salt in [0, 16, 32, 64, 256] {
            let salt = vec![0xab; salt];
            for length in [512, 1024, 4096, 65_536] {
                let pair = blocks.each_ref().map(|block| &block[..length]);
                if let Some(found) = hash(&salt, pair) {
                    assert_eq!(found, pair.map(|block| one(&salt, block)));
                }
            }
        }
    }
}
