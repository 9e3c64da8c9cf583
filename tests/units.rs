//! The files by which a service manager starts the daemon, judged by those who read them: systemd
//! itself, and the property-list parser of Python. What a test needs is a word in its name, by which
//! `tests/run` leaves it out where that cannot be had.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter that `tests/setup` prepares.
fn python() -> PathBuf {
    let python = checkout().join("target/judges/python/bin/python");
    assert!(python.exists(), "{} is missing: run `tests/setup test`", python.display());
    python
}

/// Runs a command to its end and gives what it printed; it must succeed.
fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn systemd_understands_every_line_of_the_installed_unit() {
    output_of(&mut Command::new(checkout().join("tests/judges/systemd-unit")));
}

/// Sandboxing, limits and priorities pass to every process of every run, so a new key in this
/// section is a decision: whoever adds one here has checked that children do not inherit it.
#[test]
fn the_unit_sets_nothing_that_the_processes_of_runs_would_inherit() {
    const ABOUT_THE_DAEMON_ALONE: [&str; 12] = [
        "Type",
        "NotifyAccess",
        "ExecStart",
        "ExecReload",
        "KillMode",
        "Delegate",
        "OOMPolicy",
        "WatchdogSec",
        "Restart",
        "RestartSec",
        "RestartPreventExitStatus",
        "TimeoutStopSec",
    ];

    let unit = std::fs::read_to_string(checkout().join("systemd/spindled.service")).unwrap();
    let keys: Vec<&str> = unit
        .lines()
        .skip_while(|line| *line != "[Service]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();

    assert_eq!(keys, ABOUT_THE_DAEMON_ALONE);
}

#[test]
fn the_unit_lets_runs_outlive_the_daemon() {
    let unit = std::fs::read_to_string(checkout().join("systemd/spindled.service")).unwrap();
    for line in ["Type=notify", "KillMode=process", "Delegate=yes", "OOMPolicy=continue"] {
        assert!(unit.lines().any(|l| l == line), "{line} is missing");
    }
}

#[test]
fn the_launchd_agent_as_python_reads_it_lets_runs_outlive_the_daemon() {
    let home = tempfile::tempdir().unwrap();
    output_of(
        Command::new("make")
            .current_dir(checkout())
            .args(["--no-print-directory", "install-launchd", "DESTDIR=", "PREFIX=/opt/spindle"])
            .arg(format!("HOME={}", home.path().display())),
    );

    let file = home.path().join("Library/LaunchAgents/dev.spindle.spindled.plist");
    let program = "import json, plistlib, sys; print(json.dumps(plistlib.load(open(sys.argv[1], 'rb'))))";
    let json = output_of(Command::new(python()).args(["-c", program]).arg(&file));
    let agent: serde_json::Value = serde_json::from_str(&json).unwrap();

    let log = home.path().join("Library/Logs/spindled.log");
    assert_eq!(
        agent,
        serde_json::json!({
            "Label": "dev.spindle.spindled",
            "ProgramArguments": ["/opt/spindle/bin/spindled"],
            "AbandonProcessGroup": true,
            "RunAtLoad": true,
            "KeepAlive": { "SuccessfulExit": false },
            "ExitTimeOut": 15,
            "ProcessType": "Interactive",
            "StandardOutPath": log,
            "StandardErrorPath": log,
        })
    );
}
