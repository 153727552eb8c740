//! The state machine behind the API, as far as its clients see it. Time is counted in looks.

use serde_json::{Value, json};

use super::server::{Reply, Request};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Numbers, outcomes, the command under way.
    Ours,
    /// Bottlerocket's: no status while a command is under way, no exit status of what failed.
    Theirs,
}

pub(crate) const BOTH: [Kind; 2] = [Kind::Ours, Kind::Theirs];

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) kind: Kind,
    /// `None` before the first refresh.
    pub(crate) state: Option<&'static str>,
    /// What a refresh finds.
    pub(crate) finds: bool,
    /// The command that fails, and what it says.
    pub(crate) fails: Option<(&'static str, &'static str)>,
    /// Looks that a command lasts.
    pub(crate) lasts: u32,
    /// The command under way, and how many looks it has left.
    pub(crate) running: Option<(&'static str, u32)>,
    id: u64,
    recent: Value,
    last: Value,
}

impl Engine {
    pub(crate) fn new(kind: Kind, state: Option<&'static str>) -> Self {
        Self {
            kind,
            state,
            finds: true,
            fails: None,
            lasts: 2,
            running: None,
            id: 0,
            recent: Value::Null,
            last: Value::Null,
        }
    }

    pub(crate) fn answer(&mut self, request: &Request) -> Reply {
        let path = request.uri.as_str();
        match (request.method.as_str(), path) {
            ("GET", "/updates/status") => self.look(),
            ("POST", "/actions/refresh-updates") => self.ask("refresh"),
            ("POST", "/actions/prepare-update") => self.ask("prepare"),
            ("POST", "/actions/activate-update") => self.ask("activate"),
            ("POST", "/actions/deactivate-update") => self.ask("deactivate"),
            ("POST", "/actions/rollback") if self.kind == Kind::Ours => self.ask("rollback"),
            ("POST", "/actions/reboot") => Reply::status(204, ""),
            _ => Reply::status(404, "no such resource"),
        }
    }

    fn ask(&mut self, command: &'static str) -> Reply {
        if self.running.is_some() {
            return Reply::status(423, "Update lock held");
        }
        let allowed = match command {
            "prepare" => matches!(self.state, Some("Available" | "Staged")),
            "activate" => self.state == Some("Staged"),
            "deactivate" => self.state == Some("Ready"),
            _ => true,
        };
        if !allowed {
            return Reply::status(409, "Action not allowed according to update state");
        }
        self.running = Some((command, self.lasts));
        self.id += 1;
        let number = match self.kind {
            Kind::Ours => format!("Updog-Command: {}\r\n", self.id),
            Kind::Theirs => String::new(),
        };
        Reply::Answer(204, number, Vec::new())
    }

    fn look(&mut self) -> Reply {
        match self.running {
            Some((command, 0)) => self.end(command),
            Some((_, left)) if self.kind == Kind::Theirs => {
                self.tick(left);
                return Reply::status(423, "Update lock held");
            }
            Some((_, left)) => self.tick(left),
            None => {}
        }
        match self.status() {
            Some(status) => Reply::status(200, &status.to_string()),
            None => Reply::status(404, "Update status is uninitialized"),
        }
    }

    fn tick(&mut self, left: u32) {
        self.running = self.running.map(|(command, _)| (command, left - 1));
    }

    fn end(&mut self, command: &'static str) {
        self.running = None;
        let failed = self.fails.filter(|(fails, _)| *fails == command);
        self.state = Some(match (command, failed, self.state) {
            (_, Some(_), state) => state.unwrap_or("Idle"),
            ("refresh", _, Some(state @ ("Staged" | "Ready"))) => state,
            ("refresh", ..) if self.finds => "Available",
            ("prepare" | "deactivate", ..) => "Staged",
            ("activate" | "rollback", ..) => "Ready",
            _ => "Idle",
        });
        let said = failed.map(|(_, said)| said);
        if command != "rollback" {
            let exit = match (said, self.kind) {
                (None, _) => json!(0),
                (_, Kind::Ours) => json!(1),
                (_, Kind::Theirs) => Value::Null,
            };
            self.recent = json!({
                "cmd_type": command,
                "cmd_status": if said.is_some() { "Failed" } else { "Success" },
                "timestamp": format!("2031-03-02T10:00:00.{:09}Z", self.id),
                "exit_status": exit,
                "stderr": said.unwrap_or_default(),
            });
            if self.kind == Kind::Ours {
                self.recent["id"] = json!(self.id);
            }
        }
        self.last = json!({
            "command": command,
            "id": self.id,
            "outcome": if said.is_some() { "failed" } else { "done" },
            "at": "2031-03-02T10:00:00Z",
            "version": null,
            "error": said,
            "advice": said.map(|_| "look at the disk"),
        });
    }

    /// Null where there is nothing, as from any server.
    pub(crate) fn status(&self) -> Option<Value> {
        let state = match (self.state, self.kind) {
            (Some(state), _) => state,
            (None, Kind::Ours) if self.running.is_some() => "Idle",
            (None, _) => return None,
        };
        let image = |version| json!({"arch": "x86_64", "version": version, "variant": "demo"});
        let mut status = json!({
            "update_state": state,
            "available_updates": if state == "Idle" { vec![] } else { vec!["1.1.0"] },
            "chosen_update": (state != "Idle").then(|| image("1.1.0")),
            "active_partition": {"image": image("1.0.0"), "next_to_boot": state != "Ready"},
            "staging_partition": null,
            "most_recent_command": self.recent,
        });
        if self.kind == Kind::Ours {
            status["last_outcome"] = self.last.clone();
            status["running_command"] = self.running.map_or(Value::Null, |(command, _)| {
                json!({
                    "command": command,
                    "id": self.id,
                    "since": "2031-03-02T09:59:00Z",
                    "step": "writing the root image",
                    "done": 1024,
                    "total": 4096,
                })
            });
        }
        Some(status)
    }
}
