//! What was acknowledged survives a kill at any moment.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use engine::store::Batch;
use tempfile::tempdir;

use super::{Named, Note, Numbered, open, rows};

const DIRECTORY: &str = "STORE_TEST_KILLED_CHILD";
const ROUNDS: u64 = 24;
const WRITERS: u8 = 4;

/// Not a test by itself: what the killed process runs. Each writer counts up; a batch holds the count twice,
/// and what is acknowledged is printed.
#[tokio::test]
#[ignore = "is run by the test below, in a process of its own"]
async fn child_that_commits_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = open(Path::new(&directory));
    let start = rows::<Numbered>(&store).last().map_or(0, |(number, _)| number + 1);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            for number in (start + u64::from(writer)..).step_by(WRITERS.into()) {
                let mut batch = Batch::new();
                // Some rows are so large that sled spills their pages.
                let size = if number % 7 == 0 { 8000 } else { 20 };
                let note = Note::new(format!("{number:0>size$}"));
                batch.put::<Numbered>(&number, &note);
                batch.put::<Named>(&(format!("writer {writer}"), number), &note);
                store.write(batch).await.unwrap();
                let line = format!("acknowledged {number} {writer}\n");
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        });
    }
    writers.join_next().await.unwrap().unwrap();
}

fn start_child(directory: &Path) -> Child {
    let test = "kill::child_that_commits_until_it_is_killed";
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", test])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The numbers that a line acknowledges, if it was written to its end.
fn acknowledged(line: &str) -> Option<(u64, u64)> {
    let (number, writer) = line.strip_suffix('\n')?.strip_prefix("acknowledged ")?.split_once(' ')?;
    Some((number.parse().ok()?, writer.parse().ok()?))
}

#[test]
fn every_acknowledged_batch_survives_a_kill_and_no_batch_is_torn() {
    let directory = tempdir().unwrap();
    let mut promised = HashSet::new();
    for round in 0..ROUNDS {
        let mut child = start_child(directory.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        // The first kills come while the store is being opened or created.
        let until = if round % 8 == 0 { 0 } else { round * 31 % 170 + 1 };
        let mut line = String::new();
        let mut seen = 0;
        while seen < until {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the child ended by itself in round {round}");
            if let Some(pair) = acknowledged(&line) {
                promised.insert(pair);
                seen += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it was killed counts as well.
        for line in lines.lines() {
            promised.extend(acknowledged(&format!("{}\n", line.unwrap())));
        }

        let store = open(directory.path());
        let whole: HashSet<_> =
            rows::<Numbered>(&store).into_iter().map(|(key, note)| (key, note.text)).collect();
        let halves = rows::<Named>(&store);
        let named: HashSet<_> =
            halves.iter().map(|((_, number), note)| (*number, note.text.clone())).collect();
        assert_eq!(whole, named, "round {round}: a batch is torn");
        let present: HashSet<_> = halves
            .iter()
            .map(|((name, number), _)| (*number, name["writer ".len()..].parse().unwrap()))
            .collect();
        assert!(promised.is_subset(&present), "round {round}: an acknowledged batch is missing");
        store.close().unwrap();
    }
    assert!(promised.len() > 500, "the children did commit");
}
