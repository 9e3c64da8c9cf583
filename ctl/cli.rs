//! The command line as a whole: global options, nouns, and the page that
//! explains both.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::app::App;
use crate::approval::ApprovalCommand;
use crate::auto::AutoCommand;
use crate::completions::CompletionsArgs;
use crate::config::ConfigCommand;
use crate::daemon::DaemonCommand;
use crate::error::CtlError;
use crate::exec::ExecArgs;
use crate::exit::Exit;
use crate::lease::LeaseCommand;
use crate::man::ManArgs;
use crate::run::RunCommand;
use crate::schedule::ScheduleCommand;
use crate::show::ColorChoice;
use crate::trace::TraceCommand;
use crate::watched::WatchCommand;

const AFTER_HELP: &str = "\
Examples:
  spindle daemon start
  spindle exec --name nightly-build -- make all
  spindle exec --wait -- cargo test         # ends with the exit code of the tests
  spindle run ls --state active
  spindle run logs -f 01934f2a              # any unique beginning of an id will do
  spindle --json run ls | jq -r '.runs[].id'

Exit codes:
  0  done             3  no daemon              5    conflict, or a lock is held
  1  failed           4  not found              130  interrupted
  2  wrong usage      141 the reader of the output went away
  Commands that wait for a run (exec --wait, run wait, auto run --wait) pass on
  how it ended: the child's own code, 128 + signal, 124 for a time limit, 125
  when the run came to no end of its own (canceled before it began, interrupted,
  a dependency failed), 126 or 127 for a program that cannot be run or found.
  Until the run is known to exist, the codes above hold.

Output:
  Data goes to standard output; notes, progress and errors to standard error.
  With --json data is one JSON document on one line (JSON lines where several
  ids are given or events are watched), and an error is one line on standard
  error: {\"error\":{\"reason\":…,\"message\":…,\"hint\":…}}.

Environment:
  SPINDLE_SOCKET     the daemon's socket        (else spindled.sock in the state directory)
  SPINDLE_STATE_DIR  the state directory        (else $XDG_STATE_HOME/spindle)
  SPINDLE_CONFIG     the configuration file     (else $XDG_CONFIG_HOME/spindle/config.toml)
  NO_COLOR           any value: no colour";

/// Drives spindled, the supervisor of unattended runs.
#[derive(Debug, Parser)]
#[command(name = "spindle", version, after_long_help = AFTER_HELP, subcommand_required = true)]
#[command(arg_required_else_help = true, infer_long_args = false, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Print JSON instead of tables and sentences
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// The daemon's socket [default: as `SPINDLE_SOCKET` says, else in the state directory]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// When to use colour
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub(crate) color: ColorChoice,

    /// No notes on standard error, only errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command under the daemon
    Exec(Box<ExecArgs>),
    /// Look at runs, follow them, end them
    #[command(subcommand)]
    Run(RunCommand),
    /// Answer steps that wait for a person's word
    #[command(subcommand)]
    Approval(ApprovalCommand),
    /// Start runs by the clock, or when something happens
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// See who holds what
    #[command(subcommand)]
    Lease(LeaseCommand),
    /// Let Codex work through a repository's TODO list
    #[command(subcommand)]
    Auto(AutoCommand),
    /// See where agents struggle and shine, from what Codex writes
    #[command(subcommand)]
    Trace(TraceCommand),
    /// Watch directories where other tools keep runs
    #[command(subcommand)]
    Watch(WatchCommand),
    /// Start, stop and inspect the daemon
    #[command(subcommand)]
    Daemon(DaemonCommand),
    /// Check and show the configuration (works without a daemon)
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write all of them
    Man(ManArgs),
}

impl Command {
    pub(crate) async fn perform(self, app: &App) -> Result<Exit, CtlError> {
        match self {
            Self::Exec(args) => args.perform(app).await,
            Self::Run(command) => command.perform(app).await,
            Self::Approval(command) => command.perform(app).await,
            Self::Schedule(command) => command.perform(app).await,
            Self::Lease(command) => command.perform(app).await,
            Self::Auto(command) => command.perform(app).await,
            Self::Trace(command) => command.perform(app).await,
            Self::Watch(command) => command.perform(app).await,
            Self::Daemon(command) => command.perform(app).await,
            Self::Config(command) => command.perform(app),
            Self::Completions(args) => args.perform(app),
            Self::Man(args) => args.perform(app),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        fn check(command: &clap::Command) {
            for child in command.get_subcommands() {
                if child.has_subcommands() {
                    check(child);
                } else {
                    let text = child.get_after_long_help().map(ToString::to_string).unwrap_or_default();
                    assert!(text.contains("spindle "), "{} {}", command.get_name(), child.get_name());
                }
            }
        }
        check(&Cli::command());
    }

    #[test]
    fn json_is_understood_before_and_after_the_noun() {
        for line in ["spindle --json run ls", "spindle run --json ls", "spindle run ls --json"] {
            assert!(Cli::try_parse_from(line.split(' ')).unwrap().global.json, "{line}");
        }
    }

    #[test]
    fn the_options_of_a_child_are_not_ours() {
        let cli = Cli::try_parse_from(["spindle", "exec", "--wait", "--", "ls", "--json"]).unwrap();
        assert!(!cli.global.json);
        assert!(Cli::try_parse_from(["spindle", "exec", "--wiat", "ls"]).is_err());
        assert!(Cli::try_parse_from(["spindle", "exec"]).is_err());
    }
}
