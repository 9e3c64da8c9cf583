//! Triggers: schedules are set off by runs of other tools.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::schedule::{EventTrigger, EventView};
use serde::Deserialize;
use serde_json::Value;
use trace::rundir::{ExternalState, Tool};
use uuid::Uuid;

/// A trigger about runs of other tools. Its filter is an object with any of these keys; a run must satisfy each
/// that is given:
///
/// - `tools`: `orchestrator`, `tournament`, `autorunner`, `workspaces`;
/// - `states`: the state that it is in now;
/// - `path`: an absolute path; the run's directory lies in it.
struct ExternalTrigger {
    kind: &'static str,
    /// The events that it is about; a prefix where it ends in a dot.
    events: &'static [&'static str],
}

const TRIGGERS: [ExternalTrigger; 3] = [
    ExternalTrigger { kind: "external.finished", events: &["external.finished"] },
    ExternalTrigger {
        kind: "external.stale",
        events: &["external.heartbeat_stale", "external.process_dead"],
    },
    // Anything about a run: it appeared, changed its state, or is gone.
    ExternalTrigger { kind: "path.changed", events: &["external."] },
];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    tools: Option<Vec<Tool>>,
    states: Option<Vec<ExternalState>>,
    path: Option<PathBuf>,
}

pub(super) fn all() -> Vec<Arc<dyn EventTrigger>> {
    TRIGGERS.into_iter().map(|trigger| Arc::new(trigger) as Arc<dyn EventTrigger>).collect()
}

fn parse(filter: &Value) -> Result<Filter, serde_json::Error> {
    if filter.is_null() { Ok(Filter::default()) } else { Filter::deserialize(filter) }
}

impl EventTrigger for ExternalTrigger {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn check(&self, filter: &Value) -> Result<(), String> {
        let filter = parse(filter).map_err(|error| error.to_string())?;
        match filter.path {
            Some(path) if !path.is_absolute() => Err("`path` is not absolute".to_owned()),
            _ => Ok(()),
        }
    }

    fn matches(&self, _: Uuid, filter: &Value, event: &EventView) -> bool {
        let about = |wanted: &&str| {
            *wanted == event.kind || (wanted.ends_with('.') && event.kind.starts_with(*wanted))
        };
        if !self.events.iter().any(about) {
            return false;
        }
        let Ok(filter) = parse(filter) else { return false };
        let (tool, state) =
            (Tool::deserialize(&event.data["tool"]), ExternalState::deserialize(&event.data["state"]));
        let Some(directory) = event.data["directory"].as_str() else { return false };
        filter.tools.is_none_or(|tools| tool.is_ok_and(|tool| tools.contains(&tool)))
            && filter.states.is_none_or(|states| state.is_ok_and(|state| states.contains(&state)))
            && filter.path.is_none_or(|path| Path::new(directory).starts_with(path))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn set_off(filter: &Value, kind: &str) -> Vec<&'static str> {
        let event = EventView {
            number: 1,
            time: Timestamp::UNIX_EPOCH,
            kind: kind.to_owned(),
            run: None,
            lineage: Vec::new(),
            data: json!({"tool": "autorunner", "state": "stale", "directory": "/srv/app/.codex-autorunner"}),
        };
        let all = all();
        all.iter()
            .filter(|trigger| trigger.matches(Uuid::nil(), filter, &event))
            .map(|trigger| trigger.kind())
            .collect()
    }

    #[test]
    fn each_trigger_hears_of_its_own_events() {
        assert_eq!(set_off(&Value::Null, "external.process_dead"), ["external.stale", "path.changed"]);
        assert_eq!(set_off(&Value::Null, "external.finished"), ["external.finished", "path.changed"]);
        assert_eq!(set_off(&Value::Null, "external.appeared"), ["path.changed"]);
        assert_eq!(set_off(&Value::Null, "run.finished"), [""; 0]);
    }

    #[test]
    fn a_filter_narrows() {
        let kind = "external.heartbeat_stale";
        for filter in
            [json!({"tools": ["autorunner"]}), json!({"states": ["stale"]}), json!({"path": "/srv/app"})]
        {
            assert_eq!(set_off(&filter, kind).len(), 2, "{filter}");
        }
        for filter in
            [json!({"tools": ["tournament"]}), json!({"states": ["failed"]}), json!({"path": "/srv/ap"})]
        {
            assert_eq!(set_off(&filter, kind).len(), 0, "{filter}");
        }
        for filter in [json!({"path": "srv"}), json!({"tool": "autorunner"}), json!({"tools": ["hammer"]})] {
            assert!(all()[0].check(&filter).is_err(), "{filter}");
        }
    }
}
