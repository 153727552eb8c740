//! Who is at the other end of a connection, by the kernel's word.

use std::fmt;
use std::io;

use tokio::net::UnixStream;

/// Who connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    uid: u32,
    pid: Option<i32>,
    /// Whose process this is.
    server_uid: u32,
}

impl Peer {
    /// Root.
    pub(super) const ROOT: Self = Self {
        uid: 0,
        pid: None,
        server_uid: 0,
    };

    /// Asks the kernel.
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self {
            uid: credentials.uid(),
            pid: credentials.pid(),
            server_uid: rustix::process::geteuid().as_raw(),
        })
    }

    /// Whether the connection counts as root's.
    pub(super) fn is_root(self) -> bool {
        self.uid == 0
    }

    /// Whether it may do what an operator does: root, or, where the engine itself is somebody else's,
    /// as on a disk-image file, that user, who could do all of it without us.
    pub(super) fn is_operator(self) -> bool {
        self.uid == 0 || self.uid == self.server_uid
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.uid)?;
        match self.pid {
            Some(pid) => write!(f, ", process {pid}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_servers_own_user_are_operators() {
        for (uid, server_uid, is_operator) in [
            (0, 0, true),
            (1000, 0, false),
            (0, 1000, true),
            (1000, 1000, true),
            (1001, 1000, false),
        ] {
            let peer = Peer {
                uid,
                pid: None,
                server_uid,
            };
            assert_eq!(peer.is_operator(), is_operator, "{peer:?}");
        }
    }
}
