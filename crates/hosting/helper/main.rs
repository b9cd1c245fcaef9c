//! What the crate's tests start: the launch stage, and programs that behave well or badly on request.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of tests: a panic is a failed test"
)]

mod server;

use std::process::ExitCode;
use std::time::Duration;

use kennel_hosting::Command;
use kennel_hosting::launch;
use kennel_hosting::process::{Launcher, LauncherOptions, ProcessSpec};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [launch::SUBCOMMAND] => launch::run(),
        ["eat", megabytes] => eat(megabytes.parse().unwrap()),
        ["spew", bytes] => spew(bytes.parse().unwrap()),
        ["platform", command @ ..] => platform(command),
        ["server", options @ ..] => server::run(options),
        other => {
            eprintln!("unknown: {other:?}");
            ExitCode::FAILURE
        }
    }
}

/// Takes memory and keeps it.
fn eat(megabytes: usize) -> ExitCode {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for _ in 0..megabytes {
        held.push(vec![1; 1 << 20]);
    }
    println!("ate {}", held.len());
    loop {
        std::thread::park();
        std::hint::black_box(&held);
    }
}

/// Prints one line of so many bytes and a short one.
fn spew(bytes: usize) -> ExitCode {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let block = [b'x'; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(block.len());
        out.write_all(&block[..now]).unwrap();
        left -= now;
    }
    out.write_all(b"\nend\n").unwrap();
    ExitCode::SUCCESS
}

/// A server that starts one child, passes its lines on and waits to be killed.
fn platform(command: &[&str]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kennel = std::env::current_exe().unwrap();
        let launcher = Launcher::start(LauncherOptions { kennel }).unwrap();
        let command = Command::new(command.iter().copied());
        let spec = ProcessSpec { command, ..ProcessSpec::default() };
        let (process, mut lines) = launcher.spawn(spec).await.unwrap();
        println!("child {}", process.identity().pid);
        while let Some(line) = lines.next().await {
            println!("{}", line.text);
        }
        tokio::time::sleep(Duration::from_secs(600)).await;
    });
    ExitCode::SUCCESS
}
