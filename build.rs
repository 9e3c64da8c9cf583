//! Compiles `proto/` into client and server code. protox is a compiler written
//! in Rust, so that no `protoc` is needed anywhere.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

const FILES: [&str; 9] =
    ["approval", "autorunner", "daemon", "lease", "run", "schedule", "signal", "trace", "watch"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = FILES.map(|name| format!("spindle/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;

    // The reflection service answers with this set.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("spindle.v1.bin"), descriptors.encode_to_vec())?;

    tonic_prost_build::configure()
        .build_server(env::var_os("CARGO_FEATURE_DAEMON").is_some())
        // In order, as page tokens are bound to the request that they go on with.
        .btree_map(".spindle.v1.ListRunsRequest")
        .compile_fds(descriptors)?;
    Ok(())
}
