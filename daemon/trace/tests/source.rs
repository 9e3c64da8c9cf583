//! Finding sessions below a Codex home, told with real files.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod home;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use home::{Home, id, until};
use trace::SessionId;
use trace::recording::ORIGINATOR;
use trace::session::Format;
use trace::source::{Catalog, Scan, Store, Trouble};

/// Scans, and returns what changed, in order of their ids.
fn scanned(catalog: &Catalog) -> (Vec<String>, Scan) {
    let mut changed = Vec::new();
    let scan = catalog.scan(&mut |id| changed.push(id.to_string()));
    changed.sort();
    (changed, scan)
}

#[test]
fn spines_and_rollouts_are_found_and_foreign_files_are_counted() {
    let home = Home::new();
    home.segment("a", 0, "{}\n");
    home.write("trace_spine/a/segment-000.meta.json", "{}");
    home.write("trace_spine/a/artifacts/git_diff.patch", "");
    home.write("trace_spine/a/notes.txt", "");
    home.write("trace_spine/README", "");
    home.write("sessions/2026/03/02/rollout-2026-03-02T08-00-00-b.jsonl", "{}\n");
    home.write("sessions/2026/03/02/core", "");
    home.write("sessions/lost+found/x", "");
    home.write("archived_sessions/rollout-2026-03-01T08-00-00-c.jsonl", "{}\n");
    home.write("archived_sessions/2026/03/01/rollout-2026-03-01T09-00-00-d.jsonl", "{}\n");
    let catalog = home.catalog();

    let (changed, scan) = scanned(&catalog);

    assert_eq!(changed, ["a", "b", "c", "d"]);
    assert_eq!((scan.files, scan.foreign), (4, 4));
    assert_eq!(scan.findings, []);
    let source = |name| catalog.source(&id(name)).unwrap();
    assert_eq!((source("a").format, source("b").format), (Format::Spine, Format::Rollout));
    assert_eq!((source("b").archived, source("c").archived, source("d").archived), (false, true, true));
    assert_eq!(source("a").directory, home.path("trace_spine/a"));
}

#[test]
fn of_a_single_path_only_the_sessions_there_are_looked_at() {
    let home = Home::new();
    let day = "sessions/2026/03/02";
    let bundle = "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11";
    home.segment("a", 0, "{}\n");
    home.segment("b", 0, "{}\n");
    for name in ["c", "d"] {
        home.write(&format!("{day}/rollout-2026-03-02T08-00-00-{name}.jsonl"), "{}\n");
    }
    home.write("archived_sessions/rollout-2026-03-01T08-00-00-e.jsonl", "{}\n");
    home.write(&format!("{day}/lost/rollout-2026-03-02T08-00-00-f.jsonl"), "{}\n");
    home.write(&format!("rollout_trace/trace-{bundle}-{bundle}/trace.jsonl"), "{}\n");
    for (path, expected) in [
        ("trace_spine/a", &["a"][..]),
        ("trace_spine/b/segment-000.jsonl", &["b"]),
        ("trace_spine", &["a", "b"]),
        (&format!("{day}/rollout-2026-03-02T08-00-00-c.jsonl"), &["c"]),
        (day, &["c", "d"]),
        ("sessions", &["c", "d"]),
        ("archived_sessions/rollout-2026-03-01T08-00-00-e.jsonl", &["e"]),
        (&format!("rollout_trace/trace-{bundle}-{bundle}/trace.jsonl"), &[bundle]),
        (&format!("{day}/rollout-2026-03-02T08-00-00-gone.jsonl"), &[]),
        (&format!("{day}/lost"), &[]),
        ("trace_spine/gone", &[]),
        ("log", &[]),
    ] {
        let catalog = home.catalog();
        let found = catalog.look_at(&home.path(path));
        assert_eq!(found.iter().map(SessionId::as_str).collect::<Vec<_>>(), expected, "{path}");
        let mut known = catalog.ids();
        known.sort();
        assert_eq!(known, found, "{path}: nothing else was looked at");
        // What is known already is found as well.
        assert_eq!(catalog.look_at(&home.path(path)), found, "{path}");
    }
}

#[test]
fn a_path_leads_to_the_codex_home_that_it_lies_in() {
    for (path, expected) in [
        ("/sessions/ada/.codex/sessions/2026/03/02/x.jsonl", Some((Store::Rollouts, "/sessions/ada/.codex"))),
        ("/home/ada/.codex/trace_spine/t/segment-000.jsonl", Some((Store::Spines, "/home/ada/.codex"))),
        ("/home/ada/.codex/rollout_trace", Some((Store::Bundles, "/home/ada/.codex"))),
        ("/home/ada/.codex", None),
        ("/", None),
    ] {
        let expected = expected.map(|(store, home)| (store, home.into()));
        assert_eq!(Store::around(Path::new(path)), expected, "{path}");
    }
}

#[test]
fn segments_come_in_numeric_order() {
    let home = Home::new();
    for index in [1000, 2, 999, 0] {
        home.segment("a", index, "{}\n");
    }

    let source = home.catalog().look(&id("a")).unwrap();

    assert_eq!(source.files.iter().map(|file| file.index).collect::<Vec<_>>(), [0, 2, 999, 1000]);
    assert_eq!(source.bytes(), 12);
}

#[test]
fn a_spine_of_codex_comes_before_its_rollout_and_a_recorded_one_after() {
    let home = Home::new();
    for (name, originator) in [("codex", "codex_exec"), ("ours", ORIGINATOR)] {
        let meta =
            format!(r#"{{"type":"session_meta","payload":{{"id":"{name}","originator":"{originator}"}}}}"#);
        home.segment(name, 0, &format!("{meta}\n"));
        home.rollout(name, "{}\n");
    }
    let catalog = home.catalog();
    scanned(&catalog);

    assert_eq!(catalog.source(&id("codex")).unwrap().format, Format::Spine);
    assert_eq!(catalog.source(&id("ours")).unwrap().format, Format::Rollout);

    fs::remove_file(home.rollout_path("ours")).unwrap();
    assert_eq!(catalog.look(&id("ours")).unwrap().format, Format::Spine);
}

#[test]
fn a_spine_whose_first_line_is_not_whole_waits_behind_its_rollout() {
    let home = Home::new();
    home.segment("a", 0, r#"{"type":"session_meta","payl"#);
    home.rollout("a", "{}\n");
    let catalog = home.catalog();
    scanned(&catalog);
    assert_eq!(catalog.look(&id("a")).unwrap().format, Format::Rollout);

    home.append_segment("a", 0, "oad\":{\"originator\":\"codex_exec\"}}\n");

    assert_eq!(catalog.look(&id("a")).unwrap().format, Format::Spine);
}

#[test]
fn what_a_scan_has_just_seen_is_not_looked_at_again_once() {
    let home = Home::new();
    home.segment("a", 0, "{}\n");
    home.rollout("b", "{}\n");
    let catalog = home.catalog();
    scanned(&catalog);
    home.append_segment("a", 0, "{}\n");
    fs::write(home.rollout_path("b"), "{}\n{}\n").unwrap();
    let bytes = |name| catalog.look_unless_scanned(&id(name)).unwrap().bytes();

    assert_eq!((bytes("a"), bytes("b")), (3, 3));
    assert_eq!((bytes("a"), bytes("b")), (6, 6));
    // What is not known is looked for.
    home.segment("c", 0, "{}\n");
    assert_eq!(bytes("c"), 3);
}

#[test]
fn a_second_look_tells_only_what_changed() {
    let home = Home::new();
    home.segment("grows", 0, "{}\n");
    home.segment("rotates", 0, "{}\n");
    home.segment("shrinks", 0, "{}\n{}\n");
    home.segment("stays", 0, "{}\n");
    home.segment("goes", 0, "{}\n");
    home.rollout("moved", "{}\n");
    home.rollout("removed", "{}\n");
    let catalog = home.catalog();
    scanned(&catalog);
    assert_eq!(scanned(&catalog).0, Vec::<String>::new());

    home.append_segment("grows", 0, "{}\n");
    home.segment("rotates", 1, "");
    home.segment("shrinks", 0, "{}\n");
    home.rollout("new", "{}\n");
    fs::remove_dir_all(home.path("trace_spine/goes")).unwrap();
    fs::create_dir_all(home.path("archived_sessions")).unwrap();
    let name = home.rollout_path("moved").file_name().unwrap().to_owned();
    fs::rename(home.rollout_path("moved"), home.path("archived_sessions").join(name)).unwrap();
    fs::remove_file(home.rollout_path("removed")).unwrap();

    assert!(catalog.look(&id("moved")).unwrap().archived);
    let mut changed = scanned(&catalog).0;
    changed.dedup();
    assert_eq!(changed, ["goes", "grows", "moved", "new", "removed", "rotates", "shrinks"]);
    assert!(catalog.source(&id("goes")).is_none() && catalog.look(&id("removed")).is_none());
    assert!(catalog.source(&id("moved")).unwrap().archived);
}

#[test]
fn a_replaced_file_has_another_identity_and_is_not_opened_as_the_old_one() {
    let home = Home::new();
    home.segment("a", 0, "{}\n");
    let catalog = home.catalog();
    let before = catalog.look(&id("a")).unwrap();
    home.write("new", "[]\n");
    fs::rename(home.path("new"), home.path("trace_spine/a/segment-000.jsonl")).unwrap();

    let after = catalog.look(&id("a")).unwrap();

    assert_ne!(before.files[0].identity, after.files[0].identity);
    assert!(before.files[0].open().is_err() && after.files[0].open().is_ok());
}

#[test]
fn nothing_is_listed_again_where_nothing_changed() {
    let home = Home::new();
    for number in 0..50 {
        home.segment(&format!("s{number}"), 0, "{}\n");
        home.rollout(&format!("r{number}"), "{}\n");
    }
    let catalog = Catalog::new(vec![home.root()]).with_clock_margin(Duration::from_millis(50));

    let scan = until(|| Some(scanned(&catalog).1).filter(|scan| scan.listings == 0));

    // 50 segments, their directories and 50 rollouts, the directories of a day and the roots; two absent ones.
    assert_eq!(scan.stats, 50 + 50 + 50 + 4 + 1 + 2);
    assert_eq!(scan.files, 100);
}

#[test]
fn a_linked_root_is_followed_and_a_link_that_leaves_it_is_not() {
    let elsewhere = Home::new();
    elsewhere.segment("a", 0, "{}\n");
    elsewhere.segment("b", 0, "{}\n");
    elsewhere.write("secret/segment-000.jsonl", "{}\n");
    symlink(elsewhere.path("secret"), elsewhere.path("trace_spine/leaves")).unwrap();
    symlink(elsewhere.path("secret/segment-000.jsonl"), elsewhere.path("trace_spine/a/segment-001.jsonl"))
        .unwrap();
    symlink("../a/segment-000.jsonl", elsewhere.path("trace_spine/b/segment-001.jsonl")).unwrap();
    let home = Home::new();
    symlink(elsewhere.path("trace_spine"), home.path("trace_spine")).unwrap();
    let catalog = home.catalog();

    let (changed, scan) = scanned(&catalog);

    assert_eq!(changed, ["a", "b"]);
    assert_eq!(scan.findings.iter().filter(|finding| finding.trouble == Trouble::LeavesRoot).count(), 2);
    assert_eq!(catalog.source(&id("a")).unwrap().files.len(), 1);
    assert_eq!(catalog.source(&id("b")).unwrap().files.len(), 2);
    assert_eq!(catalog.source(&id("a")).unwrap().files[0].path, home.path("trace_spine/a/segment-000.jsonl"));
}

#[test]
fn a_pipe_with_the_name_of_a_segment_blocks_nobody() {
    let home = Home::new();
    home.segment("a", 0, "{}\n");
    nix::unistd::mkfifo(&home.path("trace_spine/a/segment-001.jsonl"), nix::sys::stat::Mode::S_IRWXU)
        .unwrap();
    let catalog = home.catalog();

    let (_, scan) = scanned(&catalog);

    assert_eq!(scan.findings[0].trouble, Trouble::Special);
    assert_eq!(catalog.source(&id("a")).unwrap().files.len(), 1);
}

#[test]
fn a_directory_that_cannot_be_read_is_a_finding_until_it_can() {
    let home = Home::new();
    home.segment("a", 0, "{}\n");
    home.segment("b", 0, "{}\n");
    let directory = home.path("trace_spine/a");
    let mode = |mode| fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
    home.for_all();
    let catalog = home.catalog();
    home::as_somebody(|| {
        mode(0o000);
        let (changed, scan) = scanned(&catalog);
        assert_eq!(changed, ["b"]);
        assert!(matches!(scan.findings[0].trouble, Trouble::Unreadable(_)), "{:?}", scan.findings);

        mode(0o755);
        assert_eq!(scanned(&catalog).0, ["a"]);

        mode(0o000);
        home.append_segment("b", 0, "{}\n");
        assert_eq!(scanned(&catalog).0, ["b"]);
        assert!(catalog.look(&id("a")).is_some(), "what was known stays known");
        mode(0o755);
    });
}

#[test]
fn of_two_homes_with_the_same_session_the_first_counts() {
    let (first, second) = (Home::new(), Home::new());
    first.segment("a", 0, "{}\n");
    second.segment("a", 0, "{}\n{}\n");
    second.segment("b", 0, "{}\n");
    let catalog = Catalog::new(vec![first.root(), second.root()]);

    let (changed, scan) = scanned(&catalog);

    assert_eq!(changed, ["a", "b"]);
    assert_eq!(catalog.source(&id("a")).unwrap().home, first.root());
    assert_eq!(scan.findings[0].trouble, Trouble::Duplicate(id("a")));
}

#[test]
fn a_home_that_is_not_there_is_empty_and_may_appear() {
    let home = Home::new();
    let catalog = Catalog::new(vec![home.path("later")]);
    assert_eq!(scanned(&catalog).0, Vec::<String>::new());

    home.write("later/trace_spine/a/segment-000.jsonl", "{}\n");
    assert_eq!(scanned(&catalog).0, ["a"]);

    fs::rename(home.path("later"), home.path("away")).unwrap();
    assert_eq!(scanned(&catalog).0, ["a"]);
    assert!(catalog.look(&id("a")).is_none() && catalog.ids().is_empty());
}
