//! The hot copies, where only the inside shows what is tested.

use std::time::Duration;

use josoor_auth::store::NewSession;
use josoor_auth::types::{SessionId, UserId};
use uuid::Uuid;

use crate::support::server::on_both;

on_both!(
    sessions_and_users_of_every_pair_of_stripes_resolve,
    async |stage: Stage| {
        let server = stage.start().await;
        let user = UserId(server.register("stripes@example.com").await.user_id);
        let now = server.app.clock.now();
        let end = now.plus(Duration::from_mins(1));
        let ids = (0..=255u8).map(|last| {
            SessionId(Uuid::from_bytes(
                [[7; 15].as_slice(), &[last]].concat().try_into().unwrap(),
            ))
        });
        let mut resolved = Vec::new();
        for id in ids {
            let new = NewSession {
                id,
                user_id: user,
                created_at: now,
                expires_at: end,
                idle_expires_at: end,
                ip: "",
                user_agent: "",
            };
            server
                .app
                .db
                .write()
                .await
                .unwrap()
                .insert_session(&new)
                .await
                .unwrap();
            // All at once, so that those who lock two of the stripes meet each other.
            for _ in 0..4 {
                let app = server.app.clone();
                resolved.push(tokio::spawn(async move {
                    app.hot.resolve(id, user).await.map(|copy| copy.id)
                }));
            }
        }
        let all = futures_util::future::join_all(resolved);
        let all = tokio::time::timeout(Duration::from_secs(30), all)
            .await
            .expect("nobody waits for ever");
        assert!(all.into_iter().all(|one| one.unwrap().unwrap() == user.0));
        server.stop().await;
    }
);
