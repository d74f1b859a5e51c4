//! The system calls of each role, as two stacked filters.
//!
//! The first lets everything pass but kills the process on calls that only an intruder makes. The
//! second lets only the role's list pass and answers `ENOSYS` to the rest: to a C library newer
//! than this list that looks like an older kernel, and it falls back instead of dying.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::setup::Role;

/// Compiles the filters of a role, to be applied in order.
pub(super) fn filters(role: Role, resolves: bool) -> Result<[BpfProgram; 2], seccompiler::Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let mut killing: BTreeMap<_, _> = NEVER.iter().map(|call| (*call, Vec::new())).collect();
    let mut passing: BTreeMap<_, _> =
        COMMON.iter().chain(OLD_NAMES).map(|call| (*call, Vec::new())).collect();
    passing.insert(libc::SYS_ioctl, ioctls()?);
    passing.insert(libc::SYS_prlimit64, own_limits()?);
    let more: &[&[c_long]] = match role {
        Role::Custody => &[],
        Role::Control if resolves => &[SERVER, OUTBOUND],
        Role::Control | Role::Gateway => &[SERVER],
    };
    passing.extend(more.iter().copied().flatten().map(|call| (*call, Vec::new())));
    if role == Role::Custody {
        killing.extend(SERVER.iter().chain(OUTBOUND).map(|call| (*call, Vec::new())));
    }
    let kill = SeccompFilter::new(killing, SeccompAction::Allow, SeccompAction::KillProcess, arch)?;
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let list = SeccompFilter::new(passing, absent, SeccompAction::Allow, arch)?;
    // The list comes last: it leaves out `seccomp` itself.
    Ok([kill.try_into()?, list.try_into()?])
}

/// `ioctl` does everything; these few do what sockets and terminals need.
fn ioctls() -> Result<Vec<SeccompRule>, seccompiler::Error> {
    let requests = [libc::FIONBIO, libc::FIONREAD, libc::TCGETS, libc::TIOCGWINSZ];
    let rule = |request: libc::Ioctl| {
        let (len, op) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
        let condition = SeccompCondition::new(1, len, op, request)?;
        Ok(SeccompRule::new(vec![condition])?)
    };
    requests.into_iter().map(rule).collect()
}

/// Asking for limits of its own; setting any, or asking for another process's, is not needed.
fn own_limits() -> Result<Vec<SeccompRule>, seccompiler::Error> {
    let own = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)?;
    let set_none = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    Ok(vec![SeccompRule::new(vec![own, set_none])?])
}

/// Calls that no role ever makes, and an intruder would like to.
const NEVER: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_acct,
    // Landlock does not ask who may change a file's mode, owner or times by its path.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setaffinity,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
];

/// The same number on every architecture.
const SYS_FCHMODAT2: c_long = 452;

/// Files, memory, time, and talking over what is open already.
const COMMON: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_openat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_getdents64,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fchmod,
    libc::SYS_umask,
    libc::SYS_getcwd,
    libc::SYS_copy_file_range,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_brk,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_membarrier,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_tgkill,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrandom,
    libc::SYS_getcpu,
    libc::SYS_getrusage,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_prctl,
    libc::SYS_ppoll,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
];

/// What an event loop and accepting on a bound listener need.
const SERVER: &[c_long] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_socketpair,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// What finding and reaching another machine needs; only control has it, for PostgreSQL.
const OUTBOUND: &[c_long] =
    &[libc::SYS_socket, libc::SYS_connect, libc::SYS_bind, libc::SYS_sendmmsg, libc::SYS_recvmmsg];

/// Older names of the same, which only the older architecture has.
#[cfg(target_arch = "x86_64")]
const OLD_NAMES: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_readlink,
    libc::SYS_poll,
    libc::SYS_time,
    libc::SYS_getrlimit,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_arch_prctl,
];

/// Older names of the same, which only the older architecture has.
#[cfg(not(target_arch = "x86_64"))]
const OLD_NAMES: &[c_long] = &[libc::SYS_renameat];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_both_killed_and_allowed() {
        let allowed = || COMMON.iter().chain(SERVER).chain(OUTBOUND).chain(OLD_NAMES);
        for call in NEVER {
            assert!(!allowed().any(|other| other == call), "system call {call}");
        }
        for call in SERVER.iter().chain(OUTBOUND) {
            assert!(!COMMON.contains(call), "custody may make system call {call}");
        }
    }

    #[test]
    fn every_role_has_filters_that_compile() {
        for role in [Role::Custody, Role::Control, Role::Gateway] {
            let [kill, list] = filters(role, false).unwrap();
            assert!(kill.len() > NEVER.len() && list.len() > COMMON.len());
        }
    }
}
