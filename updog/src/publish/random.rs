//! Random bytes: salts and identifiers.

use aws_lc_rs::rand;
use snafu::{ResultExt, Snafu};

/// The random source failed.
#[derive(Debug, Snafu)]
#[snafu(display("asking the random source for {length} bytes"))]
pub struct RandomError {
    length: usize,
    source: aws_lc_rs::error::Unspecified,
}

/// `N` unpredictable bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).context(RandomSnafu { length: N })?;
    Ok(bytes)
}

/// A random UUID (version 4), in the order in which its text is written.
pub fn uuid() -> Result<[u8; 16], RandomError> {
    let mut uuid = bytes()?;
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    Ok(uuid)
}

/// A random GUID (version 4), in the order in which a partition table keeps its bytes: the first
/// three fields little-endian.
pub fn guid() -> Result<[u8; 16], RandomError> {
    let mut guid = uuid()?;
    guid[..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    Ok(guid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_variant_are_where_readers_look_for_them() {
        for _ in 0..64 {
            let uuid = uuid().unwrap();
            assert_eq!((uuid[6] >> 4, uuid[8] >> 6), (4, 2));
            let guid = signpost::guid::Guid(guid().unwrap()).to_string();
            assert_eq!(&guid[14..15], "4", "{guid}");
            assert!("89ab".contains(&guid[19..20]), "{guid}");
        }
        assert_ne!(bytes::<32>().unwrap(), bytes::<32>().unwrap());
    }
}
