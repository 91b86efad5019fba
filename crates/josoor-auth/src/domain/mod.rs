//! Values that are parsed once and never seen as raw text again. No I/O in here.

mod change;
mod characters;
mod device;
mod email;
mod full_name;
mod ids;
pub mod limit;
mod locale;
mod network;
mod password;
mod password_hash;
mod request_id;
mod requester;
mod secret;
mod timestamp;
mod user;

pub use change::Change;
pub use device::{DeviceLabel, KnownDevice, device_label};
pub use email::Email;
pub use full_name::FullName;
pub use ids::{SessionId, UserId};
pub use josoor_auth_verify::Role;
pub use locale::Locale;
pub use network::Network;
pub use password::Password;
pub(crate) use password::too_short;
pub use password_hash::PasswordHash;
pub use request_id::RequestId;
pub use requester::Requester;
pub use secret::Secret;
pub use timestamp::Timestamp;
pub use user::{LocaleName, Profile, RoleName};
