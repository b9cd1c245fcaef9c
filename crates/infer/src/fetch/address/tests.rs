//! A table with both edges of every block, and properties over whole ranges.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use proptest::prelude::*;

fn public(text: &str) -> bool {
    is_public(text.parse().unwrap())
}

#[test]
fn special_addresses_are_not_public() {
    let refused = [
        "0.0.0.0",
        "0.1.2.3",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.100.100.200",
        "100.127.255.255",
        "127.0.0.1",
        "127.1.2.3",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.170.2",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.192",
        "192.0.0.255",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.200",
        "224.0.0.0",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.254",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "::127.0.0.1",
        "::8.8.8.8", // IPv4-compatible
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:169.254.169.254", // IPv4-mapped
        "::ffff:0:127.0.0.1",     // IPv4-translated (SIIT)
        "64:ff9b::7f00:1",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::1", // NAT64
        "100::1",
        "100:0:0:1::1", // discard
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2", // Teredo
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:1ff:ffff::1",
        "2001:db8::1",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2002::1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::1",
        "2002:808:808::1", // 6to4
        "3ffe::1",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "5f00::1",
        "8000::1",
        "fc00::1",
        "fd00:ec2::254",
        "fdff::1", // unique-local, AWS metadata
        "fe80::1",
        "febf::1",
        "fec0::1",
        "feff::1", // link-local, site-local
        "ff00::1",
        "ff02::1",
        "ffff::1", // multicast
    ];
    for text in refused {
        assert!(!public(text), "{text} must not be public");
    }
}

#[test]
fn ordinary_addresses_are_public() {
    let allowed = [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "52.216.8.3",
        "2000::1",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "2003::1",
        "2400:cb00::1",
        "2606:4700::1111",
        "2a00:1450::1",
        "3ffd:ffff::1",
        "3fff:1000::1",
    ];
    for text in allowed {
        assert!(public(text), "{text} must be public");
    }
}

proptest! {
    /// What the standard library calls special is never public here.
    #[test]
    fn agrees_with_the_standard_library(bits in any::<u32>()) {
        let v4 = Ipv4Addr::from_bits(bits);
        if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
            || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified()
        {
            prop_assert!(!is_public(v4.into()));
        }
    }

    /// No IPv4 address gets in by being written inside an IPv6 one.
    #[test]
    fn no_ipv4_inside_ipv6(bits in any::<u32>(), low in any::<u64>()) {
        let v4 = Ipv4Addr::from_bits(bits);
        let [a, b, c, d] = v4.octets();
        let (high, rest) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let sixtofour = (u128::from(0x2002_u16) << 112) | (u128::from(bits) << 80) | u128::from(low);
        for addr in [
            v4.to_ipv6_mapped(),
            v4.to_ipv6_compatible(),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, rest),
            Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, rest),
            Ipv6Addr::new(0x2001, 0, high, rest, 0, 0, high, rest),
            Ipv6Addr::from_bits(sixtofour),
        ] {
            prop_assert!(!is_public(addr.into()), "{addr}");
        }
    }

    /// Outside 2000::/3 nothing is public, whatever the rest of the address says.
    #[test]
    fn only_global_unicast(bits in any::<u128>()) {
        let addr = Ipv6Addr::from_bits(bits);
        if addr.segments()[0] & 0xe000 != 0x2000 {
            prop_assert!(!is_public(addr.into()));
        }
        prop_assert!(!is_public(Ipv6Addr::from_bits((bits >> 7) | (0xfc_u128 << 120)).into()));
    }

    /// The prefix test is the arithmetic one on ranges.
    #[test]
    fn prefixes_are_ranges(bits in any::<u32>(), network in any::<u32>(), length in 1_u32..=32) {
        let size = 1_u64 << (32 - length);
        let first = u64::from(network) / size * size;
        let expected = (first..first + size).contains(&u64::from(bits));
        prop_assert_eq!(
            within_v4(Ipv4Addr::from_bits(bits), Ipv4Addr::from_bits(network), length),
            expected
        );
    }
}
