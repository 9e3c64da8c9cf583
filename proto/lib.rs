//! The client library of Spindle: the wire contract `spindle.v1`, where the
//! daemon is found, and calls that survive its restart.
//!
//! [`paths`] and [`environment`] are shared with the daemon, so that the two
//! programs cannot disagree.

pub mod client;
pub mod environment;
pub mod logs;
pub mod paths;
pub mod reconnect;
pub mod signals;
pub mod watch;

pub use client::{Client, ConnectError, MAX_MESSAGE, PROTOCOL, PROTOCOL_HEADER};
pub use logs::LogReader;
pub use paths::{Paths, PathsError};
pub use reconnect::{Notice, Reconnect};
pub use signals::SignalWatch;
pub use watch::EventWatch;

/// Messages, clients and servers of the package `spindle.v1`, as generated
/// from the files in `proto/`, where each field is described.
#[allow(missing_docs, clippy::pedantic, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("spindle.v1");

    /// The descriptors of the whole package, for the reflection service.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spindle.v1.bin"));
}
