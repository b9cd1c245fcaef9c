//! Spellings of URLs and hosts, the honest ones and the crooked ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use proptest::prelude::*;

fn canonical(url: &str) -> String {
    Target::parse(url).unwrap().canonical()
}

fn reason(url: &str) -> &'static str {
    match Target::parse(url) {
        Err(FetchError::BadUrl { reason, .. }) => reason,
        other => panic!("`{url}` gave {other:?}"),
    }
}

#[test]
fn honest_urls_get_one_spelling() {
    for (given, expected) in [
        ("https://example.com/dog.jpg", "https://example.com/dog.jpg"),
        ("HTTPS://Example.COM./dog.jpg", "https://example.com/dog.jpg"),
        ("https://example.com", "https://example.com/"),
        ("https://example.com?a=b", "https://example.com/?a=b"),
        ("https://example.com:443/", "https://example.com/"),
        ("http://example.com:/", "http://example.com/"),
        ("http://example.com:8080/a#top", "http://example.com:8080/a"),
        ("https://example.com/großer hund.jpg", "https://example.com/gro%C3%9Fer%20hund.jpg"),
        ("https://example.com/a%20b?x=%2F", "https://example.com/a%20b?x=%2F"),
        (r#"https://example.com/a\b"c<d>"#, "https://example.com/a%5Cb%22c%3Cd%3E"),
        ("https://xn--hndchen-n2a.example/", "https://xn--hndchen-n2a.example/"),
        ("http://93.184.216.34/", "http://93.184.216.34/"),
        ("http://93.184.216.34./", "http://93.184.216.34/"),
        ("https://[2606:4700::1111]:443/", "https://[2606:4700::1111]/"),
        ("https://[2606:4700:0:0::1111]/", "https://[2606:4700::1111]/"),
        ("https://a_b.example.com/", "https://a_b.example.com/"),
        ("https://example.com/@user/dog.jpg", "https://example.com/@user/dog.jpg"),
    ] {
        assert_eq!(canonical(given), expected, "{given}");
        let uri: ureq::http::Uri = expected.parse().unwrap();
        let host = Target::parse(given).unwrap().host.to_string();
        assert_eq!(uri.host(), Some(host.as_str()), "{given}");
    }
}

#[test]
fn crooked_urls_are_refused() {
    for url in [
        "",
        "example.com/dog.jpg",
        "//example.com/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "data:image/png;base64,AAAA",
        "javascript://example.com/",
        "https://",
        "https:///path",
        "https://?q",
        "https://:443/",
        "https://./",
        "https://../",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://@example.com/",
        "https://example.com@169.254.169.254/",
        "https://169.254.169.254#@example.com@/x@",
        "https://example.com\\@169.254.169.254/",
        "https://169.254.169.254\\.example.com/",
        "https://exa mple.com/",
        "https://example.com:port/",
        "https://example.com:99999/",
        "https://example.com:-1/",
        "https://example.com:+80/",
        "https://example.com:80:80/",
        "https://example.com:0/",
        "https://a..b/",
        "https://-._~!$/",
        "https://exam%70le.com/",
        "https://example.com/\r\nHost: inside",
        "https://example.com/\u{0}",
        "https://a\tb/",
        "https://[::1/",
        "https://::1/",
        "https://[::1%eth0]/",
        "https://[::1]x/",
        "https://[::1]x:80/",
        "https://[example.com]/",
        "https://[127.0.0.1]/",
        "https://[]/",
    ] {
        // Where nothing of the crooked spelling is left, the plain host may remain readable.
        if let Ok(target) = Target::parse(url) {
            assert_eq!(target.host.to_string(), "169.254.169.254", "`{url}` was taken");
        }
    }
    let long = format!("https://example.com/{}", "a".repeat(9000));
    assert_eq!(reason(&long), "it is longer than 8 KiB");
    assert!(Target::parse(&format!("https://{}.com/", "a".repeat(64))).is_err());
    assert!(Target::parse(&format!("https://{}com/", "abcd.".repeat(60))).is_err());
}

#[test]
fn numeric_hosts_are_addresses_or_nothing() {
    for host in [
        "0x7f.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "0X7F000001",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.01",
        "017700000001",
        "127.0.0.1.1",
        "256.1.1.1",
        "127.0.0.0x1",
        "1.2.3.4.5",
        "0x",
        "example.0x10",
        "example.7",
        "0",
        "0.",
        "127.0.0.1..",
    ] {
        assert!(Target::parse(&format!("http://{host}/")).is_err(), "`{host}` was taken");
    }
    for (host, same) in [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
        ("[::1]", "::1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("[::FFFF:7f00:1]", "::ffff:127.0.0.1"),
    ] {
        let target = Target::parse(&format!("http://{host}/")).unwrap();
        assert_eq!(target.host, Host::Address(same.parse().unwrap()), "{host}");
    }
}

#[test]
fn names_that_resolvers_fold_are_refused() {
    for host in [
        "127.0.0.1",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "localhost",
        "ⓛocalhost",
        "ｅxample.com",
        "exam\u{ad}ple.com",
        "hündchen.example",
        "127\u{2024}0.0.1",
    ] {
        let full: String = host
            .chars()
            .map(|c| match c {
                '1' => '１',
                'l' => 'ｌ',
                other => other,
            })
            .collect();
        assert!(Target::parse(&format!("http://{full}/")).is_err(), "`{full}` was taken");
    }
}

#[test]
fn redirects_may_be_relative() {
    let from = Target::parse("https://example.com:8443/dogs/a.jpg?size=1").unwrap();
    for (location, expected) in [
        ("b.jpg", "https://example.com:8443/dogs/b.jpg"),
        ("/b.jpg", "https://example.com:8443/b.jpg"),
        ("?size=2", "https://example.com:8443/dogs/a.jpg?size=2"),
        ("", "https://example.com:8443/dogs/a.jpg"),
        ("#x", "https://example.com:8443/dogs/a.jpg"),
        ("//other.example/c.jpg", "https://other.example/c.jpg"),
        ("http://other.example/c.jpg", "http://other.example/c.jpg"),
        ("a:b/c", ""),
        ("mailto:dog@example.com", ""),
        ("https:other", ""),
        ("//169.254.169.254@x/", ""),
    ] {
        match from.join(location) {
            Ok(target) => assert_eq!(target.canonical(), expected, "{location}"),
            Err(_) => assert_eq!(expected, "", "{location}"),
        }
    }
}

#[test]
fn hosts_are_opened_by_name_and_port() {
    let list = ["Photos.Example.com", "10.0.0.5:9000", "[::1]:8080", "fd00::2", "a.example:80"];
    let open = OpenHosts::parse(&list.map(String::from)).unwrap();
    let contains = |url: &str| {
        let target = Target::parse(url).unwrap();
        open.contains(&target.host, target.port)
    };
    assert!(contains("http://photos.example.com/"));
    assert!(contains("https://photos.example.com.:9999/"));
    assert!(contains("http://10.0.0.5:9000/"));
    assert!(contains("http://[0:0::1]:8080/"));
    assert!(contains("http://[fd00::2]:1234/"));
    assert!(contains("http://a.example/"));
    assert!(!contains("http://10.0.0.5/"));
    assert!(!contains("http://[::1]/"));
    assert!(!contains("https://a.example/"));
    assert!(!contains("http://sub.photos.example.com/"));
    assert!(!contains("http://photos.example.com.evil.example/"));
    assert!(!contains("http://[::ffff:10.0.0.5]:9000/"));

    for entry in ["", "https://a.example", "a.example/x", "*.example.com", "a:b", "0x7f.1", "u@h"] {
        let error = OpenHosts::parse(&[entry.to_owned()]).unwrap_err();
        assert!(matches!(error, FetchError::BadAllowHost { .. }), "{entry}");
    }
}

proptest! {
    /// Whatever comes in, nothing panics, and what is taken the HTTP client reads the same way.
    #[test]
    fn the_client_sees_the_same_host(tail in "[ -~]{0,40}", odd in any::<String>()) {
        for url in [format!("http://{tail}"), format!("https://{odd}"), odd.clone()] {
            if let Ok(target) = Target::parse(&url) {
                let uri: ureq::http::Uri = target.canonical().parse().unwrap();
                let (host, port) = (target.host.to_string(), uri.port_u16());
                prop_assert_eq!(uri.host(), Some(host.as_str()));
                prop_assert_eq!(port.unwrap_or(if target.https { 443 } else { 80 }), target.port);
                prop_assert_eq!(uri.scheme_str() == Some("https"), target.https);
                // The canonical form is a fixed point.
                prop_assert_eq!(Target::parse(&target.canonical()).unwrap(), target);
            }
        }
    }

    /// Joining never leaves http and https, and never panics.
    #[test]
    fn joining_is_total(location in any::<String>()) {
        let from = Target::parse("http://example.com/a/b?c").unwrap();
        if let Ok(next) = from.join(&location) {
            prop_assert!(next.canonical().starts_with("http"));
        }
    }
}
