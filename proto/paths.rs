//! Where the daemon keeps its state, listens, and reads its configuration:
//! one resolver for both programs.
//!
//! | what            | variable            | else                                                  |
//! |-----------------|---------------------|-------------------------------------------------------|
//! | state directory | `SPINDLE_STATE_DIR` | `$XDG_STATE_HOME/spindle`, `~/.local/state/spindle`   |
//! | socket          | `SPINDLE_SOCKET`    | `spindled.sock` in the state directory                |
//! | configuration   | `SPINDLE_CONFIG`    | `$XDG_CONFIG_HOME/spindle/config.toml`, `~/.config/…` |
//!
//! A socket address holds only about a hundred bytes. When the state directory
//! lies too deep for it, the daemon listens on a short path elsewhere and
//! records it in the file `socket` of the state directory, where clients look.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Longest path that a socket address holds, in bytes, without its final NUL.
pub const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// The three places, each an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Everything the daemon keeps.
    pub state_dir: PathBuf,
    /// The unix socket on which the daemon answers.
    pub socket: PathBuf,
    /// The configuration file; it need not exist.
    pub config: PathBuf,
    /// Set when the socket's own place is too long.
    short_socket: Option<PathBuf>,
}

/// Why the places could not be determined or made ready.
#[derive(Debug, Error)]
pub enum PathsError {
    /// Nothing says where state belongs.
    #[error("neither {variable}, {xdg} nor HOME is set: there is no place for {what}")]
    NoHome {
        /// What the place is for.
        what: &'static str,
        /// Spindle's own variable.
        variable: &'static str,
        /// The XDG variable behind it.
        xdg: &'static str,
    },
    /// A relative path, and no current directory to put before it.
    #[error("cannot make {path:?} absolute: {source}")]
    NotAbsolute {
        /// The path as given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A socket path chosen by the user does not fit a socket address.
    #[error("the socket path {path:?} has {length} bytes; a socket address holds {SOCKET_PATH_LIMIT}")]
    SocketTooLong {
        /// The path as given.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// A directory could not be made or protected.
    #[error("cannot make the directory {path:?}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory for the socket is not ours alone: whoever owns it could
    /// stand between the daemon and its clients.
    #[error("the directory {path:?} belongs to user {owner}, not to user {user}")]
    ForeignDirectory {
        /// The directory.
        path: PathBuf,
        /// Its owner's uid.
        owner: u32,
        /// Our uid.
        user: u32,
    },
    /// The short socket path could not be recorded.
    #[error("cannot record the socket's path in {path:?}: {source}")]
    Record {
        /// The record's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Paths {
    /// The places as the process's environment says.
    pub fn from_environment() -> Result<Self, PathsError> {
        Self::resolve(&|name| match env::var_os(name) {
            // cron and some service managers leave HOME out.
            None if name == "HOME" => env::home_dir().map(PathBuf::into_os_string),
            value => value,
        })
    }

    /// The places as these variables say. An empty variable counts as unset,
    /// and so does an XDG variable that is not absolute (its specification
    /// says so); Spindle's own may be relative to the current directory.
    pub fn resolve(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, PathsError> {
        let lookup = Lookup(variable);
        let state_dir = match lookup.own("SPINDLE_STATE_DIR")? {
            Some(path) => path,
            None => lookup
                .xdg("XDG_STATE_HOME", ".local/state")
                .ok_or(PathsError::NoHome {
                    what: "the state directory",
                    variable: "SPINDLE_STATE_DIR",
                    xdg: "XDG_STATE_HOME",
                })?
                .join("spindle"),
        };
        let config = match lookup.own("SPINDLE_CONFIG")? {
            Some(path) => path,
            None => lookup
                .xdg("XDG_CONFIG_HOME", ".config")
                .map_or_else(|| state_dir.clone(), |directory| directory.join("spindle"))
                .join("config.toml"),
        };
        let paths = Self { socket: state_dir.join("spindled.sock"), state_dir, config, short_socket: None };
        match lookup.own("SPINDLE_SOCKET")? {
            Some(socket) => paths.with_socket(&socket),
            None if fits(&paths.socket) => Ok(paths),
            None => Ok(paths.with_short_socket(lookup.xdg_only("XDG_RUNTIME_DIR"))),
        }
    }

    /// The same places with another socket, as `--socket` asks.
    pub fn with_socket(self, socket: &Path) -> Result<Self, PathsError> {
        let socket = absolute(socket)?;
        if !fits(&socket) {
            return Err(PathsError::SocketTooLong { length: socket.as_os_str().len(), path: socket });
        }
        Ok(Self { socket, short_socket: None, ..self })
    }

    /// The socket, when it is not the one that the state directory implies.
    pub fn explicit_socket(&self) -> Option<&Path> {
        let implied = self.short_socket.is_some() || self.socket == self.state_dir.join("spindled.sock");
        (!implied).then_some(self.socket.as_path())
    }

    /// The log of a daemon that runs in the background.
    pub fn log(&self) -> PathBuf {
        self.state_dir.join("spindled.log")
    }

    /// Makes the places ready for a daemon: the state directory and the
    /// socket's directory exist, are ours and closed to others, and a short
    /// socket path is recorded for the clients.
    pub fn prepare(&mut self) -> Result<(), PathsError> {
        make(&self.state_dir)?;
        close_to_others(&self.state_dir)?;
        let Some(short) = self.short_socket.clone() else {
            return match self.socket.parent() {
                // A directory that exists was chosen by the user: it stays as it is.
                Some(parent) if !parent.exists() => make(parent),
                _ => Ok(()),
            };
        };
        // Not the recorded path: the directory it names may have gone with
        // the login session of an earlier daemon.
        if let Some(parent) = short.parent() {
            make(parent)?;
            check_owner(parent)?;
            close_to_others(parent)?;
        }
        self.record(&short)?;
        self.socket = short;
        Ok(())
    }

    /// For a client: that the directory of a short socket is not another user's.
    pub(crate) fn check_socket_owner(&self) -> Result<(), PathsError> {
        match self.socket.parent() {
            Some(parent) if self.short_socket.is_some() && parent.exists() => check_owner(parent),
            _ => Ok(()),
        }
    }

    /// Chooses a short path; a record left by the daemon comes first, for the
    /// daemon may have had another `XDG_RUNTIME_DIR`.
    fn with_short_socket(mut self, runtime_dir: Option<PathBuf>) -> Self {
        let name = format!("{:016x}.sock", fnv1a(self.state_dir.as_os_str().as_bytes()));
        let user = rustix::process::getuid().as_raw();
        let short = runtime_dir
            .map(|directory| directory.join("spindle").join(&name))
            .filter(|path| fits(path))
            .unwrap_or_else(|| PathBuf::from(format!("/tmp/spindle-{user}")).join(&name));
        self.socket = self.recorded().unwrap_or_else(|| short.clone());
        self.short_socket = Some(short);
        self
    }

    fn record_file(&self) -> PathBuf {
        self.state_dir.join("socket")
    }

    fn recorded(&self) -> Option<PathBuf> {
        let text = fs::read_to_string(self.record_file()).ok()?;
        let path = PathBuf::from(text.trim_end_matches('\n'));
        (path.is_absolute() && fits(&path)).then_some(path)
    }

    fn record(&self, short: &Path) -> Result<(), PathsError> {
        let file = self.record_file();
        let fresh = file.with_extension("new");
        let mut line = short.as_os_str().as_bytes().to_vec();
        line.push(b'\n');
        fs::write(&fresh, line)
            .and_then(|()| fs::rename(&fresh, &file))
            .map_err(|source| PathsError::Record { path: file, source })
    }
}

/// Reads variables, with what counts as unset decided in one place.
struct Lookup<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl Lookup<'_> {
    fn path(&self, name: &str) -> Option<PathBuf> {
        (self.0)(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    fn own(&self, name: &str) -> Result<Option<PathBuf>, PathsError> {
        self.path(name).map(|path| absolute(&path)).transpose()
    }

    fn xdg_only(&self, name: &str) -> Option<PathBuf> {
        self.path(name).filter(|path| path.is_absolute())
    }

    fn xdg(&self, name: &str, below_home: &str) -> Option<PathBuf> {
        self.xdg_only(name).or_else(|| self.xdg_only("HOME").map(|home| home.join(below_home)))
    }
}

fn absolute(path: &Path) -> Result<PathBuf, PathsError> {
    std::path::absolute(path).map_err(|source| PathsError::NotAbsolute { path: path.to_path_buf(), source })
}

fn fits(socket: &Path) -> bool {
    socket.as_os_str().len() <= SOCKET_PATH_LIMIT
}

fn make(directory: &Path) -> Result<(), PathsError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| PathsError::Directory { path: directory.to_path_buf(), source })
}

fn close_to_others(directory: &Path) -> Result<(), PathsError> {
    let closed = fs::set_permissions(directory, Permissions::from_mode(0o700));
    closed.map_err(|source| PathsError::Directory { path: directory.to_path_buf(), source })
}

/// Looks at the name itself: a link that another user has put into /tmp is
/// that user's, wherever it leads.
fn check_owner(directory: &Path) -> Result<(), PathsError> {
    let failed = |source| PathsError::Directory { path: directory.to_path_buf(), source };
    let owner = fs::symlink_metadata(directory).map_err(failed)?.uid();
    let user = rustix::process::getuid().as_raw();
    if owner == user {
        return Ok(());
    }
    Err(PathsError::ForeignDirectory { path: directory.to_path_buf(), owner, user })
}

/// FNV-1a, 64 bits. The standard library's hasher may change with the
/// compiler, and two programs of different builds must agree.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::HashMap;

    use super::*;

    fn resolve(variables: &[(&str, &str)]) -> Result<Paths, PathsError> {
        let variables: HashMap<&str, &str> = variables.iter().copied().collect();
        Paths::resolve(&|name| variables.get(name).map(OsString::from))
    }

    #[test]
    fn home_alone_is_enough() {
        let paths = resolve(&[("HOME", "/home/ada")]).unwrap();
        assert_eq!(paths.state_dir, Path::new("/home/ada/.local/state/spindle"));
        assert_eq!(paths.socket, Path::new("/home/ada/.local/state/spindle/spindled.sock"));
        assert_eq!(paths.config, Path::new("/home/ada/.config/spindle/config.toml"));
    }

    #[test]
    fn xdg_comes_before_home_and_our_own_before_xdg() {
        let xdg = [("HOME", "/h"), ("XDG_STATE_HOME", "/xs"), ("XDG_CONFIG_HOME", "/xc")];
        let paths = resolve(&xdg).unwrap();
        assert_eq!(paths.state_dir, Path::new("/xs/spindle"));
        assert_eq!(paths.config, Path::new("/xc/spindle/config.toml"));

        let own = [("SPINDLE_STATE_DIR", "/s"), ("SPINDLE_SOCKET", "/k.sock"), ("SPINDLE_CONFIG", "/c.toml")];
        let paths = resolve(&[&xdg[..], &own[..]].concat()).unwrap();
        assert_eq!(paths.state_dir, Path::new("/s"));
        assert_eq!(paths.socket, Path::new("/k.sock"));
        assert_eq!(paths.config, Path::new("/c.toml"));
    }

    #[test]
    fn empty_variables_and_relative_xdg_directories_count_as_unset() {
        let paths = resolve(&[("HOME", "/h"), ("XDG_STATE_HOME", "rel"), ("SPINDLE_STATE_DIR", "")]).unwrap();
        assert_eq!(paths.state_dir, Path::new("/h/.local/state/spindle"));
    }

    #[test]
    fn a_relative_path_of_our_own_becomes_absolute() {
        let paths = resolve(&[("SPINDLE_STATE_DIR", "here")]).unwrap();
        assert_eq!(paths.state_dir, env::current_dir().unwrap().join("here"));
    }

    #[test]
    fn without_any_home_the_error_names_the_variables() {
        let message = resolve(&[]).unwrap_err().to_string();
        assert!(message.contains("SPINDLE_STATE_DIR") && message.contains("HOME"), "{message}");
    }

    #[test]
    fn a_socket_chosen_too_long_is_refused() {
        let long = format!("/{}", "x".repeat(SOCKET_PATH_LIMIT));
        let error = resolve(&[("HOME", "/h"), ("SPINDLE_SOCKET", &long)]).unwrap_err();
        assert!(matches!(error, PathsError::SocketTooLong { length, .. } if length == SOCKET_PATH_LIMIT + 1));
    }

    #[test]
    fn a_deep_state_directory_gets_a_short_socket_that_clients_find() {
        let scratch = tempfile::tempdir().unwrap();
        let runtime = scratch.path().join("run");
        let deep = scratch.path().join("d".repeat(120));
        let variables =
            [("SPINDLE_STATE_DIR", deep.to_str().unwrap()), ("XDG_RUNTIME_DIR", runtime.to_str().unwrap())];
        let mut daemon = resolve(&variables).unwrap();
        daemon.prepare().unwrap();
        assert!(daemon.socket.starts_with(runtime.join("spindle")), "{daemon:?}");
        let mode = fs::metadata(runtime.join("spindle")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);

        // A client from cron has no XDG_RUNTIME_DIR and still finds it.
        let client = resolve(&variables[..1]).unwrap();
        assert_eq!(client.socket, daemon.socket);
        client.check_socket_owner().unwrap();
    }

    #[test]
    fn two_state_directories_never_share_a_short_socket() {
        let deep = |letter: &str| format!("/{}", letter.repeat(150));
        let one = resolve(&[("SPINDLE_STATE_DIR", &deep("a"))]).unwrap();
        let other = resolve(&[("SPINDLE_STATE_DIR", &deep("b"))]).unwrap();
        assert_ne!(one.socket, other.socket);
        assert!(fits(&one.socket) && one.socket.starts_with("/tmp"));
    }

    #[test]
    fn preparing_closes_the_state_directory_to_others() {
        let scratch = tempfile::tempdir().unwrap();
        let state = scratch.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
        let mut paths = resolve(&[("SPINDLE_STATE_DIR", state.to_str().unwrap())]).unwrap();
        paths.prepare().unwrap();
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
