//! Passkeys on the page of the sign-in. The browser's script asks for one and submits it.

use super::visit::Visit;
use crate::auth::factors::passkeys::RequestOptions;
use crate::domain::PasskeyAssertion;
use crate::error::{Error, Result};
use crate::http::request::cookies;
use crate::http::request::definition::request_fields;
use crate::http::response::passkey::PasskeyRequestOptions;
use crate::sessions::{self, Issued};

request_fields! {
    /// The form of a passkey.
    pub struct PasskeyForm {
        /// The passkey, in JSON.
        assertion: PasskeyAssertion,
    }
}

/// What the browser is asked for, as the page has it.
///
/// # Errors
/// `Internal`.
pub(super) fn json_of(options: &RequestOptions) -> Result<String> {
    serde_json::to_string(&PasskeyRequestOptions::from(options)).map_err(Error::internal)
}

/// Signs in with a passkey alone.
pub(super) async fn sign_in(visit: &Visit, assertion: &PasskeyAssertion) -> Result<Issued> {
    let presented = sessions::present_passkey(&visit.app, assertion, &visit.client).await?;
    let mark = cookies::device_mark(&visit.app, &presented.user.email_key, &visit.headers);
    let with = visit.sign_in_with(mark);
    sessions::log_in_with_passkey(&visit.app, presented, with, &visit.client).await
}
