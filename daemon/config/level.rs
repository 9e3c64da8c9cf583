//! What is logged: a level, or one per part of the program.

use toml::de::DeValue;
use tracing_subscriber::EnvFilter;

use super::suggest::{choice, did_you_mean};
use super::value::{Node, Value, Wrong};

/// A filter such as `info` or `info,engine=debug`, known to be valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogLevel(String);

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl LogLevel {
    /// The filter itself. The watcher warns of each watched directory that is removed, which is nothing to worry
    /// about; what it fails at it tells the daemon.
    pub(crate) fn filter(&self) -> EnvFilter {
        let watcher = if self.0 == "off" { "off" } else { "error" };
        EnvFilter::new(format!("notify={watcher},{}", self.0))
    }
}

impl Default for LogLevel {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl std::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        for directive in text.split(',').map(str::trim) {
            // A word that is no level would be taken for a part of the program, and log all of it.
            let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
            if !LEVELS.contains(&level) {
                let more = did_you_mean(level, LEVELS).map(|more| format!("; {more}")).unwrap_or_default();
                return Err(format!("expected {}, found {level:?}{more}", LogLevel::form()));
            }
        }
        EnvFilter::try_new(text).map_err(|error| format!("{text:?} is no filter: {error}"))?;
        Ok(Self(text.to_owned()))
    }
}

impl Value for LogLevel {
    const QUOTED: bool = true;

    fn form() -> String {
        format!("{}, or such words for parts of the program, as in \"info,engine=debug\"", choice(LEVELS))
    }

    fn read(node: &Node<'_>) -> Result<Self, Wrong> {
        let text = match node.get_ref() {
            DeValue::String(text) => text,
            other => {
                let message =
                    format!("expected {}, found a value of type {}", Self::form(), other.type_str());
                return Err(Wrong::new(node.span(), message));
            }
        };
        text.parse().map_err(|message| Wrong::new(node.span(), message))
    }

    fn show(&self) -> Option<toml::Value> {
        Some(self.0.as_str().into())
    }
}
