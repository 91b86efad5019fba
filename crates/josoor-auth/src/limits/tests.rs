use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zeroize::Zeroizing;

use super::limiter::{Alone, stricter};
use super::*;
use crate::clock::Clock;
use crate::config::{Config, Quota};
use crate::domain::limit::{TABLE, table};
use crate::domain::{KnownDevice, Network, Requester, SessionId, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::redis::RedisError;
use crate::telemetry::Metrics;

fn limiter(settings: &[(&str, &str)]) -> (Limiter, Clock) {
    let environment = settings
        .iter()
        .map(|(name, value)| (format!("JOSOOR_AUTH__LIMITS__{name}"), (*value).to_owned()))
        .collect::<BTreeMap<_, _>>();
    let config = Config::parse(None, &environment).unwrap().limits;
    let clock = Clock::manual(Timestamp::from_micros(1_700_000_000_000_000));
    let key = Zeroizing::new([7; 32]);
    let limiter = Limiter::new(config, key, None, clock.clone(), Metrics::new());
    (limiter, clock)
}

#[test]
fn the_table_is_complete_and_says_what_the_configuration_says() {
    let (limiter, _) = limiter(&[]);
    for (position, entry) in TABLE.iter().enumerate() {
        assert_eq!(entry.limit as usize, position);
        let quota = limiter.quota(entry.limit).to_string();
        if entry.limit == Limit::LoginPair {
            assert_eq!(quota, limiter.quota(Limit::LoginAccount).to_string());
        } else {
            assert_eq!(quota, entry.default, "{}", entry.name());
        }
    }
}

#[test]
fn the_documentation_has_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/limits.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table = table();
    assert!(
        text.contains(&table),
        "docs/reference/limits.md is stale; it should have:\n{table}"
    );
}

#[tokio::test]
async fn a_rejected_request_consumes_nothing_and_gets_the_time_to_wait() {
    let (limiter, clock) = limiter(&[("LOGIN_ACCOUNT", "3/1m")]);
    let take = || limiter.take(Limit::LoginAccount, &["a@example.com"]);
    for _ in 0..3 {
        take().await.unwrap();
    }
    for _ in 0..100 {
        let Err(Error::RateLimited { retry_after, policy }) = take().await else {
            panic!("over the limit");
        };
        assert_eq!(retry_after, Duration::from_secs(20));
        assert_eq!(
            (policy.name, policy.quota, policy.window),
            ("login_account", 3, Duration::from_mins(1))
        );
    }
    let wait = limiter.wait(Limit::LoginAccount, &["a@example.com"]).await;
    assert_eq!(wait, Some(Duration::from_secs(20)));
    clock.advance(Duration::from_secs(20));
    take().await.unwrap();
    assert!(take().await.is_err());
    // Another account, another limit and another cut of the same text are other buckets.
    limiter
        .take(Limit::LoginAccount, &["b@example.com"])
        .await
        .unwrap();
    limiter
        .take(Limit::LoginAccount, &["a@", "example.com"])
        .await
        .unwrap();
    limiter.take(Limit::LoginPair, &["a@example.com"]).await.unwrap();
}

#[tokio::test]
async fn who_is_over_the_limit_of_the_address_does_not_use_up_an_account() {
    let (limiter, _) = limiter(&[("LOGIN_ADDRESS", "5/1h"), ("LOGIN_ACCOUNT", "3/1h")]);
    for number in 0..5 {
        let email = format!("{number}@example.com");
        limiter.sign_in("192.0.2.1", &email, None).await.unwrap();
    }
    for _ in 0..10 {
        let refused = limiter.sign_in("192.0.2.1", "victim@example.com", None).await;
        let Err(Error::RateLimited { policy, .. }) = refused else {
            panic!("over the limit");
        };
        assert_eq!(policy.name, "login_address");
    }
    for _ in 0..3 {
        limiter
            .sign_in("192.0.2.2", "victim@example.com", None)
            .await
            .unwrap();
    }
    assert!(
        limiter
            .sign_in("192.0.2.2", "victim@example.com", None)
            .await
            .is_err()
    );
    // The command line is not counted.
    limiter.sign_in("", "victim@example.com", None).await.unwrap();
}

#[tokio::test]
async fn mail_is_asked_for_by_address_then_by_account() {
    let (limiter, _) = limiter(&[
        ("FORGOT_ADDRESS", "4/1h"),
        ("FORGOT_ACCOUNT", "2/1h"),
        ("VERIFY_ACCOUNT", "1/1h"),
    ]);
    // One address may request so many, whatever for.
    limiter.forgot("192.0.2.1", "a@example.com").await.unwrap();
    limiter.verify("192.0.2.1", "a@example.com").await.unwrap();
    limiter.forgot("192.0.2.1", "a@example.com").await.unwrap();
    let third = limiter.forgot("192.0.2.1", "a@example.com").await;
    assert_eq!(refused_by(third), "forgot_account");
    let fifth = limiter.forgot("192.0.2.1", "b@example.com").await;
    assert_eq!(refused_by(fifth), "forgot_address");
    // An account gets so many, from all networks together.
    let elsewhere = limiter.forgot("192.0.2.2", "a@example.com").await;
    assert_eq!(refused_by(elsewhere), "forgot_account");
    let elsewhere = limiter.verify("192.0.2.2", "a@example.com").await;
    assert_eq!(refused_by(elsewhere), "verify_account");
    limiter.forgot("192.0.2.2", "b@example.com").await.unwrap();
    limiter.forgot("", "a@example.com").await.unwrap();
}

fn refused_by<T: fmt::Debug>(result: Result<T>) -> &'static str {
    match result {
        Err(Error::RateLimited { policy, .. }) => policy.name,
        other => panic!("not over a limit: {other:?}"),
    }
}

#[tokio::test]
async fn a_session_and_a_device_of_one_user_are_counted_apart() {
    let (limiter, _) = limiter(&[("LOGIN_DEVICE", "1/1h")]);
    let (user, session) = (UserId(7), SessionId::random());
    let device = KnownDevice { user, id: session.0 };
    let other = KnownDevice {
        user,
        id: SessionId::random().0,
    };
    let within = |user, session| limiter.password_in_session("192.0.2.1", user, session);
    let on_device = |ip, device| limiter.sign_in(ip, "a@example.com", Some(device));
    within(user, session).await.unwrap();
    on_device("192.0.2.1", &device).await.unwrap();
    within(user, SessionId::random()).await.unwrap();
    within(UserId(8), session).await.unwrap();
    assert_eq!(refused_by(within(user, session).await), "login_device");
    assert_eq!(refused_by(on_device("192.0.2.9", &other).await), "login_device");
}

#[tokio::test]
async fn a1_a_check_within_a_session_counts_by_network_session_and_account() {
    let (limiter, _) = limiter(&[
        ("LOGIN_ADDRESS", "6/1h"),
        ("LOGIN_DEVICE", "2/1h"),
        ("PASSWORD_ACCOUNT", "4/1h"),
    ]);
    let session = SessionId::random();
    let check = |ip, user: i64, session| limiter.password_in_session(ip, UserId(user), session);
    let requester = check("192.0.2.1", 7, session).await.unwrap().requester();
    assert_eq!(requester, Requester::Known(UserId(7)));
    check("192.0.2.1", 7, session).await.unwrap();
    for _ in 0..3 {
        // One session, also from elsewhere; it takes nothing of the account's.
        assert_eq!(refused_by(check("192.0.2.2", 7, session).await), "login_device");
    }
    for _ in 0..2 {
        check("192.0.2.1", 7, SessionId::random()).await.unwrap();
    }
    // New sessions and new addresses make no new account.
    let elsewhere = check("192.0.2.3", 7, SessionId::random()).await;
    assert_eq!(refused_by(elsewhere), "password_account");
    // Guessing from outside neither uses this bucket up nor is stopped by it.
    limiter
        .sign_in("192.0.2.4", "owner@example.com", None)
        .await
        .unwrap();
    // New accounts make no new network; and it is the one that sign-ins are counted in.
    check("192.0.2.1", 8, SessionId::random()).await.unwrap();
    check("192.0.2.1", 9, SessionId::random()).await.unwrap();
    let seventh = check("192.0.2.1", 10, SessionId::random()).await;
    assert_eq!(refused_by(seventh), "login_address");
    let seventh = limiter.sign_in("192.0.2.1", "other@example.com", None).await;
    assert_eq!(refused_by(seventh), "login_address");
}

#[tokio::test]
async fn c8_every_limit_by_network_counts_wider_v6_networks_too() {
    let (limiter, _) = limiter(&[
        ("LOGIN_ADDRESS", "2/1h"),
        ("LOGIN_PAIR", "2/1h"),
        ("LOGIN_ACCOUNT", "1000/1h"),
        ("REGISTER_ADDRESS", "2/1h"),
        ("FORGOT_ADDRESS", "2/1h"),
        ("EMAIL_CHANGE_ADDRESS", "2/1h"),
        ("WRITE_ADDRESS", "2/1h"),
    ]);
    for limit in [
        Limit::LoginAddress,
        Limit::EmailChangeAddress,
        Limit::WriteAddress,
        Limit::LoginPair,
        Limit::RegisterAddress,
        Limit::ForgotAddress,
    ] {
        let take = async |ip: &str| {
            let network = Network::of(ip).unwrap();
            limiter.take_by_network(limit, network, &["a@example.com"]).await
        };
        let (mut admitted, mut quotas) = (0, Vec::new());
        for number in 0..2000_u32 {
            let ip = format!("2001:db8:1:{number:x}::1");
            match take(&ip).await {
                Ok(()) => admitted += 1,
                Err(Error::RateLimited { policy, .. }) => quotas.push(policy.quota),
                Err(other) => panic!("{other}"),
            }
        }
        // Of each /56 eight: with four of them the /48 is used up.
        assert_eq!(admitted, 32, "{limit:?}");
        assert!(quotas.contains(&8) && quotas.contains(&32), "{limit:?}");
        take("2001:db8:2:1::1").await.unwrap();
        // An IPv4 address is one customer or a whole ministry; its neighbours are others.
        for number in 0..200 {
            take(&format!("192.0.2.{number}")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn half_is_left_while_a_node_counts_alone_but_at_least_one() {
    for (count, left) in [(10, 5), (3, 1), (2, 1), (1, 1)] {
        let quota = Quota {
            count,
            window: Duration::from_mins(1),
        };
        assert_eq!(stricter(quota).count, left);
    }
}

#[test]
fn a_redis_that_comes_and_goes_is_worth_two_lines() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let (alone, away) = (Alone::default(), RedisError::Unavailable("gone".to_owned()));
        alone.ends(0);
        // Every other check fails for ten seconds.
        for now in (0..10_000_000).step_by(1000) {
            alone.begins(now, &away);
            alone.ends(now + 500);
        }
        for now in (10_000_000..20_000_000).step_by(1000) {
            alone.ends(now);
        }
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("counts alone") && text.contains("gone") && text.contains("counts again"));
}

#[tokio::test]
async fn a2_resets_and_notices_have_shares_of_the_mails_that_others_cannot_take() {
    let (limiter, clock) = limiter(&[("MAIL_TOTAL", "100/1h")]);
    let take_all = async |share| {
        let mut taken = 0;
        while limiter.wait_for_mail(share).await.is_none() {
            taken += 1;
        }
        taken
    };
    assert_eq!(take_all(MailShare::Common).await, 60);
    assert_eq!(take_all(MailShare::Reset).await, 20);
    assert_eq!(take_all(MailShare::Notice).await, 20);
    assert_eq!(
        limiter.wait_for_mail(MailShare::Common).await,
        Some(Duration::from_mins(1))
    );
    clock.advance(Duration::from_hours(1));
    assert_eq!(take_all(MailShare::Reset).await, 80);
    assert_eq!(take_all(MailShare::Notice).await, 20);
    assert_eq!(take_all(MailShare::Common).await, 0);
    for (total, whole) in [("1/1h", 1), ("4/1h", 4), ("7/1h", 6)] {
        let (limiter, _) = self::limiter(&[("MAIL_TOTAL", total)]);
        let mut taken = 0;
        while limiter.wait_for_mail(MailShare::Reset).await.is_none() {
            taken += 1;
        }
        assert_eq!(taken, whole, "{total}");
    }
}

#[tokio::test]
async fn switched_off_nothing_is_counted() {
    let (limiter, _) = limiter(&[("ENABLED", "false"), ("MAIL_TOTAL", "1/30d")]);
    for _ in 0..100 {
        limiter.take(Limit::MailTotal, &[]).await.unwrap();
        assert_eq!(limiter.wait_for_mail(MailShare::Common).await, None);
    }
}
