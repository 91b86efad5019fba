//! Liveness, readiness, metrics, and the public keys.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::dev_mail::Developer;
use crate::admin::stats;
use crate::app::App;
use crate::clock::Clock;
use crate::domain::MailClass;
use crate::mail::Mailer;
use crate::telemetry::{METRICS_MEDIA_TYPE, Sample};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show_health))
        .routes(routes!(show_readiness))
        .routes(routes!(show_public_keys))
}

/// The route that there is under `serve --dev` alone.
pub fn dev_routes() -> Router<App> {
    Router::new().route(
        "/metrics",
        get(async |_: Developer, State(app): State<App>| metrics(&app)),
    )
}

/// The state of the service or of one of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Works.
    Ok,
    /// Works in part, or does not answer and the service works without it.
    Degraded,
    /// Does not answer.
    Down,
    /// Takes no new requests.
    Draining,
}

/// That the process runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`.
    #[schema(value_type = String, pattern = "^ok$")]
    status: Condition,
}

/// Whether the service can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// `ok`; `degraded` while mails are late; or why not.
    status: Condition,
    /// Each part's own state.
    parts: BTreeMap<&'static str, Condition>,
}

/// Says that the process runs
#[utoipa::path(
    get, path = "/healthz", tag = "operation", operation_id = "show_health",
    responses((status = 200, description = "It runs", body = Health))
)]
async fn show_health() -> impl IntoResponse {
    // Pages of other origins load it as an image or script to see whether the service is there; it says nothing else.
    let readable = [(
        HeaderName::from_static("cross-origin-resource-policy"),
        "cross-origin",
    )];
    let health = Health {
        status: Condition::Ok,
    };
    (readable, Json(health))
}

/// How long a part may take to answer; load balancers do not wait for ever.
const PATIENCE: Duration = Duration::from_secs(1);

/// The table of changes is read every second; when it has not been for so long, something is wrong.
const TAIL_AGE_AT_MOST: Duration = Duration::from_secs(15);

/// Says whether the service can do its work, part by part
#[utoipa::path(
    get, path = "/readyz", tag = "operation", operation_id = "show_readiness",
    responses(
        (status = 200, description = "It can", body = Readiness),
        (status = 503, description = "It cannot: the database is away or takes no writes, or the process is ending", body = Readiness),
    )
)]
async fn show_readiness(State(app): State<App>) -> Response {
    let database = match tokio::time::timeout(PATIENCE, app.db.takes_writes()).await {
        Ok(Ok(true)) => Condition::Ok,
        // A full disk, or a server that takes only reads: sign-ins and refreshes fail.
        Ok(Ok(false)) => Condition::Degraded,
        _ => Condition::Down,
    };
    // Without its tail this node would not learn what others do; it goes on for as long as its entries live.
    let changes = if app.cache.tail_age() < TAIL_AGE_AT_MOST {
        Condition::Ok
    } else {
        Condition::Degraded
    };
    // A trail with foreign rows is for an operator; requests are answered as before.
    let audit = if app.audit.is_sound() {
        Condition::Ok
    } else {
        Condition::Degraded
    };
    // Late mails stop nothing else.
    let mail = if app.outbox.is_degraded(app.clock.now()) {
        Condition::Degraded
    } else {
        Condition::Ok
    };
    let mut parts = BTreeMap::from([
        ("database", database),
        ("changes", changes),
        ("audit", audit),
        ("mail", mail),
    ]);
    // A warning: the service is as ready as with one.
    if database == Condition::Ok
        && let Ok(Ok(count)) = tokio::time::timeout(PATIENCE, stats::admins_without_factor(&app)).await
    {
        let condition = if count == 0 {
            Condition::Ok
        } else {
            Condition::Degraded
        };
        parts.insert("factors", condition);
    }
    if app.cache.redis().is_some() {
        // Losing Redis costs speed, nothing else.
        parts.insert(
            "redis",
            if app.cache.is_shared() {
                Condition::Ok
            } else {
                Condition::Degraded
            },
        );
    }
    // Nodes agree on the time all the same; programs on this machine that verify tokens may not.
    if matches!(app.clock, Clock::Database(_)) {
        let skewed = app.clock.is_skewed();
        parts.insert(
            "clock",
            if skewed {
                Condition::Degraded
            } else {
                Condition::Ok
            },
        );
    }
    if matches!(app.mailer, Mailer::Nowhere) {
        // Mails wait in the outbox, and so does everyone who forgot a password.
        parts.insert("mail", Condition::Degraded);
    }
    let status = match (app.is_ready(), database) {
        (false, _) => Condition::Draining,
        (true, Condition::Ok) => mail,
        _ => Condition::Down,
    };
    let code = if matches!(status, Condition::Ok | Condition::Degraded) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut response = (code, Json(Readiness { status, parts })).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A JSON Web Key set (RFC 7517, 5).
#[derive(Debug, Serialize, ToSchema)]
pub struct KeySet {
    /// The public keys that access tokens are verified with. Empty under HS256, HS384 and HS512.
    #[schema(value_type = Vec<Object>)]
    keys: Vec<serde_json::Value>,
}

/// Gives the public keys that access tokens are verified with
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "gateway", operation_id = "show_public_keys",
    responses((status = 200, description = "The keys", body = KeySet))
)]
async fn show_public_keys(State(app): State<App>) -> Response {
    let mut response = Json(app.keys.access.public_keys()).into_response();
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    response
}

/// The routes of the listener that is for metrics alone.
pub fn metrics_router(app: &App) -> Router {
    Router::new()
        .route("/metrics", get(async |State(app): State<App>| metrics(&app)))
        .with_state(app.clone())
}

fn metrics(app: &App) -> Response {
    let hasher = app.hasher.stats();
    app.metrics.audit_sound(app.audit.is_sound());
    let (connections, idle) = app.db.pool_size();
    let counts = app.outbox.waiting(app.clock.now());
    let waiting = std::array::from_fn(|number| {
        let class = MailClass::ALL[number].as_str();
        (class, counts[number].count, counts[number].oldest)
    });
    let sample = Sample {
        hash_queued: hasher.queued as u64,
        hash_running: hasher.running as u64,
        hash_shed_total: hasher.shed_total,
        hash_done_total: hasher.done_total,
        hash_busy_total: hasher.busy_total,
        database_connections: connections.into(),
        database_idle: idle as u64,
        clock_skew_micros: app.clock.skew(),
        mails_waiting: waiting,
        redis_up: app.cache.redis().map(|redis| redis.state().connected),
    };
    (
        [(header::CONTENT_TYPE, METRICS_MEDIA_TYPE)],
        app.metrics.encode(&sample),
    )
        .into_response()
}
