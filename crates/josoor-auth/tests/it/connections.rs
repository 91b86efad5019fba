//! What happens when connections run short.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use josoor_auth::clock::Clock;
use josoor_auth::http::server::ServeOptions;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::acceptance;
use crate::support::command::Serving;
use crate::support::server::{Footprint, PASSWORD, Stage, eventually, http_client};

/// Connections need two descriptors each here, where client and server are one process.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).expect("the limit can be raised");
}

/// A connection from one of this machine's loopback addresses, which stand for networks.
async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((from, 0))).expect("an address");
    socket.connect(to).await.expect("a connection")
}

/// Asks something that needs no store; whether it was answered with 200.
async fn ask(stream: &mut TcpStream) -> bool {
    let request = "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
    if stream.write_all(request.as_bytes()).await.is_err() {
        return false;
    }
    let mut answer = Vec::new();
    let mut chunk = [0; 2048];
    while !answer.ends_with(br#"{"status":"ok"}"#) {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return false,
            Ok(length) => answer.extend_from_slice(&chunk[..length]),
        }
    }
    answer.starts_with(b"HTTP/1.1 200")
}

const FLOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
const OFFICE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_b8_idle_connections_of_one_address_shut_no_one_out() {
    raise_descriptors();
    let flood = acceptance::size(320, 4_200);
    let people = acceptance::size(60, 500);
    let options = ServeOptions {
        max_connections: acceptance::size(256, 4_096),
        // Here loopback addresses stand for the networks of clients.
        exempt: Vec::new().into(),
        ..ServeOptions::default()
    };
    let server = Stage::new(Footprint::Embedded)
        .start_serving(Clock::System, options)
        .await;
    let to = server.address;
    let typical = async |from| {
        let mut times = Vec::new();
        for _ in 0..20 {
            let began = Instant::now();
            let mut stream = connect(from, to).await;
            assert!(ask(&mut stream).await, "refused");
            times.push(began.elapsed());
        }
        times.sort_unstable();
        times[10]
    };
    let before = typical(OTHER).await;
    let mut idle = Vec::new();
    for number in 0..flood {
        let mut stream = connect(FLOOD, to).await;
        // Half of them ask once and then say nothing, as clients do that keep a connection; the others say nothing at all.
        if number % 2 == 0 {
            assert!(ask(&mut stream).await);
        }
        idle.push(stream);
    }
    let during = typical(OTHER).await;
    assert!(
        during < before * 20 + Duration::from_millis(250),
        "{during:?} after {before:?}"
    );
    // An office behind one address: each of its people keeps a connection and uses it twice.
    let mut office = Vec::new();
    for _ in 0..people {
        let mut stream = connect(OFFICE, to).await;
        assert!(ask(&mut stream).await, "one of the office was refused");
        office.push(stream);
    }
    for stream in &mut office {
        assert!(ask(stream).await, "one of the office was cut off");
    }
    acceptance::record(
        "b8 idle connections",
        &format!(
            "{flood} idle connections of one address; another address: median {:.1} ms before, {:.1} ms during; \
             {people} people behind one address: none refused",
            before.as_secs_f64() * 1e3,
            during.as_secs_f64() * 1e3,
        ),
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_bodies_sent_byte_by_byte_make_space_as_well() {
    let options = ServeOptions {
        max_connections: 8,
        exempt: Vec::new().into(),
        ..ServeOptions::default()
    };
    let server = Stage::new(Footprint::Embedded)
        .start_serving(Clock::System, options)
        .await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(FLOOD, server.address).await;
        let head = "POST /auth/login HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let began = Instant::now();
    let mut other = connect(OTHER, server.address).await;
    assert!(ask(&mut other).await);
    // Before the time limit of a body (15 s) has ended the others.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_connections_of_exempt_peers_are_kept() {
    let options = ServeOptions {
        max_connections: 4,
        exempt: vec!["127.0.0.66/32".parse().unwrap()].into(),
        ..ServeOptions::default()
    };
    let server = Stage::new(Footprint::Embedded)
        .start_serving(Clock::System, options)
        .await;
    let mut proxy = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(FLOOD, server.address).await;
        assert!(ask(&mut stream).await);
        proxy.push(stream);
    }
    let mut first = connect(OTHER, server.address).await;
    assert!(ask(&mut first).await);
    let mut second = connect(OFFICE, server.address).await;
    assert!(ask(&mut second).await);
    // The only one that is not exempt made space.
    eventually("the idle one is closed", || async {
        let mut probe = [0; 1];
        matches!(first.try_read(&mut probe), Ok(0))
            || first
                .try_read(&mut probe)
                .is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
    })
    .await;
    for stream in &mut proxy {
        assert!(ask(stream).await);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_idle_connections_of_strangers_leave_descriptors_to_the_stores() {
    let mut stage = Stage::new(Footprint::Production);
    stage.set("JOSOOR_AUTH__DATABASE__MAX_CONNECTIONS", "4");
    // Loopback addresses stand for strangers here.
    stage.set("JOSOOR_AUTH__SERVER__CONNECTION_EXEMPT", "192.0.2.1/32");
    let serving = tokio::task::block_in_place(|| Serving::start_limited(&stage, "--nofile=160:160"));
    let http = http_client();
    let body = json!({ "email": "person@example.com", "password": PASSWORD });
    let registered = http
        .post(serving.url("/auth/register"))
        .json(&body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(registered.status(), 201);
    let mut strangers = Vec::new();
    for _ in 0..300 {
        strangers.push(connect(FLOOD, serving.address).await);
    }
    // The stores' connections go, as at a failover: fresh ones take descriptors.
    let pool = sqlx::PgPool::connect(&stage.environment()["DATABASE_URL"])
        .await
        .expect("PostgreSQL answers");
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .execute(&pool)
    .await
    .expect("allowed");
    eventually("sign-ins work again", || async {
        let signed_in = http_client()
            .post(serving.url("/auth/login"))
            .json(&body)
            .send()
            .await;
        signed_in.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    for _ in 0..20 {
        let signed_in = http
            .post(serving.url("/auth/login"))
            .json(&body)
            .send()
            .await
            .expect("an answer");
        assert_eq!(signed_in.status(), 200);
    }
    let ready = http.get(serving.url("/readyz")).send().await.expect("an answer");
    assert_eq!(ready.status(), 200);
    assert!(
        !serving.log().contains("Too many open files"),
        "{}",
        serving.log()
    );
    pool.close().await;
    drop(strangers);
}
