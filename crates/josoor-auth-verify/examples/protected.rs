//! A service of its own, protected by JOSOOR Auth.
//!
//! ```text
//! JOSOOR_AUTH_URL=http://localhost:8000 JWT_SECRET=… cargo run -p josoor-auth-verify --example protected
//! curl -H "Authorization: Bearer $ACCESS_TOKEN" http://localhost:8001/hello
//! ```
//!
//! * `JOSOOR_AUTH_URL`: where the service is; also the issuer of its tokens, unless `JOSOOR_AUTH_ISSUER` says another.
//! * `JWT_SECRET`: the secret that both share, with `JWT_ALGORITHM` (HS256). Without it the service's public keys are
//!   fetched, which takes a service that is set to EdDSA, ES256 or RS256.
//! * `REDIS_URL`, `REDIS_PREFIX`: the service's Redis, to spare a request to the service for each of ours. What was read there is
//!   cached while the subscription to the service's invalidations is up.
//! * `PORT`: where to listen on this machine; 8001.

use std::env::var;
use std::error::Error;

use axum::Router;
use axum::routing::get;
use josoor_auth_verify::{
    Algorithm, AuthLayer, CurrentUser, RedisCheck, RequireAnalyst, Role, ServiceCheck, ServiceKeys,
    SessionCheck, TokenVerifier, VerificationKey, require_role,
};

/// The routes, and under what conditions they may be used. Nothing here knows how sessions are checked.
fn routes() -> Router {
    let administration = Router::new()
        .route("/admin/settings", get(|| async { "The settings.\n" }))
        .route_layer(require_role(Role::Admin));
    Router::new()
        .route("/", get(|| async { "Open to everybody.\n" }))
        .route(
            "/hello",
            get(|user: CurrentUser| async move { format!("Hello, {}.\n", user.email) }),
        )
        .route(
            "/reports",
            get(|RequireAnalyst(user): RequireAnalyst| async move { format!("Reports of {}.\n", user.id) }),
        )
        .merge(administration)
}

/// The ten lines: which tokens are taken, how their sessions are checked, and the layer around the routes.
fn protect(routes: Router, check: impl SessionCheck) -> Result<Router, Box<dyn Error>> {
    let service = var("JOSOOR_AUTH_URL")?;
    let verifier = TokenVerifier::new(
        var("JOSOOR_AUTH_ISSUER").unwrap_or_else(|_| service.clone()),
        None,
    );
    let auth = if let Ok(secret) = var("JWT_SECRET") {
        let algorithm: Algorithm = var("JWT_ALGORITHM").as_deref().unwrap_or("HS256").parse()?;
        AuthLayer::new(
            verifier.with_key(VerificationKey::hmac(None, algorithm, secret.as_bytes())?),
            check,
        )
    } else {
        AuthLayer::new(verifier, check).keys_from(ServiceKeys::new(&service)?)
    };
    Ok(routes.layer(auth))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let service =
        ServiceCheck::new(&var("JOSOOR_AUTH_URL").map_err(|_| "JOSOOR_AUTH_URL says where JOSOOR Auth is")?)?;
    let router = match var("REDIS_URL") {
        Ok(redis) => protect(
            routes(),
            RedisCheck::new(&redis, var("REDIS_PREFIX").unwrap_or_default(), service)?,
        )?,
        Err(_) => protect(routes(), service)?,
    };
    let port: u16 = var("PORT").as_deref().unwrap_or("8001").parse()?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    Ok(axum::serve(listener, router).await?)
}
