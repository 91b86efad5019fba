//! `/admin/stats`: what the console's charts are drawn from.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::stats;
use crate::app::App;
use crate::domain::Timestamp;
use crate::error::Result;
use crate::http::request::body::QueryString;
use crate::http::request::caller::Administrator;
use crate::http::request::definition::request_fields;
use crate::http::request::field_types::Number;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show_stats))
}

/// How many users there are of each kind.
#[derive(Serialize, ToSchema)]
pub struct UserStats {
    /// All of them.
    pub total: i64,
    /// Users who may sign in.
    pub active: i64,
    /// Deactivated users.
    pub inactive: i64,
    /// Users whose address is not verified.
    pub unverified: i64,
    /// Users who have no password yet.
    pub invited: i64,
    /// Active analysts.
    pub analysts: i64,
    /// Active administrators.
    pub admins: i64,
    /// Active administrators without a second factor.
    pub admins_without_factor: i64,
}

/// How many sessions there are.
#[derive(Serialize, ToSchema)]
pub struct SessionStats {
    /// Neither revoked nor expired.
    pub active: i64,
}

/// What happened on a day.
#[derive(Serialize, ToSchema)]
pub struct DayStats {
    /// The day, in UTC.
    #[schema(format = Date)]
    pub date: String,
    /// Sign-ins that succeeded.
    pub sign_ins: i64,
    /// Sign-ins that failed.
    pub failures: i64,
    /// Accounts created that day that still exist.
    pub new_users: i64,
    /// Users who signed in at least once.
    pub active_users: i64,
}

/// What happened on all of these days together.
#[derive(Serialize, ToSchema)]
pub struct RangeStats {
    /// Sign-ins that succeeded.
    pub sign_ins: i64,
    /// Sign-ins that failed.
    pub failures: i64,
    /// Accounts created in these days that still exist.
    pub new_users: i64,
    /// Users who signed in at least once and still exist. Each is counted once, however many days there are.
    pub active_users: i64,
}

/// Counts, and a series of days.
#[derive(Serialize, ToSchema)]
pub struct StatsResponse {
    /// When the counting was done; some counts may be a few seconds older, with millions of users a minute or two.
    #[schema(value_type = String, format = DateTime)]
    pub generated_at: Timestamp,
    /// The users.
    pub users: UserStats,
    /// The sessions.
    pub sessions: SessionStats,
    /// All of these days together.
    pub range: RangeStats,
    /// One entry for each day, the earliest first; the last one is today.
    pub days: Vec<DayStats>,
}

request_fields! {
    /// Which days.
    pub struct StatsQuery {
        /// How many days, today included. Default: 30
        days: Option<Number<{ stats::DAYS_AT_MOST }>>,
    }
}

/// Counts users, sessions and sign-ins
///
/// Days that are over are stored, and stay when the audit trail's rows go; before that they go back as far as the audit trail is kept.
#[utoipa::path(
    get, path = "/admin/stats", tag = "admin", operation_id = "show_stats", security(("bearer" = [])),
    params(StatsQuery),
    responses((status = 200, description = "The counts", body = StatsResponse))
)]
async fn show_stats(
    _: Administrator,
    State(app): State<App>,
    QueryString(query): QueryString<StatsQuery>,
) -> Result<Json<StatsResponse>> {
    let days = query.days.map_or(30, |days| days.0);
    let found = stats::collect(&app, days).await?;
    let users = found.users;
    Ok(Json(StatsResponse {
        generated_at: found.at,
        users: UserStats {
            total: users.total,
            active: users.active,
            inactive: users.total - users.active,
            unverified: users.unverified,
            invited: users.invited,
            analysts: users.analysts,
            admins: users.admins,
            admins_without_factor: users.admins_without_factor,
        },
        sessions: SessionStats {
            active: found.sessions,
        },
        range: RangeStats {
            sign_ins: found.days.iter().map(|day| day.sign_ins.sign_ins).sum(),
            failures: found.days.iter().map(|day| day.sign_ins.failures).sum(),
            new_users: found.days.iter().map(|day| day.new_users).sum(),
            active_users: found.active_users,
        },
        days: found
            .days
            .into_iter()
            .map(|day| DayStats {
                date: day.begins.to_offset().date().to_string(),
                sign_ins: day.sign_ins.sign_ins,
                failures: day.sign_ins.failures,
                new_users: day.new_users,
                active_users: day.sign_ins.active_users,
            })
            .collect(),
    }))
}
