//! Reading the development mailbox, as a person at this machine would.

use serde_json::Value;

use super::server::{Server, eventually};

/// A mail in the mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) kind: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
    pub(crate) link: String,
    pub(crate) locale: String,
}

impl Mail {
    /// The one-time token of the mail's link.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        let (_, token) = self
            .link
            .split_once("#token=")
            .unwrap_or_else(|| panic!("no token in {self:?}"));
        token.to_owned()
    }
}

/// All mails to an address, the oldest first.
pub(crate) async fn mails(server: &Server, to: &str) -> Vec<Mail> {
    let answer = server
        .send(server.request(reqwest::Method::GET, "/dev/mail"))
        .await
        .is(200);
    let text = |mail: &Value, name: &str| mail[name].as_str().unwrap_or_default().to_owned();
    let items = answer.json["items"].as_array().expect("items");
    let mut mails: Vec<Mail> = items
        .iter()
        .filter(|mail| mail["to"] == to)
        .map(|mail| Mail {
            kind: text(mail, "kind"),
            subject: text(mail, "subject"),
            text: text(mail, "text"),
            html: text(mail, "html"),
            link: text(mail, "link"),
            locale: text(mail, "locale"),
        })
        .collect();
    mails.reverse();
    mails
}

/// The latest mail of a kind to an address, once `count` of them have come.
pub(crate) async fn mail_number(server: &Server, to: &str, kind: &str, count: usize) -> Mail {
    eventually(&format!("{count} mails {kind} to {to}"), || async {
        mails(server, to)
            .await
            .iter()
            .filter(|mail| mail.kind == kind)
            .count()
            >= count
    })
    .await;
    let all = mails(server, to).await;
    let of_kind: Vec<_> = all.into_iter().filter(|mail| mail.kind == kind).collect();
    assert_eq!(of_kind.len(), count, "{kind} to {to}");
    of_kind.last().expect("one").clone()
}

/// The first mail of a kind to an address, once it has come.
pub(crate) async fn mail(server: &Server, to: &str, kind: &str) -> Mail {
    mail_number(server, to, kind, 1).await
}

/// Waits until the outbox has nothing in hand.
pub(crate) async fn settled(server: &Server) {
    eventually("the outbox is empty", || async {
        let mut conn = server.app.db.write().await.expect("a connection");
        conn.mail_backlog().await.expect("the backlog").is_empty()
    })
    .await;
}
