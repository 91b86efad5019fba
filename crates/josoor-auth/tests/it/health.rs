//! `josoor-auth health`, which containers run: it asks the server of the same settings.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::command::{Ended, Serving, run};
use crate::support::server::{Footprint, Stage, eventually, on_both};

/// The command's end, which is never long in coming.
fn ask(stage: &Stage) -> Ended {
    let began = Instant::now();
    let ended = run(stage, &["health"]);
    assert!(began.elapsed() < Duration::from_secs(30), "{ended:?}");
    assert_eq!(
        ended.out.lines().count() + ended.err.lines().count(),
        1,
        "{ended:?}"
    );
    ended
}

on_both!(
    health_ends_with_0_while_the_server_is_ready_and_with_1_otherwise,
    async |mut stage: Stage| {
        // Far from done when the signal comes: draining is seen from outside.
        stage.set("JOSOOR_AUTH__SERVER__DRAIN_DELAY", "10m");
        let serving = Serving::start(&stage);
        stage.set("PORT", &serving.address.port().to_string());
        // Where users reach it does not matter, and nothing of the request leaves the machine.
        stage.set("PUBLIC_URL", "https://auth.example.org/identity");
        stage.dev = false;
        let ready = ask(&stage).with(0);
        assert!(ready.out.starts_with("ready"), "{ready:?}");

        serving.signal("TERM");
        eventually("it drains", async || ask(&stage).code == 1).await;
        ask(&stage).with(1).says(&["not ready: draining"]);

        serving.signal("STOP");
        let frozen = ask(&stage).with(1);
        assert!(frozen.err.contains("does not answer within 5 s"), "{frozen:?}");
        drop(serving);
        ask(&stage).with(1).says(&["does not answer: ", "refused"]);
    }
);

#[tokio::test(flavor = "multi_thread")]
async fn health_finds_a_server_on_every_interface() {
    for (bind, asked) in [("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]"), ("[::1]", "[::1]")] {
        let mut stage = Stage::new(Footprint::Embedded);
        stage.dev = false;
        stage.set("BIND", bind);
        let serving = Serving::start(&stage);
        let port = serving.address.port().to_string();
        stage.set("PORT", &port);
        let ready = ask(&stage).with(0);
        assert!(ready.out.starts_with("ready"), "{ready:?}");
        drop(serving);
        ask(&stage)
            .with(1)
            .says(&[&format!("{asked}:{port} does not answer")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_what_keeps_it_from_asking() {
    let mut stage = Stage::new(Footprint::Embedded);
    stage.set("PORT", "0");
    ask(&stage).with(1).says(&["BIND or PORT"]);

    // Another program at the address, which answers 200 to everything, or nothing that is HTTP.
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "220 mail.example.org ESMTP\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        stage.set("PORT", &listener.local_addr().unwrap().port().to_string());
        let other = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(answer.as_bytes());
        });
        let ended = ask(&stage).with(1);
        assert!(
            ended.out.is_empty() && ended.err.starts_with("error: "),
            "{ended:?}"
        );
        other.join().unwrap();
    }

    stage.set("PORT", "eighty");
    run(&stage, &["health"]).with(1).says(&["PORT"]);
}
