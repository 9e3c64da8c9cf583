//! Which variables of a client's environment travel with a run.
//!
//! A run happens in the environment of the person who asked for it, not in the
//! daemon's. Only names on an allow-list are taken, and of these none that
//! looks like a secret: the environment is stored in clear. `--secret` is the
//! way for those.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use crate::v1::EnvironmentVariable;

/// Names taken as they are.
const NAMES: [&str; 12] = [
    "PATH",
    "HOME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "TMPDIR",
    // Which Codex CLI a loop is to use.
    "SPINDLE_CODEX_BIN",
    // A path to a socket, not a secret, whatever its name contains.
    SSH_AGENT,
];
const SSH_AGENT: &str = "SSH_AUTH_SOCK";

/// Beginnings of names that are taken: locale, XDG directories and the
/// settings of the tools that Spindle drives (`CODEX_` covers
/// `CODEX_ORCHESTRATOR_`).
const PREFIXES: [&str; 7] = ["LC_", "XDG_", "CODEX_", "ORCH_", "MCP_RUNNER_", "GH_", "GITHUB_"];

/// Proxy settings are taken in upper and in lower case: programs differ.
const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"];

/// Words that mark a name as secret, alone or between underscores.
const SECRET_WORDS: [&str; 14] = [
    "TOKEN",
    "TOKENS",
    "SECRET",
    "SECRETS",
    "KEY",
    "KEYS",
    "APIKEY",
    "PASSWORD",
    "PASSPHRASE",
    "PASSWD",
    "CREDENTIAL",
    "CREDENTIALS",
    "AUTH",
    "PAT",
];

/// Whether a variable of this name is captured with a run.
///
/// The daemon asks again: what a client sends is not believed.
pub fn is_allowed(name: &str) -> bool {
    let listed = NAMES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
        || PROXIES.iter().any(|proxy| name == *proxy || name == proxy.to_ascii_uppercase());
    listed && !looks_secret(name)
}

/// Whether a name says that its value should not be stored: one of its words
/// (between underscores, in any case) is such as `TOKEN`, `KEY` or `PASSWORD`.
pub fn looks_secret(name: &str) -> bool {
    name != SSH_AGENT
        && name.split('_').any(|word| SECRET_WORDS.iter().any(|secret| word.eq_ignore_ascii_case(secret)))
}

/// The part of an environment that travels with a run, sorted by name.
/// Names that are not UTF-8 are left out; values may be any bytes.
pub fn capture(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<EnvironmentVariable> {
    let mut captured: Vec<EnvironmentVariable> = variables
        .into_iter()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| is_allowed(name))?;
            Some(EnvironmentVariable { name, value: value.into_vec() })
        })
        .collect();
    captured.sort_by(|a, b| a.name.cmp(&b.name));
    captured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_needs_to_feel_at_home_is_taken() {
        for name in [
            "PATH",
            "HOME",
            "LANG",
            "LC_ALL",
            "TZ",
            "USER",
            "SHELL",
            "TMPDIR",
            "XDG_RUNTIME_DIR",
            "http_proxy",
            "HTTPS_PROXY",
            "no_proxy",
            "SSH_AUTH_SOCK",
            "CODEX_HOME",
            "CODEX_ORCHESTRATOR_ROOT",
            "ORCH_STATE",
            "MCP_RUNNER_DIR",
            "GH_HOST",
            "GITHUB_REPOSITORY",
        ] {
            assert!(is_allowed(name), "{name}");
        }
    }

    #[test]
    fn nothing_else_is_taken() {
        for name in ["LD_PRELOAD", "PWD", "EDITOR", "AWS_REGION", "CODEX", "XDG_", "path", "Http_Proxy", ""] {
            assert!(!is_allowed(name), "{name}");
        }
    }

    #[test]
    fn a_name_that_looks_secret_is_left_out() {
        for name in [
            "GITHUB_TOKEN",
            "GH_TOKEN",
            "CODEX_API_KEY",
            "ORCH_PASSWORD",
            "GH_ENTERPRISE_TOKEN",
            "CODEX_AUTH",
            "GITHUB_CREDENTIALS",
            "CODEX_secret",
            "GH_PAT",
            "XDG_AUTH_FILE",
        ] {
            assert!(!is_allowed(name), "{name}");
        }
    }

    #[test]
    fn a_secret_word_counts_only_as_a_whole_word() {
        for name in ["CODEX_KEYBOARD", "GH_TOKENIZER", "CODEX_AUTHOR", "GITHUB_PATH"] {
            assert!(is_allowed(name), "{name}");
        }
    }

    #[test]
    fn a_capture_is_sorted_and_keeps_bytes() {
        let bytes = OsString::from_vec(vec![b'/', 0xff]);
        let captured = capture([
            ("PATH".into(), "/bin".into()),
            ("GH_TOKEN".into(), "hush".into()),
            ("HOME".into(), bytes),
            (OsString::from_vec(vec![b'L', b'C', b'_', 0xff]), "x".into()),
        ]);
        let names: Vec<&str> = captured.iter().map(|variable| variable.name.as_str()).collect();
        assert_eq!(names, ["HOME", "PATH"]);
        assert_eq!(captured[0].value, [b'/', 0xff]);
    }
}
