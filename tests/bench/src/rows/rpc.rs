//! A unary call over the socket, beside the same call to a tonic server that does nothing else.

use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use spindle_client::v1::GetInfoRequest;
use spindle_client::v1::daemon_service_client::DaemonServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::Bench;
use crate::home::Home;
use crate::part::Part;
use crate::samples::Samples;
use crate::table::{Row, Target, Unit};

/// The calls go in blocks, one server after the other, so that whatever else the machine does meets
/// all of them.
const BLOCKS: usize = 40;
const CALLS: usize = 500;
const WARM_UP: usize = 1000;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let home = Home::new(bench, 8)?;
    let daemon = home.start()?;
    let socket = home.path().join("echo.sock");
    let _echo = Echo(Part::Echo(socket.clone()).command().spawn().context("cannot start the echo server")?);

    let mut echo = HealthClient::new(connect(&format!("unix://{}", socket.display())).await?);
    let mut check = HealthClient::new(connect(&daemon.address()).await?);
    let mut info = DaemonServiceClient::new(connect(&daemon.address()).await?);
    let question = || HealthCheckRequest { service: String::new() };

    let (mut echo_times, mut check_times, mut info_times) =
        (Samples::default(), Samples::default(), Samples::default());
    let mut warm_up = Samples::default();
    timed(&mut warm_up, WARM_UP, async || echo.check(question()).await.map(drop)).await?;
    timed(&mut warm_up, WARM_UP, async || check.check(question()).await.map(drop)).await?;
    timed(&mut warm_up, WARM_UP, async || info.get_info(GetInfoRequest {}).await.map(drop)).await?;
    for _ in 0..BLOCKS {
        timed(&mut echo_times, CALLS, async || echo.check(question()).await.map(drop)).await?;
        timed(&mut check_times, CALLS, async || check.check(question()).await.map(drop)).await?;
        timed(&mut info_times, CALLS, async || info.get_info(GetInfoRequest {}).await.map(drop)).await?;
    }

    let row = |name: &str, ours: &Samples, percent| {
        Row::new(format!("unary call, {name}, p{percent}"), Unit::Seconds, ours.percentile(percent))
            .against("a bare tonic server's empty method", echo_times.percentile(percent))
            .aiming(Target::RatioAtMost(1.5))
    };
    Ok(vec![
        row("health check", &check_times, 50),
        row("health check", &check_times, 99),
        row("daemon info", &info_times, 50),
        row("daemon info", &info_times, 99),
    ])
}

async fn timed(
    samples: &mut Samples,
    calls: usize,
    mut call: impl AsyncFnMut() -> Result<(), tonic::Status>,
) -> Result<()> {
    for _ in 0..calls {
        let start = Instant::now();
        call().await?;
        samples.add(start.elapsed());
    }
    Ok(())
}

/// Connects as soon as somebody listens.
async fn connect(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(address.to_owned())?;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match endpoint.connect().await {
            Ok(channel) => return Ok(channel),
            Err(error) if Instant::now() > deadline => bail!("nobody answers on {address}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

struct Echo(Child);

impl Drop for Echo {
    fn drop(&mut self) {
        // It never ends by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
