//! Why a form was rejected, in the reader's words.

use std::collections::BTreeMap;

use minijinja::context;
use minijinja::value::Value;

use super::texts;
use crate::domain::Locale;
use crate::http::response::codes;
use crate::http::response::problem::Problem;

/// Why a form was rejected.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// The service's code.
    pub code: String,
    /// What is said above all fields, if anything.
    pub message: Option<String>,
    /// For how many seconds another try would be rejected.
    pub wait: Option<u64>,
    /// The message of each field that is wrong.
    pub fields: BTreeMap<String, String>,
    /// The fields that are wrong, with their labels.
    pub list: Vec<WrongField>,
    /// The number of the request, where there are no words for the code.
    pub reference: Option<String>,
}

/// A field that is wrong.
#[derive(Clone, Debug)]
pub struct WrongField {
    /// Its name.
    pub name: String,
    /// Its label.
    pub label: String,
    /// What is wrong with it.
    pub message: String,
}

impl Failure {
    /// As the templates read it.
    pub fn to_value(&self) -> Value {
        let list: Value = self
            .list
            .iter()
            .map(|field| {
                context! {
                    name => field.name.clone(),
                    label => field.label.clone(),
                    message => field.message.clone(),
                }
            })
            .collect();
        context! {
            code => self.code.clone(),
            message => self.message.clone(),
            wait => self.wait,
            fields => Value::from_pairs(self.fields.clone()),
            list,
            reference => self.reference.clone(),
        }
    }

    /// The failure of a code that needs no more than its words.
    pub fn of_code(code: &str, locale: Locale) -> Self {
        let message = texts::find(locale, &format!("error.{code}"));
        Self {
            code: code.to_owned(),
            message: Some(message.unwrap_or(texts::text(locale, "error.unknown")).to_owned()),
            ..Self::default()
        }
    }

    /// The failure of a problem. `label_of` gives the key of a field's label; a field without one is not on the page, and what is
    /// wrong with it is said above all fields.
    pub fn of(
        problem: &Problem,
        locale: Locale,
        request_id: &str,
        label_of: impl Fn(&str) -> Option<&'static str>,
    ) -> Self {
        let code = problem.code.code;
        if code == codes::RATE_LIMITED.code {
            let wait = problem.retry_after.map_or(60, |wait| wait.as_secs() + 1);
            let duration = texts::duration(locale, wait);
            let text = texts::text(locale, "error.rate_limited");
            return Self {
                wait: Some(wait),
                message: Some(texts::fill(text, &[("duration", &duration)])),
                ..Self::of_code(code, locale)
            };
        }
        let mut failure = Self::of_code(code, locale);
        let mut elsewhere = Vec::new();
        for error in &problem.errors {
            let message = texts::find(locale, &format!("field.{}", error.code))
                .map_or_else(|| error.message.clone(), str::to_owned);
            let Some(label) = label_of(&error.field) else {
                elsewhere.push(message);
                continue;
            };
            failure.list.push(WrongField {
                name: error.field.clone(),
                label: texts::text(locale, label).to_owned(),
                message: message.clone(),
            });
            failure.fields.insert(error.field.clone(), message);
        }
        if !problem.errors.is_empty() {
            failure.message = (!elsewhere.is_empty()).then(|| elsewhere.join(" "));
        } else if texts::find(locale, &format!("error.{code}")).is_none() {
            failure.reference = Some(request_id.to_owned());
        }
        failure
    }
}
