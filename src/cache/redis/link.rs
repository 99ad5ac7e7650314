//! A connection to Redis, to one or to all nodes of a cluster, and what is asked over it.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, RedisResult, SetExpiry, SetOptions, Value,
    aio::MultiplexedConnection,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo},
};

use super::{CONNECT_MOST, address::Target};

/// Largest value, in bytes. What others put under our keys is not read further than that.
pub const VALUE_MOST: usize = 64 << 20;
/// How many keys one `SCAN` looks at.
const SCAN_COUNT: usize = 500;
/// Maximum number of concurrent commands of a purge.
const AT_ONCE: usize = 32;

/// A connection that all calls share; cheap to clone.
#[derive(Clone)]
pub enum Link {
    /// To one Redis.
    One(MultiplexedConnection),
    /// To a cluster.
    Cluster(ClusterConnection),
}

/// A node of a cluster, or the only one.
type Node = Option<(String, u16)>;

impl Link {
    /// Connects. The caller bounds the time.
    pub async fn open(target: &mut Target) -> RedisResult<Link> {
        // Every question has a limit of its own.
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_MOST)).set_response_timeout(None);
        Ok(match target {
            Target::One(client) => Link::One(client.get_multiplexed_async_connection_with_config(&config).await?),
            Target::Sentinel(sentinel) => Link::One(sentinel.get_async_connection_with_config(&config).await?),
            Target::Cluster(cluster) => Link::Cluster(cluster.get_async_connection().await?),
        })
    }

    async fn query<T: FromRedisValue>(&self, cmd: &Cmd) -> RedisResult<T> {
        match self {
            Link::One(link) => cmd.query_async(&mut link.clone()).await,
            Link::Cluster(link) => cmd.query_async(&mut link.clone()).await,
        }
    }

    /// The value of a key; empty when there is none.
    pub async fn get(&self, key: &str) -> RedisResult<Vec<u8>> {
        self.query(&Cmd::getrange(key, 0, VALUE_MOST as isize - 1)).await
    }

    /// The first bytes of a value.
    async fn start(&self, key: &[u8], bytes: usize) -> RedisResult<Vec<u8>> {
        self.query(&Cmd::getrange(key, 0, bytes as isize - 1)).await
    }

    /// Sets a key for a time, whatever was there before.
    pub async fn set(&self, key: &str, value: &[u8], lasts: Duration) -> RedisResult<()> {
        let ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX).max(1);
        let expiry = SetOptions::default().with_expiration(SetExpiry::PX(ms));
        self.query(&Cmd::set_options(key, value, expiry)).await
    }

    /// Removes a key.
    pub async fn unlink(&self, key: &str) -> RedisResult<()> {
        self.query(&Cmd::unlink(key)).await
    }

    /// Removes the keys that begin with `prefix` and are `wanted` by what comes after it, or else by the first `head` bytes of
    /// their values. Tells of each step how many went.
    pub async fn remove(
        &self,
        prefix: &str,
        head: usize,
        wanted: impl Fn(&[u8]) -> bool + Sync,
        by_value: impl Fn(&[u8]) -> bool + Sync,
        gone: impl Fn(u64),
    ) -> RedisResult<()> {
        let glob = format!("{}*", literal(prefix));
        for node in self.nodes().await? {
            let mut cursor = 0;
            loop {
                let (next, keys) = self.scan(&node, cursor, &glob).await?;
                let removed = stream::iter(keys).map(|key| async {
                    let meant = key.strip_prefix(prefix.as_bytes()).is_some_and(&wanted) || by_value(&self.start_of(&key, head).await?);
                    if meant { self.query::<u64>(&Cmd::unlink(key)).await } else { Ok(0) }
                });
                let removed = removed.buffer_unordered(AT_ONCE).try_fold(0, |sum, n| async move { Ok(sum + n) }).await;
                gone(removed?);
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Returns the first bytes of a value; `None` if it is not a string.
    async fn start_of(&self, key: &[u8], bytes: usize) -> RedisResult<Vec<u8>> {
        match self.start(key, bytes).await {
            Err(error) if of_another_type(&error) => Ok(vec![]),
            other => other,
        }
    }

    /// The nodes that hold keys.
    async fn nodes(&self) -> RedisResult<Vec<Node>> {
        let Link::Cluster(link) = self else { return Ok(vec![None]) };
        let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let Value::Map(answers) = link.clone().route_command(redis::cmd("PING"), everywhere).await? else { return Ok(vec![]) };
        let address = |(node, _): (Value, Value)| {
            let text = String::from_redis_value(node).ok()?;
            let (host, port) = text.rsplit_once(':')?;
            Some(Some((host.to_owned(), port.parse().ok()?)))
        };
        Ok(answers.into_iter().filter_map(address).collect())
    }

    async fn scan(&self, node: &Node, cursor: u64, glob: &str) -> RedisResult<(u64, Vec<Vec<u8>>)> {
        let mut cmd = redis::cmd("SCAN");
        cmd.arg(cursor).arg("MATCH").arg(glob).arg("COUNT").arg(SCAN_COUNT);
        match (self, node) {
            (Link::Cluster(link), Some((host, port))) => {
                let there = RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port });
                Ok(FromRedisValue::from_redis_value(link.clone().route_command(cmd, there).await?)?)
            }
            _ => self.query(&cmd).await,
        }
    }
}

/// Whether the key holds something else than a string, which none of ours is.
pub fn of_another_type(error: &redis::RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

/// A text as a pattern that matches it alone.
fn literal(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
