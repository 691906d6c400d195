//! When to decide, and every order of an operator: one task, so that no two decisions rest on the same free place.
//!
//! It takes a view of the fleet, has core decide, journals what was decided, and hands what is to be done to the
//! dispatcher. It holds no state of the fleet and knows nothing of the protocol.

mod intents;
mod orders;
mod preflight;
mod rounds;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ballast_core::{
    decision::{Mode, Trigger},
    early::{self, Waits},
    id::{CommandId, DecisionId, HostId},
    snapshot::{HostMode, HostPower, Snapshot},
    standby::Standby,
    units::nanos_of,
};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    dispatch::Dispatch,
    engine::{Approval, ManualMove, ManualResult, ModeChange, OperatorError},
    journal::Journal,
    proposer::Proposers,
    repeats::Repeats,
    shadow::Shadow,
    shared::Shared,
    state_task::State,
};

pub(crate) use orders::find_vm;

/// Requests that may wait; operators wait beyond.
const QUEUE: usize = 64;

/// How often the task shows that it lives when nothing is to be decided.
const BEAT: Duration = Duration::from_secs(1);

/// Shortest time between two looks at overloaded hosts where people act on them: nobody approves faster.
const ADVICE_INTERVAL: Duration = Duration::from_secs(15);

/// Time between a sample over the limit and the look at it, for the rest of the fleet's samples of the same beat to come
/// in: relief that knows only a part of the fleet chooses worse.
const GATHERING: Duration = Duration::from_millis(500);

/// Sampling periods after which a start no longer waits for hosts it knows of.
pub(crate) const WARM_UP_PERIODS: u32 = 3;

/// True where a host has been over its limit for `after`: before that, there is nothing for the fast loop to decide.
pub(crate) fn needs_relief(snapshot: &Snapshot, after: Duration) -> bool {
    let mut awake = snapshot.hosts.values().filter(|host| host.power == HostPower::Awake);
    awake.any(|host| !host.overloaded_for.is_zero() && host.overloaded_for >= after)
}

type Reply<T> = oneshot::Sender<Result<T, OperatorError>>;

/// What an operator may ask.
#[derive(Debug)]
pub(crate) enum Request {
    Migrate { wish: ManualMove, reply: Reply<ManualResult> },
    Cancel { migration: CommandId, who: String, reply: Reply<CommandId> },
    Approve { decision: DecisionId, who: String, reply: Reply<Approval> },
    SetMode { mode: Mode, who: String, reply: Reply<ModeChange> },
    SetHostMode { host: HostId, mode: HostMode, who: String, reply: Reply<usize> },
    Settled { reply: Reply<()> },
}

/// The way to the control loop.
pub(crate) type Control = mpsc::Sender<Request>;

/// The control loop, before it runs.
pub(crate) struct ControlLoop {
    shared: Arc<Shared>,
    journal: Journal,
    state: State,
    dispatch: Dispatch,
    /// The policy in force, with the greedy rule standing by; shared with the thread that asks it, as is the next.
    policy: Arc<Mutex<Standby>>,
    /// The policy that is only asked.
    shadow: Option<Arc<Mutex<Shadow>>>,
    pressure: Arc<Notify>,
    requests: mpsc::Receiver<Request>,
    beat: Arc<AtomicU64>,
    /// Hosts that were there before this start and are waited for.
    known: BTreeSet<HostId>,
    started: Duration,
    warm: bool,
    last_relief: Option<Duration>,
    /// What the newest round left waiting.
    waits: Option<Waits>,
    repeats: Repeats,
    /// Who waits until nothing is due.
    waiting: Vec<Reply<()>>,
}

impl ControlLoop {
    /// A loop that lets the policies of `proposers` propose; `known` are the hosts waited for before the first decision.
    #[allow(clippy::too_many_arguments)] // Each is a part it is wired to; a struct of them would only rename the list.
    pub(crate) fn new(
        shared: Arc<Shared>,
        journal: Journal,
        state: State,
        dispatch: Dispatch,
        proposers: Proposers,
        pressure: Arc<Notify>,
        known: BTreeSet<HostId>,
        beat: Arc<AtomicU64>,
    ) -> (Self, Control) {
        let (sender, requests) = mpsc::channel(QUEUE);
        let policy = Standby::new(proposers.active.caught());
        let shadow = proposers.shadow.map(|proposer| Arc::new(Mutex::new(Shadow::new(proposer.caught()))));
        let started = shared.clock.elapsed();
        let control = Self {
            shared,
            journal,
            state,
            dispatch,
            policy: Arc::new(Mutex::new(policy)),
            shadow,
            pressure,
            requests,
            beat,
            known,
            started,
            warm: false,
            last_relief: None,
            waits: None,
            repeats: Repeats::default(),
            waiting: Vec::new(),
        };
        (control, sender)
    }

    /// Runs until every [`Control`] is gone.
    pub(crate) async fn run(mut self) {
        let clock = self.shared.clock.clone();
        let mut rounds = clock.interval(self.shared.settings.round_interval);
        let mut early = clock.interval(early::interval(self.shared.settings.period));
        let mut beats = clock.interval(BEAT);
        let pressure = Arc::clone(&self.pressure);
        let mut relief_at: Option<Duration> = None;
        loop {
            self.beat.store(nanos_of(clock.elapsed()), Relaxed);
            let relief = async {
                match relief_at {
                    Some(moment) => clock.sleep_until(moment).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                request = self.requests.recv() => match request {
                    Some(request) => self.handle(request).await,
                    None => return,
                },
                () = relief => {
                    relief_at = None;
                    self.relief().await;
                    self.last_relief = Some(clock.elapsed());
                }
                () = rounds.tick() => self.round(Trigger::Round).await,
                () = early.tick(), if self.waits.is_some() => self.early_round().await,
                () = pressure.notified(), if relief_at.is_none() => relief_at = Some(self.next_relief()),
                () = beats.tick() => {}
                // The last branch of a biased select: nothing else is due.
                () = std::future::ready(()), if !self.waiting.is_empty() => {
                    self.waiting.drain(..).for_each(|reply| drop(reply.send(Ok(()))));
                }
            }
        }
    }

    /// The earliest moment of the next look at overloaded hosts.
    fn next_relief(&self) -> Duration {
        let now = self.shared.clock.elapsed();
        let interval = match self.shared.mode() {
            Mode::Auto => self.shared.settings.relief_interval,
            Mode::Recommend | Mode::Off => self.shared.settings.relief_interval.max(ADVICE_INTERVAL),
        };
        let gathered = now + GATHERING;
        self.last_relief.map_or(gathered, |last| gathered.max(last + interval))
    }

    /// A scheduler that has just started only observes: until every host it knows of is back, or has had its time.
    fn is_warm(&mut self) -> bool {
        let since = self.shared.clock.elapsed().saturating_sub(self.started);
        let period = self.shared.settings.period;
        let all_here = || since >= period && self.known.iter().all(|host| self.shared.links.has(host));
        self.warm = self.warm || since >= period * WARM_UP_PERIODS || (!self.known.is_empty() && all_here());
        self.warm
    }

    async fn handle(&mut self, request: Request) {
        // Who asked may have gone; what was ordered is in the journal all the same.
        match request {
            Request::Migrate { wish, reply } => drop(reply.send(self.migrate(wish).await)),
            Request::Cancel { migration, who, reply } => drop(reply.send(self.cancel(migration, who).await)),
            Request::Approve { decision, who, reply } => drop(reply.send(self.approve(decision, who).await)),
            Request::SetMode { mode, who, reply } => drop(reply.send(self.set_mode(mode, who).await)),
            Request::SetHostMode { host, mode, who, reply } => {
                drop(reply.send(self.set_host_mode(host, mode, who).await));
            }
            Request::Settled { reply } => self.waiting.push(reply),
        }
    }
}
