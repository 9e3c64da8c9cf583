//! Following sessions as they are written, told with real files.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod home;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use home::{Home, id, until};
use trace::session::Format;
use trace::tail::{Problem, RootState};
use trace::{Catalog, Hint, Hints, Settings, Tail};

/// A tail of some homes, scanned for the first time.
struct Followed {
    catalog: Arc<Catalog>,
    tail: Tail,
    hints: Hints,
    /// What was told until the first scan was done.
    at_start: Vec<Problem>,
}

/// Only events and what they lead to make hints: the next scan is far away.
fn by_events() -> Settings {
    Settings { rescan_every: Duration::from_hours(1), ..Settings::default() }
}

fn by_polling() -> Settings {
    Settings { polling: true, poll_every: Duration::from_millis(10), ..Settings::default() }
}

fn follow(home: &Home, settings: Settings) -> Followed {
    follow_all(vec![home.root()], settings)
}

fn follow_all(homes: Vec<PathBuf>, settings: Settings) -> Followed {
    let catalog = Arc::new(Catalog::new(homes));
    let (tail, hints) = Tail::start(Arc::clone(&catalog), settings).unwrap();
    let mut followed = Followed { catalog, tail, hints, at_start: Vec::new() };
    while let Some(hint) = followed.hints.recv_timeout(Duration::from_secs(20)) {
        match hint {
            Hint::Problem(problem) => followed.at_start.push(problem),
            Hint::Rescan => break,
            Hint::Session(_) => {}
        }
    }
    // What was found is watched as soon as the scan was told of.
    until(|| followed.tail.status().scan);
    until(|| (followed.tail.status().watched > 0 || followed.polls()).then_some(()));
    followed
}

impl Followed {
    fn expect(&self, wanted: impl Fn(&Hint) -> bool) -> Hint {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut others = Vec::new();
        while let Some(hint) = self.hints.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if wanted(&hint) {
                return hint;
            }
            others.push(hint);
        }
        panic!("it did not come; there came {others:?}; {:?}", self.tail.status());
    }

    fn session(&self, name: &str) {
        self.expect(|hint| *hint == Hint::Session(id(name)));
    }

    /// Takes hints of a session until looking at it gives this.
    fn session_until(&self, name: &str, right: impl Fn(Option<u64>) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !right(self.catalog.look(&id(name)).map(|source| source.bytes())) {
            assert!(Instant::now() < deadline);
            self.session(name);
        }
    }

    fn polls(&self) -> bool {
        self.tail.status().roots.iter().any(|root| matches!(root.state, RootState::Polled(_)))
    }

    fn drain(&self) {
        while self.hints.try_recv().is_some() {}
    }
}

#[test]
fn everything_that_is_there_is_told_at_first() {
    let home = Home::new();
    home.segment("a", 0, "{}\n");
    home.rollout("b", "{}\n");
    let (_tail, hints) = Tail::start(Arc::new(home.catalog()), by_events()).unwrap();
    let told: HashSet<Hint> =
        std::iter::from_fn(|| hints.recv()).take_while(|hint| *hint != Hint::Rescan).collect();
    assert_eq!(told, HashSet::from([Hint::Session(id("a")), Hint::Session(id("b"))]));
}

#[test]
fn an_append_is_told() {
    let home = Home::new();
    home.segment("a", 0, "{}\n");
    home.rollout("b", "{}\n");
    let followed = follow(&home, by_events());
    assert_eq!(followed.catalog.ids().len(), 2);

    home.append_segment("a", 0, "{}\n");
    followed.session("a");

    home.append("sessions/2026/03/02/rollout-2026-03-02T08-00-00-b.jsonl", "{}\n");
    followed.session("b");
}

#[test]
fn rotation_truncation_replacement_and_deletion_are_told() {
    let home = Home::new();
    home.segment("a", 0, "{}\n{}\n");
    let followed = follow(&home, by_events());

    home.segment("a", 1, "[]\n");
    followed.session_until("a", |bytes| bytes == Some(9));

    fs::File::create(home.path("trace_spine/a/segment-001.jsonl")).unwrap();
    followed.session_until("a", |bytes| bytes == Some(6));

    home.write("new", "{}\n");
    fs::rename(home.path("new"), home.path("trace_spine/a/segment-000.jsonl")).unwrap();
    followed.session_until("a", |bytes| bytes == Some(3));

    fs::remove_dir_all(home.path("trace_spine/a")).unwrap();
    followed.session_until("a", |bytes| bytes.is_none());
    until(|| followed.catalog.ids().is_empty().then_some(()));
}

#[test]
fn a_file_made_at_once_in_a_new_directory_is_told() {
    let home = Home::new();
    fs::create_dir_all(home.path("trace_spine")).unwrap();
    fs::create_dir_all(home.path("sessions")).unwrap();
    let followed = follow(&home, by_events());

    for number in 0..50 {
        home.segment(&format!("s{number}"), 0, "{}\n");
        followed.session(&format!("s{number}"));
        let (month, day) = (number / 28 + 10, number % 28 + 1);
        home.write(
            &format!("sessions/20{number:02}/{month}/{day:02}/rollout-2026-03-02T08-00-00-r{number}.jsonl"),
            "{}\n",
        );
        followed.session(&format!("r{number}"));
        assert_eq!(followed.catalog.look(&id(&format!("r{number}"))).unwrap().format, Format::Rollout);
    }
}

#[test]
fn an_archived_rollout_is_told_and_found() {
    let home = Home::new();
    home.rollout("a", "{}\n");
    fs::create_dir_all(home.path("archived_sessions")).unwrap();
    let followed = follow(&home, by_events());

    let name = home.rollout_path("a").file_name().unwrap().to_owned();
    fs::rename(home.rollout_path("a"), home.path("archived_sessions").join(name)).unwrap();

    followed.session("a");
    until(|| followed.catalog.look(&id("a")).filter(|source| source.archived));
}

#[test]
fn roots_may_come_later_and_so_may_the_home() {
    let parent = Home::new();
    let followed = follow_all(vec![parent.path("deep/down/home")], by_events());
    assert!(followed.tail.status().roots.iter().all(|root| root.state == RootState::Absent));

    parent.write("deep/down/home/config.toml", "");
    parent.write("deep/down/home/trace_spine/a/segment-000.jsonl", "{}\n");
    followed.session("a");
    parent.write("deep/down/home/sessions/2026/03/02/rollout-2026-03-02T08-00-00-b.jsonl", "{}\n");
    followed.session("b");

    parent.append("deep/down/home/trace_spine/a/segment-000.jsonl", "{}\n");
    followed.session_until("a", |bytes| bytes == Some(6));
    parent.append("deep/down/home/sessions/2026/03/02/rollout-2026-03-02T08-00-00-b.jsonl", "{}\n");
    followed.session_until("b", |bytes| bytes == Some(6));
}

#[test]
fn a_linked_root_is_followed_and_noticed_when_it_leads_elsewhere() {
    let (home, first, second) = (Home::new(), Home::new(), Home::new());
    first.segment("a", 0, "{}\n");
    second.segment("b", 0, "{}\n");
    symlink(first.path("trace_spine"), home.path("trace_spine")).unwrap();
    let followed = follow(&home, by_events());

    first.append_segment("a", 0, "{}\n");
    followed.session("a");

    fs::remove_file(home.path("trace_spine")).unwrap();
    symlink(second.path("trace_spine"), home.path("trace_spine")).unwrap();
    followed.session_until("b", |bytes| bytes == Some(3));
    followed.session_until("a", |bytes| bytes.is_none());

    second.append_segment("b", 0, "{}\n");
    followed.session_until("b", |bytes| bytes == Some(6));
}

#[test]
fn a_root_that_is_replaced_is_followed_again() {
    let home = Home::new();
    home.segment("a", 0, "{}\n");
    let followed = follow(&home, by_events());

    fs::rename(home.path("trace_spine"), home.path("old")).unwrap();
    home.segment("b", 0, "{}\n");
    followed.session("b");
    until(|| (followed.catalog.ids() == [id("b")]).then_some(()));

    followed.drain();
    home.append_segment("b", 0, "{}\n");
    followed.session_until("b", |bytes| bytes == Some(6));
}

#[test]
fn a_permission_that_returns_is_noticed() {
    let home = Home::new();
    home.segment("a", 0, "{}\n");
    let directory = home.path("trace_spine/a");
    let mode = |mode| fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
    home.for_all();
    home::as_somebody(|| {
        mode(0o000);
        let followed = follow(&home, by_events());
        assert!(followed.catalog.look(&id("a")).is_none());

        mode(0o755);
        followed.session_until("a", |bytes| bytes == Some(3));

        home.append_segment("a", 0, "{}\n");
        followed.session_until("a", |bytes| bytes == Some(6));
    });
}

#[test]
fn a_resumed_session_of_an_old_day_is_found_by_a_scan_and_watched_from_then_on() {
    let home = Home::new();
    let old = "sessions/2020/01/01/rollout-2020-01-01T08-00-00-old.jsonl";
    home.write(old, "{}\n");
    home.rollout("new", "{}\n");
    let followed = follow(&home, Settings { watches: 4, ..by_events() });

    home.append(old, "{}\n");
    followed.tail.rescan();
    followed.session("old");
    home.append(old, "{}\n");
    followed.session_until("old", |bytes| bytes == Some(9));
    // The home, the root, and what the budget allows.
    assert!(followed.tail.status().watched <= 2 + 4);
}

#[test]
fn more_directories_than_watches_are_looked_at_every_so_often() {
    let home = Home::new();
    for number in 0..60 {
        home.segment(&format!("s{number}"), 0, "{}\n");
    }
    let followed =
        follow(&home, Settings { watches: 5, poll_every: Duration::from_millis(10), ..by_events() });
    let status = until(|| Some(followed.tail.status()).filter(|status| status.polled > 0));
    // The home, above each root, and the root that there is.
    assert_eq!((status.watched, status.polled), (2 + 5, 60 - 5));

    for number in 0..60 {
        home.append_segment(&format!("s{number}"), 0, "{}\n");
    }
    for number in 0..60 {
        followed.session_until(&format!("s{number}"), |bytes| bytes == Some(6));
    }
}

#[test]
fn without_events_everything_is_still_told() {
    let home = Home::new();
    home.segment("a", 0, "{}\n");
    let followed = follow(&home, by_polling());
    assert!(matches!(followed.at_start[..], [Problem::Polled { .. }]), "{:?}", followed.at_start);
    assert_eq!(followed.tail.status().watched, 0);

    home.append_segment("a", 0, "{}\n");
    followed.session("a");
    home.segment("b", 0, "{}\n");
    followed.session("b");
    home.rollout("c", "{}\n");
    followed.session("c");
    fs::remove_dir_all(home.path("trace_spine/a")).unwrap();
    followed.session_until("a", |bytes| bytes.is_none());
}

#[test]
fn reading_makes_no_hints() {
    let home = Home::new();
    home.segment("read", 0, "{}\n");
    home.segment("written", 0, "{}\n");
    let followed = follow(&home, by_events());
    followed.drain();

    fs::read(home.path("trace_spine/read/segment-000.jsonl")).unwrap();
    home.append_segment("written", 0, "{}\n");

    assert_eq!(followed.hints.recv_timeout(Duration::from_secs(20)), Some(Hint::Session(id("written"))));
}

#[test]
fn a_stopped_tail_ends_its_hints() {
    let home = Home::new();
    let Followed { tail, hints, .. } = follow(&home, by_events());
    drop(tail);
    while hints.recv().is_some() {}
}

/// Runs the test below in a user namespace of its own, whose limit of watches it can lower.
#[test]
#[cfg(target_os = "linux")]
fn where_the_system_gives_no_more_watches_directories_are_looked_at_every_so_often() {
    let lower = "echo 6 > /proc/sys/user/max_inotify_watches && exec \"$0\" --ignored --test-threads 1 inside_of_a_low_limit";
    let inside = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", lower])
        .arg(std::env::current_exe().unwrap())
        .output();
    let Ok(inside) = inside else { return eprintln!("skipped: no unshare") };
    let told =
        String::from_utf8_lossy(&inside.stdout).into_owned() + &String::from_utf8_lossy(&inside.stderr);
    if told.contains("unshare failed") || told.contains("Permission denied") {
        return eprintln!("skipped: no user namespaces: {told}");
    }
    assert!(inside.status.success() && told.contains("2 passed"), "{told}");
}

#[test]
#[ignore = "run by the one above"]
fn inside_of_a_low_limit() {
    let home = Home::new();
    for number in 0..20 {
        home.segment(&format!("s{number}"), 0, "{}\n");
    }
    let followed = follow(&home, Settings { poll_every: Duration::from_millis(10), ..by_events() });
    followed.expect(|hint| matches!(hint, Hint::Problem(Problem::WatchLimit { watched: 6 })));
    for number in 0..20 {
        home.append_segment(&format!("s{number}"), 0, "{}\n");
    }
    for number in 0..20 {
        followed.session_until(&format!("s{number}"), |bytes| bytes == Some(6));
    }
}

#[test]
#[ignore = "run by the one above"]
fn inside_of_a_low_limit_that_is_reached_later() {
    let home = Home::new();
    home.segment("s0", 0, "{}\n");
    let followed = follow(&home, by_events());
    // When what is in use has been looked at for the first time.
    until(|| Some(followed.tail.status()).filter(|status| status.watched == 3 && status.scan.is_some()));
    for number in 1..20 {
        home.segment(&format!("s{number}"), 0, "{}\n");
    }
    followed.expect(|hint| matches!(hint, Hint::Problem(Problem::WatchLimit { watched: 6 })));
}

#[test]
fn a_bundle_that_appears_and_grows_is_told_of() {
    let thread = "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11";
    let home = Home::new();
    fs::create_dir(home.path("rollout_trace")).unwrap();
    let followed = follow(&home, by_events());
    let events = format!("rollout_trace/trace-1fed7b2e-6ecb-4573-9f3b-97e4d6b84bcd-{thread}/trace.jsonl");
    let last = "{\"payload\":{\"type\":\"recording_completed\"}}\n";
    home.write(&events, last);
    followed.session_until(thread, |bytes| bytes == Some(last.len() as u64));
    assert_eq!(followed.catalog.look(&id(thread)).unwrap().format, Format::Bundle);
    home.append(&events, last);
    followed.session_until(thread, |bytes| bytes == Some(2 * last.len() as u64));
    fs::remove_dir_all(home.path("rollout_trace")).unwrap();
    followed.session_until(thread, |bytes| bytes.is_none());
}
