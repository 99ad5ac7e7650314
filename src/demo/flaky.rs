//! The `flaky` server: payments that fail on demand, in every way a server can fail.

use std::{io::Write, time::Duration};

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use rmcp::ErrorData;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    handler::{Backend, Call, Done, Fault},
    store::Store,
};

/// What mode `garbage` writes where a JSON-RPC message belongs: a stray log line, as real servers do it.
const GARBAGE: &[u8] = b"[payments] DEBUG gateway said: {status: NaN, retry: yes\n";

/// The server. Its behaviour is configured in memory: a restart resets it.
pub(super) struct Flaky {
    store: Store,
    state: Mutex<State>,
    stdout: Mutex<Box<dyn Write + Send>>,
    crash: CancellationToken,
}

impl Flaky {
    /// A server that writes garbage to `stdout` and ends the process by cancelling `crash`.
    pub fn new(store: Store, stdout: Box<dyn Write + Send>, crash: CancellationToken) -> Flaky {
        let state = State { rng: fastrand::Rng::new(), behaviour: Behaviour::START, calls: 0, failed: 0 };
        Flaky { store, state: Mutex::new(state), stdout: Mutex::new(stdout), crash }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Waits for the configured latency, then returns the failure mode of this call, if any.
    async fn wait(&self, call: &Call<'_>) -> Result<Option<Mode>, Fault> {
        let (latency, fate) = self.state().next();
        tokio::select! {
            () = tokio::time::sleep(latency) => Ok(fate),
            () = call.cancelled() => Err(Fault::Refused("Cancelled before anything was done.".into())),
        }
    }

    /// Fails in the given way. Only tool and internal errors return.
    async fn fail(&self, mode: Mode, call: &Call<'_>) -> Fault {
        call.log("error", "payments", json!({"message": "failing on purpose", "mode": mode})).await;
        match mode {
            Mode::ToolError => return Fault::Refused("The bank declined the payment (on purpose: mode tool_error).".into()),
            Mode::InternalError => return Fault::Rpc(ErrorData::internal_error("database is locked", None)),
            Mode::Crash => self.crash.cancel(),
            Mode::Garbage => {
                let mut stdout = self.stdout.lock();
                // A closed stdout means that the client is gone; the process ends with its stdin.
                let _ = stdout.write_all(GARBAGE).and_then(|()| stdout.flush());
            }
            Mode::Hang => {}
        }
        call.cancelled().await;
        Fault::Refused("Cancelled.".into())
    }
}

#[async_trait]
impl Backend for Flaky {
    async fn call(&self, tool: &str, arguments: Value, call: &Call<'_>) -> Result<Done, Fault> {
        match tool {
            "configure" => {
                let change: Change = serde_json::from_value(arguments)?;
                self.state().behaviour.change(&change);
                Done::data(self.state().report())
            }
            "status" => Done::data(self.state().report()),
            "quote" => {
                let ask: Quote = serde_json::from_value(arguments)?;
                match self.wait(call).await? {
                    Some(mode) => Err(self.fail(mode, call).await),
                    None => Ok(Done::Data(quote(&ask))),
                }
            }
            "charge" => {
                let ask: Charge = serde_json::from_value(arguments)?;
                match self.wait(call).await? {
                    Some(mode) => {
                        if mode.too_late() {
                            self.store.with(|db| charge(db, &ask))?;
                        }
                        Err(self.fail(mode, call).await)
                    }
                    None => self.store.with(|db| charge(db, &ask)).map(Done::Data),
                }
            }
            _ => Err(Fault::Refused(format!("{tool} is listed but not built"))),
        }
    }
}

/// A way of failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    ToolError,
    InternalError,
    Hang,
    Crash,
    Garbage,
}

impl Mode {
    /// Returns whether the work is done before the failure, as when a real server dies between commit and response.
    fn too_late(self) -> bool {
        matches!(self, Mode::Hang | Mode::Crash | Mode::Garbage)
    }
}

/// How `charge` and `quote` behave.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Behaviour {
    mode: Mode,
    failure_rate: f64,
    latency_ms: (u64, u64),
}

impl Behaviour {
    /// Mildly flaky.
    const START: Behaviour = Behaviour { mode: Mode::InternalError, failure_rate: 0.1, latency_ms: (50, 400) };

    fn change(&mut self, change: &Change) {
        if let Some(latency) = change.latency_ms {
            self.latency_ms = (latency, latency);
        }
        if let Some(mode) = change.mode {
            self.mode = mode;
            // A requested crash happens at the next call.
            self.failure_rate = 1.0;
        }
        if let Some(rate) = change.failure_rate {
            self.failure_rate = rate;
        }
    }
}

struct State {
    rng: fastrand::Rng,
    behaviour: Behaviour,
    calls: u64,
    failed: u64,
}

impl State {
    /// Returns the latency and the failure mode of the next call.
    fn next(&mut self) -> (Duration, Option<Mode>) {
        let Behaviour { mode, failure_rate, latency_ms: (min, max) } = self.behaviour;
        let fails = self.rng.f64() < failure_rate;
        self.calls += 1;
        self.failed += u64::from(fails);
        (Duration::from_millis(self.rng.u64(min..=max)), fails.then_some(mode))
    }

    fn report(&self) -> Value {
        let Behaviour { mode, failure_rate, latency_ms: (min, max) } = self.behaviour;
        json!({
            "mode": mode, "failure_rate": failure_rate, "latency_ms": {"min": min, "max": max},
            "calls": self.calls, "failed": self.failed, "pid": std::process::id(),
        })
    }
}

#[derive(Deserialize)]
struct Change {
    latency_ms: Option<u64>,
    failure_rate: Option<f64>,
    mode: Option<Mode>,
}

#[derive(Deserialize)]
struct Charge {
    amount: f64,
    #[serde(default = "euro")]
    currency: String,
    reference: Option<String>,
}

#[derive(Deserialize)]
struct Quote {
    amount: f64,
    #[serde(default = "euro")]
    currency: String,
    #[serde(default = "dollar")]
    to: String,
}

fn euro() -> String {
    "EUR".into()
}

fn dollar() -> String {
    "USD".into()
}

fn charge(db: &Connection, ask: &Charge) -> Result<Value, Fault> {
    let cents = (ask.amount * 100.0).round() as i64;
    if cents == 0 {
        return Err(Fault::Refused("The amount is less than a cent.".into()));
    }
    db.execute("INSERT INTO charges (cents, currency, reference) VALUES (?1, ?2, ?3)", params![cents, ask.currency, ask.reference])?;
    let id = db.last_insert_rowid();
    let charges: i64 = db.query_row("SELECT count(*) FROM charges", [], |row| row.get(0))?;
    Ok(json!({
        "chargeId": format!("c_{id}"), "amount": cents as f64 / 100.0, "currency": ask.currency, "status": "booked", "charges": charges,
    }))
}

fn quote(ask: &Quote) -> Value {
    let in_euro = |currency: &str| match currency {
        "USD" => 0.92,
        "GBP" => 1.17,
        _ => 1.0,
    };
    let rate = in_euro(&ask.currency) / in_euro(&ask.to);
    json!({"amount": (ask.amount * rate * 100.0).round() / 100.0, "currency": ask.to, "rate": (rate * 1e4).round() / 1e4})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(value: Value) -> Change {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_mode_without_a_rate_fails_always_and_the_rest_stays() {
        let mut behaviour = Behaviour::START;
        behaviour.change(&change(json!({"mode": "crash"})));
        assert_eq!(behaviour, Behaviour { mode: Mode::Crash, failure_rate: 1.0, latency_ms: (50, 400) });
        behaviour.change(&change(json!({"mode": "hang", "failure_rate": 0.25, "latency_ms": 0})));
        assert_eq!(behaviour, Behaviour { mode: Mode::Hang, failure_rate: 0.25, latency_ms: (0, 0) });
    }

    #[test]
    fn fates_follow_the_rate_and_latencies_the_range() {
        let mut state = State { rng: fastrand::Rng::with_seed(7), behaviour: Behaviour::START, calls: 0, failed: 0 };
        for _ in 0..1000 {
            let (latency, _) = state.next();
            assert!((50..=400).contains(&latency.as_millis()), "{latency:?}");
        }
        assert!((50..200).contains(&state.failed), "{}", state.failed);
        state.behaviour.change(&change(json!({"failure_rate": 0})));
        assert!((0..100).all(|_| state.next().1.is_none()));
        state.behaviour.change(&change(json!({"failure_rate": 1, "mode": "garbage"})));
        assert!((0..100).all(|_| state.next().1 == Some(Mode::Garbage)));
        assert_eq!(state.report()["calls"], 1200);
    }

    #[test]
    fn charges_are_booked_in_cents_and_quotes_are_symmetric() {
        let dir = tempfile::tempdir().unwrap();
        Store::new(dir.path())
            .with(|db| {
                let booked = charge(db, &Charge { amount: 19.999, currency: "EUR".into(), reference: None })?;
                assert_eq!((&booked["amount"], &booked["charges"]), (&json!(20.0), &json!(1)));
                assert!(matches!(charge(db, &Charge { amount: 0.001, currency: "EUR".into(), reference: None }), Err(Fault::Refused(_))));
                Ok::<_, Fault>(())
            })
            .unwrap();
        let to = |from: &str, to: &str| quote(&Quote { amount: 100.0, currency: from.into(), to: to.into() });
        assert_eq!(to("EUR", "EUR")["amount"], 100.0);
        assert_eq!(to("USD", "EUR")["amount"], 92.0);
    }
}
