//! The data folder: its layout, how it comes into being whole or not at all, and who may use it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::exit::Exit;

/// The version of what lies in the folder; raised when an older program could not read it.
pub(crate) const VERSION: u32 = 1;

/// Where everything of one installation lies.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// What stands at the folder's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing, or an empty folder: the first run may make it.
    Empty,
    /// A folder that a first run made.
    Made,
}

/// The folder is ours alone while this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// It cannot be made or written.
    #[error(
        "cannot write the data folder `{}`: {source}; choose another with --data or mend its rights",
        path.display()
    )]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "`{}` is not empty and is no data folder of Palisade; choose another with --data",
        .0.display()
    )]
    Foreign(PathBuf),
    /// A newer program wrote it.
    #[error(
        "the data folder `{}` has format {found}, this program reads up to {VERSION}; \
         run the version that wrote it",
        path.display()
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The file that says its format says nothing.
    #[error("`{}` should hold the format's number; restore the folder from a backup", .0.display())]
    Version(PathBuf),
    /// Others may get in.
    #[error(
        "`{}` has mode {mode:04o}, so that others may read it; run `chmod {wanted:o} {}`",
        path.display(), path.display()
    )]
    Mode {
        /// The file or folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it should have.
        wanted: u32,
    },
    /// It belongs to somebody else.
    #[error("`{}` belongs to user {owner}; run as that user, or `chown -R` it", path.display())]
    Owner {
        /// The file or folder.
        path: PathBuf,
        /// The owner's number.
        owner: u32,
    },
    /// Another process runs on it.
    #[error("palisade already runs on `{}` as process {pid}; stop it first", path.display())]
    Running {
        /// The folder.
        path: PathBuf,
        /// The process, as it wrote itself down.
        pid: String,
    },
}

impl FolderError {
    /// Gives the code to exit with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Unwritable { .. } | Self::Foreign(_) => Exit::Unwritable,
            Self::Unreadable { .. } | Self::Version(_) => Exit::Failed,
            Self::Newer { .. } => Exit::Newer,
            Self::Mode { .. } | Self::Owner { .. } => Exit::Permissions,
            Self::Running { .. } => Exit::Running,
        }
    }
}

impl Folder {
    /// Names the folder at a path; nothing is touched.
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Lends the folder's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Names the file of the master key.
    pub(crate) fn master_key(&self) -> PathBuf {
        self.path.join("master.key")
    }

    /// Names the file that says the format.
    pub(crate) fn version(&self) -> PathBuf {
        self.path.join("version")
    }

    /// Names the configuration file.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.path.join("palisade.toml")
    }

    /// Names a role's own folder.
    pub(crate) fn role(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Names the socket that commands on this machine use.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join("run/control.sock")
    }

    /// Says what stands there, and refuses what must not be used.
    pub(crate) fn inspect(&self) -> Result<State, FolderError> {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(State::Empty),
            Err(source) => return Err(self.unwritable(source)),
        };
        if !metadata.is_dir() {
            return Err(self.unwritable(io::ErrorKind::NotADirectory.into()));
        }
        if !self.version().exists() && !self.path.join(MOVING).exists() {
            return match self.is_empty()? {
                true => Ok(State::Empty),
                false => Err(FolderError::Foreign(self.path.clone())),
            };
        }
        private(&self.path, 0o700)?;
        {
            let _guard = self.guard()?;
            self.finish_move()?;
        }
        let version = self.version();
        let text = fs::read_to_string(&version)
            .map_err(|source| FolderError::Unreadable { path: version.clone(), source })?;
        let found = text.trim().parse().map_err(|_| FolderError::Version(version))?;
        if found > VERSION {
            return Err(FolderError::Newer { path: self.path.clone(), found });
        }
        private(&self.master_key(), 0o600)?;
        Ok(State::Made)
    }

    /// Makes the folder: `fill` writes into a folder beside it, which then takes its name at once.
    /// Where the folder stands there already and is empty, a mount point perhaps or made by a service
    /// manager, the new one is made inside it and moved entry by entry (`finish_move`): no key is
    /// ever written to another disk.
    ///
    /// A run that is cut off anywhere leaves either nothing of that name or all of it.
    pub(crate) fn create<E: From<FolderError>>(
        &self,
        fill: impl FnOnce(&Folder) -> Result<(), E>,
    ) -> Result<(), E> {
        let unwritable = |source| self.unwritable(source);
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or("palisade");
        let parent = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(unwritable)?;
        let beside = parent.join(format!(".{name}.new-{}", std::process::id()));
        let inside = self.path.join(STAGING);
        let exists = self.path.is_dir();
        let _guard = exists.then(|| self.guard()).transpose()?;
        if exists && !self.is_empty()? {
            return Err(FolderError::Foreign(self.path.clone()).into());
        }
        if inside.exists() {
            fs::remove_dir_all(&inside).map_err(unwritable)?;
        }
        remove_abandoned(parent, name);
        let staging = if exists { inside } else { beside };
        make_private(&staging).map_err(unwritable)?;
        let _working = work_in(&staging).map_err(unwritable)?;
        let made = self.fill_and_take(&staging, parent, exists, fill);
        if made.is_err() {
            // What was half made goes; that it could not be removed is no second error.
            let _ = fs::remove_dir_all(&staging);
        }
        made
    }

    fn fill_and_take<E: From<FolderError>>(
        &self,
        staging: &Path,
        parent: &Path,
        exists: bool,
        fill: impl FnOnce(&Folder) -> Result<(), E>,
    ) -> Result<(), E> {
        let unwritable = |source| self.unwritable(source);
        let folder = Self::at(staging);
        make_private(&folder.role("run")).map_err(unwritable)?;
        fill(&folder)?;
        write_private(&folder.version(), format!("{VERSION}\n").as_bytes()).map_err(unwritable)?;
        sync_tree(staging).map_err(unwritable)?;
        if !exists {
            fs::rename(staging, &self.path).map_err(unwritable)?;
            return Ok(sync_folder(parent).map_err(unwritable)?);
        }
        fs::rename(staging, self.path.join(MOVING)).map_err(unwritable)?;
        sync_folder(&self.path).map_err(unwritable)?;
        fs::set_permissions(&self.path, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .map_err(unwritable)?;
        Ok(self.finish_move()?)
    }

    /// Moves what a first run made inside an existing folder to its places, also after a crash.
    fn finish_move(&self) -> Result<(), FolderError> {
        let moving = self.path.join(MOVING);
        let entries = match fs::read_dir(&moving) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(self.unwritable(source)),
        };
        let unwritable = |source| self.unwritable(source);
        for entry in entries {
            let entry = entry.map_err(unwritable)?;
            fs::rename(entry.path(), self.path.join(entry.file_name())).map_err(unwritable)?;
        }
        sync_folder(&self.path).map_err(unwritable)?;
        fs::remove_dir(&moving).map_err(unwritable)
    }

    /// Takes the folder for this process alone.
    pub(crate) fn lock(&self) -> Result<Lock, FolderError> {
        let path = self.path.join("run/lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(|source| self.unwritable(source))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let read = file.take(32).read_to_string(&mut pid);
            let pid = read.ok().map(|_| pid.trim().to_string()).filter(|pid| !pid.is_empty());
            let pid = pid.unwrap_or_else(|| "unknown".into());
            return Err(FolderError::Running { path: self.path.clone(), pid });
        }
        let written = file.set_len(0).and_then(|()| file.rewind());
        let written = written.and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|source| self.unwritable(source))?;
        Ok(Lock { _file: file })
    }

    fn is_empty(&self) -> Result<bool, FolderError> {
        let unreadable = |source| FolderError::Unreadable { path: self.path.clone(), source };
        for entry in fs::read_dir(&self.path).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            // What an administrator, a file system or a run that was cut off left is not foreign.
            if ![STAGING, "palisade.toml", "lost+found"].iter().any(|known| name == *known) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Keeps two first runs in one existing folder from mixing their work.
    fn guard(&self) -> Result<File, FolderError> {
        let file = File::open(&self.path).map_err(|source| self.unwritable(source))?;
        flock(&file, FlockOperation::LockExclusive).map_err(|e| self.unwritable(e.into()))?;
        Ok(file)
    }

    fn unwritable(&self, source: io::Error) -> FolderError {
        FolderError::Unwritable { path: self.path.clone(), source }
    }
}

/// Marks a folder as being worked in, as long as what is given back lives.
fn work_in(staging: &Path) -> io::Result<File> {
    let folder = File::open(staging)?;
    flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
    Ok(folder)
}

/// Removes what first runs that were killed left beside the folder: keys that nobody will use.
fn remove_abandoned(parent: &Path, name: &str) {
    let prefix = format!(".{name}.new-");
    // Where it cannot be looked for or removed, it is in nobody's way.
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let pid = file_name.to_str().and_then(|name| name.strip_prefix(&prefix));
        if pid.is_some_and(|pid| pid.parse::<u32>().is_ok())
            && let Ok(_abandoned) = work_in(&entry.path())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Refuses a file or folder that others may use, or that is not ours.
pub(crate) fn private(path: &Path, wanted: u32) -> Result<(), FolderError> {
    let metadata = fs::metadata(path)
        .map_err(|source| FolderError::Unreadable { path: path.into(), source })?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FolderError::Mode { path: path.into(), mode, wanted });
    }
    let owner = metadata.uid();
    match owner == rustix::process::geteuid().as_raw() {
        true => Ok(()),
        false => Err(FolderError::Owner { path: path.into(), owner }),
    }
}

/// Makes a folder that only we may enter.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Writes a new file that only we may read, down to the disk.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Writes a file whole or not at all, over one that may be there.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let staging = parent.join(format!(".{name}.new-{}", std::process::id()));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&staging)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let written = written.and_then(|()| fs::rename(&staging, path));
    if written.is_err() {
        let _ = fs::remove_file(&staging);
    }
    written.and_then(|()| sync_folder(parent))
}

fn sync_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_folder(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Where a first run inside an existing folder works.
const STAGING: &str = ".new";
/// Its name once it is whole: from here on it is finished, not thrown away.
const MOVING: &str = ".moving";

#[cfg(test)]
mod tests;
