//! The fetcher against servers on this machine. They are opened by name where a case needs them
//! to be reached, and everything else checks that they are not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

/// What a test server sends for a path; `Stall` stops in the middle and waits for the client to
/// hang up.
enum Answer {
    Bytes(Vec<u8>),
    Stall(Vec<u8>),
}

fn answer(text: impl Into<Vec<u8>>) -> Answer {
    Answer::Bytes(text.into())
}

fn picture(headers: &str, body: &[u8]) -> Answer {
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    Answer::Bytes(bytes)
}

fn redirect(to: &str) -> Answer {
    answer(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"))
}

/// Serves every path from `answers` until the test process ends; returns `127.0.0.1:port` and the
/// request heads seen so far.
fn serve(
    answers: impl Fn(&str, u16) -> Answer + Send + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while reader.read_line(&mut head).unwrap_or(0) > 2 {}
            let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
            log.lock().unwrap().push(head);
            match answers(&path, port) {
                Answer::Bytes(bytes) => drop(stream.write_all(&bytes)),
                Answer::Stall(bytes) => {
                    drop(stream.write_all(&bytes));
                    let mut rest = Vec::new();
                    drop(reader.read_to_end(&mut rest));
                }
            }
        }
    });
    (format!("127.0.0.1:{port}"), seen)
}

fn fetcher(allow: &[&str], change: impl FnOnce(&mut FetchOptions)) -> Fetcher {
    let mut options = FetchOptions {
        allow_hosts: allow.iter().map(|&host| host.to_owned()).collect(),
        ..FetchOptions::default()
    };
    change(&mut options);
    Fetcher::new(options).unwrap()
}

/// A resolver of the test's own, which counts how often it is asked.
#[derive(Debug)]
struct FakeLookup {
    answers: Mutex<Vec<Vec<SocketAddr>>>,
    asked: AtomicUsize,
}

impl Lookup for FakeLookup {
    fn lookup(&self, _name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let mut answer = answers.pop().unwrap_or_default();
        for addr in &mut answer {
            addr.set_port(port);
        }
        Ok(answer)
    }
}

fn fake(answers: &[&[&str]]) -> Arc<FakeLookup> {
    let read = |addr: &&str| SocketAddr::new(addr.parse().unwrap(), 0);
    Arc::new(FakeLookup {
        answers: Mutex::new(
            answers.iter().rev().map(|list| list.iter().map(read).collect()).collect(),
        ),
        asked: AtomicUsize::new(0),
    })
}

fn with_fake(allow: &[&str], lookup: &Arc<FakeLookup>) -> Fetcher {
    let options = FetchOptions {
        allow_hosts: allow.iter().map(|&host| host.to_owned()).collect(),
        ..FetchOptions::default()
    };
    Fetcher::with_lookup(options, Arc::clone(lookup) as Arc<dyn Lookup>).unwrap()
}

#[test]
fn a_photo_of_an_opened_host_is_fetched() {
    let (host, seen) = serve(|_, _| picture("Content-Type: Image/JPEG; q=1\r\n", b"woof"));
    let image = fetcher(&[&host], |_| ()).get(&format!("http://{host}/d.jpg?x=1")).unwrap();
    assert_eq!(image.bytes, b"woof");
    assert_eq!(image.content_type.as_deref(), Some("image/jpeg"));
    let head = seen.lock().unwrap()[0].to_ascii_lowercase();
    assert!(head.starts_with("get /d.jpg?x=1 http/1.1\r\n"), "{head}");
    assert!(head.contains("accept-encoding: identity\r\n"), "{head}");
    assert!(head.contains(&format!("host: {host}\r\n")), "{head}");
}

#[test]
fn content_types_are_checked() {
    for (header, taken) in [
        ("Content-Type: image/png\r\n", true),
        ("Content-Type: application/octet-stream\r\n", true),
        ("Content-Type: binary/octet-stream\r\n", true),
        ("Content-Type: \r\n", true),
        ("", true),
        ("Content-Encoding: identity\r\n", true),
        ("Content-Type: text/html; charset=utf-8\r\n", false),
        ("Content-Type: application/json\r\n", false),
        ("Content-Type: imagine/png\r\n", false),
        ("Content-Type: image/png\r\nContent-Encoding: br\r\n", false),
    ] {
        let (host, _) = serve(move |_, _| picture(header, b"woof"));
        let result = fetcher(&[&host], |_| ()).get(&format!("http://{host}/"));
        match result {
            Ok(image) => assert!(taken && image.bytes == b"woof", "{header}"),
            Err(error) => {
                assert!(
                    !taken && matches!(error, FetchError::NotAPicture { .. }),
                    "{header}: {error}"
                );
                assert!(!error.is_callers_fault());
            }
        }
    }
}

#[test]
fn nothing_on_this_machine_is_reached_uninvited() {
    let (host, seen) = serve(|_, _| picture("", b"secret"));
    let (_, port) = host.split_once(':').unwrap();
    let closed = fetcher(&[], |_| ());
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        "http://127.0.0.1/".to_owned(),
        "http://localhost/".to_owned(),
        "http://localhost./".to_owned(),
        "http://0.0.0.0/".to_owned(),
        "http://[::1]/".to_owned(),
        "http://[::]/".to_owned(),
        "http://[::ffff:127.0.0.1]/".to_owned(),
        "http://[::ffff:7f00:1]/".to_owned(),
        "http://[64:ff9b::7f00:1]/".to_owned(),
        "http://2130706433/".to_owned(),
        "http://0x7f.1/".to_owned(),
        "http://0177.0.0.1/".to_owned(),
        "http://１２７.0.0.1/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[fd00:ec2::254]/".to_owned(),
        "http://10.0.0.1/".to_owned(),
    ] {
        let error = closed.get(&url).unwrap_err();
        assert!(error.is_callers_fault(), "{url}: {error}");
        let text = error.to_string();
        assert!(text.contains("hint: "), "{text}");
    }
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn an_opened_name_is_open_for_its_port_only() {
    let (host, seen) = serve(|_, _| picture("", b"secret"));
    let other = fetcher(&["127.0.0.1:1"], |_| ());
    let error = other.get(&format!("http://{host}/")).unwrap_err();
    assert!(matches!(error, FetchError::RefusedPort { redirected: false, .. }), "{error}");
    assert!(seen.lock().unwrap().is_empty());
    let any_port = fetcher(&["127.0.0.1"], |_| ());
    assert_eq!(any_port.get(&format!("http://{host}/")).unwrap().bytes, b"secret");
}

#[test]
fn one_private_address_spoils_the_answer() {
    let lookup = fake(&[&["93.184.216.34", "127.0.0.1"]]);
    let error = with_fake(&[], &lookup).get("http://photos.example/").unwrap_err();
    assert!(matches!(error, FetchError::RefusedAddress { .. }), "{error}");
    // What the name resolved to stays here.
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
}

#[test]
fn a_name_is_resolved_once_and_the_connection_is_pinned() {
    let (host, seen) = serve(|_, _| picture("", b"woof"));
    let (_, port) = host.split_once(':').unwrap();
    let lookup = fake(&[&["127.0.0.1"], &["192.0.2.1"]]);
    let name = format!("photos.example:{port}");
    let image = with_fake(&[&name], &lookup).get(&format!("http://{name}/")).unwrap();
    assert_eq!(image.bytes, b"woof");
    assert_eq!(lookup.asked.load(Ordering::SeqCst), 1);
    let head = seen.lock().unwrap()[0].to_ascii_lowercase();
    assert!(head.contains(&format!("host: {name}\r\n")), "{head}");
}

#[test]
fn the_pinned_resolver_knows_one_host() {
    let pinned = PinnedResolver {
        host: "a.example".to_owned(),
        addresses: vec!["93.184.216.34:80".parse().unwrap(); 40],
    };
    let config = ureq::config::Config::default();
    let timeout = || NextTimeout {
        after: ureq::unversioned::transport::time::Duration::NotHappening,
        reason: ureq::Timeout::Global,
        ..NextTimeout::default()
    };
    let ask = |uri: &'static str| pinned.resolve(&Uri::from_static(uri), &config, timeout());
    assert_eq!(ask("http://a.example/").unwrap().len(), MAX_ADDRESSES);
    assert!(ask("http://b.example/").is_err());
}

#[test]
fn an_unknown_name_is_not_the_callers_fault() {
    let lookup = fake(&[&[]]);
    let error = with_fake(&[], &lookup).get("http://photos.example/").unwrap_err();
    assert!(matches!(error, FetchError::HostNotFound { .. }), "{error}");
    assert!(!error.is_callers_fault());
}

#[test]
fn redirects_are_followed_and_checked() {
    let (host, seen) = serve(|path, port| match path {
        "/relative" => redirect("dog.jpg"),
        "/absolute" => redirect(&format!("http://127.0.0.1:{port}/dog.jpg")),
        "/metadata" => redirect("http://169.254.169.254/latest/meta-data/"),
        "/mapped" => redirect("http://[::ffff:169.254.169.254]/"),
        "/port" => redirect("http://127.0.0.2:22/"),
        "/file" => redirect("file:///etc/passwd"),
        "/nowhere" => answer("HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n"),
        "/loop" => redirect("/loop"),
        "/decimal" => redirect("http://2852039166/"),
        _ => picture("Content-Type: image/jpeg\r\n", b"woof"),
    });
    let fetcher = fetcher(&[&host], |_| ());
    let get = |path: &str| fetcher.get(&format!("http://{host}{path}"));
    assert_eq!(get("/relative").unwrap().bytes, b"woof");
    assert_eq!(get("/absolute").unwrap().bytes, b"woof");
    for path in ["/metadata", "/mapped"] {
        let error = get(path).unwrap_err();
        assert!(matches!(error, FetchError::RefusedAddress { redirected: true, .. }), "{error}");
        assert!(!error.to_string().contains("169.254"), "{error}");
        assert!(error.is_callers_fault());
    }
    let error = get("/port").unwrap_err();
    assert!(matches!(error, FetchError::RefusedPort { redirected: true, .. }), "{error}");
    for path in ["/file", "/nowhere", "/decimal"] {
        let error = get(path).unwrap_err();
        assert!(matches!(error, FetchError::BadRedirect { .. }), "{error}");
    }
    let before = seen.lock().unwrap().len();
    let error = get("/loop").unwrap_err();
    assert!(matches!(error, FetchError::TooManyRedirects { limit: 3, .. }), "{error}");
    assert_eq!(seen.lock().unwrap().len() - before, 4);
}

#[test]
fn https_is_not_left_for_http() {
    let fetcher = fetcher(&[], |_| ());
    let fetch = Fetch {
        inner: &fetcher.inner,
        shown: "https://a.example/".to_owned(),
        deadline: Instant::now() + Duration::from_secs(60),
        redirected: false,
    };
    let headers = |to: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, to.parse().unwrap());
        headers
    };
    let from = Target::parse("https://a.example/").unwrap();
    let error = fetch.redirect(&from, &headers("http://a.example/x")).unwrap_err();
    assert!(matches!(error, FetchError::BadRedirect { .. }), "{error}");
    assert!(fetch.redirect(&from, &headers("https://b.example/x")).is_ok());
    let from = Target::parse("http://a.example/").unwrap();
    assert!(fetch.redirect(&from, &headers("https://a.example/x")).is_ok());
}

#[test]
fn plain_http_can_be_switched_off() {
    let (host, seen) = serve(|_, _| picture("", b"woof"));
    let strict = fetcher(&[&host], |options| options.allow_http = false);
    let error = strict.get(&format!("http://{host}/")).unwrap_err();
    assert!(matches!(error, FetchError::HttpRefused { .. }) && error.is_callers_fault());
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn a_large_body_is_refused_announced_or_not() {
    let (host, _) = serve(|path, _| match path {
        "/announced" => answer("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
        "/chunked" => {
            let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for _ in 0..5 {
                bytes.extend_from_slice(b"400\r\n");
                bytes.extend_from_slice(&[7; 0x400]);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            Answer::Bytes(bytes)
        }
        "/endless" => {
            let mut bytes = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
            bytes.resize(10_000, 7);
            Answer::Stall(bytes)
        }
        _ => picture("", &[7; 4096]),
    });
    let fetcher = fetcher(&[&host], |options| options.max_bytes = 4096);
    for path in ["/announced", "/chunked", "/endless"] {
        let error = fetcher.get(&format!("http://{host}{path}")).unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { limit: 4096, .. }), "{path}: {error}");
    }
    assert_eq!(fetcher.get(&format!("http://{host}/fits")).unwrap().bytes.len(), 4096);
}

#[test]
fn a_slow_server_runs_into_the_time_limit() {
    let (host, _) = serve(|path, _| match path {
        "/head" => Answer::Stall(b"HTTP/1.1 200 OK\r\nContent-".to_vec()),
        "/body" => Answer::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nwoof".to_vec()),
        _ => Answer::Stall(Vec::new()),
    });
    let fetcher = fetcher(&[&host], |options| options.timeout = Duration::from_millis(150));
    for path in ["/silent", "/head", "/body"] {
        let started = Instant::now();
        let error = fetcher.get(&format!("http://{host}{path}")).unwrap_err();
        assert!(matches!(error, FetchError::Timeout { .. }), "{path}: {error}");
        assert!(!error.is_callers_fault());
        assert!(started.elapsed() < Duration::from_secs(3), "{path}");
    }
}

#[test]
fn a_truncated_or_broken_answer_is_an_error() {
    let (host, _) = serve(|path, _| match path {
        "/cut" => answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nwoof"),
        "/garbage" => answer("woof woof woof\r\n\r\n"),
        _ => answer(""),
    });
    let fetcher = fetcher(&[&host], |_| ());
    for path in ["/cut", "/garbage", "/empty"] {
        let error = fetcher.get(&format!("http://{host}{path}")).unwrap_err();
        assert!(matches!(error, FetchError::Connection { .. }), "{path}: {error}");
    }
}

#[test]
fn only_status_200_is_a_photo() {
    for status in [204, 206, 304, 403, 404, 500] {
        let (host, _) =
            serve(move |_, _| answer(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n")));
        let error = fetcher(&[&host], |_| ()).get(&format!("http://{host}/")).unwrap_err();
        assert!(matches!(error, FetchError::Status { status: s, .. } if s == status), "{error}");
    }
}

#[test]
fn lookups_are_bounded_and_given_back() {
    let taken = Arc::new(AtomicUsize::new(0));
    let mut slots: Vec<_> = (0..MAX_LOOKUPS).map(|_| Slot::take(&taken).unwrap()).collect();
    assert!(Slot::take(&taken).is_none());
    slots.pop();
    assert!(Slot::take(&taken).is_some());
    drop(slots);
    assert_eq!(taken.load(Ordering::SeqCst), 0);
}

#[test]
fn messages_hide_credentials_and_control_characters() {
    for (url, expected) in [
        ("https://u:secret@a.example/x", "https://…@a.example/x"),
        ("https://a.example/x?X-Amz-Signature=1234", "https://a.example/x?…"),
        ("https://a.example/x@2x.jpg", "https://a.example/x@2x.jpg"),
        ("a\u{1b}[31m", "a\\u{1b}[31m"),
        ("", ""),
    ] {
        assert_eq!(shown(url), expected);
    }
    assert!(shown(&"ä".repeat(1000)).chars().count() < 170);
    let error = fetcher(&[], |_| ()).get("https://u:secret@a.example/").unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn a_bad_entry_of_the_list_is_named() {
    let options = FetchOptions {
        allow_hosts: vec!["https://a.example".to_owned()],
        ..FetchOptions::default()
    };
    let error = Fetcher::new(options).unwrap_err();
    assert!(error.to_string().starts_with("`https://a.example` is not a host"), "{error}");
}
