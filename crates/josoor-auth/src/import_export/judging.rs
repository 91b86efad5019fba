//! What becomes of a user from a source, by what the database has and by the lines before.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::user::Incoming;
use crate::domain::{Timestamp, UserId};
use crate::error::{FieldError, Invalid, Result};
use crate::store::User;

/// A user with its line.
pub(super) type Numbered = (u64, Box<Incoming>);

/// What a user claims for itself within the file.
pub(super) fn keys(user: &Incoming, uid: Option<Uuid>) -> Vec<String> {
    let mut keys = vec![format!("e{}", user.email.key())];
    keys.extend(user.id.map(|id| format!("i{id}")));
    keys.extend(uid.map(|uid| format!("u{uid}")));
    keys
}

/// The ids of a user here.
pub(super) type Here = (UserId, Uuid);

#[derive(Debug)]
pub(super) enum Verdict {
    New {
        /// The one to keep.
        uid: Option<Uuid>,
        /// Once the user is there.
        here: Option<Here>,
        /// What turned out then.
        warning: Option<FieldError>,
    },
    Unchanged(Here),
    Refused(FieldError),
}

/// Judges each line by what the database has and by the lines before it. A line that is refused claims nothing, and so
/// costs no other one.
pub(super) fn judge_all(users: &[Numbered], met: &HashMap<String, u64>, there: &Existing) -> Vec<Verdict> {
    let mut met = met.clone();
    let mut verdicts = Vec::with_capacity(users.len());
    for (number, user) in users {
        let required = keys(user, user.uid);
        let earlier = required.iter().find_map(|key| Some((key, *met.get(key)?)));
        let mut verdict = match earlier {
            Some((key, line)) => {
                let (field, what) = match key.as_bytes().first() {
                    Some(b'e') => ("email", "address"),
                    Some(b'u') => ("uid", "uid"),
                    _ => ("id", "id"),
                };
                let reason = format!("Line {line} has the same {what}, and was taken first.");
                Verdict::Refused(Invalid::new("duplicate", reason).in_field(field))
            }
            None => there.judge(user),
        };
        let claimed = match &mut verdict {
            Verdict::Refused(_) => Vec::new(),
            Verdict::Unchanged(_) => required,
            Verdict::New { uid, .. } => {
                let free = user
                    .preferred_uid
                    .filter(|uid| !met.contains_key(&format!("u{uid}")) && !there.uids.contains_key(uid));
                *uid = user.uid.or(free);
                keys(user, *uid)
            }
        };
        met.extend(claimed.into_iter().map(|key| (key, *number)));
        verdicts.push(verdict);
    }
    verdicts
}

/// What the database has of the ids and addresses of a batch.
pub(super) struct Existing {
    by_key: HashMap<String, usize>,
    by_id: HashMap<UserId, usize>,
    uids: HashMap<Uuid, UserId>,
    users: Vec<User>,
    deleted: HashSet<UserId>,
}

impl Existing {
    pub(super) async fn load(
        conn: &mut crate::store::Conn,
        ids: &[UserId],
        uids: &[Uuid],
        keys: &[&str],
        now: Timestamp,
    ) -> Result<Self> {
        let users = conn.users_with(ids, uids, keys).await?;
        let deleted = conn.recently_deleted(ids, now).await?;
        Ok(Self {
            by_key: users
                .iter()
                .enumerate()
                .map(|(index, user)| (user.email_key.clone(), index))
                .collect(),
            by_id: users
                .iter()
                .enumerate()
                .map(|(index, user)| (user.id, index))
                .collect(),
            uids: users.iter().map(|user| (user.uid, user.id)).collect(),
            users,
            deleted: deleted.into_iter().collect(),
        })
    }

    pub(super) fn judge(&self, user: &Incoming) -> Verdict {
        let refuse = |field: &str, code, message: String| {
            Verdict::Refused(Invalid::new(code, message).in_field(field))
        };
        let by_key = self.by_key.get(user.email.key()).map(|index| &self.users[*index]);
        let by_id = user
            .id
            .and_then(|id| self.by_id.get(&id))
            .map(|index| &self.users[*index]);
        match (by_key, by_id, user.id) {
            (Some(there), _, Some(id)) if there.id != id => {
                refuse("email", "email_taken", format!("The address belongs to the user with the id {}.", there.id))
            }
            (None, Some(there), _) => {
                refuse("id", "id_taken", format!("The id {} belongs to a user with another address.", there.id))
            }
            (Some(there), _, _) => {
                let differences = user.differences(there);
                match differences.first() {
                    None => Verdict::Unchanged((there.id, there.uid)),
                    Some(first) => refuse(
                        first,
                        "exists",
                        format!("The user is there with other values of {}, and was left as it is.", differences.join(", ")),
                    ),
                }
            }
            (None, None, _) if user.uid.is_some_and(|uid| self.uids.contains_key(&uid)) => {
                refuse("uid", "uid_taken", "The uid belongs to a user with another address.".to_owned())
            }
            (None, None, Some(id)) if self.deleted.contains(&id) => refuse(
                "id",
                "id_recently_deleted",
                "The id belonged to a user that was deleted less than a day ago; it can be used again a day after the deletion.".to_owned(),
            ),
            (None, None, _) => Verdict::New { uid: None, here: None, warning: None },
        }
    }
}
