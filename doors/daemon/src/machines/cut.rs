//! A stream that somebody else can cut, wherever it was handed to meanwhile.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

/// The stream.
pub(super) struct Cut<S> {
    inner: S,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    is_cut: bool,
    _alive: DropGuard,
}

/// What cuts it.
pub(super) struct Cutter {
    cut: CancellationToken,
    gone: CancellationToken,
}

impl<S> Cut<S> {
    /// `inner`, and what cuts it.
    pub(super) fn new(inner: S) -> (Cut<S>, Cutter) {
        let (cut, gone) = (CancellationToken::new(), CancellationToken::new());
        let waiting = Box::pin(cut.clone().cancelled_owned());
        (Cut { inner, cut: waiting, is_cut: false, _alive: gone.clone().drop_guard() }, Cutter { cut, gone })
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.is_cut = self.is_cut || self.cut.as_mut().poll(context).is_ready();
        match self.is_cut {
            true => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut")),
            false => Ok(()),
        }
    }
}

impl Cutter {
    /// From now on nothing goes through.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    /// Resolves when the stream was dropped.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Cut<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cut<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
