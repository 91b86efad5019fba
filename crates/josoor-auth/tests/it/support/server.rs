//! A whole server in the test's process, on a real socket, over real stores.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use josoor_auth::act::Client;
use josoor_auth::app::App;
use josoor_auth::clock::Clock;
use josoor_auth::config::Config;
use josoor_auth::domain::{Role, UserId};
use josoor_auth::http::server::ServeOptions;
use josoor_auth::store::UserPatch;
use josoor_auth::{admin::users, http as server_http};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::services;

/// What a server stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Footprint {
    /// SQLite and nothing else.
    Embedded,
    /// PostgreSQL and Redis.
    Production,
}

/// Makes each test run on both footprints: `on_both!(name, async |stage| { … })` becomes `name::embedded` and
/// `name::production`. The test gets a [`Stage`] to start its servers on.
macro_rules! on_both {
    ($(#[$attribute:meta])* $name:ident, $test:expr) => {
        mod $name {
            use super::*;
            use crate::support::server::{Footprint, Stage};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn embedded() {
                let test = $test;
                test(Stage::new(Footprint::Embedded)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn production() {
                let test = $test;
                test(Stage::new(Footprint::Production)).await;
            }
        }
    };
}
pub(crate) use on_both;

/// Stores of a test's own, on which any number of servers can be started.
pub(crate) struct Stage {
    pub(crate) footprint: Footprint,
    /// Whether servers are those of a developer's own machine (`serve --dev`), whose mails can be read.
    pub(crate) dev: bool,
    environment: BTreeMap<String, String>,
    directory: tempfile::TempDir,
}

/// A secret that tests can sign their own tokens with.
pub(crate) const JWT_SECRET: &str = "q4mEwJt0bZsVn8Xc2RfLh6Yd1UgKp9Ai3OvTy7Ne5Bw";

/// A password that passes the policy.
pub(crate) const PASSWORD: &str = "Password123";

impl Stage {
    pub(crate) fn new(footprint: Footprint) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut stage = Self {
            footprint,
            dev: true,
            environment: BTreeMap::new(),
            directory,
        };
        let file = stage.directory().join("auth.db");
        stage.set("DATABASE_URL", &format!("sqlite://{}", file.display()));
        stage.set("JWT_SECRET", JWT_SECRET);
        // The lowest cost: hashing is not what these tests are about.
        stage.set("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", "4");
        // Nor are limits, but they are counted. Those that are about them set their own.
        for limit in &josoor_auth::domain::limit::TABLE {
            stage.set_limit(limit.name(), "1000000/1s");
        }
        if footprint == Footprint::Production {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            stage.set("DATABASE_URL", &services::postgres().new_database());
            stage.set("REDIS_URL", &services::redis().url());
            stage.set("JOSOOR_AUTH__REDIS__PREFIX", &format!("t{number}:"));
            stage.set("MASTER_KEY", "Zr1wJ5mVt9xYc3Qh7Ls0Nd8Fk2Bg6Pa4Ue1Xi5To9Rw=");
        }
        stage
    }

    /// Sets a variable for the servers that are started from now on.
    pub(crate) fn set(&mut self, variable: &str, value: &str) {
        self.environment.insert(variable.to_owned(), value.to_owned());
    }

    /// Sets a limit for the servers that are started from now on.
    pub(crate) fn set_limit(&mut self, name: &str, quota: &str) {
        let variable = format!("JOSOOR_AUTH__LIMITS__{}", name.to_uppercase());
        self.set(&variable, quota);
    }

    /// The variables, for a server in a process of its own.
    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The prefix of this stage's keys in Redis.
    pub(crate) fn prefix(&self) -> &str {
        self.environment
            .get("JOSOOR_AUTH__REDIS__PREFIX")
            .map_or("", String::as_str)
    }

    pub(crate) async fn start(&self) -> Server {
        self.start_with(Clock::System).await
    }

    /// Starts a server and waits until, with Redis, its copies are in use.
    pub(crate) async fn start_with(&self, clock: Clock) -> Server {
        let server = self.start_unready(clock).await;
        if self.environment.contains_key("REDIS_URL") {
            let app = server.app.clone();
            eventually("Redis is in use", || async { app.cache.is_shared() }).await;
        }
        server
    }

    /// Starts a server, whatever the state of Redis.
    pub(crate) async fn start_unready(&self, clock: Clock) -> Server {
        self.start_serving(clock, ServeOptions::default()).await
    }

    /// Starts a server that treats connections in another way.
    pub(crate) async fn start_serving(&self, clock: Clock, options: ServeOptions) -> Server {
        let mut config = Config::parse(None, &self.environment).unwrap_or_else(|error| panic!("{error}"));
        config.dev = self.dev;
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let app = App::open(config, clock).await.expect("the stores open");
        josoor_auth::worker::start(&app);
        let stop = CancellationToken::new();
        let service = server_http::service(&app);
        let running = tokio::spawn(server_http::server::serve(
            listener,
            service,
            options,
            stop.clone().cancelled_owned(),
            app.readiness(),
        ));
        Server {
            app,
            address,
            http: http_client(),
            stop,
            running,
        }
    }
}

/// A client that uses no proxy; also for what is not started by this file.
pub(crate) fn http_client() -> reqwest::Client {
    // An error means that another test has done it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .expect("an HTTP client")
}

/// A running server.
pub(crate) struct Server {
    pub(crate) app: App,
    pub(crate) address: SocketAddr,
    http: reqwest::Client,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<josoor_auth::http::server::Drained>,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Null for an empty body.
    pub(crate) json: Value,
    pub(crate) text: String,
}

impl Answer {
    /// The stable code of a problem; empty when it is none.
    pub(crate) fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    /// A member of the body that is a text.
    #[track_caller]
    pub(crate) fn text_of(&self, member: &str) -> String {
        self.json[member]
            .as_str()
            .unwrap_or_else(|| panic!("no text {member} in {self:?}"))
            .to_owned()
    }

    /// Fails the test unless the answer has this status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    /// Fails the test unless the answer is this problem.
    #[track_caller]
    #[expect(
        clippy::wrong_self_convention,
        reason = "it passes the answer on, and reads as a sentence"
    )]
    pub(crate) fn is_problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        self
    }
}

/// The tokens of a sign-in.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) user_id: i64,
}

impl Tokens {
    #[track_caller]
    pub(crate) fn of(answer: &Answer) -> Self {
        Self {
            access: answer.text_of("access_token"),
            refresh: answer.text_of("refresh_token"),
            user_id: answer.json["user"]["id"].as_i64().expect("a user id"),
        }
    }

    /// A claim of the access token.
    pub(crate) fn claim(&self, name: &str) -> Value {
        use base64::Engine as _;
        let payload = self.access.split('.').nth(1).expect("three parts");
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(payload)
            .expect("base64");
        serde_json::from_slice::<Value>(&bytes).expect("JSON")[name].clone()
    }
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Begins a request of any form.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("a body");
        Answer {
            status,
            headers,
            json: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(self.request(Method::GET, path).bearer_auth(token))
            .await
    }

    pub(crate) async fn delete(&self, path: &str, token: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).bearer_auth(token))
            .await
    }

    pub(crate) async fn patch(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).bearer_auth(token).json(body))
            .await
    }

    /// A POST without a token.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// A POST with a token.
    pub(crate) async fn post_as(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).bearer_auth(token).json(body))
            .await
    }

    /// Registers an account.
    pub(crate) async fn register(&self, email: &str) -> Tokens {
        let answer = self
            .post("/auth/register", &json!({ "email": email, "password": PASSWORD }))
            .await;
        Tokens::of(&answer.is(201))
    }

    /// Signs in to an account that [`register`](Self::register) made.
    pub(crate) async fn log_in(&self, email: &str) -> Tokens {
        let answer = self
            .post("/auth/login", &json!({ "email": email, "password": PASSWORD }))
            .await;
        Tokens::of(&answer.is(200))
    }

    /// Registers an account and makes it an administrator, as an operator would.
    pub(crate) async fn register_admin(&self, email: &str) -> Tokens {
        let tokens = self.register(email).await;
        let patch = UserPatch {
            role: Some(Role::Admin),
            ..UserPatch::default()
        };
        users::update(&self.app, UserId(tokens.user_id), patch, &Client::default())
            .await
            .expect("promoted");
        tokens
    }

    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        self.post("/auth/refresh", &json!({ "refresh_token": token }))
            .await
    }

    /// Stops the server as SIGTERM does.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.expect("the server ends without a panic");
        self.app.close().await;
    }
}

/// Waits until something asynchronous is so.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    for _ in 0..1000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited ten seconds, but not: {what}");
}
