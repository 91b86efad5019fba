//! Ways back to an account: registrations beside each other, links that end with an act, undo, recovery and deletion.

use std::time::Duration;

use josoor_auth::account::links::Cause;
use josoor_auth::clock::Clock;
use josoor_auth::domain::Purpose;
use reqwest::Method;
use serde_json::json;

use crate::support::mailbox::{mail, mail_number, mails, settled};
use crate::support::requests::{forgot, log_in, reset, verify};
use crate::support::server::{
    Answer, Footprint, PASSWORD, Server, Stage, Tokens, eventually, http_client, on_both,
};
use crate::support::{command, database};

const NEW: &str = "another long sentence";

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
        forgot(&server, "owner@example.com").await.is(202);
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
    for act in Cause::ALL {
        for purpose in [Purpose::ResetPassword, Purpose::Invitation, Purpose::ChangeEmail] {
            assert!(act.ends(purpose), "{act:?} {purpose:?}");
        }
        // An earlier owner's way back outlives what an intruder can do.
        assert_eq!(
            act.ends(Purpose::UndoEmailChange),
            act == Cause::Claimed,
            "{act:?}"
        );
        // These belong to no account.
        for purpose in [Purpose::Setup, Purpose::Registration] {
            assert!(!act.ends(purpose), "{act:?} {purpose:?}");
        }
    }
}

/// Moves an account to another address, as somebody who has its password.
async fn move_account(server: &Server, old: &str, new: &str, password: &str) {
    let session = Tokens::of(&log_in(server, old, password).await.is(200));
    let token = ask_for_address(server, &session.access, password, new).await;
    verify(server, &token, Some(password)).await.is(200);
    mail(server, old, "email_changed").await;
}

async fn change_password(server: &Server, access: &str, from: &str, to: &str) -> Tokens {
    let body = json!({ "current_password": from, "new_password": to });
    Tokens::of(
        &server
            .post_as("/auth/password/change", access, &body)
            .await
            .is(200),
    )
}

async fn undo(server: &Server, token: &str) -> Answer {
    server
        .post("/auth/account/undo", &json!({ "token": token }))
        .await
}

async fn recover(server: &Server, token: &str, password: &str, previous: Option<&str>) -> Answer {
    let mut body = json!({ "token": token, "new_password": password });
    if let Some(previous) = previous {
        body["previous_password"] = previous.into();
    }
    server.post("/auth/password/reset", &body).await
}

async fn delete_own(server: &Server, access: &str, password: &str) -> Answer {
    let request = server
        .request(Method::DELETE, "/auth/me")
        .bearer_auth(access)
        .json(&json!({ "password": password }));
    server.send(request).await
}

const THIEFS: &str = "what the thief has chosen";

on_both!(
    b6_taking_a_change_back_leaves_an_intruder_nothing,
    async |stage: Stage| {
        let server = stage.start().await;
        let near = stage.start().await;
        let owner = register_verified(&server, "owner@example.com").await;
        // The intruder changes the address, and then the password.
        move_account(&server, "owner@example.com", "thief@example.com", PASSWORD).await;
        let thief = Tokens::of(&log_in(&server, "thief@example.com", PASSWORD).await.is(200));
        let thief = change_password(&server, &thief.access, PASSWORD, THIEFS).await;
        near.get("/auth/me", &thief.access).await.is(200);
        // What an intruder could prepare.
        let pending = ask_for_address(&server, &thief.access, THIEFS, "second@example.com").await;
        forgot(&server, "thief@example.com").await.is(202);
        let open_reset = mail(&server, "thief@example.com", "reset_password").await.token();

        let notice = mail(&server, "owner@example.com", "email_changed").await;
        let undone = undo(&server, &notice.token()).await.is(200);
        assert_eq!(undone.json["recovery_required"], true);
        undo(&server, &notice.token()).await.is_problem(400, "link_used");
        server
            .get("/auth/me", &thief.access)
            .await
            .is_problem(401, "session_revoked");
        eventually("the other node refuses the session", || async {
            near.get("/auth/me", &thief.access).await.status == 401
        })
        .await;
        assert_eq!(server.refresh(&thief.refresh).await.status, 401);
        // No password signs in, under any of the addresses; so nothing deletes the account either.
        for (node, email) in [
            (&server, "owner@example.com"),
            (&near, "owner@example.com"),
            (&server, "thief@example.com"),
        ] {
            for password in [PASSWORD, THIEFS] {
                log_in(node, email, password)
                    .await
                    .is_problem(401, "invalid_credentials");
            }
        }
        assert_eq!(delete_own(&server, &thief.access, THIEFS).await.status, 401);
        for (token, password) in [(&pending, THIEFS), (&pending, PASSWORD)] {
            verify(&server, token, Some(password))
                .await
                .is_problem(400, "link_expired");
        }
        recover(&server, &open_reset, NEW, Some(PASSWORD))
            .await
            .is_problem(400, "link_expired");

        // The restored mailbox alone does not recover it.
        let notice = mail(&server, "owner@example.com", "account_frozen").await;
        assert!(notice.text.contains("before the change"), "{}", notice.text);
        let link = mail(&server, "owner@example.com", "reset_password").await.token();
        let blocked = reset(&server, &link, NEW)
            .await
            .is_problem(403, "recovery_blocked");
        assert!(blocked.text_of("detail").contains("before"), "{blocked:?}");
        recover(&server, &link, NEW, Some(THIEFS))
            .await
            .is_problem(401, "invalid_credentials");
        // Nor with the password that the intruder knew as the new one.
        let same = recover(&server, &link, PASSWORD, Some(PASSWORD))
            .await
            .is_problem(422, "validation_failed");
        assert_eq!(same.json["errors"][0]["code"], "password_unchanged");
        // The link is still good, and another one can be asked for.
        forgot(&server, "owner@example.com").await.is(202);
        let link = mail_number(&server, "owner@example.com", "reset_password", 2)
            .await
            .token();
        recover(&near, &link, NEW, Some(PASSWORD)).await.is(200);
        for node in [&server, &near] {
            let back = log_in(node, "owner@example.com", NEW).await.is(200);
            assert_eq!(back.json["user"]["id"].as_i64(), Some(owner.user_id));
            assert_eq!(back.json["user"]["email_verified"], true);
            assert_eq!(back.json["user"]["is_active"], true);
        }
        log_in(&server, "owner@example.com", PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
        assert_eq!(
            database::number(&server.app.db, "select count(*) from past_credentials").await,
            0
        );
        for (action, outcome, count) in [
            ("email_change_undo", "success", 1),
            ("password_reset", "failure", 1),
            ("password_reset", "success", 1),
        ] {
            let sql =
                format!("select count(*) from audit where action = '{action}' and outcome = '{outcome}'");
            assert_eq!(database::number(&server.app.db, &sql).await, count, "{action}");
        }
        near.stop().await;
        server.stop().await;
    }
);

on_both!(
    b6_an_intruder_who_changes_no_password_gains_nothing_either,
    async |stage: Stage| {
        let server = stage.start().await;
        register_verified(&server, "owner@example.com").await;
        move_account(&server, "owner@example.com", "thief@example.com", PASSWORD).await;
        let token = mail(&server, "owner@example.com", "email_changed").await.token();
        // As clients of the release before do it.
        verify(&server, &token, None).await.is(200);
        log_in(&server, "owner@example.com", PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
        let link = mail(&server, "owner@example.com", "reset_password").await.token();
        recover(&server, &link, NEW, Some(PASSWORD)).await.is(200);
        log_in(&server, "owner@example.com", NEW).await.is(200);
        server.stop().await;
    }
);

on_both!(
    b6_the_password_that_a_new_session_replaced_before_the_change_still_recovers,
    async |stage: Stage| {
        let server = stage.start().await;
        register_verified(&server, "owner@example.com").await;
        // First the password, from a session of its own, and then the address.
        let thief = server.log_in("owner@example.com").await;
        change_password(&server, &thief.access, PASSWORD, THIEFS).await;
        move_account(&server, "owner@example.com", "thief@example.com", THIEFS).await;
        let token = mail(&server, "owner@example.com", "email_changed").await.token();
        undo(&server, &token).await.is(200);
        let link = mail(&server, "owner@example.com", "reset_password").await.token();
        recover(&server, &link, NEW, Some(PASSWORD)).await.is(200);
        log_in(&server, "owner@example.com", NEW).await.is(200);
        server.stop().await;
    }
);

on_both!(
    b6_the_holder_of_the_old_mailbox_cannot_take_an_account_that_was_moved_away_from_it,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let owner = register_verified(&server, "lost@example.com").await;
        // The owner gives up a password that others know, and then the mailbox.
        change_password(&server, &owner.access, PASSWORD, NEW).await;
        move_account(&server, "lost@example.com", "safe@example.com", NEW).await;
        let token = mail(&server, "lost@example.com", "email_changed").await.token();
        undo(&server, &token).await.is(200);
        let link = mail(&server, "lost@example.com", "reset_password").await.token();
        for previous in [None, Some(PASSWORD), Some(THIEFS)] {
            let refused = recover(&server, &link, THIEFS, previous).await;
            assert!([401, 403, 422].contains(&refused.status.as_u16()), "{refused:?}");
        }
        log_in(&server, "lost@example.com", THIEFS)
            .await
            .is_problem(401, "invalid_credentials");
        // An administrator sees it, and releases it when it is clear who asks.
        let path = format!("/admin/users/{}", owner.user_id);
        let seen = server.get(&path, &admin.access).await.is(200);
        assert!(seen.json["frozen_at"].is_string(), "{seen:?}");
        assert_eq!(seen.json["is_active"], false);
        let released = server
            .post_as(&format!("{path}/restore"), &admin.access, &json!({}))
            .await
            .is(200);
        assert_eq!(
            (&released.json["frozen_at"], &released.json["is_active"]),
            (&json!(null), &json!(true))
        );
        // Bound to what the account was: the next link sets the password.
        forgot(&server, "lost@example.com").await.is(202);
        let link = mail_number(&server, "lost@example.com", "reset_password", 2)
            .await
            .token();
        reset(&server, &link, THIEFS).await.is(200);
        server.stop().await;
    }
);

on_both!(
    b6_an_administrator_releases_a_frozen_account_by_the_command_line_or_keeps_it_deactivated,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        for email in ["one@example.com", "two@example.com"] {
            register_verified(&server, email).await;
            move_account(&server, email, &format!("thief-{email}"), PASSWORD).await;
            let token = mail(&server, email, "email_changed").await.token();
            undo(&server, &token).await.is(200);
        }
        let shown = command::run(&stage, &["user", "show", "one@example.com"]).with(0);
        assert!(shown.out.contains("frozen"), "{}", shown.out);
        command::run(&stage, &["user", "restore", "one@example.com"]).with(0);
        forgot(&server, "one@example.com").await.is(202);
        let link = mail_number(&server, "one@example.com", "reset_password", 2)
            .await
            .token();
        reset(&server, &link, NEW).await.is(200);
        log_in(&server, "one@example.com", NEW).await.is(200);
        // Deactivated is deactivated, whatever the owner remembers.
        let id = database::number(
            &server.app.db,
            "select id from users where email = 'two@example.com'",
        )
        .await;
        server
            .patch(
                &format!("/admin/users/{id}"),
                &admin.access,
                &json!({ "is_active": false }),
            )
            .await
            .is(200);
        let link = mail(&server, "two@example.com", "reset_password").await.token();
        recover(&server, &link, NEW, Some(PASSWORD))
            .await
            .is_problem(400, "link_expired");
        server.stop().await;
    }
);

on_both!(
    b6_the_way_back_waits_while_an_administrator_keeps_the_account_deactivated,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let owner = register_verified(&server, "owner@example.com").await;
        move_account(&server, "owner@example.com", "thief@example.com", PASSWORD).await;
        let token = mail(&server, "owner@example.com", "email_changed").await.token();
        set_active(&server, &admin, &owner, false).await;
        undo(&server, &token).await.is_problem(403, "account_inactive");
        set_active(&server, &admin, &owner, true).await;
        undo(&server, &token).await.is(200);
        server.stop().await;
    }
);

on_both!(
    d7_a_deleted_account_is_gone_to_everybody_and_comes_back_with_its_link,
    async |stage: Stage| {
        let server = stage.start().await;
        let near = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let owner = register_verified(&server, "owner@example.com").await;
        near.get("/auth/me", &owner.access).await.is(200);
        delete_own(&server, &owner.access, "wrong password")
            .await
            .is_problem(401, "invalid_credentials");
        delete_own(&server, &owner.access, PASSWORD).await.is(204);
        // As to a stranger, on every node.
        for node in [&server, &near] {
            log_in(node, "owner@example.com", PASSWORD)
                .await
                .is_problem(401, "invalid_credentials");
            node.post(
                "/auth/register",
                &json!({ "email": "OWNER@example.com", "password": PASSWORD }),
            )
            .await
            .is_problem(400, "email_taken");
        }
        server
            .get("/auth/me", &owner.access)
            .await
            .is_problem(401, "session_revoked");
        eventually("the other node refuses the session", || async {
            near.get("/auth/me", &owner.access).await.status == 401
        })
        .await;
        server
            .refresh(&owner.refresh)
            .await
            .is_problem(401, "session_revoked");
        // Administrators find it apart, and only there.
        let list = async |query: &str| {
            let answer = server
                .get(&format!("/admin/users{query}"), &admin.access)
                .await
                .is(200);
            let emails: Vec<_> = answer.json["items"]
                .as_array()
                .expect("items")
                .iter()
                .map(|user| user["email"].as_str().expect("an address").to_owned())
                .collect();
            assert_eq!(
                answer.json["total"].as_u64(),
                Some(emails.len() as u64),
                "{query}"
            );
            emails
        };
        for query in ["", "?q=example", "?role=user", "?is_active=false"] {
            assert!(
                !list(query).await.contains(&"owner@example.com".to_owned()),
                "{query}"
            );
        }
        for query in ["?deleted=true", "?deleted=true&q=owner&role=user"] {
            assert_eq!(list(query).await, ["owner@example.com"], "{query}");
        }
        let path = format!("/admin/users/{}", owner.user_id);
        let seen = server.get(&path, &admin.access).await.is(200);
        assert!(seen.json["purge_at"].is_string(), "{seen:?}");
        for answer in [
            server
                .patch(&path, &admin.access, &json!({ "is_active": true }))
                .await,
            server.delete(&path, &admin.access).await,
            server
                .post_as(&format!("{path}/password-reset"), &admin.access, &json!({}))
                .await,
        ] {
            answer.is_problem(404, "not_found");
        }
        let stats = server.get("/admin/stats", &admin.access).await.is(200);
        assert_eq!(stats.json["users"]["total"], 1, "{stats:?}");
        // Who asks about the address by mail is sent the link again, as its owner.
        let link = mail(&server, "owner@example.com", "account_deletion").await;
        assert!(link.link.contains("/undo#token="), "{link:?}");
        forgot(&server, "owner@example.com").await.is(202);
        let again = mail_number(&server, "owner@example.com", "account_deletion", 2).await;
        assert_eq!(again.token(), link.token());
        assert!(
            mails(&server, "owner@example.com")
                .await
                .iter()
                .all(|mail| mail.kind != "reset_password")
        );
        let undone = undo(&near, &link.token()).await.is(200);
        assert_eq!(undone.json["recovery_required"], false);
        undo(&server, &link.token()).await.is_problem(400, "link_used");
        for node in [&server, &near] {
            let back = log_in(node, "owner@example.com", PASSWORD).await.is(200);
            assert_eq!(back.json["user"]["id"].as_i64(), Some(owner.user_id));
        }
        assert_eq!(server.get("/auth/me", &owner.access).await.status, 401);
        mail(&server, "owner@example.com", "account_restored").await;
        near.stop().await;
        server.stop().await;
    }
);

on_both!(
    d7_an_intruder_who_moves_and_deletes_an_account_gains_nothing,
    async |stage: Stage| {
        let server = stage.start().await;
        let owner = register_verified(&server, "owner@example.com").await;
        move_account(&server, "owner@example.com", "thief@example.com", PASSWORD).await;
        let thief = Tokens::of(&log_in(&server, "thief@example.com", PASSWORD).await.is(200));
        change_password(&server, &thief.access, PASSWORD, THIEFS).await;
        let thief = Tokens::of(&log_in(&server, "thief@example.com", THIEFS).await.is(200));
        delete_own(&server, &thief.access, THIEFS).await.is(204);
        // Neither address is to be had.
        for email in ["owner@example.com", "thief@example.com"] {
            server
                .post("/auth/register", &json!({ "email": email, "password": PASSWORD }))
                .await
                .is_problem(400, "email_taken");
        }
        // The intruder restores it, and the owner's link still works.
        let thiefs = mail(&server, "thief@example.com", "account_deletion")
            .await
            .token();
        let owners = mail(&server, "owner@example.com", "account_deletion")
            .await
            .token();
        let undone = undo(&server, &thiefs).await.is(200);
        assert_eq!(undone.json["recovery_required"], false);
        log_in(&server, "thief@example.com", THIEFS).await.is(200);
        let undone = undo(&server, &owners).await.is(200);
        assert_eq!(undone.json["recovery_required"], true);
        for email in ["owner@example.com", "thief@example.com"] {
            for password in [PASSWORD, THIEFS] {
                assert_eq!(log_in(&server, email, password).await.status, 401);
            }
        }
        let link = mail(&server, "owner@example.com", "reset_password").await.token();
        recover(&server, &link, NEW, Some(THIEFS))
            .await
            .is_problem(401, "invalid_credentials");
        recover(&server, &link, NEW, Some(PASSWORD)).await.is(200);
        let back = log_in(&server, "owner@example.com", NEW).await.is(200);
        assert_eq!(back.json["user"]["id"].as_i64(), Some(owner.user_id));

        // Later the owner deletes the account: the intruder's address is not one of its addresses.
        let session = Tokens::of(&back);
        delete_own(&server, &session.access, NEW).await.is(204);
        mail_number(&server, "owner@example.com", "account_deletion", 2).await;
        settled(&server).await;
        let to_thief = mails(&server, "thief@example.com").await;
        assert_eq!(
            to_thief
                .iter()
                .filter(|mail| mail.kind == "account_deletion")
                .count(),
            1
        );
        server.stop().await;
    }
);

on_both!(
    d7_after_its_grace_a_deleted_account_is_removed_for_good,
    async |stage: Stage| {
        let clock = Clock::manual(Clock::System.now());
        let server = stage.start_with(clock.clone()).await;
        let owner = register_verified(&server, "owner@example.com").await;
        delete_own(&server, &owner.access, PASSWORD).await.is(204);
        let link = mail(&server, "owner@example.com", "account_deletion")
            .await
            .token();
        let counts = async || {
            let number = async |sql: &str| database::number(&server.app.db, sql).await;
            let users = number("select count(*) from users").await;
            let mails = number("select count(*) from outbox").await;
            let rows = number("select count(*) from audit where action in ('register', 'user_delete')").await;
            (users, mails > 0, rows)
        };
        clock.advance(Duration::from_hours(71));
        josoor_auth::worker::purge::purge(&server.app)
            .await
            .expect("purged");
        assert_eq!(counts().await, (1, true, 2));
        clock.advance(Duration::from_hours(1));
        josoor_auth::worker::purge::purge(&server.app)
            .await
            .expect("purged");
        assert_eq!(counts().await, (0, false, 2));
        let purged = "select count(*) from audit where action = 'user_purge'";
        assert_eq!(database::number(&server.app.db, purged).await, 1);
        undo(&server, &link).await.is_problem(400, "link_expired");
        server.register("owner@example.com").await;
        server.stop().await;
    }
);

on_both!(
    d7_an_administrator_deletes_restores_and_removes_users,
    async |mut stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let user = register_verified(&server, "user@example.com").await;
        let path = format!("/admin/users/{}", user.user_id);
        server.delete(&path, &admin.access).await.is(204);
        mail(&server, "user@example.com", "account_deletion").await;
        log_in(&server, "user@example.com", PASSWORD)
            .await
            .is_problem(401, "invalid_credentials");
        let restored = server
            .post_as(&format!("{path}/restore"), &admin.access, &json!({}))
            .await
            .is(200);
        assert_eq!(restored.json["deleted_at"], json!(null));
        log_in(&server, "user@example.com", PASSWORD).await.is(200);
        // Deactivated before, deactivated after.
        set_active(&server, &admin, &user, false).await;
        server.delete(&path, &admin.access).await.is(204);
        let link = mail_number(&server, "user@example.com", "account_deletion", 2)
            .await
            .token();
        undo(&server, &link).await.is(200);
        log_in(&server, "user@example.com", PASSWORD)
            .await
            .is_problem(403, "account_inactive");
        // The last administrator stays, also when another one is only waiting to be removed.
        let other = server.register_admin("other@example.com").await;
        server
            .delete(&format!("/admin/users/{}", other.user_id), &admin.access)
            .await
            .is(204);
        delete_own(&server, &admin.access, PASSWORD)
            .await
            .is_problem(409, "last_admin");
        // The command line.
        let deleted = command::run(&stage, &["user", "delete", "user@example.com", "--yes"]).with(0);
        assert!(deleted.out.contains("user restore"), "{}", deleted.out);
        command::run(&stage, &["user", "delete", "user@example.com", "--yes"]).with(1);
        let listed = command::run(&stage, &["user", "list", "--deleted"]).with(0);
        assert!(
            listed.out.contains("user@example.com\tuser\tdeleted"),
            "{}",
            listed.out
        );
        let listed = command::run(&stage, &["user", "list"]).with(0);
        assert!(!listed.out.contains("user@example.com"), "{}", listed.out);
        command::run(&stage, &["user", "restore", "user@example.com"]).with(0);
        command::run(&stage, &["user", "delete", "user@example.com", "--yes", "--now"]).with(0);
        command::run(&stage, &["user", "show", "user@example.com"]).with(1);
        mail(&server, "user@example.com", "account_deleted").await;
        server.register("user@example.com").await;
        server.stop().await;
        // Without a grace deleted is deleted.
        stage.set("JOSOOR_AUTH__ACCOUNT__DELETION_GRACE", "0s");
        let server = stage.start().await;
        let user = server.log_in("user@example.com").await;
        delete_own(&server, &user.access, PASSWORD).await.is(204);
        mail_number(&server, "user@example.com", "account_deleted", 2).await;
        server.register("user@example.com").await;
        server.stop().await;
    }
);

on_both!(
    d7_under_verify_first_registering_a_deleted_address_sends_the_way_back,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__REGISTRATION__MODE", "verify_first");
        let server = stage.start().await;
        let register = async || {
            let body = json!({ "email": "owner@example.com", "password": PASSWORD });
            server.post("/auth/register", &body).await.is(202)
        };
        let fresh = register().await;
        let token = mail(&server, "owner@example.com", "finish_registration")
            .await
            .token();
        verify(&server, &token, Some(PASSWORD)).await.is(200);
        let session = server.log_in("owner@example.com").await;
        delete_own(&server, &session.access, PASSWORD).await.is(204);
        mail(&server, "owner@example.com", "account_deletion").await;
        let again = register().await;
        assert_eq!(fresh.json["message"], again.json["message"]);
        let link = mail_number(&server, "owner@example.com", "account_deletion", 2).await;
        undo(&server, &link.token()).await.is(200);
        log_in(&server, "owner@example.com", PASSWORD).await.is(200);
        server.stop().await;
    }
);

/// During an upgrade nodes of both versions run on one database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b6_d7_nodes_of_the_version_before_sign_in_to_no_deleted_or_frozen_account() {
    let stage = Stage::new(Footprint::Production);
    let previous = command::Serving::start_previous(&stage);
    let server = stage.start().await;
    let there = |path: &str, body: serde_json::Value| {
        let request = http_client().post(previous.url(path)).json(&body);
        let server = &server;
        async move { server.send(request).await }
    };
    let deleted = register_verified(&server, "deleted@example.com").await;
    delete_own(&server, &deleted.access, PASSWORD).await.is(204);
    register_verified(&server, "frozen@example.com").await;
    move_account(&server, "frozen@example.com", "thief@example.com", PASSWORD).await;
    let token = mail(&server, "frozen@example.com", "email_changed").await.token();
    undo(&server, &token).await.is(200);
    let link = mail(&server, "frozen@example.com", "reset_password")
        .await
        .token();
    for email in ["deleted@example.com", "frozen@example.com"] {
        there("/auth/login", json!({ "email": email, "password": PASSWORD }))
            .await
            .is_problem(401, "invalid_credentials");
        there("/auth/register", json!({ "email": email, "password": PASSWORD }))
            .await
            .is_problem(400, "email_taken");
        there("/auth/password/forgot", json!({ "email": email }))
            .await
            .is(202);
    }
    let request = http_client()
        .get(previous.url("/auth/me"))
        .bearer_auth(&deleted.access);
    server.send(request).await.is_problem(401, "session_revoked");
    there(
        "/auth/password/reset",
        json!({ "token": link, "new_password": NEW }),
    )
    .await
    .is_problem(403, "account_inactive");
    recover(&server, &link, NEW, Some(PASSWORD)).await.is(200);
    there(
        "/auth/login",
        json!({ "email": "frozen@example.com", "password": NEW }),
    )
    .await
    .is(200);
    server.stop().await;
}

/// The mark of a known device, as a browser keeps it.
fn mark_of(answer: &Answer) -> String {
    answer
        .headers
        .get_all("set-cookie")
        .iter()
        .filter_map(|value| value.to_str().ok()?.split(';').next())
        .find(|cookie| cookie.contains("josoor_device="))
        .expect("a mark")
        .to_owned()
}

async fn sign_in_from(
    server: &Server,
    email: &str,
    password: &str,
    agent: &str,
    mark: Option<&str>,
) -> Answer {
    let mut request = server
        .request(Method::POST, "/auth/login")
        .header("user-agent", agent)
        .json(&json!({ "email": email, "password": password }));
    if let Some(mark) = mark {
        request = request.header("cookie", mark);
    }
    server.send(request).await
}

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15";

on_both!(
    b6_a_device_that_was_known_before_the_change_recovers,
    async |stage: Stage| {
        let server = stage.start().await;
        let owner = register_verified(&server, "owner@example.com").await;
        let owners = mark_of(
            &sign_in_from(&server, "owner@example.com", PASSWORD, FIREFOX, None)
                .await
                .is(200),
        );
        move_account(&server, "owner@example.com", "thief@example.com", PASSWORD).await;
        // What the intruder signs in on after the change.
        let thiefs = mark_of(
            &sign_in_from(&server, "thief@example.com", PASSWORD, SAFARI, None)
                .await
                .is(200),
        );
        let token = mail(&server, "owner@example.com", "email_changed").await.token();
        undo(&server, &token).await.is(200);
        let link = mail(&server, "owner@example.com", "reset_password").await.token();
        let with = async |mark: &str| {
            let request = server
                .request(Method::POST, "/auth/password/reset")
                .header("cookie", mark)
                .json(&json!({ "token": link, "new_password": NEW }));
            server.send(request).await
        };
        // A mark of another account is none, either.
        server.register("other@example.com").await;
        let others = mark_of(
            &sign_in_from(&server, "other@example.com", PASSWORD, FIREFOX, None)
                .await
                .is(200),
        );
        for mark in [&thiefs, &others] {
            with(mark).await.is_problem(403, "recovery_blocked");
        }
        with(&owners).await.is(200);
        let back = log_in(&server, "owner@example.com", NEW).await.is(200);
        assert_eq!(back.json["user"]["id"].as_i64(), Some(owner.user_id));
        server.stop().await;
    }
);

on_both!(
    d2_a_verified_owner_gets_one_mail_a_day_about_new_devices,
    async |stage: Stage| {
        let clock = Clock::manual(Clock::System.now());
        let server = stage.start_with(clock.clone()).await;
        let notice = async |count: usize| {
            settled(&server).await;
            let all = mails(&server, "owner@example.com").await;
            let new = all.iter().filter(|mail| mail.kind == "new_device").count();
            assert_eq!(new, count, "{all:?}");
        };
        server.register("owner@example.com").await;
        let mark = mark_of(
            &sign_in_from(&server, "owner@example.com", PASSWORD, FIREFOX, None)
                .await
                .is(200),
        );
        // Nothing is verified: the address may be a stranger's.
        notice(0).await;
        let token = mail(&server, "owner@example.com", "verify_email").await.token();
        verify(&server, &token, Some(PASSWORD)).await.is(200);
        // A mark is known, and so is the pair of network and program.
        for (agent, mark) in [(FIREFOX, None), (SAFARI, Some(mark.as_str()))] {
            sign_in_from(&server, "owner@example.com", PASSWORD, agent, mark)
                .await
                .is(200);
            notice(0).await;
        }
        sign_in_from(&server, "owner@example.com", PASSWORD, "curl/8.14.1", None)
            .await
            .is(200);
        notice(1).await;
        let letter = mail(&server, "owner@example.com", "new_device").await;
        assert!(letter.link.contains("/secure-account#token="), "{letter:?}");
        assert!(letter.text.contains("72 hours"), "{}", letter.text);
        sign_in_from(&server, "owner@example.com", PASSWORD, "Wget/1.25.0", None)
            .await
            .is(200);
        notice(1).await;
        clock.advance(Duration::from_hours(24));
        sign_in_from(&server, "owner@example.com", PASSWORD, "okhttp/5.1.0", None)
            .await
            .is(200);
        notice(2).await;
        let rows = "select count(*) from audit where action = 'new_device' and outcome = 'success'";
        assert_eq!(database::number(&server.app.db, rows).await, 2);
        server.stop().await;
    }
);

on_both!(
    d2_the_owner_secures_the_account_with_the_link_and_the_typed_address,
    async |mut stage: Stage| {
        stage.set_limit("forgot_account", "3/1h");
        let server = stage.start().await;
        let near = stage.start().await;
        register_verified(&server, "owner@example.com").await;
        let thief = Tokens::of(
            &sign_in_from(&server, "owner@example.com", PASSWORD, SAFARI, None)
                .await
                .is(200),
        );
        near.get("/auth/me", &thief.access).await.is(200);
        let pending = ask_for_address(&server, &thief.access, PASSWORD, "thief@example.com").await;
        let link = mail(&server, "owner@example.com", "new_device").await.token();
        // An intruder who changes the password does not end the link.
        let thief = change_password(&server, &thief.access, PASSWORD, THIEFS).await;
        let secure = async |token: &str, email: &str| {
            server
                .post("/auth/account/secure", &json!({ "token": token, "email": email }))
                .await
        };
        secure("not-a-token", "owner@example.com")
            .await
            .is_problem(400, "link_invalid");
        secure(&link, "thief@example.com")
            .await
            .is_problem(400, "link_invalid");
        server.get("/auth/me", &thief.access).await.is(200);
        let done = secure(&link, "OWNER@example.com").await.is(200);
        assert!(done.headers.get("set-cookie").is_none(), "{done:?}");
        secure(&link, "owner@example.com")
            .await
            .is_problem(400, "link_used");
        server
            .get("/auth/me", &thief.access)
            .await
            .is_problem(401, "session_revoked");
        eventually("the other node refuses the session", || async {
            near.get("/auth/me", &thief.access).await.status == 401
        })
        .await;
        for password in [PASSWORD, THIEFS] {
            log_in(&near, "owner@example.com", password)
                .await
                .is_problem(401, "invalid_credentials");
            assert_eq!(verify(&server, &pending, Some(password)).await.status, 400);
        }
        let reset_link = mail(&server, "owner@example.com", "reset_password").await.token();
        reset(&server, &reset_link, NEW).await.is(200);
        log_in(&server, "owner@example.com", NEW).await.is(200);
        let rows = "select count(*) from audit where action = 'account_secure' and outcome = 'success'";
        assert_eq!(database::number(&server.app.db, rows).await, 1);
        // Guesses of the address are limited.
        let mut statuses = Vec::new();
        sign_in_from(&server, "owner@example.com", NEW, SAFARI, None)
            .await
            .is(200);
        let sql = "update users set new_device_mailed_at = null";
        database::execute(&server.app.db, sql).await;
        sign_in_from(&server, "owner@example.com", NEW, "curl/8.14.1", None)
            .await
            .is(200);
        let link = mail_number(&server, "owner@example.com", "new_device", 2)
            .await
            .token();
        for guess in 0..3 {
            let answer = secure(&link, &format!("guess{guess}@example.com")).await;
            statuses.push(answer.status.as_u16());
        }
        assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
        near.stop().await;
        server.stop().await;
    }
);
