//! What signs new targets: the root role, the keys at hand, and for how long.

use std::fmt;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Serialize;
use snafu::{Snafu, ensure};
use tough::schema::{RoleType, Signed, Targets};
use update_metadata::Digest;

use super::metadata::{self, Expiries, MetadataError, Periods};
use crate::publish::durable::{self, DurableError};
use crate::publish::keyring::{KeyArgs, KeyringError, RoleKey};
use crate::publish::signatures::{self, SignedBytes};
use crate::publish::stage::{About, Stage, StageError};
use crate::publish::standing::{Leftovers, StandingError};
use crate::publish::tuf::{self, RootFile, TufError};
use crate::publish::word::Word;

/// The roles that are signed. The root key stays in its safe.
const SIGNED_ROLES: [RoleType; 3] = [RoleType::Targets, RoleType::Snapshot, RoleType::Timestamp];

/// Why nothing can be signed.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum SigningError {
    /// Clients would ask for unversioned files.
    #[snafu(display(
        "the root role {} does not ask for consistent snapshots, which is all that updata writes",
        path.display()
    ))]
    NotConsistent { path: PathBuf },
    /// Every client would refuse the repository.
    #[snafu(display(
        "the root role {} expired at {expires}; hosts need a new one first", path.display()
    ))]
    RootExpired { path: PathBuf, expires: String },
    /// A role could not be signed.
    #[snafu(display(
        "{place} has too few of the {role} keys that {} names; give --keys a folder with {role}*.key, \
         or --key {role}=FILE, or --prepare a folder for others to sign with `updata sign`",
        root.display()
    ))]
    MissingKey {
        role: RoleType,
        root: PathBuf,
        place: String,
    },
    /// Others must sign too.
    #[snafu(display(
        "{needed} of the {role} keys must sign and {usable} are here; give more keys with \
         --key {role}=FILE, or --prepare a folder for the others to sign with `updata sign`"
    ))]
    MoreSigners {
        role: RoleType,
        needed: u64,
        usable: u64,
    },
    /// The metadata cannot be made or written.
    #[snafu(transparent)]
    Metadata { source: MetadataError },
    /// The folder for signers cannot be made.
    #[snafu(transparent)]
    Stage { source: StageError },
    /// The keys cannot be used.
    #[snafu(transparent)]
    Keyring { source: KeyringError },
    /// The root role cannot be used.
    #[snafu(transparent)]
    Tuf { source: TufError },
    /// What an unfinished release left cannot be removed.
    #[snafu(transparent)]
    Standing { source: StandingError },
    /// The folder for signers is there already, or a file cannot be written.
    #[snafu(transparent)]
    Durable { source: DurableError },
}

impl SigningError {
    /// Whether a rule forbade it, rather than the machine failing.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::RootExpired { .. } | Self::MissingKey { .. } | Self::MoreSigners { .. } => true,
            Self::Durable { source } => matches!(source, DurableError::NotEmpty { .. }),
            Self::Keyring { source } => source.is_refusal(),
            Self::Metadata { source } => source.is_refusal(),
            Self::Stage { source } => source.is_refusal(),
            Self::NotConsistent { .. } | Self::Standing { .. } | Self::Tuf { .. } => false,
        }
    }
}

/// Opened, read and found to be usable.
#[derive(Debug)]
pub struct Signing {
    /// The root role.
    pub root: RootFile,
    /// When the three signed roles will expire.
    pub expires: Expiries,
    keys: Vec<RoleKey>,
    periods: Periods,
}

/// A release that waits for signatures.
#[derive(Debug, Clone, Serialize)]
pub struct Staged {
    /// The folder.
    pub dir: PathBuf,
    /// The digest of what is to be signed, the same for every signer.
    pub digest: Digest,
    /// How many targets signatures are missing.
    pub missing: u64,
}

impl Signing {
    /// Reads the root role and the keys, which must be enough unless the rest is left to others, with
    /// `prepare`.
    pub fn check(
        root_role: &Path,
        keys: &KeyArgs,
        prepare: Option<&Path>,
        periods: Periods,
        now: DateTime<Utc>,
    ) -> Result<Self, SigningError> {
        let root = usable_root(root_role, now)?;
        if let Some(dir) = prepare {
            durable::refuse_occupied(dir)?;
        }
        let read = keys.read_present(&SIGNED_ROLES)?;
        if prepare.is_none() {
            ensure_signers(&root, &read, keys)?;
        }
        Ok(Self {
            root,
            expires: Expiries::of(periods, now)?,
            keys: read,
            periods,
        })
    }

    /// Signs the targets, and publishes them or prepares them for other signers.
    ///
    /// A stop anywhere leaves the old repository valid.
    pub fn publish(
        &self,
        mut targets: Targets,
        version: NonZeroU64,
        to: &Destination<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<Staged>, SigningError> {
        if let Some(dir) = to.prepare {
            targets.version = version;
            targets.expires = tuf::expiry(self.periods.targets, now)?;
            return self.prepare(dir, targets, to).map(Some);
        }
        let (root, keys) = (&self.root, &self.keys);
        let signed = metadata::sign(targets, version, self.periods, root, keys, now)?;
        to.leftovers.remove()?;
        signed.write(to.folder)?;
        Ok(None)
    }

    /// The folder for signers, with the signatures of the targets keys that are at hand.
    fn prepare(
        &self,
        dir: &Path,
        targets: Targets,
        to: &Destination<'_>,
    ) -> Result<Staged, SigningError> {
        let mut signed = Signed {
            signed: targets,
            signatures: Vec::new(),
        };
        let root = self.root.root();
        tuf::block_on(signatures::add(&mut signed, &[root], &self.keys))??;
        let signed = SignedBytes::of(signed)?;
        let about = About::new(
            to.variant,
            to.arch,
            to.base,
            to.highest_version,
            self.periods,
        );
        Stage::create(dir, &about, &self.root, &signed)?;
        Ok(Staged {
            dir: dir.to_path_buf(),
            digest: signatures::content_digest(signed.role())?,
            missing: signatures::tally(root, signed.signed()).missing(),
        })
    }
}

/// Where new metadata go, and what is there.
#[derive(Debug)]
pub struct Destination<'a> {
    /// The folder for signers, if others sign too.
    pub prepare: Option<&'a Path>,
    /// The folder of the repository's metadata.
    pub folder: &'a Path,
    /// The variant.
    pub variant: &'a Word,
    /// The architecture.
    pub arch: &'a Word,
    /// The digest of the targets role that is extended.
    pub base: Option<Digest>,
    /// The highest version that was published.
    pub highest_version: Option<u64>,
    /// What is to be removed before the new metadata are written.
    pub leftovers: &'a Leftovers,
}

impl fmt::Display for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            dir,
            digest,
            missing,
        } = self;
        write!(
            f,
            "{}: {missing} targets signature(s) missing, digest {digest}; next: {}",
            dir.display(),
            match missing {
                0 => "`updata publish`",
                _ => "`updata sign --role targets`",
            }
        )
    }
}

fn usable_root(path: &Path, now: DateTime<Utc>) -> Result<RootFile, SigningError> {
    let root = RootFile::read(path)?;
    ensure!(root.root().consistent_snapshot, NotConsistentSnafu { path });
    let expires = root.root().expires;
    let valid = tuf::to_jiff(now).is_some_and(|now| now < expires);
    ensure!(
        valid,
        RootExpiredSnafu {
            path,
            expires: expires.to_string()
        }
    );
    Ok(root)
}

/// Whether the keys of each role are enough, so that a missing one is found before the work.
fn ensure_signers(root: &RootFile, keys: &[RoleKey], given: &KeyArgs) -> Result<(), SigningError> {
    for role in SIGNED_ROLES {
        let needed = root.threshold(role);
        let of_role = keys.iter().filter(|key| key.role == role);
        let usable = of_role.filter(|key| key.id_in(root.root()).is_some());
        let usable = u64::try_from(usable.count()).expect("a count of files fits in 64 bits");
        let (root, place) = (&root.path, given.place());
        ensure!(usable > 0, MissingKeySnafu { role, root, place });
        ensure!(
            usable >= needed,
            MoreSignersSnafu {
                role,
                needed,
                usable
            }
        );
    }
    Ok(())
}
