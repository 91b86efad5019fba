//! Refresh tokens: the decision table, and who wins when many come at once.

use std::collections::HashSet;

use crate::support::server::{Tokens, on_both};

on_both!(
    of_64_refreshes_at_once_one_makes_a_generation,
    async |stage: Stage| {
        let server = stage.start().await;
        let tokens = server.register("many@example.com").await;
        let attempts = (0..64).map(|_| server.refresh(&tokens.refresh));
        let answers = futures_util::future::join_all(attempts).await;
        let given: HashSet<String> = answers.iter().map(|answer| Tokens::of(answer).refresh).collect();
        assert_eq!(given.len(), 1);
        assert_eq!(Tokens::of(&answers[0]).claim("gen"), 2);
        assert!(!given.contains(&tokens.refresh));
        server.stop().await;
    }
);
