//! What a browser has done so far on a page of several steps. It is stored sealed, so that reload, Back, another node and a restart find
//! it again.

use http::HeaderValue;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::domain::{FactorMethod, Secret};

/// What a page shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Its form.
    #[default]
    Form,
    /// Its form, with one field more than at first.
    MoreIsNeeded,
    /// Where a mail was sent.
    Sent,
    /// That it is done.
    Done,
    /// That it is done, and that a mail has the link for what comes next.
    DoneByMail,
}

/// The state of a flow.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// What is shown.
    pub view: View,
    /// The address that was typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The name that was typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// The sign-in that waits for its second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingSignIn>,
    /// The token of the link that was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Token>,
    /// Whether this is the browser that asked for the mail with that link.
    #[serde(default)]
    pub is_asking_browser: bool,
    /// The sign-in that waits for the code of a mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail_flow: Option<Token>,
    /// Whether that link is an invitation.
    #[serde(default)]
    pub is_invitation: bool,
    /// Why the last submission was rejected: a code of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Whether the mail was sent once more.
    #[serde(default)]
    pub is_sent_again: bool,
}

/// A sign-in that waits for its second factor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WaitingSignIn {
    /// Names it.
    pub token: Token,
    /// Whether the user may have this device trusted.
    pub may_trust: bool,
    /// Of which method a code is asked for.
    #[serde(default = "totp")]
    pub asks_for: FactorMethod,
    /// What the browser is asked for where a passkey finishes it: JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passkey: Option<String>,
}

/// A sign-in that began at a node of the release before waits for a code of an app.
const fn totp() -> FactorMethod {
    FactorMethod::Totp
}

/// A token, such as that of a link.
#[derive(Clone, Debug)]
pub struct Token(pub Secret);

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

/// A flow: its name, which stands in addresses and is worth nothing without the browser's cookie, and its state.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The name.
    pub id: Uuid,
    /// The state.
    pub state: State,
}

/// What comes after a submission.
#[derive(Debug)]
pub struct Next {
    /// The address to go on to (303).
    pub to: String,
    /// The cookies that are set on the way.
    pub cookies: Vec<HeaderValue>,
}

impl Next {
    /// On to this address.
    pub const fn to(to: String) -> Self {
        Self {
            to,
            cookies: Vec::new(),
        }
    }
}
