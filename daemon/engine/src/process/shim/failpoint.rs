//! Places at which a test lets the shim die, to see that the truth survives.

/// The environment variable that names the [`STEPS`] entry after which the shim kills itself. It works in builds with
/// debug assertions only, and since a shim's environment is its child's, a test sets it as part of that.
pub const DIE_AT: &str = "SPINDLE_SHIM_DIE_AT";

macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $name:literal,)*) => {
        /// What a shim does, in order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Step {
            $($(#[$doc])* $step,)*
        }

        /// The names of a shim's steps, in the order in which they are taken. `stop_sent` is taken only when the
        /// child is stopped.
        pub const STEPS: &[&str] = &[$($name,)*];

        impl Step {
            fn name(self) -> &'static str {
                match self {
                    $(Self::$step => $name,)*
                }
            }
        }
    };
}

steps! {
    /// Signals are blocked: from here on they wait.
    SignalsBlocked = "signals_blocked",
    /// The lock is ours alone, the session and the subreaper are set.
    Detached = "detached",
    /// `launch.json` is read.
    LaunchRead = "launch_read",
    /// The files for the output are made.
    OutputsMade = "outputs_made",
    /// Space for `exit.json` is reserved.
    ExitReserved = "exit_reserved",
    /// The child is forked and waits.
    Forked = "forked",
    /// `process.json` is written.
    ProcessWritten = "process_written",
    /// It is synced.
    ProcessSynced = "process_synced",
    /// Its name is synced.
    ProcessDurable = "process_durable",
    /// The child may run.
    Released = "released",
    /// The child has become the program.
    Started = "started",
    /// The first signal of the ladder was sent.
    StopSent = "stop_sent",
    /// The child has ended and was waited for.
    ChildEnded = "child_ended",
    /// Nothing is left, or what is left is known.
    LeftoversKnown = "leftovers_known",
    /// The last byte was captured.
    Captured = "captured",
    /// The captured bytes are synced.
    OutputSynced = "output_synced",
    /// `exit.json` is written under a temporary name.
    ExitWritten = "exit_written",
    /// It is synced.
    ExitSynced = "exit_synced",
    /// It has its name.
    ExitNamed = "exit_named",
    /// Its name is synced.
    ExitDurable = "exit_durable",
}

/// Marks that a step is done, and dies here when a test wants it so.
#[cfg(debug_assertions)]
pub(super) fn done(step: Step) {
    if std::env::var_os(DIE_AT).is_some_and(|name| name == step.name()) {
        let own = rustix::process::getpid();
        let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    }
}

/// Marks that a step is done.
#[cfg(not(debug_assertions))]
pub(super) fn done(step: Step) {
    let _ = step.name();
}
