//! System calls that an isolated child cannot make: those that look into other processes, change the
//! view of the file system or the kernel, and those with a long record of holes that no function needs.
//! Docker's default profile is the model, with fewer things allowed.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::{LaunchError, refused};

/// Denied with EPERM.
const DENIED: &[i64] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // Namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_by_handle_at,
    // The kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    // Keys of the user, which all of his processes share.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
];

/// Denied with ENOSYS, so that libraries take the older call: `clone3` hides its flags in memory where a
/// filter cannot see them, and io_uring makes calls that no filter sees.
const UNKNOWN: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Flags of `clone` that make namespaces.
const NAMESPACES: &[i32] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Kinds of sockets that can be made: the internet, and netlink, by which libraries ask for the
/// machine's addresses. Not AF_UNIX: Landlock does not stop connecting to a socket in a folder that
/// cannot be read, such as a container engine's.
const FAMILIES: &[i32] = &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Puts the filters on this process, for good. No new privileges must have been forbidden.
pub(super) fn restrict() -> Result<(), LaunchError> {
    let failed = |e: &dyn std::fmt::Display| {
        refused("restrict system calls", std::io::Error::other(e.to_string()))
    };
    for program in programs().map_err(|e| failed(&e))? {
        seccompiler::apply_filter(&program).map_err(|e| failed(&e))?;
    }
    Ok(())
}

pub(super) fn programs() -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let mut denied: BTreeMap<i64, Vec<SeccompRule>> =
        DENIED.iter().map(|number| (*number, Vec::new())).collect();
    let namespaces = NAMESPACES.iter().map(|flag| {
        let flag = u64::from(flag.cast_unsigned());
        rule(vec![(0, SeccompCmpOp::MaskedEq(flag), flag)])
    });
    denied.insert(libc::SYS_clone, namespaces.collect::<Result<_, _>>()?);
    let families = FAMILIES.iter().map(|family| (0, SeccompCmpOp::Ne, widen(*family)));
    denied.insert(libc::SYS_socket, vec![rule(families.collect())?]);
    // A datagram socket of a pair can be pointed at any other; the other kinds stay with their twin.
    let kind = SeccompCmpOp::MaskedEq(0xf);
    denied.insert(libc::SYS_socketpair, vec![rule(vec![(1, kind, widen(libc::SOCK_DGRAM))])?]);
    // Connects without `connect`, which is supervised.
    for (number, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)]
    {
        let fast = widen(libc::MSG_FASTOPEN);
        denied.insert(number, vec![rule(vec![(flags, SeccompCmpOp::MaskedEq(fast), fast)])?]);
    }
    let unknown = UNKNOWN.iter().map(|number| (*number, Vec::new())).collect();
    let program = |rules, error: i32| -> Result<BpfProgram, seccompiler::BackendError> {
        let action = SeccompAction::Errno(error.cast_unsigned());
        let machine = TargetArch::try_from(std::env::consts::ARCH)?;
        BpfProgram::try_from(SeccompFilter::new(rules, SeccompAction::Allow, action, machine)?)
    };
    let mut programs = vec![program(denied, libc::EPERM)?, program(unknown, libc::ENOSYS)?];
    if cfg!(target_arch = "x86_64") {
        programs.push(no_second_table());
    }
    Ok(programs)
}

fn widen(number: i32) -> u64 {
    u64::from(number.cast_unsigned())
}

/// One rule of conditions (argument, comparison, value) that must all hold.
fn rule(
    conditions: Vec<(u8, SeccompCmpOp, u64)>,
) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions.into_iter().map(|(argument, operator, value)| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// x86-64 kernels may know every call under a second number as well ("x32"), past the rules above.
fn no_second_table() -> BpfProgram {
    let instruction = |code, jt, jf, k| seccompiler::sock_filter { code, jt, jf, k };
    vec![
        // The number of the call; from bit 30 on it is of the second table; answer ENOSYS, or allow.
        instruction(0x20, 0, 0, 0),
        instruction(0x35, 0, 1, 0x4000_0000),
        instruction(0x06, 0, 0, 0x0005_0000 | libc::ENOSYS.cast_unsigned()),
        instruction(0x06, 0, 0, 0x7fff_0000),
    ]
}
