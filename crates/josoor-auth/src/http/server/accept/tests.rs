use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;

/// Far beyond what any of these tests needs; it only ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    accepting: Arc<AtomicBool>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Drained>,
    /// Notified when the handler of `/slow` has begun.
    begun: Arc<Notify>,
    /// Lets the handler of `/slow` finish.
    release: Arc<Notify>,
}

async fn panics() {
    panic!("on purpose");
}

async fn start(options: ServeOptions) -> Running {
    let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (signal, awaited) = (Arc::clone(&begun), Arc::clone(&release));
    let slow = move || {
        let (signal, awaited) = (Arc::clone(&signal), Arc::clone(&awaited));
        async move {
            signal.notify_one();
            awaited.notified().await;
            "done"
        }
    };
    let who = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string();
    let router = Router::new()
        .route("/who", get(who))
        .route("/slow", get(slow))
        .route("/panic", get(panics));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel();
    let accepting = Arc::new(AtomicBool::new(false));
    let served = tokio::spawn(serve(
        listener,
        router,
        options,
        async {
            let _ = stopped.await;
        },
        Arc::clone(&accepting),
    ));
    Running {
        address,
        accepting,
        stop: Some(stop),
        served,
        begun,
        release,
    }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    fn stop(&mut self) {
        let _ = self.stop.take().expect("stopped once").send(());
    }

    async fn ended(self) -> Drained {
        timeout(PATIENCE, self.served)
            .await
            .expect("it ends")
            .expect("no panic")
    }
}

async fn ask(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
}

/// Reads until `mark` has arrived or the connection ends.
async fn read_until(stream: &mut TcpStream, mark: &str) -> String {
    let mut text = Vec::new();
    let reading = async {
        let mut chunk = [0; 4096];
        while !String::from_utf8_lossy(&text).contains(mark) {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(length) => text.extend_from_slice(&chunk[..length]),
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("an answer or an end");
    String::from_utf8_lossy(&text).into_owned()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(
        timeout(PATIENCE, stream.read(&mut [0; 1])).await,
        Ok(Ok(0) | Err(_))
    )
}

#[tokio::test]
async fn the_peer_is_known_and_connections_are_kept() {
    let running = start(ServeOptions::default()).await;
    let mut stream = running.connect().await;
    let own = stream.local_addr().expect("an address").to_string();
    for _ in 0..3 {
        ask(&mut stream, "/who").await;
        let answer = read_until(&mut stream, &own).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains(&own),
            "{answer}"
        );
    }
    assert!(running.accepting.load(Ordering::SeqCst));
}

#[tokio::test]
async fn clients_that_say_nothing_or_too_slowly_are_cut() {
    let running = start(ServeOptions {
        header_timeout: Duration::from_millis(100),
        ..ServeOptions::default()
    })
    .await;
    // Nothing at all; a part of a request; a part of HTTP/2's preface; HTTP/2 without a request.
    for beginning in [
        &b""[..],
        b"GET /who HTTP/1.1\r\nHost:",
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ] {
        let mut stream = running.connect().await;
        stream.write_all(beginning).await.expect("sent");
        let rest = read_until(&mut stream, "a mark that never comes").await;
        assert!(!rest.contains("200"), "{rest}");
        assert!(is_closed(&mut stream).await, "{beginning:?}");
    }
}

#[tokio::test]
async fn silent_connections_end_after_the_idle_time() {
    let running = start(ServeOptions {
        idle_timeout: Duration::from_millis(100),
        ..ServeOptions::default()
    })
    .await;
    let mut stream = running.connect().await;
    ask(&mut stream, "/who").await;
    assert!(read_until(&mut stream, "127.0.0.1").await.contains("200"));
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn a_request_in_flight_finishes_during_the_shutdown() {
    let mut running = start(ServeOptions::default()).await;
    let mut stream = running.connect().await;
    ask(&mut stream, "/slow").await;
    running.begun.notified().await;
    running.stop();
    // A connection that was never accepted, or is closed again, shows that accepting has ended.
    let refused = async {
        loop {
            let Ok(mut late) = TcpStream::connect(running.address).await else {
                break;
            };
            if is_closed(&mut late).await {
                break;
            }
        }
    };
    timeout(PATIENCE, refused).await.expect("accepting ends");
    assert!(!running.accepting.load(Ordering::SeqCst));
    running.release.notify_one();
    let answer = read_until(&mut stream, "done").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.to_ascii_lowercase().contains("connection: close"),
        "{answer}"
    );
    assert_eq!(running.ended().await, Drained { cut: 0 });
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_shutdown_up() {
    let mut running = start(ServeOptions::default()).await;
    let mut kept = running.connect().await;
    ask(&mut kept, "/who").await;
    assert!(read_until(&mut kept, "127.0.0.1").await.contains("200"));
    let mut silent = running.connect().await;
    running.stop();
    assert!(is_closed(&mut kept).await && is_closed(&mut silent).await);
    assert_eq!(running.ended().await, Drained { cut: 0 });
}

#[tokio::test]
async fn f7_answers_end_their_connections_from_draining_on() {
    let mut running = start(ServeOptions {
        drain_delay: PATIENCE,
        ..ServeOptions::default()
    })
    .await;
    let mut kept = running.connect().await;
    ask(&mut kept, "/who").await;
    let answer = read_until(&mut kept, "127.0.0.1").await;
    assert!(
        !answer.to_ascii_lowercase().contains("connection: close"),
        "{answer}"
    );
    running.stop();
    while running.accepting.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    // Kept connections and fresh ones are answered, and end with the answer; nothing ends before it.
    for mut stream in [kept, running.connect().await] {
        ask(&mut stream, "/who").await;
        let answer = read_until(&mut stream, "127.0.0.1").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.to_ascii_lowercase().contains("connection: close"),
            "{answer}"
        );
        assert!(is_closed(&mut stream).await);
    }
    running.served.abort();
}

#[tokio::test]
async fn f7_connections_that_wait_to_be_accepted_are_answered() {
    let mut running = start(ServeOptions {
        max_connections: 1,
        ..ServeOptions::default()
    })
    .await;
    let mut first = running.connect().await;
    ask(&mut first, "/slow").await;
    running.begun.notified().await;
    // One is accepted and has no slot, the others are in the kernel's queue.
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut stream = running.connect().await;
        ask(&mut stream, "/who").await;
        waiting.push(stream);
    }
    running.stop();
    let refused = async { while TcpStream::connect(running.address).await.is_ok() {} };
    timeout(PATIENCE, refused).await.expect("accepting ends");
    running.release.notify_one();
    assert!(read_until(&mut first, "done").await.contains("200"));
    for mut stream in waiting {
        let answer = read_until(&mut stream, "127.0.0.1").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(running.ended().await, Drained { cut: 0 });
}

#[tokio::test]
async fn what_does_not_finish_is_cut() {
    let mut running = start(ServeOptions {
        drain_timeout: Duration::from_millis(50),
        ..ServeOptions::default()
    })
    .await;
    let mut stream = running.connect().await;
    ask(&mut stream, "/slow").await;
    running.begun.notified().await;
    running.stop();
    assert!(is_closed(&mut stream).await);
    assert_eq!(running.ended().await, Drained { cut: 1 });
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_a_free_place() {
    let running = start(ServeOptions {
        max_connections: 1,
        ..ServeOptions::default()
    })
    .await;
    let mut first = running.connect().await;
    ask(&mut first, "/slow").await;
    running.begun.notified().await;
    let mut second = running.connect().await;
    ask(&mut second, "/who").await;
    let early = timeout(Duration::from_millis(100), second.read(&mut [0; 1])).await;
    assert!(early.is_err(), "the second one has no place yet");
    running.release.notify_one();
    assert!(read_until(&mut first, "done").await.contains("200"));
    drop(first);
    assert!(read_until(&mut second, "127.0.0.1").await.contains("200"));
}

#[tokio::test]
async fn a_panic_stays_in_its_connection() {
    let running = start(ServeOptions::default()).await;
    let mut broken = running.connect().await;
    ask(&mut broken, "/panic").await;
    assert!(is_closed(&mut broken).await);
    let mut next = running.connect().await;
    ask(&mut next, "/who").await;
    assert!(read_until(&mut next, "127.0.0.1").await.contains("200"));
}
