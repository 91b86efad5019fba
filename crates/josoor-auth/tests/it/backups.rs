//! Backups: made while the service works, restored elsewhere and in place, and refused before anything is changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use josoor_auth::backup::{self, Occasion};
use josoor_auth::keys::backup_key;
use josoor_auth::sessions;
use josoor_auth::store::Db;
use serde_json::{Value, json};

use crate::support::command::{Ended, Serving, run};
use crate::support::database::{execute, execute_script, number};
use crate::support::disk::Disk;
use crate::support::server::{Footprint, Server, Stage, Tokens, eventually, on_both};
use crate::support::services;

/// A stage for the same service elsewhere: other stores, the same keys.
fn elsewhere(stage: &Stage) -> Stage {
    let other = Stage::new(stage.footprint);
    let key = stage.directory().join("master.key");
    if key.exists() {
        std::fs::copy(key, other.directory().join("master.key")).expect("copied");
    }
    other
}

fn file_of(stage: &Stage) -> PathBuf {
    stage.directory().join("copies").join("one.backup")
}

/// Makes a backup with the command line. Its manifest.
fn back_up(stage: &Stage) -> Value {
    let file = file_of(stage);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    run(stage, &["backup", &file.display().to_string(), "--json"])
        .with(0)
        .json()
}

fn restore(stage: &Stage, file: &Path) -> Ended {
    run(stage, &["restore", &file.display().to_string(), "--yes"])
}

async fn users(server: &Server) -> i64 {
    number(&server.app.db, "select count(*) from users").await
}

/// Writes of every kind until `stop`; how many there were.
async fn write_on(server: Arc<Server>, name: &str, stop: Arc<AtomicBool>, writes: Arc<AtomicU64>) {
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let email = format!("{name}{turn}@example.com");
        let tokens = server.register(&email).await;
        let other = server.log_in(&email).await;
        let body = json!({ "refresh_token": tokens.refresh });
        server.post("/auth/refresh", &body).await.is(200);
        server.post_as("/auth/logout", &other.access, &json!({})).await;
        writes.fetch_add(4, Ordering::Relaxed);
    }
}

on_both!(
    a_backup_under_writes_is_whole_elsewhere_and_signs_in_no_one,
    async |stage: Stage| {
        let server = Arc::new(stage.start().await);
        server.register_admin("admin@example.com").await;
        let early = server.register("early@example.com").await;
        let (stop, writes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writers: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                let (server, stop, writes) = (Arc::clone(&server), Arc::clone(&stop), Arc::clone(&writes));
                tokio::spawn(async move { write_on(server, name, stop, writes).await })
            })
            .into_iter()
            .collect();
        eventually("there are writes", || async {
            writes.load(Ordering::Relaxed) > 50
        })
        .await;
        let before = users(&server).await;
        let manifest = tokio::task::block_in_place(|| back_up(&stage));
        let during = writes.load(Ordering::Relaxed);
        eventually("writes go on", || async {
            writes.load(Ordering::Relaxed) > during + 20
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.expect("no write failed while the backup was made");
        }
        let after = users(&server).await;
        let count = |table: &str| {
            let tables = manifest["tables"].as_array().expect("tables");
            let table = tables.iter().find(|one| one["name"] == table);
            table.expect("a table")["rows"].as_i64().expect("a number")
        };
        assert!(
            (before..after).contains(&count("users")),
            "{before} {} {after}",
            count("users")
        );
        // Signed out after the backup: there, the session is live.
        let late = server.log_in("early@example.com").await;
        server
            .post_as("/auth/logout", &early.access, &json!({}))
            .await
            .is(200);
        let file = file_of(&stage);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("there").permissions());
        assert_eq!(mode & 0o777, 0o600);

        let other = elsewhere(&stage);
        let checked = run(&other, &["restore", &file.display().to_string(), "--check"]).with(0);
        assert!(
            checked.out.contains(&format!("users       {}", count("users"))),
            "{checked:?}"
        );
        assert!(
            !other.directory().join("auth.db").exists(),
            "a check changes nothing"
        );
        // Nothing is there that it would replace, so there is nothing to confirm; then there is.
        let restored = run(&other, &["restore", &file.display().to_string()]).with(0);
        run(&other, &["restore", &file.display().to_string()])
            .with(1)
            .says(&["replaces every account", "--yes"]);
        run(&other, &["restore", "no/such.backup", "--check"])
            .with(1)
            .says(&["no/such.backup cannot be read: No such file"]);
        assert!(restored.out.contains("sessions revoked"), "{restored:?}");
        let head = manifest["audit_head"].as_str().expect("a head");
        let verified = run(&other, &["audit", "verify", "--head", head]).with(0);
        let copy = other.start().await;
        for table in [
            "users",
            "sessions",
            "one_time_tokens",
            "outbox",
            "devices",
            "keys",
            "credentials",
        ] {
            let rows = number(&copy.app.db, &format!("select count(*) from {table}")).await;
            assert_eq!(rows, count(table), "{table}; {verified:?}");
        }
        let rows = number(
            &copy.app.db,
            "select count(*) from audit where action = 'restore'",
        )
        .await;
        assert_eq!(rows, 1);
        assert!(number(&copy.app.db, "select count(*) from audit").await > count("audit"));
        let live = "select count(*) from sessions where revoked_at is null";
        assert_eq!(number(&copy.app.db, live).await, 0);
        for tokens in [&early, &late] {
            copy.get("/auth/me", &tokens.access).await.is(401);
            copy.refresh(&tokens.refresh).await.is(401);
        }
        let tokens = copy.log_in("early@example.com").await;
        copy.get("/auth/me", &tokens.access).await.is(200);
        // The copy's own rows are sealed, and the chain goes on to them.
        eventually("the new rows are sealed", || async {
            number(&copy.app.db, "select count(*) from audit where seq is null").await == 0
        })
        .await;
        run(&other, &["audit", "verify", "--head", head]).with(0);
        let searched = run(&other, &["user", "list", "--json", "--search", "early@"]).with(0);
        assert_eq!(searched.json().as_array().expect("a list").len(), 1);
        copy.stop().await;
        let Ok(server) = Arc::try_unwrap(server) else {
            panic!("the writers are gone");
        };
        let rows = number(
            &server.app.db,
            "select count(*) from audit where action = 'backup' and reason = 'command'",
        )
        .await;
        assert_eq!(rows, 1);
        server.stop().await;
    }
);

on_both!(
    in_place_what_was_revoked_stays_so_and_no_id_is_given_twice,
    async |stage: Stage| {
        let server = stage.start().await;
        server.register_admin("admin@example.com").await;
        let user = server.register("user@example.com").await;
        server.get("/auth/me", &user.access).await.is(200);
        back_up(&stage);
        let file = file_of(&stage);
        // On a running service: not.
        restore(&stage, &file).with(1).says(&["stop"]);
        let lost = server.register("lost@example.com").await;
        server.get("/auth/me", &lost.access).await.is(200);
        server
            .post_as("/auth/logout", &user.access, &json!({}))
            .await
            .is(200);
        server.stop().await;
        let keys = || {
            let found = services::redis().command(&format!("SCAN 0 MATCH {}* COUNT 1000000", stage.prefix()));
            found.expect("an answer").matches(stage.prefix()).count()
        };
        if stage.footprint == Footprint::Production {
            assert!(keys() > 0, "there are copies in Redis");
        }
        let restored = restore(&stage, &file).with(0);
        if stage.footprint == Footprint::Production {
            assert_eq!(keys(), 0, "{restored:?}");
        } else {
            let aside = restored
                .err
                .lines()
                .find_map(|line| line.strip_prefix("the database that was there is now "));
            let aside = Path::new(aside.expect("its name"));
            assert!(aside.exists());
        }
        let server = stage.start().await;
        assert_eq!(users(&server).await, 2);
        for tokens in [&user, &lost] {
            server.get("/auth/me", &tokens.access).await.is(401);
            server.refresh(&tokens.refresh).await.is(401);
        }
        let new = server.register("new@example.com").await;
        assert!(new.user_id > lost.user_id, "{} is given again", new.user_id);
        // The same backup once more, over what it became.
        server.stop().await;
        restore(&stage, &file).with(0);
        let server = stage.start().await;
        assert_eq!(users(&server).await, 2);
        let newer = server.register("newer@example.com").await;
        assert!(newer.user_id > new.user_id);
        server.stop().await;
    }
);

/// A server as it was before a restore that was refused.
async fn is_unchanged(stage: &Stage, tokens: &Tokens) {
    let server = stage.start().await;
    assert_eq!(users(&server).await, 2);
    server.get("/auth/me", &tokens.access).await.is(200);
    server.log_in("later@example.com").await;
    if let Db::Postgres(_) = &server.app.db {
        let left =
            "select count(*) from information_schema.schemata where schema_name = 'josoor_auth_restore'";
        assert_eq!(number(&server.app.db, left).await, 0);
    }
    server.stop().await;
    let beside: Vec<_> = std::fs::read_dir(stage.directory())
        .expect("a folder")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter(|name| name.contains("-restore") || name.contains("replaced"))
        .collect();
    assert!(beside.is_empty(), "{beside:?}");
}

on_both!(
    what_cannot_be_restored_is_refused_and_changes_nothing,
    async |mut stage: Stage| {
        let server = stage.start().await;
        server.register_admin("admin@example.com").await;
        back_up(&stage);
        let file = file_of(&stage);
        let tokens = server.register("later@example.com").await;
        server.stop().await;
        let whole = std::fs::read(&file).expect("read");
        let bad = stage.directory().join("bad.backup");
        let refused = |bytes: &[u8], words: &[&str]| {
            std::fs::write(&bad, bytes).expect("written");
            let ended = restore(&stage, &bad).with(1).says(words);
            assert!(ended.out.is_empty(), "{ended:?}");
        };
        // One byte in the middle of the data.
        let mut damaged = whole.clone();
        let at = damaged
            .windows(18)
            .position(|bytes| bytes == b"admin@example.com,")
            .or_else(|| {
                damaged
                    .windows(17)
                    .position(|bytes| bytes == b"admin@example.com")
            });
        damaged[at.expect("the address")] ^= 1;
        refused(&damaged, &["damaged"]);
        refused(&whole[..whole.len() / 2], &["not a whole backup"]);
        refused(&whole[..0], &["not a whole backup"]);
        refused(b"SQLite format 3\0 and more", &["not a whole backup"]);
        // A word of the manifest.
        let mut changed = whole.clone();
        let at = changed
            .windows(12)
            .position(|bytes| bytes == b"\"created_at\"")
            .expect("a member");
        let digit = at + changed[at..].iter().position(u8::is_ascii_digit).expect("a year");
        changed[digit] = if changed[digit] == b'1' { b'2' } else { b'1' };
        refused(&changed, &["was changed"]);
        restore(&stage, Path::new("/nonexistent.backup"))
            .with(1)
            .says(&["No such file"]);

        // Another master key.
        let key = run(&stage, &["key", "generate"]).with(0).out;
        let kept = stage.environment().get("MASTER_KEY").cloned();
        stage.set("MASTER_KEY", key.trim());
        let ended = restore(&stage, &file)
            .with(1)
            .says(&["another master key", "fingerprint"]);
        assert!(!ended.err.contains(key.trim()), "{ended:?}");
        let kept = kept
            .unwrap_or_else(|| std::fs::read_to_string(stage.directory().join("master.key")).expect("a key"));
        stage.set("MASTER_KEY", kept.trim());

        // A newer version's.
        let server = stage.start().await;
        let add =
            "insert into josoor_auth_migrations (version, description, success, checksum, execution_time)
             values (9999, 'of a newer version', true, 'x', 0)";
        let add = if stage.footprint == Footprint::Production {
            add.replace("'x'", "'\\x00'")
        } else {
            add.to_owned()
        };
        execute(&server.app.db, &add).await;
        let newer = stage.directory().join("newer.backup");
        run(&stage, &["backup", &newer.display().to_string()])
            .with(1)
            .says(&["another version"]);
        let (config, key) = (&server.app.config, backup_key(&server.app.config).expect("a key"));
        let now = server.app.clock.now();
        backup::make(config, &server.app.db, &key, &newer, Occasion::Command, now)
            .await
            .expect("a backup");
        execute(
            &server.app.db,
            "delete from josoor_auth_migrations where version = 9999",
        )
        .await;
        server.stop().await;
        restore(&stage, &newer).with(1).says(&["newer"]);

        // The other engine's.
        let footprint = match stage.footprint {
            Footprint::Embedded => Footprint::Production,
            Footprint::Production => Footprint::Embedded,
        };
        let mut other = Stage::new(footprint);
        other.set("MASTER_KEY", kept.trim());
        restore(&other, &file).with(1).says(&["DATABASE_URL leads to"]);

        // Redis away: its copies would outlive the database.
        if stage.footprint == Footprint::Production {
            let url = stage.environment()["REDIS_URL"].clone();
            stage.set("REDIS_URL", "redis://127.0.0.1:9");
            restore(&stage, &file)
                .with(1)
                .says(&["Redis cannot be reached", "nothing was changed"]);
            stage.set("REDIS_URL", &url);
        }
        is_unchanged(&stage, &tokens).await;
        // And the backup itself is as good as before.
        restore(&stage, &file).with(0);
        let server = stage.start().await;
        assert_eq!(users(&server).await, 1);
        server.stop().await;
    }
);

on_both!(
    a_file_that_is_no_backup_is_never_replaced,
    async |stage: Stage| {
        let server = stage.start().await;
        let precious = stage.directory().join("precious");
        std::fs::write(&precious, "mine").expect("written");
        run(&stage, &["backup", &precious.display().to_string()])
            .with(1)
            .says(&["is no backup"]);
        assert_eq!(std::fs::read(&precious).expect("read"), b"mine");
        run(&stage, &["backup", "/nonexistent/folder/file"])
            .with(1)
            .says(&["/nonexistent/folder/file"]);
        // A backup is replaced, whole.
        back_up(&stage);
        let first = std::fs::read(file_of(&stage)).expect("read");
        server.register("user@example.com").await;
        back_up(&stage);
        assert_ne!(std::fs::read(file_of(&stage)).expect("read"), first);
        let left: Vec<_> = std::fs::read_dir(file_of(&stage).parent().expect("a folder"))
            .expect("read")
            .collect();
        assert_eq!(left.len(), 1, "{left:?}");
        server.stop().await;
    }
);

/// As if the file had been written two hours earlier.
fn make_older(file: &std::fs::File) {
    let at = file.metadata().and_then(|of| of.modified()).expect("a time");
    file.set_modified(at - Duration::from_hours(2)).expect("set");
}

/// On a disk of two megabytes.
#[test]
fn on_a_full_disk_the_backup_before_stays() {
    let mut stage = Stage::new(Footprint::Embedded);
    run(&stage, &["migrate"]).with(0);
    stage.set("JOSOOR_AUTH__BACKUP__EVERY", "1m");
    let folder = stage.directory().join("small");
    let disk = Disk::at(&folder);
    stage.set("JOSOOR_AUTH__BACKUP__DIRECTORY", &folder.display().to_string());
    let serving = Serving::start(&stage);
    let backups = || {
        let mut names: Vec<_> = std::fs::read_dir(&folder)
            .expect("a folder")
            .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
            .filter(|name| name != "junk")
            .collect();
        names.sort();
        names
    };
    services::until("there is a backup", || {
        backups().iter().any(|name| name.ends_with(".backup"))
    });
    let (names, first) = (backups(), folder.join(&backups()[0]));
    let bytes = std::fs::read(&first).expect("read");
    // The next is due at once: the first one is old.
    disk.fill(serving.id());
    make_older(&std::fs::File::open(&first).expect("there"));
    services::until("the next one failed", || {
        serving.log().contains("\"backup_failed\"")
    });
    disk.free(serving.id());
    assert_eq!(backups(), names, "what was begun is gone");
    assert_eq!(std::fs::read(&first).expect("read"), bytes);
    let checked = run(&stage, &["restore", &first.display().to_string(), "--check"]).with(0);
    assert!(checked.out.contains("users       0"), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_service_backs_itself_up_and_keeps_as_many_as_it_should() {
    let mut stage = Stage::new(Footprint::Embedded);
    stage.set("JOSOOR_AUTH__BACKUP__EVERY", "1h");
    stage.set("JOSOOR_AUTH__BACKUP__KEEP", "2");
    let folder = stage.directory().join("backups");
    std::fs::create_dir(&folder).expect("made");
    for name in [
        "josoor-auth-20250101T000000Z.backup",
        "josoor-auth-20250102T000000Z.backup",
        "other.txt",
    ] {
        let file = std::fs::File::create(folder.join(name)).expect("made");
        make_older(&file);
    }
    let server = stage.start().await;
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    };
    eventually("the oldest is gone", || async {
        !names().contains(&"josoor-auth-20250101T000000Z.backup".to_owned()) && names().len() == 3
    })
    .await;
    let names = names();
    assert_eq!(
        (names[0].as_str(), names[2].as_str()),
        ("josoor-auth-20250102T000000Z.backup", "other.txt")
    );
    let scheduled = "select count(*) from audit where action = 'backup' and reason = 'schedule'";
    assert_eq!(number(&server.app.db, scheduled).await, 1);
    let metrics = server
        .app
        .metrics
        .encode(&josoor_auth::telemetry::Sample::default());
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("josoor_auth_backup_finished_timestamp_seconds "));
    assert!(line.expect("a figure").parse::<f64>().expect("a number") > 1.7e9);
    run(
        &stage,
        &[
            "restore",
            &folder.join(&names[1]).display().to_string(),
            "--check",
        ],
    )
    .with(0);
    server.stop().await;
    let mut other = Stage::new(Footprint::Production);
    other.set("JOSOOR_AUTH__BACKUP__EVERY", "1h");
    run(&other, &["config", "check"])
        .with(1)
        .says(&["backup.every", "SQLite"]);
}

/// Tables of another program in the same schema: a view of ours and rights on it stay; a table that refers to ours is a reason to
/// refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_shared_schema_only_the_rows_of_this_service_are_replaced() {
    let stage = Stage::new(Footprint::Production);
    let server = stage.start().await;
    let first = server.register("first@example.com").await;
    execute_script(
        &server.app.db,
        "create view people as select id, email from users; create table orders (id int primary key, user_id bigint);
         insert into orders values (1, 1); alter table users add column nickname text; update users set nickname = 'Zu'",
    )
    .await;
    let manifest = back_up(&stage);
    assert!(manifest.to_string().contains("nickname") && !manifest.to_string().contains("orders"));
    execute(&server.app.db, "insert into orders values (2, 1)").await;
    server.register("second@example.com").await;
    execute(
        &server.app.db,
        "alter table orders add foreign key (user_id) references users (id)",
    )
    .await;
    server.stop().await;
    let file = file_of(&stage);
    restore(&stage, &file)
        .with(1)
        .says(&["refers to one of this service"]);
    let server = stage.start().await;
    assert_eq!(users(&server).await, 2);
    server.get("/auth/me", &first.access).await.is(200);
    execute(
        &server.app.db,
        "alter table orders drop constraint orders_user_id_fkey",
    )
    .await;
    server.stop().await;
    restore(&stage, &file).with(0);
    let server = stage.start().await;
    assert_eq!(users(&server).await, 1);
    assert_eq!(number(&server.app.db, "select count(*) from people").await, 1);
    assert_eq!(number(&server.app.db, "select count(*) from orders").await, 2);
    assert_eq!(
        number(&server.app.db, "select count(*) from users where nickname = 'Zu'").await,
        1
    );
    server.stop().await;
    // Where the column is not there it is said how to add it.
    let other = elsewhere(&stage);
    restore(&other, &file)
        .with(1)
        .says(&["no column nickname", "alter table users add column"]);
}

on_both!(a_restore_is_one_act, async |stage: Stage| {
    let server = stage.start().await;
    let user = server.register("user@example.com").await;
    let manifest: josoor_auth::backup::Manifest =
        serde_json::from_value(back_up(&stage)).expect("a manifest");
    let settled = backup::settle(&server.app, &manifest).await.expect("settled");
    assert_eq!((settled.sessions, settled.findings), (1, Vec::new()));
    server.refresh(&user.refresh).await.is(401);
    let id = josoor_auth::domain::UserId(user.user_id);
    let listed = sessions::list(&server.app, id, josoor_auth::domain::Role::User).await;
    assert!(listed.expect("a list").is_empty());
    let row = number(
        &server.app.db,
        "select count(*) from audit where action = 'restore' and outcome = 'success' and reason like '%1 sessions revoked%'",
    );
    assert_eq!(row.await, 1);
    server.stop().await;
});

/// A damaged file is the usual reason to restore one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_database_is_replaced_and_kept() {
    let stage = Stage::new(Footprint::Embedded);
    let server = stage.start().await;
    server.register("user@example.com").await;
    back_up(&stage);
    server.stop().await;
    let database = stage.directory().join("auth.db");
    let wal = stage.directory().join("auth.db-wal");
    let file = file_of(&stage);
    for damaged in [b"no database at all".repeat(1000), Vec::new()] {
        std::fs::write(&database, &damaged).expect("written");
        std::fs::write(&wal, "nor a log").expect("written");
        let restored = restore(&stage, &file).with(0);
        let aside = restored
            .err
            .lines()
            .find_map(|line| line.strip_prefix("the database that was there is now "));
        assert!(Path::new(aside.expect("its name")).exists());
        let server = stage.start().await;
        assert_eq!(users(&server).await, 1);
        server.log_in("user@example.com").await;
        server.stop().await;
    }
    run(&stage, &["audit", "verify"]).with(0);
}
