//! What administrators, and they alone, do with users.

use josoor_auth::act::Client;
use josoor_auth::admin::users;
use josoor_auth::clock::Clock;
use josoor_auth::domain::{Email, FullName, Locale, Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::database;
use crate::support::server::{Answer, PASSWORD, Server, Tokens, on_both};

/// Makes an account without a password, which is quick.
async fn add(server: &Server, email: &str, name: Option<&str>, role: Role) -> i64 {
    let email = Email::parse(email).expect("an address");
    let name = name.and_then(|name| FullName::parse(name).expect("a name"));
    let client = Client::default();
    let made = users::create(&server.app, &email, None, name, role, Locale::En, &client);
    made.await.expect("a new address").id.0
}

async fn list(server: &Server, admin: &Tokens, query: &str) -> Answer {
    server.get(&format!("/admin/users{query}"), &admin.access).await
}

/// The addresses on a page, without their domain.
fn names(answer: &Answer) -> Vec<String> {
    let items = answer.json["items"].as_array().expect("items");
    items
        .iter()
        .filter_map(|user| user["email"].as_str()?.split('@').next())
        .map(str::to_owned)
        .collect()
}

async fn patch(server: &Server, admin: &Tokens, id: i64, body: Value) -> Answer {
    server
        .patch(&format!("/admin/users/{id}"), &admin.access, &body)
        .await
}

on_both!(users_are_found_sorted_filtered_and_paged, async |stage: Stage| {
    let clock = Clock::manual(Clock::System.now());
    let server = stage.start_with(clock.clone()).await;
    let admin = server.register_admin("admin@example.com").await;
    for (email, name, role) in [
        ("carol@example.com", Some("Zed_1"), Role::User),
        ("Alice@example.com", None, Role::Analyst),
        ("bob@example.com", Some("زينب 100%"), Role::User),
        ("dave@bücher.example", Some("Ärger"), Role::User),
    ] {
        clock.advance(std::time::Duration::from_secs(1));
        add(&server, email, name, role).await;
    }
    let bob = list(&server, &admin, "?q=bob").await.is(200).json["items"][0]["id"].clone();
    clock.advance(std::time::Duration::from_secs(1));
    patch(
        &server,
        &admin,
        bob.as_i64().unwrap(),
        json!({ "is_active": false }),
    )
    .await
    .is(200);
    for (query, expected) in [
        ("", &["admin", "carol", "Alice", "bob", "dave"][..]),
        ("?sort=-id", &["dave", "bob", "Alice", "carol", "admin"]),
        ("?sort=email", &["admin", "Alice", "bob", "carol", "dave"]),
        ("?sort=-email", &["dave", "carol", "bob", "Alice", "admin"]),
        ("?sort=created_at", &["admin", "carol", "Alice", "bob", "dave"]),
        ("?sort=-updated_at&page_size=1", &["bob"]),
        ("?sort=role", &["admin", "Alice", "carol", "bob", "dave"]),
        ("?role=user", &["carol", "bob", "dave"]),
        ("?role=analyst", &["Alice"]),
        ("?is_active=false", &["bob"]),
        ("?is_active=true&role=user", &["carol", "dave"]),
        ("?q=ALICE", &["Alice"]),
        ("?q=alice%40example", &["Alice"]),
        ("?q=%D8%B2%D9%8A%D9%86%D8%A8", &["bob"]),
        ("?q=%C3%84RGER", &["dave"]),
        ("?q=%25", &["bob"]),
        ("?q=_", &["carol"]),
        ("?q=%5C", &[]),
        ("?q='%20or%201=1--", &[]),
        ("?q=+carol+", &["carol"]),
        ("?q=", &["admin", "carol", "Alice", "bob", "dave"]),
        ("?q=unknown", &[]),
        ("?page=2&page_size=2", &["Alice", "bob"]),
        ("?page=3&page_size=2", &["dave"]),
        ("?page=4&page_size=2", &[]),
        ("?page=1000000000&page_size=100", &[]),
    ] {
        let page = list(&server, &admin, query).await.is(200);
        assert_eq!(names(&page), expected, "{query}");
        assert_eq!(page.headers["cache-control"], "no-store");
    }
    for key in ["id", "email", "full_name", "role", "created_at", "updated_at"] {
        let mut up = names(&list(&server, &admin, &format!("?sort={key}")).await.is(200));
        let mut down = names(&list(&server, &admin, &format!("?sort=-{key}")).await.is(200));
        up.sort_unstable();
        down.sort_unstable();
        assert_eq!(up, down, "{key}");
        assert_eq!(up.len(), 5);
    }
    let page = list(&server, &admin, "?page=2&page_size=2&role=user")
        .await
        .is(200);
    assert_eq!(
        (&page.json["total"], &page.json["page"], &page.json["page_size"]),
        (&json!(3), &json!(2), &json!(2))
    );
    server.stop().await;
});

on_both!(
    t74_a_page_that_makes_no_sense_is_refused_by_name,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        for (query, field) in [
            ("page=0", "page"),
            ("page=-1", "page"),
            ("page=1e3", "page"),
            ("page=%2B1", "page"),
            ("page=0x1", "page"),
            ("page=1.0", "page"),
            ("page=", "page"),
            ("page=2147483648", "page"),
            ("page=9223372036854775808", "page"),
            ("page=18446744073709551616", "page"),
            ("page_size=0", "page_size"),
            ("page_size=-1", "page_size"),
            ("page_size=101", "page_size"),
            ("page_size=9223372036854775807", "page_size"),
            ("sort=password_hash", "sort"),
            ("sort=id;drop%20table%20users", "sort"),
            ("sort=--id", "sort"),
            ("sort=", "sort"),
            ("role=owner", "role"),
            ("is_active=yes", "is_active"),
            ("is_active=1", "is_active"),
            ("q=%00", "q"),
            ("page=1&page=2", "page"),
        ] {
            let refused = list(&server, &admin, &format!("?{query}"))
                .await
                .is_problem(422, "validation_failed");
            assert_eq!(refused.json["errors"][0]["field"], field, "{query}");
        }
        let long = format!("?q={}", "x".repeat(255));
        list(&server, &admin, &long)
            .await
            .is_problem(422, "validation_failed");
        for query in ["?limit=1", "?Page=1", "?user_id=1", "?page=1&offset=2"] {
            list(&server, &admin, query)
                .await
                .is_problem(422, "unknown_field");
        }
        for query in ["?q=%ff", "?q=%", "?q=%zz"] {
            list(&server, &admin, query).await.is_problem(400, "bad_request");
        }
        server.stop().await;
    }
);

on_both!(
    t45_a_change_of_role_or_activity_holds_from_the_next_request_on,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let user = server.register("user@example.com").await;
        let lists = async |tokens: &Tokens| list(&server, tokens, "").await.status.as_u16();
        let check = async |role: &str| {
            server
                .get(&format!("/auth/check?role={role}"), &user.access)
                .await
                .status
                .as_u16()
        };
        assert_eq!((lists(&user).await, check("analyst").await), (403, 403));
        for (role, admitted, analyst) in [
            ("analyst", 403, 200),
            ("admin", 200, 200),
            ("user", 403, 403),
            ("admin", 200, 200),
            ("analyst", 403, 200),
        ] {
            let changed = patch(&server, &admin, user.user_id, json!({ "role": role }))
                .await
                .is(200);
            assert_eq!(changed.json["role"], role);
            assert_eq!(
                (lists(&user).await, check("analyst").await),
                (admitted, analyst),
                "{role}"
            );
            let me = server.get("/auth/me", &user.access).await.is(200);
            assert_eq!(me.json["role"], role);
        }
        patch(&server, &admin, user.user_id, json!({ "is_active": false }))
            .await
            .is(200);
        server
            .get("/auth/me", &user.access)
            .await
            .is_problem(401, "account_inactive");
        server
            .get("/auth/check", &user.access)
            .await
            .is_problem(401, "account_inactive");
        patch(&server, &admin, user.user_id, json!({ "is_active": true }))
            .await
            .is(200);
        // The sessions have ended for good; a new sign-in is needed.
        server
            .get("/auth/me", &user.access)
            .await
            .is_problem(401, "account_inactive");
        server
            .refresh(&user.refresh)
            .await
            .is_problem(401, "account_inactive");
        let again = server.log_in("user@example.com").await;
        assert_eq!(again.claim("role"), "analyst");
        server.stop().await;
    }
);

on_both!(
    t05_t72_an_administrator_changes_what_the_path_names_and_only_known_fields,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let user = add(&server, "user@example.com", Some("Before"), Role::User).await;
        let show = async || {
            server
                .get(&format!("/admin/users/{user}"), &admin.access)
                .await
                .is(200)
                .json
        };
        let before = show().await;
        for (field, value) in [
            ("id", json!(1)),
            ("user_id", json!(1)),
            ("email", json!("x@example.com")),
            ("password", json!(PASSWORD)),
            ("password_hash", json!("x")),
            ("email_verified", json!(true)),
            ("created_at", json!("2020-01-01T00:00:00Z")),
            ("locale", json!("ar")),
            ("permissions", json!(["*"])),
        ] {
            patch(
                &server,
                &admin,
                user,
                json!({ "full_name": "After", field: value }),
            )
            .await
            .is_problem(422, "unknown_field");
        }
        for body in [
            json!({ "role": "owner" }),
            json!({ "role": "Admin" }),
            json!({ "role": 3 }),
            json!({ "role": ["admin"] }),
            json!({ "is_active": "false" }),
            json!({ "is_active": 0 }),
            json!({ "full_name": "After", "role": "" }),
        ] {
            patch(&server, &admin, user, body)
                .await
                .is_problem(422, "validation_failed");
        }
        assert_eq!(show().await, before);
        let after = patch(
            &server,
            &admin,
            user,
            json!({ "full_name": "After", "role": "analyst", "is_active": false }),
        )
        .await
        .is(200);
        assert_eq!(
            (
                &after.json["full_name"],
                &after.json["role"],
                &after.json["is_active"]
            ),
            (&json!("After"), &json!("analyst"), &json!(false))
        );
        assert_eq!(show().await, after.json);
        // T71: neither a list nor a detail has more than the documented fields.
        let listed = list(&server, &admin, "").await.is(200);
        for text in [&listed.text, &after.text] {
            assert!(!text.contains("hash") && !text.contains("$2b$") && !text.contains("version"));
        }
        for id in [
            "0",
            "-1",
            "01",
            "1e3",
            "+1",
            "x",
            "%31x",
            "999999",
            "9223372036854775807",
            "9223372036854775808",
            "1%00",
        ] {
            for method in [Method::GET, Method::PATCH, Method::DELETE] {
                let request = server
                    .request(method, &format!("/admin/users/{id}"))
                    .bearer_auth(&admin.access)
                    .json(&json!({}));
                server.send(request).await.is_problem(404, "not_found");
            }
            server
                .get(&format!("/admin/users/{id}/sessions"), &admin.access)
                .await
                .is_problem(404, "not_found");
            server
                .delete(&format!("/admin/users/{id}/sessions"), &admin.access)
                .await
                .is_problem(404, "not_found");
        }
        server.stop().await;
    }
);

on_both!(
    administrators_see_and_end_sessions_and_delete_users,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let user = server.register("user@example.com").await;
        let second = server.log_in("user@example.com").await;
        let path = format!("/admin/users/{}/sessions", user.user_id);
        let sessions = server.get(&path, &admin.access).await.is(200);
        assert_eq!(sessions.json["total"], 2);
        assert!(
            sessions.json["items"]
                .as_array()
                .unwrap()
                .iter()
                .all(|item| item["current"] == false)
        );
        let revoked = server.delete(&path, &admin.access).await.is(200);
        assert_eq!(revoked.json, json!({ "revoked": 2 }));
        for tokens in [&user, &second] {
            server
                .get("/auth/me", &tokens.access)
                .await
                .is_problem(401, "session_revoked");
            server
                .refresh(&tokens.refresh)
                .await
                .is_problem(401, "session_revoked");
        }
        assert_eq!(server.get(&path, &admin.access).await.is(200).json["total"], 0);
        let third = server.log_in("user@example.com").await;
        let user_path = format!("/admin/users/{}", user.user_id);
        server.delete(&user_path, &admin.access).await.is(204);
        server
            .get("/auth/me", &third.access)
            .await
            .is_problem(401, "session_revoked");
        // It can be restored: see undo.rs.
        let deleted = server.get(&user_path, &admin.access).await.is(200);
        assert!(deleted.json["deleted_at"].is_string(), "{deleted:?}");
        server
            .delete(&user_path, &admin.access)
            .await
            .is_problem(404, "not_found");
        let own = format!("/admin/users/{}", admin.user_id);
        server
            .delete(&own, &admin.access)
            .await
            .is_problem(409, "last_admin");
        for body in [
            json!({ "role": "user" }),
            json!({ "role": "analyst" }),
            json!({ "is_active": false }),
            json!({ "role": "user", "is_active": false, "full_name": "x" }),
        ] {
            patch(&server, &admin, admin.user_id, body)
                .await
                .is_problem(409, "last_admin");
        }
        // An administrator who is not active does not count.
        let idle = add(&server, "idle@example.com", None, Role::Admin).await;
        patch(&server, &admin, idle, json!({ "is_active": false }))
            .await
            .is(200);
        patch(&server, &admin, admin.user_id, json!({ "role": "user" }))
            .await
            .is_problem(409, "last_admin");
        // Nor does one who has been invited and has no password yet.
        let invited = add(&server, "invited@example.com", None, Role::Admin).await;
        patch(&server, &admin, admin.user_id, json!({ "is_active": false }))
            .await
            .is_problem(409, "last_admin");
        server
            .delete(&own, &admin.access)
            .await
            .is_problem(409, "last_admin");
        // Who can go again at any time.
        server
            .delete(&format!("/admin/users/{invited}"), &admin.access)
            .await
            .is(204);
        let me = server.get("/auth/me", &admin.access).await.is(200);
        assert_eq!(
            (&me.json["role"], &me.json["full_name"]),
            (&json!("admin"), &Value::Null)
        );
        server.stop().await;
    }
);

on_both!(
    of_32_administrators_deleted_at_once_one_stays,
    async |stage: Stage| {
        let server = stage.start().await;
        let mut admins = Vec::new();
        for number in 0..32 {
            admins.push(server.register_admin(&format!("admin{number}@example.com")).await);
        }
        let leave = admins.iter().enumerate().map(|(number, admin)| {
            let (server, path) = (&server, format!("/admin/users/{}", admin.user_id));
            async move {
                match number % 4 {
                    0 => patch(server, admin, admin.user_id, json!({ "role": "user" })).await,
                    1 => patch(server, admin, admin.user_id, json!({ "is_active": false })).await,
                    2 => server.delete(&path, &admin.access).await,
                    _ => {
                        let request = server.request(Method::DELETE, "/auth/me");
                        let body = json!({ "password": PASSWORD });
                        server.send(request.bearer_auth(&admin.access).json(&body)).await
                    }
                }
            }
        });
        let answers = futures_util::future::join_all(leave).await;
        let (gone, stayed): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status.is_success());
        assert_eq!((gone.len(), stayed.len()), (31, 1), "{stayed:?}");
        for answer in stayed {
            answer.is_problem(409, "last_admin");
        }
        let left = "select count(*) from users where role = 'admin' and is_active";
        assert_eq!(database::number(&server.app.db, left).await, 1);
        server.stop().await;
    }
);

/// Every documented operation, with ids in its path, and whether it needs a token.
fn operations(document: &Value, user: i64, session: &str) -> Vec<(Method, String, Need)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let id = if path.starts_with("/admin/") {
            user.to_string()
        } else {
            session.to_owned()
        };
        for (method, operation) in item.as_object().expect("operations") {
            let Ok(method) = method.to_uppercase().parse::<Method>() else {
                continue;
            };
            let need = match operation["security"].as_array() {
                None => Need::Nothing,
                Some(ways) if ways.iter().any(|way| *way == json!({})) => Need::Something,
                Some(_) => Need::Token,
            };
            all.push((method, path.replace("{id}", &id), need));
        }
    }
    all
}

/// What an operation wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    /// A token in the body, a cookie or a bearer token.
    Something,
    Token,
}

on_both!(
    t02_t04_t69_every_role_is_refused_what_is_not_its_own,
    async |mut stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let user = server.register("user@example.com").await;
        let analyst = server.register("analyst@example.com").await;
        patch(&server, &admin, analyst.user_id, json!({ "role": "analyst" }))
            .await
            .is(200);
        let victim = server.register("victim@example.com").await;
        let document = server
            .send(server.request(Method::GET, "/openapi.json"))
            .await
            .is(200)
            .json;
        let session = victim.claim("sid");
        let operations = operations(&document, victim.user_id, session.as_str().unwrap());
        let admin_operations: Vec<_> = operations
            .iter()
            .filter(|(_, path, _)| path.starts_with("/admin/"))
            .collect();
        assert!(admin_operations.len() >= 6, "{operations:?}");
        let bodies = [
            json!({}),
            json!({ "role": "admin", "user_id": 1 }),
            json!({ "is_active": true }),
        ];
        for (method, path, need) in &admin_operations {
            assert_eq!(*need, Need::Token, "{path}");
            for tokens in [&user, &analyst, &victim] {
                for body in &bodies {
                    let request = server
                        .request(method.clone(), path)
                        .bearer_auth(&tokens.access)
                        .json(body);
                    server.send(request).await.is_problem(403, "insufficient_role");
                }
            }
        }
        let without = async |server: &Server, status: u16| {
            let mut asked = 0;
            for (method, path, need) in &operations {
                // These take a password or an address instead, and say which field is missing.
                // Signing out without a token has nothing to end.
                if *need == Need::Nothing || path.starts_with("/auth/email/verify") || path == "/auth/logout"
                {
                    continue;
                }
                asked += 1;
                let request = server.request(method.clone(), path).json(&json!({}));
                let refused = server.send(request).await;
                let status = if path == "/auth/check" { 401 } else { status };
                // HEAD is answered without a body, and so without a code.
                let code = if *method == Method::HEAD {
                    ""
                } else {
                    "missing_token"
                };
                assert_eq!(
                    (refused.status.as_u16(), refused.code()),
                    (status, code),
                    "{method} {path}"
                );
                let challenge = refused.headers["www-authenticate"].to_str().unwrap();
                assert!(challenge.starts_with("Bearer"), "{path}");
                // T02: an id in the body does not replace a token.
                let body = json!({ "user_id": victim.user_id, "sub": victim.user_id });
                let request = server.request(method.clone(), path).json(&body);
                let refused = server.send(request).await;
                assert!(refused.status.is_client_error(), "{method} {path}: {refused:?}");
            }
            assert!(asked >= 14, "{asked} of {operations:?}");
        };
        without(&server, 403).await;
        for (method, path, need) in &operations {
            if *method == Method::GET && *need == Need::Token {
                server.get(path, &admin.access).await.is(200);
            }
        }
        // None of it had any effect.
        let me = server.get("/auth/me", &victim.access).await.is(200);
        assert_eq!(
            (&me.json["role"], &me.json["is_active"]),
            (&json!("user"), &json!(true))
        );
        server.stop().await;
        stage.set("JOSOOR_AUTH__AUTH__MISSING_TOKEN_STATUS", "401");
        let server = stage.start().await;
        without(&server, 401).await;
        server.stop().await;
    }
);

on_both!(null_is_no_role_and_no_flag, async |stage: Stage| {
    let server = stage.start().await;
    let admin = server.register_admin("chief@example.com").await;
    let user = server.register("plain@example.com").await;
    let path = format!("/admin/users/{}", user.user_id);
    for body in [
        json!({ "role": null }),
        json!({ "is_active": null }),
        json!({ "role": "analyst", "is_active": null }),
        json!({ "role": null, "full_name": "A name" }),
    ] {
        let refused = server.patch(&path, &admin.access, &body).await;
        let refused = refused.is_problem(422, "validation_failed");
        assert_eq!(refused.json["errors"][0]["code"], "invalid_type", "{body}");
    }
    let body = json!({ "email": "invited@example.com", "role": null });
    server
        .post_as("/admin/users", &admin.access, &body)
        .await
        .is_problem(422, "validation_failed");
    for query in ["role=null", "role=", "is_active=null", "is_active=", "is_active"] {
        server
            .get(&format!("/admin/users?{query}"), &admin.access)
            .await
            .is_problem(422, "validation_failed");
    }
    // A name can be taken away, and nothing of the above was changed.
    server
        .patch(&path, &admin.access, &json!({ "full_name": null }))
        .await
        .is(200);
    let shown = server.get(&path, &admin.access).await.is(200);
    assert_eq!(
        (
            &shown.json["role"],
            &shown.json["is_active"],
            &shown.json["full_name"]
        ),
        (&json!("user"), &json!(true), &Value::Null)
    );
    server.stop().await;
});

on_both!(
    addresses_with_unassigned_code_points_are_refused,
    async |stage: Stage| {
        let server = stage.start().await;
        for odd in [
            '\u{378}',
            '\u{fdd0}',
            '\u{ffff}',
            '\u{1fffe}',
            '\u{10ffff}',
            '\u{50000}',
        ] {
            for email in [format!("a{odd}b@example.com"), format!("ab@ex{odd}ample.com")] {
                let body = json!({ "email": email, "password": PASSWORD });
                let refused = server.post("/auth/register", &body).await;
                let refused = refused.is_problem(422, "validation_failed");
                assert_eq!(refused.json["errors"][0]["field"], "email", "{body}");
            }
        }
        server.stop().await;
    }
);
