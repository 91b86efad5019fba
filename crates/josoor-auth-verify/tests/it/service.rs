use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, StatusCode};
use josoor_auth_verify::{
    Algorithm, AuthLayer, Claims, CurrentUser, Refusal, Role, ServiceCheck, ServiceKeys, SessionCheck,
    SetupError, TokenVerifier,
};
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A user's identifier for other systems.
const UID: &str = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";

use crate::layer::Sessions;
use crate::support::{ISSUER, NOW, SESSION, claims, header, sign_texts, token, verifier, with};

/// Serves `router` on a free port until the test's runtime ends.
async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn read_claims() -> Claims {
    verifier().verify(&token(), NOW).unwrap()
}

/// The outcome of the check for this answer of the service.
async fn check_against(
    answer: impl Fn() -> Response + Clone + Send + Sync + 'static,
) -> Result<CurrentUser, Refusal> {
    let expected = format!("Bearer {}", token());
    let handler = move |request: Request| async move {
        match request.headers().get("authorization") {
            Some(value) if *value == expected => answer(),
            _ => StatusCode::BAD_REQUEST.into_response(),
        }
    };
    let address = serve(Router::new().route("/below/auth/check", get(handler))).await;
    let check = ServiceCheck::new(&format!("http://{address}/below/")).unwrap();
    check.check(&token(), &read_claims()).await
}

async fn check_headers(changes: &'static [(&'static str, &'static str)]) -> Result<CurrentUser, Refusal> {
    check_against(move || {
        let mut headers = HeaderMap::new();
        headers.insert("x-auth-user-id", HeaderValue::from_static("42"));
        headers.insert("x-auth-email", HeaderValue::from_static("layla@example.org"));
        headers.insert("x-auth-email-verified", HeaderValue::from_static("true"));
        headers.insert("x-auth-user-uid", HeaderValue::from_static(UID));
        headers.insert("x-auth-role", HeaderValue::from_static("admin"));
        headers.insert("x-auth-session-id", HeaderValue::from_static(SESSION));
        for (name, value) in changes {
            headers.remove(*name);
            if !value.is_empty() {
                headers.insert(*name, HeaderValue::from_static(value));
            }
        }
        headers.into_response()
    })
    .await
}

#[tokio::test]
async fn a_200_gives_the_user_of_its_headers() {
    let user = check_headers(&[]).await.unwrap();
    assert_eq!(
        (user.id, user.email.as_str(), user.role),
        (42, "layla@example.org", Role::Admin)
    );
    assert_eq!(user.session_id.to_string(), SESSION);
    for (header, address) in [
        (
            "%D9%84%D9%8A%D9%84%D9%89%40example.org",
            "\u{644}\u{64a}\u{644}\u{649}@example.org",
        ),
        ("100%2525@example.org", "100%25@example.org"),
        ("%C3%A9@example.org", "\u{e9}@example.org"),
        ("%25C3%25A9@example.org", "%C3%A9@example.org"),
    ] {
        let change: &[_] = Box::leak(Box::new([("x-auth-email", header)]));
        assert_eq!(check_headers(change).await.unwrap().email, address);
    }
    assert!(user.email_verified);
    assert_eq!(user.uid.unwrap().to_string(), UID);
    let unverified = check_headers(&[("x-auth-email-verified", "false")])
        .await
        .unwrap();
    assert!(!unverified.email_verified);
    // A service of the release before says less, and encodes less: what can be read in two ways is not taken.
    let old = check_headers(&[("x-auth-email-verified", ""), ("x-auth-user-uid", "")])
        .await
        .unwrap();
    assert_eq!(
        (old.email.as_str(), old.email_verified, old.uid),
        ("layla@example.org", false, None)
    );
}

#[tokio::test]
async fn a_200_that_does_not_fit_the_token_is_rejected() {
    for change in [
        &[("x-auth-user-id", "43")][..],
        &[("x-auth-user-id", "")],
        &[("x-auth-user-id", "x")],
        &[("x-auth-session-id", "00000000-0000-4000-8000-000000000000")],
        &[("x-auth-session-id", "")],
        &[("x-auth-role", "owner")],
        &[("x-auth-role", "")],
        &[("x-auth-email", "")],
        &[("x-auth-email", "a%b@example.org")],
        &[("x-auth-email", "a%@example.org")],
        &[("x-auth-email", "%ff@example.org")],
        &[
            ("x-auth-email", "%C3%A9@example.org"),
            ("x-auth-email-verified", ""),
        ],
        &[("x-auth-email-verified", "yes")],
        &[("x-auth-user-uid", "7")],
    ] {
        assert_eq!(
            check_headers(change).await,
            Err(Refusal::StoreUnavailable),
            "{change:?}"
        );
    }
}

#[tokio::test]
async fn a_401_says_why() {
    let answer = |body: String| move || (StatusCode::UNAUTHORIZED, body.clone()).into_response();
    for refusal in Refusal::ALL {
        let outcome = check_against(answer(json!({"code": refusal.code()}).to_string())).await;
        let expected = match refusal {
            // The token was sent, so something on the way took it.
            Refusal::MissingToken => Refusal::StoreUnavailable,
            Refusal::InsufficientRole
            | Refusal::EmailNotVerified
            | Refusal::MfaEnrollmentRequired
            | Refusal::StoreUnavailable => Refusal::TokenInvalid,
            other => other,
        };
        assert_eq!(outcome, Err(expected), "{refusal:?}");
    }
    for body in [
        "",
        "<html>",
        "{}",
        r#"{"code":7}"#,
        r#"{"code":"brand_new"}"#,
        "[]",
    ] {
        assert_eq!(
            check_against(answer(body.to_owned())).await,
            Err(Refusal::TokenInvalid),
            "{body}"
        );
    }
    let endless = json!({"code": "session_revoked", "x": "x".repeat(1024 * 1024)}).to_string();
    assert_eq!(check_against(answer(endless)).await, Err(Refusal::TokenInvalid));
}

#[tokio::test]
async fn any_other_answer_is_no_answer() {
    for status in [204, 302, 400, 403, 404, 429, 500, 502, 503] {
        let outcome = check_against(move || {
            let location = [("location", "/auth/check")];
            (StatusCode::from_u16(status).unwrap(), location).into_response()
        });
        assert_eq!(outcome.await, Err(Refusal::StoreUnavailable), "{status}");
    }
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let check = ServiceCheck::new(&format!("http://{closed}")).unwrap();
    assert_eq!(
        check.check(&token(), &read_claims()).await,
        Err(Refusal::StoreUnavailable)
    );

    // A service that accepts and then says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let check = ServiceCheck::new(&format!("http://{}", silent.local_addr().unwrap())).unwrap();
    let before = Instant::now();
    assert_eq!(
        check.check(&token(), &read_claims()).await,
        Err(Refusal::StoreUnavailable)
    );
    assert!(
        before.elapsed() < Duration::from_secs(4),
        "{:?}",
        before.elapsed()
    );
}

#[test]
fn only_a_plain_http_address_is_taken() {
    for right in [
        "http://localhost:8000",
        "https://auth.example.org",
        "https://auth.example.org/below/",
    ] {
        assert!(ServiceCheck::new(right).is_ok(), "{right}");
    }
    for wrong in [
        "",
        "auth.example.org",
        "ftp://auth.example.org",
        "unix:/run/auth",
        "http://",
        "http://a:b@c",
        "http://a@c",
        "http://c/?x=1",
        "http://c/#x",
        "http://c:99999",
    ] {
        assert_eq!(
            ServiceCheck::new(wrong).unwrap_err(),
            SetupError::ServiceAddress,
            "{wrong}"
        );
        assert_eq!(
            ServiceKeys::new(wrong).unwrap_err(),
            SetupError::ServiceAddress,
            "{wrong}"
        );
    }
}

/// A service with one Ed25519 key, which counts how often it is asked for it.
struct Issuer {
    pair: Ed25519KeyPair,
    asked: AtomicUsize,
    broken: AtomicBool,
    /// Whether the key goes by another id now.
    rotated: AtomicBool,
}

impl Issuer {
    async fn start(broken: bool) -> (Arc<Self>, ServiceKeys) {
        let issuer = Arc::new(Self {
            pair: Ed25519KeyPair::generate().unwrap(),
            asked: AtomicUsize::new(0),
            broken: AtomicBool::new(broken),
            rotated: AtomicBool::new(false),
        });
        let router = Router::new()
            .route("/.well-known/jwks.json", get(list_keys))
            .with_state(Arc::clone(&issuer));
        let keys = ServiceKeys::new(&format!("http://{}", serve(router).await)).unwrap();
        (issuer, keys)
    }

    fn token(&self, kid: &str) -> String {
        let key = EncodingKey::from_ed_der(self.pair.to_pkcs8v1().unwrap().as_ref());
        let header = with(header(), json!({"alg": "EdDSA", "kid": kid}));
        sign_texts(&header.to_string(), &claims().to_string(), &key, Algorithm::EdDSA)
    }
}

async fn list_keys(State(issuer): State<Arc<Issuer>>) -> Response {
    issuer.asked.fetch_add(1, Ordering::SeqCst);
    if issuer.broken.load(Ordering::SeqCst) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let x = URL_SAFE_NO_PAD.encode(issuer.pair.public_key().as_ref());
    let keys: Value = json!({"keys": [
        {"kty": "oct", "kid": "shared", "k": "AAAA"},
        {"kty": "EC", "crv": "P-521", "kid": "other", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "Ed25519", "x": x},
        {"kty": "OKP", "crv": "Ed25519", "kid": if issuer.rotated.load(Ordering::SeqCst) { "e2" } else { "e1" }, "x": x},
    ]});
    keys.to_string().into_response()
}

fn layer_with(keys: ServiceKeys) -> AuthLayer<Sessions> {
    let sessions = Sessions::default();
    sessions.set(Ok(Role::User));
    AuthLayer::new(TokenVerifier::new(ISSUER, None), sessions)
        .keys_from(keys)
        .clock(|| NOW)
}

fn bearer(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(
        http::header::AUTHORIZATION,
        HeaderValue::try_from(format!("Bearer {token}")).unwrap(),
    )])
}

#[tokio::test]
async fn public_keys_are_fetched_once_and_not_for_every_made_up_key_id() {
    let (issuer, keys) = Issuer::start(false).await;
    let fetched = keys.fetch().await.unwrap();
    assert_eq!(fetched.len(), 1, "only the usable key with an id: {fetched:?}");
    assert_eq!(fetched[0].kid(), Some("e1"));

    let layer = layer_with(keys);
    let right = bearer(&issuer.token("e1"));
    let (first, second) = tokio::join!(layer.authenticate(&right), layer.authenticate(&right));
    assert_eq!(first.user().unwrap().id, 42);
    assert_eq!(second.user().unwrap().id, 42);
    assert_eq!(
        issuer.asked.load(Ordering::SeqCst),
        2,
        "one by hand, one for both requests"
    );

    for number in 0..20 {
        let made_up = bearer(&issuer.token(&format!("made-up-{number}")));
        assert_eq!(
            layer.authenticate(&made_up).await.user(),
            Err(Refusal::TokenInvalid)
        );
    }
    for nonsense in ["x", "a.b.c", ""] {
        assert_eq!(
            layer.authenticate(&bearer(nonsense)).await.user(),
            Err(Refusal::TokenInvalid)
        );
    }
    assert_eq!(layer.authenticate(&right).await.user().unwrap().id, 42);
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_do_not_reject_the_token() {
    let (issuer, keys) = Issuer::start(true).await;
    let layer = layer_with(keys);
    for _ in 0..5 {
        let found = layer.authenticate(&bearer(&issuer.token("e1"))).await;
        assert_eq!(found.user(), Err(Refusal::StoreUnavailable));
    }
    assert_eq!(
        issuer.asked.load(Ordering::SeqCst),
        1,
        "a broken service is not asked at every request"
    );
}

/// The service has withdrawn a key: its tokens are refused within the time for which keys are kept, whether or not a token of
/// another key comes. While the list cannot be had the keys stay.
#[tokio::test]
async fn a_key_that_the_service_has_withdrawn_is_used_no_longer_than_keys_are_kept() {
    let (issuer, keys) = Issuer::start(false).await;
    let keep = std::time::Duration::from_millis(100);
    let layer = layer_with(keys.keep_for(keep));
    let token = bearer(&issuer.token("e1"));
    assert_eq!(layer.authenticate(&token).await.user().unwrap().id, 42);
    issuer.broken.store(true, Ordering::SeqCst);
    let begun = std::time::Instant::now();
    while issuer.asked.load(Ordering::SeqCst) < 3 {
        assert_eq!(
            layer.authenticate(&token).await.user().unwrap().id,
            42,
            "the keys stay"
        );
    }
    assert!(begun.elapsed() >= 2 * keep, "it is not asked at every request");
    issuer.broken.store(false, Ordering::SeqCst);
    issuer.rotated.store(true, Ordering::SeqCst);
    let begun = std::time::Instant::now();
    while layer.authenticate(&token).await.user().is_ok() {
        assert!(begun.elapsed() < 20 * keep, "the key is used still");
    }
    assert_eq!(
        layer.authenticate(&token).await.user(),
        Err(Refusal::TokenInvalid)
    );
    let next = bearer(&issuer.token("e2"));
    assert_eq!(layer.authenticate(&next).await.user().unwrap().id, 42);
}
