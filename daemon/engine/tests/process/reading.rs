//! Following logs.

use engine::logs::{Line, LogError, LogHub, LogReader, Stream};
use engine::process::{AtOutputLimit, Launch, Limits, OutputLimit};

use crate::lab::{Lab, numbered, until};

/// All that a reader still has.
async fn rest(reader: &mut LogReader) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await.unwrap() {
        bytes.extend(chunk.bytes);
    }
    bytes
}

#[tokio::test]
async fn a_finished_log_is_read_from_any_offset() {
    let lab = Lab::new();
    lab.run(&lab.script("seq 1 100000")).await;
    let all = numbered("", 1..=100_000);
    let hub = LogHub::new();
    for from in [0, 1, 65_536, 123_456, all.len(), all.len() + 10] {
        let dir = lab.path("attempt");
        let mut reader = hub.open(&dir, Stream::Stdout, from as u64, true).await.unwrap();
        assert!(rest(&mut reader).await == all.as_bytes()[from.min(all.len())..], "from {from}");
    }
    assert_eq!(hub.watched(), 0);
}

#[tokio::test]
async fn a_follower_sees_bytes_as_they_come_and_ends_with_the_attempt() {
    let lab = Lab::new();
    let script = "printf one; while [ ! -e go ]; do sleep 0.01; done; printf two";
    let process = lab.start(&lab.script(script)).await;
    let hub = LogHub::new();
    let mut reader = hub.open(process.dir(), Stream::Stdout, 0, true).await.unwrap();
    let chunk = reader.next().await.unwrap().unwrap();
    assert_eq!((chunk.offset, chunk.bytes), (0, b"one".to_vec()));
    std::fs::write(lab.path("go"), "").unwrap();
    assert_eq!(rest(&mut reader).await, b"two");
}

#[tokio::test]
async fn a_reader_that_does_not_follow_ends_at_what_is_there() {
    let lab = Lab::new();
    let process = lab.start(&lab.script("echo up; exec sleep 1000")).await;
    until(|| (process.heartbeat().stdout_bytes == 3).then_some(())).await;
    let mut reader = LogHub::new().open(process.dir(), Stream::Stdout, 0, false).await.unwrap();
    assert_eq!(rest(&mut reader).await, b"up\n");
    process.kill();
    process.wait().await.unwrap();
}

#[tokio::test]
async fn followers_of_one_directory_share_one_watch_and_give_it_up() {
    let lab = Lab::new();
    let process = lab.start(&lab.script("exec sleep 1000")).await;
    let hub = LogHub::new();
    let first = hub.open(process.dir(), Stream::Stdout, 0, true).await.unwrap();
    let second = hub.open(process.dir(), Stream::Stderr, 0, true).await.unwrap();
    assert_eq!(hub.watched(), 1);
    drop(first);
    assert_eq!(hub.watched(), 1);
    drop(second);
    assert_eq!(hub.watched(), 0);
    process.kill();
    process.wait().await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_holds_up_neither_the_child_nor_another_reader() {
    let lab = Lab::new();
    let process = lab.start(&lab.script("seq 1 200000")).await;
    let hub = LogHub::new();
    let mut slow = hub.open(process.dir(), Stream::Stdout, 0, true).await.unwrap();
    let mut fast = hub.open(process.dir(), Stream::Stdout, 0, true).await.unwrap();
    let first = slow.next().await.unwrap().unwrap();
    let all = rest(&mut fast).await;
    process.wait().await.unwrap();
    assert!([first.bytes, rest(&mut slow).await].concat() == all);
}

#[tokio::test]
async fn a_reader_that_stops_waiting_loses_nothing() {
    let lab = Lab::new();
    let script = "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.01; done";
    let process = lab.start(&lab.script(script)).await;
    let mut reader = LogHub::new().open(process.dir(), Stream::Stdout, 0, true).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        tokio::select! {
            biased;
            chunk = reader.next() => match chunk.unwrap() {
                Some(chunk) => bytes.extend(chunk.bytes),
                None => break,
            },
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(bytes, b"1\n2\n3\n4\n5\n6\n7\n8\n9\n");
}

#[tokio::test]
async fn an_offset_that_was_dropped_leads_to_a_visible_gap() {
    let lab = Lab::new();
    let output = Some(OutputLimit { bytes: 1000, then: AtOutputLimit::DropOldest });
    let limits = Limits { output, ..Limits::default() };
    let exit = lab.run(&Launch { limits, ..lab.script("seq 1 100000") }).await;
    let dir = lab.path("attempt");
    let mut reader = LogHub::new().open(&dir, Stream::Stdout, 0, false).await.unwrap();
    let chunk = reader.next().await.unwrap().unwrap();
    assert_eq!(chunk.offset, exit.stdout.start);
    assert_eq!(chunk.bytes.len(), 1000);
    assert!(chunk.bytes.ends_with(b"99999\n100000\n"));
}

#[tokio::test]
async fn a_log_that_never_was_is_an_error() {
    let lab = Lab::new();
    let opened = LogHub::new().open(&lab.path("nowhere"), Stream::Stdout, 0, true).await;
    assert!(matches!(opened, Err(LogError::NoAttempt { .. })));
}

#[tokio::test]
async fn lines_of_both_streams_come_in_the_order_in_which_they_were_written() {
    let lab = Lab::new();
    // Each waits until the line before has been captured, as a person who watches would.
    let script = "await() { while [ \"$(cat attempt/$1)\" != \"$2\" ]; do :; done; }; \
                  echo one; await stdout one; \
                  echo two >&2; await stderr two; \
                  printf thr; await stdout 'one
thr'; \
                  echo four >&2; await stderr 'two
four'; \
                  printf 'ee\\nlast'";
    let process = lab.start(&lab.script(script)).await;
    let mut reader = LogHub::new().open_lines(process.dir(), true).await.unwrap();
    let mut lines: Vec<Line> = Vec::new();
    while let Some(line) = reader.next().await.unwrap() {
        lines.push(line);
    }
    let shown: Vec<_> = lines
        .iter()
        .map(|line| {
            (line.stream, String::from_utf8_lossy(&line.bytes).into_owned(), line.offset, line.complete)
        })
        .collect();
    let expected = [
        (Stream::Stdout, "one", 0, true),
        (Stream::Stderr, "two", 0, true),
        (Stream::Stderr, "four", 4, true),
        (Stream::Stdout, "three", 4, true),
        (Stream::Stdout, "last", 10, false),
    ];
    assert_eq!(shown, expected.map(|(stream, text, at, whole)| (stream, text.to_owned(), at, whole)));
    assert!(lines.is_sorted_by_key(|line| line.time));
}

#[tokio::test]
async fn arrivals_are_complete_and_in_order_while_they_come() {
    let lab = Lab::new();
    let script = "i=0; while [ $i -lt 3000 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done";
    let process = lab.start(&lab.script(script)).await;
    let mut reader = LogHub::new().open_arrivals(process.dir(), true).await.unwrap();
    let mut streams = [Vec::new(), Vec::new()];
    while let Some(arrival) = reader.next().await.unwrap() {
        let stream = &mut streams[usize::from(arrival.stream == Stream::Stderr)];
        assert_eq!(arrival.offset, stream.len() as u64);
        stream.extend(arrival.bytes);
    }
    for (stream, word) in streams.iter().zip(["out", "err"]) {
        let expected = numbered(word, 0..3000);
        assert!(stream == expected.as_bytes());
    }
}
