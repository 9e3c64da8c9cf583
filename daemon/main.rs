//! stand-in
mod api; mod config; mod serve; mod tasks;
use std::process::ExitCode;
fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|a| a == "shim") {
        return engine::process::shim::main(std::path::Path::new(&args.next().unwrap()));
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let rt = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    rt.block_on(async {
        let mut paths = spindle_client::Paths::from_environment().unwrap();
        paths.prepare().unwrap();
        let _ = std::fs::remove_file(&paths.socket);
        let listener = tokio::net::UnixListener::bind(&paths.socket).unwrap();
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
        let d = serve::Daemon::start(serve::Start { paths, config: config::Config::default(), log: "stderr".into(), incoming, reload: Box::new(|| Ok(config::Config::default())) }).await.unwrap();
        println!("ready");
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        tokio::select! { _ = term.recv() => {}, () = d.stopping() => {} }
        d.end().await.unwrap();
    });
    rt.shutdown_timeout(std::time::Duration::from_secs(1));
    ExitCode::SUCCESS
}
