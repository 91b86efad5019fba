//! The table `devices`: where users have signed in.

use uuid::Uuid;

use super::conn::{Conn, execute, on};
use super::row::from_row;
use crate::domain::{Timestamp, UserId};
use crate::error::Result;

/// A device, as stored.
#[derive(Clone, Debug)]
pub struct Device {
    /// Names it in its mark.
    pub id: Uuid,
    user_id: i64,
    /// The credentials that its last sign-in was verified against; see `devices::epoch_of`.
    pub epoch: String,
    /// When the user first signed in on it.
    pub created_at: Timestamp,
    /// When the user last signed in on it.
    pub last_seen_at: Timestamp,
    /// When it last presented its mark.
    pub presented_at: Option<Timestamp>,
    /// When it was forgotten.
    pub forgotten_at: Option<Timestamp>,
    /// Its name, such as "Firefox on Windows".
    pub label: String,
    /// The network of its last sign-in, as the limits count networks.
    pub network: String,
    /// The address of its last sign-in.
    pub ip: String,
    trusted_until: Option<Timestamp>,
}

from_row!(Device as columns {
    id,
    user_id,
    epoch,
    created_at,
    last_seen_at,
    presented_at,
    forgotten_at,
    label,
    network,
    ip,
    trusted_until
});

impl Device {
    /// Whose it is.
    pub const fn user_id(&self) -> UserId {
        UserId(self.user_id)
    }

    /// Whether it counts for an account whose credentials have this epoch.
    pub fn is_current(&self, epoch: &str) -> bool {
        self.forgotten_at.is_none() && self.epoch == epoch
    }

    /// The device, sparing nothing.
    #[must_use]
    pub fn without_trust(self) -> Self {
        Self {
            trusted_until: None,
            ..self
        }
    }

    /// Until when it spares its user the second factor, if it does at a time.
    pub fn trusted_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.trusted_until.filter(|until| now < *until)
    }
}

/// A sign-in on a device.
#[derive(Debug)]
pub struct DeviceSeen<'a> {
    /// The device.
    pub id: Uuid,
    /// The user.
    pub user: UserId,
    /// The credentials that were verified.
    pub epoch: &'a str,
    /// When.
    pub at: Timestamp,
    /// Whether it presented its mark.
    pub presented: bool,
    /// Its name.
    pub label: &'a str,
    /// From which network.
    pub network: &'a str,
    /// From which address.
    pub ip: &'a str,
}

impl Conn {
    /// A user's device, whatever it is worth.
    pub async fn device(&mut self, user: UserId, id: Uuid) -> Result<Option<Device>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from devices where id = $1 and user_id = $2"
        );
        on!(self, sqlx::query_as(SQL).bind(id).bind(user.0), fetch_optional)
    }

    /// All devices of a user, those that were forgotten included, the one that was used last first.
    pub async fn devices_of(&mut self, user: UserId) -> Result<Vec<Device>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from devices where user_id = $1 order by last_seen_at desc, id limit 1000"
        );
        on!(self, sqlx::query_as(SQL).bind(user.0), fetch_all)
    }

    /// Adds a device.
    pub async fn insert_device(&mut self, seen: &DeviceSeen<'_>) -> Result<()> {
        const SQL: &str =
            "insert into devices (id, user_id, epoch, created_at, last_seen_at, label, network, ip)
             values ($1, $2, $3, $4, $4, $5, $6, $7)";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(seen.id)
                .bind(seen.user.0)
                .bind(seen.epoch)
                .bind(seen.at)
                .bind(seen.label)
                .bind(seen.network)
                .bind(seen.ip)
        )
        .map(drop)
    }

    /// Notes another sign-in on a device.
    pub async fn touch_device(&mut self, seen: &DeviceSeen<'_>) -> Result<()> {
        const SQL: &str =
            "update devices set last_seen_at = case when last_seen_at < $3 then $3 else last_seen_at end,
                presented_at = case when $4 then $3 else presented_at end, label = $5, network = $6, ip = $7
             where id = $1 and user_id = $2 and forgotten_at is null";
        execute!(
            self,
            sqlx::query(SQL)
                .bind(seen.id)
                .bind(seen.user.0)
                .bind(seen.at)
                .bind(seen.presented)
                .bind(seen.label)
                .bind(seen.network)
                .bind(seen.ip)
        )
        .map(drop)
    }

    /// Forgets one device of a user. Whether there was one.
    pub async fn forget_device(&mut self, user: UserId, id: Uuid, now: Timestamp) -> Result<bool> {
        const SQL: &str =
            "update devices set forgotten_at = $3 where id = $1 and user_id = $2 and forgotten_at is null";
        Ok(execute!(self, sqlx::query(SQL).bind(id).bind(user.0).bind(now))? == 1)
    }

    /// Forgets all devices of a user. How many there were.
    pub async fn forget_devices(&mut self, user: UserId, now: Timestamp) -> Result<u64> {
        const SQL: &str = "update devices set forgotten_at = $2 where user_id = $1 and forgotten_at is null";
        execute!(self, sqlx::query(SQL).bind(user.0).bind(now))
    }

    /// Lets a device of a user spare the second factor until a time.
    pub async fn trust_device(&mut self, user: UserId, id: Uuid, until: Timestamp) -> Result<bool> {
        const SQL: &str =
            "update devices set trusted_until = $3 where id = $1 and user_id = $2 and forgotten_at is null";
        Ok(execute!(self, sqlx::query(SQL).bind(id).bind(user.0).bind(until))? == 1)
    }

    /// Takes the trust from all devices of a user. How many had it.
    pub async fn revoke_trust_of(&mut self, user: UserId) -> Result<u64> {
        const SQL: &str =
            "update devices set trusted_until = null where user_id = $1 and trusted_until is not null";
        execute!(self, sqlx::query(SQL).bind(user.0))
    }

    /// Removes a device.
    pub async fn delete_device(&mut self, id: Uuid) -> Result<()> {
        execute!(self, sqlx::query("delete from devices where id = $1").bind(id)).map(drop)
    }

    /// Removes up to `limit` devices that were forgotten before `forgotten`, or last used before `unused`. How many went.
    pub async fn purge_devices(
        &mut self,
        forgotten: Timestamp,
        unused: Timestamp,
        limit: i64,
    ) -> Result<u64> {
        const SQL: &str = "delete from devices where id in
            (select id from devices where last_seen_at < $2 or forgotten_at < $1 limit $3)";
        execute!(self, sqlx::query(SQL).bind(forgotten).bind(unused).bind(limit))
    }
}
