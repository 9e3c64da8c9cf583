//! `spindle schedule`: start runs by the clock, or when something happens.

mod add;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use spindle_client::Client;
use spindle_client::v1::trigger::Trigger as Kind;
use spindle_client::v1::{
    DeleteScheduleRequest, DisableScheduleRequest, EnableScheduleRequest, GetScheduleRequest,
    ListSchedulesRequest, RunScheduleRequest, Schedule, Trigger,
};

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::follow::FollowArgs;
use crate::show::table::{Cell, Table, Tone};
use crate::show::template::TemplateView;
use crate::show::text::clean;
use crate::show::time::{local, relative, rfc3339, rough, seconds, timestamp};
use crate::show::{parsed, some, word};

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Add a schedule
    Add(Box<add::AddArgs>),
    /// List schedules
    #[command(after_long_help = "Examples:\n  spindle schedule ls\n  spindle --json schedule ls")]
    Ls,
    /// Show one schedule and its next times
    #[command(after_long_help = "Examples:\n  spindle schedule show nightly")]
    Show(NameArgs),
    /// Let a disabled schedule fire again
    #[command(after_long_help = "Examples:\n  spindle schedule enable nightly")]
    Enable(NameArgs),
    /// Keep a schedule from firing
    #[command(after_long_help = "Examples:\n  spindle schedule disable nightly")]
    Disable(NameArgs),
    /// Start its run now; the next time stays
    #[command(
        after_long_help = "Examples:\n  spindle schedule run nightly\n  spindle schedule run nightly --wait"
    )]
    Run {
        #[command(flatten)]
        schedule: NameArgs,
        #[command(flatten)]
        follow: FollowArgs,
    },
    /// Remove a schedule; its runs stay
    #[command(after_long_help = "Examples:\n  spindle schedule rm nightly")]
    Rm(NameArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// Name of the schedule, or its id or the beginning of that
    #[arg(value_name = "SCHEDULE")]
    name: String,
}

#[derive(Serialize)]
struct ScheduleView<'a> {
    id: &'a str,
    name: &'a str,
    enabled: bool,
    trigger: Value,
    kind: String,
    #[serde(flatten)]
    template: TemplateView<'a>,
    overlap: String,
    missed: String,
    created_at: Option<String>,
    next_at: Option<String>,
    last_at: Option<String>,
    last_run_id: Option<&'a str>,
    fired: u64,
    skipped: u64,
    last_error: Option<&'a str>,
    upcoming: Vec<String>,
}

impl<'a> From<&'a Schedule> for ScheduleView<'a> {
    fn from(schedule: &'a Schedule) -> Self {
        let template = TemplateView::from(schedule.template.as_ref());
        Self {
            id: &schedule.id,
            name: &schedule.name,
            enabled: schedule.enabled,
            trigger: trigger_json(schedule.trigger.as_ref()),
            kind: template.kind().to_owned(),
            template,
            overlap: word(schedule.overlap().as_str_name(), "OVERLAP_"),
            missed: word(schedule.missed().as_str_name(), "MISSED_"),
            created_at: rfc3339(schedule.created_at.as_ref()),
            next_at: rfc3339(schedule.next_at.as_ref()),
            last_at: rfc3339(schedule.last_at.as_ref()),
            last_run_id: some(&schedule.last_run_id),
            fired: schedule.fired,
            skipped: schedule.skipped,
            last_error: some(&schedule.last_error),
            upcoming: schedule.upcoming.iter().filter_map(|time| rfc3339(Some(time))).collect(),
        }
    }
}

#[derive(Serialize)]
struct SchedulesView<'a> {
    schedules: Vec<ScheduleView<'a>>,
}

fn trigger_json(trigger: Option<&Trigger>) -> Value {
    match trigger.and_then(|trigger| trigger.trigger.as_ref()) {
        Some(Kind::Cron(cron)) => json!({ "cron": cron.expression, "time_zone": some(&cron.time_zone) }),
        Some(Kind::Interval(interval)) => json!({
            "every_seconds": seconds(interval.every.as_ref()),
            "jitter_seconds": seconds(interval.jitter.as_ref()),
        }),
        Some(Kind::At(time)) => json!({ "at": rfc3339(Some(time)) }),
        Some(Kind::Event(event)) => json!({ "on": event.kind, "filter": parsed(&event.filter_json) }),
        None => Value::Null,
    }
}

fn trigger_words(trigger: Option<&Trigger>) -> String {
    let span = |wire: Option<&prost_types::Duration>| {
        wire.map(|span| rough(jiff::SignedDuration::new(span.seconds, span.nanos)))
    };
    match trigger.and_then(|trigger| trigger.trigger.as_ref()) {
        Some(Kind::Cron(cron)) => clean(format!("{} {}", cron.expression, cron.time_zone).trim_end()),
        Some(Kind::Interval(interval)) => {
            let every = format!("every {}", span(interval.every.as_ref()).unwrap_or_default());
            match &interval.jitter {
                Some(jitter) if jitter.seconds > 0 || jitter.nanos > 0 => {
                    format!("{every}, up to {} later", span(Some(jitter)).unwrap_or_default())
                }
                _ => every,
            }
        }
        Some(Kind::At(time)) => format!("at {}", local(timestamp(Some(time)))),
        Some(Kind::Event(event)) => {
            let filter = Some(event.filter_json.as_str()).filter(|filter| *filter != "null");
            clean(format!("on {} {}", event.kind, filter.unwrap_or_default()).trim_end())
        }
        None => String::new(),
    }
}

impl ScheduleCommand {
    pub(crate) async fn perform(self, app: &App) -> Result<Exit, CtlError> {
        let client = app.client().await?;
        let mut schedules = client.schedules();
        let answer = match self {
            Self::Add(args) => return args.perform(app, &client).await,
            Self::Ls => return list(app, &client).await,
            Self::Run { schedule, follow } => {
                let request = RunScheduleRequest { schedule: schedule.name.clone() };
                let run = schedules.run_schedule(request).await.map_err(calling(schedule.what("run")))?;
                return follow.attend(app, &client, run.into_inner()).await;
            }
            Self::Rm(args) => {
                let request = DeleteScheduleRequest { schedule: args.name.clone() };
                schedules.delete_schedule(request).await.map_err(calling(args.what("remove")))?;
                if app.out.is_json() {
                    app.out.document(&json!({ "removed": args.name }))?;
                }
                app.out.note(&format!("removed schedule {}", clean(&args.name)));
                return Ok(Exit::DONE);
            }
            Self::Show(args) => {
                let request = GetScheduleRequest { schedule: args.name.clone() };
                schedules.get_schedule(request).await.map_err(calling(args.what("show")))
            }
            Self::Enable(args) => {
                let request = EnableScheduleRequest { schedule: args.name.clone() };
                schedules.enable_schedule(request).await.map_err(calling(args.what("enable")))
            }
            Self::Disable(args) => {
                let request = DisableScheduleRequest { schedule: args.name.clone() };
                schedules.disable_schedule(request).await.map_err(calling(args.what("disable")))
            }
        };
        show(app, &answer?.into_inner())
    }
}

impl NameArgs {
    fn what(&self, verb: &str) -> String {
        format!("{verb} schedule {}", clean(&self.name))
    }
}

async fn list(app: &App, client: &Client) -> Result<Exit, CtlError> {
    let answer = client.schedules().list_schedules(ListSchedulesRequest {}).await;
    let schedules = answer.map_err(calling("list schedules"))?.into_inner().schedules;
    if app.out.is_json() {
        let schedules = schedules.iter().map(ScheduleView::from).collect();
        app.out.document(&SchedulesView { schedules })?;
        return Ok(Exit::DONE);
    }
    let now = Timestamp::now();
    let mut table = Table::new(["NAME", "STATE", "TRIGGER", "NEXT", "LAST", "FIRED", "DOES"]);
    for schedule in &schedules {
        let (state, tone) = match (schedule.enabled, schedule.last_error.is_empty()) {
            (true, true) => ("enabled", Tone::Good),
            (true, false) => ("failing", Tone::Bad),
            (false, _) => ("disabled", Tone::Faint),
        };
        table.row([
            schedule.name.as_str().into(),
            Cell::new(state, tone),
            trigger_words(schedule.trigger.as_ref()).into(),
            relative(timestamp(schedule.next_at.as_ref()), now).into(),
            relative(timestamp(schedule.last_at.as_ref()), now).into(),
            schedule.fired.to_string().into(),
            TemplateView::from(schedule.template.as_ref()).summary().into(),
        ]);
    }
    app.out.table(&table, "no schedules")?;
    Ok(Exit::DONE)
}

/// Shows a schedule as the daemon has it.
fn show(app: &App, schedule: &Schedule) -> Result<Exit, CtlError> {
    if app.out.is_json() {
        app.out.document(&ScheduleView::from(schedule))?;
        return Ok(Exit::DONE);
    }
    let time =
        |wire: Option<&prost_types::Timestamp>| wire.map_or_else(String::new, |_| local(timestamp(wire)));
    let upcoming: Vec<String> = schedule.upcoming.iter().map(|next| local(timestamp(Some(next)))).collect();
    let mut pairs = vec![
        ("name", clean(&schedule.name)),
        ("id", schedule.id.clone()),
        ("enabled", if schedule.enabled { "yes" } else { "no" }.to_owned()),
        ("trigger", trigger_words(schedule.trigger.as_ref())),
        ("overlap", word(schedule.overlap().as_str_name(), "OVERLAP_")),
        ("missed", word(schedule.missed().as_str_name(), "MISSED_")),
        ("next", time(schedule.next_at.as_ref())),
        ("then", upcoming.get(1..).unwrap_or_default().join(", ")),
        ("last", time(schedule.last_at.as_ref())),
        ("last run", schedule.last_run_id.clone()),
        ("last error", clean(&schedule.last_error)),
        ("fired", schedule.fired.to_string()),
        ("skipped", schedule.skipped.to_string()),
    ];
    pairs.extend(TemplateView::from(schedule.template.as_ref()).pairs());
    app.out.pairs(&pairs)?;
    Ok(Exit::DONE)
}

#[cfg(test)]
mod tests {
    use spindle_client::v1::{CronTrigger, IntervalTrigger};

    use super::*;

    #[test]
    fn a_trigger_reads_as_it_was_typed() {
        let cron = CronTrigger { expression: "0 3 * * *".into(), time_zone: "Europe/Berlin".into() };
        let trigger = Trigger { trigger: Some(Kind::Cron(cron)) };
        assert_eq!(trigger_words(Some(&trigger)), "0 3 * * * Europe/Berlin");
        assert_eq!(
            trigger_json(Some(&trigger)),
            json!({ "cron": "0 3 * * *", "time_zone": "Europe/Berlin" })
        );

        let every = prost_types::Duration { seconds: 600, nanos: 0 };
        let trigger =
            Trigger { trigger: Some(Kind::Interval(IntervalTrigger { every: Some(every), jitter: None })) };
        assert_eq!(trigger_words(Some(&trigger)), "every 10m");
        let jitter = prost_types::Duration { seconds: 30, nanos: 0 };
        let late = IntervalTrigger { every: Some(every), jitter: Some(jitter) };
        let late = Trigger { trigger: Some(Kind::Interval(late)) };
        assert_eq!(trigger_words(Some(&late)), "every 10m, up to 30s later");
        assert_eq!(trigger_json(Some(&trigger)), json!({ "every_seconds": 600.0, "jitter_seconds": null }));
    }
}
