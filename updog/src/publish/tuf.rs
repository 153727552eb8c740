//! What the verbs share of TUF: signing a role, reading a root role, and the runtime that the
//! library's asynchronous functions need.

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use chrono::{DateTime, Utc};
use serde::Serialize;
use snafu::{OptionExt, ResultExt, Snafu};
use tough::editor::signed::SignedRole;
use tough::key_source::{KeySource, LocalKeySource};
use tough::schema::{KeyHolder, Role, Root, Signed};

use super::bounded;
use super::keyring::RoleKey;
use super::period::Period;

/// The version of the specification that every role states.
pub const SPEC_VERSION: &str = "1.0.0";
/// What clients read of a root role at most.
pub(super) const MAX_ROOT_BYTES: u64 = 1 << 20;

/// Why metadata cannot be signed or trusted.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum TufError {
    /// The runtime did not start.
    #[snafu(display("starting the runtime that signs"))]
    Runtime { source: io::Error },
    /// The library did not sign.
    #[snafu(display("signing the {role} role"))]
    Sign {
        role: &'static str,
        #[snafu(source(from(tough::error::Error, Box::new)))]
        source: Box<tough::error::Error>,
    },
    /// What was signed does not satisfy the root role.
    #[snafu(display(
        "the {role} role is not signed as the root role demands; check the key folder"
    ))]
    Unsatisfied {
        role: &'static str,
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
        let bytes = bounded::read(path, MAX_ROOT_BYTES).context(ReadRootSnafu { path })?;
        let signed: Signed<Root> =
            serde_json::from_slice(&bytes).context(ParseRootSnafu { path })?;
        signed
            .signed
            .verify_role(&signed)
            .context(UnsignedRootSnafu { path })?;
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
}

/// Signs a role with those of `keys` that `root` names for it, and checks that it is enough.
pub async fn sign<T>(role: T, root: &Root, keys: &[RoleKey]) -> Result<SignedRole<T>, TufError>
where
    T: Role + Serialize,
{
    let name = role_name::<T>();
    let sources: Vec<Box<dyn KeySource>> = keys
        .iter()
        .filter(|key| key.role == T::TYPE)
        .map(|key| {
            Box::new(LocalKeySource {
                path: key.path.clone(),
            }) as Box<dyn KeySource>
        })
        .collect();
    let holder = KeyHolder::Root(root.clone());
    let signed = SignedRole::new(role, &holder, &sources, &SystemRandom::new())
        .await
        .context(SignSnafu { role: name })?;
    root.verify_role(signed.signed())
        .context(UnsatisfiedSnafu { role: name })?;
    Ok(signed)
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

fn role_name<T: Role>() -> &'static str {
    match T::TYPE {
        tough::schema::RoleType::Root => "root",
        tough::schema::RoleType::Snapshot => "snapshot",
        tough::schema::RoleType::Timestamp => "timestamp",
        tough::schema::RoleType::Targets => "targets",
        tough::schema::RoleType::DelegatedTargets => "delegated targets",
    }
}
