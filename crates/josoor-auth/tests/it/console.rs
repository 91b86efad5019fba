//! What the console asks for: counts by day, users as a file, the audit trail from every side; and the pages themselves.

use std::time::Duration;

use josoor_auth::clock::Clock;
use josoor_auth::domain::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::command;
use crate::support::database;
use crate::support::server::{Answer, PASSWORD, Server, Tokens, on_both};

async fn stats(server: &Server, admin: &Tokens, query: &str) -> Answer {
    server.get(&format!("/admin/stats{query}"), &admin.access).await
}

fn series(answer: &Answer, name: &str) -> Vec<i64> {
    let days = answer.json["days"].as_array().expect("days");
    days.iter()
        .map(|day| day[name].as_i64().expect("a number"))
        .collect()
}

on_both!(
    sign_ins_and_users_are_counted_by_day_in_utc,
    async |stage: Stage| {
        // A minute before midnight.
        let start: Timestamp = "2026-03-01T23:59:00Z".parse().expect("a time");
        let clock = Clock::manual(start);
        let server = stage.start_with(clock.clone()).await;
        let admin = server.register_admin("admin@example.com").await;
        let user = server.register("user@example.com").await;
        let credentials = |password: &str| json!({ "email": "user@example.com", "password": password });
        server.post("/auth/login", &credentials(PASSWORD)).await.is(200);
        server.post("/auth/login", &credentials(PASSWORD)).await.is(200);
        server.post("/auth/login", &credentials("wrong")).await.is(401);
        let first = stats(&server, &admin, "?days=3").await.is(200);
        assert_eq!(series(&first, "sign_ins"), [0, 0, 2]);
        assert_eq!(series(&first, "failures"), [0, 0, 1]);
        assert_eq!(series(&first, "active_users"), [0, 0, 1]);
        assert_eq!(series(&first, "new_users"), [0, 0, 2]);
        assert_eq!(first.json["days"][2]["date"], "2026-03-01");
        assert_eq!(
            first.json["users"],
            json!({ "total": 2, "active": 2, "inactive": 0, "unverified": 2, "invited": 0, "analysts": 0, "admins": 1, "admins_without_factor": 1 })
        );
        assert_eq!(first.json["sessions"]["active"], 4);
        // Two minutes later it is another day. What was counted of the day before was counted before it was over.
        clock.advance(Duration::from_secs(30));
        server.post("/auth/login", &credentials(PASSWORD)).await.is(200);
        clock.advance(Duration::from_secs(90));
        let body = json!({ "is_active": false });
        let path = format!("/admin/users/{}", user.user_id);
        server.patch(&path, &admin.access, &body).await.is(200);
        let second = stats(&server, &admin, "?days=2").await.is(200);
        assert_eq!(series(&second, "sign_ins"), [3, 0]);
        assert_eq!(series(&second, "new_users"), [2, 0]);
        assert_eq!(second.json["days"][1]["date"], "2026-03-02");
        assert_eq!(second.json["users"]["inactive"], 1);
        assert_eq!(second.json["sessions"]["active"], 1);
        assert_eq!(
            series(&stats(&server, &admin, "").await.is(200), "sign_ins").len(),
            30
        );
        for query in ["?days=0", "?days=367", "?days=x", "?days=-1"] {
            let answer = stats(&server, &admin, query)
                .await
                .is_problem(422, "validation_failed");
            assert_eq!(answer.json["errors"][0]["field"], "days", "{query}");
        }
        server.stop().await;
    }
);

on_both!(
    ux_a3_users_are_counted_once_and_an_import_is_counted_at_once,
    async |stage: Stage| {
        let start: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a time");
        let clock = Clock::manual(start);
        let server = stage.start_with(clock.clone()).await;
        server.register_admin("admin@example.com").await;
        server.register("user@example.com").await;
        // Both on the first day, one of them again on the second and on the third.
        for emails in [&["admin", "user"][..], &["user"], &["user"]] {
            for name in emails {
                server.log_in(&format!("{name}@example.com")).await;
            }
            clock.advance(Duration::from_hours(24));
        }
        let admin = server.log_in("admin@example.com").await;
        let first = stats(&server, &admin, "?days=10").await.is(200);
        assert_eq!(series(&first, "active_users").iter().sum::<i64>(), 5);
        assert_eq!(
            first.json["range"],
            json!({ "sign_ins": 5, "failures": 0, "new_users": 2, "active_users": 2 })
        );
        let one_day = stats(&server, &admin, "?days=1").await.is(200);
        assert_eq!(one_day.json["range"]["active_users"], 1);
        // Another process imports users who registered elsewhere days ago.
        let file = stage.directory().join("users.ndjson");
        let line = |name: &str| json!({ "email": format!("{name}@example.org"), "created_at": "2026-02-27T08:00:00Z" });
        let lines: Vec<String> = ["a", "b", "c"]
            .iter()
            .map(|name| line(name).to_string())
            .collect();
        std::fs::write(&file, lines.join("\n")).expect("written");
        let path = file.to_str().expect("a path");
        command::run(&stage, &["user", "import", path]).with(0);
        clock.advance(Duration::from_secs(6));
        let second = stats(&server, &admin, "?days=10").await.is(200);
        assert_eq!(second.json["range"]["new_users"], 5);
        assert_eq!(series(&second, "new_users").iter().sum::<i64>(), 5);
        assert_eq!(second.json["users"]["total"], 5);
        server.stop().await;
    }
);

on_both!(
    days_that_are_over_are_stored_and_outlive_the_audit_trail,
    async |stage: Stage| {
        let start: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a time");
        let clock = Clock::manual(start);
        let server = stage.start_with(clock.clone()).await;
        server.register_admin("admin@example.com").await;
        server.log_in("admin@example.com").await;
        // The day is over, but a transaction of its last second may not be.
        clock.advance(Duration::from_hours(12) + Duration::from_mins(1));
        server.log_in("admin@example.com").await;
        josoor_auth::admin::stats::store_days(&server.app)
            .await
            .expect("counted");
        let stored = "select count(*) from counted_days where day = 20513";
        assert_eq!(database::number(&server.app.db, stored).await, 0);
        clock.advance(Duration::from_mins(10));
        for _ in 0..2 {
            josoor_auth::admin::stats::store_days(&server.app)
                .await
                .expect("counted");
        }
        assert_eq!(database::number(&server.app.db, stored).await, 1);
        let kept = "select count(*) from counted_days";
        assert_eq!(database::number(&server.app.db, kept).await, 366);
        // Another process reads what was stored, whatever has become of the trail.
        database::execute(&server.app.db, "delete from audit").await;
        server.stop().await;
        let server = stage.start_with(clock.clone()).await;
        let admin = server.log_in("admin@example.com").await;
        let found = stats(&server, &admin, "?days=2").await.is(200);
        assert_eq!(series(&found, "sign_ins"), [1, 1]);
        assert_eq!(series(&found, "active_users"), [1, 1]);
        assert_eq!(found.json["range"]["active_users"], 1);
        // A year later it is gone.
        clock.advance(Duration::from_hours(366 * 24));
        josoor_auth::admin::stats::store_days(&server.app)
            .await
            .expect("counted");
        assert_eq!(database::number(&server.app.db, stored).await, 0);
        assert_eq!(database::number(&server.app.db, kept).await, 366);
        server.stop().await;
    }
);

on_both!(console_endpoints_are_for_administrators, async |stage: Stage| {
    let server = stage.start().await;
    let user = server.register("user@example.com").await;
    for path in ["/admin/stats", "/admin/users/export"] {
        server
            .get(path, &user.access)
            .await
            .is_problem(403, "insufficient_role");
        let answer = server.request(Method::GET, path).send().await.expect("an answer");
        assert_eq!(answer.status(), 403, "without a token");
        server
            .get(path, "nonsense")
            .await
            .is_problem(401, "token_invalid");
    }
    server.stop().await;
});

on_both!(
    users_are_written_to_a_file_whole_and_in_order,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        for (email, name, role) in [
            ("zeinab@example.com", "زينب \"أم\" علي, الرياض", "analyst"),
            ("formula@example.com", "=cmd()", "user"),
            ("minus@example.com", "-1+1", "user"),
        ] {
            let body = json!({ "email": email, "full_name": name, "role": role });
            let answer = server
                .request(Method::POST, "/admin/users")
                .bearer_auth(&admin.access);
            let answer = answer.json(&body).send().await.expect("an answer");
            assert_eq!(answer.status(), 201);
        }
        let admin = server.log_in("admin@example.com").await;
        let answer = server
            .get("/admin/users/export?sort=-email&bom=true", &admin.access)
            .await
            .is(200);
        assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8");
        assert_eq!(
            answer.headers["content-disposition"],
            "attachment; filename=\"users.csv\""
        );
        assert_eq!(answer.headers["cache-control"], "no-store");
        let lines: Vec<_> = answer.text.split("\r\n").collect();
        assert_eq!(
            lines[0],
            "\u{feff}id,email,full_name,role,is_active,email_verified,locale,created_at,updated_at,last_login_at,mfa_enabled"
        );
        assert!(
            lines[1].contains(",zeinab@example.com,\"زينب \"\"أم\"\" علي, الرياض\",analyst,true,false,en,"),
            "{}",
            lines[1]
        );
        assert!(
            lines[2].contains(",minus@example.com,'-1+1,user,"),
            "{}",
            lines[2]
        );
        assert!(
            lines[3].contains(",formula@example.com,'=cmd(),user,"),
            "{}",
            lines[3]
        );
        assert!(lines[4].contains(",admin@example.com,,admin,"), "{}", lines[4]);
        // The last sign-in, and whether there is a second factor.
        assert!(lines[1].ends_with("Z,,false"), "{}", lines[1]);
        assert!(
            lines[4].ends_with("Z,false") && !lines[4].ends_with(",,false"),
            "{}",
            lines[4]
        );
        assert_eq!(lines.len(), 6, "a line end closes the last row");
        let answer = server
            .get("/admin/users/export?format=ndjson&role=analyst", &admin.access)
            .await
            .is(200);
        assert_eq!(answer.headers["content-type"], "application/x-ndjson");
        let rows: Vec<Value> = answer
            .text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["email"], "zeinab@example.com");
        assert!(rows[0].get("password_hash").is_none());
        let trail = server
            .get("/admin/audit?action=export", &admin.access)
            .await
            .is(200);
        assert_eq!(trail.json["items"].as_array().expect("items").len(), 2);
        assert_eq!(trail.json["items"][0]["reason"], "users");
        for (query, field) in [
            ("format=xml", "format"),
            ("sort=password", "sort"),
            ("role=root", "role"),
        ] {
            let path = format!("/admin/users/export?{query}");
            let answer = server
                .get(&path, &admin.access)
                .await
                .is_problem(422, "validation_failed");
            assert_eq!(answer.json["errors"][0]["field"], field);
        }
        server.stop().await;
    }
);

on_both!(
    the_trail_is_followed_by_session_address_and_request,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        server.register("user@example.com").await;
        let credentials = json!({ "email": "user@example.com", "password": PASSWORD });
        server.post("/auth/login", &credentials).await.is(200);
        let audit = async |query: String| server.get(&format!("/admin/audit?{query}"), &admin.access).await;
        let all = audit("action=sign_in".to_owned()).await.is(200);
        let row = &all.json["items"][0];
        let text = |name: &str| row[name].as_str().expect("a text").to_owned();
        for query in [
            format!("session_id={}", text("session_id")),
            format!("ip={}&action=sign_in", text("ip")),
            format!("request_id={}", text("request_id")),
            // The same address as it stands in IPv6.
            format!("ip=::ffff:{}&action=sign_in", text("ip")),
        ] {
            let found = audit(query.clone()).await.is(200);
            assert_eq!(found.json["items"].as_array().expect("items").len(), 1, "{query}");
            assert_eq!(found.json["items"][0]["id"], row["id"], "{query}");
        }
        assert_eq!(
            audit("ip=192.0.2.1".to_owned()).await.is(200).json["items"],
            json!([])
        );
        // What is new since.
        let newest = audit("limit=1".to_owned()).await.is(200).json["items"][0]["id"]
            .as_i64()
            .expect("an id");
        assert_eq!(
            audit(format!("after={newest}")).await.is(200).json["items"],
            json!([])
        );
        server.post("/auth/login", &credentials).await.is(200);
        let fresh = audit(format!("after={newest}")).await.is(200);
        assert_eq!(fresh.json["items"].as_array().expect("items").len(), 1);
        assert_eq!(fresh.json["items"][0]["action"], "sign_in");
        for (query, field) in [
            ("session_id=x", "session_id"),
            ("ip=localhost", "ip"),
            ("request_id=", "request_id"),
            ("after=0", "after"),
        ] {
            let answer = audit(query.to_owned()).await.is_problem(422, "validation_failed");
            assert_eq!(answer.json["errors"][0]["field"], field, "{query}");
        }
        server.stop().await;
    }
);

on_both!(
    pages_speak_the_readers_language_from_the_first_byte,
    async |stage: Stage| {
        let server = stage.start().await;
        let page = async |path: &str, headers: &[(&str, &str)]| {
            let mut request = server.request(Method::GET, path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = request.send().await.expect("an answer");
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            (status, headers, answer.text().await.expect("a text"))
        };
        for path in [
            "/login",
            "/register",
            "/forgot-password",
            "/reset-password",
            "/verify-email",
            "/setup",
            "/undo",
            "/secure-account",
            "/sign-out",
            "/signed-out",
            "/unauthorized",
            "/account",
            "/account/sessions",
            "/console",
            "/console/users/7",
            "/errors/not_found",
        ] {
            let (status, headers, text) = page(path, &[("accept-language", "ar-EG")]).await;
            assert_eq!(status, 200, "{path}");
            assert!(
                text.starts_with("<!doctype html>\n<html lang=\"ar\" dir=\"rtl\">"),
                "{path}: {text}"
            );
            assert_eq!(headers["content-language"], "ar");
            assert_eq!(headers["cache-control"], "no-store", "{path}");
            let policy = headers["content-security-policy"].to_str().expect("ASCII");
            assert!(
                policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
                "{policy}"
            );
            let (_, _, text) = page(path, &[("accept-language", "ar"), ("cookie", "josoor_locale=en")]).await;
            assert!(text.contains("<html lang=\"en\" dir=\"ltr\">"), "{path}");
            let (_, _, text) = page(&format!("{path}?lang=ar"), &[("cookie", "josoor_locale=en")]).await;
            assert!(text.contains("<html lang=\"ar\""), "{path}");
        }
        // For people a page, for programs a document.
        for path in ["/no/such", "/errors/no_such_code"] {
            let (status, _, text) = page(path, &[("accept", "text/html,*/*")]).await;
            assert!(status == 404 && text.contains("Page not found"), "{text}");
            let (status, headers, _) = page(path, &[("accept", "*/*")]).await;
            assert_eq!(
                (status, &headers["content-type"]),
                (404, &"application/problem+json".parse().expect("a value"))
            );
        }
        // The files of the page: packed as the browser takes them, kept for a year.
        let (_, _, text) = page("/account", &[]).await;
        let script = text
            .split("src=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("a script");
        for (accepted, encoding) in [
            ("br, gzip", Some("br")),
            ("gzip", Some("gzip")),
            ("identity", None),
        ] {
            let (status, headers, _) = page(script, &[("accept-encoding", accepted)]).await;
            assert_eq!(status, 200);
            assert_eq!(
                headers
                    .get("content-encoding")
                    .map(|value| value.to_str().expect("ASCII")),
                encoding
            );
            assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
            assert_eq!(headers["content-type"], "text/javascript; charset=utf-8");
        }
        let (status, headers, _) = page("/assets/../Cargo.toml", &[]).await;
        assert_eq!((status, headers.contains_key("content-encoding")), (404, false));
        server.stop().await;
    }
);

on_both!(pages_work_below_a_path, async |mut stage: Stage| {
    stage.set("PUBLIC_URL", "https://example.org/identity");
    let server = stage.start().await;
    let answer = server
        .request(Method::GET, "/account")
        .send()
        .await
        .expect("an answer");
    let text = answer.text().await.expect("a text");
    assert!(
        text.contains("src=\"/identity/assets/") && text.contains("&quot;base&quot;:&quot;/identity&quot;"),
        "{text}"
    );
    assert_eq!(
        text.matches("=\"/").count(),
        text.matches("=\"/identity/").count()
    );
    for page in ["/errors/not_found", "/login", "/reset-password"] {
        let answer = server.request(Method::GET, page).send().await.expect("an answer");
        let text = answer.text().await.expect("a text");
        assert!(text.contains("url(/identity/assets/") && text.contains("data-base=\"/identity\""));
        let body = text.split("</style>").nth(1).expect("a body");
        assert_eq!(
            body.matches("=\"/").count(),
            body.matches("=\"/identity").count(),
            "{text}"
        );
    }
    for (path, to) in [
        ("/.well-known/change-password", "/account/password"),
        ("/", "/account"),
    ] {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        let answer = client
            .get(server.url(path))
            .header("accept", "text/html")
            .send()
            .await
            .expect("an answer");
        assert!(answer.status().is_redirection());
        assert_eq!(
            answer.headers()["location"],
            format!("https://example.org/identity{to}")
        );
    }
    server.stop().await;
});
