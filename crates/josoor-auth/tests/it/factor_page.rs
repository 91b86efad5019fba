//! The page that asks for the code of a second factor, without a browser's scripts.

use crate::second_factors::{STEP, owner, standing, wrong};
use crate::support::browser::{Browser, Page};
use crate::support::server::{PASSWORD, Server, on_both};

/// Submits the right password on `server`, and gives the page that asks for the code.
async fn give_password(browser: &mut Browser, server: &Server, email: &str, heading: &str) -> Page {
    let page = browser
        .open(server, "/login?return_to=%2Faccount%2Factivity")
        .await;
    let fields = [("email", email), ("password", PASSWORD)];
    browser
        .follow(server, &page, "", &fields)
        .await
        .shows(200, heading)
}

on_both!(
    a_page_asks_for_the_code_and_any_node_takes_it,
    async |stage: Stage| {
        let clock = standing();
        let (one, two) = (
            stage.start_with(clock.clone()).await,
            stage.start_with(clock.clone()).await,
        );
        let person = owner(&one, "person@example.com").await;
        clock.advance(STEP);
        let mut browser = Browser::new("en");
        let page = give_password(&mut browser, &one, &person.email, "Enter your code").await;
        assert!(browser.cookie("josoor_refresh").is_none());
        // What is no code is said beside the field; a wrong one above it, and the page asks again, after a reload too.
        browser
            .submit(&two, &page, "code", &[("code", "12")])
            .await
            .shows(422, "Enter your code");
        let refused = browser
            .submit(&two, &page, "code", &[("code", &wrong(&two, &person.secret))])
            .await
            .to();
        for server in [&two, &one] {
            let again = browser.open(server, &refused).await.shows(200, "Enter your code");
            assert!(
                again.words().contains("This code isn't valid"),
                "{}",
                again.words()
            );
        }
        let page = browser.open(&two, &refused).await;
        let done = browser
            .submit(&two, &page, "code", &[("code", &person.code(&two))])
            .await;
        assert_eq!(done.to(), "/account/activity");
        assert!(browser.cookie("josoor_refresh").is_some());
        // The same page finishes nothing twice.
        clock.advance(STEP);
        let over = browser
            .follow(&one, &page, "code", &[("code", &person.code(&one))])
            .await
            .shows(200, "Sign in");
        assert!(over.words().contains("took too long"), "{}", over.words());
        one.stop().await;
        two.stop().await;
    }
);

on_both!(
    the_fifth_wrong_code_ends_the_sign_in_and_another_browser_cannot_take_it_over,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let person = owner(&server, "person@example.com").await;
        clock.advance(STEP);
        let mut browser = Browser::new("ar");
        let mut page = give_password(&mut browser, &server, &person.email, "أدخل الرمز").await;
        let mut other = Browser::new("ar");
        other.open(&server, "/login").await;
        let code = person.code(&server);
        let stolen = other.submit(&server, &page, "code", &[("code", &code)]).await;
        assert_eq!(stolen.status.as_u16(), 403, "{}", stolen.words());
        assert!(other.cookie("josoor_refresh").is_none());
        for _ in 0..5 {
            let wrong = wrong(&server, &person.secret);
            page = browser.follow(&server, &page, "code", &[("code", &wrong)]).await;
        }
        let page = browser
            .follow(&server, &page, "code", &[("code", &code)])
            .await
            .shows(200, "تسجيل الدخول");
        assert!(page.words().contains("كثرت الرموز الخاطئة"), "{}", page.words());
        assert!(browser.cookie("josoor_refresh").is_none());
        server.stop().await;
    }
);

on_both!(
    a_device_that_was_trusted_on_the_page_spares_the_code,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        let person = owner(&server, "person@example.com").await;
        let mut browser = Browser::new("en");
        let page = give_password(&mut browser, &server, &person.email, "Enter your code").await;
        let fields = [("code", person.codes[0].as_str()), ("trust_device", "yes")];
        browser.submit(&server, &page, "code", &fields).await.to();
        let page = browser.open(&server, "/sign-out").await;
        browser.submit(&server, &page, "", &[]).await.to();
        let page = browser.open(&server, "/login").await;
        let fields = [("email", person.email.as_str()), ("password", PASSWORD)];
        assert_eq!(browser.submit(&server, &page, "", &fields).await.to(), "/account");
        server.stop().await;
    }
);
