//! Measures what a supervised process costs: `processes [SHIMS]`, built with `--release`.
//!
//! Prints the time of a whole start and end of `true`, the private memory of idle shims, and the throughput of the
//! capture as a ratio to the same child writing straight to a file, in this order.

use std::error::Error;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use engine::process::{Launch, Process, ShimCommand, Supervisor, raise_open_files};

const ROUNDS: usize = 200;
const WRITTEN: u64 = 2 << 30;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == "write") {
        return write(args.get(2).map_or(Ok(4096), |size| size.parse())?);
    }
    let shims = args.get(1).map_or(Ok(100), |number| number.parse())?;
    let shim = std::env::current_exe()?.with_file_name("shim");
    let soft = raise_open_files()?;
    let supervisor = Supervisor::new(ShimCommand { program: shim, args: Vec::new() }, soft);
    let root = std::env::temp_dir().join(format!("spindle-measure-{}", std::process::id()));
    std::fs::create_dir(&root)?;
    let result =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
            short_runs(&supervisor, &root).await?;
            idle_shims(&supervisor, &root, shims).await?;
            for size in ["4096", "65536"] {
                capture(&supervisor, &root, size).await?;
            }
            Ok(())
        });
    std::fs::remove_dir_all(&root)?;
    result
}

/// The child of [`capture`].
fn write(size: usize) -> Outcome<()> {
    let block = vec![b'x'; size];
    // Without the line buffer of the standard library.
    let mut stdout = std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    for _ in 0..WRITTEN / size as u64 {
        stdout.write_all(&block)?;
    }
    Ok(())
}

async fn short_runs(supervisor: &Supervisor, root: &Path) -> Outcome<()> {
    let mut plain = Vec::new();
    let mut supervised = Vec::new();
    for round in 0..ROUNDS {
        let start = Instant::now();
        Command::new("/bin/true").status()?;
        plain.push(start.elapsed());
        let start = Instant::now();
        let process = supervisor
            .start(&root.join(format!("true-{round}")), &Launch::new("/bin/true", "/"), Vec::new())
            .await?;
        process.wait().await?;
        supervised.push(start.elapsed());
    }
    println!(
        "spawn and wait `true`:      p50 {:?}, p99 {:?}",
        percentile(&mut plain, 50),
        percentile(&mut plain, 99)
    );
    println!(
        "the same under a shim:      p50 {:?}, p99 {:?}",
        percentile(&mut supervised, 50),
        percentile(&mut supervised, 99)
    );
    Ok(())
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

async fn idle_shims(supervisor: &Supervisor, root: &Path, number: usize) -> Outcome<()> {
    let launch = Launch::new("/bin/sleep", "/").args(["1000"]);
    let start = Instant::now();
    let mut processes: Vec<Process> = Vec::new();
    for number in 0..number {
        processes.push(supervisor.start(&root.join(format!("idle-{number}")), &launch, Vec::new()).await?);
    }
    while !processes.iter().all(|process| process.pid().is_some()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let started = start.elapsed();
    let mut private: Vec<u64> = processes.iter().map(|process| private_kib(process.shim_pid())).collect();
    private.sort_unstable();
    println!(
        "{number} shims at once:         started in {started:?}, private memory median {} KiB, largest {} KiB",
        private[private.len() / 2],
        private[private.len() - 1]
    );
    let start = Instant::now();
    processes.iter().for_each(Process::stop);
    for process in &processes {
        process.wait().await?;
    }
    println!("all stopped:                in {:?}", start.elapsed());
    Ok(())
}

fn private_kib(pid: i32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    private.filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

async fn capture(supervisor: &Supervisor, root: &Path, size: &str) -> Outcome<()> {
    let own = std::env::current_exe()?;
    let mut ratios = Vec::new();
    for round in 0..3 {
        let file = root.join("direct");
        let start = Instant::now();
        let mut direct = Command::new(&own);
        direct.args(["write", size]).stdout(std::fs::File::create(&file)?).stdin(Stdio::null()).status()?;
        let direct = start.elapsed();
        std::fs::remove_file(&file)?;

        let dir = root.join(format!("write-{size}-{round}"));
        let launch = Launch::new(own.clone(), "/").args(["write", size]);
        let start = Instant::now();
        supervisor.start(&dir, &launch, Vec::new()).await?.wait().await?;
        let captured = start.elapsed();
        std::fs::remove_dir_all(&dir)?;
        ratios.push((direct.as_secs_f64() / captured.as_secs_f64(), direct, captured));
    }
    ratios.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (ratio, direct, captured) = ratios[1];
    println!("2 GiB in writes of {size:>6}:  direct {direct:?}, captured {captured:?}, ratio {ratio:.2}");
    Ok(())
}
