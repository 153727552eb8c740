//! Without a verb: the run at boot.

use std::error::Error;
use std::process::ExitCode;

use super::{Common, Done, Migrate};
use crate::host::OsRelease;
use crate::links::LinkError;
use crate::record::Ending;
use crate::run::{self, Options, Outcome, RunError};

pub(super) fn run(common: &Common, migrate: &Migrate) -> Done {
    let release = OsRelease::load(&common.os_release);
    let variant = variant(&release);
    let to = match &migrate.migrate_to_version {
        Some(version) => version.clone(),
        None => release?.version()?,
    };
    let options = Options {
        datastore: common.datastore_path.clone(),
        places: common.places(),
        to,
        variant,
        time: common.migration_timeout,
    };
    match super::with_ports(|ports| run::run(&options, ports))? {
        Outcome::NoDatastore => tracing::info!(
            "there is no datastore at {}: nothing to migrate on a first boot",
            common.datastore_path.display()
        ),
        Outcome::Current => tracing::info!("the settings are those of {} already", options.to),
        Outcome::Moved(moved) => {
            let how = match moved.result {
                Ending::Relinked => ", and need no change",
                Ending::FellBack => ", as they were when it last ran",
                Ending::Migrated | Ending::Failed => "",
            };
            tracing::info!("the settings are those of {} now{how}", moved.to);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The variant matters to declarative migrations that are for some only; without one, those do not
/// apply.
pub(super) fn variant<E>(release: &Result<OsRelease, E>) -> String {
    let variant = release.as_ref().ok().map(OsRelease::variant);
    variant.and_then(Result::ok).unwrap_or_else(|| {
        tracing::debug!("the variant is not known");
        String::new()
    })
}

/// What an operator can do about it.
pub(super) fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    match error.downcast_ref::<RunError>()? {
        RunError::Locked { .. } => Some("try again when it is done; it is not waited for"),
        RunError::NoWay { .. } => Some(
            "nothing was changed; `migrator status` tells what there is, and the other partition \
             set boots with the settings as they are",
        ),
        RunError::Links {
            source: LinkError::Flip { .. } | LinkError::Sync { .. },
        } => Some("the same command finishes the job"),
        RunError::Links { .. } => Some(
            "`ls -l` in the folder of the datastore tells which link is not in order; set it by \
             hand to the store of the version that boots",
        ),
        RunError::Lock { .. } => None,
    }
}
