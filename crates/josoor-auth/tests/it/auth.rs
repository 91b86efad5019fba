//! Registering, signing in and out, and one's own account.

use reqwest::Method;
use serde_json::json;

use crate::support::server::{PASSWORD, Tokens, on_both};

on_both!(
    the_documents_own_requests_have_its_statuses,
    async |stage: Stage| {
        let server = stage.start().await;
        let body =
            json!({ "email": "test@example.com", "password": "Password123", "full_name": "Test User" });
        let registered = server.post("/auth/register", &body).await.is(201);
        assert_eq!(registered.json["user"]["email"], "test@example.com");
        assert_eq!(registered.json["token_type"], "bearer");
        server
            .post("/auth/register", &body)
            .await
            .is_problem(400, "email_taken");
        let body = json!({ "email": "test@example.com", "password": "Password123" });
        let tokens = Tokens::of(&server.post("/auth/login", &body).await.is(200));
        let body = json!({ "email": "test@example.com", "password": "WrongPassword" });
        server
            .post("/auth/login", &body)
            .await
            .is_problem(401, "invalid_credentials");
        let missing = server
            .send(server.request(Method::GET, "/auth/me"))
            .await
            .is_problem(403, "missing_token");
        assert!(
            missing.headers["www-authenticate"]
                .to_str()
                .unwrap()
                .starts_with("Bearer")
        );
        let me = server.get("/auth/me", &tokens.access).await.is(200);
        assert_eq!(me.json["full_name"], "Test User");
        assert_eq!(me.json["role"], "user");
        server.stop().await;
    }
);

on_both!(
    one_address_in_64_spellings_at_once_makes_one_account,
    async |stage: Stage| {
        let server = stage.start().await;
        let attempts = (0..64u32).map(|number| {
            let email: String = "somebody@example.com"
                .char_indices()
                .map(|(at, letter)| {
                    if number >> (at % 6) & 1 == 1 {
                        letter.to_ascii_uppercase()
                    } else {
                        letter
                    }
                })
                .collect();
            let body = json!({ "email": email, "password": PASSWORD });
            let server = &server;
            async move { server.post("/auth/register", &body).await }
        });
        let answers = futures_util::future::join_all(attempts).await;
        let created = answers.iter().filter(|answer| answer.status == 201).count();
        let taken = answers
            .iter()
            .filter(|answer| answer.status == 400 && answer.code() == "email_taken")
            .count();
        assert_eq!((created, taken), (1, 63));
        server.stop().await;
    }
);
