//! HTTP as bytes, for what no well-behaved client sends.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends bytes and gives what comes back until the server closes the connection, or has nothing more to say for
/// `patience`.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8], patience: Duration) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the server accepts");
    // A server that refuses early may close while we still write.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(length @ 1..)) = tokio::time::timeout(patience, stream.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of a raw answer.
#[track_caller]
pub(crate) fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no status in {answer:?}"))
}
