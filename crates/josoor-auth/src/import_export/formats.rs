//! What the records of each source mean: from the fields that another program wrote to an [`Incoming`].

use std::borrow::Cow;
use std::io::BufRead;

use base64::Engine as _;
use serde::Deserialize;
use serde_json::{Map, Value};
use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::lines::{Elements, LONGEST, Layout, Lines, Record, Stop};
use super::{COLUMNS, Format, Incoming, LARGEST_ID, Preset, Refused, Verified};
use crate::domain::{Email, FullName, Locale, PasswordHash, Role, Secret, Timestamp, UserId};
use crate::error::{FieldError, Invalid};

/// The fields of a record by their names, as text or JSON.
pub type Fields = Map<String, Value>;

type Parsed<T> = Result<T, FieldError>;

/// One record of the source, in order.
#[derive(Debug)]
pub struct Line {
    /// The line of the file on which it begins, or the number of the row, from 1.
    pub number: u64,
    /// How many records came before it.
    pub ordinal: u64,
    /// How many bytes of the file have been read with it.
    pub end: u64,
    /// The user, or why there is none.
    pub content: Result<Box<Incoming>, Refused>,
}

/// What a source sends.
#[derive(Debug)]
pub enum Message {
    /// A record.
    Line(Line),
    /// Columns that the preset makes nothing of, told once.
    LeftBehind(Vec<String>),
    /// The source has been read whole.
    End,
    /// The source cannot be read any further; in words for an operator.
    Broken(String),
}

/// The parameters of Firebase's own hash, which are the project's and stand in no export.
#[derive(Clone, Debug)]
pub struct FirebaseConfig {
    pub(super) signer_key: Secret,
    pub(super) salt_separator: Vec<u8>,
    pub(super) rounds: u32,
    pub(super) memory_cost: u32,
}

impl FirebaseConfig {
    /// Reads the JSON object that the Firebase console and `projects.getConfig` show.
    ///
    /// # Errors
    /// In words for an operator, without the key.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Parameters {
            algorithm: String,
            #[serde(alias = "signerKey")]
            base64_signer_key: String,
            #[serde(alias = "saltSeparator")]
            base64_salt_separator: String,
            rounds: u32,
            #[serde(alias = "memoryCost")]
            mem_cost: u32,
        }
        // The parser's own words could repeat the key.
        let read: Parameters = serde_json::from_str(text).map_err(|_| {
            "the Firebase parameters are not understood; the file has to be a JSON object with algorithm, base64_signer_key, \
             base64_salt_separator, rounds and mem_cost"
                .to_owned()
        })?;
        if read.algorithm != "SCRYPT" {
            return Err(
                "Firebase's own algorithm is SCRYPT; hashes of others cannot be taken over".to_owned(),
            );
        }
        let decode = |name: &str, text: &str| {
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|_| format!("{name} of the Firebase parameters is not base64"))
        };
        decode("base64_signer_key", &read.base64_signer_key)?;
        Ok(Self {
            salt_separator: decode("base64_salt_separator", &read.base64_salt_separator)?,
            signer_key: Secret::new(read.base64_signer_key),
            rounds: read.rounds,
            memory_cost: read.mem_cost,
        })
    }
}

/// How a source is read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Who wrote it.
    pub preset: Preset,
    /// How.
    pub format: Format,
    /// Takes users whose hash cannot be taken over without a password, instead of refusing them.
    pub without_password: bool,
    /// Needed for Firebase's own hashes.
    pub firebase: Option<FirebaseConfig>,
    /// Now: a ban that has ended is none.
    pub now: Timestamp,
}

impl Reading {
    /// Reads a whole file and sends what it finds. Ends early when nobody receives.
    ///
    /// Blocks: to be run in a thread of its own.
    pub fn read_into(&self, input: impl BufRead, sender: &mpsc::Sender<Message>) {
        let last = match self.read(input, sender) {
            Ok(()) => Message::End,
            Err(Stop::Unwanted) => return,
            Err(Stop::Io(error)) => Message::Broken(format!("the file cannot be read: {error}")),
            Err(Stop::NoUsers) => {
                Message::Broken("there is no array \"users\" in the document; is --from right?".to_owned())
            }
            Err(Stop::Malformed(line)) => Message::Broken(format!(
                "the JSON document is broken or breaks off at line {line}; what follows was not read"
            )),
        };
        // Nobody is there to be told.
        let _ = sender.blocking_send(last);
    }

    fn read(&self, input: impl BufRead, sender: &mpsc::Sender<Message>) -> Result<(), Stop> {
        let mut ordinal = 0;
        let mut send = |number, end, fields: Result<Fields, Invalid>| {
            let line = self.line(number, ordinal, end, fields.map_err(|reason| reason.in_field("")));
            ordinal += 1;
            sender.blocking_send(Message::Line(line)).is_ok()
        };
        match self.format {
            Format::Json => {
                let layout = match self.preset {
                    Preset::Keycloak | Preset::Firebase => Layout::Users,
                    _ => Layout::Bare,
                };
                Elements::new(input).each(layout, &mut |record| {
                    send(record.number, record.end, json_object(record))
                })
            }
            Format::Ndjson => {
                let mut lines = Lines::new(input);
                while let Some(record) = lines.line()? {
                    if !send(record.number, record.end, json_object(record)) {
                        return Err(Stop::Unwanted);
                    }
                }
                Ok(())
            }
            Format::Csv => {
                let mut lines = Lines::new(input);
                let columns = match self.header(&mut lines)? {
                    Ok((columns, left_behind)) => {
                        if !left_behind.is_empty()
                            && sender.blocking_send(Message::LeftBehind(left_behind)).is_err()
                        {
                            return Err(Stop::Unwanted);
                        }
                        columns
                    }
                    Err(reason) => {
                        let _ = sender.blocking_send(Message::Broken(reason));
                        return Err(Stop::Unwanted);
                    }
                };
                // Firebase leaves fields out at the end.
                let exact = self.preset != Preset::Firebase;
                while let Some(record) = lines.csv(exact.then_some(columns.len()))? {
                    let fields = record.content.and_then(|fields| {
                        if exact && fields.len() != columns.len() {
                            return Err(Invalid::new(
                                "wrong_number_of_fields",
                                format!(
                                    "The header has {} fields and this line {}.",
                                    columns.len(),
                                    fields.len()
                                ),
                            ));
                        }
                        Ok(columns
                            .iter()
                            .cloned()
                            .zip(fields.into_iter().map(Value::String))
                            .collect())
                    });
                    if !send(record.number, record.end, fields) {
                        return Err(Stop::Unwanted);
                    }
                }
                Ok(())
            }
        }
    }

    /// The columns of a CSV file, and those among them that will be left behind.
    #[expect(clippy::type_complexity, reason = "two results and a pair, used in one place")]
    fn header(
        &self,
        lines: &mut Lines<impl BufRead>,
    ) -> Result<Result<(Vec<String>, Vec<String>), String>, Stop> {
        if self.preset == Preset::Firebase {
            return Ok(Ok((FIREBASE_COLUMNS.map(str::to_owned).to_vec(), Vec::new())));
        }
        let Some(record) = lines.csv(None)? else {
            return Ok(Err(
                "the file is empty; its first line has to name the columns".to_owned()
            ));
        };
        let Ok(columns) = record.content else {
            return Ok(Err(
                "the first line, which names the columns, is not CSV".to_owned()
            ));
        };
        let columns: Vec<String> = columns.iter().map(|name| name.trim().to_owned()).collect();
        for (index, name) in columns.iter().enumerate() {
            if columns[..index].contains(name) {
                return Ok(Err(format!("the column {} is there twice", shown(name))));
            }
        }
        if !columns.iter().any(|name| name == "email") {
            let looks = if columns.iter().any(|name| name.contains('@')) {
                "; the first line has to name the columns"
            } else {
                ""
            };
            return Ok(Err(format!("there is no column email{looks}")));
        }
        let known = self.known();
        let unknown: Vec<String> = columns
            .iter()
            .filter(|name| !known.contains(&name.as_str()))
            .map(|name| shown(name))
            .collect();
        if self.preset == Preset::Native && !unknown.is_empty() {
            return Ok(Err(format!(
                "unknown columns: {}; a native file has {}",
                unknown.join(", "),
                COLUMNS.join(", ")
            )));
        }
        Ok(Ok((columns, unknown)))
    }

    /// What the preset makes something of, at the top of a record.
    fn known(&self) -> &'static [&'static str] {
        match self.preset {
            Preset::Native => &COLUMNS,
            Preset::Document => &DOCUMENT_COLUMNS,
            Preset::Supabase => &SUPABASE_COLUMNS,
            Preset::Auth0 => &AUTH0_COLUMNS,
            Preset::Keycloak | Preset::Firebase => &[],
        }
    }

    /// What becomes of one record.
    pub fn line(&self, number: u64, ordinal: u64, end: u64, fields: Parsed<Fields>) -> Line {
        let content = match fields {
            Err(reason) => Err(Refused::new(number, reason, None)),
            Ok(fields) => self.user(&fields).map(Box::new).map_err(|reason| {
                let email = Get(&fields).text("email").ok().flatten();
                let email = email.and_then(|text| Email::parse(text).ok());
                Refused::new(number, reason, email.as_ref())
            }),
        };
        Line {
            number,
            ordinal,
            end,
            content,
        }
    }

    fn user(&self, fields: &Fields) -> Parsed<Incoming> {
        let get = Get(fields);
        match self.preset {
            Preset::Native => self.native(&get),
            Preset::Document => self.document(&get),
            Preset::Supabase => self.supabase(&get),
            Preset::Keycloak => self.keycloak(&get),
            Preset::Auth0 => self.auth0(&get),
            Preset::Firebase => self.firebase(&get),
        }
    }

    /// A hash whose form cannot be taken over costs the line or, if so wished, the password only.
    fn password(
        &self,
        field: &str,
        read: Result<Option<PasswordHash>, Invalid>,
    ) -> Parsed<Option<PasswordHash>> {
        match read {
            Err(_) if self.without_password => Ok(None),
            other => other.map_err(|reason| reason.in_field(field)),
        }
    }

    fn native(&self, get: &Get<'_>) -> Parsed<Incoming> {
        let unknown: Vec<String> = get
            .0
            .keys()
            .filter(|name| !COLUMNS.contains(&name.as_str()))
            .take(8)
            .map(|name| shown(name))
            .collect();
        if !unknown.is_empty() {
            return Err(Invalid::new(
                "unknown_field",
                format!("Unknown fields: {}.", unknown.join(", ")),
            )
            .in_field(""));
        }
        let verified_at = get.time("email_verified_at")?;
        let verified = match (get.flag("email_verified")?, verified_at) {
            (Some(false), Some(_)) => {
                return Err(Invalid::new(
                    "contradiction",
                    "The address was not proved, but there is a time when it was.",
                )
                .in_field("email_verified_at"));
            }
            (_, Some(at)) => Verified::At(at),
            (Some(true), None) => Verified::Yes,
            (Some(false), None) => Verified::No,
            (None, None) => Verified::Unknown,
        };
        Ok(Incoming {
            id: get.id("id")?,
            uid: get.uid("uid")?,
            email: get.email("email")?,
            full_name: get.name("full_name")?,
            role: get.role("role")?,
            is_active: get.flag("is_active")?,
            verified,
            locale: get.locale("locale")?,
            password_hash: self.password("password_hash", get.hash("password_hash")?)?,
            password_changed_at: get.time("password_changed_at")?,
            created_at: get.time("created_at")?,
            updated_at: get.time("updated_at")?,
            last_login_at: get.time("last_login_at")?,
        })
    }

    fn document(&self, get: &Get<'_>) -> Parsed<Incoming> {
        let field = if get.0.contains_key("password_hash") {
            "password_hash"
        } else {
            "hashed_password"
        };
        Ok(Incoming {
            id: get.id("id")?,
            uid: None,
            email: get.email("email")?,
            full_name: get.name("full_name")?,
            role: get.role("role")?,
            is_active: get.flag("is_active")?,
            verified: match get.flag("email_verified")?.or(get.flag("is_verified")?) {
                Some(true) => Verified::Yes,
                Some(false) => Verified::No,
                None => Verified::Unknown,
            },
            locale: None,
            password_hash: self.password(field, get.hash(field)?)?,
            password_changed_at: None,
            created_at: get.time("created_at")?,
            updated_at: get.time("updated_at")?,
            last_login_at: get.time("last_login")?.or(get.time("last_login_at")?),
        })
    }

    fn supabase(&self, get: &Get<'_>) -> Parsed<Incoming> {
        if get.time("deleted_at")?.is_some() {
            return Err(Invalid::new("deleted", "The user is deleted at the source.").in_field("deleted_at"));
        }
        if get.flag("is_sso_user")? == Some(true) && !self.without_password {
            return Err(Invalid::new(
                "sso_user",
                "The user signs in through another service and has no password; --without-password takes such users.",
            )
            .in_field("is_sso_user"));
        }
        let metadata = get.object("raw_user_meta_data")?.unwrap_or_default();
        let metadata = Get(&metadata);
        let full_name = match metadata.name("full_name").map_err(in_metadata)? {
            None => metadata.name("name").map_err(in_metadata)?,
            name => name,
        };
        let claims = get.object("raw_app_meta_data")?.unwrap_or_default();
        let role = Get(&claims).role("role").map_err(|mut reason| {
            reason.field.insert_str(0, "raw_app_meta_data.");
            reason
        })?;
        let banned = get
            .time_or_infinity("banned_until")?
            .is_some_and(|until| until > self.now);
        Ok(Incoming {
            id: None,
            uid: None,
            email: get.email("email")?,
            full_name,
            role,
            is_active: Some(!banned),
            verified: get.time("email_confirmed_at")?.map_or(Verified::No, Verified::At),
            locale: None,
            password_hash: self.password("encrypted_password", get.hash("encrypted_password")?)?,
            password_changed_at: None,
            created_at: get.time("created_at")?,
            updated_at: get.time("updated_at")?,
            last_login_at: get.time("last_sign_in_at")?,
        })
    }

    fn keycloak(&self, get: &Get<'_>) -> Parsed<Incoming> {
        let email = match (get.text("email")?, get.text("username")?) {
            (None, Some(name)) if name.contains('@') => get.email("username")?,
            _ => get.email("email")?,
        };
        let names = [get.text("firstName")?, get.text("lastName")?];
        let full_name = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let full_name = FullName::parse(&full_name).map_err(|reason| reason.in_field("firstName"))?;
        // A realm has roles of many kinds; those with our names are meant.
        let roles = get.array("realmRoles")?;
        let role = roles
            .iter()
            .filter_map(Value::as_str)
            .filter_map(|name| name.to_ascii_lowercase().parse::<Role>().ok())
            .max();
        let password_hash = self.password("credentials", keycloak_hash(get.array("credentials")?))?;
        Ok(Incoming {
            id: None,
            uid: None,
            email,
            full_name,
            role,
            is_active: get.flag("enabled")?,
            verified: verified(get.flag("emailVerified")?),
            locale: attribute_locale(get),
            password_hash,
            password_changed_at: None,
            created_at: get.millis("createdTimestamp")?,
            updated_at: None,
            last_login_at: None,
        })
    }

    fn auth0(&self, get: &Get<'_>) -> Parsed<Incoming> {
        let (field, hash) = if get.is_there("custom_password_hash") {
            ("custom_password_hash", auth0_custom_hash(get)?)
        } else if get.is_there("password_hash") {
            ("password_hash", get.hash("password_hash")?)
        } else {
            ("passwordHash", get.hash("passwordHash")?)
        };
        let name = match get.name("name") {
            // Auth0 puts the address there when nobody has given a name.
            Ok(Some(name)) if name.as_str().contains('@') => None,
            other => other?,
        };
        let parts = [get.text("given_name")?, get.text("family_name")?];
        let parts = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let parts = FullName::parse(&parts).map_err(|reason| reason.in_field("given_name"))?;
        Ok(Incoming {
            id: None,
            uid: None,
            email: get.email("email")?,
            full_name: name.or(parts),
            role: None,
            is_active: get.flag("blocked")?.map(|blocked| !blocked),
            verified: verified(get.flag("email_verified")?),
            locale: None,
            password_hash: self.password(field, hash)?,
            password_changed_at: None,
            created_at: get.time("created_at")?,
            updated_at: get.time("updated_at")?,
            last_login_at: get.time("last_login")?,
        })
    }

    fn firebase(&self, get: &Get<'_>) -> Parsed<Incoming> {
        let hash = match (get.text("passwordHash")?, get.text("salt")?) {
            (None, _) => Ok(None),
            (Some(hash), salt) => self.firebase_hash(hash, salt.unwrap_or_default()).map(Some),
        };
        let claims = get.object("customAttributes")?.unwrap_or_default();
        let role = match Get(&claims).text("role") {
            Ok(Some(name)) => name.to_ascii_lowercase().parse::<Role>().ok(),
            _ => None,
        };
        let last_login_at = match get.millis("lastSignedInAt")? {
            None => get.millis("lastLoginAt")?,
            at => at,
        };
        Ok(Incoming {
            id: None,
            uid: None,
            email: get.email("email")?,
            full_name: get.name("displayName")?,
            role,
            is_active: get.flag("disabled")?.map(|disabled| !disabled),
            verified: verified(get.flag("emailVerified")?),
            locale: None,
            password_hash: self.password("passwordHash", hash)?,
            password_changed_at: None,
            created_at: get.millis("createdAt")?,
            updated_at: None,
            last_login_at,
        })
    }

    fn firebase_hash(&self, hash: &str, salt: &str) -> Result<PasswordHash, Invalid> {
        let Some(config) = &self.firebase else {
            return Err(Invalid::new(
                "hash_parameters_missing",
                "Firebase's hashes need the project's parameters: give them with --firebase-config.",
            ));
        };
        super::hashes::firebase(hash, salt, config)
    }
}

/// The columns of the platform's table `users` that are understood, in both of the spellings that exist.
pub const DOCUMENT_COLUMNS: [&str; 12] = [
    "id",
    "email",
    "full_name",
    "password_hash",
    "hashed_password",
    "role",
    "is_active",
    "email_verified",
    "is_verified",
    "created_at",
    "updated_at",
    "last_login",
];

/// The columns of Supabase's `auth.users` that are understood.
pub const SUPABASE_COLUMNS: [&str; 12] = [
    "id",
    "email",
    "encrypted_password",
    "email_confirmed_at",
    "banned_until",
    "raw_user_meta_data",
    "raw_app_meta_data",
    "deleted_at",
    "is_sso_user",
    "created_at",
    "updated_at",
    "last_sign_in_at",
];

const AUTH0_COLUMNS: [&str; 13] = [
    "email",
    "email_verified",
    "name",
    "given_name",
    "family_name",
    "blocked",
    "passwordHash",
    "password_hash",
    "custom_password_hash",
    "created_at",
    "updated_at",
    "last_login",
    "user_id",
];

/// Firebase's CSV has no header. The numbered ones are of no use here.
const FIREBASE_COLUMNS: [&str; 28] = [
    "localId",
    "email",
    "emailVerified",
    "passwordHash",
    "salt",
    "displayName",
    "photoUrl",
    "7",
    "8",
    "9",
    "10",
    "11",
    "12",
    "13",
    "14",
    "15",
    "16",
    "17",
    "18",
    "19",
    "20",
    "21",
    "22",
    "createdAt",
    "lastLoginAt",
    "phoneNumber",
    "disabled",
    "customAttributes",
];

fn verified(flag: Option<bool>) -> Verified {
    match flag {
        Some(true) => Verified::Yes,
        Some(false) => Verified::No,
        None => Verified::Unknown,
    }
}

fn in_metadata(mut reason: FieldError) -> FieldError {
    reason.field.insert_str(0, "raw_user_meta_data.");
    reason
}

/// A name from a file, short and quoted, for a message.
fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(40).collect::<String>())
}

fn json_object(record: Record<Vec<u8>>) -> Result<Fields, Invalid> {
    let bytes = record.content?;
    if std::str::from_utf8(&bytes).is_err() {
        return Err(Invalid::new("invalid_utf8", "The line is not UTF-8 text."));
    }
    // The parser's own words could repeat a hash.
    serde_json::from_slice(&bytes).map_err(|_| Invalid::new("malformed_json", "This is not a JSON object."))
}

/// `attributes.locale`, which Keycloak keeps as a list.
fn attribute_locale(get: &Get<'_>) -> Option<Locale> {
    let attributes = get.object("attributes").ok()??;
    let tag = match attributes.get("locale")? {
        Value::Array(values) => values.first()?.as_str()?,
        Value::String(text) => text,
        _ => return None,
    };
    tag.split(['-', '_']).next()?.to_ascii_lowercase().parse().ok()
}

/// A value that may be a number, a text with one, or a list of either, as Keycloak writes them.
fn number(value: Option<&Value>) -> Option<u32> {
    match value? {
        Value::Number(number) => u32::try_from(number.as_u64()?).ok(),
        Value::String(text) => text.parse().ok(),
        Value::Array(values) => number(values.first()),
        _ => None,
    }
}

fn word(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::String(text) => Some(text),
        Value::Array(values) => word(values.first()),
        _ => None,
    }
}

/// The hash of the first password among a Keycloak user's credentials.
fn keycloak_hash(credentials: &[Value]) -> Result<Option<PasswordHash>, Invalid> {
    let unreadable = || {
        Invalid::new(
            "unsupported_hash",
            "The stored password is not in a form that Keycloak writes.",
        )
    };
    let password = credentials
        .iter()
        .filter_map(Value::as_object)
        .find(|credential| {
            credential
                .get("type")
                .and_then(Value::as_str)
                .is_none_or(|kind| kind == "password")
        });
    let Some(credential) = password else {
        return Ok(None);
    };
    let parts = |name| -> Result<Fields, Invalid> {
        let text = credential
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(unreadable)?;
        serde_json::from_str(text).map_err(|_| unreadable())
    };
    let (data, secret) = (parts("credentialData")?, parts("secretData")?);
    let text = |name: &str| secret.get(name).and_then(Value::as_str).ok_or_else(unreadable);
    let (value, salt) = (text("value")?, text("salt")?);
    let algorithm = data
        .get("algorithm")
        .and_then(Value::as_str)
        .ok_or_else(unreadable)?;
    let iterations = number(data.get("hashIterations")).ok_or_else(unreadable)?;
    if algorithm == "argon2" {
        let extra = data
            .get("additionalParameters")
            .and_then(Value::as_object)
            .ok_or_else(unreadable)?;
        let parameters = super::hashes::Argon2 {
            kind: word(extra.get("type")).unwrap_or("id"),
            version: word(extra.get("version")).unwrap_or("1.3"),
            memory_kib: number(extra.get("memory")).ok_or_else(unreadable)?,
            iterations,
            lanes: number(extra.get("parallelism")).ok_or_else(unreadable)?,
        };
        return super::hashes::keycloak_argon2(&parameters, salt, value).map(Some);
    }
    super::hashes::keycloak_pbkdf2(algorithm, iterations, salt, value).map(Some)
}

/// `custom_password_hash` of Auth0's import format: only hashes that carry their salt and parameters in themselves.
fn auth0_custom_hash(get: &Get<'_>) -> Parsed<Result<Option<PasswordHash>, Invalid>> {
    let Some(custom) = get.object("custom_password_hash")? else {
        return Ok(Ok(None));
    };
    let unsupported = |why: &str| Err(Invalid::new("unsupported_hash", why));
    let Some(hash) = custom.get("hash").and_then(Value::as_object) else {
        return Ok(unsupported("There is no hash in custom_password_hash."));
    };
    if custom.get("salt").is_some_and(|salt| !salt.is_null())
        || hash.get("key").is_some_and(|key| !key.is_null())
    {
        return Ok(unsupported(
            "Only hashes that carry their salt themselves can be taken over: bcrypt, argon2, scrypt and pbkdf2 in PHC form.",
        ));
    }
    match hash.get("value").and_then(Value::as_str) {
        Some(text)
            if hash
                .get("encoding")
                .and_then(Value::as_str)
                .is_none_or(|encoding| encoding == "utf8") =>
        {
            Ok(super::hashes::any(text).map(Some))
        }
        _ => Ok(unsupported("The hash in custom_password_hash is not text.")),
    }
}

/// Looks into the fields of a record. What is absent, null or an empty text is `None`.
struct Get<'a>(&'a Fields);

impl<'a> Get<'a> {
    fn value(&self, name: &str) -> Option<&'a Value> {
        self.0
            .get(name)
            .filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    fn is_there(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn wrong<T>(name: &str, code: &'static str, what: &str) -> Parsed<T> {
        Err(Invalid::new(code, what).in_field(name))
    }

    fn text(&self, name: &str) -> Parsed<Option<&'a str>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Self::wrong(name, "wrong_type", "This has to be a text."),
        }
    }

    fn email(&self, name: &str) -> Parsed<Email> {
        match self.text(name)? {
            Some(text) => Email::parse(text).map_err(|reason| reason.in_field(name)),
            None => Self::wrong(
                name,
                "email_missing",
                "There is no e-mail address, and every account needs one.",
            ),
        }
    }

    fn name(&self, name: &str) -> Parsed<Option<FullName>> {
        match self.text(name)? {
            Some(text) => FullName::parse(text).map_err(|reason| reason.in_field(name)),
            None => Ok(None),
        }
    }

    /// By name or value, as an enum of Python's writes it: `ADMIN` or `admin`.
    fn role(&self, name: &str) -> Parsed<Option<Role>> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => match text.trim().to_ascii_lowercase().parse() {
                Ok(role) => Ok(Some(role)),
                Err(_) => Self::wrong(name, "unknown_role", "A role is user, analyst or admin."),
            },
        }
    }

    fn locale(&self, name: &str) -> Parsed<Option<Locale>> {
        let text = self.text(name)?;
        text.map(|text| text.parse::<Locale>().map_err(|reason| reason.in_field(name)))
            .transpose()
    }

    fn id(&self, name: &str) -> Parsed<Option<UserId>> {
        let id = match self.value(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        match id {
            Some(id) if (1..=LARGEST_ID).contains(&id) => Ok(Some(UserId(id))),
            _ => Self::wrong(
                name,
                "invalid_id",
                "An id is a whole number from 1 to 9007199254740992.",
            ),
        }
    }

    fn uid(&self, name: &str) -> Parsed<Option<Uuid>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match Uuid::try_parse(text.trim()) {
            Ok(uid) if !uid.is_nil() => Ok(Some(uid)),
            _ => Self::wrong(name, "invalid_uid", "A uid is a UUID that is not zero."),
        }
    }

    fn flag(&self, name: &str) -> Parsed<Option<bool>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "t" | "1" | "yes" => Ok(Some(true)),
                "false" | "f" | "0" | "no" => Ok(Some(false)),
                _ => Self::wrong(name, "wrong_type", "This has to be true or false."),
            },
            Some(Value::Number(number)) if number.as_i64() == Some(1) => Ok(Some(true)),
            Some(Value::Number(number)) if number.as_i64() == Some(0) => Ok(Some(false)),
            Some(_) => Self::wrong(name, "wrong_type", "This has to be true or false."),
        }
    }

    fn time(&self, name: &str) -> Parsed<Option<Timestamp>> {
        let text = match self.value(name) {
            None => return Ok(None),
            Some(Value::String(text)) => Some(text.as_str()),
            // As MongoDB's exports write times, of which Auth0's is one.
            Some(Value::Object(object)) => object.get("$date").and_then(Value::as_str),
            Some(_) => None,
        };
        match text.and_then(parse_time) {
            Some(at) => Ok(Some(at)),
            None => Self::wrong(
                name,
                "invalid_time",
                "A time is written like 2026-01-31T12:00:00Z and lies between the years 1970 and 9999.",
            ),
        }
    }

    /// PostgreSQL's `infinity` is a time to some: banned for ever.
    fn time_or_infinity(&self, name: &str) -> Parsed<Option<Timestamp>> {
        if self.text(name)? == Some("infinity") {
            return Ok(Some(Timestamp::from_micros(i64::MAX)));
        }
        self.time(name)
    }

    /// Milliseconds since 1970.
    fn millis(&self, name: &str) -> Parsed<Option<Timestamp>> {
        let millis = match self.value(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        let micros = millis.and_then(|millis: i64| millis.checked_mul(1000));
        match micros.filter(|micros| Timestamp::from_micros(*micros).as_micros() == *micros) {
            Some(micros) => Ok(Some(Timestamp::from_micros(micros))),
            None => Self::wrong(
                name,
                "invalid_time",
                "A time here is a number of milliseconds since 1970.",
            ),
        }
    }

    fn hash(&self, name: &str) -> Parsed<Result<Option<PasswordHash>, Invalid>> {
        let text = self.text(name)?;
        Ok(text.map(super::hashes::any).transpose())
    }

    /// An object, or a text that is one in JSON.
    fn object(&self, name: &str) -> Parsed<Option<Cow<'a, Fields>>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Cow::Borrowed(object))),
            Some(Value::String(text)) if text.trim() == "null" => Ok(None),
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(object) => Ok(Some(Cow::Owned(object))),
                Err(_) => Self::wrong(name, "wrong_type", "This has to be a JSON object."),
            },
            Some(_) => Self::wrong(name, "wrong_type", "This has to be a JSON object."),
        }
    }

    fn array(&self, name: &str) -> Parsed<&'a [Value]> {
        match self.value(name) {
            None => Ok(&[]),
            Some(Value::Array(values)) => Ok(values),
            Some(_) => Self::wrong(name, "wrong_type", "This has to be a list."),
        }
    }
}

/// Reads RFC 3339, and what PostgreSQL, SQLite and Python make of times: a space for the `T`, a short or no offset (then it
/// is UTC), no seconds, a date alone. Outside of the years 1970 to 9999 there is nothing.
fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if !text.is_ascii() || text.len() < 10 {
        return None;
    }
    let digits = |text: &str| -> Option<u32> {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse().ok())
            .flatten()
    };
    let (date, rest) = text.split_at(10);
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return None;
    }
    let small = |text: &str| digits(text).and_then(|number| u8::try_from(number).ok());
    let month = Month::try_from(small(month)?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(digits(year)?).ok()?, month, small(day)?).ok()?;
    let (time, offset) = if rest.is_empty() {
        (Time::MIDNIGHT, UtcOffset::UTC)
    } else {
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
        let (clock, offset) = rest.split_at(at);
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let mut parts = clock.trim().split(':');
        let (hour, minute) = (small(parts.next()?)?, small(parts.next()?)?);
        let second = parts.next().map_or(Some(0), small)?;
        if parts.next().is_some() || fraction.len() > 9 {
            return None;
        }
        digits(fraction)?;
        let micros = digits(format!("{fraction:0<6}").get(..6)?)?;
        let time = Time::from_hms_micro(hour, minute, second, micros).ok()?;
        let offset = match offset {
            "" | "Z" | "z" => UtcOffset::UTC,
            signed => {
                let sign = if signed.starts_with('-') { -1 } else { 1 };
                let digits_only = signed[1..].replace(':', "");
                if !matches!(digits_only.len(), 2 | 4) {
                    return None;
                }
                let hours = i8::try_from(small(&digits_only[..2])?).ok()?;
                let minutes = if digits_only.len() == 4 {
                    i8::try_from(small(&digits_only[2..])?).ok()?
                } else {
                    0
                };
                UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()?
            }
        };
        (time, offset)
    };
    let at = PrimitiveDateTime::new(date, time).assume_offset(offset);
    let micros = i64::try_from(at.unix_timestamp_nanos() / 1000).ok()?;
    let at = Timestamp::from_micros(micros);
    (at.as_micros() == micros).then_some(at)
}

/// The longest record, for those who make records of rows.
pub const LONGEST_RECORD: usize = LONGEST;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{FirebaseConfig, Get, parse_time};
    use crate::domain::Timestamp;

    fn time(text: &str) -> Option<String> {
        parse_time(text).map(|at| at.to_string())
    }

    #[test]
    fn times_are_read_as_other_programs_write_them() {
        for (text, expected) in [
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05.000000Z"),
            ("2024-01-02t03:04:05.123456789z", "2024-01-02T03:04:05.123456Z"),
            ("2024-01-02 03:04:05.1+00", "2024-01-02T03:04:05.100000Z"),
            ("2024-01-02 03:04:05-0330", "2024-01-02T06:34:05.000000Z"),
            ("2024-01-02 03:04:05+03:00", "2024-01-02T00:04:05.000000Z"),
            ("2024-01-02 03:04", "2024-01-02T03:04:00.000000Z"),
            (" 2024-02-29 ", "2024-02-29T00:00:00.000000Z"),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(time(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "2024",
            "2023-02-29",
            "2024-1-2 03:04:05",
            "2024-01-02X03:04:05",
            "2024-01-02 25:00:00",
            "2024-01-02 03:04:05 UTC",
            "2024-01-02 03:04:05+3",
            "2024-01-02 03:04:05+99:00",
            "2024-01-02 03:04:05:06",
            "2024-01-02 03:04:05.",
            "2024-01-02 +3:04:05",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "٢٠٢٤-٠١-٠٢",
            "infinity",
            "1704164645",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn values_are_read_in_each_form_and_no_other() {
        let fields = json!({ "a": "TRUE", "b": 0, "c": "maybe", "d": 2, "e": "", "f": null, "id": " 7 ", "big": 1.5, "role": "ADMIN",
            "at": 1_700_000_000_123_i64, "end": "9223372036854775807", "json": "{\"x\":1}", "list": "[1]" });
        let fields = fields.as_object().unwrap();
        let get = Get(fields);
        assert_eq!((get.flag("a"), get.flag("b")), (Ok(Some(true)), Ok(Some(false))));
        assert!(get.flag("c").is_err() && get.flag("d").is_err());
        assert_eq!(
            (get.flag("e"), get.flag("f"), get.flag("g")),
            (Ok(None), Ok(None), Ok(None))
        );
        assert_eq!(get.id("id").unwrap().unwrap().0, 7);
        assert_eq!(get.id("big").unwrap_err().code, "invalid_id");
        assert_eq!(get.role("role").unwrap().unwrap().as_str(), "admin");
        assert_eq!(
            get.millis("at").unwrap().unwrap(),
            Timestamp::from_micros(1_700_000_000_123_000)
        );
        assert_eq!(get.millis("end").unwrap_err().code, "invalid_time");
        assert_eq!(get.object("json").unwrap().unwrap()["x"], 1);
        assert_eq!(get.object("list").unwrap_err().code, "wrong_type");
    }

    #[test]
    fn parameters_of_firebase_are_never_repeated() {
        let parse = |text: &str| FirebaseConfig::parse(text).map(|config| format!("{config:?}"));
        let good = "{\"algorithm\":\"SCRYPT\",\"base64_signer_key\":\"c2VjcmV0\",\"base64_salt_separator\":\"Bw==\",\"rounds\":8,\"mem_cost\":14}";
        assert!(!parse(good).unwrap().contains("c2VjcmV0"));
        for (from, to) in [
            ("SCRYPT", "BCRYPT"),
            ("c2VjcmV0", "c2VjcmV0*"),
            ("Bw==", "*"),
            ("8", "\"c2VjcmV0\""),
        ] {
            let told = parse(&good.replacen(from, to, 1)).unwrap_err();
            assert!(!told.contains("c2VjcmV0"), "{told}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_none(text in "\\PC{0,40}|[0-9TZ: +.-]{8,32}") {
            if let Some(at) = parse_time(&text) {
                prop_assert_eq!(parse_time(&at.to_string()), Some(at));
            }
        }
    }
}
