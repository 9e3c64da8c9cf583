//! Event triggers: the seam for kinds of them, and the one that is built in.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::TriggerError;

/// An event of the ordered log, as triggers see it.
#[derive(Debug, Clone, PartialEq)]
pub struct EventView {
    /// Its place in the log.
    pub number: u64,
    /// When it happened.
    pub time: Timestamp,
    /// What happened, such as `run.finished`.
    pub kind: String,
    /// About the run that it belongs to, if it belongs to one.
    pub run: Option<RunFacts>,
    /// The schedules that led to that run, as its [`Firing::lineage`](super::Firing::lineage) said;
    /// empty for a run that a person started. None of them fires on the event, so that schedules
    /// cannot set each other off in a circle.
    pub lineage: Vec<Uuid>,
    /// What else is known; its form depends on the kind.
    pub data: Value,
}

/// What triggers may ask about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFacts {
    /// The run's id.
    pub id: Uuid,
    /// Its workflow's kind.
    pub workflow: String,
    /// How it ended, if it has.
    pub outcome: Option<RunOutcome>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The name of the schedule that started it.
    pub schedule: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// It did what it was to do.
    Succeeded,
    /// It did not.
    Failed,
    /// It was stopped on demand.
    Canceled,
    /// Its process was lost.
    Interrupted,
}

/// A kind of event trigger. Other crates register theirs in [`EventTriggers`].
pub trait EventTrigger: Send + Sync {
    /// The name by which schedules ask for it, such as `run.finished`.
    fn kind(&self) -> &'static str;

    /// Checks a filter when a schedule is added; the error says what is wrong where.
    fn check(&self, filter: &Value) -> Result<(), String>;

    /// Whether the event sets off the schedule of this id with this filter, which `check` has accepted. Of events in
    /// whose [`EventView::lineage`] the schedule is, nothing is asked; a trigger that looks at former ones as well must
    /// leave out such as these itself.
    ///
    /// Called for every event and every such schedule: it should look at the event's kind first.
    fn matches(&self, schedule: Uuid, filter: &Value, event: &EventView) -> bool;
}

/// The kinds of event triggers that exist.
#[derive(Clone)]
pub struct EventTriggers {
    kinds: BTreeMap<&'static str, Arc<dyn EventTrigger>>,
}

impl Default for EventTriggers {
    fn default() -> Self {
        let mut triggers = Self { kinds: BTreeMap::new() };
        triggers.register(Arc::new(RunFinished));
        triggers
    }
}

impl EventTriggers {
    /// Adds a kind, in place of one of the same name.
    pub fn register(&mut self, trigger: Arc<dyn EventTrigger>) {
        self.kinds.insert(trigger.kind(), trigger);
    }

    /// Checks the kind and the filter of a new schedule.
    pub fn check(&self, kind: &str, filter: &Value) -> Result<(), TriggerError> {
        let Some(trigger) = self.kinds.get(kind) else {
            return Err(TriggerError::UnknownEventKind {
                given: kind.to_owned(),
                known: self.kinds.keys().copied().collect::<Vec<_>>().join(", "),
            });
        };
        trigger.check(filter).map_err(|problem| TriggerError::Filter { kind: kind.to_owned(), problem })
    }

    /// Whether the event sets off a schedule with this trigger. A kind that is not registered (any
    /// more) matches nothing.
    pub(super) fn matches(&self, schedule: Uuid, kind: &str, filter: &Value, event: &EventView) -> bool {
        self.kinds.get(kind).is_some_and(|trigger| trigger.matches(schedule, filter, event))
    }
}

/// The trigger `run.finished`: a run ended.
///
/// Its filter is an object with any of these keys; a run must satisfy each that is given:
///
/// - `workflows`: the run's workflow is one of these.
/// - `outcomes`: it ended in one of these ways (`succeeded`, `failed`, `canceled`, `interrupted`).
/// - `labels`: it has these labels with these values.
/// - `schedule`: the schedule of this name started it.
#[derive(Debug, Clone, Copy)]
pub struct RunFinished;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunFilter {
    workflows: Option<Vec<String>>,
    outcomes: Option<Vec<RunOutcome>>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    schedule: Option<String>,
}

impl RunFilter {
    fn parse(filter: &Value) -> Result<Self, serde_json::Error> {
        if filter.is_null() {
            return Ok(Self::default());
        }
        Self::deserialize(filter)
    }

    fn accepts(&self, run: &RunFacts) -> bool {
        let workflow = self.workflows.as_ref().is_none_or(|workflows| workflows.contains(&run.workflow));
        let outcome = self
            .outcomes
            .as_ref()
            .is_none_or(|outcomes| run.outcome.is_some_and(|outcome| outcomes.contains(&outcome)));
        let labels = self.labels.iter().all(|(key, value)| run.labels.get(key) == Some(value));
        let schedule = self.schedule.is_none() || self.schedule == run.schedule;
        workflow && outcome && labels && schedule
    }
}

impl EventTrigger for RunFinished {
    fn kind(&self) -> &'static str {
        "run.finished"
    }

    fn check(&self, filter: &Value) -> Result<(), String> {
        let filter = RunFilter::parse(filter).map_err(|error| error.to_string())?;
        // An empty list is a slip of whoever wrote it: it would match no run at all.
        if filter.workflows.is_some_and(|workflows| workflows.is_empty()) {
            return Err("`workflows` is empty, so no run would match".to_owned());
        }
        if filter.outcomes.is_some_and(|outcomes| outcomes.is_empty()) {
            return Err("`outcomes` is empty, so no run would match".to_owned());
        }
        Ok(())
    }

    fn matches(&self, _: Uuid, filter: &Value, event: &EventView) -> bool {
        if event.kind != self.kind() {
            return false;
        }
        let (Some(run), Ok(filter)) = (&event.run, RunFilter::parse(filter)) else {
            return false;
        };
        filter.accepts(run)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn finished() -> EventView {
        EventView {
            number: 1,
            time: Timestamp::UNIX_EPOCH,
            kind: "run.finished".to_owned(),
            run: Some(RunFacts {
                id: Uuid::nil(),
                workflow: "exec".to_owned(),
                outcome: Some(RunOutcome::Failed),
                labels: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
                schedule: Some("nightly".to_owned()),
            }),
            lineage: Vec::new(),
            data: Value::Null,
        }
    }

    fn matches(filter: &Value) -> bool {
        EventTriggers::default().matches(Uuid::nil(), "run.finished", filter, &finished())
    }

    #[test]
    fn a_run_must_satisfy_every_key_that_the_filter_has() {
        for filter in [
            Value::Null,
            json!({}),
            json!({"workflows": ["task", "exec"]}),
            json!({"outcomes": ["failed"], "labels": {"team": "blue"}, "schedule": "nightly"}),
        ] {
            assert!(matches(&filter), "{filter}");
        }
        for filter in [
            json!({"workflows": ["task"]}),
            json!({"workflows": ["exec"], "outcomes": ["succeeded", "canceled"]}),
            json!({"labels": {"team": "red"}}),
            json!({"labels": {"floor": "2"}}),
            json!({"schedule": "hourly"}),
        ] {
            assert!(!matches(&filter), "{filter}");
        }
    }

    #[test]
    fn other_events_do_not_match() {
        let started = EventView { kind: "run.started".to_owned(), ..finished() };
        assert!(!EventTriggers::default().matches(Uuid::nil(), "run.finished", &Value::Null, &started));
    }

    #[test]
    fn a_wrong_filter_is_refused_with_what_is_wrong_in_it() {
        let refusal = |filter: Value| {
            let error = EventTriggers::default().check("run.finished", &filter);
            error.unwrap_err().to_string()
        };
        assert_eq!(
            refusal(json!({"outcome": "failed"})),
            "the filter of the event trigger \"run.finished\" is not valid: unknown field `outcome`, \
             expected one of `workflows`, `outcomes`, `labels`, `schedule`"
        );
        assert!(refusal(json!({"outcomes": ["lost"]})).contains("unknown variant `lost`"));
        assert!(refusal(json!({"workflows": []})).contains("`workflows` is empty"));
        assert!(refusal(json!(["exec"])).contains("not valid"));
    }

    #[test]
    fn an_unknown_kind_is_refused_with_those_that_exist() {
        let error = EventTriggers::default().check("run.ended", &Value::Null);
        assert_eq!(
            error.unwrap_err().to_string(),
            "there is no event trigger \"run.ended\"; there are run.finished"
        );
    }
}
