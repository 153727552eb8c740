//! Why a verb failed, and what to do then.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use hyper::{Method, StatusCode};
use snafu::Snafu;

use super::connection::ConnectionError;
use super::wait::CommandFailure;
use crate::api::updates::Command;
use crate::cancel::Signal;
use crate::exit::Exit;

/// How much of a file of groups is looked at.
const MAX_GROUPS: usize = 1 << 20;

/// Why a verb failed.
///
/// Fleet agents take the word after the first `Status` of what stands on stderr, ask again where it is
/// 423, and fall over where there is none. So that word is part of every request that failed.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
#[allow(missing_docs)] // the messages say it
pub(super) enum Failure {
    #[snafu(display(
        "Failed {method} request to '{uri}': Status {} when {method}ing {uri}: {body}",
        code.as_str()
    ))]
    Status {
        method: Method,
        uri: String,
        code: StatusCode,
        body: String,
    },
    #[snafu(display("Failed {method} request to '{uri}': Status unknown"))]
    Request {
        method: Method,
        uri: String,
        source: ConnectionError,
    },
    #[snafu(display("the answer to {uri} is not what it should be"))]
    Garbage {
        uri: String,
        source: serde_json::Error,
    },
    #[snafu(display("the answer to {uri} is no text"))]
    NoText {
        uri: String,
        source: std::string::FromUtf8Error,
    },
    #[snafu(display("the answer to {uri} is {found}, no stream of events"))]
    NoStream { uri: String, found: String },
    #[snafu(display("a message of {uri} is larger than {limit} bytes"))]
    LargeMessage { uri: String, limit: usize },
    #[snafu(display("the connection broke"))]
    Broken { source: hyper::Error },
    #[snafu(display("{command}"))]
    Command {
        command: Command,
        source: Box<CommandFailure>,
    },
    #[snafu(display(
        "{command}: nothing is under way and nothing has changed for {} s",
        after.as_secs()
    ))]
    Lost { command: Command, after: Duration },
    #[snafu(display("{command}: no usable answer for {} s: {last}", after.as_secs()))]
    Gone {
        command: Command,
        after: Duration,
        /// What the last try ended with.
        last: String,
    },
    #[snafu(display("{}", interrupted(*command, *signal, *is_begun)))]
    Interrupted {
        command: Command,
        signal: Signal,
        is_begun: bool,
    },
    #[snafu(display("interrupted by {signal}"))]
    Stopped { signal: Signal },
    #[snafu(display("this host was not checked for updates since it booted"))]
    NeverChecked,
    #[snafu(display("asking for signals"))]
    Signals { source: io::Error },
    #[snafu(display("starting"))]
    Start { source: io::Error },
    #[snafu(display("writing to stdout"))]
    Print { source: io::Error },
}

fn interrupted(command: Command, signal: Signal, is_begun: bool) -> String {
    if is_begun {
        format!("interrupted by {signal}; {command} goes on in the background")
    } else {
        format!("interrupted by {signal}; {command} was not begun")
    }
}

impl Failure {
    /// How the program ends with it.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Interrupted { signal, .. } | Self::Stopped { signal } => {
                Exit::Interrupted(*signal)
            }
            _ => Exit::Failed,
        }
    }

    /// What the server has to say of it, as it said it.
    pub(super) fn said(&self) -> Option<&str> {
        match self {
            Self::Command { source, .. } => Some(source.said.as_str()).filter(|s| !s.is_empty()),
            _ => None,
        }
    }

    /// What the operator can do next, where that is known.
    pub(super) fn advice(&self, socket: &Path) -> Option<String> {
        let advice = match self {
            Self::Status { uri, code, .. } => return of_status(uri, *code).map(str::to_owned),
            Self::Request { source, .. } if source.is_nobody() => {
                let socket = socket.display();
                return Some(format!(
                    "is `updog serve` running, and is {socket} its socket? (--socket-path)"
                ));
            }
            Self::Request { source, .. } if source.is_forbidden() => {
                return Some(permission(socket));
            }
            Self::Request { method, source, .. }
                if *method == Method::POST && !source.is_unsent() =>
            {
                "whether it was begun is not known; apiclient update status"
            }
            Self::Command { source, .. } => {
                return source.advice.clone().or_else(|| {
                    Some("apiclient update status; the same command starts over".to_owned())
                });
            }
            Self::Interrupted { is_begun: true, .. } => {
                "to see how it goes: apiclient update status"
            }
            Self::Lost { .. } => {
                "the server may have lost it; apiclient update status, then give the command again"
            }
            Self::Gone { .. } => "is `updog serve` running? Once it is: apiclient update status",
            Self::NeverChecked => "apiclient update check, or apiclient update apply --check",
            Self::NoStream { .. } => "this server has no events",
            Self::Garbage { .. } | Self::NoText { .. } => {
                "is that the socket of an update API? (--socket-path)"
            }
            _ => return None,
        };
        Some(advice.to_owned())
    }
}

/// PURE: what to do about a refusal.
fn of_status(uri: &str, code: StatusCode) -> Option<&'static str> {
    let path = uri.split_once('?').map_or(uri, |(path, _)| path);
    let of_updates = path.starts_with("/updates/") || path.starts_with("/actions/");
    Some(match (path, code.as_u16()) {
        (_, 403) if of_updates => "only root may ask for that",
        (_, 423) if of_updates => "another command is under way; ask again later",
        ("/updates/status", 404) => "nobody asked since this host booted: apiclient update check",
        ("/actions/prepare-update", 404) => "there is no update to prepare: apiclient update check",
        ("/actions/activate-update" | "/actions/deactivate-update", 404) => {
            "no update is prepared: apiclient update apply --check"
        }
        ("/actions/prepare-update" | "/actions/activate-update", 409) => {
            "the host is in no state for that: apiclient update check"
        }
        ("/actions/deactivate-update", 409) => {
            "there is nothing to cancel: apiclient update status"
        }
        (
            "/actions/rollback" | "/updates/explain" | "/updates/plan" | "/updates/history"
            | "/updates/events",
            404 | 405,
        ) => "the server may not know this request: it is for `updog serve`",
        _ => return None,
    })
}

/// Who may connect.
fn permission(socket: &Path) -> String {
    let group = fs::metadata(socket).ok().map(|it| it.gid());
    let groups = fs::read("/etc/group").unwrap_or_default();
    let groups = String::from_utf8_lossy(groups.get(..MAX_GROUPS).unwrap_or(&groups));
    match group.map(|gid| group_name(&groups, gid).unwrap_or_else(|| gid.to_string())) {
        Some(group) => format!("run it as root, or as a member of the group {group}"),
        None => {
            "run it as root, or as a member of the group that the socket's folder has".to_owned()
        }
    }
}

/// PURE: what group(5) calls a number.
fn group_name(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?;
        (number.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_fleet_agents_expect_it() {
        let refusal = |code| Failure::Status {
            method: Method::POST,
            uri: "/actions/prepare-update".to_owned(),
            code: StatusCode::from_u16(code).unwrap(),
            body: "Update lock held".to_owned(),
        };
        assert_eq!(
            refusal(423).to_string(),
            "Failed POST request to '/actions/prepare-update': Status 423 when \
             POSTing /actions/prepare-update: Update lock held"
        );
        // A number that nobody has named.
        let text = refusal(599).to_string();
        let word = text
            .split("Status")
            .nth(1)
            .unwrap()
            .split_whitespace()
            .next();
        assert_eq!(word, Some("599"));
    }

    #[test]
    fn a_refusal_comes_with_what_to_do() {
        for (uri, code, expected) in [
            ("/actions/rollback", 403, Some("only root")),
            ("/actions/rollback", 404, Some("updog serve")),
            ("/updates/explain?version=1.0.0", 404, Some("updog serve")),
            ("/updates/status", 404, Some("update check")),
            ("/updates/status", 423, Some("another command")),
            ("/actions/prepare-update", 404, Some("update check")),
            ("/actions/prepare-update", 409, Some("update check")),
            ("/actions/activate-update", 404, Some("apply --check")),
            ("/actions/deactivate-update", 409, Some("nothing to cancel")),
            ("/actions/prepare-update", 500, None),
            ("/os", 404, None),
            ("/settings", 423, None),
        ] {
            let found = of_status(uri, StatusCode::from_u16(code).unwrap());
            match expected {
                Some(part) => assert!(found.unwrap().contains(part), "{uri} {code}: {found:?}"),
                None => assert_eq!(found, None, "{uri} {code}"),
            }
        }
    }

    #[test]
    fn a_group_is_called_by_its_name() {
        let groups = "root:x:0:\nbroken\napi:x:274:alice,bob\nsame:x:274:\n:x:zero:\n";
        assert_eq!(group_name(groups, 274).as_deref(), Some("api"));
        assert_eq!(group_name(groups, 0).as_deref(), Some("root"));
        assert_eq!(group_name(groups, 5), None);
    }
}
