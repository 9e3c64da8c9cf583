//! `spindle daemon export`: the store as JSON lines.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use spindle_client::v1::{ExportChunk, ExportRequest};
use tonic::Streaming;

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::show::size;

const AFTER_HELP: &str = "\
The file appears only when it is complete. `spindle daemon restore` reads it.

Examples:
  spindle daemon export backup.jsonl
  spindle daemon export - | zstd > backup.jsonl.zst";

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct ExportArgs {
    /// Where to write it; - is standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl ExportArgs {
    pub(crate) async fn perform(self, app: &App) -> Result<Exit, CtlError> {
        let client = app.client().await?;
        let answer = client.daemon().export(ExportRequest {}).await.map_err(calling("export the store"))?;
        let mut chunks = answer.into_inner();
        if self.file.as_os_str() == "-" {
            while let Some(chunk) = chunks.message().await.map_err(calling("export the store"))? {
                app.out.bytes(&chunk.data)?;
            }
            return Ok(Exit::DONE);
        }
        let written = save(&self.file, &mut chunks).await?;
        app.out.note(&format!("wrote {} to {}", size(written), self.file.display()));
        Ok(Exit::DONE)
    }
}

/// Writes beside the file and renames at the end: half a backup is worse than
/// none.
async fn save(path: &Path, chunks: &mut Streaming<ExportChunk>) -> Result<u64, CtlError> {
    let failed = |source: io::Error| CtlError::File { what: "write", path: path.to_path_buf(), source };
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    // A store holds environments and prompts: for its owner only.
    let options = &mut File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&part).map_err(failed)?;
    let mut written = 0;
    let result = loop {
        match chunks.message().await {
            Ok(Some(chunk)) => {
                written += chunk.data.len() as u64;
                if let Err(error) = file.write_all(&chunk.data) {
                    break Err(failed(error));
                }
            }
            Ok(None) => break file.sync_all().and_then(|()| fs::rename(&part, path)).map_err(failed),
            Err(status) => break Err(calling("export the store")(status)),
        }
    };
    if result.is_err() {
        // What is left of it is of no use to anybody.
        let _ = fs::remove_file(&part);
    }
    result.map(|()| written)
}
