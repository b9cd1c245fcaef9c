//! Where isolated children may connect to: anywhere but to a cloud's metadata services, which give the
//! machine's own credentials to everybody who asks on it.
//!
//! A filter of system calls cannot look at an address, which lies in memory and may change after the
//! look. So each `connect` is made here, in the server, on a duplicate of the child's socket, with the
//! address that was looked at (seccomp_unotify(2) warns of anything less). Those services speak TCP, so
//! datagrams without `connect` are left alone; `MSG_FASTOPEN`, which connects too, is denied by
//! [`syscalls`](crate::launch). Name servers are let through: some clouds have theirs at such an address.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, Shutdown, SocketType, recvmsg, shutdown,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::launch::notify::{self, Notification};

/// Calls of one child that wait for an answer from the network, a thread each.
const MAX_WAITING: usize = 64;

/// Bytes of stack of a thread here, of which there is one for each child and each waiting call.
pub(crate) const STACK: usize = 256 << 10;

const DOMAIN_NAMES: u16 = 53;

/// Metadata services outside of the link-local networks: Alibaba, Azure; Amazon, Google.
const METADATA_V4: &[Ipv4Addr] =
    &[Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// Whether this machine lets its server act for a child; asked while the child is in its launch stage.
pub(crate) fn is_possible(child: Pid) -> bool {
    let handle = pidfd_open(child, PidfdFlags::empty());
    handle.is_ok_and(|handle| pidfd_getfd(&handle, 0, PidfdGetfdFlags::empty()).is_ok())
}

/// Gives the launch stage its specification, and supervises what comes of it until no process of it is
/// left. For a thread of its own.
pub(crate) fn run(mut stage: UnixStream, specification: &[u8]) {
    // What fails here has ended, which its process tells.
    if stage.write_all(specification).is_err() {
        return;
    }
    let Ok(Some(listener)) = listener(&stage) else { return };
    drop(stage);
    let listener = Arc::new(listener);
    let waiting = Arc::new(Waiting::default());
    while let Ok(Some(notification)) = notify::receive(listener.as_fd()) {
        match decide(&listener, notification) {
            Ok(connect) if connect.may_wait() => waiting.make(&listener, notification.id, connect),
            Ok(connect) => answer(&listener, notification.id, connect.make()),
            Err(errno) => answer(&listener, notification.id, Err(errno)),
        }
    }
    waiting.give_up();
}

/// The descriptor that the stage sends; none where it ended or goes without this wall.
fn listener(stage: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(stage, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags)?;
    Ok(ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}

fn answer(listener: &OwnedFd, id: u64, outcome: Result<(), Errno>) {
    notify::answer(listener.as_fd(), id, outcome.map_or_else(Errno::raw_os_error, |()| 0));
}

/// A `connect` that may be made.
#[derive(Debug)]
struct Connect {
    socket: Arc<OwnedFd>,
    /// None dissolves the association.
    to: Option<SocketAddr>,
}

impl Connect {
    fn make(&self) -> Result<(), Errno> {
        match self.to {
            Some(address) => rustix::net::connect(&self.socket, &address),
            None => rustix::net::connect_unspec(&self.socket),
        }
    }

    fn may_wait(&self) -> bool {
        let flags = rustix::fs::fcntl_getfl(&self.socket);
        let at_once = flags.is_ok_and(|flags| flags.contains(rustix::fs::OFlags::NONBLOCK));
        let kind = rustix::net::sockopt::socket_type(&self.socket);
        !at_once && kind != Ok(SocketType::DGRAM)
    }
}

/// The calls that wait for the network.
#[derive(Debug, Default)]
struct Waiting {
    sockets: Mutex<HashMap<u64, Arc<OwnedFd>>>,
}

impl Waiting {
    fn make(self: &Arc<Waiting>, listener: &Arc<OwnedFd>, id: u64, connect: Connect) {
        let mut sockets = self.lock();
        if sockets.len() >= MAX_WAITING {
            drop(sockets);
            return answer(listener, id, Err(Errno::AGAIN));
        }
        sockets.insert(id, Arc::clone(&connect.socket));
        drop(sockets);
        let (own, to) = (Arc::clone(self), Arc::clone(listener));
        let thread = std::thread::Builder::new().name("connect".to_owned()).stack_size(STACK);
        let thread = thread.spawn(move || {
            let outcome = connect.make();
            own.lock().remove(&id);
            answer(&to, id, outcome);
        });
        if thread.is_err() {
            self.lock().remove(&id);
            answer(listener, id, Err(Errno::AGAIN));
        }
    }

    /// The callers are gone: their calls end, and the threads with them.
    fn give_up(&self) {
        for socket in self.lock().values() {
            let _ = shutdown(socket, Shutdown::Both);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<OwnedFd>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at a call and says what is to be done in its place.
fn decide(listener: &OwnedFd, notification: Notification) -> Result<Connect, Errno> {
    let Notification { id, thread, arguments: [socket, pointer, length, ..] } = notification;
    let process = process_of(thread).ok_or(Errno::SRCH)?;
    let memory = File::open(format!("/proc/{thread}/mem")).map_err(|e| errno(&e))?;
    let handle = pidfd_open(process, PidfdFlags::empty())?;
    // Now they are held; was it the caller that they were taken from?
    if !notify::is_waiting(listener.as_fd(), id) {
        return Err(Errno::INTR);
    }
    let mut bytes = [0; 28];
    let length = usize::try_from(length as u32).map_or(bytes.len(), |l| l.min(bytes.len()));
    let bytes = bytes.get_mut(..length).unwrap_or_default();
    memory.read_exact_at(bytes, pointer).map_err(|_| Errno::FAULT)?;
    let to = address(bytes)?;
    if to.is_some_and(is_metadata) {
        return Err(Errno::HOSTUNREACH);
    }
    let descriptor = (socket as u32).cast_signed();
    let socket = pidfd_getfd(&handle, descriptor, PidfdGetfdFlags::empty())?;
    Ok(Connect { socket: Arc::new(socket), to })
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::ACCESS, Errno::from_raw_os_error)
}

fn process_of(thread: u32) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    Pid::from_raw(line.trim().parse().ok()?)
}

/// Reads struct sockaddr_in or sockaddr_in6; none is AF_UNSPEC.
fn address(bytes: &[u8]) -> Result<Option<SocketAddr>, Errno> {
    let part = |at: usize, length: usize| bytes.get(at..at + length).ok_or(Errno::INVAL);
    let four = |at: usize| part(at, 4)?.try_into().map_err(|_| Errno::INVAL);
    let two =
        |at: usize| -> Result<[u8; 2], Errno> { part(at, 2)?.try_into().map_err(|_| Errno::INVAL) };
    let family = i32::from(u16::from_ne_bytes(two(0)?));
    let port = || two(2).map(u16::from_be_bytes);
    match family {
        libc::AF_UNSPEC => Ok(None),
        libc::AF_INET => {
            part(0, 16)?;
            let ip: [u8; 4] = four(4)?;
            Ok(Some(SocketAddrV4::new(ip.into(), port()?).into()))
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = part(8, 16)?.try_into().map_err(|_| Errno::INVAL)?;
            let flow = u32::from_ne_bytes(four(4)?);
            // Old programs leave the scope out.
            let scope = four(24).map_or(0, u32::from_ne_bytes);
            Ok(Some(SocketAddrV6::new(ip.into(), port()?, flow, scope).into()))
        }
        _ => Err(Errno::AFNOSUPPORT),
    }
}

/// Whether a cloud's metadata service may be there.
fn is_metadata(to: SocketAddr) -> bool {
    if to.port() == DOMAIN_NAMES {
        return false;
    }
    let v4 = |ip: Ipv4Addr| ip.is_link_local() || METADATA_V4.contains(&ip);
    match to.ip().to_canonical() {
        IpAddr::V4(ip) => v4(ip),
        IpAddr::V6(ip) => {
            let [.., a, b, c, d] = ip.octets();
            // An IPv4 address within one of IPv6 (64:ff9b::/96, and the old ::/96).
            let within =
                matches!(ip.segments(), [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0, 0, ..]);
            ip.is_unicast_link_local()
                || METADATA_V6.contains(&ip)
                || within && v4(Ipv4Addr::new(a, b, c, d))
        }
    }
}

#[cfg(test)]
mod tests;
