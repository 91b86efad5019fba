//! Ways back to an account: registrations beside each other, links that end with an act, undo, recovery and deletion.

use josoor_auth::links::Act;
use josoor_auth::store::Purpose;
use serde_json::json;

use crate::support::database;
use crate::support::mailbox::{mail, mails, settled};
use crate::support::server::{Answer, PASSWORD, Server, Stage, Tokens, on_both};

const NEW: &str = "another long sentence";

async fn forgot(server: &Server, email: &str) {
    server
        .post("/auth/password/forgot", &json!({ "email": email }))
        .await
        .is(202);
}

async fn reset(server: &Server, token: &str, password: &str) -> Answer {
    server
        .post(
            "/auth/password/reset",
            &json!({ "token": token, "new_password": password }),
        )
        .await
}

async fn log_in(server: &Server, email: &str, password: &str) -> Answer {
    server
        .post("/auth/login", &json!({ "email": email, "password": password }))
        .await
}

async fn verify(server: &Server, token: &str, password: Option<&str>) -> Answer {
    let mut body = json!({ "token": token });
    if let Some(password) = password {
        body["password"] = password.into();
    }
    server.post("/auth/email/verify", &body).await
}

/// Registers an account and verifies its address by its own session.
async fn register_verified(server: &Server, email: &str) -> Tokens {
    let tokens = server.register(email).await;
    let token = mail(server, email, "verify_email").await.token();
    server
        .post_as("/auth/email/verify", &tokens.access, &json!({ "token": token }))
        .await
        .is(200);
    tokens
}

/// Asks for another address and gives the token of the mail that confirms it.
async fn ask_for_address(server: &Server, access: &str, password: &str, new: &str) -> String {
    server
        .post_as(
            "/auth/email/change",
            access,
            &json!({ "new_email": new, "password": password }),
        )
        .await
        .is(202);
    mail(server, new, "confirm_email").await.token()
}

async fn set_active(server: &Server, admin: &Tokens, user: &Tokens, is_active: bool) {
    server
        .patch(
            &format!("/admin/users/{}", user.user_id),
            &admin.access,
            &json!({ "is_active": is_active }),
        )
        .await
        .is(200);
}

on_both!(
    b10_a_stranger_who_registers_an_address_again_ends_no_registration,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__REGISTRATION__MODE", "verify_first");
        let server = stage.start().await;
        let register = async |password: &str| {
            let body = json!({ "email": "owner@example.com", "password": password });
            server.post("/auth/register", &body).await.is(202);
        };
        register(PASSWORD).await;
        let owners = mail(&server, "owner@example.com", "finish_registration")
            .await
            .token();
        // More often than registrations are kept, and no mail is lost on the way.
        for round in 0..8 {
            register(&format!("a stranger's sentence {round}")).await;
            settled(&server).await;
        }
        let live = "select count(*) from registrations";
        assert_eq!(database::number(&server.app.db, live).await, 5);
        let letters = mails(&server, "owner@example.com").await;
        let of_kind = |kind: &str| letters.iter().filter(|mail| mail.kind == kind).count();
        assert_eq!(
            (of_kind("finish_registration"), of_kind("reset_password")),
            (5, 4)
        );
        // Each link works with its own password alone.
        let strangers = letters
            .iter()
            .rfind(|mail| mail.kind == "finish_registration")
            .expect("a mail")
            .token();
        verify(&server, &strangers, Some(PASSWORD))
            .await
            .is_problem(401, "invalid_credentials");
        // Asking again repeats the link of each.
        server
            .post(
                "/auth/email/verify/resend",
                &json!({ "email": "owner@example.com" }),
            )
            .await
            .is(202);
        settled(&server).await;
        let again = mails(&server, "owner@example.com").await;
        let repeated = again
            .iter()
            .filter(|mail| mail.kind == "finish_registration" && mail.token() == owners);
        assert_eq!(repeated.count(), 2);
        verify(&server, &owners, Some(PASSWORD)).await.is(200);
        log_in(&server, "owner@example.com", PASSWORD).await.is(200);
        // The others ended with it.
        verify(&server, &strangers, Some("a stranger's sentence 3"))
            .await
            .is_problem(400, "link_expired");
        assert_eq!(database::number(&server.app.db, live).await, 0);
        server.stop().await;
    }
);

on_both!(
    b10_a_registration_beyond_the_bound_sets_its_password_by_mail,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__REGISTRATION__MODE", "verify_first");
        let server = stage.start().await;
        for round in 0..5 {
            let body =
                json!({ "email": "late@example.com", "password": format!("a stranger's sentence {round}") });
            server.post("/auth/register", &body).await.is(202);
        }
        settled(&server).await;
        let body = json!({ "email": "late@example.com", "password": PASSWORD });
        server.post("/auth/register", &body).await.is(202);
        let offered = mail(&server, "late@example.com", "reset_password").await.token();
        reset(&server, &offered, NEW).await.is(200);
        log_in(&server, "late@example.com", NEW).await.is(200);
        server.stop().await;
    }
);

on_both!(
    links_of_a_deactivated_account_stay_ended_when_it_is_activated_again,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let owner = register_verified(&server, "owner@example.com").await;
        // Somebody who knows the password prepares another address, and a reset is open.
        let change = ask_for_address(&server, &owner.access, PASSWORD, "thief@example.com").await;
        forgot(&server, "owner@example.com").await;
        let open_reset = mail(&server, "owner@example.com", "reset_password").await.token();
        let waiting = server.register("waiting@example.com").await;
        let verification = mail(&server, "waiting@example.com", "verify_email").await.token();
        for user in [&owner, &waiting] {
            set_active(&server, &admin, user, false).await;
            set_active(&server, &admin, user, true).await;
        }
        verify(&server, &change, Some(PASSWORD))
            .await
            .is_problem(400, "link_expired");
        reset(&server, &open_reset, NEW)
            .await
            .is_problem(400, "link_expired");
        verify(&server, &verification, Some(PASSWORD))
            .await
            .is_problem(400, "link_expired");
        let still = log_in(&server, "owner@example.com", PASSWORD).await.is(200);
        assert_eq!(still.json["user"]["email"], "owner@example.com");
        server.stop().await;
    }
);

#[test]
fn every_act_ends_what_sets_a_password_or_an_address() {
    for act in Act::ALL {
        for purpose in [Purpose::ResetPassword, Purpose::Invitation, Purpose::ChangeEmail] {
            assert!(act.ends(purpose), "{act:?} {purpose:?}");
        }
        // An earlier owner's way back outlives what an intruder can do.
        assert_eq!(act.ends(Purpose::UndoEmailChange), act == Act::Claimed, "{act:?}");
        // These belong to no account.
        for purpose in [Purpose::Setup, Purpose::Registration] {
            assert!(!act.ends(purpose), "{act:?} {purpose:?}");
        }
    }
}
