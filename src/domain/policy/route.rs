//! Groups of replicas, and which of them a call goes to.
//!
//! A group stands beside servers: its id is a [`ServerId`] that no server has, and its tools have exposed
//! names of their own. A call of a tool of a group goes to one of its members.

use serde::{Deserialize, Serialize};

use super::pattern::Pattern;
use crate::domain::id::ServerId;

/// Groups and routes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Routing {
    /// Groups of replicas.
    pub groups: Vec<Group>,
    /// Routes, in order: the first that matches counts.
    pub routes: Vec<Route>,
}

/// Sends the calls of matching tools elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Which exposed names it is for.
    pub matches: Pattern,
    /// The server or group that they go to. The tool's own name stays.
    pub to: ServerId,
}

/// Servers that offer the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its key in the configuration; no server has it.
    pub id: ServerId,
    /// Prefix of its tools' exposed names; the key when absent, none when empty.
    pub namespace: Option<String>,
    /// The replicas, in order.
    pub members: Vec<Member>,
    /// Which replica a call goes to.
    pub strategy: Strategy,
    /// Whether the members' tools are listed under their own names too.
    pub members_listed: bool,
}

impl Group {
    /// The prefix of exposed names.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(self.id.as_str())
    }
}

/// A replica of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The server.
    pub server: ServerId,
    /// Its share, for [`Strategy::Weighted`]; zero gets calls only when no other can take them.
    pub weight: u32,
}

/// Which replica a call goes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "strategy", rename_all = "kebab-case")]
pub enum Strategy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// By chance.
    Random,
    /// The one with the fewest calls in flight.
    LeastInFlight,
    /// The quicker of two taken by chance (peak-sensitive moving average of latency, times calls in flight).
    LeastLatency,
    /// The first that can take it, in their order.
    Primary,
    /// By chance, in proportion to the weights ("canary").
    Weighted,
    /// Calls with the same value of an argument go to the same replica (rendezvous hashing).
    Sticky {
        /// The argument.
        argument: String,
    },
}

impl Strategy {
    /// The word for people and for the configuration.
    pub fn word(&self) -> &'static str {
        match self {
            Strategy::RoundRobin => "round-robin",
            Strategy::Random => "random",
            Strategy::LeastInFlight => "least-in-flight",
            Strategy::LeastLatency => "least-latency",
            Strategy::Primary => "primary",
            Strategy::Weighted => "weighted",
            Strategy::Sticky { .. } => "sticky",
        }
    }
}

/// A replica as a call finds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The server.
    pub server: ServerId,
    /// Its weight.
    pub weight: u32,
    /// Why it cannot take the call now, for people: not ready, breaker open, does not offer the tool.
    pub unfit: Option<String>,
    /// Attempts in flight.
    pub in_flight: u32,
    /// Its latency (moving average) in seconds; `None` before the first answer.
    pub latency: Option<f64>,
}

/// Where a call goes and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The pattern of the route that matched.
    pub rule: Option<String>,
    /// The group that chose.
    pub group: Option<ServerId>,
    /// The group's strategy, in words.
    pub strategy: Option<String>,
    /// The servers to try, best first; others than the first are tried when nothing was sent to the ones before,
    /// or the call may be repeated.
    pub order: Vec<ServerId>,
    /// Members passed over, with the reason.
    pub passed_over: Vec<(ServerId, String)>,
    /// Why the first one, for people.
    pub why: String,
}
