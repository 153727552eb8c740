//! Signing keys, and metadata signed with them.

use std::fmt;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PSS_SHA256,
    RsaKeyPair,
};
use olpc_cjson::CanonicalFormatter;
use serde::Serialize as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A private key, and what a root says of its public one.
#[derive(Clone)]
pub struct Key {
    pair: Arc<Pair>,
    public: Value,
    id: String,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
}

impl Key {
    /// A new ed25519 key.
    ///
    /// # Panics
    /// When the system gives no random numbers.
    pub fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().expect("random numbers");
        let public = hex::encode(pair.public_key());
        Self::new(Pair::Ed25519(pair), "ed25519", "ed25519", &public)
    }

    /// The RSA key of this process, for PSS with SHA-256: making one takes its time.
    ///
    /// # Panics
    /// When the system gives no random numbers.
    pub fn rsa() -> Self {
        static KEY: LazyLock<Key> = LazyLock::new(|| {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("random numbers");
            let der = pair.public_key().as_der().expect("a public key");
            let public = public_pem(der.as_ref());
            Key::new(Pair::Rsa(pair), "rsa", "rsassa-pss-sha256", &public)
        });
        KEY.clone()
    }

    /// A new ECDSA key on the curve P-256.
    ///
    /// # Panics
    /// When the system gives no random numbers.
    pub fn ecdsa() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("random numbers");
        let public = public_pem(pair.public_key().as_der().expect("a public key").as_ref());
        Self::new(Pair::Ecdsa(pair), "ecdsa", "ecdsa-sha2-nistp256", &public)
    }

    fn new(pair: Pair, keytype: &str, scheme: &str, public: &str) -> Self {
        let keyval = json!({ "public": public });
        let public = json!({ "keytype": keytype, "scheme": scheme, "keyval": keyval });
        Self {
            pair: Arc::new(pair),
            id: id_of(&public),
            public,
        }
    }

    /// The same key under another id: one more field makes another object of it.
    #[must_use]
    pub fn under_another_id(&self) -> Self {
        let mut public = self.public.clone();
        public["name"] = json!("the second");
        Self {
            pair: self.pair.clone(),
            id: id_of(&public),
            public,
        }
    }

    /// The id that metadata call it by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The object that a root has of it.
    pub fn public(&self) -> &Value {
        &self.public
    }

    /// A signature of `message`.
    ///
    /// # Panics
    /// When the system gives no random numbers.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PSS_SHA256, &random, message, &mut signature)
                    .expect("random numbers");
                signature
            }
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&random, message).expect("random numbers");
                signature.as_ref().to_vec()
            }
        }
    }
}

/// Without the private part.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

fn public_pem(der: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new("PUBLIC KEY", der),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}

/// What the specification calls the id of a key's object.
pub fn id_of(public: &Value) -> String {
    hex::encode(Sha256::digest(canonical(public)))
}

/// The form of `value` that is signed.
///
/// # Panics
/// Never: memory takes everything.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    let formatter = CanonicalFormatter::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).expect("into memory");
    bytes
}

/// `signed` with a signature of each key.
pub fn sign(signed: &Value, keys: &[Key]) -> Value {
    let message = canonical(signed);
    let signatures: Vec<_> = keys
        .iter()
        .map(|key| json!({ "keyid": key.id(), "sig": hex::encode(key.sign(&message)) }))
        .collect();
    json!({ "signed": signed, "signatures": signatures })
}
