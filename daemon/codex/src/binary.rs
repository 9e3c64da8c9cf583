//! Finding the Codex program.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::launcher;

/// A program that runs Codex, and the words that come before Codex's own arguments.
///
/// Where it lies is a fact of one moment: store the value with the run rather than look again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binary {
    program: PathBuf,
    words: Vec<String>,
    kind: BinaryKind,
    /// `PATH` for the program, when it must differ from the run's own.
    path: Option<PathBuf>,
}

/// What kind of program was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BinaryKind {
    /// The native program, found behind npm's launcher.
    Native,
    /// npm's launcher, whose native program was not found: a kill may leave that one running, and an
    /// exit code may hide a signal.
    Launcher,
    /// Whatever the user named: a native program, a script, a wrapper such as `npx` or `docker run`.
    AsGiven,
}

/// Why no program was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocateError {
    /// The setting is blank.
    #[error("the Codex command is empty")]
    Empty,
    /// The setting cannot be split into words.
    #[error("the Codex command {spec:?} has an unclosed quotation mark or ends in a backslash")]
    Quoting {
        /// The setting.
        spec: String,
    },
    /// A name that no directory of `PATH` holds.
    #[error(
        "no program {name:?} in PATH ({path}); install it with `npm install -g @openai/codex`, or name the program in full"
    )]
    NotInPath {
        /// The name that was looked for.
        name: String,
        /// The search path, as it was given.
        path: String,
    },
    /// A path where nothing is, or no regular file.
    #[error("no program at {path:?}")]
    NotFound {
        /// The path that was looked at, made absolute.
        path: PathBuf,
    },
    /// A file that may not be run.
    #[error("{path:?} is not executable; try `chmod +x`")]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
}

impl Binary {
    /// Finds the program of a setting such as `codex`, `/opt/codex`, `npx @openai/codex`,
    /// `docker run --rm -i image codex` or `node codex.js`: words as a shell would split them, the
    /// first of which is the program.
    ///
    /// A bare name is looked up in `search_path` (the `PATH` of the run, not of the daemon), a path
    /// is relative to `cwd`, which must be absolute. When the program turns out to be npm's launcher, the native program
    /// behind it is taken instead; any other wrapper is kept as it is.
    pub fn locate(spec: &str, search_path: Option<&OsStr>, cwd: &Path) -> Result<Self, LocateError> {
        let words = shlex::split(spec).ok_or_else(|| LocateError::Quoting { spec: spec.to_owned() })?;
        let (name, words) = match words.split_first() {
            Some((name, words)) if !name.is_empty() => (name, words.to_vec()),
            _ => return Err(LocateError::Empty),
        };
        let program = if name.contains('/') {
            at_path(cwd.join(name))?
        } else {
            in_search_path(name, search_path.unwrap_or_default(), cwd)?
        };
        let Some(package) = launcher::package_of(&program) else {
            return Ok(Self { program, words, kind: BinaryKind::AsGiven, path: None });
        };
        Ok(match launcher::native_behind(&package) {
            Some(native) => Self {
                program: native.program,
                words,
                kind: BinaryKind::Native,
                path: native.tools.and_then(|tools| in_front(tools, search_path)),
            },
            None => Self { program, words, kind: BinaryKind::Launcher, path: None },
        })
    }

    /// The program to start, an absolute path.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The words before Codex's own arguments.
    pub fn leading_words(&self) -> &[String] {
        &self.words
    }

    /// What kind of program it is.
    pub fn kind(&self) -> BinaryKind {
        self.kind
    }

    /// What must be set in the program's environment: at most `PATH`, with Codex's own tools in front,
    /// as the launcher would set it.
    pub fn environment(&self) -> impl Iterator<Item = (&'static str, &OsStr)> {
        self.path.iter().map(|path| ("PATH", path.as_os_str()))
    }
}

fn in_front(tools: PathBuf, search_path: Option<&OsStr>) -> Option<PathBuf> {
    let rest = search_path.map(env::split_paths).into_iter().flatten();
    let joined: OsString = env::join_paths(std::iter::once(tools).chain(rest)).ok()?;
    Some(joined.into())
}

fn at_path(path: PathBuf) -> Result<PathBuf, LocateError> {
    if is_executable_file(&path) {
        Ok(path)
    } else if path.is_file() {
        Err(LocateError::NotExecutable { path })
    } else {
        Err(LocateError::NotFound { path })
    }
}

/// The first program of that name, as a shell would find it: files that may not be run are passed
/// over, but named when there is nothing else.
fn in_search_path(name: &str, search_path: &OsStr, cwd: &Path) -> Result<PathBuf, LocateError> {
    // An empty PATH has one empty entry, which would stand for the working directory.
    let dirs: Vec<PathBuf> = env::split_paths(search_path).filter(|_| !search_path.is_empty()).collect();
    let candidates = || dirs.iter().map(|dir| cwd.join(dir).join(name));
    if let Some(program) = candidates().find(|path| is_executable_file(path)) {
        return Ok(program);
    }
    Err(match candidates().find(|path| path.is_file()) {
        Some(path) => LocateError::NotExecutable { path },
        None => {
            LocateError::NotInPath { name: name.to_owned(), path: search_path.to_string_lossy().into_owned() }
        }
    })
}

/// Whether a file is there that somebody may run.
pub(crate) fn is_executable_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
