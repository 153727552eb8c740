//! PURE: the body of `GET /updates/status`, as strict parsers expect it.
//!
//! Keys and spellings are those of Bottlerocket's API (interface sheet, section 5.4). What is ours is
//! added beside them, and is absent where a server is not ours.

use std::fmt;

use chrono::{DateTime, Utc};
use semver::Version;
use serde::{Deserialize, Serialize};

/// Where this body is.
pub const STATUS_PATH: &str = "/updates/status";

/// Ours: the header of the answer to a request for a command, with its number.
pub const COMMAND_HEADER: &str = "updog-command";

/// How far updates are on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdatesStatus {
    /// What can be asked for next.
    pub update_state: UpdateState,
    /// What the last refresh listed, the highest version first.
    pub available_updates: Vec<Version>,
    /// The update that `prepare` writes.
    pub chosen_update: Option<Image>,
    /// The running set; `None` where the running system does not say what it is.
    pub active_partition: Option<Partition>,
    /// The other set, while it holds an update that is written and verified.
    pub staging_partition: Option<Partition>,
    /// The last command that ended.
    pub most_recent_command: Option<CommandResult>,
    /// Ours: the command that is under way.
    #[serde(default)]
    pub running_command: Option<RunningCommand>,
    /// Ours: how the last command ended, whichever it was.
    #[serde(default)]
    pub last_outcome: Option<LastOutcome>,
}

/// What can be asked for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UpdateState {
    /// Nothing but another refresh.
    Idle,
    /// An update can be prepared.
    Available,
    /// An update is written, and can be activated.
    Staged,
    /// The other set boots next.
    Ready,
}

impl UpdatesStatus {
    /// Whether nothing was ever asked for. A rollback is something: whoever waits for it reads this.
    pub fn is_blank(&self) -> bool {
        self.most_recent_command.is_none()
            && self.last_outcome.is_none()
            && self.running_command.is_none()
    }
}

impl UpdateState {
    /// All of them, in the order of an update.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Available, Self::Staged, Self::Ready];
}

/// Which release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // named as in the manifest
pub struct Image {
    pub arch: String,
    pub version: Version,
    pub variant: String,
}

/// What a set holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The release.
    pub image: Image,
    /// Whether it boots next.
    pub next_to_boot: bool,
}

/// What can be asked of the engine that takes its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Ask the repository.
    Refresh,
    /// Write the chosen update.
    Prepare,
    /// Let it boot next.
    Activate,
    /// Let the running set boot next after all.
    Deactivate,
    /// Let the system from before boot next.
    Rollback,
}

/// The commands that `most_recent_command` may name. There are parsers that fail over any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // as in `Command`
pub enum CommandType {
    Refresh,
    Prepare,
    Activate,
    Deactivate,
}

impl CommandType {
    /// Which command that is.
    pub fn command(self) -> Command {
        match self {
            Self::Refresh => Command::Refresh,
            Self::Prepare => Command::Prepare,
            Self::Activate => Command::Activate,
            Self::Deactivate => Command::Deactivate,
        }
    }
}

/// How a command ended, for those who know these keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// Which.
    pub cmd_type: CommandType,
    /// How.
    pub cmd_status: CommandStatus,
    /// When it ended, with parts of a second: it tells one command from the next.
    pub timestamp: DateTime<Utc>,
    /// The exit code that `updog` would have ended with; another server may have none.
    pub exit_status: Option<u32>,
    /// What went wrong; empty where nothing did. Another server may have none.
    pub stderr: Option<String>,
    /// Ours: the number that the request was answered with. It grows.
    #[serde(default)]
    pub id: Option<u64>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub enum CommandStatus {
    Success,
    Failed,
    /// The engine ended before the command did.
    Unknown,
}

/// A command under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningCommand {
    /// Which.
    pub command: Command,
    /// The number that the request was answered with.
    pub id: u64,
    /// When it began.
    pub since: DateTime<Utc>,
    /// What it is at, in words: `writing the root image`.
    pub step: Option<String>,
    /// Bytes of the step that are behind us.
    pub done: Option<u64>,
    /// Bytes of the step in all, where that is known.
    pub total: Option<u64>,
}

/// How a command ended, with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastOutcome {
    /// Which.
    pub command: Command,
    /// The number that the request was answered with.
    pub id: u64,
    /// `done`, `nothing_to_update`, `refused`, `failed`, `interrupted` or `unknown`.
    pub outcome: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The version that it was about, where there was one.
    pub version: Option<Version>,
    /// Why it was not done.
    pub error: Option<String>,
    /// What can be done next.
    pub advice: Option<String>,
}

impl Command {
    /// What `most_recent_command` calls it; `None` for those that never stand there.
    pub fn cmd_type(self) -> Option<CommandType> {
        match self {
            Self::Refresh => Some(CommandType::Refresh),
            Self::Prepare => Some(CommandType::Prepare),
            Self::Activate => Some(CommandType::Activate),
            Self::Deactivate => Some(CommandType::Deactivate),
            Self::Rollback => None,
        }
    }

    /// As the log and the events name it: the verb of `updog` that does the same.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Refresh => "check-update",
            Self::Prepare => "prepare",
            Self::Activate => "update-apply",
            Self::Deactivate => "update-revert",
            Self::Rollback => "rollback",
        }
    }

    /// The path that it is asked for at.
    pub fn path(self) -> &'static str {
        match self {
            Self::Refresh => "/actions/refresh-updates",
            Self::Prepare => "/actions/prepare-update",
            Self::Activate => "/actions/activate-update",
            Self::Deactivate => "/actions/deactivate-update",
            Self::Rollback => "/actions/rollback",
        }
    }
}

/// As in JSON.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refresh => "refresh",
            Self::Prepare => "prepare",
            Self::Activate => "activate",
            Self::Deactivate => "deactivate",
            Self::Rollback => "rollback",
        })
    }
}

/// As in JSON.
impl fmt::Display for UpdateState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::Available => "Available",
            Self::Staged => "Staged",
            Self::Ready => "Ready",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_json_is_the_one_that_strict_parsers_expect() {
        let image = |version: &str| Image {
            arch: "x86_64".to_owned(),
            version: version.parse().unwrap(),
            variant: "demo-k8s-9".to_owned(),
        };
        let partition = |version, next_to_boot| {
            Some(Partition {
                image: image(version),
                next_to_boot,
            })
        };
        let status = UpdatesStatus {
            update_state: UpdateState::Ready,
            available_updates: vec![Version::new(4, 2, 0), Version::new(4, 1, 0)],
            chosen_update: Some(image("4.2.0")),
            active_partition: partition("4.1.0", false),
            staging_partition: partition("4.2.0", true),
            most_recent_command: Some(CommandResult {
                cmd_type: CommandType::Activate,
                cmd_status: CommandStatus::Success,
                timestamp: "2031-03-02T10:00:00.123456789Z".parse().unwrap(),
                exit_status: Some(0),
                stderr: Some(String::new()),
                id: Some(3),
            }),
            running_command: None,
            last_outcome: None,
        };
        let image =
            |version: &str| json!({"arch": "x86_64", "version": version, "variant": "demo-k8s-9"});
        let expected = json!({
            "update_state": "Ready",
            "available_updates": ["4.2.0", "4.1.0"],
            "chosen_update": image("4.2.0"),
            "active_partition": {"image": image("4.1.0"), "next_to_boot": false},
            "staging_partition": {"image": image("4.2.0"), "next_to_boot": true},
            "most_recent_command": {
                "cmd_type": "activate",
                "cmd_status": "Success",
                "timestamp": "2031-03-02T10:00:00.123456789Z",
                "exit_status": 0,
                "stderr": "",
                "id": 3,
            },
            "running_command": null,
            "last_outcome": null,
        });
        assert_eq!(serde_json::to_value(&status).unwrap(), expected);
        assert_eq!(
            serde_json::from_value::<UpdatesStatus>(expected).unwrap(),
            status
        );
    }

    #[test]
    fn what_another_server_leaves_out_is_not_there() {
        let status: UpdatesStatus = serde_json::from_value(json!({
            "update_state": "Idle",
            "available_updates": [],
            "chosen_update": null,
            "active_partition": null,
            "staging_partition": null,
            "most_recent_command": {
                "cmd_type": "refresh",
                "cmd_status": "Failed",
                "timestamp": "2031-03-02T10:00:00Z",
                "exit_status": null,
                "stderr": null,
            },
        }))
        .unwrap();
        let command = status.most_recent_command.unwrap();
        assert_eq!(
            (command.exit_status, command.stderr, command.id),
            (None, None, None)
        );
        assert_eq!(status.running_command, None);
    }
}
