//! Which addresses a photo may be fetched from: a pure decision on one IP address.
//!
//! A server that fetches what strangers name can be turned against the network it stands in
//! (server-side request forgery): the instance metadata service, a database on the loopback
//! interface, a router's console. Names are no defence, because anybody can make a name point
//! anywhere, so the decision is taken on the address that the connection will really go to.
//!
//! The lists follow the IANA special-purpose registries
//! (<https://www.iana.org/assignments/iana-ipv4-special-registry/>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry/>). For IPv4 the special blocks
//! are refused and the rest is public; for IPv6 only 2000::/3, the one range from which global
//! addresses are given out, is looked at, and special blocks inside it are refused. Forms that
//! carry an IPv4 address inside an IPv6 one (mapped, compatible, NAT64, 6to4, Teredo) are refused
//! whatever they carry: no public photo needs them, and each is a way around the IPv4 list.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// IPv4 blocks that are not public, as network address and prefix length.
const SPECIAL_V4: [(Ipv4Addr, u32); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8), // "this network", the unspecified address
    (Ipv4Addr::new(10, 0, 0, 0), 8), // private
    (Ipv4Addr::new(100, 64, 0, 0), 10), // shared by carrier-grade NAT
    (Ipv4Addr::new(127, 0, 0, 0), 8), // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32), // Azure's platform services, inside every machine
    (Ipv4Addr::new(169, 254, 0, 0), 16), // link-local, with the clouds' metadata services
    (Ipv4Addr::new(172, 16, 0, 0), 12), // private
    (Ipv4Addr::new(192, 0, 0, 0), 24), // protocol assignments, Oracle Cloud's metadata
    (Ipv4Addr::new(192, 0, 2, 0), 24), // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24), // 6to4 relays, deprecated
    (Ipv4Addr::new(192, 168, 0, 0), 16), // private
    (Ipv4Addr::new(198, 18, 0, 0), 15), // benchmarking
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24), // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4), // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4), // reserved
    (Ipv4Addr::new(255, 255, 255, 255), 32), // broadcast (within 240/4, named for the reader)
];

/// IPv6 blocks inside 2000::/3 that are not public, as network address and prefix length.
const SPECIAL_V6: [(Ipv6Addr, u32); 5] = [
    // Protocol assignments: Teredo 2001::/32, benchmarking 2001:2::/48, ORCHID and others.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    // 6to4, which carries an IPv4 address.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    // The former 6bone, given back.
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16),
    // Documentation.
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether `addr` is an ordinary address of the public internet.
///
/// Everything else (private, loopback, link-local, shared, documentation, multicast, reserved,
/// and every IPv6 form that carries an IPv4 address) is not, and [`super::Fetcher`] refuses it
/// unless the host was opened by name.
pub fn is_public(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => {
            !SPECIAL_V4.iter().any(|&(network, length)| within_v4(addr, network, length))
        }
        IpAddr::V6(addr) => {
            let global = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0);
            within_v6(addr, global, 3)
                && !SPECIAL_V6.iter().any(|&(network, length)| within_v6(addr, network, length))
        }
    }
}

/// Whether the first `length` bits of both addresses are the same; `length` is 1 to 32.
fn within_v4(addr: Ipv4Addr, network: Ipv4Addr, length: u32) -> bool {
    (addr.to_bits() ^ network.to_bits()) >> (32 - length) == 0
}

/// Whether the first `length` bits of both addresses are the same; `length` is 1 to 128.
fn within_v6(addr: Ipv6Addr, network: Ipv6Addr, length: u32) -> bool {
    (addr.to_bits() ^ network.to_bits()) >> (128 - length) == 0
}
