//! From a scenario to the answer for one request.

use crate::beats::{Beat, compose, compose_wait};
use crate::conversation::Conversation;
use crate::directive::BadDirective;
use crate::scenario::Scenario;
use crate::step::{Fault, FaultKind, Step};
use crate::tools::Tools;
use serde_json::Value;

/// What a request is answered with.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The directive cannot be obeyed.
    Refused(BadDirective),
    /// The scenario wants an HTTP error.
    HttpError { status: u16, body: Value, retry_after: Option<String> },
    /// A stream, which may go wrong on its way.
    Stream { beats: Vec<Beat>, faulty: bool },
}

impl Reply {
    /// Decides on the answer to the `attempt`-th identical request (from 1) of a turn.
    pub(crate) fn decide(
        scenario: Result<Scenario, BadDirective>,
        attempt: u32,
        turn: &Conversation,
        tools: &Tools,
    ) -> Self {
        let scenario = match scenario {
            Ok(scenario) => scenario,
            Err(mistake) => return Self::Refused(mistake),
        };
        if let Some(session) = session_to_wait_for(&scenario, turn) {
            return Self::Stream { beats: compose_wait(session, turn), faulty: false };
        }
        let over = Step::say("the script has no more steps");
        let step = scenario.steps.get(turn.step).unwrap_or(&over);
        let is_due = |fault: &&Fault| fault.times.is_none_or(|times| attempt <= times);
        let fault = step.fault.as_ref().filter(is_due).map(|fault| &fault.kind);
        if let Some(FaultKind::Http { status, body, retry_after }) = fault {
            return Self::HttpError { status: *status, body: body.clone(), retry_after: retry_after.clone() };
        }
        Self::Stream { beats: compose(step, fault, turn, tools), faulty: fault.is_some() }
    }

    /// Whether it is anything but a good answer.
    pub(crate) fn is_faulty(&self) -> bool {
        !matches!(self, Self::Stream { faulty: false, .. })
    }
}

/// The session of a command that the step before wanted to see the end of, while it still runs.
fn session_to_wait_for(scenario: &Scenario, turn: &Conversation) -> Option<u64> {
    let before = scenario.steps.get(turn.step.checked_sub(1)?)?;
    turn.running_session().filter(|_| before.waits_for_its_command())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::directive::Directive;

    fn decided(directive: &str, attempt: u32, turn: &Conversation) -> Reply {
        let steps = Scenario::scripted(&Directive::parse(directive).unwrap()).unwrap();
        let scenario = Scenario { name: String::new(), steps };
        Reply::decide(Ok(scenario), attempt, turn, &Tools::default())
    }

    fn text(reply: &Reply) -> String {
        let Reply::Stream { beats, .. } = reply else { panic!("not a stream: {reply:?}") };
        format!("{beats:?}")
    }

    #[test]
    fn a_fault_lasts_for_its_times_and_no_longer() {
        let turn = Conversation::default();
        let faulty = |attempt| decided("failed times=2", attempt, &turn).is_faulty();
        assert_eq!([faulty(1), faulty(2), faulty(3)], [true, true, false]);
        assert!(decided("failed", 99, &turn).is_faulty(), "without a number it lasts for ever");
    }

    #[test]
    fn a_command_that_still_runs_is_waited_for_only_when_wanted() {
        let turn = Conversation {
            step: 1,
            last_output: "Process running with session ID 7\nOutput:\n".to_owned(),
            ..Conversation::default()
        };
        assert!(text(&decided("sleep", 1, &turn)).contains("write_stdin"));
        assert!(text(&decided("background", 1, &turn)).contains("left a command running"));
    }

    #[test]
    fn a_client_that_asks_beyond_the_script_is_told_so() {
        let turn = Conversation { step: 9, ..Conversation::default() };
        assert!(text(&decided("message", 1, &turn)).contains("no more steps"));
    }
}
