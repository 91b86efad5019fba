//! One connection, from its first request to its end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::{HeaderValue, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::http::server::activity::InFlight;
use crate::http::server::capacity::Connection;
use crate::http::server::options::ServeOptions;
use crate::http::server::service::Service;

/// The stages of a shutdown, as connections see them.
#[derive(Clone, Default)]
pub(super) struct Stages {
    /// Every answer is the last one of its connection.
    pub(super) last_answers: CancellationToken,
    /// Idle connections are closed.
    pub(super) drain: CancellationToken,
    /// All connections are closed.
    pub(super) cut: CancellationToken,
}

/// How long a connection may take to ask for the first time while the service drains: it may have waited to be accepted, or
/// its request may be on its way.
const FIRST_REQUEST: Duration = Duration::from_millis(500);

/// Why a connection is to end.
enum Ending {
    /// Every answer is the last one.
    LastAnswers,
    /// The service drains.
    Drain,
    /// The service drains, and the connection had time to ask.
    Unasked,
    /// Its time is up.
    Cut,
    /// It was silent for too long.
    Silence { was_asked: bool },
}

/// Serves one connection to its end.
pub(super) async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    held: &Connection,
    protocol: &auto::Builder<TokioExecutor>,
    service: &impl Service,
    options: &ServeOptions,
    stages: &Stages,
) {
    // Answers are short; waiting for more to send (Nagle) would only delay them.
    let _ = stream.set_nodelay(true);
    let activity = Arc::clone(&held.activity);
    if stages.last_answers.is_cancelled() {
        activity.end_with_answer();
    }
    let answer = service_fn(|request: hyper::Request<Incoming>| {
        let in_flight = InFlight::begin(&activity, request.version());
        let version = request.version();
        let request = request.map(|body| {
            if body.is_end_stream() {
                Body::empty()
            } else {
                Body::new(body)
            }
        });
        let service = service.clone();
        async move {
            let mut response = service.answer(request, peer).await;
            // HTTP/2 has GOAWAY for it, and forbids the header (RFC 9113, 8.2.2).
            if version < Version::HTTP_2 && in_flight.is_last() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            drop(in_flight);
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), answer));
    let silence = async |first, idle| Ending::Silence {
        was_asked: activity.silence(first, idle).await,
    };
    // Polled only when one of them is woken; the connection is polled several times for each request.
    let mut watchers: FuturesUnordered<Pin<Box<dyn Future<Output = Ending> + Send + '_>>> =
        FuturesUnordered::new();
    watchers.push(Box::pin(async {
        stages.cut.cancelled().await;
        Ending::Cut
    }));
    watchers.push(Box::pin(async {
        held.close.notified().await;
        Ending::Cut
    }));
    watchers.push(Box::pin(async {
        stages.last_answers.cancelled().await;
        Ending::LastAnswers
    }));
    watchers.push(Box::pin(silence(options.header_timeout, options.idle_timeout)));
    let mut closing = false;
    loop {
        let ending = tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                return;
            }
            Some(ending) = watchers.next() => ending,
        };
        match ending {
            Ending::LastAnswers => {
                activity.end_with_answer();
                watchers.push(Box::pin(async {
                    stages.drain.cancelled().await;
                    Ending::Drain
                }));
                if activity.is_http2() {
                    connection.as_mut().graceful_shutdown();
                }
            }
            Ending::Drain if !activity.was_asked() => watchers.push(Box::pin(async {
                sleep(FIRST_REQUEST).await;
                Ending::Unasked
            })),
            Ending::Unasked if !activity.was_asked() => return,
            // With nothing asked, nothing has to be answered.
            Ending::Cut | Ending::Silence { was_asked: false } => return,
            Ending::Silence { was_asked: true } if closing => return,
            Ending::Drain | Ending::Unasked | Ending::Silence { was_asked: true } => {
                closing = true;
                connection.as_mut().graceful_shutdown();
                // Requests in flight take the time they need (during a drain the caller's deadline ends them). With none
                // in flight, only bytes are left to move: a client that neither reads nor sends them may not hold this up.
                activity.touch();
                watchers.push(Box::pin(silence(options.header_timeout, options.header_timeout)));
            }
        }
    }
}
