//! Mail that cannot be used against anybody: who can cause it, what it says, which budget it is taken from, and which link
//! stays good. The numbers in the names are those of known attacks on this service.

use std::time::{Duration, Instant};

use josoor_auth::clock::Clock;
use josoor_auth::domain::{Locale, MailKind, UserId};
use josoor_auth::mail::render;
use josoor_auth::store::{Content, MailDetails, MailRow, Origin};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::acceptance;
use crate::support::command::{run, run_with};
use crate::support::database;
use crate::support::mailbox::{Mail, mail, mail_number, mails, settled};
use crate::support::server::{Answer, PASSWORD, Server, Tokens, eventually, on_both};
use crate::support::smtp::SmtpServer;

const NEW: &str = "another long sentence";

async fn forgot(server: &Server, email: &str) -> Answer {
    server
        .post("/auth/password/forgot", &json!({ "email": email }))
        .await
}

/// [`forgot`] from a network of one's own, as a trusted proxy would pass it on.
async fn forgot_from(server: &Server, ip: &str, email: &str) -> Answer {
    let request = server
        .request(Method::POST, "/auth/password/forgot")
        .header("x-forwarded-for", ip)
        .json(&json!({ "email": email }));
    server.send(request).await
}

async fn reset(server: &Server, token: &str) -> Answer {
    let body = json!({ "token": token, "new_password": NEW });
    server.post("/auth/password/reset", &body).await
}

/// The tokens of the reset links that a mail server took for an address, once there are `count` of them.
async fn links_taken(smtp: &SmtpServer, to: &str, count: usize) -> Vec<String> {
    let found = || -> Vec<String> {
        smtp.taken()
            .iter()
            .filter(|mail| mail["to"] == json!([to]))
            .filter_map(|mail| mail["text"].as_str()?.split_once("/reset-password#token="))
            .filter_map(|(_, rest)| rest.lines().next())
            .map(str::to_owned)
            .collect()
    };
    eventually("the links", || async { found().len() >= count }).await;
    let found = found();
    assert_eq!(found.len(), count, "links to {to}");
    found
}

/// Asks for another address of the caller's account.
async fn change(server: &Server, tokens: &Tokens, new: &str) -> Answer {
    let body = json!({ "new_email": new, "password": PASSWORD });
    server.post_as("/auth/email/change", &tokens.access, &body).await
}

/// Registers an account and verifies its address.
async fn register_verified(server: &Server, email: &str) -> Tokens {
    let tokens = server.register(email).await;
    let token = mail(server, email, "verify_email").await.token();
    server
        .post_as("/auth/email/verify", &tokens.access, &json!({ "token": token }))
        .await
        .is(200);
    tokens
}

/// How many mails of a kind an address has got.
async fn count(server: &Server, to: &str, kind: &str) -> usize {
    mails(server, to)
        .await
        .iter()
        .filter(|mail| mail.kind == kind)
        .count()
}

on_both!(
    a2_changes_of_address_have_limits_of_their_own,
    async |mut stage: Stage| {
        stage.set_limit("email_change_account", "2/1h");
        stage.set_limit("email_change_address", "3/1h");
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        let server = stage.start().await;
        let one = register_verified(&server, "one@example.com").await;
        let two = register_verified(&server, "two@example.com").await;
        let change = async |tokens: &Tokens, ip: &str| {
            let body = json!({ "new_email": "new@example.com", "password": PASSWORD });
            let request = server
                .request(Method::POST, "/auth/email/change")
                .header("x-forwarded-for", ip)
                .bearer_auth(&tokens.access)
                .json(&body);
            server.send(request).await
        };
        let policy = |answer: Answer| {
            let answer = answer.is_problem(429, "rate_limited");
            answer.headers["ratelimit-policy"]
                .to_str()
                .expect("text")
                .to_owned()
        };
        for _ in 0..2 {
            change(&one, "192.0.2.1").await.is(202);
        }
        // Sessions do not multiply what an account has.
        let again = server.log_in("one@example.com").await;
        let refused = policy(change(&again, "192.0.2.1").await);
        assert_eq!(refused, "\"email_change_account\";q=2;w=3600");
        // Nor do accounts multiply what a network has.
        let refused = policy(change(&two, "192.0.2.1").await);
        assert_eq!(refused, "\"email_change_address\";q=3;w=3600");
        change(&two, "192.0.2.2").await.is(202);
        server.stop().await;
    }
);

on_both!(
    a2_an_unverified_account_corrects_its_address_three_times_and_mails_no_other,
    async |stage: Stage| {
        let server = stage.start().await;
        let victim = "victim@example.com";
        server.register(victim).await;
        let body = json!({ "email": "mistyped@example.com", "password": PASSWORD, "full_name": "Words of a stranger" });
        let own = Tokens::of(&server.post("/auth/register", &body).await.is(201));
        let mut answers = Vec::new();
        // One of the three is for an address that has an account: an unverified account causes no mail to its owner.
        for new in [victim, "stranger1@example.com", "stranger2@example.com"] {
            answers.push(change(&server, &own, new).await.is(202).json["message"].clone());
            settled(&server).await;
        }
        for number in 3..8 {
            let new = format!("stranger{number}@example.com");
            answers.push(change(&server, &own, &new).await.is(202).json["message"].clone());
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "the answers tell nothing: {answers:?}");
        settled(&server).await;
        assert_eq!(count(&server, victim, "email_wanted").await, 0);
        for number in 1..3 {
            let sent = mail(&server, &format!("stranger{number}@example.com"), "confirm_email").await;
            for text in [&sent.subject, &sent.text, &sent.html] {
                assert!(!text.contains("mistyped") && !text.contains("Words"), "{text}");
            }
        }
        for number in 3..8 {
            let new = format!("stranger{number}@example.com");
            assert!(mails(&server, &new).await.is_empty(), "{new}");
        }
        // The account can be corrected by the last link that was sent.
        let token = mail(&server, "stranger2@example.com", "confirm_email")
            .await
            .token();
        let body = json!({ "token": token, "password": PASSWORD });
        server.post("/auth/email/verify", &body).await.is(200);
        server.get("/auth/me", &own.access).await.is(200);
        // Verified, it may ask like everybody.
        change(&server, &own, victim).await.is(202);
        mail(&server, victim, "email_wanted").await;
        server.stop().await;
    }
);

/// What attackers wrote where they could.
const HOSTILE: [&str; 6] = ["HOSTILE", "hostile", "evil.example", "1900", "185.199", "Agent/1"];

#[track_caller]
fn says_nothing_hostile(what: &str, mail: &Mail) {
    for text in [&mail.subject, &mail.text, &mail.html] {
        for word in HOSTILE {
            assert!(!text.contains(word), "{what} says {word}: {text}");
        }
    }
}

on_both!(b9_no_kind_of_mail_has_words_of_strangers, async |stage: Stage| {
    let server = stage.start().await;
    let body = json!({
        "email": "HOSTILE.Payment.failed@evil.example",
        "password": PASSWORD,
        "full_name": "HOSTILE call +1900 at 185.199.108.153/login",
    });
    let id = UserId(Tokens::of(&server.post("/auth/register", &body).await.is(201)).user_id);
    let user = josoor_auth::admin::users::get(&server.app, id)
        .await
        .expect("the user");
    let public_url = server.app.config.server.public_url.to_string();
    let written = |kind: MailKind, locale: Locale, content: Content| {
        let now = server.app.clock.now();
        let row = MailRow {
            id: 1,
            kind,
            recipient: "somebody@example.com".to_owned(),
            recipient_key: "somebody@example.com".to_owned(),
            locale,
            user: Some(id),
            token: Some(uuid::Uuid::from_u128(7)),
            content,
            network: None,
            granted: 0,
            created_at: now,
            attempts: 1,
            due_at: now,
            sent_at: None,
            retried_at: None,
        };
        let written =
            render(&row, &public_url, &server.app.config.branding, &server.app.keys).expect("a mail");
        Mail {
            kind: kind.as_str().to_owned(),
            subject: written.subject,
            text: written.text,
            html: written.html,
            link: written.link.unwrap_or_default(),
            locale: String::new(),
        }
    };
    let origins = [
        Origin::new("HOSTILE", "HOSTILE lock it at https://evil.example Agent/1"),
        Origin::new("192.0.2.7", "HOSTILE Firefox/140.0 Windows https://evil.example"),
        Origin::new("1900 evil.example", "Firefox on Windows HOSTILE"),
    ];
    for &kind in MailKind::ALL.iter().filter(|kind| !kind.is_request()) {
        for locale in [Locale::En, Locale::Ar] {
            for origin in origins {
                let details = MailDetails::for_owner(&user, origin).with_new_address(&user, &user);
                says_nothing_hostile(kind.as_str(), &written(kind, locale, Content::Mail(details)));
            }
            // The owner's own name and address come back once the address is verified, and nothing else.
            let mut verified = user.clone();
            verified.email_verified_at = Some(server.app.clock.now());
            verified.full_name = Some("Sara".to_owned());
            verified.email = "sara@example.com".to_owned();
            let details = MailDetails::for_owner(&verified, origins[0]).with_new_address(&user, &verified);
            let mail = written(kind, locale, Content::Mail(details));
            says_nothing_hostile(kind.as_str(), &mail);
            assert!(mail.text.contains("Sara"), "{}", mail.text);
            assert!(
                !mail.text.contains("sara@example.com"),
                "the old address is not verified: {}",
                mail.text
            );
        }
    }
    server.stop().await;
});

on_both!(
    b9_rows_of_the_version_before_are_sent_without_words_of_strangers,
    async |stage: Stage| {
        let server = stage.start().await;
        server.register("somebody@example.com").await;
        settled(&server).await;
        let details = json!({
            "name": "HOSTILE",
            "email": "HOSTILE@evil.example",
            "new_email": "HOSTILE@evil.example",
            "ip": "HOSTILE",
            "user_agent": "HOSTILE https://evil.example Firefox/1 Windows",
        });
        for kind in [
            "password_changed",
            "email_wanted",
            "refresh_reuse",
            "already_registered",
            "account_deleted",
        ] {
            let sql = format!(
                "insert into outbox (kind, recipient, recipient_key, locale, user_id, details, created_at, attempts, due_at)
                 select '{kind}', 'old@example.com', 'old@example.com', 'en', id, '{details}', created_at, 0, created_at
                 from users"
            );
            assert_eq!(database::execute(&server.app.db, &sql).await, 1);
        }
        settled(&server).await;
        let sent = mails(&server, "old@example.com").await;
        assert_eq!(sent.len(), 5);
        for mail in &sent {
            says_nothing_hostile(&mail.kind, mail);
        }
        let notice = sent
            .iter()
            .find(|mail| mail.kind == "password_changed")
            .expect("one");
        assert!(notice.text.contains("Firefox on Windows"), "{}", notice.text);
        server.stop().await;
    }
);

on_both!(
    b9_what_an_attacker_asks_for_says_nothing_of_theirs,
    async |stage: Stage| {
        let server = stage.start().await;
        let agent = "HOSTILE lock it at https://evil.example Agent/1";
        let send = async |path: &str, token: Option<&str>, body: Value| {
            let mut request = server
                .request(Method::POST, path)
                .header("user-agent", agent)
                .json(&body);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            server.send(request).await
        };
        let attacker = "HOSTILE.Sign.in.at.secure@evil.example";
        let name = "HOSTILE your account is suspended, call +1900";
        // In a stranger's name, at the stranger's address.
        let body = json!({ "email": "victim@example.com", "password": PASSWORD, "full_name": name });
        let squatter = Tokens::of(&send("/auth/register", None, body).await.is(201));
        for path in ["/auth/password/forgot", "/auth/email/verify/resend"] {
            send(path, None, json!({ "email": "victim@example.com" }))
                .await
                .is(202);
        }
        // From an account with a verified address, to strangers with an account and without.
        let body = json!({ "email": attacker, "password": PASSWORD, "full_name": name });
        let own = Tokens::of(&send("/auth/register", None, body).await.is(201));
        let token = mail(&server, attacker, "verify_email").await.token();
        send("/auth/email/verify", Some(&own.access), json!({ "token": token }))
            .await
            .is(200);
        for new in ["victim@example.com", "stranger@example.com"] {
            let body = json!({ "new_email": new, "password": PASSWORD });
            send("/auth/email/change", Some(&own.access), body).await.is(202);
        }
        mail(&server, "stranger@example.com", "confirm_email").await;
        // The squatted account moves away: the unverified address gets a mail, without the new one.
        let moved = "HOSTILE.within.24h@evil.example";
        let body = json!({ "new_email": moved, "password": PASSWORD });
        send("/auth/email/change", Some(&squatter.access), body)
            .await
            .is(202);
        let token = mail(&server, moved, "confirm_email").await.token();
        send(
            "/auth/email/verify",
            Some(&squatter.access),
            json!({ "token": token }),
        )
        .await
        .is(200);
        mail(&server, "victim@example.com", "email_changed").await;
        settled(&server).await;
        for to in ["victim@example.com", "stranger@example.com"] {
            let all = mails(&server, to).await;
            assert!(!all.is_empty());
            for mail in &all {
                says_nothing_hostile(&mail.kind, mail);
            }
        }
        // Nor does a notice to a verified owner carry the program's own words.
        let owner = register_verified(&server, "owner@example.com").await;
        let body = json!({ "current_password": PASSWORD, "new_password": "another long sentence" });
        send("/auth/password/change", Some(&owner.access), body)
            .await
            .is(200);
        says_nothing_hostile(
            "password_changed",
            &mail(&server, "owner@example.com", "password_changed").await,
        );
        server.stop().await;
    }
);

on_both!(
    a2_other_mails_leave_the_shares_of_resets_and_notices,
    async |mut stage: Stage| {
        // Two are reserved for resets, two for notices.
        stage.set_limit("mail_total", "10/30d");
        let server = stage.start().await;
        let victim = server.register("victim@example.com").await;
        let attacker = register_verified(&server, "attacker@example.com").await;
        for number in 0..20 {
            change(&server, &attacker, &format!("stranger{number}@example.com"))
                .await
                .is(202);
        }
        // The budget that is common to all is spent, and that shows.
        eventually("the mails are late", || async {
            server.get("/readyz", "").await.json["parts"]["mail"] == "degraded"
        })
        .await;
        let ready = server.get("/readyz", "").await.is(200);
        assert_eq!(ready.json["status"], "degraded");
        forgot(&server, "victim@example.com").await.is(202);
        let link = mail(&server, "victim@example.com", "reset_password").await;
        let body = json!({ "current_password": PASSWORD, "new_password": "yet another sentence" });
        server
            .post_as("/auth/password/change", &victim.access, &body)
            .await
            .is(200);
        mail(&server, "victim@example.com", "password_changed").await;
        reset(&server, &link.token())
            .await
            .is_problem(400, "link_expired");
        let sent = "select count(*) from outbox where sent_at is not null and kind in ('verify_email', 'confirm_email')";
        eventually("all that is common is taken", || async {
            database::number(&server.app.db, sent).await == 6
        })
        .await;
        eventually("the metrics say so", || async {
            let text = server.send(server.request(Method::GET, "/metrics")).await.text;
            let waits = text
                .lines()
                .find_map(|line| line.strip_prefix("josoor_auth_mails_waiting{class=\"other\"} "))
                .and_then(|count| count.parse::<u64>().ok());
            waits.is_some_and(|count| count >= 1)
                && text.contains("josoor_auth_mail_budget_refused_total{class=\"other\"} ")
                && text.contains("josoor_auth_mail_oldest_age_seconds{class=\"other\"} ")
                && !text.contains("josoor_auth_mail_budget_refused_total{class=\"reset\"}")
        })
        .await;
        let notice = run(&stage, &["doctor"]);
        assert!(
            notice.out.contains("the budget of mails is spent for: other"),
            "{notice:?}"
        );
        server.stop().await;
    }
);

on_both!(
    a2_registrations_from_one_network_leave_the_mails_of_others,
    async |mut stage: Stage| {
        stage.set_limit("mail_network", "3/30d");
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        let server = stage.start().await;
        let register = async |ip: &str, email: &str| {
            let request = server
                .request(Method::POST, "/auth/register")
                .header("x-forwarded-for", ip)
                .json(&json!({ "email": email, "password": PASSWORD }));
            Tokens::of(&server.send(request).await.is(201))
        };
        for number in 0..8 {
            register("192.0.2.1", &format!("thrown{number}@example.com")).await;
        }
        register("192.0.2.2", "person@example.com").await;
        mail(&server, "person@example.com", "verify_email").await;
        forgot_from(&server, "192.0.2.3", "thrown7@example.com")
            .await
            .is(202);
        mail(&server, "thrown7@example.com", "reset_password").await;
        let sent = "select count(*) from outbox where sent_at is not null and kind = 'verify_email'";
        assert_eq!(database::number(&server.app.db, sent).await, 4);
        // Notices are not counted by network.
        let link = mail(&server, "thrown7@example.com", "reset_password").await;
        let request = server
            .request(Method::POST, "/auth/password/reset")
            .header("x-forwarded-for", "192.0.2.1")
            .json(&json!({ "token": link.token(), "new_password": NEW }));
        server.send(request).await.is(200);
        mail(&server, "thrown7@example.com", "password_changed").await;
        server.stop().await;
    }
);

on_both!(
    a3_a_mail_that_is_dropped_leaves_the_link_before_it_good,
    async |mut stage: Stage| {
        stage.set_limit("mail_recipient", "1/30d");
        let server = stage.start().await;
        let victim = "victim@example.com";
        register_verified(&server, victim).await;
        let attacker = register_verified(&server, "attacker@example.com").await;
        // What others can have sent takes nothing from the resets.
        for _ in 0..3 {
            change(&server, &attacker, victim).await.is(202);
            settled(&server).await;
        }
        assert_eq!(count(&server, victim, "email_wanted").await, 1);
        forgot(&server, victim).await.is(202);
        let link = mail(&server, victim, "reset_password").await;
        for _ in 0..5 {
            forgot(&server, victim).await.is(202);
            settled(&server).await;
        }
        assert_eq!(count(&server, victim, "reset_password").await, 1);
        let dropped = "select count(*) from outbox where dropped_at is not null and kind = 'reset_password'
             and last_error = 'too many mails to this recipient'";
        assert_eq!(database::number(&server.app.db, dropped).await, 5);
        reset(&server, &link.token()).await.is(200);
        server.stop().await;
    }
);

on_both!(
    a3_a_link_begins_its_life_and_ends_the_one_before_when_its_mail_is_sent,
    async |mut stage: Stage| {
        let smtp = SmtpServer::start(stage.directory(), &[]).await;
        let port = smtp.port;
        stage.set("SMTP_URL", &format!("smtp://127.0.0.1:{port}"));
        stage.set("MAIL_FROM", "no-reply@example.org");
        let clock = Clock::manual(Clock::System.now());
        let server = stage.start_with(clock.clone()).await;
        let own = server.register("owner@example.com").await;
        server.register("holder@example.com").await;
        for email in ["owner@example.com", "holder@example.com"] {
            forgot(&server, email).await.is(202);
        }
        let first = links_taken(&smtp, "owner@example.com", 1).await.remove(0);
        let held = links_taken(&smtp, "holder@example.com", 1).await.remove(0);
        settled(&server).await;
        smtp.stop();
        // Somebody else asks while the mail server is away: the link that the owner holds stays good.
        for email in ["owner@example.com", "holder@example.com"] {
            forgot(&server, email).await.is(202);
        }
        eventually("the mails wait", || async {
            let sql = "select count(*) from outbox where kind = 'reset_password' and sent_at is null
                 and last_error is not null";
            database::number(&server.app.db, sql).await == 2
        })
        .await;
        reset(&server, &held).await.is(200);
        // Much later the mail is sent, and its link is good for as long as it says.
        clock.advance(Duration::from_hours(3));
        let back = SmtpServer::start_on(port, stage.directory(), &[]).await;
        let second = links_taken(&back, "owner@example.com", 2).await.remove(1);
        settled(&server).await;
        // The link that waited for the one who has reset the password is of no use any more, and is not sent.
        links_taken(&back, "holder@example.com", 1).await;
        reset(&server, &first).await.is_problem(400, "link_expired");
        clock.advance(Duration::from_mins(29));
        reset(&server, &second).await.is(200);
        server
            .get("/auth/me", &own.access)
            .await
            .is_problem(401, "password_changed");
        // And no longer.
        forgot(&server, "owner@example.com").await.is(202);
        let third = links_taken(&back, "owner@example.com", 3).await.remove(2);
        settled(&server).await;
        clock.advance(Duration::from_mins(30));
        reset(&server, &third).await.is_problem(400, "link_expired");
        server.stop().await;
        back.stop();
    }
);

on_both!(
    a3_every_kind_of_link_is_replaced_when_the_next_one_is_sent,
    async |mut stage: Stage| {
        stage.set_limit("mail_recipient", "2/30d");
        let server = stage.start().await;
        let own = server.register("own@example.com").await;
        let live = async |purpose: &str| {
            let sql = format!(
                "select count(*) from one_time_tokens where purpose = '{purpose}' and used_at is null
                 and expires_at > created_at and not is_pending"
            );
            database::number(&server.app.db, &sql).await
        };
        let resend = async || {
            server
                .post_as("/auth/email/verify/resend", &own.access, &json!({}))
                .await
                .is(202);
            settled(&server).await;
        };
        settled(&server).await;
        let first = mail(&server, "own@example.com", "verify_email").await.token();
        resend().await;
        let second = mail_number(&server, "own@example.com", "verify_email", 2)
            .await
            .token();
        resend().await;
        assert_eq!(live("verify_email").await, 1);
        let verify = async |token: &str| {
            let body = json!({ "token": token, "password": PASSWORD });
            server.post("/auth/email/verify", &body).await
        };
        verify(&first).await.is_problem(400, "link_expired");
        // The third mail was dropped, so the second link is the good one.
        verify(&second).await.is(200);
        for _ in 0..3 {
            change(&server, &own, "next@example.com").await.is(202);
            settled(&server).await;
        }
        assert_eq!(live("change_email").await, 1);
        let last = mail_number(&server, "next@example.com", "confirm_email", 2)
            .await
            .token();
        verify(&last).await.is(200);
        // Ways back stay good beside each other.
        for (from, to) in [
            ("next@example.com", "third@example.com"),
            ("third@example.com", "fourth@example.com"),
        ] {
            let own = server.log_in(from).await;
            change(&server, &own, to).await.is(202);
            let token = mail(&server, to, "confirm_email").await.token();
            verify(&token).await.is(200);
        }
        settled(&server).await;
        assert_eq!(live("undo_email_change").await, 3);
        server.stop().await;
    }
);

on_both!(
    a3_of_links_asked_for_at_once_one_stays_good,
    async |stage: Stage| {
        let one = stage.start().await;
        let two = stage.start().await;
        register_verified(&one, "crowd@example.com").await;
        let asks = (0..16).map(|number| {
            let server = if number % 2 == 0 { &one } else { &two };
            forgot(server, "crowd@example.com")
        });
        for answer in futures_util::future::join_all(asks).await {
            answer.is(202);
        }
        settled(&one).await;
        let live = "select count(*) from one_time_tokens where purpose = 'reset_password' and used_at is null
             and expires_at > created_at and not is_pending";
        assert_eq!(database::number(&one.app.db, live).await, 1);
        let sent = mails(&one, "crowd@example.com").await;
        let mut answers = Vec::new();
        for mail in sent.iter().filter(|mail| mail.kind == "reset_password") {
            answers.push(reset(&two, &mail.token()).await.status.as_u16());
        }
        assert_eq!(
            answers.iter().filter(|status| **status == 200).count(),
            1,
            "{answers:?}"
        );
        one.stop().await;
        two.stop().await;
    }
);

on_both!(
    a3_an_owner_can_undo_a_change_of_address_while_strangers_mail_the_address,
    async |mut stage: Stage| {
        stage.set_limit("mail_recipient", "10/1h");
        let server = stage.start().await;
        let victim = "victim@example.com";
        register_verified(&server, victim).await;
        let mut attackers = Vec::new();
        for number in 0..3 {
            attackers.push(register_verified(&server, &format!("attacker{number}@example.com")).await);
        }
        for _ in 0..8 {
            for attacker in &attackers {
                change(&server, attacker, victim).await.is(202);
            }
            forgot(&server, victim).await.is(202);
        }
        // Somebody who has got the password moves the account away.
        let thief = server.log_in(victim).await;
        change(&server, &thief, "thief@example.com").await.is(202);
        let token = mail(&server, "thief@example.com", "confirm_email").await.token();
        let body = json!({ "token": token, "password": PASSWORD });
        server.post("/auth/email/verify", &body).await.is(200);
        let undo = mail(&server, victim, "email_changed").await;
        assert!(undo.link.contains("#token="), "{undo:?}");
        server.stop().await;
    }
);

/// The limits of the service itself, not those of tests.
fn with_default_limits(stage: &mut crate::support::server::Stage) {
    for limit in &josoor_auth::domain::limit::TABLE {
        let quota = if limit.default.starts_with("as ") {
            ""
        } else {
            limit.default
        };
        stage.set_limit(limit.name(), quota);
    }
    stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
}

on_both!(
    acceptance_a2_a_flood_of_changes_of_address_leaves_resets_on_time,
    async |mut stage: Stage| {
        let budget = acceptance::size(50, 1000);
        stage.set_limit("mail_total", &format!("{budget}/1h"));
        // Only the limits of mails hold: every request is a mail to a stranger.
        stage.set_limit("mail_recipient", "10/1h");
        stage.set_limit("mail_network", "60/1h");
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        let persons = acceptance::size(5, 50);
        let server = stage.start().await;
        for number in 0..persons {
            let request = server
                .request(Method::POST, "/auth/register")
                .header("x-forwarded-for", format!("198.51.100.{number}"))
                .json(&json!({ "email": format!("person{number}@example.com"), "password": PASSWORD }));
            server.send(request).await.is(201);
        }
        let attacker = register_verified(&server, "attacker@example.com").await;
        let flood = async {
            for number in 0..budget {
                change(&server, &attacker, &format!("stranger{number}@example.com"))
                    .await
                    .is(202);
            }
        };
        let asked = async {
            let mut slowest = Duration::ZERO;
            for number in 0..persons {
                let email = format!("person{number}@example.com");
                forgot_from(&server, &format!("203.0.113.{number}"), &email)
                    .await
                    .is(202);
                let begun = Instant::now();
                let sql = format!(
                    "select count(*) from outbox where recipient = '{email}' and kind = 'reset_password' and sent_at is not null"
                );
                eventually("the reset mail", || async {
                    database::number(&server.app.db, &sql).await == 1
                })
                .await;
                slowest = slowest.max(begun.elapsed());
            }
            slowest
        };
        let ((), during) = tokio::join!(flood, asked);
        // And once the budget is spent.
        forgot_from(&server, "203.0.113.200", "person0@example.com")
            .await
            .is(202);
        let sql = "select count(*) from outbox where kind = 'reset_password' and sent_at is not null";
        eventually("one more", || async {
            database::number(&server.app.db, sql).await == i64::try_from(persons + 1).expect("few")
        })
        .await;
        let waiting = "select count(*) from outbox where sent_at is null and dropped_at is null";
        assert!(
            database::number(&server.app.db, waiting).await > 0,
            "the budget is spent"
        );
        acceptance::record(
            "a2: reset mails while one account asks for other addresses",
            &format!("{budget} requests, {persons} resets, the slowest after {during:?}"),
        );
        server.stop().await;
    }
);

on_both!(
    acceptance_a3_a_person_whose_address_strangers_mail_gets_a_working_link,
    async |mut stage: Stage| {
        with_default_limits(&mut stage);
        let rounds = acceptance::size(12, 250);
        let server = stage.start().await;
        let victim = "victim@example.com";
        register_verified(&server, victim).await;
        let mut attackers = Vec::new();
        for number in 0..4 {
            let email = format!("attacker{number}@example.com");
            attackers.push(register_verified(&server, &email).await);
        }
        for round in 0..rounds {
            // From ever another network, with everything that makes a mail to this address.
            let ip = format!("198.51.{}.{}", round / 200, round % 200);
            forgot_from(&server, &ip, victim).await;
            let request = server
                .request(Method::POST, "/auth/email/change")
                .header("x-forwarded-for", &ip)
                .bearer_auth(&attackers[round % 4].access)
                .json(&json!({ "new_email": victim, "password": PASSWORD }));
            server.send(request).await;
            let request = server
                .request(Method::POST, "/auth/email/verify/resend")
                .header("x-forwarded-for", &ip)
                .json(&json!({ "email": victim }));
            server.send(request).await;
        }
        // The owner asks, too, and gets either a link or the advice to take the newest one.
        let answer = forgot_from(&server, "203.0.113.7", victim).await;
        assert!(
            answer.status == 202 || answer.code() == "rate_limited",
            "{answer:?}"
        );
        settled(&server).await;
        let links = mails(&server, victim).await;
        let newest = links
            .iter()
            .rfind(|mail| mail.kind == "reset_password")
            .expect("a link");
        reset(&server, &newest.token()).await.is(200);
        acceptance::record(
            "a3: a working link in spite of strangers",
            &format!("{rounds} rounds, {} mails to the owner", links.len()),
        );
        server.stop().await;
    }
);

on_both!(
    d2_administrators_get_a_mail_about_every_new_one,
    async |stage: Stage| {
        let server = stage.start().await;
        let first = server.register_admin("first@example.com").await;
        for (number, email) in ["second@example.com", "unverified@example.com", "gone@example.com"]
            .into_iter()
            .enumerate()
        {
            server.register_admin(email).await;
            // Only those whose address is verified, and who are active, get a mail about those after them.
            assert_eq!(count(&server, email, "new_admin").await, 0, "{number}");
        }
        settled(&server).await;
        database::execute(
            &server.app.db,
            "update users set email_verified_at = created_at where email <> 'unverified@example.com'",
        )
        .await;
        let gone = "update users set is_active = false where email = 'gone@example.com'";
        database::execute(&server.app.db, gone).await;
        let notice = async |count: usize| {
            let mail = mail_number(&server, "first@example.com", "new_admin", count).await;
            mail_number(&server, "second@example.com", "new_admin", count).await;
            let row = "select max(id) from audit where action in
                 ('user_invite', 'role_change', 'activation_change', 'register', 'user_import')";
            let row = database::number(&server.app.db, row).await;
            assert!(
                mail.text.contains(&format!("Row {row} of the audit trail")),
                "{}",
                mail.text
            );
            mail
        };
        // Invited, promoted, activated again, made by an operator.
        let body = json!({ "email": "invited@example.com", "role": "admin", "full_name": "HOSTILE" });
        let invited = server.post_as("/admin/users", &first.access, &body).await.is(201);
        let mail = notice(1).await;
        let link = format!("/console/users/{}", invited.json["id"]);
        assert!(mail.link.ends_with(&link), "{mail:?}");
        says_nothing_hostile("new_admin", &mail);
        let plain = server.register("plain@example.com").await;
        let path = format!("/admin/users/{}", plain.user_id);
        server
            .patch(&path, &first.access, &json!({ "role": "admin" }))
            .await
            .is(200);
        notice(2).await;
        server
            .patch(&path, &first.access, &json!({ "is_active": false }))
            .await
            .is(200);
        server
            .patch(&path, &first.access, &json!({ "is_active": true }))
            .await
            .is(200);
        notice(3).await;
        let made = [
            "user",
            "create",
            "made@example.com",
            "--role",
            "admin",
            "--password-stdin",
        ];
        run_with(&stage, &made, NEW.as_bytes()).with(0);
        notice(4).await;
        run(&stage, &["user", "set-role", "plain@example.com", "user"]).with(0);
        run(&stage, &["user", "set-role", "plain@example.com", "admin"]).with(0);
        notice(5).await;
        let file = stage.directory().join("users.ndjson");
        let line = json!({ "email": "imported@example.com", "role": "admin", "email_verified": true });
        std::fs::write(&file, format!("{line}\n")).expect("written");
        run(&stage, &["user", "import", file.to_str().expect("a path")]).with(0);
        notice(6).await;
        settled(&server).await;
        for email in [
            "unverified@example.com",
            "gone@example.com",
            "imported@example.com",
        ] {
            assert_eq!(count(&server, email, "new_admin").await, 0, "{email}");
        }
        server.stop().await;
    }
);
