use super::ids::UserId;
use super::network::Network;

/// On whose behalf a password is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// A user who is signed in, or uses a known device of theirs. Strangers' tries at the same account are not among these.
    Known(UserId),
    /// The command line.
    Operator,
    /// Anybody, by the network that the request came from.
    Network(Network),
}
