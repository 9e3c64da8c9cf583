//! `spindle exec --wait -- true`, from the start of the command to its end.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::Bench;
use crate::home::Home;
use crate::programs::succeed;
use crate::samples::Samples;
use crate::table::{Row, Target, Unit};

const ROUNDS: usize = 100;
/// `pueue wait` looks every two seconds.
const PUEUE_ROUNDS: usize = 3;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let home = Home::new(bench, 8)?;
    let _daemon = home.start()?;
    let quiet = |mut command: Command| {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let mut shell = Command::new("sh");
    shell.args(["-c", "true"]).stdin(Stdio::null());
    let mut shell = quiet(shell);
    let mut status = quiet(home.spindle(["daemon", "status"]));
    let mut exec = quiet(home.spindle(["exec", "--wait", "--", "true"]));

    // Once each, for the caches of the file system.
    for command in [&mut shell, &mut status, &mut exec] {
        succeed(command)?;
    }
    let (mut ours, mut reference) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        reference.time(|| succeed(&mut shell).and_then(|()| succeed(&mut status)))?;
        ours.time(|| succeed(&mut exec))?;
    }
    let pueue = bench.pueue.as_ref().map(|pueue| {
        let queue = pueue.start(&bench.scratch)?;
        let mut times = Samples::default();
        for _ in 0..PUEUE_ROUNDS {
            times.add(queue.add_and_wait()?);
        }
        Ok::<_, anyhow::Error>(times.median())
    });
    Ok(vec![
        Row::new("exec --wait -- true", Unit::Seconds, ours.median())
            .against("sh -c true; spindle daemon status", reference.median())
            .aiming(Target::RatioAtMost(3.0))
            .beside("pueue add, pueue wait", pueue.transpose()?),
    ])
}
