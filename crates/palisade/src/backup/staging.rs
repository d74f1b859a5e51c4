//! A new file that has its name only once it is whole and on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use crate::exit::{Exit, Failure};

/// A file that is being written beside its place; it goes if it is not finished.
pub(crate) struct Staging {
    path: PathBuf,
    beside: PathBuf,
    file: File,
    finished: bool,
}

impl Staging {
    /// Begins a file for its owner alone; its name must be free.
    pub(crate) fn begin(path: &Path) -> Result<Self, Failure> {
        let taken = || {
            let text = format!("`{}` is there already; choose another name", path.display());
            Failure::new(Exit::Conflict, text)
        };
        if path.symlink_metadata().is_ok() {
            return Err(taken());
        }
        let Some(name) = path.file_name() else {
            let text = format!("`{}` names no file", path.display());
            return Err(Failure::new(Exit::Usage, text));
        };
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push(".new");
        let beside = path.with_file_name(beside);
        let unwritable = |e: io::Error| {
            Failure::new(Exit::Unwritable, format!("cannot write `{}`: {e}", path.display()))
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&beside).map_err(unwritable)?;
        let busy = || {
            let text = format!("another process is writing `{}`; wait for it", path.display());
            Failure::new(Exit::Conflict, text)
        };
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| busy())?;
        // Between opening and locking, the one who had it may have finished: then it is theirs.
        let ours = file.metadata().map_err(unwritable)?.ino();
        if fs::symlink_metadata(&beside).map_or(true, |there| there.ino() != ours) {
            return Err(busy());
        }
        let staging = Self { path: path.to_owned(), beside, file, finished: false };
        // What a run that was killed left there is begun anew.
        let private = fs::Permissions::from_mode(0o600);
        staging.file.set_permissions(private).map_err(unwritable)?;
        staging.file.set_len(0).map_err(unwritable)?;
        Ok(staging)
    }

    /// Lends the file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Makes what was written durable and gives it its name, which it takes from nobody.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let given = self.file.sync_all().and_then(|()| self.take_name());
        let failed = |e: io::Error| match e.kind() {
            ErrorKind::AlreadyExists => {
                let text = format!("`{}` came into being meanwhile", self.path.display());
                Failure::new(Exit::Conflict, text)
            }
            _ => {
                let text = format!("cannot write `{}`: {e}", self.path.display());
                Failure::new(Exit::Unwritable, text)
            }
        };
        given.map_err(failed)?;
        self.finished = true;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(|e| {
            Failure::new(Exit::Unwritable, format!("cannot write `{}`: {e}", parent.display()))
        })
    }

    fn take_name(&self) -> io::Result<()> {
        match renameat_with(CWD, &self.beside, CWD, &self.path, RenameFlags::NOREPLACE) {
            // Some network file systems know no such rename.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                fs::rename(&self.beside, &self.path)
            }
            renamed => Ok(renamed?),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.finished {
            // That it cannot be removed is no second error: it does not have the name.
            let _ = fs::remove_file(&self.beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_name_is_given_at_the_end_and_taken_from_nobody() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("one");
        let staging = Staging::begin(&path).unwrap();
        staging.file().write_all(b"whole").unwrap();
        assert!(!path.exists());
        assert_eq!(Staging::begin(&path).err().unwrap().exit, Exit::Conflict);
        staging.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(Staging::begin(&path).err().unwrap().exit, Exit::Conflict);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);

        let late = place.path().join("late");
        let staging = Staging::begin(&late).unwrap();
        fs::write(&late, "theirs").unwrap();
        assert_eq!(staging.finish().unwrap_err().exit, Exit::Conflict);
        assert_eq!(fs::read(&late).unwrap(), b"theirs");
    }

    #[test]
    fn what_is_not_finished_leaves_nothing_and_what_was_killed_is_begun_anew() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("one");
        Staging::begin(&path).unwrap().file().write_all(b"half").unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        fs::write(place.path().join(".one.new"), "half of a longer one").unwrap();
        let staging = Staging::begin(&path).unwrap();
        staging.file().write_all(b"whole").unwrap();
        staging.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }
}
