//! Every request with a session of every kind, against the table of `docs/reference/second-factors.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use josoor_auth::clock::Clock;
use josoor_auth::domain::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::command::run;
use crate::support::mailbox::mail;
use crate::support::server::{Answer, PASSWORD, Server, Stage as TheStage, Tokens, on_both};
use crate::support::totp;

/// The table, by request.
fn table() -> BTreeMap<String, String> {
    let text = include_str!("../../../../docs/reference/second-factors.md");
    let (_, rest) = text
        .split_once("<!-- generated: verified requests -->")
        .expect("a table");
    let (table, _) = rest.split_once("<!-- end of").expect("its end");
    let rows = table.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split("` | ");
        let (request, needs) = (cells.next()?, cells.next()?);
        Some((request.to_owned(), needs.trim_end_matches(" |").to_owned()))
    });
    rows.collect()
}

/// A session, and what is so about it.
#[expect(clippy::struct_excessive_bools, reason = "each is a column of a table")]
struct Kind {
    name: &'static str,
    token: Option<String>,
    is_admin: bool,
    has_factor: bool,
    /// Whether the role must have a factor that the user lacks.
    must_enrol: bool,
    /// Whether all that the user has was verified within the age.
    is_fresh: bool,
}

/// A passkey as far as its form goes.
fn passkey() -> Value {
    let response = json!({
        "clientDataJSON": "AAAA",
        "attestationObject": "AAAA",
        "authenticatorData": "AAAA",
        "signature": "AAAA",
    });
    json!({ "id": "AAAA", "type": "public-key", "response": response })
}

/// A body that the request accepts as far as its form goes, so that what it needs of its caller decides.
fn body_of(request: &str) -> Value {
    match request {
        "POST /auth/register" | "POST /auth/login" => {
            json!({ "email": "other@example.com", "password": PASSWORD })
        }
        "POST /auth/login/mfa" => json!({ "flow": "x", "method": "totp", "code": "123456" }),
        "POST /auth/login/passkey" => json!({ "assertion": passkey() }),
        "POST /auth/passkeys" => json!({ "credential": passkey() }),
        "PATCH /auth/passkeys/{id}" => json!({ "name": "x" }),
        "POST /auth/login/code/verify" => json!({ "flow": "x", "code": "12345678" }),
        "POST /auth/step-up" => json!({ "code": "1234567890" }),
        "POST /auth/login/code" | "POST /auth/password/forgot" => json!({ "email": "other@example.com" }),
        "POST /auth/password/reset" => json!({ "token": "x", "new_password": PASSWORD }),
        "POST /auth/email/verify" | "POST /auth/account/undo" => json!({ "token": "x" }),
        "POST /auth/account/secure" => json!({ "token": "x", "email": "other@example.com" }),
        "POST /auth/password/change" => {
            json!({ "current_password": "wrong", "new_password": "a long new sentence" })
        }
        "POST /auth/email/change" => json!({ "new_email": "new@example.com", "password": "wrong" }),
        "DELETE /auth/me" | "POST /auth/factors/totp" | "POST /auth/passkeys/options" => {
            json!({ "password": "wrong" })
        }
        "POST /auth/factors/totp/confirm" => json!({ "code": "123456" }),
        "POST /admin/users" => json!({ "email": "made@example.com" }),
        _ => json!({}),
    }
}

async fn send(server: &Server, request: &str, token: Option<&str>) -> Answer {
    let (method, path) = request.split_once(' ').expect("a method and a path");
    let id = if path.starts_with("/admin") {
        "999999"
    } else {
        "00000000-0000-4000-8000-000000000000"
    };
    let method: Method = method.parse().expect("a method");
    let mut sent = server.request(method.clone(), &path.replace("{id}", id));
    if method != Method::GET {
        sent = sent.json(&body_of(request));
    }
    if let Some(token) = token {
        sent = sent.bearer_auth(token);
    }
    server.send(sent).await
}

/// The refusal that the table promises; `None`: it is not refused for its session.
fn expected(needs: &str, kind: &Kind) -> Option<&'static str> {
    if needs == "no session" {
        return None;
    }
    if kind.token.is_none() {
        return Some("missing_token");
    }
    if kind.must_enrol && !needs.contains("also without the second factor") {
        return Some("mfa_enrollment_required");
    }
    if needs.starts_with("an administrator") && !kind.is_admin {
        return Some("insufficient_role");
    }
    let needs = needs.replace(", also without the second factor that the role must have", "");
    let must_be_fresh = match needs.as_str() {
        "a session" | "an administrator's session" => false,
        "a session; of a user with one both, freshly"
        | "a session; of a user with a second factor both, freshly" => kind.has_factor,
        "an administrator's session, verified freshly" => true,
        other => panic!("the table has {other:?}"),
    };
    (must_be_fresh && !kind.is_fresh).then_some("step_up_required")
}

const REFUSALS: [&str; 4] = [
    "missing_token",
    "insufficient_role",
    "step_up_required",
    "mfa_enrollment_required",
];

async fn account(server: &Server, stage: &TheStage, email: &str, is_admin: bool) -> Tokens {
    let tokens = server.register(email).await;
    let link = mail(server, email, "verify_email").await.token();
    server
        .post_as("/auth/email/verify", &tokens.access, &json!({ "token": link }))
        .await
        .is(200);
    if is_admin {
        run(stage, &["user", "set-role", email, "admin"]).with(0);
    }
    tokens
}

/// Adds an app; gives its secret and the token of the session that has both factors.
async fn enrol(server: &Server, tokens: &Tokens) -> (String, String) {
    let begun = server
        .post_as(
            "/auth/factors/totp",
            &tokens.access,
            &json!({ "password": PASSWORD }),
        )
        .await
        .is(200);
    let secret = begun.text_of("secret");
    let code = totp::code(&secret, server.app.clock.now().as_secs());
    let confirmed = server
        .post_as(
            "/auth/factors/totp/confirm",
            &tokens.access,
            &json!({ "code": code }),
        )
        .await
        .is(200);
    (secret, confirmed.text_of("access_token"))
}

on_both!(
    every_request_needs_what_the_table_says_of_its_caller,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__ADMIN__STEP_UP", "always");
        let now = Clock::System.now().as_secs() / 30 * 30;
        let clock = Clock::manual(Timestamp::from_secs(now));
        stage.set("JOSOOR_AUTH__MFA__REQUIRED", "analyst");
        let server = stage.start_with(clock.clone()).await;
        let mut kinds = vec![Kind {
            name: "none",
            token: None,
            is_admin: false,
            has_factor: false,
            must_enrol: false,
            is_fresh: false,
        }];
        // Each kind has an account of its own, since some requests end the other sessions of one.
        let mut waiting = Vec::new();
        for is_admin in [false, true] {
            let role = if is_admin { "admin" } else { "user" };
            for is_fresh in [false, true] {
                let email = format!("plain-{role}-{is_fresh}@example.com");
                let tokens = account(&server, &stage, &email, is_admin).await;
                waiting.push((is_admin, is_fresh, email, tokens.access, None));
                let email = format!("both-{role}-{is_fresh}@example.com");
                let tokens = account(&server, &stage, &email, is_admin).await;
                let (secret, token) = enrol(&server, &tokens).await;
                waiting.push((is_admin, is_fresh, email, token, Some(secret)));
            }
        }
        clock.advance(Duration::from_mins(11));
        for (is_admin, is_fresh, email, stale, secret) in waiting {
            let has_factor = secret.is_some();
            let token = match secret {
                _ if !is_fresh => stale,
                None => server.log_in(&email).await.access,
                Some(secret) => {
                    let code = json!({ "code": totp::code(&secret, clock.now().as_secs()) });
                    let raised = server.post_as("/auth/step-up", &stale, &code).await.is(200);
                    raised.text_of("access_token")
                }
            };
            kinds.push(Kind {
                name: if has_factor {
                    "two factors"
                } else {
                    "one factor of one"
                },
                token: Some(token),
                is_admin,
                has_factor,
                must_enrol: false,
                is_fresh,
            });
        }
        // One factor of two, as on a trusted device, which administrators have none of.
        let sara = account(&server, &stage, "trusted@example.com", false).await;
        let (secret, _) = enrol(&server, &sara).await;
        clock.advance(Duration::from_secs(30));
        let password = json!({ "email": "trusted@example.com", "password": PASSWORD });
        let asked = server
            .post("/auth/login", &password)
            .await
            .is_problem(403, "mfa_required");
        let finish = json!({
            "flow": asked.text_of("flow"),
            "method": "totp",
            "code": totp::code(&secret, clock.now().as_secs()),
            "trust_device": true,
        });
        let answer = server.post("/auth/login/mfa", &finish).await.is(200);
        let cookies = answer.headers.get_all("set-cookie").iter();
        let mark = cookies
            .filter_map(|value| value.to_str().ok()?.split(';').next())
            .find(|value| value.starts_with("josoor_device="))
            .expect("a device");
        let request = server
            .request(Method::POST, "/auth/login")
            .header("cookie", mark)
            .json(&password);
        kinds.push(Kind {
            name: "one factor of two",
            token: Some(Tokens::of(&server.send(request).await.is(200)).access),
            is_admin: false,
            has_factor: true,
            must_enrol: false,
            is_fresh: false,
        });

        // Promoted a moment ago.
        let analyst = account(&server, &stage, "analyst@example.com", false).await;
        run(&stage, &["user", "set-role", "analyst@example.com", "analyst"]).with(0);
        kinds.push(Kind {
            name: "must enrol",
            token: Some(analyst.access),
            is_admin: false,
            has_factor: false,
            must_enrol: true,
            is_fresh: true,
        });

        let table = table();
        assert!(table.len() > 40, "{table:?}");
        let mut faults = Vec::new();
        let mut requests: Vec<_> = table.iter().collect();
        // What removes a factor comes last.
        requests.sort_by_key(|(request, _)| *request == "DELETE /auth/factors/totp");
        for (request, needs) in requests {
            for kind in &kinds {
                // These are about the token itself: one ends its session, the other wants a refresh token.
                if matches!(request.as_str(), "POST /auth/logout" | "POST /auth/refresh") {
                    continue;
                }
                let answer = send(&server, request, kind.token.as_deref()).await;
                let refused = REFUSALS.into_iter().find(|code| *code == answer.code());
                let wanted = expected(needs, kind);
                // There is no app to remove, or to make codes for.
                let has_none = !kind.has_factor && refused == Some("mfa_enrollment_required");
                if refused != wanted && !(has_none && request.contains("/auth/factors/")) {
                    let (name, is_admin) = (kind.name, kind.is_admin);
                    let (is_fresh, text) = (kind.is_fresh, &answer.text);
                    faults.push(format!(
                        "{request}, {name}, admin {is_admin}, fresh {is_fresh}: {refused:?}, not {wanted:?}: {text}"
                    ));
                }
                assert!(answer.status.as_u16() < 500, "{request}: {answer:?}");
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        server.stop().await;
    }
);
