//! The codes with which `spindle` ends.

use std::process::ExitCode;

use spindle_client::v1::{Run, RunState};

/// A code for the caller's shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    /// It is done.
    pub(crate) const DONE: Self = Self(0);
    /// It failed.
    pub(crate) const FAILED: Self = Self(1);
    /// The command line, or something that it names, makes no sense.
    pub(crate) const USAGE: Self = Self(2);
    /// Nobody answers on the socket.
    pub(crate) const NO_DAEMON: Self = Self(3);
    /// What was named does not exist.
    pub(crate) const NOT_FOUND: Self = Self(4);
    /// Something else is in the way: a state, a holder, a name taken.
    pub(crate) const CONFLICT: Self = Self(5);
    /// A time limit ended the child, as `timeout` says it.
    pub(crate) const TIME_LIMIT: Self = Self(124);
    /// The run came to no end of its own, as `docker run` says it.
    pub(crate) const NO_OUTCOME: Self = Self(125);
    /// The program could not be run.
    pub(crate) const CANNOT_RUN: Self = Self(126);
    /// Ctrl-C.
    pub(crate) const INTERRUPTED: Self = Self(130);
    /// The reader of our output went away, as a shell says it for SIGPIPE.
    pub(crate) const BROKEN_PIPE: Self = Self(141);

    /// A code passed on from another program.
    pub(crate) fn passed_on(code: i32) -> Self {
        Self(u8::try_from(code).unwrap_or(1))
    }

    /// The first of two that is not "done".
    pub(crate) fn and(self, later: Self) -> Self {
        if self == Self::DONE { later } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// The code that passes on how a run ended, as `docker run` and `timeout` do:
/// the child's own, 128 + signal, 124 for a time limit, 125 when the run has
/// no outcome of its own, 126 and 127 for a program that cannot be run.
pub(crate) fn outcome(run: &Run) -> Exit {
    if run.state() == RunState::Succeeded {
        return Exit::DONE;
    }
    let kind = run.failure.as_ref().map_or("", |failure| failure.kind.as_str());
    match kind {
        "timeout" | "idle-timeout" => return Exit::TIME_LIMIT,
        "spawn" => return run.exit_code.map_or(Exit::CANNOT_RUN, Exit::passed_on),
        "interrupted" | "diverged" | "panic" | "invalid" | "dependency" | "output-limit" => {
            return Exit::NO_OUTCOME;
        }
        _ => {}
    }
    if let Some(signal) = run.signal {
        return Exit::passed_on(128 + signal);
    }
    match run.exit_code {
        Some(code) if code != 0 => Exit::passed_on(code),
        // An iteration of a loop may fail with a code of 0: a turn that the
        // model broke off, say.
        _ if run.kind != "exec" && run.state() == RunState::Failed => Exit::FAILED,
        _ => Exit::NO_OUTCOME,
    }
}

#[cfg(test)]
mod tests {
    use spindle_client::v1::Failure;

    use super::*;

    fn run(state: RunState, kind: &str) -> Run {
        let failure = (!kind.is_empty()).then(|| Failure { kind: kind.into(), ..Failure::default() });
        Run { kind: "exec".into(), state: state.into(), failure, ..Run::default() }
    }

    #[test]
    fn success_is_zero() {
        assert_eq!(outcome(&run(RunState::Succeeded, "")), Exit::DONE);
    }

    #[test]
    fn a_childs_own_code_is_passed_on() {
        assert_eq!(outcome(&Run { exit_code: Some(7), ..run(RunState::Failed, "exit") }), Exit(7));
    }

    #[test]
    fn a_signal_is_128_more() {
        assert_eq!(outcome(&Run { signal: Some(9), ..run(RunState::Failed, "signal") }), Exit(137));
        assert_eq!(outcome(&Run { signal: Some(15), ..run(RunState::Canceled, "canceled") }), Exit(143));
    }

    #[test]
    fn a_time_limit_is_124_whatever_signal_carried_it_out() {
        for kind in ["timeout", "idle-timeout"] {
            let run = Run { signal: Some(15), ..run(RunState::Failed, kind) };
            assert_eq!(outcome(&run), Exit(124));
        }
    }

    #[test]
    fn a_program_that_cannot_be_run_is_126_and_one_not_found_127() {
        assert_eq!(outcome(&Run { exit_code: Some(127), ..run(RunState::Failed, "spawn") }), Exit(127));
        assert_eq!(outcome(&Run { exit_code: Some(126), ..run(RunState::Failed, "spawn") }), Exit(126));
        assert_eq!(outcome(&run(RunState::Failed, "spawn")), Exit(126));
    }

    #[test]
    fn a_run_without_an_outcome_of_its_own_is_125() {
        assert_eq!(outcome(&run(RunState::Canceled, "canceled")), Exit(125));
        assert_eq!(outcome(&run(RunState::Interrupted, "interrupted")), Exit(125));
        assert_eq!(outcome(&Run { exit_code: Some(0), ..run(RunState::Failed, "output-limit") }), Exit(125));
        assert_eq!(outcome(&Run { signal: Some(9), ..run(RunState::Interrupted, "interrupted") }), Exit(125));
        assert_eq!(outcome(&Run { signal: Some(15), ..run(RunState::Failed, "output-limit") }), Exit(125));
    }

    #[test]
    fn a_failed_loop_is_never_zero() {
        let failed = Run { kind: "autorun".into(), exit_code: Some(0), ..run(RunState::Failed, "model") };
        assert_eq!(outcome(&failed), Exit::FAILED);
    }
}
