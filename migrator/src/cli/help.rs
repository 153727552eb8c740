//! What `--help` teaches beyond the list of flags.

pub(super) const MIGRATOR: &str = "\
Examples:
  migrator --migrate-to-version-from-os-release
                                  at boot, before anything reads the settings
  migrator --migrate-to-version 1.3.0 --log-level debug
                                  the same by hand, with all that migrations say
  migrator status                 which settings are in use, how the last run ended
  migrator rehearse --to 1.3.0    what an update would do to the settings, on a copy

The settings in use are never changed: migrations make new ones beside them, and `current` leads to
those only when they are complete and on the disk. A run that fails leaves everything as it was,
unless an older version boots: then the settings that it last ran with are used again.

Exit codes: 0 done, or nothing to do; 1 failed, or another run is at work; 2 wrong usage.";

pub(super) const STATUS: &str = "\
Examples:
  migrator status
  migrator status --json          the same for a monitor

Only looks. Of values that are kept for the way back only the keys are told. Exit code 1 when the
settings in use cannot be read.";

pub(super) const LIST: &str = "\
Examples:
  migrator list
  migrator list --json | jq '.[] | select(.current)'

A store that is not finished is what a run left that was cut off; the next one removes it.";

pub(super) const REHEARSE: &str = "\
Examples:
  migrator rehearse --to 1.3.0
  migrator rehearse --to 1.3.0 --json | jq .changes
  migrator rehearse --to 1.3.0 --metadata-directory /var/cache/bottlerocket-metadata.staged \\
      --migration-directory /var/lib/bottlerocket-migrations.staged

Runs every migration to the version and back again, confined as at boot, on copies in a scratch
folder that is removed. Writes nothing else. Exit code 0 when both ways can be gone or there is no
datastore yet, 1 when not; the reasons are in the report.";

pub(super) const CHECK: &str = "\
Examples:
  migrator check rename-hostname.toml
  migrator check migrate_v1.1.0_rename-hostname.toml.lz4

For authors, and for publishers before they sign. Nothing is changed. Exit code 0 when every host of
this version understands the document, 1 when not: the step and the name are told.";
