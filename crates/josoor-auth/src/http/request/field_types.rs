//! How each type of a field is read and described.

use std::collections::HashSet;

use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};

use crate::domain::{
    Change, Email, FactorCode, FactorMethod, Locale, MailCode, Name, Password, Role, Secret, UserId,
};
use crate::error::Invalid;
use crate::http::request::definition::{Field, FieldDescription, FieldText, Presence, TextSchema, describe};
use crate::http::request::fields::Fields;
use crate::http::response::representation::{LocaleName, RoleName};
use crate::passwords::Policy;

// Schemas hold for what is surely accepted, because programs generate requests from them. Where the rule itself is wider than
// JSON Schema can say, the description says so.

/// Any text but U+0000.
const ANY_TEXT: &str = r"^[^\x00]*$";

/// No controls, line ends and controls of the writing direction: what [`Name::parse`] refuses.
const NAME_PATTERN: &str = r"^[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$";

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

impl FieldText for Email {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        Self::parse(text)
    }

    fn schema() -> TextSchema {
        let object = text()
            .pattern(Some(Self::PATTERN))
            .max_length(Some(Self::MAX_BYTES))
            .description(Some(
                "An email address, unique whatever its letter case. The pattern covers the usual ones; addresses in other \
                 scripts and internationalised domains are accepted besides, in at most 254 bytes of UTF-8.",
            ))
            .examples(["sara@example.com"]);
        TextSchema::Inline(object.build())
    }
}

fn password(min_length: usize) -> ObjectBuilder {
    text()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
        .min_length(Some(min_length))
        .max_length(Some(Password::MAX_BYTES))
        .pattern(Some(ANY_TEXT))
        .examples(["correct horse battery staple"])
}

/// A password that was set before.
impl FieldText for Password {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        Self::parse(text)
    }

    fn schema() -> TextSchema {
        let object = password(1).description(Some("At most 1,024 bytes in UTF-8."));
        TextSchema::Inline(object.build())
    }
}

/// A password that is to be set: acceptable as far as can be checked without the account.
pub struct PasswordToSet(pub Password);

impl FieldText for PasswordToSet {
    fn parse(_: &'static str, text: &str, policy: &Policy) -> Result<Self, Invalid> {
        let password = Password::parse(text)?;
        policy.check_alone(&password)?;
        Ok(Self(password))
    }

    fn schema() -> TextSchema {
        let object = password(8).description(Some(
            "At least 8 characters (the setting `password.min_length`), at most 1,024 bytes in UTF-8, and none of the \
             most common passwords. Any characters, also spaces.",
        ));
        TextSchema::Inline(object.build())
    }
}

/// The token of a link or a refresh token; its reader verifies it.
impl FieldText for Secret {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        Ok(Self::new(text))
    }

    fn schema() -> TextSchema {
        TextSchema::Inline(Object::with_type(Type::String))
    }
}

impl FieldText for FactorCode {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        Self::parse(text)
    }

    fn schema() -> TextSchema {
        let object = text()
            .pattern(Some(Self::PATTERN))
            .description(Some(
                "The six digits that the app shows, a recovery code, or the eight digits from a mail. Spaces, hyphens, letter case and \
                 Arabic-Indic digits make no difference.",
            ))
            .examples(["123456"]);
        TextSchema::Inline(object.build())
    }
}

impl FieldText for MailCode {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        Self::parse(text)
    }

    fn schema() -> TextSchema {
        let object = text()
            .pattern(Some("^[0-9]{8}$"))
            .description(Some(
                "The eight digits from the mail. Spaces, hyphens and Arabic-Indic digits make no difference.",
            ))
            .examples(["12345678"]);
        TextSchema::Inline(object.build())
    }
}

impl FieldText for FactorMethod {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        text.parse().map_err(|_| {
            let names: Vec<_> = Self::ALL.iter().map(|method| method.as_str()).collect();
            let names = names.join(", ");
            let message = format!("A method is one of the `methods` of the answer: {names}.");
            Invalid::new("unknown_method", message)
        })
    }

    fn schema() -> TextSchema {
        TextSchema::named::<Self>()
    }
}

impl FieldText for Role {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        parse_role(text)
    }

    fn schema() -> TextSchema {
        TextSchema::named::<RoleName>()
    }
}

/// A role by its name.
pub fn parse_role(text: &str) -> Result<Role, Invalid> {
    text.parse()
        .map_err(|_| Invalid::new("unknown_role", "A role is user, analyst or admin."))
}

impl FieldText for Locale {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        text.parse()
    }

    fn schema() -> TextSchema {
        TextSchema::named::<LocaleName>()
    }
}

/// A schema of names of at most so many characters.
pub(super) fn name_schema(at_most: usize) -> ObjectBuilder {
    text().max_length(Some(at_most)).pattern(Some(NAME_PATTERN))
}

/// A name may be blank, which is none, so it is read as an option only.
struct OptionalName<const MAX: usize>(Option<Name<MAX>>);

impl<const MAX: usize> FieldText for OptionalName<MAX> {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        Name::parse(text).map(Self)
    }

    fn schema() -> TextSchema {
        let object = name_schema(MAX)
            .description(Some(
                "Without control characters and line breaks. A blank one is none, and so is null.",
            ))
            .examples(["Ada Lovelace"]);
        TextSchema::Inline(object.build())
    }
}

impl<const MAX: usize> Field for Option<Name<MAX>> {
    fn read(fields: &mut Fields, name: &'static str, policy: &Policy) -> Option<Self> {
        Option::<OptionalName<MAX>>::read(fields, name, policy).map(|name| name?.0)
    }

    fn describe(name: &'static str, about: &str, fields: &mut Vec<FieldDescription>) {
        describe::<OptionalName<MAX>>(Presence::Nullable, name, about, fields);
    }
}

/// The name of a PATCH: absent keeps it, null or a blank one clears it.
impl<const MAX: usize> Field for Change<Name<MAX>> {
    fn read(fields: &mut Fields, name: &'static str, policy: &Policy) -> Option<Self> {
        let change = fields.optional_nullable(name, |text| OptionalName::parse(name, text, policy));
        Some(match change {
            Change::Keep => Self::Keep,
            Change::Clear | Change::Set(OptionalName(None)) => Self::Clear,
            Change::Set(OptionalName(Some(name))) => Self::Set(name),
        })
    }

    fn describe(name: &'static str, about: &str, fields: &mut Vec<FieldDescription>) {
        describe::<OptionalName<MAX>>(Presence::Nullable, name, about, fields);
    }
}

/// A whole number from 1 to `MAX`, written in digits.
#[derive(Clone, Copy, Debug)]
pub struct Number<const MAX: i64>(pub i64);

impl<const MAX: i64> FieldText for Number<MAX> {
    fn parse(name: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<i64>() {
            Ok(number) if is_number && (1..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(Invalid::new(
                "out_of_range",
                format!("{name} is a whole number from 1 to {MAX}."),
            )),
        }
    }

    fn schema() -> TextSchema {
        let object = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(1))
            .maximum(Some(MAX));
        TextSchema::Inline(object.build())
    }
}

/// From 1 to `MAX` different ids of users, in their order. An id that comes again counts once.
#[derive(Clone, Debug)]
pub struct UserIds<const MAX: usize>(pub Vec<UserId>);

impl<const MAX: usize> UserIds<MAX> {
    fn parse(items: Vec<Option<i64>>) -> Result<Self, Invalid> {
        if items.is_empty() || items.len() > MAX {
            let message = format!("This is a list of 1 to {MAX} ids.");
            return Err(Invalid::new("out_of_range", message));
        }
        let mut seen = HashSet::new();
        let mut ids = Vec::with_capacity(items.len());
        for item in items {
            let id = item
                .filter(|id| *id >= 1)
                .ok_or_else(|| Invalid::new("invalid_id", "Each id is a whole number, at least 1."))?;
            if seen.insert(id) {
                ids.push(UserId(id));
            }
        }
        Ok(Self(ids))
    }
}

impl<const MAX: usize> Field for UserIds<MAX> {
    fn read(fields: &mut Fields, name: &'static str, _: &Policy) -> Option<Self> {
        fields.required_numbers(name, Self::parse)
    }

    fn describe(name: &'static str, about: &str, fields: &mut Vec<FieldDescription>) {
        let id = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(1));
        let ids = ArrayBuilder::new()
            .items(id)
            .min_items(Some(1))
            .max_items(Some(MAX))
            .build();
        let schema = TextSchema::Named("UserIds".to_owned(), ids.into());
        fields.push(FieldDescription::required(name, about, schema));
    }
}

/// A schema of texts that match a pattern.
pub fn pattern_schema(pattern: impl Into<String>) -> TextSchema {
    TextSchema::Inline(text().pattern(Some(pattern)).build())
}

/// A schema of texts of a known format.
pub fn format_schema(format: KnownFormat) -> TextSchema {
    TextSchema::Inline(text().format(Some(SchemaFormat::KnownFormat(format))).build())
}
