//! Which limits hold for which request that writes: the table of `docs/SECURITY-MODEL.md`, held against the routes.

use std::fmt::Write as _;

use crate::limits::Limit::{
    self, AdminAccount, EmailChangeAccount, EmailChangeAddress, ForgotAccount, ForgotAddress, LoginAccount,
    LoginAddress, LoginDevice, LoginPair, MailCodeAccount, MailNetwork, MailRecipient, MailTotal, MfaAccount,
    MfaDevice, MfaSessions, PasswordAccount, RefreshSession, RegisterAddress, VerifyAccount, WriteAccount,
    WriteAddress,
};

/// A request that writes something: rows, mails, or work for the hasher.
#[derive(Debug)]
struct LimitedRequest {
    /// `POST /auth/login`, as the OpenAPI document has it.
    request: &'static str,
    /// Everything that is counted, in the order in which it is.
    limits: &'static [Limit],
    /// What bounds it besides, or instead.
    besides: &'static str,
}

const fn limited(request: &'static str, limits: &'static [Limit]) -> LimitedRequest {
    LimitedRequest {
        request,
        limits,
        besides: "",
    }
}

const fn bounded(request: &'static str, limits: &'static [Limit], besides: &'static str) -> LimitedRequest {
    LimitedRequest {
        request,
        limits,
        besides,
    }
}

/// All of them. A test finds a route that is missing.
static REQUESTS: &[LimitedRequest] = &[
    limited(
        "POST /auth/register",
        &[RegisterAddress, MailNetwork, MailRecipient, MailTotal],
    ),
    limited(
        "POST /auth/login",
        &[LoginAddress, LoginPair, LoginAccount, LoginDevice],
    ),
    bounded(
        "POST /auth/login/mfa",
        &[LoginAddress, MfaAccount, MfaDevice, MailRecipient, MailTotal],
        "five codes for each sign-in",
    ),
    bounded("POST /auth/login/passkey/options", &[], "nothing is written"),
    bounded(
        "POST /auth/login/passkey",
        &[LoginAddress, MailRecipient, MailTotal],
        "once for each challenge",
    ),
    bounded(
        "POST /auth/step-up/options",
        &[WriteAddress, WriteAccount],
        "nothing is written",
    ),
    limited(
        "POST /auth/passkeys/options",
        &[
            WriteAddress,
            WriteAccount,
            LoginAddress,
            LoginDevice,
            PasswordAccount,
        ],
    ),
    bounded(
        "POST /auth/passkeys",
        &[WriteAddress, WriteAccount, MailRecipient, MailTotal],
        "once for each beginning, 20 for each account",
    ),
    limited("PATCH /auth/passkeys/{id}", &[WriteAddress, WriteAccount]),
    limited(
        "DELETE /auth/passkeys/{id}",
        &[WriteAddress, WriteAccount, MailRecipient, MailTotal],
    ),
    limited(
        "POST /auth/login/code",
        &[
            ForgotAddress,
            MailCodeAccount,
            MailNetwork,
            MailRecipient,
            MailTotal,
        ],
    ),
    bounded(
        "POST /auth/login/code/verify",
        &[LoginAddress, MailRecipient, MailTotal],
        "five codes for each mail",
    ),
    limited(
        "POST /auth/step-up",
        &[
            WriteAddress,
            WriteAccount,
            LoginAddress,
            LoginDevice,
            PasswordAccount,
            MfaDevice,
            MfaSessions,
            MailRecipient,
            MailTotal,
        ],
    ),
    limited(
        "POST /auth/step-up/code",
        &[
            WriteAddress,
            WriteAccount,
            ForgotAddress,
            MailCodeAccount,
            MailNetwork,
            MailRecipient,
            MailTotal,
        ],
    ),
    limited(
        "POST /auth/factors/totp",
        &[
            WriteAddress,
            WriteAccount,
            LoginAddress,
            LoginDevice,
            PasswordAccount,
        ],
    ),
    bounded(
        "POST /auth/factors/totp/confirm",
        &[
            WriteAddress,
            WriteAccount,
            LoginAddress,
            MfaDevice,
            MfaSessions,
            MailRecipient,
            MailTotal,
        ],
        "five codes for each enrolment",
    ),
    limited(
        "DELETE /auth/factors/totp",
        &[WriteAddress, WriteAccount, MailRecipient, MailTotal],
    ),
    limited(
        "POST /auth/factors/recovery-codes",
        &[WriteAddress, WriteAccount, MailRecipient, MailTotal],
    ),
    limited(
        "DELETE /admin/users/{id}/factors",
        &[WriteAddress, AdminAccount, MailRecipient, MailTotal],
    ),
    limited("POST /auth/refresh", &[RefreshSession]),
    bounded("POST /auth/logout", &[], "once for each session"),
    limited(
        "POST /auth/password/forgot",
        &[
            ForgotAddress,
            ForgotAccount,
            MailNetwork,
            MailRecipient,
            MailTotal,
        ],
    ),
    bounded(
        "POST /auth/password/reset",
        &[LoginAddress, LoginPair, LoginAccount, MailRecipient, MailTotal],
        "once for each link",
    ),
    limited(
        "POST /auth/password/change",
        &[
            WriteAddress,
            WriteAccount,
            LoginAddress,
            LoginDevice,
            PasswordAccount,
            MailRecipient,
            MailTotal,
        ],
    ),
    bounded(
        "POST /auth/email/verify",
        &[WriteAddress, WriteAccount, LoginAddress, LoginPair, LoginAccount],
        "once for each link",
    ),
    limited(
        "POST /auth/email/verify/resend",
        &[
            WriteAddress,
            WriteAccount,
            ForgotAddress,
            VerifyAccount,
            MailNetwork,
            MailRecipient,
            MailTotal,
        ],
    ),
    limited(
        "POST /auth/email/change",
        &[
            WriteAddress,
            WriteAccount,
            EmailChangeAddress,
            EmailChangeAccount,
            LoginAddress,
            LoginDevice,
            PasswordAccount,
            MailNetwork,
            MailRecipient,
            MailTotal,
        ],
    ),
    bounded(
        "POST /auth/account/undo",
        &[MailNetwork, MailRecipient, MailTotal],
        "once for each link",
    ),
    bounded(
        "POST /auth/account/secure",
        &[
            ForgotAddress,
            ForgotAccount,
            MailNetwork,
            MailRecipient,
            MailTotal,
        ],
        "once for each link",
    ),
    limited("PATCH /auth/me", &[WriteAddress, WriteAccount]),
    limited(
        "DELETE /auth/me",
        &[
            WriteAddress,
            WriteAccount,
            LoginAddress,
            LoginDevice,
            PasswordAccount,
            MailRecipient,
            MailTotal,
        ],
    ),
    limited("GET /auth/me/export", &[WriteAddress, WriteAccount]),
    limited("POST /auth/activity/{id}/confirm", &[WriteAddress, WriteAccount]),
    limited(
        "POST /auth/activity/report",
        &[WriteAddress, WriteAccount, MailRecipient, MailTotal],
    ),
    limited("DELETE /auth/devices", &[WriteAddress, WriteAccount]),
    limited("DELETE /auth/devices/{id}", &[WriteAddress, WriteAccount]),
    limited("DELETE /auth/sessions", &[WriteAddress, WriteAccount]),
    limited("DELETE /auth/sessions/{id}", &[WriteAddress, WriteAccount]),
    limited(
        "POST /admin/users",
        &[WriteAddress, AdminAccount, MailRecipient, MailTotal],
    ),
    limited(
        "POST /admin/users/bulk",
        &[WriteAddress, AdminAccount, MailRecipient, MailTotal],
    ),
    limited("GET /admin/users/export", &[WriteAddress, AdminAccount]),
    limited("PATCH /admin/users/{id}", &[WriteAddress, AdminAccount]),
    limited(
        "DELETE /admin/users/{id}",
        &[WriteAddress, AdminAccount, MailRecipient, MailTotal],
    ),
    limited("DELETE /admin/users/{id}/sessions", &[WriteAddress, AdminAccount]),
    limited(
        "POST /admin/users/{id}/password-reset",
        &[WriteAddress, AdminAccount, MailRecipient, MailTotal],
    ),
    limited(
        "POST /admin/users/{id}/restore",
        &[WriteAddress, AdminAccount, MailRecipient, MailTotal],
    ),
    limited(
        "POST /admin/outbox/{id}/retry",
        &[WriteAddress, AdminAccount, MailTotal],
    ),
    limited("POST /admin/keys/rotate", &[WriteAddress, AdminAccount]),
    limited("GET /admin/audit/export", &[WriteAddress, AdminAccount]),
    limited("POST /admin/audit/verify", &[WriteAddress, AdminAccount]),
    // The forms of the pages: the same use cases as above, and opening a link.
    bounded(
        "POST /auth/pages/login",
        &[
            LoginAddress,
            LoginPair,
            LoginAccount,
            LoginDevice,
            MfaAccount,
            MfaDevice,
            ForgotAddress,
            VerifyAccount,
            MailNetwork,
            MailRecipient,
            MailTotal,
        ],
        "five codes for each sign-in",
    ),
    bounded(
        "POST /auth/pages/login-code",
        &[
            ForgotAddress,
            MailCodeAccount,
            LoginAddress,
            MailNetwork,
            MailRecipient,
            MailTotal,
        ],
        "five codes for each mail",
    ),
    bounded(
        "POST /auth/pages/login-link",
        &[WriteAddress, LoginAddress, MailRecipient, MailTotal],
        "once for each link",
    ),
    limited(
        "POST /auth/pages/register",
        &[
            RegisterAddress,
            ForgotAddress,
            VerifyAccount,
            MailNetwork,
            MailRecipient,
            MailTotal,
        ],
    ),
    limited(
        "POST /auth/pages/forgot-password",
        &[
            ForgotAddress,
            ForgotAccount,
            MailNetwork,
            MailRecipient,
            MailTotal,
        ],
    ),
    bounded(
        "POST /auth/pages/reset-password",
        &[
            WriteAddress,
            LoginAddress,
            LoginPair,
            LoginAccount,
            MailRecipient,
            MailTotal,
        ],
        "once for each link",
    ),
    bounded(
        "POST /auth/pages/verify-email",
        &[WriteAddress, LoginAddress, LoginPair, LoginAccount],
        "once for each link",
    ),
    bounded(
        "POST /auth/pages/undo",
        &[WriteAddress, MailNetwork, MailRecipient, MailTotal],
        "once for each link",
    ),
    bounded(
        "POST /auth/pages/secure-account",
        &[
            WriteAddress,
            ForgotAddress,
            ForgotAccount,
            MailNetwork,
            MailRecipient,
            MailTotal,
        ],
        "once for each link",
    ),
    bounded("POST /auth/pages/setup", &[WriteAddress], "once for each link"),
    bounded("POST /auth/pages/sign-out", &[], "once for each session"),
    bounded("POST /auth/pages/signed-out", &[], "nothing is written"),
    bounded("POST /auth/pages/unauthorized", &[], "once for each session"),
];

/// What one bucket of a limit is for, by the limit's name.
fn axis(limit: Limit) -> &'static str {
    let name = limit.entry().name();
    match name.rsplit_once('_').map_or(name, |(_, axis)| axis) {
        "address" | "network" => "network",
        "pair" => "network and account",
        "account" => "account",
        "device" => "device or session",
        "sessions" => "account, in its sessions",
        "session" => "session",
        "recipient" => "recipient",
        _ => "whole service",
    }
}

/// The table in Markdown, as `docs/SECURITY-MODEL.md` has it.
pub(crate) fn table() -> String {
    let mut text = "| Request | Counted by (setting, default) |\n|---|---|\n".to_owned();
    for entry in REQUESTS {
        let mut counted: Vec<String> = entry
            .limits
            .iter()
            .map(|limit| {
                let entry = limit.entry();
                let default = entry.default.replace('`', "");
                format!("{} (`{}`, {default})", axis(*limit), entry.name())
            })
            .collect();
        if !entry.besides.is_empty() {
            counted.push(entry.besides.to_owned());
        }
        // Writing into a string cannot fail.
        let _ = writeln!(text, "| `{}` | {} |", entry.request, counted.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::openapi_document;

    /// Answer gateways, with any method, and write nothing.
    const CHECKS: [&str; 2] = ["/auth/check", "/auth/check/{path}"];

    #[test]
    fn b13_every_writing_route_has_its_limits_in_the_table() {
        let document = serde_json::to_value(openapi_document()).unwrap();
        let mut writing = BTreeSet::new();
        let mut all = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                let request = format!("{} {path}", method.to_uppercase());
                all.insert(request.clone());
                let is_read = matches!(method.as_str(), "get" | "head" | "options" | "trace");
                if path.ends_with("/export") || (!is_read && !CHECKS.contains(&path.as_str())) {
                    writing.insert(request);
                }
            }
        }
        for page in crate::http::pages::PAGES {
            let request = format!("POST /auth/pages/{page}");
            all.insert(request.clone());
            writing.insert(request);
        }
        let listed: BTreeSet<String> = REQUESTS.iter().map(|entry| entry.request.to_owned()).collect();
        assert_eq!(listed.len(), REQUESTS.len(), "a request stands twice in REQUESTS");
        let missing: Vec<_> = writing.difference(&listed).collect();
        assert!(
            missing.is_empty(),
            "add these to REQUESTS in http/limited_requests.rs: {missing:?}"
        );
        let stale: Vec<_> = listed.difference(&all).collect();
        assert!(stale.is_empty(), "there are no such routes: {stale:?}");
        for entry in REQUESTS {
            assert!(
                !entry.limits.is_empty() || !entry.besides.is_empty(),
                "{}",
                entry.request
            );
        }
    }

    #[test]
    fn b13_every_limit_is_in_the_table() {
        for entry in &crate::domain::limit::TABLE {
            let is_used = REQUESTS.iter().any(|row| row.limits.contains(&entry.limit));
            assert!(
                is_used,
                "{} is in no row of REQUESTS in http/limited_requests.rs",
                entry.name()
            );
        }
    }

    #[test]
    fn b13_the_documentation_has_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/SECURITY-MODEL.md");
        let text = std::fs::read_to_string(path).unwrap();
        let table = table();
        assert!(
            text.contains(&table),
            "docs/SECURITY-MODEL.md is stale; it should have:\n{table}"
        );
    }
}
