//! Appends to the last segment of a folder, makes it durable, seals it and begins the next.
//!
//! What was appended is durable, and only then to be read, once `commit` has answered. A write
//! that fails is taken back, so that the next may succeed when there is space again. After a sync
//! that failed nothing is known of what is on the disk: the writer refuses all that follows until
//! it is opened anew.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::disk;
use crate::frame::{self, FrameError, HEADER_BYTES, Header, STRIDE, Seal};
use crate::reader::{Reader, Segments};
use crate::survey::{self, Broken, Ending, Survey};

/// Appends to a journal; there is one writer for a folder.
pub struct Writer {
    dir: PathBuf,
    log_id: [u8; 32],
    segment_bytes: u64,
    active: Active,
    segments: Arc<RwLock<Segments>>,
    is_stuck: bool,
    carry: u64,
}

/// The segment that is written to.
struct Active {
    file: Arc<File>,
    first: u64,
    /// What is durable: up to this byte and before this event.
    durable_bytes: u64,
    durable_end: u64,
    /// What was appended since.
    buffer: Vec<u8>,
    end: u64,
    strides: Vec<u32>,
}

/// What was found and mended when a journal was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// How many events it has.
    pub n_events: u64,
    /// How many bytes of a torn write were cut off.
    pub n_cut_bytes: usize,
    /// The number that its owner last sealed into a segment.
    pub carry: u64,
    /// The first event of the segment that is written to.
    pub active_first: u64,
}

/// A journal can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder could not be used.
    #[error("`{}` could not be used: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A segment is damaged.
    #[error("`{}` is damaged: {broken}; restore it from a backup", .path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// Where and how.
        broken: Broken,
    },
    /// A file has no header of a segment.
    #[error("`{}` is no segment: {why}", .path.display())]
    NoSegment {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: FrameError,
    },
    /// A segment belongs to another log.
    #[error("`{}` belongs to another log; each log needs its own folder", .0.display())]
    OtherLog(PathBuf),
    /// A segment is missing between two others, or does not begin where its name says.
    #[error("`{}` should begin with event `{expected}`; a segment is missing or was renamed", .path.display())]
    Gap {
        /// Which.
        path: PathBuf,
        /// The event that should be its first.
        expected: u64,
    },
}

/// Why a write did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// An event is empty or too long.
    #[error("an event of `{0}` bytes can't be written; the limits are 1 and 65535")]
    Size(usize),
    /// The file could not be written; nothing of it remains, and it may be tried again.
    #[error("the journal could not be written: {0}; free space or check the disk")]
    Write(String),
    /// An event has not the form of one.
    #[error("the event can't be recorded: {0}")]
    Event(#[from] ledger::EventError),
    /// The file could not be made durable, or what half arrived could not be taken back.
    #[error("the journal is stuck after a failed sync: {0}; restart to see what is on the disk")]
    Stuck(String),
}

/// The smallest and largest sizes at which a segment may be sealed.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 4096..=1 << 28;

impl Writer {
    /// Opens a folder of segments, making it if needed and cutting off a torn write.
    pub fn open(
        dir: &Path,
        log_id: [u8; 32],
        segment_bytes: u64,
    ) -> Result<(Self, Recovered), OpenError> {
        let at = |path: &Path| {
            let path = path.to_path_buf();
            move |source| OpenError::Io { path, source }
        };
        disk::make_dir(dir).map_err(at(dir))?;
        let firsts = list(dir).map_err(at(dir))?;
        let segment_bytes = segment_bytes.clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end());
        let mut recovered = Recovered::default();
        let mut segments = Segments::new(dir);
        let mut active = None;
        if let Some((last, sealed)) = firsts.split_last() {
            let mut end = 0;
            for first in sealed {
                let path = path(dir, *first);
                if *first != end {
                    return Err(OpenError::Gap { path, expected: end });
                }
                let seal = segments
                    .seal_of(*first)
                    .map_err(|source| OpenError::Io { path: path.clone(), source })?;
                let why = FrameError::Control;
                let seal = seal.ok_or(OpenError::NoSegment { path, why })?;
                recovered.carry = seal.carry;
                end = seal.end;
                segments.push_sealed(*first, seal.end);
            }
            if *last != end {
                return Err(OpenError::Gap { path: path(dir, *last), expected: end });
            }
            active = Self::take_up(dir, log_id, *last, &mut segments, &mut recovered)?;
        }
        let active = match active {
            Some(active) => active,
            None => Active::create(dir, log_id, segments.end()).map_err(at(dir))?,
        };
        recovered.n_events = active.end;
        recovered.active_first = active.first;
        segments.push_active(
            active.first,
            active.file.clone(),
            active.durable_bytes,
            active.end,
            &active.strides,
        );
        let (segments, dir) = (Arc::new(RwLock::new(segments)), dir.to_path_buf());
        let carry = recovered.carry;
        Ok((
            Self { dir, log_id, segment_bytes, active, segments, is_stuck: false, carry },
            recovered,
        ))
    }

    /// Takes up the last segment; none if it is sealed.
    fn take_up(
        dir: &Path,
        log_id: [u8; 32],
        first: u64,
        segments: &mut Segments,
        recovered: &mut Recovered,
    ) -> Result<Option<Active>, OpenError> {
        let path = path(dir, first);
        let io = |source| OpenError::Io { path: path.clone(), source };
        let bytes = fs::read(&path).map_err(io)?;
        let Survey { header, end, good_bytes, strides, ending } =
            survey::survey(&bytes, |_, _, _| {})
                .map_err(|why| OpenError::NoSegment { path: path.clone(), why })?;
        if header.log_id != log_id {
            return Err(OpenError::OtherLog(path));
        }
        if header.first != first {
            return Err(OpenError::Gap { path, expected: first });
        }
        match ending {
            Ending::Sealed(seal) => {
                recovered.carry = seal.carry;
                segments.push_sealed(first, seal.end);
                return Ok(None);
            }
            Ending::Broken(broken) => return Err(OpenError::Broken { path, broken }),
            Ending::Torn(n_bytes) => recovered.n_cut_bytes = n_bytes,
            Ending::Open => {}
        }
        let file = disk::open(&path).map_err(io)?;
        let durable_bytes = u64::try_from(good_bytes).unwrap_or(u64::MAX);
        // Also when nothing was cut: what a killed process left in memory must be on the disk
        // before anything is built on it.
        file.set_len(durable_bytes).and_then(|()| file.sync_all()).map_err(io)?;
        let active = Active {
            file: Arc::new(file),
            first,
            durable_bytes,
            durable_end: end,
            buffer: Vec::new(),
            end,
            strides,
        };
        Ok(Some(active))
    }

    /// Appends an event to what the next commit writes, and gives its number.
    pub fn append(&mut self, event: &[u8]) -> Result<u64, WriteError> {
        if self.active.buffer.is_empty()
            && self.active.durable_bytes >= self.segment_bytes
            && !self.is_stuck
        {
            // The segment can grow on; what failed is tried again at the next commit.
            if let Err(e) = self.rotate() {
                tracing::warn!(error = %e, "a segment of the journal could not be sealed");
            }
        }
        let active = &mut self.active;
        let index = active.end;
        if active.buffer.is_empty() && active.durable_end > active.first {
            // Everything before is durable: this is the first event after a commit.
            frame::push_mark(&mut active.buffer, index, active.durable_bytes);
        }
        if (index - active.first).is_multiple_of(STRIDE) {
            let offset =
                active.durable_bytes + u64::try_from(active.buffer.len()).unwrap_or(u64::MAX);
            active.strides.push(u32::try_from(offset).unwrap_or(u32::MAX));
        }
        if frame::push_event(&mut active.buffer, index, event).is_err() {
            active.forget_stride(index);
            return Err(WriteError::Size(event.len()));
        }
        active.end += 1;
        Ok(index)
    }

    /// Forgets what was appended since the last commit.
    pub fn forget(&mut self) {
        self.active.forget();
    }

    /// Makes durable what was appended; what failed is forgotten, and its numbers are given again.
    pub fn commit(&mut self) -> Result<(), WriteError> {
        let done = self.try_commit();
        if done.is_err() {
            self.active.forget();
        }
        done
    }

    fn try_commit(&mut self) -> Result<(), WriteError> {
        if self.is_stuck {
            return Err(WriteError::Stuck("an earlier write failed".into()));
        }
        let active = &mut self.active;
        if active.end == active.durable_end {
            return Ok(());
        }
        if let Err(e) = active.file.write_all_at(&active.buffer, active.durable_bytes) {
            self.take_back(&e)?;
            return Err(WriteError::Write(e.to_string()));
        }
        active.file.sync_data().map_err(|e| self.stuck(&e))?;
        let active = &mut self.active;
        active.durable_bytes += u64::try_from(active.buffer.len()).unwrap_or(u64::MAX);
        active.durable_end = active.end;
        active.buffer.clear();
        active.buffer.shrink_to(KEPT_BUFFER_BYTES);
        write(&self.segments).extend_active(active.durable_bytes, active.end, &active.strides);
        Ok(())
    }

    /// Removes what a failed write may have left.
    fn take_back(&mut self, cause: &io::Error) -> Result<(), WriteError> {
        self.active.file.set_len(self.active.durable_bytes).map_err(|_| self.stuck(cause))
    }

    fn stuck(&mut self, cause: &io::Error) -> WriteError {
        self.is_stuck = true;
        WriteError::Stuck(cause.to_string())
    }

    /// Seals the segment and begins the next.
    fn rotate(&mut self) -> Result<(), WriteError> {
        let active = &self.active;
        let carry = self.carry;
        let seal = Seal {
            end: active.end,
            offset: active.durable_bytes,
            carry,
            strides: active.strides.clone(),
        };
        let mut bytes = Vec::new();
        frame::push_seal(&mut bytes, &seal).map_err(|e| WriteError::Write(e.to_string()))?;
        // Beside its place first, so that a full disk is noticed while this segment can still grow.
        let next = Active::create_beside(&self.dir, self.log_id, active.end);
        let next = next.map_err(|e| WriteError::Write(e.to_string()))?;
        if let Err(e) = active.file.write_all_at(&bytes, active.durable_bytes) {
            self.take_back(&e)?;
            return Err(WriteError::Write(e.to_string()));
        }
        active.file.sync_data().map_err(|e| self.stuck(&e))?;
        put_in_place(&self.dir, next.first).map_err(|e| self.stuck(&e))?;
        write(&self.segments).rotate(next.first, next.file.clone());
        self.active = next;
        Ok(())
    }

    /// Sets the number that the next seal carries.
    pub fn set_carry(&mut self, carry: u64) {
        self.carry = carry;
    }

    /// Counts the durable events.
    pub fn n_events(&self) -> u64 {
        self.active.durable_end
    }

    /// Gives a reader of what is durable.
    pub fn reader(&self) -> Reader {
        Reader::new(self.segments.clone())
    }
}

impl Active {
    fn create(dir: &Path, log_id: [u8; 32], first: u64) -> io::Result<Self> {
        let active = Self::create_beside(dir, log_id, first)?;
        put_in_place(dir, first)?;
        Ok(active)
    }

    /// Makes a segment under a name that no one reads yet.
    fn create_beside(dir: &Path, log_id: [u8; 32], first: u64) -> io::Result<Self> {
        let file = disk::open(&path(dir, first).with_extension("new"))?;
        file.set_len(0)?;
        file.write_all_at(&Header { log_id, first }.encode(), 0)?;
        file.sync_all()?;
        let durable_bytes = u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX);
        let (buffer, strides) = (Vec::new(), Vec::new());
        Ok(Self {
            file: Arc::new(file),
            first,
            durable_bytes,
            durable_end: first,
            buffer,
            end: first,
            strides,
        })
    }

    /// Forgets what was appended since the last commit.
    fn forget(&mut self) {
        self.buffer.clear();
        self.end = self.durable_end;
        let n_strides = (self.end - self.first).div_ceil(STRIDE);
        self.strides.truncate(usize::try_from(n_strides).unwrap_or(usize::MAX));
    }

    fn forget_stride(&mut self, index: u64) {
        if (index - self.first).is_multiple_of(STRIDE) {
            self.strides.pop();
        }
    }
}

fn put_in_place(dir: &Path, first: u64) -> io::Result<()> {
    let path = path(dir, first);
    fs::rename(path.with_extension("new"), &path)?;
    disk::sync_dir(dir)
}

/// The path of the segment that begins with that event.
pub(crate) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.seg"))
}

/// Lists the first events of the segments in a folder, in order.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut firsts = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some(first) = name.to_str().and_then(|name| name.strip_suffix(".seg")) else {
            continue;
        };
        if first.len() == 20 && first.bytes().all(|byte| byte.is_ascii_digit()) {
            firsts.extend(first.parse::<u64>());
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// A panic while the list was held can't leave it half changed: each change is one assignment.
fn write(segments: &RwLock<Segments>) -> std::sync::RwLockWriteGuard<'_, Segments> {
    segments.write().unwrap_or_else(PoisonError::into_inner)
}

/// What is kept of the buffer between commits.
const KEPT_BUFFER_BYTES: usize = 1 << 16;

#[cfg(test)]
mod tests;
