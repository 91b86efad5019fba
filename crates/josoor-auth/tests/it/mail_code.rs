//! Signing in with a code by mail: at the API and on the pages.

use std::time::Duration;

use futures_util::future::join_all;
use josoor_auth::clock::Clock;
use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::second_factors::{STEP, owner, standing};
use crate::support::browser::{Browser, Page};
use crate::support::command::run;
use crate::support::database;
use crate::support::mailbox::{Mail, mail, mail_number, mails, settled};
use crate::support::server::{Answer, PASSWORD, Server, Stage as TheStage, Tokens, on_both};

fn enable(stage: &mut TheStage) {
    stage.set("JOSOOR_AUTH__LOGIN__MAIL_CODE", "true");
}

/// An account whose address is verified.
pub(crate) async fn verified(server: &Server, email: &str) -> Tokens {
    let tokens = server.register(email).await;
    let token = mail(server, email, "verify_email").await.token();
    let body = json!({ "token": token });
    server
        .post_as("/auth/email/verify", &tokens.access, &body)
        .await
        .is(200);
    tokens
}

async fn ask(server: &Server, email: &str) -> String {
    let asked = server
        .post("/auth/login/code", &json!({ "email": email }))
        .await
        .is(202);
    assert_eq!(asked.json["expires_in"], 1800);
    asked.text_of("flow")
}

async fn give(server: &Server, flow: &str, code: &str) -> Answer {
    let body = json!({ "flow": flow, "code": code });
    server.post("/auth/login/code/verify", &body).await
}

/// The code in a mail, as it is spelled there.
pub(crate) fn code_in(mail: &Mail) -> String {
    let code = Regex::new(r"\b\d{4} \d{4}\b").expect("a pattern");
    let found = code
        .find(&mail.text)
        .unwrap_or_else(|| panic!("no code in {mail:?}"));
    assert!(mail.html.contains(found.as_str()), "{}", mail.html);
    assert!(!mail.subject.contains(found.as_str()));
    found.as_str().to_owned()
}

/// Another code than this one.
pub(crate) fn wrong(code: &str) -> String {
    let first = if code.starts_with('1') { '2' } else { '1' };
    format!("{first}{}", &code[1..])
}

pub(crate) async fn audited(server: &Server, action: &str, outcome: &str, reason: &str) -> i64 {
    let sql = format!(
        "select count(*) from audit where action = '{action}' and outcome = '{outcome}' and coalesce(reason, '') = '{reason}'"
    );
    database::number(&server.app.db, &sql).await
}

/// An answer without what differs from request to request.
pub(crate) fn alike(answer: &Answer) -> (u16, Value) {
    let mut json = answer.json.clone();
    if let Some(members) = json.as_object_mut() {
        members.remove("request_id");
        members.remove("flow");
    }
    (answer.status.as_u16(), json)
}

on_both!(
    a_code_signs_in_at_any_node_and_nothing_differs_for_an_unknown_address,
    async |mut stage: Stage| {
        let off = stage.start().await;
        verified(&off, "person@example.com").await;
        let body = json!({ "email": "person@example.com" });
        off.post("/auth/login/code", &body)
            .await
            .is_problem(404, "not_found");
        give(&off, "x", "12345678").await.is_problem(404, "not_found");
        off.stop().await;

        enable(&mut stage);
        let (one, two) = (stage.start().await, stage.start().await);
        let body = json!({ "email": "person@example.com", "password": "not the password" });
        one.post("/auth/login", &body).await.is(401);
        let failures = "select count(*) from failed_sign_ins";
        assert_eq!(database::number(&one.app.db, failures).await, 1);
        let flow = ask(&one, "Person@Example.com").await;
        let sent = mail(&one, "person@example.com", "sign_in_code").await;
        let code = code_in(&sent);
        assert!(sent.link.contains("/login-link#token="), "{}", sent.link);
        let wrong_known = give(&two, &flow, &wrong(&code)).await;

        let unknown = ask(&one, "stranger@example.com").await;
        settled(&one).await;
        assert!(mails(&one, "stranger@example.com").await.is_empty());
        let wrong_unknown = give(&two, &unknown, &code).await;
        assert_eq!(alike(&wrong_known), alike(&wrong_unknown));
        wrong_unknown.is_problem(401, "mail_code_invalid");
        let users = database::number(&one.app.db, "select count(*) from users").await;
        assert_eq!(users, 1, "no account is created");

        let done = give(&two, &flow, &code).await.is(200);
        let tokens = Tokens::of(&done);
        assert_eq!(tokens.claim("amr"), json!(["mail"]));
        assert_eq!(tokens.claim("acr"), json!("1"));
        one.get("/auth/me", &tokens.access).await.is(200);
        assert_eq!(
            database::number(&one.app.db, failures).await,
            0,
            "failed sign-ins are over"
        );
        give(&one, &flow, &code).await.is_problem(400, "flow_expired");
        assert_eq!(audited(&one, "sign_in", "success", "mail_code").await, 1);
        assert_eq!(audited(&one, "sign_in", "failure", "mail_code_invalid").await, 2);
        assert_eq!(audited(&one, "sign_in_code_request", "success", "").await, 1);
        assert_eq!(
            audited(&one, "sign_in_code_request", "failure", "unknown_address").await,
            1
        );
        one.stop().await;
        two.stop().await;
    }
);

on_both!(
    a_code_works_once_five_tries_and_until_the_next_mail,
    async |mut stage: Stage| {
        enable(&mut stage);
        let clock = Clock::manual(Clock::System.now());
        let (one, two) = (
            stage.start_with(clock.clone()).await,
            stage.start_with(clock.clone()).await,
        );
        let email = "person@example.com";
        verified(&one, email).await;

        // The newest mail replaces the one before.
        let first = ask(&one, email).await;
        let first_code = code_in(&mail(&one, email, "sign_in_code").await);
        let second = ask(&one, email).await;
        let second_code = code_in(&mail_number(&one, email, "sign_in_code", 2).await);
        settled(&one).await;
        give(&one, &first, &first_code)
            .await
            .is_problem(401, "mail_code_invalid");
        // The code belongs to its own flow, and to the one that holds its token.
        give(&one, &first, &second_code)
            .await
            .is_problem(401, "mail_code_invalid");
        let stolen = format!("{}{}", &second[..22], &first[22..]);
        give(&one, &stolen, &second_code)
            .await
            .is_problem(400, "flow_expired");

        // Of many at once, at two nodes, one signs in.
        let tries = (0..16).map(|at| give(if at % 2 == 0 { &one } else { &two }, &second, &second_code));
        let answers = join_all(tries).await;
        let opened = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(opened, 1, "{answers:?}");

        // The fifth wrong code ends it.
        let third = ask(&one, email).await;
        let third_code = code_in(&mail_number(&one, email, "sign_in_code", 3).await);
        for server in [&one, &two, &one, &two, &one] {
            give(server, &third, &wrong(&third_code))
                .await
                .is_problem(401, "mail_code_invalid");
        }
        give(&two, &third, &third_code)
            .await
            .is_problem(400, "flow_expired");

        // Ten minutes after it was sent a code is over.
        let fourth = ask(&one, email).await;
        let fourth_code = code_in(&mail_number(&one, email, "sign_in_code", 4).await);
        settled(&one).await;
        clock.advance(Duration::from_mins(10));
        give(&two, &fourth, &fourth_code)
            .await
            .is_problem(401, "mail_code_invalid");

        // Any change of the account ends it.
        let fifth = ask(&one, email).await;
        let fifth_code = code_in(&mail_number(&one, email, "sign_in_code", 5).await);
        run(&stage, &["user", "deactivate", email]).with(0);
        run(&stage, &["user", "activate", email]).with(0);
        give(&two, &fifth, &fifth_code)
            .await
            .is_problem(401, "mail_code_invalid");
        one.stop().await;
        two.stop().await;
    }
);

on_both!(
    a_second_factor_is_asked_for_and_mail_counts_for_no_level,
    async |mut stage: Stage| {
        enable(&mut stage);
        stage.set("JOSOOR_AUTH__MFA__REQUIRED", "analyst");
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let person = owner(&server, "person@example.com").await;
        clock.advance(STEP);
        let flow = ask(&server, &person.email).await;
        let code = code_in(&mail(&server, &person.email, "sign_in_code").await);
        let asked = give(&server, &flow, &code).await;
        let flow = asked.is_problem(403, "mfa_required").text_of("flow");
        let body = json!({ "flow": flow, "method": "totp", "code": person.code(&server) });
        let tokens = Tokens::of(&server.post("/auth/login/mfa", &body).await.is(200));
        assert_eq!(tokens.claim("amr"), json!(["mail", "otp"]));
        assert_eq!(tokens.claim("acr"), json!("1"));

        // The app alone does not raise the level; with the password it is reached.
        let codes = "/auth/factors/recovery-codes";
        let refused = server.post_as(codes, &tokens.access, &json!({})).await;
        refused.is_problem(401, "step_up_required");
        clock.advance(STEP);
        let body = json!({ "code": person.code(&server) });
        let still = server
            .post_as("/auth/step-up", &tokens.access, &body)
            .await
            .is(200);
        let refused = server
            .post_as(codes, &still.text_of("access_token"), &json!({}))
            .await;
        refused.is_problem(401, "step_up_required");
        let body = json!({ "password": PASSWORD });
        let raised = server
            .post_as("/auth/step-up", &tokens.access, &body)
            .await
            .is(200);
        let access = raised.text_of("access_token");
        server.post_as(codes, &access, &json!({})).await.is(200);
        // Once the session has the password, only a code of the factor counts.
        let again = server.post_as("/auth/step-up", &access, &body).await;
        again.is_problem(422, "validation_failed");

        // A role that must have a second factor gets no code.
        verified(&server, "analyst@example.com").await;
        run(&stage, &["user", "set-role", "analyst@example.com", "analyst"]).with(0);
        ask(&server, "analyst@example.com").await;
        settled(&server).await;
        let kinds: Vec<String> = mails(&server, "analyst@example.com")
            .await
            .into_iter()
            .map(|mail| mail.kind)
            .collect();
        assert!(!kinds.contains(&"sign_in_code".to_owned()), "{kinds:?}");
        assert_eq!(
            audited(&server, "sign_in_code_request", "failure", "not_allowed").await,
            1
        );
        server.stop().await;
    }
);

on_both!(
    who_reads_the_mailbox_takes_over_what_a_stranger_has_registered,
    async |mut stage: Stage| {
        enable(&mut stage);
        let server = stage.start().await;
        let email = "victim@example.com";
        let stranger = server.register(email).await;
        server
            .patch("/auth/me", &stranger.access, &json!({ "full_name": "Mallory" }))
            .await
            .is(200);
        let flow = ask(&server, email).await;
        let code = code_in(&mail(&server, email, "sign_in_code").await);
        let done = give(&server, &flow, &code).await.is(200);
        assert_eq!(done.json["user"]["email_verified"], true);
        assert_eq!(done.json["user"]["full_name"], Value::Null);
        let owner = Tokens::of(&done);
        server
            .get("/auth/me", &stranger.access)
            .await
            .is_problem(401, "password_changed");
        server.get("/auth/me", &owner.access).await.is(200);
        let body = json!({ "email": email, "password": PASSWORD });
        server
            .post("/auth/login", &body)
            .await
            .is_problem(401, "invalid_credentials");
        mail(&server, email, "password_removed").await;

        // An invited user is sent the invitation again.
        server.register_admin("admin@example.com").await;
        let admin = server.log_in("admin@example.com").await;
        let body = json!({ "email": "invited@example.com" });
        server.post_as("/admin/users", &admin.access, &body).await.is(201);
        mail(&server, "invited@example.com", "invitation").await;
        ask(&server, "invited@example.com").await;
        mail_number(&server, "invited@example.com", "invitation", 2).await;
        server.stop().await;
    }
);

on_both!(
    requests_are_counted_alike_for_every_address,
    async |mut stage: Stage| {
        enable(&mut stage);
        stage.set_limit("mail_code_account", "2/1h");
        let server = stage.start().await;
        verified(&server, "person@example.com").await;
        for email in ["person@example.com", "stranger@example.com"] {
            for _ in 0..2 {
                ask(&server, email).await;
            }
            let body = json!({ "email": email });
            server
                .post("/auth/login/code", &body)
                .await
                .is_problem(429, "rate_limited");
        }
        server.stop().await;
    }
);

/// Asks for a code on the page, and gives the page that takes it.
async fn ask_on_page(browser: &mut Browser, server: &Server, email: &str, heading: &str) -> Page {
    let page = browser
        .open(server, "/login-code?return_to=%2Faccount%2Factivity")
        .await;
    browser
        .follow(server, &page, "", &[("email", email)])
        .await
        .shows(200, heading)
}

/// Opens the link of a mail, as the page's script does.
async fn open_link(browser: &mut Browser, server: &Server, mail: &Mail) -> Page {
    let page = browser.open(server, "/login-link").await;
    let token = mail.token();
    browser.follow(server, &page, "link", &[("link", &token)]).await
}

on_both!(
    the_pages_take_the_code_and_the_link_signs_in_only_the_browser_that_asked,
    async |mut stage: Stage| {
        let off = stage.start().await;
        let email = "person@example.com";
        verified(&off, email).await;
        let mut browser = Browser::new("en");
        let page = browser.open(&off, "/login").await;
        assert!(!page.text.contains("login-code"), "{}", page.text);
        assert_eq!(browser.open(&off, "/login-code").await.status, 404);
        off.stop().await;

        enable(&mut stage);
        let (one, two) = (stage.start().await, stage.start().await);
        let page = browser.open(&one, "/login?return_to=%2Fx").await;
        assert!(page.text.contains("/login-code?return_to=%2Fx"), "{}", page.text);

        // With the code, at any node. What is no code is said beside the field.
        let page = ask_on_page(&mut browser, &one, email, "Enter the code").await;
        let code = code_in(&mail(&one, email, "sign_in_code").await);
        browser
            .submit(&one, &page, "code", &[("code", "123")])
            .await
            .shows(422, "Enter the code");
        let refused = browser
            .follow(&two, &page, "code", &[("code", &wrong(&code))])
            .await
            .shows(200, "Enter the code");
        assert!(
            refused.words().contains("This code isn't valid"),
            "{}",
            refused.words()
        );
        let done = browser.submit(&two, &page, "code", &[("code", &code)]).await;
        assert_eq!(done.to(), "/account/activity");
        assert!(browser.cookie("josoor_refresh").is_some());

        // Elsewhere, such as in a scanner of mails that opens and submits everything, the link shows the code and signs in nothing.
        let mut asking = Browser::new("ar");
        let page = ask_on_page(&mut asking, &one, email, "أدخل الرمز").await;
        let sent = mail_number(&one, email, "sign_in_code", 2).await;
        let code = code_in(&sent);
        for method in [Method::GET, Method::HEAD] {
            let opened = one
                .request(method, "/login-link")
                .send()
                .await
                .expect("an answer");
            assert_eq!(opened.status(), 200);
        }
        let mut scanner = Browser::new("en");
        for _ in 0..3 {
            let shown = open_link(&mut scanner, &two, &sent).await.shows(200, "Your code");
            assert!(shown.words().contains(&code), "{}", shown.words());
            assert!(
                !shown.text.contains("<form method=\"post\" action=\"/auth/pages"),
                "{}",
                shown.text
            );
        }
        let (address, mut fields) = scanner.open(&two, "/login-link").await.form("link");
        fields.retain(|(name, _)| name == "form");
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        scanner.post(&two, &address, &fields).await;
        assert!(scanner.cookie("josoor_refresh").is_none());
        // The asking browser goes on as if nothing had happened.
        assert!(asking.cookie("josoor_refresh").is_none());
        let done = asking.submit(&one, &page, "code", &[("code", &code)]).await;
        assert_eq!(done.to(), "/account/activity");
        let again = open_link(&mut scanner, &two, &sent).await;
        again.shows(200, "This link was already used");

        // In the browser that asked a button signs in, and leads to where the sign-in began.
        let mut same = Browser::new("en");
        ask_on_page(&mut same, &one, email, "Enter the code").await;
        let sent = mail_number(&one, email, "sign_in_code", 3).await;
        let page = open_link(&mut same, &two, &sent).await.shows(200, "Sign in");
        assert!(page.words().contains(email), "{}", page.words());
        assert!(same.cookie("josoor_refresh").is_none());
        let done = same.submit(&two, &page, "", &[]).await;
        assert_eq!(done.to(), "/account/activity");
        assert!(same.cookie("josoor_refresh").is_some());
        one.stop().await;
        two.stop().await;
    }
);

on_both!(
    the_page_asks_for_the_second_factor_after_the_code,
    async |mut stage: Stage| {
        enable(&mut stage);
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let person = owner(&server, "person@example.com").await;
        clock.advance(STEP);
        let mut browser = Browser::new("en");
        let page = ask_on_page(&mut browser, &server, &person.email, "Enter the code").await;
        let code = code_in(&mail(&server, &person.email, "sign_in_code").await);
        let page = browser
            .follow(&server, &page, "code", &[("code", &code)])
            .await
            .shows(200, "Enter your code");
        assert!(browser.cookie("josoor_refresh").is_none());
        let fields = [("code", person.code(&server))];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        let done = browser.submit(&server, &page, "code", &fields).await;
        assert_eq!(done.to(), "/account/activity");
        server.stop().await;
    }
);

on_both!(
    a_session_is_verified_once_more_by_mail_where_the_account_has_nothing_else,
    async |mut stage: Stage| {
        enable(&mut stage);
        stage.set("JOSOOR_AUTH__ADMIN__STEP_UP", "always");
        let clock = Clock::manual(Clock::System.now());
        let server = stage.start_with(clock.clone()).await;
        // An account that was registered by somebody else has no password once its owner has taken it over.
        let email = "owner@example.com";
        server.register(email).await;
        run(&stage, &["user", "set-role", email, "admin"]).with(0);
        let flow = ask(&server, email).await;
        let code = code_in(&mail(&server, email, "sign_in_code").await);
        let admin = Tokens::of(&give(&server, &flow, &code).await.is(200));
        clock.advance(Duration::from_mins(11));
        let invite = json!({ "email": "made@example.com" });
        let refused = server.post_as("/admin/users", &admin.access, &invite).await;
        refused.is_problem(401, "step_up_required");

        let by_mail = json!({ "code": "12345678" });
        server
            .post_as("/auth/step-up", &admin.access, &by_mail)
            .await
            .is_problem(400, "flow_expired");
        server
            .post_as("/auth/step-up/code", &admin.access, &json!({}))
            .await
            .is(202);
        let code = code_in(&mail(&server, email, "step_up_code").await);
        settled(&server).await;
        server
            .post_as("/auth/step-up", &admin.access, &json!({ "code": wrong(&code) }))
            .await
            .is_problem(401, "mail_code_invalid");
        let body = json!({ "code": code });
        let raised = server
            .post_as("/auth/step-up", &admin.access, &body)
            .await
            .is(200);
        let raised = raised.text_of("access_token");
        server.post_as("/admin/users", &raised, &invite).await.is(201);
        server
            .post_as("/auth/step-up", &admin.access, &body)
            .await
            .is_problem(400, "flow_expired");

        // Where there is a password, the password is asked for.
        let other = verified(&server, "other@example.com").await;
        server
            .post_as("/auth/step-up/code", &other.access, &json!({}))
            .await
            .is_problem(422, "validation_failed");
        server
            .post_as("/auth/step-up", &other.access, &body)
            .await
            .is_problem(422, "validation_failed");
        server.stop().await;
    }
);
