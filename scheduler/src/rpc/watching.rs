//! The stream behind `WatchMigrations`: those that run, then every change.
//!
//! Nobody is cut off for being slow: a watcher that missed changes gets all kept migrations anew and goes on from there.

use std::{collections::VecDeque, sync::Arc};

use futures::{Stream, stream};
use tokio::sync::{
    broadcast::{Receiver, error::RecvError},
    watch,
};
use tonic::Status;

use ballast_proto::v1;

use super::{operator::LIST_MAX, views};
use crate::{
    engine::{Engine, MigrationRecord},
    metrics::Metrics,
};

struct Watcher {
    engine: Engine,
    metrics: Arc<Metrics>,
    changes: Receiver<MigrationRecord>,
    /// Listed and not yet sent, oldest first.
    listed: VecDeque<MigrationRecord>,
    stopping: watch::Receiver<bool>,
}

/// The running migrations, oldest first, then every change until the scheduler stops.
pub(super) fn migrations(
    engine: Engine,
    metrics: Arc<Metrics>,
    stopping: watch::Receiver<bool>,
) -> impl Stream<Item = Result<v1::MigrationEvent, Status>> + Send {
    // Subscribed before listing: a change in between comes twice rather than never.
    let changes = engine.watch();
    let listed = engine.migrations(LIST_MAX, true).into_iter().rev().collect();
    let watcher = Watcher { engine, metrics, changes, listed, stopping };
    stream::unfold(watcher, |mut watcher| async move {
        let record = watcher.next().await?;
        let event = v1::MigrationEvent { migration: Some(views::migration(record)) };
        Some((Ok(event), watcher))
    })
}

impl Watcher {
    async fn next(&mut self) -> Option<MigrationRecord> {
        loop {
            if let Some(record) = self.listed.pop_front() {
                return Some(record);
            }
            let change = tokio::select! {
                biased;
                change = self.changes.recv() => change,
                () = crate::stopped(&mut self.stopping) => return None,
            };
            match change {
                Ok(record) => return Some(record),
                Err(RecvError::Lagged(_)) => self.list_anew(),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The missed changes may include endings: the list holds the ended ones too.
    fn list_anew(&mut self) {
        self.metrics.watcher_behind();
        self.listed = self.engine.migrations(LIST_MAX, false).into_iter().rev().collect();
    }
}
