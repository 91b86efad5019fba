//! One definition of what a request has: the struct that a handler takes, its reader and its OpenAPI schema.
//!
//! `request_fields!` defines a struct. The type of each field says how it is read, whether it may be
//! absent or null, and how the document describes it, so that document and reader cannot differ.

use utoipa::ToSchema;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{
    AdditionalProperties, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Required};

use crate::error::Invalid;
use crate::http::request::fields::Fields;
use crate::passwords::Policy;

/// A struct that is read from the body or the query string of a request.
pub trait FromFields: Sized {
    /// Reads the fields in their order. `None` means that the reason is noted in `fields`, so that
    /// [`Fields::finish_with`] fails.
    fn read(fields: &mut Fields, policy: &Policy) -> Option<Self>;

    /// Describes the fields in their order.
    fn describe(fields: &mut Vec<FieldDescription>);
}

/// A field as the OpenAPI document shows it.
pub struct FieldDescription {
    name: &'static str,
    about: String,
    schema: TextSchema,
    presence: Presence,
}

/// Whether a field may be missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It has to be there, and not null.
    Required,
    /// It may be absent, but not null.
    Optional,
    /// It may be absent or null.
    Nullable,
}

/// How the document describes a text: in place, or by the name of a schema of its own.
pub enum TextSchema {
    /// In place.
    Inline(Object),
    /// By name.
    Named(String, RefOr<Schema>),
}

impl TextSchema {
    /// The schema of a type that has a name in the document.
    pub fn named<T: ToSchema>() -> Self {
        Self::Named(T::name().into_owned(), T::schema())
    }
}

/// The type of a field: how it is read and described.
pub trait Field: Sized {
    /// Reads the field. `None` means that the reason is noted.
    fn read(fields: &mut Fields, name: &'static str, policy: &Policy) -> Option<Self>;

    /// Describes the field; `about` is its own sentence.
    fn describe(name: &'static str, about: &str, fields: &mut Vec<FieldDescription>);
}

/// A type that is written as a text, or in a query string as a number.
pub trait FieldText: Sized {
    /// Reads the text of the field of this name.
    fn parse(name: &'static str, text: &str, policy: &Policy) -> Result<Self, Invalid>;

    /// Which texts are accepted. Programs generate requests from it, so it must not promise too much.
    fn schema() -> TextSchema;
}

/// A field that may be absent, but not null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotNull<T>(pub Option<T>);

pub(super) fn describe<T: FieldText>(
    presence: Presence,
    name: &'static str,
    about: &str,
    fields: &mut Vec<FieldDescription>,
) {
    fields.push(FieldDescription {
        name,
        about: about.trim().to_owned(),
        schema: T::schema(),
        presence,
    });
}

impl<T: FieldText> Field for T {
    fn read(fields: &mut Fields, name: &'static str, policy: &Policy) -> Option<Self> {
        fields.required(name, |text| T::parse(name, text, policy))
    }

    fn describe(name: &'static str, about: &str, fields: &mut Vec<FieldDescription>) {
        describe::<T>(Presence::Required, name, about, fields);
    }
}

impl<T: FieldText> Field for Option<T> {
    fn read(fields: &mut Fields, name: &'static str, policy: &Policy) -> Option<Self> {
        Some(fields.optional(name, |text| T::parse(name, text, policy)))
    }

    fn describe(name: &'static str, about: &str, fields: &mut Vec<FieldDescription>) {
        describe::<T>(Presence::Nullable, name, about, fields);
    }
}

impl<T: FieldText> Field for NotNull<T> {
    fn read(fields: &mut Fields, name: &'static str, policy: &Policy) -> Option<Self> {
        Some(Self(
            fields.optional_text(name, |text| T::parse(name, text, policy)),
        ))
    }

    fn describe(name: &'static str, about: &str, fields: &mut Vec<FieldDescription>) {
        describe::<T>(Presence::Optional, name, about, fields);
    }
}

impl Field for NotNull<bool> {
    fn read(fields: &mut Fields, name: &'static str, _: &Policy) -> Option<Self> {
        Some(Self(fields.bool(name)))
    }

    fn describe(name: &'static str, about: &str, fields: &mut Vec<FieldDescription>) {
        fields.push(FieldDescription {
            name,
            about: about.trim().to_owned(),
            schema: TextSchema::Inline(Object::with_type(Type::Boolean)),
            presence: Presence::Optional,
        });
    }
}

/// Fields in an object of their own; at least one of them has to be there.
#[derive(Clone, Copy, Debug)]
pub struct Nested<T>(pub T);

impl<T: FromFields + ToSchema> Field for Nested<T> {
    fn read(fields: &mut Fields, name: &'static str, policy: &Policy) -> Option<Self> {
        fields
            .required_object(name, |inner| T::read(inner, policy))
            .map(Self)
    }

    fn describe(name: &'static str, about: &str, fields: &mut Vec<FieldDescription>) {
        let mut schema = T::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.min_properties = Some(1);
        }
        let schema = TextSchema::Named(T::name().into_owned(), schema);
        fields.push(FieldDescription::required(name, about, schema));
    }
}

/// The schemas that the document refers to by name.
pub type NamedSchemas = Vec<(String, RefOr<Schema>)>;

/// The fields of a struct.
pub fn fields_of<T: FromFields>() -> Vec<FieldDescription> {
    let mut fields = Vec::new();
    T::describe(&mut fields);
    fields
}

/// The schema of a JSON body: an object without further members.
pub fn object_schema<T: FromFields>(about: &str) -> RefOr<Schema> {
    let mut object = ObjectBuilder::new()
        .description(Some(about.trim()))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    for field in fields_of::<T>() {
        if field.presence == Presence::Required {
            object = object.required(field.name);
        }
        object = object.property(field.name, field.schema());
    }
    object.build().into()
}

/// Adds the schemas that the fields of a body refer to.
pub fn named_schemas<T: FromFields>(schemas: &mut NamedSchemas) {
    for field in fields_of::<T>() {
        if let TextSchema::Named(name, schema) = field.schema {
            schemas.push((name, schema));
        }
    }
}

/// The parameters of a query string.
pub fn query_parameters<T: FromFields>() -> Vec<Parameter> {
    let parameter = |field: FieldDescription| {
        let schema = match field.schema {
            TextSchema::Inline(object) => object.into(),
            TextSchema::Named(name, _) => RefOr::Ref(Ref::from_schema_name(name)),
        };
        ParameterBuilder::new()
            .name(field.name)
            .parameter_in(ParameterIn::Query)
            .description(Some(field.about))
            .required(if field.presence == Presence::Required {
                Required::True
            } else {
                Required::False
            })
            .schema(Some(schema))
            .build()
    };
    fields_of::<T>().into_iter().map(parameter).collect()
}

impl FieldDescription {
    /// A field that has to be there.
    pub(super) fn required(name: &'static str, about: &str, schema: TextSchema) -> Self {
        Self::new(name, about, schema, Presence::Required)
    }

    /// A field.
    pub(super) fn new(name: &'static str, about: &str, schema: TextSchema, presence: Presence) -> Self {
        Self {
            name,
            about: about.trim().to_owned(),
            schema,
            presence,
        }
    }

    fn schema(self) -> RefOr<Schema> {
        let is_nullable = self.presence == Presence::Nullable;
        match self.schema {
            TextSchema::Inline(mut object) => {
                if is_nullable && let SchemaType::Type(only) = &object.schema_type {
                    object.schema_type = SchemaType::from_iter([only.clone(), Type::Null]);
                }
                let of_type = object.description.take();
                let about = [Some(self.about), of_type].into_iter().flatten();
                object.description = Some(about.collect::<Vec<_>>().join(" "));
                object.into()
            }
            TextSchema::Named(name, _) => {
                let mut reference = Ref::from_schema_name(name);
                reference.description = self.about;
                if is_nullable {
                    let null = Object::with_type(Type::Null);
                    OneOfBuilder::new().item(reference).item(null).into()
                } else {
                    reference.into()
                }
            }
        }
    }
}

/// Defines the body or the query string of a request: a struct, how it is read, and its part of the OpenAPI document.
macro_rules! request_fields {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident {
            $($(#[doc = $doc:literal])+ $field:ident: $kind:ty,)+
        }
    ) => {
        $(#[doc = $about])+
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $kind,)+
        }

        impl $crate::http::request::definition::FromFields for $name {
            fn read(
                fields: &mut $crate::http::request::fields::Fields,
                policy: &$crate::passwords::Policy,
            ) -> Option<Self> {
                use $crate::http::request::definition::Field;
                // All are read before one of them is missed, so that every reason is noted.
                $(let $field = <$kind as Field>::read(fields, stringify!($field), policy);)+
                Some(Self { $($field: $field?,)+ })
            }

            fn describe(fields: &mut Vec<$crate::http::request::definition::FieldDescription>) {
                use $crate::http::request::definition::Field;
                $(<$kind as Field>::describe(stringify!($field), concat!($($doc),+), fields);)+
            }
        }

        // As a part of another struct: its fields stand beside those of the other.
        impl $crate::http::request::definition::Field for $name {
            fn read(
                fields: &mut $crate::http::request::fields::Fields,
                _: &'static str,
                policy: &$crate::passwords::Policy,
            ) -> Option<Self> {
                <Self as $crate::http::request::definition::FromFields>::read(fields, policy)
            }

            fn describe(
                _: &'static str,
                _: &str,
                fields: &mut Vec<$crate::http::request::definition::FieldDescription>,
            ) {
                <Self as $crate::http::request::definition::FromFields>::describe(fields);
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                $crate::http::request::definition::object_schema::<Self>(concat!($($about),+))
            }
        }

        impl utoipa::ToSchema for $name {
            fn schemas(schemas: &mut $crate::http::request::definition::NamedSchemas) {
                $crate::http::request::definition::named_schemas::<Self>(schemas);
            }
        }

        impl utoipa::IntoParams for $name {
            fn into_params(
                _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                $crate::http::request::definition::query_parameters::<Self>()
            }
        }
    };
}

pub(crate) use request_fields;
