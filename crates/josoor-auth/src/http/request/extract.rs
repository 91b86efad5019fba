//! What a request says, read strictly: body, query string, path ids, and where it comes from.
//!
//! Bodies and query strings are read into [`Fields`]. A handler asks for the fields that it knows, with the parser of
//! their type, and [`Fields::finish`] reports everything that is wrong at once. Fields that nobody asked for are refused,
//! and so are members that a JSON text names twice (RFC 8259, 4, leaves open which of them would count).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, RawPathParams, Request};
use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use http_body_util::BodyExt;
use ipnet::IpNet;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::config::ForwardedHeader;
use crate::domain::{Change, SessionId, UserId};
use crate::error::{Error, FieldError, Invalid};
use crate::http::response::problem::{self, Problem};
use crate::http::server::settings::HttpSettings;
use crate::telemetry::is_invisible;

/// How many complaints of one kind an answer lists; a body of 64 KiB could earn thousands.
const MAX_COMPLAINTS: usize = 32;

/// How much of an unknown field's name an answer repeats, in characters.
const MAX_ECHO: usize = 64;

/// A JSON value. Texts are wiped when dropped, because one of them may be a password.
enum Value {
    Null,
    Bool(bool),
    Number,
    Text(Zeroizing<String>),
    List,
    Object(BTreeMap<String, Value>),
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;

        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
                Ok(Value::Number)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
                Ok(Value::Number)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
                Ok(Value::Number)
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(Zeroizing::new(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                // Read to the end, so that what stands inside is held to the same rules.
                while items.next_element::<Value>()?.is_some() {}
                Ok(Value::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = entries.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(de::Error::custom("duplicate member"));
                    }
                }
                Ok(Value::Object(members))
            }
        }

        deserializer.deserialize_any(ValueVisitor)
    }
}

/// Where fields stand, which decides how they are read and what they are called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Body,
    Query,
}

/// The fields of a request that are still to be asked for, and what was wrong with those already asked for.
pub struct Fields {
    source: Source,
    members: BTreeMap<String, Value>,
    complaints: Vec<FieldError>,
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names alone: one of the values may be a password.
        f.debug_set().entries(self.members.keys()).finish()
    }
}

impl Fields {
    /// No fields at all.
    fn empty(source: Source) -> Self {
        Self {
            source,
            members: BTreeMap::new(),
            complaints: Vec::new(),
        }
    }

    /// Reads a JSON object (RFC 8259): UTF-8 without byte order mark, no member twice at any depth, at most 128
    /// levels, nothing behind it. Anything else is `malformed_json`; another JSON value than an object is an
    /// `invalid_type` of the field with the empty name.
    pub fn from_json(text: &[u8]) -> Result<Self, Problem> {
        let text = std::str::from_utf8(text)
            .map_err(|_| Problem::new(&problem::MALFORMED_JSON, "The body is not UTF-8."))?;
        if text.starts_with('\u{feff}') {
            return Err(Problem::new(
                &problem::MALFORMED_JSON,
                "The body starts with a byte order mark. Send plain UTF-8.",
            ));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| {
            // The parser's own words may quote the text, which may be a password; the place is safe to tell.
            let (line, column) = (error.line(), error.column());
            let what = match error.classify() {
                serde_json::error::Category::Data => "names a member twice",
                serde_json::error::Category::Eof => "breaks off",
                _ => "is not valid JSON",
            };
            Problem::new(
                &problem::MALFORMED_JSON,
                format!("The body {what} at line {line}, column {column}."),
            )
        })?;
        match value {
            Value::Object(members) => Ok(Self {
                members,
                ..Self::empty(Source::Body)
            }),
            _ => Err(Error::invalid(
                "",
                Invalid::new("invalid_type", "The body has to be a JSON object."),
            )
            .into()),
        }
    }

    /// Reads a query string (`application/x-www-form-urlencoded`): UTF-8 behind the percent-encoding, or `bad_request`;
    /// no parameter twice and no U+0000.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut fields = Self::empty(Source::Query);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode_component(name)?, decode_component(value)?);
            let complaint = if value.contains('\0') || name.contains('\0') {
                Some(Invalid::new(
                    "invalid_characters",
                    "The character U+0000 is not allowed.",
                ))
            } else if fields.members.contains_key(name.as_ref()) {
                Some(Invalid::new("duplicate", "A parameter may be given once."))
            } else {
                None
            };
            if let Some(complaint) = complaint {
                fields.complain(&shorten(&name), complaint);
            }
            fields
                .members
                .insert(name.into_owned(), Value::Text(Zeroizing::new(value.into_owned())));
        }
        Ok(fields)
    }

    /// A text that has to be there. `None` means that the complaint is noted and [`finish`](Self::finish) will fail.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        match self.members.remove(name) {
            None | Some(Value::Null) => {
                self.complain(name, Invalid::new("required", "This field is required."));
                None
            }
            Some(value) => self.text(name, &value, parse),
        }
    }

    /// A text that may be absent or `null`.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        match self.members.remove(name) {
            None | Some(Value::Null) => None,
            Some(value) => self.text(name, &value, parse),
        }
    }

    /// A text that may be absent, but not `null`: what it says cannot be taken away.
    pub fn optional_text<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let value = self.members.remove(name)?;
        self.text(name, &value, parse)
    }

    /// A text that a PATCH can leave, empty or set.
    pub fn optional_nullable<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Change<T> {
        match self.members.remove(name) {
            None => Change::Keep,
            Some(Value::Null) => Change::Clear,
            Some(value) => self.text(name, &value, parse).map_or(Change::Keep, Change::Set),
        }
    }

    /// A truth value that may be absent, but not `null`: `true` or `false`, in a query string as these words.
    pub fn bool(&mut self, name: &'static str) -> Option<bool> {
        match (self.source, self.members.remove(name)) {
            (_, None) => None,
            (_, Some(Value::Bool(value))) => Some(value),
            (Source::Query, Some(Value::Text(text))) if matches!(text.as_str(), "true" | "false") => {
                Some(text.as_str() == "true")
            }
            _ => {
                self.complain(
                    name,
                    Invalid::new("invalid_type", "This has to be true or false."),
                );
                None
            }
        }
    }

    /// Notes a complaint that concerns more than one field or is found later.
    pub fn complain(&mut self, name: &str, reason: Invalid) {
        if self.complaints.len() < MAX_COMPLAINTS {
            self.complaints.push(reason.in_field(name));
        }
    }

    fn text<T>(
        &mut self,
        name: &'static str,
        value: &Value,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let parsed = match value {
            Value::Text(text) => parse(text),
            _ => Err(Invalid::new("invalid_type", "This has to be a text.")),
        };
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(reason) => {
                self.complain(name, reason);
                None
            }
        }
    }

    /// Refuses the request if it names fields that nobody asked for ([`Error::UnknownFields`], told first, because
    /// the other complaints may only come from a misspelt name) or if any field was unacceptable ([`Error::Invalid`]).
    pub fn finish(self) -> Result<(), Error> {
        if !self.members.is_empty() {
            let message = match self.source {
                Source::Body => "There is no such field here.",
                Source::Query => "There is no such parameter here.",
            };
            let unknown = self
                .members
                .keys()
                .take(MAX_COMPLAINTS)
                .map(|name| Invalid::new("unknown_field", message).in_field(shorten(name)))
                .collect();
            return Err(Error::UnknownFields(unknown));
        }
        if self.complaints.is_empty() {
            Ok(())
        } else {
            Err(Error::Invalid(self.complaints))
        }
    }

    /// [`finish`](Self::finish), then the values that are certain to be there:
    /// `let (email, password) = fields.finish_with(|| Some((email?, password?)))?;`
    pub fn finish_with<T>(self, values: impl FnOnce() -> Option<T>) -> Result<T, Error> {
        self.finish()?;
        values().ok_or_else(|| Error::internal(anyhow::anyhow!("a field is missing without a complaint")))
    }
}

/// The beginning of a name that a client chose, for an answer.
fn shorten(name: &str) -> String {
    name.chars().take(MAX_ECHO).collect()
}

/// Undoes percent-encoding and `+` (WHATWG URL, 5.1), but refuses what that section would guess at.
fn decode_component(text: &str) -> Result<Cow<'_, str>, Problem> {
    let refuse = || {
        Problem::new(
            &problem::BAD_REQUEST,
            "The query string is not percent-encoded UTF-8.",
        )
    };
    let hex_follows = |(at, _): (usize, &str)| {
        text.as_bytes()
            .get(at + 1..at + 3)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.match_indices('%').all(hex_follows) {
        return Err(refuse());
    }
    let spaced = if text.contains('+') {
        Cow::Owned(text.replace('+', " "))
    } else {
        Cow::Borrowed(text)
    };
    let decoded = percent_encoding::percent_decode_str(&spaced)
        .decode_utf8()
        .map_err(|_| refuse())?;
    Ok(Cow::Owned(decoded.into_owned()))
}

/// The request's body, which has to be a JSON object.
#[derive(Debug)]
pub struct JsonBody(pub Fields);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let body = read_body(request).await?;
        Fields::from_json(&body).map(Self)
    }
}

/// The request's body, which may be left out; without one there are no fields. An empty body needs no media type.
#[derive(Debug)]
pub struct OptionalJsonBody(pub Fields);

impl<S: Send + Sync> FromRequest<S> for OptionalJsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let declared = require_json(request.headers());
        let body = read_body(request).await?;
        if body.is_empty() {
            return Ok(Self(Fields::empty(Source::Body)));
        }
        declared?;
        Fields::from_json(&body).map(Self)
    }
}

/// The request's query string.
#[derive(Debug)]
pub struct QueryFields(pub Fields);

impl<S: Send + Sync> FromRequestParts<S> for QueryFields {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Fields::from_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Refuses a body that is not declared as JSON in UTF-8 (RFC 9110, 8.3 and 15.5.16). A content encoding is refused
/// too: unpacking would let a short body grow past every limit.
fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |detail: &str| Err(Problem::new(&problem::UNSUPPORTED_MEDIA_TYPE, detail));
    let plain = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if !plain {
        return refuse("A body with a content encoding is not accepted. Send it unpacked.");
    }
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return refuse("Send the body with the header Content-Type: application/json.");
    };
    let mut parts = kind.to_str().unwrap_or_default().split(';');
    let essence = parts.next().unwrap_or_default().trim();
    let charset_is_utf8 = parts
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .all(|(_, value)| {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        });
    if !essence.eq_ignore_ascii_case("application/json") || !charset_is_utf8 {
        return refuse("The body has to be application/json in UTF-8.");
    }
    Ok(())
}

/// Reads the whole body, up to `body_limit` bytes within `body_timeout`. Wiped when dropped.
async fn read_body(request: Request) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let settings = HttpSettings::of(request.extensions());
    let limit = settings.body_limit;
    let too_large = || {
        Problem::new(
            &problem::BODY_TOO_LARGE,
            format!("The body may have at most {limit} bytes."),
        )
    };
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut stream = request.into_body();
    let reading = async {
        // Room for all of it from the start where the length is known: a growing buffer leaves unwiped copies behind.
        let room = declared.and_then(|length| usize::try_from(length).ok());
        let mut body = Zeroizing::new(Vec::with_capacity(room.unwrap_or(1024)));
        while let Some(frame) = stream.frame().await {
            let frame = frame.map_err(|_| Problem::new(&problem::BAD_REQUEST, "The body broke off."))?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            if body.len() + data.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(data);
        }
        Ok(body)
    };
    tokio::time::timeout(settings.body_timeout, reading)
        .await
        .unwrap_or_else(|_| {
            Err(Problem::new(
                &problem::REQUEST_TIMEOUT,
                "The body did not arrive in time.",
            ))
        })
}

/// The text of the path's `{id}`. A path that does not decode is `bad_request`.
async fn path_id<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Problem> {
    let parameters = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| Problem::new(&problem::BAD_REQUEST, "The path is not percent-encoded UTF-8."))?;
    parameters
        .iter()
        .find(|(name, _)| *name == "id")
        .map(|(_, value)| value.to_owned())
        .ok_or_else(|| Error::NotFound.into())
}

/// A user's id in the path's `{id}`: a positive decimal number as it is printed, or 404.
#[derive(Clone, Copy, Debug)]
pub struct UserIdPath(pub UserId);

impl<S: Send + Sync> FromRequestParts<S> for UserIdPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path_id(parts, state).await?;
        parse_user_id(&text)
            .map(Self)
            .ok_or_else(|| Error::NotFound.into())
    }
}

fn parse_user_id(text: &str) -> Option<UserId> {
    // One spelling per id, so that no cache, log or gateway rule sees the same user under two paths.
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    canonical.then(|| text.parse::<i64>().ok()).flatten().map(UserId)
}

/// A session's id in the path's `{id}`: a UUID with hyphens, or 404.
#[derive(Clone, Copy, Debug)]
pub struct SessionIdPath(pub SessionId);

impl<S: Send + Sync> FromRequestParts<S> for SessionIdPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path_id(parts, state).await?;
        parse_session_id(&text)
            .map(Self)
            .ok_or_else(|| Error::NotFound.into())
    }
}

pub(in crate::http) fn parse_session_id(text: &str) -> Option<SessionId> {
    parse_uuid(text).map(SessionId)
}

fn parse_uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// A device's id in the path's `{id}`: a UUID with hyphens, or 404.
#[derive(Clone, Copy, Debug)]
pub struct DeviceIdPath(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for DeviceIdPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path_id(parts, state).await?;
        parse_uuid(&text).map(Self).ok_or_else(|| Error::NotFound.into())
    }
}

/// Where the request comes from, as far as the trusted proxies tell; see [`client_address`]. Without a connection
/// (a request made inside the process) it is the unspecified address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let settings = HttpSettings::of(&parts.extensions);
        let Some(peer) = peer_address(parts) else {
            return Ok(Self(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)));
        };
        if !is_in(&settings.trusted_proxies, peer)
            && let Some(header) = FORWARDING.iter().find(|name| parts.headers.contains_key(*name))
        {
            settings.unlisted.note(peer, header.as_str());
        }
        let (trusted, header) = (&settings.trusted_proxies, settings.forwarded_header);
        Ok(Self(client_address(peer, &parts.headers, trusted, header)))
    }
}

/// The other end of the connection.
fn peer_address(parts: &Parts) -> Option<IpAddr> {
    parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|peer| peer.0.ip().to_canonical())
}

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The headers in which proxies name their clients.
const FORWARDING: [HeaderName; 3] = [FORWARDED, X_FORWARDED_FOR, X_REAL_IP];

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// The client's address behind `trusted` proxies, which name it in `header`.
///
/// A peer that is not trusted is the client, whatever it claims. Otherwise the list in the header is walked from its right
/// end, where the nearest proxy wrote, to the first address that is not trusted. An entry that is no address ends the walk
/// at the last proxy that was. The other headers of this kind are ignored: a proxy that does not write them may pass on
/// those of a client. IPv4 addresses in IPv6 form (`::ffff:a.b.c.d`) are given as IPv4.
pub fn client_address(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[IpNet],
    header: ForwardedHeader,
) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_in(trusted, peer) {
        return peer;
    }
    let entries = match header {
        ForwardedHeader::XForwardedFor => entries(headers, &X_FORWARDED_FOR, parse_x_forwarded_for),
        ForwardedHeader::Forwarded => entries(headers, &FORWARDED, parse_forwarded),
        ForwardedHeader::XRealIp => {
            let mut lines = entries(headers, &X_REAL_IP, |line| vec![parse_node(line.trim())]);
            // The proxy writes one; of several, it cannot be told which one is the proxy's.
            if lines.len() > 1 {
                lines.clear();
            }
            lines
        }
    };
    let mut nearest = peer;
    for entry in entries.into_iter().rev() {
        let Some(address) = entry else {
            return nearest;
        };
        nearest = address.to_canonical();
        if !is_in(trusted, nearest) {
            return nearest;
        }
    }
    nearest
}

/// All entries of a list header, lines joined in their order (RFC 9110, 5.3). A line that is not ASCII is one entry
/// that is no address.
fn entries(
    headers: &HeaderMap,
    name: &HeaderName,
    parse: fn(&str) -> Vec<Option<IpAddr>>,
) -> Vec<Option<IpAddr>> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.to_str().map_or_else(|_| vec![None], parse))
        .collect()
}

fn parse_x_forwarded_for(line: &str) -> Vec<Option<IpAddr>> {
    line.split(',').map(|entry| parse_node(entry.trim())).collect()
}

/// The `for` of every element of a `Forwarded` line (RFC 7239, 4). Elements without a `for` count as unknown.
fn parse_forwarded(line: &str) -> Vec<Option<IpAddr>> {
    split_outside_quotes(line, ',')
        .into_iter()
        .map(|element| {
            let mut nodes = split_outside_quotes(element, ';')
                .into_iter()
                .filter_map(|pair| pair.split_once('='))
                .filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
            match (nodes.next(), nodes.next()) {
                (Some((_, value)), None) => parse_node(&unquote(value.trim())?),
                _ => None,
            }
        })
        .collect()
}

/// Splits at `separator`, but not inside of quoted strings.
fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|character| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            other => return other == separator && !quoted,
        }
        false
    })
    .collect()
}

/// A token as it is, a quoted string (RFC 9110, 5.6.4) without its quotes and escapes.
fn unquote(value: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = value.strip_prefix('"') else {
        return Some(Cow::Borrowed(value));
    };
    let inner = inner.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.push(if character == '\\' {
            characters.next()?
        } else {
            character
        });
    }
    Some(Cow::Owned(text))
}

/// An address with or without a port, IPv6 with or without brackets. Obfuscated names (`_hidden`, `unknown`) and
/// zones are no addresses.
fn parse_node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_is_well_formed = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return port_is_well_formed
            .then(|| address.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6))
            .flatten();
    }
    let (address, port) = text.split_once(':')?;
    is_port(port)
        .then(|| address.parse::<std::net::Ipv4Addr>().ok().map(IpAddr::V4))
        .flatten()
}

/// A port, or an obfuscated one (RFC 7239, 6).
fn is_port(text: &str) -> bool {
    let obfuscated = text.strip_prefix('_').is_some_and(|name| !name.is_empty());
    obfuscated || text.parse::<u16>().is_ok()
}

/// Whether the request comes from this machine and through no proxy: what pages for the operator alone ask. Any
/// header that a proxy leaves speaks against it.
pub fn is_direct_loopback(parts: &Parts) -> bool {
    const TRACES: [&str; 5] = ["forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip"];
    let proxied = parts
        .headers
        .keys()
        .any(|name| name.as_str().starts_with("x-forwarded") || TRACES.contains(&name.as_str()));
    !proxied && peer_address(parts).is_some_and(|peer| peer.is_loopback())
}

/// What the client calls itself: at most 400 characters without controls; nothing where it does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAgent(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for UserAgent {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.get(header::USER_AGENT).and_then(|value| {
            clean_user_agent(&String::from_utf8_lossy(value.as_bytes()))
        })))
    }
}

fn clean_user_agent(text: &str) -> Option<String> {
    let clean: String = text
        .chars()
        .filter(|character| !is_invisible(*character))
        .take(400)
        .collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

#[cfg(test)]
mod tests;
