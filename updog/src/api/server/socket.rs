//! The socket: handed over by systemd, or made here, so that nobody else can open it at any moment.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tokio::net::UnixListener;

use crate::config::{Group, SocketSettings};
use crate::lock;

/// Read and write for owner and group: connecting takes both.
const MODE: u32 = 0o660;
/// Where groups have their names.
const GROUPS: &str = "/etc/group";
/// A larger file lists no groups.
const MAX_GROUPS_BYTES: u64 = 4 << 20;

/// Why there is no socket.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum SocketError {
    /// What systemd has handed over is none.
    #[snafu(display("taking the socket that the init system hands over"))]
    HandedOver { source: io::Error },
    /// There is a server already.
    #[snafu(display(
        "{} has a server already; the key socket_path names another one",
        path.display()
    ))]
    Served { path: PathBuf },
    /// Something else has the name.
    #[snafu(display("{} is there and no socket", path.display()))]
    NoSocket { path: PathBuf },
    /// It cannot be made.
    #[snafu(display("making the socket {}", path.display()))]
    Make { path: PathBuf, source: io::Error },
    /// The groups cannot be read.
    #[snafu(display("reading {GROUPS}"))]
    Groups { source: io::Error },
    /// There is no such group.
    #[snafu(display("{GROUPS} has no group '{name}', which the key socket_group names"))]
    NoGroup { name: String },
}

/// A socket that is listened at. One that was made here goes with it.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    /// There where it was made here.
    made: Option<Made>,
}

#[derive(Debug)]
struct Made {
    path: PathBuf,
    _lock: File,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(Made { path, .. }) = &self.made
            && let Err(error) = fs::remove_file(path)
        {
            tracing::debug!("{} stays behind: {error}", path.display());
        }
    }
}

/// The socket that systemd hands over, or else the configured one. Within a runtime.
pub(super) fn open(settings: &SocketSettings) -> Result<Socket, SocketError> {
    let handed_over = ListenFd::from_env()
        .take_unix_listener(0)
        .context(HandedOverSnafu)?;
    let (listener, made) = match handed_over {
        Some(listener) => (listener, None),
        None => make(settings).map(|(listener, made)| (listener, Some(made)))?,
    };
    let listener = listener
        .set_nonblocking(true)
        .and_then(|()| UnixListener::from_std(listener))
        .context(HandedOverSnafu)?;
    Ok(Socket { listener, made })
}

fn make(settings: &SocketSettings) -> Result<(StdListener, Made), SocketError> {
    let path = &settings.path;
    let gid = settings.group.as_ref().map(id_of).transpose()?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).context(MakeSnafu { path })?;
    // Of two servers that begin at once, one has the name.
    let lock = take_lock(path)?;
    check_free(path)?;
    let bind = || {
        // A folder that only we can enter, until it is known who may connect.
        let private = tempfile::Builder::new()
            .prefix(".updog-")
            .tempdir_in(folder)?;
        let made = private.path().join("s");
        let listener = StdListener::bind(&made)?;
        std::os::unix::fs::chown(&made, None, gid)?;
        fs::set_permissions(&made, Permissions::from_mode(MODE))?;
        fs::rename(&made, path)?;
        Ok(listener)
    };
    let listener = bind().context(MakeSnafu { path })?;
    let made = Made {
        path: path.clone(),
        _lock: lock,
    };
    Ok((listener, made))
}

fn take_lock(path: &Path) -> Result<File, SocketError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = lock::open(&name).context(MakeSnafu { path: &name })?;
    match lock::try_lock(&file) {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => ServedSnafu { path }.fail(),
        Err(fs::TryLockError::Error(source)) => Err(source).context(MakeSnafu { path: name }),
    }
}

/// Whether nothing has the name but a socket that a killed server has left behind.
fn check_free(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(source).context(MakeSnafu { path }),
        Ok(found) => ensure!(found.file_type().is_socket(), NoSocketSnafu { path }),
    }
    match StdStream::connect(path) {
        Ok(_) => ServedSnafu { path }.fail(),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(source) => Err(source).context(MakeSnafu { path }),
    }
}

/// The number of `group`.
fn id_of(group: &Group) -> Result<u32, SocketError> {
    let name = match group {
        Group::Id(id) => return Ok(*id),
        Group::Name(name) => name,
    };
    let mut text = String::new();
    File::open(GROUPS)
        .and_then(|file| file.take(MAX_GROUPS_BYTES).read_to_string(&mut text))
        .context(GroupsSnafu)?;
    id_in(&text, name).context(NoGroupSnafu { name })
}

/// The number of the group `name` in a file of the form of `/etc/group`: `name:password:number:users`.
fn id_in(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        fields.nth(1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: PathBuf) -> SocketSettings {
        SocketSettings { path, group: None }
    }

    fn reason(settings: &SocketSettings) -> String {
        make(settings).unwrap_err().to_string()
    }

    #[test]
    fn a_socket_is_for_owner_and_group_and_goes_with_its_server() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/api.sock");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _within = runtime.enter();
        let socket = open(&settings(path.clone())).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_killed_servers_socket_is_replaced_and_a_living_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists(), "nobody has removed it");
        let settings = settings(path.clone());
        let served = make(&settings).unwrap();
        let expected = format!(
            "{} has a server already; the key socket_path names another one",
            path.display()
        );
        assert_eq!(reason(&settings), expected, "one of ours");
        drop(served);
        fs::remove_file(&path).unwrap();
        let _other = StdListener::bind(&path).unwrap();
        assert_eq!(reason(&settings), expected, "one that knows no lock");
    }

    #[test]
    fn what_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        fs::write(&path, "precious").unwrap();
        let expected = format!("{} is there and no socket", path.display());
        assert_eq!(reason(&settings(path.clone())), expected);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\napi-old:x:7:\napi:x:274:a,b\nbroken\nworse:x:many:\n";
        assert_eq!(id_in(groups, "api"), Some(274));
        assert_eq!(id_in(groups, "root"), Some(0));
        for name in ["ap", "", "broken", "worse", "a"] {
            assert_eq!(id_in(groups, name), None, "{name}");
        }
        let group = Group::Name("no such group".to_owned());
        assert!(matches!(id_of(&group), Err(SocketError::NoGroup { .. })));
    }
}
