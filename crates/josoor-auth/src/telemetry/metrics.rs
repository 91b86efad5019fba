//! Metrics in the OpenMetrics format.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The media type of [`Metrics::encode`].
pub const METRICS_MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper ends of the latency buckets, in seconds: from a hit in the local cache to the request timeout.
const LATENCY_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0,
];

/// The result of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// A session was opened.
    Success,
    /// Unknown address or wrong password.
    InvalidCredentials,
    /// Right password, deactivated account.
    AccountInactive,
    /// Right password, but `registration.require_verified` and the address is not verified.
    EmailNotVerified,
    /// Right password; a second factor is asked for.
    MfaRequired,
    /// Right password, wrong code of the second factor.
    MfaCodeInvalid,
    /// A passkey that is unknown or was used wrongly.
    PasskeyInvalid,
    /// Wrong code from a mail.
    MailCodeInvalid,
    /// Rejected because the hasher's queue was full.
    Overloaded,
    /// Over a limit.
    RateLimited,
}

/// The outcome of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The next generation was issued.
    Rotated,
    /// Within the grace: the current token was given again.
    Repeated,
    /// By an access token alone: no rotation.
    Extended,
    /// Reuse was detected and the session revoked.
    Reused,
    /// Any other refusal.
    Refused,
}

/// What became of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanOutcome {
    /// The receiver took it.
    Sent,
    /// It could not be sent, or the receiver rejected it.
    Failed,
    /// Too many waited.
    Dropped,
}

type OneLabel = [(&'static str, &'static str); 1];
type TwoLabels = [(&'static str, &'static str); 2];
type CacheLabels = [(&'static str, &'static str); 3];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

/// Everything that is counted. Cheap to clone; all clones count together.
///
/// No label ever holds what a client chose: routes are patterns, methods a fixed set.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabel, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    sign_ins: Family<OneLabel, Counter>,
    revoked: Family<OneLabel, Counter>,
    refreshes: Family<OneLabel, Counter>,
    mails: Family<TwoLabels, Counter>,
    mail_budget_refused: Family<OneLabel, Counter>,
    limited: Family<OneLabel, Counter>,
    limits_without_redis: Counter,
    failed_sign_ins_alert: Gauge,
    failure_limits: Counter,
    cache: Family<CacheLabels, Counter>,
    audit_refused: Counter,
    audit_sound: Gauge,
    audit_streamed: Family<OneLabel, Counter>,
    audit_stream_behind: Family<OneLabel, Gauge>,
    backup_finished: Gauge,
    signing_since: Gauge,
    hash_duration: Histogram,
    spans: Family<OneLabel, Counter>,
    sampled: SampledGauges,
}

/// Figures that other parts keep themselves and that are read with each request for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Passwords that wait for a thread.
    pub hash_queued: u64,
    /// Passwords being hashed.
    pub hash_running: u64,
    /// Passwords rejected because the queue was full, since the start.
    pub hash_shed_total: u64,
    /// Passwords hashed, since the start.
    pub hash_done_total: u64,
    /// Time that threads spent hashing, since the start.
    pub hash_busy_total: Duration,
    /// Open connections to the database.
    pub database_connections: u64,
    /// Those of them that are idle.
    pub database_idle: u64,
    /// Whether Redis answers; `None` where there is none.
    pub redis_up: Option<bool>,
    /// By how much this machine's clock is ahead of the database's, in microseconds.
    pub clock_skew_micros: i64,
    /// Rows of the outbox that wait, by class, and the age of the oldest.
    pub mails_waiting: [(&'static str, u64, Duration); 3],
}

#[derive(Debug, Default)]
struct SampledGauges {
    hash_queued: Gauge,
    hash_running: Gauge,
    hash_shed: Counter,
    hash_done: Counter,
    hash_busy: Counter<f64, AtomicU64>,
    database_connections: Gauge,
    database_idle: Gauge,
    redis_up: Gauge,
    clock_skew: Gauge<f64, AtomicU64>,
    mails_waiting: Family<OneLabel, Gauge>,
    mail_oldest_age: Family<OneLabel, Gauge>,
}

/// The figures of one route.
#[derive(Debug)]
pub struct RouteFigures {
    route: String,
    latency: Histogram,
    requests: Family<RequestLabels, Counter>,
    /// Those that were needed so far, by method and status: a handful.
    counters: RwLock<Vec<(&'static str, u16, Counter)>>,
}

impl RouteFigures {
    /// The route, as its label shows it.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// Counts an answered request. `method` has to come from a fixed set.
    pub fn request_ends(&self, method: &'static str, status: u16, duration: Duration) {
        self.latency.observe(duration.as_secs_f64());
        let counters = self.counters.read().unwrap_or_else(PoisonError::into_inner);
        let known = counters
            .iter()
            .find(|known| (known.0, known.1) == (method, status));
        if let Some((.., counter)) = known {
            counter.inc();
            return;
        }
        drop(counters);
        let counter = self.requests.get_or_create_owned(&RequestLabels {
            method,
            route: self.route.clone(),
            status,
        });
        counter.inc();
        let mut counters = self.counters.write().unwrap_or_else(PoisonError::into_inner);
        // Two at once may both add it; they are the same counter.
        counters.push((method, status, counter));
    }
}

/// The two counters of one kind of thing in one tier of the cache: a reader keeps them and counts without a lookup.
#[derive(Clone, Debug)]
pub struct CacheCounters {
    /// Found.
    pub hits: Counter,
    /// Not found, or stale.
    pub misses: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All figures at zero. `redis_up` is shown as 0 until the first sample.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("josoor_auth");
        let latency = || Histogram::new(LATENCY_BUCKETS);
        let mut inner = Inner {
            requests: Family::default(),
            latency: Family::new_with_constructor(latency as fn() -> Histogram),
            in_flight: Gauge::default(),
            sign_ins: Family::default(),
            revoked: Family::default(),
            refreshes: Family::default(),
            mails: Family::default(),
            mail_budget_refused: Family::default(),
            limited: Family::default(),
            limits_without_redis: Counter::default(),
            failed_sign_ins_alert: Gauge::default(),
            failure_limits: Counter::default(),
            cache: Family::default(),
            audit_refused: Counter::default(),
            audit_sound: Gauge::default(),
            audit_streamed: Family::default(),
            audit_stream_behind: Family::default(),
            backup_finished: Gauge::default(),
            signing_since: Gauge::default(),
            hash_duration: latency(),
            spans: Family::default(),
            sampled: SampledGauges::default(),
            registry: Registry::default(),
        };
        registry.register("http_requests", "Requests answered", inner.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time until the answer began",
            Unit::Seconds,
            inner.latency.clone(),
        );
        registry.register(
            "http_requests_in_flight",
            "Requests being answered",
            inner.in_flight.clone(),
        );
        registry.register("sign_ins", "Sign-ins by result", inner.sign_ins.clone());
        registry.register(
            "sessions_revoked",
            "Sessions revoked by reason",
            inner.revoked.clone(),
        );
        registry.register("refreshes", "Refreshes by outcome", inner.refreshes.clone());
        registry.register("limited", "Refusals by limit", inner.limited.clone());
        registry.register(
            "limits_without_redis",
            "Checks of a limit that Redis did not answer",
            inner.limits_without_redis.clone(),
        );
        registry.register(
            "failed_sign_ins_alert",
            "Whether more sign-ins fail over the whole service than limits.failed_sign_ins_alert says",
            inner.failed_sign_ins_alert.clone(),
        );
        registry.register(
            "failure_limits",
            "Accounts whose sign-ins have failed as often in a row as login.failures_until_code says",
            inner.failure_limits.clone(),
        );
        registry.register(
            "mails",
            "Rows of the outbox that were taken up, by kind and outcome",
            inner.mails.clone(),
        );
        registry.register(
            "mail_budget_refused",
            "Mails that met a spent budget, by class",
            inner.mail_budget_refused.clone(),
        );
        registry.register(
            "cache_lookups",
            "Lookups by tier, kind and result",
            inner.cache.clone(),
        );
        registry.register(
            "audit_refused",
            "Rows of the audit trail that were refused because this service did not write them",
            inner.audit_refused.clone(),
        );
        registry.register(
            "audit_sound",
            "1 while the audit trail is sealed and no row of it is refused",
            inner.audit_sound.clone(),
        );
        registry.register(
            "audit_streamed",
            "Rows of the audit trail that this node handed to a receiver, by stream",
            inner.audit_streamed.clone(),
        );
        registry.register(
            "audit_stream_behind",
            "Sealed rows that a receiver does not have yet, by stream",
            inner.audit_stream_behind.clone(),
        );
        registry.register_with_unit(
            "backup_finished_timestamp",
            "When the latest backup that the service made by itself was finished, in seconds since 1970; 0 for none",
            Unit::Seconds,
            inner.backup_finished.clone(),
        );
        registry.register_with_unit(
            "signing_key_begun_timestamp",
            "When the key that signs access tokens began to, in seconds since 1970; 0 for `JWT_SECRET`",
            Unit::Seconds,
            inner.signing_since.clone(),
        );
        registry.register_with_unit(
            "password_hash_duration",
            "Time of one password hash, waiting included",
            Unit::Seconds,
            inner.hash_duration.clone(),
        );
        registry.register("spans", "Spans of traces by outcome", inner.spans.clone());
        let sampled = &inner.sampled;
        registry.register(
            "password_hash_queued",
            "Passwords that wait for a thread",
            sampled.hash_queued.clone(),
        );
        registry.register(
            "password_hash_running",
            "Passwords being hashed",
            sampled.hash_running.clone(),
        );
        registry.register(
            "password_hash_shed",
            "Passwords rejected because the queue was full",
            sampled.hash_shed.clone(),
        );
        registry.register("password_hashes", "Passwords hashed", sampled.hash_done.clone());
        registry.register_with_unit(
            "password_hash_busy",
            "Time that threads spent hashing passwords",
            Unit::Seconds,
            sampled.hash_busy.clone(),
        );
        registry.register(
            "database_connections",
            "Open connections to the database",
            sampled.database_connections.clone(),
        );
        registry.register(
            "database_connections_idle",
            "Idle connections to the database",
            sampled.database_idle.clone(),
        );
        registry.register(
            "redis_up",
            "1 while Redis answers, 0 while it does not, -1 where there is none",
            sampled.redis_up.clone(),
        );
        registry.register_with_unit(
            "clock_skew",
            "By how much this machine's clock is ahead of the database's",
            Unit::Seconds,
            sampled.clock_skew.clone(),
        );
        registry.register(
            "mails_waiting",
            "Rows of the outbox that wait, by class",
            sampled.mails_waiting.clone(),
        );
        registry.register_with_unit(
            "mail_oldest_age",
            "Age of the oldest row of the outbox that waits, by class",
            Unit::Seconds,
            sampled.mail_oldest_age.clone(),
        );
        inner.registry = registry;
        Self(Arc::new(inner))
    }

    /// Counts a request as being answered until the value is dropped.
    pub fn request_begins(&self) -> InFlight {
        self.0.in_flight.inc();
        InFlight(self.0.in_flight.clone())
    }

    /// The figures of one route, which has to come from a fixed set. The caller keeps them, and counts without a lookup.
    pub fn route(&self, route: &str) -> RouteFigures {
        let label = RouteLabel {
            route: route.to_owned(),
        };
        RouteFigures {
            latency: self.0.latency.get_or_create_owned(&label),
            route: label.route,
            requests: self.0.requests.clone(),
            counters: RwLock::default(),
        }
    }

    /// Counts a sign-in.
    pub fn sign_in(&self, result: SignIn) {
        let result = match result {
            SignIn::Success => "success",
            SignIn::InvalidCredentials => "invalid_credentials",
            SignIn::AccountInactive => "account_inactive",
            SignIn::EmailNotVerified => "email_not_verified",
            SignIn::MfaRequired => "mfa_required",
            SignIn::MfaCodeInvalid => "mfa_code_invalid",
            SignIn::PasskeyInvalid => "passkey_invalid",
            SignIn::MailCodeInvalid => "mail_code_invalid",
            SignIn::Overloaded => "overloaded",
            SignIn::RateLimited => "rate_limited",
        };
        self.0.sign_ins.get_or_create(&[("result", result)]).inc();
    }

    /// Counts `count` revoked sessions. The reasons are the fixed set of the sessions' own codes.
    pub fn sessions_revoked(&self, reason: &'static str, count: u64) {
        self.0.revoked.get_or_create(&[("reason", reason)]).inc_by(count);
    }

    /// Counts a row of the outbox that was taken up.
    pub fn mail(&self, kind: &'static str, outcome: &'static str) {
        self.0
            .mails
            .get_or_create(&[("kind", kind), ("outcome", outcome)])
            .inc();
    }

    /// Counts a mail that met a spent budget.
    pub fn mail_budget_refused(&self, class: &'static str) {
        self.0
            .mail_budget_refused
            .get_or_create(&[("class", class)])
            .inc();
    }

    /// Counts a refresh.
    pub fn refresh(&self, outcome: RefreshOutcome) {
        let outcome = match outcome {
            RefreshOutcome::Rotated => "rotated",
            RefreshOutcome::Repeated => "repeated",
            RefreshOutcome::Extended => "extended",
            RefreshOutcome::Reused => "reused",
            RefreshOutcome::Refused => "refused",
        };
        self.0.refreshes.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Counts a refusal by a limit, by the limit's name.
    pub fn limited(&self, limit: &'static str) {
        self.0.limited.get_or_create(&[("limit", limit)]).inc();
    }

    /// Counts a check of a limit by this node alone, because Redis did not answer.
    pub fn limit_without_redis(&self) {
        self.0.limits_without_redis.inc();
    }

    /// Notes whether more sign-ins fail than `limits.failed_sign_ins_alert` says.
    pub fn failed_sign_ins_alert(&self, is_so: bool) {
        self.0.failed_sign_ins_alert.set(i64::from(is_so));
    }

    /// Counts an account whose sign-ins have failed as often in a row as `login.failures_until_code` says.
    pub fn failure_limit_reached(&self) {
        self.0.failure_limits.inc();
    }

    /// Counts rows of the audit trail that were refused.
    pub fn audit_refused(&self, rows: u64) {
        self.0.audit_refused.inc_by(rows);
    }

    /// Counts rows that a receiver took.
    pub fn audit_streamed(&self, stream: &'static str, rows: u64) {
        self.0
            .audit_streamed
            .get_or_create(&[("stream", stream)])
            .inc_by(rows);
    }

    /// Notes how many sealed rows a receiver does not have yet.
    pub fn audit_stream_behind(&self, stream: &'static str, rows: i64) {
        self.0
            .audit_stream_behind
            .get_or_create(&[("stream", stream)])
            .set(rows);
    }

    /// Notes since when the key signs that does, in seconds since 1970.
    pub fn signing_since(&self, seconds: i64) {
        self.0.signing_since.set(seconds);
    }

    /// Notes when the latest backup was finished.
    pub fn backup_finished(&self, at: SystemTime) {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.0
            .backup_finished
            .set(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    }

    /// Counts spans that were sent, or lost.
    pub fn spans(&self, outcome: SpanOutcome, count: usize) {
        let outcome = match outcome {
            SpanOutcome::Sent => "sent",
            SpanOutcome::Failed => "failed",
            SpanOutcome::Dropped => "dropped",
        };
        self.0
            .spans
            .get_or_create(&[("outcome", outcome)])
            .inc_by(count as u64);
    }

    /// Shows whether the audit trail is as it should be.
    pub fn audit_sound(&self, is_sound: bool) {
        self.0.audit_sound.set(i64::from(is_sound));
    }

    /// Counts the time that one hash took, waiting included.
    pub fn password_hashed(&self, duration: Duration) {
        self.0.hash_duration.observe(duration.as_secs_f64());
    }

    /// The counters of one tier (`near`, `redis`) and kind (`session`).
    pub fn cache(&self, tier: &'static str, kind: &'static str) -> CacheCounters {
        let counter = |result| {
            self.0
                .cache
                .get_or_create_owned(&[("tier", tier), ("kind", kind), ("result", result)])
        };
        CacheCounters {
            hits: counter("hit"),
            misses: counter("miss"),
        }
    }

    /// All figures in the OpenMetrics text format, which Prometheus reads, of the media type [`METRICS_MEDIA_TYPE`].
    pub fn encode(&self, sample: &Sample) -> String {
        let gauges = &self.0.sampled;
        let set = |gauge: &Gauge<i64, AtomicI64>, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&gauges.hash_queued, sample.hash_queued);
        set(&gauges.hash_running, sample.hash_running);
        set(&gauges.database_connections, sample.database_connections);
        set(&gauges.database_idle, sample.database_idle);
        gauges.redis_up.set(sample.redis_up.map_or(-1, i64::from));
        // Within 2^53 microseconds, which is 285 years, nothing is lost.
        #[expect(clippy::cast_precision_loss, reason = "clocks are not centuries apart")]
        gauges.clock_skew.set(sample.clock_skew_micros as f64 / 1e6);
        for (class, waiting, oldest) in sample.mails_waiting {
            if class.is_empty() {
                continue;
            }
            set(&gauges.mails_waiting.get_or_create(&[("class", class)]), waiting);
            set(
                &gauges.mail_oldest_age.get_or_create(&[("class", class)]),
                oldest.as_secs(),
            );
        }
        // Counters only rise, also when two readers bring their samples in the wrong order.
        let raise = |counter: &Counter, value: u64| counter.inner().fetch_max(value, Ordering::Relaxed);
        raise(&gauges.hash_shed, sample.hash_shed_total);
        raise(&gauges.hash_done, sample.hash_done_total);
        // The counter keeps the bits of a number that is not negative, and these sort as the numbers do.
        let busy: &AtomicU64 = gauges.hash_busy.inner();
        busy.fetch_max(sample.hash_busy_total.as_secs_f64().to_bits(), Ordering::Relaxed);
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.0.registry);
        text
    }
}

/// Counts down also when the client goes away and the request is dropped half done.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::domain::RevokeReason;

    /// The values of each label of each metric.
    type Labels = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

    /// What is shown once everything was counted.
    fn shown() -> Labels {
        let metrics = Metrics::new();
        metrics.route("/auth/me").request_ends("GET", 200, Duration::ZERO);
        for result in [
            SignIn::Success,
            SignIn::InvalidCredentials,
            SignIn::AccountInactive,
            SignIn::EmailNotVerified,
            SignIn::MfaRequired,
            SignIn::MfaCodeInvalid,
            SignIn::PasskeyInvalid,
            SignIn::MailCodeInvalid,
            SignIn::Overloaded,
            SignIn::RateLimited,
        ] {
            metrics.sign_in(result);
        }
        for outcome in [
            RefreshOutcome::Rotated,
            RefreshOutcome::Repeated,
            RefreshOutcome::Extended,
            RefreshOutcome::Reused,
            RefreshOutcome::Refused,
        ] {
            metrics.refresh(outcome);
        }
        for &reason in RevokeReason::ALL {
            metrics.sessions_revoked(reason.as_str(), 1);
        }
        for outcome in ["sent", "settled", "dropped", "deferred", "away", "lost"] {
            metrics.mail("password_reset", outcome);
        }
        for outcome in [SpanOutcome::Sent, SpanOutcome::Failed, SpanOutcome::Dropped] {
            metrics.spans(outcome, 1);
        }
        metrics.mail_budget_refused("reset");
        metrics.limited("login_account");
        for tier in ["near", "redis"] {
            metrics.cache(tier, "session");
        }
        let sample = Sample {
            mails_waiting: [("reset", 1, Duration::ZERO); 3],
            ..Sample::default()
        };
        let text = metrics.encode(&sample);
        let mut labels = Labels::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, _) = line.rsplit_once(' ').expect("a value");
            let (name, list) = series.split_once('{').unwrap_or((series, ""));
            let of_histogram = ["_bucket", "_count", "_sum"].iter();
            let name = of_histogram.fold(name, |name, end| name.strip_suffix(end).unwrap_or(name));
            let of_metric = labels.entry(name.to_owned()).or_default();
            for pair in list
                .trim_end_matches('}')
                .split(',')
                .filter(|pair| !pair.is_empty())
            {
                let (label, value) = pair.split_once('=').expect("a label");
                if label != "le" {
                    let values = of_metric.entry(label.to_owned()).or_default();
                    values.insert(value.trim_matches('"').to_owned());
                }
            }
        }
        labels
    }

    fn quoted(text: &str) -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_documentation_has_the_values_of_labels() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/metrics.md");
        let text = std::fs::read_to_string(path).expect("the page of the metrics");
        let mut documented = Labels::new();
        for row in text.lines().filter(|line| line.starts_with("| `josoor_auth_")) {
            let cells: Vec<_> = row.trim_matches('|').split('|').collect();
            // The generated table has more columns, and no values.
            let ([name], [_, _]) = (&quoted(cells[0])[..], &cells[..]) else {
                continue;
            };
            let labels = documented.entry(name.clone()).or_default();
            for label in cells[1].split(';').filter(|cell| cell.contains('`')) {
                let mut parts = quoted(label).into_iter();
                labels.insert(parts.next().expect("a label"), parts.collect());
            }
        }
        let mut shown = shown();
        shown.retain(|_, labels| !labels.is_empty());
        // The page lists the values of a label only where they are few and fixed.
        for (name, labels) in &documented {
            for (label, _) in labels.iter().filter(|(_, values)| values.is_empty()) {
                let values = shown.get_mut(name).and_then(|labels| labels.get_mut(label));
                values.into_iter().for_each(BTreeSet::clear);
            }
        }
        assert_eq!(
            documented, shown,
            "docs/reference/metrics.md (left) is not what is counted (right)"
        );
    }
}
