//! What the benches of time have in common: a server, and how well a threshold on the time tells two cases apart.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use josoor_auth::app::App;
use josoor_auth::clock::Clock;
use josoor_auth::config::Config;
use josoor_auth::http;
use josoor_auth::http::server::{Drained, ServeOptions, serve};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Above this the time tells something.
pub(crate) const AUC_AT_MOST: f64 = 0.55;

/// A number from the environment.
pub(crate) fn setting(name: &str, default: u32) -> anyhow::Result<u32> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is a number")),
        Err(_) => Ok(default),
    }
}

/// A server on SQLite, in a folder of its own, without limits.
pub(crate) struct Server {
    pub(crate) app: App,
    base: String,
    client: reqwest::Client,
    stop: CancellationToken,
    serving: JoinHandle<Drained>,
    _directory: tempfile::TempDir,
}

impl Server {
    /// Starts it with these settings besides.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut environment = BTreeMap::from([
            (
                "DATABASE_URL".to_owned(),
                format!("sqlite://{}", directory.path().join("auth.db").display()),
            ),
            ("JOSOOR_AUTH__LIMITS__ENABLED".to_owned(), "false".to_owned()),
        ]);
        for (name, value) in settings {
            environment.insert((*name).to_owned(), (*value).to_owned());
        }
        let config = Config::parse(None, &environment)?;
        let app = App::open(config, Clock::System).await?;
        josoor_auth::worker::start(&app);
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let base = format!("http://{}", listener.local_addr()?);
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(
            listener,
            http::service(&app),
            ServeOptions::default(),
            stop.clone().cancelled_owned(),
            app.readiness(),
        ));
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Ok(Self {
            app,
            base,
            client: reqwest::Client::builder().no_proxy().build()?,
            stop,
            serving,
            _directory: directory,
        })
    }

    /// Sends a request, and measures until the whole answer is there.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<(u16, Duration)> {
        let begun = Instant::now();
        let response = self
            .client
            .post(format!("{}{path}", self.base))
            .json(body)
            .send()
            .await?;
        let status = response.status().as_u16();
        response.bytes().await?;
        Ok((status, begun.elapsed()))
    }

    /// Stops it.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.serving.await?;
        self.app.close().await;
        Ok(())
    }
}

/// Times of the same request, for addresses with an account and without.
#[derive(Default)]
pub(crate) struct Times {
    pub(crate) known: Vec<Duration>,
    pub(crate) unknown: Vec<Duration>,
}

impl Times {
    /// Adds one.
    pub(crate) fn push(&mut self, is_known: bool, time: Duration) {
        if is_known {
            &mut self.known
        } else {
            &mut self.unknown
        }
        .push(time);
    }

    /// Prints a table, and gives the area under the curve, at least 0.5: a classifier may as well call the faster one
    /// known.
    pub(crate) fn report(&self, title: &str) -> f64 {
        let area = auc(&self.known, &self.unknown);
        let area = area.max(1.0 - area);
        println!("{title}");
        println!("| address | median ms | 90th percentile ms |");
        println!("|---|---|---|");
        for (name, times) in [("registered", &self.known), ("unknown", &self.unknown)] {
            let (median, high) = (percentile(times, 0.5), percentile(times, 0.9));
            println!("| {name} | {median:.2} | {high:.2} |");
        }
        println!("AUC {area:.3} (0.5 tells nothing; at most {AUC_AT_MOST} wanted)");
        area
    }
}

/// The chance that a random one of `left` took longer than a random one of `right` (Mann and Whitney), ties counted
/// half.
fn auc(left: &[Duration], right: &[Duration]) -> f64 {
    let mut wins = 0.0;
    for one in left {
        for other in right {
            wins += match one.cmp(other) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "some millions of pairs at most")]
    let all = (left.len() * right.len()) as f64;
    wins / all
}

/// In milliseconds.
fn percentile(times: &[Duration], share: f64) -> f64 {
    let mut times: Vec<_> = times.iter().map(Duration::as_secs_f64).collect();
    times.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into a list of some thousands"
    )]
    let index = ((times.len() - 1) as f64 * share) as usize;
    times[index] * 1000.0
}
