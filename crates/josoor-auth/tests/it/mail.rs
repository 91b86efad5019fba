//! Mail through a real server, and the development mailbox. The numbers are those of the list of known attacks in
//! docs/SECURITY-MODEL.md.

use std::time::{Duration, Instant};

use josoor_auth::domain::{Email, Locale, MailKind, Purpose, UserId};
use josoor_auth::store::{Content, MailDetails, NewMail, Origin};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::command::Serving;
use crate::support::database;
use crate::support::mailbox::{mail as letter, mails, settled};
use crate::support::raw;
use crate::support::server::{PASSWORD, Server, Tokens, eventually, http_client, on_both};
use crate::support::smtp::{SmtpServer, certificate};

fn header<'m>(mail: &'m Value, name: &str) -> &'m str {
    mail["headers"]
        .as_array()
        .expect("headers")
        .iter()
        .find(|header| header[0] == name)
        .and_then(|header| header[1].as_str())
        .unwrap_or_default()
}

async fn forgot(server: &Server, email: &str) {
    server
        .post("/auth/password/forgot", &json!({ "email": email }))
        .await
        .is(202);
}

on_both!(
    a_mail_arrives_whole_in_both_languages,
    async |mut stage: Stage| {
        let smtp = SmtpServer::start(stage.directory(), &[]).await;
        stage.set("SMTP_URL", &format!("smtp://127.0.0.1:{}", smtp.port));
        stage.set("MAIL_FROM", "منصة جسور <no-reply@example.org>");
        stage.set("PUBLIC_URL", "https://auth.example.org/sub");
        let server = stage.start().await;
        for (email, name, locale) in [
            ("sara@example.com", "Sara", "en"),
            ("huda@example.com", "هدى", "ar"),
        ] {
            let body = json!({ "email": email, "password": PASSWORD, "full_name": name, "locale": locale });
            server.post("/auth/register", &body).await.is(201);
        }
        let mails = smtp.wait_for(2).await;
        for mail in &mails {
            let arabic = mail["to"] == json!(["huda@example.com"]);
            let (text, html) = (mail["text"].as_str().unwrap(), mail["html"].as_str().unwrap());
            let link = "https://auth.example.org/sub/verify-email#token=";
            assert!(
                text.lines().any(|line| line.starts_with(link)) && html.contains(link),
                "{text}"
            );
            assert_eq!(mail["from"], "no-reply@example.org");
            assert!(header(mail, "From").contains("منصة جسور"), "{mail}");
            assert_eq!(header(mail, "Auto-Submitted"), "auto-generated");
            assert!(
                header(mail, "Message-ID").ends_with("@auth.example.org>"),
                "{mail}"
            );
            assert!(!header(mail, "Date").is_empty());
            if arabic {
                assert_eq!(header(mail, "Subject"), "تأكيد بريدك الإلكتروني");
                assert_eq!(header(mail, "Content-Language"), "ar");
                assert!(text.starts_with("مرحبًا،") && text.contains("24 ساعة"), "{text}");
                assert!(html.contains(r#"<html lang="ar" dir="rtl">"#), "{html}");
            } else {
                assert_eq!(header(mail, "Subject"), "Confirm your email address");
                assert!(text.starts_with("Hello,") && text.contains("24 hours"), "{text}");
                assert!(html.contains(r#"<html lang="en" dir="ltr">"#), "{html}");
            }
        }
        // Once the address is verified, the greeting has the name.
        database::execute(&server.app.db, "update users set email_verified_at = created_at").await;
        for email in ["sara@example.com", "huda@example.com"] {
            forgot(&server, email).await;
        }
        for mail in &smtp.wait_for(4).await[2..] {
            let (text, html) = (mail["text"].as_str().unwrap(), mail["html"].as_str().unwrap());
            if mail["to"] == json!(["huda@example.com"]) {
                assert!(text.starts_with("مرحبًا \u{2068}هدى\u{2069}،"), "{text}");
                assert!(html.contains("<bdi>هدى</bdi>"), "{html}");
            } else {
                assert!(text.starts_with("Hello Sara,"), "{text}");
            }
        }
        // With a mail server there is no mailbox, also for this machine.
        server
            .send(server.request(Method::GET, "/dev/mail"))
            .await
            .is_problem(404, "not_found");
        server.stop().await;
        smtp.stop();
    }
);

on_both!(t10_t80_what_users_wrote_stays_text, async |mut stage: Stage| {
    let smtp = SmtpServer::start(stage.directory(), &[]).await;
    stage.set("SMTP_URL", &format!("smtp://localhost:{}", smtp.port));
    stage.set("MAIL_FROM", "no-reply@example.org");
    let server = stage.start().await;
    let names = [
        "<a href=//evil>",
        "{{ 7*7 }}",
        "[Click here]",
        "Bcc: evil",
        "x\"><script>",
        "Go to evil.example now",
    ];
    for (number, name) in names.iter().enumerate() {
        let body =
            json!({ "email": format!("t{number}@example.com"), "password": PASSWORD, "full_name": name });
        server.post("/auth/register", &body).await.is(201);
    }
    // Line ends are refused where they come in.
    for (field, value) in [
        ("full_name", "a\r\nBcc: evil@example.com"),
        ("email", "a@example.com\r\nBcc: evil@example.com"),
    ] {
        let mut body = json!({ "email": "x@example.com", "password": PASSWORD });
        body[field] = value.into();
        server
            .post("/auth/register", &body)
            .await
            .is_problem(422, "validation_failed");
    }
    for mail in smtp.wait_for(names.len()).await {
        let text = mail["text"].as_str().unwrap();
        assert!(
            text.lines().next() == Some("Hello,"),
            "no name before the address is verified: {text}"
        );
    }
    database::execute(&server.app.db, "update users set email_verified_at = created_at").await;
    for number in 0..names.len() {
        forgot(&server, &format!("t{number}@example.com")).await;
    }
    for mail in &smtp.wait_for(2 * names.len()).await[names.len()..] {
        let to = mail["to"][0].as_str().unwrap();
        let number: usize = to[1..2].parse().unwrap();
        let (text, html) = (mail["text"].as_str().unwrap(), mail["html"].as_str().unwrap());
        assert!(text.contains(names[number]), "{text}");
        for tag in ["<a href=//evil", "<script", "x\"><"] {
            assert!(!html.contains(tag), "{html}");
        }
        assert_eq!(html.matches("<a ").count(), 1, "{html}");
        assert_eq!(mail["to"], json!([to]));
        assert!(header(mail, "Bcc").is_empty());
    }
    server.stop().await;
    smtp.stop();
});

on_both!(
    a_server_that_is_away_or_refuses_for_now_gets_the_mail_later,
    async |mut stage: Stage| {
        let smtp = SmtpServer::start(stage.directory(), &["--refuse", "451", "1"]).await;
        let port = smtp.port;
        stage.set_limit("mail_recipient", "2/1h");
        stage.set("SMTP_URL", &format!("smtp://127.0.0.1:{port}"));
        stage.set("MAIL_FROM", "no-reply@example.org");
        let server = stage.start().await;
        server.register("later@example.com").await;
        // Put off once, for five seconds and a little.
        smtp.wait_for(1).await;
        smtp.stop();
        // Away: the answer is the same, and the mail waits.
        for (email, expected) in [("later@example.com", 202), ("unknown@example.com", 202)] {
            let begun = Instant::now();
            server
                .post("/auth/password/forgot", &json!({ "email": email }))
                .await
                .is(expected);
            assert!(begun.elapsed() < Duration::from_secs(2));
        }
        // Longer than one mail has tries at its limit: it is counted once.
        tokio::time::sleep(Duration::from_millis(4500)).await;
        let back = SmtpServer::start_on(port, stage.directory(), &[]).await;
        let mails = back.wait_for(2).await;
        assert!(
            mails[1]["text"]
                .as_str()
                .unwrap()
                .contains("/reset-password#token=")
        );
        settled(&server).await;
        assert_eq!(back.taken().len(), 2, "each once");
        server.stop().await;
        back.stop();
    }
);

on_both!(two_nodes_send_each_mail_once, async |mut stage: Stage| {
    let smtp = SmtpServer::start(stage.directory(), &[]).await;
    stage.set("SMTP_URL", &format!("smtp://127.0.0.1:{}", smtp.port));
    stage.set("MAIL_FROM", "no-reply@example.org");
    let one = stage.start().await;
    let two = stage.start().await;
    for number in 0..20 {
        let server = if number % 2 == 0 { &one } else { &two };
        server.register(&format!("n{number}@example.com")).await;
    }
    smtp.wait_for(20).await;
    settled(&one).await;
    let mut ids: Vec<_> = smtp
        .taken()
        .iter()
        .map(|mail| header(mail, "Message-ID").to_owned())
        .collect();
    assert_eq!(ids.len(), 20);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    one.stop().await;
    two.stop().await;
    smtp.stop();
});

on_both!(
    a_mail_that_was_promised_before_a_crash_is_sent_after_it,
    async |mut stage: Stage| {
        let smtp = SmtpServer::start(stage.directory(), &[]).await;
        let port = smtp.port;
        smtp.stop();
        stage.set("SMTP_URL", &format!("smtp://127.0.0.1:{port}"));
        stage.set("MAIL_FROM", "no-reply@example.org");
        let mut serving = Serving::start(&stage);
        let answer = http_client()
            .post(serving.url("/auth/register"))
            .json(&json!({ "email": "crash@example.com", "password": PASSWORD }))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 201);
        serving.signal("KILL");
        serving.wait();
        let smtp = SmtpServer::start_on(port, stage.directory(), &[]).await;
        let serving = Serving::start(&stage);
        // What the dead process had in hand is free again at the end of its lease; the test does not wait for that.
        let server = stage.start().await;
        crate::support::database::execute(
            &server.app.db,
            "update outbox set due_at = created_at where sent_at is null",
        )
        .await;
        let mails = smtp.wait_for(1).await;
        assert_eq!(mails[0]["to"], json!(["crash@example.com"]));
        // The link, made again from its row, works.
        let text = mails[0]["text"].as_str().unwrap();
        let token = text
            .lines()
            .find_map(|line| line.split_once("#token="))
            .expect("a link")
            .1;
        let body = json!({ "token": token, "password": PASSWORD });
        server.post("/auth/email/verify", &body).await.is(200);
        server.stop().await;
        drop(serving);
        smtp.stop();
    }
);

on_both!(
    t80_tls_and_sign_in_are_what_the_url_says,
    async |mut stage: Stage| {
        let folder = stage.directory().to_owned();
        let [authority, good, good_key] = certificate(&folder, "localhost");
        let [other_authority, wrong, wrong_key] = certificate(&folder, "mail.example.org");
        let both = folder.join("both.pem");
        let text =
            [authority, other_authority].map(|file| std::fs::read_to_string(file).expect("a certificate"));
        std::fs::write(&both, text.concat()).expect("written");
        stage.set("MAIL_FROM", "no-reply@example.org");
        stage.set("SSL_CERT_FILE", &both.display().to_string());
        let auth = ["--auth", "mailer", "p@ss:word"];
        for (scheme, mode, query) in [("smtps", "implicit", ""), ("smtp", "starttls", "?tls=required")] {
            let tls = ["--tls", mode, &good, &good_key];
            let smtp = SmtpServer::start(&folder, &[&tls[..], &auth[..]].concat()).await;
            stage.set(
                "SMTP_URL",
                &format!("{scheme}://mailer:p%40ss%3Aword@localhost:{}{query}", smtp.port),
            );
            let serving = Serving::start(&stage);
            let body = json!({ "email": format!("{mode}@example.com"), "password": PASSWORD });
            let answer = http_client()
                .post(serving.url("/auth/register"))
                .json(&body)
                .send()
                .await
                .expect("an answer");
            assert_eq!(answer.status(), 201);
            let mails = smtp.wait_for(1).await;
            assert_eq!(
                (&mails[0]["tls"], &mails[0]["authenticated"]),
                (&json!(true), &json!(true)),
                "{mode}"
            );
            assert!(!serving.log().contains("p@ss"), "{}", serving.log());
            drop(serving);
            smtp.stop();
        }
        // Another name, an unknown authority, no TLS at all, a wrong password: nothing is sent.
        let tls_wrong = ["--tls", "implicit", &wrong, &wrong_key];
        let tls_good = ["--tls", "implicit", &good, &good_key];
        let with_auth = [&tls_good[..], &auth[..]].concat();
        for (options, url, certificates) in [
            (
                &tls_wrong[..],
                "smtps://localhost:PORT",
                both.display().to_string(),
            ),
            (&tls_good[..], "smtps://localhost:PORT", wrong.clone()),
            (
                &[][..],
                "smtp://localhost:PORT?tls=required",
                both.display().to_string(),
            ),
            (
                &with_auth[..],
                "smtps://mailer:wrong-secret@localhost:PORT",
                both.display().to_string(),
            ),
        ] {
            let smtp = SmtpServer::start(&folder, options).await;
            stage.set("SMTP_URL", &url.replace("PORT", &smtp.port.to_string()));
            stage.set("SSL_CERT_FILE", &certificates);
            let serving = Serving::start(&stage);
            let body = json!({ "email": "implicit@example.com" });
            http_client()
                .post(serving.url("/auth/password/forgot"))
                .json(&body)
                .send()
                .await
                .expect("an answer");
            for _ in 0..500 {
                if serving.log().contains("mail cannot be sent") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let log = serving.log();
            assert!(log.contains("mail cannot be sent"), "{url}: {log}");
            assert!(smtp.taken().is_empty(), "{url}");
            assert!(!serving.log().contains("wrong-secret"), "{}", serving.log());
            drop(serving);
            smtp.stop();
        }
    }
);

on_both!(
    a_mail_that_is_refused_for_good_is_dropped_and_stops_no_other,
    async |mut stage: Stage| {
        let smtp = SmtpServer::start(stage.directory(), &["--refuse", "550", "1"]).await;
        stage.set("SMTP_URL", &format!("smtp://127.0.0.1:{}", smtp.port));
        stage.set("MAIL_FROM", "no-reply@example.org");
        let server = stage.start().await;
        server.register("bounced@example.com").await;
        settled(&server).await;
        let reason = crate::support::database::texts(
            &server.app.db,
            "select last_error from outbox where dropped_at is not null",
        )
        .await;
        assert_eq!(reason, ["SMTP 550"]);
        server.register("fine@example.com").await;
        assert_eq!(smtp.wait_for(1).await[0]["to"], json!(["fine@example.com"]));
        server.stop().await;
        smtp.stop();
    }
);

on_both!(the_mailbox_is_for_this_machine_alone, async |mut stage: Stage| {
    let server = stage.start().await;
    server.register("box@example.com").await;
    let shown = letter(&server, "box@example.com", "verify_email").await;
    assert_eq!(shown.subject, "Confirm your email address");
    let page = server
        .send(
            server
                .request(Method::GET, "/dev/mail")
                .header("accept", "text/html")
                .header("accept-language", "ar"),
        )
        .await
        .is(200);
    assert!(
        page.text.contains(r#"<html lang="ar" dir="rtl">"#) && page.text.contains("box@example.com"),
        "{}",
        page.text
    );
    assert_eq!(page.headers["cache-control"], "no-store");
    server
        .send(server.request(Method::GET, "/dev/mail.json"))
        .await
        .is(200);
    server.send(server.request(Method::GET, "/dev/mail/1")).await;
    server
        .send(server.request(Method::GET, "/dev/mail/999999"))
        .await
        .is_problem(404, "not_found");
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("x-forwarded-host", "localhost"),
        ("via", "1.1 proxy"),
        ("x-real-ip", "127.0.0.1"),
    ] {
        let request = server.request(Method::GET, "/dev/mail").header(name, value);
        server.send(request).await.is_problem(404, "not_found");
    }
    for (host, expected) in [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:80", 200),
        ("LOCALHOST", 200),
        ("evil.example", 404),
        ("localhost.evil.example", 404),
        ("127.0.0.1.evil.example", 404),
        ("192.0.2.1", 404),
        ("", 400),
    ] {
        let request = format!("GET /dev/mail HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = raw::exchange(server.address, request.as_bytes(), Duration::from_secs(2)).await;
        assert_eq!(raw::status(&answer), expected, "{host}");
    }
    server.stop().await;
    // Without `--dev` there is no such page, whatever the URL; mails wait.
    stage.dev = false;
    let server = stage.start().await;
    for path in ["/dev/mail", "/dev/mail.json", "/dev/mail/1"] {
        server
            .send(server.request(Method::GET, path))
            .await
            .is_problem(404, "not_found");
    }
    let email = "waiting@example.com";
    server.register(email).await;
    eventually("the mail was tried and waits", || async {
        let sql = "select count(*) from outbox where sent_at is null and dropped_at is null and attempts > 0";
        database::number(&server.app.db, sql).await == 1
    })
    .await;
    let ready = server.send(server.request(Method::GET, "/readyz")).await.is(200);
    assert_eq!(ready.json["parts"]["mail"], "degraded", "{ready:?}");
    server.stop().await;
    // With a mail server, or a developer at the mailbox, it leaves.
    stage.dev = true;
    let server = stage.start().await;
    letter(&server, email, "verify_email").await;
    let ready = server.send(server.request(Method::GET, "/readyz")).await.is(200);
    assert_eq!(ready.json["parts"]["mail"], "ok", "{ready:?}");
    server.stop().await;
});

on_both!(every_message_is_written_without_a_gap, async |stage: Stage| {
    let server = stage.start().await;
    let body = json!({ "email": "owner@example.com", "password": PASSWORD, "full_name": "N-Å" });
    let id = UserId(Tokens::of(&server.post("/auth/register", &body).await.is(201)).user_id);
    settled(&server).await;
    database::execute(&server.app.db, "update users set email_verified_at = created_at").await;
    let owner = josoor_auth::admin::users::get(&server.app, id)
        .await
        .expect("the user");
    let email = Email::parse("every@example.com").expect("an address");
    for &kind in MailKind::ALL.iter().filter(|kind| !kind.is_request()) {
        for locale in [Locale::En, Locale::Ar] {
            let mut tx = server.app.db.begin().await.expect("begun");
            let now = server.app.clock.now();
            let token = uuid::Uuid::from_u128(u128::from(rand_like(kind.as_str(), locale)));
            let purpose = kind.purpose().unwrap_or(Purpose::VerifyEmail);
            tx.insert_one_time_token(&josoor_auth::store::NewOneTimeToken {
                id: token,
                purpose,
                user: None,
                email: None,
                session: None,
                bound_to: None,
                created_at: now,
                expires_at: now.plus(purpose.lifetime()),
                is_pending: true,
            })
            .await
            .expect("a token");
            tx.queue_mail(&NewMail {
                kind,
                recipient: &email,
                locale,
                user: Some(id),
                token: Some(token),
                network: None,
                at: now,
                content: Content::Mail(
                    MailDetails::for_owner(
                        &owner,
                        Origin::new("192.0.2.7", "Firefox/140.0 (Windows NT 10.0)"),
                    )
                    .with_new_address(&owner, &owner),
                ),
            })
            .await
            .expect("queued");
            tx.commit().await.expect("committed");
        }
    }
    server.app.mail_queued.notify_one();
    settled(&server).await;
    let all = mails(&server, "every@example.com").await;
    let messages = MailKind::ALL.iter().filter(|kind| !kind.is_request()).count();
    assert_eq!(all.len(), 2 * messages);
    for mail in all {
        for text in [&mail.subject, &mail.text, &mail.html] {
            assert!(
                !text.contains("{{") && !text.contains("{details}") && !text.contains("  ,"),
                "{text}"
            );
            assert!(!text.is_empty());
        }
        assert!(
            mail.text.contains("localhost:8000") && mail.text.contains("N-Å"),
            "{}",
            mail.text
        );
        assert!(!mail.text.contains("()") && !mail.html.contains("http://localhost:8000/undefined"));
        assert_eq!(mail.html.matches("<p").count(), mail.html.matches("</p>").count());
        let direction = if mail.locale == "ar" { "rtl" } else { "ltr" };
        assert!(
            mail.html.contains(&format!("dir=\"{direction}\"")),
            "{}",
            mail.html
        );
    }
    server.stop().await;
});

/// A number for each message and language.
fn rand_like(kind: &str, locale: Locale) -> u64 {
    kind.bytes()
        .fold(u64::from(locale == Locale::Ar) + 7, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(byte))
        })
}

on_both!(
    mails_to_one_recipient_and_in_all_have_their_limits,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__LIMITS__MAIL_RECIPIENT", "3/1h");
        let server = stage.start().await;
        server.register("flood@example.com").await;
        for _ in 0..6 {
            forgot(&server, "flood@example.com").await;
            settled(&server).await;
        }
        // Of each kind as many as the limit says.
        let all = mails(&server, "flood@example.com").await;
        assert_eq!(all.iter().filter(|mail| mail.kind == "reset_password").count(), 3);
        assert_eq!(all.len(), 4);
        server.stop().await;
    }
);
