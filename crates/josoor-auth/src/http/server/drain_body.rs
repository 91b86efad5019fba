//! Drains request bodies that the handler has not read.
//!
//! An answer may be ready before the body has arrived: a missing token, an unknown id, a body that is too long. hyper
//! closes such a connection without saying so, and the next request that the client sends on it meets the end of the
//! connection instead of an answer. So the rest of the body is read and thrown away, within bounds; where that does not
//! do, the answer says `Connection: close` (RFC 9112, 9.3 and 9.6).

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

/// The most that is read and thrown away, in bytes. Longer bodies end their connection.
const MAX_DRAINED: usize = 256 * 1024;

/// How long the rest may take to arrive. The answer waits for it, so it is short.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Receives a body that is dropped before its end.
type DroppedBody = Arc<Mutex<Option<Body>>>;

/// Has `next` answer, and drains what it left of the body.
pub async fn drain(request: Request, next: impl AsyncFnOnce(Request) -> Response) -> Response {
    if request.body().is_end_stream() {
        return next(request).await;
    }
    let version = request.version();
    // A client that waits for permission to send (RFC 9110, 10.1.1) sends nothing after an answer; reading would grant it.
    let waits_for_permission = request.headers().contains_key(header::EXPECT);
    let dropped = DroppedBody::default();
    let request = request.map(|body| {
        Body::new(ReturnOnDrop {
            body,
            is_over: false,
            dropped: Arc::clone(&dropped),
        })
    });
    let mut response = next(request).await;
    let left = dropped.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(body) = left else {
        return response;
    };
    let is_drained = !waits_for_permission
        && body.size_hint().lower() <= MAX_DRAINED as u64
        // In a box, so that the futures of requests without a body are small.
        && Box::pin(tokio::time::timeout(DRAIN_TIMEOUT, drain_rest(body)))
            .await
            .unwrap_or(false);
    // HTTP/2 resets the stream and keeps the connection; there the header is forbidden (RFC 9113, 8.2.2).
    if !is_drained && version < Version::HTTP_2 {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether the body came to its end within [`MAX_DRAINED`].
async fn drain_rest(mut body: Body) -> bool {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return false;
        };
        length += frame.data_ref().map_or(0, Bytes::len);
        if length > MAX_DRAINED {
            return false;
        }
    }
    true
}

/// A body that hands itself over when it is dropped before its end.
struct ReturnOnDrop {
    body: Body,
    is_over: bool,
    dropped: DroppedBody,
}

impl HttpBody for ReturnOnDrop {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.is_over = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ReturnOnDrop {
    fn drop(&mut self) {
        if !self.is_over && !self.body.is_end_stream() {
            *self.dropped.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(std::mem::take(&mut self.body));
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::{Next, from_fn};
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Sends the head, waits until `body` may have been missed, sends it and a second request; gives all answers.
    async fn converse(head: &str, body: &[u8]) -> String {
        let router = Router::new()
            .route("/", post(async || "unread"))
            .route("/second", post(async || "second"))
            .layer(from_fn(async |request, next: Next| {
                drain(request, async |request| next.run(request).await).await
            }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(head.as_bytes()).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let second = "POST /second HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        // May fail where the connection is closed; the answer then says so.
        let _ = stream.write_all(&[body, second.as_bytes()].concat()).await;
        let mut answers = Vec::new();
        let _ = stream.read_to_end(&mut answers).await;
        server.abort();
        String::from_utf8_lossy(&answers).into_owned()
    }

    #[tokio::test]
    async fn a_late_body_does_not_end_the_connection() {
        let answers = converse(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\n",
            &vec![b'a'; 60_000],
        )
        .await;
        assert!(
            answers.contains("unread") && answers.ends_with("second"),
            "{answers}"
        );
        assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_ends_it_and_says_so() {
        let answers = converse(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n",
            b"",
        )
        .await;
        assert!(
            answers.contains("connection: close") && answers.ends_with("unread"),
            "{answers}"
        );
    }

    #[tokio::test]
    async fn a_client_is_not_asked_to_send_a_body_that_is_not_read() {
        let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
        let answers = converse(head, b"").await;
        assert!(
            answers.starts_with("HTTP/1.1 200") && answers.contains("connection: close"),
            "{answers}"
        );
    }
}
