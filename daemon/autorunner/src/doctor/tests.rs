#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::init::{InitOptions, init};
use crate::lock::{LockRecord, OwnedLock};
use jiff::Timestamp;

struct AllWell;

impl CodexProbe for AllWell {
    fn locate(&self, binary: &str) -> Result<String, String> {
        Ok(format!("{binary} is there"))
    }

    fn map_args(&self, _: &Codex) -> Result<String, Vec<String>> {
        Ok("sandbox workspace-write".into())
    }
}

struct NothingWorks;

impl CodexProbe for NothingWorks {
    fn locate(&self, binary: &str) -> Result<String, String> {
        Err(format!("{binary} is not in PATH"))
    }

    fn map_args(&self, _: &Codex) -> Result<String, Vec<String>> {
        Err(vec!["--odd has no meaning here".into(), "--odder neither".into()])
    }
}

fn seeded() -> (tempfile::TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".git")).unwrap();
    let report = init(dir.path(), InitOptions::default(), Timestamp::now()).unwrap();
    (dir, Layout::of_root(report.root))
}

fn find<'a>(report: &'a Report, id: &str) -> &'a Check {
    report.checks.iter().find(|check| check.id == id).unwrap()
}

fn examined(layout: &Layout) -> Report {
    examine(layout.root(), &AllWell)
}

#[test]
fn a_seeded_repository_is_healthy() {
    let (_dir, layout) = seeded();
    let report = examined(&layout);
    assert_eq!(report.worst(), Level::Ok, "{report:#?}");
    let ids: Vec<&str> = report.checks.iter().map(|check| check.id).collect();
    assert_eq!(ids, ["git", "config", "todo", "binary", "args", "lock", "state", "leftovers"]);
    assert!(report.checks.iter().all(|check| check.fix.is_none()));
}

#[test]
fn the_json_form_has_lower_case_levels() {
    let mut report = Report::default();
    report.warning("lock", "a lock was left behind", "nothing");
    assert_eq!(
        serde_json::to_string(&report).unwrap(),
        r#"{"checks":[{"id":"lock","status":"warning","message":"a lock was left behind","fix":"nothing"}]}"#
    );
}

#[test]
fn outside_of_a_repository_nothing_else_is_looked_at() {
    let report = examine(Path::new("/"), &AllWell);
    assert_eq!((report.checks.len(), report.worst()), (1, Level::Error));
}

#[test]
fn a_missing_configuration_names_the_command_that_makes_one() {
    let (_dir, layout) = seeded();
    fs::remove_file(layout.config()).unwrap();
    let report = examined(&layout);
    assert_eq!(find(&report, "config").status, Level::Error);
    assert_eq!(find(&report, "config").fix.as_deref(), Some("run `spindle auto init`"));
    assert!(report.checks.iter().all(|check| check.id != "binary"));
}

#[test]
fn each_argument_that_cannot_be_mapped_is_an_error() {
    let (_dir, layout) = seeded();
    let report = examine(layout.root(), &NothingWorks);
    let errors: Vec<&str> = report
        .checks
        .iter()
        .filter(|check| check.status == Level::Error)
        .map(|check| check.message.as_str())
        .collect();
    assert_eq!(errors, ["codex is not in PATH", "--odd has no meaning here", "--odder neither"]);
}

#[test]
fn documents_missing_empty_or_hidden_are_warned_about() {
    let (_dir, layout) = seeded();
    let todo = layout.dir().join("TODO.md");
    fs::write(&todo, "- [x] done\n").unwrap();
    assert!(find(&examined(&layout), "todo").message.contains("would end at once"));
    fs::write(&todo, "- [ ] a\n```\n- [ ] b\n").unwrap();
    assert!(find(&examined(&layout), "todo").message.contains("code fence of line 2"));
    fs::remove_file(&todo).unwrap();
    assert_eq!(find(&examined(&layout), "docs").status, Level::Warning);
}

#[test]
fn a_document_outside_is_an_error_only_with_auto_commit() {
    let (dir, layout) = seeded();
    let outside = tempfile::NamedTempFile::new().unwrap();
    let config = |auto_commit| {
        let path = outside.path().display();
        format!("docs: {{progress: '{path}'}}\ngit: {{auto_commit: {auto_commit}}}\n")
    };
    fs::write(layout.config(), config(false)).unwrap();
    assert_eq!(examined(&layout).worst(), Level::Ok);
    fs::write(layout.config(), config(true)).unwrap();
    assert_eq!(find(&examined(&layout), "docs").status, Level::Error);
    drop(dir);
}

#[test]
fn a_stale_lock_and_a_state_that_says_running_are_told() {
    let (_dir, layout) = seeded();
    fs::write(layout.lock(), "garbage").unwrap();
    let mut state = State::default();
    state.begin(1, 4711, Timestamp::now());
    state.store(&layout.state()).unwrap();
    let report = examined(&layout);
    assert_eq!(find(&report, "lock").status, Level::Warning);
    assert_eq!(find(&report, "state").status, Level::Warning);

    let record = LockRecord::of_this_process(Timestamp::now());
    let lock = OwnedLock::acquire(&layout.lock(), &record).unwrap();
    assert!(find(&examined(&layout), "state").message.contains("different owners"));
    state.begin(1, record.pid, Timestamp::now());
    state.store(&layout.state()).unwrap();
    assert_eq!(examined(&layout).worst(), Level::Ok);
    lock.release().unwrap();
    fs::write(layout.state(), "{").unwrap();
    assert_eq!(find(&examined(&layout), "state").status, Level::Error);
}

#[test]
fn old_temporary_files_are_leftovers_and_fresh_ones_are_not() {
    let (_dir, layout) = seeded();
    let path = layout.dir().join("TODO.md.tmp");
    let file = fs::File::create(&path).unwrap();
    assert_eq!(examined(&layout).worst(), Level::Ok);
    file.set_modified(SystemTime::now() - 2 * LEFTOVER_AGE).unwrap();
    assert!(find(&examined(&layout), "leftovers").message.contains("TODO.md.tmp"));
}
