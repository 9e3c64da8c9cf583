//! The autorunner service: a repository's loop, found by the repository.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use autorunner::config::ConfigError;
use autorunner::doctor::{self, Level};
use autorunner::driver::Probe;
use autorunner::init::{self, InitError, InitOptions, SeedOutcome};
use autorunner::lock::{self, Assessment};
use autorunner::log::{LogStream, Part};
use autorunner::repo::{RepoError, Repository};
use autorunner::status::{self, LoopStatus, StatusError};
use autorunner::workflow::{STOP_SIGNAL, lease_key, repo_label};
use autorunner::{KIND, format_time};
use engine::process::OsText;
use engine::{Engine, Filter, Origin, Run, RunId, StartOptions, StartRun, Status as RunStatus};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::json;
use spindle_client::v1;
use spindle_client::v1::autorunner_service_server::AutorunnerService;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use super::error::{from_run, from_start, invalid, status, whole};
use super::list::Streamed;
use super::template::read_options;
use super::view;

/// The label that names the repository of a run.
pub(super) const REPO_LABEL: &str = "repo";

/// Serves loops.
#[derive(Clone)]
pub(crate) struct Autorunner {
    engine: Engine,
    codex: Option<String>,
    stopping: CancellationToken,
}

impl Autorunner {
    /// Over an engine. `codex` is the Codex command of the daemon's own configuration; streams end when the token
    /// is canceled.
    pub(crate) fn new(engine: Engine, codex: Option<String>, stopping: CancellationToken) -> Self {
        Self { engine, codex, stopping }
    }

    /// The run of a repository's loop: the one that holds it, else the newest.
    async fn run_of(&self, root: &Path) -> Result<Option<Run>, Status> {
        if let Some(holder) = self.holder(root).await? {
            return Ok(Some(holder));
        }
        let labels = BTreeMap::from([(REPO_LABEL.to_owned(), repo_label(root))]);
        let filter = Filter { kind: Some(KIND.to_owned()), labels, ..Filter::default() };
        let page = self.engine.list(filter, 1, None).await.map_err(from_run)?;
        Ok(page.runs.into_iter().next())
    }

    /// The run that holds a repository, if it is a loop.
    async fn holder(&self, root: &Path) -> Result<Option<Run>, Status> {
        let Some(holder) = self.engine.holder(&lease_key(root)) else { return Ok(None) };
        let run = self.engine.record(holder).await.map_err(from_run)?;
        Ok((run.kind == KIND && !run.state.is_ended()).then_some(run))
    }

    /// The loop under way in a repository.
    async fn loop_in(&self, repo: Vec<u8>) -> Result<(PathBuf, RunId), Status> {
        let root = blocking(move || root_of(&path(repo)?)).await?;
        if let Some(run) = self.holder(&root).await? {
            return Ok((root, run.id));
        }
        let text = format!("no loop of this daemon is under way in {}", root.display());
        let hint = "start one with `spindle auto run`; `spindle auto status` shows who else holds the lock";
        Err(status(Code::NotFound, "NO_LOOP", text, hint))
    }

    async fn status_of(&self, root: PathBuf) -> Result<Response<v1::LoopStatus>, Status> {
        let found =
            blocking(move || status::status(&root, Timestamp::now()).map_err(|e| from_status(&e))).await?;
        let run = self.run_of(&found.root).await?;
        let told = run.as_ref().is_some_and(|run| {
            !run.state.is_ended() && run.signals.iter().any(|signal| signal == STOP_SIGNAL)
        });
        let at_work = run.as_ref().is_some_and(|run| run.state.status() == RunStatus::Running);
        let mut shown = shown(&found, told, run.map(|run| view::run(&self.engine, &run)));
        // The file is judged by its keeper, as other tools judge it; the engine knows better whether
        // its own loop goes on.
        if at_work && shown.status == "error" {
            "running".clone_into(&mut shown.status);
        }
        Ok(Response::new(shown))
    }

    /// Refuses a start that could not succeed.
    async fn examine(&self, root: &Path, options: &StartOptions) -> Result<(), Status> {
        let find =
            |name| options.environment.iter().chain(&options.env).rfind(|variable| variable.name == name);
        let path = find("PATH");
        let named = find(autorunner::driver::BINARY_VARIABLE);
        let named = named.and_then(|variable| variable.value.as_os_str().to_str().map(str::to_owned));
        let probe = Probe {
            command: named.or_else(|| self.codex.clone()),
            search_path: path
                .map(|path| path.value.as_os_str().to_owned())
                .or_else(|| std::env::var_os("PATH")),
            cwd: root.to_owned(),
        };
        let start = root.to_owned();
        let report = blocking(move || Ok(doctor::examine(&start, &probe))).await?;
        let faults = report.checks.into_iter().filter(|check| check.status == Level::Error);
        let (faults, fixes): (Vec<_>, Vec<_>) = faults.map(|check| (check.message, check.fix)).unzip();
        if faults.is_empty() {
            return Ok(());
        }
        let fixes = fixes.into_iter().flatten().collect::<Vec<_>>().join("; ");
        Err(status(Code::FailedPrecondition, "DOCTOR_FAILED", faults.join("\n"), &fixes))
    }

    /// The last loop of a repository, if it was interrupted and can go on.
    async fn interrupted(&self, root: &Path) -> Result<Option<RunId>, Status> {
        let last = self.run_of(root).await?;
        Ok(last.filter(|run| run.state.status() == RunStatus::Interrupted).map(|run| run.id))
    }
}

#[tonic::async_trait]
impl AutorunnerService for Autorunner {
    async fn init_repository(
        &self,
        request: Request<v1::InitRepositoryRequest>,
    ) -> Result<Response<v1::InitRepositoryResponse>, Status> {
        let v1::InitRepositoryRequest { repo, force, git_init } = request.into_inner();
        let seed = move || {
            let start = path(repo)?;
            init::init(&start, InitOptions { force, git_init }, Timestamp::now()).map_err(|e| from_init(&e))
        };
        let report = blocking(seed).await?;
        let mut answer = v1::InitRepositoryResponse { repo: bytes(&report.root), ..Default::default() };
        for file in report.files {
            let shown = file.path.display().to_string();
            match file.outcome {
                SeedOutcome::Created => answer.written.push(shown),
                SeedOutcome::Replaced { backup } => {
                    answer.written.push(format!("{shown} (the old one is {})", backup.display()));
                }
                SeedOutcome::Kept => answer.kept.push(shown),
            }
        }
        Ok(Response::new(answer))
    }

    async fn start_loop(&self, request: Request<v1::StartLoopRequest>) -> Result<Response<v1::Run>, Status> {
        let v1::StartLoopRequest { repo, once, resume, request_id, options } = request.into_inner();
        let root = blocking(move || root_of(&path(repo)?)).await?;
        let mut options = read_options(&self.engine, options.unwrap_or_default()).await?;
        options.labels.insert(REPO_LABEL.to_owned(), repo_label(&root));
        let request_id = Some(request_id).filter(|id| !id.is_empty());
        let start = StartRun {
            request_id,
            kind: KIND.to_owned(),
            spec: json!({ "repo": OsText::from(root.as_path()), "once": once }),
            options,
            origin: Origin::Client,
            lineage: Vec::new(),
            refuse_if_held: true,
        };
        // A retry of a request that was answered needs no checks: its loop holds the lock by now.
        let held = self.holder(&root).await?;
        let again =
            held.as_ref().is_some_and(|run| run.request_id.is_some() && run.request_id == start.request_id);
        if !again && held.is_none() {
            self.examine(&root, &start.options).await?;
            let lock_root = root.clone();
            blocking(move || refuse_foreign_lock(&lock_root)).await?;
        }
        if resume && let Some(run) = self.interrupted(&root).await? {
            self.engine.resume(run).await.map_err(from_run)?;
            let run = self.engine.record(run).await.map_err(from_run)?;
            return Ok(Response::new(view::run(&self.engine, &run)));
        }
        let run = self.engine.start(start).await.map_err(from_start)?;
        Ok(Response::new(view::run(&self.engine, &run)))
    }

    async fn get_loop(
        &self,
        request: Request<v1::GetLoopRequest>,
    ) -> Result<Response<v1::LoopStatus>, Status> {
        let repo = request.into_inner().repo;
        let root = blocking(move || root_of(&path(repo)?)).await?;
        self.status_of(root).await
    }

    async fn stop_loop(
        &self,
        request: Request<v1::StopLoopRequest>,
    ) -> Result<Response<v1::LoopStatus>, Status> {
        let (root, run) = self.loop_in(request.into_inner().repo).await?;
        self.engine.tell(run, STOP_SIGNAL).await.map_err(from_run)?;
        self.status_of(root).await
    }

    async fn kill_loop(
        &self,
        request: Request<v1::KillLoopRequest>,
    ) -> Result<Response<v1::LoopStatus>, Status> {
        let (root, run) = self.loop_in(request.into_inner().repo).await?;
        self.engine.kill(run, "`spindle auto kill`").await.map_err(from_run)?;
        // The status that is answered is that of the end.
        self.stopping.run_until_cancelled(self.engine.wait(run)).await.transpose().map_err(from_run)?;
        self.status_of(root).await
    }

    type ReadLoopLogStream = Streamed<v1::LoopLogChunk>;

    async fn read_loop_log(
        &self,
        request: Request<v1::ReadLoopLogRequest>,
    ) -> Result<Response<Self::ReadLoopLogStream>, Status> {
        let v1::ReadLoopLogRequest { repo, iteration, tail, follow, offset } = request.into_inner();
        let part = match (iteration, tail) {
            (Some(_), Some(_)) => {
                return Err(invalid("INVALID_SPEC", "one of iteration and tail can be asked for"));
            }
            (Some(run), None) => Part::Block(run),
            (None, Some(count)) => Part::Tail(usize::try_from(count).unwrap_or(usize::MAX)),
            (None, None) => Part::LastBlock,
        };
        let open = move || {
            let log = Repository::discover(&path(repo)?).map_err(|e| from_repo(&e))?.layout().log();
            let stream = LogStream::open(&log, part, follow).map_err(|error| from_log(&error))?;
            Ok(stream.map(|stream| stream.going_on_at(offset)))
        };
        let Some(log) = blocking(open).await? else {
            let text = format!("the log has no iteration {}", iteration.unwrap_or_default());
            let hint = "`spindle auto log --tail 200` shows the end of the log";
            return Err(status(Code::NotFound, "NO_SUCH_ITERATION", text, hint));
        };
        let chunks = stream::try_unfold(log, |mut log| async move {
            let piece = log.next().await.map_err(|error| from_log(&error))?;
            Ok(piece.map(|data| (v1::LoopLogChunk { data, end: log.position() }, log)))
        });
        Ok(Response::new(Box::pin(chunks.take_until(self.stopping.clone().cancelled_owned()))))
    }

    async fn check_repository(
        &self,
        request: Request<v1::CheckRepositoryRequest>,
    ) -> Result<Response<v1::CheckRepositoryResponse>, Status> {
        let (repo, command) = (request.into_inner().repo, self.codex.clone());
        let check = move || {
            let start = path(repo)?;
            // Where there is no repository the checks say so themselves.
            let cwd = root_of(&start).unwrap_or_else(|_| start.clone());
            Ok(doctor::examine(&start, &Probe { command, search_path: std::env::var_os("PATH"), cwd }))
        };
        let checks = blocking(check).await?.checks.into_iter().map(|check| v1::Check {
            id: check.id.to_owned(),
            status: match check.status {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Error => "error",
            }
            .to_owned(),
            message: check.message,
            fix: check.fix.unwrap_or_default(),
        });
        Ok(Response::new(v1::CheckRepositoryResponse { checks: checks.collect() }))
    }
}

fn shown(found: &LoopStatus, told: bool, run: Option<v1::Run>) -> v1::LoopStatus {
    let count = |items: usize| u32::try_from(items).unwrap_or(u32::MAX);
    let time = |time: Option<Timestamp>| time.map(format_time).unwrap_or_default();
    let LoopStatus { root, state, todo, lock, stop_file } = found;
    v1::LoopStatus {
        repo: bytes(root),
        status: match state.status {
            autorunner::state::Status::Idle => "idle",
            autorunner::state::Status::Running => "running",
            autorunner::state::Status::Error => "error",
        }
        .to_owned(),
        last_run_id: state.last_run_id,
        last_exit_code: state.last_exit_code,
        last_run_started_at: time(state.last_run_started_at),
        last_run_finished_at: time(state.last_run_finished_at),
        runner_pid: state.runner_pid.and_then(|pid| pid.try_into().ok()),
        outstanding: count(todo.open),
        done: count(todo.done),
        run,
        stop_requested: told || *stop_file,
        lock: match lock {
            Assessment::Held { holder, .. } => holder_of(holder.as_ref()),
            Assessment::Free | Assessment::Stale { .. } => String::new(),
        },
    }
}

fn holder_of(holder: Option<&autorunner::lock::LockRecord>) -> String {
    holder.map_or_else(|| "an unknown process".to_owned(), ToString::to_string)
}

/// Removes the lock of a dead loop, and refuses that of a living one: no run of this daemon holds the repository.
fn refuse_foreign_lock(root: &Path) -> Result<(), Status> {
    let path = autorunner::repo::Layout::of_root(root).lock();
    match lock::remove_stale(&path) {
        Ok(Assessment::Held { holder, .. }) => {
            let text = format!(
                "another autorunner is active in {} ({})",
                root.display(),
                holder_of(holder.as_ref())
            );
            let hint = "stop it with the tool that started it, or wait for it";
            Err(status(Code::FailedPrecondition, "LOCK_HELD", text, hint))
        }
        Ok(Assessment::Free | Assessment::Stale { .. }) => Ok(()),
        Err(error) => Err(internal(whole(&error))),
    }
}

fn path(bytes: Vec<u8>) -> Result<PathBuf, Status> {
    let path = PathBuf::from(OsString::from_vec(bytes));
    if !path.is_absolute() || path.as_os_str().as_bytes().contains(&0) {
        return Err(invalid(
            "INVALID_SPEC",
            format!("the repository must be an absolute path, not {}", path.display()),
        ));
    }
    Ok(path)
}

/// The label by which the runs of a repository are found, also those that a schedule starts. What is no
/// repository has none; the workflow says so.
pub(super) async fn repo_label_of(start: OsText) -> Option<String> {
    let found = tokio::task::spawn_blocking(move || Repository::discover(Path::new(start.as_os_str())).ok());
    Some(repo_label(found.await.ok()??.root()))
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

fn root_of(start: &Path) -> Result<PathBuf, Status> {
    Repository::discover(start).map(|found| found.root().to_owned()).map_err(|error| from_repo(&error))
}

fn internal(message: String) -> Status {
    status(Code::Internal, "FILE_FAILED", message, "")
}

fn from_repo(error: &RepoError) -> Status {
    status(
        Code::FailedPrecondition,
        "NOT_A_REPOSITORY",
        error.to_string(),
        "run it in a git repository, or use --repo",
    )
}

fn from_config(error: &ConfigError) -> Status {
    let (reason, hint) = if matches!(error, ConfigError::Missing { .. }) {
        ("NOT_INITIALISED", "`spindle auto init` prepares it")
    } else {
        ("INVALID_CONFIG", "edit config.yml; `spindle auto doctor` says whether it is valid then")
    };
    status(Code::FailedPrecondition, reason, error.to_string(), hint)
}

fn from_status(error: &StatusError) -> Status {
    match error {
        StatusError::Repo(error) => from_repo(error),
        StatusError::Config(error) => from_config(error),
        StatusError::State(_) | StatusError::Lock(_) | StatusError::Todo { .. } => internal(whole(error)),
    }
}

fn from_init(error: &InitError) -> Status {
    match error {
        InitError::Repo(error) => from_repo(error),
        InitError::Config(_) => status(
            Code::FailedPrecondition,
            "INVALID_CONFIG",
            error.to_string(),
            "mend config.yml, or use --force",
        ),
        InitError::LoopActive { .. } => {
            status(Code::FailedPrecondition, "LOCK_HELD", error.to_string(), "stop the loop first")
        }
        InitError::Git(_) | InitError::Lock(_) | InitError::Write { .. } => internal(whole(error)),
    }
}

fn from_log(error: &autorunner::log::LogError) -> Status {
    internal(whole(error))
}

/// Does file work off the runtime's own threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(internal(error.to_string())),
    }
}
