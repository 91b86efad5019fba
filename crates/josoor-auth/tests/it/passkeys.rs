//! Passkeys: adding them, signing in with them, and everything that a client may do wrong.

use std::time::Duration;

use futures_util::future::join_all;
use josoor_auth::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};

use crate::second_factors::{owner, standing};
use crate::support::authenticator::{Lie, PRESENT, Passkey, SYNCED, VERIFIED, encoded};
use crate::support::browser::Browser;
use crate::support::command::run;
use crate::support::database;
use crate::support::mailbox::mail;
use crate::support::server::{Answer, PASSWORD, Server, Stage as TheStage, Tokens, on_both};

/// A person with an account, a verified address, and a passkey.
struct Person {
    email: String,
    tokens: Tokens,
    passkey: Passkey,
    name: String,
    codes: Vec<String>,
}

async fn register(server: &Server, email: &str) -> Tokens {
    let tokens = server.register(email).await;
    let token = mail(server, email, "verify_email").await.token();
    let body = json!({ "token": token });
    server
        .post_as("/auth/email/verify", &tokens.access, &body)
        .await
        .is(200);
    tokens
}

fn origin(server: &Server) -> String {
    server.app.config.server.public_url.origin()
}

async fn begin(server: &Server, access: &str) -> Answer {
    let body = json!({ "password": PASSWORD });
    server.post_as("/auth/passkeys/options", access, &body).await
}

pub(crate) async fn add(server: &Server, access: &str, flags: u8, lie: &Lie) -> (Passkey, Answer) {
    let options = begin(server, access).await.is(200);
    let (passkey, credential) = Passkey::create(&options.json, &origin(server), flags, lie);
    let body = json!({ "credential": credential });
    (passkey, server.post_as("/auth/passkeys", access, &body).await)
}

/// Adds a passkey with these flags to an account without a factor.
async fn person_with(server: &Server, email: &str, flags: u8) -> Person {
    let tokens = register(server, email).await;
    let (passkey, added) = add(server, &tokens.access, flags, &Lie::default()).await;
    let added = added.is(201);
    let codes = added.json["recovery_codes"].as_array().expect("recovery codes");
    Person {
        email: email.to_owned(),
        name: added.json["passkey"]["id"].as_str().expect("an id").to_owned(),
        codes: codes
            .iter()
            .map(|code| code.as_str().expect("a code").to_owned())
            .collect(),
        tokens: Tokens {
            access: added.text_of("access_token"),
            ..tokens
        },
        passkey,
    }
}

async fn person(server: &Server, email: &str) -> Person {
    person_with(server, email, PRESENT | VERIFIED).await
}

pub(crate) async fn options(server: &Server) -> Value {
    server
        .post("/auth/login/passkey/options", &json!({}))
        .await
        .is(200)
        .json
}

pub(crate) async fn present(server: &Server, assertion: Value) -> Answer {
    let body = json!({ "assertion": assertion });
    server.post("/auth/login/passkey", &body).await
}

impl Person {
    /// Signs in with the passkey alone.
    async fn sign_in(&self, server: &Server) -> Answer {
        present(server, self.passkey.get(&options(server).await)).await
    }

    async fn password(&self, server: &Server) -> Answer {
        let body = json!({ "email": self.email, "password": PASSWORD });
        server.post("/auth/login", &body).await
    }
}

async fn failures(server: &Server, reason: &str) -> i64 {
    let sql = format!(
        "select count(*) from audit where action = 'sign_in' and outcome = 'failure' and reason = '{reason}'"
    );
    database::number(&server.app.db, &sql).await
}

on_both!(
    a_passkey_is_added_used_without_an_address_renamed_and_removed,
    async |stage: Stage| {
        let server = stage.start().await;
        let email = "sara@example.com";
        // An address that is not verified may be a stranger's.
        let tokens = server.register(email).await;
        begin(&server, &tokens.access)
            .await
            .is_problem(403, "email_not_verified");
        let token = mail(&server, email, "verify_email").await.token();
        server
            .post_as("/auth/email/verify", &tokens.access, &json!({ "token": token }))
            .await
            .is(200);
        // A token alone adds nothing.
        for body in [json!({}), json!({ "password": "wrong" })] {
            let answer = server
                .post_as("/auth/passkeys/options", &tokens.access, &body)
                .await;
            assert!([401, 422].contains(&answer.status.as_u16()), "{answer:?}");
        }

        let asked = begin(&server, &tokens.access).await.is(200);
        assert_eq!(asked.headers["cache-control"], "no-store");
        assert_eq!(asked.json["user"]["id"].as_str().map(str::len), Some(22));
        assert_eq!(asked.json["authenticatorSelection"]["residentKey"], "required");
        assert_eq!(asked.json["attestation"], "none");
        let flags = PRESENT | VERIFIED;
        let (passkey, credential) = Passkey::create(&asked.json, &origin(&server), flags, &Lie::default());
        let body = json!({ "credential": credential, "name": " My\u{a0}phone " });
        // Another session of the same user does not finish it.
        let other = server.log_in(email).await;
        server
            .post_as("/auth/passkeys", &other.access, &body)
            .await
            .is_problem(400, "flow_expired");
        let added = server
            .post_as("/auth/passkeys", &tokens.access, &body)
            .await
            .is(201);
        assert_eq!(added.json["passkey"]["name"], "My\u{a0}phone");
        assert_eq!(added.json["passkey"]["is_usable"], true);
        assert_eq!(added.json["recovery_codes"].as_array().map(Vec::len), Some(10));
        assert_eq!(added.json["user"]["mfa_enabled"], true);
        let raised = Tokens {
            access: added.text_of("access_token"),
            ..tokens.clone()
        };
        assert_eq!(raised.claim("amr"), json!(["pwd", "hwk", "user", "mfa"]));
        assert_eq!(raised.claim("acr"), "2");
        mail(&server, email, "passkey_added").await;
        // It was finished once.
        server
            .post_as("/auth/passkeys", &raised.access, &body)
            .await
            .is_problem(400, "flow_expired");

        let answer = present(&server, passkey.get(&options(&server).await))
            .await
            .is(200);
        let signed_in = Tokens::of(&answer);
        assert_eq!(signed_in.claim("amr"), json!(["hwk", "user", "mfa"]));
        assert_eq!(signed_in.claim("acr"), "2");
        let factors = server.get("/auth/factors", &signed_in.access).await.is(200).json;
        assert_eq!(factors["passkeys"][0]["credential_id"], encoded(&passkey.id));
        assert!(factors["passkeys"][0]["last_used_at"].is_string(), "{factors}");
        assert_eq!(
            (&factors["totp"], &factors["recovery_codes_left"]),
            (&json!(null), &json!(10))
        );

        let id = factors["passkeys"][0]["id"].as_str().expect("an id");
        let path = format!("/auth/passkeys/{id}");
        for name in [
            json!(""),
            json!("\u{200b}"),
            json!("a\nb"),
            json!("x".repeat(65)),
            json!(null),
        ] {
            let body = json!({ "name": name });
            let answer = server.patch(&path, &signed_in.access, &body).await;
            answer.is_problem(422, "validation_failed");
        }
        let renamed = server
            .patch(&path, &signed_in.access, &json!({ "name": "هاتفي" }))
            .await
            .is(200);
        assert_eq!(renamed.json["name"], "هاتفي");
        // Another user's.
        let stranger = person(&server, "omar@example.com").await;
        let body = json!({ "name": "Mine" });
        server
            .patch(&path, &stranger.tokens.access, &body)
            .await
            .is_problem(404, "not_found");
        server
            .delete(&path, &stranger.tokens.access)
            .await
            .is_problem(404, "not_found");

        server.delete(&path, &signed_in.access).await.is(204);
        mail(&server, email, "passkey_removed").await;
        present(&server, passkey.get(&options(&server).await))
            .await
            .is_problem(401, "passkey_unknown");
        // With the last factor the recovery codes went, and the password is enough again.
        let left = server.get("/auth/factors", &signed_in.access).await.is(200).json;
        assert_eq!(
            (&left["passkeys"], &left["recovery_codes_left"]),
            (&json!([]), &json!(0))
        );
        server.log_in(email).await;
        // What was verified with it counts as one factor.
        server
            .get("/auth/check?acr=2", &signed_in.access)
            .await
            .is_problem(401, "step_up_required");
        server.stop().await;
    }
);

on_both!(
    a_passkey_is_the_second_factor_of_a_password_and_of_a_step_up,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let sara = person(&server, "sara@example.com").await;
        let omar = person(&server, "omar@example.com").await;
        let asked = sara.password(&server).await.is_problem(403, "mfa_required");
        assert_eq!(asked.json["methods"], json!(["passkey", "recovery_code"]));
        let wanted = &asked.json["passkey"];
        assert_eq!(wanted["allowCredentials"][0]["id"], encoded(&sara.passkey.id));
        assert_eq!(
            wanted["allowCredentials"][0]["transports"],
            json!(["internal", "hybrid"])
        );
        let finish = async |assertion: Value| {
            let body = json!({ "flow": asked.text_of("flow"), "method": "passkey", "assertion": assertion });
            server.post("/auth/login/mfa", &body).await
        };
        // Another user's passkey, a challenge of another kind, a code in its place.
        finish(omar.passkey.get(wanted))
            .await
            .is_problem(401, "passkey_unknown");
        let elsewhere = options(&server).await;
        finish(sara.passkey.get(&elsewhere))
            .await
            .is_problem(401, "passkey_invalid");
        let body = json!({ "flow": asked.text_of("flow"), "method": "passkey", "code": "123456" });
        server
            .post("/auth/login/mfa", &body)
            .await
            .is_problem(422, "validation_failed");
        let signed_in = Tokens::of(&finish(sara.passkey.get(wanted)).await.is(200));
        assert_eq!(signed_in.claim("amr"), json!(["pwd", "hwk", "user", "mfa"]));
        finish(sara.passkey.get(wanted))
            .await
            .is_problem(400, "flow_expired");
        // Nor is the challenge of a sign-in's second step that of a first one.
        present(&server, sara.passkey.get(wanted))
            .await
            .is_problem(400, "flow_expired");
        // A recovery code in its place.
        let asked = sara.password(&server).await.is_problem(403, "mfa_required");
        let body = json!({ "flow": asked.text_of("flow"), "method": "recovery_code", "code": sara.codes[0] });
        server.post("/auth/login/mfa", &body).await.is(200);

        clock.advance(Duration::from_mins(11));
        let old = &signed_in.access;
        server
            .delete("/auth/sessions", old)
            .await
            .is_problem(401, "step_up_required");
        let wanted = server
            .post_as("/auth/step-up/options", old, &json!({}))
            .await
            .is(200)
            .json;
        let step_up = async |token: &str, assertion: Value| {
            let body = json!({ "assertion": assertion });
            server.post_as("/auth/step-up", token, &body).await
        };
        // In another session of the same user, and by another user.
        let second = Tokens::of(&sara.sign_in(&server).await.is(200));
        step_up(&second.access, sara.passkey.get(&wanted))
            .await
            .is_problem(400, "flow_expired");
        step_up(old, omar.passkey.get(&wanted))
            .await
            .is_problem(401, "passkey_unknown");
        let answer = step_up(old, sara.passkey.get(&wanted)).await.is(200);
        let fresh = Tokens {
            access: answer.text_of("access_token"),
            ..signed_in.clone()
        };
        assert_eq!(fresh.claim("auth_time"), clock.now().as_secs());
        assert_eq!(fresh.claim("acr"), "2");
        step_up(old, sara.passkey.get(&wanted))
            .await
            .is_problem(400, "flow_expired");
        server.delete("/auth/sessions", &fresh.access).await.is(200);
        server.stop().await;
    }
);

on_both!(
    what_is_not_exactly_right_opens_no_session,
    async |stage: Stage| {
        let server = stage.start().await;
        let mut sara = person(&server, "sara@example.com").await;
        let omar = person(&server, "omar@example.com").await;
        let lie = Lie::default;
        let host = server.app.config.passkeys.rp_id.clone();
        let own = origin(&server);
        let lies = [
            (
                "passkey_wrong_origin",
                Lie {
                    origin: Some(format!("{own}.evil.example")),
                    ..lie()
                },
            ),
            (
                "passkey_wrong_origin",
                Lie {
                    origin: Some(format!("{own}/")),
                    ..lie()
                },
            ),
            (
                "passkey_wrong_origin",
                Lie {
                    origin: Some("null".to_owned()),
                    ..lie()
                },
            ),
            (
                "passkey_cross_origin",
                Lie {
                    is_framed: true,
                    ..lie()
                },
            ),
            (
                "passkey_wrong_type",
                Lie {
                    kind: Some("webauthn.create"),
                    ..lie()
                },
            ),
            (
                "passkey_wrong_rp_id",
                Lie {
                    rp_id: Some(format!("evil{host}")),
                    ..lie()
                },
            ),
            (
                "passkey_wrong_signature",
                Lie {
                    bad_signature: true,
                    ..lie()
                },
            ),
            (
                "passkey_malformed",
                Lie {
                    trailing: vec![0],
                    ..lie()
                },
            ),
            (
                "passkey_malformed",
                Lie {
                    trailing: vec![0xa0],
                    ..lie()
                },
            ),
            (
                "passkey_wrong_user",
                Lie {
                    user_handle: Some(json!(null)),
                    ..lie()
                },
            ),
            (
                "passkey_wrong_user",
                Lie {
                    user_handle: Some(
                        omar.passkey.get(&options(&server).await)["response"]["userHandle"].clone(),
                    ),
                    ..lie()
                },
            ),
        ];
        for (reason, lie) in lies {
            let before = failures(&server, reason).await;
            let assertion = sara.passkey.get_with(&options(&server).await, &lie);
            let answer = present(&server, assertion).await;
            assert_eq!(answer.status, 401, "{lie:?}: {answer:?}");
            answer.is_problem(401, "passkey_invalid");
            assert_eq!(failures(&server, reason).await, before + 1, "{lie:?}");
        }
        // Flags that do not go together, or have changed since it was added.
        for flags in [VERIFIED, PRESENT | VERIFIED | 16, PRESENT | VERIFIED | SYNCED] {
            sara.passkey.flags = flags;
            sara.sign_in(&server).await.is_problem(401, "passkey_invalid");
        }
        sara.passkey.flags = PRESENT | VERIFIED;
        // Under the id of another user's passkey.
        let mut borrowed = sara.passkey.get(&options(&server).await);
        borrowed["id"] = json!(encoded(&omar.passkey.id));
        borrowed["rawId"] = borrowed["id"].clone();
        present(&server, borrowed)
            .await
            .is_problem(401, "passkey_invalid");
        // A challenge that is none of ours, was changed, or is of another use.
        let good = options(&server).await;
        let mut changed = good["challenge"].as_str().expect("a challenge").to_owned();
        changed.replace_range(0..1, if changed.starts_with('A') { "B" } else { "A" });
        for challenge in [String::new(), encoded(&[7; 32]), encoded(&[7; 40]), changed] {
            let lie = Lie {
                challenge: Some(challenge),
                ..lie()
            };
            present(&server, sara.passkey.get_with(&good, &lie))
                .await
                .is_problem(400, "flow_expired");
        }
        // What is no passkey at all.
        let right = sara.passkey.get(&good);
        for (pointer, value) in [
            ("/id", json!("AAAA")),
            ("/type", json!("password")),
            ("/response/signature", json!("not base64!")),
            ("/response/signature", json!(7)),
            ("/response/clientDataJSON", json!(null)),
            ("/response", json!([])),
        ] {
            let mut wrong = right.clone();
            *wrong.pointer_mut(pointer).expect("a member") = value;
            present(&server, wrong).await.is_problem(422, "validation_failed");
        }
        // None of this has used up the challenge; one use has.
        present(&server, right.clone()).await.is(200);
        present(&server, right).await.is_problem(400, "flow_expired");
        server.stop().await;
    }
);

on_both!(what_is_not_exactly_right_is_not_added, async |stage: Stage| {
    let server = stage.start().await;
    let tokens = register(&server, "sara@example.com").await;
    let lie = Lie::default;
    for (code, lie) in [
        (
            "wrong_origin",
            Lie {
                origin: Some("https://evil.example".to_owned()),
                ..lie()
            },
        ),
        (
            "cross_origin",
            Lie {
                is_framed: true,
                ..lie()
            },
        ),
        (
            "wrong_type",
            Lie {
                kind: Some("webauthn.get"),
                ..lie()
            },
        ),
        (
            "wrong_rp_id",
            Lie {
                rp_id: Some("evil.example".to_owned()),
                ..lie()
            },
        ),
        (
            "invalid_passkey",
            Lie {
                trailing: vec![0xa0],
                ..lie()
            },
        ),
    ] {
        let (_, answer) = add(&server, &tokens.access, PRESENT, &lie).await;
        let answer = answer.is_problem(422, "validation_failed");
        assert_eq!(answer.json["errors"][0]["code"], code);
        assert_eq!(answer.json["errors"][0]["field"], "credential");
    }
    let (_, answer) = add(&server, &tokens.access, VERIFIED, &lie()).await;
    answer.is_problem(422, "validation_failed");
    let replayed = Lie {
        challenge: Some(encoded(&[7; 32])),
        ..lie()
    };
    let (_, answer) = add(&server, &tokens.access, PRESENT, &replayed).await;
    answer.is_problem(400, "flow_expired");
    // A right one that another user has.
    let omar = person(&server, "omar@example.com").await;
    let asked = begin(&server, &tokens.access).await.is(200);
    let (mut twin, _) = Passkey::create(&asked.json, &origin(&server), PRESENT, &lie());
    twin.id.clone_from(&omar.passkey.id);
    let body = json!({ "credential": twin.again(&asked.json) });
    let answer = server.post_as("/auth/passkeys", &tokens.access, &body).await;
    let answer = answer.is_problem(422, "validation_failed");
    assert_eq!(answer.json["errors"][0]["code"], "already_registered");
    omar.sign_in(&server).await.is(200);
    // Nothing was added, and each attempt is in the trail.
    let factors = server.get("/auth/factors", &tokens.access).await.json;
    assert_eq!(factors["passkeys"], json!([]));
    let failed = "select count(*) from audit where action = 'factor_add' and outcome = 'failure'";
    assert_eq!(database::number(&server.app.db, failed).await, 8);
    server.stop().await;
});

on_both!(
    a_counter_that_goes_back_is_refused_and_none_is_none,
    async |stage: Stage| {
        let server = stage.start().await;
        let mut sara = person(&server, "sara@example.com").await;
        // Without a counter any number of times.
        for _ in 0..2 {
            sara.sign_in(&server).await.is(200);
        }
        for (counter, is_right) in [(7, true), (7, false), (6, false), (0, false), (8, true)] {
            sara.passkey.counter = counter;
            let answer = sara.sign_in(&server).await;
            if is_right {
                answer.is(200);
            } else {
                answer.is_problem(401, "passkey_invalid");
            }
        }
        assert_eq!(failures(&server, "passkey_counter_back").await, 3);
        server.stop().await;
    }
);

on_both!(
    without_verification_of_its_user_a_passkey_is_one_factor,
    async |stage: Stage| {
        let server = stage.start().await;
        let sara = person_with(&server, "sara@example.com", PRESENT | SYNCED).await;
        assert_eq!(sara.tokens.claim("amr"), json!(["pwd", "swk", "mfa"]));
        // Who has found a security key has not its PIN.
        sara.sign_in(&server).await.is_problem(401, "passkey_unverified");
        assert_eq!(failures(&server, "passkey_unverified").await, 1);
        // After the password it is the second factor.
        let asked = sara.password(&server).await.is_problem(403, "mfa_required");
        let body = json!({
            "flow": asked.text_of("flow"),
            "method": "passkey",
            "assertion": sara.passkey.get(&asked.json["passkey"]),
            "trust_device": true,
        });
        let answer = server.post("/auth/login/mfa", &body).await.is(200);
        let signed_in = Tokens::of(&answer);
        assert_eq!(signed_in.claim("amr"), json!(["pwd", "swk", "mfa"]));
        assert_eq!(signed_in.claim("acr"), "2");
        // A trusted device spares the other factor, whichever comes first; the session says so.
        let mark = answer.headers.get_all("set-cookie").iter();
        let mark = mark.filter_map(|cookie| cookie.to_str().ok());
        let mark = mark
            .filter_map(|cookie| cookie.split(';').next())
            .find(|cookie| cookie.contains("josoor_device="))
            .expect("the mark of the device");
        let body = json!({ "assertion": sara.passkey.get(&options(&server).await) });
        let request = server
            .request(Method::POST, "/auth/login/passkey")
            .header("cookie", mark);
        let answer = server.send(request.json(&body)).await.is(200);
        let trusted = Tokens::of(&answer);
        assert_eq!(
            (trusted.claim("acr"), trusted.claim("amr")),
            (json!("1"), json!(["swk"]))
        );
        server
            .delete("/auth/sessions", &trusted.access)
            .await
            .is_problem(401, "step_up_required");
        server.stop().await;
    }
);

async fn two(stage: &TheStage, clock: &Clock) -> (Server, Server) {
    (
        stage.start_with(clock.clone()).await,
        stage.start_with(clock.clone()).await,
    )
}

/// How many succeeded; the others were refused with one of these codes.
fn succeeded(answers: Vec<Answer>, codes: &[&str]) -> usize {
    let mut count = 0;
    for answer in answers {
        if answer.status.is_success() {
            count += 1;
        } else {
            assert!(codes.contains(&answer.code()), "{answer:?}");
        }
    }
    count
}

on_both!(
    of_64_uses_of_one_assertion_on_two_nodes_one_works,
    async |stage: Stage| {
        let (one, other) = two(&stage, &standing()).await;
        let mut sara = person(&one, "sara@example.com").await;
        // With and without a counter.
        for counter in [0, 5] {
            sara.passkey.counter = counter;
            let assertion = sara.passkey.get(&options(&one).await);
            let uses = (0..64).map(|number| {
                let server = if number % 2 == 0 { &one } else { &other };
                present(server, assertion.clone())
            });
            let answers = join_all(uses).await;
            // Who waits too long for the account is refused, too.
            let refusals = ["flow_expired", "passkey_invalid", "store_unavailable"];
            assert_eq!(succeeded(answers, &refusals), 1);
        }
        // As a second factor, and as a step-up.
        sara.passkey.counter = 6;
        let asked = sara.password(&one).await.is_problem(403, "mfa_required");
        let body = json!({
            "flow": asked.text_of("flow"),
            "method": "passkey",
            "assertion": sara.passkey.get(&asked.json["passkey"]),
        });
        let uses = (0..8).map(|number| {
            let server = if number % 2 == 0 { &one } else { &other };
            server.post("/auth/login/mfa", &body)
        });
        assert_eq!(succeeded(join_all(uses).await, &["flow_expired"]), 1);
        sara.passkey.counter = 7;
        let wanted = one
            .post_as("/auth/step-up/options", &sara.tokens.access, &json!({}))
            .await
            .is(200);
        let body = json!({ "assertion": sara.passkey.get(&wanted.json) });
        let uses = (0..8).map(|number| {
            let server = if number % 2 == 0 { &one } else { &other };
            server.post_as("/auth/step-up", &sara.tokens.access, &body)
        });
        assert_eq!(succeeded(join_all(uses).await, &["flow_expired"]), 1);
        one.stop().await;
        other.stop().await;
    }
);

on_both!(another_node_finishes_each_ceremony, async |stage: Stage| {
    let (one, other) = two(&stage, &standing()).await;
    let tokens = register(&one, "sara@example.com").await;
    let asked = begin(&one, &tokens.access).await.is(200);
    let flags = PRESENT | VERIFIED;
    let (passkey, credential) = Passkey::create(&asked.json, &origin(&one), flags, &Lie::default());
    let (to_sign_in, to_add) = (options(&one).await, json!({ "credential": credential }));
    // What the first node has begun, it does not live to see.
    one.stop().await;
    let added = other
        .post_as("/auth/passkeys", &tokens.access, &to_add)
        .await
        .is(201);
    present(&other, passkey.get(&to_sign_in)).await.is(200);
    other
        .get("/auth/check?acr=2", &added.text_of("access_token"))
        .await
        .is(200);
    other.stop().await;
});

on_both!(
    a_challenge_waits_ten_minutes_and_costs_no_row,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let sara = person(&server, "sara@example.com").await;
        let rows = "select count(*) from flows";
        let before = database::number(&server.app.db, rows).await;
        let mut all = Vec::new();
        for _ in 0..20 {
            all.push(options(&server).await);
        }
        assert_eq!(database::number(&server.app.db, rows).await, before);
        let first = all[0].clone();
        // Nothing tells who exists: all but the challenge is the same for anybody.
        for mut asked in all {
            asked["challenge"] = first["challenge"].clone();
            assert_eq!(asked, first);
        }
        assert_eq!(first["allowCredentials"], json!([]));
        clock.advance(Duration::from_secs(599));
        present(&server, sara.passkey.get(&first)).await.is(200);
        let late = options(&server).await;
        clock.advance(Duration::from_mins(10));
        present(&server, sara.passkey.get(&late))
            .await
            .is_problem(400, "flow_expired");
        let begun = begin(&server, &sara.tokens.access).await;
        begun.is_problem(401, "step_up_required");
        server.stop().await;
    }
);

on_both!(
    passkeys_and_an_app_are_removed_one_by_one_and_reset_together,
    async |stage: Stage| {
        let server = stage.start().await;
        let sara = owner(&server, "sara@example.com").await;
        let asked = server
            .post(
                "/auth/login",
                &json!({ "email": sara.email, "password": PASSWORD }),
            )
            .await
            .is_problem(403, "mfa_required");
        let body = json!({ "flow": asked.text_of("flow"), "method": "recovery_code", "code": sara.codes[0] });
        let access = server
            .post("/auth/login/mfa", &body)
            .await
            .is(200)
            .text_of("access_token");
        let (passkey, added) = add(&server, &access, PRESENT | VERIFIED, &Lie::default()).await;
        let added = added.is(201);
        // There are recovery codes already.
        assert_eq!(added.json.get("recovery_codes"), None);
        server.delete("/auth/factors/totp", &access).await.is(204);
        let factors = server.get("/auth/factors", &access).await.is(200).json;
        assert_eq!(
            (&factors["totp"], &factors["recovery_codes_left"]),
            (&json!(null), &json!(9))
        );
        let signed_in = present(&server, passkey.get(&options(&server).await))
            .await
            .is(200);
        assert_eq!(signed_in.json["user"]["mfa_enabled"], true);
        // What is lost, an operator resets; the session that was opened with it counts as one factor.
        run(&stage, &["user", "mfa-reset", &sara.email]).with(0);
        mail(&server, &sara.email, "factors_reset").await;
        present(&server, passkey.get(&options(&server).await))
            .await
            .is_problem(401, "passkey_unknown");
        server.log_in(&sara.email).await;
        server.stop().await;
    }
);

on_both!(
    the_mail_about_a_passkey_takes_it_back_and_leaves_older_factors,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let sara = owner(&server, "sara@example.com").await;
        clock.advance(Duration::from_secs(30));
        let flow = async || {
            let body = json!({ "email": sara.email, "password": PASSWORD });
            let asked = server.post("/auth/login", &body).await;
            asked.is_problem(403, "mfa_required")
        };
        // Somebody who knows the password and has a code adds a passkey.
        let asked = flow().await;
        let body = json!({ "flow": asked.text_of("flow"), "method": "totp", "code": sara.code(&server) });
        let answer = server.post("/auth/login/mfa", &body).await.is(200);
        let access = answer.text_of("access_token");
        let (passkey, added) = add(&server, &access, PRESENT | VERIFIED, &Lie::default()).await;
        added.is(201);
        let token = mail(&server, &sara.email, "passkey_added").await.token();
        let body = json!({ "token": token, "email": sara.email });
        server.post("/auth/account/secure", &body).await.is(200);
        present(&server, passkey.get(&options(&server).await))
            .await
            .is_problem(401, "passkey_unknown");
        let token = mail(&server, &sara.email, "reset_password").await.token();
        let body = json!({ "token": token, "new_password": PASSWORD });
        server.post("/auth/password/reset", &body).await.is(200);
        assert_eq!(flow().await.json["methods"], json!(["totp", "recovery_code"]));
        server.stop().await;
    }
);

on_both!(
    an_account_that_may_not_sign_in_does_not_with_a_passkey,
    async |stage: Stage| {
        let server = stage.start().await;
        let sara = person(&server, "sara@example.com").await;
        run(&stage, &["user", "deactivate", &sara.email]).with(0);
        sara.sign_in(&server).await.is_problem(403, "account_inactive");
        assert_eq!(failures(&server, "account_inactive").await, 1);
        run(&stage, &["user", "activate", &sara.email]).with(0);
        let answer = sara.sign_in(&server).await.is(200);
        let request = server
            .request(Method::DELETE, "/auth/me")
            .bearer_auth(answer.text_of("access_token"))
            .json(&json!({ "password": PASSWORD }));
        server.send(request).await.is(204);
        // Deleted, and not purged yet.
        sara.sign_in(&server).await.is_problem(401, "passkey_unknown");
        server.stop().await;
    }
);

on_both!(
    a_role_that_must_have_a_factor_is_content_with_a_passkey,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__MFA__REQUIRED", "user");
        let server = stage.start().await;
        let tokens = register(&server, "sara@example.com").await;
        server
            .get("/auth/me", &tokens.access)
            .await
            .is_problem(403, "mfa_enrollment_required");
        let (passkey, added) = add(&server, &tokens.access, PRESENT | VERIFIED, &Lie::default()).await;
        let access = added.is(201).text_of("access_token");
        server.get("/auth/me", &access).await.is(200);
        let answer = present(&server, passkey.get(&options(&server).await))
            .await
            .is(200);
        server
            .get("/auth/me", &answer.text_of("access_token"))
            .await
            .is(200);
        server.stop().await;
    }
);

on_both!(an_account_has_twenty_passkeys_at_most, async |stage: Stage| {
    let server = stage.start().await;
    let sara = person(&server, "sara@example.com").await;
    let mut access = sara.tokens.access.clone();
    for _ in 1..20 {
        let (_, added) = add(&server, &access, PRESENT | VERIFIED, &Lie::default()).await;
        access = added.is(201).text_of("access_token");
    }
    begin(&server, &access).await.is_problem(409, "passkey_limit");
    let asked = sara.password(&server).await.is_problem(403, "mfa_required");
    let allowed = asked.json["passkey"]["allowCredentials"].as_array();
    assert_eq!(allowed.map(Vec::len), Some(20));
    server
        .delete(&format!("/auth/passkeys/{}", sara.name), &access)
        .await
        .is(204);
    begin(&server, &access).await.is(200);
    server.stop().await;
});

on_both!(
    passkeys_of_another_domain_are_of_no_use_and_marked,
    async |mut stage: Stage| {
        // Its access tokens stay good.
        stage.set("JOSOOR_AUTH__AUTH__ISSUER", "josoor");
        stage.set("PUBLIC_URL", "https://auth.example.com");
        let server = stage.start().await;
        let sara = person(&server, "sara@example.com").await;
        server.stop().await;
        stage.set("PUBLIC_URL", "https://login.example.org");
        stage.set("JOSOOR_AUTH__PASSKEYS__ORIGINS", "https://app.example.com");
        let server = stage.start().await;
        // The browser would not use it; neither is it asked for.
        let asked = sara.password(&server).await.is_problem(403, "mfa_required");
        assert_eq!(asked.json["methods"], json!(["recovery_code"]));
        assert_eq!(asked.json.get("passkey"), None);
        sara.sign_in(&server).await.is_problem(401, "passkey_invalid");
        let factors = server
            .get("/auth/factors", &sara.tokens.access)
            .await
            .is(200)
            .json;
        assert_eq!(factors["passkeys"][0]["is_usable"], false);
        server
            .post_as("/auth/step-up/options", &sara.tokens.access, &json!({}))
            .await
            .is_problem(404, "not_found");
        let related = server.get("/.well-known/webauthn", "").await.is(200).json;
        assert_eq!(
            related,
            json!({ "origins": ["https://login.example.org", "https://app.example.com"] })
        );
        let examined = run(&stage, &["doctor"]).with(0).out;
        assert!(
            examined.contains("1 passkey is for auth.example.com"),
            "{examined}"
        );
        server.stop().await;
    }
);

on_both!(
    a_page_of_a_listed_origin_may_use_them,
    async |mut stage: Stage| {
        stage.set("PUBLIC_URL", "https://auth.example.com");
        stage.set("JOSOOR_AUTH__PASSKEYS__RP_ID", "example.com");
        stage.set("JOSOOR_AUTH__PASSKEYS__ORIGINS", "https://app.example.com");
        let server = stage.start().await;
        let mut sara = person(&server, "sara@example.com").await;
        for (origin, is_right) in [
            ("https://app.example.com", true),
            ("https://example.com", false),
            ("https://other.example.com", false),
            ("https://evilexample.com", false),
        ] {
            sara.passkey.origin = origin.to_owned();
            let answer = sara.sign_in(&server).await;
            assert_eq!(answer.status.is_success(), is_right, "{origin}");
        }
        // A cookie goes to a browser on an allowed page only.
        sara.passkey.origin = "https://auth.example.com".to_owned();
        let assertion = sara.passkey.get(&options(&server).await);
        let body = json!({ "assertion": assertion, "transport": "cookie" });
        server
            .post("/auth/login/passkey", &body)
            .await
            .is_problem(403, "origin_not_allowed");
        let request = server.request(Method::POST, "/auth/login/passkey");
        let request = request.header("origin", "https://auth.example.com").json(&body);
        let answer = server.send(request).await.is(200);
        assert_eq!(answer.json.get("refresh_token"), None);
        server.stop().await;
    }
);

/// Which form the script submits.
const PASSKEY: (&str, &str) = ("do", "passkey");

on_both!(
    the_page_takes_a_passkey_alone_and_after_the_password,
    async |stage: Stage| {
        let server = stage.start().await;
        let sara = person(&server, "sara@example.com").await;
        let mut browser = Browser::new("en");
        let page = browser
            .open(&server, "/login?return_to=%2Faccount%2Factivity")
            .await
            .shows(200, "Sign in");
        assert!(page.text.contains("autocomplete=\"username webauthn\""));
        // What was used elsewhere is said above the form, after a reload too.
        let lie = Lie {
            origin: Some("https://evil.example".to_owned()),
            ..Lie::default()
        };
        let foreign = sara.passkey.get_with(&options(&server).await, &lie).to_string();
        let refused = browser
            .follow(&server, &page, "", &[PASSKEY, ("assertion", &foreign)])
            .await
            .shows(200, "Sign in");
        assert!(refused.words().contains("This passkey wasn't accepted"));
        browser
            .submit(&server, &page, "", &[PASSKEY, ("assertion", "{")])
            .await
            .shows(422, "Sign in");
        let assertion = sara.passkey.get(&options(&server).await).to_string();
        let done = browser
            .submit(&server, &page, "", &[PASSKEY, ("assertion", &assertion)])
            .await;
        assert_eq!(done.to(), "/account/activity");
        assert!(browser.cookie("josoor_refresh").is_some());

        let mut browser = Browser::new("ar");
        let page = browser.open(&server, "/login").await;
        let fields = [("email", sara.email.as_str()), ("password", PASSWORD)];
        let page = browser
            .follow(&server, &page, "", &fields)
            .await
            .shows(200, "أدخل الرمز");
        let asked = page.text.split("data-passkey=\"").nth(1).expect("the options");
        let asked = asked
            .split('"')
            .next()
            .unwrap_or_default()
            .replace("&quot;", "\"");
        let asked: Value = serde_json::from_str(&asked.replace("&#x2f;", "/")).expect("JSON");
        let assertion = sara.passkey.get(&asked).to_string();
        // As the script submits it: in place of the code.
        let (address, mut fields) = page.form("code");
        fields.retain(|(name, _)| name != "do");
        let hidden = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let given = [
            PASSKEY,
            ("assertion", assertion.as_str()),
            ("trust_device", "yes"),
        ];
        let fields: Vec<_> = hidden.chain(given).collect();
        // Another browser cannot finish it.
        let mut other = Browser::new("ar");
        other.open(&server, "/login").await;
        let stolen = other.post(&server, &address, &fields).await;
        assert_eq!(stolen.status.as_u16(), 403, "{}", stolen.words());
        let done = browser.post(&server, &address, &fields).await;
        assert_eq!(done.to(), "/account");
        server.stop().await;
    }
);
