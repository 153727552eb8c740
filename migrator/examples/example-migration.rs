//! A migration as a program: 1.1.0 no longer has the message of the day, and calls the host's name
//! something else. What it does is a value with a test; the program is its `main`.
//!
//!     cargo build --release -p migrator --no-default-features --example example-migration

use std::process::ExitCode;

use migrator::migration::{Migration, RemoveSettings, RenameSettings, Sequence, run};

fn migration() -> impl Migration {
    Sequence::new()
        .then(RemoveSettings::new(["settings.motd"]))
        .then(RenameSettings::new([(
            "settings.host.name",
            "settings.network.hostname",
        )]))
}

fn main() -> ExitCode {
    run(migration())
}

#[cfg(test)]
mod tests {
    use migrator::migration::check::{Back, check, sample};
    use serde_json::json;

    use super::migration;

    #[test]
    fn the_message_goes_and_the_name_moves() {
        let before = json!({"settings.motd": "hello", "settings.host.name": "box"});
        let after = json!({"settings.network.hostname": "box"});
        let back = json!({"settings.host.name": "box"});
        let metadata = json!({"settings.motd": {"affected-services": ["motd"]}});
        let sample = |data| sample(data, metadata.clone()).unwrap();
        let back = Back::To(sample(back));
        check(&migration(), &sample(before), &sample(after), &back).unwrap();
    }
}
