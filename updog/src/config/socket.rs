//! Where the API is served, and to whom.

use std::path::PathBuf;

use serde::Deserialize;

/// Where the API is served unless the key `socket_path` says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/api.sock";

/// Where the socket is and who may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketSettings {
    /// Its path.
    pub path: PathBuf,
    /// The group that may, besides the server's own user; that of the server where it is `None`.
    pub group: Option<Group>,
}

/// A group as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Group {
    /// By its number.
    Id(u32),
    /// By its name.
    Name(String),
}

impl Group {
    /// Whether it means anything.
    pub(super) fn checked(&self) -> Result<Self, &'static str> {
        match self {
            Self::Name(name) if name.is_empty() => Err("must be the name or the number of a group"),
            group => Ok(group.clone()),
        }
    }
}
