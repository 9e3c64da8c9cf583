//! Limits of time and of output, and full disks.

use std::time::Duration;

use engine::process::{AtOutputLimit, Cause, ExitStatus, Launch, Limits, OutputLimit};

use crate::lab::{Lab, file};

fn output(bytes: u64, then: AtOutputLimit) -> Limits {
    Limits { output: Some(OutputLimit { bytes, then }), ..Limits::default() }
}

#[tokio::test]
async fn a_child_that_runs_too_long_is_stopped() {
    let lab = Lab::new();
    let limits = Limits { wall: Some(Duration::from_millis(50)), ..Limits::default() };
    let exit = lab.run(&Launch { limits, ..lab.script("while :; do echo busy; sleep 0.01; done") }).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Signal(15), Cause::WallLimit));
}

#[tokio::test]
async fn a_silent_child_is_stopped() {
    let lab = Lab::new();
    let limits = Limits { idle: Some(Duration::from_millis(50)), ..Limits::default() };
    let exit = lab.run(&Launch { limits, ..lab.script("echo once; exec sleep 1000") }).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Signal(15), Cause::IdleLimit));
    assert_eq!(lab.captured("stdout"), "once\n");
}

#[tokio::test]
async fn exactly_the_allowed_bytes_are_kept_before_a_stop() {
    let lab = Lab::new();
    let limits = output(1_000_003, AtOutputLimit::Stop);
    let exit = lab.run(&Launch { limits, ..lab.script("echo fine >&2; exec yes 123456789") }).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Signal(15), Cause::OutputLimit));
    assert_eq!((exit.stdout.bytes, exit.stderr.bytes), (1_000_003, 5));
    assert!(exit.stdout.dropped > 0);
    let expected: Vec<u8> = b"123456789\n".iter().copied().cycle().take(1_000_003).collect();
    assert!(file(&lab.path("attempt"), "stdout") == expected);
}

#[tokio::test]
async fn output_that_just_fits_stops_nobody() {
    let lab = Lab::new();
    let limits = output(5, AtOutputLimit::Stop);
    let exit = lab.run(&Launch { limits, ..lab.script("printf 12345; printf 12345 >&2") }).await;
    assert!(exit.success(), "{exit:?}");
    assert_eq!(exit.stdout.dropped, 0);
}

#[tokio::test]
async fn the_oldest_output_is_dropped_and_its_space_given_back() {
    use std::os::unix::fs::MetadataExt;
    let lab = Lab::new();
    let limits = output(100_000, AtOutputLimit::DropOldest);
    let exit = lab.run(&Launch { limits, ..lab.script("seq 1 2000000; echo end >&2") }).await;
    assert!(exit.success(), "{exit:?}");
    let all = crate::lab::numbered("", 1..=2_000_000);
    let length = all.len() as u64;
    assert_eq!((exit.stdout.bytes, exit.stdout.start), (length, length - 100_000));
    assert_eq!((exit.stderr.bytes, exit.stderr.start), (4, 0));

    let captured = file(&lab.path("attempt"), "stdout");
    let start = usize::try_from(exit.stdout.start).unwrap();
    assert!(captured[start..] == all.as_bytes()[start..]);
    let blocks = std::fs::metadata(lab.path("attempt").join("stdout")).unwrap().blocks();
    assert!(blocks * 512 < 200_000, "{blocks} blocks are still used");
}

#[tokio::test]
async fn space_reserved_ahead_of_a_large_output_is_given_back() {
    use std::os::unix::fs::MetadataExt as _;

    let lab = Lab::new();
    let exit = lab.run(&lab.script("head -c 40000000 /dev/zero; echo end")).await;
    assert_eq!(exit.stdout.bytes, 40_000_004);
    let stdout = std::fs::metadata(lab.path("attempt").join("stdout")).unwrap();
    assert_eq!(stdout.len(), 40_000_004);
    assert!(stdout.blocks() * 512 < 41_000_000, "{} blocks are used", stdout.blocks());
}

/// A disk of [`SmallDisk::SIZE`]; `None` where this user may not mount one.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// In bytes.
    const SIZE: usize = 4 << 20;

    fn new(at: std::path::PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={}", Self::SIZE), "tmpfs"])
            .arg(&at)
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_stops_neither_the_child_nor_the_record_of_its_end() {
    let lab = Lab::new();
    let Some(disk) = SmallDisk::new(lab.path("disk")) else {
        eprintln!("skipped: only root may mount a small disk");
        return;
    };
    let dir = disk.0.join("attempt");
    let script =
        "head -c 8000000 /dev/zero; echo wrote > wrote; while [ ! -e go ]; do sleep 0.01; done; echo tail";
    let ballast = disk.0.join("ballast");
    // Room for more than is still on its way, a pipe's and a stage's capacity, when the child has written all.
    std::fs::write(&ballast, vec![1; SmallDisk::SIZE / 2]).unwrap();
    let process = lab.supervisor.start(&dir, &lab.script(script), Vec::new()).await.unwrap();
    lab.appears("wrote").await;
    std::fs::remove_file(&ballast).unwrap();
    std::fs::write(lab.path("go"), "").unwrap();

    let exit = crate::lab::exit_of(&process).await;
    assert_eq!(exit.status, ExitStatus::Code(0));
    assert_eq!(exit.stdout.bytes + exit.stdout.dropped, 8_000_005);
    assert!(exit.stdout.dropped > 3_000_000);
    let captured = file(&dir, "stdout");
    assert!(captured.ends_with(b"tail\n"), "it did not go on when there was room");
    assert_eq!(captured.len() as u64, exit.stdout.bytes);

    let hub = engine::logs::LogHub::new();
    let mut arrivals = hub.open_arrivals(&dir, false).await.unwrap();
    let mut told = 0;
    while let Some(arrival) = arrivals.next().await.unwrap() {
        told += u64::from(arrival.dropped);
    }
    assert_eq!(told, exit.stdout.dropped);
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_start_means_that_nothing_ran() {
    let lab = Lab::new();
    let Some(disk) = SmallDisk::new(lab.path("disk")) else {
        eprintln!("skipped: only root may mount a small disk");
        return;
    };
    let dir = disk.0.join("attempt");
    // Room for the launch record only.
    let _ = std::fs::write(disk.0.join("ballast"), vec![1; SmallDisk::SIZE - 16_384]);
    let started = lab.supervisor.start(&dir, &lab.script("echo ran > ran"), Vec::new()).await;
    if let Ok(process) = started {
        let ended = process.wait().await.unwrap();
        let told = match &ended {
            engine::process::Ended::NothingRan => true,
            engine::process::Ended::Exited(exit) => matches!(exit.status, ExitStatus::ShimFailed { .. }),
            engine::process::Ended::Lost(_) => false,
        };
        assert!(told, "{ended:?}");
    }
    assert!(!lab.path("ran").exists());
}
