//! Hears of commits of other processes: LISTEN for speed, the table as truth.
//!
//! A notification only says that there may be more. The end of the log is read after every (re)connection
//! and every second besides, so neither a lost notification nor a lost connection loses an event.

use super::{connect::PostgresOptions, error::say, writer::advance};
use freehold_model::Seq;
use futures::future::poll_fn;
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_postgres::{AsyncMessage, Error};

/// How often the table is asked although nothing was heard.
const POLL: Duration = Duration::from_secs(1);
/// An answer that takes longer means that the connection is dead.
const DEAD: Duration = Duration::from_secs(10);
/// The pause after a failed attempt; each one doubles, up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Moves `head` on, for ever.
pub(super) async fn listen(options: PostgresOptions, head: Arc<watch::Sender<Seq>>) {
    let mut pause = PAUSES.0;
    loop {
        let start = Instant::now();
        if let Err(error) = follow(&options, &head).await {
            tracing::debug!(error, "following the store's database again");
        }
        // What went well for a while is tried again at once.
        pause = if start.elapsed() > PAUSES.1 { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
        sleep(pause).await;
    }
}

/// Follows on one connection until it fails.
async fn follow(options: &PostgresOptions, head: &Arc<watch::Sender<Seq>>) -> Result<(), String> {
    let (client, mut connection) = options.dial().await.map_err(|error| say(&error))?;
    let heard = Arc::clone(head);
    // Whoever is told of a number reads it with a snapshot made after: it was sent after the commit.
    let mut driven = pin!(async move {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(told))) => {
                    told.payload().parse().into_iter().for_each(|seq| advance(&heard, seq));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return say(&error),
                None => return "the connection was closed".to_owned(),
            }
        }
    });
    let mut asked = pin!(async {
        client.batch_execute("LISTEN freehold_head").await?;
        let statement = client.prepare("SELECT seq FROM freehold.head").await?;
        loop {
            let asking = client.query_one(&statement, &[]);
            let Ok(row) = timeout(DEAD, asking).await else { return Ok("no answer".to_owned()) };
            advance(head, row?.try_get::<_, i64>(0)? as Seq);
            sleep(POLL).await;
        }
    });
    tokio::select! {
        ended = &mut driven => Err(ended),
        ended = &mut asked => Err(ended.unwrap_or_else(|error: Error| say(&error))),
    }
}
