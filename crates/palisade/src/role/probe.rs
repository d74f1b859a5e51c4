//! Tries, from inside a role's sandbox, what an intruder in that role would try.
//!
//! `tests/sandbox.rs` runs it with and without the sandbox: with it every try is refused, without
//! it every try works, so that the test proves the sandbox and not a mistake in the try.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps};
use rustix::process::{Resource, Rlimit};

use crate::exit::{Exit, Failure};
use crate::folder::Folder;
use crate::sandbox::{self, Bounds};
use crate::setup::Role;

/// What to try, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// The role whose sandbox is entered
    #[arg(long = "as", value_enum)]
    role: Role,
    /// Do not enter the sandbox
    #[arg(long)]
    bare: bool,
    /// The data folder
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// What to try
    #[arg(long = "try", value_enum)]
    attempt: Attempt,
    /// A process to go at
    #[arg(long, default_value_t = 0)]
    pid: i32,
    /// A port of this machine on which somebody listens
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// What an intruder would try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Attempt {
    /// Read the role's own folder; allowed
    Own,
    /// Read a key of custody
    CustodyKey,
    /// List custody's folder
    CustodyFolder,
    /// Read the master key
    MasterKey,
    /// Read somebody else's file
    Passwords,
    /// Write beside the own folder
    Write,
    /// Connect to a port
    Connect,
    /// Listen on a port
    Listen,
    /// Send a datagram
    Datagram,
    /// Run a program
    Execute,
    /// Trace a process
    Trace,
    /// Open a process's memory
    Memory,
    /// Take a descriptor of a process
    Steal,
    /// Signal a process
    Signal,
    /// Open the master key to everybody
    OpenUp,
    /// Set back the time of the master key
    Touch,
    /// Let a process have fewer files
    Limit,
}

const OLD: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Enters the sandbox and tries; ends with 0 if the try worked and with 3 if it was refused.
pub(crate) fn run(probe: &Probe) -> Result<Exit, Failure> {
    let folder = Folder::at(&probe.folder);
    let own = folder.role(probe.role.name());
    if !probe.bare {
        sandbox::enter(&Bounds { role: probe.role, folder: &own, database: None })?;
    }
    Ok(match attempt(probe, &folder) {
        Ok(()) => Exit::Ok,
        Err(_) => Exit::Denied,
    })
}

fn attempt(probe: &Probe, folder: &Folder) -> io::Result<()> {
    let pid = rustix::process::Pid::from_raw(probe.pid).ok_or(io::ErrorKind::InvalidInput);
    match probe.attempt {
        Attempt::Own => {
            let path = folder.role(probe.role.name()).join("probe");
            fs::write(&path, "x")?;
            fs::read(&path).and_then(|_| fs::remove_file(&path))
        }
        Attempt::CustodyKey => fs::read(folder.role("custody").join("root.key")).map(|_| ()),
        Attempt::CustodyFolder => fs::read_dir(folder.role("custody")).map(|_| ()),
        Attempt::MasterKey => fs::read(folder.master_key()).map(|_| ()),
        Attempt::Passwords => fs::read("/etc/passwd").map(|_| ()),
        Attempt::Write => fs::write(folder.path().join("planted"), "x"),
        Attempt::Connect => TcpStream::connect(("127.0.0.1", probe.port)).map(|_| ()),
        Attempt::Listen => TcpListener::bind("127.0.0.1:0").map(|_| ()),
        Attempt::Datagram => {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.send_to(b"x", ("127.0.0.1", 9)).map(|_| ())
        }
        Attempt::Execute => Err(std::process::Command::new("/bin/true").exec()),
        Attempt::Trace => trace(probe.pid),
        Attempt::Memory => fs::File::open(format!("/proc/{}/mem", probe.pid)).map(|_| ()),
        Attempt::Steal => {
            use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
            let process = pidfd_open(pid?, PidfdFlags::empty())?;
            Ok(pidfd_getfd(&process, 0, PidfdGetfdFlags::empty()).map(|_| ())?)
        }
        Attempt::Signal => Ok(rustix::process::kill_process(pid?, rustix::process::Signal::WINCH)?),
        Attempt::OpenUp => Ok(rustix::fs::chmod(folder.master_key(), Mode::from_raw_mode(0o644))?),
        Attempt::Touch => {
            let long_ago = Timestamps { last_access: OLD, last_modification: OLD };
            let flags = AtFlags::empty();
            Ok(rustix::fs::utimensat(CWD, folder.master_key(), &long_ago, flags)?)
        }
        Attempt::Limit => {
            let few = Rlimit { current: Some(64), maximum: Some(64) };
            Ok(rustix::process::prlimit(Some(pid?), Resource::Nofile, few).map(|_| ())?)
        }
    }
}

#[expect(
    unsafe_code,
    reason = "no safe wrapper of ptrace is to be had; this call takes no pointer"
)]
fn trace(pid: i32) -> io::Result<()> {
    let null = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: PTRACE_SEIZE reads no memory of ours: address and options are 0.
    match unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, null, null) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
