//! What undoing a change of address leaves of second factors: those of before the change, and none that were added since.

use josoor_auth::domain::UserId;
use serde_json::json;

use crate::second_factors::{STEP, enrol, finish, register, standing};
use crate::support::mailbox::{mail, settled};
use crate::support::server::{PASSWORD, Server, Tokens, on_both};

const NEW: &str = "a sentence with the number 12";

/// Signs an intruder in, who knows the password and, where there is an app, has its code this once.
async fn intrude(server: &Server, email: &str, code: Option<String>) -> Tokens {
    let body = json!({ "email": email, "password": PASSWORD });
    let answer = server.post("/auth/login", &body).await;
    let Some(code) = code else {
        return Tokens::of(&answer.is(200));
    };
    let flow = answer.is_problem(403, "mfa_required").text_of("flow");
    Tokens::of(&finish(server, &flow, "totp", &code).await.is(200))
}

/// Gives the account another address, as its holder may.
async fn take_address(server: &Server, holder: &Tokens, to: &str) {
    let body = json!({ "new_email": to, "password": PASSWORD });
    server
        .post_as("/auth/email/change", &holder.access, &body)
        .await
        .is(202);
    let token = mail(server, to, "confirm_email").await.token();
    server
        .post_as("/auth/email/verify", &holder.access, &json!({ "token": token }))
        .await
        .is(200);
}

on_both!(
    factors_added_since_a_change_of_address_go_with_its_undo_and_older_ones_stay,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        for has_own in [false, true] {
            let email = format!("owner-{has_own}@example.com");
            let stolen = format!("intruder-{has_own}@example.com");
            let tokens = register(&server, &email).await;
            let own = if has_own {
                Some(enrol(&server, &email, &tokens).await)
            } else {
                None
            };
            clock.advance(STEP);
            let code = own.as_ref().map(|own| own.code(&server));
            let intruder = intrude(&server, &email, code).await;
            take_address(&server, &intruder, &stolen).await;
            clock.advance(STEP);
            // What the intruder adds: an app where there was none, else recovery codes in place of the owner's.
            let added = if has_own {
                let path = "/auth/factors/recovery-codes";
                let codes = server.post_as(path, &intruder.access, &json!({})).await.is(200);
                codes.json["recovery_codes"][0]
                    .as_str()
                    .expect("a code")
                    .to_owned()
            } else {
                enrol(&server, &stolen, &intruder).await.secret
            };

            let undo = mail(&server, &email, "email_changed").await.token();
            let undone = server
                .post("/auth/account/undo", &json!({ "token": undo }))
                .await
                .is(200);
            assert_eq!(undone.json["recovery_required"], true);
            settled(&server).await;

            // The intruder's side: no session, no address, no factor.
            assert_eq!(server.get("/auth/me", &intruder.access).await.status, 401);
            for address in [&stolen, &email] {
                let body = json!({ "email": address, "password": PASSWORD });
                server
                    .post("/auth/login", &body)
                    .await
                    .is_problem(401, "invalid_credentials");
            }

            // The owner's side: the mailbox and the password of before the change, and the own factor where there was one.
            let reset = mail(&server, &email, "reset_password").await.token();
            let body = json!({ "token": reset, "new_password": NEW, "previous_password": PASSWORD });
            server.post("/auth/password/reset", &body).await.is(200);
            let user = UserId(tokens.user_id);
            let mut conn = server.app.db.write().await.expect("a connection");
            let left = conn.credentials_of(user).await.expect("rows").len();
            drop(conn);
            assert_eq!(left, usize::from(has_own));
            let body = json!({ "email": email, "password": NEW });
            let answer = server.post("/auth/login", &body).await;
            let Some(own) = own else {
                answer.is(200);
                continue;
            };
            let asked = answer.is_problem(403, "mfa_required");
            assert_eq!(asked.json["methods"], json!(["totp"]));
            let flow = asked.text_of("flow");
            finish(&server, &flow, "recovery_code", &added)
                .await
                .is_problem(401, "mfa_code_invalid");
            clock.advance(STEP);
            finish(&server, &flow, "totp", &own.code(&server)).await.is(200);
        }
        server.stop().await;
    }
);
