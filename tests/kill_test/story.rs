//! What the event log says of each run, gathered as it comes.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;
use spindle_client::v1::Event;

/// One run, as its events tell it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Told {
    /// The name that it was given.
    pub(crate) name: String,
    /// How it ended, such as `failed exit 7`; once for each time that it is said.
    pub(crate) ends: Vec<String>,
    /// Why it ended so, for people.
    pub(crate) reason: String,
    created: u32,
    succeeded: Vec<String>,
}

/// All events up to now.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Of each event a number that tells it from others, in order: the first one's place is 0.
    marks: Vec<u64>,
    runs: HashMap<String, Told>,
}

impl Events {
    /// Takes the next event, which must be exactly the next one.
    pub(crate) fn take(&mut self, event: &Event) {
        assert_eq!(event.seq, self.count() + 1, "the event {event:?} does not follow on the one before");
        self.marks.push(Self::mark_of(event));
        if !event.run_id.is_empty() {
            self.tell(event);
        }
    }

    /// A number by which an event can be told from all others.
    pub(crate) fn mark_of(event: &Event) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&event.run_id, &event.r#type, &event.data_json, &event.token).hash(&mut hasher);
        event.time.as_ref().map(|time| (time.seconds, time.nanos)).hash(&mut hasher);
        hasher.finish()
    }

    fn tell(&mut self, event: &Event) {
        let data: Value = serde_json::from_str(&event.data_json).unwrap();
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        let told = self.runs.entry(event.run_id.clone()).or_default();
        match event.r#type.as_str() {
            "run.created" => {
                told.created += 1;
                told.name = text("name");
                assert_eq!(told.created, 1, "run {} was created twice", event.run_id);
            }
            "run.finished" => {
                told.ends.push(end(&data));
                data["failure"]["message"].as_str().unwrap_or_default().clone_into(&mut told.reason);
            }
            "step.started" => {
                let step = text("step");
                assert!(!told.succeeded.contains(&step), "step {step} of run {} repeats", event.run_id);
            }
            "step.finished" if data["state"] == "succeeded" => told.succeeded.push(text("step")),
            _ => {}
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.marks.len() as u64
    }

    /// Whether two watchers have seen the same, as far as both have seen.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        self.marks.iter().zip(&other.marks).all(|(one, another)| one == another)
    }

    /// The mark of an event by its number.
    pub(crate) fn mark(&self, seq: u64) -> Option<u64> {
        self.marks.get(usize::try_from(seq.checked_sub(1)?).ok()?).copied()
    }

    /// All runs by their ids.
    pub(crate) fn runs(&self) -> &HashMap<String, Told> {
        &self.runs
    }
}

/// The end of a run, in the words of [`crate::nest::outcome`].
fn end(data: &Value) -> String {
    let mut words = vec![data["state"].as_str().unwrap().to_owned()];
    words.extend(data["failure"]["kind"].as_str().map(str::to_owned));
    words.extend(data["exit_code"].as_i64().map(|code| code.to_string()));
    words.extend(data["signal"].as_i64().map(|signal| format!("signal {signal}")));
    words.join(" ")
}
