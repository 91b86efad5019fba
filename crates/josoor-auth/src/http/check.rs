//! `/auth/check`: what gateways ask before they let a request through (nginx `auth_request`, Traefik `ForwardAuth`,
//! Caddy `forward_auth`, Envoy `ext_authz`).

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use utoipa::openapi::PathItem;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::domain::Role;
use crate::error::{Acr, Error, Invalid, Refusal, Result};
use crate::http::request::caller;
use crate::http::request::context::RequestContext;
use crate::http::request::field_types::parse_role;
use crate::http::request::fields::Fields;
use crate::http::response::document::ProblemDocument;
use crate::http::response::problem::Problem;
use crate::http::response::representation::{PreparedUser, RoleName};

const USER_ID: HeaderName = HeaderName::from_static("x-auth-user-id");
const USER_UID: HeaderName = HeaderName::from_static("x-auth-user-uid");
const EMAIL: HeaderName = HeaderName::from_static("x-auth-email");
const EMAIL_VERIFIED: HeaderName = HeaderName::from_static("x-auth-email-verified");
const ROLE: HeaderName = HeaderName::from_static("x-auth-role");
const SESSION_ID: HeaderName = HeaderName::from_static("x-auth-session-id");
const USER_VERSION: HeaderName = HeaderName::from_static("x-auth-user-version");
const ACR: HeaderName = HeaderName::from_static("x-auth-acr");

/// The beginning of the names of headers that demand something.
const DEMAND: &str = "x-auth-require-";

/// The longest age of a sign-in that can be demanded, in seconds: ten years.
const MAX_AGE_AT_MOST: u64 = 3650 * 86_400;

/// The documentation of the endpoint; its routes are in [`any_method`].
pub fn routes() -> OpenApiRouter<App> {
    let described = <__path_check as utoipa::Path>::operation();
    let operation = |method: &str| {
        let mut operation = described.clone();
        operation.operation_id = Some(format!("check_{method}"));
        Some(operation)
    };
    let mut item = PathItem::default();
    item.get = Some(described.clone());
    item.put = operation("put");
    item.post = operation("post");
    item.delete = operation("delete");
    item.options = operation("options");
    item.head = operation("head");
    item.patch = operation("patch");
    item.trace = operation("trace");
    let mut document = OpenApiRouter::new();
    let path = <__path_check as utoipa::Path>::path();
    document.get_openapi_mut().paths.paths.insert(path, item);
    document
}

/// The endpoint, under its path and every path below it, for every method: gateways repeat the method and may append
/// the path of the request that they ask about.
pub fn any_method() -> Router<App> {
    Router::new()
        .route("/auth/check", any(check))
        // A gateway that appends the path of the site's root.
        .route("/auth/check/", any(check))
        .route("/auth/check/{*path}", any(check))
}

/// Says whether a token lets its bearer in
///
/// Answers every method, also below `/auth/check/…`. The caller is described by the headers `X-Auth-…` of the answer. A
/// gateway must remove every spelling of these from what clients send.
///
/// The query demands more of the caller: a role, a verified address, a level of authentication, a sign-in that is not too
/// old. An unknown or misspelt parameter is refused with 422. Below `/auth/check/…` the query is the client's, and is
/// ignored. The headers `X-Auth-Require-…`, which a gateway overwrites, demand the same under every path.
#[utoipa::path(
    get, path = "/auth/check", tag = "gateway", operation_id = "check", security(("bearer" = [])),
    params(
        ("role" = Option<RoleName>, Query, description = "Demand at least this role"),
        ("verified" = Option<bool>, Query, description = "Demand a verified address"),
        ("acr" = Option<String>, Query, description = "Demand this level of authentication, `1` or `2`", pattern = "^[12]$"),
        ("max_age" = Option<u64>, Query, description = "Demand that the user was verified at most so many seconds ago (`auth_time`)", maximum = 315_360_000),
        ("X-Auth-Require-Role" = Option<RoleName>, Header, description = "As `role`"),
        ("X-Auth-Require-Verified" = Option<bool>, Header, description = "As `verified`"),
        ("X-Auth-Require-Acr" = Option<String>, Header, description = "As `acr`", pattern = "^[12]$"),
        ("X-Auth-Require-Max-Age" = Option<String>, Header, description = "As `max_age`", pattern = "^[0-9]{1,8}$"),
    ),
    responses(
        (status = 200, description = "The bearer may pass", headers(
            ("X-Auth-User-Id" = i64, description = "The user's id"),
            ("X-Auth-User-Uid" = String, description = "The user's identifier for other systems, a UUID"),
            ("X-Auth-Email" = String, description = "The user's address, always percent-encoded: `%` and everything outside of printable ASCII"),
            ("X-Auth-Email-Verified" = bool, description = "Whether the address is verified, now"),
            ("X-Auth-Role" = String, description = "The user's role, now"),
            ("X-Auth-Session-Id" = String, description = "The session's id"),
            ("X-Auth-User-Version" = i64, description = "Grows with every change of the user"),
            ("X-Auth-Acr" = String, description = "The level of authentication of the session"),
        )),
        (status = 401, description = "Missing or bad token, always 401 here; or `step_up_required`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`insufficient_role` or `email_not_verified`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn check(State(app): State<App>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    let context = RequestContext::of(&request.extensions);
    let caller = caller::authenticate(&app, &request.headers, &context).await;
    answer(&app, caller, &request.uri, &request.headers)
}

/// The answer about a caller, to a question that was asked at this address with these headers.
pub(super) fn answer(app: &App, caller: Result<Caller>, uri: &Uri, headers: &HeaderMap) -> Response {
    let described = match caller {
        Ok(caller) => describe(app, &caller, uri, headers),
        Err(error) => {
            // `auth.missing_token_status` is for browsers' requests; gateways distinguish 401 and 403.
            let is_missing = matches!(error, Error::Refused(Refusal::MissingToken));
            let problem = Problem::from(error);
            Err(if is_missing {
                problem.always(StatusCode::UNAUTHORIZED)
            } else {
                problem
            })
        }
    };
    // `Cache-Control: no-store` is what every answer says that says nothing else.
    match described {
        Ok(headers) => {
            let mut response = Response::default();
            *response.headers_mut() = headers;
            response
        }
        Err(problem) => problem.into_response(),
    }
}

fn describe(app: &App, caller: &Caller, uri: &Uri, headers: &HeaderMap) -> Result<HeaderMap, Problem> {
    let demands = Demands::read(uri, headers)?;
    demands.check_caller(caller)?;
    if let Some(max_age) = demands.max_age {
        check_age(app, caller, max_age, demands.acr)?;
    }
    let prepared = PreparedUser::of(&caller.user);
    let mut session = uuid::Uuid::encode_buffer();
    let session = HeaderValue::from_str(caller.session.0.hyphenated().encode_lower(&mut session));
    let (Some(uid), Some(email), Ok(session)) = (&prepared.uid, &prepared.email, session) else {
        let cause = anyhow::anyhow!("a stored address fits into no header");
        return Err(Error::internal(cause).into());
    };
    let mut described = HeaderMap::with_capacity(8);
    described.insert(USER_ID, prepared.id.clone());
    described.insert(USER_UID, uid.clone());
    described.insert(EMAIL, email.clone());
    described.insert(EMAIL_VERIFIED, prepared.email_verified.clone());
    described.insert(ROLE, prepared.role.clone());
    described.insert(SESSION_ID, session);
    described.insert(USER_VERSION, prepared.version.clone());
    described.insert(ACR, HeaderValue::from_static(caller.acr.as_str()));
    Ok(described)
}

/// By the token's `auth_time`: the last interactive verification, which a refresh does not move. A token without the claim is
/// taken as too old.
fn check_age(app: &App, caller: &Caller, max_age: u64, acr: Option<Acr>) -> Result<()> {
    let now = app.clock.now().as_secs();
    let age = caller
        .auth_time
        .map(|at| now.saturating_sub(at).max(0).unsigned_abs());
    if age.is_some_and(|age| age <= max_age) {
        return Ok(());
    }
    Err(Error::StepUpRequired {
        acr,
        max_age: Some(max_age),
    })
}

/// What a question demands of the caller besides a live session. Where the query and the headers demand the same, the
/// stricter of the two counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Demands {
    role: Option<Role>,
    is_verified: bool,
    acr: Option<Acr>,
    max_age: Option<u64>,
}

impl Demands {
    /// The demands of a question. One that is not understood is refused, never left out.
    fn read(uri: &Uri, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut demands = match uri.query() {
            // Below, the query is that of the request which the gateway asks about.
            Some(query) if matches!(uri.path(), "/auth/check" | "/auth/check/") => Self::of_query(query)?,
            _ => Self::default(),
        };
        let mut refused = Vec::new();
        let mut seen: [bool; 4] = [false; 4];
        for (name, value) in headers {
            let Some(demand) = demand_of(name.as_str()) else {
                continue;
            };
            let value = value.to_str().unwrap_or_default();
            let taken = match demand {
                "role" => demands.add(&mut seen, 0, value),
                "verified" => demands.add(&mut seen, 1, value),
                "acr" => demands.add(&mut seen, 2, value),
                "max-age" => demands.add(&mut seen, 3, value),
                _ => Err(Invalid::new("unknown_field", "There is no such demand.")),
            };
            if let Err(reason) = taken {
                refused.push(reason.in_field(name.as_str()));
            }
        }
        if refused.is_empty() {
            Ok(demands)
        } else {
            Err(Error::Invalid(refused).into())
        }
    }

    /// Adds the demand of a header, by its place in `seen`.
    fn add(&mut self, seen: &mut [bool; 4], place: usize, value: &str) -> Result<(), Invalid> {
        if std::mem::replace(&mut seen[place], true) {
            return Err(Invalid::new("duplicate", "A demand may be made once."));
        }
        match place {
            0 => self.role = self.role.max(Some(parse_role(value)?)),
            1 => self.is_verified |= parse_truth(value)?,
            2 => self.acr = self.acr.max(Some(parse_acr(value)?)),
            _ => {
                let age = parse_max_age(value)?;
                self.max_age = Some(self.max_age.map_or(age, |other| other.min(age)));
            }
        }
        Ok(())
    }

    fn of_query(query: &str) -> Result<Self, Problem> {
        let mut fields = Fields::from_query(query)?;
        let role = fields.optional("role", parse_role);
        let verified = fields.optional("verified", parse_truth);
        let acr = fields.optional("acr", parse_acr);
        let max_age = fields.optional("max_age", parse_max_age);
        fields.finish()?;
        Ok(Self {
            role,
            is_verified: verified.unwrap_or(false),
            acr,
            max_age,
        })
    }

    /// Checks the caller against the demands but the age.
    fn check_caller(&self, caller: &Caller) -> Result<()> {
        let user = &caller.user;
        if self.role.is_some_and(|role| user.role < role) {
            return Err(Refusal::InsufficientRole.into());
        }
        if self.is_verified && !user.email_verified {
            return Err(Refusal::EmailNotVerified.into());
        }
        if self.acr.is_some_and(|acr| caller.acr < acr) {
            return Err(Error::StepUpRequired {
                acr: self.acr,
                max_age: self.max_age,
            });
        }
        Ok(())
    }
}

/// What the header of this name demands, in lower case and with hyphens, if it demands anything: also in the spellings with
/// `_` and `.`, which some servers take for `-`. A gateway that misspells its demand must not get a yes for it.
fn demand_of(name: &str) -> Option<&str> {
    let same = |(byte, wanted): (u8, u8)| byte == wanted || wanted == b'-' && matches!(byte, b'_' | b'.');
    let is_demand = name.len() >= DEMAND.len() && name.bytes().zip(DEMAND.bytes()).all(same);
    is_demand.then(|| &name[DEMAND.len()..])
}

fn parse_truth(text: &str) -> Result<bool, Invalid> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Invalid::new("invalid_type", "This has to be true or false.")),
    }
}

fn parse_acr(text: &str) -> Result<Acr, Invalid> {
    match text {
        "1" => Ok(Acr::One),
        "2" => Ok(Acr::Two),
        _ => Err(Invalid::new(
            "out_of_range",
            "A level of authentication is 1 or 2.",
        )),
    }
}

fn parse_max_age(text: &str) -> Result<u64, Invalid> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = is_number.then(|| text.parse().ok()).flatten();
    seconds
        .filter(|seconds| *seconds <= MAX_AGE_AT_MOST)
        .ok_or_else(|| {
            Invalid::new(
                "out_of_range",
                format!("This has to be a whole number of seconds from 0 to {MAX_AGE_AT_MOST}."),
            )
        })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Uri};

    use super::{Acr, Demands};
    use crate::domain::Role;

    fn read(uri: &str, headers: &[(&'static str, &'static str)]) -> Option<Demands> {
        let uri: Uri = uri.parse().expect("an address");
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let name = name.parse().expect("a name");
                (name, HeaderValue::from_static(value))
            })
            .collect();
        Demands::read(&uri, &headers).ok()
    }

    #[test]
    fn b5_a_question_that_is_not_understood_is_refused() {
        let analyst = Demands {
            role: Some(Role::Analyst),
            ..Demands::default()
        };
        for path in ["/auth/check", "/auth/check/"] {
            let asked = |query: &str| read(&format!("{path}?{query}"), &[]);
            assert_eq!(asked("role=analyst"), Some(analyst));
            assert_eq!(asked(""), Some(Demands::default()));
            let all = Demands {
                role: Some(Role::User),
                is_verified: true,
                acr: Some(Acr::Two),
                max_age: Some(600),
            };
            assert_eq!(asked("role=user&verified=true&acr=2&max_age=600"), Some(all));
            for misspelt in [
                "role=root",
                "role=",
                "role",
                "roles=admin",
                "Role=admin",
                "role=Admin",
                "min_role=admin",
                "role=user&role=admin",
                "role=admin%20",
                "verified",
                "verified=1",
                "verified=True",
                "acr=3",
                "acr=02",
                "acr=",
                "max_age=",
                "max_age=-1",
                "max_age=1.5",
                "max_age=+5",
                "max_age=1e3",
                "max_age=99999999999",
                "maxage=5",
                "max-age=5",
                "x=%zz",
                "role=%ff",
                "other=1",
                "%72ole",
            ] {
                assert_eq!(asked(misspelt), None, "{path}?{misspelt}");
            }
        }
        for query in ["role=admin", "roles=admin", "role=editor&page=2", "x=%zz"] {
            assert_eq!(
                read(&format!("/auth/check/a?{query}"), &[]),
                Some(Demands::default())
            );
        }
    }

    #[test]
    fn b5_headers_demand_under_every_path_and_are_as_strict() {
        for path in [
            "/auth/check",
            "/auth/check/",
            "/auth/check/a?role=user",
            "/auth/check//",
        ] {
            let asked = |headers: &[(&'static str, &'static str)]| read(path, headers);
            let demands = asked(&[
                ("x-auth-require-role", "admin"),
                ("x-auth-require-verified", "true"),
                ("x-auth-require-acr", "1"),
                ("x-auth-require-max-age", "0"),
                ("x-auth-role", "admin"),
                ("x-auth-requires", "x"),
            ]);
            let all = Demands {
                role: Some(Role::Admin),
                is_verified: true,
                acr: Some(Acr::One),
                max_age: Some(0),
            };
            assert_eq!(demands, Some(all), "{path}");
            for misspelt in [
                &[("x-auth-require-role", "Admin")][..],
                &[("x-auth-require-roles", "admin")],
                &[("x-auth-require-", "admin")],
                &[("x_auth_require_role", "admin"), ("x-auth-require-role", "user")],
                &[("x-auth-require-max_age", "1")],
                &[("x.auth.require.role", "root")],
                &[("x-auth-require-role", "user"), ("x-auth-require-role", "user")],
                &[("x-auth-require-acr", "")],
            ] {
                assert_eq!(asked(misspelt), None, "{path} {misspelt:?}");
            }
        }
        // The stricter of query and header counts.
        let both = read(
            "/auth/check?role=admin&max_age=60&verified=true",
            &[
                ("x-auth-require-role", "user"),
                ("x-auth-require-max-age", "600"),
                ("x-auth-require-verified", "false"),
            ],
        );
        let strictest = Demands {
            role: Some(Role::Admin),
            is_verified: true,
            acr: None,
            max_age: Some(60),
        };
        assert_eq!(both, Some(strictest));
    }
}
