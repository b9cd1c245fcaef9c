//! The port: accepts connections, tells TLS from plain HTTP by the first byte, and serves HTTP/1.1.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::Gateway;
use crate::identity::Peer;

/// Connections at a time; more wait in the system's queue.
const CONNECTIONS: usize = 4096;
/// How long a client may take for its first byte and its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// How long a client may take for a request's headers; also how long a kept connection may be idle.
const HEADERS: Duration = Duration::from_secs(120);
/// Bytes that one connection buffers of what it reads, and of what it writes; all connections together stay below
/// a gigabyte even when each sends as much as it can.
const BUFFER: usize = 128 << 10;
/// How long answers in progress may take once the server stops.
const DRAIN: Duration = Duration::from_secs(10);
/// First byte of a TLS record with a ClientHello.
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves until `shutdown` turns true; answers that have begun are finished.
pub(crate) async fn listen(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    gateway: Gateway,
    shutdown: watch::Receiver<bool>,
) {
    let mut stopping = shutdown.clone();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else { return };
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (acceptor, gateway, shutdown) =
                        (acceptor.clone(), gateway.clone(), shutdown.clone());
                    connections.spawn(async move {
                        connection(stream, peer, acceptor, gateway, shutdown, place).await;
                    });
                }
                Err(e) => {
                    // Out of file descriptors, mostly: let some close.
                    tracing::warn!("cannot accept a connection: {e}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("connections were cut {} s after the stop", DRAIN.as_secs());
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    gateway: Gateway,
    shutdown: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    let _ = stream.set_nodelay(true);
    let mut first = [0u8; 1];
    match tokio::time::timeout(HANDSHAKE, stream.peek(&mut first)).await {
        Ok(Ok(1)) => {}
        _ => return,
    }
    if first == [TLS_HANDSHAKE] {
        match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                let peer = Peer { address: peer, secure: true };
                http(TokioIo::new(stream), peer, gateway, shutdown).await;
            }
            Ok(Err(e)) => tracing::debug!("TLS handshake with {peer} failed: {e}"),
            Err(_) => {}
        }
    } else {
        let peer = Peer { address: peer, secure: false };
        http(TokioIo::new(stream), peer, gateway, shutdown).await;
    }
}

async fn http<S>(stream: S, peer: Peer, gateway: Gateway, mut shutdown: watch::Receiver<bool>)
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let gateway = gateway.clone();
        async move { Ok::<_, Infallible>(gateway.handle(request, peer).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(BUFFER)
        .serve_connection(stream, service);
    tokio::pin!(connection);
    let stopping = async {
        let _ = shutdown.wait_for(|stop| *stop).await;
    };
    let ended = tokio::select! {
        outcome = connection.as_mut() => Some(outcome),
        () = stopping => None,
    };
    let outcome = match ended {
        Some(outcome) => outcome,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(e) = outcome {
        tracing::debug!("connection of {}: {e}", peer.address);
    }
}
