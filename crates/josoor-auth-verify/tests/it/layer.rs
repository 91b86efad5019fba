use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, State};
use axum::routing::{get, post};
use http::{HeaderMap, Request, StatusCode};
use josoor_auth_verify::{
    Algorithm, AuthLayer, Authentication, Claims, CurrentUser, Refusal, RequireAcr, RequireAdmin,
    RequireAnalyst, RequireVerified, Role, SessionCheck, TokenVerifier, VerificationKey, require_role,
};
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use crate::support::{ISSUER, NOW, SECRET, SESSION, claims, header, sign, token, verifier, with};

/// The sessions of a service that keeps them in its own memory.
#[derive(Default)]
pub(crate) struct Sessions {
    state: Mutex<HashMap<Uuid, Result<CurrentUser, Refusal>>>,
}

impl Sessions {
    pub(crate) fn set(&self, state: Result<Role, Refusal>) {
        let session_id = SESSION.parse().unwrap();
        let state = state.map(|role| CurrentUser {
            id: 42,
            uid: None,
            email: "layla@example.org".to_owned(),
            email_verified: role > Role::User,
            role,
            session_id,
            acr: if role == Role::Admin { 2 } else { 1 },
        });
        self.state.lock().unwrap().insert(session_id, state);
    }
}

impl SessionCheck for Sessions {
    async fn check(&self, _token: &str, claims: &Claims) -> Result<CurrentUser, Refusal> {
        let state = self.state.lock().unwrap().get(&claims.sid).cloned();
        state.unwrap_or(Err(Refusal::SessionRevoked))
    }
}

fn router(layer: AuthLayer<Arc<Sessions>>) -> Router {
    let guarded = Router::new()
        .route("/guarded", get(|| async { "guarded" }))
        .route_layer(require_role(Role::Analyst));
    Router::new()
        .route("/public", get(|| async { "public" }))
        .route("/user", get(|user: CurrentUser| async move { user.email }))
        .route(
            "/optional",
            get(|user: Option<CurrentUser>| async move { user.map_or("unknown".to_owned(), |user| user.email) }),
        )
        .route("/analyst", get(|RequireAnalyst(user): RequireAnalyst| async move { user.role.to_string() }))
        .route("/verified", get(|RequireVerified(user): RequireVerified| async move { user.email }))
        .route("/strong", get(|RequireAcr(user): RequireAcr<2>| async move { user.acr.to_string() }))
        .route("/fresh", get(|RequireAcr(user): RequireAcr<2, 600>| async move { user.acr.to_string() }))
        .route("/admin", get(|RequireAdmin(user): RequireAdmin| async move { user.role.to_string() }))
        .route(
            "/state",
            post(|State(number): State<u8>, user: CurrentUser, body: String| async move {
                format!("{number} {} {body}", user.id)
            }),
        )
        .route(
            "/generation",
            get(|Extension(found): Extension<Authentication>| async move {
                found.claims().map(|claims| claims.generation).unwrap_or_default().to_string()
            }),
        )
        .merge(guarded)
        .layer(layer)
        .with_state(7)
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
    refusal: Option<Refusal>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], self.status.as_u16());
        problem
    }

    #[track_caller]
    fn is_refused(&self, refusal: Refusal, status: u16) {
        let problem = self.problem();
        assert_eq!(problem["code"], refusal.code());
        assert_eq!(self.status.as_u16(), status);
        assert_eq!(problem["type"], format!("{ISSUER}/errors/{}", refusal.code()));
        assert_eq!(problem["title"], refusal.title());
        assert_eq!(problem["detail"], refusal.to_string());
        assert_eq!(self.header("www-authenticate"), refusal.www_authenticate());
        assert_eq!(self.refusal, Some(refusal));
    }
}

async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
        refusal: parts.extensions.get().copied(),
    }
}

async fn get_with(router: &Router, path: &str, bearer: Option<&str>) -> Answer {
    let mut request = Request::get(path);
    if let Some(bearer) = bearer {
        request = request.header("authorization", format!("Bearer {bearer}"));
    }
    ask(router, request.body(Body::empty()).unwrap()).await
}

fn layer() -> (AuthLayer<Arc<Sessions>>, Arc<Sessions>) {
    let sessions = Arc::new(Sessions::default());
    sessions.set(Ok(Role::User));
    (
        AuthLayer::new(verifier(), Arc::clone(&sessions)).clock(|| NOW),
        sessions,
    )
}

#[tokio::test]
async fn the_extractors_give_the_user_from_the_live_state() {
    let (layer, sessions) = layer();
    let router = router(layer);
    let token = token();
    let bearer = Some(token.as_str());
    assert_eq!(get_with(&router, "/user", bearer).await.body, "layla@example.org");
    assert_eq!(
        get_with(&router, "/optional", bearer).await.body,
        "layla@example.org"
    );
    assert_eq!(get_with(&router, "/generation", bearer).await.body, "3");
    let request = Request::post("/state").header("authorization", format!("bearer {token}"));
    assert_eq!(
        ask(&router, request.body(Body::from("text")).unwrap()).await.body,
        "7 42 text"
    );

    // The token says analyst all the time; only the state counts.
    for (role, reached) in [(Role::User, 0), (Role::Analyst, 2), (Role::Admin, 3)] {
        sessions.set(Ok(role));
        for (index, path) in ["/analyst", "/guarded", "/admin"].into_iter().enumerate() {
            let answer = get_with(&router, path, bearer).await;
            if index < reached {
                assert_eq!(answer.status, StatusCode::OK, "{role} {path}");
            } else {
                answer.is_refused(Refusal::InsufficientRole, 403);
            }
        }
    }
}

#[tokio::test]
async fn without_a_token_only_what_needs_none_is_open() {
    let (layer, _) = layer();
    for (layer, status) in [
        (layer.clone(), 401),
        (layer.missing_token_status(StatusCode::FORBIDDEN), 403),
    ] {
        let router = router(layer);
        assert_eq!(get_with(&router, "/public", None).await.body, "public");
        assert_eq!(get_with(&router, "/optional", None).await.body, "unknown");
        for path in ["/user", "/analyst", "/admin", "/guarded"] {
            get_with(&router, path, None)
                .await
                .is_refused(Refusal::MissingToken, status);
        }
        let basic = Request::get("/user")
            .header("authorization", "Basic QTpC")
            .body(Body::empty())
            .unwrap();
        ask(&router, basic)
            .await
            .is_refused(Refusal::MissingToken, status);
        assert_eq!(
            get_with(&router, "/nowhere", None).await.status,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn every_refusal_of_a_check_reaches_the_client() {
    let (layer, sessions) = layer();
    let router = router(layer);
    let token = token();
    for refusal in Refusal::ALL {
        if refusal == Refusal::MissingToken {
            continue;
        }
        sessions.set(Err(refusal));
        for path in ["/user", "/optional", "/guarded"] {
            let answer = get_with(&router, path, Some(&token)).await;
            answer.is_refused(refusal, refusal.status().as_u16());
            let retry = (refusal == Refusal::StoreUnavailable).then_some("1");
            assert_eq!(answer.header("retry-after"), retry);
        }
        assert_eq!(get_with(&router, "/public", Some(&token)).await.body, "public");
    }
}

#[tokio::test]
async fn a_bad_token_is_refused_and_not_taken_for_none() {
    let (layer, _) = layer();
    let router = router(layer);
    let expired = sign(&header(), &with(claims(), json!({"exp": NOW})));
    for path in ["/user", "/optional", "/guarded"] {
        get_with(&router, path, Some("a.b.c"))
            .await
            .is_refused(Refusal::TokenInvalid, 401);
        get_with(&router, path, Some(""))
            .await
            .is_refused(Refusal::TokenInvalid, 401);
        get_with(&router, path, Some(&expired))
            .await
            .is_refused(Refusal::TokenExpired, 401);
    }
    let twice = Request::get("/user")
        .header("authorization", format!("Bearer {}", token()))
        .header("authorization", format!("Bearer {}", token()));
    ask(&router, twice.body(Body::empty()).unwrap())
        .await
        .is_refused(Refusal::TokenInvalid, 401);
}

#[tokio::test]
async fn the_request_id_is_repeated_when_it_is_harmless() {
    let (layer, _) = layer();
    let router = router(layer);
    let long = "x".repeat(129);
    for (ids, expected) in [
        (vec![], None),
        (vec!["4bf92f3577b34da6"], Some("4bf92f3577b34da6")),
        (vec!["a", "b"], None),
        (vec!["<script>"], None),
        (vec!["a b"], None),
        (vec![""], None),
        (vec![long.as_str()], None),
    ] {
        let request = ids.iter().fold(Request::get("/user"), |request, id| {
            request.header("x-request-id", *id)
        });
        let problem = ask(&router, request.body(Body::empty()).unwrap()).await.problem();
        assert_eq!(
            problem.get("request_id").and_then(Value::as_str),
            expected,
            "{ids:?}"
        );
    }
}

#[tokio::test]
async fn without_the_layer_every_request_is_rejected() {
    let router = Router::new()
        .route("/user", get(|_: CurrentUser| async {}))
        .route("/optional", get(|_: Option<CurrentUser>| async {}))
        .route("/admin", get(|_: RequireAdmin| async {}))
        .merge(
            Router::new()
                .route("/guarded", get(|| async {}))
                .route_layer(require_role(Role::User)),
        );
    for path in ["/user", "/optional", "/admin", "/guarded"] {
        let answer = get_with(&router, path, Some(&token())).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.problem()["code"], "internal");
        assert_eq!(answer.refusal, None);
    }
}

#[tokio::test]
async fn keys_can_be_replaced_and_the_clock_runs() {
    let time = Arc::new(AtomicI64::new(NOW));
    let (layer, _) = layer();
    let clock = Arc::clone(&time);
    let layer = layer.clock(move || clock.load(Ordering::Relaxed));
    let router = router(layer.clone());
    let token = token();
    assert_eq!(
        get_with(&router, "/user", Some(&token)).await.status,
        StatusCode::OK
    );
    let other = VerificationKey::hmac(Some("k1".to_owned()), Algorithm::HS256, &[1; 32]).unwrap();
    layer.replace_verifier(TokenVerifier::new(ISSUER, None).with_key(other));
    get_with(&router, "/user", Some(&token))
        .await
        .is_refused(Refusal::TokenInvalid, 401);
    let own = VerificationKey::hmac(None, Algorithm::HS256, SECRET).unwrap();
    layer.replace_verifier(TokenVerifier::new(ISSUER, None).with_key(own));
    assert_eq!(
        get_with(&router, "/user", Some(&token)).await.status,
        StatusCode::OK
    );
    time.store(NOW + 300, Ordering::Relaxed);
    get_with(&router, "/user", Some(&token))
        .await
        .is_refused(Refusal::TokenExpired, 401);
}

#[tokio::test]
async fn b4_a_verified_address_can_be_asked_for() {
    let sessions = Arc::new(Sessions::default());
    let router = router(AuthLayer::new(verifier(), Arc::clone(&sessions)).clock(|| NOW));
    sessions.set(Ok(Role::User));
    get_with(&router, "/user", Some(&token())).await;
    get_with(&router, "/verified", Some(&token()))
        .await
        .is_refused(Refusal::EmailNotVerified, 403);
    get_with(&router, "/verified", None)
        .await
        .is_refused(Refusal::MissingToken, 401);
    sessions.set(Ok(Role::Analyst));
    let admitted = get_with(&router, "/verified", Some(&token())).await;
    assert_eq!(
        (admitted.status, admitted.body.as_str()),
        (StatusCode::OK, "layla@example.org")
    );
}

#[tokio::test]
async fn a_strong_and_fresh_verification_can_be_asked_for() {
    const STRONG: &str = r#"Bearer realm="josoor", error="insufficient_user_authentication", acr_values="2""#;
    let sessions = Arc::new(Sessions::default());
    let router = router(AuthLayer::new(verifier(), Arc::clone(&sessions)).clock(|| NOW));
    let at = |seconds: i64| sign(&header(), &with(claims(), json!({ "auth_time": NOW - seconds })));
    // What the account has now decides, whatever the token says.
    sessions.set(Ok(Role::User));
    for (path, challenge) in [
        ("/strong", STRONG.to_owned()),
        ("/fresh", format!("{STRONG}, max_age=\"600\"")),
    ] {
        let answer = get_with(&router, path, Some(&at(0))).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.problem()["code"], "step_up_required");
        assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));
    }
    sessions.set(Ok(Role::Admin));
    assert_eq!(get_with(&router, "/strong", Some(&at(1_000_000))).await.body, "2");
    assert_eq!(get_with(&router, "/fresh", Some(&at(600))).await.body, "2");
    for stale in [
        at(601),
        sign(&header(), &with(claims(), json!({ "auth_time": null }))),
    ] {
        let answer = get_with(&router, "/fresh", Some(&stale)).await;
        assert_eq!(answer.problem()["code"], "step_up_required");
    }
    get_with(&router, "/strong", None)
        .await
        .is_refused(Refusal::MissingToken, 401);
}

#[test]
fn two_factors_count_while_the_account_has_them() {
    let mut claims: Claims = serde_json::from_value(claims()).unwrap();
    claims.acr = Some("2".to_owned());
    claims.auth_time = Some(NOW);
    for (since, acr) in [(None, 1), (Some(NOW - 1), 2), (Some(NOW), 2), (Some(NOW + 1), 1)] {
        assert_eq!(claims.acr_given(since), acr, "{since:?}");
    }
    claims.auth_time = None;
    assert_eq!(claims.acr_given(Some(0)), 1);
    claims.auth_time = Some(NOW);
    for acr in [None, Some("1"), Some("3"), Some("")] {
        claims.acr = acr.map(str::to_owned);
        assert_eq!(claims.acr_given(Some(0)), 1, "{acr:?}");
    }
}
