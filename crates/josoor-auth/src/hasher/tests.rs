use std::future::Future;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};

use proptest::prelude::*;

use super::argon2id::ARGON2_MAX_MEMORY_KIB;
use super::bcrypt::{PLAIN_BYTES, Ready};
use super::pool::{Answer, Job, MAX_RETRY_AFTER, Task, retry_after};
use super::stored::Stored;
use super::*;
use crate::domain::{Network, UserId};
use crate::telemetry::Step;

/// The schemes of the default settings.
pub(super) const DEFAULT_BCRYPT: Scheme = Scheme::Bcrypt { cost: 12 };
pub(super) const DEFAULT_ARGON2ID: Scheme = Scheme::Argon2id {
    memory_kib: 19 * 1024,
    iterations: 2,
    parallelism: 1,
};

const BCRYPT: Scheme = Scheme::Bcrypt { cost: 4 };
const ARGON2ID: Scheme = Scheme::Argon2id {
    memory_kib: 64,
    iterations: 1,
    parallelism: 1,
};

/// Made with passlib 1.7.4 over bcrypt 4.0.1: the password, then its `bcrypt`, `bcrypt_sha256`, and version 1 of that.
fn passlib_vectors() -> Vec<(String, [&'static str; 3])> {
    vec![
        (
            "correct horse".to_owned(),
            [
                "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
                "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$DDZkjU09Vim05Ait7x7R.JfuHDNAppu",
                "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$fm19hcnOB5jVIa57e1DmQZ/XByRYI72",
            ],
        ),
        (
            "a".repeat(71),
            [
                "$2b$04$abcdefghijklmnopqrstuuMCu.k1vM/ywQwiONaEn3oEMlZoCVBd6",
                "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$4keXnBSETrAPgpspNEoIIDwOTcTL8iW",
                "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$AYZaFSX4jbY5MhlansBj.ilC.t.eF7i",
            ],
        ),
        (
            "a".repeat(71) + "b",
            [
                "$2b$04$abcdefghijklmnopqrstuuOamT/wNYAA2T3dwK/uVZX5KdYiWAze2",
                "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$Cg.lLj3M6k/GQMOnvoYCdAOxNXB8S5.",
                "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$2sSHkxNtuMxgYDh3T3pguu4LcbE4WXC",
            ],
        ),
        (
            "a".repeat(72) + "c",
            [
                "$2b$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe",
                "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$SpUQNNt4rloFzed7QNzsoRK0ehacAfu",
                "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$WM2qiA9bgpfM6RV1xENZlRNPT73dGji",
            ],
        ),
        (
            "0123456789".repeat(20),
            [
                "$2b$04$abcdefghijklmnopqrstuum2G75IXDN/xsgbNa/hCiPSKyIHQd70S",
                "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$fpV4TecfxiO2YYW3GQxin9pUTyWXvbS",
                "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$GzkzJKROmDFHX2FPBaIW7mFdLCmRaTe",
            ],
        ),
        (
            "كلمة السر الطويلة".to_owned(),
            [
                "$2b$04$abcdefghijklmnopqrstuuub.pXwoLnFFpt1l237ye17r8GCqvXI6",
                "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$3Zz0EkHCR04nPCPc.FyhVak2dqmj446",
                "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$fMELa3ejEPLjsedXhbLTS/0gFm6nbZ2",
            ],
        ),
        (
            "كلمة المرور الطويلة جدا التي لا ينساها صاحبها أبدا".to_owned(),
            [
                "$2b$04$abcdefghijklmnopqrstuumXDeVnNnrE2I5DGBhVzLvMUyDDorkl2",
                "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$9gttRCO/UWzaWeQPe6B2nD8G/ezswdq",
                "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$oQ1dcjK9FUJE6ZhAkPDCAFSV8Ank4OC",
            ],
        ),
    ]
}

fn password(text: &str) -> Password {
    Password::parse(text).unwrap()
}

fn new(text: &str) -> NewPassword {
    NewPassword::not_checked(password(text))
}

fn unknown_network() -> Requester {
    Requester::Network(Network::Unknown)
}

fn counted() -> PasswordCheck {
    PasswordCheck::not_counted(unknown_network())
}

fn hasher(scheme: Scheme) -> Hasher {
    Hasher::new(HasherConfig {
        threads: 1,
        queue: 2,
        scheme,
    })
    .unwrap()
}

async fn check(hasher: &Hasher, text: &str, stored: &str) -> Verdict {
    hasher
        .verify(
            password(text),
            Some(PasswordHash::from_stored(stored.to_owned())),
            counted(),
        )
        .await
        .unwrap()
}

/// Holds the only worker until the returned sender is dropped.
fn block(hasher: &Hasher) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (started, running) = mpsc::channel();
    let (reply, answer) = oneshot::channel();
    let call = move || {
        started.send(()).unwrap();
        let _ = held.recv();
    };
    hasher.0.0.enqueue(
        Job {
            password: password("x"),
            task: Task::Call(Box::new(call)),
            first: None,
            reply,
            step: Step::default(),
        },
        unknown_network(),
    );
    running.recv().unwrap();
    // Kept open so that the job counts as wanted.
    std::mem::forget(answer);
    release
}

/// Lets a future take its first step, which puts its job into the queue.
fn step<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[tokio::test]
async fn hashes_of_passlib_are_verified() {
    let hasher = hasher(BCRYPT);
    for (text, [plain, second, first]) in passlib_vectors() {
        let long = text.len() > PLAIN_BYTES;
        assert_eq!(
            check(&hasher, &text, plain).await,
            Verdict::Match { outdated: long },
            "{plain}"
        );
        assert_eq!(
            check(&hasher, &text, second).await,
            Verdict::Match { outdated: !long },
            "{second}"
        );
        assert_eq!(
            check(&hasher, &text, first).await,
            Verdict::Match { outdated: true },
            "{first}"
        );
        let other = format!("X{}", text.chars().skip(1).collect::<String>());
        for stored in [plain, second, first] {
            assert_eq!(check(&hasher, &other, stored).await, Verdict::NoMatch, "{stored}");
        }
    }
}

#[tokio::test]
async fn every_byte_up_to_the_last_counts() {
    for scheme in [BCRYPT, ARGON2ID] {
        let hasher = hasher(scheme);
        for length in [1, 55, 56, 71, 72, 73, 200, 1024] {
            let text = "a".repeat(length);
            let hash = hasher.hash(new(&text), unknown_network()).await.unwrap();
            assert_eq!(
                check(&hasher, &text, hash.as_str()).await,
                Verdict::Match { outdated: false }
            );
            let other = format!("{}b", &text[1..]);
            assert_eq!(
                check(&hasher, &other, hash.as_str()).await,
                Verdict::NoMatch,
                "{length}"
            );
            if length < 1024 {
                assert_eq!(
                    check(&hasher, &format!("{text}a"), hash.as_str()).await,
                    Verdict::NoMatch,
                    "{length}"
                );
            }
        }
    }
}

#[tokio::test]
async fn formats_are_those_that_other_programs_read() {
    let bcrypt = hasher(BCRYPT);
    let short = bcrypt.hash(new("short"), unknown_network()).await.unwrap();
    assert!(
        short.as_str().starts_with("$2b$04$") && short.as_str().len() == 60,
        "{}",
        short.as_str()
    );
    let long = bcrypt
        .hash(new(&"x".repeat(73)), unknown_network())
        .await
        .unwrap();
    let parts: Vec<&str> = long.as_str().split('$').collect();
    assert_eq!(parts[..3], ["", "bcrypt-sha256", "v=2,t=2b,r=4"]);
    assert_eq!((parts[3].len(), parts[4].len(), parts.len()), (22, 31, 5));
    assert!(parts[3].ends_with(['.', 'O', 'e', 'u']), "padding bits are zero");
    let argon2id = hasher(ARGON2ID)
        .hash(new("short"), unknown_network())
        .await
        .unwrap();
    assert!(
        argon2id.as_str().starts_with("$argon2id$v=19$m=64,t=1,p=1$"),
        "{}",
        argon2id.as_str()
    );
    assert_ne!(
        short.as_str(),
        bcrypt
            .hash(new("short"), unknown_network())
            .await
            .unwrap()
            .as_str()
    );
    assert_eq!(format!("{short:?}"), "PasswordHash(…)");
}

#[tokio::test]
async fn a_hash_that_would_be_written_otherwise_is_outdated() {
    let bcrypt = hasher(BCRYPT);
    let costlier = hasher(Scheme::Bcrypt { cost: 5 });
    let argon2id = hasher(ARGON2ID);
    let memory = hasher(Scheme::Argon2id {
        memory_kib: 128,
        iterations: 1,
        parallelism: 1,
    });
    let text = "correct horse";
    let hashers = [&bcrypt, &costlier, &argon2id, &memory];
    for (i, writer) in hashers.iter().enumerate() {
        let hash = writer.hash(new(text), unknown_network()).await.unwrap();
        for (j, reader) in hashers.iter().enumerate() {
            assert_eq!(
                check(reader, text, hash.as_str()).await,
                Verdict::Match { outdated: i != j },
                "{i} {j}"
            );
            assert_eq!(
                check(reader, "wrong", hash.as_str()).await,
                Verdict::NoMatch,
                "{i} {j}"
            );
        }
    }
    for old in [
        "$2a$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
    ] {
        assert_eq!(check(&bcrypt, text, old).await, Verdict::Match { outdated: true });
    }
    let broken = "$2x$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
    assert_eq!(check(&bcrypt, text, broken).await, Verdict::NoMatch);
    // The last character of a salt carries four bits that do not count; "v" has them set.
    let padded = "$2b$04$abcdefghijklmnopqrstuvjydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
    assert_eq!(
        check(&bcrypt, text, padded).await,
        Verdict::Match { outdated: false }
    );
}

#[tokio::test]
async fn argon2id_of_other_programs_is_verified() {
    // Made with argon2-cffi over the reference implementation.
    let hasher = hasher(ARGON2ID);
    let same =
        "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA";
    let other =
        "$argon2id$v=19$m=128,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$BbBHUSlDWVd9h+UTYwOokLoVfsJBOmISJQP+UYTSazA";
    assert_eq!(
        check(&hasher, "correct horse", same).await,
        Verdict::Match { outdated: false }
    );
    assert_eq!(
        check(&hasher, "correct horse", other).await,
        Verdict::Match { outdated: true }
    );
    assert_eq!(check(&hasher, "correct house", same).await, Verdict::NoMatch);
}

#[tokio::test]
async fn nothing_and_nonsense_match_nothing() {
    let good = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
    let second = "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$DDZkjU09Vim05Ait7x7R.JfuHDNAppu";
    let argon =
        "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA";
    let hasher = hasher(BCRYPT);
    for text in ["correct horse".to_owned(), "x".repeat(200)] {
        assert_eq!(
            hasher.verify(password(&text), None, counted()).await.unwrap(),
            Verdict::NoMatch
        );
    }
    for whole in [good, second, argon] {
        for end in 0..whole.len() {
            assert_eq!(
                check(&hasher, "correct horse", &whole[..end]).await,
                Verdict::NoMatch,
                "{}",
                &whole[..end]
            );
        }
    }
    for stored in [
        "!",
        "*",
        "\u{0}",
        "correct horse",
        "$2b$",
        "$2b$+4$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$2b$03$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$2b$17$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$2b$31$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQcé",
        "$2b$04$abcdefghijklmnopqrst!ujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$bcrypt-sha256$v=2,t=2b,r=31$abcdefghijklmnopqrstuu$DDZkjU09Vim05Ait7x7R.JfuHDNAppu",
        "$bcrypt-sha256$v=3,t=2b,r=4$abcdefghijklmnopqrstuu$DDZkjU09Vim05Ait7x7R.JfuHDNAppu",
        "$argon2id$v=19$m=1048577,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA",
        "$argon2id$v=19$m=4294967295,t=4294967295,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA",
        "$argon2id$v=19$m=64,t=100000000,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA",
        "$argon2id$v=19$m=64,t=0,p=0$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA",
        "$argon2i$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA",
    ] {
        assert_eq!(
            check(&hasher, "correct horse", stored).await,
            Verdict::NoMatch,
            "{stored}"
        );
    }
}

#[test]
fn decoys_are_as_costly_as_what_is_written() {
    for scheme in [BCRYPT, ARGON2ID] {
        for text in ["short".to_owned(), "x".repeat(73)] {
            let decoy = scheme.decoy(text.len() > PLAIN_BYTES).unwrap();
            let decoy = Stored::read(decoy.as_str()).map_err(str::to_owned).unwrap();
            assert!(!decoy.is_outdated(scheme, text.as_bytes()));
            assert!(!decoy.matches(text.as_bytes(), &mut Ready::default()).unwrap());
        }
    }
}

#[test]
fn parameters_out_of_bounds_do_not_start() {
    for scheme in [
        Scheme::Bcrypt { cost: 3 },
        Scheme::Bcrypt { cost: 17 },
        Scheme::Argon2id {
            memory_kib: 7,
            iterations: 1,
            parallelism: 1,
        },
        Scheme::Argon2id {
            memory_kib: 64,
            iterations: 0,
            parallelism: 1,
        },
        Scheme::Argon2id {
            memory_kib: 64,
            iterations: 1,
            parallelism: 0,
        },
        Scheme::Argon2id {
            memory_kib: u32::MAX,
            iterations: 1,
            parallelism: 1,
        },
    ] {
        assert!(
            Hasher::new(HasherConfig {
                threads: 1,
                queue: 1,
                scheme
            })
            .is_err(),
            "{scheme:?}"
        );
    }
    assert!(
        Hasher::new(HasherConfig {
            threads: 0,
            queue: 1,
            scheme: BCRYPT
        })
        .is_err()
    );
    for scheme in [DEFAULT_BCRYPT, DEFAULT_ARGON2ID] {
        scheme.check().unwrap();
    }
}

#[tokio::test]
async fn a_full_queue_rejects_at_once() {
    let hasher = hasher(BCRYPT);
    let release = block(&hasher);
    let mut first = pin!(hasher.hash(new("first"), unknown_network()));
    let mut second = pin!(hasher.hash(new("second"), unknown_network()));
    assert!(!step(first.as_mut()) && !step(second.as_mut()));
    assert_eq!((hasher.stats().queued, hasher.stats().running), (2, 1));
    match hasher.hash(new("third"), unknown_network()).await {
        Err(Error::Overloaded { retry_after }) => assert!(retry_after >= Duration::from_secs(1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(hasher.stats().shed_total, 1);
    // `admit` rejects before any work, and accepts a job that would evict another one.
    assert!(matches!(
        hasher.admit(unknown_network()),
        Err(Error::Overloaded { .. })
    ));
    hasher.admit(Requester::Known(UserId(1))).unwrap();
    assert_eq!(hasher.stats().shed_total, 2);
    drop(release);
    first.await.unwrap();
    second.await.unwrap();
    let stats = hasher.stats();
    assert_eq!(
        (stats.queued, stats.running, stats.done_total, stats.shed_total),
        (0, 0, 3, 2)
    );
    hasher.admit(unknown_network()).unwrap();
    assert!(stats.busy_total > Duration::ZERO);
}

#[tokio::test]
async fn waiting_jobs_are_computed_together_and_each_gets_its_own_answer() {
    let hasher = Hasher::new(HasherConfig {
        threads: 1,
        queue: 16,
        scheme: BCRYPT,
    })
    .unwrap();
    let stored = hasher
        .hash(new("correct horse"), unknown_network())
        .await
        .unwrap();
    let costlier = "$2b$05$abcdefghijklmnopqrstuuo8sMI/lBdg2DeGTz/BtFwnH0iv.RIW6";
    let long = "ä".repeat(40);
    let long_stored = hasher.hash(new(&long), unknown_network()).await.unwrap();
    let release = block(&hasher);
    // Of two costs, short and long, right and wrong, with an account and without, and one that is hashed.
    let right = || hasher.verify(password("correct horse"), Some(stored.clone()), counted());
    let wrong = || hasher.verify(password("correct house"), Some(stored.clone()), counted());
    let unknown = || hasher.verify(password("correct horse"), None, counted());
    let other_cost = hasher.verify(
        password("x"),
        Some(PasswordHash::from_stored(costlier.to_owned())),
        counted(),
    );
    let of_long = hasher.verify(password(&long), Some(long_stored), counted());
    let hashed = hasher.hash(new("new"), unknown_network());
    let all = async {
        tokio::join!(
            right(),
            wrong(),
            other_cost,
            unknown(),
            right(),
            of_long,
            hashed,
            wrong(),
            right()
        )
    };
    let mut all = pin!(all);
    assert!(!step(all.as_mut()));
    assert_eq!(hasher.stats().queued, 9);
    drop(release);
    let answers = all.await;
    let (is_match, no_match) = (Verdict::Match { outdated: false }, Verdict::NoMatch);
    assert_eq!(answers.0.unwrap(), is_match);
    assert_eq!(answers.1.unwrap(), no_match);
    assert_eq!(answers.2.unwrap(), no_match);
    assert_eq!(answers.3.unwrap(), no_match);
    assert_eq!(answers.4.unwrap(), is_match);
    assert_eq!(answers.5.unwrap(), is_match);
    assert_eq!(check(&hasher, "new", answers.6.unwrap().as_str()).await, is_match);
    assert_eq!(answers.7.unwrap(), no_match);
    assert_eq!(answers.8.unwrap(), is_match);
    let stats = hasher.stats();
    assert_eq!((stats.done_total, stats.running, stats.queued), (13, 0, 0));
}

#[tokio::test]
async fn c11_a_stored_hash_above_the_bounds_takes_no_more_work_than_any_other() {
    let hash = "abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
    let stored = format!("$2b$15${hash}");
    assert!(PasswordHash::import(&stored).is_err_and(|reason| reason.contains("bcrypt cost is above 14")));
    let hasher = hasher(BCRYPT);
    assert_eq!(check(&hasher, "correct horse", &stored).await, Verdict::NoMatch);
    assert!(
        hasher.stats().busy_total < Duration::from_secs(1),
        "{:?}",
        hasher.stats()
    );
    // What the operator has set for new passwords is verified whatever it costs.
    let text =
        "$argon2id$v=19$m=65536,t=32,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA";
    let own = Scheme::Argon2id {
        memory_kib: 65536,
        iterations: 32,
        parallelism: 1,
    };
    assert!(Stored::parse(text, Some(own)).is_ok());
    assert!(Stored::parse(text, None).is_err_and(|reason| reason.contains("1048576")));
    assert!(Stored::parse(&stored, Some(Scheme::Bcrypt { cost: 15 })).is_ok());
    assert!(Stored::parse(&stored, Some(Scheme::Bcrypt { cost: 16 })).is_err());
}

#[tokio::test]
async fn a_known_user_evicts_an_unknown_network() {
    let hasher = hasher(BCRYPT);
    let release = block(&hasher);
    let mut first = pin!(hasher.hash(new("first"), unknown_network()));
    let mut second = pin!(hasher.hash(new("second"), unknown_network()));
    assert!(!step(first.as_mut()) && !step(second.as_mut()));
    let mut known = pin!(hasher.hash(new("third"), Requester::Known(UserId(1))));
    assert!(!step(known.as_mut()));
    assert!(matches!(second.await, Err(Error::Overloaded { .. })));
    drop(release);
    known.await.unwrap();
    first.await.unwrap();
    assert_eq!(hasher.stats().shed_total, 1);
}

#[tokio::test]
async fn a_job_without_a_caller_is_skipped_and_takes_no_capacity() {
    let hasher = hasher(BCRYPT);
    let release = block(&hasher);
    {
        let mut first = pin!(hasher.hash(new("first"), unknown_network()));
        let mut second = pin!(hasher.hash(new("second"), unknown_network()));
        assert!(!step(first.as_mut()) && !step(second.as_mut()));
    }
    let mut third = pin!(hasher.hash(new("third"), unknown_network()));
    assert!(!step(third.as_mut()));
    assert_eq!(hasher.stats().queued, 1);
    {
        let mut fourth = pin!(hasher.hash(new("fourth"), unknown_network()));
        assert!(!step(fourth.as_mut()));
    }
    drop(release);
    third.await.unwrap();
    hasher.hash(new("fifth"), unknown_network()).await.unwrap();
    let stats = hasher.stats();
    assert_eq!((stats.skipped_total, stats.done_total), (3, 3));
}

#[tokio::test]
async fn a_panic_is_an_error_and_the_thread_lives_on() {
    let hasher = hasher(BCRYPT);
    let failed = hasher
        .submit(
            password("x"),
            Task::Call(Box::new(|| panic!("on purpose"))),
            unknown_network(),
        )
        .await;
    assert!(matches!(failed, Err(Error::Internal(_))));
    hasher.hash(new("after"), unknown_network()).await.unwrap();
    assert_eq!(hasher.stats().done_total, 2);
}

#[tokio::test]
async fn threads_are_named_and_end_with_the_last_handle() {
    let hasher = hasher(BCRYPT);
    let (name, named) = mpsc::channel();
    let call = move || name.send(thread::current().name().map(str::to_owned)).unwrap();
    assert!(matches!(
        hasher
            .submit(password("x"), Task::Call(Box::new(call)), unknown_network())
            .await,
        Ok(Answer::Called)
    ));
    assert_eq!(named.recv().unwrap().as_deref(), Some("hash-0"));

    let pool = Arc::downgrade(&hasher.0.0);
    let clone = hasher.clone();
    drop(hasher);
    clone.hash(new("still there"), unknown_network()).await.unwrap();
    drop(clone);
    let deadline = Instant::now() + Duration::from_secs(20);
    while pool.strong_count() > 0 {
        assert!(Instant::now() < deadline, "the thread still holds the pool");
        thread::yield_now();
    }
}

#[test]
fn retry_after_is_sensible() {
    let mean = Duration::from_millis(250);
    assert_eq!(retry_after(Duration::ZERO, 0, 1), Duration::from_secs(1));
    assert_eq!(retry_after(mean, 4, 2), Duration::from_secs(1));
    assert_eq!(retry_after(mean, 32, 2), Duration::from_secs(4));
    assert_eq!(retry_after(mean, 33, 2), Duration::from_secs(5));
    assert_eq!(retry_after(Duration::MAX, usize::MAX, 1), MAX_RETRY_AFTER);
}

proptest! {
    #[test]
    fn any_stored_text_is_read_or_refused(
        text in "\\PC{0,80}|\\$(2[abxy]|bcrypt-sha256|argon2id)\\$[a-z0-9$=,./]{0,80}|\\$argon2id\\$v=19\\$m=[0-9]{1,11},t=[0-9]{1,11},p=[0-9]{1,9}\\$[A-Za-z0-9+/]{0,90}\\$[A-Za-z0-9+/]{0,90}"
    ) {
        if let Ok(Stored::Argon2id { params, .. }) = Stored::read(&text) {
            prop_assert!(params.m_cost() <= ARGON2_MAX_MEMORY_KIB);
        }
    }

    #[test]
    fn what_is_hashed_matches_itself_alone(text in "\\PC{1,100}", other in "\\PC{1,100}") {
        let (one, two) = (password(&text), password(&other));
        prop_assume!(one.as_bytes() != two.as_bytes());
        for scheme in [BCRYPT, ARGON2ID] {
            let hash = scheme.hash(one.as_bytes(), [9; 16], &mut Ready::default()).unwrap();
            let stored = Stored::read(hash.as_str()).map_err(str::to_owned).unwrap();
            prop_assert!(stored.matches(one.as_bytes(), &mut Ready::default()).unwrap());
            prop_assert!(!stored.is_outdated(scheme, one.as_bytes()));
            prop_assert!(!stored.matches(two.as_bytes(), &mut Ready::default()).unwrap());
        }
    }
}
