//! What happened to one's own account: confirming it, reporting it, and downloading everything that is kept.

use josoor_auth::act::Client;
use josoor_auth::domain::UserId;
use reqwest::Method;
use serde_json::{Value, json};

use crate::audit::{sealed, stop_sealing};
use crate::support::database;
use crate::support::mailbox::{mail, mail_number};
use crate::support::server::{Answer, PASSWORD, Server, Tokens, on_both};

async fn activity(server: &Server, tokens: &Tokens) -> Answer {
    server.get("/auth/activity", &tokens.access).await.is(200)
}

fn items(answer: &Answer) -> &Vec<Value> {
    answer.json["items"].as_array().expect("items")
}

async fn confirm(server: &Server, tokens: &Tokens, id: &Value) -> Answer {
    let path = format!("/auth/activity/{id}/confirm");
    let request = server.request(Method::POST, &path);
    server.send(request.bearer_auth(&tokens.access)).await
}

async fn report(server: &Server, tokens: &Tokens) -> Answer {
    let request = server.request(Method::POST, "/auth/activity/report");
    server.send(request.bearer_auth(&tokens.access)).await
}

on_both!(
    a_confirmation_covers_what_its_user_has_seen_and_nothing_later,
    async |stage: Stage| {
        let server = stage.start().await;
        let ada = server.register("ada@example.com").await;
        let stranger = server.register("stranger@example.com").await;
        let wrong = json!({ "email": "ada@example.com", "password": "not the password" });
        server
            .post("/auth/login", &wrong)
            .await
            .is_problem(401, "invalid_credentials");
        let seen = activity(&server, &ada).await;
        assert_eq!(seen.json["answered_id"], Value::Null);
        let latest = items(&seen)[0]["id"].clone();
        assert_eq!(items(&seen)[0]["outcome"], "failure");

        // Somebody tries again before the user answers: the answer is not about that.
        server
            .post("/auth/login", &wrong)
            .await
            .is_problem(401, "invalid_credentials");
        confirm(&server, &ada, &latest).await.is_problem(404, "not_found");
        let latest = items(&activity(&server, &ada).await)[0]["id"].clone();
        confirm(&server, &stranger, &latest)
            .await
            .is_problem(404, "not_found");
        confirm(&server, &ada, &latest).await.is(204);
        let after = activity(&server, &ada).await;
        let row = &items(&after)[0];
        assert_eq!(row["action"], "activity_confirm");
        assert_eq!(row["current"], true);
        assert_eq!(items(&after)[1]["current"], false);
        assert_eq!(after.json["answered_id"], row["id"]);
        // Without anything new there is nothing to record.
        confirm(&server, &ada, &row["id"]).await.is(204);
        let again = activity(&server, &ada).await;
        assert_eq!(again.json["total"], after.json["total"]);
        for nothing in [json!(0), json!(-1), json!("x"), json!(99_999_999)] {
            confirm(&server, &ada, &nothing)
                .await
                .is_problem(404, "not_found");
        }
        server.stop().await;
    }
);

on_both!(
    a_report_ends_everything_but_the_session_that_makes_it,
    async |stage: Stage| {
        let server = stage.start().await;
        let email = "ada@example.com";
        let ada = server.register(email).await;
        let verify = mail(&server, email, "verify_email").await;
        let request = server.request(Method::POST, "/auth/email/verify");
        let body = json!({ "token": verify.token() });
        server
            .send(request.bearer_auth(&ada.access).json(&body))
            .await
            .is(200);
        let intruder = server.log_in(email).await;
        // The intruder has asked for another address, and for a link that sets a password.
        let body = json!({ "new_email": "thief@example.com", "password": PASSWORD });
        server
            .post_as("/auth/email/change", &intruder.access, &body)
            .await
            .is(202);
        let move_away = mail(&server, "thief@example.com", "confirm_email").await;
        server
            .post("/auth/password/forgot", &json!({ "email": email }))
            .await
            .is(202);
        let first_reset = mail(&server, email, "reset_password").await;
        let stranger = server.register("stranger@example.com").await;

        let receipt = report(&server, &ada).await.is(200);
        assert_eq!(receipt.json["revoked"], 1);
        assert!(receipt.json["forgotten"].as_u64() >= Some(1), "{receipt:?}");
        server
            .get("/auth/me", &intruder.access)
            .await
            .is_problem(401, "session_revoked");
        server
            .refresh(&intruder.refresh)
            .await
            .is_problem(401, "session_revoked");
        server.get("/auth/me", &ada.access).await.is(200);
        server.get("/auth/me", &stranger.access).await.is(200);
        let devices = server.get("/auth/devices", &ada.access).await.is(200);
        assert_eq!(devices.json["total"], 0);
        let body = json!({ "token": move_away.token(), "password": PASSWORD });
        server
            .post("/auth/email/verify", &body)
            .await
            .is_problem(400, "link_expired");
        let body = json!({ "token": first_reset.token(), "new_password": "what the thief would set" });
        server
            .post("/auth/password/reset", &body)
            .await
            .is_problem(400, "link_expired");

        // The number of the receipt is that of the row, for the user and for administrators alike.
        let shown = activity(&server, &ada).await;
        let row = &items(&shown)[0];
        assert_eq!(row["action"], "activity_report");
        assert_eq!(row["id"], receipt.json["receipt"]);
        assert_eq!(shown.json["answered_id"], row["id"]);
        let admin = server.register_admin("admin@example.com").await;
        let trail = format!("/admin/audit?action=activity_report&user_id={}", ada.user_id);
        let trail = server.get(&trail, &admin.access).await.is(200);
        assert_eq!(trail.json["items"][0]["id"], receipt.json["receipt"]);

        // A new password is asked for twice: in this session, and by mail.
        let newest = mail_number(&server, email, "reset_password", 2).await;
        let body = json!({ "token": newest.token(), "new_password": "chosen by the owner herself" });
        server.post("/auth/password/reset", &body).await.is(200);
        server.stop().await;
    }
);

on_both!(a_report_needs_a_live_session, async |stage: Stage| {
    let server = stage.start().await;
    let ada = server.register("ada@example.com").await;
    let caller = josoor_auth::sessions::authenticate(&server.app, &ada.access)
        .await
        .expect("a caller");
    josoor_auth::sessions::revoke_all(
        &server.app,
        UserId(ada.user_id),
        None,
        josoor_auth::domain::RevokeReason::RevokedByAdmin,
        &Client::default(),
    )
    .await
    .expect("revoked");
    report(&server, &ada).await.is_problem(401, "session_revoked");
    // Also when the session ended after the request was admitted.
    let late = josoor_auth::account::activity::report(&server.app, &caller, &Client::default()).await;
    assert!(
        matches!(
            late,
            Err(josoor_auth::error::Error::Refused(
                josoor_auth::error::Refusal::SessionRevoked
            ))
        ),
        "{late:?}"
    );
    server.stop().await;
});

on_both!(
    everything_about_a_person_is_in_one_file_and_nothing_else,
    async |stage: Stage| {
        let server = stage.start().await;
        let email = "ada@example.com";
        let ada = server.register(email).await;
        let other = server.log_in(email).await;
        server.delete("/auth/sessions", &ada.access).await.is(200);
        let stranger = server.register("stranger@example.com").await;
        mail(&server, email, "verify_email").await;
        let answer = server.get("/auth/me/export", &ada.access).await.is(200);
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(
            answer.headers["content-disposition"],
            "attachment; filename=\"josoor-account.json\""
        );
        let file = &answer.json;
        assert_eq!(file["account"]["email"], email);
        assert_eq!(file["account"]["id"], ada.user_id);
        let sessions = file["sessions"].as_array().expect("sessions");
        assert_eq!(sessions.len(), 2);
        let reasons: Vec<_> = sessions.iter().map(|session| &session["revoke_reason"]).collect();
        assert!(reasons.contains(&&json!("revoked_by_user")) && reasons.contains(&&Value::Null));
        assert_eq!(file["devices"].as_array().map(Vec::len), Some(1));
        assert_eq!(file["mails"][0]["kind"], "verify_email");
        // The download is in it, because it is recorded before it is written.
        let actions: Vec<_> = file["activity"]
            .as_array()
            .expect("activity")
            .iter()
            .map(|row| row["action"].as_str().expect("an action"))
            .collect();
        assert_eq!(actions, ["export", "session_revoke", "sign_in", "register"]);

        let text = answer.json.to_string();
        let hash = database::password_hash(&server.app.db, email).await;
        for secret in [
            hash.as_str(),
            &ada.access,
            &ada.refresh,
            &other.refresh,
            "stranger@example.com",
            PASSWORD,
        ] {
            assert!(!text.contains(secret), "{secret} is in the file");
        }
        server.get("/auth/me", &stranger.access).await.is(200);
        server
            .send(server.request(Method::GET, "/auth/me/export"))
            .await
            .is_problem(403, "missing_token");
        server.stop().await;
    }
);

on_both!(
    a_download_has_every_row_of_a_long_history,
    async |stage: Stage| {
        let server = stage.start().await;
        let ada = server.register("ada@example.com").await;
        let client = Client {
            actor: Some(UserId(ada.user_id)),
            ..Client::default()
        };
        let mut conn = server.app.db.write().await.expect("a connection");
        let row = |_: usize| josoor_auth::store::NewAudit {
            subject: Some(UserId(ada.user_id)),
            ..client.audit(josoor_auth::domain::Audit::UserUpdate, server.app.clock.now())
        };
        let rows: Vec<_> = (0..1203).map(row).collect();
        conn.insert_audits(&rows).await.expect("rows");
        drop(conn);
        let file = server.get("/auth/me/export", &ada.access).await.is(200).json;
        let ids: Vec<_> = file["activity"]
            .as_array()
            .expect("activity")
            .iter()
            .map(|row| row["id"].as_i64().expect("an id"))
            .collect();
        assert_eq!(ids.len(), 1205);
        assert!(ids.is_sorted_by(|a, b| a > b), "the latest first, each once");
        server.stop().await;
    }
);

on_both!(
    administrators_check_the_seal_of_the_trail,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let user = server.register("user@example.com").await;
        let verify = async |tokens: &Tokens| {
            let request = server.request(Method::POST, "/admin/audit/verify");
            server.send(request.bearer_auth(&tokens.access)).await
        };
        verify(&user).await.is_problem(403, "insufficient_role");
        sealed(&server).await;
        let good = verify(&admin).await.is(200);
        assert_eq!(good.json["whole"], true, "{good:?}");
        assert!(good.json["checked"].as_u64() >= Some(3), "{good:?}");
        assert!(good.json["head"].as_str().is_some_and(|head| head.contains(':')));

        stop_sealing(&server).await;
        database::execute(
            &server.app.db,
            "update audit set action = 'sign_in' where action = 'register' and seq is not null",
        )
        .await;
        let bad = verify(&admin).await.is(200);
        assert_eq!(bad.json["whole"], false, "{bad:?}");
        assert!(bad.json["findings_total"].as_u64() >= Some(1), "{bad:?}");
        assert!(
            bad.json["findings"][0]
                .as_str()
                .is_some_and(|finding| finding.contains("was changed")),
            "{bad:?}"
        );
        server.stop().await;
    }
);
