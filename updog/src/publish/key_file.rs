//! One key in a file, in the forms that people have: what `updata keys new` writes, and what
//! `openssl genpkey` and `openssl pkey -pubout` write, as PEM or as DER.
//!
//! A private key is PKCS#8, or what openssl wrote before there was that: ed25519, ECDSA P-256, or RSA
//! of 2,048 bits and more. `-` is stdin. Private keys stay in memory; nothing here prints or writes one.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use clap::ValueEnum;
use pem::{EncodeConfig, LineEnding, Pem};
use serde::{Serialize, Serializer};
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tough::schema::key::{Ed25519Key, Ed25519Scheme, Key};
use tough::sign::{Sign, parse_keypair};

use super::bounded;

/// A larger file is not a key; an RSA key of 8,192 bits has about 6,400 bytes in PEM.
const MAX_KEY_BYTES: u64 = 64 * 1024;
/// What stands for stdin where a file is asked for.
pub const STDIN: &str = "-";
/// The head of an ed25519 public key as DER (`SubjectPublicKeyInfo`, RFC 8410): 32 bytes follow.
const ED25519_HEAD: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// The PEM tag of PKCS#8.
const PRIVATE: &str = "PRIVATE KEY";
/// The PEM tag of an RSA key in the form of RFC 8017.
const PKCS1: &str = "RSA PRIVATE KEY";
/// The PEM tag of an ECDSA key in the form of RFC 5915.
const SEC1: &str = "EC PRIVATE KEY";
/// The PEM tag of a public key.
const PUBLIC: &str = "PUBLIC KEY";

/// Why a file cannot be used as a key.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum KeyFileError {
    /// The file cannot be read.
    #[snafu(display("reading the key {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    /// The file is no private key.
    #[snafu(display(
        "{} is not a private key in PKCS#8; make keys with `updata keys new`", path.display()
    ))]
    Parse {
        path: PathBuf,
        #[snafu(source(from(tough::error::Error, Box::new)))]
        source: Box<tough::error::Error>,
    },
    /// The file is a private key under a password.
    #[snafu(display(
        "{} is encrypted; give the plain key through a pipe: \
         `openssl pkey -in {} | updata ... --key ROLE=-`",
        path.display(), path.display()
    ))]
    Encrypted { path: PathBuf },
    /// The file is a private key in an older form.
    #[snafu(display(
        "{} is not in PKCS#8 ({tag}); convert it: \
         `openssl pkcs8 -topk8 -nocrypt -in {} -out NEW`",
        path.display(), path.display()
    ))]
    OldForm { path: PathBuf, tag: String },
    /// The file is a key of a kind that the metadata have no scheme for.
    #[snafu(display(
        "{} is a private key of another kind than ed25519, ECDSA P-256 and RSA of 2,048 to 8,192 \
         bits; make one with `updata keys new`",
        path.display()
    ))]
    Kind { path: PathBuf },
    /// The file is the public half.
    #[snafu(display("{} is a public key; give the private one", path.display()))]
    OnlyPublic { path: PathBuf },
    /// The file is no key at all.
    #[snafu(display(
        "{} is not a public key; make one with `updata keys public` or `openssl pkey -pubout`",
        path.display()
    ))]
    NotPublic { path: PathBuf },
}

/// A private key, in a form that tough reads. It shows nothing of itself.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// What signs with it; `None` cannot happen to one that was parsed.
    pub(super) fn signer(&self) -> Option<Box<dyn Sign>> {
        signer(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The kinds of keys that metadata know a scheme for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum KeyType {
    /// `ed25519`.
    Ed25519,
    /// `rsassa-pss-sha256`.
    Rsa,
    /// `ecdsa-sha2-nistp256`.
    Ecdsa,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "ed25519",
            Self::Rsa => "rsa",
            Self::Ecdsa => "ecdsa",
        })
    }
}

impl Serialize for KeyType {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Pure: what a key is made of, whatever name or notation a root role gives it.
pub fn material(key: &Key) -> (KeyType, &[u8]) {
    match key {
        Key::Ed25519 { keyval, .. } => (KeyType::Ed25519, &keyval.public),
        Key::Rsa { keyval, .. } => (KeyType::Rsa, &keyval.public),
        Key::Ecdsa { keyval, .. } | Key::EcdsaOld { keyval, .. } => {
            (KeyType::Ecdsa, &keyval.public)
        }
    }
}

/// A private key and its public half.
pub fn read_private(path: &Path) -> Result<(Secret, Key), KeyFileError> {
    parse_private(path, &read(path)?)
}

/// A public key, or the public half of a private one, which then comes with it.
pub fn read_any(path: &Path) -> Result<(Option<Secret>, Key), KeyFileError> {
    let bytes = read(path)?;
    if let Some(key) = parse_public(&bytes) {
        return Ok((None, key));
    }
    parse_private(path, &bytes).map(|(secret, key)| (Some(secret), key))
}

/// A public key; of a private key its public half.
pub fn read_public(path: &Path) -> Result<Key, KeyFileError> {
    let bytes = read(path)?;
    if let Some(key) = parse_public(&bytes) {
        return Ok(key);
    }
    let looks_private = pem::parse(&bytes).is_ok() || signer_of(&bytes).is_some();
    ensure!(looks_private, NotPublicSnafu { path });
    parse_private(path, &bytes).map(|(_, key)| key)
}

/// The whole file, or all of stdin, if it is no larger than a key.
fn read(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    if path == Path::new(STDIN) {
        bounded::read_from(io::stdin().lock(), MAX_KEY_BYTES)
    } else {
        bounded::read(path, MAX_KEY_BYTES)
    }
    .context(ReadSnafu { path })
}

fn signer(bytes: &[u8]) -> Option<Box<dyn Sign>> {
    parse_keypair(bytes)
        .ok()
        .map(|signer| Box::new(signer) as Box<dyn Sign>)
}

/// Pure: the key, in the form among those equal to `bytes` that tough reads. It knows RSA as PEM
/// and the others as PKCS#8 in DER; openssl writes all kinds as either, and as DER in older forms.
fn signer_of(bytes: &[u8]) -> Option<(Secret, Key)> {
    let forms = match pem::parse(bytes) {
        Ok(pem) if pem.tag() == PRIVATE => vec![bytes.to_vec(), pem.into_contents()],
        Ok(pem) if pem.tag() == SEC1 => sec1(pem.contents()).into_iter().collect(),
        Ok(_) => vec![bytes.to_vec()],
        Err(_) => {
            let rsa = [PRIVATE, PKCS1].map(|tag| pem::encode(&Pem::new(tag, bytes)).into_bytes());
            let others = [bytes.to_vec()].into_iter().chain(sec1(bytes));
            others.chain(rsa).collect()
        }
    };
    forms.into_iter().find_map(|form| {
        let key = signer(&form)?.tuf_key();
        Some((Secret(form), key))
    })
}

/// An ECDSA key in the form of RFC 5915, as PKCS#8.
fn sec1(der: &[u8]) -> Option<Vec<u8>> {
    let key = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der).ok()?;
    Some(key.to_pkcs8v1().ok()?.as_ref().to_vec())
}

fn parse_private(path: &Path, bytes: &[u8]) -> Result<(Secret, Key), KeyFileError> {
    if let Some(found) = signer_of(bytes) {
        return Ok(found);
    }
    let tag = pem::parse(bytes).map_or_else(|_| String::new(), |pem| pem.tag().to_owned());
    match tag.as_str() {
        "ENCRYPTED PRIVATE KEY" => EncryptedSnafu { path }.fail(),
        "EC PARAMETERS" => OldFormSnafu { path, tag }.fail(),
        PUBLIC => OnlyPublicSnafu { path }.fail(),
        PRIVATE | PKCS1 | SEC1 => KindSnafu { path }.fail(),
        _ if parse_public(bytes).is_some() => OnlyPublicSnafu { path }.fail(),
        _ => {
            // It fails again, and says how.
            let signer = parse_keypair(bytes).context(ParseSnafu { path })?;
            Ok((Secret(bytes.to_vec()), signer.tuf_key()))
        }
    }
}

/// Pure: a public key as PEM (`SubjectPublicKeyInfo`), or of ed25519 as 64 hexadecimal digits.
fn parse_public(bytes: &[u8]) -> Option<Key> {
    let text = str::from_utf8(bytes).ok()?.trim();
    // Told apart by its head, for tough reads an ed25519 key only in hexadecimal.
    if let Ok(pem) = pem::parse(text)
        && pem.tag() == PUBLIC
        && let Some(public) = pem.contents().strip_prefix(&ED25519_HEAD)
    {
        return (public.len() == 32).then(|| ed25519(public));
    }
    let mut key: Key = text.parse().ok()?;
    // In the one notation that tough gives the public half of a private key, on which the key id
    // depends.
    match &mut key {
        Key::Rsa { keyval, .. } => keyval.public = keyval.public.to_vec().into(),
        Key::Ed25519 { keyval, .. } => keyval.public = keyval.public.to_vec().into(),
        Key::Ecdsa { keyval, .. } | Key::EcdsaOld { keyval, .. } => {
            keyval.public = keyval.public.to_vec().into();
        }
    }
    Some(key)
}

fn ed25519(public: &[u8]) -> Key {
    Key::Ed25519 {
        keyval: Ed25519Key {
            public: public.to_vec().into(),
            _extra: HashMap::new(),
        },
        scheme: Ed25519Scheme::Ed25519,
        _extra: HashMap::new(),
    }
}

/// The public key as PEM, as `openssl pkey -pubin` reads it; ends with a line end. `None` for a
/// notation in which it has no such text, which no key of ours has.
pub fn public_pem(key: &Key) -> Option<String> {
    let text = match key {
        Key::Ed25519 { keyval, .. } => {
            let der = [&ED25519_HEAD[..], &keyval.public].concat();
            let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
            pem::encode_config(&Pem::new(PUBLIC, der), config)
        }
        Key::Rsa { keyval, .. } => text_of(&keyval.public)?,
        Key::Ecdsa { keyval, .. } | Key::EcdsaOld { keyval, .. } => text_of(&keyval.public)?,
    };
    Some(format!("{}\n", text.trim_end()))
}

/// The text that metadata have for a public key.
fn text_of(public: &impl Serialize) -> Option<String> {
    let value = serde_json::to_value(public).ok()?;
    value.as_str().map(str::to_owned)
}

/// The PEM form in which tough reads an RSA key.
pub(super) fn private_pem(der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(PRIVATE, der), config)
}

/// The id that a key gets in a new root role.
pub(super) fn id(path: &Path, key: &Key) -> Result<super::keyring::KeyId, KeyFileError> {
    // Serializing a key into memory cannot fail; were it to, the key is of no kind we know.
    key.key_id().ok().context(KindSnafu { path })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_secret_shows_nothing_of_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        let rng = aws_lc_rs::rand::SystemRandom::new();
        let document = aws_lc_rs::signature::Ed25519KeyPair::generate_pkcs8v1(&rng).unwrap();
        fs::write(&path, document.as_ref()).unwrap();
        let (secret, _) = read_private(&path).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret");
        fs::write(&path, private_pem(document.as_ref())).unwrap();
        let (_, key) = read_private(&path).unwrap();
        let pem = public_pem(&key).unwrap();
        assert_eq!(parse_public(pem.as_bytes()).unwrap(), key);
        // The same key in the notation of the metadata.
        assert_eq!(
            parse_public(hex::encode(material(&key).1).as_bytes()).unwrap(),
            key
        );
    }

    #[test]
    fn what_is_no_key_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        let block = |tag: &str| pem::encode(&Pem::new(tag, [0x30, 0x03, 0x02, 0x01, 0x00]));
        for (content, part) in [
            (String::from("no key"), " is not a private key in PKCS#8"),
            (block("ENCRYPTED PRIVATE KEY"), " is encrypted; "),
            (block("EC PRIVATE KEY"), " of another kind than ed25519"),
            (block("EC PARAMETERS"), "openssl pkcs8 -topk8"),
            (block("PRIVATE KEY"), " of another kind than ed25519"),
            (block("PUBLIC KEY"), " is a public key; "),
            ("ab".repeat(32), " is a public key; "),
            (block("CERTIFICATE"), " is not a private key in PKCS#8"),
            ("k".repeat(65537), "reading the key "),
        ] {
            fs::write(&path, &content).unwrap();
            let message = read_private(&path).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
            assert!(message.contains(path.to_str().unwrap()), "{message}");
        }
        fs::write(&path, "no key").unwrap();
        let message = read_public(&path).unwrap_err().to_string();
        assert!(message.contains("is not a public key"), "{message}");
    }
}
