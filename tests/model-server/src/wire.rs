//! A listener whose connections can be broken on purpose.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, Result};
use tokio::net::{TcpListener, TcpStream};

/// A handler's grip on the connection that it answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grip(Arc<AtomicBool>);

impl Grip {
    /// Makes the connection end with a reset instead of a close, whenever it ends.
    pub(crate) fn reset_at_close(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A TCP listener that gives each connection a [`Grip`].
pub(crate) struct BreakableListener(pub(crate) TcpListener);

/// One connection.
pub(crate) struct Breakable {
    stream: TcpStream,
    grip: Grip,
}

impl Drop for Breakable {
    fn drop(&mut self) {
        if self.grip.0.load(Ordering::Relaxed) {
            // A connection that is already gone cannot be reset, which is as good.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl Listener for BreakableListener {
    type Io = Breakable;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, peer) = Listener::accept(&mut self.0).await;
        (Breakable { stream, grip: Grip::default() }, peer)
    }

    fn local_addr(&self) -> Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, BreakableListener>> for Grip {
    fn connect_info(stream: IncomingStream<'_, BreakableListener>) -> Self {
        stream.io().grip.clone()
    }
}

impl AsyncRead for Breakable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Breakable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.grip.0.load(Ordering::Relaxed) {
            // An orderly shutdown would send the FIN that the reset is to replace.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
