//! The scheduler's files: journal, its note of the head, telemetry log, store, and the bundles it is given.

use std::path::PathBuf;

use ballast_core::{
    decision::Mode,
    id::{CommandId, Epoch},
    oversight::ModelMode,
    units::Bytes,
};
use ballast_daemon::segments::{self, segment_files};
use ballast_proto::v1;
use ballast_scheduler::{config::Config, telemetry_log};
use ballast_tests::{
    damage::{self, Harm},
    logs::Logs,
    scheduler::{SchedulerUnderTest, Time, folder, quick},
    scripted::{ScriptedHost, ScriptedLink},
    sources,
};

use super::{Answer, matrix, refused, told};

/// What a scheduler must not forget.
#[derive(Debug, PartialEq)]
struct Truth {
    epoch: Epoch,
    mode: Mode,
    open: Vec<CommandId>,
}

/// A scheduler that started on damage.
struct Started {
    config: Config,
    scheduler: SchedulerUnderTest,
    logs: Logs,
    /// Whether its log names the damaged file.
    told: bool,
}

/// A data directory in which a scheduler has worked until it was killed.
struct Before {
    folder: tempfile::TempDir,
    config: Config,
    time: Time,
    truth: Truth,
}

impl Before {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        let (logs, time) = (Logs::watch(), Time::default());
        let (folder, path) = folder().unwrap();
        let mut config = quick(&path.join("before"), Mode::Recommend);
        change(&mut config);
        let mut scheduler = SchedulerUnderTest::start(config.clone(), time.clock.clone(), &logs).await.unwrap();
        work(&scheduler, &time).await;
        let truth = truth(&scheduler);
        assert_eq!((truth.open.len(), truth.mode), (1, Mode::Off), "{truth:?}");
        scheduler.crash().await.unwrap();
        logs.expect("");
        Self { folder, config, time, truth }
    }

    /// A copy of the directory for one harm.
    fn copy(&self, harm: Harm) -> Config {
        let mut config = self.config.clone();
        config.engine.data_dir = self.folder.path().join(format!("{harm:?}"));
        damage::copy(&self.config.engine.data_dir, &config.engine.data_dir).unwrap();
        config
    }

    /// Harms a file of a copy, starts on it, and has `judge` say what came of it where a scheduler started.
    async fn start(
        &self,
        harm: Harm,
        file: impl Fn(&mut Config) -> PathBuf,
        judge: impl AsyncFn(&Started) -> Answer,
    ) -> Answer {
        let mut config = self.copy(harm);
        let file = file(&mut config);
        harm.to(&file).unwrap();
        let logs = Logs::watch();
        let started = SchedulerUnderTest::start(config.clone(), self.time.clock.clone(), &logs).await;
        let told = told(&logs, &file);
        let scheduler = match started {
            Ok(scheduler) => scheduler,
            Err(error) => return refused(&format!("{error:#}"), &file, harm),
        };
        serves(&scheduler, harm).await;
        self.remembers(&scheduler, harm);
        let mut started = Started { config, scheduler, logs, told };
        let answer = judge(&started).await;
        started.scheduler.crash().await.unwrap();
        answer
    }

    /// Nothing that was acknowledged is forgotten, and the epoch is a newer one.
    fn remembers(&self, scheduler: &SchedulerUnderTest, harm: Harm) {
        let now = truth(scheduler);
        assert!(now.epoch > self.truth.epoch, "{harm:?}: {:?} after {:?}", now.epoch, self.truth.epoch);
        assert_eq!((now.mode, &now.open), (self.truth.mode, &self.truth.open), "{harm:?}");
    }
}

/// Two hosts send for a while, an operator moves a vm, whose end is never told, and sets the mode.
async fn work(scheduler: &SchedulerUnderTest, time: &Time) {
    let hosts = [ScriptedHost::new("a").unwrap().with_vm("calm", 0.5), ScriptedHost::new("b").unwrap()];
    let mut links = Vec::new();
    for host in &hosts {
        links.push(ScriptedLink::open(&scheduler.authority(), host, Vec::new(), 0).await.unwrap());
    }
    for seq in 1..=20 {
        for (host, link) in hosts.iter().zip(&links) {
            link.batch(host.batch(seq, time.now())).await.unwrap();
        }
        time.pass(std::time::Duration::from_secs(1), std::time::Duration::from_millis(250)).await;
    }
    for link in &mut links {
        link.acknowledged(20).await.unwrap();
    }
    let wish = v1::MigrateRequest { vm: "calm".into(), host: "b".into(), ..v1::MigrateRequest::default() };
    scheduler.operator().await.unwrap().migrate(wish).await.unwrap();
    scheduler.engine.set_mode(Mode::Off, "a test").await.unwrap();
}

fn truth(scheduler: &SchedulerUnderTest) -> Truth {
    let engine = &scheduler.engine;
    let open = engine.migrations(10, true).into_iter().map(|migration| migration.id).collect();
    Truth { epoch: engine.epoch(), mode: engine.mode(), open }
}

/// It takes a link, and its parts answer.
async fn serves(scheduler: &SchedulerUnderTest, harm: Harm) {
    let host = ScriptedHost::new("c").unwrap();
    let link = ScriptedLink::open(&scheduler.authority(), &host, Vec::new(), 0).await;
    assert!(link.is_ok(), "{harm:?}: {link:?}");
    assert!(scheduler.engine.snapshot().await.is_ok() && scheduler.engine.stats().await.is_ok(), "{harm:?}");
}

/// Of what must not be lost: a start without a loss, or none.
async fn whole(_: &Started) -> Answer {
    Answer::Whole
}

/// A segment for each record, so that there are some that were closed.
fn in_small_segments(config: &mut Config) {
    config.engine.keep.journal_segment = Bytes(1);
}

#[tokio::test]
async fn a_damaged_newest_segment_of_the_journal_stops_the_start() {
    let before = Before::new(|_| ()).await;
    let newest = |config: &mut Config| segment_files(&config.engine.journal_dir()).unwrap().pop().unwrap();
    let answers =
        matrix("scheduler: journal, newest segment", async |harm| before.start(harm, newest, whole).await).await;
    assert!(answers.iter().all(|(_, answer)| *answer == Answer::Refused), "{answers:?}");
}

#[tokio::test]
async fn a_damaged_closed_segment_of_the_journal_stops_the_start() {
    let before = Before::new(in_small_segments).await;
    let closed = |config: &mut Config| {
        let files = segment_files(&config.engine.journal_dir()).unwrap();
        assert!(files.len() >= 3, "{files:?}");
        files[files.len() / 2].clone()
    };
    let answers =
        matrix("scheduler: journal, closed segment", async |harm| before.start(harm, closed, whole).await).await;
    assert!(answers.iter().all(|(_, answer)| *answer == Answer::Refused), "{answers:?}");
}

#[tokio::test]
async fn damage_to_the_note_of_the_journals_head_costs_nothing() {
    let before = Before::new(|_| ()).await;
    let head = |config: &mut Config| config.engine.journal_dir().join("head");
    let answers = matrix("scheduler: journal, `head`", async |harm| before.start(harm, head, whole).await).await;
    assert!(answers.iter().all(|(_, answer)| *answer == Answer::Whole), "{answers:?}");
}

/// Records of the telemetry log that can be read, up to the first that cannot.
fn recorded(config: &Config) -> usize {
    let mut records = 0;
    let kind = telemetry_log::SEGMENT_KIND;
    drop(segments::read_dir(&config.engine.telemetry_dir(), kind, |_| records += 1));
    records
}

#[tokio::test]
async fn a_damaged_telemetry_log_is_told_of_and_recorded_on() {
    let before = Before::new(|_| ()).await;
    let all = recorded(&before.config);
    let newest = |config: &mut Config| segment_files(&config.engine.telemetry_dir()).unwrap().pop().unwrap();
    let judge = async |started: &Started| match (recorded(&started.config) < all, started.told) {
        (false, _) => Answer::Whole,
        (true, true) => Answer::Told,
        (true, false) => Answer::Unmissed,
    };
    let answers = matrix("scheduler: telemetry log", async |harm| before.start(harm, newest, judge).await).await;
    let unmissed: Vec<_> =
        answers.iter().filter(|(_, answer)| *answer == Answer::Unmissed).map(|(it, _)| *it).collect();
    assert_eq!(unmissed, [Harm::Deleted], "a recording that is gone was removed by somebody; anything else is told of");
}

/// What the log says was taken up of the store.
fn taken_up(logs: &Logs) -> Option<String> {
    let text = logs.text();
    text.lines().rev().find(|line| line.contains("taken up from the store")).map(ToOwned::to_owned)
}

async fn store(kind: &str, wanted: fn(&str) -> bool) {
    let before = Before::new(|_| ()).await;
    let all = {
        let logs = Logs::watch();
        let config = before.copy(Harm::Deleted);
        let mut undamaged = SchedulerUnderTest::start(config.clone(), before.time.clock.clone(), &logs).await.unwrap();
        undamaged.crash().await.unwrap();
        std::fs::remove_dir_all(&config.engine.data_dir).unwrap();
        logs.expect("");
        taken_up(&logs)
    };
    assert!(all.is_some(), "nothing is taken up");
    let judge = async |started: &Started| {
        let stats = started.scheduler.engine.stats().await.unwrap();
        let told =
            stats.store_quarantined > 0 || !stats.impairments.is_empty() || started.logs.say("the store has lost");
        match (taken_up(&started.logs) == all, told) {
            (true, _) => Answer::Whole,
            (false, true) => Answer::Told,
            (false, false) => Answer::Unmissed,
        }
    };
    let file = |config: &mut Config| damage::files(&config.engine.store_dir(), wanted).unwrap().pop().unwrap();
    let answers = matrix(kind, async |harm| before.start(harm, file, judge).await).await;
    let well = |(_, answer): &(Harm, Answer)| matches!(answer, Answer::Whole | Answer::Told);
    assert!(answers.iter().all(well), "{answers:?}");
}

#[tokio::test]
async fn a_damaged_data_file_of_the_store_costs_warm_up_and_is_told_of() {
    store("scheduler: store, `db`", |name| name == "db").await;
}

#[tokio::test]
async fn a_damaged_configuration_of_the_store_costs_warm_up_and_is_told_of() {
    store("scheduler: store, `conf`", |name| name == "conf").await;
}

/// A bundle as it ships, in the data directory.
fn bundle(config: &Config, name: &str) -> PathBuf {
    let place = config.engine.data_dir.join(name);
    std::fs::create_dir_all(&config.engine.data_dir).unwrap();
    std::fs::copy(sources::root().join("models/bundles").join(name), &place).unwrap();
    place
}

#[tokio::test]
async fn a_damaged_bundle_of_the_forecaster_is_refused_by_name_and_forecasts_are_made_without() {
    let before = Before::new(|_| ()).await;
    let file = |config: &mut Config| {
        let place = bundle(config, "forecaster.safetensors");
        config.engine.forecast.oversight.mode = ModelMode::Shadow;
        config.engine.forecast.model = Some(place.clone());
        place
    };
    let judge = async |started: &Started| if started.told { Answer::Told } else { Answer::Unmissed };
    let answers = matrix("scheduler: forecaster's bundle", async |harm| before.start(harm, file, judge).await).await;
    assert!(answers.iter().all(|(_, answer)| *answer == Answer::Told), "{answers:?}");
}

#[tokio::test]
async fn a_damaged_bundle_of_the_policy_stops_the_start() {
    let before = Before::new(|_| ()).await;
    let file = |config: &mut Config| {
        let place = bundle(config, "policy.safetensors");
        config.engine.policy = "dqn".into();
        config.engine.policy_bundle = Some(place.clone());
        place
    };
    let answers = matrix("scheduler: policy's bundle", async |harm| before.start(harm, file, whole).await).await;
    assert!(answers.iter().all(|(_, answer)| *answer == Answer::Refused), "{answers:?}");
}
