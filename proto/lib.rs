//! The client library of Spindle: the wire contract `spindle.v1` and how to
//! reach the daemon that serves it.

/// Messages, clients and servers of the package `spindle.v1`, as generated
/// from the files in `proto/`, where each field is described.
#[allow(missing_docs, clippy::pedantic, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("spindle.v1");

    /// The descriptors of the whole package, for the reflection service.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spindle.v1.bin"));
}
