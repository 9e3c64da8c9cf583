//! `spindle exec`: run a command under the daemon.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use spindle_client::client::check_size;
use spindle_client::v1::run_template::Workflow;
use spindle_client::v1::{ExecSpec, Leftovers, OutputPolicy, RunTemplate, StartRunRequest};

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::follow::FollowArgs;
use crate::parse;
use crate::show::Out;
use crate::show::time::span_to_wire;
use crate::start::{StartArgs, fresh_request_id};

/// Largest standard input that travels with a run, in bytes.
const STDIN_LIMIT: usize = 1024 * 1024;

const AFTER_HELP: &str = "\
Prints the id of the run and returns when the daemon has it on disk: from then
on it happens. With --wait the exit code is that of the command. Ctrl-C ends the
waiting only; the run goes on. A restart of the daemon does not end the waiting;
ten minutes without one do, with code 125.

Examples:
  spindle exec -- make all
  spindle exec --wait --timeout 10m -- cargo test
  spindle exec --wait --follow -q -- ./deploy.sh    # as if it ran here
  spindle exec --name train --lease gpu:0 --retry 3,backoff=30s -- ./train.py
  spindle exec --secret API_KEY=file:~/.key --env MODE=night -- ./report
  spindle exec --after 01934f2a:failed -- ./page-somebody.sh
  echo hello | spindle exec --stdin - --wait -f -- tr a-z A-Z";

/// What happens when a stream of output reaches its limit.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PolicyChoice {
    /// Stop the command; the run fails.
    Stop,
    /// Keep the newest output; the command goes on.
    DropOldest,
}

/// What happens to processes that the command leaves behind.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LeftoversChoice {
    /// End them, after the grace.
    Kill,
    /// Wait until they have ended.
    Wait,
    /// Leave them alone.
    Keep,
}

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    start: StartArgs,

    #[command(flatten)]
    process: ProcessArgs,

    #[command(flatten)]
    follow: FollowArgs,

    /// A name for this request: starting twice with it starts one run
    #[arg(long, value_name = "TEXT")]
    request_id: Option<String>,
}

/// The command itself and its limits; schedules take these too.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProcessArgs {
    /// Working directory [default: the current one]
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,

    /// End it when it takes longer than this (each attempt)
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    timeout: Option<Duration>,

    /// End it when it writes nothing for this long
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    idle_timeout: Option<Duration>,

    /// Limit of standard output and of standard error, each
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    max_output: Option<u64>,

    /// What to do at that limit [default: stop]
    #[arg(long, value_enum, value_name = "WHAT", requires = "max_output")]
    output_policy: Option<PolicyChoice>,

    /// First signal when it has to end [default: TERM]
    #[arg(long, value_name = "SIGNAL", value_parser = parse::signal)]
    stop_signal: Option<i32>,

    /// Time between that signal and SIGKILL [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    grace: Option<Duration>,

    /// What to do with processes that it leaves behind [default: kill]
    #[arg(long, value_enum, value_name = "WHAT")]
    leftovers: Option<LeftoversChoice>,

    /// File for its standard input, up to 1 MiB; - is ours [default: /dev/null]
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,

    /// The program and its arguments; no shell is involved
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl ExecArgs {
    pub(crate) async fn perform(self, app: &App) -> Result<Exit, CtlError> {
        // First of all: without a daemon there is no use in reading input.
        let client = app.client().await?;
        let request = StartRunRequest {
            request_id: self.request_id.unwrap_or_else(fresh_request_id),
            template: Some(template(self.process, self.start, app.out)?),
        };
        let what = "start the run";
        check_size(&request).map_err(|source| CtlError::TooLarge { what, source })?;
        let run = client.start_run(request, &mut App::retry_briefly()).await.map_err(calling(what))?;
        self.follow.attend(app, &client, run).await
    }
}

/// The template of a command, for a start or a schedule.
pub(crate) fn template(process: ProcessArgs, start: StartArgs, out: Out) -> Result<RunTemplate, CtlError> {
    Ok(RunTemplate { workflow: Some(Workflow::Exec(process.spec()?)), options: Some(start.options(out)) })
}

impl ProcessArgs {
    fn spec(self) -> Result<ExecSpec, CtlError> {
        Ok(ExecSpec {
            argv: self.command.into_iter().map(OsString::into_vec).collect(),
            cwd: absolute(self.cwd.as_deref().unwrap_or(Path::new(".")))?.into_os_string().into_vec(),
            timeout: self.timeout.map(span_to_wire),
            idle_timeout: self.idle_timeout.map(span_to_wire),
            max_output: self.max_output,
            output_policy: match self.output_policy {
                None => OutputPolicy::Unspecified,
                Some(PolicyChoice::Stop) => OutputPolicy::Stop,
                Some(PolicyChoice::DropOldest) => OutputPolicy::DropOldest,
            }
            .into(),
            stop_signal: self.stop_signal,
            grace: self.grace.map(span_to_wire),
            leftovers: match self.leftovers {
                None => Leftovers::Unspecified,
                Some(LeftoversChoice::Kill) => Leftovers::Kill,
                Some(LeftoversChoice::Wait) => Leftovers::Wait,
                Some(LeftoversChoice::Keep) => Leftovers::Keep,
            }
            .into(),
            stdin: self.stdin.as_deref().map(read_stdin).transpose()?,
        })
    }
}

/// The daemon has another current directory, so paths travel absolute.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, CtlError> {
    let failed = |source| CtlError::File { what: "find", path: path.to_path_buf(), source };
    // `absolute` keeps a lone "." as it is.
    if path == Path::new(".") {
        return std::env::current_dir().map_err(failed);
    }
    std::path::absolute(path).map_err(failed)
}

fn read_stdin(path: &Path) -> Result<Vec<u8>, CtlError> {
    let failed = |source| CtlError::File { what: "read", path: path.to_path_buf(), source };
    let source: Box<dyn io::Read> = match path.as_os_str().as_encoded_bytes() {
        b"-" => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(path).map_err(failed)?),
    };
    let mut bytes = Vec::new();
    source.take(STDIN_LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > STDIN_LIMIT {
        return Err(CtlError::Usage {
            message: format!("the standard input {} is larger than 1 MiB", path.display()),
            hint: "leave large input in a file and let the command open it: exec -- sh -c 'CMD < FILE'",
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::io::Write as _;

    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        process: ProcessArgs,
    }

    fn spec(words: &[&str]) -> Result<ExecSpec, CtlError> {
        Line::try_parse_from([&["exec"], words].concat()).unwrap().process.spec()
    }

    #[test]
    fn a_bare_command_takes_the_current_directory_and_leaves_the_rest_to_the_daemon() {
        let cwd = std::env::current_dir().unwrap().into_os_string().into_vec();
        let expected = ExecSpec { argv: vec![b"true".to_vec()], cwd, ..ExecSpec::default() };
        assert_eq!(spec(&["true"]).unwrap(), expected);
    }

    #[test]
    fn limits_reach_the_wire() {
        let line = "--timeout 10m --idle-timeout 30s --max-output 1MB --output-policy drop-oldest --stop-signal INT \
                    --grace 2s --leftovers wait -- sh -c x";
        let spec = spec(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!(spec.timeout.unwrap().seconds, 600);
        assert_eq!(spec.idle_timeout.unwrap().seconds, 30);
        assert_eq!(spec.max_output, Some(1_000_000));
        assert_eq!(spec.output_policy(), OutputPolicy::DropOldest);
        assert_eq!(spec.stop_signal, Some(2));
        assert_eq!(spec.grace.unwrap().seconds, 2);
        assert_eq!(spec.leftovers(), Leftovers::Wait);
        assert_eq!(spec.argv.len(), 3);
    }

    #[test]
    fn an_input_of_a_mebibyte_travels_and_one_byte_more_does_not() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![b'x'; STDIN_LIMIT]).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        assert_eq!(spec(&["--stdin", &path, "cat"]).unwrap().stdin.unwrap().len(), STDIN_LIMIT);
        file.write_all(b"y").unwrap();
        let error = spec(&["--stdin", &path, "cat"]).unwrap_err();
        assert!(error.to_string().contains("1 MiB"), "{error}");
        assert_eq!(error.exit(), Exit::USAGE);
    }
}
