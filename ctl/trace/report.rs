//! `spindle trace report`: where agents struggle and where they shine.

use std::collections::{BTreeMap, HashMap};

use clap::Args;
use serde::Serialize;
use spindle_client::Client;
use spindle_client::v1::{DayReport, GetReportRequest, RepositoryReport, TraceReport};

use super::filter::FilterArgs;
use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::show::Out;
use crate::show::table::{Cell, Table, Tone};
use crate::show::text::count;

/// How many categories and repositories people are shown.
const SHOWN: usize = 10;

/// How many days the chart shows.
const DAYS: usize = 14;

/// How wide its longest bar is.
const BAR: usize = 40;

#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  spindle trace report --since 7d
  spindle trace report --repository payments --model gpt-5.5
  spindle --json trace report --since 30d | jq .friction")]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Serialize)]
struct ReportView<'a> {
    sessions_total: u64,
    sessions_settled: u64,
    friction_total: u64,
    delight_total: u64,
    friction: BTreeMap<&'a str, u64>,
    delight: BTreeMap<&'a str, u64>,
    profiles: BTreeMap<&'a str, u64>,
    repositories: Vec<RepositoryView<'a>>,
    days: Vec<DayView<'a>>,
}

#[derive(Serialize)]
struct RepositoryView<'a> {
    repository: &'a str,
    sessions: u64,
    friction: u64,
    delight: u64,
}

#[derive(Serialize)]
struct DayView<'a> {
    day: &'a str,
    sessions: u64,
    friction: u64,
    delight: u64,
}

impl<'a> From<&'a TraceReport> for ReportView<'a> {
    fn from(report: &'a TraceReport) -> Self {
        let repository = |one: &'a RepositoryReport| RepositoryView {
            repository: &one.repository,
            sessions: one.sessions,
            friction: one.friction,
            delight: one.delight,
        };
        let day = |one: &'a DayReport| DayView {
            day: &one.day,
            sessions: one.sessions,
            friction: one.friction,
            delight: one.delight,
        };
        Self {
            sessions_total: report.sessions,
            sessions_settled: report.settled,
            friction_total: report.friction.values().sum(),
            delight_total: report.delight.values().sum(),
            friction: sorted(&report.friction),
            delight: sorted(&report.delight),
            profiles: sorted(&report.profiles),
            repositories: report.repositories.iter().map(repository).collect(),
            days: report.days.iter().map(day).collect(),
        }
    }
}

fn sorted(counts: &HashMap<String, u64>) -> BTreeMap<&str, u64> {
    counts.iter().map(|(name, count)| (name.as_str(), *count)).collect()
}

impl ReportArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let request = GetReportRequest { filter: Some(self.filter.to_wire(&[])) };
        let report =
            client.traces().get_report(request).await.map_err(calling("make the report"))?.into_inner();
        if app.out.is_json() {
            app.out.document(&ReportView::from(&report))?;
            return Ok(Exit::DONE);
        }
        let total = |counts: &HashMap<String, u64>| counts.values().sum::<u64>();
        app.out.line(&format!(
            "{}, {} settled: {} friction, {} delight",
            count(report.sessions, "session"),
            report.settled,
            total(&report.friction),
            total(&report.delight)
        ))?;
        categories(app.out, "FRICTION", &report.friction, Tone::Bad)?;
        categories(app.out, "DELIGHT", &report.delight, Tone::Good)?;
        repositories(app.out, &report.repositories)?;
        chart(app.out, &report.days)?;
        Ok(Exit::DONE)
    }
}

fn categories(
    out: Out,
    name: &'static str,
    counts: &HashMap<String, u64>,
    tone: Tone,
) -> Result<(), CtlError> {
    if counts.is_empty() {
        return Ok(());
    }
    let mut ranked: Vec<_> = counts.iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let most = ranked.first().map_or(0, |(_, count)| **count);
    let mut table = Table::new([name, "COUNT", ""]);
    for (category, count) in ranked.iter().take(SHOWN) {
        table.row([
            category.as_str().into(),
            count.to_string().into(),
            Cell::new(&bar(**count, most, BAR / 2), tone),
        ]);
    }
    out.line("")?;
    out.table(&table, "")?;
    if ranked.len() > SHOWN {
        out.note(&format!("and {}; --json shows them all", count(ranked.len() - SHOWN, "more category")));
    }
    Ok(())
}

fn repositories(out: Out, repositories: &[RepositoryReport]) -> Result<(), CtlError> {
    if repositories.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(["REPOSITORY", "SESSIONS", "FRICTION", "DELIGHT"]);
    for one in repositories.iter().take(SHOWN) {
        table.row([
            one.repository.as_str().into(),
            one.sessions.to_string().into(),
            Cell::new(&one.friction.to_string(), Tone::Bad),
            Cell::new(&one.delight.to_string(), Tone::Good),
        ]);
    }
    out.line("")?;
    out.table(&table, "")
}

/// The latest days, a line each: friction and delight as bars of one scale.
fn chart(out: Out, days: &[DayReport]) -> Result<(), CtlError> {
    let shown = &days[days.len().saturating_sub(DAYS)..];
    let most = shown.iter().map(|day| day.friction + day.delight).max().unwrap_or(0);
    if most == 0 {
        return Ok(());
    }
    out.line("")?;
    for day in shown {
        let (bad, good) = (bar(day.friction, most, BAR), bar(day.delight, most, BAR));
        out.line(&format!(
            "{}  {}{} {} friction, {} delight in {}",
            day.day,
            out.paint(&bad, Tone::Bad),
            out.paint(&good, Tone::Good),
            day.friction,
            day.delight,
            count(day.sessions, "session")
        ))?;
    }
    Ok(())
}

/// A bar as long as `count` is of `most`; never nothing for something.
fn bar(count: u64, most: u64, width: usize) -> String {
    if count == 0 || most == 0 {
        return String::new();
    }
    let length = u128::from(count) * width as u128 / u128::from(most);
    "▇".repeat(usize::try_from(length).unwrap_or(width).clamp(1, width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_in_proportion_and_shows_even_a_single_one() {
        assert_eq!(bar(0, 10, 40), "");
        assert_eq!(bar(1, 1_000_000, 40).chars().count(), 1);
        assert_eq!(bar(5, 10, 40).chars().count(), 20);
        assert_eq!(bar(u64::MAX, u64::MAX, 40).chars().count(), 40);
    }
}
