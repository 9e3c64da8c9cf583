//! Options that are common to starting anything.

use clap::{Args, ValueEnum};
use spindle_client::environment;
use spindle_client::v1::{AfterRun, EnvironmentVariable, OnInterrupt, SecretReference, StartOptions};

use crate::parse::{self, Retry};
use crate::show::Out;

/// What becomes of a run whose process was lost.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnInterruptChoice {
    /// Try it again by itself.
    Resume,
    /// Leave it interrupted, for a person to decide.
    Hold,
}

/// The options of a start, as a person gives them.
#[derive(Debug, Clone, Args)]
pub(crate) struct StartArgs {
    /// A name for people
    #[arg(long)]
    name: Option<String>,

    /// A label to find it by; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::pair)]
    labels: Vec<(String, String)>,

    /// Set a variable of its environment (stored in clear); may be repeated
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = parse::pair)]
    env: Vec<(String, String)>,

    /// Set a variable to a secret, of which only the source is stored:
    /// `env:NAME` (of the daemon), `file:PATH` or `cmd:COMMAND`; may be repeated
    #[arg(long = "secret", value_name = "KEY=SOURCE", value_parser = parse::secret)]
    secrets: Vec<SecretReference>,

    /// Hold a resource while it runs, such as gpu:0 or repo:PATH; may be repeated
    #[arg(long = "lease", value_name = "KIND:NAME", value_parser = parse::lease)]
    leases: Vec<String>,

    /// Start earlier than what has a lower number
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    priority: i32,

    /// Start when another run has ended: ID, ID:failed or ID:any; may be repeated
    #[arg(long = "after", value_name = "ID[:OUTCOME]", value_parser = parse::after)]
    after: Vec<AfterRun>,

    /// Try again up to N times when it fails: `N[,backoff=2s][,max=5m][,on=exit+timeout]`
    #[arg(long, value_name = "N", value_parser = parse::retry)]
    retry: Option<Retry>,

    /// What to do when its process is lost (a reboot, a kill from outside)
    #[arg(long, value_enum, value_name = "WHAT")]
    on_interrupt: Option<OnInterruptChoice>,
}

impl StartArgs {
    /// The options for the wire, with the environment of this process.
    pub(crate) fn options(self, out: Out) -> StartOptions {
        for (name, _) in self.env.iter().filter(|(name, _)| environment::looks_secret(name)) {
            out.note(&format!(
                "--env {name} is stored in clear; --secret {name}=… stores only where it is found"
            ));
        }
        let variable =
            |(name, value): (String, String)| EnvironmentVariable { name, value: value.into_bytes() };
        let on_interrupt = match self.on_interrupt {
            None => OnInterrupt::Unspecified,
            Some(OnInterruptChoice::Resume) => OnInterrupt::Resume,
            Some(OnInterruptChoice::Hold) => OnInterrupt::Hold,
        };
        StartOptions {
            name: self.name.unwrap_or_default(),
            labels: self.labels.into_iter().collect(),
            environment: environment::capture(std::env::vars_os()),
            env: self.env.into_iter().map(variable).collect(),
            secrets: self.secrets,
            leases: self.leases,
            priority: self.priority,
            after: self.after,
            retry: self.retry.map(Into::into),
            on_interrupt: on_interrupt.into(),
        }
    }
}

/// A request id for one call, so that it can be made again after a cut.
pub(crate) fn fresh_request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
