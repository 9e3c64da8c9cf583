//! `spindle run logs`: the bytes that a process wrote.

use clap::Args;
use spindle_client::v1::{LogStream, ReadLogRequest};
use spindle_client::{Client, LogReader};

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::follow::{unless_interrupted, whole_id};
use crate::parse;
use crate::show::text::count;

const AFTER_HELP: &str = "\
Prints the bytes exactly as they were written, control characters included, on
standard output; --json changes nothing here. When a limit has dropped bytes in
the middle, a note on standard error says so.

Examples:
  spindle run logs 01934f2a
  spindle run logs --stderr 01934f2a | less
  spindle run logs -f --tail 4K 01934f2a
  spindle run logs --step 'iteration 3' --attempt 2 01934f2a";

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct LogsArgs {
    /// Go on until the run has ended (with --step: that step)
    #[arg(short, long)]
    follow: bool,

    /// Standard error instead of standard output
    #[arg(long)]
    stderr: bool,

    /// The step [default: the last that has a process]
    #[arg(long, value_name = "NAME")]
    step: Option<String>,

    /// The attempt, counted from 1 [default: the last]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,

    /// Only the last bytes, such as 4K
    #[arg(long, value_name = "BYTES", value_parser = parse::size)]
    tail: Option<u64>,

    /// Id of the run, or its beginning
    id: String,
}

impl LogsArgs {
    pub(crate) async fn perform(self, app: &App, client: Client) -> Result<Exit, CtlError> {
        let stream = if self.stderr { LogStream::Stderr } else { LogStream::Stdout };
        let request = ReadLogRequest {
            run: whole_id(&client, &self.id, "read the log of").await?,
            step: self.step.unwrap_or_default(),
            attempt: self.attempt.unwrap_or(0),
            stream: stream.into(),
            offset: 0,
            last_bytes: self.tail,
            follow: self.follow,
        };
        let mut reader = LogReader::new(client, request, app.wait_patiently());
        unless_interrupted(&self.id, async {
            let mut last: Option<(String, u64)> = None;
            while let Some(chunk) =
                reader.next().await.map_err(calling(format!("read the log of run {}", self.id)))?
            {
                if let Some((step, expected)) = last
                    && step == chunk.step
                    && chunk.offset > expected
                {
                    app.out.note(&format!("[dropped here: {}]", count(chunk.offset - expected, "byte")));
                }
                last = Some((chunk.step, chunk.offset + chunk.data.len() as u64));
                app.out.bytes(&chunk.data)?;
            }
            Ok(Exit::DONE)
        })
        .await
    }
}
