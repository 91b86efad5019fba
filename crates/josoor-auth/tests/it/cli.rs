//! The command line: what it does, how it ends, and what it never says.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use josoor_auth::domain::UserId;
use serde_json::{Value, json};

use crate::support::command::{Ended, Serving, run, run_with};
use crate::support::server::{Footprint, JWT_SECRET, PASSWORD, Server, Stage, Tokens, http_client, on_both};
use crate::support::{process, raw};

/// Sets what a running server would also be given, and gives all secrets of the stage.
fn secrets(stage: &Stage) -> Vec<String> {
    ["JWT_SECRET", "MASTER_KEY"]
        .iter()
        .filter_map(|name| stage.environment().get(*name).cloned())
        .chain(std::fs::read_to_string(stage.directory().join("master.key")).map(|key| key.trim().to_owned()))
        .collect()
}

/// Fails the test if a command said a secret.
#[track_caller]
fn is_discreet(stage: &Stage, ended: &Ended) {
    for secret in secrets(stage)
        .iter()
        .map(String::as_str)
        .chain([PASSWORD, "$2b$"])
    {
        assert!(
            !ended.out.contains(secret) && !ended.err.contains(secret),
            "a secret in {ended:?}"
        );
    }
}

fn create(stage: &Stage, arguments: &[&str], password: &str) -> Ended {
    let arguments: Vec<&str> = ["user", "create"]
        .into_iter()
        .chain(arguments.iter().copied())
        .chain(["--password-stdin"])
        .collect();
    run_with(stage, &arguments, password.as_bytes())
}

on_both!(
    operators_make_show_change_and_delete_users,
    async |stage: Stage| {
        let made = create(
            &stage,
            &["Root@example.com", "--name", "زينب", "--role", "admin", "--json"],
            "Password123\n",
        )
        .with(0);
        is_discreet(&stage, &made);
        let user = made.json();
        assert_eq!(
            (&user["email"], &user["full_name"], &user["role"]),
            (&json!("Root@example.com"), &json!("زينب"), &json!("admin"))
        );
        let id = user["id"].as_i64().unwrap().to_string();
        let plain = create(&stage, &["user@example.com"], "Password123\r\n").with(0);
        assert!(plain.out.contains("user@example.com") && plain.out.contains("role        user"));
        create(&stage, &["ROOT@EXAMPLE.COM"], PASSWORD)
            .with(1)
            .says(&["already registered", "josoor-auth user show"]);

        create(&stage, &["a@example.com", "--role", "owner"], PASSWORD)
            .with(2)
            .says(&["user, analyst or admin"]);
        for (arguments, input, words) in [
            (&["no-address"][..], PASSWORD, &["email"][..]),
            (&["a@example.com"][..], "short", &["password", "8 characters"]),
            (&["a@example.com"][..], "password", &["password"]),
            (&["a@example.com"][..], "", &["password"]),
            (&["a@example.com"][..], "Pass\0word123", &["U+0000"]),
            (
                &["a@example.com", "--name", "a\u{202e}b"][..],
                PASSWORD,
                &["name"],
            ),
        ] {
            let refused = create(&stage, arguments, input).with(1).says(words);
            assert!(
                refused.err.starts_with("error: ") && refused.out.is_empty(),
                "{refused:?}"
            );
        }
        create(&stage, &["a@example.com", "--role", "owner"], PASSWORD)
            .with(2)
            .says(&["user, analyst or admin"]);
        run_with(
            &stage,
            &["user", "create", "a@example.com", "--password-stdin"],
            b"\xff\xfe long enough",
        )
        .with(1)
        .says(&["UTF-8"]);
        run(&stage, &["user", "create", "a@example.com"])
            .with(1)
            .says(&["--password-stdin"]);

        let shown = run(&stage, &["user", "show", &id, "--json"]).with(0).json();
        assert_eq!(shown, user);
        let by_address = run(&stage, &["user", "show", "root@EXAMPLE.com", "--json"]).with(0);
        assert_eq!(by_address.json(), user);
        let listed = run(&stage, &["user", "list", "--json"]).with(0);
        let all = listed.json();
        assert_eq!(all.as_array().unwrap().len(), 2);
        assert_eq!(all[0], user);
        let none = run(&stage, &["user", "list", "--json", "--search", "unknown"]).with(0);
        assert_eq!(none.json(), json!([]));
        let searched = run(&stage, &["user", "list", "--search", "USER@", "--role", "user"]).with(0);
        assert_eq!(searched.out.lines().count(), 1, "{searched:?}");
        for arguments in [
            &["user", "show", "unknown@example.com"][..],
            &["user", "show", "999"],
            &["user", "set-role", "unknown@example.com", "admin"],
            &["user", "activate", "999"],
            &["user", "deactivate", "999"],
            &["user", "delete", "999", "--yes"],
            &["session", "list", "999"],
            &["session", "revoke", "unknown@example.com"],
        ] {
            run(&stage, arguments)
                .with(1)
                .says(&["there is no user", "josoor-auth user list"]);
        }
        for arguments in [
            &["user", "set-role", &id, "user"][..],
            &["user", "deactivate", &id],
            &["user", "delete", &id, "--yes"],
        ] {
            run(&stage, arguments)
                .with(1)
                .says(&["last active administrator"]);
        }
        run(&stage, &["user", "set-role", "user@example.com", "owner"])
            .with(2)
            .says(&["user, analyst or admin"]);
        let changed = run(&stage, &["user", "set-role", "user@example.com", "admin"]).with(0);
        assert!(changed.out.contains("role        admin"), "{changed:?}");
        run(&stage, &["user", "deactivate", &id]).with(0);
        let shown = run(&stage, &["user", "show", &id, "--json"]).with(0).json();
        assert_eq!(shown["is_active"], false);
        run(&stage, &["user", "activate", &id]).with(0);
        run(&stage, &["user", "delete", &id]).with(1).says(&["--yes"]);
        run(&stage, &["user", "show", &id]).with(0);
        run(&stage, &["user", "delete", &id, "--yes", "--now"]).with(0);
        run(&stage, &["user", "show", &id]).with(1);
        // And what was made here signs in.
        let server = stage.start().await;
        server.log_in("user@example.com").await;
        server.stop().await;
    }
);

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    let stage = Stage::new(Footprint::Embedded);
    for arguments in [
        &["nonsense"][..],
        &["user"],
        &["user", "create"],
        &["user", "show"],
        &["user", "show", "1", "2"],
        &["user", "create", "a@example.com", "--password", PASSWORD],
        &["session", "revoke"],
        &["serve", "--port", "1"],
        &["key"],
        &["config"],
    ] {
        let ended = run(&stage, arguments).with(2);
        assert!(ended.out.is_empty() && ended.err.contains("Usage"), "{ended:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["user", "create", "--help"]] {
        let ended = run(&stage, arguments).with(0);
        assert!(
            ended.out.contains("josoor-auth") && ended.err.is_empty(),
            "{ended:?}"
        );
    }
    assert!(
        !stage.directory().join("auth.db").exists(),
        "none of it touches the database"
    );
}

/// Waits until a server refuses a token with 401, and tells with which code.
async fn refused_within(server: &Server, tokens: &Tokens, at_most: Duration) -> String {
    let end = Instant::now() + at_most;
    loop {
        let answer = server.get("/auth/me", &tokens.access).await;
        if answer.status == 401 {
            return answer.code().to_owned();
        }
        assert!(Instant::now() < end, "still let in after {at_most:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

on_both!(
    what_an_operator_ends_is_over_on_the_running_server_within_two_seconds,
    async |stage: Stage| {
        const SOON: Duration = Duration::from_secs(2);
        let server = stage.start().await;
        server.register_admin("admin@example.com").await;
        let first = server.register("user@example.com").await;
        let second = server.log_in("user@example.com").await;
        let third = server.log_in("user@example.com").await;
        // All of them are in the server's own cache.
        for tokens in [&first, &second, &third] {
            server.get("/auth/me", &tokens.access).await.is(200);
        }
        let listed = run(&stage, &["session", "list", "user@example.com", "--json"]).with(0);
        is_discreet(&stage, &listed);
        let sessions = listed.json();
        assert_eq!(sessions.as_array().unwrap().len(), 3);
        assert_eq!(sessions[0]["id"], third.claim("sid"));
        let sid = first.claim("sid");
        let sid = sid.as_str().unwrap();
        let ended = run(&stage, &["session", "revoke", sid]).with(0);
        assert_eq!(ended.out, "1 session revoked\n");
        assert_eq!(refused_within(&server, &first, SOON).await, "session_revoked");
        server.get("/auth/me", &second.access).await.is(200);
        run(&stage, &["session", "revoke", sid])
            .with(1)
            .says(&["no live session"]);
        run(
            &stage,
            &["session", "revoke", "0191f2d4-7c1e-4a33-9f5e-0242ac120002"],
        )
        .with(1)
        .says(&["no live session"]);
        let ended = run(&stage, &["session", "revoke", "USER@example.com"]).with(0);
        assert_eq!(ended.out, "2 sessions revoked\n");
        assert_eq!(refused_within(&server, &second, SOON).await, "session_revoked");
        assert_eq!(refused_within(&server, &third, SOON).await, "session_revoked");
        server
            .refresh(&third.refresh)
            .await
            .is_problem(401, "session_revoked");

        // A change of role, a deactivation and a deletion reach it the same way.
        let tokens = server.log_in("user@example.com").await;
        server.get("/admin/users", &tokens.access).await.is(403);
        run(&stage, &["user", "set-role", "user@example.com", "admin"]).with(0);
        let end = Instant::now() + SOON;
        while server.get("/admin/users", &tokens.access).await.status != 200 {
            assert!(Instant::now() < end, "the role has not arrived");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        run(&stage, &["user", "deactivate", "user@example.com"]).with(0);
        assert_eq!(refused_within(&server, &tokens, SOON).await, "account_inactive");
        run(&stage, &["user", "activate", "user@example.com"]).with(0);
        let tokens = server.log_in("user@example.com").await;
        server.get("/auth/me", &tokens.access).await.is(200);
        run(&stage, &["user", "delete", "user@example.com", "--yes"]).with(0);
        assert_eq!(refused_within(&server, &tokens, SOON).await, "session_revoked");
        assert_eq!(UserId(tokens.user_id), UserId(first.user_id));
        server.stop().await;
    }
);

on_both!(
    keys_and_settings_are_shown_without_a_secret,
    async |mut stage: Stage| {
        let one = run(&stage, &["key", "generate"]).with(0).out;
        let other = run(&stage, &["key", "generate"]).with(0).out;
        assert_ne!(one, other);
        assert_eq!(one.trim().len(), 44, "32 bytes in base64");
        if stage.footprint == Footprint::Production {
            stage.set("MASTER_KEY", one.trim());
        }
        stage.set("JWT_ALGORITHM", "ES256");
        run(&stage, &["migrate"]).with(0);
        let keys = run(&stage, &["key", "list", "--json"]).with(0);
        is_discreet(&stage, &keys);
        let mut purposes: Vec<_> = keys
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|key| {
                let names: Vec<_> = key.as_object().unwrap().keys().cloned().collect();
                assert_eq!(names.len(), 6, "{names:?}");
                key["purpose"].as_str().unwrap().to_owned()
            })
            .collect();
        purposes.sort_unstable();
        assert_eq!(purposes, ["access:ES256", "server"]);
        let text = run(&stage, &["key", "list"]).with(0);
        assert_eq!(text.out.matches("current").count(), 2, "{text:?}");

        stage.set("SMTP_URL", "smtps://mailer:hunter2hunter2@mail.example.com");
        for arguments in [
            &["config", "show"][..],
            &["config", "show", "--json"],
            &["config", "check"],
        ] {
            let shown = run(&stage, arguments).with(0);
            is_discreet(&stage, &shown);
            assert!(
                !shown.out.contains("hunter2") && !shown.err.contains("hunter2"),
                "{shown:?}"
            );
        }
        let shown = run(&stage, &["config", "show"]).with(0);
        assert!(
            shown.out.contains("password.bcrypt_cost")
                && shown.out.contains("JOSOOR_AUTH__PASSWORD__BCRYPT_COST")
        );
        let checked = run(&stage, &["config", "check"]).with(0);
        assert!(
            checked.out.contains("in order") && checked.err.contains("bcrypt_cost"),
            "{checked:?}"
        );

        let document = run(&stage, &["openapi"]).with(0).json();
        let server = stage.start().await;
        let served = server
            .send(server.request(reqwest::Method::GET, "/openapi.json"))
            .await
            .is(200);
        assert_eq!(document, served.json);
        server.stop().await;
    }
);

/// The findings of the doctor that are of this level: what was looked at, what was found, what to do.
fn findings(ended: &Ended, level: &str) -> Vec<(String, String, String)> {
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    ended
        .json()
        .as_array()
        .expect("a list")
        .iter()
        .filter(|finding| finding["level"] == level)
        .map(|finding| {
            (
                text(finding, "check"),
                text(finding, "found"),
                text(finding, "remedy"),
            )
        })
        .collect()
}

on_both!(
    the_doctor_finds_what_is_wrong_and_says_what_to_do,
    async |mut stage: Stage| {
        let examine = |stage: &Stage, code: i32| {
            let ended = run(stage, &["doctor", "--json"]).with(code);
            is_discreet(stage, &ended);
            ended
        };
        let problem = |stage: &Stage, check: &str, found: &str, remedy: &str| {
            let ended = examine(stage, 1);
            let problems = findings(&ended, "problem");
            assert!(
                problems
                    .iter()
                    .any(|(at, what, todo)| at == check && what.contains(found) && todo.contains(remedy)),
                "{check}: {found} is not in {problems:?}"
            );
        };
        stage.set("PORT", &process::free_port().to_string());
        // Before the first start, nothing is wrong, and nothing is made.
        let before = examine(&stage, 0);
        assert_eq!(findings(&before, "problem"), []);
        assert!(!stage.directory().join("auth.db").exists());
        create(&stage, &["root@example.com", "--role", "admin"], PASSWORD).with(0);
        let well = examine(&stage, 0);
        assert_eq!(findings(&well, "problem"), []);
        let looked: Vec<_> = findings(&well, "ok").into_iter().map(|(at, ..)| at).collect();
        for check in [
            "database",
            "migrations",
            "clock",
            "keys",
            "public URL",
            "JWT secret",
            "Redis",
            "listener",
        ] {
            assert!(
                looked.iter().any(|at| at == check),
                "{check} is not in {looked:?}"
            );
        }
        let text = run(&stage, &["doctor"]).with(0);
        assert!(text.out.contains("database"), "{text:?}");

        let looked: Vec<_> = findings(&well, "warning")
            .into_iter()
            .map(|(at, ..)| at)
            .collect();
        assert!(looked.iter().any(|at| at == "mail"), "{looked:?}");
        let no_server = format!("smtp://mailer:secret-of-mail@127.0.0.1:{}", process::free_port());
        stage.set("SMTP_URL", &no_server);
        stage.set("MAIL_FROM", "no-reply@example.org");
        problem(&stage, "mail", "not available", "SMTP_URL");
        stage.set("SMTP_URL", "");
        stage.set("MAIL_FROM", "");

        stage.set("PUBLIC_URL", "http://auth.example.com");
        problem(&stage, "public URL", "plain http", "https");
        stage.set("PUBLIC_URL", "http://localhost:8000");
        stage.set("JWT_SECRET", "change-this-secret-key-in-production");
        problem(&stage, "settings", "jwt_secret", "openssl rand");
        stage.set("JWT_SECRET", "xq7-brief");
        problem(&stage, "settings", "32 bytes", "JWT_SECRET");
        stage.set("JWT_SECRET", &"ababbaabbaab".repeat(4)[..47]);
        let weak = run(&stage, &["doctor", "--json"]);
        assert!(
            findings(&weak, "warning")
                .iter()
                .chain(&findings(&weak, "problem"))
                .any(|(at, ..)| at == "JWT secret" || at == "settings"),
            "{weak:?}"
        );
        stage.set("JWT_SECRET", JWT_SECRET);
        let redis = stage.environment().get("REDIS_URL").cloned();
        stage.set(
            "REDIS_URL",
            &format!("redis://127.0.0.1:{}", process::free_port()),
        );
        problem(&stage, "Redis", "does not answer", "REDIS_URL");
        stage.set("REDIS_URL", redis.as_deref().unwrap_or_default());
        match stage.footprint {
            Footprint::Embedded => {
                let file = stage.directory().join("auth.db");
                let mode =
                    |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
                mode(0o644);
                problem(&stage, "files", "mode 644", "chmod 600");
                mode(0o600);
                let key = stage.directory().join("master.key");
                let kept = std::fs::read(&key).unwrap();
                let other = run(&stage, &["key", "generate"]).with(0).out;
                std::fs::write(&key, other).unwrap();
                problem(&stage, "keys", "does not open", "MASTER_KEY");
                run(&stage, &["user", "list"]).with(1);
                std::fs::write(&key, kept).unwrap();
                std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
                problem(&stage, "files", "mode 640", "chmod 600");
                stage.set(
                    "DATABASE_URL",
                    &format!("sqlite://{}", stage.directory().display()),
                );
                problem(&stage, "database", "", "DATABASE_URL");
            }
            Footprint::Production => {
                let other = run(&stage, &["key", "generate"]).with(0).out;
                stage.set("MASTER_KEY", other.trim());
                problem(&stage, "keys", "does not open", "MASTER_KEY");
                run(&stage, &["user", "list"]).with(1);
                stage.set(
                    "DATABASE_URL",
                    &format!(
                        "postgres://josoor:hunter2hunter2@127.0.0.1:{}/none",
                        process::free_port()
                    ),
                );
                problem(&stage, "database", "", "DATABASE_URL");
                let ended = run(&stage, &["doctor"]).with(1);
                assert!(
                    !ended.out.contains("hunter2") && !ended.err.contains("hunter2"),
                    "{ended:?}"
                );
                run(&stage, &["user", "list"])
                    .with(1)
                    .says(&["database", "DATABASE_URL"]);
            }
        }
    }
);

#[test]
fn a_broken_configuration_does_not_start_and_names_key_and_remedy() {
    for (variable, value, words) in [
        (
            "JWT_SECRET",
            "change-this-secret-key-in-production",
            &["JWT_SECRET", "placeholder", "openssl rand"][..],
        ),
        (
            "JWT_SECRET",
            "tooshort",
            &["JWT_SECRET", "32 bytes", "openssl rand"],
        ),
        ("JWT_ALGORITHM", "none", &["JWT_ALGORITHM", "HS256"]),
        ("MASTER_KEY", "c2hvcnQ=", &["MASTER_KEY", "key generate"]),
        (
            "JOSOOR_AUTH__PASSWORD__BCRYPT_COSTS",
            "12",
            &["JOSOOR_AUTH__PASSWORD__BCRYPT_COST"],
        ),
        ("JOSOOR_AUTH__NO__SUCH", "1", &["JOSOOR_AUTH__NO__SUCH"]),
        (
            "JOSOOR_AUTH__REGISTRATION__MODE",
            "verify-first",
            &["registration", "open", "verify_first"],
        ),
        ("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", "3", &["4", "16"]),
        ("JOSOOR_AUTH__SESSION__IDLE", "31d", &["session", "absolute"]),
        ("CORS_ORIGINS", "*", &["CORS_ORIGINS"]),
        ("TRUSTED_PROXIES", "everybody", &["TRUSTED_PROXIES"]),
        ("PUBLIC_URL", "ftp://x", &["PUBLIC_URL"]),
        ("DATABASE_URL", "mysql://x/y", &["DATABASE_URL", "postgres"]),
        ("REDIS_URL", "http://x", &["REDIS_URL", "redis://"]),
        ("PORT", "70000", &["PORT"]),
    ] {
        let mut stage = Stage::new(Footprint::Embedded);
        stage.set("PORT", "0");
        stage.set(variable, value);
        for arguments in [&["serve"][..], &[], &["config", "check"], &["user", "list"]] {
            let ended = run(&stage, arguments).with(1).says(words);
            assert!(
                ended.err.starts_with("error: the settings need attention"),
                "{ended:?}"
            );
            assert!(ended.out.is_empty());
            if variable == "JWT_SECRET" || variable == "MASTER_KEY" {
                assert!(!ended.err.contains(value), "{ended:?}");
            }
        }
        assert!(!stage.directory().join("auth.db").exists(), "{variable}={value}");
    }
    // Two wrong settings are reported at once; a missing file is reported too.
    let mut stage = Stage::new(Footprint::Embedded);
    stage.set("JWT_SECRET", "tooshort");
    stage.set("PORT", "x");
    run(&stage, &["serve"]).with(1).says(&["JWT_SECRET", "PORT"]);
    run(&stage, &["--config", "no-such.toml", "serve"])
        .with(1)
        .says(&["no-such.toml"]);
    // PostgreSQL without a master key and without a secret to derive it from.
    let mut stage = Stage::new(Footprint::Embedded);
    stage.set("JWT_SECRET", "");
    stage.set("DATABASE_URL", "postgres://127.0.0.1:1/none");
    run(&stage, &["serve"])
        .with(1)
        .says(&["MASTER_KEY", "josoor-auth key generate"]);
}

on_both!(
    the_first_start_leaves_its_link_in_a_private_file_and_not_in_the_log,
    async |stage: Stage| {
        let file = match stage.footprint {
            Footprint::Embedded => stage.directory().join("setup-link"),
            Footprint::Production => stage.directory().join("josoor-auth-setup-link"),
        };
        // Something of that name that others could read is replaced, not written into.
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        let serving = Serving::start(&stage);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let link = std::fs::read_to_string(&file).unwrap();
        let token = link
            .trim()
            .strip_prefix("http://localhost:8000/setup#token=")
            .unwrap_or_else(|| panic!("{link}"));
        let client = http_client();
        let post = async |path: &str, body: Value| {
            let answer = client.post(serving.url(path)).json(&body).send().await.unwrap();
            let status = answer.status().as_u16();
            (status, answer.json::<Value>().await.unwrap())
        };
        let (status, made) = post(
            "/setup",
            json!({ "token": token, "email": "root@example.com", "password": PASSWORD }),
        )
        .await;
        assert_eq!(status, 201, "{made}");
        assert_eq!(made["user"]["role"], "admin");
        let access = made["access_token"].as_str().unwrap();
        let (status, _) = post(
            "/auth/login",
            json!({ "email": "root@example.com", "password": "Wrong-and-secret-1" }),
        )
        .await;
        assert_eq!(status, 401);
        let log = serving.log();
        for secret in [
            token,
            PASSWORD,
            "Wrong-and-secret-1",
            access,
            access.rsplit('.').next().unwrap(),
            made["refresh_token"].as_str().unwrap(),
            "root@example.com",
            JWT_SECRET,
        ] {
            assert!(!log.contains(secret), "{secret} is in {log}");
        }
        assert!(log.contains(&file.display().to_string()), "{log}");
        drop(serving);
        // With an administrator there is no link.
        std::fs::remove_file(&file).unwrap();
        let _serving = Serving::start(&stage);
        assert!(!file.exists());
    }
);

on_both!(
    t79_what_clients_send_is_one_escaped_line_of_the_log_at_most,
    async |stage: Stage| {
        create(&stage, &["root@example.com", "--role", "admin"], PASSWORD).with(0);
        let serving = Serving::start(&stage);
        let hostile = "GET /a\u{1b}[31m%0d%0aforged HTTP/1.1\r\nHost: x\r\nUser-Agent: \x1b[31m\u{2028}\r\nX-Request-Id: a\x1bb\r\nConnection: close\r\n\r\n";
        raw::exchange(serving.address, hostile.as_bytes(), Duration::from_secs(2)).await;
        let client = http_client();
        for text in [
            "a\r\nforged: 1@example.com",
            "\u{1b}[2J@example.com",
            "\u{2028}x@example.com",
            "\u{202e}x@example.com",
        ] {
            for path in ["/auth/login", "/auth/register"] {
                let answer = client
                    .post(serving.url(path))
                    .header("user-agent", format!("agent {}", text.replace(['\r', '\n'], " ")))
                    .json(&json!({ "email": text, "password": text, "full_name": text }))
                    .send();
                // A header that HTTP does not admit is not sent at all.
                if let Ok(answer) = answer.await {
                    assert!(answer.status().is_client_error(), "{path} {text:?}");
                }
            }
        }
        let log = serving.log();
        for character in ['\x1b', '\u{2028}', '\u{202e}', '\r'] {
            assert!(!log.contains(character), "{character:?} is in {log}");
        }
        assert!(!log.lines().any(|line| line.starts_with("forged")), "{log}");
        assert!(serving.lines().iter().all(Value::is_object));
    }
);

on_both!(
    sigterm_lets_a_sign_in_under_way_finish_and_ends_with_0,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", "14");
        create(&stage, &["slow@example.com", "--role", "admin"], PASSWORD).with(0);
        let mut serving = Serving::start(&stage);
        let client = http_client();
        let login = client
            .post(serving.url("/auth/login"))
            .json(&json!({ "email": "slow@example.com", "password": PASSWORD }))
            .send();
        let login = tokio::spawn(login);
        let busy = async || {
            let figures = client.get(serving.url("/metrics")).send().await.unwrap();
            let figures = figures.text().await.unwrap();
            figures
                .lines()
                .any(|line| line.starts_with("josoor_auth_password_hash_running") && line.ends_with(" 1"))
        };
        crate::support::server::eventually("the hash is being computed", busy).await;
        serving.signal("TERM");
        crate::support::server::eventually("no new connection is taken", || async {
            tokio::net::TcpStream::connect(serving.address).await.is_err()
        })
        .await;
        assert!(!login.is_finished(), "the sign-in was over before the signal");
        let answer = login.await.unwrap().expect("the sign-in is answered");
        assert_eq!(answer.status(), 200);
        let tokens: Value = answer.json().await.unwrap();
        assert_eq!(serving.wait(), 0, "{}", serving.log());
        assert!(serving.log().contains("stopped"), "{}", serving.log());
        // What was answered was also kept.
        let server = stage.start().await;
        server
            .get("/auth/me", tokens["access_token"].as_str().unwrap())
            .await
            .is(200);
        server.stop().await;
    }
);

on_both!(
    a_port_in_use_is_reported_before_anything_is_opened,
    async |mut stage: Stage| {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        stage.set("PORT", &taken.local_addr().unwrap().port().to_string());
        let ended = run(&stage, &["serve"]).with(1);
        assert!(
            ended.err.contains("cannot listen on") && ended.err.contains("BIND or PORT"),
            "{ended:?}"
        );
        assert!(!stage.directory().join("auth.db").exists());
        is_discreet(&stage, &ended);
    }
);
