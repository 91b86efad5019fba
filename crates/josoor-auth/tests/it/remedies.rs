//! What the command line says and does where something is in its way.

use std::time::{Duration, Instant};

use crate::store_start::findings;
use crate::support::command::{run, run_unread};
use crate::support::server::{Footprint, Stage};
use crate::support::services::Postgres;

#[test]
fn a_reader_that_is_gone_fails_no_command() {
    let mut stage = Stage::new(Footprint::Embedded);
    for command in [
        &["completions", "bash"][..],
        &["manual"],
        &["openapi"],
        &["config", "show"],
        &["doctor"],
        &["user", "list"],
    ] {
        assert_eq!(run_unread(&stage, command, true, false), 0, "{command:?}");
    }
    // A warning, a question, an error and the words after an act, all of them unread.
    stage.set("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", "4");
    assert_eq!(run_unread(&stage, &["config", "check"], false, true), 0);
    assert_eq!(
        run_unread(&stage, &["audit", "rebase", "--reason", "a test"], false, true),
        1
    );
    assert_eq!(run_unread(&stage, &["user", "show", "1"], false, true), 1);
    assert_eq!(run_unread(&stage, &["user", "export"], false, true), 0);
    stage.set("JOSOOR_AUTH__SESSION__IDLE", "never");
    assert_eq!(run_unread(&stage, &["config", "check"], true, true), 1);
}

#[test]
fn a_setting_that_is_not_text_is_no_setting_that_is_left_out() {
    let stage = Stage::new(Footprint::Embedded);
    let program = env!("CARGO_BIN_EXE_josoor-auth");
    let script = format!(
        "JWT_SECRET=$(printf '\\377\\376 and thirty more random bytes 7391') exec {program} config check"
    );
    let ended = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(stage.directory())
        .output()
        .expect("a shell");
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("JWT_SECRET: the value is not UTF-8"), "{said}");
}

#[test]
fn a_file_that_is_no_database_is_named_with_the_remedy() {
    let mut stage = Stage::new(Footprint::Embedded);
    stage.set("PORT", "0");
    let file = stage.directory().join("notes.txt");
    std::fs::write(&file, "no database at all. ".repeat(500)).expect("written");
    stage.set("DATABASE_URL", &format!("sqlite://{}", file.display()));
    for command in [&["serve"][..], &["migrate"], &["user", "list"]] {
        run(&stage, command)
            .with(1)
            .says(&["file is not a database", "notes.txt", "another file"]);
    }
    let [level, found, remedy] = findings(&stage, "database").remove(0);
    assert!(
        level == "problem" && found.starts_with("file is not a database"),
        "{found}"
    );
    assert!(
        remedy.contains("another file") && !remedy.contains("server"),
        "{remedy}"
    );
    stage.set(
        "DATABASE_URL",
        &format!("sqlite://{}", stage.directory().display()),
    );
    let [level, found, remedy] = findings(&stage, "files").remove(0);
    assert!(level == "problem" && found.ends_with("is no file"), "{found}");
    assert!(remedy.contains("DATABASE_URL"), "{remedy}");
}

#[test]
fn a_server_without_tls_is_not_waited_for() {
    let server = Postgres::start_own();
    let mut stage = Stage::new(Footprint::Production);
    stage.set("PORT", "0");
    stage.set("JOSOOR_AUTH__DATABASE__START_TIMEOUT", "60s");
    stage.set("DATABASE_URL", &format!("{}?sslmode=require", server.url()));
    let began = Instant::now();
    let ended = run(&stage, &["serve"]).with(1);
    assert!(began.elapsed() < Duration::from_secs(20), "{ended:?}");
    assert!(!ended.err.contains("database_awaited"), "{ended:?}");
    assert!(ended.err.contains("sslmode in DATABASE_URL"), "{ended:?}");
}
