//! A scheduler's engine and agents that do as they are told.

use std::{sync::Arc, time::Duration};

use ballast_core::{
    command::{Command, CommandStatus, Order, Report},
    decision::Mode,
    id::{CommandId, Epoch, Seq},
    inventory::Inventory,
    outcome::{Ending, Outcome, StageTimes},
    sample::VmSample,
    snapshot::{Event, Snapshot},
    units::{Bytes, Timestamp},
};
use ballast_daemon::clock::{Clock, Driver};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::{
    engine::{Engine, EngineError, EngineSettings, Hello, ManualMove, Refusal, SessionId, ToAgent, Welcome},
    model::Models,
    testing::{batch, host, inventory, vm_record},
};

/// How long anything may take in real time before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine over a directory that outlives it.
pub(super) struct World {
    pub(super) dir: TempDir,
    pub(super) clock: Clock,
    pub(super) driver: Driver,
    engine: Option<Engine>,
    pub(super) settings: EngineSettings,
    pub(super) models: Models,
}

impl World {
    /// An engine in `mode` at second 1,000,000.
    pub(super) async fn new(mode: Mode) -> Self {
        let mut world = Self::stopped(mode);
        world.start().await.unwrap();
        world
    }

    /// The same, not yet started.
    pub(super) fn stopped(mode: Mode) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, driver) = Clock::driven(Timestamp::from_secs(1_000_000));
        let mut settings = EngineSettings::new(dir.path());
        settings.initial_mode = mode;
        Self { dir, clock, driver, engine: None, settings, models: Models::none() }
    }

    pub(super) async fn start(&mut self) -> Result<(), EngineError> {
        self.engine = Some(Engine::start(self.settings.clone(), self.models.clone(), self.clock.clone()).await?);
        Ok(())
    }

    pub(super) fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("started")
    }

    /// Stops in order and starts again.
    pub(super) async fn restart(&mut self) {
        self.engine().stop().await;
        self.kill().await;
        self.start().await.unwrap();
    }

    /// Ends every task where it stands.
    pub(super) async fn kill(&mut self) {
        drop(self.engine.take());
        self.settle().await;
    }

    /// The same, and its store is gone. It is moved away as a whole: a thread of the store may still write into it, which taking it
    /// apart would run into.
    pub(super) async fn lose_store(&mut self) {
        self.kill().await;
        let store = self.settings.store_dir();
        let mut aside = (1..).map(|number| store.with_extension(format!("lost-{number}")));
        std::fs::rename(&store, aside.find(|path| !path.exists()).unwrap()).unwrap();
    }

    /// Lets every task do what it can do now.
    pub(super) async fn settle(&self) {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    /// Moves time forward in steps, so that timers run in order.
    pub(super) async fn pass(&self, span: Duration) {
        let step = Duration::from_millis(250);
        let mut left = span;
        while !left.is_zero() {
            self.driver.advance(step.min(left));
            left = left.saturating_sub(step);
            self.decided().await;
        }
    }

    /// Lets every task do what it can do now, and the control loop what is due: it decides on a thread of its own, which a
    /// busy machine holds up while the driven clock would run on.
    async fn decided(&self) {
        self.settle().await;
        // An engine that has stopped has nothing due.
        let _settled_or_stopped = self.engine().settled().await.is_ok();
    }

    /// Moves time on until `done` says so.
    pub(super) async fn until(&self, what: &str, mut done: impl AsyncFnMut(&Engine) -> bool) {
        let real = Clock::system();
        while !done(self.engine()).await {
            assert!(real.elapsed() < PATIENCE, "waited in vain: {what}");
            self.driver.advance(Duration::from_millis(100));
            self.decided().await;
        }
    }

    pub(super) async fn snapshot(&self) -> Arc<Snapshot> {
        // A snapshot of samples may be up to 200 ms old.
        self.driver.advance(Duration::from_millis(201));
        self.engine().snapshot().await.unwrap()
    }

    /// Connects a host with these vms.
    pub(super) async fn agent(&self, name: &str, vms: &[u128]) -> Agent {
        self.connect(Agent::hello(inventory(name, vms), &self.clock)).await.unwrap()
    }

    pub(super) async fn connect(&self, hello: Hello) -> Result<Agent, Refusal> {
        let inventory = hello.inventory.clone();
        let session = self.engine().hello(hello).await?;
        let (engine, clock) = (self.engine().clone(), self.clock.clone());
        let seq = session.welcome.resume_from.0;
        Ok(Agent { engine, clock, id: session.id, welcome: session.welcome, outbox: session.outbox, inventory, seq })
    }

    /// Two hosts, vm 7 on `a`, both heard of.
    pub(super) async fn pair(&self) -> (Agent, Agent) {
        let (mut a, mut b) = (self.agent("a", &[7]).await, self.agent("b", &[]).await);
        a.beat(1.0).await;
        b.beat(0.1).await;
        (a, b)
    }
}

/// An agent that does as it is told. It does not hold the engine up: messages lie in its outbox until it looks.
pub(super) struct Agent {
    engine: Engine,
    clock: Clock,
    pub(super) id: SessionId,
    pub(super) welcome: Welcome,
    outbox: mpsc::Receiver<ToAgent>,
    pub(super) inventory: Inventory,
    pub(super) seq: u64,
}

impl Agent {
    pub(super) fn hello(mut inventory: Inventory, clock: &Clock) -> Hello {
        inventory.taken_at = clock.now();
        let (resume_from, highest_epoch) = (Seq(1), Epoch(0));
        Hello { inventory, resume_from, highest_epoch, reports: Vec::new(), capabilities: Vec::new() }
    }

    /// Sends one batch with the host at `cpu` cores.
    pub(super) async fn beat(&mut self, cpu: f64) {
        self.beat_with(cpu, |_| ()).await;
    }

    /// The same, with each vm's sample changed.
    pub(super) async fn beat_with(&mut self, cpu: f64, change: impl Fn(&mut VmSample)) {
        let mut batch = batch(&self.inventory, self.seq, self.clock.now(), cpu);
        batch.vms.iter_mut().for_each(change);
        self.seq += 1;
        self.engine.batch(self.id, batch).await.unwrap();
    }

    /// The next message that is not an acknowledgement of batches.
    pub(super) async fn next(&mut self) -> ToAgent {
        let wait = async {
            loop {
                match self.outbox.recv().await {
                    Some(ToAgent::Ack(_)) => {}
                    Some(message) => return message,
                    None => panic!("the link of {} ended", self.inventory.host),
                }
            }
        };
        Clock::system().timeout(PATIENCE, wait).await.expect("a message")
    }

    /// The next command.
    pub(super) async fn command(&mut self) -> Command {
        match self.next().await {
            ToAgent::Command(command) => command,
            other => panic!("a command was expected, not {other:?}"),
        }
    }

    /// What lies in the outbox now.
    pub(super) fn waiting(&mut self) -> Vec<ToAgent> {
        std::iter::from_fn(|| self.outbox.try_recv().ok()).collect()
    }

    pub(super) async fn say(&self, id: CommandId, status: CommandStatus) {
        self.engine.report(self.id, Report { id, status }).await.unwrap();
    }

    /// Reports a migration as done, without any inventory changing.
    pub(super) async fn finish(&self, command: &Command, ending: Ending) {
        self.say(command.id, CommandStatus::Finished(outcome_of(command, ending))).await;
    }

    /// Takes vms on or leaves them, and says so.
    pub(super) async fn now_holds(&mut self, vms: &[u128]) {
        self.inventory.vms = vms.iter().map(|number| vm_record(*number)).collect();
        self.inventory.taken_at = self.clock.now();
        self.engine.inventory(self.id, self.inventory.clone()).await.unwrap();
    }

    pub(super) async fn leave(&self) {
        self.engine.closed(self.id).await;
    }
}

/// The wish of an operator to move vm 7 to `b`.
pub(super) fn wish() -> ManualMove {
    ManualMove {
        vm: "vm7".into(),
        host: host("b"),
        dry_run: false,
        set_aside: false,
        reason: "test".into(),
        who: "ann".into(),
    }
}

/// How an agent says that a migration ended.
pub(super) fn outcome_of(command: &Command, ending: Ending) -> Outcome {
    let destination = match &command.order {
        Order::Migrate { destination, .. } => Some(destination.clone()),
        _ => None,
    };
    Outcome {
        id: command.id,
        vm: command.order.vm(),
        source: command.host.clone(),
        destination,
        ending,
        began_at: Timestamp::from_secs(1),
        ended_at: Timestamp::from_secs(2),
        stages: StageTimes::default(),
        downtime: Some(Duration::from_millis(40)),
        copied: Bytes::from_gib(1),
        iterations: 3,
    }
}

/// Every event of a directory's telemetry log, in words: for tests of what is recorded.
pub(super) fn logged_events(settings: &EngineSettings) -> Vec<Event> {
    use crate::telemetry_log::{Content, LogRecord, SEGMENT_KIND};

    let mut events = Vec::new();
    ballast_daemon::segments::read_dir(&settings.telemetry_dir(), SEGMENT_KIND, |entry| {
        if let Content::Event(event) = LogRecord::decode(&entry.bytes).unwrap().content {
            events.push(*event);
        }
    })
    .unwrap();
    events
}
