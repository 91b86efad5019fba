//! One change of many users: a result for each, and no access taken away by accident.

use josoor_auth::act::Client;
use josoor_auth::admin::bulk::{self, BulkChange};
use josoor_auth::admin::users;
use josoor_auth::domain::{RevokeReason, Role, UserId};
use josoor_auth::error::{Error, Refusal};
use josoor_auth::sessions;
use josoor_auth::store::UserPatch;
use serde_json::{Value, json};

use crate::support::server::{Answer, Server, Tokens, on_both};

async fn change(server: &Server, admin: &Tokens, body: Value) -> Answer {
    server.post_as("/admin/users/bulk", &admin.access, &body).await
}

/// Each user with what became of it, and why.
fn outcomes(answer: &Answer) -> Vec<(i64, String, String)> {
    let items = answer.json["items"].as_array().expect("items");
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    items
        .iter()
        .map(|item| {
            (
                item["id"].as_i64().expect("an id"),
                text(item, "outcome"),
                text(item, "code"),
            )
        })
        .collect()
}

fn outcome(id: i64, outcome: &str, code: &str) -> (i64, String, String) {
    (id, outcome.to_owned(), code.to_owned())
}

on_both!(
    one_request_changes_many_users_and_answers_with_the_result_of_each,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let ada = server.register("ada@example.com").await;
        let bea = server.register("bea@example.com").await;
        let (own, missing) = (admin.user_id, 999_999);
        let ids = [own, ada.user_id, missing, bea.user_id, ada.user_id];

        let answer = change(
            &server,
            &admin,
            json!({ "ids": ids, "change": { "is_active": false } }),
        )
        .await
        .is(200);
        assert_eq!(
            outcomes(&answer),
            [
                outcome(own, "own_account", ""),
                outcome(ada.user_id, "changed", ""),
                outcome(missing, "failed", "not_found"),
                outcome(bea.user_id, "changed", ""),
            ]
        );
        for tokens in [&ada, &bea] {
            server
                .get("/auth/me", &tokens.access)
                .await
                .is_problem(401, "account_inactive");
        }
        server.get("/auth/me", &admin.access).await.is(200);

        // The trail has what single changes would have written, all with the id of the one request.
        let request = answer.headers["x-request-id"].to_str().expect("an id");
        let rows = server
            .get(&format!("/admin/audit?request_id={request}"), &admin.access)
            .await
            .is(200);
        let mut changed: Vec<i64> = rows.json["items"]
            .as_array()
            .expect("rows")
            .iter()
            .filter(|row| row["action"] == "activation_change" && row["reason"] == "deactivated")
            .filter_map(|row| row["subject_id"].as_i64())
            .collect();
        changed.sort_unstable();
        assert_eq!(changed, [ada.user_id, bea.user_id]);

        let answer = change(
            &server,
            &admin,
            json!({ "ids": [bea.user_id, ada.user_id], "change": { "is_active": false, "role": "analyst" } }),
        )
        .await
        .is(200);
        assert_eq!(
            outcomes(&answer),
            [
                outcome(bea.user_id, "changed", ""),
                outcome(ada.user_id, "changed", "")
            ]
        );
        let again = change(
            &server,
            &admin,
            json!({ "ids": [ada.user_id], "change": { "role": "analyst" } }),
        )
        .await
        .is(200);
        assert_eq!(outcomes(&again), [outcome(ada.user_id, "unchanged", "")]);
        // To JSON Schema 7.0 is a whole number.
        let spelled = format!("{}.0", ada.user_id).parse::<f64>().expect("a number");
        let body = json!({ "ids": [spelled], "change": { "role": "analyst" } });
        let again = change(&server, &admin, body).await.is(200);
        assert_eq!(outcomes(&again), [outcome(ada.user_id, "unchanged", "")]);
        server.stop().await;
    }
);

on_both!(
    ones_own_account_comes_last_and_the_last_administrator_stays,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let other = server.register_admin("other@example.com").await;
        let ada = server.register("ada@example.com").await;
        let own = admin.user_id;
        let all = [own, other.user_id, ada.user_id];

        // The only administrator who is left is the caller, and the change was asked for: it is rejected for the caller alone.
        let body = json!({ "ids": all, "change": { "role": "user" }, "include_self": true });
        let answer = change(&server, &admin, body).await.is(200);
        assert_eq!(
            outcomes(&answer),
            [
                outcome(own, "failed", "last_admin"),
                outcome(other.user_id, "changed", ""),
                outcome(ada.user_id, "unchanged", ""),
            ]
        );
        let body = json!({ "ids": [other.user_id], "change": { "role": "admin" } });
        change(&server, &admin, body).await.is(200);
        let body =
            json!({ "ids": [own, ada.user_id], "change": { "is_active": false }, "include_self": true });
        let answer = change(&server, &admin, body).await.is(200);
        assert_eq!(
            outcomes(&answer),
            [outcome(own, "changed", ""), outcome(ada.user_id, "changed", "")]
        );
        server
            .get("/auth/me", &admin.access)
            .await
            .is_problem(401, "account_inactive");
        server.stop().await;
    }
);

on_both!(
    a_bulk_change_ends_with_the_rights_of_its_caller,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        server.register_admin("other@example.com").await;
        let ada = server.register("ada@example.com").await;
        let caller = sessions::authenticate(&server.app, &admin.access)
            .await
            .expect("a caller");
        let client = Client::default();
        let deactivate = BulkChange {
            role: None,
            is_active: Some(false),
        };
        let ids = [UserId(ada.user_id)];
        let demote = UserPatch {
            role: Some(Role::Analyst),
            ..UserPatch::default()
        };
        users::update(&server.app, caller.id(), demote, &client)
            .await
            .expect("demoted");
        let refused = bulk::update(&server.app, &caller, &ids, deactivate, false, &client).await;
        assert!(
            matches!(refused, Err(Error::Refused(Refusal::InsufficientRole))),
            "{refused:?}"
        );
        sessions::revoke_all(
            &server.app,
            caller.id(),
            None,
            RevokeReason::RevokedByAdmin,
            &client,
        )
        .await
        .expect("revoked");
        let refused = bulk::update(&server.app, &caller, &ids, deactivate, false, &client).await;
        assert!(
            matches!(refused, Err(Error::Refused(Refusal::SessionRevoked))),
            "{refused:?}"
        );
        server.get("/auth/me", &ada.access).await.is(200);
        server.stop().await;
    }
);

on_both!(
    a_bulk_change_that_makes_no_sense_is_refused_by_field,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let ada = server.register("ada@example.com").await;
        let activate = json!({ "is_active": true });
        let many: Vec<i64> = (1..=501).collect();
        for (body, code, field, reason) in [
            (
                json!({ "ids": [], "change": activate }),
                "validation_failed",
                "ids",
                "out_of_range",
            ),
            (
                json!({ "ids": many, "change": activate }),
                "validation_failed",
                "ids",
                "out_of_range",
            ),
            (
                json!({ "ids": [0], "change": activate }),
                "validation_failed",
                "ids",
                "invalid_id",
            ),
            (
                json!({ "ids": ["1"], "change": activate }),
                "validation_failed",
                "ids",
                "invalid_id",
            ),
            (
                json!({ "ids": [1.5], "change": activate }),
                "validation_failed",
                "ids",
                "invalid_id",
            ),
            (
                json!({ "ids": 1, "change": activate }),
                "validation_failed",
                "ids",
                "invalid_type",
            ),
            (
                json!({ "ids": [1], "change": {} }),
                "validation_failed",
                "change",
                "required",
            ),
            (
                json!({ "ids": [1], "change": [] }),
                "validation_failed",
                "change",
                "invalid_type",
            ),
            (
                json!({ "ids": [1], "change": { "role": "king" } }),
                "validation_failed",
                "change.role",
                "unknown_role",
            ),
            (
                json!({ "ids": [1], "change": { "full_name": "x" } }),
                "unknown_field",
                "change.full_name",
                "unknown_field",
            ),
            (
                json!({ "ids": [1], "change": activate, "include_self": 1 }),
                "validation_failed",
                "include_self",
                "invalid_type",
            ),
        ] {
            let answer = change(&server, &admin, body.clone()).await.is_problem(422, code);
            assert_eq!(answer.json["errors"][0]["field"], field, "{body}");
            assert_eq!(answer.json["errors"][0]["code"], reason, "{body}");
        }
        let body = json!({ "ids": [admin.user_id], "change": activate });
        change(&server, &ada, body)
            .await
            .is_problem(403, "insufficient_role");
        server.stop().await;
    }
);
