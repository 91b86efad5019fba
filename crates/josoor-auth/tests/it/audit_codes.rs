//! The codes of audit rows: what somebody shows who writes in the database past the service, what stays possible, and
//! how the trail goes on through upgrades, erasures and a lost master key.

use std::time::Duration;

use josoor_auth::act::Client;
use josoor_auth::audit::{self, Report};
use josoor_auth::clock::Clock;
use josoor_auth::domain::UserId;
use josoor_auth::store::Db;
use reqwest::Method;
use serde_json::json;

use crate::audit::{check, keep_leases, sealed, stop_sealing};
use crate::support::command::{Serving, run};
use crate::support::database::{execute, number, texts};
use crate::support::server::{Footprint, PASSWORD, Server, Stage, Tokens, eventually, http_client, on_both};

/// Columns of a row that is copied with its code.
pub(crate) const COPIED: &str =
    "at, action, outcome, reason, actor_id, subject_id, session_id, ip, user_agent, request_id, nonce,
    row_mac, mac_origin, ip_salt, ip_commitment, user_agent_salt, user_agent_commitment";

/// Watches over the trail several times a second.
fn watch_closely(stage: &mut Stage) {
    stage.set("JOSOOR_AUTH__AUDIT__MAC_REQUIRED_AFTER", "1s");
}

async fn resume_sealing(server: &Server) {
    let sql = match server.app.db {
        Db::Postgres(_) => "drop trigger keep_lease on leases",
        Db::Sqlite { .. } => "drop trigger keep_lease",
    };
    execute(&server.app.db, sql).await;
}

/// The state of the audit trail at `/readyz`.
async fn readiness(server: &Server) -> String {
    let answer = server.send(server.request(Method::GET, "/readyz")).await.is(200);
    answer.json["parts"]["audit"]
        .as_str()
        .expect("a state")
        .to_owned()
}

async fn is_degraded(server: &Server) {
    eventually("/readyz shows it", || async {
        readiness(server).await == "degraded"
    })
    .await;
    assert!(!server.app.audit.is_sound());
}

#[track_caller]
fn whole(report: &Report) {
    assert!(report.findings.is_empty(), "{report:?}");
}

#[track_caller]
fn finds(report: &Report, words: &str) {
    assert!(
        report.findings.iter().any(|finding| finding.contains(words)),
        "{words:?}: {report:?}"
    );
}

/// The columns of a forged row, and what an attacker puts there.
async fn forge(db: &Db, columns: &str, values: &str) -> i64 {
    execute(
        db,
        &format!(
            "insert into audit (at, action, outcome, actor_id, subject_id{columns})
             select at, 'role_change', 'success', 1, 1{values} from audit where seq = 2"
        ),
    )
    .await;
    number(db, "select max(id) from audit where action = 'role_change'").await
}

on_both!(
    b7_a_row_that_this_service_did_not_write_is_refused_and_reported,
    async |mut stage: Stage| {
        watch_closely(&mut stage);
        let server = stage.start().await;
        server.register("owner@example.com").await;
        sealed(&server).await;
        let db = &server.app.db;
        whole(&check(&server, None).await);
        assert_eq!(readiness(&server).await, "ok");
        // Without a code, with one of another row, and with one that is made up.
        let nonce = match db {
            Db::Postgres(_) => "'00000000-0000-4000-8000-000000000001'",
            Db::Sqlite { .. } => "x'00000000000040008000000000000001'",
        };
        let other = match db {
            Db::Postgres(_) => "'00000000-0000-4000-8000-000000000002'",
            Db::Sqlite { .. } => "x'00000000000040008000000000000002'",
        };
        let forged = [
            forge(db, "", "").await,
            forge(db, ", nonce, row_mac", &format!(", {nonce}, row_mac")).await,
            forge(db, ", nonce, row_mac, mac_origin", &format!(", {other}, mac, 1")).await,
        ];
        is_degraded(&server).await;
        // What is right goes on.
        server.register("another@example.com").await;
        eventually("the others are sealed", || async {
            number(
                db,
                "select count(*) from audit where seq is null and refused_at is null",
            )
            .await
                == 0
        })
        .await;
        let report = check(&server, None).await;
        assert_eq!(report.refused, forged);
        assert_eq!(report.findings.len(), 1, "{report:?}");
        finds(&report, "were not written by this service");
        assert_eq!(
            number(db, "select count(*) from audit where seq is null").await,
            3
        );
        let ended = run(&stage, &["audit", "verify"]).with(1);
        for id in forged {
            assert!(ended.out.contains(&id.to_string()), "{ended:?}");
        }
        // Refusing a right row shows as well.
        let mark = match db {
            Db::Postgres(_) => "'2026-01-01T00:00:00Z'",
            Db::Sqlite { .. } => "1767225600000000",
        };
        keep_leases(&server).await;
        server.register("third@example.com").await;
        execute(
            db,
            &format!("update audit set refused_at = {mark} where seq is null and refused_at is null"),
        )
        .await;
        finds(&check(&server, None).await, "though its code is right");
        server.stop().await;
    }
);

on_both!(
    b7_a_row_cannot_be_written_again_with_its_code,
    async |stage: Stage| {
        let server = stage.start().await;
        server.register("owner@example.com").await;
        sealed(&server).await;
        let db = &server.app.db;
        let again = format!(
            "insert into audit ({COPIED}) select {COPIED} from audit where seq = 2 on conflict do nothing"
        );
        assert_eq!(execute(db, &again).await, 0);
        // Who may change the tables, too, takes the index away first: that shows, and so does the row.
        execute(db, "drop index audit_nonce").await;
        assert_eq!(execute(db, &again).await, 1);
        sealed(&server).await;
        let report = check(&server, None).await;
        finds(&report, "audit_nonce is missing");
        finds(&report, "repeats another row");
        server.stop().await;
    }
);

on_both!(
    b7_what_is_taken_out_of_the_chain_is_not_sealed_again,
    async |mut stage: Stage| {
        watch_closely(&mut stage);
        let server = stage.start().await;
        server.register("owner@example.com").await;
        let body = json!({ "email": "owner@example.com", "password": "wrong password" });
        server.post("/auth/login", &body).await.is(401);
        sealed(&server).await;
        let db = &server.app.db;
        // Rewritten and taken out of the chain: the row's own code still tells.
        execute(
            db,
            "update audit set ip = '192.0.2.9', seq = null, mac = null where action = 'register'",
        )
        .await;
        is_degraded(&server).await;
        let report = check(&server, None).await;
        finds(&report, "is missing");
        finds(&report, "were not written by this service");
        // The whole chain taken away, as if it had never begun.
        execute(
            db,
            "delete from audit where outcome = 'failure' or refused_at is not null",
        )
        .await;
        execute(db, "update audit set seq = null, mac = null").await;
        execute(db, "delete from audit_chain").await;
        server.log_in("owner@example.com").await;
        is_degraded(&server).await;
        finds(&check(&server, None).await, "the head of the chain is missing");
        // Nor does a restart begin a new one.
        server.stop().await;
        let server = stage.start().await;
        server.log_in("owner@example.com").await;
        is_degraded(&server).await;
        assert_eq!(
            number(&server.app.db, "select count(*) from audit where seq is not null").await,
            0
        );
        execute(
            &server.app.db,
            "update guards set passes = 0 where name = 'audit-begin'",
        )
        .await;
        server.stop().await;
        // Not even when the mark is put back that a new database has: its keys say that it is none.
        let server = stage.start().await;
        finds(&check(&server, None).await, "the head of the chain is missing");
        run(&stage, &["audit", "verify"]).with(1);
        server.stop().await;
    }
);

on_both!(b7_a_trail_without_rows_is_not_whole, async |mut stage: Stage| {
    watch_closely(&mut stage);
    let server = stage.start().await;
    server.register("owner@example.com").await;
    stop_sealing(&server).await;
    let db = &server.app.db;
    execute(db, "delete from audit").await;
    finds(&check(&server, None).await, "were cut off");
    execute(db, "delete from audit_chain").await;
    finds(&check(&server, None).await, "the head of the chain is missing");
    let ended = run(&stage, &["audit", "verify"]).with(1);
    assert!(ended.out.contains("NOT whole"), "{ended:?}");
    is_degraded(&server).await;
    server.stop().await;
});

on_both!(
    b7_an_earlier_state_that_is_put_back_shows_to_running_nodes_and_against_a_kept_head,
    async |mut stage: Stage| {
        watch_closely(&mut stage);
        let server = stage.start().await;
        server.register("owner@example.com").await;
        sealed(&server).await;
        let db = &server.app.db;
        execute(db, "create table spare_chain as select * from audit_chain").await;
        let last = number(db, "select max(seq) from audit").await;
        server.log_in("owner@example.com").await;
        sealed(&server).await;
        let kept = check(&server, None).await.head.expect("a head");
        stop_sealing(&server).await;
        execute(db, &format!("delete from audit where seq > {last}")).await;
        execute(db, "delete from audit_chain").await;
        execute(
            db,
            "insert into audit_chain (name, seq, mac, tag) select name, seq, mac, tag from spare_chain",
        )
        .await;
        // The tables alone fit together.
        whole(&check(&server, None).await);
        finds(&check(&server, Some(&kept)).await, "were cut off");
        run(&stage, &["audit", "verify", "--head", &kept]).with(1);
        resume_sealing(&server).await;
        is_degraded(&server).await;
        server.log_in("owner@example.com").await;
        server.log_in("owner@example.com").await;
        // The node that remembers more seals nothing on top of it.
        assert_eq!(number(db, "select max(seq) from audit").await, last);
        // One that was started afterwards does; then the position has another code than the one that was kept.
        server.stop().await;
        let server = stage.start().await;
        sealed(&server).await;
        whole(&check(&server, None).await);
        finds(&check(&server, Some(&kept)).await, "is not the one that was kept");
        server.stop().await;
    }
);

on_both!(
    b7_a_row_that_goes_before_it_is_sealed_goes_unseen_and_late_rows_do_not,
    async |mut stage: Stage| {
        watch_closely(&mut stage);
        let clock = Clock::manual(Clock::System.now());
        let server = stage.start_with(clock.clone()).await;
        server.register("owner@example.com").await;
        stop_sealing(&server).await;
        let db = &server.app.db;
        server.log_in("owner@example.com").await;
        // Who keeps the sealer away for longer than a minute shows.
        clock.advance(Duration::from_secs(61));
        is_degraded(&server).await;
        finds(
            &check(&server, None).await,
            "have not been sealed for over a minute",
        );
        assert!(execute(db, "delete from audit where seq is null").await >= 1);
        resume_sealing(&server).await;
        eventually("/readyz is as before", || async {
            readiness(&server).await == "ok"
        })
        .await;
        whole(&check(&server, None).await);
        server.stop().await;
    }
);

on_both!(
    b7_retention_removes_nothing_that_was_changed,
    async |mut stage: Stage| {
        watch_closely(&mut stage);
        let server = stage.start().await;
        for number in 0..4 {
            server.register(&format!("row{number}@example.com")).await;
        }
        sealed(&server).await;
        let db = &server.app.db;
        let rows = number(db, "select count(*) from audit").await;
        let old = match db {
            Db::Postgres(_) => "'2001-01-01T00:00:00Z'",
            Db::Sqlite { .. } => "978307200000000",
        };
        // Made old, so that the service itself removes it.
        execute(db, &format!("update audit set at = {old} where seq <= 3")).await;
        josoor_auth::worker::purge::purge(&server.app)
            .await
            .expect("purged");
        assert_eq!(number(db, "select count(*) from audit").await, rows);
        finds(&check(&server, None).await, "position 1 was changed");
        is_degraded(&server).await;
        server.stop().await;
    }
);

on_both!(
    b7_personal_values_are_erased_and_the_chain_stays_whole,
    async |mut stage: Stage| {
        watch_closely(&mut stage);
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let user = server.register("gone@example.com").await;
        let body = json!({ "email": "gone@example.com", "password": "wrong password" });
        server.post("/auth/login", &body).await.is(401);
        server
            .patch(
                &format!("/admin/users/{}", user.user_id),
                &admin.access,
                &json!({ "role": "analyst" }),
            )
            .await
            .is(200);
        sealed(&server).await;
        let kept = check(&server, None).await.head.expect("a head");
        let db = &server.app.db;
        let about = format!(
            "(actor_id = {0} or (actor_id is null and subject_id = {0}))",
            user.user_id
        );
        let personal = format!("select count(*) from audit where ip is not null and {about}");
        let rows = number(db, &personal).await;
        assert!(rows >= 2);
        server
            .delete(&format!("/admin/users/{}", user.user_id), &admin.access)
            .await
            .is(204);
        sealed(&server).await;
        let act = Client {
            actor: Some(UserId(admin.user_id)),
            ..Client::default()
        };
        let erased = audit::erase(&server.app, UserId(user.user_id), &act)
            .await
            .expect("erased");
        assert_eq!(
            (i64::try_from(erased.rows).unwrap(), erased.waiting),
            (rows, 0),
            "{erased:?}"
        );
        assert_eq!(number(db, &personal).await, 0);
        let left = format!(
            "select count(*) from audit where {about}
             and (ip_salt is not null or user_agent is not null or user_agent_salt is not null)"
        );
        assert_eq!(number(db, &left).await, 0);
        // The administrator's act on the account holds what is the administrator's.
        let others = format!(
            "select count(*) from audit where ip is not null and actor_id = {} and subject_id = {}",
            admin.user_id, user.user_id
        );
        assert!(number(db, &others).await >= 1);
        let named = texts(
            db,
            &format!(
                "select reason from audit where action = 'audit_erase' and actor_id = {} and subject_id = {}",
                admin.user_id, user.user_id
            ),
        )
        .await;
        assert_eq!(named.len(), 1, "{named:?}");
        let report = check(&server, Some(&kept)).await;
        whole(&report);
        assert_eq!(i64::try_from(report.erased).unwrap(), rows);
        // The same once the row that names them is sealed, and by the command line.
        sealed(&server).await;
        whole(&check(&server, Some(&kept)).await);
        let ended = run(&stage, &["audit", "erase", "--yes", &user.user_id.to_string()]).with(0);
        assert!(ended.out.contains("0 rows"), "{ended:?}");
        let ended = run(&stage, &["audit", "erase", "--yes", "admin@example.com"]).with(0);
        assert!(!ended.out.contains(" 0 rows"), "{ended:?}");
        sealed(&server).await;
        stop_sealing(&server).await;
        whole(&check(&server, Some(&kept)).await);
        // A blank that no erasure names, a value that is put back, an erasure that is taken away.
        server.register("blank@example.com").await;
        resume_sealing(&server).await;
        sealed(&server).await;
        stop_sealing(&server).await;
        execute(
            db,
            "update audit set ip = null, ip_salt = null, ip_commitment = row_mac
             where seq = (select max(seq) from audit)",
        )
        .await;
        finds(&check(&server, None).await, "was changed");
        execute(db, "create table spare as select * from audit").await;
        execute(
            db,
            &format!("update audit set ip = '192.0.2.9' where ip is null and {about}"),
        )
        .await;
        finds(&check(&server, None).await, "was changed");
        execute(db, "delete from audit where action = 'audit_erase'").await;
        finds(&check(&server, None).await, "no erasure names it");
        server.stop().await;
    }
);

on_both!(
    b7_after_a_lost_master_key_the_chain_begins_again_with_a_record,
    async |mut stage: Stage| {
        watch_closely(&mut stage);
        let server = stage.start().await;
        server.register("owner@example.com").await;
        sealed(&server).await;
        execute(&server.app.db, "delete from keys").await;
        server.stop().await;
        // As docs/run/audit-trail.md says.
        if stage.footprint == Footprint::Embedded {
            std::fs::remove_file(stage.directory().join("master.key")).expect("the key");
        } else {
            stage.set("MASTER_KEY", "b3RoZXIga2V5IG90aGVyIGtleSBvdGhlciBrZXkgMTI=");
        }
        let server = stage.start().await;
        server.log_in("owner@example.com").await;
        is_degraded(&server).await;
        let report = check(&server, None).await;
        finds(&report, "was not set with this master key");
        run(&stage, &["audit", "verify"]).with(1);
        run(&stage, &["audit", "rebase", "--yes", "--reason", ""]).with(2);
        let ended = run(
            &stage,
            &["audit", "rebase", "--yes", "--reason", "the master key is lost"],
        )
        .with(0);
        let head = ended.out.lines().last().expect("a head").replace("head ", "");
        server.log_in("owner@example.com").await;
        eventually("all is sealed", || async {
            readiness(&server).await == "ok" && check(&server, None).await.unsealed.is_empty()
        })
        .await;
        let report = check(&server, Some(&head)).await;
        whole(&report);
        assert!(
            report
                .rebased
                .as_ref()
                .is_some_and(|text| text.contains("the master key is lost")),
            "{report:?}"
        );
        assert!(report.mac_required);
        let ended = run(&stage, &["audit", "verify", "--head", &head]).with(0);
        assert!(ended.out.contains("the master key is lost"), "{ended:?}");
        // What follows is held as before.
        let db = &server.app.db;
        stop_sealing(&server).await;
        execute(
            db,
            "update audit set ip = '192.0.2.9' where seq = (select max(seq) from audit)",
        )
        .await;
        finds(&check(&server, None).await, "was changed");
        execute(db, "update audit set seq = null where action = 'audit_rebase'").await;
        assert!(check(&server, None).await.findings.len() > 1);
        server.stop().await;
    }
);

/// A request to a node of the version before.
async fn previous(server: &Server, node: &Serving, path: &str, email: &str) -> Tokens {
    let body = json!({ "email": email, "password": PASSWORD });
    let request = http_client().post(node.url(path)).json(&body);
    let answer = server.send(request).await;
    assert!(answer.status.is_success(), "{answer:?}");
    Tokens::of(&answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_nodes_of_both_versions_write_one_trail_until_codes_are_required() {
    let mut stage = Stage::new(Footprint::Production);
    // The version before does not know this key.
    let node = Serving::start_previous(&stage);
    watch_closely(&mut stage);
    let server = stage.start().await;
    let db = &server.app.db;
    let early = previous(&server, &node, "/auth/register", "early@example.com").await;
    server.register("late@example.com").await;
    // Load on both: nothing is refused.
    for round in 0..10 {
        let (here, there) = (
            format!("here{round}@example.com"),
            format!("there{round}@example.com"),
        );
        let (one, other) = tokio::join!(
            server.register(&here),
            previous(&server, &node, "/auth/register", &there)
        );
        let (one, other) = tokio::join!(
            server.refresh(&other.refresh),
            server.send(
                http_client()
                    .post(node.url("/auth/refresh"))
                    .json(&json!({ "refresh_token": one.refresh }))
            )
        );
        one.is(200);
        other.is(200);
    }
    sealed(&server).await;
    let report = check(&server, None).await;
    whole(&report);
    assert!(report.adopted >= 11, "{report:?}");
    // Long past `mac_required_after`: the old node is still connected.
    assert!(!report.mac_required, "{report:?}");
    let uncoded = "select count(*) from audit where seq is not null and row_mac is null
        and seq > (select min(seq) from audit where row_mac is not null)";
    assert_eq!(number(db, uncoded).await, 0, "the old node has sealed");
    assert_eq!(readiness(&server).await, "ok");
    // Until the boundary a row without a code is taken for one of that node's.
    forge(db, "", "").await;
    sealed(&server).await;
    whole(&check(&server, None).await);
    node.signal("TERM");
    drop(node);
    eventually("codes are required", || async {
        check(&server, None).await.mac_required
    })
    .await;
    sealed(&server).await;
    whole(&check(&server, None).await);
    assert_eq!(
        texts(
            db,
            "select reason from audit where action = 'audit_boundary' order by seq"
        )
        .await,
        ["upgraded", "mac_required"]
    );
    let forged = forge(db, "", "").await;
    is_degraded(&server).await;
    let report = check(&server, None).await;
    assert_eq!((report.refused, report.findings.len()), (vec![forged], 1));
    execute(db, &format!("delete from audit where id = {forged}")).await;
    // What the version before wrote can be erased as well.
    let erased = audit::erase(&server.app, UserId(early.user_id), &Client::default())
        .await
        .expect("erased");
    assert!(erased.rows >= 1, "{erased:?}");
    sealed(&server).await;
    whole(&check(&server, None).await);
    server.stop().await;
}

on_both!(
    b7_a_trail_of_the_version_before_is_taken_over_as_it_is,
    async |mut stage: Stage| {
        let node = Serving::start_previous(&stage);
        let http = http_client();
        for number in 0..5 {
            let body = json!({ "email": format!("old{number}@example.com"), "password": PASSWORD });
            let answer = http.post(node.url("/auth/register")).json(&body).send().await;
            assert_eq!(answer.expect("an answer").status(), 201);
        }
        {
            // Sealed by the old node.
            let config = josoor_auth::config::Config::parse(None, stage.environment()).expect("settings");
            let db = Db::open(&config.database).await.expect("it opens");
            eventually("the old node has sealed", || async {
                number(&db, "select count(*) from audit where seq is null").await == 0
            })
            .await;
            db.close().await;
        }
        drop(node);
        watch_closely(&mut stage);
        let server = stage.start().await;
        let db = &server.app.db;
        let keys = texts(db, "select kid from keys order by kid").await;
        let user = server.log_in("old0@example.com").await;
        sealed(&server).await;
        let report = check(&server, None).await;
        whole(&report);
        assert_eq!(report.adopted, 0);
        eventually("codes are required", || async {
            check(&server, None).await.mac_required
        })
        .await;
        let erased = audit::erase(&server.app, UserId(user.user_id), &Client::default())
            .await
            .expect("erased");
        assert!(erased.rows >= 2, "{erased:?}");
        sealed(&server).await;
        whole(&check(&server, None).await);
        // A changed row of the old chain is found, and an erasure does not make it right.
        let old = "select min(subject_id) from audit where action = 'register' and row_mac is null and seq is not null";
        let subject = number(db, old).await;
        execute(
            db,
            &format!(
                "update audit set outcome = 'failure' where action = 'register' and subject_id = {subject}"
            ),
        )
        .await;
        audit::erase(&server.app, UserId(subject), &Client::default())
            .await
            .expect("erased");
        sealed(&server).await;
        finds(&check(&server, None).await, "was changed");
        assert_eq!(texts(db, "select kid from keys order by kid").await, keys);
        server.stop().await;
    }
);

/// Keys of a new database begin with the byte of their format; those that the version before made stay as they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_stored_keys_carry_a_version() {
    let stage = Stage::new(Footprint::Embedded);
    let server = stage.start().await;
    let all = number(&server.app.db, "select count(*) from keys").await;
    assert!(all >= 1);
    let versioned = "select count(*) from keys where substr(sealed, 1, 1) = x'01'";
    assert_eq!(number(&server.app.db, versioned).await, all);
    server.stop().await;
    let stage = Stage::new(Footprint::Embedded);
    drop(Serving::start_previous(&stage));
    for _ in 0..2 {
        let server = stage.start().await;
        assert_eq!(
            number(
                &server.app.db,
                "select max(length(sealed)) from keys where purpose = 'server'"
            )
            .await,
            12 + 32 + 16
        );
        server.stop().await;
    }
}

/// Rows are written at one place alone, which makes their codes; `migrate --adopt`, which has no key, is before all of them.
#[test]
fn b7_no_other_source_writes_audit_rows() {
    fn visit(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                visit(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let source = std::fs::read_to_string(&path).expect("a source");
                if source.contains("insert into audit (") {
                    found.push(path);
                }
            }
        }
    }
    let mut found = Vec::new();
    let store = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    visit(store.parent().expect("the sources"), &mut found);
    found.sort();
    assert_eq!(found, [store.join("adopt.rs"), store.join("audit/trail.rs")]);
}

/// Any number of rows is checked page by page: memory does not grow with them. In a debug build a row takes about half a millisecond to be
/// written, sealed and checked, nearly all of it in unoptimised code, so that a million would take many minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_b7_many_rows_are_sealed_and_checked() {
    use crate::support::acceptance::{record, size};
    use josoor_auth::domain::Audit;
    use josoor_auth::store::NewAudit;

    let stage = Stage::new(Footprint::Embedded);
    let server = stage.start().await;
    let count = size(5_000, 200_000);
    let now = Clock::System.now();
    for _ in 0..count / 1000 {
        let rows = vec![
            NewAudit {
                ip: Some("192.0.2.1"),
                user_agent: Some("agent"),
                ..NewAudit::by_operator(Audit::SignIn, now)
            };
            1000
        ];
        let mut conn = server.app.db.write().await.expect("a connection");
        conn.insert_audits(&rows).await.expect("written");
    }
    let begun = std::time::Instant::now();
    // Counting what is left would keep the sealer waiting.
    let rest = "select count(*) from (select 1 from audit where seq is null limit 1) as rest";
    while number(&server.app.db, rest).await > 0 {
        assert!(begun.elapsed() < Duration::from_hours(1));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let sealing = begun.elapsed();
    let begun = std::time::Instant::now();
    let report = check(&server, None).await;
    whole(&report);
    assert!(report.checked >= count as u64);
    record(
        "acceptance_b7_many_rows_are_sealed_and_checked",
        &format!(
            "{count} rows sealed in {:.1} s, checked in {:.1} s",
            sealing.as_secs_f64(),
            begun.elapsed().as_secs_f64()
        ),
    );
    server.stop().await;
}
