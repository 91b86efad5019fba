//! `[branding]`: the product's name, pictures, colour and links, on pages and in mails.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use reqwest::Method;
use serde_json::Value;

use crate::support::command::run;
use crate::support::server::{Answer, Server, Stage as TheStage, on_both};
use crate::support::smtp::SmtpServer;

const SVG: &str = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 90 30'><rect width='90' height='30' fill='#7a1f5c'/></svg>";
/// One grey pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==";

fn png() -> Vec<u8> {
    STANDARD.decode(PNG).expect("base64")
}

/// Writes a file and names it in the setting.
fn give(stage: &mut TheStage, setting: &str, name: &str, content: &[u8]) -> PathBuf {
    let path = stage.directory().join(name);
    std::fs::write(&path, content).expect("written");
    let variable = format!("JOSOOR_AUTH__BRANDING__{setting}");
    stage.set(&variable, path.to_str().expect("a path"));
    path
}

fn brand(stage: &mut TheStage) {
    give(stage, "LOGO", "logo.svg", SVG.as_bytes());
    give(
        stage,
        "LOGO_DARK",
        "dark.svg",
        SVG.replace("7a1f5c", "f3b6dd").as_bytes(),
    );
    give(stage, "ICON", "icon.png", &png());
    for (name, value) in [
        ("NAME_EN", "Acme <Co> & Sons"),
        ("NAME_AR", "أكمي"),
        ("ACCENT", "#7a1f5c"),
        ("SUPPORT_URL", "https://acme.example/help?a=1&b=2"),
        ("TERMS_URL", "https://acme.example/terms"),
        ("PRIVACY_URL", "https://acme.example/privacy"),
    ] {
        stage.set(&format!("JOSOOR_AUTH__BRANDING__{name}"), value);
    }
}

async fn get(server: &Server, path: &str) -> Answer {
    let request = server.request(Method::GET, path).header("accept", "text/html");
    server.send(request).await
}

/// What the first group of the pattern is.
#[track_caller]
fn find(text: &str, pattern: &str) -> String {
    let found = Regex::new(pattern).expect("a pattern");
    let found = found.captures(text);
    found.unwrap_or_else(|| panic!("no {pattern} in {text}"))[1].to_owned()
}

on_both!(the_product_is_on_every_page, async |mut stage: Stage| {
    brand(&mut stage);
    let server = stage.start().await;
    for (language, name, terms) in [
        ("en", "Acme &lt;Co&gt; &amp; Sons", "Terms of use"),
        ("ar", "أكمي", "شروط الاستخدام"),
    ] {
        for (path, status) in [
            ("/login", 200),
            ("/register", 200),
            ("/errors/not_found", 200),
            ("/nothing/here", 404),
        ] {
            let page = get(&server, &format!("{path}?lang={language}"))
                .await
                .is(status)
                .text;
            // A little more than without a branding, whose limit is 24,000.
            assert!(page.len() <= 25_000, "{path}: {} bytes", page.len());
            let title = find(&page, "<title>(.*?)</title>");
            assert!(title.ends_with(&format!(" · {name}")), "{title}");
            assert!(!page.contains("JOSOOR"), "{page}");
            for (class, role) in [("for-light", "logo"), ("for-dark", "logo-dark")] {
                let image = format!(
                    r#"<img class="{class}" src="/branding/{role}-[0-9a-f]{{16}}\.svg" alt="([^"]*)">"#
                );
                assert_eq!(find(&page, &image), name);
            }
            find(
                &page,
                r#"<link rel="icon" type="image/png" href="(/branding/icon-[0-9a-f]{16}\.png)">"#,
            );
            assert!(page.contains(":root{--main:light-dark(#7a1f5c,#"), "{page}");
            assert!(page.contains(&format!(
                r#"<a href="https://acme.example/terms" target="_blank" rel="noopener">{terms}</a>"#
            )));
            assert!(
                page.contains(r#"href="https://acme.example/help?a=1&amp;b=2""#),
                "{page}"
            );
        }
        // Account and console are a program, which learns it from the document.
        let page = get(&server, &format!("/account?lang={language}"))
            .await
            .is(200)
            .text;
        assert!(page.contains(&format!("· {name}</title>")), "{page}");
        let config = find(&page, r#"name="josoor-config" content="([^"]*)""#);
        let config: Value = serde_json::from_str(
            &config
                .replace("&quot;", "\"")
                .replace("&amp;", "&")
                .replace("&lt;", "<")
                .replace("&gt;", ">"),
        )
        .expect("JSON");
        let branding = &config["branding"];
        assert_eq!(branding["name"]["en"], "Acme <Co> & Sons");
        assert_eq!(branding["privacy"], "https://acme.example/privacy");
        for member in ["logo", "logoDark"] {
            let path = branding[member].as_str().expect("an address");
            get(&server, path).await.is(200);
        }
        let style = find(
            &page,
            r#"<link rel="stylesheet" href="(/branding/theme-[0-9a-f]{16}\.css)">"#,
        );
        let style = get(&server, &style).await.is(200);
        assert_eq!(style.headers["content-type"], "text/css; charset=utf-8");
        assert!(
            style.text.starts_with(":root{--main:light-dark(#7a1f5c,#"),
            "{}",
            style.text
        );
    }
    server.stop().await;
});

on_both!(without_branding_pages_are_as_they_were, async |stage: Stage| {
    let server = stage.start().await;
    for (language, name) in [("en", "JOSOOR"), ("ar", "جسور")] {
        let page = get(&server, &format!("/login?lang={language}"))
            .await
            .is(200)
            .text;
        assert!(page.contains(&format!("· {name}</title>")));
        assert!(page.contains(r#"<b lang="ar">جسور</b><b>JOSOOR</b>"#));
        assert!(
            !page.contains("/branding/") && !page.contains("<footer"),
            "{page}"
        );
    }
    get(&server, "/branding/logo-0123456789abcdef.svg").await.is(404);
    server.stop().await;
});

on_both!(pictures_are_kept_and_run_nothing, async |mut stage: Stage| {
    brand(&mut stage);
    let server = stage.start().await;
    let page = get(&server, "/login").await.is(200).text;
    let logo = find(&page, r#"class="for-light" src="([^"]*)""#);
    let icon = find(&page, r#"type="image/png" href="([^"]*)""#);
    for (path, kind, content) in [
        (&logo, "image/svg+xml", SVG.as_bytes().to_vec()),
        (&icon, "image/png", png()),
    ] {
        let request = server.request(Method::GET, path);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let headers = answer.headers().clone();
        assert_eq!(headers["content-type"], kind);
        assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let policy = headers["content-security-policy"].to_str().expect("ASCII");
        assert!(
            policy.contains("default-src 'none'") && policy.ends_with("; sandbox"),
            "{policy}"
        );
        assert_eq!(answer.bytes().await.expect("a body"), content);
    }
    // Named by a node that has another file: this node's own one, which is not kept.
    let other = get(&server, "/branding/logo-0123456789abcdef.svg").await.is(200);
    assert_eq!(other.text, SVG);
    assert_eq!(other.headers["cache-control"], "no-store");
    for path in [
        "/branding/logo.svg",
        "/branding/banner-0123456789abcdef.svg",
        "/branding/x",
    ] {
        get(&server, path).await.is(404);
    }
    server.stop().await;
});

on_both!(
    samples_show_both_themes_and_run_nothing,
    async |mut stage: Stage| {
        brand(&mut stage);
        let server = stage.start().await;
        for (sample, words) in [("sign-in", "تسجيل الدخول"), ("notice", "أكمي"), ("mail", "أكمي")]
        {
            for theme in ["light", "dark"] {
                let path = format!("/branding/samples/{sample}?lang=ar&theme={theme}");
                let answer = get(&server, &path).await.is(200);
                assert!(answer.text.contains(words), "{}", answer.text);
                assert!(!answer.text.contains("<script"), "{}", answer.text);
                let policy = answer.headers["content-security-policy"].to_str().expect("ASCII");
                for rule in [
                    "default-src 'none'",
                    "frame-ancestors 'self'",
                    "form-action 'none'",
                    "sandbox",
                ] {
                    assert!(policy.contains(rule), "{policy}");
                }
                assert!(
                    !policy.contains("script-src") && !policy.contains("allow-scripts"),
                    "{policy}"
                );
                assert_eq!(answer.headers["x-frame-options"], "SAMEORIGIN");
                let is_page = sample != "mail";
                assert_eq!(
                    answer
                        .text
                        .contains(&format!(r#"dir="rtl" data-theme="{theme}""#)),
                    is_page,
                    "{}",
                    answer.text
                );
            }
        }
        get(&server, "/branding/samples/console").await.is(404);
        // What can be submitted stays out of every frame.
        let page = get(&server, "/login").await;
        assert_eq!(page.headers["x-frame-options"], "DENY");
        server.stop().await;
    }
);

on_both!(
    mails_have_the_logo_in_them_or_the_name,
    async |mut stage: Stage| {
        let smtp = SmtpServer::start(stage.directory(), &[]).await;
        stage.set("SMTP_URL", &format!("smtp://127.0.0.1:{}", smtp.port));
        stage.set("MAIL_FROM", "no-reply@example.org");
        brand(&mut stage);
        for (number, has_logo) in [(0, false), (1, true)] {
            if has_logo {
                give(&mut stage, "LOGO", "logo.png", &png());
            }
            let server = stage.start().await;
            server.register(&format!("user{number}@example.com")).await;
            let mails = smtp.wait_for(number + 1).await;
            let mail = mails.last().expect("a mail");
            let (text, html) = (
                mail["text"].as_str().expect("text"),
                mail["html"].as_str().expect("HTML"),
            );
            let raw = mail["raw"].as_str().expect("a source");
            assert!(html.contains("background:#7a1f5c;color:#ffffff"), "{html}");
            assert!(html.contains("https://acme.example/help?a=1&amp;b=2"), "{html}");
            assert!(!html.contains("src=\"http"), "nothing is fetched: {html}");
            assert!(text.ends_with(
                "\n-- \nAcme <Co> & Sons\nhttp://localhost:8000\nHelp: https://acme.example/help?a=1&b=2\n"
            ) || text.replace("\r\n", "\n").contains("\n-- \nAcme <Co> & Sons\n"), "{text}");
            assert_eq!(
                html.contains(r#"<img src="cid:logo@josoor-auth" alt="Acme &lt;Co&gt; &amp; Sons""#),
                has_logo,
                "{html}"
            );
            assert_eq!(
                html.contains("<bdi>Acme &lt;Co&gt; &amp; Sons</bdi>"),
                !has_logo,
                "{html}"
            );
            assert_eq!(raw.contains("Content-ID: <logo@josoor-auth>"), has_logo, "{raw}");
            assert_eq!(raw.contains("multipart/related"), has_logo, "{raw}");
            if has_logo {
                let packed: String = raw.split_whitespace().collect();
                assert!(packed.contains(PNG), "{raw}");
            }
            server.stop().await;
        }
        smtp.stop();
    }
);

on_both!(
    the_start_is_refused_for_what_cannot_be_shown,
    async |mut stage: Stage| {
        give(
            &mut stage,
            "LOGO",
            "logo.svg",
            SVG.replace("<rect", "<script/><rect").as_bytes(),
        );
        stage.set("JOSOOR_AUTH__BRANDING__ACCENT", "#ffd400");
        stage.set("JOSOOR_AUTH__BRANDING__TERMS_URL", "http://acme.example");
        let done = run(&stage, &["config", "check"]).with(1);
        for said in [
            "branding.logo (",
            "the element script",
            "branding.accent (",
            ":1; a nearby colour",
            "branding.terms_url (",
        ] {
            let said = said.replace(":1; a nearby", "text needs 4.5:1; a nearby");
            assert!(done.err.contains(&said), "{said}: {done:?}");
        }
    }
);
