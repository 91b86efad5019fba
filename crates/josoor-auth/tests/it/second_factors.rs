//! Second factors: enrolling them, signing in with them, and what happens when they are lost.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use josoor_auth::account::factors;
use josoor_auth::act::Client;
use josoor_auth::admin::users;
use josoor_auth::clock::Clock;
use josoor_auth::domain::{Role, Timestamp, UserId};
use josoor_auth::store::UserPatch;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::command::run;
use crate::support::database;
use crate::support::mailbox::{mail, mail_number, mails, settled};
use crate::support::server::{Answer, PASSWORD, Server, Stage as TheStage, Tokens, on_both};
use crate::support::totp;

const NEW: &str = "a sentence with the number 12";

/// A clock that the test moves, at the beginning of a time step.
pub(crate) fn standing() -> Clock {
    let now = Clock::System.now().as_secs();
    Clock::manual(Timestamp::from_secs(now / 30 * 30))
}

/// One step of an authenticator app.
pub(crate) const STEP: Duration = Duration::from_secs(30);

/// A person with an account, a verified address, and an authenticator app.
pub(crate) struct Owner {
    pub(crate) email: String,
    pub(crate) secret: String,
    pub(crate) tokens: Tokens,
    pub(crate) codes: Vec<String>,
}

pub(crate) async fn register(server: &Server, email: &str) -> Tokens {
    let tokens = server.register(email).await;
    let link = mail(server, email, "verify_email").await;
    let body = json!({ "token": link.token() });
    server
        .post_as("/auth/email/verify", &tokens.access, &body)
        .await
        .is(200);
    tokens
}

async fn begin(server: &Server, access: &str) -> Answer {
    server
        .post_as("/auth/factors/totp", access, &json!({ "password": PASSWORD }))
        .await
}

async fn confirm(server: &Server, access: &str, code: &str) -> Answer {
    server
        .post_as("/auth/factors/totp/confirm", access, &json!({ "code": code }))
        .await
}

fn code_at(server: &Server, secret: &str) -> String {
    totp::code(secret, server.app.clock.now().as_secs())
}

/// Adds an app to an account whose address is verified. The code of the present step is used then.
pub(crate) async fn enrol(server: &Server, email: &str, tokens: &Tokens) -> Owner {
    let begun = begin(server, &tokens.access).await.is(200);
    let secret = begun.text_of("secret");
    let confirmed = confirm(server, &tokens.access, &code_at(server, &secret))
        .await
        .is(200);
    Owner {
        email: email.to_owned(),
        secret,
        tokens: Tokens {
            access: confirmed.text_of("access_token"),
            ..tokens.clone()
        },
        codes: list(&confirmed.json["recovery_codes"]),
    }
}

pub(crate) async fn owner(server: &Server, email: &str) -> Owner {
    let tokens = register(server, email).await;
    enrol(server, email, &tokens).await
}

fn list(json: &Value) -> Vec<String> {
    let items = json.as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

impl Owner {
    /// The code that the app shows now.
    pub(crate) fn code(&self, server: &Server) -> String {
        code_at(server, &self.secret)
    }

    async fn password(&self, server: &Server, password: &str) -> Answer {
        let body = json!({ "email": self.email, "password": password });
        server.post("/auth/login", &body).await
    }

    /// The flow of a sign-in with the right password.
    async fn flow(&self, server: &Server) -> String {
        let asked = self.password(server, PASSWORD).await;
        asked.is_problem(403, "mfa_required").text_of("flow")
    }
}

pub(crate) async fn finish(server: &Server, flow: &str, method: &str, code: &str) -> Answer {
    let body = json!({ "flow": flow, "method": method, "code": code });
    server.post("/auth/login/mfa", &body).await
}

/// Whether a code is none of those that are accepted around now.
pub(crate) fn wrong(server: &Server, secret: &str) -> String {
    let now = server.app.clock.now().as_secs();
    let right: BTreeSet<String> = (-2..=2).map(|step| totp::code(secret, now + 30 * step)).collect();
    (0..10)
        .map(|number| format!("{number:06}"))
        .find(|code| !right.contains(code))
        .expect("a wrong code")
}

async fn audit(server: &Server, action: &str, outcome: &str) -> i64 {
    let sql = format!("select count(*) from audit where action = '{action}' and outcome = '{outcome}'");
    database::number(&server.app.db, &sql).await
}

on_both!(
    a_sign_in_takes_a_code_once_an_app_is_confirmed,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let email = "sara@example.com";
        // An address that is not verified may be a stranger's.
        let tokens = server.register(email).await;
        begin(&server, &tokens.access)
            .await
            .is_problem(403, "email_not_verified");
        let link = mail(&server, email, "verify_email").await.token();
        server
            .post_as("/auth/email/verify", &tokens.access, &json!({ "token": link }))
            .await
            .is(200);
        let none = json!({ "totp": null, "passkeys": [], "recovery_codes_left": 0, "trusted_devices": 0 });
        assert_eq!(server.get("/auth/factors", &tokens.access).await.json, none);
        // A token alone enrols nothing.
        for body in [json!({}), json!({ "password": "wrong" })] {
            let answer = server.post_as("/auth/factors/totp", &tokens.access, &body).await;
            assert!([401, 422].contains(&answer.status.as_u16()), "{answer:?}");
        }
        confirm(&server, &tokens.access, "123456")
            .await
            .is_problem(400, "flow_expired");

        let begun = begin(&server, &tokens.access).await.is(200);
        let secret = begun.text_of("secret");
        assert_eq!(begun.headers["cache-control"], "no-store");
        assert!(begun.text_of("uri").contains(&secret));
        assert!(begun.text_of("qr_svg").starts_with("<svg "));
        // Another session of the same user does not confirm it.
        let other = server.log_in(email).await;
        confirm(&server, &other.access, &code_at(&server, &secret))
            .await
            .is_problem(400, "flow_expired");
        confirm(&server, &tokens.access, &wrong(&server, &secret))
            .await
            .is_problem(401, "mfa_code_invalid");
        // Until it is confirmed it changes nothing.
        server.log_in(email).await;
        let confirmed = confirm(&server, &tokens.access, &code_at(&server, &secret))
            .await
            .is(200);
        assert_eq!(list(&confirmed.json["recovery_codes"]).len(), 10);
        assert_eq!(confirmed.json["user"]["mfa_enabled"], true);
        assert!(confirmed.json.get("refresh_token").is_none());
        let raised = Tokens {
            access: confirmed.text_of("access_token"),
            ..tokens.clone()
        };
        assert_eq!(raised.claim("sid"), tokens.claim("sid"));
        assert_eq!(raised.claim("amr"), json!(["pwd", "otp", "mfa"]));
        assert_eq!(raised.claim("acr"), "2");
        let shown = server.get("/auth/factors", &raised.access).await.is(200);
        assert_eq!(shown.json["recovery_codes_left"], 10);
        assert!(shown.json["totp"]["created_at"].is_string());
        mail(&server, email, "factor_added").await;
        // No secret stands in the database.
        let stored = "select count(*) from credentials where kind = 'totp' and sealed is null";
        assert_eq!(database::number(&server.app.db, stored).await, 0);

        let owner = Owner {
            email: email.to_owned(),
            secret: secret.clone(),
            tokens: raised,
            codes: Vec::new(),
        };
        // A wrong password says what it always says.
        owner
            .password(&server, "wrong")
            .await
            .is_problem(401, "invalid_credentials");
        let asked = owner
            .password(&server, PASSWORD)
            .await
            .is_problem(403, "mfa_required");
        assert_eq!(asked.json["methods"], json!(["totp", "recovery_code"]));
        assert_eq!(asked.json["expires_in"], 600);
        assert!(asked.headers.get("set-cookie").is_none(), "{asked:?}");
        assert!(asked.json.get("access_token").is_none());
        let flow = asked.text_of("flow");
        // The code that confirmed the app was used.
        finish(&server, &flow, "totp", &owner.code(&server))
            .await
            .is_problem(401, "mfa_code_invalid");
        clock.advance(STEP);
        let code = owner.code(&server);
        let (typed, other) = (
            format!("\u{200f}{} {}", &code[..3], &code[3..]),
            owner.flow(&server).await,
        );
        let answer = finish(&server, &flow, "totp", &typed).await.is(200);
        let signed_in = Tokens::of(&answer);
        assert_eq!(signed_in.claim("amr"), json!(["pwd", "otp", "mfa"]));
        assert_eq!(signed_in.claim("acr"), "2");
        server.get("/auth/me", &signed_in.access).await.is(200);
        // The flow is used, and so is the code, in any flow and the steps before it with it.
        finish(&server, &flow, "totp", &code)
            .await
            .is_problem(400, "flow_expired");
        finish(&server, &other, "totp", &code)
            .await
            .is_problem(401, "mfa_code_invalid");
        let before = totp::code(&secret, clock.now().as_secs() - 30);
        finish(&server, &other, "totp", &before)
            .await
            .is_problem(401, "mfa_code_invalid");
        // The next step is accepted early, for clocks that differ.
        let next = totp::code(&secret, clock.now().as_secs() + 30);
        finish(&server, &other, "totp", &next).await.is(200);
        assert_eq!(audit(&server, "factor_add", "success").await, 2);
        assert_eq!(audit(&server, "mfa_request", "success").await, 2);
        server.stop().await;
    }
);

on_both!(
    what_is_no_flow_or_no_code_is_refused_in_one_way,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let owner = owner(&server, "sara@example.com").await;
        let flow = owner.flow(&server).await;
        clock.advance(STEP);
        let code = owner.code(&server);
        let mut changed = flow.clone().into_bytes();
        changed[40] ^= 1;
        let changed = String::from_utf8(changed).expect("ASCII");
        for no_flow in [
            "",
            "a",
            &flow[..42],
            &format!("{flow}a"),
            &changed,
            &"A".repeat(43),
            "\u{1f511}",
        ] {
            finish(&server, no_flow, "totp", &code)
                .await
                .is_problem(400, "flow_expired");
        }
        for (method, code) in [
            ("totp", "12345"),
            ("totp", "abcdef"),
            ("totp", ""),
            ("recovery_code", code.as_str()),
            ("totp", "aaaa-aaaa-aaaa-aaaa"),
            ("password", PASSWORD),
        ] {
            finish(&server, &flow, method, code)
                .await
                .is_problem(422, "validation_failed");
        }
        // None of it was an attempt.
        finish(&server, &flow, "totp", &code).await.is(200);
        // It waits for ten minutes.
        let flow = owner.flow(&server).await;
        clock.advance(Duration::from_mins(10));
        finish(&server, &flow, "totp", &owner.code(&server))
            .await
            .is_problem(400, "flow_expired");
        server.stop().await;
    }
);

on_both!(
    a_change_of_the_account_ends_its_sign_ins_that_wait,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let admin = server.register_admin("admin@example.com").await;
        let owner = owner(&server, "sara@example.com").await;
        let path = format!("/admin/users/{}", owner.tokens.user_id);
        for change in [json!({ "full_name": "Sara" }), json!({ "is_active": false })] {
            let flow = owner.flow(&server).await;
            clock.advance(STEP);
            server.patch(&path, &admin.access, &change).await.is(200);
            finish(&server, &flow, "totp", &owner.code(&server))
                .await
                .is_problem(400, "flow_expired");
        }
        owner
            .password(&server, PASSWORD)
            .await
            .is_problem(403, "account_inactive");
        server.stop().await;
    }
);

on_both!(
    five_wrong_codes_end_a_sign_in_and_its_owner_learns_of_it,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let owner = owner(&server, "sara@example.com").await;
        clock.advance(STEP);
        let flow = owner.flow(&server).await;
        for _ in 0..5 {
            finish(&server, &flow, "totp", &wrong(&server, &owner.secret))
                .await
                .is_problem(401, "mfa_code_invalid");
        }
        finish(&server, &flow, "totp", &owner.code(&server))
            .await
            .is_problem(400, "flow_expired");
        let notice = mail(&server, &owner.email, "mfa_failed").await;
        assert!(notice.link.ends_with("/forgot-password"), "{notice:?}");
        let flow = owner.flow(&server).await;
        finish(&server, &flow, "totp", &owner.code(&server)).await.is(200);
        assert_eq!(audit(&server, "sign_in", "failure").await, 5);
        server.stop().await;
    }
);

/// A request of a browser with a cookie, and without one.
async fn in_browser(server: &Server, path: &str, body: &Value, cookie: Option<&str>) -> Answer {
    let mut request = server
        .request(Method::POST, path)
        .header("origin", server.app.config.server.public_url.origin())
        .json(body);
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    server.send(request).await
}

fn cookie(answer: &Answer, name: &str) -> Option<String> {
    let all = answer.headers.get_all("set-cookie");
    let found = all.iter().filter_map(|value| value.to_str().ok());
    found
        .filter(|value| value.starts_with(&format!("{name}=")))
        .map(|value| value.split(';').next().unwrap_or_default().to_owned())
        .next()
}

on_both!(
    a_sign_in_is_finished_by_the_browser_that_began_it,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let owner = owner(&server, "sara@example.com").await;
        clock.advance(STEP);
        let body = json!({ "email": owner.email, "password": PASSWORD, "transport": "cookie" });
        let asked = in_browser(&server, "/auth/login", &body, None)
            .await
            .is_problem(403, "mfa_required");
        let binding = cookie(&asked, "josoor_flow").expect("a cookie");
        assert!(!asked.text.contains(&binding["josoor_flow=".len()..]));
        let another = in_browser(&server, "/auth/login", &body, None).await;
        let another = cookie(&another, "josoor_flow").expect("a cookie");
        let flow = asked.text_of("flow");
        let code = json!({ "flow": flow, "method": "totp", "code": owner.code(&server) });
        for cookie in [None, Some(another.as_str()), Some("josoor_flow=")] {
            in_browser(&server, "/auth/login/mfa", &code, cookie)
                .await
                .is_problem(400, "flow_expired");
        }
        // Another site does not finish it in this browser.
        let request = server
            .request(Method::POST, "/auth/login/mfa")
            .header("origin", "https://evil.example")
            .header("cookie", &binding)
            .json(&code);
        server.send(request).await.is_problem(403, "origin_not_allowed");
        let done = in_browser(&server, "/auth/login/mfa", &code, Some(&binding))
            .await
            .is(200);
        assert!(done.json.get("refresh_token").is_none());
        assert!(cookie(&done, "josoor_refresh").is_some());
        assert_eq!(cookie(&done, "josoor_flow").as_deref(), Some("josoor_flow="));
        server.stop().await;
    }
);

async fn two(stage: &TheStage, clock: &Clock) -> (Server, Server) {
    (
        stage.start_with(clock.clone()).await,
        stage.start_with(clock.clone()).await,
    )
}

/// How many of these succeed; all others are refused with one of these codes.
fn succeed(answers: Vec<Answer>, refusals: &[&str]) -> usize {
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    for answer in lost {
        assert!(refusals.contains(&answer.code()), "{answer:?}");
    }
    won.len()
}

on_both!(
    of_many_parallel_uses_of_one_code_or_flow_one_succeeds,
    async |stage: Stage| {
        let clock = standing();
        let (one, other) = two(&stage, &clock).await;
        let owner = owner(&one, "sara@example.com").await;
        let node = |number: usize| if number.is_multiple_of(2) { &one } else { &other };
        // One flow and its code.
        clock.advance(STEP);
        let (flow, code) = (owner.flow(&one).await, owner.code(&one));
        let tries = (0..64).map(|number| finish(node(number), &flow, "totp", &code));
        let refusals = ["flow_expired", "mfa_code_invalid"];
        assert_eq!(succeed(join_all(tries).await, &refusals), 1);
        // One code in many flows, then one recovery code.
        clock.advance(STEP);
        for (method, code) in [
            ("totp", owner.code(&one)),
            ("recovery_code", owner.codes[0].clone()),
        ] {
            let flows = join_all((0..16).map(|number| owner.flow(node(number)))).await;
            let tries = flows
                .iter()
                .enumerate()
                .map(|(number, flow)| finish(node(number), flow, method, &code));
            assert_eq!(
                succeed(join_all(tries).await, &["mfa_code_invalid"]),
                1,
                "{method}"
            );
        }
        // One flow, many codes that are all right.
        let flow = owner.flow(&one).await;
        let tries = (1..5).map(|number| finish(node(number), &flow, "recovery_code", &owner.codes[number]));
        assert_eq!(succeed(join_all(tries).await, &["flow_expired"]), 1);
        one.stop().await;
        other.stop().await;
    }
);

on_both!(another_node_finishes_what_one_began, async |stage: Stage| {
    let clock = standing();
    let (one, other) = two(&stage, &clock).await;
    let tokens = register(&one, "sara@example.com").await;
    let begun = begin(&one, &tokens.access).await.is(200);
    let secret = begun.text_of("secret");
    confirm(&other, &tokens.access, &code_at(&other, &secret))
        .await
        .is(200);
    clock.advance(STEP);
    let body = json!({ "email": "sara@example.com", "password": PASSWORD });
    let asked = one
        .post("/auth/login", &body)
        .await
        .is_problem(403, "mfa_required");
    one.stop().await;
    finish(&other, &asked.text_of("flow"), "totp", &code_at(&other, &secret))
        .await
        .is(200);
    other.stop().await;
});

/// A request from an address, with the mark of a device.
async fn from(server: &Server, path: &str, body: &Value, ip: &str, mark: Option<&str>) -> Answer {
    let mut request = server
        .request(Method::POST, path)
        .header("x-forwarded-for", ip)
        .json(body);
    if let Some(mark) = mark {
        request = request.header("cookie", mark);
    }
    server.send(request).await
}

on_both!(
    guesses_of_one_accounts_codes_are_counted_over_all_networks_and_flows,
    async |mut stage: Stage| {
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        stage.set_limit("mfa_account", "7/1h");
        stage.set_limit("mfa_device", "3/1h");
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let owner = owner(&server, "sara@example.com").await;
        clock.advance(STEP);
        let password = json!({ "email": owner.email, "password": PASSWORD });
        let (flow, code) = (owner.flow(&server).await, owner.code(&server));
        let known = finish(&server, &flow, "totp", &code).await.is(200);
        let mark = cookie(&known, "josoor_device").expect("a device");
        // Each guess from a network of its own, every few in another flow. One was spent by the owner.
        let (mut compared, mut refused) = (0, 0);
        for number in 0..40 {
            let ip = format!("203.0.113.{number}");
            let asked = from(&server, "/auth/login", &password, &ip, None).await;
            let body = json!({
                "flow": asked.is_problem(403, "mfa_required").text_of("flow"),
                "method": "totp",
                "code": wrong(&server, &owner.secret),
            });
            let answer = from(&server, "/auth/login/mfa", &body, &ip, None).await;
            match answer.status.as_u16() {
                401 => compared += 1,
                429 => refused += 1,
                _ => panic!("{answer:?}"),
            }
        }
        assert_eq!((compared, refused), (6, 34));
        // The owner's device has a limit of its own.
        clock.advance(STEP);
        let asked = from(&server, "/auth/login", &password, "198.51.100.1", Some(&mark)).await;
        let body = json!({
            "flow": asked.is_problem(403, "mfa_required").text_of("flow"),
            "method": "totp",
            "code": owner.code(&server),
        });
        from(&server, "/auth/login/mfa", &body, "198.51.100.1", Some(&mark))
            .await
            .is(200);
        server.stop().await;
    }
);

on_both!(
    recovery_codes_are_used_once_each_and_the_owner_is_warned_when_few_are_left,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let owner = owner(&server, "sara@example.com").await;
        let distinct: BTreeSet<_> = owner.codes.iter().collect();
        assert_eq!(distinct.len(), 10);
        let mut latest = owner.tokens.clone();
        for (number, code) in owner.codes.iter().enumerate().take(8) {
            let flow = owner.flow(&server).await;
            let typed = match number % 3 {
                0 => code.clone(),
                1 => code.to_uppercase().replace('-', " "),
                _ => code.replace('-', ""),
            };
            let answer = finish(&server, &flow, "recovery_code", &typed).await.is(200);
            latest = Tokens::of(&answer);
            assert_eq!(latest.claim("amr"), json!(["pwd", "recovery", "mfa"]));
            assert_eq!(latest.claim("acr"), "2");
            let flow = owner.flow(&server).await;
            finish(&server, &flow, "recovery_code", code)
                .await
                .is_problem(401, "mfa_code_invalid");
        }
        mail_number(&server, &owner.email, "recovery_code_used", 6).await;
        mail_number(&server, &owner.email, "recovery_codes_low", 2).await;
        let shown = server.get("/auth/factors", &latest.access).await.is(200);
        assert_eq!(shown.json["recovery_codes_left"], 2);
        let replaced = server
            .post_as("/auth/factors/recovery-codes", &latest.access, &json!({}))
            .await
            .is(200);
        let new = list(&replaced.json["recovery_codes"]);
        assert_eq!(new.len(), 10);
        let flow = owner.flow(&server).await;
        finish(&server, &flow, "recovery_code", &owner.codes[9])
            .await
            .is_problem(401, "mfa_code_invalid");
        finish(&server, &flow, "recovery_code", &new[9]).await.is(200);
        mail(&server, &owner.email, "recovery_codes_replaced").await;
        // No code stands in the database.
        let hashes = database::texts(
            &server.app.db,
            "select kind from credentials where kind = 'recovery_code' and sealed is not null and code_mac is null",
        );
        assert_eq!(hashes.await.len(), 9);
        server.stop().await;
    }
);

on_both!(
    dangerous_acts_of_an_account_with_a_factor_need_a_fresh_one,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__AUTH__STEP_UP_AGE", "5m");
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let owner = owner(&server, "sara@example.com").await;
        clock.advance(Duration::from_secs(301));
        let old = &owner.tokens.access;
        let acts = [
            (
                Method::POST,
                "/auth/password/change",
                json!({ "current_password": PASSWORD, "new_password": NEW }),
            ),
            (
                Method::POST,
                "/auth/email/change",
                json!({ "new_email": "new@example.com", "password": PASSWORD }),
            ),
            (Method::DELETE, "/auth/me", json!({ "password": PASSWORD })),
            (Method::DELETE, "/auth/sessions", json!({})),
            (
                Method::POST,
                "/auth/factors/totp",
                json!({ "password": PASSWORD }),
            ),
            (Method::DELETE, "/auth/factors/totp", json!({})),
            (Method::POST, "/auth/factors/recovery-codes", json!({})),
        ];
        for (method, path, body) in &acts {
            let request = server.request(method.clone(), path).bearer_auth(old).json(body);
            let answer = server.send(request).await.is_problem(401, "step_up_required");
            assert_eq!(
                answer.headers["www-authenticate"],
                "Bearer realm=\"josoor\", error=\"insufficient_user_authentication\", acr_values=\"2\", max_age=\"300\"",
                "{path}"
            );
        }
        // What is not dangerous goes on.
        server.get("/auth/me", old).await.is(200);
        server
            .patch("/auth/me", old, &json!({ "full_name": "Sara" }))
            .await
            .is(200);
        let step_up = async |body: &Value| server.post_as("/auth/step-up", old, body).await;
        // The password alone is not what the account has.
        step_up(&json!({ "password": PASSWORD }))
            .await
            .is_problem(422, "validation_failed");
        step_up(&json!({})).await.is_problem(422, "validation_failed");
        let both = json!({ "password": PASSWORD, "code": "123456" });
        step_up(&both).await.is_problem(422, "validation_failed");
        step_up(&json!({ "code": wrong(&server, &owner.secret) }))
            .await
            .is_problem(401, "mfa_code_invalid");
        let body = json!({ "code": owner.code(&server) });
        let answer = step_up(&body).await.is(200);
        let fresh = Tokens {
            access: answer.text_of("access_token"),
            ..owner.tokens.clone()
        };
        assert_eq!(fresh.claim("sid"), owner.tokens.claim("sid"));
        assert_eq!(fresh.claim("auth_time"), clock.now().as_secs());
        // The code was used, and the old token is as old as it was.
        step_up(&body).await.is_problem(401, "mfa_code_invalid");
        server
            .delete("/auth/sessions", old)
            .await
            .is_problem(401, "step_up_required");
        server.delete("/auth/sessions", &fresh.access).await.is(200);
        let check = async |token: &str| server.get("/auth/check?acr=2&max_age=300", token).await;
        check(&fresh.access).await.is(200);
        check(old).await.is_problem(401, "step_up_required");
        let change = json!({ "current_password": PASSWORD, "new_password": NEW });
        server
            .post_as("/auth/password/change", &fresh.access, &change)
            .await
            .is(200);
        server.stop().await;
    }
);

on_both!(
    an_account_without_a_factor_does_what_it_did,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let tokens = register(&server, "sara@example.com").await;
        clock.advance(Duration::from_hours(2));
        let change = json!({ "current_password": PASSWORD, "new_password": NEW });
        let changed = server
            .post_as("/auth/password/change", &tokens.access, &change)
            .await
            .is(200);
        let tokens = Tokens::of(&changed);
        server.delete("/auth/sessions", &tokens.access).await.is(200);
        server
            .post_as("/auth/factors/recovery-codes", &tokens.access, &json!({}))
            .await
            .is_problem(403, "mfa_enrollment_required");
        server
            .delete("/auth/factors/totp", &tokens.access)
            .await
            .is_problem(403, "mfa_enrollment_required");
        clock.advance(Duration::from_hours(1));
        let step_up = async |body: &Value| server.post_as("/auth/step-up", &tokens.access, body).await;
        step_up(&json!({ "password": PASSWORD }))
            .await
            .is_problem(401, "invalid_credentials");
        step_up(&json!({ "code": "123456" }))
            .await
            .is_problem(422, "validation_failed");
        let answer = step_up(&json!({ "password": NEW })).await.is(200);
        let fresh = Tokens {
            access: answer.text_of("access_token"),
            ..tokens.clone()
        };
        assert_eq!(fresh.claim("auth_time"), clock.now().as_secs());
        assert_eq!(
            (fresh.claim("acr"), fresh.claim("amr")),
            (json!("1"), json!(["pwd"]))
        );
        server.get("/auth/check?max_age=60", &fresh.access).await.is(200);
        server
            .get("/auth/check?acr=2", &fresh.access)
            .await
            .is_problem(401, "step_up_required");
        server.stop().await;
    }
);

on_both!(
    a_trusted_device_spares_the_code_until_password_or_factors_change,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let owner = owner(&server, "sara@example.com").await;
        let password = json!({ "email": owner.email, "password": PASSWORD });
        let trust = async || {
            clock.advance(STEP);
            let body = json!({
                "flow": owner.flow(&server).await,
                "method": "totp",
                "code": owner.code(&server),
                "trust_device": true,
            });
            let answer = server.post("/auth/login/mfa", &body).await.is(200);
            cookie(&answer, "josoor_device").expect("a device")
        };
        let mark = trust().await;
        let answer = from(&server, "/auth/login", &password, "", Some(&mark))
            .await
            .is(200);
        let tokens = Tokens::of(&answer);
        // One factor was verified, and the session says so.
        assert_eq!(
            (tokens.claim("acr"), tokens.claim("amr")),
            (json!("1"), json!(["pwd"]))
        );
        server
            .delete("/auth/sessions", &tokens.access)
            .await
            .is_problem(401, "step_up_required");
        let shown = server.get("/auth/factors", &tokens.access).await.is(200);
        assert_eq!(shown.json["trusted_devices"], 1);
        let listed = server.get("/auth/devices", &tokens.access).await.is(200);
        let trusted: Vec<&Value> = listed.json["items"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|device| device["kind"] == "trusted")
            .collect();
        assert_eq!(trusted.len(), 1);
        assert!(trusted[0]["trusted_until"].is_string());
        // Without the mark, and with that of another account, the code is asked for.
        owner
            .password(&server, PASSWORD)
            .await
            .is_problem(403, "mfa_required");
        // With a code the same session has both.
        clock.advance(STEP);
        let raised = server
            .post_as(
                "/auth/step-up",
                &tokens.access,
                &json!({ "code": owner.code(&server) }),
            )
            .await
            .is(200);
        let raised = raised.text_of("access_token");
        // Its owner removes the device.
        let path = format!("/auth/devices/{}", trusted[0]["id"].as_str().expect("an id"));
        server.delete(&path, &raised).await.is(204);
        let with_mark = async |mark: &str| from(&server, "/auth/login", &password, "", Some(mark)).await;
        with_mark(&mark).await.is_problem(403, "mfa_required");
        // Another app ends it.
        let mark = trust().await;
        with_mark(&mark).await.is(200);
        let begun = begin(&server, &raised).await.is(200);
        let secret = begun.text_of("secret");
        let confirmed = confirm(&server, &raised, &code_at(&server, &secret))
            .await
            .is(200);
        assert!(
            confirmed.json.get("recovery_codes").is_none(),
            "those before stay"
        );
        with_mark(&mark).await.is_problem(403, "mfa_required");
        // After thirty days it is over.
        let owner = Owner { secret, ..owner };
        clock.advance(STEP);
        let body = json!({
            "flow": owner.flow(&server).await,
            "method": "totp",
            "code": owner.code(&server),
            "trust_device": true,
        });
        let answer = server.post("/auth/login/mfa", &body).await.is(200);
        let mark = cookie(&answer, "josoor_device").expect("a device");
        clock.advance(Duration::from_hours(30 * 24) - Duration::from_secs(1));
        with_mark(&mark).await.is(200);
        clock.advance(Duration::from_secs(2));
        with_mark(&mark).await.is_problem(403, "mfa_required");
        server.stop().await;
    }
);

on_both!(administrators_have_no_trusted_devices, async |stage: Stage| {
    let clock = standing();
    let server = stage.start_with(clock.clone()).await;
    let email = "boss@example.com";
    let tokens = register(&server, email).await;
    run(&stage, &["user", "set-role", email, "admin"]).with(0);
    let owner = enrol(&server, email, &tokens).await;
    clock.advance(STEP);
    let body = json!({
        "flow": owner.flow(&server).await,
        "method": "totp",
        "code": owner.code(&server),
        "trust_device": true,
    });
    let answer = server.post("/auth/login/mfa", &body).await.is(200);
    let mark = cookie(&answer, "josoor_device").expect("a device");
    let password = json!({ "email": email, "password": PASSWORD });
    from(&server, "/auth/login", &password, "", Some(&mark))
        .await
        .is_problem(403, "mfa_required");
    server.stop().await;
});

on_both!(a_removed_factor_counts_nowhere_any_more, async |stage: Stage| {
    let clock = standing();
    let server = stage.start_with(clock.clone()).await;
    let owner = owner(&server, "sara@example.com").await;
    let token = &owner.tokens.access;
    server.get("/auth/check?acr=2", token).await.is(200);
    let flow = owner.flow(&server).await;
    server.delete("/auth/factors/totp", token).await.is(204);
    mail(&server, &owner.email, "factor_removed").await;
    server
        .get("/auth/check?acr=2", token)
        .await
        .is_problem(401, "step_up_required");
    clock.advance(STEP);
    finish(&server, &flow, "totp", &owner.code(&server))
        .await
        .is_problem(400, "flow_expired");
    let shown = server.get("/auth/factors", token).await.is(200);
    assert_eq!(shown.json["recovery_codes_left"], 0);
    server.log_in(&owner.email).await;
    let me = server.get("/auth/me", token).await.is(200);
    assert_eq!(me.json["mfa_enabled"], false);
    // Another one later does not lend its strength to what was verified before it.
    clock.advance(STEP);
    let again = enrol(&server, &owner.email, &owner.tokens).await;
    server
        .get("/auth/check?acr=2", token)
        .await
        .is_problem(401, "step_up_required");
    server
        .get("/auth/check?acr=2", &again.tokens.access)
        .await
        .is(200);
    server.stop().await;
});

on_both!(
    an_administrator_and_an_operator_reset_lost_factors,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let admin = server.register_admin("admin@example.com").await;
        for round in 0..2 {
            let email = format!("lost{round}@example.com");
            let owner = owner(&server, &email).await;
            let path = format!("/admin/users/{}/factors", owner.tokens.user_id);
            server
                .delete(&path, &owner.tokens.access)
                .await
                .is_problem(403, "insufficient_role");
            server
                .get(&path, &owner.tokens.access)
                .await
                .is_problem(403, "insufficient_role");
            let seen = server.get(&path, &admin.access).await.is(200);
            let own = server.get("/auth/factors", &owner.tokens.access).await.is(200);
            assert_eq!(seen.json, own.json);
            assert!(seen.json["totp"]["last_used_at"].is_string(), "{seen:?}");
            let without = async || {
                let list = server
                    .get("/admin/users?mfa_enabled=false", &admin.access)
                    .await
                    .is(200);
                list.json["items"]
                    .as_array()
                    .expect("users")
                    .iter()
                    .map(|user| user["email"].clone())
                    .collect::<Vec<_>>()
            };
            assert!(!without().await.contains(&json!(email)));
            if round == 0 {
                server.delete(&path, &admin.access).await.is(204);
                let seen = server.get(&path, &admin.access).await.is(200);
                assert_eq!(seen.json["totp"], Value::Null);
                assert!(without().await.contains(&json!(email)));
                server.delete(&path, &admin.access).await.is(204);
            } else {
                let done = run(&stage, &["user", "mfa-reset", &email]).with(0);
                assert!(done.out.contains("removed the second factors"), "{done:?}");
                let done = run(&stage, &["user", "mfa-reset", &email]).with(0);
                assert!(done.out.contains("has no second factor"), "{done:?}");
                // The command's own clock is ahead of this one.
                clock.advance(Duration::from_mins(5));
            }
            server.log_in(&email).await;
            mail(&server, &email, "factors_reset").await;
        }
        run(&stage, &["user", "mfa-reset", "missing@example.com"]).with(1);
        server
            .delete("/admin/users/999999/factors", &admin.access)
            .await
            .is_problem(404, "not_found");
        assert_eq!(audit(&server, "factor_remove", "success").await, 2);
        server.stop().await;
    }
);

async fn forgot(server: &Server, email: &str) -> String {
    server
        .post("/auth/password/forgot", &json!({ "email": email }))
        .await
        .is(202);
    settled(server).await;
    let all = mails(server, email).await;
    let latest = all.iter().rev().find(|mail| mail.kind == "reset_password");
    latest.expect("a link").token()
}

on_both!(
    a_reset_by_mail_opens_nothing_without_the_factor,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let owner = owner(&server, "sara@example.com").await;
        let token = forgot(&server, &owner.email).await;
        let reset = json!({ "token": token, "new_password": NEW });
        let answer = server.post("/auth/password/reset", &reset).await.is(200);
        assert!(answer.json.get("access_token").is_none());
        let asked = owner.password(&server, NEW).await.is_problem(403, "mfa_required");
        clock.advance(STEP);
        finish(&server, &asked.text_of("flow"), "totp", &owner.code(&server))
            .await
            .is(200);
        server.stop().await;
    }
);

on_both!(
    factors_of_a_disputed_event_go_and_older_ones_stay,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        for has_own in [false, true] {
            let email = format!("owner-{has_own}@example.com");
            let tokens = register(&server, &email).await;
            let mut secret = None;
            if has_own {
                secret = Some(enrol(&server, &email, &tokens).await);
            }
            clock.advance(STEP);
            // An intruder who knows the password, and has the app's code this once, signs in on a new device.
            let login = json!({ "email": email, "password": PASSWORD });
            let request = |path: &str, body: &Value| {
                server
                    .request(Method::POST, path)
                    .header(
                        "user-agent",
                        "Mozilla/5.0 (Windows NT 10.0; rv:140.0) Firefox/140.0",
                    )
                    .json(body)
            };
            let answer = server.send(request("/auth/login", &login)).await;
            let intruder = match &secret {
                None => Tokens::of(&answer.is(200)),
                Some(owner) => {
                    let flow = answer.is_problem(403, "mfa_required").text_of("flow");
                    let body = json!({ "flow": flow, "method": "totp", "code": owner.code(&server) });
                    Tokens::of(&server.send(request("/auth/login/mfa", &body)).await.is(200))
                }
            };
            let link = mail(&server, &email, "new_device").await.token();
            if has_own {
                server
                    .post_as("/auth/factors/recovery-codes", &intruder.access, &json!({}))
                    .await
                    .is(200);
            } else {
                clock.advance(STEP);
                enrol(&server, &email, &intruder).await;
            }
            let body = json!({ "token": link, "email": email });
            server.post("/auth/account/secure", &body).await.is(200);
            let reset = mail(&server, &email, "reset_password").await.token();
            let body = json!({ "token": reset, "new_password": NEW });
            server.post("/auth/password/reset", &body).await.is(200);
            let login = json!({ "email": email, "password": NEW });
            let answer = server.post("/auth/login", &login).await;
            match secret {
                // What the intruder has added does not keep the owner out.
                None => {
                    answer.is(200);
                }
                // The owner's own app is still asked for; the intruder's recovery codes are gone.
                Some(owner) => {
                    let asked = answer.is_problem(403, "mfa_required");
                    assert_eq!(asked.json["methods"], json!(["totp"]));
                    clock.advance(STEP);
                    finish(&server, &asked.text_of("flow"), "totp", &owner.code(&server))
                        .await
                        .is(200);
                }
            }
        }
        server.stop().await;
    }
);

on_both!(
    an_address_that_is_verified_for_the_first_time_has_no_factor_of_before,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        for by_reset in [false, true] {
            let email = format!("claimed-{by_reset}@example.com");
            let owner = owner(&server, &email).await;
            // As a row of another program's making could be.
            let sql = format!("update users set email_verified_at = null where email = '{email}'");
            assert_eq!(database::execute(&server.app.db, &sql).await, 1);
            if by_reset {
                let token = forgot(&server, &email).await;
                let body = json!({ "token": token, "new_password": PASSWORD });
                server.post("/auth/password/reset", &body).await.is(200);
            } else {
                server
                    .post_as("/auth/email/verify/resend", &owner.tokens.access, &json!({}))
                    .await
                    .is(202);
                let link = mail_number(&server, &email, "verify_email", 2).await.token();
                let body = json!({ "token": link, "password": PASSWORD });
                server.post("/auth/email/verify", &body).await.is(200);
            }
            server.log_in(&email).await;
        }
        server.stop().await;
    }
);

on_both!(
    a_role_that_must_have_a_factor_does_nothing_else_before_it_has_one,
    async |mut stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let email = "boss@example.com";
        let tokens = register(&server, email).await;
        run(&stage, &["user", "set-role", email, "admin"]).with(0);
        server.get("/admin/users", &tokens.access).await.is(200);
        server.stop().await;
        // Switched on, with a grace for those who are there.
        stage.set("JOSOOR_AUTH__MFA__REQUIRED", "admin");
        stage.set("JOSOOR_AUTH__MFA__GRACE", "1h");
        let server = stage.start_with(clock.clone()).await;
        server.get("/admin/users", &tokens.access).await.is(200);
        clock.advance(Duration::from_mins(59));
        server.get("/admin/users", &tokens.access).await.is(200);
        server.stop().await;
        // The grace goes on from where it began.
        let server = stage.start_with(clock.clone()).await;
        clock.advance(Duration::from_mins(2));
        for path in ["/admin/users", "/auth/me", "/auth/sessions", "/auth/check"] {
            server
                .get(path, &tokens.access)
                .await
                .is_problem(403, "mfa_enrollment_required");
        }
        // Who is promoted now is bound by the next request, and who is not is not.
        let user = register(&server, "user@example.com").await;
        server.get("/auth/me", &user.access).await.is(200);
        let patch = UserPatch {
            role: Some(Role::Admin),
            ..UserPatch::default()
        };
        let (id, operator) = (UserId(user.user_id), Client::default());
        users::update(&server.app, id, patch, &operator)
            .await
            .expect("promoted");
        clock.advance(Duration::from_hours(2));
        server
            .get("/auth/me", &user.access)
            .await
            .is_problem(403, "mfa_enrollment_required");
        // Signing in, refreshing and enrolling go on.
        let again = server.log_in(email).await;
        let refreshed = server.refresh(&again.refresh).await.is(200);
        let again = Tokens::of(&refreshed);
        let owner = enrol(&server, email, &again).await;
        server.get("/admin/users", &owner.tokens.access).await.is(200);
        // It is about the account, not about the session.
        server.get("/admin/users", &again.access).await.is(200);
        let doctor = run(&stage, &["doctor"]);
        assert!(
            doctor
                .out
                .contains("active administrators with no second factor: 1;"),
            "{doctor:?}"
        );
        let id = UserId(tokens.user_id);
        assert!(factors::reset(&server.app, id, &operator).await.expect("reset"));
        server
            .get("/admin/users", &owner.tokens.access)
            .await
            .is_problem(403, "mfa_enrollment_required");
        server.stop().await;
    }
);

on_both!(
    another_master_key_keeps_second_factors_unless_the_one_before_leaked,
    async |mut stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let owner = owner(&server, "sara@example.com").await;
        server.stop().await;
        for is_leaked in [false, true] {
            let new = run(&stage, &["key", "generate"]).with(0).out;
            let file = stage.directory().join(format!("new-{is_leaked}.key"));
            std::fs::write(&file, &new).expect("a written file");
            let file = file.to_str().expect("a path");
            let mut arguments = vec!["key", "rotate-master", "--new-file", file];
            arguments.extend(is_leaked.then_some("--leaked"));
            run(&stage, &arguments).with(0);
            if stage.footprint == Footprint::Production {
                stage.set("MASTER_KEY", new.trim());
            }
            let server = stage.start_with(clock.clone()).await;
            if is_leaked {
                server.log_in(&owner.email).await;
            } else {
                let flow = owner.flow(&server).await;
                clock.advance(STEP);
                finish(&server, &flow, "totp", &owner.code(&server)).await.is(200);
                let flow = owner.flow(&server).await;
                finish(&server, &flow, "recovery_code", &owner.codes[0])
                    .await
                    .is(200);
            }
            server.stop().await;
        }
    }
);

on_both!(
    the_file_about_a_person_names_the_factors_and_has_no_secret,
    async |stage: Stage| {
        let server = stage.start_with(standing()).await;
        let owner = owner(&server, "sara@example.com").await;
        let answer = server.get("/auth/me/export", &owner.tokens.access).await.is(200);
        let methods: Vec<_> = answer.json["factors"]
            .as_array()
            .expect("factors")
            .iter()
            .collect();
        assert_eq!(methods.len(), 11);
        assert_eq!(methods[0]["method"], "totp");
        assert!(
            methods[1..]
                .iter()
                .all(|factor| factor["method"] == "recovery_code")
        );
        assert!(methods.iter().all(|factor| factor["created_at"].is_string()));
        for secret in owner.codes.iter().chain([&owner.secret]) {
            assert!(!answer.text.contains(secret.as_str()), "{secret} is in the file");
        }
        server.stop().await;
    }
);
