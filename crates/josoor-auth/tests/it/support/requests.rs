//! Requests of a client that is not signed in.

use serde_json::json;

use super::server::{Answer, Server};

/// Asks for a mail that sets another password.
pub(crate) async fn forgot(server: &Server, email: &str) -> Answer {
    server
        .post("/auth/password/forgot", &json!({ "email": email }))
        .await
}

/// Sets a password with the token of such a mail.
pub(crate) async fn reset(server: &Server, token: &str, password: &str) -> Answer {
    server
        .post(
            "/auth/password/reset",
            &json!({ "token": token, "new_password": password }),
        )
        .await
}

/// Signs in.
pub(crate) async fn log_in(server: &Server, email: &str, password: &str) -> Answer {
    server
        .post("/auth/login", &json!({ "email": email, "password": password }))
        .await
}

/// Verifies an address with the token of a mail.
pub(crate) async fn verify(server: &Server, token: &str, password: Option<&str>) -> Answer {
    let mut body = json!({ "token": token });
    if let Some(password) = password {
        body["password"] = password.into();
    }
    server.post("/auth/email/verify", &body).await
}
