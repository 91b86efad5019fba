//! Registering, signing in and out, and one's own account.

use std::time::Duration;

use josoor_auth::domain::UserId;
use reqwest::Method;
use serde_json::json;

use crate::support::server::{Answer, PASSWORD, Server, Tokens, eventually, on_both};
use crate::support::{database, raw, services};

on_both!(
    the_documents_own_requests_have_its_statuses,
    async |stage: Stage| {
        let server = stage.start().await;
        let body =
            json!({ "email": "test@example.com", "password": "Password123", "full_name": "Test User" });
        let registered = server.post("/auth/register", &body).await.is(201);
        assert_eq!(registered.json["user"]["email"], "test@example.com");
        assert_eq!(registered.json["token_type"], "bearer");
        server
            .post("/auth/register", &body)
            .await
            .is_problem(400, "email_taken");
        let body = json!({ "email": "test@example.com", "password": "Password123" });
        let tokens = Tokens::of(&server.post("/auth/login", &body).await.is(200));
        let body = json!({ "email": "test@example.com", "password": "WrongPassword" });
        server
            .post("/auth/login", &body)
            .await
            .is_problem(401, "invalid_credentials");
        let missing = server
            .send(server.request(Method::GET, "/auth/me"))
            .await
            .is_problem(403, "missing_token");
        assert!(
            missing.headers["www-authenticate"]
                .to_str()
                .unwrap()
                .starts_with("Bearer")
        );
        let me = server.get("/auth/me", &tokens.access).await.is(200);
        assert_eq!(me.json["full_name"], "Test User");
        assert_eq!(me.json["role"], "user");
        server.stop().await;
    }
);

on_both!(
    one_address_in_64_spellings_at_once_makes_one_account,
    async |stage: Stage| {
        let server = stage.start().await;
        let attempts = (0..64u32).map(|number| {
            let email: String = "somebody@example.com"
                .char_indices()
                .map(|(at, letter)| {
                    if number >> (at % 6) & 1 == 1 {
                        letter.to_ascii_uppercase()
                    } else {
                        letter
                    }
                })
                .collect();
            let body = json!({ "email": email, "password": PASSWORD });
            let server = &server;
            async move { server.post("/auth/register", &body).await }
        });
        let answers = futures_util::future::join_all(attempts).await;
        let created = answers.iter().filter(|answer| answer.status == 201).count();
        let taken = answers
            .iter()
            .filter(|answer| answer.status == 400 && answer.code() == "email_taken")
            .count();
        assert_eq!((created, taken), (1, 63));
        server.stop().await;
    }
);

/// Sends a body as it is.
async fn send_raw(server: &Server, path: &str, content_type: Option<&str>, body: &[u8]) -> Answer {
    let mut request = server.request(Method::POST, path).body(body.to_vec());
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    server.send(request).await
}

async fn log_in_as(server: &Server, email: &str, password: &str) -> Answer {
    server
        .post("/auth/login", &json!({ "email": email, "password": password }))
        .await
}

/// What a 422 says about its first field: the field and the code.
fn first_error(answer: &Answer) -> (String, String) {
    let error = &answer.json["errors"][0];
    (
        error["field"].as_str().unwrap_or_default().to_owned(),
        error["code"].as_str().unwrap_or_default().to_owned(),
    )
}

async fn users(server: &Server) -> i64 {
    database::number(&server.app.db, "select count(*) from users").await
}

on_both!(
    addresses_are_kept_as_typed_and_belong_to_one_account_in_every_spelling,
    async |stage: Stage| {
        let server = stage.start().await;
        for (typed, kept, others) in [
            (
                " Ada.Lovelace+x@Example.COM\t",
                "Ada.Lovelace+x@Example.COM",
                &["ada.lovelace+x@example.com", "ADA.LOVELACE+X@EXAMPLE.COM"][..],
            ),
            (
                "user@bücher.example",
                "user@bücher.example",
                &["USER@BÜCHER.example", "user@xn--bcher-kva.example"][..],
            ),
            ("زينب@مثال.إختبار", "زينب@مثال.إختبار", &[][..]),
        ] {
            let body = json!({ "email": typed, "password": PASSWORD });
            let made = server.post("/auth/register", &body).await.is(201);
            assert_eq!(made.json["user"]["email"], kept);
            let id = &made.json["user"]["id"];
            for other in others.iter().chain([&typed, &kept]) {
                let body = json!({ "email": other, "password": PASSWORD });
                server
                    .post("/auth/register", &body)
                    .await
                    .is_problem(400, "email_taken");
                let signed_in = server.post("/auth/login", &body).await.is(200);
                assert_eq!(&signed_in.json["user"]["id"], id, "{other}");
                assert_eq!(signed_in.json["user"]["email"], kept);
            }
        }
        // A similar letter that is no case variant is another account.
        server.register("mike@example.com").await;
        log_in_as(&server, "mıke@example.com", PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
        server.register("mıke@example.com").await;
        server.stop().await;
    }
);

on_both!(
    t06_t08_t09_t15_addresses_that_are_not_what_they_look_like_are_refused,
    async |stage: Stage| {
        let server = stage.start().await;
        for address in [
            "",
            " ",
            "unknown",
            "a@b",
            "@example.com",
            "a@",
            "a@b@example.com",
            "a@x.example,b@y.example",
            "a@x.example;b@y.example",
            "a@x.example b@y.example",
            "\"a,b\"@x.example",
            "<a@x.example>",
            "a＠evil.example@victim.example",
            "a﹫victim.example",
            "a@victim．example",
            "ﬁ@victim.example",
            "\u{212a}@victim.example",
            "a\u{200b}@victim.example",
            "a\u{202e}@victim.example",
            "a\u{0}@victim.example",
            "a\r\nbcc: b@y.example@victim.example",
            "a@xn--example-.org",
            "a@127.0.0.1",
            "a@[127.0.0.1]",
            &format!("{}@victim.example", "a".repeat(65)),
            &format!("a@{}.example", "b".repeat(250)),
        ] {
            for path in ["/auth/register", "/auth/login"] {
                let body = json!({ "email": address, "password": PASSWORD });
                let refused = server
                    .post(path, &body)
                    .await
                    .is_problem(422, "validation_failed");
                assert_eq!(refused.json["errors"][0]["field"], "email", "{address:?}");
            }
        }
        // An address is one text, not a list of them (T07).
        for email in [
            json!(["a@x.example", "b@y.example"]),
            json!({}),
            json!(7),
            json!(true),
        ] {
            let body = json!({ "email": email, "password": PASSWORD });
            let refused = server
                .post("/auth/register", &body)
                .await
                .is_problem(422, "validation_failed");
            assert_eq!(first_error(&refused), ("email".into(), "invalid_type".into()));
        }
        assert_eq!(users(&server).await, 0);
        server.stop().await;
    }
);

on_both!(
    t05_a_registration_with_a_field_too_many_is_refused_and_writes_nothing,
    async |stage: Stage| {
        let server = stage.start().await;
        for (field, value) in [
            ("role", json!("admin")),
            ("is_active", json!(true)),
            ("id", json!(1)),
            ("user_id", json!(1)),
            ("email_verified", json!(true)),
            ("created_at", json!("2020-01-01T00:00:00Z")),
            ("password_hash", json!("x")),
            ("permissions", json!(["*"])),
            ("Role", json!("admin")),
            ("", json!(null)),
            ("__proto__", json!({ "role": "admin" })),
        ] {
            for path in ["/auth/register", "/auth/login"] {
                let mut body = json!({ "email": "new@example.com", "password": PASSWORD });
                body[field] = value.clone();
                let refused = server.post(path, &body).await.is_problem(422, "unknown_field");
                assert_eq!(first_error(&refused), (field.into(), "unknown_field".into()));
            }
        }
        assert_eq!(users(&server).await, 0);
        assert_eq!(
            database::number(&server.app.db, "select count(*) from sessions").await,
            0
        );
        let role = &server
            .post(
                "/auth/register",
                &json!({ "email": "new@example.com", "password": PASSWORD }),
            )
            .await
            .is(201)
            .json["user"]["role"];
        assert_eq!(role, "user");
        server.stop().await;
    }
);

on_both!(
    closed_registration_refuses_newcomers_only,
    async |mut stage: Stage| {
        let server = stage.start().await;
        server.register("early@example.com").await;
        server.stop().await;
        stage.set("JOSOOR_AUTH__REGISTRATION__MODE", "closed");
        let server = stage.start().await;
        for email in ["late@example.com", "early@example.com"] {
            let body = json!({ "email": email, "password": PASSWORD });
            server
                .post("/auth/register", &body)
                .await
                .is_problem(403, "registration_closed");
        }
        assert_eq!(users(&server).await, 1);
        server.log_in("early@example.com").await;
        server.stop().await;
    }
);

on_both!(
    passwords_are_held_to_the_policy_when_they_are_set,
    async |stage: Stage| {
        let server = stage.start().await;
        let register = async |number: usize, password: &str| {
            let email = format!("user{number}@example.com");
            let body = json!({ "email": email, "password": password });
            server.post("/auth/register", &body).await
        };
        for (number, (password, code)) in [
            ("", "password_too_short"),
            ("Aa1!xyz", "password_too_short"),
            // Seven characters, fourteen bytes.
            ("كلمةسرر", "password_too_short"),
            ("password", "password_too_common"),
            ("12345678", "password_too_common"),
            ("        ", "password_too_common"),
            ("😀😀😀😀😀😀😀😀", "password_too_common"),
            ("\u{0}Password123", "forbidden_character"),
            ("Password\u{0}123", "forbidden_character"),
            (&"x1".repeat(513), "password_too_long"),
            (&format!("{}a", "ع".repeat(512)), "password_too_long"),
        ]
        .into_iter()
        .enumerate()
        {
            let refused = register(number, password)
                .await
                .is_problem(422, "validation_failed");
            assert_eq!(
                first_error(&refused),
                ("password".into(), code.into()),
                "{number}"
            );
            // What the client sent is not in the answer.
            assert!(password.len() < 8 || code == "password_too_common" || !refused.text.contains(password));
        }
        assert_eq!(users(&server).await, 0);
        for (number, password) in [
            "Password123",
            "   .    ",
            "كلمةسرية",
            "😀😀😀😃😀😀😀😀",
            &format!("{}غ", "ع".repeat(511)),
            &format!("{}2y", "x1".repeat(511)),
        ]
        .into_iter()
        .enumerate()
        {
            register(number, password).await.is(201);
            let email = format!("user{number}@example.com");
            log_in_as(&server, &email, password).await.is(200);
            refuses_password(log_in_as(&server, &email, &format!("{password} ")).await);
        }
        // Two ways to write é are one password.
        register(90, "caf\u{e9} au lait").await.is(201);
        log_in_as(&server, "user90@example.com", "cafe\u{301} au lait")
            .await
            .is(200);
        server.stop().await;
    }
);

/// Fails the test unless the password was refused: by its length where it is too long for any, else by its hash.
#[track_caller]
fn refuses_password(answer: Answer) {
    if answer.status == 422 {
        assert_eq!(first_error(&answer).1, "password_too_long");
    } else {
        answer.is_problem(401, "invalid_credentials");
    }
}

on_both!(t16_every_byte_of_a_long_password_counts, async |stage: Stage| {
    let server = stage.start().await;
    for (number, length) in [70, 71, 72, 73, 200, 1000].into_iter().enumerate() {
        let email = format!("long{number}@example.com");
        let password = format!("{}Z", "pass word ".repeat(100).split_at(length - 1).0);
        let body = json!({ "email": email, "password": password });
        server.post("/auth/register", &body).await.is(201);
        log_in_as(&server, &email, &password).await.is(200);
        let other_end = format!("{}Y", &password[..length - 1]);
        for wrong in [
            other_end,
            format!("{password}+suffix"),
            password[..length - 1].to_owned(),
        ] {
            log_in_as(&server, &email, &wrong)
                .await
                .is_problem(401, "invalid_credentials");
        }
    }
    server.stop().await;
});

on_both!(
    t17_t18_a_password_or_body_that_is_too_long_is_refused_without_a_hash,
    async |stage: Stage| {
        let server = stage.start().await;
        server.register("known@example.com").await;
        let done = server.app.hasher.stats().done_total;
        for email in ["known@example.com", "unknown@example.com"] {
            for length in [1025, 4097, 60_000] {
                log_in_as(&server, email, &"x".repeat(length))
                    .await
                    .is_problem(422, "validation_failed");
            }
            log_in_as(&server, email, &"x".repeat(65_536))
                .await
                .is_problem(413, "body_too_large");
        }
        // Said beforehand, and in pieces without saying.
        let declared = format!(
            "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{{",
            1 << 20
        );
        let mut chunked =
            b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                .to_vec();
        for _ in 0..17 {
            chunked.extend_from_slice(b"1000\r\n");
            chunked.extend_from_slice(&[b' '; 4096]);
            chunked.extend_from_slice(b"\r\n");
        }
        for request in [declared.as_bytes(), &chunked] {
            let answer = raw::exchange(server.address, request, Duration::from_secs(2)).await;
            assert_eq!(raw::status(&answer), 413, "{answer}");
            assert!(answer.contains("body_too_large"));
        }
        assert_eq!(server.app.hasher.stats().done_total, done);
        server.stop().await;
    }
);

on_both!(
    t75_t76_what_is_not_a_json_object_in_utf8_is_refused_with_its_reason,
    async |stage: Stage| {
        let server = stage.start().await;
        let json = Some("application/json");
        let good = br#"{"email":"a@example.com","password":"Password123"}"#.as_slice();
        let deep = "[".repeat(60_000);
        let digits = format!(r#"{{"email":{}}}"#, "9".repeat(60_000));
        for path in ["/auth/register", "/auth/login", "/auth/refresh", "/auth/logout"] {
            for (kind, body, status, code) in [
                (json, b"{".as_slice(), 400, "malformed_json"),
                (json, b"{} {}", 400, "malformed_json"),
                (json, b"{'email':'a'}", 400, "malformed_json"),
                (
                    json,
                    br#"{"email":"a@x.example","email":"b@y.example"}"#,
                    400,
                    "malformed_json",
                ),
                (
                    json,
                    br#"{"email":"a@x.example","\u0065mail":"b@y.example"}"#,
                    400,
                    "malformed_json",
                ),
                (
                    json,
                    b"\xef\xbb\xbf{\"email\":\"a@x.example\"}",
                    400,
                    "malformed_json",
                ),
                (json, b"{\"email\":\"\xff\"}", 400, "malformed_json"),
                (json, b"{\"email\":\"\xc0\xaf\"}", 400, "malformed_json"),
                (json, br#"{"email":"\ud800"}"#, 400, "malformed_json"),
                (json, br#"{"email":1e400}"#, 400, "malformed_json"),
                (json, deep.as_bytes(), 400, "malformed_json"),
                (json, b"[]", 422, "validation_failed"),
                (json, b"null", 422, "validation_failed"),
                (json, b"\"text\"", 422, "validation_failed"),
                (None, good, 415, "unsupported_media_type"),
                (Some("text/plain"), good, 415, "unsupported_media_type"),
                (
                    Some("application/x-www-form-urlencoded"),
                    b"email=a&password=b",
                    415,
                    "unsupported_media_type",
                ),
                (
                    Some("application/json; charset=latin1"),
                    good,
                    415,
                    "unsupported_media_type",
                ),
                (Some("application/jsonp"), good, 415, "unsupported_media_type"),
            ] {
                let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
                let answer = send_raw(&server, path, kind, body).await;
                assert_eq!(
                    (answer.status.as_u16(), answer.code()),
                    (status, code),
                    "{path} {kind:?} {shown}"
                );
            }
            let many_digits = send_raw(&server, path, json, digits.as_bytes()).await;
            assert!(many_digits.status.is_client_error(), "{many_digits:?}");
        }
        send_raw(&server, "/auth/login", json, b"")
            .await
            .is_problem(400, "malformed_json");
        let packed = server
            .request(Method::POST, "/auth/login")
            .header("content-type", "application/json")
            .header("content-encoding", "gzip")
            .body(good);
        server
            .send(packed)
            .await
            .is_problem(415, "unsupported_media_type");
        send_raw(
            &server,
            "/auth/register",
            Some("Application/JSON; charset=UTF-8"),
            good,
        )
        .await
        .is(201);
        let missing = server
            .post("/auth/login", &json!({}))
            .await
            .is_problem(422, "validation_failed");
        let fields: Vec<_> = missing.json["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| (&error["field"], &error["code"]))
            .collect();
        assert_eq!(
            fields,
            [
                (&json!("email"), &json!("required")),
                (&json!("password"), &json!("required"))
            ]
        );
        server.stop().await;
    }
);

on_both!(
    the_language_is_the_requests_unless_the_body_names_one,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__MAIL__LOCALE", "ar");
        let server = stage.start().await;
        for (number, (header, field, locale)) in [
            (None, None, "ar"),
            (Some("en-US,en;q=0.9"), None, "en"),
            (Some("de, ar-SA;q=0.7, en;q=0.3"), None, "ar"),
            (Some("de"), None, "ar"),
            (Some(";;q=x,\u{7f}"), None, "ar"),
            (Some("ar"), Some("en"), "en"),
            (Some("en"), Some("ar"), "ar"),
        ]
        .into_iter()
        .enumerate()
        {
            let body =
                json!({ "email": format!("l{number}@example.com"), "password": PASSWORD, "locale": field });
            let mut request = server.request(Method::POST, "/auth/register").json(&body);
            if let Some(header) = header {
                let value = reqwest::header::HeaderValue::from_bytes(header.as_bytes());
                if let Ok(value) = value {
                    request = request.header("accept-language", value);
                }
            }
            let made = server.send(request).await.is(201);
            assert_eq!(made.json["user"]["locale"], locale, "{header:?} {field:?}");
        }
        let body = json!({ "email": "l99@example.com", "password": PASSWORD, "locale": "fr" });
        let refused = server
            .post("/auth/register", &body)
            .await
            .is_problem(422, "validation_failed");
        assert_eq!(first_error(&refused).0, "locale");
        server.stop().await;
    }
);

on_both!(
    t35_a_deactivated_account_is_reported_only_with_its_password,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let tokens = server.register("left@example.com").await;
        let path = format!("/admin/users/{}", tokens.user_id);
        server
            .patch(&path, &admin.access, &json!({ "is_active": false }))
            .await
            .is(200);
        log_in_as(&server, "left@example.com", PASSWORD)
            .await
            .is_problem(403, "account_inactive");
        let known = log_in_as(&server, "left@example.com", "WrongPassword").await;
        let unknown = log_in_as(&server, "unknown@example.com", "WrongPassword").await;
        assert_eq!(known.json["detail"], unknown.json["detail"]);
        known.is_problem(401, "invalid_credentials");
        unknown.is_problem(401, "invalid_credentials");
        server
            .get("/auth/me", &tokens.access)
            .await
            .is_problem(401, "account_inactive");
        server
            .refresh(&tokens.refresh)
            .await
            .is_problem(401, "account_inactive");
        server.stop().await;
    }
);

on_both!(
    t21_a_broken_stored_hash_admits_no_sign_in_and_breaks_nothing,
    async |stage: Stage| {
        let server = stage.start().await;
        server.register("broken@example.com").await;
        let good = database::password_hash(&server.app.db, "broken@example.com").await;
        let good = good.as_str();
        for hash in [
            "",
            "x",
            "Password123",
            "$2b$",
            "$2b$04$",
            "$2b$99$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZABCDE",
            "$2x$04$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZABCDE",
            "$2b$04$éééééééééééééééééééééééééééééééééééééééééééééééééééééé",
            "$bcrypt-sha256$v=2,t=2b,r=4$",
            "$bcrypt-sha256$v=9,t=2b,r=4$abcdefghijklmnopqrstuu$ABCDEFGHIJKLMNOPQRSTUVWXYZABCDE",
            "$argon2id$v=19$m=4294967295,t=4294967295,p=4294967295$AAAA$AAAA",
            "$argon2id$v=19$m=1024",
            "$argon2i$v=19$m=1024,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "\u{1f600}",
            &good[..good.len() - 1],
            &format!("{good}x"),
            &format!(" {good}"),
        ] {
            let sql = format!("update users set password_hash = '{hash}' where email = 'broken@example.com'");
            assert_eq!(database::execute(&server.app.db, &sql).await, 1);
            for password in [PASSWORD, "", "x"] {
                let answer = log_in_as(&server, "broken@example.com", password).await;
                let expected = if password.is_empty() { 422 } else { 401 };
                assert_eq!(answer.status, expected, "{hash}: {answer:?}");
            }
        }
        database::execute(&server.app.db, "update users set password_hash = null").await;
        log_in_as(&server, "broken@example.com", PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
        database::execute(
            &server.app.db,
            &format!("update users set password_hash = '{good}'"),
        )
        .await;
        server.log_in("broken@example.com").await;
        server.stop().await;
    }
);

on_both!(
    a_stored_hash_is_renewed_at_sign_in_when_cost_or_scheme_changed,
    async |mut stage: Stage| {
        const EMAIL: &str = "upgraded@example.com";
        let server = stage.start().await;
        let first = server.register(EMAIL).await;
        let written = database::password_hash(&server.app.db, EMAIL).await;
        assert!(written.starts_with("$2b$04$"), "{written}");
        server.log_in(EMAIL).await;
        assert_eq!(database::password_hash(&server.app.db, EMAIL).await, written);
        server.stop().await;

        stage.set("JOSOOR_AUTH__PASSWORD__ARGON2_MEMORY_KIB", "1024");
        stage.set("JOSOOR_AUTH__PASSWORD__ARGON2_ITERATIONS", "1");
        for (scheme, cost, prefix) in [
            ("bcrypt", "5", "$2b$05$"),
            ("argon2id", "5", "$argon2id$v=19$m=1024,t=1,p=1$"),
            ("bcrypt", "4", "$2b$04$"),
        ] {
            stage.set("JOSOOR_AUTH__PASSWORD__SCHEME", scheme);
            stage.set("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", cost);
            let server = stage.start().await;
            let before = database::password_hash(&server.app.db, EMAIL).await;
            log_in_as(&server, EMAIL, "WrongPassword")
                .await
                .is_problem(401, "invalid_credentials");
            assert_eq!(database::password_hash(&server.app.db, EMAIL).await, before);
            server.log_in(EMAIL).await;
            let after = database::password_hash(&server.app.db, EMAIL).await;
            assert!(after.starts_with(prefix), "{after}");
            server.log_in(EMAIL).await;
            assert_eq!(database::password_hash(&server.app.db, EMAIL).await, after);
            log_in_as(&server, EMAIL, "WrongPassword")
                .await
                .is_problem(401, "invalid_credentials");
            // The password is the same, so no user is signed out.
            server.get("/auth/me", &first.access).await.is(200);
            let fresh = format!("{}@example.com", scheme.to_owned() + cost);
            server.register(&fresh).await;
            let hash = database::password_hash(&server.app.db, &fresh).await;
            assert!(hash.starts_with(prefix), "{hash}");
            server.stop().await;
        }
    }
);

on_both!(
    past_a_full_queue_sign_ins_are_turned_away_while_everything_else_answers,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", "11");
        stage.set("JOSOOR_AUTH__HASH__THREADS", "1");
        stage.set("JOSOOR_AUTH__HASH__QUEUE", "1");
        let server = stage.start().await;
        let tokens = server.register("busy@example.com").await;
        let sign_ins = futures_util::future::join_all((0..24).map(|number| {
            let server = &server;
            async move { log_in_as(server, &format!("unknown{number}@example.com"), PASSWORD).await }
        }));
        let mut answered_meanwhile = 0;
        let meanwhile = async {
            eventually("the hasher is busy", || async {
                server.app.hasher.stats().running > 0
            })
            .await;
            while server.app.hasher.stats().running > 0 {
                server.get("/auth/me", &tokens.access).await.is(200);
                answered_meanwhile += 1;
            }
        };
        let (answers, ()) = tokio::join!(sign_ins, meanwhile);
        let mut shed = 0;
        for answer in answers {
            if answer.status == 503 {
                shed += 1;
                let answer = answer.is_problem(503, "overloaded");
                let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..=60).contains(&wait));
            } else {
                answer.is_problem(401, "invalid_credentials");
            }
        }
        assert!((1..24).contains(&shed), "{shed} of 24 were rejected");
        assert!(answered_meanwhile > 0);
        server.log_in("busy@example.com").await;
        server.stop().await;
    }
);

on_both!(
    what_happens_to_the_account_during_the_hash_wins_over_the_sign_in,
    async |mut stage: Stage| {
        const EMAIL: &str = "slow@example.com";
        stage.set("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", "13");
        let server = stage.start().await;
        let id = UserId(server.register(EMAIL).await.user_id);
        let slowly = async |change: &str| {
            let begun = async {
                eventually("the hash is being computed", || async {
                    server.app.hasher.stats().running > 0
                })
                .await;
                assert_eq!(database::execute(&server.app.db, change).await, 1);
                assert!(
                    server.app.hasher.stats().running > 0,
                    "the change came too late to say anything"
                );
            };
            tokio::join!(log_in_as(&server, EMAIL, PASSWORD), begun).0
        };
        let sessions = async || {
            let sql = format!("select count(*) from sessions where user_id = {id}");
            database::number(&server.app.db, &sql).await
        };
        assert_eq!(sessions().await, 1);
        // Another name is no reason to fail.
        slowly("update users set full_name = 'Other', version = version + 1")
            .await
            .is(200);
        assert_eq!(sessions().await, 2);
        slowly("update users set is_active = false, version = version + 1")
            .await
            .is_problem(403, "account_inactive");
        database::execute(
            &server.app.db,
            "update users set is_active = true, version = version + 1",
        )
        .await;
        let old = database::password_hash(&server.app.db, EMAIL).await;
        let later = match stage.footprint {
            Footprint::Embedded => "password_changed_at + 1",
            Footprint::Production => "password_changed_at + interval '1 microsecond'",
        };
        let hash = "$2b$04$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZABCDE";
        slowly(&format!(
            "update users set password_hash = '{hash}', password_changed_at = {later}, version = version + 1"
        ))
        .await
        .is_problem(401, "invalid_credentials");
        database::execute(
            &server.app.db,
            &format!("update users set password_hash = '{old}', version = version + 1"),
        )
        .await;
        assert_eq!(sessions().await, 2);
        slowly("delete from users")
            .await
            .is_problem(401, "invalid_credentials");
        assert_eq!(sessions().await, 0);
        server.stop().await;
    }
);

on_both!(
    t22_neither_passwords_nor_tokens_are_kept_as_they_are,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("private@example.com").await;
        log_in_as(&server, "private@example.com", "Wrong-and-secret-1").await;
        let next = Tokens::of(&server.refresh(&tokens.refresh).await.is(200));
        let mut kept = String::new();
        for columns in [
            "email || email_key || password_hash || search_text from users",
            "ip || user_agent || superseded || coalesce(revoke_reason, '') from sessions",
            "coalesce(reason, '') || coalesce(ip, '') || coalesce(user_agent, '') || coalesce(request_id, '') from audit",
            "kid || purpose from keys",
        ] {
            kept += &database::texts(&server.app.db, &format!("select {columns}"))
                .await
                .join("\n");
        }
        if stage.footprint == Footprint::Production {
            for key in [
                format!("session:{}", next.claim("sid").as_str().unwrap()),
                format!("user:{}", next.user_id),
            ] {
                let copy = services::redis()
                    .command(&format!("GET {}{key}", stage.prefix()))
                    .unwrap();
                assert!(copy.starts_with('$') && !copy.starts_with("$-1"), "{copy}");
                kept += &copy;
            }
        } else {
            server.stop().await;
            for file in ["auth.db", "auth.db-wal"] {
                if let Ok(bytes) = std::fs::read(stage.directory().join(file)) {
                    kept += &String::from_utf8_lossy(&bytes);
                }
            }
        }
        assert!(kept.contains("private@example.com"));
        for secret in [
            PASSWORD,
            "Wrong-and-secret-1",
            &tokens.access,
            &tokens.refresh,
            &next.access,
            &next.refresh,
        ] {
            let tail = secret.rsplit('.').next().unwrap();
            assert!(!kept.contains(secret) && !kept.contains(tail));
        }
    }
);
