//! The few things done to files and folders, in the order that survives a crash.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// Makes a folder that only its owner may enter, unless it is there.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| path.parent().map_or(Ok(()), sync_dir)),
    }
}

/// Opens a file for reading and writing, making it for its owner alone.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Makes a folder's names durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    // The parent of a bare name is the empty path, which means the folder we are in.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

/// Puts a whole file in place of another: a crash leaves the one or the other.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Reads up to `limit` bytes at a place, fewer only at the file's end.
pub(crate) fn read_at(file: &File, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; limit];
    let mut n_read = 0;
    while n_read < limit {
        let place = offset.saturating_add(u64::try_from(n_read).unwrap_or(u64::MAX));
        match file.read_at(&mut bytes[n_read..], place) {
            Ok(0) => break,
            Ok(n_bytes) => n_read += n_bytes,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(n_read);
    Ok(bytes)
}
