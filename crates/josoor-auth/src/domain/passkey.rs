//! Passkeys, as clients present them: well-formed, not verified.

use std::fmt;

use uuid::Uuid;

use super::factor::{FactorCode, FactorMethod};
use super::name::Name;

/// What the owner calls a passkey.
pub type PasskeyName = Name<64>;

/// A new passkey, as a browser's `PublicKeyCredential` has it (WebAuthn level 3, 5.1 and 5.2.1).
pub struct PasskeyRegistration {
    /// The credential's id.
    pub id: Vec<u8>,
    /// `clientDataJSON`.
    pub client_data: Vec<u8>,
    /// `attestationObject`, in CBOR.
    pub attestation_object: Vec<u8>,
    /// How the authenticator is reached, such as `internal` or `usb`.
    pub transports: Vec<String>,
}

/// A use of a passkey, as a browser's `PublicKeyCredential` has it (WebAuthn level 3, 5.1 and 5.2.2).
pub struct PasskeyAssertion {
    /// The credential's id.
    pub id: Vec<u8>,
    /// `clientDataJSON`.
    pub client_data: Vec<u8>,
    /// `authenticatorData`.
    pub authenticator_data: Vec<u8>,
    /// The signature over both.
    pub signature: Vec<u8>,
    /// `userHandle`: whose passkey it is, as the authenticator stores it.
    pub user_handle: Option<Vec<u8>>,
}

// A signature that was not used yet is as good as a code.
impl fmt::Debug for PasskeyRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasskeyRegistration(…)")
    }
}

impl fmt::Debug for PasskeyAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasskeyAssertion(…)")
    }
}

/// What a second factor is shown with.
#[derive(Debug)]
pub enum FactorAnswer {
    /// A code of an authenticator app, or a recovery code.
    Code(FactorCode),
    /// A passkey.
    Passkey(Box<PasskeyAssertion>),
}

impl FactorAnswer {
    /// Of which method it is.
    pub const fn method(&self) -> FactorMethod {
        match self {
            Self::Code(code) => code.method(),
            Self::Passkey(_) => FactorMethod::Passkey,
        }
    }
}

impl From<FactorCode> for FactorAnswer {
    fn from(code: FactorCode) -> Self {
        Self::Code(code)
    }
}

impl From<PasskeyAssertion> for FactorAnswer {
    fn from(assertion: PasskeyAssertion) -> Self {
        Self::Passkey(Box::new(assertion))
    }
}

/// Models of authenticators that keep the passkeys of many people, by the `aaguid` that they name themselves.
const PROVIDERS: [(u128, &str); 14] = [
    (
        0xea9b_8d66_4d01_1d21_3ce4_b6b4_8cb5_75d4,
        "Google Password Manager",
    ),
    (0xadce_0002_35bc_c60a_648b_0b25_f1f0_5503, "Chrome on Mac"),
    (0xfbfc_3007_154e_4ecc_8c0b_6e02_0557_d7bd, "iCloud Keychain"),
    (0xdd4e_c289_e01d_41c9_bb89_70fa_845d_4bf2, "iCloud Keychain"),
    (0x0898_7058_cadc_4b81_b6e1_30de_50dc_be96, "Windows Hello"),
    (0x9ddd_1817_af5a_4672_a2b9_3e3d_d950_00a9, "Windows Hello"),
    (0x6028_b017_b1d4_4c02_b4b3_afcd_afc9_6bb2, "Windows Hello"),
    (0xbada_5566_a7aa_401f_bd96_4561_9a55_120d, "1Password"),
    (0xd548_826e_79b4_db40_a3d8_1111_6f7e_8349, "Bitwarden"),
    (0x5311_26d6_e717_415c_9320_3d9a_a698_1239, "Dashlane"),
    (0xb84e_4048_15dc_4dd0_8640_f4f6_0813_c8af, "NordPass"),
    (0x0ea2_42b4_43c4_4a1b_8b17_dd6d_0b6b_aec6, "Keeper"),
    (0xf380_9540_7f14_49c1_a8b3_8f81_3b22_5541, "Enpass"),
    (0x5341_4d53_554e_4700_0000_0000_0000_0000, "Samsung Pass"),
];

/// The name of a known model. It is what the authenticator says of itself, unverified: good for a name, and for nothing else.
pub fn passkey_provider(aaguid: Uuid) -> Option<&'static str> {
    let known = PROVIDERS.iter().find(|(model, _)| *model == aaguid.as_u128());
    known.map(|(_, name)| *name)
}
