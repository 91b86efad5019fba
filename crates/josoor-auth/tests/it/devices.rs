//! Known devices: what makes one known, what forgets it, and what it is worth.

use std::time::Duration;

use josoor_auth::act::Client;
use josoor_auth::auth::devices::{self, DEVICES_AT_MOST, Familiarity, Place};
use josoor_auth::clock::Clock;
use josoor_auth::domain::UserId;
use josoor_auth::keys::DeviceMark;
use josoor_auth::worker::purge;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::database;
use crate::support::server::{Answer, PASSWORD, Server, Tokens, on_both};

const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// The value of the device cookie that an answer sets.
#[track_caller]
fn mark(answer: &Answer) -> String {
    answer
        .headers
        .get_all("set-cookie")
        .iter()
        .find_map(|value| value.to_str().ok()?.strip_prefix("josoor_device="))
        .and_then(|value| value.split(';').next())
        .unwrap_or_else(|| panic!("no device cookie in {answer:?}"))
        .to_owned()
}

/// A sign-in from an address, with a program, and with a mark.
struct From<'a> {
    ip: &'a str,
    program: &'a str,
    mark: Option<&'a str>,
}

const HOME: From<'static> = From {
    ip: "198.51.100.1",
    program: CHROME,
    mark: None,
};

async fn sign_in(server: &Server, email: &str, password: &str, from: &From<'_>) -> Answer {
    let mut request = server
        .request(Method::POST, "/auth/login")
        .header("x-forwarded-for", from.ip)
        .header("user-agent", from.program)
        .json(&json!({ "email": email, "password": password }));
    if let Some(mark) = from.mark {
        request = request.header("cookie", format!("josoor_device={mark}"));
    }
    server.send(request).await
}

async fn change_password(server: &Server, tokens: &Tokens, current: &str, new: &str) -> Answer {
    let body = json!({ "current_password": current, "new_password": new });
    server
        .post_as("/auth/password/change", &tokens.access, &body)
        .await
}

async fn known(server: &Server, access: &str) -> Vec<Value> {
    let list = server.get("/auth/devices", access).await.is(200);
    let items = list.json["items"].as_array().expect("a list").clone();
    assert_eq!(list.json["total"], items.len());
    items
}

/// Whether a sign-in with this mark is counted as one on a known device: only those are refused by `login_device`.
async fn is_known(server: &Server, email: &str, mark: &str) -> bool {
    let email = josoor_auth::domain::Email::parse(email).expect("an address");
    let mark = server.app.keys.marks.read(email.key(), mark);
    let known = devices::verify_mark(&server.app, mark.as_ref()).await;
    known.expect("an answer").is_some()
}

on_both!(
    b1_a_change_of_the_credentials_forgets_every_mark,
    async |mut stage: Stage| {
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        stage.set_limit("login_account", "10/1h");
        stage.set_limit("login_pair", "3/1h");
        let server = stage.start().await;
        let email = "forgets@example.com";
        let mut tokens = server.register(email).await;
        let (mut password, mut marks) = (PASSWORD.to_owned(), Vec::new());
        // Somebody who knew the password once has taken marks.
        for _ in 0..3 {
            let answer = sign_in(&server, email, &password, &HOME).await.is(200);
            marks.push(mark(&answer));
        }
        for mark in &marks {
            assert!(is_known(&server, email, mark).await);
        }
        for round in 0..2 {
            let new = format!("Another-{round}-{PASSWORD}");
            let answer = change_password(&server, &tokens, &password, &new).await.is(200);
            (tokens, password) = (Tokens::of(&answer), new);
            for mark in &marks {
                assert!(!is_known(&server, email, mark).await, "round {round}");
            }
            assert_eq!(known(&server, &tokens.access).await, Vec::<Value>::new());
        }
        // Guessing with the marks is what it is without one: three for the network, none more for its marks.
        let mut checked = 0;
        for number in 0..30 {
            let mark = Some(marks[number % marks.len()].as_str());
            let from = From {
                ip: "203.0.113.9",
                program: FIREFOX,
                mark,
            };
            let answer = sign_in(&server, email, "Wrong-Password", &from).await;
            checked += i32::from(answer.status == 401);
        }
        assert_eq!(checked, 3);
        server.stop().await;
    }
);

on_both!(
    b1_a_mark_is_forgotten_with_the_row_of_another_release,
    async |stage: Stage| {
        let server = stage.start().await;
        let email = "older@example.com";
        let tokens = server.register(email).await;
        let answer = sign_in(&server, email, PASSWORD, &HOME).await.is(200);
        let mark = mark(&answer);
        assert!(is_known(&server, email, &mark).await);
        // A node of the release before changes the password and knows nothing of devices.
        let sql = format!(
            "update users set password_changed_at = (select max(created_at) from sessions where user_id = {0}), version = version + 1 where id = {0}",
            tokens.user_id
        );
        assert_eq!(database::execute(&server.app.db, &sql).await, 1);
        assert!(!is_known(&server, email, &mark).await);
        server.stop().await;
    }
);

on_both!(
    b1_all_marks_of_an_account_share_one_limit,
    async |mut stage: Stage| {
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        stage.set_limit("login_device", "6/1h");
        let server = stage.start().await;
        let email = "shared@example.com";
        server.register(email).await;
        let mut marks = Vec::new();
        for number in 0..5 {
            let ip = format!("198.51.100.{number}");
            let from = From { ip: &ip, ..HOME };
            marks.push(mark(&sign_in(&server, email, PASSWORD, &from).await.is(200)));
        }
        let mut checked = 0;
        for number in 0..20 {
            let ip = format!("203.0.113.{number}");
            let from = From {
                ip: &ip,
                program: CHROME,
                mark: Some(&marks[number % 5]),
            };
            let answer = sign_in(&server, email, "Wrong-Password", &from).await;
            if answer.status == 401 {
                checked += 1;
            } else {
                let policy = answer.headers["ratelimit-policy"]
                    .to_str()
                    .expect("text")
                    .to_owned();
                assert!(policy.contains("login_device"), "{policy}");
            }
        }
        assert_eq!(checked, 6);
        server.stop().await;
    }
);

on_both!(
    b1_no_more_than_twenty_devices_are_known,
    async |mut stage: Stage| {
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        stage.set("JOSOOR_AUTH__SESSION__MAX_PER_USER", "1000");
        let clock = Clock::manual(Clock::System.now());
        let server = stage.start_with(clock.clone()).await;
        let email = "twenty@example.com";
        let tokens = server.register(email).await;
        let owner = mark(&sign_in(&server, email, PASSWORD, &HOME).await.is(200));
        let mut marks = Vec::new();
        for number in 0..70 {
            clock.advance(Duration::from_secs(1));
            let ip = format!("203.0.113.{number}");
            let from = From { ip: &ip, ..HOME };
            marks.push(mark(&sign_in(&server, email, PASSWORD, &from).await.is(200)));
            if number < 40 {
                // A device that is used stays, whatever else comes.
                let from = From {
                    mark: Some(&owner),
                    ..HOME
                };
                assert_eq!(
                    mark(&sign_in(&server, email, PASSWORD, &from).await.is(200)),
                    owner
                );
            }
        }
        assert_eq!(known(&server, &tokens.access).await.len(), DEVICES_AT_MOST);
        assert!(!is_known(&server, email, &owner).await);
        for (number, mark) in marks.iter().enumerate() {
            assert_eq!(is_known(&server, email, mark).await, number >= 50, "{number}");
        }
        // What is kept of the others is bounded, and the oldest is not pushed out: undoing a change may ask for it.
        let rows = "select count(*) from devices";
        assert!(database::number(&server.app.db, rows).await <= 41);
        let mut conn = server.app.db.read().await.expect("a connection");
        let address = josoor_auth::domain::Email::parse(email).expect("an address");
        let read = |mark: &str| server.app.keys.marks.read(address.key(), mark).expect("ours");
        let now = clock.now();
        let moment = now.minus(Duration::from_mins(1));
        for (mark, was_known) in [(&owner, true), (&marks[69], false)] {
            let mark = read(mark);
            let device = conn.device(mark.user, mark.id).await.expect("read");
            let kept = device.is_some_and(|device| {
                device.created_at < moment && device.forgotten_at.is_none_or(|at| at >= moment)
            });
            assert_eq!(kept, was_known);
        }
        drop(conn);
        clock.advance(devices::KEEP_FORGOTTEN + Duration::from_secs(100));
        purge::purge(&server.app).await.expect("purged");
        assert_eq!(database::number(&server.app.db, rows).await, 20);
        clock.advance(devices::DEVICE_LIFE);
        assert!(!is_known(&server, email, &marks[69]).await);
        purge::purge(&server.app).await.expect("purged");
        assert_eq!(database::number(&server.app.db, rows).await, 0);
        server.stop().await;
    }
);

on_both!(
    b1_a_device_that_signs_in_again_keeps_its_row,
    async |mut stage: Stage| {
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        let server = stage.start().await;
        let email = "again@example.com";
        server.register(email).await;
        let first = mark(&sign_in(&server, email, PASSWORD, &HOME).await.is(200));
        // A program without cookies, from the same network: one row, however often it signs in.
        for _ in 0..5 {
            assert_eq!(
                mark(&sign_in(&server, email, PASSWORD, &HOME).await.is(200)),
                first
            );
        }
        // A browser that presents its mark, from everywhere.
        let moved = From {
            ip: "203.0.113.7",
            program: CHROME,
            mark: Some(&first),
        };
        assert_eq!(
            mark(&sign_in(&server, email, PASSWORD, &moved).await.is(200)),
            first
        );
        // From then on it is that browser's own.
        let beside = From { mark: None, ..moved };
        let second = mark(&sign_in(&server, email, PASSWORD, &beside).await.is(200));
        assert_ne!(second, first);
        let tokens = Tokens::of(&sign_in(&server, email, PASSWORD, &moved).await.is(200));
        let list = known(&server, &tokens.access).await;
        let shown: Vec<_> = list
            .iter()
            .map(|device| {
                (
                    device["ip"].as_str().unwrap(),
                    device["device"].as_str().unwrap(),
                    device["current"].as_bool().unwrap(),
                )
            })
            .collect();
        // The registration's own, the browser, and the one beside it.
        assert_eq!(shown[0], ("203.0.113.7", "Chrome on Linux", true));
        assert_eq!(shown[1], ("203.0.113.7", "Chrome on Linux", false));
        assert_eq!(shown.len(), 3, "{shown:?}");
        server.stop().await;
    }
);

on_both!(
    d6_devices_are_listed_and_forgotten_by_their_owner,
    async |mut stage: Stage| {
        stage.set("TRUSTED_PROXIES", "127.0.0.0/8");
        let server = stage.start().await;
        let email = "lists@example.com";
        server.register(email).await;
        let one = mark(&sign_in(&server, email, PASSWORD, &HOME).await.is(200));
        let elsewhere = From {
            ip: "203.0.113.7",
            program: FIREFOX,
            mark: None,
        };
        let answer = sign_in(&server, email, PASSWORD, &elsewhere).await.is(200);
        let (other, tokens) = (mark(&answer), Tokens::of(&answer));
        let stranger = server.register("stranger@example.com").await;
        let list = known(&server, &tokens.access).await;
        assert_eq!(list.len(), 3);
        assert_eq!(list[0]["device"], "Firefox on Windows");
        assert_eq!(list[0]["kind"], "known");
        assert_eq!(list[0]["current"], true);
        let path = format!("/auth/devices/{}", list[1]["id"].as_str().unwrap());
        server
            .delete(&path, &stranger.access)
            .await
            .is_problem(404, "not_found");
        for nothing in ["x", "00000000-0000-0000-0000-000000000000", "%00"] {
            server
                .delete(&format!("/auth/devices/{nothing}"), &tokens.access)
                .await
                .is_problem(404, "not_found");
        }
        assert!(is_known(&server, email, &one).await);
        server.delete(&path, &tokens.access).await.is(204);
        server
            .delete(&path, &tokens.access)
            .await
            .is_problem(404, "not_found");
        assert!(!is_known(&server, email, &one).await);
        assert!(is_known(&server, email, &other).await);
        // The sessions of a forgotten device go on.
        let forgotten = server.delete("/auth/devices", &tokens.access).await.is(200);
        assert_eq!(forgotten.json, json!({ "forgotten": 2 }));
        assert!(!is_known(&server, email, &other).await);
        let again = server.delete("/auth/devices", &tokens.access).await.is(200);
        assert_eq!(again.json, json!({ "forgotten": 0 }));
        server.get("/auth/me", &tokens.access).await.is(200);
        assert_eq!(known(&server, &tokens.access).await.len(), 0);
        let rows = "select count(*) from audit where action = 'device_forget'";
        assert_eq!(database::number(&server.app.db, rows).await, 2);
        // What is forgotten comes back with a new id.
        let from = From {
            mark: Some(&one),
            ..HOME
        };
        assert_ne!(mark(&sign_in(&server, email, PASSWORD, &from).await.is(200)), one);
        server.stop().await;
    }
);

on_both!(
    d2_a_place_is_known_by_its_mark_or_by_network_and_label,
    async |stage: Stage| {
        let server = stage.start().await;
        let email = "places@example.com";
        let tokens = server.register(email).await;
        let recognize = async |ip: &str, program: &str, mark: Option<&DeviceMark>| {
            let mut conn = server.app.db.read().await.unwrap();
            let user = conn.user_by_id(UserId(tokens.user_id)).await.unwrap().unwrap();
            let client = Client {
                ip: ip.to_owned(),
                user_agent: program.to_owned(),
                ..Client::default()
            };
            let devices = conn.devices_of(user.id).await.unwrap();
            let epoch = devices::epoch_of(&server.app, &user).unwrap();
            let now = server.app.clock.now();
            devices::find(&devices, &epoch, mark, &Place::of(&client), now).0
        };
        assert_eq!(recognize("203.0.113.7", CHROME, None).await, Familiarity::New);
        let from = From {
            ip: "",
            program: CHROME,
            mark: None,
        };
        let given = mark(&sign_in(&server, email, PASSWORD, &from).await.is(200));
        let given = server.app.keys.marks.read(email, &given).unwrap();
        assert_eq!(recognize("127.0.0.1", CHROME, None).await, Familiarity::Place);
        assert_eq!(recognize("127.0.0.1", FIREFOX, None).await, Familiarity::New);
        assert_eq!(recognize("203.0.113.7", CHROME, None).await, Familiarity::New);
        assert_eq!(
            recognize("203.0.113.7", FIREFOX, Some(&given)).await,
            Familiarity::Device
        );
        let made_up = DeviceMark {
            user: given.user,
            id: uuid::Uuid::from_u128(7),
        };
        assert_eq!(
            recognize("203.0.113.7", CHROME, Some(&made_up)).await,
            Familiarity::New
        );
        database::execute(&server.app.db, "delete from devices").await;
        assert_eq!(
            recognize("203.0.113.7", CHROME, Some(&given)).await,
            Familiarity::First
        );
        server.stop().await;
    }
);
