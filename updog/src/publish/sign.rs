//! `updata sign`: adds a signature to a prepared release or to a root role, also on a machine
//! without a network.
//!
//! Without a key it shows what would be signed and changes nothing. What is shown and what is
//! signed is told by a digest over the signed content alone, which stays the same from signer to
//! signer; `--digest` refuses any other.

use std::fmt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde::Serialize;
use snafu::{OptionExt, Snafu, ensure};
use tough::schema::{Role, RoleType, Root, Signed, Targets};
use update_metadata::Digest;

use super::durable::{self, DurableError};
use super::key_file::{KeyFileError, STDIN};
use super::keyring::{self, KeyArgs, KeyringError, RoleKey};
use super::release::lock::{LockError, PublisherLock};
use super::signatures::{self, SignedBytes, Tally};
use super::stage::{Stage, StageError};
use super::tuf::{self, RootFile, TufError};

/// What is signed, as what, and with what.
#[derive(Debug, Clone, Args)]
pub struct SignArgs {
    /// The folder that `updata release --prepare` made; for --role root the root role's file
    #[arg(long, value_name = "PATH")]
    pub staged: PathBuf,
    /// root, targets, snapshot or timestamp
    #[arg(long, value_name = "ROLE", value_parser = keyring::role_named)]
    pub role: RoleType,
    /// The private key of one signer, `-` for stdin; without --key and --keys nothing is signed,
    /// only shown. May be given several times
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// A folder with keys of the role: ROLE*.key
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// Your own copy of the root role, which the folder's must be
    #[arg(long, value_name = "FILE")]
    pub root_role: Option<PathBuf>,
    /// The root role before, whose keys must sign the next one too; for --role root
    #[arg(long, value_name = "FILE")]
    pub old_root: Option<PathBuf>,
    /// Sign only if this is the digest of what is signed
    #[arg(long, value_name = "SHA256")]
    pub digest: Option<Digest>,
}

impl SignArgs {
    /// How many of the keys are to come from stdin, which has only one.
    pub fn from_stdin(&self) -> usize {
        self.key
            .iter()
            .filter(|path| *path == Path::new(STDIN))
            .count()
    }
}

/// Why nothing was signed.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum Error {
    /// The key is nobody's here.
    #[snafu(display("{} is not a {role} key that {} names", path.display(), root.display()))]
    NotNamed {
        role: RoleType,
        path: PathBuf,
        root: PathBuf,
    },
    /// No key of the folder is.
    #[snafu(display("no {role}*.key in {} is a key that {} names", dir.display(), root.display()))]
    NoneNamed {
        role: RoleType,
        dir: PathBuf,
        root: PathBuf,
    },
    /// The content is not what was agreed on.
    #[snafu(display("what would be signed has the digest {found}, not {wanted}"))]
    OtherContent { wanted: Digest, found: Digest },
    /// The folder's root role is not the signer's.
    #[snafu(display("{} is not the root role of {}", given.display(), staged.display()))]
    OtherRoot { given: PathBuf, staged: PathBuf },
    /// Who must sign is not known.
    #[snafu(display(
        "{} is version {version}; give --old-root the version before, whose keys must sign it too",
        path.display()
    ))]
    NoOldRoot { path: PathBuf, version: u64 },
    /// The root role before is not the one before.
    #[snafu(display(
        "{} is version {version} and {} is version {old}, which is not the one before",
        path.display(), old_path.display()
    ))]
    NotBefore {
        path: PathBuf,
        version: u64,
        old_path: PathBuf,
        old: u64,
    },
    /// Nothing in the root role speaks for the one that was given.
    #[snafu(display(
        "{} does not follow {}: {why}; give --old-root the root role that it was made from",
        path.display(), old_path.display()
    ))]
    NotFollowing {
        path: PathBuf,
        old_path: PathBuf,
        why: String,
    },
    /// Another signer is at work in the folder.
    #[snafu(transparent)]
    Lock { source: LockError },
    /// The prepared release cannot take the signature.
    #[snafu(transparent)]
    Stage { source: StageError },
    /// The key folder cannot be used.
    #[snafu(transparent)]
    Keyring { source: KeyringError },
    /// A key cannot be used.
    #[snafu(transparent)]
    Key { source: KeyFileError },
    /// The role cannot be read or signed.
    #[snafu(transparent)]
    Tuf { source: TufError },
    /// The file cannot be written.
    #[snafu(transparent)]
    Durable { source: DurableError },
}

impl Error {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NotNamed { .. }
            | Self::NoneNamed { .. }
            | Self::OtherContent { .. }
            | Self::OtherRoot { .. }
            | Self::NoOldRoot { .. }
            | Self::NotBefore { .. }
            | Self::NotFollowing { .. }
            | Self::Lock {
                source: LockError::Held { .. },
            } => true,
            Self::Stage { source } => source.is_refusal(),
            Self::Keyring { source } => source.is_refusal(),
            Self::Durable { source } => source.is_refusal(),
            _ => false,
        }
    }
}

/// What was signed, and what is missing still.
#[derive(Debug, Clone, Serialize)]
pub struct SignOutcome {
    /// The file of the role.
    pub file: PathBuf,
    /// The role.
    pub role: RoleType,
    /// Its version.
    pub version: u64,
    /// When it stops being valid.
    pub expires: DateTime<Utc>,
    /// Whether that is past.
    pub expired: bool,
    /// How many targets it lists, for the targets role.
    pub targets: Option<usize>,
    /// How many bytes these have together.
    pub target_bytes: Option<u64>,
    /// The digest of what the signatures are over.
    pub digest: Digest,
    /// The ids of the keys that signed now.
    pub signed_by: Vec<String>,
    /// The signatures as the role's root role counts them; of a root role also as the one before
    /// does.
    pub signatures: Vec<Tally>,
    /// How many signatures are missing, all in all.
    pub missing: u64,
}

/// Adds the signatures; the file is the old or the new one, also after a crash.
pub fn run(args: &SignArgs, now: DateTime<Utc>) -> Result<SignOutcome, Error> {
    if args.role == RoleType::Root {
        return sign_root(args, now);
    }
    let shows = args.key.is_empty() && args.keys.is_none();
    // Whoever only looks needs no turn, and can do so on a medium that is not written to.
    let _lock = if args.staged.is_dir() && !shows {
        Some(PublisherLock::take(&args.staged)?)
    } else {
        None
    };
    let stage = Stage::read(&args.staged)?;
    if let Some(given) = &args.root_role {
        let own = RootFile::read(given)?;
        let staged = &args.staged;
        ensure!(
            own.bytes == stage.root.bytes,
            OtherRootSnafu { given, staged }
        );
    }
    let root = &stage.root;
    match args.role {
        RoleType::Snapshot => {
            let role = stage.open_snapshot(now, None)?;
            let (role, mut told) = signed(args, now, role, root, None)?;
            if !told.signed_by.is_empty() {
                stage.put(&role)?;
            }
            told.file = stage.dir.join("snapshot.json");
            Ok(told)
        }
        RoleType::Timestamp => {
            let role = stage.open_timestamp(now, None)?;
            let (role, mut told) = signed(args, now, role, root, None)?;
            if !told.signed_by.is_empty() {
                stage.put(&role)?;
            }
            told.file = stage.dir.join("timestamp.json");
            Ok(told)
        }
        RoleType::Targets | RoleType::Root | RoleType::DelegatedTargets => {
            let role = if shows {
                &stage.targets
            } else {
                stage.open_targets()?
            };
            let (role, mut told) = signed(args, now, role.clone(), root, None)?;
            if !told.signed_by.is_empty() {
                stage.put(&role)?;
            }
            told.file = stage.dir.join("targets.json");
            let Targets { targets, .. } = role.role();
            told.targets = Some(targets.len());
            let bytes = targets.values().map(|target| target.length);
            told.target_bytes = Some(bytes.fold(0, u64::saturating_add));
            Ok(told)
        }
    }
}

fn sign_root(args: &SignArgs, now: DateTime<Utc>) -> Result<SignOutcome, Error> {
    let path = &args.staged;
    let file = RootFile::read_unsigned(path)?;
    let version = file.root().version.get();
    let old = args.old_root.as_deref().map(RootFile::read).transpose()?;
    match &old {
        None => ensure!(version == 1, NoOldRootSnafu { path, version }),
        Some(old) => {
            let before = old.root().version.get();
            ensure!(
                before.checked_add(1) == Some(version),
                NotBeforeSnafu {
                    path,
                    version,
                    old_path: &old.path,
                    old: before
                }
            );
        }
    }
    let role = SignedBytes::as_read(file.signed.clone(), file.bytes.clone());
    let (role, mut told) = signed(args, now, role, &file, old.as_ref())?;
    if let Some(old) = &old {
        ensure_follows(path, role.signed(), old)?;
    }
    if !told.signed_by.is_empty() {
        durable::replace(path, role.buffer())?;
    }
    told.file.clone_from(path);
    Ok(told)
}

/// Whether a root role can have been made from `old`.
///
/// It does not state the one before, so two things must do: nobody has signed it whom neither of the
/// two names, and it either keeps a key of the old one or is signed by one of its root keys.
fn ensure_follows(path: &Path, role: &Signed<Root>, old: &RootFile) -> Result<(), Error> {
    let (before, after) = (old.root(), &role.signed);
    let old_path = &old.path;
    let counted = signatures::tally(before, role);
    let stranger = signatures::tally(after, role).unknown.into_iter();
    let mut stranger = stranger.filter(|id| counted.unknown.contains(id));
    if let Some(id) = stranger.next() {
        let why = format!("it is signed by the key {id}, which neither of the two names");
        return NotFollowingSnafu {
            path,
            old_path,
            why,
        }
        .fail();
    }
    let keeps = after.keys.keys().any(|id| before.keys.contains_key(id));
    ensure!(
        keeps || !counted.valid.is_empty(),
        NotFollowingSnafu {
            path,
            old_path,
            why: "they have no key in common, and no root key of the latter has signed the former"
        }
    );
    Ok(())
}

/// The role with the signatures of the keys given, each of which must be one that counts.
fn signed<T: Role + Clone>(
    args: &SignArgs,
    now: DateTime<Utc>,
    role: SignedBytes<T>,
    root: &RootFile,
    old: Option<&RootFile>,
) -> Result<(SignedBytes<T>, SignOutcome), Error> {
    let found = signatures::content_digest(role.role())?;
    if let Some(wanted) = args.digest {
        ensure!(found == wanted, OtherContentSnafu { wanted, found });
    }
    let roots: Vec<&Root> = old.into_iter().chain([root]).map(RootFile::root).collect();
    let keys = named_keys(args, root, &roots)?;
    let mut with = role.signed().clone();
    let added = tuf::block_on(signatures::add(&mut with, &roots, &keys))??;
    let role = if added.is_empty() {
        role
    } else {
        SignedBytes::of(with)?
    };
    let signatures: Vec<Tally> = roots
        .iter()
        .map(|root| signatures::tally(root, role.signed()))
        .collect();
    let missing = signatures.iter().map(Tally::missing).max().unwrap_or(0);
    let told = SignOutcome {
        file: PathBuf::new(),
        role: T::TYPE,
        version: role.role().version().get(),
        expires: tuf::from_jiff(role.role().expires()),
        expired: tuf::to_jiff(now).is_none_or(|now| role.role().expires() <= now),
        targets: None,
        target_bytes: None,
        digest: found,
        signed_by: added.iter().map(hex::encode).collect(),
        signatures,
        missing,
    };
    Ok((role, told))
}

/// The keys that were given: every single file must be named by one of `roots`, and one at least of
/// a folder.
fn named_keys(args: &SignArgs, root: &RootFile, roots: &[&Root]) -> Result<Vec<RoleKey>, Error> {
    let role = args.role;
    let root = &root.path;
    let is_named = |key: &RoleKey| roots.iter().any(|root| key.id_in(root).is_some());
    let mut keys = Vec::new();
    for path in &args.key {
        let key = RoleKey::read(role, path)?;
        ensure!(is_named(&key), NotNamedSnafu { role, path, root });
        keys.push(key);
    }
    if let Some(dir) = &args.keys {
        let in_folder = KeyArgs::folder(dir).read(&[role])?;
        let named: Vec<RoleKey> = in_folder.into_iter().filter(is_named).collect();
        named.first().context(NoneNamedSnafu { role, dir, root })?;
        keys.extend(named);
    }
    Ok(keys)
}

impl fmt::Display for SignOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} version {}, {} {}",
            self.file.display(),
            self.role,
            self.version,
            if self.expired {
                "expired"
            } else {
                "valid until"
            },
            self.expires.to_rfc3339_opts(SecondsFormat::Secs, true)
        )?;
        if let (Some(targets), Some(bytes)) = (self.targets, self.target_bytes) {
            write!(f, ", {targets} targets of {bytes} bytes")?;
        }
        writeln!(f, "\ndigest {}", self.digest)?;
        for id in &self.signed_by {
            writeln!(f, "signed by {id}")?;
        }
        if self.signed_by.is_empty() {
            writeln!(f, "nothing was signed now")?;
        }
        if self.missing == 0 {
            write!(f, "all signatures are there")
        } else {
            write!(f, "{} signature(s) missing", self.missing)
        }
    }
}
