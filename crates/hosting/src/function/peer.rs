//! Who is at the other end of a connection of this machine: the inode of its socket, by which its
//! process is found.
//!
//! The kernel is asked for this one socket (sock_diag(7)). Where it does not answer that, its table of
//! all connections is read, which takes longer.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const IPPROTO_TCP: u8 = 6;
const LISTENING: u8 = 10;

/// Bytes of a netlink message's head, of our question and of the fixed part of the answer.
const HEAD: usize = 16;
const QUESTION: usize = HEAD + 56;
const ANSWER: usize = HEAD + 72;

/// The inode of the socket that connects `peer` with `local`; none where there is none any more.
pub(super) fn inode(peer: SocketAddr, local: SocketAddr) -> Option<u64> {
    let (peer, local) = (v4(peer)?, v4(local)?);
    match ask(peer, local) {
        Ok(inode) => inode,
        Err(e) => {
            tracing::debug!("the kernel does not tell about sockets: {e}");
            ["tcp", "tcp6"].into_iter().find_map(|table| {
                let table = std::fs::read_to_string(format!("/proc/self/net/{table}")).ok()?;
                look_up(&table, peer, local)
            })
        }
    }
}

fn v4(address: SocketAddr) -> Option<SocketAddrV4> {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => Some(SocketAddrV4::new(ip, address.port())),
        IpAddr::V6(_) => None,
    }
}

fn ask(peer: SocketAddrV4, local: SocketAddrV4) -> io::Result<Option<u64>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    send(&socket, &question(peer, local), SendFlags::empty())?;
    let mut buffer = [0; 1024];
    // The kernel answers before `send` returns; waiting would be for ever.
    let (length, _) = recv(&socket, &mut buffer, RecvFlags::DONTWAIT)?;
    read(buffer.get(..length).unwrap_or_default())
}

/// struct nlmsghdr and struct inet_diag_req_v2: the socket of the peer, seen from its side.
fn question(peer: SocketAddrV4, local: SocketAddrV4) -> Vec<u8> {
    let mut message = Vec::with_capacity(QUESTION);
    message.extend((QUESTION as u32).to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([AF_INET, IPPROTO_TCP, 0, 0]);
    message.extend(u32::MAX.to_ne_bytes());
    message.extend(peer.port().to_be_bytes());
    message.extend(local.port().to_be_bytes());
    for ip in [peer.ip(), local.ip()] {
        message.extend(ip.octets());
        message.extend([0; 12]);
    }
    // Any interface; no cookie.
    message.extend([0; 4]);
    message.extend([0xff; 8]);
    message
}

/// struct nlmsghdr and struct inet_diag_msg, or an error number.
fn read(message: &[u8]) -> io::Result<Option<u64>> {
    let short = || io::Error::other("a short answer");
    let number = |at: usize| -> io::Result<[u8; 4]> {
        let bytes = message.get(at..at + 4).ok_or_else(short)?;
        bytes.try_into().map_err(|_| short())
    };
    let [low, high, ..] = number(4)?;
    if u16::from_ne_bytes([low, high]) != SOCK_DIAG_BY_FAMILY {
        let error = i32::from_ne_bytes(number(HEAD)?).saturating_neg();
        let gone = error == rustix::io::Errno::NOENT.raw_os_error();
        return if gone { Ok(None) } else { Err(io::Error::from_raw_os_error(error)) };
    }
    if message.len() < ANSWER {
        return Err(short());
    }
    let listening = message.get(HEAD + 1) == Some(&LISTENING);
    let inode = u64::from(u32::from_ne_bytes(number(ANSWER - 4)?));
    Ok((inode != 0 && !listening).then_some(inode))
}

/// Finds the connection in /proc/net/tcp or tcp6.
fn look_up(table: &str, peer: SocketAddrV4, local: SocketAddrV4) -> Option<u64> {
    // Addresses are words in the machine's own order, ports are numbers.
    let written = |address: SocketAddrV4| {
        let word = u32::from_ne_bytes(address.ip().octets());
        format!("{word:08X}:{:04X}", address.port())
    };
    let (peer, local) = (written(peer), written(local));
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        // In tcp6 the address stands behind that of the mapping.
        let matches = fields.next()?.ends_with(&peer) && fields.next()?.ends_with(&local);
        let inode: u64 = matches.then(|| fields.nth(6))??.parse().ok()?;
        (inode != 0).then_some(inode)
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_peers_socket_is_found_both_ways() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        // A second connection, as one that must not be taken for the first.
        let _other = TcpStream::connect(local).unwrap();
        let client = TcpStream::connect(local).unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{}", client.as_raw_fd())).unwrap();
        let expected = format!("socket:[{}]", inode(client.local_addr().unwrap(), local).unwrap());
        assert_eq!(link.display().to_string(), expected);
        let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let (peer, local) = (v4(client.local_addr().unwrap()).unwrap(), v4(local).unwrap());
        let found = look_up(&table, peer, local).unwrap();
        assert_eq!(link.display().to_string(), format!("socket:[{found}]"));
        match ask(peer, local) {
            Ok(asked) => assert_eq!(asked, Some(found)),
            Err(e) => eprintln!("skipped: the kernel has no sock_diag: {e}"),
        }
    }

    #[test]
    fn mapped_addresses_are_found_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let Ok(client) = TcpStream::connect(("::ffff:127.0.0.1", port)) else {
            eprintln!("skipped: no IPv6 here");
            return;
        };
        let (_server, peer) = listener.accept().unwrap();
        let local = listener.local_addr().unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{}", client.as_raw_fd())).unwrap();
        assert_eq!(link.display().to_string(), format!("socket:[{}]", inode(peer, local).unwrap()));
        let table = std::fs::read_to_string("/proc/self/net/tcp6").unwrap();
        let found = look_up(&table, v4(peer).unwrap(), v4(local).unwrap()).unwrap();
        assert_eq!(link.display().to_string(), format!("socket:[{found}]"));
    }

    #[test]
    fn who_is_not_there_is_nobody() {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(inode(nobody, SocketAddr::from(([127, 0, 0, 1], 2))), None);
        assert!(read(&[]).is_err());
        assert!(read(&[0; 20]).is_err());
    }
}
