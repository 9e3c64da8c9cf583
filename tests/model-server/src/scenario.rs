//! Which scenario a prompt asks for.

use crate::agent::{self, AgentFiles};
use crate::conversation::Conversation;
use crate::directive::{BadDirective, Directive};
use crate::scripts::SCENARIOS;
use crate::step::Step;
use std::fmt::Write as _;

const AGENT: &str = "agent";
const AGENT_HELP: &str = "does the first open item of the prompt's <TODO> block and ticks it";

/// One line per scenario: its name and what it does.
#[must_use]
pub fn describe_scenarios() -> String {
    let mut text = String::new();
    let all = SCENARIOS.iter().map(|(name, help, _)| (*name, *help));
    for (name, help) in all.chain([(AGENT, AGENT_HELP)]) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:15} {help}");
    }
    text
}

/// What the model is going to do in a turn.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

impl Scenario {
    /// Chooses by the prompt's directive, else by the default. With an agent as the default, a
    /// prompt with a TODO list goes to the agent, and only a directive in the item itself counts:
    /// such a prompt quotes much other text.
    pub(crate) fn choose(
        turn: &Conversation,
        default: &Directive,
        files: &AgentFiles,
    ) -> Result<Self, BadDirective> {
        if default.name == AGENT && crate::todo::block(&turn.prompt).is_some() {
            return Self::of(default, turn, files);
        }
        let found = Directive::find(&turn.prompt)?;
        Self::of(found.as_ref().unwrap_or(default), turn, files)
    }

    fn of(directive: &Directive, turn: &Conversation, files: &AgentFiles) -> Result<Self, BadDirective> {
        let steps =
            if directive.name == AGENT { agent::steps(turn, files)? } else { Self::scripted(directive)? };
        Ok(Self { name: directive.name.clone(), steps })
    }

    /// The steps of a directive other than the agent's.
    pub(crate) fn scripted(directive: &Directive) -> Result<Vec<Step>, BadDirective> {
        let unknown = || BadDirective::UnknownScenario(directive.name.clone());
        let (_, _, script) =
            SCENARIOS.iter().find(|(name, ..)| *name == directive.name).ok_or_else(unknown)?;
        script(&directive.parameters)
    }

    /// Checks that a default can be used at all.
    pub(crate) fn check(directive: &Directive) -> Result<(), BadDirective> {
        if directive.name == AGENT { Ok(()) } else { Self::scripted(directive).map(drop) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::step::{Call, FaultKind};

    fn chosen(prompt: &str) -> Result<Scenario, BadDirective> {
        Scenario::choose(
            &Conversation { prompt: prompt.to_owned(), ..Conversation::default() },
            &Directive::parse("message text=default").unwrap(),
            &AgentFiles::default(),
        )
    }

    #[test]
    fn a_prompt_without_a_directive_gets_the_default() {
        let scenario = chosen("do something").unwrap();
        assert_eq!(scenario.steps[0].message.as_ref().unwrap().text, "default");
    }

    #[test]
    fn every_scenario_plays_with_its_defaults_and_ends_the_turn() {
        for (name, ..) in SCENARIOS {
            let steps = chosen(&format!("mock:{name}")).unwrap().steps;
            let last = steps.last().unwrap();
            let asks_for_more = last.calls.iter().any(|call| !matches!(call, Call::ServerSide(_)));
            assert!(!asks_for_more, "{name} must end with an answer");
        }
    }

    #[test]
    fn an_unknown_scenario_is_refused_by_name() {
        assert_eq!(chosen("mock:nonsense").unwrap_err(), BadDirective::UnknownScenario("nonsense".into()));
    }

    #[test]
    fn http_refuses_a_status_that_is_no_error() {
        assert!(matches!(chosen("mock:http code=200"), Err(BadDirective::Value { .. })));
    }

    #[test]
    fn multi_numbers_its_commands() {
        let steps = chosen("mock:multi n=2 cmd='touch {k}'").unwrap().steps;
        assert_eq!(steps.len(), 3);
        assert!(matches!(&steps[1].calls[0], Call::Shell(shell) if shell.command == "touch 2"));
    }

    #[test]
    fn the_usage_limit_can_end_at_a_fixed_moment() {
        let steps = chosen("mock:limit at=4000000000").unwrap().steps;
        let Some(FaultKind::Http { status, body, .. }) = steps[0].fault.as_ref().map(|fault| &fault.kind)
        else {
            panic!("limit is an HTTP fault");
        };
        assert_eq!((*status, body["error"]["resets_at"].as_u64()), (429, Some(4_000_000_000)));
    }
}
