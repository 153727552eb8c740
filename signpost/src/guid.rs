//! Pure: the 16-byte identifiers of a partition table, and the partition types that this crate
//! knows.
//!
//! A table keeps the first three fields of a GUID little-endian and the other two as they are
//! written, so the bytes on disk are not the bytes of the text. [`Guid`] holds the bytes on disk
//! and does the turning when it prints and parses.

use core::fmt;
use core::str::FromStr;

use snafu::{OptionExt, Snafu, ensure};

/// A GUID in the byte order of the disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 16]);

/// Type of a set's boot partition, `6b636168-7420-6568-2070-6c616e657421`.
pub const BOOT: Guid = Guid(*b"hack the planet!");

/// Type of a set's root partition, `5526016a-1a97-4ea4-b39a-b7c8c6ca4502`.
pub const ROOT: Guid = Guid([
    0x6a, 0x01, 0x26, 0x55, 0x97, 0x1a, 0xa4, 0x4e, 0xb3, 0x9a, 0xb7, 0xc8, 0xc6, 0xca, 0x45, 0x02,
]);

/// Type of a set's hash partition, `598f10af-c955-4456-6a99-7720068a6cea`.
pub const HASH: Guid = Guid([
    0xaf, 0x10, 0x8f, 0x59, 0x55, 0xc9, 0x56, 0x44, 0x6a, 0x99, 0x77, 0x20, 0x06, 0x8a, 0x6c, 0xea,
]);

/// Type of the space kept free in each set, `0c5d99a5-d331-4147-baef-08e2b855bdc9`.
pub const RESERVED: Guid = Guid([
    0xa5, 0x99, 0x5d, 0x0c, 0x31, 0xd3, 0x47, 0x41, 0xba, 0xef, 0x08, 0xe2, 0xb8, 0x55, 0xbd, 0xc9,
]);

/// Type of the private partition, `440408bb-eb0b-4328-a6e5-a29038fad706`.
pub const PRIVATE: Guid = Guid([
    0xbb, 0x08, 0x04, 0x44, 0x0b, 0xeb, 0x28, 0x43, 0xa6, 0xe5, 0xa2, 0x90, 0x38, 0xfa, 0xd7, 0x06,
]);

/// Type of the data partition, `626f7474-6c65-6474-6861-726d61726b73`.
pub const DATA: Guid = Guid([
    0x74, 0x74, 0x6f, 0x62, 0x65, 0x6c, 0x74, 0x64, 0x68, 0x61, 0x72, 0x6d, 0x61, 0x72, 0x6b, 0x73,
]);

/// Type of the EFI system partition, `c12a7328-f81f-11d2-ba4b-00a0c93ec93b`.
pub const EFI_SYSTEM: Guid = Guid([
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
]);

/// Type of the second set's EFI partition, `b39ce39c-0a00-b4ab-2d11-f18f8237a21c`.
pub const EFI_BACKUP: Guid = Guid([
    0x9c, 0xe3, 0x9c, 0xb3, 0x00, 0x0a, 0xab, 0xb4, 0x2d, 0x11, 0xf1, 0x8f, 0x82, 0x37, 0xa2, 0x1c,
]);

/// Type of the partition that holds GRUB's core on a BIOS machine,
/// `21686148-6449-6e6f-744e-656564454649`.
pub const BIOS_BOOT: Guid = Guid(*b"Hah!IdontNeedEFI");

/// What is wrong with the text of a GUID.
#[derive(Debug, Snafu, Clone, PartialEq, Eq)]
#[snafu(visibility(pub(crate)))]
pub enum Error {
    /// It does not have the dashes of a GUID, or not its length.
    #[snafu(display("a GUID is 8-4-4-4-12 hexadecimal digits"))]
    Shape,
    /// A place for a digit holds something else.
    #[snafu(display("a GUID has hexadecimal digits and dashes only"))]
    Digit,
}

impl Guid {
    /// The byte on disk that the `n`th pair of digits of the text stands for.
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

    /// The bytes as they stand in a table entry.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// What partitions of this type are for, if it is one of those named here.
    pub fn type_name(self) -> Option<&'static str> {
        let names = [
            (BIOS_BOOT, "BIOS boot"),
            (EFI_SYSTEM, "EFI system"),
            (EFI_BACKUP, "EFI backup"),
            (BOOT, "boot"),
            (ROOT, "root"),
            (HASH, "hash"),
            (RESERVED, "reserved"),
            (PRIVATE, "private"),
            (DATA, "data"),
        ];
        names
            .into_iter()
            .find(|(guid, _)| *guid == self)
            .map(|(_, name)| name)
    }

    /// Whether every byte is 0, which as a partition type means: no partition.
    pub fn is_nil(self) -> bool {
        self.0 == [0; 16]
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (pair, place) in Self::ORDER.into_iter().enumerate() {
            if matches!(pair, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0[place])?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Guid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let lengths = text.split('-').map(str::len);
        ensure!(lengths.eq([8, 4, 4, 4, 12]), ShapeSnafu);
        let mut digits = text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16));
        let mut digit = || {
            let value = digits.next().flatten().context(DigitSnafu)?;
            u8::try_from(value).ok().context(DigitSnafu)
        };
        let mut bytes = [0; 16];
        for place in Self::ORDER {
            bytes[place] = digit()? << 4 | digit()?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_the_documented_texts() {
        for (guid, text) in [
            (BOOT, "6b636168-7420-6568-2070-6c616e657421"),
            (ROOT, "5526016a-1a97-4ea4-b39a-b7c8c6ca4502"),
            (HASH, "598f10af-c955-4456-6a99-7720068a6cea"),
            (RESERVED, "0c5d99a5-d331-4147-baef-08e2b855bdc9"),
            (PRIVATE, "440408bb-eb0b-4328-a6e5-a29038fad706"),
            (DATA, "626f7474-6c65-6474-6861-726d61726b73"),
            (EFI_SYSTEM, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
            (EFI_BACKUP, "b39ce39c-0a00-b4ab-2d11-f18f8237a21c"),
            (BIOS_BOOT, "21686148-6449-6e6f-744e-656564454649"),
        ] {
            assert_eq!(guid.to_string(), text);
            assert_eq!(text.parse(), Ok(guid));
            assert_eq!(text.to_uppercase().parse(), Ok(guid));
        }
    }

    #[test]
    fn the_first_three_fields_are_turned_and_the_rest_is_not() {
        let guid: Guid = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
        assert_eq!(
            guid.bytes(),
            [
                0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd,
                0xee, 0xff
            ]
        );
    }

    #[test]
    fn texts_of_another_shape_are_refused() {
        for (text, error) in [
            ("", Error::Shape),
            ("00112233445566778899aabbccddeeff", Error::Shape),
            ("00112233-4455-6677-8899-aabbccddeef", Error::Shape),
            ("0011223-34455-6677-8899-aabbccddeeff", Error::Shape),
            ("00112233-4455-6677-8899-aabbccddeeff-", Error::Shape),
            ("g0112233-4455-6677-8899-aabbccddeeff", Error::Digit),
            ("+0112233-4455-6677-8899-aabbccddeeff", Error::Digit),
            ("é112233-4455-6677-8899-aabbccddeeff", Error::Digit),
        ] {
            assert_eq!(text.parse::<Guid>(), Err(error), "{text}");
        }
    }
}
