//! The marks of devices: the values of the cookie `josoor_device`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::server_key::ServerKey;
use crate::crypto;
use crate::domain::UserId;

/// A mark whose code is right. Whether the account still knows the device, its row decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMark {
    /// The user who signed in.
    pub user: UserId,
    /// The device's row.
    pub id: Uuid,
}

/// Issues and reads marks. A mark is 64 characters: the user, the device, and a code of 192 bits that binds both to the
/// canonical address.
pub struct DeviceMarks(pub(super) ServerKey);

impl DeviceMarks {
    /// The value of a device's cookie.
    pub fn issue(&self, mark: &DeviceMark, email_key: &str) -> String {
        let (user, id) = (mark.user.0.to_be_bytes(), mark.id.as_bytes());
        let mac = self.0.mac(&[b"device", &user, id, email_key.as_bytes()]);
        URL_SAFE_NO_PAD.encode([user.as_slice(), id, &mac[..24]].concat())
    }

    /// The mark in a cookie, if it is ours and issued for this canonical address. Reads no row, so that a sign-in without a
    /// mark costs the same for every address.
    pub fn read(&self, email_key: &str, value: &str) -> Option<DeviceMark> {
        if value.len() != 64 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (user, rest) = bytes.split_first_chunk()?;
        let mark = DeviceMark {
            user: UserId(i64::from_be_bytes(*user)),
            id: Uuid::from_slice(rest.get(..16)?).ok()?,
        };
        let expected = self.issue(&mark, email_key);
        crypto::equal(value.as_bytes(), expected.as_bytes()).then_some(mark)
    }
}
