#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use super::patch::Change;
use super::*;

fn fixture(name: &str) -> Transcript {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    read(&SessionFiles::at(&path).unwrap()).unwrap()
}

fn words(transcript: &Transcript) -> Vec<String> {
    let word = |entry: &Entry| match &entry.what {
        What::User(text) => Some(format!("user: {}", text.trim())),
        What::Agent(text) => Some(format!("agent: {text}")),
        _ => None,
    };
    transcript.entries.iter().filter_map(word).collect()
}

fn calls(transcript: &Transcript) -> Vec<(String, CallOutcome, Option<i64>)> {
    transcript.calls.iter().map(|call| (call.tool.clone(), call.outcome, call.exit_code)).collect()
}

#[test]
fn a_rollout_of_either_version_tells_the_same_session_once() {
    for version in ["0.75.0", "0.169.0"] {
        let transcript = fixture(&format!("rollout-{version}-repair.jsonl"));
        assert_eq!(
            words(&transcript),
            [
                "user: Fix greet.sh so that the tests pass.",
                "agent: running the tests",
                "agent: The tests pass now."
            ],
            "{version}"
        );
        let outcomes: Vec<_> =
            calls(&transcript).into_iter().map(|(tool, outcome, _)| (tool, outcome)).collect();
        assert_eq!(
            outcomes,
            [
                ("exec_command".to_owned(), CallOutcome::Failed),
                ("apply_patch".to_owned(), CallOutcome::Succeeded),
                ("exec_command".to_owned(), CallOutcome::Succeeded),
            ],
            "{version}"
        );
        assert_eq!(transcript.calls[0].output, "FAIL: wrong greeting\n");
        assert_eq!(transcript.calls[0].exit_code, Some(1));
        assert_eq!(transcript.calls[0].cwd.as_deref(), Some("/home/dev/greet"));
        assert_eq!(transcript.head.cli_version.as_deref(), Some(version));
        let requests =
            transcript.entries.iter().filter(|entry| matches!(entry.what, What::Tokens { .. })).count();
        assert_eq!(requests, 4, "{version}");
        assert!(transcript.entries.iter().all(|entry| entry.turn.is_none_or(|turn| turn == 0)));
        let changed = &transcript.calls[1].changes;
        assert_eq!(changed.len(), 2);
        let update = changed.iter().find(|change| change.path.ends_with("greet.sh")).unwrap();
        let Change::Update { numbered, .. } = update.change else { panic!("{update:?}") };
        assert_eq!(numbered, version == "0.169.0");
    }
}

#[test]
fn a_spine_tells_of_turns_approvals_and_the_compaction_between_contexts() {
    let transcript = fixture("spine-repair");
    assert_eq!(transcript.unreadable, 0);
    assert_eq!(words(&transcript).len(), 7);
    assert_eq!(calls(&transcript)[5], ("exec_command".to_owned(), CallOutcome::Rejected, Some(-1)));
    let last = transcript.entries.last().unwrap();
    assert_eq!((last.context, last.turn, last.turn_id.as_str()), (1, Some(2), "5"));
    assert_eq!(transcript.head.repo_root.as_deref(), Some("/home/dev/greet"));
    let decisions =
        transcript.entries.iter().filter(|entry| matches!(entry.what, What::Decided { .. })).count();
    assert_eq!(decisions, 2);
}

#[test]
fn a_change_is_written_as_git_reads_it() {
    let add = FileChange { path: String::new(), change: Change::Add { content: "a\nb".into() } };
    assert_eq!(
        add.to_patch("x/new file", None).unwrap(),
        "diff --git \"a/x/new file\" \"b/x/new file\"\nnew file mode 100644\n--- /dev/null\n+++ \"b/x/new file\"\n\
         @@ -0,0 +1,2 @@\n+a\n+b\n\\ No newline at end of file\n"
    );
    let diff = "@@ -1 +1 @@\n-a\n+b\n".to_owned();
    let update =
        FileChange { path: String::new(), change: Change::Update { diff, move_to: None, numbered: true } };
    assert_eq!(
        update.to_patch("x", None).unwrap(),
        "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
    );
}

#[test]
fn nonsense_is_counted_and_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rollout-x.jsonl");
    let lines: &[&[u8]] = &[
        b"{\"type\":\"session_meta\",\"payload\":{\"id\":\"t1\"}}\n",
        b"\n",
        b"not json\n",
        b"[1]\n",
        b"{\"type\":1}\n",
        b"{\"type\":\"event_msg\",\"payload\":{\"type\":\"item_completed\",\"item\":7}}\n",
        b"{\"type\":\"response_item\",\"payload\":{\"type\":\"function_call_output\",\"call_id\":\"x\",\"output\":3}}\n",
        b"{\"type\":\"event_msg\",\"payl",
    ];
    std::fs::write(&path, lines.concat()).unwrap();
    let transcript = read(&SessionFiles::at(&path).unwrap()).unwrap();
    assert_eq!((transcript.id.as_str(), transcript.unreadable, transcript.calls.len()), ("t1", 4, 0));
}

#[test]
fn what_git_told_of_an_end_stands_before_the_next_beginning_and_of_that_behind_it() {
    let id: SessionId = "thread".parse().unwrap();
    let entry = |second: i64, line: u64, what: What| Entry {
        seq: line,
        time: Some(Timestamp::from_second(second).unwrap()),
        place: Place { line, ..Place::default() },
        epoch: 0,
        context: 0,
        turn: None,
        turn_id: String::new(),
        what,
    };
    let git = |root: Option<&str>, commit: &str| What::Git {
        root: root.map(str::to_owned),
        url: None,
        commit: Some(commit.to_owned()),
    };
    let transcript = |entries| Transcript {
        id: id.clone(),
        format: Format::Rollout,
        head: Head::default(),
        entries,
        calls: Vec::new(),
        unreadable: 0,
    };
    let user = || What::User("words".to_owned());
    let mut rollout =
        transcript(vec![entry(10, 1, user()), entry(20, 2, What::EpochBegan), entry(21, 3, user())]);
    rollout.take_git_of(transcript(vec![
        entry(10, 1, git(None, "of the rollout itself")),
        entry(10, 5, git(Some("/"), "end")),
        entry(15, 0, git(Some("/"), "begin")),
        entry(10, 6, user()),
    ]));
    let told: Vec<&str> = rollout
        .entries
        .iter()
        .map(|entry| match &entry.what {
            What::Git { commit, .. } => commit.as_deref().unwrap(),
            What::EpochBegan => "epoch",
            _ => "words",
        })
        .collect();
    assert_eq!(told, ["words", "end", "epoch", "begin", "words"]);
}
