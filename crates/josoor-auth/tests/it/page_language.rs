//! The language of a form that is half filled in.

use regex::Regex;

use crate::support::browser::Browser;
use crate::support::database;
use crate::support::server::{PASSWORD, on_both};

/// What the first group of the pattern is.
#[track_caller]
fn find(text: &str, pattern: &str) -> String {
    let found = Regex::new(pattern).expect("a pattern");
    let found = found.captures(text);
    found.unwrap_or_else(|| panic!("no {pattern} in {text}"))[1].to_owned()
}

on_both!(
    changing_the_language_keeps_what_was_typed,
    async |stage: Stage| {
        let server = stage.start().await;
        server.register("sara@example.com").await;
        let rows = async || database::number(&server.app.db, "select count(*) from flows").await;
        let button = |page: &str| {
            let button = find(
                page,
                r#"(<button type="submit" form="form" formaction="[^"]*" formnovalidate [^>]*name="language"[^>]*>)"#,
            );
            find(&button, r#"formaction="([^"]*)""#).replace("&amp;", "&")
        };
        let mut browser = Browser::new("en");
        let page = browser
            .open(&server, "/register?return_to=%2Fmine")
            .await
            .shows(200, "Create an account");
        let (_, hidden) = page.form("");
        let mut fields: Vec<(&str, &str)> = hidden
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        fields.extend([
            ("full_name", "Sara \"<b>\""),
            ("email", "half an addr"),
            ("password", PASSWORD),
            ("language", "ar"),
        ]);
        let to = button(&page.text);
        let arabic = browser.post(&server, &to, &fields).await.shows(200, "إنشاء حساب");
        assert_eq!(arabic.value_of("full_name").as_deref(), Some("Sara \"<b>\""));
        assert_eq!(arabic.value_of("email").as_deref(), Some("half an addr"));
        assert!(!arabic.text.contains(PASSWORD), "a password is never sent back");
        assert!(
            !arabic.text.contains("role=\"alert\""),
            "nothing was checked: {}",
            arabic.text
        );
        assert_eq!(browser.cookie("josoor_locale"), Some("ar"));
        assert_eq!(rows().await, 0, "nothing is stored");
        // Back again, with the way back kept; and then it is submitted.
        let to = button(&arabic.text);
        assert!(
            to.starts_with("/auth/pages/register?lang=en") && to.contains("return_to=%2Fmine"),
            "{to}"
        );
        let english = browser
            .post(&server, &to, &fields)
            .await
            .shows(200, "Create an account");
        let filled = [
            ("full_name", "Sara"),
            ("email", "sara2@example.com"),
            ("password", PASSWORD),
        ];
        assert_eq!(browser.submit(&server, &english, "", &filled).await.to(), "/mine");

        // Why the last try was rejected is said again, in the other language.
        let mut browser = Browser::new("en");
        let page = browser.open(&server, "/login").await;
        let wrong = [("email", "sara@example.com"), ("password", "wrong")];
        let page = browser
            .follow(&server, &page, "", &wrong)
            .await
            .shows(200, "Sign in");
        let (_, hidden) = page.form("");
        let mut fields: Vec<(&str, &str)> = hidden
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        fields.extend([
            ("email", "other@example.com"),
            ("password", ""),
            ("language", "ar"),
        ]);
        let to = button(&page.text);
        let arabic = browser
            .post(&server, &to, &fields)
            .await
            .shows(200, "تسجيل الدخول");
        assert_eq!(arabic.value_of("email").as_deref(), Some("other@example.com"));
        assert!(arabic.text.contains("role=\"alert\""), "{}", arabic.text);
        // Only from this service's own pages.
        browser.origin = Some("https://evil.example");
        assert_eq!(browser.post(&server, &to, &fields).await.status, 403);
        server.stop().await;
    }
);
