//! Those who give the daemon work, and hold it to its word.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::{fmt, fs};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use spindle_client::v1::{CancelRunRequest, ReadLogRequest, Run, RunState, RunTemplate, StartRunRequest};
use spindle_client::{Client, LogReader};
use tonic::Code;

use crate::book::{BEGIN, Book, END, expect};
use crate::nest::{Nest, Work, outcome, until};
use crate::plan::{Expected, Plan, noise};
use crate::story::Events;

/// The work, and what was promised of it.
pub(crate) struct Load {
    pub(crate) client: Client,
    pub(crate) book: Book,
    blank: Work,
    runs_dir: PathBuf,
    seed: u64,
    enough: AtomicBool,
    repeated: AtomicU64,
    shims_killed: AtomicU64,
    promises: Mutex<Vec<Promise>>,
}

/// A run that the daemon has acknowledged.
#[derive(Debug)]
struct Promise {
    key: String,
    run: String,
    expected: Expected,
}

/// What was done, for people.
#[derive(Debug)]
pub(crate) struct Figures {
    promised: usize,
    by_schedules: usize,
    repeated: u64,
    shims_killed: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { promised, by_schedules, repeated, shims_killed } = self;
        write!(
            f,
            "{promised} runs acknowledged ({repeated} of them asked for twice), {by_schedules} by schedules, "
        )?;
        write!(f, "{shims_killed} shims killed")
    }
}

impl Load {
    /// No work as yet.
    pub(crate) async fn new(nest: &Nest, seed: u64) -> Self {
        let book = Book(nest.path("book"));
        fs::create_dir(&book.0).unwrap();
        Self {
            client: nest.client().await,
            blank: nest.sh("").env("BOOK", &book.0),
            book,
            runs_dir: nest.state_dir().join("runs"),
            seed,
            enough: AtomicBool::new(false),
            repeated: AtomicU64::new(0),
            shims_killed: AtomicU64::new(0),
            promises: Mutex::default(),
        }
    }

    /// Work under a key of the book, as yet without a script.
    pub(crate) fn blank(&self, key: &str) -> Work {
        self.blank.clone().named(key).env("KEY", key)
    }

    /// A script under a key of the book.
    pub(crate) fn script(&self, key: &str, script: &str) -> Work {
        let mut work = self.blank(key);
        work.exec.argv[2] = script.as_bytes().to_vec();
        work
    }

    /// Nobody starts anything new from now on.
    pub(crate) fn enough(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    /// Whether nobody is to start anything new.
    pub(crate) fn has_enough(&self) -> bool {
        self.enough.load(Ordering::Relaxed)
    }

    /// Starts one thing after the other.
    pub(crate) async fn keep_busy(self: Arc<Self>, number: u32) {
        let mut rng = StdRng::seed_from_u64(self.seed ^ u64::from(number));
        let mut round = 0_u32;
        while !self.has_enough() {
            round += 1;
            let key = format!("w{number}-{round}");
            if rng.random_ratio(1, 10) {
                self.chain(&key, rng.random()).await;
            } else {
                let plan = *Plan::DRAWN.choose(&mut rng).unwrap();
                self.see_through(&key, plan, rng.random_ratio(1, 5)).await;
            }
        }
    }

    /// Starts a run and stays with it until it has ended.
    async fn see_through(&self, key: &str, plan: Plan, ask_twice: bool) {
        let work = plan.work(self.blank(key));
        let run = self.start(key, work.clone(), plan.expected()).await;
        if ask_twice {
            // As somebody does who has not heard the first answer.
            self.repeated.fetch_add(1, Ordering::Relaxed);
            assert_eq!(self.ask(key, work).await.id, run, "{key} was asked for twice, and made two runs");
        }
        match plan {
            Plan::Noisy => self.listen(&run).await,
            Plan::Canceled => self.cancel(&run).await,
            Plan::ShimLostHeld | Plan::ShimLostResumed => self.kill_shim(key, &run).await,
            _ => {}
        }
        let ended = self.client.wait_run(&run, &mut Nest::patience()).await.unwrap();
        let wanted = plan.expected().outcomes;
        assert!(wanted.contains(&outcome(&ended).as_str()), "{key} should be one of {wanted:?}: {ended:?}");
    }

    /// One run, and two that follow it: one after success, the other after failure.
    async fn chain(&self, key: &str, succeeds: bool) {
        let code = if succeeds { 0 } else { 3 };
        let head_end: &[_] = if succeeds { &["succeeded 0"] } else { &["failed exit 3"] };
        let follows = Expected { outcomes: &["succeeded 0"], begun: 1..=1, ended: 1 };
        let stays = Expected { outcomes: &["canceled dependency"], begun: 0..=0, ended: 0 };
        let (after_success, after_failure) = if succeeds { (follows, stays) } else { (stays, follows) };

        let head = format!("{key}-head");
        let work = self.script(&head, &format!("{BEGIN}; sleep 0.5; {END}; exit {code}"));
        let run = self.start(&head, work, Expected { outcomes: head_end, begun: 1..=1, ended: 1 }).await;
        let order = expect(&format!(r#"grep -q end "$BOOK/{head}""#));
        let mut followers = Vec::new();
        for (name, wanted, expected) in
            [("then", RunState::Succeeded, after_success), ("else", RunState::Failed, after_failure)]
        {
            let key = format!("{key}-{name}");
            let work = self.script(&key, &format!("{BEGIN}; {order}; {END}")).after(&run, &[wanted]);
            followers.push(self.start(&key, work, expected).await);
        }
        for run in followers {
            self.client.wait_run(&run, &mut Nest::patience()).await.unwrap();
        }
    }

    /// Starts a run; once this resolves the daemon has promised it.
    pub(crate) async fn start(&self, key: &str, work: impl Into<RunTemplate>, expected: Expected) -> String {
        let run = self.ask(key, work).await.id;
        self.promises.lock().unwrap().push(Promise { key: key.to_owned(), run: run.clone(), expected });
        run
    }

    async fn ask(&self, key: &str, work: impl Into<RunTemplate>) -> Run {
        let request = StartRunRequest { request_id: format!("request-{key}"), template: Some(work.into()) };
        self.client.start_run(request, &mut Nest::patience()).await.unwrap()
    }

    async fn cancel(&self, run: &str) {
        let mut patience = Nest::patience();
        let request = CancelRunRequest { run: run.to_owned(), reason: String::new() };
        while let Err(status) = self.client.runs().cancel_run(request.clone()).await {
            if status.code() == Code::FailedPrecondition {
                // The call that was cut did it.
                return;
            }
            patience.after(status).await.unwrap();
        }
    }

    /// Follows the whole log while it grows, over all deaths of the daemon.
    async fn listen(&self, run: &str) {
        let request = ReadLogRequest { run: run.to_owned(), follow: true, ..ReadLogRequest::default() };
        let mut reader = LogReader::new(self.client.clone(), request, Nest::patience());
        let mut heard = Vec::new();
        while let Some(chunk) = reader.next().await.unwrap() {
            assert_eq!(chunk.offset, heard.len() as u64, "the log of {run} jumps");
            heard.extend(chunk.data);
        }
        assert!(heard == noise(), "the log of {run} has {} bytes, which are not those written", heard.len());
    }

    /// Kills the shim as soon as the child has begun.
    async fn kill_shim(&self, key: &str, run: &str) {
        until(&format!("{key} has begun"), || self.book.read(key).contains_key(run).then_some(())).await;
        let attempt = self.runs_dir.join(run).join("0.1");
        let record = fs::read(attempt.join("process.json")).unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        let pid = i32::try_from(record["shim"]["pid"].as_i64().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        self.shims_killed.fetch_add(1, Ordering::Relaxed);
    }

    /// Compares what was promised, what the events tell, and what the children wrote down themselves.
    pub(crate) fn check(&self, events: &Events) -> Figures {
        let promises = self.promises.lock().unwrap();
        for Promise { key, run, expected } in promises.iter() {
            let Some(told) = events.runs().get(run) else { panic!("{key}: no event tells of run {run}") };
            assert_eq!(told.name, *key);
            let [end] = told.ends.as_slice() else {
                panic!("{key}, run {run}, has these ends: {:?}", told.ends)
            };
            assert!(
                expected.outcomes.contains(&end.as_str()),
                "{key}, run {run}: {end} ({}), not {expected:?}",
                told.reason
            );
            let written = self.book.read(key);
            assert!(written.keys().all(|other| other == run), "{key} was to be run {run} alone: {written:?}");
            let times = written.get(run).copied().unwrap_or_default();
            assert!(expected.begun.contains(&times.begun), "{key}, run {run}: {times:?}, not {expected:?}");
            assert_eq!(times.ended, expected.ended, "{key}, run {run}, has not ended as expected");
        }
        let by_schedules = self.check_schedules(events);
        assert_eq!(self.book.complaints(), "");
        assert_eq!(
            events.runs().len(),
            promises.len() + by_schedules,
            "there are runs that nobody asked for"
        );
        Figures {
            promised: promises.len(),
            by_schedules,
            repeated: self.repeated.load(Ordering::Relaxed),
            shims_killed: self.shims_killed.load(Ordering::Relaxed),
        }
    }
}
