//! Accepts connections on a socket that is open to everybody.
//!
//! `axum::serve` gives hyper no timer, so nothing there ends a connection that sends its headers a byte a minute, or
//! nothing at all. This loop bounds how many connections there are, which are closed when they run short, how long each may
//! take to send a request, how long it may stay silent, and how long the shutdown waits for those that are at work.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::http::server::capacity::Table;
use crate::http::server::connection::{Stages, converse};
use crate::http::server::options::ServeOptions;
use crate::http::server::service::Service;
use crate::telemetry::codes;

/// The result of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still at work after `drain_timeout` and were cut.
    pub cut: usize,
}

/// After a failed accept (usually: no file descriptors left) the loop waits this long. The connection stays in the
/// kernel's queue, so a retry at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections on `listener` and answers them with `service` until `shutdown` completes. Then, in this order:
/// `accepting` becomes false (readiness follows it), and every answer ends its connection (`Connection: close`, GOAWAY), so that
/// clients go elsewhere; `drain_delay` passes; the connections that wait in the kernel's queue are accepted, and no others;
/// idle ones are closed, those at work finish their requests, and what is left after `drain_timeout` is cut.
///
/// HTTP/1.1 and HTTP/2 without TLS. The peer's address is in the requests' extensions as
/// [`ConnectInfo`](axum::extract::ConnectInfo). A panic ends at most the connection that it happened in.
pub async fn serve(
    listener: TcpListener,
    service: impl Service,
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
    accepting: Arc<AtomicBool>,
) -> Drained {
    let (protocol, options) = (Arc::new(protocol()), Arc::new(options));
    let table = Arc::new(Table::new(&options));
    let connections = TaskTracker::new();
    let stages = Stages::default();
    let mut waiting = Vec::new();
    accepting.store(true, Ordering::SeqCst);
    {
        let mut accept_until = pin!(async {
            shutdown.await;
            accepting.store(false, Ordering::SeqCst);
            stages.last_answers.cancel();
            sleep(options.drain_delay).await;
        });
        loop {
            let (stream, peer) = tokio::select! {
                biased;
                () = &mut accept_until => break,
                next = accept(&listener) => next,
            };
            let slot = tokio::select! {
                biased;
                () = &mut accept_until => {
                    waiting.push((stream, peer));
                    break;
                }
                slot = table.acquire(peer.ip()) => slot,
            };
            let (protocol, service, options) = (Arc::clone(&protocol), service.clone(), Arc::clone(&options));
            let stages = stages.clone();
            connections.spawn(async move {
                converse(stream, peer, &slot.held, &protocol, &service, &options, &stages).await;
            });
        }
    }
    // To their clients these are connections like any other; closing the listener would reset them.
    waiting.extend(accept_waiting(listener));
    for (stream, peer) in waiting {
        let (protocol, service, options) = (Arc::clone(&protocol), service.clone(), Arc::clone(&options));
        let (table, stages) = (Arc::clone(&table), stages.clone());
        connections.spawn(async move {
            let slot = tokio::select! {
                slot = table.acquire(peer.ip()) => slot,
                () = stages.cut.cancelled() => return,
            };
            converse(stream, peer, &slot.held, &protocol, &service, &options, &stages).await;
        });
    }
    stages.drain.cancel();
    connections.close();
    let finished = timeout(options.drain_timeout, connections.wait()).await;
    let left = if finished.is_ok() { 0 } else { connections.len() };
    stages.cut.cancel();
    connections.wait().await;
    Drained { cut: left }
}

/// The limits that hyper itself enforces.
fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // A timer of hyper's is set again for every request; `Activity` watches for silence at less cost.
        .header_read_timeout(None)
        .max_buf_size(32 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(16 * 1024)
        // Rapid reset (CVE-2023-44487): more than this many streams that were reset before being answered end the connection.
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    builder
}

/// The next connection. Errors of one connection and shortages of the process are survived.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(connection) => return connection,
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(
                    code = codes::ACCEPT_FAILED,
                    error = &error as &(dyn std::error::Error + 'static),
                    "cannot accept a connection"
                );
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The connections that wait in the kernel's queue. Then the listener is closed.
fn accept_waiting(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let mut waiting = Vec::new();
    // The readiness that the runtime has noted may be older than the last connection: ask the kernel.
    let Ok(listener) = listener.into_std() else {
        return waiting;
    };
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                let stream = stream
                    .set_nonblocking(true)
                    .and_then(|()| TcpStream::from_std(stream));
                waiting.extend(stream.ok().map(|stream| (stream, peer)));
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(_) => return waiting,
        }
    }
}

/// Whether the client gave up before it was accepted, which says nothing about the next one.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests;
