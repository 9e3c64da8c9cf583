//! From the write of a record to its signal in a watching client, while 200 sessions are written.
//!
//! Beside it, in the same moments, what the kernel alone needs: from the same write to the wake-up of a thread
//! that waits for inotify on that directory.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::inotify;
use spindle_client::v1::WatchSignalsRequest;
use tempfile::TempDir;

use crate::Bench;
use crate::home::Home;
use crate::samples::Samples;
use crate::sessions::ingest;
use crate::table::{Row, Target, Unit};

/// Sessions that are written all the time, each so often.
const WRITTEN: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);
/// Sessions that a signal comes from now and then.
const PROBED: usize = 20;
const PROBES: usize = 600;
const BETWEEN: Duration = Duration::from_millis(15);
/// No signal takes longer, or it does not come.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let codex = tempfile::Builder::new().prefix("bench-codex-").tempdir_in(&bench.scratch)?;
    let written = spines(&codex, 0..WRITTEN)?;
    let probed = spines(&codex, WRITTEN..WRITTEN + PROBED)?;
    let home = Home::reading(bench, codex.path())?;
    let daemon = home.start()?;
    let client = daemon.connect().await?;
    ingest(&client).await?;

    let probes = Probes::default();
    let mut changes = client.signals().watch_signals(WatchSignalsRequest::default()).await?.into_inner();
    let seen = {
        let probes = probes.clone();
        tokio::spawn(async move {
            while let Ok(Some(change)) = changes.message().await {
                let now = Instant::now();
                let signal = change.signal.unwrap_or_default();
                if let Some(seq) = signal.seq_start {
                    probes.told(&signal.session_id, seq, now);
                }
            }
        })
    };
    let stop = Arc::new(AtomicBool::new(false));
    let crowd = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || keep_writing(written, &stop)
    });
    let bare = tokio::task::spawn_blocking({
        let probes = probes.clone();
        move || probe(probed, &probes)
    });
    let bare = bare.await??;
    let deadline = Instant::now() + PATIENCE;
    while probes.open() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    seen.abort();
    crowd.join().map_err(|_| anyhow::anyhow!("the writing thread has failed"))??;
    ensure!(probes.open() == 0, "{} of {PROBES} signals did not come", probes.open());

    let ours = probes.latencies();
    let row = |percent| {
        Row::new(
            format!("record to signal, 200 written, p{percent}"),
            Unit::Seconds,
            ours.percentile(percent),
        )
        .against("from the same write to a bare inotify wake-up", bare.percentile(percent))
    };
    Ok(vec![row(50), row(99).aiming(Target::AtMost(0.01))])
}

/// Writes that a signal is waited for, and how long those took that have come.
#[derive(Clone, Default)]
struct Probes(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    begun: HashMap<(String, u64), Instant>,
    done: Samples,
}

impl Probes {
    fn begin(&self, session: &str, seq: u64) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.begun.insert((session.to_owned(), seq), Instant::now());
    }

    fn told(&self, session: &str, seq: u64, now: Instant) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(begun) = open.begun.remove(&(session.to_owned(), seq)) {
            open.done.add(now.saturating_duration_since(begun));
        }
    }

    fn open(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).begun.len()
    }

    fn latencies(&self) -> Samples {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).done.clone()
    }
}

/// A spine that is being written.
struct Spine {
    thread: String,
    file: File,
    seq: u64,
}

impl Spine {
    /// Appends records in one write.
    fn write(&mut self, payloads: &[(&str, String)]) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let time = jiff::Timestamp::new(i64::try_from(now.as_secs())?, i32::try_from(now.subsec_nanos())?)?;
        let mut lines = String::new();
        for (kind, payload) in payloads {
            self.seq += 1;
            let Self { thread, seq, .. } = self;
            // A String takes everything.
            let _ = writeln!(
                lines,
                "{{\"schema_version\":\"codex_trace_spine_v1\",\"thread_id\":\"{thread}\",\"seq\":{seq},\
                 \"timestamp\":\"{time:.3}\",\"type\":\"{kind}\",\"payload\":{payload}}}"
            );
        }
        Ok(self.file.write_all(lines.as_bytes())?)
    }

    fn event(msg: &str) -> (&'static str, String) {
        ("event", format!("{{\"id\":\"0\",\"msg\":{msg}}}"))
    }
}

/// Spines of sessions in their first turn.
fn spines(codex: &TempDir, numbers: std::ops::Range<usize>) -> Result<Vec<Spine>> {
    numbers
        .map(|number| {
            let thread = format!("01930f5e-77aa-7c01-9b1d-{number:012}");
            let directory = codex.path().join("trace_spine").join(&thread);
            fs::create_dir_all(&directory)?;
            let file = File::create_new(directory.join("segment-000.jsonl"))?;
            let meta = format!("{{\"id\":\"{thread}\",\"cwd\":\"/srv/app\",\"source\":\"cli\"}}");
            let turn = "{\"id\":\"0\",\"op\":{\"type\":\"user_turn\",\"items\":[{\"type\":\"text\",\"text\":\"Go\"}]}}";
            let mut spine = Spine { thread, file, seq: 0 };
            spine.write(&[
                ("session_meta", meta),
                ("submission", turn.to_owned()),
                Spine::event("{\"type\":\"task_started\"}"),
            ])?;
            Ok(spine)
        })
        .collect()
}

/// Writes into each of the spines every so often, as streaming sessions are written.
fn keep_writing(mut spines: Vec<Spine>, stop: &AtomicBool) -> Result<()> {
    let delta = "{\"type\":\"agent_message_delta\",\"delta\":\"a few more words of it\"}";
    let (begin, end) = (
        "{\"type\":\"exec_command_begin\",\"call_id\":\"CALL\",\"command\":[\"ls\"],\"cwd\":\"/srv/app\"}",
        "{\"type\":\"exec_command_end\",\"call_id\":\"CALL\",\"command\":[\"ls\"],\"stdout\":\"a\\n\",\"exit_code\":0}",
    );
    for round in 0_u64.. {
        let start = Instant::now();
        let share = PAUSE / u32::try_from(spines.len())?;
        for (number, spine) in (0_u32..).zip(&mut spines) {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            // Mostly deltas, now and then a whole call.
            let mut records = vec![Spine::event(delta), Spine::event(delta)];
            if (round + u64::from(number)) % 20 == 0 {
                let call = format!("call_{round}");
                records.extend([begin, end].map(|msg| Spine::event(&msg.replace("CALL", &call))));
            }
            spine.write(&records)?;
            // Evenly, not all at once.
            if let Some(rest) = (share * (number + 1)).checked_sub(start.elapsed()) {
                std::thread::sleep(rest);
            }
        }
    }
    Ok(())
}

/// Writes records that make signals, one spine after the other, and measures how soon inotify tells of each.
fn probe(mut spines: Vec<Spine>, probes: &Probes) -> Result<Samples> {
    let kernel = inotify::init(inotify::CreateFlags::CLOEXEC).context("no inotify")?;
    for spine in &spines {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&spine.file));
        let file = fs::read_link(Path::new(&path))?;
        let directory = file.parent().context("a file lies somewhere")?;
        inotify::add_watch(&kernel, directory, inotify::WatchFlags::MODIFY)?;
    }
    // A thread of its own sleeps in the kernel until each write.
    let (woken, wakes) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&kernel, &mut buffer);
        while events.next().is_ok() && woken.send(Instant::now()).is_ok() {}
    });
    let mut samples = Samples::default();
    for number in 0..PROBES {
        std::thread::sleep(BETWEEN);
        let spines_count = spines.len();
        let spine = &mut spines[number % spines_count];
        let error = format!("{{\"type\":\"error\",\"message\":\"trouble number {number}\"}}");
        probes.begin(&spine.thread, spine.seq + 1);
        let start = Instant::now();
        spine.write(&[Spine::event(&error)])?;
        let woken = wakes.recv_timeout(PATIENCE).context("inotify tells nothing")?;
        samples.add(woken.saturating_duration_since(start));
    }
    Ok(samples)
}
