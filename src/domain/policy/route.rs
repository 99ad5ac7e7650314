//! Routing: groups of replicas, routes, and the choice of the replica for a call.
//!
//! A group is used like a server: its id is a [`ServerId`] that no server has, and its tools have their own exposed
//! names. A call of a group's tool goes to one of its members.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::pattern::Pattern;
use crate::domain::{
    call::Operation,
    id::{ServerId, ToolId},
    time::{Stamp, short},
};

/// Groups and routes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Routing {
    /// Groups of replicas.
    pub groups: Vec<Group>,
    /// Routes in order; the first match applies.
    pub routes: Vec<Route>,
}

/// A route: sends the calls of matching tools to another server or group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// The exposed names that the route matches.
    pub matches: Pattern,
    /// The servers and groups whose tools the route applies to; all if absent. A project's routes apply to its own
    /// servers only.
    #[serde(default)]
    pub only: Option<Vec<ServerId>>,
    /// The server or group that receives the calls. The tool's name on the server stays.
    pub to: ServerId,
}

/// A group of interchangeable servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its key in the configuration; distinct from all server keys.
    pub id: ServerId,
    /// Prefix of its tools' exposed names: the key if absent, no prefix if empty.
    pub namespace: Option<String>,
    /// The replicas, in order.
    pub members: Vec<Member>,
    /// How a replica is chosen for a call.
    pub strategy: Strategy,
    /// Whether the members' tools are also listed under their own names.
    pub members_listed: bool,
}

impl Group {
    /// Returns the prefix of exposed names.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(self.id.as_str())
    }

    /// Returns the weight of a member; 1 for another server.
    pub fn weight(&self, server: &ServerId) -> u32 {
        self.members.iter().find(|member| member.server == *server).map_or(1, |member| member.weight)
    }

    /// Ranks the candidates for a call, best first, as indices into `candidates`, with the decision. `rule` is the route that
    /// led to the group. `turn` counts the calls of the group; `random` returns uniform numbers from 0 to 1.
    pub fn choose(
        &self,
        rule: Option<String>,
        operation: &Operation,
        candidates: &[Candidate],
        (turn, random): (u64, &mut dyn FnMut() -> f64),
    ) -> (Vec<usize>, Decision) {
        let argument = match &self.strategy {
            Strategy::Sticky { argument } => operation.argument(argument),
            _ => None,
        };
        let order = rank(&self.strategy, candidates, turn, random, argument.as_deref());
        let decision = Decision::for_group(self, rule, candidates, &order, argument.as_deref());
        (order, decision)
    }
}

/// A replica of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The server.
    pub server: ServerId,
    /// Relative weight for [`Strategy::Weighted`]. A replica of weight zero gets calls only when no other can take
    /// them.
    pub weight: u32,
}

/// How a replica is chosen for a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "strategy", rename_all = "kebab-case")]
pub enum Strategy {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Uniformly random.
    Random,
    /// The replica with the fewest calls in flight.
    LeastInFlight,
    /// The faster of two random replicas, by peak-sensitive moving average of latency times calls in flight.
    LeastLatency,
    /// The first available replica in configured order.
    Primary,
    /// Random in proportion to the weights ("canary").
    Weighted,
    /// Calls with the same value of an argument go to the same replica (rendezvous hashing).
    Sticky {
        /// The name of the argument.
        argument: String,
    },
}

impl Strategy {
    /// Returns the name for users and for the configuration.
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

/// A replica with its state at the time of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The server.
    pub server: ServerId,
    /// Its weight.
    pub weight: u32,
    /// Why the replica cannot take the call now, for users: not ready, breaker open, does not list the tool.
    pub unfit: Option<String>,
    /// Attempts in flight.
    pub in_flight: u32,
    /// Moving average of its latency in seconds; `None` before the first response.
    pub latency: Option<f64>,
}

/// A routing decision with its reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The pattern of the route that matched.
    pub rule: Option<String>,
    /// The group that chose.
    pub group: Option<ServerId>,
    /// Name of the group's strategy.
    pub strategy: Option<String>,
    /// The servers to try, best first. Servers after the first are tried if nothing was sent to the ones before, or
    /// if the call may be repeated.
    pub order: Vec<ServerId>,
    /// Members that cannot take the call, with the reason.
    pub passed_over: Vec<(ServerId, String)>,
    /// Why the first server was chosen, for users.
    pub why: String,
}

/// Returns the server or group for calls of a tool, and the pattern of the route that decided: the first route that
/// matches the exposed name, else the tool's own server.
pub fn decide(routing: &Routing, exposed: &str, tool: &ToolId) -> (ServerId, Option<String>) {
    let applies = |route: &&Route| route.only.as_ref().is_none_or(|only| only.contains(&tool.server)) && route.matches.matches(exposed);
    match routing.routes.iter().find(applies) {
        Some(route) => (route.to.clone(), Some(route.matches.text().to_owned())),
        None => (tool.server.clone(), None),
    }
}

/// Ranks the replicas that can take a call, best first, as indices into `candidates`.
///
/// `turn` counts the calls of the group. `random` returns uniform numbers from 0 to 1. `argument` is the value of the
/// argument that [`Strategy::Sticky`] names, as JSON text; without one the replicas take turns.
pub fn rank(
    strategy: &Strategy,
    candidates: &[Candidate],
    turn: u64,
    random: &mut dyn FnMut() -> f64,
    argument: Option<&str>,
) -> Vec<usize> {
    let mut fit: Vec<usize> = (0..candidates.len()).filter(|i| candidates.get(*i).is_some_and(|c| c.unfit.is_none())).collect();
    if fit.len() < 2 {
        return fit;
    }
    let candidate = |i: &usize| candidates.get(*i);
    // The turn also breaks ties.
    let next = (turn % fit.len() as u64) as usize;
    match strategy {
        Strategy::Primary => {}
        Strategy::RoundRobin => fit.rotate_left(next),
        Strategy::Random => fit = weighted_shuffle(&fit, |_| 1.0, random),
        Strategy::Weighted => fit = weighted_shuffle(&fit, |i| candidate(i).map_or(0.0, |c| f64::from(c.weight)), random),
        Strategy::LeastInFlight => {
            fit.rotate_left(next);
            fit.sort_by_key(|i| candidate(i).map_or(0, |c| c.in_flight));
        }
        Strategy::LeastLatency => {
            // Compares two random replicas, not all: with outdated figures, all calls would go to the same replica.
            let mut shuffled = weighted_shuffle(&fit, |_| 1.0, random);
            let cost = |i: &usize| candidate(i).map_or(0.0, Candidate::cost);
            let (first, rest) = shuffled.split_at_mut(2);
            first.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
            if let Some(other) = first.get(1).copied() {
                rest.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
                let position = rest.iter().position(|i| cost(i) >= cost(&other)).unwrap_or(rest.len());
                shuffled.remove(1);
                shuffled.insert(1 + position, other);
            }
            fit = shuffled;
        }
        Strategy::Sticky { .. } => match argument {
            None => fit.rotate_left(next),
            Some(value) => fit.sort_by_cached_key(|i| std::cmp::Reverse(candidate(i).map(|c| rendezvous(value, &c.server)))),
        },
    }
    fit
}

/// Assumed latency, in seconds, candidate a replica without a measurement: it gets one call, and more once that has
/// returned.
const UNKNOWN: f64 = 1.0;

impl Candidate {
    /// Returns the expected cost of a call, in seconds: latency times calls in flight, including this one.
    pub fn cost(&self) -> f64 {
        match (self.latency, self.in_flight) {
            (None, 0) => 0.0,
            (latency, in_flight) => latency.unwrap_or(UNKNOWN) * (f64::from(in_flight) + 1.0),
        }
    }
}

/// Shuffles `fit` at random in proportion to the weights; replicas of weight zero come last.
fn weighted_shuffle(fit: &[usize], weight: impl Fn(&usize) -> f64, random: &mut dyn FnMut() -> f64) -> Vec<usize> {
    let mut left = fit.to_vec();
    let mut drawn = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let total: f64 = left.iter().map(&weight).sum();
        if total <= 0.0 {
            drawn.append(&mut left);
            break;
        }
        let mut mark = random().clamp(0.0, 1.0) * total;
        let crosses_zero = |i: &usize| {
            mark -= weight(i);
            mark < 0.0
        };
        // Rounding may leave the mark past the end: then the last replica with a weight is meant.
        let position = left.iter().position(crosses_zero).or_else(|| left.iter().rposition(|i| weight(i) > 0.0)).unwrap_or(0);
        drawn.push(left.remove(position));
    }
    drawn
}

/// Returns the rendezvous hash of a value for a server; the highest hash wins. When a server is added or removed,
/// only its own values move.
fn rendezvous(value: &str, server: &ServerId) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((value.len() as u64).to_be_bytes());
    hash.update(value);
    hash.update(server.as_str());
    hash.finalize().into()
}

impl Decision {
    /// Creates the decision of a group from a ranking by [`rank`].
    pub fn for_group(group: &Group, rule: Option<String>, candidates: &[Candidate], order: &[usize], argument: Option<&str>) -> Decision {
        let passed_over: Vec<(ServerId, String)> = candidates.iter().filter_map(|c| Some((c.server.clone(), c.unfit.clone()?))).collect();
        let ordered: Vec<&Candidate> = order.iter().filter_map(|i| candidates.get(*i)).collect();
        Decision {
            rule,
            group: Some(group.id.clone()),
            strategy: Some(group.strategy.word().to_owned()),
            order: ordered.iter().map(|c| c.server.clone()).collect(),
            why: why(&group.strategy, &ordered, passed_over.len(), argument),
            passed_over,
        }
    }

    /// Creates the decision for one server, by the route `rule` if there is one.
    pub fn for_server(server: ServerId, rule: Option<String>) -> Decision {
        let why = match &rule {
            Some(rule) => format!("route {rule}"),
            None => "the tool's own server, no route matches".to_owned(),
        };
        Decision { rule, order: vec![server], why, ..Decision::default() }
    }
}

/// Describes why the first of `ordered` comes first.
fn why(strategy: &Strategy, ordered: &[&Candidate], passed_over: usize, argument: Option<&str>) -> String {
    let Some(first) = ordered.first() else {
        return if passed_over == 0 { "the group has no members".into() } else { "no member is available".into() };
    };
    if ordered.len() == 1 {
        return if passed_over == 0 { "the only member".into() } else { "the only available member".into() };
    }
    match strategy {
        Strategy::RoundRobin => "next in turn".into(),
        Strategy::Random => "random".into(),
        Strategy::LeastInFlight => format!("fewest calls in flight: {}", first.in_flight),
        Strategy::LeastLatency => match first.latency {
            Some(latency) => {
                let latency = std::time::Duration::try_from_secs_f64(latency).unwrap_or_default();
                format!("faster of two: {}, {} in flight", short(latency), first.in_flight)
            }
            None => "latency not known yet".into(),
        },
        Strategy::Primary if passed_over == 0 => "first in order".into(),
        Strategy::Primary => "first available in order".into(),
        Strategy::Weighted => {
            let total: u64 = ordered.iter().map(|c| u64::from(c.weight)).sum();
            format!("random, weight {} of {total}", first.weight)
        }
        Strategy::Sticky { argument: name } => match argument {
            Some(_) => format!("sticky by {name}"),
            None => format!("next in turn, the call has no {name}"),
        },
    }
}

/// Time constant, in seconds, after which about a third of a latency peak is left.
const DECAY: f64 = 10.0;

/// A moving average of latency that follows a rise immediately and decays slowly ("peak EWMA").
///
/// It also decays without observations, so that a replica that was slow once is tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PeakEwma {
    seconds: Option<f64>,
    at: Stamp,
}

impl PeakEwma {
    /// Records the latency of a call that ended at `now`, in seconds.
    pub fn observe(&mut self, seconds: f64, now: Stamp) {
        if !seconds.is_finite() || seconds < 0.0 {
            return;
        }
        let remaining = (-now.since(self.at).as_secs_f64() / DECAY).exp();
        self.seconds = Some(match self.seconds {
            Some(known) if known > seconds => known * remaining + seconds * (1.0 - remaining),
            _ => seconds,
        });
        self.at = now;
    }

    /// Returns the average of an earlier process, whose value was `seconds` at `age` before `now`.
    pub fn restored(seconds: f64, age: std::time::Duration, now: Stamp) -> PeakEwma {
        let seconds = seconds * (-age.as_secs_f64() / DECAY).exp();
        PeakEwma { seconds: Some(seconds).filter(|seconds| seconds.is_finite() && *seconds >= 0.0), at: now }
    }

    /// Returns the latency in seconds as of `now`; `None` before the first observation.
    pub fn value(&self, now: Stamp) -> Option<f64> {
        Some(self.seconds? * (-now.since(self.at).as_secs_f64() / DECAY).exp())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn candidates(names: &[&str]) -> Vec<Candidate> {
        let candidate = |name: &&str| Candidate { server: ServerId::from(*name), weight: 1, unfit: None, in_flight: 0, latency: None };
        names.iter().map(candidate).collect()
    }

    fn names(candidates: &[Candidate], order: &[usize]) -> String {
        order.iter().map(|i| candidates[*i].server.as_str()).collect::<Vec<_>>().join("")
    }

    /// Counts how often each replica came first in `calls` calls.
    fn firsts(strategy: &Strategy, candidates: &[Candidate], calls: u64) -> BTreeMap<String, u64> {
        let mut random = fastrand::Rng::with_seed(1);
        let mut count = BTreeMap::new();
        for turn in 0..calls {
            let order = rank(strategy, candidates, turn, &mut || random.f64(), None);
            assert_eq!(order.iter().collect::<std::collections::BTreeSet<_>>().len(), order.len(), "no replica twice");
            *count.entry(names(candidates, &order[..1])).or_insert(0) += 1;
        }
        count
    }

    #[test]
    fn the_first_matching_route_decides_else_the_tools_own_server() {
        let route = |pattern: &str, to: &str| Route { matches: Pattern::parse(pattern).unwrap(), only: None, to: to.into() };
        let foreign = Route { only: Some(vec!["project".into()]), ..route("*", "evil") };
        let routing = Routing { groups: vec![], routes: vec![foreign, route("db_drop", "a"), route("db_*", "b"), route("db_x", "c")] };
        let tool = ToolId::new("db".into(), "x");
        assert_eq!(decide(&routing, "db_x", &tool), ("b".into(), Some("db_*".into())));
        assert_eq!(decide(&routing, "db_drop", &tool), ("a".into(), Some("db_drop".into())));
        assert_eq!(decide(&routing, "mail_x", &tool), ("db".into(), None));
    }

    #[test]
    fn strategies_distribute_calls_as_documented() {
        let mut three = candidates(&["a", "b", "c"]);
        assert_eq!(firsts(&Strategy::RoundRobin, &three, 30), [("a".into(), 10), ("b".into(), 10), ("c".into(), 10)].into());
        assert_eq!(firsts(&Strategy::Primary, &three, 30), [("a".into(), 30)].into());
        assert!(firsts(&Strategy::Random, &three, 3000).values().all(|count| (900..1100).contains(count)));
        three[0].weight = 0;
        three[1].weight = 9;
        let weighted = firsts(&Strategy::Weighted, &three, 1000);
        assert!((860..940).contains(&weighted["b"]) && !weighted.contains_key("a"), "{weighted:?}");
        three[1].in_flight = 2;
        three[2].in_flight = 1;
        three[0].in_flight = 1;
        let least = firsts(&Strategy::LeastInFlight, &three, 30);
        assert_eq!(least.keys().cloned().collect::<String>(), "ac", "ties alternate: {least:?}");
    }

    #[test]
    fn unavailable_members_are_passed_over_with_the_reason() {
        let mut three = candidates(&["a", "b", "c"]);
        three[0].unfit = Some("breaker open".into());
        assert_eq!(names(&three, &rank(&Strategy::Primary, &three, 0, &mut || 0.5, None)), "bc");
        assert_eq!(firsts(&Strategy::RoundRobin, &three, 30), [("b".into(), 15), ("c".into(), 15)].into());
        let group = Group { id: "g".into(), namespace: None, members: vec![], strategy: Strategy::Primary, members_listed: false };
        let decision = Decision::for_group(&group, None, &three, &[1, 2], None);
        assert_eq!(decision.passed_over, [("a".into(), "breaker open".to_owned())]);
        assert_eq!(decision.why, "first available in order");
        for candidate in &mut three {
            candidate.unfit = Some("not ready".into());
        }
        assert!(rank(&Strategy::Weighted, &three, 0, &mut || 0.5, None).is_empty());
        assert_eq!(Decision::for_group(&group, None, &three, &[], None).why, "no member is available");
    }

    #[test]
    fn the_slower_of_two_gets_no_calls_and_an_unmeasured_one_is_tried() {
        let mut three = candidates(&["a", "b", "c"]);
        for (candidate, latency) in three.iter_mut().zip([0.01, 0.5, 0.02]) {
            candidate.latency = Some(latency);
        }
        let quick = firsts(&Strategy::LeastLatency, &three, 300);
        assert!(!quick.contains_key("b") && quick["a"] > quick["c"], "{quick:?}");
        three[1].latency = None;
        assert!(firsts(&Strategy::LeastLatency, &three, 300).contains_key("b"));
        three[1].in_flight = 1;
        assert!(!firsts(&Strategy::LeastLatency, &three, 300).contains_key("b"), "but only once until it responds");
    }

    #[test]
    fn a_value_sticks_and_only_values_of_a_lost_replica_move() {
        let sticky = Strategy::Sticky { argument: "user".into() };
        let mut four = candidates(&["a", "b", "c", "d"]);
        let home =
            |four: &[Candidate], value: u32, turn| names(four, &rank(&sticky, four, turn, &mut || 0.5, Some(&value.to_string()))[..1]);
        let before: Vec<String> = (0..400).map(|value| home(&four, value, 1)).collect();
        assert!(["a", "b", "c", "d"].iter().all(|name| before.iter().filter(|home| home == name).count() > 60));
        four[2].unfit = Some("breaker open".into());
        for (value, before) in (0..400).zip(before) {
            assert!(before == "c" || home(&four, value, 2) == before);
        }
        assert_eq!(names(&four, &rank(&sticky, &four, 1, &mut || 0.5, None)), "bda", "without the argument they take turns");
    }

    #[test]
    fn a_peak_counts_immediately_and_decays() {
        let at = |s: u64| Stamp(s * 1_000_000_000);
        let mut latency = PeakEwma::default();
        assert_eq!(latency.value(at(0)), None);
        latency.observe(0.1, at(1));
        latency.observe(2.0, at(2));
        assert_eq!(latency.value(at(2)), Some(2.0));
        latency.observe(0.1, at(3));
        assert!(latency.value(at(3)).unwrap() > 1.5);
        assert!(latency.value(at(43)).unwrap() < 0.05, "tried again after a while");
        latency.observe(f64::NAN, at(44));
        assert!(latency.value(at(44)).unwrap().is_finite());
    }
}
