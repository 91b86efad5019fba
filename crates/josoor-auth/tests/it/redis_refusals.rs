//! What Redis refuses, as `doctor` and the log say it.

use crate::store_start::findings;
use crate::support::command::Serving;
use crate::support::process::free_port;
use crate::support::redis::RedisServer;
use crate::support::server::{Footprint, Stage, eventually};

/// The commands that the service needs.
const COMMANDS: [&str; 9] = [
    "+get",
    "+set",
    "+del",
    "+eval",
    "+evalsha",
    "+time",
    "+publish",
    "+subscribe",
    "+ping",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d16_doctor_says_what_redis_refuses() {
    let redis = RedisServer::start(&[]);
    let at = format!("127.0.0.1:{}", redis.port);
    let mut stage = Stage::new(Footprint::Embedded);
    let user = |name: &str, rights: &[&str]| {
        let words = [&["ACL", "SETUSER", name, "reset", "on", ">secret"][..], rights].concat();
        let answer = redis.ask(&words);
        assert!(answer.starts_with("+OK"), "{answer}");
    };
    let all = [&["~*", "&*"][..], &COMMANDS].concat();
    user("good", &all);
    user("silent", &[&["~*"][..], &COMMANDS].concat());
    for missing in ["+set", "+get", "+eval", "+del", "+publish", "+subscribe", "+time"] {
        let name = format!("no{}", &missing[1..]);
        let rights: Vec<&str> = all
            .iter()
            .copied()
            .filter(|right| *right != missing && !(missing == "+eval" && *right == "+evalsha"))
            .collect();
        user(&name, &rights);
    }
    user("elsewhere", &[&["~other:*", "&*"][..], &COMMANDS].concat());
    let mut with =
        |user: &str, password: &str| stage_with(&mut stage, &format!("redis://{user}:{password}@{at}"));
    let found = with("good", "secret");
    assert_eq!(found[0], "ok", "{found:?}");
    for (user, password, words) in [
        ("good", "wrong", &["WRONGPASS", "REDIS_URL"][..]),
        ("silent", "secret", &["SUBSCRIBE", "NOPERM", "&*"]),
        ("noset", "secret", &["SET", "NOPERM"]),
        ("noget", "secret", &["GET", "NOPERM"]),
        ("noeval", "secret", &["EVAL", "NOPERM"]),
        ("nodel", "secret", &["DEL", "NOPERM"]),
        ("nopublish", "secret", &["PUBLISH", "NOPERM"]),
        ("nosubscribe", "secret", &["SUBSCRIBE", "NOPERM"]),
        ("notime", "secret", &["TIME"]),
        ("elsewhere", "secret", &["SET", "NOPERM"]),
    ] {
        let found = with(user, password);
        assert_eq!(found[0], "problem", "{user}: {found:?}");
        assert!(
            words
                .iter()
                .all(|word| found[1].contains(word) || found[2].contains(word)),
            "{user}: {found:?}"
        );
    }
    for (url, words) in [
        (format!("redis://good:secret@{at}/1"), "NOPERM"),
        (format!("redis://{at}/99"), "number at the end of the URL"),
        (format!("redis+cluster://{at}"), "it is no Cluster"),
        (format!("redis+sentinel://{at}/main/0"), "it is no Sentinel"),
    ] {
        let found = stage_with(&mut stage, &url);
        assert!(
            found[0] == "problem" && found[1].contains(words),
            "{url}: {found:?}"
        );
    }
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &redis.port.to_string()]);
    let found = stage_with(&mut stage, &format!("redis://127.0.0.1:{}", replica.port));
    assert!(
        found[0] == "problem" && found[1].contains("READONLY") && found[2].contains("primary"),
        "{found:?}"
    );
    eventually("nothing is left behind", || async {
        redis.ask(&["DBSIZE"]) == ":0\r\n"
    })
    .await;
}

fn stage_with(stage: &mut Stage, url: &str) -> [String; 3] {
    stage.set("REDIS_URL", url);
    findings(stage, "Redis").remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d16_an_unknown_certificate_and_a_wrong_password_of_redis_are_named_in_the_log_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = crate::support::services::certificate(folder.path());
    let (plain, port) = (free_port(), free_port());
    let redis = RedisServer::start_at(
        plain,
        &[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            certificate.to_str().expect("a path"),
            "--tls-key-file",
            key.to_str().expect("a path"),
            "--tls-auth-clients",
            "no",
        ],
    );
    let mut stage = Stage::new(Footprint::Embedded);
    let url = format!("rediss://localhost:{port}");
    let found = stage_with(&mut stage, &url);
    assert!(
        found[0] == "problem" && found[1].contains("certificate") && found[1].contains("UnknownIssuer"),
        "{found:?}"
    );
    assert!(found[2].contains("SSL_CERT_FILE"), "{found:?}");
    let reason = async |stage: &Stage, log: &str, words: &str| {
        let serving = Serving::start_with(stage, log, &[]);
        eventually("the reason is in the log", || async {
            serving.lines().iter().any(|line| {
                line.to_string().contains("redis_connection_failed")
                    && line["fields"]["reason"]
                        .as_str()
                        .is_some_and(|reason| reason.contains(words))
            })
        })
        .await;
    };
    reason(&stage, "log-of-tls", "certificate").await;
    stage.set("SSL_CERT_FILE", certificate.to_str().expect("a path"));
    assert_eq!(stage_with(&mut stage, &url)[0], "ok");
    stage.set("REDIS_URL", &format!("redis://default:wrong@127.0.0.1:{plain}"));
    let set = redis.ask(&["CONFIG", "SET", "requirepass", "right"]);
    assert!(set.starts_with("+OK"), "{set}");
    reason(&stage, "log-of-password", "WRONGPASS").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d26_documented_rights_special_characters_and_one_client_are_enough() {
    let redis = RedisServer::start(&["--maxclients", "3"]);
    let password = "p@ss/w:or#d%";
    let rights = [&["~*", "&*"][..], &COMMANDS].concat();
    let secret = format!(">{password}");
    let words = [&["ACL", "SETUSER", "josoor", "reset", "on", &secret][..], &rights].concat();
    assert!(redis.ask(&words).starts_with("+OK"));
    let mut stage = Stage::new(Footprint::Embedded);
    let encoded = "p%40ss%2Fw%3Aor%23d%25";
    stage.set(
        "REDIS_URL",
        &format!("redis://josoor:{encoded}@127.0.0.1:{}", redis.port),
    );
    let server = stage.start().await;
    server.register("acl@example.com").await;
    server.log_in("acl@example.com").await;
    let ready = server.get("/readyz", "").await.is(200);
    assert_eq!(ready.json["parts"]["redis"], "ok");
    server.stop().await;
}
