//! What a node remembers of the trail, so that it notices what the tables alone would not show.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::crypto;
use crate::store::ChainEnd;
use crate::telemetry::codes;

/// Why a trail cannot be sealed: what is the matter with its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Missing,
    Forged,
    WentBack,
}

impl Fault {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "the head of the chain is missing",
            Self::Forged => "the head of the chain was not set with this master key",
            Self::WentBack => "the head of the chain went back to an earlier one",
        }
    }
}

/// What a node remembers of the trail, so that it notices what the tables alone would not show.
#[derive(Debug)]
pub struct Watch {
    pub(crate) holder: Uuid,
    pub(crate) memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The last head, and whether rows without a code were refused then.
    pub(crate) head: Option<(ChainEnd, bool)>,
    /// The last row with which the chain began again.
    pub(crate) base: Option<Uuid>,
    pub(crate) is_base_known: bool,
    pub(crate) fault: Option<Fault>,
    pub(crate) alarms: BTreeSet<Alarm>,
}

/// What else is the matter with a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// Rows were refused.
    Refused,
    /// Rows wait for too long.
    Late,
    /// Retention met a changed row.
    Changed,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            holder: uuid::Builder::from_random_bytes(crypto::random_bytes()).into_uuid(),
            memory: Mutex::default(),
        }
    }
}

impl Watch {
    /// Whether the trail is sealed and nothing was refused, as far as this node has seen.
    pub fn is_sound(&self) -> bool {
        let memory = self.memory();
        memory.fault.is_none() && memory.alarms.is_empty()
    }

    /// Whether this alarm is a new one.
    pub(crate) fn set_alarm(&self, alarm: Alarm, is_on: bool) -> bool {
        let alarms = &mut self.memory().alarms;
        if is_on {
            alarms.insert(alarm)
        } else {
            alarms.remove(&alarm);
            false
        }
    }

    pub(crate) fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        let before = std::mem::replace(&mut self.memory().fault, fault);
        match (before, fault) {
            (before, Some(fault)) if before != Some(fault) => tracing::error!(
                code = codes::AUDIT_TAMPERED,
                reason = fault.as_str(),
                "the audit trail is not sealed: it was tampered with; see `josoor-auth audit verify`"
            ),
            (Some(_), None) => tracing::info!("the audit trail is sealed again"),
            _ => {}
        }
    }
}
