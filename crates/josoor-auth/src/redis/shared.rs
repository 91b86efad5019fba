//! What commands and background tasks share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use super::source::{Link, Source};
use super::types::RedisEvent;

pub(super) struct Shared {
    pub(super) source: Source,
    pub(super) prefix: String,
    pub(super) channel: String,
    pub(super) timeout: Duration,
    /// `None` while it is known that no command would be answered.
    pub(super) link: watch::Sender<Option<Link>>,
    /// Counts the links. It grows while there is none, so that the same number before and after a command
    /// says which link carried it.
    pub(super) epoch: AtomicU64,
    /// A command got no proper answer: the link is examined before its time.
    pub(super) examine_now: Notify,
    /// A new link stands; it may lead to another master than the subscription.
    pub(super) relinked: Notify,
    pub(super) listeners: Mutex<Listeners>,
}

#[derive(Default)]
pub(super) struct Listeners {
    pub(super) subscribed: bool,
    pub(super) senders: Vec<mpsc::UnboundedSender<RedisEvent>>,
}

impl Shared {
    /// Offers a link to the commands, where there is none.
    pub(super) fn put_link(&self, link: Link) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.link.send_replace(Some(link));
    }

    pub(super) fn notify_listeners(&self, event: &RedisEvent) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            RedisEvent::Subscribed => listeners.subscribed = true,
            RedisEvent::Lost => listeners.subscribed = false,
            RedisEvent::Message(_) => {}
        }
        listeners
            .senders
            .retain(|sender| sender.send(event.clone()).is_ok());
    }
}
