//! What the verbs share of TUF: signing a role, reading a root role, and the runtime that the
//! library's asynchronous functions need.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use snafu::{OptionExt, ResultExt, Snafu};
use tough::schema::{Role, RoleType, Root, Signed};

use super::bounded;
use super::keyring::RoleKey;
use super::period::Period;
use super::signatures::{self, SignedBytes};

/// The version of the specification that every role states.
pub const SPEC_VERSION: &str = "1.0.0";
/// What clients read of a root role at most.
pub(super) const MAX_ROOT_BYTES: u64 = 1 << 20;

/// Why metadata cannot be signed or trusted.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
#[allow(missing_docs)] // the message says what each field is
pub enum TufError {
    /// The runtime did not start.
    #[snafu(display("starting the runtime that signs"))]
    Runtime { source: io::Error },
    /// The role has no canonical form.
    #[snafu(display("bringing the {role} role into the form that is signed"))]
    Canonical {
        role: RoleType,
        #[snafu(source(from(tough::schema::Error, Box::new)))]
        source: Box<tough::schema::Error>,
    },
    /// The role has no bytes.
    #[snafu(display("writing the {role} role as JSON"))]
    Serialize {
        role: RoleType,
        source: serde_json::Error,
    },
    /// A key that was read a moment ago is none any more.
    #[snafu(display("{} does not sign", path.display()))]
    NoSigner { path: PathBuf },
    /// The library did not sign.
    #[snafu(display("signing the {role} role"))]
    Sign {
        role: RoleType,
        source: Box<dyn StdError + Send + Sync>,
    },
    /// What was signed does not satisfy the root role.
    #[snafu(display(
        "the {role} role is not signed as the root role demands; check the key folder"
    ))]
    Unsatisfied {
        role: RoleType,
        #[snafu(source(from(tough::schema::Error, Box::new)))]
        source: Box<tough::schema::Error>,
    },
    /// The end of the period is outside the calendar.
    #[snafu(display("an expiry {period} from {now} is outside the calendar"))]
    Calendar { period: Period, now: DateTime<Utc> },
    /// The root role's file cannot be read.
    #[snafu(display("reading the root role {}", path.display()))]
    ReadRoot { path: PathBuf, source: io::Error },
    /// The file is no root role.
    #[snafu(display("{} is not a root role", path.display()))]
    ParseRoot {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// The root role is not signed by its own keys.
    #[snafu(display(
        "the root role {} is not signed by as many of its own keys as it demands", path.display()
    ))]
    UnsignedRoot {
        path: PathBuf,
        #[snafu(source(from(tough::schema::Error, Box::new)))]
        source: Box<tough::schema::Error>,
    },
}

/// A root role as it lies in its file, verified against itself.
#[derive(Debug, Clone)]
pub struct RootFile {
    /// Where it was read.
    pub path: PathBuf,
    /// The bytes, which are what gets published.
    pub bytes: Vec<u8>,
    /// What they say.
    pub signed: Signed<Root>,
}

impl RootFile {
    /// Reads and verifies the file.
    pub fn read(path: &Path) -> Result<Self, TufError> {
        let file = Self::read_unsigned(path)?;
        file.root()
            .verify_role(&file.signed)
            .context(UnsignedRootSnafu { path })?;
        Ok(file)
    }

    /// Reads the file, which may lack signatures: to add one, or to look at it. Nothing it says is
    /// to be trusted.
    pub fn read_unsigned(path: &Path) -> Result<Self, TufError> {
        let bytes = bounded::read(path, MAX_ROOT_BYTES).context(ReadRootSnafu { path })?;
        let signed: Signed<Root> =
            serde_json::from_slice(&bytes).context(ParseRootSnafu { path })?;
        Ok(Self {
            path: path.to_path_buf(),
            bytes,
            signed,
        })
    }

    /// What the root role says.
    pub fn root(&self) -> &Root {
        &self.signed.signed
    }

    /// How many keys must sign a role; no number of them where it names none for it.
    pub fn threshold(&self, role: RoleType) -> u64 {
        self.root()
            .roles
            .get(&role)
            .map_or(u64::MAX, |named| named.threshold.get())
    }
}

/// Signs a role with those of `keys` that `root` names for it, and checks that it is enough.
pub async fn sign<T: Role>(
    role: T,
    root: &Root,
    keys: &[RoleKey],
) -> Result<SignedBytes<T>, TufError> {
    let mut signed = Signed {
        signed: role,
        signatures: Vec::new(),
    };
    signatures::add(&mut signed, &[root], keys).await?;
    root.verify_role(&signed)
        .context(UnsatisfiedSnafu { role: T::TYPE })?;
    SignedBytes::of(signed)
}

/// The end of `period` from `now` on, to the second as the specification writes it.
pub fn end_of(period: Period, now: DateTime<Utc>) -> Result<DateTime<Utc>, TufError> {
    period.after(now).context(CalendarSnafu { period, now })
}

/// As [`end_of`], in the library's form.
pub fn expiry(period: Period, now: DateTime<Utc>) -> Result<jiff::Timestamp, TufError> {
    to_jiff(end_of(period, now)?).context(CalendarSnafu { period, now })
}

/// The library's form of a time, to the second.
pub fn to_jiff(time: DateTime<Utc>) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(time.timestamp()).ok()
}

/// A time of the library in ours, to the second.
pub fn from_jiff(time: jiff::Timestamp) -> DateTime<Utc> {
    // Both calendars hold every second of the library's.
    DateTime::from_timestamp(time.as_second(), 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Runs a future of the library to its end on this thread.
///
/// # Panics
/// When called from inside another runtime: the publisher's verbs are blocking functions.
pub fn block_on<F: Future>(future: F) -> Result<F::Output, TufError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .context(RuntimeSnafu)?;
    Ok(runtime.block_on(future))
}
