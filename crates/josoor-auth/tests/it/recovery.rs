//! Forgotten passwords, proofs of address, changes of password and address, invitations. The numbers are those of the list
//! of known attacks in docs/SECURITY-MODEL.md.

use std::time::Duration;

use josoor_auth::clock::Clock;
use josoor_auth::domain::{Purpose, RevokeReason};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::mailbox::{mail, mail_number, mails, settled};
use crate::support::requests::{forgot, log_in, reset, verify};
use crate::support::server::{Answer, Footprint, PASSWORD, Server, Stage, Tokens, eventually, on_both};
use crate::support::{database, raw};

const NEW: &str = "another long sentence";

async fn audit(server: &Server, action: &str, outcome: &str) -> i64 {
    let sql = format!("select count(*) from audit where action = '{action}' and outcome = '{outcome}'");
    database::number(&server.app.db, &sql).await
}

/// Verifies the address of a fresh account by its own session.
async fn verify_own(server: &Server, email: &str, tokens: &Tokens) {
    let token = mail(server, email, "verify_email").await.token();
    server
        .post_as("/auth/email/verify", &tokens.access, &json!({ "token": token }))
        .await
        .is(200);
}

on_both!(
    a_forgotten_password_is_reset_and_ends_every_session,
    async |stage: Stage| {
        let server = stage.start().await;
        let (one, other) = (
            server.register("sara@example.com").await,
            server.log_in("sara@example.com").await,
        );
        verify_own(&server, "sara@example.com", &one).await;
        let answer = forgot(&server, "SARA@example.com").await.is(202);
        assert_eq!(answer.json["success"], true);
        let link = mail(&server, "sara@example.com", "reset_password").await;
        assert!(
            link.link
                .starts_with("http://localhost:8000/reset-password#token="),
            "{link:?}"
        );
        assert!(
            link.text.contains(&link.link) && link.text.contains("30 minutes"),
            "{}",
            link.text
        );
        // A password that may not be set leaves the link as it was.
        for (password, code) in [
            ("short", "password_too_short"),
            ("password1234", "password_too_common"),
        ] {
            let refused = reset(&server, &link.token(), password)
                .await
                .is_problem(422, "validation_failed");
            assert_eq!(refused.json["errors"][0]["field"], "new_password");
            assert_eq!(refused.json["errors"][0]["code"], code);
        }
        reset(&server, &link.token(), NEW).await.is(200);
        for tokens in [&one, &other] {
            server
                .get("/auth/me", &tokens.access)
                .await
                .is_problem(401, "password_changed");
            server
                .refresh(&tokens.refresh)
                .await
                .is_problem(401, "password_changed");
        }
        log_in(&server, "sara@example.com", PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
        log_in(&server, "sara@example.com", NEW).await.is(200);
        mail(&server, "sara@example.com", "password_changed").await;
        // Used is used, also for who knows it.
        reset(&server, &link.token(), "yet another sentence")
            .await
            .is_problem(400, "link_used");
        log_in(&server, "sara@example.com", NEW).await.is(200);
        assert_eq!(audit(&server, "password_reset", "success").await, 1);
        assert_eq!(audit(&server, "password_reset_request", "success").await, 1);
        server.stop().await;
    }
);

on_both!(
    t26_t39_of_many_resets_with_one_link_one_works,
    async |stage: Stage| {
        let server = stage.start().await;
        server.register("race@example.com").await;
        forgot(&server, "race@example.com").await.is(202);
        let token = mail(&server, "race@example.com", "reset_password").await.token();
        let tries = (0..64).map(|number| {
            let (server, token) = (&server, &token);
            async move {
                let password = format!("a sentence with the number {number}");
                loop {
                    let answer = reset(server, token, &password).await;
                    // The hasher's queue is shorter than this crowd.
                    if answer.status != 503 {
                        return (password, answer);
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
        let answers = futures_util::future::join_all(tries).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, answer)| answer.status == 200);
        assert_eq!(won.len(), 1);
        for (password, answer) in &lost {
            assert_eq!(answer.code(), "link_used", "{answer:?}");
            assert_eq!(log_in(&server, "race@example.com", password).await.status, 401);
        }
        log_in(&server, "race@example.com", &won[0].0).await.is(200);
        settled(&server).await;
        mail(&server, "race@example.com", "password_changed").await;
        server.stop().await;
    }
);

on_both!(
    t25_t27_t28_t46_a_link_is_good_once_while_it_is_the_newest_and_whole,
    async |stage: Stage| {
        let clock = Clock::manual(Clock::System.now());
        let server = stage.start_with(clock.clone()).await;
        server.register("link@example.com").await;
        forgot(&server, "link@example.com").await.is(202);
        let first = mail(&server, "link@example.com", "reset_password").await.token();
        forgot(&server, "link@example.com").await.is(202);
        let second = mail_number(&server, "link@example.com", "reset_password", 2)
            .await
            .token();
        // T28
        reset(&server, &first, NEW).await.is_problem(400, "link_expired");
        // T46
        let mut garbled = vec![
            String::new(),
            "x".to_owned(),
            "x".repeat(64),
            "x".repeat(10_000),
            format!("{second}="),
        ];
        for cut in [1, 32, 63] {
            garbled.push(second[..cut].to_owned());
            garbled.push(second[cut..].to_owned());
        }
        for position in [0, 21, 22, 40, 63] {
            let mut bytes = second.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            garbled.push(String::from_utf8(bytes).expect("ASCII"));
        }
        for token in &garbled {
            reset(&server, token, NEW).await.is_problem(400, "link_invalid");
        }
        // Of another purpose, and for another endpoint.
        let proof = mail(&server, "link@example.com", "verify_email").await.token();
        reset(&server, &proof, NEW).await.is_problem(400, "link_invalid");
        verify(&server, &second, Some(PASSWORD))
            .await
            .is_problem(400, "link_invalid");
        // T27: whose password it sets, the token alone says.
        server.register("other@example.com").await;
        for (field, value) in [("email", json!("other@example.com")), ("user_id", json!(2))] {
            let body = json!({ "token": second, "new_password": NEW, (field): value });
            server
                .post("/auth/password/reset", &body)
                .await
                .is_problem(422, "unknown_field");
        }
        // Past its time, also once it has been cleared away.
        clock.advance(Duration::from_mins(30));
        reset(&server, &second, NEW).await.is_problem(400, "link_expired");
        clock.advance(Duration::from_hours(49));
        josoor_auth::worker::purge::purge(&server.app)
            .await
            .expect("purged");
        reset(&server, &second, NEW).await.is_problem(400, "link_expired");
        log_in(&server, "link@example.com", PASSWORD).await.is(200);
        log_in(&server, "other@example.com", PASSWORD).await.is(200);
        server.stop().await;
    }
);

on_both!(
    t06_t07_t09_t29_asking_tells_nothing_and_mails_only_the_owner,
    async |stage: Stage| {
        let server = stage.start().await;
        server.register("mike@example.com").await;
        let known = forgot(&server, "mike@example.com").await.is(202);
        let unknown = forgot(&server, "unknown@example.com").await.is(202);
        assert_eq!(known.json["message"], unknown.json["message"]);
        let names = |answer: &Answer| {
            let mut names: Vec<_> = answer
                .headers
                .iter()
                .map(|(name, value)| {
                    let varies = ["date", "x-request-id"].contains(&name.as_str());
                    (
                        name.to_string(),
                        if varies {
                            String::new()
                        } else {
                            format!("{value:?}")
                        },
                    )
                })
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(&known), names(&unknown));
        // T09: an address that only looks like it is another one.
        for look_alike in ["mıke@example.com", "mıKE@example.com"] {
            forgot(&server, look_alike).await.is(202);
        }
        for refused in ["\u{212A}@example.com", "ﬁ@example.com"] {
            forgot(&server, refused)
                .await
                .is_problem(422, "validation_failed");
        }
        // T06, T07: one address, or none.
        for email in [
            json!("a@example.com,mike@example.com"),
            json!("mike@example.com;a@example.com"),
            json!("a@example.com mike@example.com"),
            json!("\"a,b\"@example.com"),
            json!("mike@example.com\r\nBcc: a@example.com"),
            json!(["mike@example.com", "evil@example.com"]),
            json!({ "0": "mike@example.com" }),
        ] {
            let body = json!({ "email": email });
            server
                .post("/auth/password/forgot", &body)
                .await
                .is_problem(422, "validation_failed");
        }
        let twice = r#"{"email":"mike@example.com","email":"evil@example.com"}"#;
        let request = server
            .request(Method::POST, "/auth/password/forgot")
            .header("content-type", "application/json")
            .body(twice);
        server.send(request).await.is_problem(400, "malformed_json");
        settled(&server).await;
        // Mail goes to the stored address alone.
        mail(&server, "mike@example.com", "reset_password").await;
        for stranger in [
            "unknown@example.com",
            "mıke@example.com",
            "mıKE@example.com",
            "evil@example.com",
            "a@example.com",
        ] {
            assert!(mails(&server, stranger).await.is_empty(), "{stranger}");
        }
        assert_eq!(audit(&server, "password_reset_request", "failure").await, 3);
        server.stop().await;
    }
);

on_both!(
    t23_t24_links_lead_to_the_public_url_whatever_the_request_says,
    async |stage: Stage| {
        let server = stage.start().await;
        server.register("host@example.com").await;
        let body = r#"{"email":"host@example.com"}"#;
        let heads = [
            "POST /auth/password/forgot HTTP/1.1\r\nHost: evil.example\r\n",
            "POST /auth/password/forgot HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 444\r\nX-Forwarded-Prefix: /evil\r\n",
            "POST /auth/password/forgot HTTP/1.1\r\nHost: x\r\nForwarded: host=evil.example;proto=https;for=evil.example\r\n",
            "POST /auth/password/forgot HTTP/1.1\r\nHost: x\r\nX-Original-URL: http://evil.example/\r\nX-Rewrite-URL: /evil\r\nX_Forwarded_Host: evil.example\r\n",
            "POST http://evil.example/auth/password/forgot HTTP/1.1\r\nHost: evil.example\r\n",
            "POST /auth/password/forgot HTTP/1.0\r\n",
        ];
        for (number, head) in heads.iter().enumerate() {
            let request = format!(
                "{head}Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let answer = raw::exchange(server.address, request.as_bytes(), Duration::from_secs(2)).await;
            assert_eq!(raw::status(&answer), 202, "{head}: {answer}");
            let mail = mail_number(&server, "host@example.com", "reset_password", number + 1).await;
            assert!(
                mail.link
                    .starts_with("http://localhost:8000/reset-password#token="),
                "{mail:?}"
            );
            assert!(!format!("{mail:?}").contains("evil"), "{mail:?}");
        }
        server.stop().await;
    }
);

on_both!(
    t13_a_reset_that_verifies_an_address_keeps_nothing_of_the_registration,
    async |stage: Stage| {
        let server = stage.start().await;
        let body = json!({ "email": "victim@example.com", "password": PASSWORD, "full_name": "Attacker" });
        let attacker = Tokens::of(&server.post("/auth/register", &body).await.is(201));
        let body = json!({ "new_email": "attacker@example.com", "password": PASSWORD });
        server
            .post_as("/auth/email/change", &attacker.access, &body)
            .await
            .is(202);
        let change = mail(&server, "attacker@example.com", "confirm_email")
            .await
            .token();
        let proof = mail(&server, "victim@example.com", "verify_email").await.token();
        // A click of the victim alone verifies nothing for the attacker.
        let wanted = verify(&server, &proof, None)
            .await
            .is_problem(422, "validation_failed");
        assert_eq!(
            (
                &wanted.json["errors"][0]["field"],
                &wanted.json["errors"][0]["code"]
            ),
            (&json!("password"), &json!("required"))
        );
        verify(&server, &proof, Some("a guess of the victim"))
            .await
            .is_problem(401, "invalid_credentials");
        let stranger = server.register("stranger@example.com").await;
        let refused = server
            .post_as("/auth/email/verify", &stranger.access, &json!({ "token": proof }))
            .await;
        refused.is_problem(422, "validation_failed");

        forgot(&server, "victim@example.com").await.is(202);
        let token = mail(&server, "victim@example.com", "reset_password")
            .await
            .token();
        reset(&server, &token, NEW).await.is(200);
        log_in(&server, "victim@example.com", PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
        server
            .get("/auth/me", &attacker.access)
            .await
            .is_problem(401, "password_changed");
        server
            .refresh(&attacker.refresh)
            .await
            .is_problem(401, "password_changed");
        for password in [PASSWORD, NEW] {
            verify(&server, &change, Some(password))
                .await
                .is_problem(400, "link_expired");
            verify(&server, &proof, Some(password))
                .await
                .is_problem(400, "link_expired");
        }
        let owner = log_in(&server, "victim@example.com", NEW).await.is(200);
        assert_eq!(owner.json["user"]["full_name"], Value::Null);
        assert_eq!(owner.json["user"]["email_verified"], true);
        assert_eq!(owner.json["user"]["id"].as_i64(), Some(attacker.user_id));
        server.stop().await;
    }
);

on_both!(
    a_changed_password_ends_the_other_sessions_and_keeps_this_one,
    async |stage: Stage| {
        let server = stage.start().await;
        let near = stage.start().await;
        let own = server.register("change@example.com").await;
        let other = server.log_in("change@example.com").await;
        near.get("/auth/me", &other.access).await.is(200);
        let rotated = Tokens::of(&server.refresh(&own.refresh).await.is(200));
        let change = async |token: &str, current: &str, new: &str| {
            let body = json!({ "current_password": current, "new_password": new });
            server.post_as("/auth/password/change", token, &body).await
        };
        change(&own.access, "not the password", NEW)
            .await
            .is_problem(401, "invalid_credentials");
        change(&own.access, PASSWORD, "password1234")
            .await
            .is_problem(422, "validation_failed");
        let changed = Tokens::of(&change(&own.access, PASSWORD, NEW).await.is(200));
        assert_eq!(changed.claim("sid"), own.claim("sid"));
        server
            .get("/auth/me", &other.access)
            .await
            .is_problem(401, "password_changed");
        server
            .refresh(&other.refresh)
            .await
            .is_problem(401, "password_changed");
        tokio::time::sleep(Duration::from_millis(250)).await;
        near.get("/auth/me", &other.access)
            .await
            .is_problem(401, "password_changed");
        near.get("/auth/me", &changed.access).await.is(200);
        // The earlier refresh tokens of this session are dead, without alarm, on any node.
        for old in [&own.refresh, &rotated.refresh] {
            near.refresh(old).await.is_problem(401, "password_changed");
        }
        server.get("/auth/me", &changed.access).await.is(200);
        let next = Tokens::of(&near.refresh(&changed.refresh).await.is(200));
        server.get("/auth/me", &next.access).await.is(200);
        assert_eq!(audit(&server, "refresh_reuse", "failure").await, 0);
        log_in(&server, "change@example.com", PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
        log_in(&server, "change@example.com", NEW).await.is(200);
        mail(&server, "change@example.com", "password_changed").await;
        assert_eq!(audit(&server, "password_change", "success").await, 1);
        assert_eq!(audit(&server, "password_change", "failure").await, 1);
        near.stop().await;
        server.stop().await;
    }
);

on_both!(of_two_changes_at_once_one_wins, async |stage: Stage| {
    let server = stage.start().await;
    let own = server.register("two@example.com").await;
    let change = async |new: &str| {
        let body = json!({ "current_password": PASSWORD, "new_password": new });
        server.post_as("/auth/password/change", &own.access, &body).await
    };
    let (one, two) = tokio::join!(change("the first sentence"), change("the second sentence"));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401], "{one:?} {two:?}");
    let winner = if one.status == 200 {
        "the first sentence"
    } else {
        "the second sentence"
    };
    log_in(&server, "two@example.com", winner).await.is(200);
    server.stop().await;
});

on_both!(
    t11_another_address_takes_its_proof_and_can_be_taken_back,
    async |stage: Stage| {
        let server = stage.start().await;
        let own = server.register("old@example.com").await;
        verify_own(&server, "old@example.com", &own).await;
        let other = server.log_in("old@example.com").await;
        forgot(&server, "old@example.com").await.is(202);
        let pending_reset = mail(&server, "old@example.com", "reset_password").await.token();
        let change = async |new: &str, password: &str| {
            let body = json!({ "new_email": new, "password": password });
            server.post_as("/auth/email/change", &own.access, &body).await
        };
        change("new@example.com", "wrong password")
            .await
            .is_problem(401, "invalid_credentials");
        let free = change("new@example.com", PASSWORD).await.is(202);
        // Before another request replaces its link.
        mail(&server, "new@example.com", "confirm_email").await;
        // A taken address: the same answer, and its owner gets a mail.
        server.register("taken@example.com").await;
        let taken = change("taken@example.com", PASSWORD).await.is(202);
        assert_eq!(free.json["message"], taken.json["message"]);
        mail(&server, "taken@example.com", "email_wanted").await;
        change("new@example.com", PASSWORD).await.is(202);
        let proof = mail_number(&server, "new@example.com", "confirm_email", 2)
            .await
            .token();
        assert_eq!(
            server.get("/auth/me", &own.access).await.json["email"],
            "old@example.com"
        );
        verify(&server, &proof, None)
            .await
            .is_problem(422, "validation_failed");
        server
            .post_as("/auth/email/verify", &other.access, &json!({ "token": proof }))
            .await
            .is(200);
        let me = server.get("/auth/me", &own.access).await.is(200);
        assert_eq!(
            (&me.json["email"], &me.json["email_verified"]),
            (&json!("new@example.com"), &json!(true))
        );
        server
            .get("/auth/me", &other.access)
            .await
            .is_problem(401, "session_revoked");
        reset(&server, &pending_reset, NEW)
            .await
            .is_problem(400, "link_expired");
        log_in(&server, "old@example.com", PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
        log_in(&server, "new@example.com", PASSWORD).await.is(200);
        mail(&server, "new@example.com", "email_change_done").await;
        let notice = mail(&server, "old@example.com", "email_changed").await;
        assert!(
            notice.text.contains("new@example.com") && notice.text.contains("72 hours"),
            "{}",
            notice.text
        );
        // Another change does not take the first owner's way back away.
        let again = server.log_in("new@example.com").await;
        let body = json!({ "new_email": "third@example.com", "password": PASSWORD });
        server
            .post_as("/auth/email/change", &again.access, &body)
            .await
            .is(202);
        let third = mail(&server, "third@example.com", "confirm_email").await.token();
        verify(&server, &third, Some(PASSWORD)).await.is(200);
        let second_undo = mail(&server, "new@example.com", "email_changed").await.token();
        verify(&server, &notice.token(), None).await.is(200);
        server
            .get("/auth/me", &again.access)
            .await
            .is_problem(401, "session_revoked");
        log_in(&server, "third@example.com", PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
        // The account waits for its owner: see undo.rs.
        log_in(&server, "old@example.com", PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
        verify(&server, &second_undo, None)
            .await
            .is_problem(400, "link_expired");
        verify(&server, &notice.token(), None)
            .await
            .is_problem(400, "link_used");
        mail(&server, "old@example.com", "account_frozen").await;
        for (action, count) in [
            ("email_change", 2),
            ("email_change_undo", 1),
            ("email_change_request", 4),
        ] {
            assert_eq!(audit(&server, action, "success").await, count, "{action}");
        }
        server.stop().await;
    }
);

on_both!(
    an_address_is_verified_by_session_or_password_and_asked_for_again,
    async |stage: Stage| {
        let server = stage.start().await;
        let own = server.register("verify@example.com").await;
        let first = mail(&server, "verify@example.com", "verify_email").await;
        assert!(
            first
                .link
                .starts_with("http://localhost:8000/verify-email#token="),
            "{first:?}"
        );
        // GET shows a page and does nothing.
        let page = server
            .send(
                server
                    .request(Method::GET, "/verify-email")
                    .header("accept-language", "ar"),
            )
            .await
            .is(200);
        assert!(
            page.text.contains(r#"<html lang="ar" dir="rtl">"#),
            "{}",
            page.text
        );
        assert_eq!(page.headers["referrer-policy"], "same-origin");
        server
            .send(server.request(Method::GET, "/auth/email/verify"))
            .await
            .is_problem(405, "method_not_allowed");
        server
            .post_as("/auth/email/verify/resend", &own.access, &json!({}))
            .await
            .is(202);
        let second = mail_number(&server, "verify@example.com", "verify_email", 2)
            .await
            .token();
        verify(&server, &first.token(), Some(PASSWORD))
            .await
            .is_problem(400, "link_expired");
        for email in ["VERIFY@example.com", "unknown@example.com"] {
            server
                .post("/auth/email/verify/resend", &json!({ "email": email }))
                .await
                .is(202);
        }
        server
            .post("/auth/email/verify/resend", &json!({}))
            .await
            .is_problem(422, "validation_failed");
        let third = mail_number(&server, "verify@example.com", "verify_email", 3)
            .await
            .token();
        verify(&server, &second, Some(PASSWORD))
            .await
            .is_problem(400, "link_expired");
        verify(&server, &third, Some("wrong"))
            .await
            .is_problem(401, "invalid_credentials");
        verify(&server, &third, Some(PASSWORD)).await.is(200);
        verify(&server, &third, Some(PASSWORD))
            .await
            .is_problem(400, "link_used");
        assert_eq!(
            server.get("/auth/me", &own.access).await.json["email_verified"],
            true
        );
        // There is nothing left to verify.
        server
            .post_as("/auth/email/verify/resend", &own.access, &json!({}))
            .await
            .is(202);
        server
            .post(
                "/auth/email/verify/resend",
                &json!({ "email": "verify@example.com" }),
            )
            .await
            .is(202);
        settled(&server).await;
        assert_eq!(mails(&server, "verify@example.com").await.len(), 3);
        assert!(mails(&server, "unknown@example.com").await.is_empty());
        server.stop().await;
    }
);

on_both!(
    under_verify_first_nothing_tells_who_is_registered,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__REGISTRATION__MODE", "verify_first");
        let server = stage.start().await;
        let register = async |email: &str, password: &str| {
            let body = json!({ "email": email, "password": password, "full_name": "Sara" });
            server.post("/auth/register", &body).await
        };
        let fresh = register("sara@example.com", PASSWORD).await.is(202);
        log_in(&server, "sara@example.com", PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
        let first = mail(&server, "sara@example.com", "finish_registration")
            .await
            .token();
        register("Sara@example.com", PASSWORD).await.is(202);
        let token = mail(&server, "Sara@example.com", "finish_registration")
            .await
            .token();
        verify(&server, &token, None)
            .await
            .is_problem(422, "validation_failed");
        verify(&server, &token, Some("wrong password"))
            .await
            .is_problem(401, "invalid_credentials");
        verify(&server, &token, Some(PASSWORD)).await.is(200);
        verify(&server, &first, Some(PASSWORD))
            .await
            .is_problem(400, "link_expired");
        verify(&server, &token, Some(PASSWORD))
            .await
            .is_problem(400, "link_used");
        let user = log_in(&server, "sara@example.com", PASSWORD).await.is(200).json["user"].clone();
        assert_eq!(
            (&user["email_verified"], &user["full_name"], &user["role"]),
            (&json!(true), &json!("Sara"), &json!("user"))
        );
        // The same answer for an address that has an account; the mail tells its owner.
        let taken = register("sara@example.com", "some other password").await.is(202);
        assert_eq!(fresh.json["message"], taken.json["message"]);
        let names = |answer: &Answer| {
            let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(names(&fresh), names(&taken));
        let notice = mail(&server, "Sara@example.com", "already_registered").await;
        assert!(notice.link.ends_with("/forgot-password"), "{notice:?}");
        log_in(&server, "sara@example.com", "some other password")
            .await
            .is_problem(401, "invalid_credentials");

        // Somebody registers an address that is not theirs; its owner takes it by "forgot password".
        register("owner@example.com", PASSWORD).await.is(202);
        let attackers = mail(&server, "owner@example.com", "finish_registration")
            .await
            .token();
        forgot(&server, "owner@example.com").await.is(202);
        let token = mail(&server, "owner@example.com", "reset_password").await.token();
        reset(&server, &token, NEW).await.is(200);
        reset(&server, &token, NEW).await.is_problem(400, "link_used");
        assert_eq!(verify(&server, &attackers, Some(PASSWORD)).await.status, 400);
        log_in(&server, "owner@example.com", PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
        let owner = log_in(&server, "owner@example.com", NEW).await.is(200);
        assert_eq!(owner.json["user"]["full_name"], Value::Null);
        server.stop().await;
    }
);

on_both!(
    an_invitation_is_redeemed_by_its_recipient,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let invite = async |body: Value| server.post_as("/admin/users", &admin.access, &body).await;
        let made = invite(
            json!({ "email": "guest@example.com", "full_name": "ضيف", "role": "analyst", "locale": "ar" }),
        )
        .await
        .is(201);
        assert_eq!(
            (&made.json["role"], &made.json["email_verified"]),
            (&json!("analyst"), &json!(false))
        );
        invite(json!({ "email": "GUEST@example.com" }))
            .await
            .is_problem(400, "email_taken");
        invite(json!({ "email": "x@example.com", "password": PASSWORD }))
            .await
            .is_problem(422, "unknown_field");
        let letter = mail(&server, "guest@example.com", "invitation").await;
        assert_eq!(letter.locale, "ar");
        assert!(
            letter.text.contains("7 أيام") && !letter.text.contains("ضيف"),
            "{}",
            letter.text
        );
        assert!(
            letter.html.contains(r#"<html lang="ar" dir="rtl">"#),
            "{}",
            letter.html
        );
        log_in(&server, "guest@example.com", PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
        // Sent again by the administrator, or asked for by the guest: the newest counts.
        let again = format!("/admin/users/{}/password-reset", made.json["id"]);
        server.post_as(&again, &admin.access, &json!({})).await.is(202);
        let second = mail_number(&server, "guest@example.com", "invitation", 2)
            .await
            .token();
        reset(&server, &letter.token(), NEW)
            .await
            .is_problem(400, "link_expired");
        reset(&server, &second, NEW).await.is(200);
        let guest = log_in(&server, "guest@example.com", NEW).await.is(200);
        assert_eq!(
            (
                &guest.json["user"]["full_name"],
                &guest.json["user"]["email_verified"]
            ),
            (&json!("ضيف"), &json!(true))
        );
        server.post_as(&again, &admin.access, &json!({})).await.is(202);
        mail(&server, "guest@example.com", "reset_password").await;
        server
            .post_as("/admin/users/999999/password-reset", &admin.access, &json!({}))
            .await
            .is_problem(404, "not_found");
        server.stop().await;
    }
);

on_both!(t35_a_deactivated_user_is_refused, async |stage: Stage| {
    let server = stage.start().await;
    let admin = server.register_admin("admin@example.com").await;
    let user = server.register("gone@example.com").await;
    forgot(&server, "gone@example.com").await.is(202);
    let token = mail(&server, "gone@example.com", "reset_password").await.token();
    let proof = mail(&server, "gone@example.com", "verify_email").await.token();
    let path = format!("/admin/users/{}", user.user_id);
    server
        .patch(&path, &admin.access, &json!({ "is_active": false }))
        .await
        .is(200);
    reset(&server, &token, NEW).await.is_problem(400, "link_expired");
    verify(&server, &proof, Some(PASSWORD))
        .await
        .is_problem(400, "link_expired");
    forgot(&server, "gone@example.com").await.is(202);
    settled(&server).await;
    mail(&server, "gone@example.com", "reset_password").await;
    for (path, body) in [
        (
            "/auth/password/change",
            json!({ "current_password": PASSWORD, "new_password": NEW }),
        ),
        (
            "/auth/email/change",
            json!({ "new_email": "x@example.com", "password": PASSWORD }),
        ),
    ] {
        server
            .post_as(path, &user.access, &body)
            .await
            .is_problem(401, "account_inactive");
    }
    log_in(&server, "gone@example.com", PASSWORD)
        .await
        .is_problem(403, "account_inactive");
    // Nothing was changed, and what was open stays closed.
    server
        .patch(&path, &admin.access, &json!({ "is_active": true }))
        .await
        .is(200);
    log_in(&server, "gone@example.com", PASSWORD).await.is(200);
    reset(&server, &token, NEW).await.is_problem(400, "link_expired");
    server.stop().await;
});

on_both!(
    t22_t30_secrets_are_nowhere_and_every_setter_ends_sessions,
    async |stage: Stage| {
        let server = stage.start().await;
        let own = server.register("secret@example.com").await;
        forgot(&server, "secret@example.com").await.is(202);
        let token = mail(&server, "secret@example.com", "reset_password")
            .await
            .token();
        let proof = mail(&server, "secret@example.com", "verify_email").await.token();
        let mut all = String::new();
        for table in [
            "users",
            "one_time_tokens",
            "outbox",
            "audit",
            "registrations",
            "sessions",
            "changes",
        ] {
            // Of SQLite the whole file is read, below.
            if stage.footprint == Footprint::Production {
                let rows = format!("select cast({table} as text) from {table}");
                all.push_str(&database::texts(&server.app.db, &rows).await.join("\n"));
            }
        }
        if stage.footprint == Footprint::Embedded {
            for entry in std::fs::read_dir(stage.directory()).expect("the folder") {
                let bytes = std::fs::read(entry.expect("a file").path()).expect("readable");
                all.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        assert!(all.contains("secret@example.com"), "the look found something");
        for secret in [
            token.as_str(),
            proof.as_str(),
            PASSWORD,
            own.refresh.as_str(),
            own.access.as_str(),
        ] {
            assert!(!all.contains(secret), "{secret} is stored");
        }
        // T30: a link that an operator made ends sessions like any other.
        let id = josoor_auth::domain::UserId(own.user_id);
        let link = josoor_auth::admin::invitations::create_reset_link(
            &server.app,
            id,
            &josoor_auth::act::Client::default(),
        )
        .await
        .expect("a link");
        let (_, token) = link.split_once("#token=").expect("a token");
        reset(&server, token, NEW).await.is(200);
        server
            .get("/auth/me", &own.access)
            .await
            .is_problem(401, "password_changed");
        server.stop().await;
    }
);

on_both!(
    the_owner_gets_a_mail_about_reuse_and_deletion,
    async |stage: Stage| {
        let server = stage.start().await;
        let own = server.register("owner@example.com").await;
        let next = Tokens::of(&server.refresh(&own.refresh).await.is(200));
        server.get("/auth/me", &next.access).await.is(200);
        let used = "select count(*) from sessions where used_generation = generation";
        eventually("the use is noted", || async {
            database::number(&server.app.db, used).await == 1
        })
        .await;
        let sql = "update sessions set superseded = ''";
        database::execute(&server.app.db, sql).await;
        server
            .refresh(&own.refresh)
            .await
            .is_problem(401, "refresh_token_reused");
        // Once; who presents it again raises no second alarm.
        assert_eq!(server.refresh(&own.refresh).await.status, 401);
        let notice = mail(&server, "owner@example.com", "refresh_reuse").await;
        assert!(notice.text.contains("127.0.0.1"), "{}", notice.text);
        let again = server.log_in("owner@example.com").await;
        let request = server
            .request(Method::DELETE, "/auth/me")
            .bearer_auth(&again.access)
            .json(&json!({ "password": PASSWORD }));
        server.send(request).await.is(204);
        mail(&server, "owner@example.com", "account_deletion").await;
        server.stop().await;
    }
);

/// Waits until some unit of work waits for another one's lock; where there is one writer, that is so from the start.
async fn somebody_waits(stage: &Stage, server: &Server) {
    if stage.footprint == Footprint::Embedded {
        return;
    }
    let waiting = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    eventually("a unit of work waits", || async {
        database::number(&server.app.db, waiting).await > 0
    })
    .await;
}

on_both!(
    an_account_is_locked_before_its_links_and_sessions,
    async |stage: Stage| {
        let server = stage.start().await;
        let user = server.register("busy@example.com").await;
        let id = josoor_auth::domain::UserId(user.user_id);
        forgot(&server, "busy@example.com").await.is(202);
        let token = mail(&server, "busy@example.com", "reset_password").await.token();
        let now = server.app.clock.now();

        // Another link replaces this one while it is being used: neither waits for the other for ever.
        let mut other = server.app.db.begin().await.expect("a unit of work");
        other.lock_user(id).await.expect("locked");
        let (answer, ()) = tokio::join!(reset(&server, &token, NEW), async {
            somebody_waits(&stage, &server).await;
            other
                .expire_one_time_tokens(Purpose::ResetPassword, Some(id), now)
                .await
                .expect("no deadlock");
            other.commit().await.expect("committed");
        });
        answer.is_problem(400, "link_expired");

        // The password is changed while the account is being deleted.
        let mut other = server.app.db.begin().await.expect("a unit of work");
        other.lock_user(id).await.expect("locked");
        let request = server
            .request(Method::DELETE, "/auth/me")
            .bearer_auth(&user.access)
            .json(&json!({ "password": PASSWORD }));
        let (answer, ()) = tokio::join!(server.send(request), async {
            somebody_waits(&stage, &server).await;
            other
                .revoke_sessions_of(id, None, RevokeReason::PasswordChanged, now)
                .await
                .expect("no deadlock");
            other.commit().await.expect("committed");
        });
        answer.is_problem(401, "password_changed");
        server.stop().await;
    }
);

on_both!(
    t13_undoing_a_change_verifies_nothing_for_the_registrant,
    async |stage: Stage| {
        let server = stage.start().await;
        let body = json!({ "email": "victim@example.com", "password": PASSWORD, "full_name": "Attacker" });
        let attacker = Tokens::of(&server.post("/auth/register", &body).await.is(201));
        let request = server
            .request(Method::POST, "/auth/email/change")
            .bearer_auth(&attacker.access)
            .json(&json!({ "new_email": "attacker@example.com", "password": PASSWORD }));
        server.send(request).await.is(202);
        let proof = mail(&server, "attacker@example.com", "confirm_email")
            .await
            .token();
        let request = server
            .request(Method::POST, "/auth/email/verify")
            .header("user-agent", "Win at www.evil.example")
            .json(&json!({ "token": proof, "password": PASSWORD }));
        server.send(request).await.is(200);
        // The unverified address gets a mail without words of a user; and it is not reserved.
        let notice = mail(&server, "victim@example.com", "email_changed").await;
        assert!(!notice.text.contains("evil"), "{}", notice.text);
        verify(&server, &notice.token(), None).await.is(200);
        let own = log_in(&server, "victim@example.com", PASSWORD).await.is(200);
        assert_eq!(own.json["user"]["email_verified"], false);
        // So its owner, who resets the password, still inherits nothing.
        forgot(&server, "victim@example.com").await.is(202);
        let token = mail(&server, "victim@example.com", "reset_password")
            .await
            .token();
        reset(&server, &token, NEW).await.is(200);
        let owner = log_in(&server, "victim@example.com", NEW).await.is(200);
        assert_eq!(owner.json["user"]["full_name"], Value::Null);
        assert_eq!(owner.json["user"]["email_verified"], true);
        server.stop().await;
    }
);

on_both!(
    who_takes_an_account_over_cannot_keep_its_owner_from_taking_it_back,
    async |stage: Stage| {
        let server = stage.start().await;
        let own = server.register("owner@example.com").await;
        verify_own(&server, "owner@example.com", &own).await;
        // Somebody has got hold of the password, and moves the account away, twice.
        let mut thief = server.log_in("owner@example.com").await;
        for (old, new) in [
            ("owner@example.com", "thief@example.com"),
            ("thief@example.com", "thief2@example.com"),
        ] {
            let body = json!({ "new_email": new, "password": PASSWORD });
            server
                .post_as("/auth/email/change", &thief.access, &body)
                .await
                .is(202);
            let proof = mail(&server, new, "confirm_email").await.token();
            verify(&server, &proof, Some(PASSWORD)).await.is(200);
            mail(&server, old, "email_changed").await;
            thief = server.log_in(new).await;
        }
        // The old address is not to be had meanwhile.
        let squat = json!({ "email": "OWNER@example.com", "password": PASSWORD });
        server
            .post("/auth/register", &squat)
            .await
            .is_problem(400, "email_taken");
        // To take the later change back does not use up the owner's way.
        let thiefs = mail(&server, "thief@example.com", "email_changed").await.token();
        verify(&server, &thiefs, None).await.is(200);
        let owners = mail(&server, "owner@example.com", "email_changed").await.token();
        verify(&server, &owners, None).await.is(200);
        let link = mail(&server, "owner@example.com", "reset_password").await.token();
        let body = json!({ "token": link, "new_password": NEW, "previous_password": PASSWORD });
        server.post("/auth/password/reset", &body).await.is(200);
        let back = log_in(&server, "owner@example.com", NEW).await.is(200);
        assert_eq!(back.json["user"]["id"].as_i64(), Some(own.user_id));
        assert_eq!(back.json["user"]["email_verified"], true);
        server.stop().await;
    }
);

on_both!(
    a_request_that_comes_to_nothing_leaves_the_later_one_alone,
    async |stage: Stage| {
        let server = stage.start().await;
        let own = server.register("asks@example.com").await;
        verify_own(&server, "asks@example.com", &own).await;
        server.register("taken@example.com").await;
        // Whichever of the two is looked into first.
        for round in 0..5 {
            let free = format!("free{round}@example.com");
            for new in ["taken@example.com", free.as_str()] {
                let body = json!({ "new_email": new, "password": PASSWORD });
                server
                    .post_as("/auth/email/change", &own.access, &body)
                    .await
                    .is(202);
            }
            mail(&server, &free, "confirm_email").await;
        }
        server.stop().await;
    }
);

on_both!(
    t28_links_that_were_replaced_stay_dead_when_the_clock_goes_back,
    async |stage: Stage| {
        let clock = Clock::manual(Clock::System.now());
        let server = stage.start_with(clock.clone()).await;
        server.register("clock@example.com").await;
        forgot(&server, "clock@example.com").await.is(202);
        let first = mail(&server, "clock@example.com", "reset_password").await.token();
        clock.advance(Duration::from_mins(2));
        forgot(&server, "clock@example.com").await.is(202);
        let second = mail_number(&server, "clock@example.com", "reset_password", 2)
            .await
            .token();
        // As after a correction, or on another node.
        let Clock::Manual(micros) = &clock else {
            unreachable!("a manual clock");
        };
        micros.fetch_sub(60_000_000, std::sync::atomic::Ordering::SeqCst);
        reset(&server, &first, NEW).await.is_problem(400, "link_expired");
        reset(&server, &second, NEW).await.is(200);
        server.stop().await;
    }
);

on_both!(
    b10_under_verify_first_registrations_of_one_address_are_bounded_and_one_wins,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__REGISTRATION__MODE", "verify_first");
        stage.set("JOSOOR_AUTH__LIMITS__ENABLED", "false");
        let server = stage.start().await;
        let body = json!({ "email": "crowd@example.com", "password": PASSWORD });
        let tries = (0..12).map(|_| server.post("/auth/register", &body));
        for answer in futures_util::future::join_all(tries).await {
            answer.is(202);
        }
        settled(&server).await;
        let live =
            "select count(*) from one_time_tokens where purpose = 'registration' and expires_at > created_at";
        assert_eq!(database::number(&server.app.db, live).await, 5);
        assert_eq!(
            database::number(&server.app.db, "select count(*) from registrations").await,
            5
        );
        let letters = mails(&server, "crowd@example.com").await;
        let token = letters
            .iter()
            .rfind(|mail| mail.kind == "finish_registration")
            .expect("a mail")
            .token();
        let offers = letters
            .iter()
            .filter(|mail| mail.kind == "reset_password")
            .count();
        // The same when the proof and "forgot password" come at one moment, from both sides.
        forgot(&server, "crowd@example.com").await.is(202);
        let other = mail_number(&server, "crowd@example.com", "reset_password", offers + 1)
            .await
            .token();
        let (one, two) = tokio::join!(
            verify(&server, &token, Some(PASSWORD)),
            reset(&server, &other, NEW)
        );
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 400], "{one:?} {two:?}");
        assert_eq!(
            database::number(&server.app.db, "select count(*) from users").await,
            1
        );
        server.stop().await;
    }
);

on_both!(
    a_changed_password_sets_the_cookie_again_for_its_own_page_only,
    async |stage: Stage| {
        let server = stage.start().await;
        let origin = "http://localhost:8000";
        let body = json!({ "email": "cookie@example.com", "password": PASSWORD, "transport": "cookie" });
        let request = server
            .request(Method::POST, "/auth/register")
            .header("origin", origin)
            .json(&body);
        let registered = server.send(request).await.is(201);
        let access = registered.json["access_token"]
            .as_str()
            .expect("a token")
            .to_owned();
        let cookie = registered
            .headers
            .get_all("set-cookie")
            .iter()
            .filter_map(|value| value.to_str().ok()?.split(';').next())
            .find(|cookie| cookie.starts_with("josoor_refresh="))
            .expect("a cookie")
            .to_owned();
        let change = |origin: Option<&str>| {
            let mut request = server
                .request(Method::POST, "/auth/password/change")
                .bearer_auth(&access)
                .header("cookie", &cookie)
                .json(&json!({ "current_password": PASSWORD, "new_password": NEW }));
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            server.send(request)
        };
        for origin in [None, Some("https://evil.example")] {
            change(origin).await.is_problem(403, "origin_not_allowed");
        }
        let changed = change(Some(origin)).await.is(200);
        assert!(changed.json["refresh_token"].is_null(), "{changed:?}");
        let next = changed.headers["set-cookie"].to_str().expect("text");
        assert!(
            next.starts_with("josoor_refresh=") && !next.starts_with(&cookie),
            "{next}"
        );
        server.stop().await;
    }
);

on_both!(
    asking_for_another_proof_with_a_dead_token_says_so,
    async |stage: Stage| {
        let server = stage.start().await;
        let own = server.register("dead@example.com").await;
        server
            .post_as("/auth/logout", &own.access, &json!({}))
            .await
            .is(200);
        server
            .post_as("/auth/email/verify/resend", &own.access, &json!({}))
            .await
            .is_problem(401, "session_revoked");
        // The address says enough.
        let body = json!({ "email": "dead@example.com" });
        server
            .post_as("/auth/email/verify/resend", &own.access, &body)
            .await
            .is(202);
        server.stop().await;
    }
);

on_both!(t20_no_setter_takes_a_weak_password, async |stage: Stage| {
    let server = stage.start().await;
    let own = server.register("weak@example.com").await;
    forgot(&server, "weak@example.com").await.is(202);
    let token = mail(&server, "weak@example.com", "reset_password").await.token();
    for (weak, code) in [
        ("1234567", "password_too_short"),
        ("password1234", "password_too_common"),
        ("qwertyuiop", "password_too_common"),
    ] {
        let refused = [
            server
                .post(
                    "/auth/register",
                    &json!({ "email": "other@example.com", "password": weak }),
                )
                .await,
            reset(&server, &token, weak).await,
            server
                .post_as(
                    "/auth/password/change",
                    &own.access,
                    &json!({ "current_password": PASSWORD, "new_password": weak }),
                )
                .await,
            server
                .post(
                    "/setup",
                    &json!({ "token": token, "email": "other@example.com", "password": weak }),
                )
                .await,
        ];
        for answer in refused {
            let answer = answer.is_problem(422, "validation_failed");
            assert_eq!(answer.json["errors"][0]["code"], code, "{answer:?}");
        }
        let args = ["user", "create", "other@example.com", "--password-stdin"];
        crate::support::command::run_with(&stage, &args, weak.as_bytes()).with(1);
    }
    log_in(&server, "weak@example.com", PASSWORD).await.is(200);
    server.stop().await;
});

on_both!(t87_tokens_are_in_no_address_and_no_log, async |stage: Stage| {
    let serving = crate::support::command::Serving::start(&stage);
    let client = crate::support::server::http_client();
    let post = async |path: &str, body: Value| {
        let answer = client.post(serving.url(path)).json(&body).send().await;
        answer.expect("an answer").status().as_u16()
    };
    let body = json!({ "email": "log@example.com", "password": PASSWORD });
    assert_eq!(post("/auth/register", body).await, 201);
    let mut link = String::new();
    for _ in 0..500 {
        let answer = client
            .get(serving.url("/dev/mail"))
            .send()
            .await
            .expect("an answer");
        let mails: Value = answer.json().await.expect("JSON");
        if let Some(found) = mails["items"][0]["link"].as_str() {
            found.clone_into(&mut link);
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (page, token) = link.split_once("#token=").expect("behind the #");
    assert!(!page.contains('?'), "{link}");
    // Also where somebody puts it into the query by mistake, the log has none of it.
    for (path, policy) in [
        // The pages' forms need their origin to be sent; to other sites nothing goes from there either.
        (format!("/verify-email?token={token}"), "same-origin"),
        (format!("/auth/email/verify?token={token}"), "no-referrer"),
    ] {
        let answer = client.get(serving.url(&path)).send().await.expect("an answer");
        assert_eq!(answer.headers()["referrer-policy"], policy);
    }
    let body = json!({ "token": token, "password": PASSWORD });
    assert_eq!(post("/auth/email/verify", body).await, 200);
    let log = serving.log();
    assert!(
        log.contains("/auth/email/verify") && !log.contains(token),
        "{log}"
    );
    assert!(
        !log.contains("log@example.com") && !log.contains(PASSWORD),
        "{log}"
    );
});
