//! The real Codex CLI against the model server. Skipped when the CLI is not installed (not in CI).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use model_server::{ModelServer, Options, Release, Scratch};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

fn server(default: &str) -> ModelServer {
    ModelServer::start(Options { default: default.to_owned(), ..Options::default() }).unwrap()
}

/// Runs `codex exec` in the scratch repository, with the prompt on its standard input.
fn exec(scratch: &Scratch, binary: &Path, arguments: &[&str], prompt: &str) -> Output {
    let mut command = scratch.command(binary);
    command.args(["exec", "--json", "-s", "workspace-write"]).args(arguments).arg("-");
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(prompt.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn assert_turn_completed(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let completed = stdout.contains(r#"{"type":"turn.completed""#);
    assert!(
        output.status.success() && completed,
        "{}\n{stdout}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}

fn an_edit_by_a_shell_call_lands_in_the_repository(release: Release) {
    let Some(binary) = release.binary_or_skip() else {
        return;
    };
    let server = server("message");
    let scratch = Scratch::new(server.url()).unwrap();
    let output = exec(&scratch, &binary, &[], "mock:shell cmd='echo edited >> README.md'");
    assert_turn_completed(&output);
    assert_eq!(fs::read_to_string(scratch.repo().join("README.md")).unwrap(), "# Scratch\nedited\n");
    assert_eq!(scratch.git(&["status", "--porcelain"]).unwrap(), " M README.md\n");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn an_edit_by_a_shell_call_lands_in_the_repository_current() {
    an_edit_by_a_shell_call_lands_in_the_repository(Release::Current);
}

#[test]
fn an_edit_by_a_shell_call_lands_in_the_repository_oldest() {
    an_edit_by_a_shell_call_lands_in_the_repository(Release::Oldest);
}

#[test]
fn an_edit_in_code_mode_lands_in_the_repository() {
    let Some(binary) = Release::Current.binary_or_skip() else {
        return;
    };
    let scratch_server = server("message");
    let scratch = Scratch::new(scratch_server.url()).unwrap();
    let output = exec(&scratch, &binary, &["-m", "gpt-6.1-sol"], "mock:shell cmd='echo edited >> README.md'");
    assert_turn_completed(&output);
    assert_eq!(fs::read_to_string(scratch.repo().join("README.md")).unwrap(), "# Scratch\nedited\n");
}

const TODO: &str =
    "# TODO\n\n- [x] Begin\n- [ ] Write `greeting.txt`\n- [ ] Say it's \"done\" & leave $HOME alone\n";

/// What the autorunner's prompt looks like.
fn autorunner_prompt(repo: &Path) -> String {
    let todo = fs::read_to_string(repo.join(".codex-autorunner/TODO.md")).unwrap();
    format!("You are Codex, working alone.\n\n<TODO>\n{todo}\n</TODO>\n\n<PROGRESS>\n</PROGRESS>\n")
}

fn the_agent_does_one_item_per_run_until_none_is_left(release: Release) {
    let Some(binary) = release.binary_or_skip() else {
        return;
    };
    let server = server("agent");
    let scratch = Scratch::new(server.url()).unwrap();
    let docs = scratch.repo().join(".codex-autorunner");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("TODO.md"), TODO).unwrap();
    fs::write(docs.join("PROGRESS.md"), "# Progress\n").unwrap();
    let open_items = || fs::read_to_string(docs.join("TODO.md")).unwrap().matches("- [ ]").count();

    let first = exec(&scratch, &binary, &[], &autorunner_prompt(&scratch.repo()));
    assert!(assert_turn_completed(&first).contains("ticked the item"));
    assert_eq!(open_items(), 1);
    assert!(scratch.repo().join("greeting.txt").exists());

    assert_turn_completed(&exec(&scratch, &binary, &[], &autorunner_prompt(&scratch.repo())));
    assert_eq!(open_items(), 0);
    assert!(scratch.repo().join("say-it-s-done-leave-home-alone.md").exists());
    let progress = fs::read_to_string(docs.join("PROGRESS.md")).unwrap();
    assert_eq!(progress.lines().count(), 3, "{progress}");

    let before = scratch.git(&["status", "--porcelain", "-uall"]).unwrap();
    let last = exec(&scratch, &binary, &[], &autorunner_prompt(&scratch.repo()));
    assert!(assert_turn_completed(&last).contains("nothing left to do"));
    assert_eq!(scratch.git(&["status", "--porcelain", "-uall"]).unwrap(), before);
}

#[test]
fn the_agent_does_one_item_per_run_until_none_is_left_current() {
    the_agent_does_one_item_per_run_until_none_is_left(Release::Current);
}

#[test]
fn the_agent_does_one_item_per_run_until_none_is_left_oldest() {
    the_agent_does_one_item_per_run_until_none_is_left(Release::Oldest);
}

#[test]
fn a_resumed_thread_brings_its_history_back() {
    for release in Release::ALL {
        let Some(binary) = release.binary_or_skip() else {
            return;
        };
        let server = server("message");
        let scratch = Scratch::new(server.url()).unwrap();
        assert_turn_completed(&exec(&scratch, &binary, &[], "mock:message text=first"));
        let thread = server.requests()[0].thread.clone().unwrap();
        assert_turn_completed(&exec(&scratch, &binary, &["resume", &thread], "mock:message text=second"));
        let resumed = &server.requests()[1];
        assert_eq!(resumed.thread.as_deref(), Some(thread.as_str()));
        assert!(resumed.body["input"].to_string().contains("mock:message text=first"));
    }
}

#[test]
fn a_command_that_outlasts_the_patience_is_waited_for() {
    let Some(binary) = Release::Current.binary_or_skip() else {
        return;
    };
    let server = server("message");
    let scratch = Scratch::new(server.url()).unwrap();
    let output = exec(&scratch, &binary, &[], "mock:sleep secs=1.5 patience=0.3");
    let said = assert_turn_completed(&output);
    assert!(said.contains(r#""aggregated_output":"slept\n""#), "{said}");
    assert_eq!(server.requests().len(), 3, "the call, the wait, the message");
}

#[test]
fn the_agent_does_not_claim_what_failed() {
    let Some(binary) = Release::Current.binary_or_skip() else {
        return;
    };
    let server = server("agent");
    let scratch = Scratch::new(server.url()).unwrap();
    let prompt = "<TODO>\n- [ ] An item of a document that does not exist\n</TODO>";
    let said = assert_turn_completed(&exec(&scratch, &binary, &[], prompt));
    assert!(said.contains("Could not finish"), "{said}");
}
