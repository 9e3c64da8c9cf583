//! What is done without a daemon: looking at the configuration, checking and restoring the store.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use engine::store::{self, Report};
use serde_json::{Value, json};
use spindle_client::Paths;

use crate::args::{ConfigCommand, OfflineCommand};
use crate::config::{Place, Problem, Problems, Source, default_file};
use crate::failure::Failure;
use crate::lock::StateLock;
use crate::tables::TABLES;

/// The store's directory within the state directory, where the engine keeps it.
const STORE: &str = "store";

/// Where and how a command without a daemon works.
pub(crate) struct Offline {
    pub(crate) paths: Paths,
    pub(crate) source: Source,
    pub(crate) json: bool,
}

impl Offline {
    /// Carries the command out and prints what it has to say.
    pub(crate) fn run(mut self, command: &OfflineCommand) -> Result<ExitCode, Failure> {
        match command {
            OfflineCommand::Config(ConfigCommand::Check) => Ok(self.check()),
            OfflineCommand::Config(ConfigCommand::Show { default }) => self.show(*default),
            OfflineCommand::Config(ConfigCommand::Path) => {
                let path = &self.source.path;
                self.print(path.display(), || json!({ "path": path, "exists": path.exists() }));
                Ok(ExitCode::SUCCESS)
            }
            OfflineCommand::Verify => self.verify(),
            OfflineCommand::Restore { file } => self.restore(file),
        }
    }

    fn print(&self, text: impl Display, json: impl FnOnce() -> Value) {
        // Who closed our output does not want the rest.
        let _ =
            if self.json { writeln!(io::stdout(), "{}", json()) } else { writeln!(io::stdout(), "{text}") };
    }

    fn check(&self) -> ExitCode {
        let path = &self.source.path;
        match self.source.load() {
            Ok(loaded) => {
                let state = if loaded.exists { "is right" } else { "is not there; defaults apply" };
                self.print(
                    format_args!("{} {state}", path.display()),
                    || json!({ "ok": true, "path": path, "exists": loaded.exists, "problems": [] }),
                );
                ExitCode::SUCCESS
            }
            Err(problems) => {
                self.print(&problems, || {
                    let Problems(problems) = &problems;
                    let problems: Vec<Value> = problems.iter().map(problem_to_json).collect();
                    json!({ "ok": false, "path": path, "exists": path.exists(), "problems": problems })
                });
                ExitCode::FAILURE
            }
        }
    }

    fn show(&self, default: bool) -> Result<ExitCode, Failure> {
        if default {
            let text = default_file();
            self.print(text.trim_end(), || json!({ "text": text }));
        } else {
            let loaded = self.source.load()?;
            self.print(loaded.show().trim_end(), || loaded.to_json());
        }
        Ok(ExitCode::SUCCESS)
    }

    fn verify(&self) -> Result<ExitCode, Failure> {
        let options = self.source.load()?.config.store_options();
        let directory = self.paths.state_dir.join(STORE);
        if !directory.exists() {
            return Err(Failure::NoStore(directory));
        }
        let _lock = StateLock::acquire(&self.paths.state_dir)?;
        let report = store::verify(&directory, TABLES, &options)?;
        self.print(report_to_text(&report, &directory), || report_to_json(&report));
        Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn restore(&mut self, file: &Path) -> Result<ExitCode, Failure> {
        let options = self.source.load()?.config.store_options();
        self.paths.prepare()?;
        let _lock = StateLock::acquire(&self.paths.state_dir)?;
        let directory = self.paths.state_dir.join(STORE);
        let done = store::import(&directory, TABLES, &options, file)?;
        let text = format!(
            "restored {} rows and {} files into {}; the store's new id is {}",
            done.rows,
            done.blobs,
            directory.display(),
            done.store
        );
        self.print(text, || json!({ "store": done.store, "rows": done.rows, "blobs": done.blobs }));
        Ok(ExitCode::SUCCESS)
    }
}

fn problem_to_json(problem: &Problem) -> Value {
    let (file, at, variable) = match &problem.place {
        Place::File { path, at } => (Some(path), *at, None),
        Place::Variable(name) => (None, None, Some(name)),
    };
    let (line, column) = at.unzip();
    json!({ "file": file, "line": line, "column": column, "variable": variable, "message": problem.message })
}

fn report_to_text(report: &Report, directory: &Path) -> String {
    let place = directory.display();
    let mut lines = vec![match report.id {
        Some(id) => format!("{place}: store {id}, {} commits", report.commits),
        None if report.findings.is_empty() => format!("{place}: no store yet"),
        None => format!("{place}: a store that cannot be opened"),
    }];
    lines.extend(report.rows.iter().map(|(table, rows)| format!("  {table:<16} {rows:>8} rows")));
    if report.findings.is_empty() {
        lines.push("nothing is wrong with it".to_owned());
    }
    lines.extend(report.findings.iter().map(|finding| format!("wrong: {finding}")));
    lines.join("\n")
}

fn report_to_json(report: &Report) -> Value {
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    json!({ "store": report.id, "commits": report.commits, "rows": report.rows, "findings": findings })
}
