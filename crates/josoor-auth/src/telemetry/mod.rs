//! Log lines, metrics and traces for the operator. Nothing in here may ever be given a password, a token or a whole request.

pub mod codes;
mod log;
mod metrics;
mod scope;
pub mod steps;
mod traces;

pub(crate) use log::is_invisible;
pub use log::{LogFormat, flush, init};
#[cfg(test)]
pub use metrics::SpanOutcome;
pub use metrics::{CacheCounters, METRICS_MEDIA_TYPE, Metrics, RefreshOutcome, RouteFigures, Sample, SignIn};
pub use scope::Scope;
pub use traces::trace::{Step, Trace};
pub use traces::{RequestStart, Traces, try_collector};
