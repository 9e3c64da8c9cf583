//! What happens in a session, drawn by chance: turns of requests, calls, questions and troubles, until the
//! session has the size that it is to have.

use std::io;

use crate::clock::Clock;
use crate::random::Random;
use crate::real::cast::{Cast, Source};
use crate::real::moment::{Answer, Asked, Change, Command, Moment, Outcome, Patch, Pen};
use crate::real::words::{
    ASIDES, COMPLAINTS, MODULES, PRAISE, PROGRAMS, Pool, WISHES, filled, path, speech, thoughts,
};
use crate::spine::Ending;

const PLAN: [&str; 5] =
    ["Read the code", "Write a failing test", "Fix it", "Run the whole suite", "Update the documentation"];
const ERRORS: [(&str, &str); 5] = [
    ("You've hit your usage limit. Try again later.", "usage_limit_exceeded"),
    ("Codex ran out of room in the model's context window. Start a new thread.", "context_window_exceeded"),
    ("The server had an error while it processed the request.", "internal_server_error"),
    ("request timed out after 300 s", "other"),
    ("Your access token could not be refreshed.", "unauthorized"),
];

/// Tells sessions.
pub(crate) struct Story<'a> {
    pub(crate) cast: &'a Cast,
    pub(crate) pool: &'a Pool,
    pub(crate) random: Random,
    calls: u64,
    plan: Option<usize>,
    last_went_well: bool,
    /// What was said, as the model has it before it.
    history: Vec<String>,
    /// Threads that were started, with what they were asked.
    pub(crate) children: Vec<(Cast, Clock, String)>,
}

impl<'a> Story<'a> {
    pub(crate) fn new(cast: &'a Cast, pool: &'a Pool, random: Random) -> Self {
        Self {
            cast,
            pool,
            random,
            calls: 0,
            plan: None,
            last_went_well: true,
            history: Vec::new(),
            children: Vec::new(),
        }
    }

    /// Tells a session of about `budget` bytes, one turn at least.
    pub(crate) fn tell(&mut self, pen: &mut impl Pen, budget: u64, first: Option<&str>) -> io::Result<()> {
        pen.tell(&Moment::Began { resumed: false })?;
        self.turn(pen, budget, first)?;
        while pen.bytes() < budget {
            let pause = self.random.long_tail(20_000, 20_000_000);
            pen.clock().pass(pause);
            if self.random.percent(4) {
                // Codex ends or is killed, and the thread is resumed later.
                let ending = self.ending();
                pen.tell(&Moment::Ended(ending))?;
                pen.clock().pass(pause + 60_000);
                pen.tell(&Moment::Began { resumed: true })?;
            }
            match self.random.below(100) {
                0 | 1 => pen.tell(&Moment::Undone)?,
                2 => {
                    let turns = self.random.between(1..=3);
                    pen.tell(&Moment::RolledBack { turns })?;
                }
                3 => self.typed_by_the_user(pen)?,
                4 if matches!(self.cast.source, Source::Program(_)) => self.review(pen)?,
                _ => {}
            }
            self.turn(pen, budget, None)?;
        }
        let ending = self.ending();
        let ending = if ending == Ending::Killed && self.random.percent(10) { Ending::Torn } else { ending };
        pen.tell(&Moment::Ended(ending))
    }

    fn ending(&mut self) -> Ending {
        if self.random.percent(75) { Ending::Shutdown } else { Ending::Killed }
    }

    fn turn(&mut self, pen: &mut impl Pen, budget: u64, given: Option<&str>) -> io::Result<()> {
        let said = match given {
            Some(text) => text.to_owned(),
            None => self.words_of_the_user(),
        };
        pen.tell(&Moment::TurnBegan { text: &said })?;
        self.remember(&said);
        self.last_went_well = true;
        // A turn of twenty requests would make a short session a long one.
        let requests = self.random.long_tail(2, 24).min(1 + budget / 20_000);
        let mut last = String::new();
        for number in 0..requests {
            if !self.request(pen, number + 1 == requests, &mut last)? {
                pen.tell(&Moment::TurnAborted)?;
                self.last_went_well = false;
                return Ok(());
            }
            if self.history.iter().map(String::len).sum::<usize>() > 20_000 && self.random.percent(50) {
                self.compact(pen)?;
            }
        }
        if self.random.percent(2) {
            let (message, info) = self.random.pick(&ERRORS);
            pen.tell(&Moment::Failed { message, info })?;
            self.last_went_well = false;
        }
        pen.tell(&Moment::TurnComplete { last: &last })
    }

    fn words_of_the_user(&mut self) -> String {
        let texts: &[&str] = match (self.history.is_empty(), self.last_went_well) {
            (false, false) if self.random.percent(60) => &COMPLAINTS,
            (false, true) if self.random.percent(40) => &PRAISE,
            _ => &WISHES,
        };
        filled(&mut self.random, texts)
    }

    /// A request to the model and what it leads to; whether the turn goes on.
    fn request(&mut self, pen: &mut impl Pen, is_last: bool, last: &mut String) -> io::Result<bool> {
        pen.tell(&Moment::Requested)?;
        let wait = self.random.long_tail(600, 30_000);
        pen.clock().pass(wait);
        if self.random.percent(1) {
            pen.tell(&Moment::StreamFailed {
                message: "stream disconnected before completion; retrying 1/5",
            })?;
            pen.tell(&Moment::Requested)?;
        }
        let count = self.random.between(1..=2);
        let text = thoughts(&mut self.random, count);
        pen.tell(&Moment::Thought { text: &text })?;
        if is_last || self.random.percent(50) {
            let sentences = self.random.between(1..=if is_last { 8 } else { 2 });
            *last = speech(&mut self.random, sentences);
            pen.tell(&Moment::Said { text: last })?;
            self.remember(&last.clone());
        }
        let goes_on = is_last || self.calls_of_a_request(pen)?;
        let input = self.random.between(4_000..=90_000);
        let tokens = [input, input * 7 / 10, self.random.between(40..=2_500), self.random.between(0..=900)];
        pen.tell(&Moment::Used { tokens })?;
        Ok(goes_on)
    }

    fn calls_of_a_request(&mut self, pen: &mut impl Pen) -> io::Result<bool> {
        let calls = if self.random.percent(20) { 2 } else { 1 };
        for _ in 0..calls {
            let goes_on = match self.random.below(100) {
                0..=65 => self.run(pen)?,
                66..=86 => self.patch(pen)?,
                87..=91 => self.plan(pen)?,
                92..=95 => self.call(pen)?,
                96 | 97 => self.search(pen)?,
                98 => self.spawn(pen)?,
                _ => self.aside(pen)?,
            };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn call_id(&mut self) -> String {
        self.calls += 1;
        format!("call_{}", self.random.hex(24))
    }

    /// A question that is asked, and its answer.
    fn asked(&mut self, percent: u64) -> Option<Asked> {
        if !self.cast.asks() || !self.random.percent(percent) {
            return None;
        }
        let answer = match self.random.below(100) {
            0..=69 => Answer::Approved,
            70..=79 => Answer::ApprovedForSession,
            80..=83 => Answer::ApprovedWithAmendment,
            84..=96 => Answer::Denied,
            _ => Answer::Abort,
        };
        Some(Asked { answer, after: self.random.long_tail(1_500, 400_000) })
    }

    fn run(&mut self, pen: &mut impl Pen) -> io::Result<bool> {
        let (program, print, fails) = self.random.pick(&PROGRAMS);
        let text = program.replace("{}", self.random.pick(&MODULES));
        let outcome = match self.random.below(100) {
            roll if roll < fails => Outcome::Exited(self.random.pick(&[1, 1, 1, 2, 101, 127, 255])),
            98 => Outcome::TimedOut,
            99 => Outcome::Broken,
            _ => Outcome::Exited(0),
        };
        let asked = self.asked(18);
        let refused = asked.is_some_and(|asked| !asked.answer.granted());
        // Now and then the sandbox is to blame, and a second question is asked.
        let retry = (!refused && outcome != Outcome::Exited(0)).then(|| self.asked(15)).flatten();
        let length = self.random.long_tail(420, 100_000);
        let terminal = self.random.percent(20) && retry.is_none();
        let command = Command {
            call: self.call_id(),
            text: &text,
            output: self.pool.cut(&mut self.random, print, length),
            outcome: if retry.is_some_and(|asked| asked.answer.granted()) {
                Outcome::Exited(0)
            } else {
                outcome
            },
            millis: if outcome == Outcome::TimedOut { 120_000 } else { self.random.long_tail(300, 90_000) },
            asked,
            retry,
            terminal,
            goes_on: terminal && self.random.percent(5),
            by_user: false,
        };
        pen.tell(&Moment::Ran(&command))?;
        let (refused, output) =
            (command.refused(), command.output.get(..2_000).unwrap_or(command.output).to_owned());
        self.remember(&output);
        self.last_went_well &= outcome == Outcome::Exited(0);
        let answers = [command.asked, command.retry];
        let aborted = answers.iter().flatten().any(|asked| asked.answer == Answer::Abort);
        if refused && !aborted && self.random.percent(30) {
            pen.tell(&Moment::Interrupted)?;
            return Ok(false);
        }
        Ok(!aborted)
    }

    fn typed_by_the_user(&mut self, pen: &mut impl Pen) -> io::Result<()> {
        let length = self.random.long_tail(200, 5_000);
        let command = Command {
            call: self.call_id(),
            text: "git status --short",
            output: self.pool.cut(&mut self.random, crate::real::words::Print::Listing, length),
            outcome: Outcome::Exited(0),
            millis: 40,
            asked: None,
            retry: None,
            terminal: false,
            goes_on: false,
            by_user: true,
        };
        pen.tell(&Moment::Ran(&command))
    }

    fn patch(&mut self, pen: &mut impl Pen) -> io::Result<bool> {
        let mut changes: Vec<(String, Change, String)> = Vec::new();
        let files = if self.random.percent(20) { 3 } else { 1 };
        for _ in 0..files {
            let kind = self.random.pick(&[
                Change::Update,
                Change::Update,
                Change::Update,
                Change::Add,
                Change::Delete,
            ]);
            let length = self.random.long_tail(300, 30_000);
            let text = match kind {
                Change::Update => self.pool.diff(&mut self.random, length),
                Change::Add | Change::Delete => {
                    self.pool.cut(&mut self.random, crate::real::words::Print::Code, length).to_owned()
                }
            };
            let path = path(&mut self.random);
            // One change for each file.
            if changes.iter().all(|(other, ..)| *other != path) {
                changes.push((path, kind, text));
            }
        }
        let patch =
            Patch { call: self.call_id(), changes, applies: !self.random.percent(8), asked: self.asked(15) };
        pen.tell(&Moment::Patched(&patch))?;
        self.last_went_well &= patch.applies;
        Ok(patch.asked.is_none_or(|asked| asked.answer != Answer::Abort))
    }

    fn plan(&mut self, pen: &mut impl Pen) -> io::Result<bool> {
        let done = self.plan.map_or(0, |done| (done + 1) % (PLAN.len() + 1));
        self.plan = Some(done);
        let status = |number: usize| match number {
            number if number < done => "completed",
            number if number == done => "in_progress",
            _ => "pending",
        };
        let steps: Vec<(&str, &'static str)> =
            PLAN.iter().enumerate().map(|(number, step)| (*step, status(number))).collect();
        pen.tell(&Moment::Planned { steps: &steps })?;
        Ok(true)
    }

    fn call(&mut self, pen: &mut impl Pen) -> io::Result<bool> {
        let call = self.call_id();
        let number = self.random.below(4_000);
        let arguments = format!("{{\"issue\":{number}}}");
        let answer = if self.random.percent(12) {
            Err("tracker: connection refused")
        } else {
            Ok("Issue is open; 3 comments.")
        };
        pen.tell(&Moment::Called { call: &call, tool: "get_issue", arguments: &arguments, answer })?;
        Ok(true)
    }

    fn search(&mut self, pen: &mut impl Pen) -> io::Result<bool> {
        let call = self.call_id();
        let query = format!("{} winter time off by one hour", self.random.pick(&MODULES));
        pen.tell(&Moment::Searched { call: &call, query: &query })?;
        Ok(true)
    }

    fn aside(&mut self, pen: &mut impl Pen) -> io::Result<bool> {
        let text = filled(&mut self.random, &ASIDES);
        pen.tell(&Moment::Steered { text: &text })?;
        Ok(true)
    }

    fn spawn(&mut self, pen: &mut impl Pen) -> io::Result<bool> {
        let depth = match &self.cast.source {
            Source::Program(_) => 1,
            // A child has no children here, so that corpora end.
            Source::Review | Source::Spawned { .. } => return Ok(true),
        };
        let now = *pen.clock();
        let source = Source::Spawned { parent: self.cast.thread.clone(), depth };
        let child = self.cast.sub_agent(&mut self.random, now.0, source);
        let prompt = filled(&mut self.random, &WISHES);
        let call = self.call_id();
        pen.tell(&Moment::Spawned { call: &call, child: &child.thread, prompt: &prompt })?;
        self.children.push((child, now, prompt));
        Ok(true)
    }

    fn review(&mut self, pen: &mut impl Pen) -> io::Result<()> {
        let now = *pen.clock();
        let reviewer = self.cast.sub_agent(&mut self.random, now.0, Source::Review);
        pen.tell(&Moment::ReviewBegan { reviewer: &reviewer })?;
        for _ in 0..self.random.between(1..=3) {
            pen.tell(&Moment::Requested)?;
            let text = thoughts(&mut self.random, 1);
            pen.tell(&Moment::Thought { text: &text })?;
            if !self.run(pen)? {
                break;
            }
        }
        let verdict = speech(&mut self.random, 2);
        pen.tell(&Moment::Said { text: &verdict })?;
        pen.tell(&Moment::ReviewEnded { verdict: &verdict })
    }

    fn compact(&mut self, pen: &mut impl Pen) -> io::Result<()> {
        let summary = speech(&mut self.random, 6);
        let local = self.random.percent(70);
        let before = std::mem::take(&mut self.history);
        pen.tell(&Moment::Compacted { local, summary: &summary, before: &before })?;
        if self.random.percent(20) {
            pen.tell(&Moment::Warned {
                message: "The conversation was truncated to fit the context window.",
            })?;
        }
        self.remember(&summary);
        Ok(())
    }

    fn remember(&mut self, text: &str) {
        self.history.push(text.to_owned());
    }
}
