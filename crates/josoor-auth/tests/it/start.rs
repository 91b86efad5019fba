//! How the service starts and stops, and what surrounds it: signals, ports, files of variables, paths, origins.

use std::time::{Duration, Instant};

use josoor_auth::account::setup;
use josoor_auth::config::Config;
use josoor_auth::store::Db;
use reqwest::Method;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::support::command::{self, Serving};
use crate::support::process::free_port;
use crate::support::server::{Footprint, PASSWORD, Server, Stage, Tokens, eventually, http_client, on_both};

/// Whether something stands in a log line with this message.
fn lines_of(serving: &Serving, message: &str) -> Vec<Value> {
    let mut lines = serving.lines();
    lines.retain(|line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains(message))
    });
    lines
}

on_both!(
    d11_a_stop_while_the_database_is_locked_ends_the_start,
    async |stage: Stage| {
        // Another program holds what the migrations need.
        let config = Config::parse(None, stage.environment()).expect("settings");
        let db = Db::open(&config.database).await.expect("opened");
        let (mut transaction, mut connection) = (None, None);
        match stage.footprint {
            Footprint::Embedded => transaction = Some(db.begin().await.expect("begun")),
            Footprint::Production => {
                let url = &stage.environment()["DATABASE_URL"];
                let mut other = sqlx::PgConnection::connect(url).await.expect("connected");
                // "josoor" in ASCII.
                let lock = sqlx::query("select pg_advisory_lock(x'6a6f736f6f72'::bigint)");
                lock.execute(&mut other).await.expect("locked");
                connection = Some(other);
            }
        }
        let mut serving = Serving::begin(&stage, "log");
        serving.wait_handles_stop();
        if stage.footprint == Footprint::Embedded {
            eventually("it says what it waits for", || async {
                !lines_of(&serving, "a migration waits for a lock").is_empty()
            })
            .await;
        }
        serving.signal("TERM");
        let asked = Instant::now();
        assert_eq!(serving.wait(), 0, "{}", serving.log());
        // The lock is held all the while, and a statement waits for it five seconds or longer.
        assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
        assert_eq!(
            lines_of(&serving, "stopped before it was running").len(),
            1,
            "{}",
            serving.log()
        );
        drop(transaction.take());
        drop(connection.take());
        db.close().await;
        let mut serving = Serving::start(&stage);
        serving.signal("TERM");
        assert_eq!(serving.wait(), 0);
    }
);

on_both!(
    trials_a10_migrations_that_are_applied_are_logged,
    async |stage: Stage| {
        let serving = Serving::start(&stage);
        let applied = lines_of(&serving, "a migration was applied");
        assert!(applied.len() >= 10, "{}", serving.log());
        assert_eq!(applied[0]["fields"]["version"], 1);
        assert!(applied[0]["fields"]["description"].is_string());
        drop(serving);
        let serving = Serving::start_with(&stage, "log-2", &[]);
        assert!(lines_of(&serving, "a migration was applied").is_empty());
        let running = lines_of(&serving, "is running");
        let redis = match stage.footprint {
            Footprint::Embedded => "none",
            Footprint::Production => "single",
        };
        assert_eq!(running[0]["fields"]["redis"], redis);
    }
);

on_both!(
    trials_a10_nodes_that_start_together_give_one_link_that_works,
    async |stage: Stage| {
        let (one, other) = tokio::join!(stage.start(), stage.start());
        let offers = [&one, &other, &one, &other].map(|server| setup::offer_setup(&server.app));
        let offers = futures_util::future::join_all(offers).await;
        let tokens: Vec<String> = offers
            .into_iter()
            .map(|offer| {
                offer
                    .expect("offered")
                    .expect("no administrator")
                    .token
                    .expose()
                    .to_owned()
            })
            .collect();
        assert!(tokens.iter().all(|token| *token == tokens[0]));
        let body = json!({ "token": tokens[0], "email": "root@example.com", "password": PASSWORD });
        other.post("/setup", &body).await.is(201);
        one.post("/setup", &body).await.is_problem(400, "link_used");
        one.stop().await;
        other.stop().await;
    }
);

/// Signs in from a page of the service itself, as its own pages do.
async fn own_page_signs_in(serving: &Serving, origin: &str) -> u16 {
    let body =
        json!({ "email": "page@example.com", "password": "a sentence to remember", "transport": "cookie" });
    let request = http_client()
        .post(serving.url("/auth/register"))
        .header("origin", origin);
    request
        .json(&body)
        .send()
        .await
        .expect("an answer")
        .status()
        .as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trials_a2_with_another_port_the_pages_of_the_service_can_sign_in() {
    let stage = Stage::new(Footprint::Embedded);
    let port = free_port();
    let serving = Serving::start_with(&stage, "log", &[("PORT", &port.to_string())]);
    let origin = format!("http://localhost:{port}");
    assert_eq!(
        lines_of(&serving, "is running")[0]["fields"]["public_url"],
        *origin
    );
    assert_eq!(own_page_signs_in(&serving, &origin).await, 201);
    let link = std::fs::read_to_string(stage.directory().join("setup-link")).expect("a link");
    assert!(link.starts_with(&format!("{origin}/setup#token=")), "{link}");
    // The taken port: what to set, and what goes with it.
    let mut stage = Stage::new(Footprint::Embedded);
    stage.set("PORT", &port.to_string());
    command::run(&stage, &["serve"]).with(1).says(&[
        "cannot listen",
        "BIND or PORT",
        "PUBLIC_URL, which is not set, follows",
    ]);
    stage.set("PUBLIC_URL", "http://localhost:9999");
    command::run(&stage, &["serve"])
        .with(1)
        .says(&["BIND or PORT", "PUBLIC_URL, which is http://localhost:9999"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trials_a10_the_file_env_is_read_under_dev_and_otherwise_by_name() {
    let mut stage = Stage::new(Footprint::Embedded);
    let file = stage.directory().join(".env");
    std::fs::write(
        &file,
        "JWT_EXPIRATION_MINUTES=5\nDATABASE_URL=postgres://user:hidden@localhost:1/none\n",
    )
    .expect("written");
    let lifetime = async |serving: &Serving, email: &str| {
        let body = json!({ "email": email, "password": "a sentence to remember" });
        let answer = http_client()
            .post(serving.url("/auth/register"))
            .json(&body)
            .send()
            .await;
        answer.expect("an answer").json::<Value>().await.expect("JSON")["expires_in"].clone()
    };
    let serving = Serving::start(&stage);
    let read = lines_of(&serving, ".env sets JWT_EXPIRATION_MINUTES");
    assert_eq!(read.len(), 1, "{}", serving.log());
    assert!(
        read[0]["message"]
            .as_str()
            .is_some_and(|text| text.contains("DATABASE_URL in it is ignored"))
    );
    assert!(!serving.log().contains("hidden"));
    assert_eq!(lifetime(&serving, "dev@example.com").await, 300);
    drop(serving);
    stage.dev = false;
    let serving = Serving::start_with(&stage, "log-2", &[]);
    assert_eq!(
        lines_of(&serving, "the file .env is not read").len(),
        1,
        "{}",
        serving.log()
    );
    assert_eq!(lifetime(&serving, "plain@example.com").await, 86_400);
    drop(serving);
    // A named file counts whole.
    stage.set("DATABASE_URL", "");
    command::run(&stage, &["config", "check", "--env-file", ".env"])
        .with(0)
        .says(&[
            ".env sets JWT_EXPIRATION_MINUTES, DATABASE_URL",
            "keys.master_key",
        ]);
    command::run(&stage, &["--env-file", "none.env", "config", "check"])
        .with(1)
        .says(&["--env-file", "none.env"]);
    let mut misspelt = Stage::new(Footprint::Embedded);
    // Where the right one is set as well, the other belongs to another program.
    misspelt.set("JWT_SECRET", "");
    misspelt.set("JWT_SECERT", "x");
    misspelt.set("JOSOOR_AUTH_SESSION_IDLE", "1m");
    command::run(&misspelt, &["config", "check"]).with(0).says(&[
        "did you mean JWT_SECRET?",
        "did you mean JOSOOR_AUTH__SESSION__IDLE?",
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trials_a3_a_command_is_done_when_the_running_server_knows() {
    for footprint in [Footprint::Embedded, Footprint::Production] {
        let stage = Stage::new(footprint);
        let serving = Serving::start(&stage);
        let client = http_client();
        let status = async |token: &str| {
            let request = client.get(serving.url("/auth/me")).bearer_auth(token);
            let answer = request.send().await.expect("an answer");
            (
                answer.status().as_u16(),
                answer.json::<Value>().await.expect("JSON")["code"].clone(),
            )
        };
        let account = json!({ "email": "ops@example.com", "password": "a sentence to remember" });
        let sign_in = async |path: &str| {
            let answer = client.post(serving.url(path)).json(&account).send().await;
            let answer: Value = answer.expect("an answer").json().await.expect("JSON");
            answer["access_token"].as_str().expect("a token").to_owned()
        };
        sign_in("/auth/register").await;
        for arguments in [
            &["session", "revoke", "ops@example.com"][..],
            &["session", "revoke", "--all"],
            &["user", "deactivate", "ops@example.com"],
        ] {
            let token = sign_in("/auth/login").await;
            assert_eq!(status(&token).await.0, 200);
            command::run(&stage, arguments).with(0);
            assert_eq!(status(&token).await.0, 401, "{footprint:?} {arguments:?}");
        }
    }
}

on_both!(
    all_sessions_of_all_users_are_revoked_by_one_command,
    async |stage: Stage| {
        let server = stage.start().await;
        let mut all = Vec::new();
        for number in 0..5 {
            let email = format!("person{number}@example.com");
            all.push(server.register(&email).await);
            all.push(server.log_in(&email).await);
        }
        let ended = command::run(&stage, &["session", "revoke", "--all"]).with(0);
        assert_eq!(ended.out.trim(), "10 sessions revoked");
        for tokens in &all {
            server
                .get("/auth/me", &tokens.access)
                .await
                .is_problem(401, "session_revoked");
        }
        let ended = command::run(&stage, &["session", "revoke", "--all"]).with(0);
        assert_eq!(ended.out.trim(), "0 sessions revoked");
        command::run(&stage, &["session", "revoke"]).with(2);
        command::run(&stage, &["session", "revoke", "person1@example.com", "--all"]).with(2);
        server.stop().await;
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d20_a_slash_at_the_end_of_a_page_redirects() {
    let mut stage = Stage::new(Footprint::Embedded);
    stage.set("PUBLIC_URL", "https://auth.example.com/sub");
    let server = stage.start().await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .build()
        .expect("a client");
    for (path, to) in [
        ("/login/", "/login"),
        ("/reset-password/?lang=ar", "/reset-password?lang=ar"),
        ("/account/", "/account"),
        ("/docs/", "/docs"),
        ("/healthz/", "/healthz"),
        ("/errors/not_found/", "/errors/not_found"),
        ("//evil.example/", "/evil.example"),
        ("/no/such//", "/no/such"),
    ] {
        let answer = client.get(server.url(path)).send().await.expect("an answer");
        assert_eq!(answer.status(), 308, "{path}");
        assert_eq!(
            answer.headers()["location"],
            format!("https://auth.example.com/sub{to}"),
            "{path}"
        );
    }
    // The API has no such paths.
    server.get("/auth/me/", "").await.is_problem(404, "not_found");
    server.get("/admin/users/", "").await.is_problem(404, "not_found");
    let body = json!({ "email": "a@example.com", "password": PASSWORD });
    server
        .post("/auth/login/", &body)
        .await
        .is_problem(404, "not_found");
    // This one is a path of its own, for gateways.
    server.get("/auth/check/", "").await.is(401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d25_pages_with_tracing_may_call_and_headers_can_be_added() {
    let mut stage = Stage::new(Footprint::Embedded);
    stage.set("CORS_ORIGINS", "https://app.example.com");
    stage.set("JOSOOR_AUTH__SERVER__CORS_HEADERS", "X-Tenant");
    let server = stage.start().await;
    let request = server
        .request(Method::OPTIONS, "/auth/me")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "GET")
        .header(
            "access-control-request-headers",
            "authorization,sentry-trace,x-tenant",
        );
    let answer = server.send(request).await.is(200);
    let allowed = answer.headers["access-control-allow-headers"]
        .to_str()
        .expect("ASCII");
    let allowed: Vec<_> = allowed.split(',').map(str::trim).collect();
    for header in [
        "authorization",
        "content-type",
        "x-request-id",
        "x-requested-with",
        "traceparent",
        "tracestate",
        "baggage",
        "sentry-trace",
        "x-tenant",
    ] {
        assert!(allowed.contains(&header), "{header} {allowed:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trials_a4_an_origin_that_is_not_listed_is_named_once_in_the_log() {
    let stage = Stage::new(Footprint::Embedded);
    let serving = Serving::start_with(
        &stage,
        "log",
        &[
            ("CORS_ORIGINS", "https://app.example.com"),
            ("PUBLIC_URL", "http://localhost:8000"),
        ],
    );
    let client = http_client();
    let call = async |origin: &str| {
        let preflight = client
            .request(Method::OPTIONS, serving.url("/auth/me"))
            .header("origin", origin)
            .header("access-control-request-method", "GET");
        preflight.send().await.expect("an answer");
        let request = client.get(serving.url("/auth/me")).header("origin", origin);
        request.send().await.expect("an answer");
    };
    for _ in 0..3 {
        for origin in [
            "https://app.example.com",
            "http://localhost:8000",
            "http://127.0.0.1:8000",
            "http://localhost:5173",
            "null",
        ] {
            call(origin).await;
        }
    }
    let named = || {
        let mut origins: Vec<String> = lines_of(&serving, "CORS_ORIGINS")
            .iter()
            .map(|line| line["fields"]["origin"].as_str().expect("an origin").to_owned())
            .collect();
        origins.sort();
        origins
    };
    eventually("both are named", || async { named().len() >= 2 }).await;
    assert_eq!(named(), ["http://localhost:5173", "null"]);
    // Every site can make its visitors call: the log does not grow with them.
    for number in 0..40 {
        call(&format!("https://site{number}.example")).await;
    }
    eventually("a last one", || async { named().len() >= 16 }).await;
    assert_eq!(named().len(), 16);
    // The refusal of a cookie names the settings.
    let body =
        json!({ "email": "a@example.com", "password": "a sentence to remember", "transport": "cookie" });
    let request = client
        .post(serving.url("/auth/register"))
        .header("origin", "http://localhost:5173");
    let answer: Value = request
        .json(&body)
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(answer["code"], "origin_not_allowed");
    let detail = answer["detail"].as_str().expect("a text");
    assert!(
        detail.contains("PUBLIC_URL") && detail.contains("CORS_ORIGINS"),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn liveness_can_be_asked_from_any_page() {
    let server = Stage::new(Footprint::Embedded).start().await;
    let answer = server.send(server.request(Method::GET, "/healthz")).await.is(200);
    assert_eq!(answer.headers["cross-origin-resource-policy"], "cross-origin");
    let answer = server.send(server.request(Method::GET, "/readyz")).await;
    assert_eq!(answer.headers["cross-origin-resource-policy"], "same-origin");
    server.stop().await;
}

on_both!(
    administrators_see_the_last_sign_in_of_a_user,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let user = server.register("user@example.com").await;
        let path = format!("/admin/users/{}", user.user_id);
        let seen = async |server: &Server| {
            let one = server.get(&path, &admin.access).await.is(200).json["last_login_at"].clone();
            let listed = server.get("/admin/users?q=user@", &admin.access).await.is(200);
            assert_eq!(listed.json["items"][0]["last_login_at"], one);
            one
        };
        let first = seen(&server).await;
        let again: Tokens = server.log_in("user@example.com").await;
        let second = seen(&server).await;
        assert!(second.is_string() && second != first, "{first} {second}");
        // It is for administrators.
        let own = server.get("/auth/me", &again.access).await.is(200);
        assert!(own.json.get("last_login_at").is_none());
        server.stop().await;
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_keys_of_rs256_have_3072_bits() {
    use base64::Engine as _;
    let mut stage = Stage::new(Footprint::Embedded);
    stage.set("JWT_ALGORITHM", "RS256");
    stage.set("JWT_SECRET", "");
    let server = stage.start().await;
    let keys = server
        .send(server.request(Method::GET, "/.well-known/jwks.json"))
        .await
        .is(200);
    let modulus = keys.json["keys"][0]["n"].as_str().expect("a modulus");
    let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(modulus)
        .expect("base64");
    assert_eq!(modulus.len() * 8, 3072);
    let tokens = server.register("rsa@example.com").await;
    server.get("/auth/me", &tokens.access).await.is(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d27_surroundings_do_not_matter() {
    // Without HOME, LANG and TZ, as all commands of these tests; with what Kubernetes sets for a service of this name, few
    // descriptors, and a file from another system's editor.
    let mut stage = Stage::new(Footprint::Embedded);
    for (name, value) in [
        ("JOSOOR_AUTH_PORT", "tcp://10.0.0.1:8000"),
        ("JOSOOR_AUTH_SERVICE_HOST", "10.0.0.1"),
        ("JOSOOR_AUTH_SERVICE_PORT", "8000"),
        ("JOSOOR_AUTH_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
    ] {
        stage.set(name, value);
    }
    let file = stage.directory().join("windows.toml");
    std::fs::write(&file, "\u{feff}[session]\r\nidle = \"2h\"\r\n").expect("written");
    let shown = command::run(&stage, &["--config", "windows.toml", "config", "show", "--json"]).with(0);
    let shown = shown.json();
    assert_eq!(shown["settings"]["session.idle"]["value"], "2h");
    assert!(!shown["warnings"].to_string().contains("is ignored"), "{shown}");
    let serving = Serving::start_limited(&stage, "--nofile=64:64");
    let answer = http_client()
        .get(serving.url("/readyz"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
}
