//! Signing keys, as administrators see and replace them.

use std::time::Duration;

use josoor_auth::clock::Clock;
use josoor_auth::domain::Timestamp;
use serde_json::{Value, json};

use crate::support::server::{Answer, Server, Tokens, eventually, on_both};
use crate::support::token;

async fn keys(server: &Server, admin: &Tokens) -> Answer {
    server.get("/admin/keys", &admin.access).await.is(200)
}

fn states(list: &Answer) -> Vec<(String, String)> {
    let items = list.json["items"].as_array().expect("keys");
    let text = |key: &Value, name: &str| key[name].as_str().expect("a text").to_owned();
    items
        .iter()
        .map(|key| (text(key, "kid"), text(key, "state")))
        .collect()
}

fn kid_of(tokens: &Tokens) -> String {
    token::read(&tokens.access).0["kid"]
        .as_str()
        .expect("a kid")
        .to_owned()
}

on_both!(
    an_administrator_replaces_the_signing_key_without_a_refused_token,
    async |mut stage: Stage| {
        stage.set("JWT_ALGORITHM", "EdDSA");
        if stage.footprint == Footprint::Embedded {
            stage.set("JWT_SECRET", "");
        }
        let now = Clock::System.now().as_secs();
        let clock = Clock::manual(Timestamp::from_secs(now));
        let server = stage.start_with(clock.clone()).await;
        let user = server.register("user@example.com").await;
        let before = server.register_admin("admin@example.com").await;
        let first = kid_of(&before);
        let list = keys(&server, &before).await;
        assert_eq!(states(&list), [(first.clone(), "signs".to_owned())]);
        assert_eq!(list.json["algorithm"], "EdDSA");
        assert_eq!(list.json["signs_with_setting"], false);
        assert_eq!(
            (&list.json["publish_for"], &list.json["rotate_every"]),
            (&json!(3600), &Value::Null)
        );
        assert!(!list.text.contains("sealed"), "{}", list.text);
        assert_eq!(list.json["items"][0]["algorithm"], "EdDSA");

        let rotate = async |body: Value| server.post_as("/admin/keys/rotate", &before.access, &body).await;
        clock.advance(Duration::from_secs(1));
        let made = rotate(json!({})).await.is(200);
        let second = made.text_of("kid");
        let list = keys(&server, &before).await;
        assert_eq!(states(&list)[0], (second.clone(), "published".to_owned()));
        assert_eq!(states(&list)[1], (first.clone(), "signs".to_owned()));
        assert_eq!(list.json["items"][0]["signs_from"], made.json["signs_from"]);
        assert!(list.json["items"][1]["verifies_until"].is_string());
        rotate(json!({})).await.is_problem(409, "key_not_rotated");
        rotate(json!({ "now": "yes" }))
            .await
            .is_problem(422, "validation_failed");
        rotate(json!({ "compromised": true }))
            .await
            .is_problem(422, "unknown_field");

        clock.advance(Duration::from_secs(1));
        // At once: the one that waited never signs.
        let third = rotate(json!({ "now": true })).await.is(200).text_of("kid");
        eventually("the new key signs", async || {
            kid_of(&server.log_in("user@example.com").await) == third
        })
        .await;
        let list = keys(&server, &before).await;
        assert_eq!(states(&list)[0], (third, "signs".to_owned()));
        assert!(states(&list).contains(&(second, "over".to_owned())), "{list:?}");
        assert!(
            states(&list).contains(&(first, "verifies".to_owned())),
            "{list:?}"
        );
        server.get("/auth/me", &user.access).await.is(200);
        let trail = server
            .get("/admin/audit?action=key_change", &before.access)
            .await
            .is(200);
        assert_eq!(trail.json["items"][0]["reason"], "rotated");
        assert_eq!(
            trail.json["items"][0]["actor_id"], before.user_id,
            "{}",
            trail.text
        );
        server.stop().await;
    }
);

on_both!(
    a_key_that_the_operator_holds_is_not_replaced,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let list = keys(&server, &admin).await;
        assert_eq!(list.json["signs_with_setting"], true);
        assert!(
            states(&list).iter().all(|(_, state)| state != "signs"),
            "{list:?}"
        );
        let answer = server
            .post_as("/admin/keys/rotate", &admin.access, &json!({ "now": true }))
            .await;
        let answer = answer.is_problem(409, "key_not_rotated");
        assert!(
            answer.text_of("detail").contains("JWT_SECRET signs"),
            "{answer:?}"
        );
        server.stop().await;
    }
);
