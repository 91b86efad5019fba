//! Serves a router on a socket that anybody may connect to.
//!
//! `axum::serve` gives hyper no timer, so nothing there ends a connection that sends its headers a byte a minute, or
//! nothing at all. This loop bounds how many connections there are, how long each may take to say something, how
//! long it may stay silent, and how long the shutdown waits for those that are at work.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::settings::HttpSettings;
use crate::error::Error;

/// How the loop treats connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// Connections at the same time. When they are all taken the loop stops accepting, and newcomers wait in the
    /// kernel's queue: a short burst loses nobody, and a long one shows as a time-out at whoever balances the load.
    pub max_connections: usize,
    /// How long a new connection may take to send its first request's headers.
    pub header_timeout: Duration,
    /// How long a connection may stay without a request. Longer than the idle time of the usual proxies (60 s), so
    /// that they are the ones to close and no request meets a connection that is just being closed.
    pub idle_timeout: Duration,
    /// Between "not ready" and the end of accepting, so that a load balancer can notice.
    pub drain_delay: Duration,
    /// How long requests in flight may go on after that.
    pub drain_timeout: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// How the service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still at work after `drain_timeout` and were cut.
    pub cut: usize,
}

/// After a failed accept (usually: no file descriptors left) the loop waits this long. The connection stays in the
/// kernel's queue, so a retry at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections on `listener` and answers them with `router` until `shutdown` completes. Then, in this order:
/// `accepting` becomes false (readiness follows it), `drain_delay` passes, no more connections are accepted, idle
/// ones are closed, those at work finish their requests (`Connection: close`, GOAWAY), and what is left after
/// `drain_timeout` is cut.
///
/// HTTP/1.1 and HTTP/2 without TLS. The peer's address is in the requests' extensions as
/// [`ConnectInfo<SocketAddr>`]. A panic ends at most the connection that it happened in.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
    accepting: Arc<AtomicBool>,
) -> Drained {
    let protocol = Arc::new(protocol(&options));
    let slots = Arc::new(Semaphore::new(
        options.max_connections.min(Semaphore::MAX_PERMITS),
    ));
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
                // The semaphore is never closed, so acquiring cannot fail.
                let slot = Arc::clone(&slots).acquire_owned().await.ok();
                (slot, accept(&listener).await)
            };
            let (slot, (stream, peer)) = tokio::select! {
                biased;
                () = &mut accept_until => break,
                next = next => next,
            };
            let (protocol, router) = (Arc::clone(&protocol), router.clone());
            let (drain, cut) = (drain.clone(), cut.clone());
            connections.spawn(async move {
                let _slot = slot;
                tokio::select! {
                    () = converse(stream, peer, &protocol, router, &options, &drain) => {}
                    () = cut.cancelled() => {}
                }
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
fn protocol(options: &ServeOptions) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper counts the silence between two requests in, so this is the idle time; the first request has its own.
        .header_read_timeout(options.idle_timeout)
        .max_headers(100)
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

/// What a connection is doing, for [`watch_over`].
#[derive(Clone, Copy)]
struct Activity {
    requests: u64,
    in_flight: usize,
    since: Instant,
}

/// Counts a request as in flight until it is answered or dropped.
struct InFlight(Arc<watch::Sender<Activity>>);

impl InFlight {
    fn begin(activity: &Arc<watch::Sender<Activity>>) -> Self {
        activity.send_modify(|now| {
            now.requests += 1;
            now.in_flight += 1;
        });
        Self(Arc::clone(activity))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.send_modify(|now| {
            now.in_flight = now.in_flight.saturating_sub(1);
            now.since = Instant::now();
        });
    }
}

/// Serves one connection to its end.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    protocol: &auto::Builder<TokioExecutor>,
    router: Router,
    options: &ServeOptions,
    drain: &CancellationToken,
) {
    // Answers are short; waiting for more to send (Nagle) would only delay them.
    let _ = stream.set_nodelay(true);
    let (activity, mut seen) = watch::channel(Activity {
        requests: 0,
        in_flight: 0,
        since: Instant::now(),
    });
    let activity = Arc::new(activity);
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        let in_flight = InFlight::begin(&activity);
        request.extensions_mut().insert(ConnectInfo(peer));
        let router = router.clone();
        async move {
            let response = router.oneshot(request.map(Body::new)).await;
            drop(in_flight);
            response
        }
    });
    let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = drain.cancelled() => None,
        said_something = first_request(&mut seen, options.header_timeout) => {
            if !said_something {
                // Nothing was asked, so nothing has to be answered.
                return;
            }
            tokio::select! {
                ended = connection.as_mut() => Some(ended),
                () = drain.cancelled() => None,
                () = idle(&mut seen, options.idle_timeout) => None,
            }
        }
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        // Requests in flight take the time they need (during a drain the caller's deadline ends them). With none in
        // flight, only bytes are left to move: a client that neither reads nor sends them may not hold this up.
        activity.send_modify(|now| now.since = Instant::now());
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = idle(&mut seen, options.header_timeout) => return,
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// Whether a first request arrives in time.
async fn first_request(seen: &mut watch::Receiver<Activity>, within: Duration) -> bool {
    let began = seen.wait_for(|now| now.requests > 0);
    matches!(timeout(within, began).await, Ok(Ok(_)))
}

/// Completes once nothing was in flight for this long. hyper ends silent HTTP/1 connections itself; this is for
/// HTTP/2, whose pings keep an idle connection for ever, and for clients that do not read their answers.
async fn idle(seen: &mut watch::Receiver<Activity>, longest: Duration) {
    loop {
        let now = *seen.borrow_and_update();
        if now.in_flight == 0 {
            tokio::select! {
                () = sleep_until(now.since + longest) => return,
                changed = seen.changed() => if changed.is_err() { return },
            }
        } else if seen.changed().await.is_err() {
            return;
        }
    }
}

/// Middleware: a request whose answer has not begun after `request_timeout` is given up with 503 `overloaded`. What
/// it was doing is dropped; a transaction that was open is rolled back.
pub async fn limit_time(State(settings): State<Arc<HttpSettings>>, request: Request, next: Next) -> Response {
    timeout(settings.request_timeout, next.run(request))
        .await
        .unwrap_or_else(|_| {
            tracing::warn!("a request took longer than the request timeout");
            Error::Overloaded {
                retry_after: Duration::from_secs(5),
            }
            .into_response()
        })
}

#[cfg(test)]
mod tests;
