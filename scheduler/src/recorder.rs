//! Writes telemetry down: the log that replay reads and the windows a restart warms up from, in groups, off the fast path.
//!
//! A batch is acknowledged once its group is in the log's file. What cannot be written is counted and acknowledged all
//! the same: it has been observed, and an agent that is not acknowledged would stop sending.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ballast_core::{
    id::{BootId, HostId, Seq},
    inventory::Inventory,
    oversight::SavedState,
    sample::Batch,
    snapshot::Event,
    units::{Timestamp, nanos_of},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    counters::Counters,
    engine::{SessionId, ToAgent},
    journal::error_chain,
    shared::Shared,
    store::Store,
    telemetry_log::{Content, LogRecord, TelemetryLog, encode_batch},
};

/// Items that may wait; senders wait beyond.
const QUEUE: usize = 8192;

/// Longest time a batch waits for others before its group is written.
const GROUP_TIME: Duration = Duration::from_millis(100);

/// Items after which a group is written at once.
const GROUP_ITEMS: usize = 512;

/// How often the store is written out.
const STORE_FLUSH: Duration = Duration::from_secs(5);

/// A host's window keeps one batch in this time: what the forecaster needs to warm up, not every sample.
const WINDOW_STEP: Duration = Duration::from_secs(15);

#[derive(Debug)]
enum Item {
    Batch { session: SessionId, at: Timestamp, received: Duration, batch: Arc<Batch> },
    Opened { at: Timestamp, inventory: Arc<Inventory> },
    Inventory { at: Timestamp, inventory: Arc<Inventory> },
    Closed { at: Timestamp, host: HostId, boot: BootId },
    Event { at: Timestamp, event: Box<Event> },
    Window(Arc<Batch>),
    Model { states: Vec<SavedState>, memory: Option<Vec<u8>> },
    Risk(Vec<u8>),
    Close(oneshot::Sender<()>),
}

/// The way to the recorder. A recorder that has ended takes nothing and says nothing; the engine then stops as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    items: mpsc::Sender<Item>,
    shared: Arc<Shared>,
}

impl Recorder {
    pub(crate) async fn batch(&self, session: SessionId, at: Timestamp, batch: Arc<Batch>) {
        let received = self.shared.clock.elapsed();
        drop(self.items.send(Item::Batch { session, at, received, batch }).await);
    }

    pub(crate) async fn opened(&self, at: Timestamp, inventory: Arc<Inventory>) {
        drop(self.items.send(Item::Opened { at, inventory }).await);
    }

    pub(crate) async fn inventory(&self, at: Timestamp, inventory: Arc<Inventory>) {
        drop(self.items.send(Item::Inventory { at, inventory }).await);
    }

    pub(crate) async fn closed(&self, at: Timestamp, host: HostId, boot: BootId) {
        drop(self.items.send(Item::Closed { at, host, boot }).await);
    }

    pub(crate) async fn event(&self, at: Timestamp, event: Event) {
        drop(self.items.send(Item::Event { at, event: Box::new(event) }).await);
    }

    /// A batch as it was believed, for the store.
    pub(crate) async fn window(&self, batch: Arc<Batch>) {
        drop(self.items.send(Item::Window(batch)).await);
    }

    /// What the model knows, and how it has done, for the store.
    pub(crate) async fn model(&self, states: Vec<SavedState>, memory: Option<Vec<u8>>) {
        drop(self.items.send(Item::Model { states, memory }).await);
    }

    /// What was measured of the fleet's risk, for the store.
    pub(crate) async fn risk(&self, risk: Vec<u8>) {
        drop(self.items.send(Item::Risk(risk)).await);
    }

    /// Writes out what waits and closes log and store; returns when that is done.
    pub(crate) async fn close(&self) {
        let (done, answer) = oneshot::channel();
        if self.items.send(Item::Close(done)).await.is_ok() {
            // An error means that the recorder has ended, which is as good.
            drop(answer.await);
        }
    }
}

/// The recorder, before it runs.
pub(crate) struct RecorderTask {
    shared: Arc<Shared>,
    items: mpsc::Receiver<Item>,
    files: Option<Files>,
    unsent: BTreeMap<SessionId, Seq>,
    beat: Arc<AtomicU64>,
}

/// What is written to; it travels to a blocking thread and back with every group.
struct Files {
    log: Option<TelemetryLog>,
    store: Option<Box<dyn Store>>,
    window: Duration,
    last_kept: BTreeMap<HostId, Timestamp>,
    last_flush: Duration,
}

impl RecorderTask {
    /// A recorder over what could be opened of log and store.
    pub(crate) fn new(
        shared: Arc<Shared>,
        log: Option<TelemetryLog>,
        store: Option<Box<dyn Store>>,
        beat: Arc<AtomicU64>,
    ) -> (Self, Recorder) {
        let (sender, items) = mpsc::channel(QUEUE);
        let recorder = Recorder { items: sender, shared: Arc::clone(&shared) };
        let (window, last_flush) = (shared.settings.keep.windows, shared.clock.elapsed());
        let files = Some(Files { log, store, window, last_kept: BTreeMap::new(), last_flush });
        (Self { shared, items, files, unsent: BTreeMap::new(), beat }, recorder)
    }

    /// Runs until every [`Recorder`] is gone, or it was closed.
    pub(crate) async fn run(mut self) {
        loop {
            self.beat.store(nanos_of(self.shared.clock.elapsed()), Relaxed);
            let group = self.group().await;
            let closing = matches!(group.last(), Some(Item::Close(_)));
            if self.items.is_closed() && group.is_empty() {
                return;
            }
            self.write(group).await;
            if closing {
                return;
            }
        }
    }

    /// What comes within the group's time; at least as often as that it returns, be it with nothing.
    async fn group(&mut self) -> Vec<Item> {
        let mut group = Vec::new();
        let mut deadline = self.shared.clock.elapsed() + Duration::from_secs(1);
        while group.len() < GROUP_ITEMS {
            tokio::select! {
                biased;
                item = self.items.recv() => {
                    let Some(item) = item else { break };
                    let is_last = matches!(item, Item::Close(_));
                    if group.is_empty() {
                        deadline = self.shared.clock.elapsed() + GROUP_TIME;
                    }
                    group.push(item);
                    if is_last {
                        break;
                    }
                }
                () = self.shared.clock.sleep_until(deadline) => break,
            }
        }
        group
    }

    async fn write(&mut self, group: Vec<Item>) {
        for item in &group {
            if let Item::Batch { session, batch, .. } = item {
                self.unsent.insert(*session, batch.seq);
            }
        }
        let received = group.iter().find_map(|item| match item {
            Item::Batch { received, .. } => Some(*received),
            _ => None,
        });
        if !group.is_empty()
            && let Some(mut files) = self.files.take()
        {
            let shared = Arc::clone(&self.shared);
            let written = self.shared.clock.aside(move || {
                let closed = files.write(group, &shared);
                (files, closed)
            });
            let Ok((files, closed)) = written.await else {
                tracing::error!("the thread that writes telemetry down has failed; nothing more is written");
                return;
            };
            self.files = closed.is_none().then_some(files);
            if let Some(done) = closed {
                // Who wanted it closed may have gone.
                let _gone = done.send(());
            }
        }
        self.acknowledge(received);
    }

    fn acknowledge(&mut self, received: Option<Duration>) {
        let shared = &self.shared;
        self.unsent.retain(|session, seq| !shared.links.send_to(*session, ToAgent::Ack(*seq)));
        if let Some(received) = received {
            shared.counters.acknowledged_after(shared.clock.elapsed().saturating_sub(received));
        }
    }
}

impl Files {
    /// Writes a group; where it ends with a wish to close, everything is closed and whom to tell is returned.
    fn write(&mut self, group: Vec<Item>, shared: &Shared) -> Option<oneshot::Sender<()>> {
        let (mut records, mut windows, mut closing) = (Vec::with_capacity(group.len()), Vec::new(), None);
        for item in group {
            match item {
                Item::Window(batch) => windows.push(batch),
                Item::Model { states, memory } => self.keep_model(&states, memory.as_deref(), shared),
                Item::Risk(risk) => self.keep_risk(&risk, shared),
                Item::Close(done) => closing = Some(done),
                other => {
                    if let Item::Opened { inventory, .. } | Item::Inventory { inventory, .. } = &other {
                        self.keep_inventory(inventory);
                    }
                    records.extend(self.record(other));
                }
            }
        }
        self.write_log(&records, shared);
        self.write_store(&windows, shared, closing.is_some());
        if closing.is_some() {
            (self.log, self.store) = (None, None);
        }
        closing
    }

    /// The record of an item; the log learns on the way who stands at the beginning of its next segment. Without a log it
    /// is an empty one, to be counted as dropped.
    fn record(&mut self, item: Item) -> Option<Vec<u8>> {
        let Some(log) = self.log.as_mut() else { return Some(Vec::new()) };
        let (at, content) = match item {
            Item::Batch { at, batch, .. } => return Some(encode_batch(at, &batch)),
            Item::Opened { at, inventory } => {
                log.stands(Arc::clone(&inventory));
                (at, Content::Opened(Box::new((*inventory).clone())))
            }
            Item::Inventory { at, inventory } => {
                log.stands(Arc::clone(&inventory));
                (at, Content::Inventory(Box::new((*inventory).clone())))
            }
            Item::Closed { at, host, boot } => {
                log.left(&host);
                (at, Content::Closed { host, boot })
            }
            Item::Event { at, event } => (at, Content::Event(event)),
            Item::Window(_) | Item::Model { .. } | Item::Risk(_) | Item::Close(_) => return None,
        };
        Some(LogRecord { at, content }.encode())
    }

    fn write_log(&mut self, records: &[Vec<u8>], shared: &Shared) {
        if records.is_empty() {
            return;
        }
        let Some(log) = self.log.as_mut() else {
            Counters::add(&shared.counters.log_dropped, records.len() as u64);
            return;
        };
        let result = log.write(records, shared.clock.now()).map_err(|error| error_chain(&error));
        shared.counters.log_written(result, records.len() as u64);
    }

    fn keep_inventory(&mut self, inventory: &Inventory) {
        let Some(store) = self.store.as_mut() else { return };
        // Counted with the next window: an inventory comes again with every link.
        drop(store.put_inventory(inventory));
    }

    fn keep_model(&mut self, states: &[SavedState], memory: Option<&[u8]>, shared: &Shared) {
        let Some(store) = self.store.as_mut() else { return };
        let kept = store.put_model(states, memory).map_err(|error| error.to_string());
        shared.counters.store_written(kept, 0);
    }

    fn keep_risk(&mut self, risk: &[u8], shared: &Shared) {
        let Some(store) = self.store.as_mut() else { return };
        shared.counters.store_written(store.put_risk(risk).map_err(|error| error.to_string()), 0);
    }

    fn write_store(&mut self, windows: &[Arc<Batch>], shared: &Shared, last: bool) {
        if self.store.is_none() {
            Counters::add(&shared.counters.store_dropped, windows.len() as u64);
            return;
        }
        for batch in windows {
            let due = self.last_kept.get(&batch.host).is_none_or(|kept| batch.taken_at.since(*kept) >= WINDOW_STEP);
            if due {
                let result = self.keep_window(batch).map_err(|error| error.to_string());
                shared.counters.store_written(result, 1);
            }
        }
        let elapsed = shared.clock.elapsed();
        if last || elapsed >= self.last_flush + STORE_FLUSH {
            self.last_flush = elapsed;
            let flushed = self.store.as_mut().map_or(Ok(()), |store| store.flush());
            shared.counters.store_written(flushed.map_err(|error| error.to_string()), 0);
        }
    }

    fn keep_window(&mut self, batch: &Batch) -> Result<(), crate::store::StoreError> {
        let Some(store) = self.store.as_mut() else { return Ok(()) };
        self.last_kept.insert(batch.host.clone(), batch.taken_at);
        store.put_window(batch)?;
        store.drop_before(&batch.host, batch.taken_at.before(self.window))
    }
}
