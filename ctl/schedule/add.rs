//! `spindle schedule add`: a trigger, and the run that it starts.

use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use spindle_client::Client;
use spindle_client::client::check_size;
use spindle_client::v1::run_template::Workflow;
use spindle_client::v1::trigger::Trigger as Kind;
use spindle_client::v1::{
    AddScheduleRequest, AutorunSpec, CronTrigger, EventTrigger, IntervalTrigger, Missed, Overlap,
    RunTemplate, Trigger,
};

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exec::{ProcessArgs, absolute, template};
use crate::exit::Exit;
use crate::parse;
use crate::show::Out;
use crate::show::time::{span_to_wire, to_wire};
use crate::start::StartArgs;

const AFTER_HELP: &str = "\
The environment of this shell is kept with the schedule, as with exec.

Examples:
  spindle schedule add nightly --cron '0 3 * * *' --tz Europe/Berlin exec --cwd ~/project -- make all
  spindle schedule add poll --every 10m --jitter 30s exec --timeout 5m -- ./poll.sh
  spindle schedule add once --at '2026-11-21 22:00' auto --repo ~/project
  spindle schedule add todo --cron @hourly --overlap skip auto --repo . --once
  spindle schedule add alarm --on run.finished --filter '{\"outcomes\":[\"failed\"]}' exec -- ./page.sh
  spindle schedule add stuck --on signal --filter '{\"severity\":0.8}' exec -- ./look.sh";

/// What a firing does while the last run has not ended.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum OverlapChoice {
    /// Nothing.
    Skip,
    /// Starts when that run has ended.
    Queue,
    /// Cancels that run, then starts.
    Replace,
}

/// What is done about times missed while the daemon was down.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum MissedChoice {
    /// One run for all of them.
    Once,
    /// A run for each, up to 100.
    All,
    /// Nothing.
    Skip,
}

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct AddArgs {
    /// A name, to be unique
    name: String,

    /// What to do while its last run has not ended [default: skip]
    #[arg(long, value_enum, value_name = "WHAT")]
    overlap: Option<OverlapChoice>,

    /// What to do about times missed while down or asleep [default: once]
    #[arg(long, value_enum, value_name = "WHAT")]
    missed: Option<MissedChoice>,

    /// Add it, but let it not fire yet
    #[arg(long)]
    disabled: bool,

    /// Replace a schedule of the same name
    #[arg(long)]
    replace: bool,

    // After the others: its heading holds for all that follow.
    #[command(flatten)]
    when: WhenArgs,

    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "When (one of these)", group(ArgGroup::new("when").required(true)))]
struct WhenArgs {
    /// Cron expression: five fields, six with seconds, or such as @daily
    #[arg(long, value_name = "EXPR", group = "when")]
    cron: Option<String>,

    /// Time zone of the cron expression, such as Europe/Berlin [default: the daemon's]
    #[arg(long, value_name = "ZONE", conflicts_with_all = ["every", "at", "on"])]
    tz: Option<String>,

    /// Every so often
    #[arg(long, value_name = "DURATION", group = "when", value_parser = parse::duration)]
    every: Option<Duration>,

    /// Fire later by a random part of this
    #[arg(long, value_name = "DURATION", conflicts_with_all = ["cron", "at", "on"], value_parser = parse::duration)]
    jitter: Option<Duration>,

    /// Once, at this time, or after such as +10m
    #[arg(long, value_name = "TIME", group = "when", value_parser = parse::future)]
    at: Option<Timestamp>,

    /// When an event of this kind happens: run.finished, signal, external.finished, external.stale, path.changed
    #[arg(long, value_name = "KIND", group = "when")]
    on: Option<String>,

    /// What the event must look like, as a JSON object
    ///
    /// For run.finished, any of: "outcomes" (a list of succeeded, failed, canceled, interrupted), "workflows" (a list
    /// such as exec), "labels" (an object), "schedule" (the name of the schedule that started the run). For signal:
    /// "type" (friction or delight), "categories" (a list), "severity" (at least), "phase" (raised or settled), "count"
    /// and "within" (seconds). For the others: "tools", "states" (lists), "path".
    #[arg(long, value_name = "JSON", conflicts_with_all = ["cron", "every", "at"], value_parser = json_object)]
    filter: Option<String>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Run a command
    #[command(after_long_help = "Examples:\n  spindle schedule add poll --every 10m exec -- ./poll.sh")]
    Exec {
        #[command(flatten)]
        start: StartArgs,
        #[command(flatten)]
        process: ProcessArgs,
    },
    /// Let Codex work through a repository's TODO list
    #[command(after_long_help = "Examples:\n  spindle schedule add todo --cron @daily auto --repo ~/project")]
    Auto {
        #[command(flatten)]
        start: StartArgs,
        /// Any path inside the repository
        #[arg(long, value_name = "PATH")]
        repo: PathBuf,
        /// Stop after one iteration
        #[arg(long)]
        once: bool,
    },
}

impl AddArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let request = self.request(app.out)?;
        let what = "add the schedule";
        check_size(&request).map_err(|source| CtlError::TooLarge { what, source })?;
        let schedule = client.schedules().add_schedule(request).await.map_err(calling(what))?;
        super::show(app, &schedule.into_inner())
    }

    fn request(self, out: Out) -> Result<AddScheduleRequest, CtlError> {
        Ok(AddScheduleRequest {
            name: self.name,
            trigger: Some(Trigger { trigger: self.when.kind() }),
            template: Some(self.what.template(out)?),
            overlap: match self.overlap {
                None => Overlap::Unspecified,
                Some(OverlapChoice::Skip) => Overlap::Skip,
                Some(OverlapChoice::Queue) => Overlap::Queue,
                Some(OverlapChoice::Replace) => Overlap::Replace,
            }
            .into(),
            missed: match self.missed {
                None => Missed::Unspecified,
                Some(MissedChoice::Once) => Missed::Once,
                Some(MissedChoice::All) => Missed::All,
                Some(MissedChoice::Skip) => Missed::Skip,
            }
            .into(),
            disabled: self.disabled,
            replace: self.replace,
        })
    }
}

impl WhenArgs {
    /// Clap has seen to it that exactly one is given.
    fn kind(self) -> Option<Kind> {
        if let Some(expression) = self.cron {
            return Some(Kind::Cron(CronTrigger { expression, time_zone: self.tz.unwrap_or_default() }));
        }
        if let Some(every) = self.every {
            let (every, jitter) = (Some(span_to_wire(every)), self.jitter.map(span_to_wire));
            return Some(Kind::Interval(IntervalTrigger { every, jitter }));
        }
        if let Some(time) = self.at {
            return Some(Kind::At(to_wire(time)));
        }
        self.on.map(|kind| Kind::Event(EventTrigger { kind, filter_json: self.filter.unwrap_or_default() }))
    }
}

impl What {
    fn template(self, out: Out) -> Result<RunTemplate, CtlError> {
        match self {
            Self::Exec { start, process } => template(process, start, out),
            Self::Auto { start, repo, once } => {
                let repo = absolute(&repo)?.into_os_string().into_vec();
                let workflow = Some(Workflow::Autorun(AutorunSpec { repo, once }));
                Ok(RunTemplate { workflow, options: Some(start.options(out)) })
            }
        }
    }
}

fn json_object(text: &str) -> Result<String, String> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(_)) => Ok(text.to_owned()),
        Ok(_) => Err("it must be a JSON object, such as {\"outcomes\":[\"failed\"]}".to_owned()),
        Err(error) => Err(format!("it is no JSON: {error}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use clap::Parser as _;

    use super::*;
    use crate::show::ColorChoice;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        add: AddArgs,
    }

    fn add(words: &[&str]) -> Result<AddScheduleRequest, String> {
        let line = Line::try_parse_from([&["add", "nightly"], words].concat()).map_err(|e| e.to_string())?;
        line.add.request(Out::new(false, true, ColorChoice::Never)).map_err(|e| e.to_string())
    }

    #[test]
    fn a_trigger_comes_before_what_it_starts() {
        let request =
            add(&["--cron", "0 3 * * *", "--overlap", "queue", "exec", "--cwd", "/x", "--", "make", "--all"])
                .unwrap();
        assert_eq!(request.name, "nightly");
        assert_eq!(request.overlap(), Overlap::Queue);
        let Some(Workflow::Exec(exec)) = request.template.unwrap().workflow else { panic!("no exec") };
        assert_eq!((exec.cwd, exec.argv.len()), (b"/x".to_vec(), 2));
    }

    #[test]
    fn a_loop_can_be_scheduled() {
        let request = add(&["--every", "10m", "--jitter", "1m", "auto", "--repo", "/r", "--once"]).unwrap();
        let Some(Workflow::Autorun(autorun)) = request.template.unwrap().workflow else {
            panic!("no autorun")
        };
        assert_eq!(autorun, AutorunSpec { repo: b"/r".to_vec(), once: true });
    }

    #[test]
    fn exactly_one_trigger_is_needed() {
        assert!(add(&["exec", "true"]).is_err());
        assert!(add(&["--cron", "@daily", "--every", "1h", "exec", "true"]).is_err());
        assert!(add(&["--every", "1h", "--tz", "UTC", "exec", "true"]).is_err());
    }

    #[test]
    fn a_filter_is_checked_at_once() {
        assert!(
            add(&["--on", "run.finished", "--filter", r#"{"outcomes":["failed"]}"#, "exec", "true"]).is_ok()
        );
        assert!(add(&["--on", "run.finished", "--filter", "[1]", "exec", "true"]).is_err());
    }
}
