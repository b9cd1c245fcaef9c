//! Reading an object: a range of its bytes as a stream, in steps off the async threads, one step ahead.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::error::BodyError;
use super::files::{Files, Pin};
use super::rows::Segment;
use super::types::{Body, ObjectInfo, body_of};

/// Bytes of one step.
const STEP: u64 = 512 * 1024;

/// An object opened for reading.
#[derive(Debug)]
pub struct OpenObject {
    /// What is known of it.
    pub info: ObjectInfo,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Memory(Bytes),
    File(File),
    Parts { files: Arc<Files>, segments: Vec<Segment>, pin: Pin },
}

impl OpenObject {
    pub(super) fn memory(info: ObjectInfo, bytes: Bytes) -> Self {
        OpenObject { info, source: Source::Memory(bytes) }
    }

    pub(super) fn file(info: ObjectInfo, file: File) -> Self {
        OpenObject { info, source: Source::File(file) }
    }

    pub(super) fn parts(
        info: ObjectInfo,
        files: Arc<Files>,
        segments: Vec<Segment>,
        pin: Pin,
    ) -> Self {
        OpenObject { info, source: Source::Parts { files, segments, pin } }
    }

    /// The bytes of a range (cut to the object's size), in pieces. Needs the async runtime.
    pub fn stream(self, range: Range<u64>) -> Body {
        let end = range.end.min(self.info.size);
        let start = range.start.min(end);
        if start == end {
            return body_of(Bytes::new());
        }
        match self.source {
            Source::Memory(bytes) => {
                let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
                body_of(bytes.slice(at(start)..at(end)))
            }
            Source::File(file) => {
                let segments = vec![(file, 0..self.info.size)];
                read_ahead(Reader { open: segments, at: start, end, parts: None })
            }
            Source::Parts { files, segments, pin } => {
                let parts = Some(Parts { files, segments, _pin: pin });
                read_ahead(Reader { open: Vec::new(), at: start, end, parts })
            }
        }
    }

    /// A file's bytes as a stream.
    pub(super) fn bytes_of(file: File, size: u64) -> Body {
        let open = vec![(file, 0..size)];
        read_ahead(Reader { open, at: 0, end: size, parts: None })
    }

    /// Writes all bytes on the calling thread.
    pub(super) fn copy_to(self, target: &mut File) -> std::io::Result<()> {
        let mut copied = 0;
        match self.source {
            Source::Memory(bytes) => {
                std::io::Write::write_all(target, &bytes)?;
                copied = bytes.len() as u64;
            }
            Source::File(mut file) => copied = std::io::copy(&mut file, target)?,
            Source::Parts { files, segments, pin } => {
                for Segment(id, _) in &segments {
                    copied += std::io::copy(&mut File::open(files.path(id))?, target)?;
                }
                drop(pin);
            }
        }
        if copied == self.info.size {
            Ok(())
        } else {
            Err(std::io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// All bytes as a stream.
    pub fn all(self) -> Body {
        let size = self.info.size;
        self.stream(0..size)
    }
}

#[derive(Debug)]
struct Parts {
    files: Arc<Files>,
    segments: Vec<Segment>,
    _pin: Pin,
}

/// Where reading has got to.
#[derive(Debug)]
struct Reader {
    /// The one file that is open, and which of the object's bytes it has.
    open: Vec<(File, Range<u64>)>,
    at: u64,
    end: u64,
    parts: Option<Parts>,
}

impl Reader {
    fn step(&mut self) -> std::io::Result<Bytes> {
        if !self.open.last().is_some_and(|(_, range)| range.contains(&self.at)) {
            self.open_part()?;
        }
        let Some((file, range)) = self.open.last_mut() else {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        };
        let wanted = STEP.min(self.end.min(range.end) - self.at);
        file.seek(SeekFrom::Start(self.at - range.start))?;
        let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
        (&mut *file).take(wanted).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != wanted {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.at += wanted;
        Ok(bytes.into())
    }

    fn open_part(&mut self) -> std::io::Result<()> {
        let mut start = 0;
        if let Some(parts) = &self.parts {
            for Segment(id, size) in &parts.segments {
                let range = start..start + size;
                if range.contains(&self.at) {
                    self.open = vec![(File::open(parts.files.path(id))?, range)];
                    return Ok(());
                }
                start = range.end;
            }
        }
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}

type Step = tokio::task::JoinHandle<(Reader, std::io::Result<Bytes>)>;

fn spawn(mut reader: Reader) -> Option<Step> {
    (reader.at < reader.end).then(|| {
        tokio::task::spawn_blocking(move || {
            let step = reader.step();
            (reader, step)
        })
    })
}

/// Reads one step ahead of what the client has taken.
fn read_ahead(reader: Reader) -> Body {
    Box::pin(futures::stream::unfold(spawn(reader), |task| async move {
        match task?.await {
            Ok((reader, Ok(bytes))) => Some((Ok(bytes), spawn(reader))),
            Ok((_, Err(e))) => Some((Err(Box::new(e) as BodyError), None)),
            Err(e) => Some((Err(Box::new(e) as BodyError), None)),
        }
    }))
}
