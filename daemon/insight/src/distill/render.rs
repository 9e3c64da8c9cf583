//! The files of a task. Nothing that was recorded stands in them but quoted.

use std::fmt::Write as _;

use serde::Serialize;

use super::paths::REPO;
use super::shell::Class;
use super::start::{Patch, Start};
use super::verifier::Verifier;

/// A text as one word of a shell.
fn word(text: &str) -> String {
    // A null byte cannot stand in a script; nobody means one.
    let plain: String = text.chars().filter(|char| *char != '\0').collect();
    shlex::try_quote(&plain).map(std::borrow::Cow::into_owned).unwrap_or_default()
}

/// `RUN` with words instead of a script: no shell reads them.
fn run(words: &[&str]) -> String {
    format!("RUN {}\n", serde_json::to_string(words).unwrap_or_default())
}

/// The image that has the tools of a verifier.
pub(super) fn base_image(verifier: Option<&Verifier>) -> &'static str {
    let program =
        verifier.and_then(|verifier| verifier.words.first()).map(String::as_str).unwrap_or_default();
    match program.rsplit('/').next().unwrap_or_default() {
        "cargo" => "docker.io/library/rust:1-bookworm",
        "npm" | "pnpm" | "yarn" | "node" | "jest" | "vitest" | "mocha" | "tsc" | "eslint" => {
            "docker.io/library/node:22-bookworm"
        }
        "go" => "docker.io/library/golang:1-bookworm",
        "python" | "python3" | "pytest" | "tox" | "nox" | "mypy" | "ruff" | "flake8" | "pylint" | "black" => {
            "docker.io/library/python:3.12-bookworm"
        }
        "make" | "gmake" | "ctest" | "ninja" => "docker.io/library/buildpack-deps:bookworm",
        _ => "docker.io/library/debian:bookworm-slim",
    }
}

/// `environment/Dockerfile`.
pub(super) fn dockerfile(start: &Start, base: &str) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "FROM {base}");
    out.push_str(
        "# Nothing is fetched when the image has git already.\n\
         RUN command -v git >/dev/null || (apt-get update && apt-get install -y --no-install-recommends \
         ca-certificates git openssh-client && rm -rf /var/lib/apt/lists/*)\n\
         # The agent and the tests may be another user than the one who made the files.\n\
         RUN git config --system --add safe.directory '*'\n\
         RUN mkdir -p /logs/verifier /logs/agent /workspace\n\
         WORKDIR /workspace\n",
    );
    match start {
        Start::Clone { url, commit, diff, before, .. } => {
            out.push_str(&run(&["git", "clone", "--no-checkout", "--", url, "repo"]));
            out.push_str(&run(&["git", "-C", "repo", "checkout", "--quiet", "--detach", commit]));
            let mut apply = |name: &str, numbered: bool| {
                let _ = writeln!(out, "COPY {name} /tmp/start/{name}");
                let file = format!("/tmp/start/{name}");
                let mut words = vec!["git", "-C", REPO, "apply", "--whitespace=nowarn"];
                if !numbered {
                    words.push("--unidiff-zero");
                }
                words.push(&file);
                out.push_str(&run(&words));
            };
            if diff.is_some() {
                apply("git_diff.patch", true);
            }
            for (number, patch) in before.iter().enumerate() {
                apply(&before_name(number), patch.numbered);
            }
            if diff.is_some() || !before.is_empty() {
                out.push_str("RUN rm -rf /tmp/start\n");
            }
        }
        Start::Synthetic(_) => {
            out.push_str("COPY repo/ /workspace/repo/\n");
            out.push_str(
                "RUN cd /workspace/repo && git init --quiet --initial-branch=main && git add --all --force && \
                 git -c user.name=task -c user.email=task@localhost commit --quiet --allow-empty --message start\n",
            );
        }
    }
    let _ = writeln!(out, "WORKDIR {REPO}");
    out
}

/// The file of a patch from before the window.
pub(super) fn before_name(number: usize) -> String {
    format!("before-{:03}.patch", number + 1)
}

/// The file of a patch of the solution.
pub(super) fn change_name(number: usize) -> String {
    format!("changes-{:03}.patch", number + 1)
}

/// `tests/test.sh`: one reward, whatever happens.
pub(super) fn test_script(verifier: Result<&Verifier, &str>, timeout: u64) -> String {
    let mut out = String::from(
        "#!/bin/bash\n\
         # Writes exactly one reward, 0 or 1, to /logs/verifier/reward.txt, whatever happens.\n\
         set -u\n\
         reward=0\n\
         mkdir -p /logs/verifier\n\
         # What an agent has left here counts for nothing, and a kill leaves 0.\n\
         rm -rf /logs/verifier/reward.json /logs/verifier/reward.txt\n\
         echo 0 >/logs/verifier/reward.txt\n\
         trap 'echo \"$reward\" >/logs/verifier/reward.txt' EXIT\n\
         trap 'exit 1' HUP INT TERM\n",
    );
    match verifier {
        Ok(verifier) => {
            let _ = writeln!(out, "cd -- {} || exit 0", word(&verifier.cwd));
            // Not a login shell: that would forget the PATH of the image.
            let command =
                format!("timeout --kill-after=10 {timeout} /bin/bash -c {}", word(&verifier.script));
            let _ = writeln!(out, "if {command} </dev/null; then\n    reward=1\nfi\nexit 0");
        }
        Err(reason) => {
            let _ =
                writeln!(out, "echo {} >&2\nexit 1", word(&format!("This task has no verifier: {reason}")));
        }
    }
    out
}

/// `solution/solve.sh`. With a commit, the patches are against that one and not against the start.
pub(super) fn solve_script(patches: &[Patch], from: Option<&str>) -> String {
    let mut out = format!(
        "#!/bin/bash\n\
         # What the session did: its patches, in their order.\n\
         set -euo pipefail\n\
         here=$(cd -- \"$(dirname -- \"$0\")\" && pwd)\n\
         cd -- {REPO}\n",
    );
    if let Some(commit) = from {
        let _ = writeln!(out, "git reset --quiet --hard {}\ngit clean --quiet --force -d", word(commit));
    }
    for (number, patch) in patches.iter().enumerate() {
        let how = if patch.numbered { "" } else { " --unidiff-zero" };
        let _ = writeln!(out, "git apply --whitespace=nowarn{how} \"$here/{}\"", change_name(number));
    }
    out
}

/// `task.toml`. The order is that of the file.
#[derive(Debug, Serialize)]
pub(super) struct TaskToml<'a> {
    pub(super) version: &'static str,
    pub(super) task: Named<'a>,
    pub(super) metadata: &'a super::Metadata,
    pub(super) verifier: Timeout,
    pub(super) agent: Timeout,
    pub(super) environment: Environment,
}

/// `[task]`.
#[derive(Debug, Serialize)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
}

/// `[verifier]` and `[agent]`.
#[derive(Debug, Serialize)]
pub(super) struct Timeout {
    pub(super) timeout_sec: f64,
}

/// `[environment]`.
#[derive(Debug, Serialize)]
pub(super) struct Environment {
    pub(super) build_timeout_sec: f64,
    pub(super) cpus: u32,
    pub(super) memory_mb: u32,
    pub(super) storage_mb: u32,
}

impl Environment {
    /// Enough for the tools of a verifier.
    pub(super) fn for_class(class: Option<Class>) -> Self {
        let heavy = class.is_some_and(|class| class >= Class::Build);
        Self {
            build_timeout_sec: 1200.0,
            cpus: if heavy { 2 } else { 1 },
            memory_mb: if heavy { 4096 } else { 2048 },
            storage_mb: 10240,
        }
    }
}
