//! Reads durable events by number: which segment, which stride of it, then frame by frame.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::disk;
use crate::frame::{self, Frame, FrameError, STRIDE, Seal, TailError};
use crate::writer;

/// Reads what a writer made durable; any number of readers work beside it.
#[derive(Clone)]
pub struct Reader {
    segments: Arc<RwLock<Segments>>,
}

/// Which segments there are: three numbers for each, and the strides of the last.
pub(crate) struct Segments {
    dir: PathBuf,
    sealed: Vec<Sealed>,
    active: Option<ActiveView>,
}

#[derive(Clone, Copy)]
struct Sealed {
    first: u64,
    end: u64,
}

struct ActiveView {
    first: u64,
    end: u64,
    file: Arc<File>,
    durable_bytes: u64,
    strides: Vec<u32>,
}

/// Where to begin to read, and where to end.
struct Part {
    path: PathBuf,
    file: Arc<File>,
    offset: u64,
    index: u64,
    end: u64,
    end_bytes: u64,
}

/// Events can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A segment could not be read.
    #[error("`{}` could not be read: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A segment is damaged.
    #[error("`{}` is damaged at event `{event}`, byte `{offset}`: {why}; verify the record and restore it from a backup", .path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// The event that should stand there.
        event: u64,
        /// Where.
        offset: u64,
        /// What is wrong.
        why: FrameError,
    },
}

impl Reader {
    pub(crate) fn new(segments: Arc<RwLock<Segments>>) -> Self {
        Self { segments }
    }

    /// Counts the durable events.
    pub fn n_events(&self) -> u64 {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).end()
    }

    /// Hands events to `each` in order from number `from` on, until it breaks or the end.
    pub fn walk(
        &self,
        from: u64,
        mut each: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut next = from;
        while let Some(part) = self.part(next)? {
            let end = part.end;
            if part.walk(next, &mut each)?.is_break() {
                return Ok(());
            }
            next = end;
        }
        Ok(())
    }

    /// Finds where event number `from` lies; none behind the last.
    fn part(&self, from: u64) -> Result<Option<Part>, ReadError> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let sealed_idx = segments.sealed.partition_point(|sealed| sealed.end <= from);
        if let Some(Sealed { first, end }) = segments.sealed.get(sealed_idx).copied() {
            let path = writer::path(&segments.dir, first);
            drop(segments);
            return Part::sealed(path, first, end, from).map(Some);
        }
        let Some(active) = segments.active.as_ref().filter(|active| from < active.end) else {
            return Ok(None);
        };
        let (offset, index) = stride(&active.strides, active.first, from);
        let path = writer::path(&segments.dir, active.first);
        Ok(Some(Part {
            path,
            file: active.file.clone(),
            offset,
            index,
            end: active.end,
            end_bytes: active.durable_bytes,
        }))
    }
}

impl Part {
    fn sealed(path: PathBuf, first: u64, end: u64, from: u64) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { path: path.clone(), source };
        let file = File::open(&path).map_err(io)?;
        let why = FrameError::Control;
        let seal = read_seal(&file).map_err(io)?.filter(|seal| seal.end == end);
        let seal = seal.ok_or_else(|| ReadError::Broken {
            path: path.clone(),
            event: end,
            offset: 0,
            why,
        })?;
        let (offset, index) = stride(&seal.strides, first, from);
        Ok(Self { path, file: Arc::new(file), offset, index, end, end_bytes: seal.offset })
    }

    fn walk(
        mut self,
        from: u64,
        each: &mut impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ReadError> {
        let mut chunk_bytes = FIRST_CHUNK_BYTES;
        while self.index < self.end {
            let left =
                usize::try_from(self.end_bytes.saturating_sub(self.offset)).unwrap_or(usize::MAX);
            let io = |source| ReadError::Io { path: self.path.clone(), source };
            let chunk =
                disk::read_at(&self.file, self.offset, left.min(chunk_bytes)).map_err(io)?;
            let (n_used, flow) = self.walk_chunk(&chunk, from, each)?;
            if flow.is_break() {
                return Ok(flow);
            }
            self.offset += n_used;
            chunk_bytes = NEXT_CHUNK_BYTES;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Hands over the whole frames of a chunk and says how many bytes they were.
    fn walk_chunk(
        &mut self,
        chunk: &[u8],
        from: u64,
        each: &mut impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(u64, ControlFlow<()>), ReadError> {
        let mut n_used = 0;
        while self.index < self.end {
            let place = self.offset + u64::try_from(n_used).unwrap_or(u64::MAX);
            let rest = chunk.get(n_used..).unwrap_or_default();
            match frame::parse(rest, place, self.index) {
                Ok((Frame::Event(event), n_bytes)) => {
                    if self.index >= from && each(self.index, event).is_break() {
                        return Ok((0, ControlFlow::Break(())));
                    }
                    self.index += 1;
                    n_used += n_bytes;
                }
                Ok((Frame::Mark, n_bytes)) => n_used += n_bytes,
                // A chunk always holds at least one whole frame.
                Err(FrameError::Incomplete) if n_used > 0 => break,
                Err(why) => return Err(self.broken(place, why)),
                Ok((Frame::Seal(_), _)) => return Err(self.broken(place, FrameError::Control)),
            }
        }
        Ok((u64::try_from(n_used).unwrap_or(u64::MAX), ControlFlow::Continue(())))
    }

    fn broken(&self, offset: u64, why: FrameError) -> ReadError {
        ReadError::Broken { path: self.path.clone(), event: self.index, offset, why }
    }
}

impl Segments {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), sealed: Vec::new(), active: None }
    }

    /// The number of the event after the last durable one.
    pub(crate) fn end(&self) -> u64 {
        let sealed_end = self.sealed.last().map_or(0, |sealed| sealed.end);
        self.active.as_ref().map_or(sealed_end, |active| active.end)
    }

    pub(crate) fn push_sealed(&mut self, first: u64, end: u64) {
        self.sealed.push(Sealed { first, end });
    }

    pub(crate) fn push_active(
        &mut self,
        first: u64,
        file: Arc<File>,
        durable_bytes: u64,
        end: u64,
        strides: &[u32],
    ) {
        self.active =
            Some(ActiveView { first, end, file, durable_bytes, strides: strides.to_vec() });
    }

    pub(crate) fn extend_active(&mut self, durable_bytes: u64, end: u64, strides: &[u32]) {
        if let Some(active) = &mut self.active {
            active.strides.extend(strides.iter().skip(active.strides.len()));
            active.durable_bytes = durable_bytes;
            active.end = end;
        }
    }

    pub(crate) fn rotate(&mut self, first: u64, file: Arc<File>) {
        if let Some(active) = self.active.take() {
            self.push_sealed(active.first, active.end);
        }
        self.push_active(
            first,
            file,
            u64::try_from(frame::HEADER_BYTES).unwrap_or(u64::MAX),
            first,
            &[],
        );
    }

    pub(crate) fn seal_of(&self, first: u64) -> io::Result<Option<Seal>> {
        read_seal(&File::open(writer::path(&self.dir, first))?)
    }
}

/// Reads the seal at the end of a file.
fn read_seal(file: &File) -> io::Result<Option<Seal>> {
    let end = file.metadata()?.len();
    let mut n_bytes = 4096;
    loop {
        let start = end.saturating_sub(u64::try_from(n_bytes).unwrap_or(u64::MAX));
        let tail = disk::read_at(file, start, n_bytes)?;
        match frame::parse_tail(&tail, end) {
            Ok(seal) => return Ok(Some(seal)),
            Err(TailError::Longer(needed)) if needed > n_bytes && start > 0 => n_bytes = needed,
            Err(_) => return Ok(None),
        }
    }
}

/// Gives the place of the last stride at or before an event, with the event that begins there.
fn stride(strides: &[u32], first: u64, from: u64) -> (u64, u64) {
    let idx = from.saturating_sub(first) / STRIDE;
    let offset = usize::try_from(idx).ok().and_then(|idx| strides.get(idx));
    let header = u64::try_from(frame::HEADER_BYTES).unwrap_or(u64::MAX);
    offset.map_or((header, first), |offset| (u64::from(*offset), first + idx * STRIDE))
}

/// Longer than the longest frame.
const FIRST_CHUNK_BYTES: usize = 72 * 1024;
const NEXT_CHUNK_BYTES: usize = 1 << 20;
