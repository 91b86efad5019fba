//! Which passwords may be set, on every way to set one; who may register; and what is refused of imported hashes.

use std::fmt::Write as _;

use josoor_auth::act::Client;
use josoor_auth::config::Config;
use josoor_auth::domain::{Email, FullName, Locale, Password, Role};
use josoor_auth::passwords::Policy;
use josoor_auth::{account::setup, admin::users};
use serde_json::{Value, json};

use crate::support::mailbox::{mail, settled};
use crate::support::server::{Answer, PASSWORD, Server, Tokens, on_both};

/// Fails the test unless this field was refused for this reason.
#[track_caller]
fn refused(answer: Answer, field: &str, code: &str) {
    let answer = answer.is_problem(422, "validation_failed");
    assert_eq!(answer.json["errors"][0]["field"], field, "{answer:?}");
    assert_eq!(answer.json["errors"][0]["code"], code, "{answer:?}");
}

async fn register(server: &Server, email: &str, password: &str, name: Value) -> Answer {
    let body = json!({ "email": email, "password": password, "full_name": name });
    server.post("/auth/register", &body).await
}

async fn log_in(server: &Server, email: &str) -> Answer {
    let body = json!({ "email": email, "password": PASSWORD });
    server.post("/auth/login", &body).await
}

/// What must be refused for this account on every way to set a password.
const REFUSED: [(&str, &str); 8] = [
    ("PASSWORD1234", "password_too_common"),
    ("Qwerty12345", "password_too_common"),
    ("aaaaaaaa", "password_too_common"),
    ("abcabcabc", "password_too_common"),
    ("Haddad2024!", "password_too_personal"),
    ("sara.haddad@bridges.example", "password_too_personal"),
    ("josoorjosoor", "password_too_personal"),
    ("JosoorAuth", "password_too_personal"),
];

on_both!(
    b12_no_way_to_set_a_password_goes_around_the_policy,
    async |stage: Stage| {
        let (email, name) = ("sara.haddad@bridges.example", "Sara Haddad");
        let server = stage.start().await;
        for (password, code) in REFUSED {
            refused(
                register(&server, email, password, json!(name)).await,
                "password",
                code,
            );
        }
        let tokens = Tokens::of(&register(&server, email, PASSWORD, json!(name)).await.is(201));
        for (password, code) in REFUSED {
            let body = json!({ "current_password": PASSWORD, "new_password": password });
            let answer = server
                .post_as("/auth/password/change", &tokens.access, &body)
                .await;
            refused(answer, "new_password", code);
        }
        let body = json!({ "email": email });
        server.post("/auth/password/forgot", &body).await.is(202);
        let token = mail(&server, email, "reset_password").await.token();
        for (password, code) in REFUSED {
            let body = json!({ "token": token, "new_password": password });
            refused(
                server.post("/auth/password/reset", &body).await,
                "new_password",
                code,
            );
        }
        let other = Email::parse("sara.haddad@bridges2.example").expect("an address");
        for (password, code) in REFUSED
            .into_iter()
            .filter(|(password, _)| !password.contains('@'))
        {
            let password = Password::parse(password).expect("a password");
            let name = FullName::parse(name).expect("a name");
            let operator = Client::default();
            let made = users::create(
                &server.app,
                &other,
                Some(password),
                name,
                Role::User,
                Locale::En,
                &operator,
            );
            let error = format!("{:?}", made.await.expect_err(code));
            assert!(error.contains(code), "{error}");
        }
        let setup = setup::offer_setup(&server.app)
            .await
            .expect("a link")
            .expect("no administrator yet");
        for (password, code) in REFUSED {
            let body = json!({ "token": setup.token.expose(), "email": email, "password": password, "full_name": name });
            refused(server.post("/setup", &body).await, "password", code);
        }
        // The link is as it was, and the platform's own test password is good.
        let body = json!({ "token": token, "new_password": "Password123" });
        server.post("/auth/password/reset", &body).await.is(200);
        log_in(&server, email).await.is(200);
        server.stop().await;
    }
);

on_both!(
    b12_a_registration_under_verify_first_has_the_policy_too,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__REGISTRATION__MODE", "verify_first");
        let server = stage.start().await;
        let (email, name) = ("sara.haddad@bridges.example", "Sara Haddad");
        for (password, code) in REFUSED {
            refused(
                register(&server, email, password, json!(name)).await,
                "password",
                code,
            );
        }
        register(&server, email, PASSWORD, json!(name)).await.is(202);
        server.stop().await;
    }
);

on_both!(
    d4_a_breached_password_is_refused_when_it_is_set_and_never_asked_at_a_sign_in,
    async |mut stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("sara@example.com").await;
        server.stop().await;
        // SHA-1 of the password of the tests, of "correct horse battery", and of nothing in particular.
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut hashes = ["correct horse battery", PASSWORD, "x", "y"].map(|text| {
            let digest =
                aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
            digest.as_ref().iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02X}");
                text
            })
        });
        hashes.sort_unstable();
        let lines = hashes.iter().map(|hash| format!("{hash}:3")).collect::<Vec<_>>();
        std::fs::write(file.path(), lines.join("\n")).expect("written");
        stage.set(
            "JOSOOR_AUTH__PASSWORD__BREACHED_FILE",
            file.path().to_str().expect("a path"),
        );
        let server = stage.start().await;
        log_in(&server, "sara@example.com").await.is(200);
        let change = async |new: &str| {
            let body = json!({ "current_password": PASSWORD, "new_password": new });
            server
                .post_as("/auth/password/change", &tokens.access, &body)
                .await
        };
        refused(
            change("correct horse battery").await,
            "new_password",
            "password_breached",
        );
        refused(
            register(&server, "other@example.com", PASSWORD, Value::Null).await,
            "password",
            "password_breached",
        );
        change("correct horse battery staple").await.is(200);
        server.stop().await;
    }
);

#[test]
fn d4_a_breached_file_that_cannot_be_used_is_refused_at_the_start() {
    let environment = [("JOSOOR_AUTH__PASSWORD__BREACHED_FILE", "/no/such/file")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::parse(None, &environment.into_iter().collect()).expect("a configuration");
    let error = format!("{:#}", Policy::open(&config).expect_err("no such file"));
    assert!(
        error.contains("password.breached_file") && error.contains("/no/such/file"),
        "{error}"
    );
}

on_both!(
    d3_domains_are_allowed_and_denied_with_what_is_below_them,
    async |mut stage: Stage| {
        stage.set(
            "JOSOOR_AUTH__REGISTRATION__ALLOWED_DOMAINS",
            "bridges.example, bücher.example",
        );
        stage.set(
            "JOSOOR_AUTH__REGISTRATION__DENIED_DOMAINS",
            "guests.bridges.example",
        );
        let server = stage.start().await;
        let try_to = async |email: &str| register(&server, email, PASSWORD, Value::Null).await;
        for email in [
            "a@bridges.example",
            "a@Mail.BRIDGES.example",
            "a@xn--bcher-kva.example",
            "a@x.b\u{fc}cher.example",
        ] {
            try_to(email).await.is(201);
        }
        for email in [
            "a@example.com",
            "a@notbridges.example",
            "a@bridges.example.com",
            "a@guests.bridges.example",
            "a@deep.guests.bridges.example",
        ] {
            refused(try_to(email).await, "email", "email_domain_not_allowed");
        }
        let owner = server.log_in("a@bridges.example").await;
        let change = async |email: &str| {
            let body = json!({ "new_email": email, "password": PASSWORD });
            server.post_as("/auth/email/change", &owner.access, &body).await
        };
        refused(
            change("b@example.com").await,
            "new_email",
            "email_domain_not_allowed",
        );
        change("b@bridges.example").await.is(202);
        // An administrator may invite whom they like.
        let admin = server.register_admin("admin@bridges.example").await;
        let body = json!({ "email": "guest@example.com" });
        server.post_as("/admin/users", &admin.access, &body).await.is(201);
        settled(&server).await;
        server.stop().await;
    }
);

on_both!(
    d3_under_require_verified_no_sign_in_succeeds_before_the_verification,
    async |mut stage: Stage| {
        let email = "late@example.com";
        let server = stage.start().await;
        let before = server.register("early@example.com").await;
        server.stop().await;
        stage.set("JOSOOR_AUTH__REGISTRATION__REQUIRE_VERIFIED", "true");
        let server = stage.start().await;
        // A session from before goes on, but the next sign-in needs the verification.
        server.get("/auth/me", &before.access).await.is(200);
        log_in(&server, "early@example.com")
            .await
            .is_problem(403, "email_not_verified");
        let answer = register(&server, email, PASSWORD, Value::Null).await.is(202);
        assert!(
            answer.json["access_token"].is_null() && answer.json["success"] == true,
            "{answer:?}"
        );
        assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
        // Only with the right password is it reported.
        let wrong = json!({ "email": email, "password": "Wrong-Password-1" });
        server
            .post("/auth/login", &wrong)
            .await
            .is_problem(401, "invalid_credentials");
        log_in(&server, email).await.is_problem(403, "email_not_verified");
        let token = mail(&server, email, "verify_email").await.token();
        let body = json!({ "token": token, "password": PASSWORD });
        server.post("/auth/email/verify", &body).await.is(200);
        log_in(&server, email).await.is(200);
        // The first administrator holds the operator's link.
        let setup = setup::offer_setup(&server.app)
            .await
            .expect("a link")
            .expect("no administrator yet");
        let body =
            json!({ "token": setup.token.expose(), "email": "root@example.com", "password": PASSWORD });
        server.post("/setup", &body).await.is(201);
        server.stop().await;
    }
);
