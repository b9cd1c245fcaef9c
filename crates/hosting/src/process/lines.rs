//! A child's output, line by line through a bounded channel: who does not read slows the child down,
//! who stops listening makes its output vanish.

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::{mpsc, watch};

use super::{Exit, LATE_OUTPUT};

/// Bytes of a line that are kept; the rest of it is dropped.
pub const MAX_LINE: usize = 256 << 10;

/// Lines that wait for the reader, over both streams.
const WAITING: usize = 64;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line without its end. Bytes that are not UTF-8 are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it came from.
    pub stream: Stream,
    /// Its text, at most [`MAX_LINE`] bytes before replacement.
    pub text: String,
}

/// The lines of one child, in the order of each stream.
#[derive(Debug)]
pub struct Lines {
    receiver: mpsc::Receiver<Line>,
}

impl Lines {
    /// The next line; none when the child has closed its output or ended.
    pub async fn next(&mut self) -> Option<Line> {
        self.receiver.recv().await
    }
}

pub(super) fn read(
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    exit: watch::Receiver<Option<Exit>>,
) -> Lines {
    let (sender, receiver) = mpsc::channel(WAITING);
    if let Some(stdout) = stdout {
        tokio::spawn(pump(stdout, Stream::Stdout, sender.clone(), exit.clone()));
    }
    if let Some(stderr) = stderr {
        tokio::spawn(pump(stderr, Stream::Stderr, sender, exit));
    }
    Lines { receiver }
}

async fn pump(
    mut input: impl AsyncRead + Unpin,
    stream: Stream,
    sender: mpsc::Sender<Line>,
    mut exit: watch::Receiver<Option<Exit>>,
) {
    let mut splitter = Splitter::default();
    let mut buffer = vec![0; 32 << 10];
    let mut ended = false;
    loop {
        let read = if ended {
            // Whatever escaped the group may hold the pipe open for ever.
            tokio::time::timeout(LATE_OUTPUT, input.read(&mut buffer)).await.unwrap_or(Ok(0))
        } else {
            tokio::select! {
                biased;
                read = input.read(&mut buffer) => read,
                _ = exit.wait_for(Option::is_some) => {
                    ended = true;
                    continue;
                }
            }
        };
        let count = match read {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        for text in splitter.push(buffer.get(..count).unwrap_or_default()) {
            // Nobody listens: read on, or the child would be stopped by a full or broken pipe.
            let _ = sender.send(Line { stream, text }).await;
        }
    }
    if let Some(text) = splitter.finish() {
        let _ = sender.send(Line { stream, text }).await;
    }
}

/// Cuts bytes into lines of bounded length.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    line: Vec<u8>,
}

impl Splitter {
    /// Takes bytes and gives the lines that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut complete = Vec::new();
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = MAX_LINE - self.line.len();
            self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if pieces.peek().is_some() {
                complete.push(self.take());
            }
        }
        complete
    }

    /// What is left without an end of line.
    pub(crate) fn finish(&mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.line);
        let text = line.strip_suffix(b"\r").unwrap_or(&line);
        String::from_utf8_lossy(text).into_owned()
    }
}
