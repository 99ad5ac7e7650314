//! Groups of replicas, and which of them a call goes to.
//!
//! A group stands beside servers: its id is a [`ServerId`] that no server has, and its tools have exposed
//! names of their own. A call of a tool of a group goes to one of its members.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::pattern::Pattern;
use crate::domain::{
    id::{ServerId, ToolId},
    time::{Stamp, short},
};

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
    /// The servers (and groups) whose tools it is for; all when absent. A project's routes are for its own.
    #[serde(default)]
    pub only: Option<Vec<ServerId>>,
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

/// The server or group that the calls of a tool go to, and the pattern of the route that says so: the first route that
/// matches the exposed name, else where the tool stands.
pub fn decide(routing: &Routing, exposed: &str, tool: &ToolId) -> (ServerId, Option<String>) {
    let meant = |route: &&Route| route.only.as_ref().is_none_or(|only| only.contains(&tool.server)) && route.matches.matches(exposed);
    match routing.routes.iter().find(meant) {
        Some(route) => (route.to.clone(), Some(route.matches.text().to_owned())),
        None => (tool.server.clone(), None),
    }
}

/// The replicas that can take a call, best first, as places in `candidates`.
///
/// `turn` counts the calls of the group; `random` gives evenly spread numbers from 0 to 1; `argument` is the value of the
/// argument that [`Strategy::Sticky`] names, as JSON text (without one, it is the next one's turn).
pub fn order(
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
    let of = |i: &usize| candidates.get(*i);
    // Whose turn it is also decides between equals.
    let next = (turn % fit.len() as u64) as usize;
    match strategy {
        Strategy::Primary => {}
        Strategy::RoundRobin => fit.rotate_left(next),
        Strategy::Random => fit = draw(&fit, |_| 1.0, random),
        Strategy::Weighted => fit = draw(&fit, |i| of(i).map_or(0.0, |c| f64::from(c.weight)), random),
        Strategy::LeastInFlight => {
            fit.rotate_left(next);
            fit.sort_by_key(|i| of(i).map_or(0, |c| c.in_flight));
        }
        Strategy::LeastLatency => {
            // Of two by chance, not of all: a stale figure would draw every call to the same replica.
            let mut by_chance = draw(&fit, |_| 1.0, random);
            let cost = |i: &usize| of(i).map_or(0.0, Candidate::cost);
            let (first, rest) = by_chance.split_at_mut(2);
            first.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
            if let Some(other) = first.get(1).copied() {
                rest.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
                let place = rest.iter().position(|i| cost(i) >= cost(&other)).unwrap_or(rest.len());
                by_chance.remove(1);
                by_chance.insert(1 + place, other);
            }
            fit = by_chance;
        }
        Strategy::Sticky { .. } => match argument {
            None => fit.rotate_left(next),
            Some(value) => fit.sort_by_cached_key(|i| std::cmp::Reverse(of(i).map(|c| rendezvous(value, &c.server)))),
        },
    }
    fit
}

/// A call's cost at a replica nobody knows the latency of, in seconds: it gets one call, and others once that is back.
const UNKNOWN: f64 = 1.0;

impl Candidate {
    /// What a call costs there, in seconds: latency times calls in flight, this one included.
    pub fn cost(&self) -> f64 {
        match (self.latency, self.in_flight) {
            (None, 0) => 0.0,
            (latency, in_flight) => latency.unwrap_or(UNKNOWN) * (f64::from(in_flight) + 1.0),
        }
    }
}

/// All of `fit` in an order drawn by chance, in proportion to their weights; those without weight at the end.
fn draw(fit: &[usize], weight: impl Fn(&usize) -> f64, random: &mut dyn FnMut() -> f64) -> Vec<usize> {
    let mut left = fit.to_vec();
    let mut drawn = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let total: f64 = left.iter().map(&weight).sum();
        if total <= 0.0 {
            drawn.append(&mut left);
            break;
        }
        let mut mark = random().clamp(0.0, 1.0) * total;
        let hit = |i: &usize| {
            mark -= weight(i);
            mark < 0.0
        };
        // Rounding may leave the mark at the very end: then it is the last that has weight.
        let place = left.iter().position(hit).or_else(|| left.iter().rposition(|i| weight(i) > 0.0)).unwrap_or(0);
        drawn.push(left.remove(place));
    }
    drawn
}

/// How near a value is to a server: the nearest takes it. When a server comes or goes, only its own values move.
fn rendezvous(value: &str, server: &ServerId) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((value.len() as u64).to_be_bytes());
    hash.update(value);
    hash.update(server.as_str());
    hash.finalize().into()
}

impl Decision {
    /// The decision of a group, with `order` as [`order`] gave it.
    pub fn of_group(group: &Group, rule: Option<String>, candidates: &[Candidate], order: &[usize], argument: Option<&str>) -> Decision {
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

    /// The decision for one server, when a route (`rule`) leads to it or nothing else is said.
    pub fn of_server(server: ServerId, rule: Option<String>) -> Decision {
        let why = match &rule {
            Some(rule) => format!("the route {rule} leads there"),
            None => "the tool stands there, and no route matches it".to_owned(),
        };
        Decision { rule, order: vec![server], why, ..Decision::default() }
    }
}

/// Why the first of `ordered` comes first.
fn why(strategy: &Strategy, ordered: &[&Candidate], passed_over: usize, argument: Option<&str>) -> String {
    let Some(first) = ordered.first() else {
        return if passed_over == 0 { "the group has no members".into() } else { "no member can take it".into() };
    };
    if ordered.len() == 1 {
        return if passed_over == 0 { "the only member".into() } else { "the only member that can take it".into() };
    }
    match strategy {
        Strategy::RoundRobin => "its turn".into(),
        Strategy::Random => "by chance".into(),
        Strategy::LeastInFlight => format!("fewest calls in flight: {}", first.in_flight),
        Strategy::LeastLatency => match first.latency {
            Some(latency) => {
                let latency = std::time::Duration::try_from_secs_f64(latency).unwrap_or_default();
                format!("quicker of two: {}, {} in flight", short(latency), first.in_flight)
            }
            None => "its latency is not known yet".into(),
        },
        Strategy::Primary if passed_over == 0 => "first in the order".into(),
        Strategy::Primary => "first in the order that can take it".into(),
        Strategy::Weighted => {
            let total: u64 = ordered.iter().map(|c| u64::from(c.weight)).sum();
            format!("by chance, weight {} of {total}", first.weight)
        }
        Strategy::Sticky { argument: name } => match argument {
            Some(_) => format!("{name} has this value"),
            None => format!("its turn, the call has no {name}"),
        },
    }
}

/// How fast a replica's latency is forgotten: after this time about a third is left.
const DECAY: f64 = 10.0;

/// A moving average of latency that follows a rise at once and forgets it slowly ("peak EWMA").
///
/// It also fades while nothing is observed, so that a replica that was slow once is asked again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PeakEwma {
    seconds: Option<f64>,
    at: Stamp,
}

impl PeakEwma {
    /// Takes in the latency of a call that ended at `now`, in seconds.
    pub fn observe(&mut self, seconds: f64, now: Stamp) {
        if !seconds.is_finite() || seconds < 0.0 {
            return;
        }
        let kept = (-now.since(self.at).as_secs_f64() / DECAY).exp();
        self.seconds = Some(match self.seconds {
            Some(known) if known > seconds => known * kept + seconds * (1.0 - kept),
            _ => seconds,
        });
        self.at = now;
    }

    /// The latency in seconds as of `now`; `None` before the first observation.
    pub fn value(&self, now: Stamp) -> Option<f64> {
        Some(self.seconds? * (-now.since(self.at).as_secs_f64() / DECAY).exp())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn candidates(names: &[&str]) -> Vec<Candidate> {
        let of = |name: &&str| Candidate { server: ServerId::from(*name), weight: 1, unfit: None, in_flight: 0, latency: None };
        names.iter().map(of).collect()
    }

    fn names(candidates: &[Candidate], order: &[usize]) -> String {
        order.iter().map(|i| candidates[*i].server.as_str()).collect::<Vec<_>>().join("")
    }

    /// How often each came first in `calls` calls.
    fn firsts(strategy: &Strategy, candidates: &[Candidate], calls: u64) -> BTreeMap<String, u64> {
        let mut random = fastrand::Rng::with_seed(1);
        let mut count = BTreeMap::new();
        for turn in 0..calls {
            let order = order(strategy, candidates, turn, &mut || random.f64(), None);
            assert_eq!(order.iter().collect::<std::collections::BTreeSet<_>>().len(), order.len(), "nobody twice");
            *count.entry(names(candidates, &order[..1])).or_insert(0) += 1;
        }
        count
    }

    #[test]
    fn routes_are_taken_in_order_and_else_the_tool_stays() {
        let route = |pattern: &str, to: &str| Route { matches: Pattern::parse(pattern).unwrap(), only: None, to: to.into() };
        let foreign = Route { only: Some(vec!["project".into()]), ..route("*", "evil") };
        let routing = Routing { groups: vec![], routes: vec![foreign, route("db_drop", "a"), route("db_*", "b"), route("db_x", "c")] };
        let tool = ToolId::new("db".into(), "x");
        assert_eq!(decide(&routing, "db_x", &tool), ("b".into(), Some("db_*".into())));
        assert_eq!(decide(&routing, "db_drop", &tool), ("a".into(), Some("db_drop".into())));
        assert_eq!(decide(&routing, "mail_x", &tool), ("db".into(), None));
    }

    #[test]
    fn strategies_share_calls_as_they_say() {
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
        assert_eq!(least.keys().cloned().collect::<String>(), "ac", "equals share: {least:?}");
    }

    #[test]
    fn who_cannot_take_it_is_passed_over_and_said() {
        let mut three = candidates(&["a", "b", "c"]);
        three[0].unfit = Some("breaker open".into());
        assert_eq!(names(&three, &order(&Strategy::Primary, &three, 0, &mut || 0.5, None)), "bc");
        assert_eq!(firsts(&Strategy::RoundRobin, &three, 30), [("b".into(), 15), ("c".into(), 15)].into());
        let group = Group { id: "g".into(), namespace: None, members: vec![], strategy: Strategy::Primary, members_listed: false };
        let decision = Decision::of_group(&group, None, &three, &[1, 2], None);
        assert_eq!(decision.passed_over, [("a".into(), "breaker open".to_owned())]);
        assert_eq!(decision.why, "first in the order that can take it");
        for candidate in &mut three {
            candidate.unfit = Some("not ready".into());
        }
        assert!(order(&Strategy::Weighted, &three, 0, &mut || 0.5, None).is_empty());
        assert_eq!(Decision::of_group(&group, None, &three, &[], None).why, "no member can take it");
    }

    #[test]
    fn the_slow_one_of_two_gets_no_calls_and_the_unknown_one_is_tried() {
        let mut three = candidates(&["a", "b", "c"]);
        for (candidate, latency) in three.iter_mut().zip([0.01, 0.5, 0.02]) {
            candidate.latency = Some(latency);
        }
        let quick = firsts(&Strategy::LeastLatency, &three, 300);
        assert!(!quick.contains_key("b") && quick["a"] > quick["c"], "{quick:?}");
        three[1].latency = None;
        assert!(firsts(&Strategy::LeastLatency, &three, 300).contains_key("b"));
        three[1].in_flight = 1;
        assert!(!firsts(&Strategy::LeastLatency, &three, 300).contains_key("b"), "but only once until it answered");
    }

    #[test]
    fn a_value_sticks_and_only_those_of_a_lost_replica_move() {
        let sticky = Strategy::Sticky { argument: "user".into() };
        let mut four = candidates(&["a", "b", "c", "d"]);
        let home =
            |four: &[Candidate], value: u32, turn| names(four, &order(&sticky, four, turn, &mut || 0.5, Some(&value.to_string()))[..1]);
        let before: Vec<String> = (0..400).map(|value| home(&four, value, 1)).collect();
        assert!(["a", "b", "c", "d"].iter().all(|name| before.iter().filter(|home| home == name).count() > 60));
        four[2].unfit = Some("breaker open".into());
        for (value, before) in (0..400).zip(before) {
            assert!(before == "c" || home(&four, value, 2) == before);
        }
        assert_eq!(names(&four, &order(&sticky, &four, 1, &mut || 0.5, None)), "bda", "without the argument it goes round");
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let at = |s: u64| Stamp(s * 1_000_000_000);
        let mut latency = PeakEwma::default();
        assert_eq!(latency.value(at(0)), None);
        latency.observe(0.1, at(1));
        latency.observe(2.0, at(2));
        assert_eq!(latency.value(at(2)), Some(2.0));
        latency.observe(0.1, at(3));
        assert!(latency.value(at(3)).unwrap() > 1.5);
        assert!(latency.value(at(43)).unwrap() < 0.05, "asked again after a while");
        latency.observe(f64::NAN, at(44));
        assert!(latency.value(at(44)).unwrap().is_finite());
    }
}
