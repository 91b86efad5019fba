//! Which server is the master, as Sentinels tell it.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, RedisError, RedisResult, Value};
use tokio::task::JoinSet;

use crate::redis_url::{RedisNode, RedisUrl};

/// For all Sentinels to be asked; the answers that came by then decide.
const TIMEOUT: Duration = Duration::from_millis(600);

/// The address of the master that most of the answering Sentinels give. One that is cut off or hangs cannot decide and does
/// not delay the others. Takes 600 ms at most.
///
/// # Errors
///
/// When none answers, or none knows the service.
pub async fn master_by_sentinels(url: &RedisUrl) -> RedisResult<RedisNode> {
    let sentinels = url.clients()?;
    let most = sentinels.len() / 2;
    let mut asked: JoinSet<_> = sentinels
        .into_iter()
        .map(|sentinel| ask(sentinel, url.service().to_owned()))
        .collect();
    let mut votes: HashMap<RedisNode, usize> = HashMap::new();
    let mut failure = std::io::Error::from(std::io::ErrorKind::NotConnected).into();
    let count = async {
        while let Some(Ok(answer)) = asked.join_next().await {
            match answer {
                Ok(node) => {
                    let votes_of_node = votes.entry(node).or_default();
                    *votes_of_node += 1;
                    if *votes_of_node > most {
                        return;
                    }
                }
                Err(error) => failure = error,
            }
        }
    };
    // Out of time: what was counted by now has to do.
    let _ = tokio::time::timeout(TIMEOUT, count).await;
    let most = votes.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(node, _)| node).ok_or(failure)
}

async fn ask(sentinel: Client, service: String) -> RedisResult<RedisNode> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(TIMEOUT))
        .set_response_timeout(Some(TIMEOUT));
    let mut connection = sentinel
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let answer: Option<RedisNode> = redis::cmd("SENTINEL")
        .arg("get-master-addr-by-name")
        .arg(service)
        .query_async(&mut connection)
        .await?;
    answer.ok_or_else(|| {
        RedisError::from((
            ErrorKind::MasterNameNotFoundBySentinel,
            "the sentinels do not know the service",
        ))
    })
}

/// Succeeds when the server answers and still is a master. One that was cut off with this program would otherwise seem well,
/// while invalidations are published on the other side.
///
/// # Errors
///
/// `ErrorKind::Client` when it is no master any more.
pub async fn is_master(connection: &mut impl ConnectionLike) -> RedisResult<()> {
    let out_of_service = |what| Err(RedisError::from((ErrorKind::Client, what)));
    let role: Value = redis::cmd("ROLE").query_async(connection).await?;
    let Value::Array(parts) = role else {
        return out_of_service("the server did not tell its role");
    };
    match parts.into_iter().next().map(String::from_redis_value) {
        Some(Ok(name)) if name == "master" => Ok(()),
        _ => out_of_service("the server is not the master any more"),
    }
}
