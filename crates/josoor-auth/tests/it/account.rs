//! One's own account and sessions, and the ways to end and to keep them.

use std::time::Duration;

use josoor_auth::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::command::Serving;
use crate::support::server::{Answer, JWT_SECRET, PASSWORD, Server, Tokens, on_both};
use crate::support::{database, token};

/// What `GET /auth/me` says of a user.
async fn me(server: &Server, tokens: &Tokens) -> Value {
    server.get("/auth/me", &tokens.access).await.is(200).json
}

async fn delete_me(server: &Server, tokens: &Tokens, body: &Value) -> Answer {
    let request = server.request(Method::DELETE, "/auth/me");
    server.send(request.bearer_auth(&tokens.access).json(body)).await
}

async fn log_out(server: &Server, body: &Value) -> Answer {
    server.post("/auth/logout", body).await
}

fn is_time(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.len() >= 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z'))
}

on_both!(
    a_user_is_shown_with_exactly_the_documented_fields,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("shown@example.com").await;
        let answer = server.get("/auth/me", &tokens.access).await.is(200);
        assert_eq!(answer.headers["cache-control"], "no-store");
        let user = answer.json.as_object().unwrap();
        let mut names: Vec<_> = user.keys().map(String::as_str).collect();
        names.sort_unstable();
        let documented = [
            "created_at",
            "email",
            "email_verified",
            "full_name",
            "id",
            "is_active",
            "locale",
            "mfa_enabled",
            "role",
            "uid",
            "updated_at",
        ];
        assert_eq!(names, documented);
        assert_eq!(user["id"], tokens.user_id);
        assert_eq!(user["full_name"], Value::Null);
        assert_eq!(user["role"], "user");
        assert_eq!(
            (&user["is_active"], &user["email_verified"]),
            (&json!(true), &json!(false))
        );
        assert!(
            is_time(&user["created_at"]) && is_time(&user["updated_at"]),
            "{user:?}"
        );
        server.stop().await;
    }
);

on_both!(
    t01_a_profile_takes_name_and_language_and_nothing_else,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("profile@example.com").await;
        let before = me(&server, &tokens).await;
        for (field, value) in [
            ("email_verified", json!(true)),
            ("mfa_enabled", json!(false)),
            ("role", json!("admin")),
            ("is_active", json!(true)),
            ("id", json!(99)),
            ("user_id", json!(99)),
            ("email", json!("other@example.com")),
            ("password", json!(PASSWORD)),
            ("password_hash", json!("x")),
            ("created_at", json!("2020-01-01T00:00:00Z")),
        ] {
            let body = json!({ "full_name": "Mallory", field: value });
            let refused = server
                .patch("/auth/me", &tokens.access, &body)
                .await
                .is_problem(422, "unknown_field");
            assert_eq!(refused.json["errors"][0]["field"], field);
        }
        for body in [
            json!({ "full_name": "x".repeat(201) }),
            json!({ "full_name": "a\u{0}b" }),
            json!({ "full_name": "a\u{202e}b" }),
            json!({ "full_name": "a\r\nb" }),
            json!({ "full_name": 7 }),
            json!({ "full_name": "fine", "locale": "fr" }),
            json!({ "locale": 7 }),
        ] {
            server
                .patch("/auth/me", &tokens.access, &body)
                .await
                .is_problem(422, "validation_failed");
        }
        assert_eq!(me(&server, &tokens).await, before);
        for (body, name, locale) in [
            (json!({}), Value::Null, "en"),
            (json!({ "full_name": "زينب محمد" }), json!("زينب محمد"), "en"),
            (json!({ "locale": "ar" }), json!("زينب محمد"), "ar"),
            (
                json!({ "full_name": "<b>Zoë</b>", "locale": "en" }),
                json!("<b>Zoë</b>"),
                "en",
            ),
            (json!({ "full_name": null }), Value::Null, "en"),
            (json!({ "full_name": "Again" }), json!("Again"), "en"),
            (json!({ "full_name": "  " }), Value::Null, "en"),
        ] {
            let after = server.patch("/auth/me", &tokens.access, &body).await.is(200);
            assert_eq!(
                (&after.json["full_name"], &after.json["locale"]),
                (&name, &json!(locale))
            );
            assert_eq!(me(&server, &tokens).await, after.json);
        }
        server.stop().await;
    }
);

on_both!(
    t33_t36_a_deleted_account_is_gone_everywhere_and_its_id_never_comes_back,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__ACCOUNT__DELETION_GRACE", "0s");
        let server = stage.start().await;
        server.register_admin("admin@example.com").await;
        let tokens = server.register("leaving@example.com").await;
        let other = server.log_in("leaving@example.com").await;
        delete_me(&server, &tokens, &json!({}))
            .await
            .is_problem(422, "validation_failed");
        delete_me(&server, &tokens, &json!({ "password": PASSWORD, "user_id": 1 }))
            .await
            .is_problem(422, "unknown_field");
        delete_me(&server, &tokens, &json!({ "password": "WrongPassword" }))
            .await
            .is_problem(401, "invalid_credentials");
        me(&server, &tokens).await;
        delete_me(&server, &tokens, &json!({ "password": PASSWORD }))
            .await
            .is(204);
        for tokens in [&tokens, &other] {
            for path in ["/auth/me", "/auth/sessions", "/auth/check"] {
                server
                    .get(path, &tokens.access)
                    .await
                    .is_problem(401, "session_revoked");
            }
            server
                .refresh(&tokens.refresh)
                .await
                .is_problem(401, "session_revoked");
            server
                .post_as("/auth/refresh", &tokens.access, &json!({}))
                .await
                .is_problem(401, "session_revoked");
            log_out(&server, &json!({ "refresh_token": tokens.refresh }))
                .await
                .is(200);
        }
        let body = json!({ "email": "leaving@example.com", "password": PASSWORD });
        server
            .post("/auth/login", &body)
            .await
            .is_problem(401, "invalid_credentials");
        let again = server.register("leaving@example.com").await;
        assert!(again.user_id > tokens.user_id);
        server
            .get("/auth/me", &tokens.access)
            .await
            .is_problem(401, "session_revoked");
        server
            .refresh(&tokens.refresh)
            .await
            .is_problem(401, "session_revoked");
        let rows = |table: &str, column: &str| {
            format!("select count(*) from {table} where {column} = {}", tokens.user_id)
        };
        for (table, column) in [("users", "id"), ("sessions", "user_id")] {
            assert_eq!(database::number(&server.app.db, &rows(table, column)).await, 0);
        }
        server.stop().await;
    }
);

on_both!(the_last_administrator_cannot_leave, async |stage: Stage| {
    let server = stage.start().await;
    let admin = server.register_admin("admin@example.com").await;
    let body = json!({ "password": PASSWORD });
    delete_me(&server, &admin, &body)
        .await
        .is_problem(409, "last_admin");
    me(&server, &admin).await;
    let second = server.register_admin("second@example.com").await;
    delete_me(&server, &admin, &body).await.is(204);
    delete_me(&server, &second, &body)
        .await
        .is_problem(409, "last_admin");
    server.stop().await;
});

on_both!(
    t48_t70_sessions_are_listed_and_ended_by_their_owner_alone,
    async |stage: Stage| {
        let server = stage.start().await;
        let stranger = server.register("stranger@example.com").await;
        server.register("owner@example.com").await;
        let mut all = Vec::new();
        for (agent, device) in [
            (
                "Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Windows",
            ),
            ("curl/8.0\u{1b}[31m", "curl"),
            ("", "Unknown device"),
        ] {
            let body = json!({ "email": "owner@example.com", "password": PASSWORD });
            let value = reqwest::header::HeaderValue::from_bytes(agent.as_bytes())
                .unwrap_or(reqwest::header::HeaderValue::from_static("curl/8.0"));
            let request = server
                .request(Method::POST, "/auth/login")
                .header("user-agent", value);
            let tokens = Tokens::of(&server.send(request.json(&body)).await.is(200));
            all.push((tokens, device));
        }
        let list = async |tokens: &Tokens| server.get("/auth/sessions", &tokens.access).await.is(200).json;
        let seen = list(&all[1].0).await;
        assert_eq!((&seen["total"], &seen["page"]), (&json!(4), &json!(1)));
        let items = seen["items"].as_array().unwrap();
        assert_eq!(items.len(), 4);
        for (item, (tokens, device)) in items.iter().zip(all.iter().rev()) {
            assert_eq!(item["id"], tokens.claim("sid"));
            assert_eq!(item["device"], *device);
            assert_eq!(item["ip"], "127.0.0.1");
            assert_eq!(item["current"], json!(item["id"] == all[1].0.claim("sid")));
            assert!(
                ["created_at", "last_seen_at", "expires_at"]
                    .iter()
                    .all(|name| is_time(&item[*name]))
            );
        }

        let path_of = |tokens: &Tokens| format!("/auth/sessions/{}", tokens.claim("sid").as_str().unwrap());
        let foreign = server
            .delete(&path_of(&all[0].0), &stranger.access)
            .await
            .is_problem(404, "not_found");
        let nowhere = server
            .delete(
                "/auth/sessions/0191f2d4-7c1e-4a33-9f5e-0242ac120002",
                &stranger.access,
            )
            .await
            .is_problem(404, "not_found");
        assert_eq!(foreign.json["detail"], nowhere.json["detail"]);
        for id in [
            "1",
            "x",
            "%00",
            "0191f2d47c1e4a339f5e0242ac120002",
            "%7B0191f2d4-7c1e-4a33-9f5e-0242ac120002%7D",
            "00000000-0000-0000-0000-000000000000",
        ] {
            server
                .delete(&format!("/auth/sessions/{id}"), &stranger.access)
                .await
                .is_problem(404, "not_found");
        }
        for (tokens, _) in &all {
            me(&server, tokens).await;
        }

        server.delete(&path_of(&all[0].0), &all[1].0.access).await.is(204);
        server
            .get("/auth/me", &all[0].0.access)
            .await
            .is_problem(401, "session_revoked");
        server
            .refresh(&all[0].0.refresh)
            .await
            .is_problem(401, "session_revoked");
        server
            .delete(&path_of(&all[0].0), &all[1].0.access)
            .await
            .is_problem(404, "not_found");
        let revoked = server.delete("/auth/sessions", &all[1].0.access).await.is(200);
        assert_eq!(revoked.json, json!({ "revoked": 2 }));
        server
            .get("/auth/me", &all[2].0.access)
            .await
            .is_problem(401, "session_revoked");
        me(&server, &all[1].0).await;
        let left = list(&all[1].0).await;
        assert_eq!(left["total"], 1);
        let revoked = server.delete("/auth/sessions", &all[1].0.access).await.is(200);
        assert_eq!(revoked.json, json!({ "revoked": 0 }));
        me(&server, &stranger).await;
        // One's own current session may be ended this way too.
        server.delete(&path_of(&all[1].0), &all[1].0.access).await.is(204);
        server
            .get("/auth/me", &all[1].0.access)
            .await
            .is_problem(401, "session_revoked");
        server.stop().await;
    }
);

on_both!(
    t03_nothing_about_a_session_can_be_rewritten,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("owner@example.com").await;
        let path = format!("/auth/sessions/{}", tokens.claim("sid").as_str().unwrap());
        for method in [Method::PATCH, Method::PUT, Method::POST] {
            let request = server.request(method, &path).bearer_auth(&tokens.access);
            server
                .send(request.json(&json!({ "user_id": 1 })))
                .await
                .is_problem(405, "method_not_allowed");
        }
        server.stop().await;
    }
);

on_both!(
    t32_signing_out_ends_the_session_once_and_for_all,
    async |stage: Stage| {
        let server = stage.start().await;
        let other = server.register("leaver@example.com").await;
        for by_bearer in [false, true] {
            let tokens = server.log_in("leaver@example.com").await;
            let next = Tokens::of(&server.refresh(&tokens.refresh).await.is(200));
            // Also by a token that a newer one has replaced, and again and again.
            for _ in 0..2 {
                let done = if by_bearer {
                    server
                        .post_as("/auth/logout", &tokens.access, &json!({}))
                        .await
                        .is(200)
                } else {
                    log_out(&server, &json!({ "refresh_token": tokens.refresh }))
                        .await
                        .is(200)
                };
                assert_eq!(done.json["success"], true);
                assert!(is_time(&done.json["timestamp"]) && done.json["message"].is_string());
            }
            for _ in 0..10 {
                server.log_in("leaver@example.com").await;
            }
            for tokens in [&tokens, &next] {
                server
                    .get("/auth/me", &tokens.access)
                    .await
                    .is_problem(401, "session_revoked");
                server
                    .refresh(&tokens.refresh)
                    .await
                    .is_problem(401, "session_revoked");
            }
        }
        me(&server, &other).await;
        server.stop().await;
    }
);

on_both!(
    signing_out_takes_expired_tokens_and_refuses_foreign_ones,
    async |stage: Stage| {
        let clock = Clock::manual(Clock::System.now());
        let server = stage.start_with(clock.clone()).await;
        let by_access = server.register("late@example.com").await;
        let by_refresh = server.log_in("late@example.com").await;
        let over = server.log_in("late@example.com").await;
        // Expired long ago, and signed by us.
        let (header, mut claims) = token::read(&by_access.access);
        claims["iat"] = json!(1_600_000_000);
        claims["exp"] = json!(1_600_000_060);
        let expired = token::sign(JWT_SECRET, &header, &claims);
        server
            .get("/auth/me", &expired)
            .await
            .is_problem(401, "token_expired");
        server
            .post_as("/auth/refresh", &expired, &json!({}))
            .await
            .is_problem(401, "token_expired");
        me(&server, &by_access).await;
        server.post_as("/auth/logout", &expired, &json!({})).await.is(200);
        server
            .get("/auth/me", &by_access.access)
            .await
            .is_problem(401, "session_revoked");

        for garbage in ["", "x", "a.b.c", &by_refresh.access, &"x".repeat(9000)] {
            log_out(&server, &json!({ "refresh_token": garbage }))
                .await
                .is(200);
        }
        server
            .post_as("/auth/logout", &by_refresh.refresh, &json!({}))
            .await
            .is(200);
        log_out(&server, &json!({})).await.is(200);
        let two = server
            .request(Method::POST, "/auth/logout")
            .header("authorization", "Bearer a.b.c")
            .header("authorization", "Basic eDp5");
        server.send(two).await.is(200);
        // Malformed input is reported here as everywhere.
        log_out(&server, &json!({ "refresh_token": 7 }))
            .await
            .is_problem(422, "validation_failed");
        log_out(
            &server,
            &json!({ "refresh_token": by_refresh.refresh, "user_id": 1 }),
        )
        .await
        .is_problem(422, "unknown_field");
        me(&server, &by_refresh).await;

        clock.advance(Duration::from_hours(24 * 8));
        server
            .refresh(&over.refresh)
            .await
            .is_problem(401, "session_expired");
        log_out(&server, &json!({ "refresh_token": by_refresh.refresh }))
            .await
            .is(200);
        log_out(&server, &json!({ "refresh_token": by_refresh.refresh }))
            .await
            .is(200);
        server.stop().await;
    }
);

on_both!(
    the_token_in_the_body_counts_before_the_bearer_token,
    async |stage: Stage| {
        let server = stage.start().await;
        let mine = server.register("mine@example.com").await;
        let other = server.register("other@example.com").await;
        let unused = server.log_in("mine@example.com").await;
        let refresh = async |bearer: &str, body: &Value| server.post_as("/auth/refresh", bearer, body).await;
        let body = json!({ "refresh_token": mine.refresh });
        for bearer in [&other.access, "x", "Bearer", &other.refresh] {
            let renewed = refresh(bearer, &body).await.is(200);
            assert_eq!(renewed.json["user"]["id"], mine.user_id);
        }
        refresh(&mine.access, &json!({ "refresh_token": "x" }))
            .await
            .is_problem(401, "token_invalid");
        refresh(&mine.access, &json!({ "refresh_token": mine.access }))
            .await
            .is_problem(401, "token_invalid");
        refresh(&mine.refresh, &json!({}))
            .await
            .is_problem(401, "token_invalid");
        // null is as good as nothing; no body at all too.
        refresh(&unused.access, &json!({ "refresh_token": null }))
            .await
            .is(200);
        let bare = server.request(Method::POST, "/auth/refresh");
        server.send(bare.bearer_auth(&unused.access)).await.is(200);
        server
            .send(server.request(Method::POST, "/auth/refresh"))
            .await
            .is_problem(403, "missing_token");
        server.post_as("/auth/logout", &other.access, &body).await.is(200);
        me(&server, &other).await;
        server
            .get("/auth/me", &mine.access)
            .await
            .is_problem(401, "session_revoked");
        server.stop().await;
    }
);

on_both!(
    a_bearer_token_alone_renews_itself_and_moves_the_idle_end_up_to_the_absolute_one,
    async |mut stage: Stage| {
        const DAY: Duration = Duration::from_hours(24);
        stage.set("JOSOOR_AUTH__SESSION__IDLE", "10d");
        stage.set("JOSOOR_AUTH__SESSION__ABSOLUTE", "15d");
        stage.set("JWT_EXPIRATION_MINUTES", "43200");
        stage.set("JOSOOR_AUTH__AUTH__BEARER_RENEWAL_MAX", "30d");
        let start = Clock::System.now();
        let clock = Clock::manual(start);
        let server = stage.start_with(clock.clone()).await;
        let tokens = server.register("bearer@example.com").await;
        let ends = async |token: &str| {
            let sessions = server.get("/auth/sessions", token).await.is(200);
            sessions.json["items"][0]["expires_at"].clone()
        };
        assert_eq!(
            tokens.claim("exp").as_i64(),
            Some(start.plus(10 * DAY).as_secs()),
            "an access token does not outlive its session"
        );
        clock.advance(3 * DAY);
        let renewed = server
            .post_as("/auth/refresh", &tokens.access, &json!({}))
            .await
            .is(200);
        assert!(renewed.json.get("refresh_token").is_none(), "{renewed:?}");
        assert_eq!(renewed.json["expires_in"], 10 * 86_400);
        let access = renewed.text_of("access_token");
        let (_, claims) = token::read(&access);
        assert_eq!(claims["sid"], tokens.claim("sid"));
        assert_eq!(claims["gen"], tokens.claim("gen"));
        assert_ne!(claims["jti"], tokens.claim("jti"));
        assert_eq!(ends(&access).await, json!(start.plus(13 * DAY)));
        clock.advance(6 * DAY);
        let renewed = server.post_as("/auth/refresh", &access, &json!({})).await.is(200);
        assert_eq!(renewed.json["expires_in"], 6 * 86_400);
        let access = renewed.text_of("access_token");
        assert_eq!(ends(&access).await, json!(start.plus(15 * DAY)));
        // Nothing was rotated: the first refresh token is still the current one, although its own time is up on day 10.
        let rotated = Tokens::of(&server.refresh(&tokens.refresh).await.is(200));
        assert_eq!(rotated.claim("gen"), 2);
        clock.advance(6 * DAY);
        for token in [&access, &rotated.access] {
            let refused = server.get("/auth/me", token).await;
            assert!(
                ["token_expired", "session_expired"].contains(&refused.code()),
                "{refused:?}"
            );
            assert_eq!(refused.status, 401);
            let refused = server.post_as("/auth/refresh", token, &json!({})).await;
            assert_eq!(refused.status, 401, "{refused:?}");
        }
        server
            .refresh(&rotated.refresh)
            .await
            .is_problem(401, "session_expired");
        server.stop().await;
    }
);

on_both!(
    t58_b2_the_address_of_a_session_is_taken_from_one_header_of_trusted_proxies,
    async |mut stage: Stage| {
        let ip_after = async |server: &Server, headers: &[(&str, &str)]| {
            let mut request = server.request(Method::POST, "/auth/login");
            for (name, value) in headers {
                let value = reqwest::header::HeaderValue::from_bytes(value.as_bytes()).unwrap();
                request = request.header(*name, value);
            }
            let body = json!({ "email": "far@example.com", "password": PASSWORD });
            let tokens = Tokens::of(&server.send(request.json(&body)).await.is(200));
            let sessions = server.get("/auth/sessions", &tokens.access).await.is(200);
            sessions.json["items"][0]["ip"].as_str().unwrap().to_owned()
        };
        let server = stage.start().await;
        server.register("far@example.com").await;
        for headers in [
            &[("x-forwarded-for", "203.0.113.7")][..],
            &[("forwarded", "for=203.0.113.7")][..],
            &[("x-real-ip", "203.0.113.7")][..],
            &[("x-forwarded-for", "a")][..],
            &[("x-forwarded-for", "é")][..],
        ] {
            assert_eq!(ip_after(&server, headers).await, "127.0.0.1", "{headers:?}");
        }
        server.stop().await;
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8");
        let server = stage.start().await;
        for (headers, ip) in [
            (&[][..], "127.0.0.1"),
            (&[("x-forwarded-for", "203.0.113.7")][..], "203.0.113.7"),
            (
                &[("x-forwarded-for", "6.6.6.6, 203.0.113.7, 10.1.2.3")][..],
                "203.0.113.7",
            ),
            (&[("x-forwarded-for", "2001:DB8::1")][..], "2001:db8::1"),
            (&[("x-forwarded-for", "::ffff:203.0.113.7")][..], "203.0.113.7"),
            // The other headers are what a client sent.
            (&[("forwarded", "for=203.0.113.7")][..], "127.0.0.1"),
            (&[("x-real-ip", "203.0.113.7")][..], "127.0.0.1"),
            (
                &[
                    ("x-forwarded-for", "203.0.113.7"),
                    ("forwarded", "for=6.6.6.6"),
                    ("x-real-ip", "7.7.7.7"),
                ][..],
                "203.0.113.7",
            ),
            // What cannot be read ends the walk at the last proxy that could be.
            (&[("x-forwarded-for", "203.0.113.7, a")][..], "127.0.0.1"),
            (&[("x-forwarded-for", "fe80::1%eth0")][..], "127.0.0.1"),
            (&[("x-forwarded-for", "é")][..], "127.0.0.1"),
            (&[("x-forwarded-for", "")][..], "127.0.0.1"),
        ] {
            assert_eq!(ip_after(&server, headers).await, ip, "{headers:?}");
        }
        server.stop().await;
        for (header, headers, ip) in [
            (
                "forwarded",
                &[
                    ("forwarded", "for=\"[2001:db8::2]:443\";proto=https"),
                    ("x-forwarded-for", "6.6.6.6"),
                ][..],
                "2001:db8::2",
            ),
            ("forwarded", &[("x-forwarded-for", "6.6.6.6")][..], "127.0.0.1"),
            (
                "x-real-ip",
                &[("x-real-ip", "203.0.113.7"), ("x-forwarded-for", "6.6.6.6")][..],
                "203.0.113.7",
            ),
            (
                "x-real-ip",
                &[("x-real-ip", "6.6.6.6, 203.0.113.7")][..],
                "127.0.0.1",
            ),
            (
                "x-real-ip",
                &[("x-real-ip", "6.6.6.6"), ("x-real-ip", "7.7.7.7")][..],
                "127.0.0.1",
            ),
        ] {
            stage.set("JOSOOR_AUTH__SERVER__FORWARDED_HEADER", header);
            let server = stage.start().await;
            assert_eq!(ip_after(&server, headers).await, ip, "{header} {headers:?}");
            server.stop().await;
        }
    }
);

on_both!(
    a_session_whose_id_ends_like_its_users_is_answered_like_any_other,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("same@example.com").await;
        // Both then share one lock of the cache, which spreads ids by their last byte.
        let id = format!("0191f2d47c1e4a339f5e0242ac1200{:02x}", tokens.user_id % 256);
        let sql = match stage.footprint {
            Footprint::Embedded => format!("update sessions set id = x'{id}'"),
            Footprint::Production => format!("update sessions set id = '{id}'"),
        };
        assert_eq!(database::execute(&server.app.db, &sql).await, 1);
        let (header, mut claims) = token::read(&tokens.access);
        claims["sid"] = json!(format!(
            "{}-{}-{}-{}-{}",
            &id[..8],
            &id[8..12],
            &id[12..16],
            &id[16..20],
            &id[20..]
        ));
        let forged = token::sign(JWT_SECRET, &header, &claims);
        server.stop().await;
        // In a process of its own: a thread that waits for ever would keep this one from ending.
        let serving = Serving::start(&stage);
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        let request = client.get(serving.url("/auth/me")).bearer_auth(&forged);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
);

on_both!(
    what_many_do_at_once_happens_once_and_is_recorded_once,
    async |stage: Stage| {
        let server = stage.start().await;
        let recorded = async |action: &str| {
            let sql = format!("select count(*) from audit where action = '{action}'");
            database::number(&server.app.db, &sql).await
        };
        let tokens = server.register("many@example.com").await;
        let body = json!({ "refresh_token": tokens.refresh });
        let attempts = (0..16).map(|_| log_out(&server, &body));
        for answer in futures_util::future::join_all(attempts).await {
            answer.is(200);
        }
        assert_eq!(recorded("session_revoke").await, 1);

        let (one, other) = (
            server.log_in("many@example.com").await,
            server.log_in("many@example.com").await,
        );
        let path = format!("/auth/sessions/{}", one.claim("sid").as_str().unwrap());
        let attempts = (0..16).map(|_| server.delete(&path, &other.access));
        let answers = futures_util::future::join_all(attempts).await;
        let done = answers.iter().filter(|answer| answer.status == 204).count();
        let late = answers.iter().filter(|answer| answer.status == 404).count();
        assert_eq!((done, late), (1, 15));
        assert_eq!(recorded("session_revoke").await, 2);

        let names = (0..16).map(|number| {
            let (server, other) = (&server, &other);
            async move {
                let body = json!({ "full_name": format!("Name {number}") });
                server.patch("/auth/me", &other.access, &body).await
            }
        });
        for answer in futures_util::future::join_all(names).await {
            answer.is(200);
        }
        assert_eq!(recorded("user_update").await, 1, "one row within a minute");

        let body = json!({ "password": PASSWORD });
        let attempts = (0..16).map(|_| delete_me(&server, &other, &body));
        let answers = futures_util::future::join_all(attempts).await;
        let mut gone = 0;
        for answer in answers {
            if answer.status == 204 {
                gone += 1;
            } else {
                // The account went away before or after the request was let in.
                answer.is_problem(401, "session_revoked");
            }
        }
        assert_eq!(gone, 1);
        assert_eq!(recorded("user_delete").await, 1);
        server.stop().await;
    }
);
