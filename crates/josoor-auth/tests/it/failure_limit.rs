//! After many failed sign-ins in a row: a code by mail besides the right password, on devices that the account does not know.

use std::time::Duration;

use josoor_auth::clock::Clock;
use josoor_auth::worker::purge;
use serde_json::{Value, json};

use crate::mail_code::{alike, audited, code_in, verified, wrong};
use crate::second_factors::{STEP, owner, standing};
use crate::support::browser::Browser;
use crate::support::database;
use crate::support::mailbox::{mail, mails, settled};
use crate::support::server::{Answer, PASSWORD, Server, Stage as TheStage, Tokens, on_both};

/// After so many failures the tests' accounts take a code.
const LIMIT: usize = 3;

fn limit(stage: &mut TheStage) {
    stage.set("JOSOOR_AUTH__LOGIN__FAILURES_UNTIL_CODE", &LIMIT.to_string());
}

async fn log_in(server: &Server, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    server.post("/auth/login", &body).await
}

async fn fail(server: &Server, email: &str) {
    for _ in 0..LIMIT {
        log_in(server, email, "a wrong password")
            .await
            .is_problem(401, "invalid_credentials");
    }
}

async fn counted(server: &Server) -> i64 {
    database::number(&server.app.db, "select count(*) from failed_sign_ins").await
}

async fn finish(server: &Server, flow: &str, code: &str) -> Answer {
    let body = json!({ "flow": flow, "method": "mail_code", "code": code });
    server.post("/auth/login/mfa", &body).await
}

on_both!(
    strangers_see_no_difference_and_the_owner_gets_in_with_a_code_at_any_node,
    async |mut stage: Stage| {
        limit(&mut stage);
        let clock = Clock::manual(Clock::System.now());
        let (one, two) = (
            stage.start_with(clock.clone()).await,
            stage.start_with(clock.clone()).await,
        );
        let (email, unknown) = ("person@example.com", "stranger@example.com");
        verified(&one, email).await;
        for at in 0..2 * LIMIT {
            let server = if at % 2 == 0 { &one } else { &two };
            let known = log_in(server, email, "a wrong password").await;
            let stranger = log_in(server, unknown, "a wrong password").await;
            assert_eq!(alike(&known), alike(&stranger), "failure {at}");
            known.is_problem(401, "invalid_credentials");
        }
        assert_eq!(counted(&one).await, 2, "counted alike");
        mail(&one, email, "failure_limit").await;
        settled(&one).await;
        assert!(mails(&one, unknown).await.is_empty());
        assert_eq!(audited(&one, "failure_limit", "success", "").await, 1);

        // Time alone changes nothing for the account; it removes the count of the unknown address.
        clock.advance(Duration::from_hours(31 * 24));
        purge::purge(&one.app).await.expect("purged");
        assert_eq!(counted(&one).await, 1);

        let asked = log_in(&one, email, PASSWORD)
            .await
            .is_problem(403, "mfa_required");
        assert_eq!(asked.json["methods"], json!(["mail_code"]));
        let flow = asked.text_of("flow");
        let sent = mail(&one, email, "confirm_sign_in").await;
        let code = code_in(&sent);
        assert!(!sent.text.contains("login-link"), "{}", sent.text);
        settled(&one).await;
        finish(&two, &flow, &wrong(&code))
            .await
            .is_problem(401, "mail_code_invalid");
        // A code belongs to its own sign-in, which another method does not finish.
        let other = log_in(&two, email, PASSWORD)
            .await
            .is_problem(403, "mfa_required");
        finish(&two, &other.text_of("flow"), &code)
            .await
            .is_problem(401, "mail_code_invalid");
        let body = json!({ "flow": flow, "method": "totp", "code": "123456" });
        two.post("/auth/login/mfa", &body)
            .await
            .is_problem(401, "mfa_code_invalid");
        let tokens = Tokens::of(&finish(&two, &flow, &code).await.is(200));
        assert_eq!(tokens.claim("amr"), json!(["pwd", "mail"]));
        assert_eq!(tokens.claim("acr"), json!("1"));
        one.get("/auth/me", &tokens.access).await.is(200);
        finish(&one, &flow, &code).await.is_problem(400, "flow_expired");

        // The sign-in begins the count again.
        assert_eq!(counted(&one).await, 0);
        log_in(&one, email, PASSWORD).await.is(200);
        fail(&one, email).await;
        // The first mail is a month old and was removed.
        mail(&one, email, "failure_limit").await;
        log_in(&one, email, PASSWORD)
            .await
            .is_problem(403, "mfa_required");

        // And so does a reset.
        let body = json!({ "email": email });
        one.post("/auth/password/forgot", &body).await.is(202);
        let token = mail(&one, email, "reset_password").await.token();
        let body = json!({ "token": token, "new_password": "another long sentence" });
        two.post("/auth/password/reset", &body).await.is(200);
        log_in(&one, email, "another long sentence").await.is(200);
        one.stop().await;
        two.stop().await;
    }
);

on_both!(
    a_known_device_goes_on_and_the_page_asks_a_new_one_for_the_code,
    async |mut stage: Stage| {
        limit(&mut stage);
        let server = stage.start().await;
        let email = "person@example.com";
        verified(&server, email).await;
        let fields = [("email", email), ("password", PASSWORD)];
        let mut known = Browser::new("en");
        let page = known.open(&server, "/login").await;
        assert_eq!(known.submit(&server, &page, "", &fields).await.to(), "/account");
        let page = known.open(&server, "/sign-out").await;
        known.submit(&server, &page, "", &[]).await.to();

        fail(&server, email).await;
        let mut new = Browser::new("en");
        let page = new.open(&server, "/login?return_to=%2Fx").await;
        let page = new
            .follow(&server, &page, "", &fields)
            .await
            .shows(200, "Enter your code");
        assert!(page.words().contains("we emailed you a code"), "{}", page.words());
        assert!(!page.text.contains("trust_device"), "{}", page.text);
        let code = code_in(&mail(&server, email, "confirm_sign_in").await);
        let refused = new
            .follow(&server, &page, "code", &[("code", &wrong(&code))])
            .await
            .shows(200, "Enter your code");
        assert!(
            refused.words().contains("This code isn't valid"),
            "{}",
            refused.words()
        );

        // Meanwhile the device that the account knows signs in by the password.
        let page = known.open(&server, "/login").await;
        assert_eq!(known.submit(&server, &page, "", &fields).await.to(), "/account");

        settled(&server).await;
        let done = new.submit(&server, &refused, "code", &[("code", &code)]).await;
        assert_eq!(done.to(), "/x");
        assert!(new.cookie("josoor_refresh").is_some());
        server.stop().await;
    }
);

on_both!(
    no_owner_is_asked_for_a_code_that_would_not_arrive_or_is_not_needed,
    async |mut stage: Stage| {
        limit(&mut stage);
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;

        // The address is not verified: the code might go to somebody else.
        let email = "unverified@example.com";
        server.register(email).await;
        fail(&server, email).await;
        log_in(&server, email, PASSWORD).await.is(200);

        // A second factor is more than the code.
        let person = owner(&server, "owner@example.com").await;
        fail(&server, &person.email).await;
        clock.advance(STEP);
        let asked = log_in(&server, &person.email, PASSWORD).await;
        let asked = asked.is_problem(403, "mfa_required");
        assert_eq!(asked.json["methods"], json!(["totp", "recovery_code"]));
        let body = json!({ "flow": asked.text_of("flow"), "method": "totp", "code": person.code(&server) });
        server.post("/auth/login/mfa", &body).await.is(200);
        settled(&server).await;
        for email in [email, person.email.as_str()] {
            let kinds: Vec<String> = mails(&server, email)
                .await
                .into_iter()
                .map(|mail| mail.kind)
                .collect();
            assert!(!kinds.contains(&"failure_limit".to_owned()), "{email}: {kinds:?}");
        }
        assert_eq!(counted(&server).await, 0);
        server.stop().await;

        // Without a mail server, and with the setting at 0.
        stage.dev = false;
        let server = stage.start_with(clock.clone()).await;
        database::execute(
            &server.app.db,
            "update users set email_verified_at = created_at where email_key = 'unverified@example.com'",
        )
        .await;
        fail(&server, email).await;
        log_in(&server, email, PASSWORD).await.is(200);
        server.stop().await;
        stage.set("JOSOOR_AUTH__LOGIN__FAILURES_UNTIL_CODE", "0");
        stage.dev = true;
        let server = stage.start_with(clock).await;
        fail(&server, email).await;
        assert_eq!(counted(&server).await, 0);
        let signed_in = log_in(&server, email, PASSWORD).await.is(200);
        assert_ne!(signed_in.json["user"], Value::Null);
        server.stop().await;
    }
);
