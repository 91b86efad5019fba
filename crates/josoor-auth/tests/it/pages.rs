//! The pages that the server renders, without a browser's scripts: forms, redirects and what protects them.

use std::time::Duration;

use josoor_auth::account::setup;
use josoor_auth::clock::Clock;
use reqwest::Method;
use serde_json::json;

use crate::support::browser::{Browser, Page};
use crate::support::database;
use crate::support::mailbox::{mail, mail_number};
use crate::support::server::{Footprint, PASSWORD, Server, Stage, on_both};

const NEW: &str = "another long sentence";

/// Every page with a form, and its heading before anything was done.
const PAGES: [(&str, &str, &str); 13] = [
    ("/login", "Sign in", "تسجيل الدخول"),
    ("/login-code", "Sign in with a code", "الدخول برمز"),
    ("/login-link", "Sign in", "تسجيل الدخول"),
    ("/register", "Create an account", "إنشاء حساب"),
    ("/forgot-password", "Forgot your password?", "نسيت كلمة المرور؟"),
    (
        "/reset-password",
        "Choose a new password",
        "اختيار كلمة مرور جديدة",
    ),
    (
        "/verify-email",
        "Confirm your email address",
        "تأكيد بريدك الإلكتروني",
    ),
    ("/undo", "Undo a change", "التراجع عن تغيير"),
    ("/secure-account", "Secure your account", "تأمين حسابك"),
    (
        "/setup",
        "Create the first administrator",
        "إنشاء مدير النظام الأول",
    ),
    ("/sign-out", "Sign out?", "تسجيل الخروج؟"),
    ("/signed-out", "You're signed out", "تم تسجيل خروجك"),
    (
        "/unauthorized",
        "You don't have access to this page",
        "لا تملك صلاحية الوصول إلى هذه الصفحة",
    ),
];

async fn flows(server: &Server) -> i64 {
    database::number(&server.app.db, "select count(*) from flows").await
}

async fn audited(server: &Server, action: &str, outcome: &str) -> i64 {
    let sql = format!("select count(*) from audit where action = '{action}' and outcome = '{outcome}'");
    database::number(&server.app.db, &sql).await
}

/// Registers on the page, in the browser.
async fn register(browser: &mut Browser, server: &Server, email: &str) -> Page {
    let page = browser.open(server, "/register").await;
    let fields = [("full_name", ""), ("email", email), ("password", PASSWORD)];
    browser.submit(server, &page, "", &fields).await
}

/// Submits the sign-in.
async fn sign_in(browser: &mut Browser, server: &Server, email: &str, password: &str) -> Page {
    let page = browser.open(server, "/login").await;
    let fields = [("email", email), ("password", password)];
    browser.submit(server, &page, "", &fields).await
}

/// Whether the browser's refresh cookie is good; it is renewed as the account page does.
async fn is_signed_in(browser: &Browser, server: &Server) -> bool {
    let Some(cookie) = browser.cookie("josoor_refresh") else {
        return false;
    };
    let request = server
        .request(Method::POST, "/auth/refresh")
        .header("origin", "http://localhost:8000")
        .header("cookie", format!("josoor_refresh={cookie}"))
        .json(&json!({}));
    server.send(request).await.status == 200
}

on_both!(
    every_page_is_whole_in_both_languages_and_in_one_request,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__LOGIN__MAIL_CODE", "true");
        let server = stage.start().await;
        for (language, number) in [("en", 0), ("ar", 1)] {
            for (path, english, arabic) in PAGES {
                let mut browser = Browser::new(language);
                let heading = [english, arabic][number];
                let page = browser.open(&server, path).await.shows(200, heading);
                assert!(page.text.len() <= 24_000, "{path}: {} bytes", page.text.len());
                for outside in ["<link rel=\"stylesheet\"", " src=", "style=", "onclick", "://"] {
                    let before_script = page.text.split("<script>").next().unwrap_or_default();
                    let body = before_script.split("</style>").nth(1).unwrap_or_default();
                    assert!(!body.contains(outside), "{path}: {outside}");
                }
                assert_eq!(page.headers["referrer-policy"], "same-origin");
                assert_eq!(page.headers["cache-control"], "no-store");
                let policy = page.headers["content-security-policy"].to_str().expect("ASCII");
                assert!(
                    policy.contains("script-src 'sha256-") && !policy.contains("unsafe"),
                    "{policy}"
                );
                // Its script and its style are those that the policy names.
                for (open, close) in [("<script>", "</script>"), ("<style>", "</style>")] {
                    let text = page.text.split(open).nth(1).expect("one");
                    let text = text.split(close).next().expect("its end");
                    assert!(
                        text.len() > 1000 && policy.contains(&hash(text)),
                        "{path}: {open}"
                    );
                }
            }
        }
        server.stop().await;
    }
);

/// A source of a policy for this text (CSP level 3, 2.3.1).
fn hash(text: &str) -> String {
    use base64::Engine as _;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let encoded = base64::engine::general_purpose::STANDARD.encode(digest);
    format!("'sha256-{encoded}'")
}

on_both!(
    an_account_from_its_beginning_without_scripts,
    async |stage: Stage| {
        let server = stage.start().await;
        let mut browser = Browser::new("en");
        let email = "pages@example.com";

        // What cannot be accepted is said at once, with what was typed; nothing is stored for it.
        let page = browser.open(&server, "/register?return_to=%2Fapp%3Fx%3D1").await;
        let fields = [("full_name", "Nadia"), ("email", email), ("password", "short")];
        let page = browser
            .submit(&server, &page, "", &fields)
            .await
            .shows(422, "Create an account");
        assert!(
            page.words()
                .contains("Create a password: This password is too short."),
            "{}",
            page.words()
        );
        assert_eq!(page.value_of("email").as_deref(), Some(email));
        assert_eq!(page.value_of("full_name").as_deref(), Some("Nadia"));
        assert!(!page.text.contains("short\"") && page.text.contains("<title>Error: Create an account"));
        assert_eq!(flows(&server).await, 0);
        let fields = [("full_name", "Nadia"), ("email", email), ("password", PASSWORD)];
        let done = browser.submit(&server, &page, "", &fields).await;
        assert_eq!(done.to(), "/app?x=1");
        assert!(is_signed_in(&browser, &server).await);
        assert_eq!(audited(&server, "register", "success").await, 1);

        // The address is taken now, and the way on is named.
        let mut other = Browser::new("en");
        let page = register(&mut other, &server, email).await;
        let page = other
            .open(&server, &page.to())
            .await
            .shows(200, "Create an account");
        assert!(page.words().contains("An account with this email already exists"));
        assert!(
            page.text.contains("<a href=\"/login\">Sign in</a>"),
            "{}",
            page.text
        );

        // Out, and in again: a wrong password first. Back, reload and another look show the same.
        let page = browser.open(&server, "/sign-out").await;
        let page = browser
            .follow(&server, &page, "", &[])
            .await
            .shows(200, "You're signed out");
        assert!(page.text.contains("href=\"/login\"") && browser.cookie("josoor_refresh").is_none());
        let wrong = sign_in(&mut browser, &server, email, "wrong").await.to();
        for _ in 0..2 {
            let page = browser.open(&server, &wrong).await.shows(200, "Sign in");
            assert!(page.words().contains("Email address and password do not match"));
            assert_eq!(page.value_of("email").as_deref(), Some(email));
            assert!(page.text.contains("<title>Error: Sign in"));
        }
        assert_eq!(audited(&server, "sign_in", "failure").await, 1);
        let page = browser.open(&server, &wrong).await;
        let done = browser
            .submit(&server, &page, "", &[("email", email), ("password", PASSWORD)])
            .await;
        assert_eq!(done.to(), "/account");
        assert!(is_signed_in(&browser, &server).await);
        assert!(browser.cookie("josoor_device").is_some());

        // Never to another site.
        for evil in [
            "//evil.example",
            "https://evil.example",
            "/%5Cevil.example",
            "javascript:alert(1)",
        ] {
            let page = browser.open(&server, &format!("/login?return_to={evil}")).await;
            let fields = [("email", email), ("password", PASSWORD)];
            assert_eq!(browser.submit(&server, &page, "", &fields).await.to(), "/account");
        }
        // An unknown address gets the answer of a wrong password.
        let one = sign_in(&mut browser, &server, "unknown@example.com", "wrong").await;
        let page = browser.open(&server, &one.to()).await;
        assert!(page.words().contains("Email address and password do not match"));
        server.stop().await;
    }
);

on_both!(
    a_form_is_accepted_only_from_its_own_page_and_browser,
    async |stage: Stage| {
        let clock = Clock::manual(Clock::System.now());
        let server = stage.start_with(clock.clone()).await;
        server.register("form@example.com").await;
        let mut browser = Browser::new("en");
        let page = browser.open(&server, "/login").await;
        let fields = [("email", "form@example.com"), ("password", PASSWORD)];
        // Another site, or what says nothing about where it comes from.
        for (origin, site) in [
            (None, None),
            (None, Some("same-origin")),
            (Some("null"), Some("same-origin")),
            (Some("http://evil.example"), None),
            (Some("http://localhost:8001"), None),
            (Some("http://localhost:8000"), Some("cross-site")),
            (Some("http://localhost:8000"), Some("same-site")),
        ] {
            (browser.origin, browser.site) = (origin, site);
            browser
                .submit(&server, &page, "", &fields)
                .await
                .shows(403, "We couldn't send this");
        }
        browser.site = None;
        browser.origin = Some("http://127.0.0.1:8000");
        assert_eq!(browser.submit(&server, &page, "", &fields).await.to(), "/account");
        let mut browser = Browser::new("en");
        let page = browser.open(&server, "/login").await;
        let (address, hidden) = page.form("");
        let token = hidden[0].1.clone();
        // Without the token, with another browser's or another page's, or a changed one.
        let mut other = Browser::new("en");
        let (_, foreign) = other.open(&server, "/login").await.form("");
        let (_, elsewhere) = browser.open(&server, "/register").await.form("");
        // It begins with when it ends.
        let changed = format!("B{}", &token[1..]);
        for wrong in ["", "x", &foreign[0].1, &elsewhere[0].1, &changed] {
            let all = [("form", wrong), fields[0], fields[1]];
            let page = browser
                .post(&server, &address, &all)
                .await
                .shows(403, "This page is out of date");
            assert!(page.text.contains("href=\"/login\""));
        }
        browser
            .post(&server, &address, &fields)
            .await
            .shows(403, "This page is out of date");
        // Blocked cookies are named.
        let mut blocked = Browser::new("en");
        let all = [("form", token.as_str()), fields[0], fields[1]];
        let page = blocked
            .post(&server, &address, &all)
            .await
            .shows(403, "We couldn't send this");
        assert!(page.words().contains("Your browser blocks cookies"));
        assert_eq!(audited(&server, "sign_in", "success").await, 1);
        // A form that is a day old.
        clock.advance(Duration::from_hours(25));
        browser
            .post(&server, &address, &all)
            .await
            .shows(403, "This page is out of date");
        // A flow of another browser: neither its page nor its form.
        let page = sign_in(&mut browser, &server, "form@example.com", "wrong").await;
        let flow = browser.open(&server, &page.to()).await;
        assert!(flow.text.contains("form@example.com"));
        let page = other.open(&server, &page.to()).await.shows(200, "Sign in");
        assert!(!page.text.contains("form@example.com") && !page.words().contains("do not match"));
        let (_, hidden) = flow.form("");
        let name = hidden
            .iter()
            .find(|(name, _)| name == "flow")
            .expect("a flow")
            .1
            .clone();
        let (address, hidden) = page.form("");
        let all = [
            ("form", hidden[0].1.as_str()),
            ("flow", &name),
            fields[0],
            fields[1],
        ];
        other
            .post(&server, &address, &all)
            .await
            .shows(403, "This page is out of date");
        // What no browser sends is rejected with a page, never a fault.
        for body in [
            "",
            "%",
            "%ff",
            "form",
            "a=%00",
            &"x".repeat(70_000),
            "form=1&form=2",
            "email=a&email=b",
        ] {
            let page = browser.post_text(&server, &address, body).await;
            assert!(page.status.is_client_error(), "{body:.20}: {page:?}");
            assert!(page.text.starts_with("<!doctype html>"), "{body:.20}: {page:?}");
        }
        let (_, hidden) = browser.open(&server, "/login").await.form("");
        let all = [
            ("form", hidden[0].1.as_str()),
            fields[0],
            fields[1],
            ("role", "admin"),
        ];
        browser.post(&server, &address, &all).await.shows(422, "Sign in");
        server.stop().await;
    }
);

on_both!(the_limits_are_those_of_the_api, async |mut stage: Stage| {
    stage.set_limit("login_pair", "3/1m");
    stage.set_limit("forgot_account", "1/1m");
    let clock = Clock::manual(Clock::System.now());
    let server = stage.start_with(clock.clone()).await;
    let email = "limits@example.com";
    server.register(email).await;
    let mut browser = Browser::new("en");
    let wrong = json!({ "email": email, "password": "wrong" });
    for _ in 0..2 {
        server
            .post("/auth/login", &wrong)
            .await
            .is_problem(401, "invalid_credentials");
    }
    sign_in(&mut browser, &server, email, "wrong").await.to();
    server
        .post("/auth/login", &wrong)
        .await
        .is_problem(429, "rate_limited");
    let stored = flows(&server).await;
    let page = sign_in(&mut browser, &server, email, "wrong")
        .await
        .shows(429, "Sign in");
    let wait: u64 = page.headers["retry-after"]
        .to_str()
        .unwrap_or_default()
        .parse()
        .expect("seconds");
    assert!((1..=61).contains(&wait), "{wait}");
    assert!(
        page.words()
            .contains(&format!("Too many attempts. Try again in {wait} seconds.")),
        "{}",
        page.words()
    );
    assert_eq!(page.value_of("email").as_deref(), Some(email));
    assert!(page.text.contains("aria-disabled=\"true\""));
    assert_eq!(
        flows(&server).await,
        stored,
        "nothing is stored for what a limit rejects"
    );
    // Arabic has its own forms for the time.
    let mut arabic = Browser::new("ar");
    let page = sign_in(&mut arabic, &server, email, "wrong")
        .await
        .shows(429, "تسجيل الدخول");
    assert!(page.words().contains("محاولات كثيرة. أعد المحاولة بعد"));
    // Redis counts by its own clock.
    if stage.footprint == Footprint::Embedded {
        clock.advance(Duration::from_secs(wait));
        let done = sign_in(&mut browser, &server, email, PASSWORD).await;
        assert_eq!(done.to(), "/account");
    }
    // Mails, too.
    let page = browser.open(&server, "/forgot-password").await;
    let page = browser
        .follow(&server, &page, "", &[("email", email)])
        .await
        .shows(200, "Check your inbox");
    browser
        .submit(&server, &page, "again", &[])
        .await
        .shows(429, "Check your inbox");
    server
        .post("/auth/password/forgot", &json!({ "email": email }))
        .await
        .is_problem(429, "rate_limited");
    server.stop().await;
});

on_both!(a_link_is_pasted_and_stands_in_no_address, async |stage: Stage| {
    let server = stage.start().await;
    let mut browser = Browser::new("en");
    let email = "reset@example.com";
    assert_eq!(register(&mut browser, &server, email).await.to(), "/account");
    let mut other = Browser::new("en");

    // The same answer for every address.
    let mut pages = Vec::new();
    for typed in ["reset@example.com", "never@example.com"] {
        let page = other.open(&server, "/forgot-password").await;
        let page = other.follow(&server, &page, "", &[("email", typed)]).await;
        pages.push(page.shows(200, "Check your inbox").words().replace(typed, "…"));
    }
    assert_eq!(pages[0], pages[1]);
    let first = mail(&server, email, "reset_password").await;
    let page = other.open(&server, "/forgot-password").await;
    let page = other.follow(&server, &page, "", &[("email", email)]).await;
    let page = other
        .follow(&server, &page, "again", &[])
        .await
        .shows(200, "Check your inbox");
    assert!(page.words().contains("Sent."), "{}", page.words());
    let newest = mail_number(&server, email, "reset_password", 3).await;

    // Nonsense, a cut link and an old one; each page leads on.
    let page = other.open(&server, "/reset-password").await;
    for (pasted, heading) in [
        ("nonsense", "This link is incomplete"),
        (&newest.link[..newest.link.len() - 3], "This link is incomplete"),
        (first.link.as_str(), "This link has expired"),
    ] {
        let shown = other.follow(&server, &page, "link", &[("link", pasted)]).await;
        assert!(
            shown
                .shows(200, heading)
                .text
                .contains("href=\"/forgot-password\"")
        );
    }
    other
        .submit(&server, &page, "link", &[("link", "")])
        .await
        .shows(422, "Choose a new password");
    let page = other
        .follow(&server, &page, "link", &[("link", &newest.link)])
        .await;
    let page = page.shows(200, "Choose a new password");
    assert!(!page.text.contains(&newest.token()));
    // The link is good until it is used.
    let short = other
        .submit(&server, &page, "", &[("new_password", "short")])
        .await;
    assert!(
        short
            .shows(422, "Choose a new password")
            .words()
            .contains("New password: This password is too short.")
    );
    let done = other.follow(&server, &page, "", &[("new_password", NEW)]).await;
    done.shows(200, "Your password is set");
    assert!(!is_signed_in(&browser, &server).await, "all sessions ended");
    let start = other.open(&server, "/reset-password").await;
    other
        .follow(&server, &start, "link", &[("link", &newest.link)])
        .await
        .shows(200, "This link was already used");
    assert_eq!(sign_in(&mut other, &server, email, NEW).await.to(), "/account");
    // Nothing secret was ever in an address.
    for address in other.seen.iter().chain(&browser.seen) {
        for secret in [&newest.token(), &first.token(), NEW, PASSWORD, email] {
            assert!(!address.contains(secret), "{address}");
        }
    }
    server.stop().await;
});

on_both!(
    an_address_is_verified_by_its_owner_alone,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__REGISTRATION__MODE", "verify_first");
        let server = stage.start().await;
        let mut browser = Browser::new("ar");
        let email = "first@example.com";
        let sent = register(&mut browser, &server, email).await.to();
        let page = browser.open(&server, &sent).await.shows(200, "تحقق من بريدك");
        assert!(page.words().contains(email));
        let link = mail(&server, email, "finish_registration").await;
        let mut phone = Browser::new("en");
        let page = phone.open(&server, "/verify-email").await;
        let page = phone
            .follow(&server, &page, "link", &[("link", &link.link)])
            .await;
        let page = phone
            .follow(&server, &page, "", &[])
            .await
            .shows(200, "Confirm your email address");
        assert!(
            page.words().contains("Enter your password to confirm"),
            "{}",
            page.words()
        );
        let wrong = phone.follow(&server, &page, "", &[("password", "wrong")]).await;
        assert!(wrong.words().contains("do not match"), "{}", wrong.words());
        let page = phone.follow(&server, &wrong, "", &[("password", PASSWORD)]).await;
        page.shows(200, "Email address confirmed");
        assert_eq!(
            sign_in(&mut phone, &server, email, PASSWORD).await.to(),
            "/account"
        );
        server.stop().await;

        // With the session of this browser no password is asked for.
        stage.set("JOSOOR_AUTH__REGISTRATION__MODE", "open");
        let server = stage.start().await;
        let email = "second@example.com";
        let mut browser = Browser::new("en");
        register(&mut browser, &server, email).await.to();
        let link = mail(&server, email, "verify_email").await;
        let page = browser.open(&server, "/verify-email").await;
        let page = browser
            .follow(&server, &page, "link", &[("link", &link.link)])
            .await;
        browser
            .follow(&server, &page, "", &[])
            .await
            .shows(200, "Email address confirmed");
        assert_eq!(audited(&server, "email_verify", "success").await, 1);
        assert!(is_signed_in(&browser, &server).await);
        server.stop().await;
    }
);

on_both!(invitation_setup_undo_and_secure, async |stage: Stage| {
    let server = stage.start().await;
    let mut browser = Browser::new("en");
    let offer = setup::offer_setup(&server.app)
        .await
        .expect("asked")
        .expect("no administrator yet");
    let link = format!("http://localhost:8000/setup#token={}", offer.token.expose());
    let page = browser.open(&server, "/setup").await;
    let page = browser.follow(&server, &page, "link", &[("link", &link)]).await;
    let fields = [
        ("full_name", ""),
        ("email", "admin@example.com"),
        ("password", PASSWORD),
    ];
    let page = browser
        .follow(&server, &page, "", &fields)
        .await
        .shows(200, "Welcome");
    assert!(page.text.contains("href=\"/console\"") && is_signed_in(&browser, &server).await);
    let start = browser.open(&server, "/setup").await;
    browser
        .follow(&server, &start, "link", &[("link", &link)])
        .await
        .shows(200, "This link was already used");

    // An invitation speaks of a first password, not of another one.
    let admin = server.log_in("admin@example.com").await;
    let body = json!({ "email": "invited@example.com" });
    server.post_as("/admin/users", &admin.access, &body).await.is(201);
    let link = mail(&server, "invited@example.com", "invitation").await.link;
    let mut invited = Browser::new("en");
    let page = invited.open(&server, "/reset-password").await;
    let page = invited
        .follow(&server, &page, "link", &[("link", &link)])
        .await
        .shows(200, "Welcome");
    assert!(page.words().contains("Choose a password for your account at"));
    assert!(
        page.words().contains("invited@example.com") && page.text.contains("Create password and continue")
    );
    let to = invited
        .submit(&server, &page, "", &[("new_password", PASSWORD)])
        .await
        .to();
    assert_eq!(to, "/account");
    assert!(is_signed_in(&invited, &server).await);
    // The link is used up.
    let start = invited.open(&server, "/reset-password").await;
    invited
        .follow(&server, &start, "link", &[("link", &link)])
        .await
        .shows(200, "This link was already used");

    // A deletion is undone.
    let tokens = server.log_in("invited@example.com").await;
    let request = server
        .request(Method::DELETE, "/auth/me")
        .bearer_auth(&tokens.access);
    server
        .send(request.json(&json!({ "password": PASSWORD })))
        .await
        .is(204);
    let link = mail(&server, "invited@example.com", "account_deletion")
        .await
        .link;
    let page = invited.open(&server, "/undo").await;
    let page = invited
        .follow(&server, &page, "link", &[("link", &link)])
        .await
        .shows(200, "Undo a change");
    invited
        .follow(&server, &page, "", &[])
        .await
        .shows(200, "The change is undone");
    assert!(
        invited.cookie("josoor_refresh").is_none(),
        "its session ended with the deletion"
    );
    assert_eq!(
        sign_in(&mut invited, &server, "invited@example.com", PASSWORD)
            .await
            .to(),
        "/account"
    );

    // A sign-in from a new device is answered; a mistyped address uses nothing up.
    let intruder = server
        .request(Method::POST, "/auth/login")
        .header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        )
        .json(&json!({ "email": "invited@example.com", "password": PASSWORD }));
    server.send(intruder).await.is(200);
    let link = mail(&server, "invited@example.com", "new_device").await.link;
    let page = invited.open(&server, "/secure-account").await;
    let page = invited
        .follow(&server, &page, "link", &[("link", &link)])
        .await
        .shows(200, "Secure your account");
    let page = invited
        .follow(&server, &page, "", &[("email", "other@example.com")])
        .await;
    assert!(
        page.words().contains("belongs to another email address"),
        "{}",
        page.words()
    );
    let page = invited
        .follow(&server, &page, "", &[("email", "invited@example.com")])
        .await;
    page.shows(200, "Your account is secure");
    assert!(!is_signed_in(&invited, &server).await);
    server.stop().await;
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_serves_the_next_step_also_after_a_restart() {
    let stage = Stage::new(Footprint::Production);
    let (one, two) = (stage.start().await, stage.start().await);
    let email = "nodes@example.com";
    one.register(email).await;
    let mut browser = Browser::new("en");
    let page = browser.open(&one, "/forgot-password").await;
    let to = browser.submit(&two, &page, "", &[("email", email)]).await.to();
    browser.open(&one, &to).await.shows(200, "Check your inbox");
    let link = mail(&one, email, "reset_password").await.link;
    let page = browser.open(&two, "/reset-password").await;
    let to = browser.submit(&one, &page, "link", &[("link", &link)]).await.to();
    one.stop().await;
    two.stop().await;
    let again = stage.start().await;
    let page = browser
        .open(&again, &to)
        .await
        .shows(200, "Choose a new password");
    browser
        .follow(&again, &page, "", &[("new_password", NEW)])
        .await
        .shows(200, "Your password is set");
    assert_eq!(sign_in(&mut browser, &again, email, NEW).await.to(), "/account");
    again.stop().await;
}

on_both!(who_is_signed_in_is_led_on, async |mut stage: Stage| {
    // At the root of a host under https the page itself gets the cookie.
    stage.set("PUBLIC_URL", "https://auth.example.com");
    let server = stage.start().await;
    server.register_admin("led@example.com").await;
    let mut browser = Browser::new("en");
    browser.origin = Some("https://auth.example.com");
    assert_eq!(
        sign_in(&mut browser, &server, "led@example.com", PASSWORD)
            .await
            .to(),
        "/console"
    );
    assert!(browser.cookie("__Host-josoor_page").is_some());
    for (path, to) in [
        ("/login", "/console"),
        ("/register", "/console"),
        ("/login?return_to=%2Faccount%2Factivity", "/account/activity"),
        ("/login?return_to=%2F%2Fevil.example", "/console"),
    ] {
        assert_eq!(browser.open(&server, path).await.to(), to);
    }
    // After the end of a session the user is asked.
    let page = browser
        .open(&server, "/login?reason=session_revoked")
        .await
        .shows(200, "Sign in");
    assert!(
        page.words()
            .contains("Another device or an administrator signed you out")
    );
    browser
        .open(&server, "/login?reason=%3Cscript%3E")
        .await
        .shows(200, "Sign in");
    let answer = browser.open(&server, "/auth/pages/session?return_to=%2Fx").await;
    assert_eq!(answer.text, r#"{"to":"/x"}"#);
    // A session that is over leads nowhere.
    let page = browser.open(&server, "/sign-out").await;
    let cookie = browser
        .cookie("__Host-josoor_refresh")
        .expect("a cookie")
        .to_owned();
    browser.submit(&server, &page, "", &[]).await.to();
    browser.set_cookie("__Host-josoor_refresh", "/", &cookie);
    browser.open(&server, "/login").await.shows(200, "Sign in");
    assert_eq!(
        browser.open(&server, "/auth/pages/session").await.text,
        r#"{"to":null}"#
    );
    server.stop().await;
});
