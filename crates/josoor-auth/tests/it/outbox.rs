//! Mail that cannot be used against anybody: who can cause it, what it says, which budget it is taken from, and which link
//! stays good. The numbers in the names are those of known attacks on this service.

use josoor_auth::mail::render;
use josoor_auth::store::{Content, MailDetails, MailKind, MailRow, Origin};
use josoor_auth::types::{Locale, UserId};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::database;
use crate::support::mailbox::{Mail, mail, mails, settled};
use crate::support::server::{Answer, PASSWORD, Server, Tokens, on_both};

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
    a2_an_unverified_account_corrects_its_address_three_times_and_mails_nobody_else,
    async |stage: Stage| {
        let server = stage.start().await;
        let victim = "victim@example.com";
        server.register(victim).await;
        let body = json!({ "email": "mistyped@example.com", "password": PASSWORD, "full_name": "Words of a stranger" });
        let own = Tokens::of(&server.post("/auth/register", &body).await.is(201));
        let mut answers = Vec::new();
        // One of the three is for an address that has an account: its owner is not told by somebody unverified.
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
    let user = josoor_auth::users::get(&server.app, id).await.expect("the user");
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
            created_at: now,
            attempts: 1,
            due_at: now,
            sent_at: None,
        };
        let written = render(&row, &public_url, &server.app.keys).expect("a mail");
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
    for kind in MailKind::ALL.into_iter().filter(|kind| !kind.is_request()) {
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
        let told = sent
            .iter()
            .find(|mail| mail.kind == "password_changed")
            .expect("one");
        assert!(told.text.contains("Firefox on Windows"), "{}", told.text);
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
        // The squatted account moves away: the unverified address is told, without the new one.
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
