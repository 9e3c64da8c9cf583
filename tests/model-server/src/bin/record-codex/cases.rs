//! The cases: one run of the CLI each, some after a run that prepares a thread.

use model_server::Release;
use nix::sys::signal::Signal;

/// A run to be recorded.
pub(crate) struct Case {
    /// Its name, part of the file name.
    pub(crate) name: &'static str,
    /// The releases in which it means something.
    pub(crate) releases: Releases,
    /// What comes after `exec --json -s workspace-write`; the prompt itself is always `-`. The word
    /// `{thread}` stands for the thread of the run before, `{schema}` for a JSON schema file, `{mcp-server}`
    /// for a program that serves a tool when told to.
    pub(crate) arguments: &'static [&'static str],
    /// The prompt, given on standard input.
    pub(crate) prompt: &'static str,
    /// A run that comes first and is not recorded.
    pub(crate) before: Option<Before>,
    /// A signal sent in the middle.
    pub(crate) interrupt: Option<Interrupt>,
    /// Where it happens.
    pub(crate) place: Place,
    /// Who reads its standard output.
    pub(crate) reader: Reader,
}

/// Which releases a case is for.
#[derive(Clone, Copy)]
pub(crate) enum Releases {
    All,
    Only(Release),
}

/// The run before the recorded one.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    pub(crate) prompt: &'static str,
    pub(crate) by: By,
    pub(crate) end: End,
}

/// Which release does the run before.
#[derive(Clone, Copy)]
pub(crate) enum By {
    TheSame,
    TheOther,
}

/// How the run before ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// By itself.
    Normal,
    /// By a signal in its tool call.
    Killed(Signal),
    /// Not before the recorded run has ended.
    StillRunning,
}

/// A signal and the moment for it.
#[derive(Clone, Copy)]
pub(crate) struct Interrupt {
    pub(crate) signal: Signal,
    /// Sent as soon as standard output holds this text and the server has been asked.
    pub(crate) when_printed: &'static str,
}

/// Where a run happens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a git repository.
    Repository,
    /// In a directory outside of any.
    PlainDirectory,
    /// In a git repository, with a broken `config.toml`.
    BrokenConfig,
}

/// The reader of standard output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A file.
    Stays,
    /// A pipe whose reader goes away after the first line.
    LeavesAfterOneLine,
}

impl Releases {
    pub(crate) fn include(self, release: Release) -> bool {
        match self {
            Self::All => true,
            Self::Only(one) => one == release,
        }
    }
}

impl Case {
    const fn new(name: &'static str, prompt: &'static str) -> Self {
        Self {
            name,
            releases: Releases::All,
            arguments: &[],
            prompt,
            before: None,
            interrupt: None,
            place: Place::Repository,
            reader: Reader::Stays,
        }
    }

    const fn only(mut self, release: Release) -> Self {
        self.releases = Releases::Only(release);
        self
    }

    const fn with(mut self, arguments: &'static [&'static str]) -> Self {
        self.arguments = arguments;
        self
    }

    const fn after(mut self, prompt: &'static str, by: By, end: End) -> Self {
        self.before = Some(Before { prompt, by, end });
        self
    }

    const fn in_tool(mut self, signal: Signal) -> Self {
        self.interrupt = Some(Interrupt { signal, when_printed: IN_TOOL });
        self
    }

    const fn in_stream(mut self, signal: Signal) -> Self {
        self.interrupt = Some(Interrupt { signal, when_printed: "turn.started" });
        self
    }

    const fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }
}

/// What is printed when a command has begun.
pub(crate) const IN_TOOL: &str = r#""type":"command_execution""#;

const NOBODY_LISTENS: &[&str] = &["-c", r#"model_providers.spindle-test.base_url="http://127.0.0.1:9/v1""#];
const NOBODY_LISTENS_FOR_EVER: &[&str] =
    &[NOBODY_LISTENS[0], NOBODY_LISTENS[1], "--enable", "unbounded_connection_retries"];
const RESUME: &[&str] = &["resume", "{thread}"];
const FIRST: &str = "mock:message text='first turn'";
const SECOND: &str = "mock:message text='second turn'";
const MCP_CALL: &str = r#"mock:tool name=mcp__echo__say args='{"text":"hello"}' text='the tool answered'"#;
const MCP_CALL_TO_APPROVE: &str =
    r#"mock:tool name=mcp__echo__shout args='{"text":"hello"}' text='the tool did not answer'"#;
const MCP_SERVER: &[&str] =
    &["-c", r#"mcp_servers.echo.command="{mcp-server}""#, "-c", r#"mcp_servers.echo.args=["--mcp-server"]"#];
const MCP_SERVER_IN_CODE_MODE: &[&str] =
    &[MCP_SERVER[0], MCP_SERVER[1], MCP_SERVER[2], MCP_SERVER[3], "-m", "gpt-6.1-sol"];
// Short enough that what outlives a killed CLI is gone soon after.
const SLEEP: &str = "mock:sleep secs=12";

// The older shell tool does not wait in the background: it kills the command after ten seconds.
const BACKGROUND: &str = "mock:background secs=12 text='did not wait for it'";

/// Every case.
pub(crate) const CASES: &[Case] = &[
    // What a turn is made of.
    Case::new("message", "mock:message"),
    Case::new("shell", "mock:shell cmd='echo hello; ls' think='**Looking around**' text='it worked'"),
    Case::new("shell-fails", "mock:shell cmd='echo oops >&2; exit 3' text='it failed'"),
    Case::new("multi", "mock:multi n=2"),
    Case::new("parallel", "mock:parallel n=2"),
    Case::new("patch", "mock:patch file=new.txt"),
    Case::new("web-search", "mock:search"),
    Case::new("todo-list", "mock:plan").only(Release::Oldest),
    Case::new("output-schema", "mock:json").with(&["--output-schema", "{schema}"]),
    Case::new("unknown-model", "mock:message").with(&["-m", "no-such-model"]),
    Case::new("background-command", BACKGROUND).only(Release::Current),
    Case::new("command-timeout", BACKGROUND).only(Release::Oldest),
    Case::new("refused-command", "mock:shell cmd='rm -f nothing' text='refused'").only(Release::Current),
    Case::new("escalate", "mock:escalate text='asked to leave the sandbox'"),
    Case::new("code-mode-shell", "mock:shell cmd='echo from code mode' text='it worked'")
        .with(&["-m", "gpt-6.1-sol"])
        .only(Release::Current),
    Case::new("code-mode-parallel", "mock:parallel n=2").with(&["-m", "gpt-6.1-sol"]).only(Release::Current),
    Case::new("mcp-tool-call", MCP_CALL).with(MCP_SERVER).only(Release::Oldest),
    Case::new("code-mode-mcp-tool-call", MCP_CALL).with(MCP_SERVER_IN_CODE_MODE).only(Release::Current),
    Case::new("code-mode-mcp-tool-refused", MCP_CALL_TO_APPROVE)
        .with(MCP_SERVER_IN_CODE_MODE)
        .only(Release::Current),
    Case::new("ephemeral", "mock:message").with(&["--ephemeral"]).only(Release::Current),
    // How a turn fails.
    Case::new("http-400", "mock:http code=400"),
    Case::new("http-401", "mock:http code=401"),
    Case::new("http-429", "mock:http code=429"),
    Case::new("http-429-once", "mock:http code=429 times=1 retry_after=1"),
    Case::new("http-500", "mock:http code=500"),
    Case::new("http-500-once", "mock:http code=500 times=1"),
    Case::new("http-503", "mock:http code=503"),
    Case::new("usage-limit", "mock:limit at=4070908800"),
    Case::new("usage-limit-soon", "mock:limit secs=3600"),
    Case::new("failed-server-error", "mock:failed"),
    Case::new(
        "failed-rate-limit",
        "mock:failed code=rate_limit_exceeded message='Please try again in 0.5s.'",
    ),
    Case::new("failed-context-length", "mock:failed code=context_length_exceeded"),
    Case::new("failed-quota", "mock:failed code=insufficient_quota"),
    Case::new("stream-cut", "mock:cut"),
    Case::new("stream-cut-once", "mock:cut times=1"),
    Case::new("stream-cut-after-tool", "mock:cut-after-tool"),
    Case::new("stream-reset", "mock:cut how=rst"),
    Case::new("stream-idle", "mock:hang secs=60"),
    Case::new("incomplete", "mock:incomplete"),
    Case::new("empty", "mock:empty"),
    Case::new("server-down", "hello").with(NOBODY_LISTENS),
    Case {
        interrupt: Some(Interrupt { signal: Signal::SIGKILL, when_printed: "waiting for network" }),
        ..Case::new("server-down-unbounded", "hello").with(NOBODY_LISTENS_FOR_EVER).only(Release::Current)
    },
    Case::new("missing-api-key", "mock:message")
        .with(&["-c", r#"model_providers.spindle-test.env_key="NO_SUCH_KEY""#]),
    // How a run never begins.
    Case::new("usage-error", "mock:message").with(&["--no-such-flag"]),
    Case::new("removed-flag", "mock:message").with(&["--full-auto"]).only(Release::Current),
    Case::new("not-a-repository", "mock:message").at(Place::PlainDirectory),
    Case::new("broken-config", "mock:message").at(Place::BrokenConfig),
    Case::new("empty-prompt", ""),
    // Signals, and a reader that goes away.
    Case::new("sigint-in-tool", SLEEP).in_tool(Signal::SIGINT),
    Case::new("sigterm-in-tool", SLEEP).in_tool(Signal::SIGTERM),
    Case::new("sigkill-in-tool", SLEEP).in_tool(Signal::SIGKILL),
    Case::new("sigint-in-stream", "mock:slow secs=20").in_stream(Signal::SIGINT),
    Case::new("sigterm-in-stream", "mock:slow secs=20").in_stream(Signal::SIGTERM),
    Case::new("sigkill-in-stream", "mock:slow secs=20").in_stream(Signal::SIGKILL),
    Case { reader: Reader::LeavesAfterOneLine, ..Case::new("stdout-gone", "mock:slow secs=1 chunks=2") },
    // Resuming.
    Case::new("resume", SECOND).with(RESUME).after(FIRST, By::TheSame, End::Normal),
    Case::new("resume-last", SECOND).with(&["resume", "--last"]).after(FIRST, By::TheSame, End::Normal),
    Case::new("resume-after-sigint", SECOND).with(RESUME).after(
        SLEEP,
        By::TheSame,
        End::Killed(Signal::SIGINT),
    ),
    Case::new("resume-after-sigkill", SECOND).with(RESUME).after(
        SLEEP,
        By::TheSame,
        End::Killed(Signal::SIGKILL),
    ),
    Case::new("resume-other-version", SECOND).with(RESUME).after(FIRST, By::TheOther, End::Normal),
    Case::new("resume-other-model", SECOND).with(&["-m", "gpt-5.4", "resume", "{thread}"]).after(
        FIRST,
        By::TheSame,
        End::Normal,
    ),
    Case::new("resume-busy-thread", SECOND).with(RESUME).after(SLEEP, By::TheSame, End::StillRunning),
    Case::new("resume-unknown-id", SECOND).with(&["resume", "00000000-0000-7000-8000-000000000000"]),
    Case::new("resume-not-a-uuid", SECOND).with(&["resume", "my-thread-name"]),
];
