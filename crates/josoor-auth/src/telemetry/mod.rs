//! Log lines and metrics for the operator. Nothing in here may ever be given a password, a token or a whole request.

pub mod codes;
mod log;
mod metrics;

pub(crate) use log::is_invisible;
pub use log::{LogFormat, current_request, flush, in_request, init};
pub use metrics::{
    CacheCounters, InFlight, METRICS_MEDIA_TYPE, Metrics, RefreshOutcome, RouteFigures, Sample, SignIn,
};
