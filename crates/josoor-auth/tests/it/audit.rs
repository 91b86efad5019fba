//! The audit trail: what is recorded, who may read it, and what its chain shows.

use std::time::Duration;

use josoor_auth::audit::{self, Report};
use josoor_auth::clock::Clock;
use josoor_auth::store::Db;
use reqwest::Method;
use serde_json::{Value, json};

use crate::audit_codes::COPIED;
use crate::support::command::run;
use crate::support::database::{execute, execute_script, number, texts};
use crate::support::server::{PASSWORD, Server, eventually, on_both};

/// Waits until everything is in the chain.
pub(crate) async fn sealed(server: &Server) {
    eventually("the audit trail is sealed", || async {
        number(&server.app.db, "select count(*) from audit where seq is null").await == 0
    })
    .await;
}

pub(crate) async fn check(server: &Server, kept: Option<&str>) -> Report {
    let kept = kept.map(|head| audit::parse_head(head).expect("a head"));
    audit::verify(&server.app, kept.as_ref()).await.expect("a report")
}

/// Waits until everything is in the chain, and keeps the sealer away from what comes then.
pub(crate) async fn stop_sealing(server: &Server) {
    sealed(server).await;
    keep_leases(server).await;
}

/// Lets no node take or extend a lease.
pub(crate) async fn keep_leases(server: &Server) {
    let sql = match server.app.db {
        Db::Postgres(_) => {
            "create or replace function keep_lease() returns trigger language plpgsql as 'begin return null; end';
             create or replace trigger keep_lease before insert on leases for each row execute function keep_lease()"
        }
        Db::Sqlite { .. } => {
            "create trigger if not exists keep_lease before insert on leases begin select raise(ignore); end"
        }
    };
    execute_script(&server.app.db, sql).await;
}

on_both!(every_act_writes_one_row, async |stage: Stage| {
    let server = stage.start().await;
    let admin = server.register_admin("admin@example.com").await;
    let user = server.register("user@example.com").await;
    let count = async |action: &str, outcome: &str, subject: i64, actor: &str| {
        let sql = format!(
            "select count(*) from audit where action = '{action}' and outcome = '{outcome}' and subject_id = {subject} and actor_id {actor}"
        );
        number(&server.app.db, &sql).await
    };
    let own = format!("= {}", user.user_id);
    let by_admin = format!("= {}", admin.user_id);
    assert_eq!(count("register", "success", user.user_id, &own).await, 1);
    // A failure names its account, where there is one.
    for email in ["user@example.com", "unknown@example.com"] {
        let body = json!({ "email": email, "password": "wrong password" });
        server.post("/auth/login", &body).await.is(401);
    }
    assert_eq!(count("sign_in", "failure", user.user_id, "is null").await, 1);
    let strangers =
        "select count(*) from audit where action = 'sign_in' and outcome = 'failure' and subject_id is null";
    assert_eq!(number(&server.app.db, strangers).await, 1);
    let again = server.log_in("user@example.com").await;
    assert_eq!(count("sign_in", "success", user.user_id, &own).await, 1);
    server
        .post("/auth/logout", &json!({ "refresh_token": again.refresh }))
        .await
        .is(200);
    assert_eq!(count("session_revoke", "success", user.user_id, &own).await, 1);
    server
        .patch("/auth/me", &user.access, &json!({ "full_name": "U" }))
        .await
        .is(200);
    assert_eq!(count("user_update", "success", user.user_id, &own).await, 1);
    let path = format!("/admin/users/{}", user.user_id);
    server
        .patch(&path, &admin.access, &json!({ "role": "analyst" }))
        .await
        .is(200);
    assert_eq!(count("role_change", "success", user.user_id, &by_admin).await, 1);
    // Nothing changes, nothing is written.
    server
        .patch(&path, &admin.access, &json!({ "role": "analyst" }))
        .await
        .is(200);
    server
        .patch(
            &format!("/admin/users/{}", admin.user_id),
            &admin.access,
            &json!({ "role": "user" }),
        )
        .await
        .is(409);
    assert_eq!(count("role_change", "success", user.user_id, &by_admin).await, 1);
    assert_eq!(count("role_change", "success", admin.user_id, &by_admin).await, 0);
    server
        .patch(&path, &admin.access, &json!({ "is_active": false }))
        .await
        .is(200);
    assert_eq!(
        count("activation_change", "success", user.user_id, &by_admin).await,
        1
    );
    server.delete(&path, &admin.access).await.is(204);
    assert_eq!(count("user_delete", "success", user.user_id, &by_admin).await, 1);
    server
        .post_as(
            "/admin/users",
            &admin.access,
            &json!({ "email": "guest@example.com" }),
        )
        .await
        .is(201);
    assert_eq!(
        number(
            &server.app.db,
            "select count(*) from audit where action = 'user_invite'"
        )
        .await,
        1
    );
    assert!(
        number(
            &server.app.db,
            "select count(*) from audit where action = 'key_change'"
        )
        .await
            >= 1
    );
    // Each names its request.
    let nameless = "select count(*) from audit where request_id is null and action not in ('key_change', 'role_change', 'audit_boundary')";
    assert_eq!(number(&server.app.db, nameless).await, 0);
    server.stop().await;
});

on_both!(
    parallel_sign_ins_are_sealed_by_one_of_two_nodes,
    async |stage: Stage| {
        let one = stage.start().await;
        let two = stage.start().await;
        one.register("busy@example.com").await;
        let tries = (0..20).map(|number| {
            let server = if number % 2 == 0 { &one } else { &two };
            async move { server.log_in("busy@example.com").await }
        });
        futures_util::future::join_all(tries).await;
        sealed(&one).await;
        let report = check(&one, None).await;
        assert!(report.findings.is_empty(), "{report:?}");
        let rows = u64::try_from(number(&one.app.db, "select count(*) from audit").await).unwrap();
        assert_eq!(report.checked, rows);
        assert_eq!(
            number(&one.app.db, "select max(seq) - min(seq) + 1 from audit").await,
            i64::try_from(rows).unwrap()
        );
        // One goes away; the other goes on with the chain.
        one.stop().await;
        two.log_in("busy@example.com").await;
        sealed(&two).await;
        let report = check(&two, report.head.as_deref()).await;
        assert!(report.findings.is_empty(), "{report:?}");
        two.stop().await;
    }
);

on_both!(b7_whatever_is_done_to_the_chain_is_found, async |stage: Stage| {
    let server = stage.start().await;
    for number in 0..6 {
        server.register(&format!("row{number}@example.com")).await;
    }
    stop_sealing(&server).await;
    let db = &server.app.db;
    let clean = check(&server, None).await;
    assert!(clean.findings.is_empty() && clean.checked >= 6, "{clean:?}");
    let head = clean.head.clone().expect("a head");
    let at = clean.checked - 3;
    let found = async |what: &str, kept: Option<&str>| {
        let report = check(&server, kept).await;
        assert!(!report.findings.is_empty(), "{what} was not found");
        report.findings.join("\n")
    };
    execute(db, "create table spare as select * from audit").await;
    execute(db, "create table spare_chain as select * from audit_chain").await;
    let restore = async || {
        execute(db, "delete from audit").await;
        execute(
            db,
            &format!("insert into audit (id, seq, mac, {COPIED}) select id, seq, mac, {COPIED} from spare"),
        )
        .await;
        execute(db, "delete from audit_chain").await;
        execute(
            db,
            "insert into audit_chain (name, seq, mac, tag) select name, seq, mac, tag from spare_chain",
        )
        .await;
        let report = check(&server, Some(&head)).await;
        assert!(report.findings.is_empty(), "{report:?}");
    };
    let moment = match db {
        Db::Postgres(_) => "at + interval '1 microsecond'",
        Db::Sqlite { .. } => "at + 1",
    };
    let session = match db {
        Db::Postgres(_) => "'00000000-0000-0000-0000-000000000001'",
        Db::Sqlite { .. } => "x'00000000000000000000000000000001'",
    };
    // Every column.
    for change in [
        format!("at = {moment}"),
        "action = 'sign_in'".to_owned(),
        "outcome = 'failure'".to_owned(),
        "reason = ''".to_owned(),
        "actor_id = 77".to_owned(),
        "actor_id = null".to_owned(),
        "subject_id = 77".to_owned(),
        format!("session_id = {session}"),
        "ip = '192.0.2.1'".to_owned(),
        "user_agent = 'x'".to_owned(),
        "request_id = 'x'".to_owned(),
        "id = id + 1000".to_owned(),
    ] {
        assert_eq!(
            execute(db, &format!("update audit set {change} where seq = {at}")).await,
            1
        );
        let text = found(&change, None).await;
        assert!(
            text.contains(&format!("position {at} was changed")),
            "{change}: {text}"
        );
        restore().await;
    }
    // A row, two rows, the last rows, the last rows with the head.
    execute(db, &format!("delete from audit where seq = {at}")).await;
    let text = found("a missing row", None).await;
    assert!(
        text.contains(&format!("the row at position {at} is missing")),
        "{text}"
    );
    restore().await;
    execute(db, &format!("delete from audit where seq in ({at}, {at} - 1)")).await;
    found("missing rows", None).await;
    restore().await;
    execute(db, &format!("delete from audit where seq > {at}")).await;
    let text = found("a cut end", None).await;
    assert!(text.contains("were cut off"), "{text}");
    restore().await;
    // An earlier head fits an earlier end: only a head that was kept elsewhere tells.
    execute(db, &format!("delete from audit where seq > {at}")).await;
    execute(db, "delete from audit_chain").await;
    found("a missing head", None).await;
    found("a cut end with its head", Some(&head)).await;
    restore().await;
    // Swapped, forged, replayed.
    execute(db, &format!("update audit set seq = -1 where seq = {at}")).await;
    execute(db, &format!("update audit set seq = {at} where seq = {at} + 1")).await;
    execute(db, &format!("update audit set seq = {at} + 1 where seq = -1")).await;
    found("swapped rows", None).await;
    restore().await;
    execute(db, "insert into audit (at, action, outcome, seq, mac) select at, action, outcome, seq + 1000, mac from audit where seq = 2").await;
    found("a forged row", None).await;
    restore().await;
    execute(db, "update audit_chain set seq = seq - 1").await;
    found("a moved head", None).await;
    restore().await;
    // The beginning goes only with an anchor that the service itself has set.
    execute(db, "delete from audit where seq <= 2").await;
    found("a cut beginning", None).await;
    execute(db, "insert into audit_chain (name, seq, mac, tag) select 'anchor', seq, mac, mac from spare where seq = 2").await;
    let text = found("a forged anchor", None).await;
    assert!(text.contains("anchor"), "{text}");
    restore().await;
    // The command line says the same.
    let ended = run(&stage, &["audit", "verify", "--head", &head]).with(0);
    assert!(
        ended.out.contains("whole") && ended.out.contains(&head),
        "{ended:?}"
    );
    execute(db, &format!("update audit set ip = '192.0.2.1' where seq = {at}")).await;
    let ended = run(&stage, &["audit", "verify", "--json"]).with(1);
    let report: Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(
        (&report["whole"], report["findings"].as_array().map(Vec::len)),
        (&json!(false), Some(1))
    );
    run(&stage, &["audit", "verify", "--head", "nonsense"]).with(1);
    server.stop().await;
});

on_both!(
    retention_leaves_a_chain_that_can_be_checked,
    async |mut stage: Stage| {
        stage.set("JOSOOR_AUTH__AUDIT__RETENTION", "1d");
        let clock = Clock::manual(Clock::System.now());
        let server = stage.start_with(clock.clone()).await;
        for number in 0..5 {
            server.register(&format!("old{number}@example.com")).await;
        }
        sealed(&server).await;
        let before = check(&server, None).await;
        clock.advance(Duration::from_hours(25));
        server.register("new@example.com").await;
        sealed(&server).await;
        josoor_auth::worker::purge::purge(&server.app)
            .await
            .expect("purged");
        let after = check(&server, None).await;
        assert!(after.findings.is_empty(), "{after:?}");
        assert!(after.checked < before.checked, "{after:?}");
        assert_eq!(
            number(
                &server.app.db,
                "select count(*) from audit where action = 'register'"
            )
            .await,
            1
        );
        let kept = check(&server, before.head.as_deref()).await;
        assert!(kept.findings.is_empty(), "{kept:?}");
        // What is written in the place of a row that was removed shows.
        execute(
            &server.app.db,
            "insert into audit (at, action, outcome, seq, mac)
             select at, 'role_change', 'success', 1, mac from audit where action = 'register'",
        )
        .await;
        let forged = check(&server, None).await;
        let found = |finding: &String| finding.contains("position 1, before the beginning of the chain");
        assert!(forged.findings.iter().any(found), "{forged:?}");
        server.stop().await;
    }
);

on_both!(
    the_trail_is_read_page_by_page_and_by_administrators_alone,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("admin@example.com").await;
        let user = server.register("user@example.com").await;
        for number in 0..9 {
            let request = server
                .request(Method::POST, "/auth/login")
                .header(
                    "user-agent",
                    if number == 0 {
                        "=cmd|' /C calc'!A0"
                    } else {
                        "agent"
                    },
                )
                .json(&json!({ "email": "user@example.com", "password": PASSWORD }));
            server.send(request).await.is(200);
        }
        // No page repeats or misses a row, also while rows are added.
        let (mut ids, mut before) = (Vec::new(), String::new());
        loop {
            let path = format!("/admin/audit?limit=3{before}");
            let page = server.get(&path, &admin.access).await.is(200);
            for item in page.json["items"].as_array().unwrap() {
                ids.push(item["id"].as_i64().unwrap());
            }
            server.log_in("user@example.com").await;
            match page.json["next"].as_i64() {
                Some(next) => before = format!("&before={next}"),
                None => break,
            }
        }
        assert!(ids.windows(2).all(|pair| pair[0] > pair[1]), "{ids:?}");
        let rows = number(
            &server.app.db,
            &format!("select count(*) from audit where id <= {}", ids[0]),
        )
        .await;
        assert_eq!(i64::try_from(ids.len()).unwrap(), rows);
        let filtered = server
            .get(
                &format!(
                    "/admin/audit?user_id={}&action=register&outcome=success",
                    user.user_id
                ),
                &admin.access,
            )
            .await
            .is(200);
        let items = filtered.json["items"].as_array().unwrap();
        assert_eq!(items.len(), 1);
        assert_eq!(
            (&items[0]["action"], &items[0]["actor_id"]),
            (&json!("register"), &json!(user.user_id))
        );
        let at = items[0]["at"].as_str().unwrap();
        for (query, expected) in [(format!("from={at}"), 1), (format!("to={at}"), 0)] {
            let path = format!("/admin/audit?user_id={}&action=register&{query}", user.user_id);
            let found = server.get(&path, &admin.access).await.is(200);
            assert_eq!(found.json["items"].as_array().unwrap().len(), expected, "{query}");
        }
        // T74
        for query in [
            "limit=0",
            "limit=-1",
            "limit=101",
            "limit=2147483648",
            "limit=9223372036854775808",
            "limit=1e3",
            "limit=",
            "before=0",
            "before=x",
            "before=9223372036854775807",
            "user_id=0",
            "actor_id=-1",
            "action=nothing",
            "outcome=maybe",
            "from=yesterday",
            "to=2026-13-01T00:00:00Z",
            "cursor=1",
        ] {
            let refused = server.get(&format!("/admin/audit?{query}"), &admin.access).await;
            assert_eq!(refused.status, 422, "{query}: {refused:?}");
            let field = query.split('=').next().unwrap();
            assert_eq!(refused.json["errors"][0]["field"], field, "{query}");
        }
        for path in ["/admin/audit", "/admin/audit/export"] {
            server
                .get(path, &user.access)
                .await
                .is_problem(403, "insufficient_role");
        }
        // One's own, and no other user's.
        server
            .patch(
                &format!("/admin/users/{}", user.user_id),
                &admin.access,
                &json!({ "role": "analyst" }),
            )
            .await
            .is(200);
        let own = server
            .get("/auth/activity?page_size=5", &user.access)
            .await
            .is(200);
        let items = own.json["items"].as_array().unwrap();
        assert_eq!(
            (items.len(), &items[0]["action"], &items[0]["by_other"]),
            (5, &json!("role_change"), &json!(true))
        );
        assert_eq!(items[0]["ip"], Value::Null);
        assert_eq!(
            (&items[1]["by_other"], &items[1]["ip"]),
            (&json!(false), &json!("127.0.0.1"))
        );
        assert!(!own.text.contains("actor_id") && own.json["total_is_capped"] == false);
        let mine = format!("select count(*) from audit where subject_id = {}", user.user_id);
        assert_eq!(
            own.json["total"].as_i64(),
            Some(number(&server.app.db, &mine).await)
        );
        // Exports: everything, as text that no spreadsheet computes, and recorded.
        let csv = server
            .get("/admin/audit/export?format=csv&bom=true", &admin.access)
            .await
            .is(200);
        assert!(
            csv.text.starts_with("\u{feff}id,at,action,") && csv.text.contains("'=cmd|' /C calc'!A0"),
            "{}",
            csv.text
        );
        assert!(!csv.text.contains(",=cmd"));
        assert!(
            csv.headers["content-disposition"]
                .to_str()
                .unwrap()
                .contains("audit.csv")
        );
        let all = number(&server.app.db, "select count(*) from audit").await;
        assert_eq!(i64::try_from(csv.text.lines().count()).unwrap(), all + 1);
        let lines = server
            .get("/admin/audit/export?format=ndjson", &admin.access)
            .await
            .is(200);
        assert!(
            lines
                .text
                .lines()
                .all(|line| serde_json::from_str::<Value>(line).is_ok())
        );
        server
            .get("/admin/audit/export?format=xml", &admin.access)
            .await
            .is_problem(422, "validation_failed");
        assert_eq!(
            number(
                &server.app.db,
                "select count(*) from audit where action = 'export'"
            )
            .await,
            2
        );
        // T71: neither hashes nor tokens.
        let hash = texts(&server.app.db, "select password_hash from users").await;
        assert!(hash.iter().all(|hash| !lines.text.contains(hash.as_str())));
        assert!(!lines.text.contains(&user.refresh) && !lines.text.contains(PASSWORD));
        let ended = run(
            &stage,
            &["audit", "export", "--format", "csv", "--user", "user@example.com"],
        )
        .with(0);
        assert!(ended.out.lines().count() > 5, "{ended:?}");
        server.stop().await;
    }
);
