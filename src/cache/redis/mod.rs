//! The Redis store of the response cache, shared with other processes and machines.
//!
//! Owns the connection. Never fails a call and never delays one by more than `timeout`: a late response is a miss, and then
//! Redis is not used for `retry_interval`. One task maintains the connection and detects when Redis is back, so that no call
//! has to try.

mod address;
mod link;
mod value;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use redis::{ErrorKind, RedisError, RedisResult};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use self::{
    address::{Mask, Place, Target},
    link::Link,
};
use crate::{
    domain::{
        policy::{
            cache::{self, CacheSettings, CachedResponse},
            pattern::Pattern,
        },
        text, time,
    },
    engine::ports::ResponseCache,
};

/// How long connecting may take. No call waits for that long.
const CONNECT_MOST: Duration = Duration::from_secs(5);
/// How long a purge may take.
const PURGE_MOST: Duration = Duration::from_secs(10);
/// Maximum lifetime of an entry.
const LASTS_MOST: Duration = Duration::from_secs(365 * 24 * 3600);
/// Longest text of an error of Redis that is shown, in characters.
const WHY_MOST: usize = 200;

/// Keeps answers in Redis.
pub struct Redis {
    /// What our keys begin with, colon included.
    prefix: String,
    wait: Duration,
    common: Arc<Common>,
    _keeper: AbortOnDropHandle<()>,
}

/// The state of the connection to Redis.
#[derive(Clone)]
enum State {
    /// A connection is being made, for the first time or after one was lost.
    Opening,
    /// It answers, over the connection of this number.
    Up(Link, u64),
    /// It does not, for this reason. No call asks.
    Down(Arc<str>),
}

/// What calls and the keeper share.
struct Common {
    state: watch::Sender<State>,
    changed: watch::Sender<()>,
    shown: String,
    mask: Mask,
    wait: Duration,
    retry_interval: Duration,
    foreign: AtomicU64,
}

/// The result of a request to Redis.
enum Asked<T> {
    Answer(T),
    /// The connection was lost; another one is on its way.
    Lost,
    Nothing,
}

impl Redis {
    /// Understands the settings and begins to connect, in the background. Must be called within a runtime.
    pub fn open(settings: &CacheSettings) -> Result<Redis, String> {
        // Any connection with TLS has the same provider; the first one to ask for it installs it.
        let _ = rustls::crypto::CryptoProvider::install_default(rustls::crypto::ring::default_provider());
        let Place { target, shown, mask } = address::read(&settings.redis)?;
        let common = Arc::new(Common {
            state: watch::Sender::new(State::Opening),
            changed: watch::Sender::new(()),
            shown,
            mask,
            wait: settings.timeout,
            retry_interval: settings.retry_interval,
            foreign: AtomicU64::new(0),
        });
        let prefix = format!("{}:", settings.prefix);
        let keeper = tokio::spawn(keep(common.clone(), target, format!("{prefix}alive")));
        Ok(Redis { prefix, wait: settings.timeout, common, _keeper: AbortOnDropHandle::new(keeper) })
    }

    /// How many values under our keys were none of ours, or not whole.
    pub fn foreign(&self) -> u64 {
        self.common.foreign.load(Ordering::Relaxed)
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Makes a request within the time that a call can spare. Repeats it once if the connection turns out to be lost, as an
    /// idle one may be.
    async fn ask<T, F: Future<Output = RedisResult<T>>>(&self, question: impl Fn(Link) -> F) -> Option<T> {
        let deadline = Instant::now() + self.wait;
        for _ in 0..2 {
            match self.ask_once(deadline, &question).await {
                Asked::Answer(answer) => return Some(answer),
                Asked::Lost => {}
                Asked::Nothing => return None,
            }
        }
        None
    }

    async fn ask_once<T, F: Future<Output = RedisResult<T>>>(&self, deadline: Instant, question: impl Fn(Link) -> F) -> Asked<T> {
        let Some((link, number)) = self.link(deadline).await else { return Asked::Nothing };
        match timeout_at(deadline, question(link)).await {
            Ok(Ok(answer)) => Asked::Answer(answer),
            Ok(Err(error)) if link::of_another_type(&error) => {
                self.common.foreign.fetch_add(1, Ordering::Relaxed);
                Asked::Nothing
            }
            Ok(Err(error)) if error.is_connection_dropped() || error.is_io_error() => {
                self.common.lost(number);
                Asked::Lost
            }
            Ok(Err(error)) => {
                self.common.fell(number, &self.common.describe(&error));
                Asked::Nothing
            }
            Err(_) => {
                self.common.fell(number, &self.common.late());
                Asked::Nothing
            }
        }
    }

    /// The connection and its number, if there is one in time.
    async fn link(&self, deadline: Instant) -> Option<(Link, u64)> {
        let mut state = self.common.state.subscribe();
        let settled = timeout_at(deadline, state.wait_for(|state| !matches!(state, State::Opening))).await;
        match settled {
            Ok(Ok(state)) => match &*state {
                State::Up(link, number) => Some((link.clone(), *number)),
                _ => None,
            },
            Ok(Err(_)) => None,
            Err(_) => {
                self.common.unreached();
                None
            }
        }
    }
}

impl Common {
    fn set(&self, state: State) {
        self.change(|_| Some(state));
    }

    /// Changes the state and tells those who show it.
    fn change(&self, change: impl FnOnce(&State) -> Option<State>) {
        let why = |state: &State| if let State::Down(why) = state { Some(why.clone()) } else { None };
        let mut told = false;
        self.state.send_if_modified(|state| {
            let Some(next) = change(state) else { return false };
            told = why(state) != why(&next);
            *state = next;
            true
        });
        if told {
            self.changed.send_replace(());
        }
    }

    /// Records that the connection with this number was lost; ignored if it was replaced already.
    fn lost(&self, number: u64) {
        self.change(|state| matches!(state, State::Up(_, n) if *n == number).then_some(State::Opening));
    }

    /// Redis did not do what was asked over the connection of this number.
    fn fell(&self, number: u64, why: &str) {
        self.change(|state| matches!(state, State::Up(_, n) if *n == number).then(|| self.down(why)));
    }

    /// Connecting takes longer than a call can wait: those after this one do not.
    fn unreached(&self) {
        self.change(|state| {
            matches!(state, State::Opening).then(|| self.down(&format!("is not reached within {}", time::short(self.wait))))
        });
    }

    fn down(&self, why: &str) -> State {
        let interval = time::short(self.retry_interval);
        State::Down(
            format!("Redis at {} {why}; calls go to the servers, it is tried again every {interval}", text::visible(&self.shown)).into(),
        )
    }

    fn late(&self) -> String {
        format!("does not answer within {}", time::short(self.wait))
    }

    /// An error for people, without secrets: servers that do not know `AUTH` repeat what came with it.
    fn describe(&self, error: &RedisError) -> String {
        let text = self.mask.hide(&error.to_string());
        let text: String = text::visible(&text).chars().take(WHY_MOST).collect();
        match error.kind() {
            ErrorKind::AuthenticationFailed => format!("refuses the password or the user ({text})"),
            ErrorKind::Io => format!("cannot be reached ({text})"),
            _ => format!("refuses ({text})"),
        }
    }
}

/// Makes connections, and makes sure of each that it can be written to, for as long as the store lives.
async fn keep(common: Arc<Common>, mut target: Target, alive: String) {
    let mut states = common.state.subscribe();
    let mut link = None;
    for number in 0.. {
        match make(&common, &mut target, link.take(), &alive).await {
            Ok(made) => {
                link = Some(made.clone());
                common.set(State::Up(made, number));
                let Ok(state) = states.wait_for(|state| !matches!(state, State::Up(..))).await else { return };
                if matches!(*state, State::Opening) {
                    link = None;
                    continue;
                }
            }
            Err(why) => common.set(common.down(&why)),
        }
        sleep(common.retry_interval).await;
    }
}

/// The connection that there was, if it works again, or else a new one.
async fn make(common: &Common, target: &mut Target, before: Option<Link>, alive: &str) -> Result<Link, String> {
    // A write, since a Redis that is full, or a replica, answers everything else.
    let works = async |link: &Link| match timeout(common.wait, link.set(alive, b"1", CONNECT_MOST)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(common.describe(&error)),
        Err(_) => Err(common.late()),
    };
    if let Some(link) = before
        && works(&link).await.is_ok()
    {
        return Ok(link);
    }
    let link = match timeout(CONNECT_MOST, Link::open(target)).await {
        Ok(Ok(link)) => link,
        Ok(Err(error)) => return Err(common.describe(&error)),
        Err(_) => return Err(format!("is not reached within {}", time::short(CONNECT_MOST))),
    };
    works(&link).await.map(|()| link)
}

#[async_trait]
impl ResponseCache for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn shared(&self) -> bool {
        true
    }

    async fn get(&self, key: &str) -> Option<CachedResponse> {
        let value = self.shared_value(key).await?;
        let kept = value::decode(value);
        if kept.is_none() {
            self.common.foreign.fetch_add(1, Ordering::Relaxed);
        }
        kept
    }

    async fn put(&self, key: &str, kept: CachedResponse) {
        let (key, value) = (self.key(key), value::encode(&kept));
        if value.len() > link::VALUE_MOST {
            return;
        }
        let lasts = kept.total_lifetime().min(LASTS_MOST);
        self.ask(|link| {
            let (key, value) = (&key, &value);
            async move { link.set(key, value, lasts).await }
        })
        .await;
    }

    async fn forget(&self, key: &str) {
        let key = self.key(key);
        self.ask(|link| {
            let key = &key;
            async move { link.unlink(key).await }
        })
        .await;
    }

    async fn shared_value(&self, key: &str) -> Option<Vec<u8>> {
        let key = self.key(key);
        let value = self
            .ask(|link| {
                let key = &key;
                async move { link.get(key).await }
            })
            .await?;
        Some(value).filter(|value| !value.is_empty())
    }

    async fn share_value(&self, key: &str, value: &[u8], lasts: Duration) {
        let key = self.key(key);
        self.ask(|link| {
            let key = &key;
            async move { link.set(key, value, lasts).await }
        })
        .await;
    }

    async fn purge(&self, pattern: &Pattern) -> Result<u64, String> {
        let Some((link, number)) = self.link(Instant::now() + self.wait).await else {
            return Err(self.trouble().unwrap_or_else(|| "Redis is being connected to; try again".into()));
        };
        let gone = AtomicU64::new(0);
        let by_key = |key: &[u8]| std::str::from_utf8(key).is_ok_and(|key| cache::purged(pattern, key));
        let by_name = |start: &[u8]| value::name(start).is_some_and(|name| pattern.matches(&name));
        let count = |n| {
            gone.fetch_add(n, Ordering::Relaxed);
        };
        let removed = timeout(PURGE_MOST, link.remove(&self.prefix, value::HEAD_MOST, by_key, by_name, count)).await;
        let gone = gone.load(Ordering::Relaxed);
        let why = match removed {
            Ok(Ok(())) => return Ok(gone),
            Ok(Err(error)) => {
                if error.is_io_error() {
                    self.common.lost(number);
                }
                format!("Redis at {} {}", self.common.shown, self.common.describe(&error))
            }
            Err(_) => format!("that took longer than {}", time::short(PURGE_MOST)),
        };
        Err(format!("{why}; {gone} were forgotten before, try again for the rest"))
    }

    fn trouble(&self) -> Option<String> {
        match &*self.common.state.borrow() {
            State::Down(why) => Some(why.to_string()),
            _ => None,
        }
    }

    fn changed(&self) -> watch::Receiver<()> {
        self.common.changed.subscribe()
    }
}
