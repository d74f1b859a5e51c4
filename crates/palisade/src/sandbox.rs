//! What a role may still do once it stands: its own folder, its open sockets, nothing else.
//!
//! Four layers, each of which holds if another one is missing: no capabilities and no way to gain
//! any; Landlock for files, ports, signals and tracing; two seccomp filters (one kills on what no
//! role ever does, one answers `ENOSYS` to all that is not on the role's list); and for custody
//! memory that is neither dumped nor swapped. The layers hold for the calling thread and those it
//! starts later, so it is entered before any runtime is built.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use tracing::{debug, warn};

use crate::setup::Role;

mod system_call;

/// What a role's sandbox must leave open.
#[derive(Debug)]
pub(crate) struct Bounds<'a> {
    /// The role.
    pub(crate) role: Role,
    /// Its folder.
    pub(crate) folder: &'a Path,
    /// The TCP port of the database server, if there is one elsewhere.
    pub(crate) database: Option<u16>,
}

/// The sandbox could not be entered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// A limit or capability could not be given up.
    #[error("cannot give up {0}")]
    Give(&'static str, #[source] rustix::io::Errno),
    /// Landlock refused the rules.
    #[error("landlock refused the rules")]
    Landlock(#[from] landlock::RulesetError),
    /// A path that the rules name cannot be opened.
    #[error("a path of the sandbox cannot be opened")]
    Path(#[from] landlock::PathFdError),
    /// seccomp refused the filter.
    #[error("seccomp refused the filter")]
    Seccomp(#[from] seccompiler::Error),
}

/// Enters the sandbox for good.
pub(crate) fn enter(bounds: &Bounds<'_>) -> Result<(), SandboxError> {
    keep_memory_private(bounds.role)?;
    drop_capabilities()?;
    restrict_files_and_ports(bounds)?;
    for filter in system_call::filters(bounds.role, bounds.database.is_some())? {
        seccompiler::apply_filter(&filter)?;
    }
    debug!(role = bounds.role.name(), "sandbox entered");
    Ok(())
}

/// Keeps secrets out of core dumps and away from tracers; custody's also out of swap.
pub(crate) fn keep_memory_private(role: Role) -> Result<(), SandboxError> {
    no_dumps()?;
    if role == Role::Custody && !hold_in_memory() {
        debug!("memory may be swapped; raise the limit of locked memory to 256 MiB");
    }
    Ok(())
}

/// Keeps this process out of swap, where the limit leaves room for all that it may ever need.
///
/// With less room it is better left: memory that is asked for later would be refused, and the
/// process end.
fn hold_in_memory() -> bool {
    use rustix::mm::MlockAllFlags as Flags;
    let limit = rustix::process::getrlimit(Resource::Memlock);
    let unlimited = Rlimit { current: None, maximum: None };
    let own = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let room = match rustix::process::setrlimit(Resource::Memlock, unlimited) {
        Ok(()) => u64::MAX,
        Err(_) => match rustix::process::setrlimit(Resource::Memlock, own) {
            Ok(()) => limit.maximum.unwrap_or(u64::MAX),
            Err(_) => limit.current.unwrap_or(u64::MAX),
        },
    };
    // ONFAULT: only what is touched is held, so that the program's text costs nothing.
    let flags = Flags::CURRENT | Flags::FUTURE | Flags::ONFAULT;
    room >= ENOUGH_LOCKED && rustix::mm::mlockall(flags).is_ok()
}

/// Keeps this process out of core dumps and away from tracers of the same user.
pub(crate) fn no_dumps() -> Result<(), SandboxError> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let core = rustix::process::setrlimit(Resource::Core, none);
    core.map_err(|e| SandboxError::Give("core dumps", e))?;
    let dumpable = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    dumpable.map_err(|e| SandboxError::Give("being traced", e))
}

fn drop_capabilities() -> Result<(), SandboxError> {
    let give = |e| SandboxError::Give("capabilities", e);
    rustix::thread::set_no_new_privs(true).map_err(give)?;
    // Old kernels know no ambient set: then there is nothing in it.
    let _ = rustix::thread::clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).map_err(give)
}

fn restrict_files_and_ports(bounds: &Bounds<'_>) -> Result<(), SandboxError> {
    let own = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
    });
    let read: BitFlags<AccessFs> = AccessFs::ReadFile.into();
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(TESTED))?
        .handle_access(AccessNet::from_all(TESTED))?
        .scope(Scope::from_all(TESTED))?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new(bounds.folder)?, own))?;
    let mut readable: Vec<&str> = Vec::new();
    if bounds.role != Role::Custody {
        readable.push("/dev/urandom"); // SQLite draws from it by name.
    }
    if let Some(port) = bounds.database {
        readable.extend(RESOLVER);
        ruleset = ruleset
            .add_rule(NetPort::new(port, AccessNet::ConnectTcp))?
            .add_rule(NetPort::new(53, AccessNet::ConnectTcp))?;
    }
    for path in readable {
        let Ok(fd) = PathFd::new(path) else { continue };
        let access = if Path::new(path).is_dir() { read | AccessFs::ReadDir } else { read };
        ruleset = ruleset.add_rule(PathBeneath::new(fd, access))?;
    }
    let status = ruleset.restrict_self()?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::FullyEnforced, _) => {}
        (RulesetStatus::NotEnforced, _) => warn!(
            role = bounds.role.name(),
            "this kernel has no Landlock: only seccomp and permissions hold the role"
        ),
        (RulesetStatus::PartiallyEnforced, found) => {
            debug!(role = bounds.role.name(), ?found, "this kernel's Landlock is older");
        }
    }
    Ok(())
}

/// Says which Landlock this kernel has, for `doctor`.
pub(crate) fn landlock() -> Result<i32, &'static str> {
    let status = std::thread::spawn(|| {
        // A thread of its own: what it restricts, it restricts for itself only.
        let ruleset = Ruleset::default().handle_access(AccessFs::from_all(ABI::V1)).ok()?;
        Some(ruleset.create().ok()?.restrict_self().ok()?.landlock)
    });
    match status.join().ok().flatten() {
        Some(LandlockStatus::Available { effective_abi, kernel_abi }) => {
            Ok(kernel_abi.unwrap_or(effective_abi as i32))
        }
        Some(LandlockStatus::NotEnabled) => Err("built into this kernel but not enabled"),
        Some(LandlockStatus::NotImplemented) | None => Err("not built into this kernel"),
    }
}

/// More than custody ever maps, its largest message and its answer included.
const ENOUGH_LOCKED: u64 = 256 * 1024 * 1024;
/// The newest Landlock whose restrictions were tried with this program.
const TESTED: ABI = ABI::V7;
/// What finding and trusting a database server by name needs to read.
const RESOLVER: [&str; 8] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl",
    "/usr/share/ca-certificates",
];
