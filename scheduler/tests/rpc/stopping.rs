//! Stopping: within its ten seconds, whatever streams are open.

use ballast_proto::v1;

use crate::running::{Running, soon};

#[tokio::test]
async fn a_watcher_does_not_keep_the_scheduler_from_stopping() {
    let running = Running::start().await;
    let mut client = running.operator().await;
    let mut events = soon(client.watch_migrations(v1::WatchMigrationsRequest {})).await.unwrap().into_inner();
    soon(running.stop()).await;
    assert!(soon(events.message()).await.is_ok_and(|event| event.is_none()), "the stream ends without an error");
}
