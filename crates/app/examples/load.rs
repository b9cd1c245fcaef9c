//! A small load generator for the benchmarks: N clients, each with one connection, each sending the
//! same photo and waiting for the answer. Used on Kennel and on its peers alike.
//!
//! `load ADDRESS PHOTO CLIENTS SECONDS` prints JSON: requests per second and latencies in milliseconds.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, photo, clients, seconds] = arguments.as_slice() else {
        bail!("usage: load ADDRESS PHOTO CLIENTS SECONDS");
    };
    let clients: usize = clients.parse()?;
    let length = Duration::from_secs_f64(seconds.parse()?);
    let body = std::fs::read(photo).with_context(|| format!("cannot read `{photo}`"))?;
    let mut request = format!(
        "POST /invocations HTTP/1.1\r\nHost: {address}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    let request = Arc::new(request);
    // A tenth of the time warms up and is not counted.
    let begin = Instant::now() + length / 10;
    let end = begin + length;
    let handles: Vec<_> = (0..clients)
        .map(|_| {
            let (request, address) = (Arc::clone(&request), address.clone());
            std::thread::spawn(move || client(&address, &request, begin, end))
        })
        .collect();
    let mut latencies = Vec::new();
    let mut refused = 0usize;
    for handle in handles {
        let (mine, not) = handle.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        latencies.extend(mine);
        refused += not;
    }
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (latencies.len() as f64 * share) as usize;
        latencies.get(index.min(latencies.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    };
    println!(
        "{{\"clients\": {clients}, \"requests\": {}, \"refused\": {refused}, \"per_second\": {:.2}, \"p50_ms\": {:.3}, \"p90_ms\": {:.3}, \"p99_ms\": {:.3}, \"max_ms\": {:.3}}}",
        latencies.len(),
        latencies.len() as f64 / length.as_secs_f64(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    Ok(())
}

/// Latencies of the answers with status 200 that came within the counted time, and how many had another.
fn client(
    address: &str,
    request: &[u8],
    begin: Instant,
    end: Instant,
) -> anyhow::Result<(Vec<f64>, usize)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut latencies = Vec::new();
    let mut refused = 0;
    let mut buffer = Vec::new();
    while Instant::now() < end {
        let started = Instant::now();
        stream.write_all(request)?;
        let status = answer(&mut stream, &mut buffer)?;
        let done = Instant::now();
        if started >= begin && done <= end {
            if status == 200 {
                latencies.push(1000.0 * (done - started).as_secs_f64());
            } else {
                refused += 1;
            }
        }
    }
    Ok((latencies, refused))
}

/// Reads one answer with a content length and returns its status.
fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<u16> {
    buffer.clear();
    let mut chunk = [0; 16 << 10];
    loop {
        let n = stream.read(&mut chunk)?;
        if n == 0 {
            bail!("the server closed the connection");
        }
        buffer.extend_from_slice(&chunk[..n]);
        let Some(head) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head])?;
        let length = text
            .lines()
            .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned))
            .context("the answer has no content length")?
            .trim()
            .parse::<usize>()?;
        if buffer.len() >= head + 4 + length {
            let status = text.split(' ').nth(1).context("no status")?.parse()?;
            return Ok(status);
        }
    }
}
