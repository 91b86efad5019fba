//! The same methods give the same results on both engines.

use std::time::Duration;

use josoor_auth::domain::{
    Audit, Change, Email, FullName, Locale, PasswordHash, Purpose, RevokeReason, Role, SearchWords,
    SessionId, Timestamp, UserId,
};
use josoor_auth::store::{
    AuditFilter, AuditKey, Conn, Db, KeyRow, LiveSince, NewAudit, NewOneTimeToken, NewSession, NewUser,
    Rotation, SessionRow, Start, Touch, Transport, User, UserFilter, UserPatch, UserSort,
};
use josoor_auth::{config::Config, worker::purge};
use uuid::Uuid;

use crate::support::database;
use crate::support::server::{Stage as TheStage, eventually, on_both};

/// A moment with all six decimals, and one at each end of what can be kept.
const NOW: Timestamp = Timestamp::from_micros(1_795_352_400_123_457);

async fn open(stage: &TheStage) -> Db {
    let config = Config::parse(None, stage.environment()).unwrap_or_else(|error| panic!("{error}"));
    let db = Db::open(&config.database).await.expect("it opens");
    // Twice: the second time there is nothing left to do.
    for _ in 0..2 {
        db.migrate(&config.database.schema).await.expect("migrated");
    }
    db
}

fn email(text: &str) -> Email {
    Email::parse(text).unwrap_or_else(|reason| panic!("{text}: {reason:?}"))
}

fn later(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

async fn add(conn: &mut Conn, address: &str, name: Option<&str>, role: Role, at: Timestamp) -> User {
    let full_name = name.and_then(|name| FullName::parse(name).expect("a name"));
    conn.insert_user(&NewUser {
        full_name: full_name.as_ref(),
        role,
        ..NewUser::new(&email(address), Locale::En, at)
    })
    .await
    .expect("an answer")
    .expect("a free address")
}

async fn begin(conn: &mut Conn, user: UserId, at: Timestamp, idle: Timestamp, end: Timestamp) -> SessionRow {
    let id = SessionId::random();
    let row = conn
        .insert_session(&NewSession {
            id,
            user_id: user,
            created_at: at,
            expires_at: end,
            idle_expires_at: idle,
            refresh_expires_at: end,
            ip: "2001:db8::1",
            user_agent: "tests/1.0 (ملف)",
            transport: Transport::Body,
            device: None,
            on_known_device: false,
            auth_time: at,
            amr: "pwd",
            acr: "1",
        })
        .await
        .expect("added");
    assert_eq!(row.id(), id);
    row
}

on_both!(users_read_back_as_written, async |stage: Stage| {
    let db = open(&stage).await;
    let mut conn = db.write().await.unwrap();
    let hash = PasswordHash::from_stored("$2b$04$one".to_owned());
    let name = FullName::parse("ليلى O'Hara").unwrap();
    for moment in [NOW, Timestamp::from_micros(0), Timestamp::from_micros(i64::MAX)] {
        let text = format!("Layla.{}@Exämple.COM", moment.as_micros());
        let address = email(&text);
        let new = NewUser {
            password_hash: Some(&hash),
            full_name: name.as_ref(),
            role: Role::Analyst,
            email_verified_at: Some(moment),
            ..NewUser::new(&address, Locale::Ar, moment)
        };
        let added = conn.insert_user(&new).await.unwrap().unwrap();
        assert!(conn.insert_user(&new).await.unwrap().is_none());
        let spelled = email(&text.to_uppercase());
        for found in [
            conn.user_by_id(added.id).await.unwrap().unwrap(),
            conn.user_by_email(&spelled).await.unwrap().unwrap(),
            added.clone(),
        ] {
            assert_eq!(found.id, added.id);
            assert_eq!(found.email, text);
            assert_eq!(found.full_name.as_deref(), Some("ليلى O'Hara"));
            assert_eq!((found.role, found.locale), (Role::Analyst, Locale::Ar));
            assert_eq!(found.password_hash.unwrap().as_str(), "$2b$04$one");
            assert_eq!((found.version, found.is_active), (1, true));
            assert_eq!(
                (found.created_at, found.updated_at, found.email_verified_at),
                (moment, moment, Some(moment))
            );
        }
    }
    let bare = add(&mut conn, "bare@example.com", None, Role::User, NOW).await;
    assert!(bare.password_hash.is_none() && bare.full_name.is_none() && bare.email_verified_at.is_none());
    assert!(conn.user_by_id(UserId(i64::MAX)).await.unwrap().is_none());
    assert!(conn.user_by_id(UserId(-1)).await.unwrap().is_none());
    assert!(
        conn.user_by_email(&email("no@example.com"))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(conn.count_users().await.unwrap(), 4);
    drop(conn);
    db.ping().await.unwrap();
    db.close().await;
});

on_both!(users_change_only_as_asked, async |stage: Stage| {
    let db = open(&stage).await;
    let mut conn = db.write().await.unwrap();
    let user = add(&mut conn, "change@example.com", Some("Old"), Role::User, NOW).await;
    let id = user.id;
    // Nothing to change changes nothing.
    let (_, same) = conn
        .update_user(id, &UserPatch::default(), later(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((same.version, same.updated_at), (1, NOW));
    let patch = UserPatch {
        full_name: Change::Clear,
        locale: Some(Locale::Ar),
        role: Some(Role::Admin),
        is_active: Some(false),
    };
    let (_, changed) = conn.update_user(id, &patch, later(1)).await.unwrap().unwrap();
    assert_eq!(
        (changed.full_name, changed.locale, changed.role, changed.is_active),
        (None, Locale::Ar, Role::Admin, false)
    );
    assert_eq!(
        (changed.version, changed.updated_at, changed.created_at),
        (2, later(1), NOW)
    );
    assert!(
        conn.update_user(UserId(999), &patch, NOW)
            .await
            .unwrap()
            .is_none()
    );
    // An inactive user signs in nowhere, nor does one that has changed since.
    assert!(!conn.claim_sign_in(id, 2, NOW).await.unwrap());
    assert_eq!(conn.count_active_admins().await.unwrap(), 0);
    let patch = UserPatch {
        is_active: Some(true),
        ..UserPatch::default()
    };
    conn.update_user(id, &patch, later(2)).await.unwrap().unwrap();
    assert_eq!(conn.count_active_admins().await.unwrap(), 1);
    assert!(!conn.claim_sign_in(id, 2, NOW).await.unwrap());
    assert!(conn.claim_sign_in(id, 3, NOW).await.unwrap());
    // Hashes: set where there was none, upgraded only from what was verified.
    let hashes: Vec<PasswordHash> = ["$a", "$b", "$c"]
        .map(|text| PasswordHash::from_stored(text.to_owned()))
        .into();
    assert!(
        !conn
            .change_password_hash(id, Some(&hashes[0]), &hashes[1], NOW)
            .await
            .unwrap()
    );
    assert!(
        conn.change_password_hash(id, None, &hashes[0], NOW)
            .await
            .unwrap()
    );
    assert!(
        !conn
            .change_password_hash(id, None, &hashes[1], NOW)
            .await
            .unwrap()
    );
    assert!(
        !conn
            .upgrade_password_hash(id, &hashes[1], &hashes[2])
            .await
            .unwrap()
    );
    assert!(
        conn.upgrade_password_hash(id, &hashes[0], &hashes[1])
            .await
            .unwrap()
    );
    let now = conn.user_by_id(id).await.unwrap().unwrap();
    assert_eq!((now.version, now.password_hash.unwrap().as_str()), (4, "$b"));
    // The id of the last user is not given again.
    assert!(conn.delete_user(id).await.unwrap());
    assert!(!conn.delete_user(id).await.unwrap());
    assert!(
        add(&mut conn, "change@example.com", None, Role::User, NOW)
            .await
            .id
            > id
    );
    drop(conn);
    db.close().await;
});

on_both!(
    lists_page_without_gaps_and_search_literally,
    async |stage: Stage| {
        let db = open(&stage).await;
        let mut conn = db.write().await.unwrap();
        let names = [
            "100% Sure",
            "under_score",
            "back\\slash",
            "",
            "Ünal",
            "ÜNAL",
            "zed",
            "percent",
            "xscore",
        ];
        for (number, name) in names.iter().cycle().take(45).enumerate() {
            let role = [Role::User, Role::Analyst, Role::Admin][number % 3];
            let address = format!("list{number:02}@example.com");
            // Many share a moment: the ids have to break the ties.
            let at = later((number / 10) as u64);
            let user = add(
                &mut conn,
                &address,
                Some(name).filter(|name| !name.is_empty()).copied(),
                role,
                at,
            )
            .await;
            if number % 4 == 0 {
                let patch = UserPatch {
                    is_active: Some(false),
                    ..UserPatch::default()
                };
                conn.update_user(user.id, &patch, at).await.unwrap();
            }
        }
        let everybody = UserFilter::default();
        for name in UserSort::NAMES {
            for text in [name.to_owned(), format!("-{name}")] {
                let sort = UserSort::parse(&text).unwrap();
                let first = Start::Offset(0);
                let all = conn.list_users(&everybody, sort, &first, 100).await.unwrap();
                assert_eq!((all.users.len(), all.total, all.total_is_capped), (45, 45, false));
                let all = all.users;
                let mut paged = Vec::new();
                for page in 0..7 {
                    let start = Start::Offset(page * 7);
                    let page = conn.list_users(&everybody, sort, &start, 7).await.unwrap();
                    assert_eq!(page.total, 45);
                    paged.extend(page.users);
                }
                let ids = |users: &[User]| users.iter().map(|user| user.id.0).collect::<Vec<_>>();
                assert_eq!(ids(&all), ids(&paged), "{text}");
                let mut unique = ids(&paged);
                unique.sort_unstable();
                unique.dedup();
                assert_eq!(unique.len(), 45);
                if name == "full_name" {
                    // Those without a name come last in both directions.
                    assert!(all[..40].iter().all(|user| user.full_name.is_some()));
                    assert!(all[40..].iter().all(|user| user.full_name.is_none()));
                }
                if name == "created_at" || name == "id" {
                    let mut sorted = all
                        .iter()
                        .map(|user| (user.created_at, user.id.0))
                        .collect::<Vec<_>>();
                    sorted.sort_unstable();
                    if text.starts_with('-') {
                        sorted.reverse();
                    }
                    assert_eq!(
                        ids(&all),
                        sorted.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
                    );
                }
            }
        }
        for wrong in ["", "-", "--id", "password_hash", "id desc", "email_key", "ID"] {
            assert!(UserSort::parse(wrong).is_none(), "{wrong}");
        }
        let sort = UserSort::parse("id").unwrap();
        let mut found = async |text: &str| {
            let filter = UserFilter {
                text: SearchWords::parse(text),
                ..UserFilter::default()
            };
            let start = Start::Offset(0);
            let found = conn.list_users(&filter, sort, &start, 100).await.unwrap();
            assert_eq!(found.users.len(), usize::try_from(found.total).unwrap());
            found.total
        };
        for (text, expected) in [
            ("%", 5),
            ("100% sure", 5),
            ("_", 5),
            ("under_score", 5),
            ("score", 10),
            ("\\", 5),
            ("back\\slash", 5),
            ("ünal", 10),
            ("list07@", 1),
            ("example.com", 45),
            ("'", 0),
            ("\" or 1=1 --", 0),
            ("", 45),
        ] {
            assert_eq!(found(text).await, expected, "{text:?}");
        }
        let filter = UserFilter {
            text: SearchWords::parse("example"),
            role: Some(Role::Admin),
            is_active: Some(false),
            ..UserFilter::default()
        };
        let first = Start::Offset(0);
        let found = conn.list_users(&filter, sort, &first, 100).await.unwrap();
        let (users, total) = (found.users, found.total);
        assert!(total > 0 && users.len() == usize::try_from(total).unwrap());
        assert!(
            users
                .iter()
                .all(|user| user.role == Role::Admin && !user.is_active)
        );
        assert_eq!(conn.count_active_admins().await.unwrap(), 15 - total);
        let start = Start::Offset(i64::MAX);
        let none = conn.list_users(&everybody, sort, &start, 10).await.unwrap();
        assert!(none.users.is_empty() && none.total == 45);
        drop(conn);
        db.close().await;
    }
);

on_both!(sessions_move_only_forward, async |stage: Stage| {
    let db = open(&stage).await;
    let mut conn = db.write().await.unwrap();
    let user = add(&mut conn, "session@example.com", None, Role::User, NOW)
        .await
        .id;
    let row = begin(&mut conn, user, NOW, later(100), later(1000)).await;
    let id = row.id();
    let read = conn.session_by_id(id).await.unwrap().unwrap();
    for row in [&row, &read] {
        assert_eq!(row.user_id(), user);
        assert_eq!((row.created_at, row.last_seen_at), (NOW, NOW));
        assert_eq!((row.idle_expires_at, row.expires_at), (later(100), later(1000)));
        assert_eq!(
            (row.ip.as_str(), row.user_agent.as_str()),
            ("2001:db8::1", "tests/1.0 (ملف)")
        );
        assert_eq!(
            (row.generation, row.used_generation, row.replaced_generation),
            (1, 0, None)
        );
        assert_eq!(
            (row.generation_issued_at, row.generation_expires_at),
            (NOW, later(1000))
        );
        assert!(row.superseded.is_empty() && row.revoked_at.is_none() && row.revoke_reason.is_none());
    }
    assert!(conn.session_by_id(SessionId::random()).await.unwrap().is_none());

    // A step needs the generation it was decided on, and, if asked, that it is unused.
    let step = |from, only_if_unused, at: Timestamp| Rotation {
        id,
        user,
        from,
        only_if_unused,
        replaced: 1,
        kept: only_if_unused.then_some("7:7"),
        added: "1:8",
        issued_at: at,
        refresh_expires_at: at.plus(Duration::from_mins(5)),
        idle_expires_at: at.plus(Duration::from_secs(100)),
    };
    assert!(conn.rotate_session(&step(2, false, NOW)).await.unwrap().is_none());
    let rotated = conn
        .rotate_session(&step(1, false, later(10)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((rotated.generation, rotated.replaced_generation), (2, Some(1)));
    assert_eq!(rotated.superseded, ",1:8");
    assert_eq!(
        (rotated.auth_time, rotated.amr.as_str(), rotated.acr.as_str()),
        (Some(NOW), "pwd", "1")
    );
    let foreign = Rotation {
        user: UserId(user.0 + 1),
        ..step(2, false, later(11))
    };
    assert!(conn.rotate_session(&foreign).await.unwrap().is_none());
    assert_eq!(
        (rotated.idle_expires_at, rotated.generation_issued_at),
        (later(110), later(10))
    );
    assert_eq!(rotated.generation_expires_at, later(310));
    let touch = |generation, at: Timestamp| Touch {
        session: id,
        generation,
        at,
        idle_expires_at: at.plus(Duration::from_secs(100)),
    };
    conn.touch_session(&touch(1, later(20))).await.unwrap();
    // A generation that does not exist yet is no use of it; times do not go back.
    conn.touch_session(&touch(3, later(15))).await.unwrap();
    let row = conn.session_by_id(id).await.unwrap().unwrap();
    assert_eq!((row.used_generation, row.last_seen_at), (1, later(20)));
    assert_eq!(row.idle_expires_at, later(120));
    let rotated = conn
        .rotate_session(&step(2, true, later(30)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((rotated.generation, rotated.superseded.as_str()), (3, "7:7,1:8"));
    drop(conn);
    for touch in [touch(3, later(40)), touch(2, later(41))] {
        db.write_touches(&[touch]).await.unwrap();
    }
    let mut conn = db.write().await.unwrap();
    assert!(
        conn.rotate_session(&step(3, true, later(50)))
            .await
            .unwrap()
            .is_none()
    );
    let row = conn.session_by_id(id).await.unwrap().unwrap();
    assert_eq!((row.used_generation, row.last_seen_at), (3, later(41)));
    assert_eq!(row.idle_expires_at, later(141));

    // The idle end moves on, never back, and not after it has passed.
    let row = conn
        .extend_session(id, 3, later(60), later(50))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.idle_expires_at, later(141));
    let row = conn
        .extend_session(id, 3, later(500), later(129))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.idle_expires_at, later(500));
    assert!(
        conn.extend_session(id, 3, later(900), later(500))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        conn.rotate_session(&step(3, false, later(500)))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        conn.revoke_session(id, RevokeReason::Logout, later(500))
            .await
            .unwrap()
            .is_none()
    );

    // Ended is ended.
    let ended = conn
        .revoke_session(id, RevokeReason::PasswordChanged, later(499))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (ended.revoked_at, ended.revoke_reason),
        (Some(later(499)), Some(RevokeReason::PasswordChanged))
    );
    assert!(
        conn.revoke_session(id, RevokeReason::Logout, NOW)
            .await
            .unwrap()
            .is_none()
    );
    assert!(conn.rotate_session(&step(3, false, NOW)).await.unwrap().is_none());
    assert!(
        conn.extend_session(id, 3, later(900), NOW)
            .await
            .unwrap()
            .is_none()
    );
    conn.touch_session(&touch(3, later(900))).await.unwrap();
    let row = conn.session_by_id(id).await.unwrap().unwrap();
    assert_eq!(
        (row.last_seen_at, row.revoke_reason),
        (later(129), Some(RevokeReason::PasswordChanged))
    );
    drop(conn);
    db.close().await;
});

on_both!(the_superseded_generations_are_kept_short, async |stage: Stage| {
    let db = open(&stage).await;
    let mut conn = db.write().await.unwrap();
    let user = add(&mut conn, "short@example.com", None, Role::User, NOW)
        .await
        .id;
    let id = begin(&mut conn, user, NOW, later(100), later(1000)).await.id();
    for from in 1..=100 {
        let added = format!("{from}:{}", later(10).as_micros());
        let step = Rotation {
            id,
            user,
            from,
            only_if_unused: false,
            replaced: from,
            kept: None,
            added: &added,
            issued_at: later(10),
            // The idle end is not moved past the absolute one.
            refresh_expires_at: later(2000),
            idle_expires_at: later(2000),
        };
        let row = conn.rotate_session(&step).await.unwrap().unwrap();
        assert!(row.superseded.len() <= 400 && row.superseded.ends_with(&added));
        assert!(row.superseded.split(',').count() >= usize::try_from(from.min(9)).unwrap());
        assert_eq!(
            (row.idle_expires_at, row.generation_expires_at),
            (later(1000), later(1000))
        );
    }
    drop(conn);
    db.close().await;
});

on_both!(all_sessions_of_a_user_end_but_one, async |stage: Stage| {
    let db = open(&stage).await;
    let mut conn = db.write().await.unwrap();
    let user = add(&mut conn, "many@example.com", None, Role::User, NOW).await.id;
    let other = add(&mut conn, "other@example.com", None, Role::User, NOW)
        .await
        .id;
    let mut mine = Vec::new();
    for number in 0..5 {
        mine.push(
            begin(&mut conn, user, later(number), later(100), later(1000))
                .await
                .id(),
        );
    }
    let idle = begin(&mut conn, user, NOW, later(20), later(1000)).await.id();
    let theirs = begin(&mut conn, other, NOW, later(100), later(1000)).await.id();
    let always = Timestamp::from_micros(0);
    let live = LiveSince {
        now: later(50),
        used_after: [always; 2],
        verified_after: [always; 2],
    };
    let listed = conn.live_sessions(user, &live).await.unwrap();
    let listed: Vec<SessionId> = listed.iter().map(SessionRow::id).collect();
    let latest_first: Vec<SessionId> = mine.iter().rev().copied().collect();
    assert_eq!(listed, latest_first);
    let reason = RevokeReason::RevokedByUser;
    let ended = conn
        .revoke_sessions_of(user, Some(mine[2]), reason, later(50))
        .await
        .unwrap();
    assert_eq!(ended.len(), 4);
    assert!(
        ended
            .iter()
            .all(|row| row.id() != mine[2] && row.id() != idle && row.id() != theirs)
    );
    let ended = conn
        .revoke_sessions_of(user, None, reason, later(50))
        .await
        .unwrap();
    assert_eq!(ended.iter().map(SessionRow::id).collect::<Vec<_>>(), [mine[2]]);
    assert!(
        conn.revoke_sessions_of(user, None, reason, later(50))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(conn.live_sessions(other, &live).await.unwrap().len(), 1);
    // An account takes its sessions with it.
    assert!(conn.delete_user(other).await.unwrap());
    assert!(conn.session_by_id(theirs).await.unwrap().is_none());
    drop(conn);
    db.close().await;
});

on_both!(changes_are_read_in_order_and_pages, async |stage: Stage| {
    let db = open(&stage).await;
    let mut tx = db.begin().await.unwrap();
    let user = add(&mut tx, "changes@example.com", None, Role::User, NOW)
        .await
        .id;
    let row = begin(&mut tx, user, NOW, later(100), later(1000)).await;
    tx.record_revocation(&row, RevokeReason::RefreshReuse, later(1))
        .await
        .unwrap();
    for number in 2..=6 {
        tx.record_user_change(user, later(number), later(50))
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    // Undone with the act.
    let mut tx = db.begin().await.unwrap();
    tx.record_user_change(user, later(7), later(50)).await.unwrap();
    drop(tx);
    let mut conn = db.write().await.unwrap();
    let all = conn.changes_since(NOW, 0, 100).await.unwrap();
    assert_eq!(all.len(), 6);
    assert_eq!((all[0].session_id(), all[0].user_id()), (Some(row.id()), user));
    assert_eq!(
        (all[0].reason, all[0].until),
        (Some(RevokeReason::RefreshReuse), later(1000))
    );
    // PostgreSQL stamps them itself.
    match stage.footprint {
        Footprint::Embedded => assert_eq!(all[0].at, later(1)),
        Footprint::Production => assert!(all[0].at > later(1000)),
    }
    assert!(all.windows(2).all(|pair| pair[0].at < pair[1].at));
    assert_eq!(
        (all[1].session_id(), all[1].reason, all[1].until),
        (None, None, later(50))
    );
    assert!(all.windows(2).all(|pair| pair[0].id < pair[1].id));
    let page = conn.changes_since(all[1].at, all[1].id, 2).await.unwrap();
    assert_eq!(
        page.iter().map(|change| change.id).collect::<Vec<_>>(),
        [all[2].id, all[3].id]
    );
    assert!(
        conn.changes_since(all[5].at, all[5].id, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(conn.purge_changes(later(51), 3).await.unwrap(), 3);
    assert_eq!(conn.purge_changes(later(51), 3).await.unwrap(), 2);
    assert_eq!(conn.purge_changes(later(51), 3).await.unwrap(), 0);
    assert_eq!(conn.changes_since(NOW, 0, 10).await.unwrap().len(), 1);
    drop(conn);
    db.close().await;
});

async fn add_token(conn: &mut Conn, id: Uuid, user: Option<UserId>, expires_at: Timestamp) {
    conn.insert_one_time_token(&NewOneTimeToken {
        id,
        purpose: Purpose::Setup,
        user,
        email: None,
        session: None,
        bound_to: None,
        created_at: NOW,
        expires_at,
        is_pending: false,
    })
    .await
    .expect("added");
}

on_both!(one_of_many_claims_what_is_there_once, async |stage: Stage| {
    let db = open(&stage).await;
    let mut conn = db.write().await.unwrap();
    let (id, stale, owned) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
    let user = add(&mut conn, "token@example.com", None, Role::User, NOW)
        .await
        .id;
    add_token(&mut conn, id, None, later(100)).await;
    add_token(&mut conn, stale, None, later(10)).await;
    add_token(&mut conn, owned, Some(user), later(100)).await;
    let read = conn.one_time_token(id).await.unwrap().unwrap();
    assert_eq!(
        (read.purpose.as_str(), read.user_id(), read.expires_at),
        ("setup", None, later(100))
    );
    assert_eq!(
        conn.one_time_token(owned).await.unwrap().unwrap().user_id(),
        Some(user)
    );
    assert!(conn.one_time_token(Uuid::from_u128(9)).await.unwrap().is_none());
    assert!(!conn.claim_one_time_token(stale, later(10)).await.unwrap());
    drop(conn);
    let claims = (0..16).map(|_| async {
        db.write()
            .await
            .unwrap()
            .claim_one_time_token(id, later(20))
            .await
            .unwrap()
    });
    let won = futures_util::future::join_all(claims)
        .await
        .into_iter()
        .filter(|won| *won)
        .count();
    assert_eq!(won, 1);
    let mut conn = db.write().await.unwrap();
    assert_eq!(
        conn.one_time_token(id).await.unwrap().unwrap().used_at,
        Some(later(20))
    );
    // Neither what is used, nor what is over, nor what is somebody's.
    assert_eq!(
        conn.expire_one_time_tokens(Purpose::Setup, None, later(20))
            .await
            .unwrap(),
        0
    );
    add_token(&mut conn, Uuid::from_u128(4), None, later(100)).await;
    assert_eq!(
        conn.expire_one_time_tokens(Purpose::Setup, None, later(20))
            .await
            .unwrap(),
        1
    );
    assert_eq!(conn.purge_one_time_tokens(later(50), 1).await.unwrap(), 1);
    assert_eq!(conn.purge_one_time_tokens(later(50), 100).await.unwrap(), 1);
    assert!(conn.delete_user(user).await.unwrap());
    assert!(conn.one_time_token(owned).await.unwrap().is_none());

    // The first key of a purpose.
    let key = |kid: &str, sealed: &[u8]| KeyRow {
        kid: kid.to_owned(),
        purpose: "test".to_owned(),
        sealed: sealed.to_owned(),
        created_at: NOW,
        is_current: true,
        signs_from: None,
        verifies_until: None,
    };
    assert!(conn.insert_first_key(&key("a", &[0, 255, 0])).await.unwrap());
    assert!(!conn.insert_first_key(&key("a", &[1])).await.unwrap());
    assert!(!conn.insert_first_key(&key("b", &[1])).await.unwrap());
    let keys = conn.keys_for("test").await.unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(
        (keys[0].kid.as_str(), keys[0].sealed.as_slice()),
        ("a", [0, 255, 0].as_slice())
    );
    assert_eq!((keys[0].created_at, keys[0].is_current), (NOW, true));
    assert_eq!(conn.all_keys().await.unwrap().len(), 1);
    assert!(conn.keys_for("none").await.unwrap().is_empty());
    drop(conn);
    db.close().await;
});

on_both!(a_guard_lets_one_decide_at_a_time, async |stage: Stage| {
    let db = open(&stage).await;
    let mut conn = db.write().await.unwrap();
    for number in 0..8 {
        add(
            &mut conn,
            &format!("admin{number}@example.com"),
            None,
            Role::Admin,
            NOW,
        )
        .await;
    }
    drop(conn);
    // Everybody may go who is not the last; all try at once.
    let leave = (1..=8).map(|id| {
        let db = &db;
        async move {
            let mut tx = db.begin().await.unwrap();
            tx.pass_guard("admins").await.unwrap();
            if tx.count_active_admins().await.unwrap() < 2 {
                return false;
            }
            tx.delete_user(UserId(id)).await.unwrap();
            tx.commit().await.unwrap();
            true
        }
    });
    let left = futures_util::future::join_all(leave).await;
    assert_eq!(left.into_iter().filter(|left| *left).count(), 7);
    assert_eq!(db.write().await.unwrap().count_active_admins().await.unwrap(), 1);
    db.close().await;
});

on_both!(
    purging_takes_what_is_over_and_nothing_else,
    async |stage: Stage| {
        let mut stage = stage;
        stage.set("JOSOOR_AUTH__AUDIT__RETENTION", "10d");
        let clock = josoor_auth::clock::Clock::manual(NOW);
        let server = stage.start_with(clock.clone()).await;
        let day = Duration::from_hours(24);
        let tokens = server.register("purge@example.com").await;
        let body = serde_json::json!({ "refresh_token": tokens.refresh });
        server.post("/auth/logout", &body).await.is(200);
        let live = async || {
            let mut conn = server.app.db.write().await.unwrap();
            let id = crate::refresh::session_id(&tokens);
            let session = conn.session_by_id(id).await.unwrap().is_some();
            let changes = conn
                .changes_since(Timestamp::from_micros(0), 0, 100)
                .await
                .unwrap()
                .len();
            (session, changes)
        };
        purge::purge(&server.app).await.unwrap();
        assert_eq!(live().await, (true, 1));
        // The answer to "why?" stays until a day after the absolute end; the audit trail for its retention.
        // What is not in the chain yet stays, however old.
        eventually("the audit trail is sealed", || async {
            let mut conn = server.app.db.write().await.unwrap();
            conn.unsealed_audit(1).await.unwrap().is_empty()
        })
        .await;
        clock.advance(11 * day);
        purge::purge(&server.app).await.unwrap();
        assert_eq!(live().await, (true, 1));
        server
            .refresh(&tokens.refresh)
            .await
            .is_problem(401, "session_revoked");
        assert_eq!(crate::refresh::audited(&server, "register", &tokens).await, 0);
        clock.advance(20 * day + Duration::from_secs(1));
        purge::purge(&server.app).await.unwrap();
        assert_eq!(live().await, (false, 0));
        server
            .refresh(&tokens.refresh)
            .await
            .is_problem(401, "session_revoked");
        eventually("the server goes on", || async {
            server.app.db.ping().await.is_ok()
        })
        .await;
        server.stop().await;
    }
);

on_both!(audit_rows_take_nulls_and_text, async |stage: Stage| {
    let db = open(&stage).await;
    // No row without a code.
    let unsigned = NewAudit::by_operator(Audit::SignIn, NOW);
    assert!(db.write().await.unwrap().insert_audit(&unsigned).await.is_err());
    db.sign_audit_with(AuditKey::new([7; 32].into()));
    let mut conn = db.write().await.unwrap();
    let bare = NewAudit {
        at: NOW,
        action: Audit::SignIn,
        succeeded: false,
        reason: None,
        actor: None,
        subject: None,
        session: None,
        ip: None,
        user_agent: None,
        request_id: None,
        client_request_id: None,
    };
    conn.insert_audit(&bare).await.unwrap();
    conn.insert_audit(&NewAudit {
        at: later(10),
        succeeded: true,
        reason: Some("سبب \u{2028} '; drop table audit; --"),
        actor: Some(UserId(i64::MAX)),
        subject: Some(UserId(1)),
        session: Some(SessionId::random()),
        ip: Some("::1"),
        user_agent: Some("agent"),
        request_id: Some("id"),
        client_request_id: Some("theirs"),
        ..bare
    })
    .await
    .unwrap();
    let rows = conn.list_audit(&AuditFilter::default(), None, 10).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].actor_id, rows[1].actor_id), (Some(i64::MAX), None));
    drop(conn);
    db.close().await;
});

on_both!(
    a_connection_whose_unit_of_work_broke_off_is_closed,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__DATABASE__MAX_CONNECTIONS", "1");
        let (db, other) = (open(&stage).await, open(&stage).await);
        // What a connection keeps to itself tells whether it is still the same.
        let (mark, is_same) = match stage.footprint {
            Footprint::Embedded => (
                "create temp table mark (number bigint)",
                "select count(*) from sqlite_temp_master where name = 'mark'",
            ),
            Footprint::Production => (
                "create temp table mark (number bigint)",
                "select count(*) from pg_class where relname = 'mark' and pg_table_is_visible(oid)",
            ),
        };
        database::execute(&db, mark).await;
        // Given up by choice: the connection is as good as before.
        let mut tx = db.begin().await.unwrap();
        let user = add(&mut tx, "given-up@example.com", None, Role::User, NOW).await;
        drop(tx);
        assert_eq!(database::number(&db, is_same).await, 1);
        // A statement failed: nothing is committed, and the connection goes.
        let mut tx = db.begin().await.unwrap();
        add(&mut tx, "failed@example.com", None, Role::User, NOW).await;
        let session = NewSession {
            id: SessionId::random(),
            user_id: UserId(user.id.0 + 1_000_000),
            created_at: NOW,
            expires_at: later(9),
            idle_expires_at: later(9),
            refresh_expires_at: later(9),
            ip: "",
            user_agent: "",
            transport: Transport::Body,
            device: None,
            on_known_device: false,
            auth_time: NOW,
            amr: "pwd",
            acr: "1",
        };
        tx.insert_session(&session)
            .await
            .expect_err("there is no such user");
        tx.commit().await.expect_err("a statement has failed");
        assert_eq!(database::number(&db, is_same).await, 0);
        // The caller went away, at any moment: what is written next is committed at once.
        for micros in (0..6000).step_by(150) {
            let unit = async {
                let mut tx = db.begin().await.unwrap();
                add(&mut tx, "cut-off@example.com", None, Role::User, NOW).await;
                add(&mut tx, "cut-off-too@example.com", None, Role::User, NOW).await;
                std::future::pending::<()>().await;
            };
            let cut_off = tokio::time::timeout(Duration::from_micros(micros), unit).await;
            assert!(cut_off.is_err());
            let name = format!("cut-off-{micros}");
            database::execute(
                &db,
                &format!("insert into guards (name, passes) values ('{name}', 0)"),
            )
            .await;
            let sql = format!("select count(*) from guards where name = '{name}'");
            assert_eq!(database::number(&other, &sql).await, 1, "{name}");
        }
        assert_eq!(database::number(&other, "select count(*) from users").await, 0);
        db.close().await;
        other.close().await;
    }
);
