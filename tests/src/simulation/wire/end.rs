//! One end of a connection, as tonic and hyper read and write it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use super::{Way, Wire};

/// One end; `way` is where what it writes goes.
#[derive(Debug)]
pub(crate) struct End {
    wire: Wire,
    line: usize,
    way: Way,
}

impl End {
    pub(super) fn new(wire: Wire, line: usize, way: Way) -> Self {
        Self { wire, line, way }
    }

    fn other(&self) -> Way {
        match self.way {
            Way::Up => Way::Down,
            Way::Down => Way::Up,
        }
    }
}

impl Connected for End {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.wire.with(|inner| {
            let lane = inner.lines[self.line].lane(self.other());
            if lane.arrived.is_empty() && !lane.ended {
                lane.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
            let count = lane.arrived.len().min(buffer.remaining());
            let bytes: Vec<u8> = lane.arrived.drain(..count).collect();
            buffer.put_slice(&bytes);
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.with(|inner| {
            // What reaches nobody any more is noticed where the way back is open.
            if inner.lines[self.line].lane(self.other()).ended {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            inner.sent(self.line, self.way, bytes);
            Poll::Ready(Ok(bytes.len()))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.with(|inner| inner.lines[self.line].lane(self.way).writer_gone = true);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.wire.with(|inner| {
            inner.lines[self.line].lane(self.way).writer_gone = true;
            inner.lines[self.line].lane(self.other()).reader_gone = true;
        });
    }
}
