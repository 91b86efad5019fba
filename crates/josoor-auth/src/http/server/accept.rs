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
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::server::capacity::Table;
use crate::http::server::connection::converse;
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
/// `accepting` becomes false (readiness follows it), `drain_delay` passes, no more connections are accepted, idle
/// ones are closed, those at work finish their requests (`Connection: close`, GOAWAY), and what is left after
/// `drain_timeout` is cut.
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
    let (drain, cut) = (CancellationToken::new(), CancellationToken::new());
    accepting.store(true, Ordering::SeqCst);
    {
        let mut accept_until = pin!(async {
            shutdown.await;
            accepting.store(false, Ordering::SeqCst);
            sleep(options.drain_delay).await;
        });
        loop {
            let next = async {
                let (stream, peer) = accept(&listener).await;
                (table.acquire(peer.ip()).await, stream, peer)
            };
            let (slot, stream, peer) = tokio::select! {
                biased;
                () = &mut accept_until => break,
                next = next => next,
            };
            let (protocol, service, options) = (Arc::clone(&protocol), service.clone(), Arc::clone(&options));
            let (drain, cut) = (drain.clone(), cut.clone());
            connections.spawn(async move {
                let held = &slot.held;
                converse(stream, peer, held, &protocol, &service, &options, &drain, &cut).await;
            });
        }
    }
    drop(listener);
    drain.cancel();
    connections.close();
    let finished = timeout(options.drain_timeout, connections.wait()).await;
    let left = if finished.is_ok() { 0 } else { connections.len() };
    cut.cancel();
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
