//! What mail servers answer, what it means for which mails, and what is kept of it. The servers are real ones.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::command::{Serving, run};
use crate::support::database;
use crate::support::mailbox::settled;
use crate::support::server::{PASSWORD, Stage, eventually, http_client, on_both};
use crate::support::smtp::SmtpServer;

fn set_server(stage: &mut Stage, smtp: &SmtpServer) {
    stage.set("SMTP_URL", &format!("smtp://127.0.0.1:{}", smtp.port));
    stage.set("MAIL_FROM", "no-reply@example.org");
}

/// A file that stands for what is wrong with a mail server; removing it repairs the server.
fn fault(stage: &Stage) -> String {
    let file = stage.directory().join("fault");
    std::fs::write(&file, "").expect("written");
    file.display().to_string()
}

fn repair(stage: &Stage) {
    std::fs::remove_file(stage.directory().join("fault")).expect("repaired");
}

/// The service's mail server, which refuses every recipient.
async fn refuses_a_recipient(stage: &mut Stage) -> SmtpServer {
    let file = fault(stage);
    let options = [
        "--answer",
        "rcpt",
        "550 5.1.1 No such user",
        "--unrepaired",
        &file,
    ];
    let smtp = SmtpServer::start(stage.directory(), &options).await;
    set_server(stage, &smtp);
    smtp
}

fn recipients(smtp: &SmtpServer) -> Vec<Value> {
    let mut all: Vec<Value> = smtp.taken().iter().map(|mail| mail["to"][0].clone()).collect();
    all.sort_by_key(ToString::to_string);
    all
}

/// The server refuses everything with `answer` at `stage_of_smtp`, then is repaired: each mail arrives once.
async fn refuses_until_it_is_repaired(mut stage: Stage, stage_of_smtp: &str, answer: &str, reason: &str) {
    let file = fault(&stage);
    let options = ["--answer", stage_of_smtp, answer, "--unrepaired", &file];
    let smtp = SmtpServer::start(stage.directory(), &options).await;
    set_server(&mut stage, &smtp);
    stage.dev = false;
    let server = stage.start().await;
    let addresses: Vec<String> = (0..6).map(|number| format!("n{number}@example.com")).collect();
    for address in &addresses {
        server.register(address).await;
    }
    eventually("a mail was tried", || async {
        let sql = format!("select count(*) from outbox where last_error = '{reason}'");
        database::number(&server.app.db, &sql).await > 0
    })
    .await;
    let dropped = "select count(*) from outbox where dropped_at is not null";
    assert_eq!(database::number(&server.app.db, dropped).await, 0);
    let ready = server.get("/readyz", "").await.is(200);
    assert_eq!(ready.json["parts"]["mail"], "degraded");
    // `doctor` goes as far as naming the sender.
    if stage_of_smtp != "data" {
        let notice = run(&stage, &["doctor"]);
        let line = notice
            .out
            .lines()
            .find(|line| line.contains("  mail "))
            .unwrap_or_else(|| panic!("{notice:?}"));
        assert!(line.starts_with("PROBLEM") && line.contains(reason), "{line}");
    }
    repair(&stage);
    // What was put off comes by itself within minutes; an operator does not have to wait.
    run(&stage, &["mail", "retry"]).with(0);
    smtp.wait_for(addresses.len()).await;
    settled(&server).await;
    assert_eq!(recipients(&smtp), addresses, "each once");
    let ready = server.get("/readyz", "").await.is(200);
    assert_eq!(ready.json["parts"]["mail"], "ok");
    server.stop().await;
    smtp.stop();
}

on_both!(
    d5_a_server_that_refuses_our_greeting_gets_every_mail_once_after_its_repair,
    async |stage: Stage| {
        let answer = "504 5.5.2 <vm>: Helo command rejected: need fully-qualified hostname";
        let reason = "SMTP 504 5.5.2 to EHLO: <vm>: Helo command rejected: need fully-qualified hostname";
        refuses_until_it_is_repaired(stage, "ehlo", answer, reason).await;
    }
);

on_both!(
    d6_a_server_that_refuses_our_sender_gets_every_mail_once_after_its_repair,
    async |stage: Stage| {
        let answer = "550 5.7.60 Client does not have permissions to send as this sender";
        let reason = "SMTP 550 5.7.60 to MAIL FROM: Client does not have permissions to send as this sender";
        refuses_until_it_is_repaired(stage, "mail", answer, reason).await;
    }
);

on_both!(d6_a_quota_that_is_spent_loses_no_mail, async |stage: Stage| {
    refuses_until_it_is_repaired(stage, "data", "550 5.4.5 Daily quota exceeded", "SMTP 550 5.4.5").await;
});

on_both!(
    d6_a_refused_recipient_is_final_for_that_mail_alone,
    async |mut stage: Stage| {
        let smtp = refuses_a_recipient(&mut stage).await;
        let server = stage.start().await;
        server.register("missing@example.com").await;
        settled(&server).await;
        let sql = "select last_error || '|' || error_code || '|' || error_status from outbox where dropped_at is not null";
        assert_eq!(
            database::texts(&server.app.db, sql).await,
            ["SMTP 550 5.1.1 to RCPT TO|550|5.1.1"]
        );
        repair(&stage);
        server.register("fine@example.com").await;
        settled(&server).await;
        assert_eq!(recipients(&smtp), [json!("fine@example.com")]);
        server.stop().await;
        smtp.stop();
    }
);

/// The names that clients have greeted a server with.
fn names(stage: &Stage, smtp: &SmtpServer) -> Vec<String> {
    let file = stage
        .directory()
        .join(format!("mails-{}.ndjson.names", smtp.port));
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
    names.dedup();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d5_servers_are_greeted_with_a_name_that_they_accept() {
    for (public_url, helo, expected) in [
        ("https://auth.example.org/sub", "", "auth.example.org"),
        ("https://bücher.example", "", "xn--bcher-kva.example"),
        ("https://192.0.2.7", "", "[192.0.2.7]"),
        ("http://localhost:8000", "", "[127.0.0.1]"),
        ("https://intranet", "", "[127.0.0.1]"),
        ("https://auth.example.org", "mx.example.net", "mx.example.net"),
        (
            "https://auth.example.org",
            "[IPv6:2001:db8::7]",
            "[IPv6:2001:db8::7]",
        ),
    ] {
        let mut stage = Stage::new(crate::support::server::Footprint::Embedded);
        let smtp = SmtpServer::start(stage.directory(), &[]).await;
        set_server(&mut stage, &smtp);
        stage.set("PUBLIC_URL", public_url);
        stage.set("JOSOOR_AUTH__MAIL__HELO", helo);
        stage.dev = false;
        let server = stage.start().await;
        server.register("a@example.com").await;
        smtp.wait_for(1).await;
        assert_eq!(names(&stage, &smtp), [expected], "{public_url} {helo}");
        server.stop().await;
        smtp.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d21_a_senders_name_arrives_whatever_it_holds() {
    for (given, shown) in [
        ("JOSOOR, Inc.", "JOSOOR, Inc."),
        ("\"JOSOOR, Inc.\"", "JOSOOR, Inc."),
        ("a:b;c@d (e) [f] <g>", "a:b;c@d (e) [f] <g>"),
        ("JOSOOR \"Auth\"", "JOSOOR \"Auth\""),
        ("منصة جسور، المصادقة", "منصة جسور، المصادقة"),
    ] {
        let mut stage = Stage::new(crate::support::server::Footprint::Embedded);
        let smtp = SmtpServer::start(stage.directory(), &[]).await;
        set_server(&mut stage, &smtp);
        stage.set("MAIL_FROM", &format!("{given} <no-reply@example.org>"));
        run(&stage, &["mail", "test", "a@example.com"]).with(0);
        let mail = smtp.wait_for(1).await.remove(0);
        assert_eq!(mail["from_name"], shown, "{given}");
        assert_eq!(mail["from"], "no-reply@example.org");
        smtp.stop();
    }
}

on_both!(
    d7_addresses_in_other_scripts_arrive_at_servers_that_know_ascii_alone,
    async |mut stage: Stage| {
        let smtp = SmtpServer::start(stage.directory(), &["--no-utf8"]).await;
        set_server(&mut stage, &smtp);
        stage.set("MAIL_FROM", "منصة جسور <no-reply@bücher.example>");
        let server = stage.start().await;
        for address in ["a@bücher.example", "info@مثال.إختبار", "plain@example.com"] {
            server.register(address).await;
        }
        let taken = smtp.wait_for(3).await;
        assert_eq!(
            recipients(&smtp),
            [
                json!("a@xn--bcher-kva.example"),
                json!("info@xn--mgbh0fb.xn--kgbechtv"),
                json!("plain@example.com")
            ]
        );
        for mail in &taken {
            assert_eq!(mail["from"], "no-reply@xn--bcher-kva.example");
            assert!(mail["raw"].as_str().expect("a text").is_ascii(), "{mail}");
            assert!(!mail["options"].to_string().contains("SMTPUTF8"), "{mail}");
        }
        // What stands before the @ has no ASCII form: this mail cannot be sent to this server, and stops no other.
        server.register("سارة@مثال.إختبار").await;
        server.register("last@example.com").await;
        settled(&server).await;
        let sql = "select last_error from outbox where dropped_at is not null";
        assert_eq!(
            database::texts(&server.app.db, sql).await,
            ["the mail server takes no addresses in other scripts (SMTPUTF8)"]
        );
        assert_eq!(smtp.taken().len(), 4);
        server.stop().await;
        smtp.stop();
    }
);

on_both!(
    d7_a_local_part_in_another_script_takes_smtputf8,
    async |mut stage: Stage| {
        let smtp = SmtpServer::start(stage.directory(), &[]).await;
        set_server(&mut stage, &smtp);
        let server = stage.start().await;
        server.register("سارة@مثال.إختبار").await;
        let mail = smtp.wait_for(1).await.remove(0);
        assert_eq!(mail["to"], json!(["سارة@xn--mgbh0fb.xn--kgbechtv"]));
        assert!(mail["options"].to_string().contains("SMTPUTF8"), "{mail}");
        server.stop().await;
        smtp.stop();
    }
);

#[test]
fn d21_d25_one_parser_reads_the_settings_of_mail() {
    let mut stage = Stage::new(crate::support::server::Footprint::Embedded);
    stage.set("SMTP_URL", "smtps://mail.example.org");
    stage.set("PUBLIC_URL", "https://auth.example.org");
    stage.set("MAIL_FROM", "JOSOOR, Inc. <no-reply@example.org>");
    stage.dev = false;
    run(&stage, &["config", "check"]).with(0);
    let serving = Serving::start(&stage);
    drop(serving);
    for (name, value, said) in [
        ("MAIL_FROM", "\"JOSOOR <a@example.org>\"", "remove the quotes"),
        ("MAIL_FROM", "سارة@example.org", "not ASCII"),
        ("SMTP_URL", "smtp://user:hidden@mail.example.org:465", "smtps://"),
        ("JOSOOR_AUTH__MAIL__HELO", "vm", "fully qualified"),
    ] {
        let mut stage = Stage::new(crate::support::server::Footprint::Embedded);
        stage.set(name, value);
        let begun = Instant::now();
        for command in [&["config", "check"][..], &["serve"], &["doctor"]] {
            let ended = run(&stage, command);
            let text = format!("{}{}", ended.out, ended.err);
            assert!(ended.code == 1 && text.contains(said), "{command:?}: {ended:?}");
            assert!(!text.contains("hidden"), "{text}");
        }
        assert!(begun.elapsed().as_secs() < 20, "{name}");
    }
}

on_both!(
    acceptance_f7_a_slow_server_gets_several_mails_at_once_and_each_once,
    async |mut stage: Stage| {
        // A server that takes longer over a mail than one try used to last.
        let seconds = crate::support::acceptance::size(2, 40);
        let smtp = SmtpServer::start(stage.directory(), &["--slow", &seconds.to_string()]).await;
        set_server(&mut stage, &smtp);
        let server = stage.start().await;
        let begun = Instant::now();
        let mut addresses = Vec::new();
        for number in 0..8 {
            let address = format!("n{number}@example.com");
            server.register(&address).await;
            addresses.push(json!(address));
        }
        while smtp.taken().len() < 8 {
            assert!(
                begun.elapsed().as_secs() < 8 * seconds as u64,
                "no faster than one at a time"
            );
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        settled(&server).await;
        assert_eq!(recipients(&smtp), addresses, "each once");
        server.stop().await;
        smtp.stop();
    }
);

on_both!(
    f7_mails_to_one_recipient_go_out_one_after_the_other,
    async |mut stage: Stage| {
        let smtp = SmtpServer::start(stage.directory(), &["--slow", "0.3"]).await;
        let port = smtp.port;
        smtp.stop();
        stage.set("SMTP_URL", &format!("smtp://127.0.0.1:{port}"));
        stage.set("MAIL_FROM", "no-reply@example.org");
        let server = stage.start().await;
        let tokens = server.register("one@example.com").await;
        for (old, new) in [
            (PASSWORD, "Second-Password-1"),
            ("Second-Password-1", "Third-Password-1"),
        ] {
            let body = json!({ "email": "one@example.com", "password": old });
            let answer = server.post("/auth/login", &body).await.is(200);
            let access = answer.text_of("access_token");
            let body = json!({ "current_password": old, "new_password": new });
            server
                .post_as("/auth/password/change", &access, &body)
                .await
                .is(200);
        }
        drop(tokens);
        let smtp = SmtpServer::start_on(port, stage.directory(), &["--slow", "0.3"]).await;
        smtp.wait_for(3).await;
        settled(&server).await;
        // None began before the one before it was taken.
        let mut spans: Vec<(f64, f64)> = smtp
            .taken()
            .iter()
            .map(|mail| {
                let time = |name: &str| mail[name].as_f64().expect("a time");
                (time("begun"), time("ended"))
            })
            .collect();
        spans.sort_by(|one, other| one.0.total_cmp(&other.0));
        for pair in spans.windows(2) {
            assert!(pair[1].0 >= pair[0].1, "{spans:?}");
        }
        server.stop().await;
        smtp.stop();
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f7_the_warning_about_a_handled_outage_has_no_backtrace() {
    let mut stage = Stage::new(crate::support::server::Footprint::Embedded);
    stage.set("RUST_BACKTRACE", "1");
    let serving = Serving::start(&stage);
    let file = stage.directory().join("auth.db");
    // The table is gone, as after a failed restore: every round fails and goes on.
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", file.display()))
        .await
        .expect("opened");
    for table in ["outbox", "audit"] {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "alter table {table} rename to {table}_away"
        )))
        .execute(&pool)
        .await
        .expect("renamed");
    }
    let code = |line: &Value| line["fields"]["code"].as_str().unwrap_or_default().to_owned();
    eventually("the warnings are there", || async {
        let codes: Vec<String> = serving.lines().iter().map(code).collect();
        ["outbox_not_read", "audit_not_sealed"]
            .iter()
            .all(|wanted| codes.iter().any(|code| code == wanted))
    })
    .await;
    let log = serving.log();
    for word in ["backtrace", "Stack", "/rustc/", ".rs:"] {
        assert!(!log.contains(word), "{word}: {log}");
    }
    pool.close().await;
}

on_both!(
    d6_the_log_and_the_list_name_the_enhanced_code,
    async |mut stage: Stage| {
        let options = [
            "--answer",
            "data",
            "554 5.7.1 Message refused: http://link#token=x",
        ];
        let smtp = SmtpServer::start(stage.directory(), &options).await;
        set_server(&mut stage, &smtp);
        let serving = Serving::start(&stage);
        let body = json!({ "email": "admin@example.com", "password": PASSWORD });
        let answer = http_client()
            .post(serving.url("/auth/register"))
            .json(&body)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 201);
        let tokens: Value = answer.json().await.expect("JSON");
        run(&stage, &["user", "set-role", "admin@example.com", "admin"]).with(0);
        let items = async || {
            let answer = http_client()
                .get(serving.url("/admin/outbox"))
                .bearer_auth(tokens["access_token"].as_str().expect("a token"))
                .send()
                .await
                .expect("an answer");
            answer.json::<Value>().await.expect("JSON")["items"].clone()
        };
        eventually("the mail was tried", || async {
            items().await[0]["last_error"]["code"] == 554
        })
        .await;
        let item = items().await[0].clone();
        assert_eq!(
            item["last_error"],
            json!({ "code": 554, "enhanced_code": "5.7.1", "text": "SMTP 554 5.7.1" })
        );
        assert_eq!(item["state"], "waiting");
        let warned: Vec<Value> = serving
            .lines()
            .into_iter()
            .filter(|line| line["fields"]["code"] == "mail_refused")
            .collect();
        assert_eq!(warned.len(), 1, "{}", serving.log());
        assert_eq!(warned[0]["fields"]["enhanced_code"], "5.7.1");
        assert!(!serving.log().contains("token="), "{}", serving.log());
        drop(serving);
        smtp.stop();
    }
);

on_both!(operators_list_retry_and_test_mails, async |mut stage: Stage| {
    let smtp = refuses_a_recipient(&mut stage).await;
    let server = stage.start().await;
    server.register("person@example.com").await;
    settled(&server).await;
    let listed = run(&stage, &["mail", "list", "--state", "failed", "--json"])
        .with(0)
        .json();
    let mail = &listed[0];
    assert_eq!(
        (&mail["kind"], &mail["to"], &mail["last_error"]["enhanced_code"]),
        (
            &json!("verify_email"),
            &json!("person@example.com"),
            &json!("5.1.1")
        )
    );
    let text = run(&stage, &["mail", "list"]).with(0).out;
    assert!(
        text.contains("\tfailed\t") && text.contains("SMTP 550 5.1.1 to RCPT TO") && !text.contains("token"),
        "{text}"
    );
    let refused = run(&stage, &["mail", "test", "person@example.com"]).with(1);
    assert!(
        refused.err.contains("SMTP 550 5.1.1 to RCPT TO") && refused.err.contains("try another one"),
        "{refused:?}"
    );
    repair(&stage);
    let id = mail["id"].to_string();
    run(&stage, &["mail", "retry", &id]).with(0);
    smtp.wait_for(1).await;
    settled(&server).await;
    run(&stage, &["mail", "retry", &id])
        .with(1)
        .says(&["taken this mail already"]);
    run(&stage, &["mail", "retry", "999999"])
        .with(1)
        .says(&["mail list"]);
    run(&stage, &["mail", "list", "--state", "lost"]).with(2);
    let sent = run(&stage, &["mail", "test", "person@example.com"]).with(0);
    assert!(sent.out.contains("has taken the mail"), "{sent:?}");
    let taken = smtp.wait_for(2).await;
    let subjects: Vec<&Value> = taken[1]["headers"]
        .as_array()
        .expect("headers")
        .iter()
        .filter(|header| header[0] == "Subject")
        .map(|header| &header[1])
        .collect();
    assert_eq!(subjects, ["Test of the mail server"]);
    run(&stage, &["mail", "test", "no address"]).with(1);
    let admin = server.register_admin("admin@example.com").await;
    let rows = server
        .get("/admin/audit?action=mail_test", &admin.access)
        .await
        .is(200);
    let outcomes: Vec<_> = rows.json["items"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["success", "failure"]);
    server.stop().await;
    smtp.stop();
    stage.set("SMTP_URL", "");
    stage.set("MAIL_FROM", "");
    run(&stage, &["mail", "test", "a@example.com"])
        .with(1)
        .says(&["SMTP_URL"]);
});

on_both!(
    f3_work_of_a_node_whose_clock_was_ahead_goes_on_at_once,
    async |stage: Stage| {
        use std::time::Duration;

        use josoor_auth::account::requests;
        use josoor_auth::act::Client;
        use josoor_auth::app::App;
        use josoor_auth::audit;
        use josoor_auth::clock::Clock;
        use josoor_auth::config::Config;
        use josoor_auth::domain::{Email, Locale, MailClass};

        // A stop gives the sealer's lease back.
        let server = stage.start().await;
        server.register("first@example.com").await;
        settled(&server).await;
        eventually("the trail is sealed", || async {
            database::number(&server.app.db, "select count(*) from audit where seq is null").await == 0
        })
        .await;
        server.stop().await;
        let config = Config::parse(None, stage.environment()).expect("settings");
        let app = App::open(config, Clock::System).await.expect("opened");
        assert_eq!(
            database::number(
                &app.db,
                "select count(*) from leases where name = 'audit-sealer-2'"
            )
            .await,
            0
        );
        // A node whose clock is an hour ahead takes work and is killed.
        let email = Email::parse("first@example.com").expect("an address");
        let client = Client {
            ip: "192.0.2.1".to_owned(),
            ..Client::default()
        };
        requests::forgot_password(&app, &email, Locale::En, &client)
            .await
            .expect("queued");
        audit::record_export(&app, "users", &client)
            .await
            .expect("recorded");
        let ahead = app.clock.now().plus(Duration::from_hours(1));
        let mut conn = app.db.write().await.expect("a connection");
        let until = ahead.plus(Duration::from_secs(5));
        let holder = uuid::Uuid::from_u128(1);
        assert!(
            conn.take_lease("audit-sealer-2", holder, ahead, until)
                .await
                .expect("taken")
        );
        let taken = conn
            .take_mail_except(&[], MailClass::Reset, ahead, ahead.plus(Duration::from_mins(2)))
            .await
            .expect("taken");
        assert!(taken.is_some());
        drop(conn);
        app.close().await;
        let server = stage.start().await;
        eventually("the trail is sealed", || async {
            database::number(&server.app.db, "select count(*) from audit where seq is null").await == 0
        })
        .await;
        settled(&server).await;
        let sent = "select count(*) from outbox where kind = 'reset_password' and sent_at is not null";
        assert_eq!(database::number(&server.app.db, sent).await, 1);
        server.stop().await;
    }
);
