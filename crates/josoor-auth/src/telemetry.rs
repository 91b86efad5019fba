//! What the service tells its operator: log lines and metrics. Nothing in here may ever be given a password, a token
//! or a whole request.

mod stderr;

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use self::stderr::Stderr;
use crate::clock::Clock;
use crate::domain::RequestId;

/// How a log line looks. Either way an event is exactly one line, whatever its values contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Text,
    /// One JSON object per line, for a collector.
    Json,
}

/// Where the log goes, once it was started.
static LOG: OnceLock<Stderr> = OnceLock::new();

/// Waits, a second at most, until what was logged so far is written: before the program ends.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.flush();
    }
}

/// Starts the log, on standard error, and sends panics there as well.
///
/// `filter` is a list of directives such as `info,sqlx=warn`. Fails when it does not parse, or when a log was started
/// before.
pub fn init(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| anyhow::anyhow!("the log filter `{filter}` is not valid: {error}"))?;
    let stderr =
        Stderr::start().map_err(|error| anyhow::anyhow!("the log's thread cannot be started: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr.clone())
        .event_format(format)
        .try_init()
        .map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))?;
    let _ = LOG.set(stderr);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, "panic");
        // The program may be about to end.
        flush();
    }));
    Ok(())
}

tokio::task_local! {
    /// Not a span of `tracing`: that would be a look-up, an allocation and a formatted text for each request, most of which
    /// log nothing.
    static REQUEST: RequestId;
}

/// Does work on behalf of a request: what it logs carries the id.
pub fn in_request<F: Future>(id: RequestId, work: F) -> impl Future<Output = F::Output> {
    REQUEST.scope(id, work)
}

/// The request on whose behalf this task works, to pass it on to another one.
pub fn current_request() -> Option<RequestId> {
    REQUEST.try_with(|id| *id).ok()
}

impl<S, N> FormatEvent<S, N> for LogFormat
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (now, metadata) = (Clock::System.now(), event.metadata());
        let mut values = Values::of(*self);
        event.record(&mut values);
        let request = current_request();
        match self {
            Self::Json => {
                write!(
                    writer,
                    r#"{{"timestamp":"{now}","level":"{}","target":"{}","message":"{}""#,
                    metadata.level(),
                    Escaped(metadata.target()),
                    values.message,
                )?;
                if let Some(request) = request {
                    write!(writer, r#","request_id":"{}""#, Escaped(request.as_str()))?;
                }
                if !values.line.is_empty() {
                    write!(writer, r#","fields":{{{}}}"#, values.line)?;
                }
                writeln!(writer, "}}")
            }
            Self::Text => {
                write!(
                    writer,
                    "{now} {:>5} {}: {}",
                    metadata.level(),
                    Escaped(metadata.target()),
                    values.message
                )?;
                if !values.line.is_empty() {
                    write!(writer, " {}", values.line)?;
                }
                if let Some(request) = request {
                    write!(writer, " request_id={}", Escaped(request.as_str()))?;
                }
                writeln!(writer)
            }
        }
    }
}

impl LogFormat {
    const fn separator(self) -> char {
        match self {
            Self::Text => ' ',
            Self::Json => ',',
        }
    }
}

/// Collects the message and the other values of an event, already escaped.
struct Values {
    format: LogFormat,
    message: String,
    line: String,
}

impl Values {
    fn of(format: LogFormat) -> Self {
        Self {
            format,
            message: String::new(),
            line: String::new(),
        }
    }

    fn name(&mut self, field: &Field) {
        if !self.line.is_empty() {
            self.line.push(self.format.separator());
        }
        let _ = match self.format {
            LogFormat::Json => write!(self.line, "\"{}\":", Escaped(field.name())),
            LogFormat::Text => write!(self.line, "{}=", Escaped(field.name())),
        };
    }

    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        let _ = write!(self.line, "{value}");
    }

    fn text(&mut self, field: &Field, value: &str) {
        if field.name() == "message" && self.message.is_empty() {
            let _ = write!(self.message, "{}", Escaped(value));
            return;
        }
        self.name(field);
        let plain = self.format == LogFormat::Text && !value.is_empty() && !value.contains([' ', '"', '=']);
        let _ = if plain {
            write!(self.line, "{}", Escaped(value))
        } else {
            write!(self.line, "\"{}\"", Escaped(value))
        };
    }
}

impl Visit for Values {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field, value);
        } else {
            self.text(field, &value.to_string());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut chain = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(chain, ": {error}");
            cause = error.source();
        }
        self.text(field, &chain);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }
}

/// A text that stays on one line and moves no cursor: quotes, backslashes, controls and invisible characters are
/// written as in JSON (RFC 8259, 7). A forged line or a terminal's escape sequence stays visible text (CWE-117).
struct Escaped<'text>(&'text str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                // All of these lie below U+10000, so four digits suffice.
                hidden if is_invisible(hidden) => {
                    write!(f, "\\u{:04x}", u32::from(hidden))?;
                }
                plain => f.write_char(plain)?,
            }
        }
        Ok(())
    }
}

/// Controls, line separators and the characters that reorder text (Unicode Bidi, UAX 9).
pub(crate) fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The media type of [`Metrics::encode`].
pub const METRICS_MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper ends of the latency buckets, in seconds: from a near-cache hit to the request timeout.
const LATENCY_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0,
];

/// How a sign-in ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// A session was made.
    Success,
    /// Unknown address or wrong password.
    InvalidCredentials,
    /// Right password, deactivated account.
    AccountInactive,
    /// Right password, but `registration.require_verified` and the address is not verified.
    EmailNotVerified,
    /// Shed because the hasher's queue was full.
    Overloaded,
    /// Over a limit.
    RateLimited,
}

/// How a refresh ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The next generation was made.
    Rotated,
    /// Within the grace: the current token was given again.
    Repeated,
    /// By an access token alone: no rotation.
    Extended,
    /// Reuse was detected and the session ended.
    Reused,
    /// Any other refusal.
    Refused,
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
    cache: Family<CacheLabels, Counter>,
    audit_refused: Counter,
    audit_sound: Gauge,
    hash_duration: Histogram,
    sampled: SampledGauges,
}

/// Figures that other parts keep themselves and that are read when somebody asks for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Passwords that wait for a thread.
    pub hash_queued: u64,
    /// Passwords being hashed.
    pub hash_running: u64,
    /// Passwords turned away because the queue was full, since the start.
    pub hash_shed_total: u64,
    /// Passwords hashed, since the start.
    pub hash_done_total: u64,
    /// Time that threads spent hashing, since the start.
    pub hash_busy_total: Duration,
    /// Open connections to the database.
    pub database_connections: u64,
    /// Those of them that nobody uses.
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
    /// Not found, or not to be believed.
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
            cache: Family::default(),
            audit_refused: Counter::default(),
            audit_sound: Gauge::default(),
            hash_duration: latency(),
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
            "Sessions ended by reason",
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
        registry.register_with_unit(
            "password_hash_duration",
            "Time of one password hash, waiting included",
            Unit::Seconds,
            inner.hash_duration.clone(),
        );
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
            "Passwords turned away",
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
        registry.register("redis_up", "1 while Redis answers", sampled.redis_up.clone());
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

    /// The figures of one route, which has to come from a fixed set. Whoever answers for it keeps them, and counts without a
    /// look-up.
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
            SignIn::Overloaded => "overloaded",
            SignIn::RateLimited => "rate_limited",
        };
        self.0.sign_ins.get_or_create(&[("result", result)]).inc();
    }

    /// Counts `count` ended sessions. The reasons are the fixed set of the sessions' own codes.
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

    /// Counts a check of a limit that this node made alone, because Redis did not answer.
    pub fn limit_without_redis(&self) {
        self.0.limits_without_redis.inc();
    }

    /// Notes whether more sign-ins fail than the operator wants to be told of.
    pub fn failed_sign_ins_alert(&self, is_so: bool) {
        self.0.failed_sign_ins_alert.set(i64::from(is_so));
    }

    /// Counts rows of the audit trail that were refused.
    pub fn audit_refused(&self, rows: u64) {
        self.0.audit_refused.inc_by(rows);
    }

    /// Shows whether the audit trail is as it should be.
    pub fn audit_sound(&self, is_sound: bool) {
        self.0.audit_sound.set(i64::from(is_sound));
    }

    /// Counts the time that one hash took, waiting included.
    pub fn password_hashed(&self, duration: Duration) {
        self.0.hash_duration.observe(duration.as_secs_f64());
    }

    /// The counters of one tier (`near`, `redis`) and kind (`session`, `user`).
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
        set(&gauges.redis_up, u64::from(sample.redis_up.unwrap_or(false)));
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
    use std::io;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, act: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(format)
            .finish();
        tracing::subscriber::with_default(subscriber, act);
        let bytes = lines.0.lock().expect("unpoisoned").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    const HOSTILE: &str = "a\r\nINFO forged \u{1b}[31m \u{2028} \u{202e} \u{85} \u{0} \" \\ =";

    #[test]
    fn a_json_event_is_one_line_that_parses() {
        let text = logged(LogFormat::Json, || {
            REQUEST.sync_scope(RequestId::parse("id-1").expect("an id"), || {
                tracing::info!(user_agent = HOSTILE, status = 200_u16, client = ?None::<u8>, "hello {HOSTILE}");
            });
        });
        assert_eq!(text.matches(char::is_control).count(), 1, "{text:?}");
        assert!(!text.contains(['\u{2028}', '\u{202e}']));
        let event: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(event["request_id"], "id-1");
        assert_eq!(event["level"], "INFO");
        assert_eq!(event["message"], format!("hello {HOSTILE}"));
        assert_eq!(event["fields"]["user_agent"], HOSTILE);
        assert_eq!(event["fields"]["status"], 200);
        assert!(event["timestamp"].as_str().expect("a text").ends_with('Z'));
    }

    #[test]
    fn a_text_event_is_one_line() {
        let text = logged(LogFormat::Text, || {
            REQUEST.sync_scope(RequestId::parse("id-1").expect("an id"), || {
                tracing::info!(user_agent = HOSTILE, route = "/auth/me", "hello {HOSTILE}");
            });
        });
        assert_eq!(text.matches(char::is_control).count(), 1, "{text:?}");
        assert!(
            text.contains("route=/auth/me") && text.contains("request_id=id-1"),
            "{text}"
        );
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let text = logged(LogFormat::Json, || {
            let error = io::Error::other(crate::error::Error::NotFound);
            tracing::error!(
                error = &error as &(dyn std::error::Error + 'static),
                ratio = f64::NAN,
                "failed"
            );
        });
        let event: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert!(
            event["fields"]["error"]
                .as_str()
                .expect("a text")
                .contains("not found")
        );
        assert_eq!(event["fields"]["ratio"], "NaN");
    }
}
