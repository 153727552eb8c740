//! Several migrations as one, and none.

use super::{Migration, MigrationData, MigrationError};

/// Nothing changes, in either direction: for a variant that a migration does not concern, since
/// every step has to leave a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoOp;

impl Migration for NoOp {
    fn forward(&self, _: &mut MigrationData) -> Result<(), MigrationError> {
        Ok(())
    }

    fn backward(&self, _: &mut MigrationData) -> Result<(), MigrationError> {
        Ok(())
    }
}

/// Migrations one after the other; backward, the last one first.
#[derive(Default)]
pub struct Sequence {
    migrations: Vec<Box<dyn Migration>>,
}

impl Sequence {
    /// No migrations yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// And then `migration`.
    #[must_use]
    pub fn then(mut self, migration: impl Migration + 'static) -> Self {
        self.migrations.push(Box::new(migration));
        self
    }
}

impl Migration for Sequence {
    fn forward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        let mut migrations = self.migrations.iter();
        migrations.try_for_each(|migration| migration.forward(data))
    }

    fn backward(&self, data: &mut MigrationData) -> Result<(), MigrationError> {
        let mut migrations = self.migrations.iter().rev();
        migrations.try_for_each(|migration| migration.backward(data))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::{Back, check, sample};
    use super::super::{RenameSettings, ReplaceString};
    use super::*;

    #[test]
    fn a_sequence_is_undone_from_its_end() {
        let migration = Sequence::new()
            .then(RenameSettings::new([("s.a", "s.b")]))
            .then(ReplaceString::new("s.b", "old", "new"))
            .then(NoOp);
        let before = sample(json!({"s.a": "old"}), json!({})).unwrap();
        let after = sample(json!({"s.b": "new"}), json!({})).unwrap();
        check(&migration, &before, &after, &Back::Same).unwrap();
    }
}
