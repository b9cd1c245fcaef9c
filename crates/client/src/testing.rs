//! A tiny HTTP server for tests: answers in order, remembers what was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::client::{Client, ClientOptions};
use crate::target::{Credentials, Target};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|h| h.0 == name).map(|h| h.1.as_str())
    }
}

/// What is answered: status, headers as `name: value`, body.
pub(crate) struct Reply(pub u16, pub Vec<String>, pub Vec<u8>);

pub(crate) fn ok(body: &str) -> Reply {
    Reply(200, Vec::new(), body.as_bytes().to_vec())
}

pub(crate) struct Server {
    pub url: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers by what was asked.
    pub(crate) fn start(answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let all = seen.clone();
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (all, answer) = (all.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let request = read(&mut BufReader::new(stream.try_clone().unwrap()));
                    let count = {
                        let mut all = all.lock().unwrap();
                        all.push(request.clone());
                        all.len()
                    };
                    let Reply(status, headers, body) = answer(&request, count - 1);
                    let extra: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
                    let length = if extra.contains("content-length") {
                        String::new()
                    } else {
                        format!("content-length: {}\r\n", body.len())
                    };
                    let head =
                        format!("HTTP/1.1 {status} X\r\n{length}{extra}connection: close\r\n\r\n");
                    // A client that went away is its own test's business.
                    let _ = stream.write_all(head.as_bytes());
                    let _ = stream.write_all(&body);
                });
            }
        });
        Server { url, seen }
    }

    /// The same answers in order; the last one for ever.
    pub(crate) fn replies(replies: Vec<Reply>) -> Server {
        Server::start(move |_, n| {
            let Reply(status, headers, body) = &replies[n.min(replies.len() - 1)];
            Reply(*status, headers.clone(), body.clone())
        })
    }

    pub(crate) fn client(&self) -> Client {
        let target = Target {
            endpoint: Some(self.url.clone()),
            region: "us-east-1".into(),
            account: Some("123456789012".into()),
            credentials: Credentials::new("AKIA", "secret", Some("token".into())),
            data_dir: None,
        };
        let options = ClientOptions { backoff: Duration::ZERO, ..ClientOptions::default() };
        Client::with_options(target, options)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn read(stream: &mut impl BufRead) -> Seen {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut seen = Seen { line: line.trim_end().to_owned(), headers, body: Vec::new() };
    let length = seen.header("content-length").map_or(0, |v| v.parse().unwrap());
    seen.body.resize(length, 0);
    stream.read_exact(&mut seen.body).unwrap();
    seen
}
