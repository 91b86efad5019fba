//! `[admin]`: what administrators do.

use super::reader::Reader;
use super::values;

/// Whether what administrators change takes a fresh verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum AdminStepUp {
    /// As `Always`, but for `serve --dev` on SQLite.
    Auto,
    /// It does.
    Always,
    /// It does not.
    Never,
}

/// `[admin]`
#[derive(Clone, Copy, Debug)]
pub struct AdminConfig {
    /// Whether what administrators change takes a fresh verification; [`Config::admin_steps_up`](super::Config::admin_steps_up)
    /// decides.
    pub step_up: AdminStepUp,
}

impl Reader<'_> {
    pub(super) fn admin(&mut self) -> Option<AdminConfig> {
        let step_up = self.read("admin.step_up", values::variant);
        Some(AdminConfig { step_up: step_up? })
    }
}
