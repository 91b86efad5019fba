//! The unit of work, and the only way to change anything.
//!
//! [`App::act`] begins one. A use case changes rows through `Act::tx` and adds what belongs to the change: audit entries,
//! mails, revoked sessions, changed users. [`Act::commit`] makes all of it hold: one transaction, then the caches of every
//! node, the mailer and the metrics. An act that is dropped changes nothing.

use crate::app::App;
use crate::cache::{self, Effects};
use crate::crypto;
use crate::domain::{
    Audit, Email, Locale, MailClass, MailKind, Network, Purpose, Requester, RevokeReason, SessionId,
    Timestamp, UserId,
};
use crate::error::{Error, Result};
use crate::store::{
    Conn, Content, MailDetails, NewAudit, NewMail, NewOneTimeToken, Origin, RequestOrigin, SessionRow, User,
};
use crate::telemetry::Scope;

/// How many administrators are notified of a new one, at most.
const NOTIFIED_AT_MOST: i64 = 200;

/// The client of a request: recorded with sessions and in the audit trail, never a reason to trust anything.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The client's address; empty for the command line.
    pub ip: String,
    /// The client's `User-Agent`, cut and cleaned.
    pub user_agent: String,
    /// The request's id.
    pub request_id: String,
    /// The id that the client gave the request; empty where it gave none.
    pub client_request_id: String,
    /// The user behind the request, where one is known.
    pub actor: Option<UserId>,
}

impl Client {
    /// An audit row of this client's, to be completed.
    pub fn audit(&self, action: Audit, at: Timestamp) -> NewAudit<'_> {
        NewAudit {
            actor: self.actor,
            ip: non_empty(&self.ip),
            user_agent: non_empty(&self.user_agent),
            request_id: non_empty(&self.request_id),
            client_request_id: non_empty(&self.client_request_id),
            ..NewAudit::by_operator(action, at)
        }
    }

    /// On whose behalf passwords are computed for this client.
    pub fn requester(&self) -> Requester {
        match (self.actor, Network::of(&self.ip)) {
            (Some(user), _) => Requester::Known(user),
            (None, Some(network)) => Requester::Network(network),
            (None, None) => Requester::Operator,
        }
    }

    /// The network by which mails are counted that a client without a session causes.
    pub(crate) fn network(&self) -> Option<String> {
        Network::of(&self.ip).map(|network| network.to_string())
    }

    /// The origin that a mail names.
    pub(crate) fn origin(&self) -> Origin {
        Origin::new(&self.ip, &self.user_agent)
    }

    /// The content of a request that is resolved later, for its audit row then.
    pub(crate) fn request(&self) -> Content {
        Content::Request(RequestOrigin {
            ip: self.ip.clone(),
            user_agent: self.user_agent.clone(),
            request_id: self.request_id.clone(),
            client_request_id: self.client_request_id.clone(),
        })
    }
}

impl From<RequestOrigin> for Client {
    fn from(origin: RequestOrigin) -> Self {
        Self {
            ip: origin.ip,
            user_agent: origin.user_agent,
            request_id: origin.request_id,
            client_request_id: origin.client_request_id,
            actor: None,
        }
    }
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// An entry for the audit trail. The act that records it adds the time and the client.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    action: Audit,
    succeeded: bool,
    reason: Option<&'static str>,
    actor: Option<UserId>,
    subject: Option<UserId>,
    session: Option<SessionId>,
}

impl Entry {
    /// Something that took place.
    pub const fn success(action: Audit) -> Self {
        Self {
            action,
            succeeded: true,
            reason: None,
            actor: None,
            subject: None,
            session: None,
        }
    }

    /// Something that was refused, with a reason from a fixed set.
    pub const fn failure(action: Audit, reason: &'static str) -> Self {
        Self {
            succeeded: false,
            reason: Some(reason),
            ..Self::success(action)
        }
    }

    /// With a reason from a fixed set.
    #[must_use]
    pub fn reason(self, reason: impl Into<Option<&'static str>>) -> Self {
        Self {
            reason: reason.into(),
            ..self
        }
    }

    /// By this user, in place of the client's.
    #[must_use]
    pub fn actor(self, actor: UserId) -> Self {
        Self {
            actor: Some(actor),
            ..self
        }
    }

    /// About this user.
    #[must_use]
    pub fn subject(self, subject: impl Into<Option<UserId>>) -> Self {
        Self {
            subject: subject.into(),
            ..self
        }
    }

    /// In this session.
    #[must_use]
    pub fn session(self, session: impl Into<Option<SessionId>>) -> Self {
        Self {
            session: session.into(),
            ..self
        }
    }

    fn row(self, client: &Client, at: Timestamp) -> NewAudit<'_> {
        NewAudit {
            succeeded: self.succeeded,
            reason: self.reason,
            actor: self.actor,
            subject: self.subject,
            session: self.session,
            ..client.audit(self.action, at)
        }
    }
}

/// A unit of work.
#[derive(Debug)]
pub struct Act {
    /// The service.
    pub(crate) app: App,
    /// Who acts.
    pub(crate) client: Client,
    /// The time of the act, read after the transaction began.
    pub(crate) now: Timestamp,
    /// The transaction. Only [`Act::commit`] commits it.
    pub(crate) tx: Conn,
    entries: Vec<Entry>,
    effects: Effects,
    revoked: Vec<(RevokeReason, u64)>,
    has_mail: bool,
}

impl App {
    /// Begins a unit of work.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn act(&self, client: &Client) -> Result<Act> {
        let tx = self.db.begin().await?;
        Ok(Act {
            app: self.clone(),
            client: client.clone(),
            now: self.clock.now(),
            tx,
            entries: Vec::new(),
            effects: Effects::default(),
            revoked: Vec::new(),
            has_mail: false,
        })
    }

    /// Records an entry where nothing else is changed, such as a refusal: one statement without a transaction.
    pub(crate) async fn record(&self, client: &Client, entry: Entry) -> Result<()> {
        let entry = Entry {
            actor: entry.actor.or(client.actor),
            ..entry
        };
        let row = entry.row(client, self.clock.now());
        self.db.write().await?.insert_audit(&row).await
    }
}

impl Act {
    /// Takes the holder of a link or password as the one who acts from now on, where the client is no known user.
    pub(crate) fn acts_as(&mut self, user: UserId) {
        self.client.actor.get_or_insert(user);
    }

    // Audit

    /// Adds an entry. Entries are written with the commit, in this order.
    pub(crate) fn audit(&mut self, entry: Entry) {
        let actor = entry.actor.or(self.client.actor);
        self.entries.push(Entry { actor, ..entry });
    }

    /// Adds an entry unless the same actor has one about the same subject since a time.
    pub(crate) async fn audit_once_since(&mut self, entry: Entry, since: Timestamp) -> Result<()> {
        let actor = entry.actor.or(self.client.actor);
        let row = Entry { actor, ..entry }.row(&self.client, self.now);
        if !self.tx.has_done_since(&row, since).await? {
            self.audit(entry);
        }
        Ok(())
    }

    /// Writes the entries so far and this one, and gives its number in the trail.
    pub(crate) async fn audit_numbered(&mut self, entry: Entry) -> Result<i64> {
        self.write_audit().await?;
        let actor = entry.actor.or(self.client.actor);
        let row = Entry { actor, ..entry }.row(&self.client, self.now);
        self.tx.insert_audit_row(&row).await.map(|row| row.id)
    }

    /// Writes the entries so far.
    async fn write_audit(&mut self) -> Result<()> {
        let entries = std::mem::take(&mut self.entries);
        let row = |entry: &Entry| entry.row(&self.client, self.now);
        match entries.as_slice() {
            [] => Ok(()),
            [entry] => self.tx.insert_audit(&row(entry)).await,
            entries => {
                let rows: Vec<_> = entries.iter().map(row).collect();
                self.tx.insert_audits(&rows).await
            }
        }
    }

    // Mail

    /// Queues a mail. The mailer is woken after the commit.
    pub(crate) async fn queue(&mut self, mail: &NewMail<'_>) -> Result<()> {
        self.has_mail = true;
        self.tx.queue_mail(mail).await
    }

    /// Wakes the mailer after the commit, for rows of the outbox that became due.
    pub(crate) fn wake_mailer(&mut self) {
        self.has_mail = true;
    }

    /// Queues a mail without a link to the owner of an account, at the account's address.
    pub(crate) async fn notify(&mut self, user: &User, kind: MailKind) -> Result<()> {
        let email = address_of(user)?;
        self.queue(&self.mail_to(user, &email, kind, None)).await
    }

    /// A mail to the owner of an account, at this address. Its details name nothing that was chosen before the account's
    /// address was verified.
    pub(crate) fn mail_to<'a>(
        &self,
        user: &User,
        recipient: &'a Email,
        kind: MailKind,
        token: Option<uuid::Uuid>,
    ) -> NewMail<'a> {
        NewMail {
            kind,
            recipient,
            locale: user.locale,
            user: Some(user.id),
            token,
            content: Content::Mail(MailDetails::for_owner(user, self.client.origin())),
            // Notices report what has happened to an owner; no stranger's network must be able to stop them.
            network: match (self.client.actor, kind.class()) {
                (Some(_), _) | (None, MailClass::Notice) => None,
                (None, MailClass::Reset | MailClass::Other) => self.client.network(),
            },
            at: self.now,
        }
    }

    /// A mail to an address that is not verified. It names no account: otherwise anybody could write to the owner of an address by
    /// typing it in.
    pub(crate) fn mail_to_stranger<'a>(
        &self,
        recipient: &'a Email,
        kind: MailKind,
        locale: Locale,
        token: Option<uuid::Uuid>,
    ) -> NewMail<'a> {
        NewMail {
            kind,
            recipient,
            locale,
            user: None,
            token,
            content: Content::Mail(MailDetails::bare()),
            network: self.client.network(),
            at: self.now,
        }
    }

    /// The recipients of a notice about a new administrator: the active ones whose address is verified.
    pub(crate) async fn admins_to_notify(&mut self) -> Result<Vec<User>> {
        self.tx.verified_admins(NOTIFIED_AT_MOST).await
    }

    /// Notifies administrators that a user is one now, after the audit entry with this action.
    pub(crate) async fn notify_of_new_admin(
        &mut self,
        admins: &[User],
        new: UserId,
        action: Audit,
    ) -> Result<()> {
        self.write_audit().await?;
        let Some(row) = self.tx.latest_audit_of(new, action).await? else {
            return Ok(());
        };
        for admin in admins.iter().filter(|admin| admin.id != new) {
            let email = address_of(admin)?;
            let details = MailDetails::for_owner(admin, self.client.origin()).with_subject(new, row);
            let mail = NewMail {
                content: Content::Mail(details),
                ..self.mail_to(admin, &email, MailKind::NewAdmin, None)
            };
            self.queue(&mail).await?;
        }
        Ok(())
    }

    /// A one-time token with a fresh id, to be completed. It goes out by mail: its life begins, and the links that it replaces
    /// end, when that mail is sent.
    pub(crate) fn new_token(&self, purpose: Purpose, user: Option<UserId>) -> NewOneTimeToken<'static> {
        NewOneTimeToken {
            id: uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid(),
            purpose,
            user,
            email: None,
            session: None,
            bound_to: None,
            created_at: self.now,
            expires_at: self.now.plus(purpose.lifetime()),
            is_pending: true,
        }
    }

    // Sessions and users

    /// Revokes all live sessions of a user but, if given, one. How many there were.
    pub(crate) async fn revoke_sessions_of(
        &mut self,
        user: UserId,
        except: Option<SessionId>,
        reason: RevokeReason,
    ) -> Result<usize> {
        let revoked = self.tx.revoke_sessions_of(user, except, reason, self.now).await?;
        self.record_revoked(&revoked, reason).await?;
        Ok(revoked.len())
    }

    /// Records and publishes sessions of one user, revoked just now in this transaction.
    pub(crate) async fn record_revoked(
        &mut self,
        revoked: &[SessionRow],
        reason: RevokeReason,
    ) -> Result<()> {
        for session in revoked {
            let entry = Entry::success(Audit::SessionRevoke).reason(reason.as_str());
            self.audit(entry.subject(session.user_id()).session(session.id()));
        }
        self.publish_revoked(revoked, reason).await
    }

    /// Publishes sessions of one user, revoked just now in this transaction, whose audit entry is another one.
    pub(crate) async fn publish_revoked(
        &mut self,
        revoked: &[SessionRow],
        reason: RevokeReason,
    ) -> Result<()> {
        match revoked {
            [] => return Ok(()),
            [only] => self.tx.record_revocation(only, reason, self.now).await?,
            // Ten thousand in as many statements would hold SQLite's writer, and the user's row, for seconds.
            [first, ..] => {
                let owner = first.user_id();
                self.tx.record_revocations_of(owner, reason, self.now).await?;
            }
        }
        for session in revoked {
            self.effects.revoke(session, reason);
        }
        self.revoked.push((reason, revoked.len() as u64));
        Ok(())
    }

    /// Publishes that a session's generations up to its retired one are refused from now on. `user` is its owner, as now.
    pub(crate) async fn publish_retired(&mut self, session: &SessionRow, user: &User) -> Result<()> {
        self.tx.record_retirement(session, self.now).await?;
        self.effects.retire(session, user);
        Ok(())
    }

    /// Publishes that signing keys changed.
    pub(crate) const fn publish_keys(&mut self) {
        self.effects.change_keys();
    }

    /// Publishes a changed user, as it is now.
    pub(crate) async fn publish_user(&mut self, user: &User) -> Result<()> {
        let until = cache::user_copies_until(self.now);
        self.tx.record_user_change(user.id, self.now, until).await?;
        self.effects.change(user);
        Ok(())
    }

    /// Publishes that a user is deleted.
    pub(crate) async fn publish_deleted(&mut self, user: UserId) -> Result<()> {
        let until = cache::user_copies_until(self.now);
        self.tx.record_user_change(user, self.now, until).await?;
        self.effects.delete(user, self.now);
        Ok(())
    }

    // The end

    /// Commits the transaction, then announces the effects to the caches, wakes the mailer and counts. It runs to its end
    /// also when the request's future is dropped meanwhile: a client that hangs up must not keep its own revocation
    /// from the other nodes.
    pub async fn commit(mut self) -> Result<()> {
        let work = async move {
            self.write_audit().await?;
            self.tx.commit().await?;
            if !self.effects.is_empty() {
                self.app.cache.publish_effects(self.effects).await;
            }
            if self.has_mail {
                self.app.mail_queued.notify_one();
            }
            for (reason, count) in self.revoked {
                self.app.metrics.sessions_revoked(reason.as_str(), count);
            }
            Ok(())
        };
        let task = match Scope::current() {
            Some(scope) => tokio::spawn(scope.run(work)),
            None => tokio::spawn(work),
        };
        task.await.map_err(Error::internal)?
    }
}

/// The address of a stored user.
///
/// # Errors
/// `Internal` where it cannot be parsed.
pub(crate) fn address_of(user: &User) -> Result<Email> {
    parse_address(&user.email)
}

/// A stored address.
///
/// # Errors
/// `Internal` where it cannot be parsed.
pub(crate) fn parse_address(text: &str) -> Result<Email> {
    Email::parse(text).map_err(|reason| {
        Error::Internal(anyhow::anyhow!(
            "a stored address cannot be parsed: {}",
            reason.code
        ))
    })
}
