//! Addresses; the calls are tested with real children in tests/isolation.rs.

use super::*;

#[test]
fn metadata_services_are_known_in_every_spelling() {
    for no in [
        "169.254.169.254:80",
        "169.254.170.2:80",
        "169.254.0.1:443",
        "100.100.100.200:80",
        "168.63.129.16:80",
        "[::ffff:169.254.169.254]:80",
        "[::169.254.169.254]:80",
        "[64:ff9b::169.254.169.254]:80",
        "[fe80::1]:80",
        "[fe80::1%3]:80",
        "[fd00:ec2::254]:80",
        "[fd00:ec2::23]:80",
        "[fd20:ce::254]:80",
    ] {
        assert!(is_metadata(no.parse().unwrap()), "{no}");
    }
    for yes in [
        "127.0.0.1:80",
        "169.253.169.254:80",
        "169.254.169.254:53",
        "10.0.0.1:80",
        "100.100.100.201:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
        "[2600::254]:80",
        "[fd00:ec2::253]:53",
    ] {
        assert!(!is_metadata(yes.parse().unwrap()), "{yes}");
    }
}

#[test]
fn addresses_are_read_as_the_kernel_reads_them() {
    let family = |family: i32| u16::try_from(family).unwrap().to_ne_bytes();
    let mut v4 = family(libc::AF_INET).to_vec();
    v4.extend([0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(address(&v4), Ok(Some("127.0.0.1:80".parse().unwrap())));
    assert_eq!(address(&v4[..15]), Err(Errno::INVAL));
    let mut v6 = family(libc::AF_INET6).to_vec();
    v6.extend([1, 187, 0, 0, 0, 0]);
    v6.extend(Ipv6Addr::LOCALHOST.octets());
    assert_eq!(address(&v6), Ok(Some("[::1]:443".parse().unwrap())));
    v6.extend(7u32.to_ne_bytes());
    match address(&v6) {
        Ok(Some(SocketAddr::V6(found))) => assert_eq!(found.scope_id(), 7),
        other => panic!("{other:?}"),
    }
    assert_eq!(address(&v6[..23]), Err(Errno::INVAL));
    assert_eq!(address(&family(libc::AF_UNSPEC)), Ok(None));
    assert_eq!(address(&family(libc::AF_UNIX)), Err(Errno::AFNOSUPPORT));
    assert_eq!(address(&[]), Err(Errno::INVAL));
}
