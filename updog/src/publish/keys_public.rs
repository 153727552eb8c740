//! `updata keys public`: the public half of a key, for whoever makes the root role.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use snafu::{OptionExt, Snafu};

use super::durable::{self, DurableError};
use super::key_file::{self, KeyFileError, KeyType};

/// Which key, and where its public half goes.
#[derive(Debug, Clone, Args)]
pub struct KeysPublicArgs {
    /// The private key; `-` is stdin
    pub file: PathBuf,
    /// The file to write, which must not exist; without it the text goes to stdout
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// The public half.
#[derive(Debug, Clone, Serialize)]
pub struct KeysPublicOutcome {
    /// What metadata call the key.
    pub key_id: String,
    /// What kind of key it is.
    pub key_type: KeyType,
    /// The public key as PEM.
    pub public: String,
    /// Where it was written.
    pub out: Option<PathBuf>,
}

/// Why there is no public half.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// The file is no key.
    #[snafu(transparent)]
    File { source: KeyFileError },
    /// The key has no text.
    #[snafu(display("{} has a public half that cannot be written as PEM", path.display()))]
    NoText { path: PathBuf },
    /// The file cannot be written.
    #[snafu(transparent)]
    Durable { source: DurableError },
}

impl Error {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Durable { source } if source.is_refusal())
    }
}

/// Reads the key, and writes its public half as `openssl pkey -pubout` does.
pub fn run(args: &KeysPublicArgs) -> Result<KeysPublicOutcome, Error> {
    let path = &args.file;
    if let Some(out) = &args.out {
        durable::refuse_existing(out)?;
    }
    let key = key_file::read_public(path)?;
    let public = key_file::public_pem(&key).context(NoTextSnafu { path })?;
    if let Some(out) = &args.out {
        durable::create(out, public.as_bytes())?;
    }
    Ok(KeysPublicOutcome {
        key_id: hex::encode(key_file::id(path, &key)?),
        key_type: key_file::material(&key).0,
        public,
        out: args.out.clone(),
    })
}

impl fmt::Display for KeysPublicOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.out {
            Some(out) => write!(
                f,
                "{}: {} key {}",
                out.display(),
                self.key_type,
                self.key_id
            ),
            None => f.write_str(self.public.trim_end()),
        }
    }
}
