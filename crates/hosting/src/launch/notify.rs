//! The kernel's seccomp user notification (seccomp_unotify(2)): a child's `connect` stands still until
//! its supervisor has answered it. No crate that needs no C library offers these calls, so they are
//! made here, and nothing else.

#![expect(unsafe_code, reason = "seccomp(2), poll(2) and ioctl(2) on a notification descriptor")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A call that stands still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notification {
    pub(crate) id: u64,
    /// The thread that calls.
    pub(crate) thread: u32,
    pub(crate) arguments: [u64; 6],
}

/// Makes every `connect` of this process and its descendants, for good, a notification on the descriptor
/// that is given back. New privileges must have been forbidden.
pub(super) fn install() -> io::Result<OwnedFd> {
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let connect = u32::try_from(libc::SYS_connect).map_err(io::Error::other)?;
    // The other filters have refused calls of other machines and tables already.
    let mut program = [
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 0, 1, connect),
        instruction(0x06, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        instruction(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    let call = |flags: libc::c_ulong| {
        // SAFETY: `program` and the instructions it points to live until the call returns; the kernel
        // copies them, and writes nothing into this process.
        let made = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        };
        if made < 0 { Err(io::Error::last_os_error()) } else { Ok(made) }
    };
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // Signals would make a caller begin again and again; before Linux 5.19 they do.
    let made = call(listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
        .or_else(|_| call(listener))?;
    let made = i32::try_from(made).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

/// Waits for the next call; none when no process is left that could make one.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> io::Result<Option<Notification>> {
    loop {
        let mut wanted =
            libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, which lives until the call returns.
        if unsafe { libc::poll(&raw mut wanted, 1, -1) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        }
        if wanted.revents & libc::POLLIN == 0 {
            return Ok(None);
        }
        // SAFETY: plain numbers, for which zero is a value, and which the kernel wants to be zero.
        let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
        // SAFETY: the structure is the one that this request fills in, and is ours.
        let received = unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut notification) };
        if received < 0 {
            let error = io::Error::last_os_error();
            // The caller was killed or interrupted meanwhile.
            if [Some(libc::ENOENT), Some(libc::EINTR)].contains(&error.raw_os_error()) {
                continue;
            }
            return Err(error);
        }
        let libc::seccomp_notif { id, pid, data, .. } = notification;
        return Ok(Some(Notification { id, thread: pid, arguments: data.args }));
    }
}

/// Whether the caller still stands still: only then are its number and its descriptors its own.
pub(crate) fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> bool {
    let request = libc::SECCOMP_IOCTL_NOTIF_ID_VALID;
    // SAFETY: this request reads one number.
    unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw const id) == 0 }
}

/// Lets the caller go on with this error number, or with success where it is zero.
pub(crate) fn answer(listener: BorrowedFd<'_>, id: u64, error: i32) {
    let mut response = libc::seccomp_notif_resp { id, val: 0, error: -error, flags: 0 };
    let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
    // SAFETY: the structure is the one that this request reads.
    // A caller that is gone needs no answer, so the outcome says nothing.
    let _ = unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut response) };
}
