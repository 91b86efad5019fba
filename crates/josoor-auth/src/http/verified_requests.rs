//! Which request needs which verification of its caller: the table of `docs/reference/second-factors.md`, held against the routes.
//! `tests/it/verification.rs` sends each request with sessions of every kind and compares.

use std::fmt::Write as _;

/// What a request needs of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// No session.
    Nothing,
    /// A session, also one of a user without the second factor that the role must have.
    Enrolment,
    /// A session.
    Session,
    /// A session, also one of a user without the second factor that the role must have; with a second factor both, freshly.
    FreshEnrolment,
    /// A session; with a second factor both, freshly.
    FreshFactors,
    /// A session of an administrator.
    Administrator,
    /// A session of an administrator, verified freshly.
    FreshAdministrator,
}

impl Needs {
    const fn text(self) -> &'static str {
        match self {
            Self::Nothing => "no session",
            Self::Enrolment => "a session, also without the second factor that the role must have",
            Self::Session => "a session",
            Self::FreshEnrolment => {
                "a session, also without the second factor that the role must have; of a user with one both, freshly"
            }
            Self::FreshFactors => "a session; of a user with a second factor both, freshly",
            Self::Administrator => "an administrator's session",
            Self::FreshAdministrator => "an administrator's session, verified freshly",
        }
    }
}

/// All of them. A test finds a route that is missing.
static REQUESTS: &[(&str, Needs)] = &[
    ("POST /auth/register", Needs::Nothing),
    ("POST /auth/login", Needs::Nothing),
    ("POST /auth/login/mfa", Needs::Nothing),
    ("POST /auth/login/passkey/options", Needs::Nothing),
    ("POST /auth/login/passkey", Needs::Nothing),
    ("POST /auth/login/code", Needs::Nothing),
    ("POST /auth/login/code/verify", Needs::Nothing),
    ("POST /auth/refresh", Needs::Nothing),
    ("POST /auth/logout", Needs::Nothing),
    ("POST /auth/password/forgot", Needs::Nothing),
    ("POST /auth/password/reset", Needs::Nothing),
    ("POST /auth/email/verify", Needs::Nothing),
    ("POST /auth/email/verify/resend", Needs::Nothing),
    ("POST /auth/account/undo", Needs::Nothing),
    ("POST /auth/account/secure", Needs::Nothing),
    ("GET /.well-known/jwks.json", Needs::Nothing),
    ("GET /.well-known/webauthn", Needs::Nothing),
    ("GET /healthz", Needs::Nothing),
    ("GET /readyz", Needs::Nothing),
    ("POST /auth/step-up/options", Needs::Enrolment),
    ("POST /auth/step-up", Needs::Enrolment),
    ("POST /auth/step-up/code", Needs::Enrolment),
    ("GET /auth/me", Needs::Session),
    ("PATCH /auth/me", Needs::Session),
    ("GET /auth/activity", Needs::Session),
    ("POST /auth/activity/{id}/confirm", Needs::Session),
    ("GET /auth/sessions", Needs::Session),
    ("DELETE /auth/sessions/{id}", Needs::Session),
    ("GET /auth/devices", Needs::Session),
    ("DELETE /auth/devices", Needs::Session),
    ("DELETE /auth/devices/{id}", Needs::Session),
    ("GET /auth/factors", Needs::Enrolment),
    ("POST /auth/factors/totp/confirm", Needs::Enrolment),
    ("POST /auth/factors/totp", Needs::FreshEnrolment),
    ("DELETE /auth/factors/totp", Needs::FreshFactors),
    ("POST /auth/factors/recovery-codes", Needs::FreshFactors),
    ("POST /auth/passkeys/options", Needs::FreshEnrolment),
    ("POST /auth/passkeys", Needs::Enrolment),
    ("PATCH /auth/passkeys/{id}", Needs::FreshFactors),
    ("DELETE /auth/passkeys/{id}", Needs::FreshFactors),
    ("POST /auth/password/change", Needs::FreshFactors),
    ("POST /auth/email/change", Needs::FreshFactors),
    ("DELETE /auth/sessions", Needs::FreshFactors),
    ("DELETE /auth/me", Needs::FreshFactors),
    ("GET /auth/me/export", Needs::FreshFactors),
    ("POST /auth/activity/report", Needs::FreshFactors),
    ("GET /admin/users", Needs::Administrator),
    ("GET /admin/users/{id}", Needs::Administrator),
    ("GET /admin/users/{id}/sessions", Needs::Administrator),
    ("GET /admin/stats", Needs::Administrator),
    ("GET /admin/outbox", Needs::Administrator),
    ("GET /admin/keys", Needs::Administrator),
    ("GET /admin/users/{id}/factors", Needs::Administrator),
    ("GET /admin/audit", Needs::Administrator),
    ("GET /admin/users/export", Needs::FreshAdministrator),
    ("GET /admin/audit/export", Needs::FreshAdministrator),
    ("POST /admin/users", Needs::FreshAdministrator),
    ("POST /admin/users/bulk", Needs::FreshAdministrator),
    ("PATCH /admin/users/{id}", Needs::FreshAdministrator),
    ("DELETE /admin/users/{id}", Needs::FreshAdministrator),
    ("DELETE /admin/users/{id}/factors", Needs::FreshAdministrator),
    ("DELETE /admin/users/{id}/sessions", Needs::FreshAdministrator),
    ("POST /admin/users/{id}/password-reset", Needs::FreshAdministrator),
    ("POST /admin/users/{id}/restore", Needs::FreshAdministrator),
    ("POST /admin/outbox/{id}/retry", Needs::FreshAdministrator),
    ("POST /admin/keys/rotate", Needs::FreshAdministrator),
    ("POST /admin/audit/verify", Needs::FreshAdministrator),
];

/// The table in Markdown.
pub(crate) fn table() -> String {
    let mut text = "| Request | Needs |\n|---|---|\n".to_owned();
    for (request, needs) in REQUESTS {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "| `{request}` | {} |", needs.text());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::openapi_document;

    #[test]
    fn every_route_says_what_it_needs_of_its_caller() {
        let document = serde_json::to_value(openapi_document()).unwrap();
        let mut all = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            // What it needs, the question itself says.
            if path.starts_with("/auth/check") {
                continue;
            }
            for method in item.as_object().unwrap().keys() {
                all.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let listed: BTreeSet<String> = REQUESTS
            .iter()
            .map(|(request, _)| (*request).to_owned())
            .collect();
        assert_eq!(listed.len(), REQUESTS.len(), "a request stands twice in REQUESTS");
        assert_eq!(all, listed, "REQUESTS in http/verified_requests.rs");
    }
}
