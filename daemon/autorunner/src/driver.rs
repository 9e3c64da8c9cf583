//! Codex as this repository wants it: the settings of `config.yml`, understood by the driver, and the program
//! that they name.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use codex::{Binary, BinaryKind, LocateError, Settings, Version};
use serde::{Deserialize, Serialize};

use crate::config;
use crate::doctor::CodexProbe;

/// How long `codex --version` may take; a wrapper such as `npx` may have to fetch something first.
const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// The variable that names the Codex command, whatever `config.yml` says. May hold several words.
pub const BINARY_VARIABLE: &str = "SPINDLE_CODEX_BIN";

/// Words as one command line that [`Binary::locate`] splits into the same words. Words with a NUL, which no program
/// can be given, make none.
pub fn command_line<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    shlex::try_join(words).ok()
}

/// What `codex.args`, `codex.model` and `codex.reasoning` mean, or one line for each fault.
pub fn settings(codex: &config::Codex) -> Result<Settings, Vec<String>> {
    let mut settings = Settings::parse_args(&codex.args)
        .map_err(|faults| faults.iter().map(|fault| format!("codex.args: {fault}")).collect::<Vec<_>>())?;
    let mut faults = Vec::new();
    let mut take = |key: &str, wanted: &Option<String>, place: &mut Option<String>| match (wanted, &*place) {
        (Some(wanted), Some(known)) if wanted != known => {
            faults.push(format!("codex.{key} is {wanted:?}, but codex.args says {known:?}"));
        }
        (Some(wanted), _) => *place = Some(wanted.clone()),
        (None, _) => {}
    };
    take("model", &codex.model, &mut settings.model);
    take("reasoning", &codex.reasoning, &mut settings.reasoning_effort);
    if faults.is_empty() { Ok(settings) } else { Err(faults) }
}

/// A Codex that was found, and which release it is if it said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FoundCodex {
    pub(crate) binary: Binary,
    pub(crate) version: Option<Version>,
}

impl FoundCodex {
    /// Finds the program. It is asked for its version unless it is the one that is known already.
    pub(crate) fn find(
        command: &str,
        known: Option<&Self>,
        environment: &[(OsString, OsString)],
        cwd: &Path,
    ) -> Result<Self, LocateError> {
        let search_path =
            environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
        let binary = Binary::locate(command, search_path, cwd)?;
        if let Some(known) = known.filter(|known| known.binary == binary) {
            return Ok(known.clone());
        }
        let asked = binary.version(cwd, environment.iter().map(|(name, value)| (name, value)), PROBE_LIMIT);
        let version =
            asked.inspect_err(|error| tracing::warn!(%error, "Codex did not tell its version")).ok();
        Ok(Self { binary, version })
    }
}

/// Looks at Codex for [`crate::doctor::examine`].
#[derive(Debug, Clone)]
pub struct Probe {
    /// A command that wins over `codex.binary`.
    pub command: Option<String>,
    /// The `PATH` in which the loop would look.
    pub search_path: Option<OsString>,
    /// The directory in which the loop would run.
    pub cwd: PathBuf,
}

impl CodexProbe for Probe {
    fn locate(&self, binary: &str) -> Result<String, String> {
        let command = self.command.as_deref().unwrap_or(binary);
        let found = Binary::locate(command, self.search_path.as_deref(), &self.cwd);
        let found = found.map_err(|error| error.to_string())?;
        let path = self.search_path.as_deref().map(|path: &OsStr| (OsStr::new("PATH"), path));
        let version = match found.version(&self.cwd, path, PROBE_LIMIT) {
            Ok(version) => format!("Codex {version}"),
            Err(error) => format!("its version is unknown: {error}"),
        };
        let note = match found.kind() {
            BinaryKind::Native => ", the native program behind npm's launcher",
            BinaryKind::Launcher => ", npm's launcher: the native program behind it was not found",
            BinaryKind::AsGiven => "",
        };
        Ok(format!("{} ({version}{note})", found.program().display()))
    }

    fn map_args(&self, codex: &config::Codex) -> Result<String, Vec<String>> {
        let settings = settings(codex)?;
        let sandbox = settings.sandbox.mode().unwrap_or("none at all");
        let danger =
            if settings.sandbox.is_unlimited() { " (Codex may do anything that you can)" } else { "" };
        Ok(format!("codex.args is understood; the sandbox is {sandbox}{danger}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codex(args: &[&str], model: Option<&str>) -> config::Codex {
        config::Codex {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            model: model.map(str::to_owned),
            ..config::Codex::default()
        }
    }

    #[test]
    fn the_default_arguments_of_the_format_are_understood() {
        assert!(settings(&config::Codex::default()).is_ok_and(|settings| settings.sandbox.is_unlimited()));
    }

    #[test]
    fn a_model_may_be_named_in_either_place_but_not_differently() {
        let args = ["exec", "-s", "read-only", "-m", "one"];
        let model = |settings: Settings| settings.model;
        assert_eq!(settings(&codex(&args[..3], Some("two"))).map(model), Ok(Some("two".to_owned())));
        assert_eq!(settings(&codex(&args, Some("one"))).map(model), Ok(Some("one".to_owned())));
        assert!(settings(&codex(&args, Some("two"))).is_err_and(|faults| faults[0].contains("codex.model")));
    }

    #[test]
    fn every_argument_that_cannot_be_mapped_has_a_line() {
        let faults = settings(&codex(&["exec", "-s", "read-only", "--frobnicate", "--also-unknown"], None));
        assert!(faults.is_err_and(|faults| faults.len() == 2));
    }
}
