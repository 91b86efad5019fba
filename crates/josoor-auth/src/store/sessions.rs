//! The table `sessions`.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::{Conn, Db, execute, from_row, on};
use crate::domain::{SessionId, Timestamp, UserId};
use crate::error::{Refusal, Result};

/// Why a session was ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevokeReason {
    /// Its owner signed out.
    Logout,
    /// Its owner ended it from another session.
    RevokedByUser,
    /// An administrator ended it.
    RevokedByAdmin,
    /// The password was changed or reset.
    PasswordChanged,
    /// The account was deactivated.
    AccountDeactivated,
    /// The account was deleted.
    AccountDeleted,
    /// An old refresh token was presented again.
    RefreshReuse,
    /// Another sign-in in the same browser took the place of its cookie.
    Replaced,
    /// The account had too many sessions, and this one was unused for longest.
    SessionLimit,
}

impl RevokeReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Logout,
        Self::RevokedByUser,
        Self::RevokedByAdmin,
        Self::PasswordChanged,
        Self::AccountDeactivated,
        Self::AccountDeleted,
        Self::RefreshReuse,
        Self::Replaced,
        Self::SessionLimit,
    ];

    /// As stored, and as written into tombstones.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::RevokedByUser => "revoked_by_user",
            Self::RevokedByAdmin => "revoked_by_admin",
            Self::PasswordChanged => "password_changed",
            Self::AccountDeactivated => "account_deactivated",
            Self::AccountDeleted => "account_deleted",
            Self::RefreshReuse => "refresh_reuse",
            Self::Replaced => "replaced",
            Self::SessionLimit => "session_limit",
        }
    }

    /// What the holder of a token of such a session is told.
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::Logout
            | Self::RevokedByUser
            | Self::RevokedByAdmin
            | Self::AccountDeleted
            | Self::Replaced
            | Self::SessionLimit => Refusal::SessionRevoked,
            Self::PasswordChanged => Refusal::PasswordChanged,
            Self::AccountDeactivated => Refusal::AccountInactive,
            Self::RefreshReuse => Refusal::RefreshTokenReused,
        }
    }
}

impl fmt::Display for RevokeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl RevokeReason {
    /// Reads what [`as_str`](Self::as_str) wrote. A later release may know more reasons; whatever it was, the session is
    /// over, so an unknown one is read as the most general.
    pub fn read(text: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .unwrap_or(Self::RevokedByAdmin)
    }
}

impl FromStr for RevokeReason {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::read(text))
    }
}

/// Where a session's refresh token lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// With the client, which got it in a body.
    #[default]
    Body,
    /// In a cookie.
    Cookie,
}

impl Transport {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Cookie => "cookie",
        }
    }
}

impl FromStr for Transport {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Body, Self::Cookie]
            .into_iter()
            .find(|transport| transport.as_str() == text)
            .ok_or(())
    }
}

/// A session, as stored.
#[derive(Clone, Debug)]
pub struct SessionRow {
    id: Uuid,
    user_id: i64,
    /// When the user signed in.
    pub created_at: Timestamp,
    /// When a token of it was last accepted, to the minute or so.
    pub last_seen_at: Timestamp,
    /// The absolute end.
    pub expires_at: Timestamp,
    /// The idle end.
    pub idle_expires_at: Timestamp,
    /// The address that signed in.
    pub ip: String,
    /// The program that signed in.
    pub user_agent: String,
    /// The current refresh generation.
    pub generation: i64,
    /// `iat` of the current refresh token.
    pub generation_issued_at: Timestamp,
    /// `exp` of the current refresh token.
    pub generation_expires_at: Timestamp,
    /// The highest generation of which an access token was accepted.
    pub used_generation: i64,
    /// The generation that the current one replaced.
    pub replaced_generation: Option<i64>,
    /// The generations superseded last, as `rotation` writes them.
    pub superseded: String,
    /// This generation and those before it are dead without alarm.
    pub retired_generation: i64,
    /// When the session was ended before its time.
    pub revoked_at: Option<Timestamp>,
    /// Why.
    pub revoke_reason: Option<RevokeReason>,
    /// Where its refresh token lies.
    pub transport: Transport,
    /// How often a change of the password has begun a new generation; the other new generations were refreshes.
    pub retirements: i64,
    /// The device that the user signed in on.
    pub device_id: Option<Uuid>,
    /// Whether the account knew it then.
    pub on_known_device: bool,
}

from_row!(SessionRow {
    id,
    user_id,
    created_at,
    last_seen_at,
    expires_at,
    idle_expires_at,
    ip,
    user_agent,
    generation,
    generation_issued_at,
    generation_expires_at,
    used_generation,
    replaced_generation,
    superseded,
    retired_generation,
    revoked_at,
    revoke_reason,
    transport,
    retirements,
    device_id,
    on_known_device
});

impl SessionRow {
    /// The session's id.
    pub const fn id(&self) -> SessionId {
        SessionId(self.id)
    }

    /// Whose it is.
    pub const fn user_id(&self) -> UserId {
        UserId(self.user_id)
    }

    /// When the session ends if nothing more happens.
    pub fn ends_at(&self) -> Timestamp {
        self.idle_expires_at.min(self.expires_at)
    }

    /// Why the session admits nobody now, or `None` when it is live.
    pub fn ended(&self, now: Timestamp) -> Option<Refusal> {
        if let Some(reason) = self.revoke_reason {
            return Some(reason.refusal());
        }
        (self.revoked_at.is_some() || now >= self.ends_at()).then_some(Refusal::SessionExpired)
    }
}

#[cfg(test)]
impl SessionRow {
    /// A session that has just begun, for tests of what is decided about one.
    pub(crate) fn begun(at: Timestamp, expires_at: Timestamp) -> Self {
        Self {
            id: Uuid::from_u128(1),
            user_id: 1,
            created_at: at,
            last_seen_at: at,
            expires_at,
            idle_expires_at: expires_at,
            ip: String::new(),
            user_agent: String::new(),
            generation: 1,
            generation_issued_at: at,
            generation_expires_at: expires_at,
            used_generation: 0,
            replaced_generation: None,
            superseded: String::new(),
            retired_generation: 0,
            revoked_at: None,
            revoke_reason: None,
            transport: Transport::Body,
            retirements: 0,
            device_id: None,
            on_known_device: false,
        }
    }
}

macro_rules! columns {
    () => {
        "id, user_id, created_at, last_seen_at, expires_at, idle_expires_at, ip, user_agent, generation, \
         generation_issued_at, generation_expires_at, used_generation, replaced_generation, superseded, \
         retired_generation, revoked_at, revoke_reason, transport, retirements, device_id, on_known_device"
    };
}

/// What a session begins with; its first generation is 1.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// Fresh.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// Now.
    pub created_at: Timestamp,
    /// The absolute end.
    pub expires_at: Timestamp,
    /// The idle end.
    pub idle_expires_at: Timestamp,
    /// The client's address.
    pub ip: &'a str,
    /// The client's `User-Agent`.
    pub user_agent: &'a str,
    /// Where its refresh token lies.
    pub transport: Transport,
    /// The device that the user signs in on.
    pub device: Option<Uuid>,
    /// Whether the account knew it before.
    pub on_known_device: bool,
}

/// A step to the next refresh generation, with what must still be true for it to happen.
#[derive(Debug)]
pub struct Rotation {
    /// The session.
    pub id: SessionId,
    /// The generation that the decision was made on.
    pub from: i64,
    /// Happens only while no access token of `from` was accepted: the current generation is given up unused.
    pub only_if_unused: bool,
    /// Whose place the new generation takes.
    pub replaced: i64,
    /// The remembered generations, after the step.
    pub superseded: String,
    /// Now: `iat` of the new refresh token.
    pub issued_at: Timestamp,
    /// `exp` of the new refresh token and the new idle end.
    pub idle_expires_at: Timestamp,
}

/// That a token of a session was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The session.
    pub session: SessionId,
    /// The generation of the token.
    pub generation: i64,
    /// When.
    pub at: Timestamp,
}

impl Conn {
    /// Adds a session.
    pub async fn insert_session(&mut self, new: &NewSession<'_>) -> Result<SessionRow> {
        const SQL: &str = concat!(
            "insert into sessions (id, user_id, created_at, last_seen_at, expires_at, idle_expires_at, ip, user_agent,
                generation, generation_issued_at, generation_expires_at, used_generation, superseded, transport, device_id,
                on_known_device)
             values ($1, $2, $3, $3, $4, $5, $6, $7, 1, $3, $5, 0, '', $8, $9, $10)
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(new.id.0)
                .bind(new.user_id.0)
                .bind(new.created_at)
                .bind(new.expires_at)
                .bind(new.idle_expires_at)
                .bind(new.ip)
                .bind(new.user_agent)
                .bind(new.transport.as_str())
                .bind(new.device)
                .bind(new.on_known_device),
            fetch_one
        )
    }

    /// The session with this id, live or ended.
    pub async fn session_by_id(&mut self, id: SessionId) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!("select ", columns!(), " from sessions where id = $1");
        on!(self, sqlx::query_as(SQL).bind(id.0), fetch_optional)
    }

    /// A user's live sessions, the latest first.
    pub async fn live_sessions(&mut self, user: UserId, now: Timestamp) -> Result<Vec<SessionRow>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from sessions
              where user_id = $1 and revoked_at is null and expires_at > $2 and idle_expires_at > $2
              order by created_at desc, id limit 1000"
        );
        on!(self, sqlx::query_as(SQL).bind(user.0).bind(now), fetch_all)
    }

    /// Takes the step, if the session is still as the decision saw it and nobody has ended it. This one statement
    /// decides between any number of refreshes, and between a refresh and a revocation.
    pub async fn rotate_session(&mut self, step: &Rotation) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set generation = generation + 1, generation_issued_at = $3, generation_expires_at = $4,
                idle_expires_at = $4, last_seen_at = case when last_seen_at < $3 then $3 else last_seen_at end, replaced_generation = $5, superseded = $6
             where id = $1 and generation = $2 and revoked_at is null and idle_expires_at > $3
               and (used_generation < $2 or not $7)
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(step.id.0)
                .bind(step.from)
                .bind(step.issued_at)
                .bind(step.idle_expires_at)
                .bind(step.replaced)
                .bind(step.superseded.as_str())
                .bind(step.only_if_unused),
            fetch_optional
        )
    }

    /// Makes the next generation, if `generation` is the current one of a live session, and its memory has less than `room`
    /// characters: what most refreshes are, in one statement. `superseding` is appended to the memory.
    pub async fn rotate_current(
        &mut self,
        id: SessionId,
        generation: i64,
        now: Timestamp,
        idle_expires_at: Timestamp,
        superseding: &str,
        room: i64,
    ) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set generation = generation + 1, generation_issued_at = $3,
                generation_expires_at = case when $4 < expires_at then $4 else expires_at end,
                idle_expires_at = case when $4 < expires_at then $4 else expires_at end,
                last_seen_at = case when last_seen_at < $3 then $3 else last_seen_at end, replaced_generation = generation,
                superseded = case when superseded = '' then $5 else superseded || ',' || $5 end
             where id = $1 and generation = $2 and revoked_at is null and idle_expires_at > $3 and expires_at > $3
               and length(superseded) < $6
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(id.0)
                .bind(generation)
                .bind(now)
                .bind(idle_expires_at)
                .bind(superseding)
                .bind(room),
            fetch_optional
        )
    }

    /// Begins a new generation and retires all before it, whatever became of them. `None` when the session has ended.
    pub async fn retire_generations(
        &mut self,
        id: SessionId,
        now: Timestamp,
        idle_expires_at: Timestamp,
    ) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set retired_generation = generation, generation = generation + 1,
                retirements = retirements + 1,
                generation_issued_at = $2, generation_expires_at = $3, idle_expires_at = $3,
                last_seen_at = case when last_seen_at < $2 then $2 else last_seen_at end,
                replaced_generation = null, superseded = ''
             where id = $1 and revoked_at is null and idle_expires_at > $2
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL).bind(id.0).bind(now).bind(idle_expires_at),
            fetch_optional
        )
    }

    /// Moves the idle end of a live session without a new generation, while `generation` is the current one; never back.
    pub async fn extend_session(
        &mut self,
        id: SessionId,
        generation: i64,
        idle_expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set last_seen_at = case when last_seen_at < $3 then $3 else last_seen_at end,
                idle_expires_at = case when idle_expires_at < $2 then $2 else idle_expires_at end
             where id = $1 and revoked_at is null and idle_expires_at > $3 and generation = $4
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(id.0)
                .bind(idle_expires_at)
                .bind(now)
                .bind(generation),
            fetch_optional
        )
    }

    /// Notes that a token was accepted: moves the last-seen time and the used generation, never back.
    pub async fn touch_session(&mut self, touch: &Touch) -> Result<()> {
        const SQL: &str = "update sessions set
                last_seen_at = case when last_seen_at < $2 then $2 else last_seen_at end,
                used_generation = case when used_generation < $3 and $3 <= generation then $3 else used_generation end
             where id = $1 and revoked_at is null";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(touch.session.0)
                .bind(touch.at)
                .bind(touch.generation)
        )
        .map(drop)
    }

    /// Ends a session, if it is live. Gives it as it was ended; `None` when there was nothing to end.
    pub async fn revoke_session(
        &mut self,
        id: SessionId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set revoked_at = $2, revoke_reason = $3
             where id = $1 and revoked_at is null and expires_at > $2 and idle_expires_at > $2
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL).bind(id.0).bind(now).bind(reason.as_str()),
            fetch_optional
        )
    }

    /// Ends a session by a token of it, if it is live and the token's generation is not retired.
    pub async fn revoke_session_by_token(
        &mut self,
        id: SessionId,
        generation: i64,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<Option<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set revoked_at = $2, revoke_reason = $3
             where id = $1 and revoked_at is null and expires_at > $2 and idle_expires_at > $2 and retired_generation < $4
             returning ",
            columns!()
        );
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(id.0)
                .bind(now)
                .bind(reason.as_str())
                .bind(generation),
            fetch_optional
        )
    }

    /// How many live sessions a user has; counted up to `at_most`.
    pub async fn count_live_sessions_of(
        &mut self,
        user: UserId,
        now: Timestamp,
        at_most: i64,
    ) -> Result<i64> {
        const SQL: &str = "select count(*) from (select 1 from sessions
             where user_id = $1 and revoked_at is null and expires_at > $2 and idle_expires_at > $2 limit $3) as live";
        on!(
            self,
            sqlx::query_scalar(SQL).bind(user.0).bind(now).bind(at_most),
            fetch_one
        )
    }

    /// The live sessions of a user that may be ended for a new one, up to `limit`: those that were never used first, then those
    /// that were unused for longest; none that was used on a known device since `recent`.
    pub async fn dispensable_sessions(
        &mut self,
        user: UserId,
        now: Timestamp,
        recent: Timestamp,
        limit: i64,
    ) -> Result<Vec<SessionId>> {
        const SQL: &str = "select id from sessions
             where user_id = $1 and revoked_at is null and expires_at > $2 and idle_expires_at > $2
               and not (on_known_device and last_seen_at > $3 and (used_generation > 0 or generation > 1))
             order by case when used_generation = 0 and generation = 1 then 0 else 1 end, last_seen_at, created_at, id
             limit $4";
        let ids: Vec<Uuid> = on!(
            self,
            sqlx::query_scalar(SQL)
                .bind(user.0)
                .bind(now)
                .bind(recent)
                .bind(limit),
            fetch_all
        )?;
        Ok(ids.into_iter().map(SessionId).collect())
    }

    /// Notes that the owner of an account is told of too many sessions. Whether it has not been noted since `before`.
    pub async fn claim_session_limit_mail(
        &mut self,
        user: UserId,
        now: Timestamp,
        before: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "update users set session_limit_mailed_at = $2
             where id = $1 and (session_limit_mailed_at is null or session_limit_mailed_at <= $3)";
        Ok(execute!(self, sqlx::query(SQL).bind(user.0).bind(now).bind(before))? == 1)
    }

    /// Ends all live sessions of a user but, if given, one.
    pub async fn revoke_sessions_of(
        &mut self,
        user: UserId,
        except: Option<SessionId>,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<Vec<SessionRow>> {
        const SQL: &str = concat!(
            "update sessions set revoked_at = $2, revoke_reason = $3
             where user_id = $1 and id <> $4 and revoked_at is null and expires_at > $2 and idle_expires_at > $2
             returning ",
            columns!()
        );
        let except = except.map_or(Uuid::nil(), |id| id.0);
        on!(
            self,
            sqlx::query_as(SQL)
                .bind(user.0)
                .bind(now)
                .bind(reason.as_str())
                .bind(except),
            fetch_all
        )
    }

    /// Removes up to `limit` sessions whose absolute end lies before `before`. How many went.
    pub async fn purge_sessions(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        const SQL: &str = "delete from sessions where id in
            (select id from sessions where expires_at < $1 order by expires_at limit $2)";
        execute!(self, sqlx::query(SQL).bind(before).bind(limit))
    }
}

impl Db {
    /// Writes notes of use. SQLite gets them in one transaction, which costs one flush to disk instead of many.
    /// PostgreSQL gets each by itself: a transaction that held many rows could meet another, which holds them in
    /// another order.
    pub async fn write_touches(&self, touches: &[Touch]) -> Result<()> {
        let mut conn = match self {
            Self::Postgres(_) => self.write().await?,
            Self::Sqlite { .. } => self.begin().await?,
        };
        for touch in touches {
            conn.touch_session(touch).await?;
        }
        conn.commit().await
    }
}
