//! `/auth/check`, which gateways ask.

use josoor_auth::sessions::Client;
use josoor_auth::store::UserPatch;
use josoor_auth::types::{Role, UserId};
use josoor_auth::users;
use reqwest::Method;
use serde_json::json;

use crate::support::server::{PASSWORD, Tokens, on_both};

on_both!(
    every_method_and_every_path_below_answers_for_the_bearer,
    async |mut stage: Stage| {
        // With CORS, OPTIONS would otherwise be answered before anybody has looked at the token.
        stage.set("CORS_ORIGINS", "https://app.example.com");
        let server = stage.start().await;
        let tokens = server.register("checked@example.com").await;
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
                    ("x-auth-email", "checked@example.com".to_owned()),
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
    // On the endpoint itself a role that is none is a mistake; below it the query may be the request's own.
    for query in ["role=owner", "role=", "role=%ff", "role=admin&role=owner"] {
        let refused = server.get(&format!("/auth/check?{query}"), &tokens.access).await;
        refused.is_problem(422, "validation_failed");
        let below = format!("/auth/check/page?{query}");
        server.get(&below, &tokens.access).await.is(200);
    }
    server
        .get("/auth/check?page=2&q=%zz", &tokens.access)
        .await
        .is(200);
    // Of several roles the highest is asked for.
    let user = server.register("lowly@example.com").await;
    for query in ["role=user&role=admin", "role=admin&role=user"] {
        let refused = server.get(&format!("/auth/check?{query}"), &user.access).await;
        refused.is_problem(403, "insufficient_role");
        let refused = server.get(&format!("/auth/check/x?{query}"), &user.access).await;
        refused.is_problem(403, "insufficient_role");
    }
    // Without a token it is 401, whatever is asked for.
    for query in ["role=admin", "role=owner", "x=%ff"] {
        let request = server.request(Method::GET, &format!("/auth/check?{query}"));
        server.send(request).await.is_problem(401, "missing_token");
    }
    server.stop().await;
});

on_both!(
    the_address_in_the_header_is_encoded_where_it_is_not_ascii,
    async |stage: Stage| {
        let server = stage.start().await;
        for (email, header) in [
            ("plus+100%25@example.com", "plus+100%25@example.com"),
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
    a_session_that_is_over_is_told_with_its_reason,
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
