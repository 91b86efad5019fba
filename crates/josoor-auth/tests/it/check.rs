//! `/auth/check`, which gateways ask.

use std::time::Duration;

use josoor_auth::act::Client;
use josoor_auth::admin::users;
use josoor_auth::clock::Clock;
use josoor_auth::domain::{Role, UserId};
use josoor_auth::store::UserPatch;
use reqwest::Method;
use serde_json::json;

use crate::support::server::{Answer, PASSWORD, Tokens, on_both};
use crate::support::{database, mailbox};

on_both!(
    every_method_and_every_path_below_answers_for_the_bearer,
    async |mut stage: Stage| {
        // With CORS, OPTIONS would otherwise be answered before anybody has looked at the token.
        stage.set("CORS_ORIGINS", "https://app.example.com");
        let server = stage.start().await;
        let tokens = server.register("checked@example.com").await;
        let uid = server
            .get("/auth/me", &tokens.access)
            .await
            .is(200)
            .text_of("uid");
        let methods = [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND",
        ];
        for method in methods {
            let method: Method = method.parse().unwrap();
            for path in [
                "/auth/check",
                "/auth/check/x",
                "/auth/check/reports/7?role=user",
                "/auth/check/%D8%B2/..%2f?role=user",
            ] {
                let request = || server.request(method.clone(), path);
                let passed = server
                    .send(request().bearer_auth(&tokens.access).body("ignored"))
                    .await
                    .is(200);
                assert_eq!(passed.text, "", "{method} {path}");
                for (name, value) in [
                    ("x-auth-user-id", tokens.user_id.to_string()),
                    ("x-auth-user-uid", uid.clone()),
                    ("x-auth-email", "checked@example.com".to_owned()),
                    ("x-auth-email-verified", "false".to_owned()),
                    ("x-auth-user-version", "1".to_owned()),
                    ("x-auth-acr", "1".to_owned()),
                    ("x-auth-role", "user".to_owned()),
                    (
                        "x-auth-session-id",
                        tokens.claim("sid").as_str().unwrap().to_owned(),
                    ),
                    ("cache-control", "no-store".to_owned()),
                ] {
                    assert_eq!(passed.headers[name], value, "{method} {path}");
                }
                let bare = server
                    .send(
                        request()
                            .header("x-auth-user-id", "1")
                            .header("x-auth-role", "admin"),
                    )
                    .await
                    .is(401);
                assert!(!bare.headers.contains_key("x-auth-user-id"));
                assert!(
                    bare.headers["www-authenticate"]
                        .to_str()
                        .unwrap()
                        .starts_with("Bearer")
                );
                assert_eq!(bare.headers["cache-control"], "no-store");
                if method != Method::HEAD {
                    bare.is_problem(401, "missing_token");
                }
                server.send(request().bearer_auth("x.y.z")).await.is(401);
            }
        }
        server.stop().await;
    }
);

on_both!(at_least_a_role_can_be_asked_for, async |stage: Stage| {
    let server = stage.start().await;
    let tokens = server.register("ranked@example.com").await;
    for (role, admitted) in [
        (Role::User, [200, 403, 403]),
        (Role::Analyst, [200, 200, 403]),
        (Role::Admin, [200, 200, 200]),
    ] {
        let patch = UserPatch {
            role: Some(role),
            ..UserPatch::default()
        };
        users::update(&server.app, UserId(tokens.user_id), patch, &Client::default())
            .await
            .unwrap();
        for (asked, status) in ["user", "analyst", "admin"].into_iter().zip(admitted) {
            let answer = server
                .get(&format!("/auth/check?role={asked}"), &tokens.access)
                .await
                .is(status);
            if status == 403 {
                answer.is_problem(403, "insufficient_role");
            } else {
                assert_eq!(answer.headers["x-auth-role"], role.as_str());
            }
        }
        // The last administrator cannot be demoted, so that there is one who stays is seen to here.
        server.register_admin(&format!("other-{role}@example.com")).await;
    }
    // Without a token it is 401, whatever is asked for.
    for query in ["role=admin", "role=owner", "x=%ff"] {
        let request = server.request(Method::GET, &format!("/auth/check?{query}"));
        server.send(request).await.is_problem(401, "missing_token");
    }
    server.stop().await;
});

on_both!(
    b3_the_address_in_the_header_is_always_encoded,
    async |stage: Stage| {
        let server = stage.start().await;
        for (email, header) in [
            ("plus+100%25@example.com", "plus+100%2525@example.com"),
            ("زينب@example.com", "%D8%B2%D9%8A%D9%86%D8%A8@example.com"),
            ("ä%@example.com", "%C3%A4%25@example.com"),
        ] {
            let body = json!({ "email": email, "password": PASSWORD });
            let tokens = Tokens::of(&server.post("/auth/register", &body).await.is(201));
            let passed = server.get("/auth/check", &tokens.access).await.is(200);
            assert_eq!(passed.headers["x-auth-email"], header);
        }
        server.stop().await;
    }
);

on_both!(
    b3_no_two_addresses_share_a_spelling_in_the_header,
    async |stage: Stage| {
        let server = stage.start().await;
        let mut seen = std::collections::BTreeSet::new();
        let emails = [
            "é@corp.test",
            "%C3%A9@corp.test",
            "%25C3%25A9@corp.test",
            "ceo%40corp.test%2f@evil.test",
            "ceo%2540corp.test@evil.test",
        ];
        for email in emails {
            let body = json!({ "email": email, "password": PASSWORD });
            let tokens = Tokens::of(&server.post("/auth/register", &body).await.is(201));
            let passed = server.get("/auth/check", &tokens.access).await.is(200);
            let header = passed.headers["x-auth-email"].to_str().unwrap().to_owned();
            let decoded = percent_encoding::percent_decode_str(&header)
                .decode_utf8()
                .unwrap();
            assert_eq!(decoded, email);
            assert!(seen.insert(header));
        }
        server.stop().await;
    }
);

on_both!(
    b5_a_misspelt_question_is_never_answered_with_yes,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("chief@example.com").await;
        for path in ["/auth/check", "/auth/check/"] {
            for (query, code) in [
                ("roles=admin", "unknown_field"),
                ("Role=admin", "unknown_field"),
                ("min_role=admin", "unknown_field"),
                ("page=2", "unknown_field"),
                ("role=Admin", "validation_failed"),
                ("role=admins", "validation_failed"),
                ("role=", "validation_failed"),
                ("role=user&role=admin", "validation_failed"),
                ("verified=yes", "validation_failed"),
                ("acr=3", "validation_failed"),
                ("max_age=10m", "validation_failed"),
            ] {
                let refused = server.get(&format!("{path}?{query}"), &admin.access).await;
                let refused = refused.is_problem(422, code);
                assert!(!refused.headers.contains_key("x-auth-user-id"));
            }
            let undecodable = server.get(&format!("{path}?q=%zz"), &admin.access).await;
            undecodable.is_problem(400, "bad_request");
        }
        // Below, the query is the client's, and says nothing.
        let user = server.register("lowly@example.com").await;
        for query in ["role=admin", "roles=admin", "role=owner", "q=%zz", "acr=2"] {
            server
                .get(&format!("/auth/check/page?{query}"), &user.access)
                .await
                .is(200);
        }
        // There and everywhere, the gateway demands by headers.
        for path in ["/auth/check", "/auth/check/", "/auth/check/page?role=user"] {
            let ask = async |name: &str, value: &str, token: &str| {
                let request = server.request(Method::POST, path).bearer_auth(token);
                server.send(request.header(name, value)).await
            };
            ask("X-Auth-Require-Role", "admin", &admin.access).await.is(200);
            ask("X-Auth-Require-Role", "admin", &user.access)
                .await
                .is_problem(403, "insufficient_role");
            ask("X_Auth_Require_Role", "admin", &user.access)
                .await
                .is_problem(403, "insufficient_role");
            for (name, value) in [
                ("X-Auth-Require-Role", "Admin"),
                ("X-Auth-Require-Roles", "admin"),
                ("X-Auth-Require-Verified", "yes"),
                ("X-Auth-Require-Acr", "two"),
                ("X-Auth-Require-Max-Age", ""),
            ] {
                ask(name, value, &admin.access)
                    .await
                    .is_problem(422, "validation_failed");
            }
        }
        server.stop().await;
    }
);

on_both!(
    b4_a_verified_address_can_be_demanded_and_is_reported,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("ceo@corp.test").await;
        assert_eq!(tokens.claim("email_verified"), false);
        let passed = server.get("/auth/check", &tokens.access).await.is(200);
        assert_eq!(passed.headers["x-auth-email-verified"], "false");
        for path in ["/auth/check?verified=true", "/auth/check/?verified=true"] {
            server
                .get(path, &tokens.access)
                .await
                .is_problem(403, "email_not_verified");
        }
        server
            .get("/auth/check?verified=false", &tokens.access)
            .await
            .is(200);
        let token = mailbox::mail(&server, "ceo@corp.test", "verify_email")
            .await
            .token();
        server
            .post_as("/auth/email/verify", &tokens.access, &json!({ "token": token }))
            .await
            .is(200);
        // The live state counts, not the token's claim.
        let passed = server
            .get("/auth/check?verified=true", &tokens.access)
            .await
            .is(200);
        assert_eq!(passed.headers["x-auth-email-verified"], "true");
        assert_eq!(passed.headers["x-auth-user-version"], "2");
        let later = server.log_in("ceo@corp.test").await;
        assert_eq!(later.claim("email_verified"), true);
        server.stop().await;
    }
);

on_both!(
    a_stronger_or_newer_sign_in_is_asked_for_by_a_challenge,
    async |stage: Stage| {
        let clock = Clock::manual(Clock::System.now());
        let server = stage.start_with(clock.clone()).await;
        let tokens = server.register("stepping@example.com").await;
        let asked = async |query: &str| server.get(&format!("/auth/check?{query}"), &tokens.access).await;
        asked("acr=1").await.is(200);
        asked("acr=1&max_age=0").await.is(200);
        let challenge = |answer: &Answer| answer.headers["www-authenticate"].to_str().unwrap().to_owned();
        let refused = asked("acr=2").await.is_problem(401, "step_up_required");
        assert_eq!(
            challenge(&refused),
            r#"Bearer realm="josoor", error="insufficient_user_authentication", acr_values="2""#
        );
        clock.advance(Duration::from_secs(61));
        asked("max_age=61").await.is(200);
        let refused = asked("max_age=60").await.is_problem(401, "step_up_required");
        assert_eq!(
            challenge(&refused),
            r#"Bearer realm="josoor", error="insufficient_user_authentication", max_age="60""#
        );
        // A refresh is no sign-in.
        let next = Tokens::of(&server.refresh(&tokens.refresh).await.is(200));
        server
            .get("/auth/check?max_age=60", &next.access)
            .await
            .is_problem(401, "step_up_required");
        let fresh = server.log_in("stepping@example.com").await;
        server.get("/auth/check?max_age=60", &fresh.access).await.is(200);
        // A change of the password verifies the user again, in a session however old.
        let body = json!({ "current_password": PASSWORD, "new_password": "another sentence to remember" });
        let changed = server
            .post_as("/auth/password/change", &next.access, &body)
            .await
            .is(200);
        server
            .get("/auth/check?max_age=60", &Tokens::of(&changed).access)
            .await
            .is(200);
        server.stop().await;
    }
);

on_both!(
    every_user_has_an_identifier_for_other_systems,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("first@example.com").await;
        let uid = server.get("/auth/me", &tokens.access).await.text_of("uid");
        let parsed: uuid::Uuid = uid.parse().unwrap();
        assert_eq!(parsed.get_version_num(), 4);
        // As a node of the release before adds a user, without naming the column.
        let time = match stage.footprint {
            Footprint::Embedded => "1700000000000000",
            Footprint::Production => "now()",
        };
        for number in 0..3 {
            let insert = format!(
                "insert into users (email, email_key, search_text, role, is_active, locale, version, created_at, updated_at)
                 values ('old{number}@example.com', 'old{number}@example.com', '', 'user', true, 'en', 1, {time}, {time})"
            );
            database::execute(&server.app.db, &insert).await;
        }
        let admin = server.register_admin("admin@example.com").await;
        let list = server.get("/admin/users", &admin.access).await.is(200);
        let uids: std::collections::BTreeSet<String> = list.json["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["uid"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(uids.len(), 5);
        assert!(uids.contains(&uid));
        assert!(
            uids.iter()
                .all(|uid| uid.parse::<uuid::Uuid>().unwrap().get_version_num() == 4)
        );
        server.stop().await;
    }
);

on_both!(
    a_session_that_is_over_is_reported_with_its_reason,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("over@example.com").await;
        server.get("/auth/check", &tokens.access).await.is(200);
        server
            .post_as("/auth/logout", &tokens.access, &json!({}))
            .await
            .is(200);
        server
            .get("/auth/check", &tokens.access)
            .await
            .is_problem(401, "session_revoked");
        // A refresh token opens nothing.
        let tokens = server.log_in("over@example.com").await;
        server
            .get("/auth/check", &tokens.refresh)
            .await
            .is_problem(401, "token_invalid");
        server.stop().await;
    }
);
