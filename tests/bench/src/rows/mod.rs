//! The measurements, a file for each.

mod capture;
mod exec;
mod memory;
mod queue;
mod restart;
mod rpc;
mod starts;
mod trace_ingest;
mod trace_latency;
mod trace_restart;

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;

use crate::Bench;
use crate::table::Row;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measurement {
    /// A unary call over the socket
    Rpc,
    /// `spindle exec --wait -- true`, the whole process
    Exec,
    /// 1,000 queued runs of `true` with 8 slots
    Queue,
    /// The output of a child that writes 2 GB
    Capture,
    /// A daemon started on a store of many finished runs
    Restart,
    /// The private memory of a shim
    Shim,
    /// Durable starts by several clients at once
    Starts,
    /// A Codex home read for the first time
    TraceIngest,
    /// A daemon started again on 10,000 sessions that it knows
    TraceRestart,
    /// From a record's write to its signal, while 200 sessions are written
    TraceLatency,
}

impl Measurement {
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// Measures.
    pub(crate) async fn take(self, bench: &Bench) -> Result<Vec<Row>> {
        match self {
            Self::Rpc => rpc::measure(bench).await,
            Self::Exec => exec::measure(bench),
            Self::Queue => queue::measure(bench).await,
            Self::Capture => capture::measure(bench).await,
            Self::Restart => restart::measure(bench).await,
            Self::Shim => memory::measure(bench).await,
            Self::Starts => starts::measure(bench).await,
            Self::TraceIngest => trace_ingest::measure(bench).await,
            Self::TraceRestart => trace_restart::measure(bench).await,
            Self::TraceLatency => trace_latency::measure(bench).await,
        }
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => out.write_str(value.get_name()),
            None => Ok(()),
        }
    }
}
