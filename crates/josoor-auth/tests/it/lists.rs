//! Lists: one order on both engines, pages by number and by key, filters, and `page_size` for all of them.

use std::collections::BTreeSet;

use josoor_auth::store::{Db, UserCursor, UserSort};
use serde_json::{Value, json};

use crate::search::{add_named, found};
use crate::support::database;
use crate::support::server::{Server, on_both};

on_both!(
    d25_names_and_addresses_have_one_order_on_both_engines,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("boss@example.com").await;
        let users = [
            ("zoe@example.org", Some("Zoe")),
            ("alice@example.org", Some("alice")),
            ("Emil@example.org", Some("Émil")),
            ("emilia@example.org", Some("emilia")),
            ("nameless@example.org", None),
            ("layla@example.org", Some("ليلى")),
            ("ahmad@example.org", Some("أحمد")),
            ("abbas@example.org", Some("عباس")),
            ("oslo@example.org", Some("Ødegård")),
            ("odin@example.org", Some("odin")),
            ("other_one@example.org", Some("Éric de la Cruz")),
            ("other-one@example.org", Some("ÉRIC DELACRUZ")),
            ("none@example.org", None),
            ("nikos@example.org", Some("ΝΙΚΟΣ")),
            ("fyodor@example.org", Some("Фёдор")),
            ("four@example.org", Some("4 seasons")),
        ];
        let users: Vec<(String, Option<String>)> = users
            .iter()
            .map(|(email, name)| ((*email).to_owned(), name.map(str::to_owned)))
            .collect();
        add_named(&server.app.db, &users).await;
        let named = [
            "four",
            "alice",
            "Emil",
            "emilia",
            "other_one",
            "other-one",
            "oslo",
            "odin",
            "zoe",
            "nikos",
            "fyodor",
            "ahmad",
            "abbas",
            "layla",
        ];
        let list = async |query: &str| -> Vec<String> {
            let all = found(&server, &admin.access, &format!("q=example.org&{query}")).await;
            all.iter()
                .map(|email| email.split('@').next().expect("a name").to_owned())
                .collect()
        };
        let nameless = ["nameless", "none"];
        assert_eq!(list("sort=full_name").await, [&named[..], &nameless[..]].concat());
        let backwards: Vec<&str> = named.iter().rev().chain(nameless.iter().rev()).copied().collect();
        assert_eq!(list("sort=-full_name").await, backwards);
        let mut addresses: Vec<String> = users.iter().map(|(email, _)| email.to_lowercase()).collect();
        addresses.sort();
        let addresses: Vec<&str> = addresses
            .iter()
            .map(|email| email.split('@').next().expect("a name"))
            .collect();
        let lower = |list: Vec<String>| list.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
        assert_eq!(lower(list("sort=email").await), addresses);
        server.stop().await;
    }
);

on_both!(
    d10_pages_by_key_repeat_and_miss_no_user_while_others_come_and_go,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("boss@example.com").await;
        // Many share a name, and a third has none.
        let name = |number: usize| (!number.is_multiple_of(3)).then(|| format!("Name {}", number % 5));
        let users: Vec<(String, Option<String>)> = (0..60)
            .map(|number| (format!("u{:02}@example.org", (number * 37) % 60), name(number)))
            .collect();
        add_named(&server.app.db, &users).await;
        let all: BTreeSet<String> = users.iter().map(|(email, _)| email.clone()).collect();
        let mut others = 0;
        for sort in UserSort::NAMES {
            for sort in [sort.to_owned(), format!("-{sort}")] {
                for what in ["", "&q=example.org", "&role=user"] {
                    let mut seen: Vec<String> = Vec::new();
                    let mut after = String::new();
                    loop {
                        let path = format!("/admin/users?page_size=7&sort={sort}{what}{after}");
                        let answer = server.get(&path, &admin.access).await.is(200);
                        let items = answer.json["items"].as_array().expect("a list");
                        seen.extend(
                            items
                                .iter()
                                .map(|user| user["email"].as_str().expect("a text").to_owned()),
                        );
                        // Meanwhile another one registers, somewhere in the order.
                        others += 1;
                        let email = format!("v{:03}-{others}@example.org", (others * 61) % 1000);
                        add_named(&server.app.db, &[(email, name(others))]).await;
                        match answer.json["next"].as_str() {
                            Some(next) => after = format!("&after={next}"),
                            None => break,
                        }
                        assert!(seen.len() < 2_000, "{path}");
                    }
                    let distinct: BTreeSet<String> = seen.iter().cloned().collect();
                    assert_eq!(distinct.len(), seen.len(), "{sort}{what}");
                    assert!(distinct.is_superset(&all), "{sort}{what}");
                    database::execute(&server.app.db, "delete from users where email like 'v%'").await;
                }
            }
        }
        // The user that a page ended with may be gone, or another by then.
        let first = server
            .get("/admin/users?sort=full_name&page_size=1&q=u0", &admin.access)
            .await
            .is(200);
        let (id, next) = (
            &first.json["items"][0]["id"],
            first.json["next"].as_str().expect("a cursor"),
        );
        let second = server
            .get("/admin/users?sort=full_name&page_size=2&q=u0", &admin.access)
            .await
            .is(200)
            .json["items"][1]
            .clone();
        database::execute(&server.app.db, &format!("delete from users where id = {id}")).await;
        let path = format!("/admin/users?sort=full_name&page_size=1&q=u0&after={next}");
        assert_eq!(
            server.get(&path, &admin.access).await.is(200).json["items"][0],
            second
        );
        // An id alone is looked up, in any order.
        for sort in UserSort::NAMES {
            let two = server
                .get(&format!("/admin/users?page_size=2&sort={sort}"), &admin.access)
                .await
                .is(200);
            let path = format!(
                "/admin/users?page_size=1&sort={sort}&after={}",
                two.json["items"][0]["id"]
            );
            let after = server.get(&path, &admin.access).await.is(200);
            assert_eq!(after.json["items"][0], two.json["items"][1], "{sort}");
            let path = format!("/admin/users?sort={sort}&after=9007199254740991");
            assert_eq!(
                server.get(&path, &admin.access).await.is(200).json["items"],
                json!([]),
                "{sort}"
            );
        }
        for wrong in ["x", "0", "1.email", "1.full_name.*", "-1", ""] {
            let answer = server
                .get(&format!("/admin/users?after={wrong}"), &admin.access)
                .await
                .is_problem(422, "validation_failed");
            assert_eq!(answer.json["errors"][0]["code"], "invalid_cursor", "{wrong}");
        }
        let cursor = UserCursor::parse(next).expect("a cursor");
        assert_eq!(cursor.to_string(), next);
        server.stop().await;
    }
);

on_both!(
    ux_16_what_the_overview_counts_the_list_shows,
    async |stage: Stage| {
        let server = stage.start().await;
        let admin = server.register_admin("boss@example.com").await;
        for name in ["one", "two", "three"] {
            let body = json!({ "email": format!("{name}@example.org") });
            server.post_as("/admin/users", &admin.access, &body).await.is(201);
        }
        server.register("four@example.org").await;
        let sql = "update users set email_verified_at = created_at where email = 'one@example.org'";
        database::execute(&server.app.db, sql).await;
        let sql = "update users set accepted_at = created_at where email = 'two@example.org'";
        database::execute(&server.app.db, sql).await;
        let stats = server.get("/admin/stats", &admin.access).await.is(200).json;
        let total = async |query: &str| {
            server
                .get(&format!("/admin/users?{query}"), &admin.access)
                .await
                .is(200)
                .json["total"]
                .clone()
        };
        assert_eq!(stats["users"]["unverified"], 4);
        assert_eq!(total("email_verified=false").await, stats["users"]["unverified"]);
        assert_eq!(total("email_verified=true").await, 1);
        assert_eq!(stats["users"]["invited"], 2);
        assert_eq!(total("invited=true").await, stats["users"]["invited"]);
        assert_eq!(total("invited=false").await, 3);
        assert_eq!(total("invited=true&email_verified=false&q=three").await, 1);
        assert_eq!(
            found(&server, &admin.access, "invited=true&q=example.org&sort=-email").await,
            ["three@example.org", "one@example.org"]
        );
        assert_eq!(total("mfa_enabled=false").await, 5);
        assert_eq!(total("mfa_enabled=true&q=example").await, 0);
        for query in [
            "invited=1",
            "email_verified=maybe",
            "invited=null",
            "mfa_enabled=2",
        ] {
            server
                .get(&format!("/admin/users?{query}"), &admin.access)
                .await
                .is_problem(422, "validation_failed");
        }
        server.stop().await;
    }
);

/// Adds sessions like the one that there is, past the service.
async fn copy_sessions(server: &Server, user: i64, count: usize) {
    let db = &server.app.db;
    let (columns, id, numbers) = match db {
        Db::Postgres(_) => (
            "select column_name::text from information_schema.columns where table_schema = current_schema() and table_name = 'sessions'",
            "gen_random_uuid()",
            format!("select generate_series(1, {count}) as i"),
        ),
        Db::Sqlite { .. } => (
            "select name from pragma_table_info('sessions')",
            "randomblob(16)",
            format!(
                "with recursive n(i) as (select 1 union all select i + 1 from n where i < {count}) select i from n"
            ),
        ),
    };
    let columns = database::texts(db, columns).await;
    let rest: Vec<&str> = columns
        .iter()
        .map(String::as_str)
        .filter(|name| *name != "id")
        .collect();
    let rest = rest.join(", ");
    let sql = format!(
        "insert into sessions (id, {rest}) select {id}, {rest} from
            (select * from sessions where user_id = {user} limit 1) as one, ({numbers}) as many"
    );
    database::execute(db, &sql).await;
}

on_both!(f7_page_size_counts_for_every_list, async |stage: Stage| {
    let server = stage.start().await;
    let admin = server.register_admin("boss@example.com").await;
    let user = server.register("user@example.com").await;
    server.log_in("user@example.com").await;
    copy_sessions(&server, user.user_id, 10_004).await;
    let own = "/auth/sessions".to_owned();
    let of_user = format!("/admin/users/{}/sessions", user.user_id);
    for (path, token) in [(&own, &user.access), (&of_user, &admin.access)] {
        let page = async |query: &str| server.get(&format!("{path}{query}"), token).await.is(200).json;
        let first = page("").await;
        let shape = |answer: &Value| {
            let items = answer["items"].as_array().expect("a list").len();
            json!([
                items,
                answer["total"],
                answer["total_is_capped"],
                answer["page"],
                answer["page_size"]
            ])
        };
        assert_eq!(shape(&first), json!([20, 10_000, true, 1, 20]), "{path}");
        assert_eq!(
            shape(&page("?page_size=3&page=2").await),
            json!([3, 10_000, true, 2, 3])
        );
        let third = page("?page_size=1&page=3").await;
        assert_eq!(third["items"][0]["id"], first["items"][2]["id"]);
        assert_eq!(
            shape(&page("?page_size=100&page=101").await),
            json!([6, 10_000, true, 101, 100])
        );
        assert_eq!(shape(&page("?page=1000000000").await)[0], 0);
    }
    for path in [
        own.as_str(),
        of_user.as_str(),
        "/auth/devices",
        "/auth/activity",
        "/admin/users",
    ] {
        let token = if path.starts_with("/admin") {
            &admin.access
        } else {
            &user.access
        };
        let answer = server
            .get(&format!("{path}?page_size=1"), token)
            .await
            .is(200)
            .json;
        assert_eq!(answer["page_size"], 1, "{path}");
        assert!(answer["items"].as_array().expect("a list").len() <= 1, "{path}");
        for wrong in ["page_size=0", "page_size=101", "page=0", "page=x", "unknown=1"] {
            server.get(&format!("{path}?{wrong}"), token).await.is_problem(
                422,
                if wrong == "unknown=1" {
                    "unknown_field"
                } else {
                    "validation_failed"
                },
            );
        }
    }
    let devices = server
        .get("/auth/devices?page=2&page_size=1", &user.access)
        .await
        .is(200)
        .json;
    let count = devices["items"].as_array().expect("a list").len();
    assert_eq!(
        json!(count + 1),
        devices["total"]
            .as_i64()
            .map_or(json!(0), |total| json!(total.min(2)))
    );
    let revoked = server.delete(&of_user, &admin.access).await.is(200).json;
    assert_eq!(revoked, json!({ "revoked": 10_006 }));
    server.stop().await;
});
