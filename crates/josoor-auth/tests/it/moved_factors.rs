//! Second factors that move with their users: from one instance to another, and from other systems.

use std::os::unix::fs::PermissionsExt as _;

use josoor_auth::clock::Clock;
use serde_json::{Value, json};

use crate::moving::{codes, counts, file, fixture, hash, import, source};
use crate::passkeys::{add, options, present};
use crate::second_factors::owner;
use crate::support::authenticator::{Lie, PRESENT, VERIFIED};
use crate::support::command::run;
use crate::support::database;
use crate::support::server::{Answer, PASSWORD, Server, on_both};
use crate::support::services;
use crate::support::totp;

/// The code that an app shows in half a minute, which is accepted already.
fn next_code(secret: &str) -> String {
    totp::code(secret, Clock::System.now().as_secs() + 30)
}

/// A sign-in that waits for the second factor.
async fn waiting(server: &Server, email: &str) -> Answer {
    let body = json!({ "email": email, "password": PASSWORD });
    server
        .post("/auth/login", &body)
        .await
        .is_problem(403, "mfa_required")
}

async fn finish(server: &Server, email: &str, method: &str, code: &str) -> Answer {
    let flow = waiting(server, email).await.text_of("flow");
    let body = json!({ "flow": flow, "method": method, "code": code });
    server.post("/auth/login/mfa", &body).await
}

on_both!(
    who_moves_to_another_instance_keeps_the_app_the_passkey_and_the_codes,
    async |stage: Stage| {
        let server = stage.start().await;
        let sara = owner(&server, "sara@example.com").await;
        server.register("omar@example.com").await;
        let flags = PRESENT | VERIFIED;
        let (mut passkey, added) = add(&server, &sara.tokens.access, flags, &Lie::default()).await;
        added.is(201);
        passkey.counter = 7;
        present(&server, passkey.get(&options(&server).await))
            .await
            .is(200);
        finish(&server, &sara.email, "recovery_code", &sara.codes[0])
            .await
            .is(200);
        let step = "select counter from credentials where kind = 'totp'";
        let last_step = database::number(&server.app.db, step).await;
        server.stop().await;

        let bare = run(&stage, &["user", "export"]).with(0);
        assert!(!bare.out.contains("factors"), "{bare:?}");
        let moves = [("csv", Footprint::Embedded), ("ndjson", Footprint::Production)];
        for (format, footprint) in moves {
            let out = stage.directory().join(format!("factors.{format}"));
            let out = out.to_str().expect("text");
            let export = ["user", "export", "--with-factors", "--format", format];
            let ended = run(&stage, &[&export[..], &["--out", out]].concat()).with(0);
            assert!(!format!("{ended:?}").contains(&sara.secret), "{ended:?}");
            let mode = std::fs::metadata(out).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let text = std::fs::read_to_string(out).expect("a file");
            assert!(text.contains(&sara.secret), "{text}");
            // They are there already.
            counts(&import(&stage, &[out], 0).0, 0, 2, 0);
            let other = Stage::new(footprint);
            counts(&import(&other, &[out], 0).0, 2, 0, 0);
            let again = run(&other, &export).with(0);
            assert_eq!(again.out, text);
            let server = other.start().await;
            arrives(&server, &sara.email, &sara.secret, &sara.codes, last_step).await;
            // Its counter came along.
            passkey.counter = 7;
            let stale = passkey.get(&options(&server).await);
            present(&server, stale).await.is_problem(401, "passkey_invalid");
            passkey.counter = 8;
            let signed_in = present(&server, passkey.get(&options(&server).await)).await;
            assert_eq!(signed_in.is(200).json["user"]["email"], sara.email);
            server.stop().await;
        }
        let db = stage.start().await;
        let reasons = "select reason from audit where action = 'export' order by id";
        let reasons = database::texts(&db.app.db, reasons).await;
        let expected = "2 users, with password hashes and with second factors";
        assert_eq!(reasons, ["2 users, with password hashes", expected, expected]);
        db.stop().await;
    }
);

/// That the app and the recovery codes of an account are good at an instance, each code once.
async fn arrives(server: &Server, email: &str, secret: &str, recovery: &[String], last_step: i64) {
    let asked = waiting(server, email).await.json;
    assert_eq!(asked["methods"], json!(["passkey", "totp", "recovery_code"]));
    // A code that was used there is none here.
    let step = "select counter from credentials where kind = 'totp'";
    assert_eq!(database::number(&server.app.db, step).await, last_step);
    let used = totp::code(secret, last_step * 30);
    finish(server, email, "totp", &used)
        .await
        .is_problem(401, "mfa_code_invalid");
    finish(server, email, "recovery_code", &recovery[0])
        .await
        .is_problem(401, "mfa_code_invalid");
    finish(server, email, "totp", &next_code(secret)).await.is(200);
    let signed_in = finish(server, email, "recovery_code", &recovery[1]).await.is(200);
    finish(server, email, "recovery_code", &recovery[1])
        .await
        .is_problem(401, "mfa_code_invalid");
    let access = signed_in.text_of("access_token");
    let factors = server.get("/auth/factors", &access).await.is(200).json;
    assert_eq!(factors["recovery_codes_left"], 8);
    // Nothing that shows a code stands in the database.
    let plain = "select kind from credentials where kind = 'recovery_code' and (code_mac is not null or sealed is null)";
    assert!(database::texts(&server.app.db, plain).await.is_empty());
}

on_both!(
    codes_from_before_hashes_had_keys_stay_good_and_do_not_move,
    async |stage: Stage| {
        let server = stage.start().await;
        let sara = owner(&server, "sara@example.com").await;
        let db = &server.app.db;
        let (shown, prefix, suffix) = match stage.footprint {
            Footprint::Embedded => ("lower(hex(id))", "x'", "'"),
            Footprint::Production => ("replace(id::text, '-', '')", "'\\x", "'::bytea"),
        };
        let ids = format!("select {shown} from credentials where kind = 'recovery_code' limit 1");
        let id = database::texts(db, &ids).await.remove(0);
        let bytes = u128::from_str_radix(&id, 16).expect("a UUID").to_be_bytes();
        let user = sara.tokens.user_id.to_be_bytes();
        let code = sara.codes[0].replace('-', "");
        let mac = server
            .app
            .keys
            .tag("recovery-code", &[&user, &bytes, code.as_bytes()]);
        let half = |at: usize| u128::from_be_bytes(mac[at..at + 16].try_into().expect("16 bytes"));
        let mac = format!("{:032x}{:032x}", half(0), half(16));
        let others = format!("delete from credentials where kind = 'recovery_code' and {shown} <> '{id}'");
        database::execute(db, &others).await;
        let earlier = format!(
            "update credentials set sealed = null, code_mac = {prefix}{mac}{suffix} where kind = 'recovery_code'"
        );
        assert_eq!(database::execute(db, &earlier).await, 1);
        let exported = run(&stage, &["user", "export", "--with-factors"]).with(0).out;
        let exported: Value = serde_json::from_str(&exported).expect("JSON");
        assert_eq!(exported["factors"].get("recovery_codes"), None, "{exported}");
        finish(&server, &sara.email, "recovery_code", &sara.codes[1])
            .await
            .is_problem(401, "mfa_code_invalid");
        finish(&server, &sara.email, "recovery_code", &sara.codes[0])
            .await
            .is(200);
        server.stop().await;
    }
);

on_both!(
    factors_that_cannot_be_taken_are_named_and_cost_no_user,
    async |stage: Stage| {
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let app = json!({ "totp": { "secret": secret } });
        let hash = hash();
        let line = |email: &str, verified: bool, factors: &Value| {
            json!({ "email": email, "email_verified": verified, "password_hash": hash, "factors": factors })
                .to_string()
        };
        let far = json!({ "totp": { "secret": secret, "last_step": i64::MAX } });
        let codes_alone = json!({ "recovery_codes": [format!("$sha512${}", "A".repeat(86))] });
        let lines = [
            line("right@example.com", true, &app),
            line("unverified@example.com", false, &app),
            line("codes@example.com", true, &codes_alone),
            line(
                "wrong@example.com",
                true,
                &json!({ "totp": { "secret": secret, "digits": 8 } }),
            ),
            line("far@example.com", true, &far),
        ];
        let path = file(&stage, "factors.ndjson", lines.join("\n"));
        let (summary, reported) = import(&stage, &[&path], 1);
        counts(&summary, 4, 0, 1);
        assert_eq!(
            codes(&reported),
            [
                (2, "factor_not_taken"),
                (3, "factor_not_taken"),
                (4, "invalid_factors")
            ]
        );
        assert_eq!(reported[2]["field"], "factors");
        assert!(!format!("{reported:?}").contains(secret), "{reported:?}");
        let server = stage.start().await;
        for email in ["unverified@example.com", "codes@example.com"] {
            server.log_in(email).await;
        }
        for email in ["right@example.com", "far@example.com"] {
            finish(&server, email, "totp", &next_code(secret)).await.is(200);
        }
        let added = "select count(*) from audit where action = 'factor_add' and reason = 'import'";
        assert_eq!(database::number(&server.app.db, added).await, 2);
        server.stop().await;
    }
);

on_both!(a_passkey_is_one_users_only, async |stage: Stage| {
    let server = stage.start().await;
    let sara = owner(&server, "sara@example.com").await;
    let (passkey, added) = add(&server, &sara.tokens.access, PRESENT | VERIFIED, &Lie::default()).await;
    added.is(201);
    server.stop().await;
    let exported = run(&stage, &["user", "export", "--with-factors"]).with(0).out;
    let mut user: Value = serde_json::from_str(&exported).expect("JSON");
    let object = user.as_object_mut().expect("an object");
    object.remove("id");
    object.insert("email".to_owned(), json!("thief@example.com"));
    object.insert("uid".to_owned(), json!("0b2a1f52-6a1c-4c57-9d7e-3f5a8f1f8a11"));
    object["factors"].as_object_mut().expect("factors").remove("totp");
    let path = file(&stage, "thief.ndjson", user.to_string());
    let (summary, reported) = import(&stage, &[&path], 0);
    counts(&summary, 1, 0, 0);
    assert_eq!(codes(&reported), [(1, "factor_not_taken")]);
    let server = stage.start().await;
    server.log_in("thief@example.com").await;
    let signed_in = present(&server, passkey.get(&options(&server).await)).await;
    assert_eq!(signed_in.is(200).json["user"]["email"], sara.email);
    server.stop().await;
});

on_both!(
    recovery_codes_come_with_the_app_from_keycloak,
    async |stage: Stage| {
        import(&stage, &[&fixture("keycloak.json"), "--from", "keycloak"], 1);
        let server = stage.start().await;
        let email = "khalid@example.com";
        let asked = waiting(&server, email).await.json;
        assert_eq!(asked["methods"], json!(["totp", "recovery_code"]));
        finish(&server, email, "recovery_code", "L9RR-AUWY-KARC")
            .await
            .is_problem(401, "mfa_code_invalid");
        finish(&server, email, "recovery_code", "l9rr auwy karb")
            .await
            .is(200);
        finish(&server, email, "recovery_code", "L9RRAUWYKARB")
            .await
            .is_problem(401, "mfa_code_invalid");
        server.stop().await;
    }
);

on_both!(
    apps_come_from_a_live_database_of_supabase,
    async |mut stage: Stage| {
        let url = services::postgres().new_database();
        let hash = hash();
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let tables = format!(
            "create schema auth;
             create table auth.users (id uuid primary key, email varchar(255), encrypted_password varchar(255), email_confirmed_at timestamptz);
             create type auth.factor_type as enum ('totp', 'webauthn', 'phone');
             create type auth.factor_status as enum ('unverified', 'verified');
             create table auth.mfa_factors (id uuid primary key, user_id uuid references auth.users, friendly_name text,
                factor_type auth.factor_type not null, status auth.factor_status not null, secret text);
             insert into auth.users select gen_random_uuid(), name || '@example.com', '{hash}', now()
                from unnest(array['app', 'begun', 'phone', 'none']) as name;
             insert into auth.mfa_factors select gen_random_uuid(), id, null,
                case when email like 'phone%' then 'phone' else 'totp' end::auth.factor_type,
                case when email like 'begun%' then 'unverified' else 'verified' end::auth.factor_status, '{secret}'
                from auth.users where email not like 'none%';"
        );
        source(&url, &tables).await;
        stage.set("SOURCE", &url);
        let arguments = ["--from", "supabase", "--database-url-env", "SOURCE"];
        let (summary, reported) = import(&stage, &arguments, 0);
        counts(&summary, 4, 0, 0);
        let named: Vec<_> = reported
            .iter()
            .map(|line| (line["code"].as_str(), line["email"].as_str()))
            .collect();
        assert_eq!(named, [(Some("factor_not_taken"), Some("phone@example.com"))]);
        let server = stage.start().await;
        finish(&server, "app@example.com", "totp", &next_code(secret))
            .await
            .is(200);
        for email in ["begun@example.com", "phone@example.com", "none@example.com"] {
            server.log_in(email).await;
        }
        server.stop().await;
    }
);
