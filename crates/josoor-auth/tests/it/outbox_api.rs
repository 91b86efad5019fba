//! The outbox as administrators see it: `/admin/outbox`, and trying a mail again.

use std::time::Duration;

use josoor_auth::domain::{SessionId, UserId};
use josoor_auth::store::{NewSession, Transport};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::database;
use crate::support::mailbox::settled;
use crate::support::server::{Server, eventually, on_both};
use crate::support::smtp::SmtpServer;

async fn items(server: &Server, admin: &str, query: &str) -> Vec<Value> {
    let list = server
        .get(&format!("/admin/outbox{query}"), admin)
        .await
        .is(200)
        .json;
    list["items"].as_array().expect("items").clone()
}

fn ids(items: &[Value]) -> Vec<i64> {
    items
        .iter()
        .map(|item| item["id"].as_i64().expect("an id"))
        .collect()
}

on_both!(
    d6_administrators_list_the_outbox_and_try_mails_again,
    async |mut stage: Stage| {
        let smtp = SmtpServer::start(stage.directory(), &["--refuse", "550", "1"]).await;
        let port = smtp.port;
        stage.set("SMTP_URL", &format!("smtp://127.0.0.1:{port}"));
        stage.set("MAIL_FROM", "no-reply@example.org");
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        settled(&server).await;
        // The first mail was refused; the next ones are sent.
        let user = server.register("user@example.com").await;
        server
            .post("/auth/password/forgot", &json!({ "email": "user@example.com" }))
            .await
            .is(202);
        eventually("the mails are done", || async {
            let sql = "select count(*) from outbox where sent_at is not null or dropped_at is not null";
            database::number(&server.app.db, sql).await == 3
        })
        .await;
        let answer = server.get("/admin/outbox", &admin.access).await.is(200);
        assert_eq!(
            (
                &answer.json["total"],
                &answer.json["page"],
                &answer.json["page_size"]
            ),
            (&json!(3), &json!(1), &json!(20))
        );
        assert_eq!(answer.json["total_is_capped"], false);
        // Neither links nor tokens.
        for word in ["token", "http://", "https://", "details", "reset-password"] {
            assert!(!answer.text.contains(word), "{word}: {}", answer.text);
        }
        let all = items(&server, &admin.access, "").await;
        let found: Vec<_> = all
            .iter()
            .map(|item| (item["kind"].clone(), item["to"].clone(), item["state"].clone()))
            .collect();
        assert_eq!(
            found,
            [
                (json!("reset_password"), json!("user@example.com"), json!("sent")),
                (json!("verify_email"), json!("user@example.com"), json!("sent")),
                (json!("verify_email"), json!("admin@example.com"), json!("failed")),
            ]
        );
        assert_eq!(all[1]["user_id"], user.user_id);
        assert_eq!(all[0]["last_error"], Value::Null);
        assert!(all[0]["sent_at"].is_string() && all[0]["due_at"].is_null());
        let failed = &all[2];
        assert_eq!(
            failed["last_error"],
            json!({ "code": 550, "enhanced_code": null, "text": "SMTP 550" })
        );
        assert!(failed["failed_at"].is_string() && failed["due_at"].is_null());
        // Filters and pages.
        let id = |item: &Value| item["id"].as_i64().expect("an id");
        assert_eq!(
            ids(&items(&server, &admin.access, "?state=failed").await),
            [id(failed)]
        );
        assert_eq!(
            ids(&items(&server, &admin.access, "?state=sent&kind=verify_email").await),
            [id(&all[1])]
        );
        assert_eq!(
            ids(&items(&server, &admin.access, "?page=2&page_size=1").await),
            [id(&all[1])]
        );
        assert!(items(&server, &admin.access, "?state=waiting").await.is_empty());
        for (query, field) in [
            ("?state=lost", "state"),
            ("?kind=letter", "kind"),
            ("?page=0", "page"),
            ("?page_size=101", "page_size"),
        ] {
            let refused = server
                .get(&format!("/admin/outbox{query}"), &admin.access)
                .await
                .is_problem(422, "validation_failed");
            assert_eq!(refused.json["errors"][0]["field"], field);
        }
        server
            .get("/admin/outbox?unknown=1", &admin.access)
            .await
            .is_problem(422, "unknown_field");
        // Only administrators.
        server
            .get("/admin/outbox", &user.access)
            .await
            .is_problem(403, "insufficient_role");
        let path = format!("/admin/outbox/{}/retry", id(failed));
        server
            .post_as(&path, &user.access, &json!({}))
            .await
            .is_problem(403, "insufficient_role");
        // Again: it is sent, once, and the trail has it.
        let again = server.post_as(&path, &admin.access, &json!({})).await.is(200);
        assert_eq!(
            (&again.json["state"], &again.json["attempts"]),
            (&json!("waiting"), &json!(0))
        );
        eventually("it is sent", || async {
            smtp.taken()
                .iter()
                .any(|mail| mail["to"] == json!(["admin@example.com"]))
        })
        .await;
        settled(&server).await;
        server
            .post_as(&path, &admin.access, &json!({}))
            .await
            .is_problem(409, "mail_not_retryable");
        let rows = server
            .get("/admin/audit?action=mail_retry", &admin.access)
            .await
            .is(200);
        let rows = rows.json["items"].as_array().expect("rows").clone();
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (&rows[0]["actor_id"], &rows[0]["subject_id"]),
            (&json!(admin.user_id), &json!(admin.user_id))
        );
        for id in ["0", "999999", "x", "01"] {
            server
                .post_as(&format!("/admin/outbox/{id}/retry"), &admin.access, &json!({}))
                .await
                .is_problem(404, "not_found");
        }
        assert_eq!(smtp.taken().len(), 3);
        server.stop().await;
        smtp.stop();
    }
);

on_both!(
    d6_a_mail_whose_link_was_replaced_is_not_tried_again,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        settled(&server).await;
        let forgot = async || {
            let body = json!({ "email": "admin@example.com" });
            server.post("/auth/password/forgot", &body).await.is(202);
            settled(&server).await;
        };
        forgot().await;
        // As if the mail server had refused the first link for good, and taken the second one.
        database::execute(
            &server.app.db,
            "update outbox set dropped_at = sent_at, sent_at = null where kind = 'reset_password'",
        )
        .await;
        forgot().await;
        let failed = items(&server, &admin.access, "?state=failed").await;
        assert_eq!(failed.len(), 1);
        let path = format!("/admin/outbox/{}/retry", failed[0]["id"]);
        let refused = server
            .post_as(&path, &admin.access, &json!({}))
            .await
            .is_problem(409, "mail_not_retryable");
        assert!(refused.text_of("detail").contains("replaced"), "{refused:?}");
        server.stop().await;
    }
);

on_both!(
    d6_a_mail_that_is_being_sent_is_not_sent_twice_by_a_retry,
    async |mut stage: Stage| {
        let smtp = SmtpServer::start(stage.directory(), &["--slow", "2"]).await;
        stage.set("SMTP_URL", &format!("smtp://127.0.0.1:{}", smtp.port));
        stage.set("MAIL_FROM", "no-reply@example.org");
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        eventually("the mail is in hand", || async {
            let sql = "select count(*) from outbox where is_taken";
            database::number(&server.app.db, sql).await == 1
        })
        .await;
        let mail = items(&server, &admin.access, "?state=waiting").await.remove(0);
        let path = format!("/admin/outbox/{}/retry", mail["id"]);
        let answer = server
            .send(
                server
                    .request(Method::POST, &path)
                    .bearer_auth(&admin.access)
                    .json(&json!({})),
            )
            .await
            .is(200);
        assert_eq!(answer.json["attempts"], 1, "{answer:?}");
        settled(&server).await;
        assert_eq!(smtp.taken().len(), 1);
        server.stop().await;
        smtp.stop();
    }
);

on_both!(
    f7_a_list_of_sessions_says_when_there_are_more,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let user = server.register("many@example.com").await;
        let list = async || {
            let path = format!("/admin/users/{}/sessions", user.user_id);
            let list = server.get(&path, &admin.access).await.is(200).json;
            (
                list["items"].as_array().expect("items").len(),
                list["total"].clone(),
                list["total_is_capped"].clone(),
            )
        };
        assert_eq!(list().await, (1, json!(1), json!(false)));
        let now = server.app.clock.now();
        let mut tx = server.app.db.begin().await.expect("begun");
        for _ in 0..1_000 {
            tx.insert_session(&NewSession {
                id: SessionId::random(),
                user_id: UserId(user.user_id),
                created_at: now,
                expires_at: now.plus(Duration::from_hours(1)),
                idle_expires_at: now.plus(Duration::from_hours(1)),
                refresh_expires_at: now.plus(Duration::from_hours(1)),
                ip: "192.0.2.1",
                user_agent: "tests/1.0",
                transport: Transport::Body,
                device: None,
                on_known_device: false,
                auth_time: now,
                amr: "pwd",
                acr: "1",
            })
            .await
            .expect("added");
        }
        tx.commit().await.expect("committed");
        assert_eq!(list().await, (20, json!(1_001), json!(false)));
        server.stop().await;
    }
);
