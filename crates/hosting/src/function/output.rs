//! What an environment prints, kept until somebody takes it.
//!
//! A task per pipe reads all the time, so that a child that prints is never stopped by a full pipe.
//! [`Output::drain`] reads what is in the pipes at that moment: what a child wrote before it answered
//! is there when its answer is passed on, without waiting.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::net::unix::pipe::Receiver;

use crate::process::{Pipes, Splitter, Stream};

/// Bytes of text that are kept between two takes.
pub const MAX_OUTPUT: usize = 1 << 20;

/// Bytes that one look into a pipe reads at most: the usual size of a pipe.
const CHUNK: usize = 64 << 10;

/// A line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLine {
    /// Where it came from.
    pub stream: Stream,
    /// Its text without the end of the line, at most [`MAX_LINE`](crate::process::MAX_LINE) bytes
    /// before bytes that are not UTF-8 were replaced.
    pub text: String,
    /// When it was read.
    pub at: Instant,
}

#[derive(Debug)]
pub(super) struct Output {
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: Vec<OutputLine>,
    bytes: usize,
    dropped: u64,
    stdout: Splitter,
    stderr: Splitter,
}

impl Kept {
    fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let splitter = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        for text in splitter.push(bytes) {
            self.keep(stream, text);
        }
    }

    fn keep(&mut self, stream: Stream, text: String) {
        // The end of the line counts, or empty lines were free.
        let size = text.len() + 1;
        if self.bytes + size > MAX_OUTPUT {
            self.dropped += size as u64;
        } else {
            self.bytes += size;
            self.lines.push(OutputLine { stream, text, at: Instant::now() });
        }
    }
}

impl Output {
    /// Takes the pipes. To be called within a tokio runtime.
    pub(super) fn new(pipes: Pipes) -> std::io::Result<Output> {
        let receiver = |pipe: std::io::Result<OwnedFd>| Receiver::from_owned_fd(pipe?);
        Ok(Output {
            stdout: pipes.stdout.map(|p| receiver(p.into_owned_fd())).transpose()?,
            stderr: pipes.stderr.map(|p| receiver(p.into_owned_fd())).transpose()?,
            kept: Mutex::default(),
        })
    }

    /// Starts reading. The tasks end when the pipes are closed, or when they are aborted.
    pub(super) fn pump(self: &Arc<Output>) -> [tokio::task::JoinHandle<()>; 2] {
        [Stream::Stdout, Stream::Stderr].map(|stream| tokio::spawn(pump(Arc::clone(self), stream)))
    }

    /// Reads what is in the pipes now and counts what is left of a line as one.
    pub(super) fn drain(&self) {
        let mut buffer = vec![0; CHUNK];
        let mut kept = self.lock();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let Some(pipe) = self.pipe(stream) else { continue };
            // Not until it is empty: it may be filled faster than it is emptied.
            let mut left = rustix::io::ioctl_fionread(pipe.as_fd()).unwrap_or(0);
            while left > 0 {
                // Past tokio, which may not yet have been told that the pipe is readable.
                let Ok(count @ 1..) = rustix::io::read(pipe.as_fd(), &mut buffer) else { break };
                left = left.saturating_sub(count as u64);
                kept.push(stream, buffer.get(..count).unwrap_or_default());
            }
        }
        let rest = [(Stream::Stdout, kept.stdout.finish()), (Stream::Stderr, kept.stderr.finish())];
        for (stream, text) in rest {
            if let Some(text) = text {
                kept.keep(stream, text);
            }
        }
    }

    /// What was read since the last time. What did not fit is told in a last line.
    pub(super) fn take(&self) -> Vec<OutputLine> {
        let mut kept = self.lock();
        kept.bytes = 0;
        let dropped = std::mem::take(&mut kept.dropped);
        let mut lines = std::mem::take(&mut kept.lines);
        if dropped > 0 {
            let text = format!(
                "kennel: {dropped} bytes of output were dropped; {MAX_OUTPUT} bytes are kept for each invocation"
            );
            lines.push(OutputLine { stream: Stream::Stderr, text, at: Instant::now() });
        }
        lines
    }

    fn pipe(&self, stream: Stream) -> Option<&Receiver> {
        match stream {
            Stream::Stdout => self.stdout.as_ref(),
            Stream::Stderr => self.stderr.as_ref(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pump(output: Arc<Output>, stream: Stream) {
    let Some(pipe) = output.pipe(stream) else { return };
    let mut buffer = vec![0; CHUNK];
    while pipe.readable().await.is_ok() {
        // INVARIANT: read and kept under one lock, so that `drain` never overtakes bytes on their way.
        let mut kept = output.lock();
        match pipe.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => kept.push(stream, buffer.get(..count).unwrap_or_default()),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
