//! The settings: three sources laid over each other, every value parsed once into its type, and every problem reported
//! at once. `config.default.toml` is the list of the keys, their defaults and their documentation.

mod admin;
mod auth;
mod branding;
mod database;
mod entries;
mod env_file;
mod environment;
mod limits;
mod login;
mod mail;
mod mfa;
mod operation;
mod passkeys;
mod password;
mod postgres;
mod problem;
mod raw;
mod reader;
mod redis;
mod registration;
mod server;
mod session;
mod source;
mod suspects;
mod tracing;
mod urls;
mod values;
mod variables;

#[cfg(test)]
mod surroundings_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use josoor_auth_verify::Algorithm;

pub use self::admin::{AdminConfig, AdminStepUp};
pub use self::auth::{AuthConfig, KeysConfig, MasterKey};
pub use self::branding::BrandingConfig;
pub use self::database::{Database, DatabaseConfig};
pub use self::entries::Entry;
pub use self::env_file::EnvFile;
pub use self::environment::text_variables;
pub use self::limits::{LimitsConfig, Quota};
pub use self::login::LoginConfig;
pub use self::mail::{Helo, MailConfig, Sender};
pub use self::mfa::MfaConfig;
pub use self::operation::{
    AuditConfig, BackupConfig, LogConfig, LogFormat, MetricsConfig, StreamTarget, WebhookConfig,
};
pub use self::passkeys::PasskeysConfig;
pub use self::password::{HashConfig, PasswordConfig, PasswordScheme};
pub use self::postgres::{PostgresOptions, RootCertificates};
pub use self::problem::{ConfigError, ConfigProblem, Source};
use self::reader::Reader;
pub use self::redis::{CacheConfig, RedisConfig};
pub use self::registration::{RegistrationConfig, RegistrationMode};
pub use self::server::{ForwardedHeader, ServerConfig};
pub use self::session::{AccountConfig, SessionConfig};
pub use self::tracing::{CollectorConfig, TracingConfig};
pub use self::urls::{PublicUrl, loopback_alike};
use self::values::{DELETION_GRACE_AT_MOST, optional};

/// All settings, checked. Documented, with units and variables, in `config.default.toml`.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: ServerConfig,
    /// `[auth]`
    pub auth: AuthConfig,
    /// `[admin]`
    pub admin: AdminConfig,
    /// `[mfa]`
    pub mfa: MfaConfig,
    /// `[passkeys]`
    pub passkeys: PasskeysConfig,
    /// `[login]`
    pub login: LoginConfig,
    /// `[keys]`
    pub keys: KeysConfig,
    /// `[registration]`
    pub registration: RegistrationConfig,
    /// `[password]`
    pub password: PasswordConfig,
    /// `[session]`
    pub session: SessionConfig,
    /// `[account]`
    pub account: AccountConfig,
    /// `[database]`
    pub database: DatabaseConfig,
    /// `[redis]`
    pub redis: RedisConfig,
    /// `[cache]`
    pub cache: CacheConfig,
    /// `[limits]`
    pub limits: LimitsConfig,
    /// `[hash]`
    pub hash: HashConfig,
    /// `[mail]`
    pub mail: MailConfig,
    /// `[branding]`
    pub branding: Arc<BrandingConfig>,
    /// `[audit]`
    pub audit: AuditConfig,
    /// `[backup]`
    pub backup: BackupConfig,
    /// `[metrics]`
    pub metrics: MetricsConfig,
    /// `[tracing]`
    pub tracing: Arc<TracingConfig>,
    /// `[log]`
    pub log: LogConfig,
    /// What works but should not stay so, one sentence each, with the setting's name.
    pub warnings: Vec<String>,
    /// What was read of a file of variables, if one was.
    pub env_file_report: Option<String>,
    /// Whether this is `serve --dev`: a developer's own machine, with a mailbox and figures on the main listener.
    pub dev: bool,
    entries: Vec<Entry>,
}

impl Config {
    /// Reads the built-in defaults, then `file`, then the variables in `env_file` and in `env` (and the files that `…_FILE`
    /// variables name). Other programs' variables are ignored.
    ///
    /// # Errors
    /// All problems together: unreadable files, unknown names, bad values, values that do not go together.
    pub fn load(
        file: Option<&Path>,
        env_file: Option<&EnvFile>,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let Some(path) = file else {
            return Self::parse_all(None, env_file, env);
        };
        let text = source::read_config_file(path)?;
        Self::parse_all(Some((&path.to_string_lossy(), &text)), env_file, env)
    }

    /// As [`load`](Self::load), from a text: its name for messages, and the TOML. Reads no file but those of `…_FILE`
    /// variables and of `[branding]`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    #[cfg(feature = "internals")]
    pub fn parse(file: Option<(&str, &str)>, env: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        Self::parse_all(file, None, env)
    }

    fn parse_all(
        file: Option<(&str, &str)>,
        env_file: Option<&EnvFile>,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let variables = env_file.map(|file| (file.name.as_str(), &file.variables));
        let Some(layers) = source::layers(file, variables, env, &mut problems) else {
            return Err(ConfigError { problems });
        };
        let mut reader = Reader::new(&layers, problems);
        reader.warnings = suspects::misspelt(&layers, env);
        if let Some(file) = env_file {
            reader
                .warnings
                .extend(suspects::misspelt(&layers, &file.variables));
            reader.env_file_report = Some(file.report(&used_of(&layers)));
        }
        match (reader.config(), reader.problems.is_empty()) {
            (Some(mut config), true) => {
                config.entries = entries::entries(&layers, &config.server.public_url);
                Ok(config)
            }
            _ => Err(ConfigError {
                problems: reader.problems,
            }),
        }
    }

    /// Makes this the configuration of `serve --dev`.
    ///
    /// # Errors
    /// When others could reach the service: the listener or the public URL is not of this machine alone.
    pub fn enable_dev(&mut self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        let mut refuse = |key: &str, what: String, remedy: &str| {
            problems.push(ConfigProblem::of_key(key, Source::Default, what, remedy));
        };
        if !self.server.bind.ip().to_canonical().is_loopback() {
            refuse(
                "server.bind",
                format!(
                    "--dev is for this machine alone, and {} is open to others",
                    self.server.bind
                ),
                "listen on 127.0.0.1, or leave out --dev",
            );
        }
        if !self.server.public_url.is_loopback() {
            refuse(
                "server.public_url",
                format!(
                    "--dev is for this machine alone, and {} is not",
                    self.server.public_url
                ),
                "leave out PUBLIC_URL, or leave out --dev",
            );
        }
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        self.dev = true;
        Ok(())
    }

    /// Whether what administrators change takes a fresh verification.
    pub fn admin_steps_up(&self) -> bool {
        match self.admin.step_up {
            AdminStepUp::Always => true,
            AdminStepUp::Never => false,
            AdminStepUp::Auto => !(self.dev && self.database.url.is_sqlite()),
        }
    }

    /// Whether a key has its default.
    pub fn is_default(&self, key: &str) -> bool {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry.is_some_and(|entry| entry.source == Source::Default)
    }

    /// Every setting by key, with its value (no secrets) and its source.
    pub fn sources(&self) -> &[Entry] {
        &self.entries
    }

    /// `{"settings": {key: {"value", "source"}}, "warnings": [text]}`; values as in [`Entry::value`].
    pub fn to_json(&self) -> serde_json::Value {
        let settings: serde_json::Map<String, serde_json::Value> = self
            .entries
            .iter()
            .map(|entry| {
                let shown = serde_json::json!({ "value": entry.value, "source": entry.source.to_string() });
                (entry.key.clone(), shown)
            })
            .collect();
        serde_json::json!({ "settings": settings, "warnings": self.warnings })
    }
}

/// The variables of a file that settings came from.
fn used_of(layers: &source::Layers) -> Vec<String> {
    let variables = layers.values().filter_map(|given| match &given.source {
        Source::EnvFile { variable, .. } => Some(variable.clone()),
        _ => None,
    });
    variables.collect()
}

impl Reader<'_> {
    /// Every section is read before any is checked, so that the first problem does not hide the others.
    fn config(&mut self) -> Option<Config> {
        let server = self.server();
        let auth = self.auth(server.as_ref().map(|server| &server.public_url));
        let admin = self.admin();
        let mfa = self.mfa();
        let passkeys = self.passkeys(server.as_ref().map(|server| &server.public_url));
        let login = self.login();
        let keys = self.keys();
        let registration = self.registration();
        let password = self.password();
        let session = self.session();
        let account = self
            .duration("account.deletion_grace", Duration::ZERO, DELETION_GRACE_AT_MOST)
            .map(|deletion_grace| AccountConfig { deletion_grace });
        let database = self.database();
        let redis = self.redis();
        let cache = self.cache();
        let limits = self.limits();
        let hash = self.hash();
        let mail = self.mail(server.as_ref().map(|server| &server.public_url));
        let branding = self.branding();
        let audit = self.audit();
        let metrics = self
            .read("metrics.bind", |raw| optional(raw, urls::socket_address))
            .map(|bind| MetricsConfig { bind });
        let tracing = self.tracing();
        let log = self.log();
        let is_postgres = database
            .as_ref()
            .is_some_and(|database| !database.url.is_sqlite());
        let backup = self.backup(is_postgres);
        self.check_master_key(is_postgres);
        if let Some(auth) = &auth {
            self.check_jwt_secret(auth, is_postgres);
        }
        Some(Config {
            server: server?,
            auth: auth?,
            admin: admin?,
            mfa: mfa?,
            passkeys: passkeys?,
            login: login?,
            keys: keys?,
            registration: registration?,
            password: password?,
            session: session?,
            account: account?,
            database: database?,
            redis: redis?,
            cache: cache?,
            limits: limits?,
            hash: hash?,
            mail: mail?,
            branding: Arc::new(branding?),
            audit: audit?,
            backup: backup?,
            metrics: metrics?,
            tracing: Arc::new(tracing?),
            log: log?,
            warnings: std::mem::take(&mut self.warnings),
            env_file_report: self.env_file_report.take(),
            dev: false,
            entries: Vec::new(),
        })
    }
}
