//! The socket: bound when nobody answers on it, open to one user, removed at the end.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures_util::{Stream, stream};
use tokio::net::{UnixListener, UnixStream};

/// Who does not answer within this time is there, but hangs.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Pause after an accept failed, as it does while there are no free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How often a socket in a directory that is swept from time to time is touched. Sweepers leave alone what
/// is younger than some days.
const TOUCH_EVERY: Duration = Duration::from_hours(6);

/// Directories that are swept.
const SWEPT: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/run"];

/// Why the daemon cannot listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// Somebody does already.
    #[error("a daemon answers on {} already; stop it, or choose another socket with SPINDLE_SOCKET", path.display())]
    Answered {
        /// The socket.
        path: PathBuf,
    },
    /// What is in the socket's place is something else, perhaps of value to somebody.
    #[error("{} is there and is no socket; move it away, or choose another socket with SPINDLE_SOCKET", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {action} the socket {}: {cause}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

impl ListenError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { action, path: path.to_owned(), cause }
    }
}

/// The bound socket.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: UnixListener,
    file: SocketFile,
}

/// The socket's file, which is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode: by now the path may lead to another daemon's socket.
    identity: (u64, u64),
}

impl Listener {
    /// Binds the socket. The state directory must be locked: then nobody else does this at the same time.
    pub(crate) async fn bind(path: &Path) -> Result<Self, ListenError> {
        make_way(path).await?;
        let listener = UnixListener::bind(path).map_err(ListenError::io("bind", path))?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(ListenError::io("protect", path))?;
        let metadata = fs::symlink_metadata(path).map_err(ListenError::io("look at", path))?;
        let file = SocketFile { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) };
        Ok(Self { listener, file })
    }

    /// The connections of this user and of root, for `serve_with_incoming_shutdown`; and the file, to be
    /// kept until the daemon ends.
    pub(crate) fn into_incoming(self) -> (impl Stream<Item = io::Result<UnixStream>>, SocketFile) {
        let incoming = stream::unfold(self.listener, |listener| async move {
            loop {
                match listener.accept().await {
                    Ok((connection, _)) if is_ours(&connection) => return Some((Ok(connection), listener)),
                    Ok(_) => {}
                    Err(error) => {
                        // An error passed on would end the server.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
        (incoming, self.file)
    }
}

/// Whether the peer is this user, or root. The file's mode says the same, but not every system heeds it,
/// and a directory chosen by the user may be open to others.
fn is_ours(connection: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    match connection.peer_cred() {
        Ok(peer) if is_welcome(peer.uid(), own) => true,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), pid = peer.pid(), "a connection of another user was refused");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "a connection whose user is unknown was refused");
            false
        }
    }
}

fn is_welcome(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// Removes a dead daemon's socket.
async fn make_way(path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ListenError::io("look at", path)(error)),
        // Connecting to a regular file is refused, just as to a dead socket.
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ListenError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match tokio::time::timeout(PROBE_LIMIT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {}
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => return Ok(()),
        // With a full queue of connections it would block: somebody is there.
        Ok(Err(error)) if error.kind() != ErrorKind::WouldBlock => {
            return Err(ListenError::io("connect to", path)(error));
        }
        _ => return Err(ListenError::Answered { path: path.to_owned() }),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(ListenError::io("remove the dead daemon's", path)(error))
        }
        _ => {
            tracing::info!(path = %path.display(), "removed the socket of a daemon that is gone");
            Ok(())
        }
    }
}

impl SocketFile {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a socket in a directory for temporary files from being swept away. Elsewhere it does nothing.
    /// Does not return.
    pub(crate) async fn keep_fresh(path: &Path) {
        if !SWEPT.iter().any(|swept| path.starts_with(swept)) {
            return std::future::pending().await;
        }
        let mut beat = tokio::time::interval(TOUCH_EVERY);
        loop {
            beat.tick().await;
            if let Err(error) = touch(path) {
                tracing::warn!(%error, path = %path.display(), "the socket cannot be touched");
            }
        }
    }
}

fn touch(path: &Path) -> io::Result<()> {
    use nix::sys::stat::{UtimensatFlags, utimensat};
    use nix::sys::time::TimeSpec;

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = TimeSpec::from_duration(now);
    Ok(utimensat(nix::fcntl::AT_FDCWD, path, &now, &now, UtimensatFlags::NoFollowSymlink)?)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the socket could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::StreamExt as _;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spindled.sock");
        (directory, path)
    }

    #[tokio::test]
    async fn the_socket_is_for_its_owner_only_and_goes_with_the_daemon() {
        let (_directory, path) = place();
        let listener = Listener::bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_live_daemons_socket_is_left_to_it() {
        let (_directory, path) = place();
        let _listener = Listener::bind(&path).await.unwrap();
        let error = Listener::bind(&path).await.unwrap_err();
        assert!(matches!(error, ListenError::Answered { .. }), "{error}");
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_dead_daemons_socket_is_replaced() {
        let (_directory, path) = place();
        // Dropped, the standard library's listener leaves its file, as a killed process does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let _listener = Listener::bind(&path).await.unwrap();
        UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_never_removed() {
        let (_directory, path) = place();
        fs::write(&path, "a letter").unwrap();
        let error = Listener::bind(&path).await.unwrap_err();
        assert!(matches!(error, ListenError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a letter");
    }

    #[tokio::test]
    async fn a_socket_that_another_daemon_put_in_the_place_is_left_to_it() {
        let (_directory, path) = place();
        let first = Listener::bind(&path).await.unwrap();
        fs::rename(&path, path.with_extension("old")).unwrap();
        let _second = Listener::bind(&path).await.unwrap();
        drop(first);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn connections_of_the_same_user_arrive() {
        let (_directory, path) = place();
        let (incoming, _file) = Listener::bind(&path).await.unwrap().into_incoming();
        let mut incoming = pin!(incoming);
        let (client, accepted) = tokio::join!(UnixStream::connect(&path), incoming.next());
        client.unwrap();
        assert!(accepted.unwrap().is_ok());
    }

    #[test]
    fn other_users_are_strangers_but_root_is_not() {
        assert!(is_welcome(1000, 1000));
        assert!(is_welcome(0, 1000));
        assert!(!is_welcome(1001, 1000));
        assert!(!is_welcome(1000, 0));
    }

    #[test]
    fn touching_makes_the_file_young_again() {
        let (_directory, path) = place();
        let file = fs::File::create(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        touch(&path).unwrap();
        assert!(fs::metadata(&path).unwrap().modified().unwrap() > SystemTime::UNIX_EPOCH + TOUCH_EVERY);
    }
}
