// SPDX-License-Identifier: Apache-2.0
//! One connection: requests out, answers in, in whatever order they come.

use anyhow::{Context, Result, bail};
use oxmq_remoting::{Command, Encoding, FRAME_MAX_BYTES, Header, Kind, code, split_frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// A single request that is not answered within this time fails.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const READ_MIN: usize = 256 * 1024;

/// A connection that is written to and read from by one thread.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// The part of `incoming` that is not yet handled.
    begin: usize,
    end: usize,
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// Response code.
    pub(crate) code: i32,
    /// Number of the request.
    pub(crate) opaque: i32,
    /// Bytes of the body.
    pub(crate) body: &'a [u8],
    header: Header<'a>,
}

impl Answer<'_> {
    /// A number among the custom fields.
    pub(crate) fn number(&self, field: &str) -> Option<u64> {
        self.header.fields.get(field)?.as_plain()?.parse().ok()
    }

    /// The code, and the reason if there is one.
    pub(crate) fn reason(&self) -> String {
        let remark = self.header.remark.map(|remark| remark.to_cow().into_owned()).unwrap_or_default();
        format!("code {}: {remark}", self.code)
    }
}

impl Connection {
    /// Connects.
    pub(crate) fn open(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server).with_context(|| format!("cannot connect to {server}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, outgoing: Vec::new(), incoming: Vec::new(), begin: 0, end: 0 })
    }

    /// Adds a request to what [`flush`](Self::flush) writes.
    pub(crate) fn push(&mut self, request: &Command, opaque: i32) {
        request.encode(Encoding::Json, Kind::Request, opaque, &mut self.outgoing);
        request.body.pieces().iter().for_each(|piece| self.outgoing.extend_from_slice(piece));
    }

    /// Writes. Blocks if the server does not read, which it does if answers to what was asked are few and short.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if !self.outgoing.is_empty() {
            self.stream.write_all(&self.outgoing).context("cannot write")?;
            self.outgoing.clear();
        }
        Ok(())
    }

    /// Waits for answers until `deadline` and hands over those that came with the first of them.
    pub(crate) fn receive(&mut self, deadline: Instant, mut each: impl FnMut(Answer<'_>)) -> Result<()> {
        let rest = deadline.saturating_duration_since(Instant::now());
        let rest = Timespec { tv_sec: rest.as_secs() as _, tv_nsec: rest.subsec_nanos() as _ };
        let mut wanted = [PollFd::new(&self.stream, PollFlags::IN)];
        match poll(&mut wanted, Some(&rest)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error).context("cannot wait"),
        }
        if self.incoming.len() - self.end < READ_MIN {
            self.incoming.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            // A frame is at most 16 MiB long: that bounds it.
            self.incoming.resize(self.incoming.len().max(self.end + READ_MIN), 0);
        }
        match self.stream.read(&mut self.incoming[self.end..]).context("cannot read")? {
            0 => bail!("the server closed the connection"),
            got => self.end += got,
        }
        while let Some(frame) = split_frame(&self.incoming[self.begin..self.end], FRAME_MAX_BYTES)? {
            self.begin += frame.size;
            let header = Header::parse(frame.encoding, frame.header)?;
            // Servers also ask; nobody here answers.
            if header.is_response() {
                each(Answer { code: header.code, opaque: header.opaque, body: frame.body, header });
            }
        }
        Ok(())
    }

    /// Asks and takes what `read` makes of the answer, whatever its code is.
    pub(crate) fn ask<T>(&mut self, request: &Command, mut read: impl FnMut(Answer<'_>) -> T) -> Result<T> {
        self.push(request, 0);
        self.flush()?;
        let (deadline, mut result) = (Instant::now() + ANSWER_MAX, None);
        while result.is_none() {
            if Instant::now() >= deadline {
                bail!("no answer to request code {}", request.code);
            }
            self.receive(deadline, |answer| result = Some(read(answer)))?;
        }
        result.context("no answer")
    }

    /// Asks for a number, which must be answered.
    pub(crate) fn ask_number(&mut self, request: &Command, field: &str) -> Result<u64> {
        let answer = self.ask(request, |answer| match (answer.code, answer.number(field)) {
            (code::SUCCESS, Some(number)) => Ok(number),
            _ => Err(answer.reason()),
        })?;
        answer.map_err(|reason| anyhow::anyhow!("request code {}: {reason}", request.code))
    }
}
