//! What the service warns its operator of, in its log.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::command::Serving;
use crate::support::server::{eventually, http_client, on_both};

/// The warnings whose message has these words.
fn warnings(serving: &Serving, words: &str) -> Vec<Value> {
    let mut lines = serving.lines();
    lines.retain(|line| {
        line["level"] == "WARN"
            && line["message"]
                .as_str()
                .is_some_and(|message| message.contains(words))
    });
    lines
}

on_both!(
    a2_a_spent_budget_of_mails_is_warned_of_once_for_each_class,
    async |mut stage: Stage| {
        stage.set_limit("mail_total", "4/30d");
        let serving = Serving::start(&stage);
        let http = http_client();
        for number in 0..12 {
            let body = json!({ "email": format!("person{number}@example.com"), "password": "a sentence to remember" });
            let answer = http.post(serving.url("/auth/register")).json(&body).send().await;
            assert_eq!(answer.expect("an answer").status(), 201);
        }
        let spent = "the budget of mails is spent";
        eventually("the warning", || async { !warnings(&serving, spent).is_empty() }).await;
        // More of the same class change nothing: rounds of the outbox go on meanwhile.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let found = warnings(&serving, spent);
        let mut classes: Vec<&str> = found
            .iter()
            .filter_map(|line| line["fields"]["class"].as_str())
            .collect();
        let count = classes.len();
        assert_eq!(count, found.len(), "{found:?}");
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes.len(), count, "{found:?}");
    }
);

on_both!(
    b4_a_proxy_that_is_not_listed_is_warned_of_once,
    async |stage: Stage| {
        let serving = Serving::start(&stage);
        let http = http_client();
        for _ in 0..5 {
            let request = http
                .post(serving.url("/auth/login"))
                .header("x-forwarded-for", "192.0.2.7")
                .json(&json!({ "email": "person@example.com", "password": "a wrong sentence" }));
            assert_eq!(request.send().await.expect("an answer").status(), 401);
        }
        let found = warnings(&serving, "TRUSTED_PROXIES");
        assert_eq!(found.len(), 1, "{}", serving.log());
        assert_eq!(found[0]["fields"]["peer"], "127.0.0.1");
        assert_eq!(found[0]["fields"]["header"], "x-forwarded-for");
    }
);

/// The limit of open files that the kernel holds for a process: the soft one and the hard one.
fn open_files(serving: &Serving) -> (u64, u64) {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", serving.id())).expect("limits");
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .expect("a line");
    let numbers: Vec<u64> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    (numbers[0], numbers[1])
}

on_both!(
    b8_the_soft_limit_of_descriptors_is_raised,
    async |stage: Stage| {
        let serving = Serving::start_limited(&stage, "--nofile=128:4096");
        assert_eq!(open_files(&serving), (4096, 4096));
        drop(serving);
        // What remains beside the stores is what connections may take, and the warning says why it is less.
        let serving = Serving::start_limited(&stage, "--nofile=128:512");
        assert_eq!(open_files(&serving), (512, 512));
        let found = warnings(&serving, "server.max_connections is more than the system allows");
        assert_eq!(found.len(), 1, "{}", serving.log());
        assert_eq!(found[0]["fields"]["descriptors"], 512);
        let most = found[0]["fields"]["max_connections"].as_u64().expect("a number");
        assert!((16..448).contains(&most), "{most}");
    }
);
