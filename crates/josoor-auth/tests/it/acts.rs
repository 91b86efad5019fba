//! Every act: the audit rows, the mails, the messages to the caches and the metrics that it causes, in one table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josoor_auth::account::{
    Shown, activity, deletion, email, factors, mail_code, passkeys, password, profile, register, requests,
    secure, setup, undo, verification,
};
use josoor_auth::act::Client;
use josoor_auth::admin::{invitations, outbox, users};
use josoor_auth::app::App;
use josoor_auth::auth::factors::passkeys::sign_in_options;
use josoor_auth::auth::mail_code::{self as auth_code, Shown as Given};
use josoor_auth::auth::{devices, failures, pending, step_up_code};
use josoor_auth::clock::Clock;
use josoor_auth::config::Config;
use josoor_auth::domain::{
    Change, Email, FactorAnswer, FactorCode, FactorMethod, FullName, Locale, MailClass, MailCode, MailKind,
    PasskeyAssertion, PasskeyName, PasskeyRegistration, Password, Purpose, RevokeReason, Role, Timestamp,
    UserId,
};
use josoor_auth::keys::DeviceMark;
use josoor_auth::redis::{RedisEvent, RedisEvents};
use josoor_auth::sessions::{self, Issued, LogIn, LogOut, Presented, SignInWith};
use josoor_auth::store::{AuditFilter, MailRow, NewUser, Transport, UserPatch};
use josoor_auth::telemetry::Sample;
use josoor_auth::worker::purge;
use serde_json::{Value, json};

use crate::support::authenticator::{self, Lie, PRESENT, VERIFIED, encoded};
use crate::support::server::{Footprint, PASSWORD, Stage as TheStage, on_both};
use crate::support::totp;

/// What one act causes.
struct Row {
    /// The function that begins the act, and the case.
    act: &'static str,
    case: &'static str,
    /// Actions of the audit rows, with their reasons; a failed one begins with `!`.
    audit: &'static [&'static str],
    /// Kinds of the rows in the outbox.
    mails: &'static [&'static str],
    /// What other nodes are sent: `session` with the reason, `user`, or `retired`. There is a row in `changes` for each.
    published: &'static [&'static str],
    /// Revoked sessions in the metrics, by reason.
    counted: &'static [(&'static str, u64)],
}

const fn row(act: &'static str, case: &'static str) -> Row {
    Row {
        act,
        case,
        audit: &[],
        mails: &[],
        published: &[],
        counted: &[],
    }
}

#[rustfmt::skip]
const ACTS: &[Row] = &[
    Row { ..row("account/setup::offer_setup", "without an administrator") },
    Row { audit: &["register"], mails: &["verify_email"], ..row("account/register::create", "the first administrator") },
    Row { audit: &["register"], mails: &["verify_email"], ..row("account/register::create", "a user") },
    Row { mails: &["registration_request"], ..row("account/register::request", "verify_first") },
    Row { audit: &["register"], ..row("account/register::finish", "with the link and the password") },
    Row { mails: &["verify_email"], ..row("account/email::resend_own", "not verified") },
    Row { audit: &["email_change_request"], mails: &["email_change_request"], ..row("account/email::request_change", "verified") },
    Row { audit: &["email_verify"], published: &["user"], ..row("account/verification::verify_email", "an address") },
    Row { audit: &["session_revoke:revoked_by_user", "email_change"], mails: &["email_changed", "email_change_done"],
          published: &["session:revoked_by_user", "user"], counted: &[("revoked_by_user", 1)],
          ..row("account/verification::verify_email", "another address") },
    Row { audit: &["session_revoke:revoked_by_user", "email_change_undo"], mails: &["reset_password", "account_frozen"],
          published: &["session:revoked_by_user", "user"], counted: &[("revoked_by_user", 1)],
          ..row("account/undo::undo_by", "a verified address") },
    Row { audit: &["user_restore:undo"], mails: &["account_restored"], published: &["user"],
          ..row("account/undo::undo_by", "a deletion") },
    Row { mails: &["reset_request"], ..row("account/requests::queue", "forgot password") },
    Row { audit: &["password_reset_request"], mails: &["reset_password"], ..row("account/requests::resolve", "forgot password") },
    Row { audit: &["!password_reset_request:unknown_address"], ..row("account/requests::resolve", "forgot password, unknown address") },
    Row { mails: &["finish_registration"], ..row("account/requests::resolve", "registration") },
    Row { audit: &["sign_in_code_request"], mails: &["sign_in_code"], ..row("account/requests::resolve", "a code") },
    Row { audit: &["!sign_in_code_request:unknown_address"], ..row("account/requests::resolve", "a code, unknown address") },
    Row { mails: &["confirm_email"], ..row("account/requests::resolve", "another address") },
    Row { audit: &["session_revoke:password_changed", "password_change"], mails: &["password_changed"],
          published: &["session:password_changed", "retired", "user"], counted: &[("password_changed", 1)],
          ..row("account/password::change", "with another session") },
    Row { audit: &["session_revoke:password_changed", "password_reset:reset"], mails: &["password_changed"],
          published: &["session:password_changed", "user"], counted: &[("password_changed", 1)],
          ..row("account/password::reset", "with one session") },
    Row { audit: &["password_reset:invitation"], mails: &["password_changed"], published: &["user"],
          ..row("account/password::reset", "an invitation") },
    Row { audit: &["password_reset_request"], mails: &["reset_password"], ..row("account/password::send_reset_to", "a user") },
    Row { audit: &["password_reset_request"], ..row("account/password::create_reset_link", "a user") },
    Row { audit: &["user_update"], published: &["user"], ..row("account/profile::update", "the name") },
    Row { audit: &["role_change:admin"], mails: &["new_admin"], published: &["user"], ..row("account/profile::update", "a new administrator") },
    Row { audit: &["session_revoke:account_deactivated", "activation_change:deactivated"],
          published: &["session:account_deactivated", "user"], counted: &[("account_deactivated", 1)],
          ..row("account/profile::update", "a deactivation") },
    Row { audit: &["session_revoke:account_deleted", "user_delete"], mails: &["account_deletion"],
          published: &["session:account_deleted", "user"], counted: &[("account_deleted", 1)],
          ..row("account/deletion::delete_if", "with grace") },
    Row { audit: &["session_revoke:account_deleted", "user_delete:for_good"], mails: &["account_deleted"],
          published: &["session:account_deleted", "user"], counted: &[("account_deleted", 1)],
          ..row("account/deletion::delete_if", "for good") },
    Row { audit: &["user_restore:restored"], mails: &["account_restored"], published: &["user"],
          ..row("account/deletion::restore", "a deleted user") },
    Row { audit: &["user_purge"], published: &["user"], ..row("account/deletion::purge", "after the grace") },
    Row { audit: &["session_revoke:revoked_by_user", "session_revoke:revoked_by_user", "account_secure"], mails: &["reset_password"],
          published: &["session:revoked_by_user", "session:revoked_by_user", "user"], counted: &[("revoked_by_user", 2)],
          ..row("account/secure::secure", "two sessions") },
    Row { audit: &["activity_confirm"], ..row("account/activity::confirm", "what is new") },
    Row { audit: &["session_revoke:revoked_by_user", "activity_report"], mails: &["reset_password"],
          published: &["session:revoked_by_user"], counted: &[("revoked_by_user", 1)],
          ..row("account/activity::report", "with another session") },
    Row { audit: &["register:user"], ..row("admin/users::create", "a user") },
    Row { audit: &["register:admin"], mails: &["new_admin", "new_admin"], ..row("admin/users::create", "an administrator") },
    Row { audit: &["user_invite:user"], mails: &["invitation"], ..row("admin/invitations::invite", "a user") },
    Row { audit: &["mail_retry"], mails: &["invitation"], ..row("admin/outbox::retry", "a mail that was given up") },
    Row { audit: &["mail_retry"], mails: &["invitation"], ..row("admin/outbox::retry_waiting", "a mail that waits") },
    Row { audit: &["device_forget"], ..row("auth/devices::forget", "a known device") },
    Row { audit: &["device_forget"], ..row("auth/devices::forget_all", "a known device") },
    Row { ..row("account/factors::begin_totp", "the first app") },
    Row { audit: &["factor_add:totp", "factor_add:recovery_codes"], mails: &["factor_added"], published: &["user"],
          ..row("account/factors::confirm_totp", "the first app") },
    Row { audit: &["!factor_add:mfa_code_invalid"], ..row("account/factors::confirm_totp", "a wrong code") },
    Row { audit: &["factor_add:recovery_codes"], mails: &["recovery_codes_replaced"],
          ..row("account/factors::replace_recovery_codes", "a new set") },
    Row { audit: &["factor_remove:owner"], mails: &["factor_removed"], published: &["user"],
          ..row("account/factors::remove_totp", "the app") },
    Row { audit: &["factor_remove:administrator"], mails: &["factors_reset"], published: &["user"],
          ..row("account/factors::reset", "by an operator") },
    Row { ..row("account/passkeys::begin", "the first passkey") },
    Row { audit: &["factor_add:passkey", "factor_add:recovery_codes"], mails: &["passkey_added"], published: &["user"],
          ..row("account/passkeys::add", "the first passkey") },
    Row { audit: &["!factor_add:passkey_wrong_origin"], ..row("account/passkeys::add", "of another origin") },
    Row { audit: &["factor_rename:passkey"], ..row("account/passkeys::rename", "a passkey") },
    Row { audit: &["factor_remove:passkey"], mails: &["passkey_removed"], published: &["user"],
          ..row("account/passkeys::remove", "the last passkey") },
    Row { audit: &["sign_in:passkey"], ..row("sessions/passkey::try_log_in", "a passkey") },
    Row { audit: &["!sign_in:passkey_counter_back"], ..row("sessions/passkey::try_log_in", "a counter that went back") },
    Row { audit: &["step_up"], ..row("sessions/second_factor::step_up", "a passkey") },
    Row { audit: &["mfa_request"], ..row("sessions/log_in::ask_for_factor", "the right password") },
    Row { audit: &["sign_in", "device_trust"], ..row("sessions/second_factor::try_finish_log_in", "a code") },
    Row { audit: &["!sign_in:mfa_code_invalid"], ..row("sessions/second_factor::try_finish_log_in", "a wrong code") },
    Row { audit: &["!sign_in:mfa_code_invalid"], mails: &["mfa_failed"],
          ..row("sessions/second_factor::try_finish_log_in", "the fifth wrong code") },
    Row { audit: &["sign_in:recovery_code"], mails: &["recovery_code_used"],
          ..row("sessions/second_factor::try_finish_log_in", "a recovery code") },
    Row { mails: &["failure_limit_request"], ..row("auth/failures::note", "the last failure of the row") },
    Row { audit: &["failure_limit"], mails: &["failure_limit"], ..row("account/requests::resolve", "many failures") },
    Row { audit: &["mfa_request"], mails: &["confirm_sign_in"], ..row("sessions/log_in::ask_for_mail_code", "the right password") },
    Row { mails: &["step_up_code"], ..row("auth/step_up_code::request", "an account without a password") },
    Row { audit: &["!step_up:mail_code_invalid"], ..row("sessions/second_factor::step_up", "a wrong code by mail") },
    Row { audit: &["step_up"], ..row("sessions/second_factor::step_up", "a code by mail") },
    Row { mails: &["sign_in_request"], ..row("account/mail_code::request", "an address") },
    Row { audit: &["!sign_in:mail_code_invalid"], ..row("account/mail_code::try_finish", "a wrong code") },
    Row { audit: &["sign_in:mail_code"], ..row("account/mail_code::try_finish", "a code") },
    Row { audit: &["session_revoke:password_changed", "email_verify:mail_code", "sign_in:mail_code"], mails: &["password_removed"],
          published: &["session:password_changed", "user"], counted: &[("password_changed", 1)],
          ..row("account/mail_code::try_finish", "an address that was not verified") },
    Row { audit: &["step_up"], ..row("sessions/second_factor::step_up", "a password") },
    Row { audit: &["step_up"], ..row("sessions/second_factor::step_up", "a code") },
    Row { audit: &["!step_up:mfa_code_invalid"], ..row("sessions/second_factor::step_up", "a wrong code") },
    Row { audit: &["sign_in"], ..row("sessions/log_in::open_session", "a known place") },
    Row { audit: &["sign_in", "new_device"], mails: &["new_device"], ..row("sessions/log_in::open_session", "a new device") },
    Row { audit: &["session_revoke:session_limit", "sign_in"], mails: &["session_limit"],
          published: &["session:session_limit"], counted: &[("session_limit", 1)],
          ..row("sessions/log_in::open_session", "too many sessions") },
    Row { audit: &["!refresh_reuse:refresh_reuse"], mails: &["refresh_reuse"], published: &["session:refresh_reuse"],
          counted: &[("refresh_reuse", 1)], ..row("sessions/refresh::revoke_reused", "an old refresh token") },
    Row { audit: &["session_revoke:logout"], published: &["session:logout"], counted: &[("logout", 1)],
          ..row("sessions/revoke::log_out", "with a refresh token") },
    Row { audit: &["session_revoke:revoked_by_user"], published: &["session:revoked_by_user"], counted: &[("revoked_by_user", 1)],
          ..row("sessions/revoke::revoke", "one of one's own") },
    Row { audit: &["session_revoke:revoked_by_admin"], published: &["session:revoked_by_admin"], counted: &[("revoked_by_admin", 1)],
          ..row("sessions/revoke::revoke_any", "by an operator") },
    Row { audit: &["session_revoke:revoked_by_user", "session_revoke:revoked_by_user"],
          published: &["session:revoked_by_user", "session:revoked_by_user"], counted: &[("revoked_by_user", 2)],
          ..row("sessions/revoke::revoke_all", "all but one") },
];

/// A service without background tasks, and what its acts have caused so far.
struct Observer {
    app: App,
    /// Another node, which receives what the first one publishes.
    events: Option<(App, RedisEvents)>,
    audit: i64,
    changes: i64,
    counted: BTreeMap<String, u64>,
    /// The rows of the outbox that the latest act queued.
    queued: Vec<MailRow>,
    done: BTreeSet<(&'static str, &'static str)>,
    faults: Vec<String>,
}

async fn open(stage: &TheStage, clock: &Clock) -> App {
    let config = Config::parse(None, stage.environment()).expect("settings");
    App::open(config, clock.clone()).await.expect("the stores open")
}

impl Observer {
    async fn new(stage: &TheStage, clock: &Clock) -> Self {
        let app = open(stage, clock).await;
        let events = if stage.footprint == Footprint::Production {
            let other = open(stage, clock).await;
            let mut events = other.cache.redis().expect("Redis").events();
            while !matches!(events.recv().await, Some(RedisEvent::Subscribed)) {}
            Some((other, events))
        } else {
            None
        };
        let mut this = Self {
            app,
            events,
            audit: 0,
            changes: 0,
            counted: BTreeMap::new(),
            queued: Vec::new(),
            done: BTreeSet::new(),
            faults: Vec::new(),
        };
        this.skip().await;
        this
    }

    /// Forgets what was caused besides the acts of the table.
    async fn skip(&mut self) {
        self.audit().await;
        self.changes().await;
        self.messages().await;
        self.counted();
        let queued = self.take_queued().await;
        if !queued.is_empty() {
            self.queued = queued;
        }
    }

    async fn audit(&mut self) -> Vec<String> {
        let filter = AuditFilter {
            after: Some(self.audit),
            ..AuditFilter::default()
        };
        let mut conn = self.app.db.write().await.unwrap();
        let mut rows = conn.list_audit(&filter, None, 1000).await.unwrap();
        rows.reverse();
        self.audit = rows.last().map_or(self.audit, |row| row.id);
        rows.iter()
            .map(|row| {
                let failed = if row.outcome == "success" { "" } else { "!" };
                let reason = row.reason.as_ref().map(|reason| format!(":{reason}"));
                format!("{failed}{}{}", row.action, reason.unwrap_or_default())
            })
            .collect()
    }

    async fn take_queued(&mut self) -> Vec<MailRow> {
        let now = self.app.clock.now();
        let mut conn = self.app.db.write().await.unwrap();
        let mut rows = Vec::new();
        for class in MailClass::ALL {
            let until = now.plus(Duration::from_hours(10_000));
            while let Some(row) = conn.take_mail_except(&[], class, now, until).await.unwrap() {
                rows.push(row);
            }
        }
        rows
    }

    async fn changes(&mut self) -> Vec<String> {
        let mut conn = self.app.db.write().await.unwrap();
        let begin = Timestamp::from_micros(0);
        let mut rows = conn.changes_since(begin, 0, 10_000).await.unwrap();
        rows.retain(|row| row.id > self.changes);
        rows.sort_by_key(|row| row.id);
        self.changes = rows.last().map_or(self.changes, |row| row.id);
        let mut found: Vec<String> = rows
            .iter()
            .map(|row| match (row.session_id(), row.retired()) {
                (Some(_), _) => format!("session:{}", row.reason.expect("a reason")),
                (None, Some(_)) => "retired".to_owned(),
                (None, None) => "user".to_owned(),
            })
            .collect();
        found.sort();
        found
    }

    /// What the other node was sent; `None` where there is none.
    async fn messages(&mut self) -> Option<Vec<String>> {
        const END: &str = r#"{"used":null,"end":true}"#;
        let (_, events) = self.events.as_mut()?;
        self.app.cache.redis()?.publish(END).await.expect("published");
        let mut found = Vec::new();
        loop {
            let Some(RedisEvent::Message(payload)) = events.recv().await else {
                panic!("the subscription was lost");
            };
            let message: Value = serde_json::from_str(&payload).expect("JSON");
            if message["end"] == true {
                break;
            }
            let list = |name: &str| message[name].as_array().cloned().unwrap_or_default();
            found.extend(
                list("revoked")
                    .iter()
                    .map(|revoked| format!("session:{}", revoked[1].as_str().unwrap_or_default())),
            );
            found.extend(list("users").iter().map(|_| "user".to_owned()));
            found.extend(list("retired").iter().map(|_| "retired".to_owned()));
        }
        found.sort();
        Some(found)
    }

    /// Revoked sessions that were counted since the last call.
    fn counted(&mut self) -> Vec<(String, u64)> {
        let text = self.app.metrics.encode(&Sample::default());
        let now: BTreeMap<String, u64> = text
            .lines()
            .filter_map(|line| line.strip_prefix("josoor_auth_sessions_revoked_total{reason=\""))
            .filter_map(|rest| rest.split_once("\"} "))
            .map(|(reason, count)| (reason.to_owned(), count.parse().expect("a count")))
            .collect();
        let before = std::mem::replace(&mut self.counted, now);
        self.counted
            .iter()
            .map(|(reason, count)| (reason.clone(), count - before.get(reason).unwrap_or(&0)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Runs one act and compares what it causes with its row.
    async fn run<T>(&mut self, act: &'static str, case: &'static str, work: impl Future<Output = T>) -> T {
        self.skip().await;
        let result = work.await;
        let audit = self.audit().await;
        self.queued = self.take_queued().await;
        let mails: Vec<String> = self
            .queued
            .iter()
            .map(|row| row.kind.as_str().to_owned())
            .collect();
        let (changes, messages, counted) = (self.changes().await, self.messages().await, self.counted());
        let row = ACTS
            .iter()
            .find(|row| (row.act, row.case) == (act, case))
            .unwrap_or_else(|| panic!("no row for {act}, {case}"));
        self.done.insert((row.act, row.case));
        let sorted = |list: &[&str]| {
            let mut list: Vec<String> = list.iter().map(|text| (*text).to_owned()).collect();
            list.sort();
            list
        };
        let mut mails_sorted = mails.clone();
        mails_sorted.sort();
        let wanted: Vec<(String, u64)> = row
            .counted
            .iter()
            .map(|(reason, count)| ((*reason).to_owned(), *count))
            .collect();
        let published = sorted(row.published);
        if audit != row.audit
            || mails_sorted != sorted(row.mails)
            || changes != published
            || messages.as_ref().is_some_and(|messages| *messages != published)
            || counted != wanted
        {
            self.faults.push(format!(
                "{act}, {case}: audit {audit:?}, mails {mails:?}, changes {changes:?}, messages {messages:?}, counted {counted:?}"
            ));
        }
        result
    }

    /// The latest queued row of this kind.
    #[track_caller]
    fn mail(&self, kind: MailKind) -> MailRow {
        let found = self.queued.iter().rev().find(|row| row.kind == kind);
        found
            .unwrap_or_else(|| panic!("no {} among {:?}", kind.as_str(), self.queued))
            .clone()
    }

    /// The token of the link in the latest queued mail of this kind.
    #[track_caller]
    fn token(&self, kind: MailKind) -> String {
        let purpose = kind.purpose().expect("a mail with a link");
        let id = self.mail(kind).token.expect("a token");
        self.app.keys.one_time.issue(purpose, id).expose().to_owned()
    }

    async fn register(&mut self, email: &str) -> (Issued, Client) {
        let issued = register::register(&self.app, registration(email), SignInWith::default(), client(1));
        let issued = issued.await.unwrap().expect("signed in");
        self.skip().await;
        let actor = Some(UserId(issued.user.id));
        (
            issued,
            Client {
                actor,
                ..client(1).clone()
            },
        )
    }

    /// Registers an account and verifies its address.
    async fn verified(&mut self, email: &str) -> (Issued, Client) {
        let (issued, client) = self.register(email).await;
        let caller = sessions::authenticate(&self.app, issued.access_token.expose())
            .await
            .unwrap();
        let token = self.token(MailKind::VerifyEmail);
        verification::verify_email(&self.app, &token, None, Some(&caller), &client)
            .await
            .unwrap();
        self.skip().await;
        (issued, client)
    }

    async fn log_in(
        &self,
        email: &str,
        with: SignInWith,
        client: &Client,
    ) -> josoor_auth::error::Result<Issued> {
        let done = sessions::log_in(&self.app, address(email), secret(PASSWORD), with, client).await?;
        match done {
            LogIn::Opened(issued) => Ok(*issued),
            LogIn::FactorNeeded(needed) => panic!("{email} is asked for {:?}", needed.methods),
        }
    }
}

/// Kept for the whole test, because acts are futures that borrow it.
fn address(text: &str) -> &'static Email {
    Box::leak(Box::new(Email::parse(text).expect("an address")))
}

fn secret(text: &str) -> Password {
    Password::parse(text).expect("a password")
}

/// A client at a place of its own.
fn client(place: u8) -> &'static Client {
    let system = if place == 1 {
        "Windows NT 10.0"
    } else {
        "X11; Linux x86_64"
    };
    Box::leak(Box::new(Client {
        ip: format!("192.0.{place}.1"),
        user_agent: format!("Mozilla/5.0 ({system}; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ..Client::default()
    }))
}

fn registration(email: &str) -> register::Registration {
    register::Registration {
        email: address(email).clone(),
        password: secret(PASSWORD),
        full_name: None,
        locale: Locale::En,
    }
}

const NONE: Shown<'static> = Shown {
    previous_password: None,
    mark_for: &|_| None,
};

const OTHER: &str = "Another-Password-42";

on_both!(every_act_causes_what_its_row_says, async |stage: TheStage| {
    // The future of all steps is larger than the stack of a test's thread.
    let runtime = tokio::runtime::Handle::current();
    let steps = std::thread::Builder::new().stack_size(64 << 20);
    let steps = steps
        .spawn(move || runtime.block_on(run_every_act(stage)))
        .unwrap();
    tokio::task::spawn_blocking(move || steps.join().unwrap())
        .await
        .unwrap();
});

async fn run_every_act(mut stage: TheStage) {
    stage.set("JOSOOR_AUTH__SESSION__MAX_PER_USER", "3");
    // Nothing is sent; but there is a server to send it to.
    stage.set("SMTP_URL", "smtp://localhost:9");
    stage.set("MAIL_FROM", "auth@example.com");
    stage.set("JOSOOR_AUTH__LOGIN__MAIL_CODE", "true");
    stage.set("JOSOOR_AUTH__LOGIN__FAILURES_UNTIL_CODE", "2");
    let clock = Clock::manual(Clock::System.now());
    let mut observer = Observer::new(&stage, &clock).await;
    let o = &mut observer;
    let app = o.app.clone();
    let with = SignInWith::default();

    // Setup and registration
    let offer = o
        .run(
            "account/setup::offer_setup",
            "without an administrator",
            setup::offer_setup(&app),
        )
        .await
        .unwrap()
        .expect("no administrator yet");
    let admin = setup::set_up(
        &app,
        offer.token.expose(),
        registration("admin@example.com"),
        with,
        client(1),
    );
    let admin = o
        .run("account/register::create", "the first administrator", admin)
        .await
        .unwrap();
    let admin_client = Client {
        actor: Some(UserId(admin.user.id)),
        ..client(1).clone()
    };
    let caller = sessions::authenticate(&app, admin.access_token.expose())
        .await
        .unwrap();
    let token = o.token(MailKind::VerifyEmail);
    verification::verify_email(&app, &token, None, Some(&caller), &admin_client)
        .await
        .unwrap();
    let new = register::register(&app, registration("ada@example.com"), with, client(1));
    let ada = o
        .run("account/register::create", "a user", new)
        .await
        .unwrap()
        .expect("signed in");
    let ada_id = UserId(ada.user.id);
    let ada_client = Client {
        actor: Some(ada_id),
        ..client(1).clone()
    };
    let caller = sessions::authenticate(&app, ada.access_token.expose())
        .await
        .unwrap();
    o.run(
        "account/email::resend_own",
        "not verified",
        email::resend_own(&app, &caller, &ada_client),
    )
    .await
    .unwrap();
    let token = o.token(MailKind::VerifyEmail);
    let verify = verification::verify_email(&app, &token, None, Some(&caller), &ada_client);
    o.run("account/verification::verify_email", "an address", verify)
        .await
        .unwrap();
    stage.set("JOSOOR_AUTH__REGISTRATION__MODE", "verify_first");
    let careful = open(&stage, &clock).await;
    let new = register::register(&careful, registration("first@example.com"), with, client(1));
    o.run("account/register::request", "verify_first", new)
        .await
        .unwrap();
    careful.close().await;
    let request = o.mail(MailKind::RegistrationRequest);
    o.run(
        "account/requests::resolve",
        "registration",
        requests::resolve(&app, &request),
    )
    .await
    .unwrap();
    let token = o.token(MailKind::FinishRegistration);
    let finish = verification::verify_email(&app, &token, Some(secret(PASSWORD)), None, client(1));
    o.run(
        "account/register::finish",
        "with the link and the password",
        finish,
    )
    .await
    .unwrap();

    // Signing in and out
    let known = o.log_in("ada@example.com", with, client(1)).await;
    drop(known);
    let at = client(1);
    let sign_in = sessions::log_in(&app, address("first@example.com"), secret(PASSWORD), with, at);
    sign_in.await.unwrap();
    let sign_in = sessions::log_in(&app, address("first@example.com"), secret(PASSWORD), with, at);
    o.run("sessions/log_in::open_session", "a known place", sign_in)
        .await
        .unwrap();
    let (_, _) = o.verified("bea@example.com").await;
    let (far, bea) = (client(2), address("bea@example.com"));
    let sign_in = sessions::log_in(&app, bea, secret(PASSWORD), with, far);
    o.run("sessions/log_in::open_session", "a new device", sign_in)
        .await
        .unwrap();
    let token = o.token(MailKind::NewDevice);
    let securing = secure::secure(&app, &token, bea, far);
    o.run("account/secure::secure", "two sessions", securing)
        .await
        .unwrap();

    let (cid, _) = o.verified("cid@example.com").await;
    let cid_id = UserId(cid.user.id);
    let device = cid.device.expect("a device");
    let marked = SignInWith {
        mark: Some(DeviceMark {
            user: device.user,
            id: device.id,
        }),
        ..with
    };
    for _ in 0..2 {
        o.log_in("cid@example.com", marked, client(1)).await.unwrap();
    }
    let cid_address = address("cid@example.com");
    let near = client(1);
    let sign_in = sessions::log_in(&app, cid_address, secret(PASSWORD), marked, near);
    o.run("sessions/log_in::open_session", "too many sessions", sign_in)
        .await
        .unwrap();
    let live = sessions::list(&app, cid_id, Role::User).await.unwrap();
    let cid_client = Client {
        actor: Some(cid_id),
        ..client(1).clone()
    };
    let all = sessions::revoke_all(
        &app,
        cid_id,
        Some(live[0].id()),
        RevokeReason::RevokedByUser,
        &cid_client,
    );
    o.run("sessions/revoke::revoke_all", "all but one", all)
        .await
        .unwrap();
    let one = sessions::revoke(&app, cid_id, live[0].id(), &cid_client);
    o.run("sessions/revoke::revoke", "one of one's own", one)
        .await
        .unwrap();
    let forget = devices::forget(&app, cid_id, device.id, &cid_client);
    o.run("auth/devices::forget", "a known device", forget)
        .await
        .unwrap();
    let issued = o.log_in("cid@example.com", with, client(1)).await.unwrap();
    let any = sessions::list(&app, cid_id, Role::User).await.unwrap()[0].id();
    let operator = Client::default();
    o.run(
        "sessions/revoke::revoke_any",
        "by an operator",
        sessions::revoke_any(&app, any, &operator),
    )
    .await
    .unwrap();
    let all = devices::forget_all(&app, cid_id, &cid_client);
    o.run("auth/devices::forget_all", "a known device", all)
        .await
        .unwrap();
    drop(issued);
    let issued = o.log_in("cid@example.com", with, client(1)).await.unwrap();
    let refresh = issued.refresh_token.expect("a refresh token");
    let out = sessions::log_out(&app, LogOut::Refresh(refresh.expose()), near);
    o.run("sessions/revoke::log_out", "with a refresh token", out)
        .await
        .unwrap();
    let issued = o.log_in("cid@example.com", with, client(1)).await.unwrap();
    let old = issued.refresh_token.expect("a refresh token");
    let next = sessions::refresh(&app, old.expose(), near).await.unwrap();
    clock.advance(Duration::from_mins(1));
    let next = next.refresh_token.expect("a refresh token");
    sessions::refresh(&app, next.expose(), near).await.unwrap();
    clock.advance(Duration::from_mins(1));
    let reuse = sessions::refresh(&app, old.expose(), near);
    o.run("sessions/refresh::revoke_reused", "an old refresh token", reuse)
        .await
        .unwrap_err();

    // Activity
    let (flo, flo_client) = o.verified("flo@example.com").await;
    o.log_in("flo@example.com", with, client(1)).await.unwrap();
    let caller = sessions::authenticate(&app, flo.access_token.expose())
        .await
        .unwrap();
    let found = josoor_auth::audit::activity(&app, caller.id(), 1, 0)
        .await
        .unwrap();
    let confirm = activity::confirm(&app, &caller, found.rows[0].id, &flo_client);
    o.run("account/activity::confirm", "what is new", confirm)
        .await
        .unwrap();
    let report = activity::report(&app, &caller, &flo_client);
    o.run("account/activity::report", "with another session", report)
        .await
        .unwrap();

    // Passwords
    let caller = sessions::authenticate(&app, ada.access_token.expose())
        .await
        .unwrap();
    o.skip().await;
    let change = password::change(&app, &caller, secret(PASSWORD), secret(OTHER), &ada_client);
    let ada = o
        .run("account/password::change", "with another session", change)
        .await
        .unwrap();
    let forgot = requests::forgot_password(&app, address("ada@example.com"), Locale::En, near);
    o.run("account/requests::queue", "forgot password", forgot)
        .await
        .unwrap();
    let request = o.mail(MailKind::ResetRequest);
    o.run(
        "account/requests::resolve",
        "forgot password",
        requests::resolve(&app, &request),
    )
    .await
    .unwrap();
    let token = o.token(MailKind::ResetPassword);
    let reset = password::reset(&app, &token, secret(PASSWORD), NONE, near);
    o.run("account/password::reset", "with one session", reset)
        .await
        .unwrap();
    drop(ada);
    requests::forgot_password(&app, address("unknown@example.com"), Locale::En, near)
        .await
        .unwrap();
    o.skip().await;
    let request = o.mail(MailKind::ResetRequest);
    let resolve = requests::resolve(&app, &request);
    o.run(
        "account/requests::resolve",
        "forgot password, unknown address",
        resolve,
    )
    .await
    .unwrap();
    let send = invitations::send_reset_to(&app, ada_id, &admin_client);
    o.run("account/password::send_reset_to", "a user", send)
        .await
        .unwrap();
    let link = invitations::create_reset_link(&app, ada_id, &operator);
    o.run("account/password::create_reset_link", "a user", link)
        .await
        .unwrap();

    // Addresses
    let ada = o.log_in("ada@example.com", with, client(1)).await.unwrap();
    o.log_in("ada@example.com", with, client(1)).await.unwrap();
    let caller = sessions::authenticate(&app, ada.access_token.expose())
        .await
        .unwrap();
    let next = address("ada@example.org");
    let change = email::request_change(&app, &caller, next, secret(PASSWORD), &ada_client);
    o.run("account/email::request_change", "verified", change)
        .await
        .unwrap();
    let request = o.mail(MailKind::EmailChangeRequest);
    o.run(
        "account/requests::resolve",
        "another address",
        requests::resolve(&app, &request),
    )
    .await
    .unwrap();
    let token = o.token(MailKind::ConfirmEmail);
    let confirm = verification::verify_email(&app, &token, None, Some(&caller), &ada_client);
    o.run("account/verification::verify_email", "another address", confirm)
        .await
        .unwrap();
    let token = o.token(MailKind::EmailChanged);
    let undone = undo::undo(&app, &token, near);
    o.run("account/undo::undo_by", "a verified address", undone)
        .await
        .unwrap();

    // Administration
    let patch = UserPatch {
        role: Some(Role::Admin),
        ..UserPatch::default()
    };
    let promote = users::update(&app, cid_id, patch, &admin_client);
    o.run("account/profile::update", "a new administrator", promote)
        .await
        .unwrap();
    let (dan, dan_client) = o.verified("dan@example.com").await;
    let dan_id = UserId(dan.user.id);
    let patch = UserPatch {
        full_name: Change::Set(FullName::parse("Dan").unwrap().expect("a name")),
        ..UserPatch::default()
    };
    let caller = sessions::authenticate(&app, dan.access_token.expose())
        .await
        .unwrap();
    let rename = profile::update_own(&app, &caller, patch, &dan_client);
    o.run("account/profile::update", "the name", rename)
        .await
        .unwrap();
    let delete = deletion::delete_own(&app, &caller, secret(PASSWORD), &dan_client);
    o.run("account/deletion::delete_if", "with grace", delete)
        .await
        .unwrap();
    let token = o.token(MailKind::AccountDeletion);
    let undone = undo::undo(&app, &token, near);
    o.run("account/undo::undo_by", "a deletion", undone)
        .await
        .unwrap();
    o.log_in("dan@example.com", with, client(1)).await.unwrap();
    let patch = UserPatch {
        is_active: Some(false),
        ..UserPatch::default()
    };
    let deactivate = users::update(&app, dan_id, patch, &admin_client);
    o.run("account/profile::update", "a deactivation", deactivate)
        .await
        .unwrap();
    users::delete(&app, dan_id, &admin_client).await.unwrap();
    let restore = users::restore(&app, dan_id, &admin_client);
    o.run("account/deletion::restore", "a deleted user", restore)
        .await
        .unwrap();
    o.register("eve@example.com").await;
    let eve_id = users::get_by_email(&app, address("eve@example.com"))
        .await
        .unwrap()
        .id;
    let delete = users::delete_now(&app, eve_id, &admin_client);
    o.run("account/deletion::delete_if", "for good", delete)
        .await
        .unwrap();
    let new = address("made@example.com");
    let create = users::create(&app, new, None, None, Role::User, Locale::En, &operator);
    o.run("admin/users::create", "a user", create).await.unwrap();
    let new = address("boss@example.com");
    let create = users::create(&app, new, None, None, Role::Admin, Locale::En, &operator);
    o.run("admin/users::create", "an administrator", create)
        .await
        .unwrap();
    let new = address("guest@example.com");
    let new = NewUser::new(new, Locale::En, app.clock.now());
    let invite = invitations::invite(&app, &new, &admin_client);
    o.run("admin/invitations::invite", "a user", invite)
        .await
        .unwrap();
    let refused = o.mail(MailKind::Invitation);
    let mut conn = app.db.write().await.unwrap();
    conn.drop_mail(&refused, app.clock.now(), &"refused".into())
        .await
        .unwrap();
    drop(conn);
    let retry = outbox::retry(&app, refused.id, &admin_client);
    o.run("admin/outbox::retry", "a mail that was given up", retry)
        .await
        .unwrap();
    let row = o.mail(MailKind::Invitation);
    let later = app.clock.now().plus(Duration::from_hours(1));
    let mut conn = app.db.write().await.unwrap();
    conn.release_mail(&row, later, 1, &"away".into()).await.unwrap();
    drop(conn);
    let retry = outbox::retry_waiting(&app, &operator);
    o.run("admin/outbox::retry_waiting", "a mail that waits", retry)
        .await
        .unwrap();
    let token = o.token(MailKind::Invitation);
    let reset = password::reset(&app, &token, secret(PASSWORD), NONE, near);
    o.run("account/password::reset", "an invitation", reset)
        .await
        .unwrap();
    users::delete(&app, dan_id, &admin_client).await.unwrap();
    clock.advance(app.config.account.deletion_grace + Duration::from_hours(1));
    o.run("account/deletion::purge", "after the grace", purge::purge(&app))
        .await
        .unwrap();

    Box::pin(second_factors(&mut observer, &clock)).await;
    Box::pin(passkey_acts(&mut observer)).await;
    Box::pin(codes_by_mail(&mut observer)).await;

    assert!(observer.faults.is_empty(), "{}", observer.faults.join("\n"));
    let rows: BTreeSet<_> = ACTS.iter().map(|row| (row.act, row.case)).collect();
    assert_eq!(observer.done, rows, "a row that no step runs");
    if let Some((other, _)) = observer.events {
        other.close().await;
    }
    app.close().await;
}

/// The acts about codes by mail.
async fn codes_by_mail(o: &mut Observer) {
    let app = o.app.clone();
    o.verified("gil@example.com").await;
    o.register("hal@example.com").await;
    let (at, with) = (client(1), SignInWith::default());
    let ask = |email: &str| mail_code::request(&app, address(email), Transport::Body, None, Locale::En, at);
    let begun = o
        .run("account/mail_code::request", "an address", ask("gil@example.com"))
        .await
        .unwrap();
    let request = o.mail(MailKind::SignInRequest);
    let resolve = requests::resolve(&app, &request);
    o.run("account/requests::resolve", "a code", resolve)
        .await
        .unwrap();
    let code = |id| {
        let code = app.keys.one_time.code(Purpose::SignIn, id);
        MailCode::parse(code.expose()).expect("a code")
    };
    let right = code(begun.id);
    // The codes of two flows are the same once in 10^8 runs.
    let wrong = code(uuid::Uuid::from_u128(begun.id.as_u128().wrapping_add(1)));
    for (case, code) in [("a wrong code", &wrong), ("a code", &right)] {
        let waits = auth_code::resume(&app, begun.flow.expose(), None, at)
            .await
            .unwrap();
        let finish = mail_code::finish(&app, &waits, Given::Code(code), with, at);
        let done = o.run("account/mail_code::try_finish", case, finish).await;
        assert_eq!(done.is_ok(), case == "a code");
    }
    let begun = ask("hal@example.com").await.unwrap();
    o.skip().await;
    let request = o.mail(MailKind::SignInRequest);
    requests::resolve(&app, &request).await.unwrap();
    let (waits, code) = (
        auth_code::resume(&app, begun.flow.expose(), None, at)
            .await
            .unwrap(),
        code(begun.id),
    );
    let finish = mail_code::finish(&app, &waits, Given::Code(&code), with, at);
    let case = "an address that was not verified";
    let done = o.run("account/mail_code::try_finish", case, finish).await;
    let LogIn::Opened(hal) = done.unwrap() else {
        panic!("no session");
    };
    let caller = sessions::authenticate(&app, hal.access_token.expose())
        .await
        .unwrap();
    let request = step_up_code::request(&app, &caller, at);
    o.run(
        "auth/step_up_code::request",
        "an account without a password",
        request,
    )
    .await
    .unwrap();
    let id = o.mail(MailKind::StepUpCode).token.expect("a token");
    let code = app.keys.one_time.code(Purpose::Confirm, id).expose().to_owned();
    let mut conn = app.db.write().await.unwrap();
    let until = app.clock.now().plus(Purpose::Confirm.lifetime());
    assert!(conn.begin_link(id, 1, app.clock.now(), until).await.unwrap());
    drop(conn);
    for (case, code) in [("a wrong code by mail", "00000000"), ("a code by mail", &code)] {
        let with = Presented::Factor(FactorCode::parse(code).expect("a code").into());
        let step_up = sessions::step_up(&app, &caller, with, at);
        let done = o.run("sessions/second_factor::step_up", case, step_up).await;
        assert_eq!(done.is_ok(), case == "a code by mail");
    }
    let email = address("gil@example.com");
    sessions::log_in(&app, email, secret("a wrong password"), with, at)
        .await
        .unwrap_err();
    o.skip().await;
    let note = failures::note(&app, email, at);
    o.run("auth/failures::note", "the last failure of the row", note)
        .await
        .unwrap();
    let request = o.mail(MailKind::FailureLimitRequest);
    let resolve = requests::resolve(&app, &request);
    o.run("account/requests::resolve", "many failures", resolve)
        .await
        .unwrap();
    let sign_in = sessions::log_in(&app, email, secret(PASSWORD), with, at);
    let asked = o.run(
        "sessions/log_in::ask_for_mail_code",
        "the right password",
        sign_in,
    );
    let LogIn::FactorNeeded(needed) = asked.await.unwrap() else {
        panic!("no code by mail is asked for");
    };
    assert_eq!(needed.methods, [FactorMethod::MailCode]);

    ask("unknown@example.com").await.unwrap();
    o.skip().await;
    let request = o.mail(MailKind::SignInRequest);
    let resolve = requests::resolve(&app, &request);
    o.run("account/requests::resolve", "a code, unknown address", resolve)
        .await
        .unwrap();
}

/// The acts about second factors.
async fn second_factors(o: &mut Observer, clock: &Clock) {
    let app = o.app.clone();
    let (fay, fay_client) = o.verified("fay@example.com").await;
    let fay_id = UserId(fay.user.id);
    let caller = sessions::authenticate(&app, fay.access_token.expose())
        .await
        .unwrap();
    let with = Presented::Password(secret(PASSWORD));
    let step_up = sessions::step_up(&app, &caller, with, &fay_client);
    o.run("sessions/second_factor::step_up", "a password", step_up)
        .await
        .unwrap();
    let begin = factors::begin_totp(&app, &caller, secret(PASSWORD), &fay_client);
    let setup = o.run("account/factors::begin_totp", "the first app", begin).await;
    let shared = setup.unwrap().secret.expose().to_owned();
    let shown = |steps: i64| {
        let code = totp::code(&shared, app.clock.now().as_secs() + 30 * steps);
        FactorCode::parse(&code).expect("a code")
    };
    let wrong = shown(9);
    let confirm = factors::confirm_totp(&app, &caller, &wrong, &fay_client);
    o.run("account/factors::confirm_totp", "a wrong code", confirm)
        .await
        .unwrap_err();
    let code = shown(0);
    let confirm = factors::confirm_totp(&app, &caller, &code, &fay_client);
    let confirmed = o
        .run("account/factors::confirm_totp", "the first app", confirm)
        .await;
    let raised = confirmed.unwrap().issued;
    let caller = sessions::authenticate(&app, raised.access_token.expose())
        .await
        .unwrap();
    let replace = factors::replace_recovery_codes(&app, &caller, &fay_client);
    let codes = o
        .run("account/factors::replace_recovery_codes", "a new set", replace)
        .await
        .unwrap();

    let (at, email) = (client(1), address("fay@example.com"));
    let with = SignInWith::default();
    let sign_in = sessions::log_in(&app, email, secret(PASSWORD), with, at);
    let asked = o
        .run("sessions/log_in::ask_for_factor", "the right password", sign_in)
        .await;
    let LogIn::FactorNeeded(needed) = asked.unwrap() else {
        panic!("no second factor is asked for");
    };
    clock.advance(Duration::from_secs(30));
    let waits = pending::resume(&app, needed.flow.expose(), None, at)
        .await
        .unwrap();
    let wrong = FactorAnswer::from(wrong);
    let finish = sessions::finish_log_in(&app, waits, &wrong, true, with, at);
    o.run(
        "sessions/second_factor::try_finish_log_in",
        "a wrong code",
        finish,
    )
    .await
    .unwrap_err();
    let waits = pending::resume(&app, needed.flow.expose(), None, at)
        .await
        .unwrap();
    let code = shown(0).into();
    let finish = sessions::finish_log_in(&app, waits, &code, true, with, at);
    o.run("sessions/second_factor::try_finish_log_in", "a code", finish)
        .await
        .unwrap();
    let flow = async || {
        let sign_in = sessions::log_in(&app, email, secret(PASSWORD), with, at);
        let LogIn::FactorNeeded(needed) = sign_in.await.unwrap() else {
            panic!("no second factor is asked for");
        };
        needed.flow
    };
    let token = flow().await;
    let waits = pending::resume(&app, token.expose(), None, at).await.unwrap();
    let code = FactorCode::parse(&codes[0].spelled()).unwrap().into();
    let finish = sessions::finish_log_in(&app, waits, &code, false, with, at);
    o.run(
        "sessions/second_factor::try_finish_log_in",
        "a recovery code",
        finish,
    )
    .await
    .unwrap();
    let token = flow().await;
    for _ in 0..4 {
        let waits = pending::resume(&app, token.expose(), None, at).await.unwrap();
        sessions::finish_log_in(&app, waits, &wrong, false, with, at)
            .await
            .unwrap_err();
    }
    let waits = pending::resume(&app, token.expose(), None, at).await.unwrap();
    let finish = sessions::finish_log_in(&app, waits, &wrong, false, with, at);
    o.run(
        "sessions/second_factor::try_finish_log_in",
        "the fifth wrong code",
        finish,
    )
    .await
    .unwrap_err();

    let step_up = sessions::step_up(&app, &caller, Presented::Factor(shown(9).into()), &fay_client);
    o.run("sessions/second_factor::step_up", "a wrong code", step_up)
        .await
        .unwrap_err();
    clock.advance(Duration::from_secs(30));
    let step_up = sessions::step_up(&app, &caller, Presented::Factor(shown(0).into()), &fay_client);
    o.run("sessions/second_factor::step_up", "a code", step_up)
        .await
        .unwrap();
    let remove = factors::remove_totp(&app, &caller, &fay_client);
    o.run("account/factors::remove_totp", "the app", remove)
        .await
        .unwrap();
    let setup = factors::begin_totp(&app, &caller, secret(PASSWORD), &fay_client)
        .await
        .unwrap();
    let code = totp::code(setup.secret.expose(), app.clock.now().as_secs());
    let code = FactorCode::parse(&code).unwrap();
    factors::confirm_totp(&app, &caller, &code, &fay_client)
        .await
        .unwrap();
    let operator = Client::default();
    let reset = factors::reset(&app, fay_id, &operator);
    o.run("account/factors::reset", "by an operator", reset)
        .await
        .unwrap();
}

/// The bytes of a member that is written in base64url.
fn bytes_of(json: &Value, pointer: &str) -> Vec<u8> {
    let text = json.pointer(pointer).and_then(Value::as_str).expect("a text");
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

fn registration_of(json: &Value) -> PasskeyRegistration {
    PasskeyRegistration {
        id: bytes_of(json, "/id"),
        client_data: bytes_of(json, "/response/clientDataJSON"),
        attestation_object: bytes_of(json, "/response/attestationObject"),
        transports: Vec::new(),
    }
}

fn assertion_of(json: &Value) -> PasskeyAssertion {
    PasskeyAssertion {
        id: bytes_of(json, "/id"),
        client_data: bytes_of(json, "/response/clientDataJSON"),
        authenticator_data: bytes_of(json, "/response/authenticatorData"),
        signature: bytes_of(json, "/response/signature"),
        user_handle: Some(bytes_of(json, "/response/userHandle")),
    }
}

/// The acts about passkeys.
async fn passkey_acts(o: &mut Observer) {
    let app = o.app.clone();
    let (gus, gus_client) = o.verified("gus@example.com").await;
    let authenticate = async |issued: &Issued| {
        sessions::authenticate(&app, issued.access_token.expose())
            .await
            .unwrap()
    };
    let caller = authenticate(&gus).await;
    let origin = app.config.server.public_url.origin();
    let made = |options: &passkeys::CreationOptions, lie: &Lie| {
        let options = json!({
            "rp": { "id": options.rp_id },
            "user": { "id": encoded(options.user.as_bytes()) },
            "challenge": encoded(&options.challenge),
        });
        authenticator::Passkey::create(&options, &origin, PRESENT | VERIFIED, lie)
    };
    let begin = passkeys::begin(&app, &caller, secret(PASSWORD), &gus_client);
    let begun = o
        .run("account/passkeys::begin", "the first passkey", begin)
        .await
        .unwrap();
    let foreign = Lie {
        origin: Some("https://evil.example".to_owned()),
        ..Lie::default()
    };
    let (_, credential) = made(&begun, &foreign);
    let registration = registration_of(&credential);
    let add = passkeys::add(&app, &caller, &registration, None, &gus_client);
    o.run("account/passkeys::add", "of another origin", add)
        .await
        .unwrap_err();
    let begun = passkeys::begin(&app, &caller, secret(PASSWORD), &gus_client)
        .await
        .unwrap();
    let (mut passkey, credential) = made(&begun, &Lie::default());
    let registration = registration_of(&credential);
    let add = passkeys::add(&app, &caller, &registration, None, &gus_client);
    let added = o
        .run("account/passkeys::add", "the first passkey", add)
        .await
        .unwrap();
    let caller = authenticate(&added.issued).await;

    let at = client(1);
    let with = SignInWith::default();
    let used = async |passkey: &authenticator::Passkey| {
        let challenge = encoded(&sign_in_options(&app).challenge);
        let assertion = assertion_of(&passkey.get(&json!({ "challenge": challenge })));
        sessions::present_passkey(&app, &assertion, at).await.unwrap()
    };
    passkey.counter = 2;
    let sign_in = sessions::log_in_with_passkey(&app, used(&passkey).await, with, at);
    o.run("sessions/passkey::try_log_in", "a passkey", sign_in)
        .await
        .unwrap();
    let sign_in = sessions::log_in_with_passkey(&app, used(&passkey).await, with, at);
    o.run(
        "sessions/passkey::try_log_in",
        "a counter that went back",
        sign_in,
    )
    .await
    .unwrap_err();
    passkey.counter = 3;
    let options = passkeys::step_up_options(&app, &caller).await.unwrap();
    let assertion = passkey.get(&json!({ "challenge": encoded(&options.challenge) }));
    let with = Presented::Factor(assertion_of(&assertion).into());
    let step_up = sessions::step_up(&app, &caller, with, &gus_client);
    let raised = o
        .run("sessions/second_factor::step_up", "a passkey", step_up)
        .await;
    let caller = authenticate(&raised.unwrap()).await;

    let name = PasskeyName::parse("My phone").unwrap().unwrap();
    let rename = passkeys::rename(&app, &caller, added.passkey.id, &name, &gus_client);
    o.run("account/passkeys::rename", "a passkey", rename)
        .await
        .unwrap();
    let remove = passkeys::remove(&app, &caller, added.passkey.id, &gus_client);
    o.run("account/passkeys::remove", "the last passkey", remove)
        .await
        .unwrap();
}

/// Acts whose rows, mails and effects another test compares.
const ELSEWHERE: &[(&str, &str)] = &[
    ("import_export/import::apply", "tests/it/moving.rs"),
    (
        "sessions/second_factor::reject_for_session_limit",
        "tests/it/tokens.rs",
    ),
    ("backup/restore::settle", "tests/it/backups.rs"),
    ("admin/keys::rotate_where", "tests/it/keys.rs"),
    ("admin/keys::rotate_master", "tests/it/keys.rs"),
];

/// What may commit a transaction without an act, and why: none of it changes a user or a session.
const MAINTENANCE: &[(&str, &str)] = &[
    ("act", "the act itself"),
    ("audit", "seals, prunes, erases and begins the chain"),
    ("store", "migrations, keys, imports of other tables, notes of use"),
    (
        "worker/outbox",
        "leases and marks of mails, and the life of their links",
    ),
];

/// Calls `each` with every source of the server as `room/file`, and its code without comment lines.
fn each_source(folder: &Path, room: &str, each: &mut impl FnMut(&str, &str)) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let inner = if room.is_empty() {
            name.to_owned()
        } else {
            format!("{room}/{name}")
        };
        if path.is_dir() {
            each_source(&path, &inner, each);
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("a source");
        let code: Vec<&str> = source
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        each(inner.trim_end_matches("/mod"), &code.join("\n"));
    }
}

fn sources(mut each: impl FnMut(&str, &str)) {
    each_source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut each);
}

#[test]
fn every_act_has_a_row() {
    let mut found = BTreeSet::new();
    sources(|file, code| {
        let mut function = "";
        for line in code.lines() {
            if let Some((_, rest)) = line.split_once("fn ") {
                function = rest.split(['(', '<']).next().unwrap_or_default();
            }
            if line.contains(".act(") && !file.ends_with("/tests") {
                found.insert(format!("{file}::{function}"));
            }
        }
    });
    let elsewhere = ELSEWHERE.iter().map(|(act, _)| *act);
    let rows: BTreeSet<String> = ACTS
        .iter()
        .map(|row| row.act)
        .chain(elsewhere)
        .map(str::to_owned)
        .collect();
    assert_eq!(found, rows);
}

#[test]
fn only_an_act_commits() {
    let mut faults = Vec::new();
    sources(|file, code| {
        let is_maintenance = MAINTENANCE
            .iter()
            .any(|(name, _)| file == *name || file.starts_with(&format!("{name}/")));
        let begins = code.replace(char::is_whitespace, "").contains(".begin().await");
        if begins && !is_maintenance {
            faults.push(format!("{file} begins a transaction of its own: use `App::act`"));
        }
        // `Act::commit` is the only other one.
        let commits = code.contains("tx.commit()") || code.contains("conn.commit()");
        if commits && !is_maintenance {
            faults.push(format!("{file} commits a transaction by hand: use `Act::commit`"));
        }
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
