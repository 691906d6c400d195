//! The network of a run: connections in memory between agents and scheduler, with the real HTTP/2 on both sides.
//!
//! Bytes are on their way for a while, and only [`Wire::deliver`], called at every step, lets them arrive. A direction
//! that is cut holds what is sent, as TCP does, and takes no new connections. Messages pass through the [`meddler`],
//! which loses, repeats and delays some. Our own and not turmoil's: a step moves one scheduler and all agents on one
//! thread, messages can be taken hold of one by one, and time jumps from event to event instead of ticking every
//! millisecond.
//!
//! [`meddler`]: meddle

mod dial;
mod end;
mod frames;
pub(super) mod meddle;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    sync::{Arc, Mutex, PoisonError},
    task::Waker,
    time::Duration,
};

use ballast_core::id::Epoch;
use tokio::sync::mpsc;

pub(super) use dial::connect;
pub(super) use end::End;
use frames::{Cutter, Piece};
use meddle::{Mark, Meddler};

/// A direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// From the agent to the scheduler.
    Up,
    /// From the scheduler to the agent.
    Down,
}

/// What came of dialling.
pub(super) enum Dialled {
    /// A connection.
    Open(End),
    /// Nobody listens.
    Refused,
    /// The call is lost on the way: nobody answers.
    Lost,
}

/// When something that matters last arrived, by host.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// Moments at which a fresh batch of a host reached a scheduler, oldest first: by the scheduler's place in the order in
    /// which they took over, and by host.
    pub(super) batches: BTreeMap<(usize, usize), Vec<Duration>>,
    /// The scheduler of each epoch.
    pub(super) schedulers: BTreeMap<Epoch, usize>,
}

/// The network.
#[derive(Debug, Clone)]
pub(super) struct Wire(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    now: Duration,
    lines: Vec<Line>,
    listener: Option<Listener>,
    /// Of schedulers that were replaced and still listen.
    older: Vec<Listener>,
    /// How many were replaced.
    takeovers: usize,
    /// Whoever dials from beyond the last of the hosts is no agent.
    hosts: usize,
    cut: BTreeSet<(usize, Way)>,
    slow: BTreeMap<usize, Duration>,
    meddler: Meddler,
    arrivals: Arrivals,
}

/// Where a scheduler takes connections, and which it is.
#[derive(Debug, Clone)]
struct Listener {
    scheduler: usize,
    connections: mpsc::UnboundedSender<io::Result<End>>,
}

#[derive(Debug)]
struct Line {
    host: usize,
    scheduler: usize,
    up: Lane,
    down: Lane,
}

/// One direction of one connection.
#[derive(Debug)]
struct Lane {
    cutter: Cutter,
    /// The stream the agent opened for its link.
    stream: Option<u32>,
    under_way: VecDeque<(Duration, Vec<u8>, Option<Mark>)>,
    arrived: VecDeque<u8>,
    reader: Option<Waker>,
    writer_gone: bool,
    reader_gone: bool,
    ended: bool,
}

impl Lane {
    fn new(of_client: bool) -> Self {
        Self {
            cutter: Cutter::new(of_client),
            stream: None,
            under_way: VecDeque::new(),
            arrived: VecDeque::new(),
            reader: None,
            writer_gone: false,
            reader_gone: false,
            ended: false,
        }
    }

    fn is_over(&self) -> bool {
        self.ended || self.reader_gone && self.writer_gone
    }

    fn send(&mut self, at: Duration, bytes: Vec<u8>, mark: Option<Mark>) {
        // Nothing overtakes what was sent before it.
        let at = self.under_way.back().map_or(at, |(before, ..)| at.max(*before));
        self.under_way.push_back((at, bytes, mark));
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Line {
    fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

impl Wire {
    /// A network nobody listens on yet.
    pub(super) fn new(meddler: Meddler, hosts: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            now: Duration::ZERO,
            lines: Vec::new(),
            listener: None,
            older: Vec::new(),
            takeovers: 0,
            hosts,
            cut: BTreeSet::new(),
            slow: BTreeMap::new(),
            meddler,
            arrivals: Arrivals::default(),
        })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The scheduler listens from now on: the connections that are made.
    pub(super) fn listen(&self) -> mpsc::UnboundedReceiver<io::Result<End>> {
        let (connections, receiver) = mpsc::unbounded_channel();
        self.with(|inner| inner.listener = Some(Listener { scheduler: inner.takeovers, connections }));
        receiver
    }

    /// Another scheduler takes over: until it listens, and now and then after that, the one before is dialled.
    pub(super) fn take_over(&self) {
        self.with(|inner| {
            inner.takeovers += 1;
            inner.older.extend(inner.listener.clone());
        });
    }

    /// Whoever was replaced listens no more.
    pub(super) fn forget_older(&self) {
        self.with(|inner| inner.older.clear());
    }

    /// Nobody listens any more.
    pub(super) fn deaf(&self) {
        self.with(|inner| inner.listener = None);
    }

    /// The agent of a host dials the scheduler.
    pub(super) fn dial(&self, host: usize) -> Dialled {
        match self.with(|inner| inner.line_to_scheduler(host)) {
            Err(dialled) => dialled,
            // Outside of the lock: where nobody listens any more both ends are dropped, and an end locks as it is dropped.
            Ok((listener, line)) => {
                let end = |way| End::new(self.clone(), line, way);
                match listener.connections.send(Ok(end(Way::Down))) {
                    Ok(()) => Dialled::Open(end(Way::Up)),
                    Err(_) => Dialled::Refused,
                }
            }
        }
    }

    /// Cuts a direction of a host's connections, or mends it.
    pub(super) fn cut(&self, host: usize, way: Way, is_cut: bool) {
        self.with(|inner| if is_cut { inner.cut.insert((host, way)) } else { inner.cut.remove(&(host, way)) });
    }

    /// From now on everything to and from a host takes that much longer.
    pub(super) fn slow(&self, host: usize, by: Duration) {
        self.with(|inner| inner.slow.insert(host, by));
    }

    /// Lets the network alone what it carries, or no longer.
    pub(super) fn meddle(&self, meddles: bool) {
        self.with(|inner| inner.meddler.meddles = meddles);
    }

    /// The scheduler of this epoch is the newest.
    pub(super) fn newest(&self, epoch: Epoch) {
        self.with(|inner| inner.arrivals.schedulers.insert(epoch, inner.takeovers));
    }

    /// Lets arrive what is due by `now`.
    pub(super) fn deliver(&self, now: Duration) {
        self.with(|inner| inner.deliver(now));
    }

    /// An old command comes once more over the open link of its host: one that arrived before, or one of an epoch that is
    /// over. False where there is none.
    pub(super) fn echo(&self) -> bool {
        self.with(Inner::echo)
    }

    /// The newest batch of a host comes once more, under the number after it: figures that nobody took.
    pub(super) fn repeat_batch(&self, host: usize) {
        self.with(|inner| {
            let at = inner.now;
            let Some(batch) = inner.meddler.next_batch(host) else { return };
            let open = |line: &&mut Line| line.host == host && !line.up.is_over() && line.up.stream.is_some();
            let Some(line) = inner.lines.iter_mut().rev().find(open) else { return };
            let stream = line.up.stream.unwrap_or_default();
            line.up.send(at, frames::frames(stream, &batch), None);
        });
    }

    /// Looks at what arrived when.
    pub(super) fn arrivals<T>(&self, look: impl FnOnce(&Arrivals) -> T) -> T {
        self.with(|inner| look(&inner.arrivals))
    }
}

impl Inner {
    /// A new line from the agent of a host to whom it finds, or what it finds instead.
    fn line_to_scheduler(&mut self, host: usize) -> Result<(Listener, usize), Dialled> {
        if self.cut.contains(&(host, Way::Up)) || self.cut.contains(&(host, Way::Down)) {
            return Err(Dialled::Lost);
        }
        let astray = self.older.last().cloned().filter(|_| self.meddler.leads_astray());
        let Some(listener) = astray.or_else(|| self.listener.clone()) else { return Err(Dialled::Refused) };
        let (line, scheduler) = (self.lines.len(), listener.scheduler);
        self.lines.push(Line { host, scheduler, up: Lane::new(true), down: Lane::new(false) });
        Ok((listener, line))
    }

    fn deliver(&mut self, now: Duration) {
        self.now = now;
        for index in 0..self.lines.len() {
            for way in [Way::Up, Way::Down] {
                let host = self.lines[index].host;
                if !self.lines[index].lane(way).is_over() && !self.cut.contains(&(host, way)) {
                    self.deliver_lane(index, way);
                }
            }
        }
    }

    fn deliver_lane(&mut self, index: usize, way: Way) {
        let (now, from) = (self.now, (self.lines[index].scheduler, self.lines[index].host));
        let lane = self.lines[index].lane(way);
        let mut marks = Vec::new();
        while lane.under_way.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, bytes, mark)) = lane.under_way.pop_front() else { break };
            lane.arrived.extend(bytes);
            marks.extend(mark);
            lane.wake();
        }
        if lane.writer_gone && lane.under_way.is_empty() {
            lane.ended = true;
            lane.wake();
        }
        for mark in marks {
            self.note(from, mark);
        }
    }

    fn note(&mut self, from: (usize, usize), mark: Mark) {
        match mark {
            Mark::Batch => self.arrivals.batches.entry(from).or_default().push(self.now),
        }
    }

    /// Bytes are sent.
    fn sent(&mut self, index: usize, way: Way, bytes: &[u8]) {
        let (host, now) = (self.lines[index].host, self.now);
        let slow = self.slow.get(&host).copied().unwrap_or_default();
        let pieces = self.lines[index].lane(way).cutter.cut(bytes);
        for piece in pieces {
            let at = now + slow + self.meddler.delay();
            match piece {
                Piece::Raw(bytes) => self.lines[index].lane(way).send(at, bytes, None),
                Piece::Message { stream, bytes } if host >= self.hosts => {
                    self.lines[index].lane(way).send(at, frames::frames(stream, &bytes), None);
                }
                Piece::Message { stream, bytes } => {
                    let lane = self.lines[index].lane(way);
                    lane.stream = Some(stream);
                    for (message, mark) in self.meddler.take(host, way, bytes) {
                        lane.send(at, frames::frames(stream, &message), mark);
                    }
                }
            }
        }
    }

    fn echo(&mut self) -> bool {
        let Some((host, _, message)) = self.meddler.old_command() else { return false };
        let at = self.now + self.meddler.delay();
        let open = |line: &&mut Line| line.host == host && !line.down.is_over() && line.down.stream.is_some();
        let Some(line) = self.lines.iter_mut().rev().find(open) else { return false };
        let stream = line.down.stream.unwrap_or_default();
        line.down.send(at, frames::frames(stream, &message), None);
        true
    }
}
