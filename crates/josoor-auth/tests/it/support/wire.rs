//! A TCP proxy whose connections can fall silent: bytes are taken and never passed on, as behind a firewall that has forgotten them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A proxy to one address, which ends with the test's runtime.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    /// Connections with a lower number are silent.
    silent_below: Arc<AtomicU64>,
    opened: Arc<AtomicU64>,
}

impl Wire {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (silent_below, opened) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let wire = Self {
            address,
            silent_below: Arc::clone(&silent_below),
            opened: Arc::clone(&opened),
        };
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let number = opened.fetch_add(1, Ordering::SeqCst);
                let silent_below = Arc::clone(&silent_below);
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    let is_silent = move || silent_below.load(Ordering::SeqCst) > number;
                    let (near, far) = (near.into_split(), far.into_split());
                    tokio::join!(
                        copy(near.0, far.1, is_silent.clone()),
                        copy(far.0, near.1, is_silent)
                    );
                });
            }
        });
        wire
    }

    /// The connections that are open fall silent; new ones work.
    pub(crate) fn silence_open(&self) {
        self.silent_below
            .store(self.opened.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// New connections are silent as well, until [`end_silence`](Self::end_silence).
    pub(crate) fn silence_all(&self) {
        self.silent_below.store(u64::MAX, Ordering::SeqCst);
    }

    /// New connections work again. Those that were silent stay silent.
    pub(crate) fn end_silence(&self) {
        self.silence_open();
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    is_silent: impl Fn() -> bool,
) {
    let mut buffer = [0; 8192];
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(length) => length,
        };
        if !is_silent() && to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    if is_silent() {
        // Nothing is said of the end either.
        std::future::pending::<()>().await;
    }
}
