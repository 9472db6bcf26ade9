// SPDX-License-Identifier: Apache-2.0
//! Bytes that wait to be written to one socket: heads that we encoded, and pieces of bodies that lie elsewhere
//! (in the page cache, most often) and are handed to the kernel from there.

use bytes::Bytes;
use oxmq_remoting::{Command, Encoding, Kind};
use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncWrite;

/// Most pieces handed to the kernel in one call.
const SLICES_MAX: usize = 256;
/// A piece up to this size is copied behind its head: cheaper than one more entry of a vectored write.
const COPY_MAX_BYTES: usize = 512;

#[derive(Debug)]
enum Chunk {
    Ours(Vec<u8>),
    Theirs(Bytes),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Ours(bytes) => bytes,
            Self::Theirs(bytes) => bytes,
        }
    }
}

/// A queue of bytes for one socket.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are written already.
    written: usize,
    unsent: usize,
}

impl Outbox {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.unsent
    }

    /// Adds a command. `spare` gives a buffer if a new one is needed.
    pub(crate) fn push(
        &mut self,
        command: Command,
        encoding: Encoding,
        kind: Kind,
        opaque: i32,
        spare: &mut Vec<u8>,
    ) {
        let ours = self.ours(spare);
        let before = ours.len();
        command.encode(encoding, kind, opaque, ours);
        let mut added = ours.len() - before;
        for piece in command.body.into_pieces() {
            added += piece.len();
            if piece.len() <= COPY_MAX_BYTES {
                self.ours(spare).extend_from_slice(&piece);
            } else {
                self.chunks.push_back(Chunk::Theirs(piece));
            }
        }
        self.unsent += added;
    }

    fn ours(&mut self, spare: &mut Vec<u8>) -> &mut Vec<u8> {
        if !matches!(self.chunks.back(), Some(Chunk::Ours(_))) {
            self.chunks.push_back(Chunk::Ours(std::mem::take(spare)));
        }
        match self.chunks.back_mut() {
            Some(Chunk::Ours(bytes)) => bytes,
            _ => unreachable!("a chunk of ours was pushed just now"),
        }
    }

    /// Writes until the outbox is empty or the socket takes no more.
    pub(crate) fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
        spare: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        while self.unsent > 0 {
            let stream = Pin::new(&mut *stream);
            let written = if self.chunks.len() == 1 {
                ready!(stream.poll_write(context, &self.chunks[0].bytes()[self.written..]))?
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let mut count = 0;
                for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
                    *slice = IoSlice::new(chunk.bytes());
                    count += 1;
                }
                slices[0].advance(self.written);
                ready!(stream.poll_write_vectored(context, &slices[..count]))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written, spare);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize, spare: &mut Vec<u8>) {
        self.unsent -= written;
        self.written += written;
        while let Some(first) = self.chunks.front() {
            let length = first.bytes().len();
            if self.written < length {
                return;
            }
            self.written -= length;
            if let Some(Chunk::Ours(mut bytes)) = self.chunks.pop_front()
                && spare.capacity() == 0
            {
                bytes.clear();
                *spare = bytes;
            }
        }
    }

    /// Gives back what an idle connection does not need.
    pub(crate) fn shrink(&mut self) {
        if self.unsent == 0 && self.chunks.capacity() > 64 {
            self.chunks = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    #[tokio::test(flavor = "current_thread")]
    async fn writes_heads_and_pieces_in_order_through_a_narrow_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut other, _) = listener.accept().await.unwrap();
        let (mut outbox, mut spare, mut expected) = (Outbox::default(), Vec::new(), Vec::new());
        for number in 0..2000u32 {
            let mut command = Command::new(1);
            for size in [0, 10, 600, 70_000 * usize::from(number % 100 == 0)] {
                command.body.push(Bytes::from(vec![number as u8; size]));
            }
            command.encode(Encoding::Json, Kind::Request, 7, &mut expected);
            expected.extend(command.body.pieces().iter().flatten());
            outbox.push(command, Encoding::Json, Kind::Request, 7, &mut spare);
        }
        assert_eq!(outbox.len(), expected.len());
        let read = tokio::spawn(async move {
            let mut all = Vec::new();
            other.read_to_end(&mut all).await.unwrap();
            all
        });
        std::future::poll_fn(|context| outbox.poll_write(&mut stream, context, &mut spare)).await.unwrap();
        assert_eq!(outbox.len(), 0);
        drop(stream);
        assert!(read.await.unwrap() == expected);
        assert!(spare.capacity() > 0 && spare.is_empty());
    }
}
