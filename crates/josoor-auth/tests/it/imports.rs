//! Users as other programs keep them: their hashes, their files, their ids.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::moving::{codes, counts, file, fixture, hash, import, source, user};
use crate::support::command::{run, run_with};
use crate::support::database;
use crate::support::mailbox::mail;
use crate::support::server::{Footprint, PASSWORD, Server, Stage, on_both};
use crate::support::services;

/// A hash that another program made: see make_hashes.py beside the file.
#[derive(Deserialize)]
struct Made {
    tool: String,
    form: String,
    hash: String,
    password: String,
}

fn made() -> Vec<Made> {
    let text = std::fs::read_to_string(fixture("hashes.ndjson")).expect("a fixture");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

async fn log_in(server: &Server, email: &str, password: &str) -> crate::support::server::Answer {
    server
        .post("/auth/login", &json!({ "email": email, "password": password }))
        .await
}

on_both!(
    d14_hashes_of_other_programs_sign_in_and_are_replaced,
    async |stage: Stage| {
        let made = made();
        let mut lines: Vec<String> = made
            .iter()
            .enumerate()
            .map(|(number, made)| {
                json!({ "email": format!("u{number}@example.com"), "password_hash": made.hash }).to_string()
            })
            .collect();
        // Django's and Unix's marks of an account without a password.
        for (number, mark) in ["!Vk7GBhjkcefGenCH2TrWES8rQh6GFyUzTPjFwCv4", "!", "*"]
            .iter()
            .enumerate()
        {
            lines.push(
                json!({ "email": format!("none{number}@example.com"), "password_hash": mark }).to_string(),
            );
        }
        let path = file(&stage, "made.ndjson", lines.join("\n"));
        let (summary, _) = import(&stage, &[&path], 0);
        counts(&summary, lines.len() as u64, 0, 0);
        assert_eq!(summary["without_password"], 3);
        let server = stage.start().await;
        for (number, made) in made.iter().enumerate() {
            let (email, what) = (
                format!("u{number}@example.com"),
                format!("{} {}", made.tool, made.form),
            );
            let wrong = log_in(&server, &email, &format!("{}x", made.password)).await;
            assert_eq!(wrong.status, 401, "{what}: {wrong:?}");
            // Once as it was made, and once as we have hashed it since.
            for _ in 0..2 {
                let right = log_in(&server, &email, &made.password).await;
                assert_eq!(right.status, 200, "{what}: {right:?}");
            }
            let stored = database::password_hash(&server.app.db, &email).await;
            assert!(
                stored.starts_with("$2b$04$") || stored.starts_with("$bcrypt-sha256$v=2,t=2b,r=4$"),
                "{what}: {stored}"
            );
            let wrong = log_in(&server, &email, &format!("{}x", made.password)).await;
            assert_eq!(wrong.status, 401, "{what}: {wrong:?}");
        }
        for email in ["none0@example.com", "none1@example.com", "none2@example.com"] {
            log_in(&server, email, "!")
                .await
                .is_problem(401, "invalid_credentials");
        }
        server.stop().await;
        counts(&import(&stage, &[&path], 0).0, 0, lines.len() as u64, 0);
    }
);

on_both!(d14_a_refused_hash_names_what_is_taken, async |stage: Stage| {
    let lines = [
        json!({ "email": "unknown@example.com", "password_hash": "$1$abcdefgh$G9DGPfyVJ8MwPpZf7zHkV." }),
        json!({ "email": "ldap@example.com", "password_hash": "{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr" }),
        json!({ "email": "md5@example.com", "password_hash": "5f4dcc3b5aa765d61d8327deb882cf99" }),
        json!({ "email": "dear@example.com", "password_hash": format!("$6$rounds=999999999$salt${}", "a".repeat(86)) }),
    ];
    let path = file(
        &stage,
        "foreign.ndjson",
        lines.each_ref().map(ToString::to_string).join("\n"),
    );
    let (_, refused) = import(&stage, &[&path], 1);
    for (row, words) in refused.iter().zip([
        &[
            "format is unknown",
            "bcrypt",
            "Django",
            "phpass",
            "--without-password",
        ][..],
        &["too fast", "argon2", "--without-password"],
        &["too fast", "argon2", "--without-password"],
        &["rounds are above 1000000", "--without-password"],
    ]) {
        assert_eq!(row["code"], "unsupported_hash");
        let message = row["message"].as_str().expect("a text");
        for word in words {
            assert!(message.contains(word), "{word} is not in {message}");
        }
    }
    counts(&import(&stage, &[&path, "--without-password"], 0).0, 4, 0, 0);
});

fn utf16(text: &str) -> Vec<u8> {
    std::iter::once(0xFEFF)
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect()
}

on_both!(
    d15_files_of_spreadsheets_are_read_as_they_are,
    async |stage: Stage| {
        let hash = hash();
        let semicolons = format!(
            " E-Mail ;Full Name;ROLE;Password_Hash;;\r\n\u{a0}a1@example.com\u{a0};\"نورة; محمد\";Analyst\u{a0};{hash}\u{a0};;\r\na2@example.com;\u{a0};;;;\r\n;;;;;\r\n"
        );
        let tabs = format!(
            "\"email\"\tfull_name\trole\tpassword_hash\r\nb1@example.com\tنورة; محمد\tanalyst\t{hash}\r\nb2@example.com\t\t\t\r\n"
        );
        let said = format!(
            "sep=;\r\nemail;fullName;role;password_hash\r\nc1@example.com;\"نورة; محمد\";analyst;{hash}\r\nc2@example.com;;;\r\n"
        );
        for (name, content) in [
            ("semicolons.csv", semicolons.clone().into_bytes()),
            ("tabs.csv", utf16(&tabs)),
            ("said.csv", [&b"\xEF\xBB\xBF"[..], said.as_bytes()].concat()),
            // PowerShell's `>` writes everything so.
            (
                "shell.ndjson",
                utf16(&format!(
                    "{{\"email\":\"d1@example.com\",\"full_name\":\"نورة; محمد\",\"role\":\"analyst\",\"password_hash\":\"{hash}\"}}\r\n{{\"email\":\"d2@example.com\"}}\r\n"
                )),
            ),
        ] {
            counts(&import(&stage, &[&file(&stage, name, content)], 0).0, 2, 0, 0);
        }
        let piped = run_with(
            &stage,
            &["user", "import", "-", "--format", "csv", "--json"],
            &utf16(&tabs),
        )
        .with(0);
        assert_eq!(piped.json()["unchanged"], 2);
        let server = stage.start().await;
        for email in ["a1", "b1", "c1", "d1"] {
            let found = user(&server, &format!("{email}@example.com")).await;
            assert_eq!(
                (&found["full_name"], &found["role"]),
                (&json!("نورة; محمد"), &json!("analyst")),
                "{email}"
            );
        }
        server.stop().await;
    }
);

#[test]
fn d15_what_cannot_be_read_says_what_was_found_and_what_helps() {
    let stage = Stage::new(Footprint::Embedded);
    let import = |name: &str, content: &[u8], more: &[&str]| {
        let path = file(&stage, name, content);
        let mut all = vec!["user", "import", &path];
        all.extend(more);
        run(&stage, &all).with(1)
    };
    let ended = import("columns.csv", b"login;name\nx;y\n", &[]);
    assert!(
        ended
            .err
            .contains("there is no column email; the columns are \"login;name\"")
            && ended.err.contains("nothing was imported")
            && !ended.err.contains("stays"),
        "{ended:?}"
    );
    import("twice.csv", b"email,E-Mail\n", &[]).says(&["\"email\" is there twice"]);
    let dump = b"--\n-- PostgreSQL database dump\n--\n\nCOPY auth.users (id, email) FROM stdin;\n";
    for (name, content, more, words) in [
        (
            "users.sql",
            &dump[..],
            &["--from", "supabase"][..],
            "\\copy (select * from auth.users) to 'users.csv' csv header",
        ),
        (
            "users.dump",
            b"PGDMP\x01\x0e\x00",
            &[],
            "\\copy (select * from users)",
        ),
        ("users.xlsx", b"PK\x03\x04\x14\x00", &[], "CSV UTF-8"),
        ("users.csv.gz", b"\x1f\x8b\x08\x00", &[], "unpack it first"),
        ("users.csv", b"PK\x03\x04\x14\x00", &[], "CSV UTF-8"),
    ] {
        import(name, content, more).says(&[words, name]);
    }
    run_with(&stage, &["user", "import", "-", "--format", "csv"], dump)
        .with(1)
        .says(&["\\copy", "nothing was imported"]);
    let ended = import(
        "legacy.csv",
        b"email,full_name\nx@example.com,Ren\xE9\n",
        &["--dry-run"],
    );
    assert!(ended.err.contains("CSV UTF-8"), "{ended:?}");
}

on_both!(
    d15_firebases_own_text_and_web_safe_base64_are_read,
    async |stage: Stage| {
        let parameters: Value = serde_json::from_str(
            &std::fs::read_to_string(fixture("firebase-config.json")).expect("a fixture"),
        )
        .expect("JSON");
        let text = |name: &str| parameters[name].as_str().expect("a text").to_owned();
        let console = format!(
            "hash_config {{\n  algorithm: SCRYPT,\n  base64_signer_key: {},\n  base64_salt_separator: {},\n  rounds: 8,\n  mem_cost: 12,\n}}\n",
            text("base64_signer_key"),
            text("base64_salt_separator")
        );
        let config = file(&stage, "hash_config.txt", console);
        // As listUsers of the Admin SDK gives them.
        let mut users: Value =
            serde_json::from_str(&std::fs::read_to_string(fixture("firebase.json")).expect("a fixture"))
                .expect("JSON");
        let mut web_safe = 0;
        for user in users["users"].as_array_mut().expect("a list") {
            for field in ["passwordHash", "salt"] {
                if let Some(value) = user.get_mut(field).filter(|value| value.is_string()) {
                    let safe = value
                        .as_str()
                        .unwrap_or_default()
                        .replace('+', "-")
                        .replace('/', "_");
                    web_safe += usize::from(safe.contains(['-', '_']));
                    *value = safe.into();
                }
            }
        }
        assert!(web_safe > 0, "the fixture has nothing to replace");
        let users = file(&stage, "users.json", users.to_string());
        import(
            &stage,
            &[&users, "--from", "firebase", "--firebase-config", &config],
            1,
        );
        let server = stage.start().await;
        server.log_in("layla@example.com").await;
        log_in(&server, "layla@example.com", "another password")
            .await
            .is_problem(401, "invalid_credentials");
        server.stop().await;
    }
);

/// The rows of a map: source id, id, uid, address.
fn map_of(path: &Path) -> Vec<[String; 4]> {
    let mode = std::fs::metadata(path).expect("a map").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(path).expect("a map");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("source_id,id,uid,email"));
    lines
        .map(|line| {
            let fields: Vec<String> = line.split(',').map(str::to_owned).collect();
            fields.try_into().expect("four fields")
        })
        .collect()
}

on_both!(
    trials_a5_old_and_new_ids_are_written_and_uuids_are_kept,
    async |mut stage: Stage| {
        let users = fixture("supabase.csv");
        let path = stage.directory().join("map.csv");
        let map = path.to_str().expect("text").to_owned();
        let arguments = [&*users, "--from", "supabase", "--map", &map];
        let (_, refused) = import(&stage, &arguments, 1);
        let uuid = |last: u8| format!("6f5b0c1e-58a8-4d4b-9a37-0c4b6a5f9d0{last}");
        // Refused rows say whom they are about.
        let ids: Vec<&str> = refused
            .iter()
            .map(|row| row["source_id"].as_str().expect("an id"))
            .collect();
        assert_eq!(ids, [uuid(3), uuid(4)]);
        let rows = map_of(&path);
        assert_eq!(rows.len(), 2);
        for (row, (last, email)) in rows
            .iter()
            .zip([(1, "hind@example.com"), (2, "banned@example.com")])
        {
            assert_eq!(
                (&row[0], &row[2], &*row[3]),
                (&uuid(last), &uuid(last), email),
                "{row:?}"
            );
        }
        let shown = run(&stage, &["user", "show", "hind@example.com", "--json"])
            .with(0)
            .json();
        assert_eq!(
            (shown["id"].to_string(), &shown["uid"]),
            (rows[0][1].clone(), &json!(uuid(1)))
        );
        // Again: the same map, of users who were there before.
        let (summary, _) = import(&stage, &arguments, 1);
        counts(&summary, 0, 2, 2);
        assert_eq!(map_of(&path), rows);
        // The live table gives the same.
        let url = services::postgres().new_database();
        source(
            &url,
            &format!(
                "create schema auth;
                 create table auth.users (id uuid primary key, email varchar(255), encrypted_password varchar(255), email_confirmed_at timestamptz,
                    raw_app_meta_data jsonb, raw_user_meta_data jsonb, created_at timestamptz);
                 insert into auth.users values
                    ('{}', 'other@example.com', '', now(), '{{\"role\": \"editor\"}}', '{{\"full_name\": \"{}\"}}', now()),
                    ('{}', 'fresh@example.com', '', now(), '{{\"role\": \"Owner\"}}', null, now()),
                    ('6f5b0c1e-58a8-4d4b-9a37-0c4b6a5f9d09', null, '', null, null, null, now());",
                uuid(1),
                "x".repeat(300),
                uuid(5)
            ),
        )
        .await;
        stage.set("SOURCE", &url);
        let live = [
            "--from",
            "supabase",
            "--database-url-env",
            "SOURCE",
            "--map",
            &map,
        ];
        let (_, refused) = import(&stage, &live, 1);
        let refusals: Vec<_> = codes(&refused).into_iter().map(|(_, code)| code).collect();
        assert_eq!(refusals, ["unknown_role", "unknown_role", "email_missing"]);
        assert!(
            refused[0]["message"]
                .as_str()
                .expect("a text")
                .contains("--role-map"),
            "{refused:?}"
        );
        assert_eq!(refused[2]["source_id"], "6f5b0c1e-58a8-4d4b-9a37-0c4b6a5f9d09");
        assert_eq!(map_of(&path).len(), 0);
        let mapped = [&live[..], &["--role-map", "editor=analyst,owner=admin"]].concat();
        let (summary, report) = import(&stage, &mapped, 1);
        counts(&summary, 2, 0, 1);
        assert_eq!((&summary["admins"], &summary["changed"]), (&json!(1), &json!(1)));
        // The name was cut, and cost nothing else.
        assert_eq!(
            (
                &report[0]["code"],
                &report[0]["warning"],
                &report[0]["field"],
                &report[0]["email"],
                &report[0]["source_id"]
            ),
            (
                &json!("name_shortened"),
                &json!(true),
                &json!("raw_user_meta_data.full_name"),
                &json!("other@example.com"),
                &json!(uuid(1))
            )
        );
        let rows = map_of(&path);
        // A UUID that another user has is replaced, and the map says by which.
        assert_eq!(
            (&rows[0][0], &rows[1][0], &rows[1][2]),
            (&uuid(1), &uuid(5), &uuid(5))
        );
        assert_ne!(rows[0][2], uuid(1));
        let other = run(&stage, &["user", "show", "other@example.com", "--json"])
            .with(0)
            .json();
        assert_eq!(
            (&other["role"], &other["uid"]),
            (&json!("analyst"), &json!(rows[0][2]))
        );
        assert_eq!(other["full_name"], format!("{}…", "x".repeat(199)));
        // Nothing is different the second time, and nothing is written where the source breaks off.
        let (summary, _) = import(&stage, &mapped, 1);
        counts(&summary, 0, 2, 1);
        assert_eq!(map_of(&path), rows);
        let broken = file(
            &stage,
            "broken.json",
            "[{\"email\":\"broken@example.com\"},\n{\"email\"",
        );
        run(&stage, &["user", "import", &broken, "--map", &map])
            .with(1)
            .says(&["1 user was imported before that and stays"]);
        assert_eq!(map_of(&path), rows);
        assert!(!Path::new(&format!("{map}.new")).exists());
    }
);

on_both!(
    trials_a5_the_same_uuid_twice_in_a_file_costs_no_user,
    async |stage: Stage| {
        let uuid = "6f5b0c1e-58a8-4d4b-9a37-0c4b6a5f9d01";
        let text = format!("id,email\n{uuid},one@example.com\n{uuid},two@example.com\n");
        let path = stage.directory().join("map.csv");
        let map = path.to_str().expect("text").to_owned();
        let users = file(&stage, "twice.csv", text);
        let (summary, _) = import(&stage, &[&users, "--from", "supabase", "--map", &map], 0);
        counts(&summary, 2, 0, 0);
        let rows = map_of(&path);
        assert_eq!(rows[0][2], uuid);
        assert_ne!(rows[1][2], uuid);
    }
);

#[test]
fn trials_a5_a_role_map_that_makes_no_sense_is_refused() {
    let stage = Stage::new(Footprint::Embedded);
    for (map, words) in [
        ("editor", "NAME=ROLE"),
        ("=user", "empty"),
        ("editor=owner", "user, analyst or admin"),
    ] {
        run(
            &stage,
            &["user", "import", &fixture("native.csv"), "--role-map", map],
        )
        .with(2)
        .says(&[words]);
    }
}

on_both!(
    trials_a5_the_mail_to_an_imported_user_does_not_speak_of_a_new_account,
    async |stage: Stage| {
        import(
            &stage,
            &[&file(
                &stage,
                "old.csv",
                "email,created_at\nold@example.com,2019-01-01\n",
            )],
            0,
        );
        let server = stage.start().await;
        server
            .post("/auth/password/forgot", &json!({ "email": "old@example.com" }))
            .await
            .is(202);
        let letter = mail(&server, "old@example.com", "invitation").await;
        assert_eq!(letter.subject, "Choose a password for your account");
        assert!(
            !letter.text.contains("new account") && !letter.text.contains("has made"),
            "{}",
            letter.text
        );
        let body = json!({ "token": letter.token(), "new_password": PASSWORD });
        server.post("/auth/password/reset", &body).await.is(200);
        server.log_in("old@example.com").await;
        server.stop().await;
    }
);
