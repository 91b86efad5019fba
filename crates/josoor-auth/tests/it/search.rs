//! Looking for users among very many.

use josoor_auth::domain::Role;
use josoor_auth::store::{UserFilter, UserSort};
use serde_json::json;

use crate::support::database;
use crate::support::server::{Footprint, Server, on_both};

/// Adds users with numbered addresses and names, past the service.
async fn add_users(server: &Server, footprint: Footprint, count: usize) {
    let (numbers, now) = match footprint {
        Footprint::Embedded => (
            format!("with recursive n(i) as (select 1 union all select i + 1 from n where i < {count})"),
            "1790000000000000 + i",
        ),
        Footprint::Production => (
            format!("with n(i) as (select generate_series(1, {count}))"),
            "now() + i * interval '1 microsecond'",
        ),
    };
    let insert = format!(
        "insert into users (email, email_key, full_name, search_text, role, is_active, locale, version, created_at, updated_at)
         {numbers} select 'person' || i || '@example.org', 'person' || i || '@example.org',
            case when i % 3 = 0 then null else 'Name ' || (i % 1000) end,
            'person' || i || '@example.org' || char_10 || case when i % 3 = 0 then '' else 'name ' || (i % 1000) end,
            case when i % 5000 = 0 then 'analyst' else 'user' end, i % 100 <> 0, 'en', 1, {now}, {now} from n where i > "
    )
    .replace("char_10", match footprint {
        Footprint::Embedded => "char(10)",
        Footprint::Production => "chr(10)",
    });
    // In pieces: each has to be done within the time that a statement may take.
    for from in (0..count).step_by(5_000) {
        let sql = format!("{insert}{from} and i <= {}", from + 5_000);
        database::execute(&server.app.db, &sql).await;
    }
    database::execute(&server.app.db, "analyze").await;
}

async fn found(server: &Server, admin: &str, query: &str) -> Vec<String> {
    let answer = server.get(&format!("/admin/users?{query}"), admin).await.is(200);
    let items = answer.json["items"].as_array().expect("a list");
    items
        .iter()
        .map(|user| user["email"].as_str().expect("a text").to_owned())
        .collect()
}

on_both!(
    among_many_users_everything_is_found_by_index,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("boss@example.com").await;
        add_users(&server, stage.footprint, 50_000).await;
        let filter = |text: Option<&str>, role| UserFilter {
            deleted: false,
            text: text.map(str::to_owned),
            role,
            is_active: None,
        };
        for (filter, total) in [
            (filter(None, None), 50_001),
            (filter(Some("person4711"), None), 11),
            (filter(Some("matches no user"), None), 0),
            // In nearly every address.
            (filter(Some("example.org"), None), 50_000),
            (filter(None, Some(Role::Analyst)), 10),
            (filter(None, Some(Role::User)), 49_990),
            (filter(Some("person"), Some(Role::Analyst)), 10),
        ] {
            for key in UserSort::KEYS
                .iter()
                .flat_map(|(key, _)| [(*key).to_owned(), format!("-{key}")])
            {
                let sort = UserSort::parse(&key).expect("a key");
                let mut conn = server.app.db.read().await.expect("a connection");
                let (users, counted) = conn.list_users(&filter, sort, 20, 0).await.expect("a list");
                assert_eq!(counted, total, "{filter:?}");
                assert_eq!(
                    users.len(),
                    usize::try_from(total.min(20)).expect("small"),
                    "{key}"
                );
                let plan = conn
                    .explain_list_users(&filter, sort, total)
                    .await
                    .expect("a plan")
                    .join("\n");
                // Counting everybody looks at everybody, in the smallest index. A gathered list is sorted, and read as a whole.
                let rest = plan
                    .lines()
                    .filter(|line| !line.contains("COVERING INDEX") && !line.contains("found"))
                    .collect::<Vec<_>>()
                    .join("\n");
                // SQLite's table is its own index by id.
                let is_by_id = key.trim_start_matches('-') == "id";
                let looks_at_all = rest.contains("Seq Scan on users")
                    || (!is_by_id && rest.lines().any(|line| line.trim() == "SCAN users"));
                // PostgreSQL reads a small table as a whole to count nearly all of it; that is no search.
                let counts_nearly_all = total > 40_000 && plan.contains("Aggregate");
                assert!(!looks_at_all || counts_nearly_all, "{filter:?} by {key}\n{plan}");
                let sorts = |line: &str| line.trim_start_matches([' ', '-', '>']).starts_with("Sort  (");
                let sorts_all = total > 10_000
                    && (plan.contains("USE TEMP B-TREE FOR ORDER BY") || plan.lines().any(sorts));
                assert!(!sorts_all, "{filter:?} by {key}\n{plan}");
            }
        }
        drop(admin);
        server.stop().await;
    }
);

on_both!(texts_are_found_wherever_they_stand, async |stage: Stage| {
    let server = stage.start().await;
    let admin = server.register_admin("boss@example.com").await;
    for (email, name) in [
        ("layla@example.com", "ليلى الأحمد"),
        ("percent@example.com", "100% \"sure\"_"),
        ("zoe@example.com", "Zoë O'Neil"),
    ] {
        let user = server.register(email).await;
        server
            .patch("/auth/me", &user.access, &json!({ "full_name": name }))
            .await
            .is(200);
    }
    for (query, expected) in [
        ("q=layla", "layla@example.com"),
        ("q=AYL", "layla@example.com"),
        ("q=%D8%A7%D9%84%D8%A3%D8%AD%D9%85%D8%AF", "layla@example.com"),
        ("q=%D9%84%D9%89", "layla@example.com"),
        ("q=%22sure%22", "percent@example.com"),
        ("q=0%25%20", "percent@example.com"),
        ("q=%25", "percent@example.com"),
        ("q=_", "percent@example.com"),
        ("q=o%27n", "zoe@example.com"),
        ("q=ZO%C3%8B", "zoe@example.com"),
    ] {
        assert_eq!(found(&server, &admin.access, query).await, [expected], "{query}");
    }
    for query in [
        "q=AND",
        "q=%22%22%22",
        "q=*&role=user",
        "q=layla%20*",
        "q=(a",
        "q=-zoe",
        "q=a:b",
    ] {
        assert_eq!(found(&server, &admin.access, query).await, [""; 0], "{query}");
    }
    // What changes is found by what it is now, and what is gone is not.
    let user = server.register("before@example.com").await;
    server
        .patch("/auth/me", &user.access, &json!({ "full_name": "Somebody Else" }))
        .await
        .is(200);
    assert_eq!(
        found(&server, &admin.access, "q=body%20el").await,
        ["before@example.com"]
    );
    server
        .patch("/auth/me", &user.access, &json!({ "full_name": "Another" }))
        .await
        .is(200);
    assert_eq!(found(&server, &admin.access, "q=body%20el").await, [""; 0]);
    server
        .delete(&format!("/admin/users/{}", user.user_id), &admin.access)
        .await
        .is(204);
    assert_eq!(found(&server, &admin.access, "q=before").await, [""; 0]);
    server.stop().await;
});
