//! Where a client wants its refresh token.

use http::HeaderMap;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::{Invalid, Result};
use crate::http::request::cookies;
use crate::http::request::definition::{FieldText, TextSchema};
use crate::keys::DeviceMark;
use crate::passwords::Policy;
use crate::sessions::SignInWith;
use crate::store;

/// Where a client wants its refresh token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ToSchema, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// In the body of the answer.
    #[default]
    Body,
    /// In a cookie that scripts cannot read. The request must come from an allowed origin.
    Cookie,
}

impl FieldText for Transport {
    fn parse(_: &'static str, text: &str, _: &Policy) -> Result<Self, Invalid> {
        match text {
            "body" => Ok(Self::Body),
            "cookie" => Ok(Self::Cookie),
            _ => Err(Invalid::new(
                "unknown_transport",
                "A transport is body or cookie.",
            )),
        }
    }

    fn schema() -> TextSchema {
        TextSchema::named::<Self>()
    }
}

impl From<store::Transport> for Transport {
    fn from(transport: store::Transport) -> Self {
        match transport {
            store::Transport::Body => Self::Body,
            store::Transport::Cookie => Self::Cookie,
        }
    }
}

impl From<Transport> for store::Transport {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Body => Self::Body,
            Transport::Cookie => Self::Cookie,
        }
    }
}

impl Transport {
    /// Rejects a request that wants a cookie and does not come from an origin that may have one.
    pub fn require_origin(self, app: &App, headers: &HeaderMap) -> Result<()> {
        match self {
            Self::Body => Ok(()),
            Self::Cookie => cookies::require_origin(app, headers),
        }
    }

    /// What a sign-in in this transport comes with. In cookie transport the request's origin has been verified.
    pub fn sign_in_with(self, app: &App, headers: &HeaderMap, mark: Option<DeviceMark>) -> SignInWith {
        let (transport, replaces) = match self {
            Self::Body => (store::Transport::Body, None),
            Self::Cookie => (store::Transport::Cookie, cookies::held_session(app, headers)),
        };
        SignInWith {
            mark,
            transport,
            replaces,
        }
    }
}
