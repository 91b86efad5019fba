//! What surrounds the settings: files of variables, misspelt names, quotes, and the public URL that follows the port.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

const SECRET: &str = "q7Vd0xK2mZ9sT4wB8nR1yL6cJ3hF5gPa";

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn parsed(pairs: &[(&str, &str)]) -> Config {
    Config::parse(None, &env(pairs)).unwrap_or_else(|error| panic!("{error}"))
}

/// The configuration that a file of variables gives beside real ones.
fn with_file(text: &str, pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("settings.env");
    std::fs::write(&path, text).expect("written");
    let file = EnvFile::named(&path)?;
    Config::load(None, Some(&file), &env(pairs))
}

#[test]
fn trials_a2_the_default_public_url_follows_the_listener() {
    for (pairs, expected) in [
        (&[][..], "http://localhost:8000"),
        (&[("PORT", "38002")], "http://localhost:38002"),
        (&[("BIND", "127.0.0.1:9000")], "http://localhost:9000"),
        (&[("BIND", "0.0.0.0:80")], "http://localhost"),
        (&[("BIND", "[::]:9000")], "http://localhost:9000"),
        (&[("BIND", "10.0.0.7:9000")], "http://10.0.0.7:9000"),
        (&[("BIND", "[2001:db8::1]:9000")], "http://[2001:db8::1]:9000"),
        // Which port that will be is not known yet.
        (&[("PORT", "0")], "http://localhost:8000"),
        (
            &[("PORT", "9000"), ("PUBLIC_URL", "http://localhost:8000")],
            "http://localhost:8000",
        ),
    ] {
        let config = parsed(pairs);
        assert_eq!(config.server.public_url.to_string(), expected, "{pairs:?}");
        assert_eq!(config.auth.issuer, expected);
        let shown = config
            .sources()
            .iter()
            .find(|entry| entry.key == "server.public_url");
        assert_eq!(shown.expect("shown").value, expected);
        // Links that go over a network without https are warned about, wherever the URL comes from.
        let is_warned = config
            .warnings
            .iter()
            .any(|warning| warning.contains("PUBLIC_URL"));
        assert_eq!(is_warned, !expected.contains("localhost"), "{pairs:?}");
    }
}

#[test]
fn d18_quotes_blanks_line_ends_and_byte_order_marks_around_secrets_and_urls_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    let file = path.to_str().expect("UTF-8");
    for (variable, value) in [
        ("JWT_SECRET", SECRET),
        ("MASTER_KEY", "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8="),
        ("DATABASE_URL", "postgres://user:hidden@localhost/auth"),
        ("REDIS_URL", "redis://localhost"),
        ("SMTP_URL", "smtp://localhost"),
        ("PUBLIC_URL", "https://auth.example.org"),
        ("JOSOOR_AUTH__AUTH__ISSUER", "https://auth.example.org"),
    ] {
        for (before, after, reason) in [
            ("\"", "\"", "remove the quotes"),
            ("'", "'", "remove the quotes"),
            (" ", "", "remove the blanks"),
            ("", " ", "remove the blanks"),
            ("", "\t", "remove the blanks"),
            ("\u{feff}", "", "byte order mark"),
            ("", "\n\n", "line ends"),
            ("", "\r\n\r\n", "line ends"),
            ("\n", "", "line ends"),
        ] {
            let given = format!("{before}{value}{after}");
            let mut pairs = vec![(variable, given.as_str())];
            let refused = Config::parse(None, &env(&pairs)).expect_err(&given).to_string();
            assert!(
                refused.contains(variable) && refused.contains(reason),
                "{refused}"
            );
            assert!(
                !refused.contains("hidden") && !refused.contains(SECRET),
                "{refused}"
            );
            assert_eq!(
                refused.matches(variable).count(),
                refused.lines().count(),
                "{refused}"
            );
            if variables::is_secret(&variables::key_of_name(variable).expect("a key")) {
                std::fs::write(&path, &given).expect("written");
                let name = format!("{variable}_FILE");
                pairs = vec![(name.as_str(), file)];
                let refused = Config::parse(None, &env(&pairs)).expect_err(&given).to_string();
                assert!(refused.contains(&name) && refused.contains(reason), "{refused}");
            }
        }
    }
    // One line end is what editors write.
    for end in ["", "\n", "\r\n"] {
        std::fs::write(&path, format!("{SECRET}{end}")).expect("written");
        let config = parsed(&[("JWT_SECRET_FILE", file)]);
        assert_eq!(config.auth.jwt_secret.expect("given").expose(), SECRET);
    }
    let quoted = format!("[auth]\njwt_secret = \"'{SECRET}'\"\n");
    let refused = Config::parse(Some(("josoor.toml", &quoted)), &env(&[])).expect_err("quotes");
    assert!(refused.to_string().contains("josoor.toml:2"), "{refused}");
}

#[test]
fn d18_names_that_look_like_ours_are_warned_about() {
    for (given, meant) in [
        ("JWT_SECERT", "JWT_SECRET"),
        ("jwt_secret", "JWT_SECRET"),
        ("JWT_SECRETS", "JWT_SECRET"),
        ("JWT_SECRET_FIEL", "JWT_SECRET_FILE"),
        ("CORS_ORIGIN", "CORS_ORIGINS"),
        ("TRUSTED_PROXYS", "TRUSTED_PROXIES"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("MAIL_FORM", "MAIL_FROM"),
        ("JOSOOR_AUTH_SESSION_IDLE", "JOSOOR_AUTH__SESSION__IDLE"),
        ("josoor_auth__session__idle", "JOSOOR_AUTH__SESSION__IDLE"),
        ("JOSOOR_AUTH_SESSION__IDLE", "JOSOOR_AUTH__SESSION__IDLE"),
        ("JOSOOR_AUTH_SESION_IDLE", "JOSOOR_AUTH__SESSION__IDLE"),
        ("JOSOOR_AUTH_JWT_SECRET", "JOSOOR_AUTH__AUTH__JWT_SECRET"),
        ("JOSOOR_AUTH_BCRYPT_COST", "JOSOOR_AUTH__PASSWORD__BCRYPT_COST"),
    ] {
        let config = parsed(&[(given, "hidden")]);
        let [warning] = &config.warnings[..] else {
            panic!("{given}: {:?}", config.warnings)
        };
        assert!(
            warning.contains(given) && warning.contains(&format!("did you mean {meant}?")),
            "{warning}"
        );
        assert!(!warning.contains("hidden"), "{warning}");
    }
    // Other programs' variables, and what Kubernetes sets for services called josoor-auth and josoor-auth-server.
    for (name, value) in [
        ("HOME", "/root"),
        ("PORTS", "1"),
        ("HTTP_PROXY", "http://localhost"),
        ("PGDATABASE", "auth"),
        ("JOSOOR_AUTH_URL", "http://localhost:8000"),
        ("JOSOOR_AUTH_PORT", "tcp://10.0.0.1:8000"),
        ("JOSOOR_AUTH_SERVICE_HOST", "10.0.0.1"),
        ("JOSOOR_AUTH_SERVICE_PORT", "8000"),
        ("JOSOOR_AUTH_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
        ("JOSOOR_AUTH_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("JOSOOR_AUTH_SERVER_PORT", "tcp://10.0.0.1:8000"),
    ] {
        assert!(parsed(&[(name, value)]).warnings.is_empty(), "{name}");
    }
    // Beside the right one it is another program's.
    let both = [("DATABASE_URL", "sqlite://x.db"), ("DATABASE_URI", "other")];
    assert!(parsed(&both).warnings.is_empty());
}

#[test]
fn trials_a10_a_file_of_variables_lies_below_the_real_ones() {
    let text = format!(
        "\u{feff}# a comment\nexport JWT_EXPIRATION_MINUTES=5\nJWT_SECRET='{SECRET}' # why\n\nDATABASE_URL=\"sqlite://named.db\"\n\
         POSTGRES_PASSWORD=hidden\nMAIL_FORM=x\nPORT=9000\n"
    );
    let config =
        with_file(&text, &[("PORT", "9001"), ("MAIL_FROM", "")]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.auth.access_lifetime.as_secs(), 300);
    assert_eq!(config.auth.jwt_secret.as_ref().expect("given").expose(), SECRET);
    assert_eq!(config.server.bind.port(), 9001);
    assert!(matches!(&config.database.url, Database::Sqlite { path } if path == Path::new("named.db")));
    let report = config.env_file_report.as_deref().expect("a report");
    assert!(
        report.ends_with("settings.env sets JWT_EXPIRATION_MINUTES, JWT_SECRET, DATABASE_URL"),
        "{report}"
    );
    assert!(
        config
            .warnings
            .iter()
            .any(|warning| warning.contains("MAIL_FORM"))
    );
    let source = |key: &str| {
        let entry = config.sources().iter().find(|entry| entry.key == key);
        entry.expect("an entry").source.to_string()
    };
    assert!(source("auth.jwt_secret").starts_with("JWT_SECRET in ") && source("server.port") == "PORT");
    // A real variable and one of the file never clash, whichever form they have.
    let real = [("JOSOOR_AUTH__AUTH__JWT_EXPIRATION_MINUTES", "7")];
    let config = with_file(&text, &real).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.auth.access_lifetime.as_secs(), 420);
    for (text, expected) in [
        ("PORT=1\nthis is hidden\n", "settings.env:2"),
        ("JWT_SECRET=\"hidden", "settings.env"),
        (
            "JOSOOR_AUTH__SESSION__IDEL=hidden",
            "did you mean JOSOOR_AUTH__SESSION__IDLE?",
        ),
        ("SESSION=1\nJWT_SECRET=hidden", "JWT_SECRET in "),
    ] {
        let refused = with_file(text, &[]).expect_err(text).to_string();
        assert!(
            refused.contains(expected) && !refused.contains("hidden"),
            "{refused}"
        );
    }
    assert!(EnvFile::named(Path::new("/no/such.env")).is_err());
}

#[test]
fn trials_a10_the_file_of_a_working_directory_does_not_say_where_data_is() {
    let directory = tempfile::tempdir().expect("a directory");
    assert!(EnvFile::of_directory(directory.path()).expect("none").is_none());
    let text = "DATABASE_URL=postgres://user:hidden@db/auth\nREDIS_URL_FILE=/run/redis\nJOSOOR_AUTH__DATABASE__URL=sqlite://x.db\n\
                JWT_EXPIRATION_MINUTES=5\n";
    std::fs::write(directory.path().join(".env"), text).expect("written");
    let file = EnvFile::of_directory(directory.path())
        .expect("read")
        .expect("a file");
    let config = Config::load(None, Some(&file), &env(&[])).unwrap_or_else(|error| panic!("{error}"));
    assert!(config.is_default("database.url") && config.is_default("redis.url"));
    assert_eq!(config.auth.access_lifetime.as_secs(), 300);
    let report = config.env_file_report.expect("a report");
    for expected in [
        ".env sets JWT_EXPIRATION_MINUTES",
        "DATABASE_URL, JOSOOR_AUTH__DATABASE__URL, REDIS_URL_FILE in it is ignored",
        "--env-file .env",
    ] {
        assert!(report.contains(expected), "{report}");
    }
    assert!(!report.contains("hidden"));
}

#[test]
fn d25_header_names_are_names() {
    let config = parsed(&[("JOSOOR_AUTH__SERVER__CORS_HEADERS", "X-Tenant, x-b3")]);
    assert_eq!(config.server.cors_headers, ["x-tenant", "x-b3"]);
    for wrong in ["*", "a:b", "ä"] {
        let refused = Config::parse(None, &env(&[("JOSOOR_AUTH__SERVER__CORS_HEADERS", wrong)]));
        assert!(refused.expect_err(wrong).to_string().contains("CORS_HEADERS"));
    }
}
