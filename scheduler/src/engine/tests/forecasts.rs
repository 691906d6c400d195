//! A model beside the state task: used, late, hung, panicking, replaced and taken up again after a restart.

use std::{fs, path::PathBuf, sync::atomic::Ordering::Relaxed, time::Duration};

use ballast_core::{
    decision::Mode,
    forecast::Forecasts,
    id::Seq,
    oversight::{ModelMode, Standing},
};
use ballast_daemon::clock::Clock;

use super::harness::{Agent, World};
use crate::{
    engine::{ForecastStats, ToAgent},
    model::Reloaded,
    testing::{
        logs::Logs,
        models::{self, Tape},
        vm,
    },
};

const CYCLE: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(20);

/// A scheduler whose model does as the tape says, its bundle in a file of content `one`.
async fn with_model(mode: ModelMode) -> (World, Tape) {
    let (mut world, tape) = (World::stopped(Mode::Recommend), Tape::default());
    let bundle = world.dir.path().join("model");
    fs::write(&bundle, "one").unwrap();
    world.settings.forecast.model = Some(bundle);
    world.settings.forecast.oversight.mode = mode;
    world.models = models::of_files(tape.clone());
    world.start().await.unwrap();
    (world, tape)
}

impl World {
    fn bundle(&self) -> PathBuf {
        self.settings.forecast.model.clone().unwrap()
    }

    async fn forecasting(&self) -> ForecastStats {
        self.engine().stats().await.unwrap().forecast
    }

    async fn forecasts(&self) -> Forecasts {
        (*self.engine().forecasts().await.unwrap()).clone()
    }

    async fn method(&self) -> String {
        self.forecasts().await.method
    }

    /// Waits, while the engine's time stands still, for what another thread does.
    async fn await_that(&self, what: &str, mut done: impl AsyncFnMut(&ForecastStats) -> bool) {
        let real = Clock::system();
        while !done(&self.forecasting().await).await {
            assert!(real.elapsed() < PATIENCE, "waited in vain: {what}");
            self.settle().await;
        }
    }

    /// The next cycle begins.
    async fn ask(&self) {
        self.driver.advance(CYCLE);
        self.settle().await;
    }

    /// The next cycle, and the model's answer.
    async fn cycle(&self) {
        self.jump(CYCLE).await;
    }

    /// The next look at the bundle, two cycles on, and what comes of it: each cycle's answer is waited for, lest the second find
    /// the model busy. Other threads read it: time stands still meanwhile.
    async fn look(&self) {
        let looks = || self.engine().shared().counters.bundle_looks.load(Relaxed);
        let before = looks();
        self.cycle().await;
        self.cycle().await;
        self.await_that("a look at the bundle", async |_| looks() > before).await;
    }

    async fn jump(&self, span: Duration) {
        let before = self.forecasting().await.answered;
        self.driver.advance(span);
        self.settle().await;
        self.await_that("the model answers", async |stats| stats.answered > before).await;
    }
}

/// Lets an agent report for `count` cycles.
async fn live(world: &World, agent: &mut Agent, count: u32) {
    for beat in 0..count {
        agent.beat(0.5 + f64::from(beat % 3)).await;
        world.cycle().await;
    }
}

#[tokio::test]
async fn a_model_that_may_be_used_forecasts_and_the_answer_says_so() {
    let _logs = Logs::watch();
    let (world, _tape) = with_model(ModelMode::Active).await;
    let mut a = world.agent("a", &[7]).await;
    assert_eq!(world.method().await, "ewma (tape: no forecast yet)");
    live(&world, &mut a, 2).await;
    let forecasts = world.forecasts().await;
    assert_eq!((forecasts.method.as_str(), forecasts.source(vm(7))), ("tape", "tape"));
    assert_eq!(world.engine().outlook("vm7").await.unwrap().source, "tape");
    let stats = world.forecasting().await;
    assert_eq!((stats.late, stats.dropped, stats.report.mode), (0, 0, ModelMode::Active));
}

#[tokio::test]
async fn a_model_in_the_shadow_is_asked_and_nothing_rests_on_it() {
    let _logs = Logs::watch();
    let (world, _tape) = with_model(ModelMode::Shadow).await;
    let mut a = world.agent("a", &[7]).await;
    live(&world, &mut a, 6).await;
    assert_eq!(world.method().await, "ewma (tape: in the shadow)");
    assert_eq!(world.forecasting().await.answered, 6);
    assert_eq!(world.forecasts().await.source(vm(7)), "ewma");
}

#[tokio::test]
async fn a_model_that_is_off_is_never_made() {
    let _logs = Logs::watch();
    let (world, _tape) = with_model(ModelMode::Off).await;
    world.agent("a", &[7]).await;
    world.ask().await;
    assert_eq!(world.method().await, "ewma");
}

#[tokio::test]
async fn a_model_that_hangs_holds_up_neither_telemetry_nor_decisions_and_is_used_again_once_it_is_in_time() {
    let mut logs = Logs::watch();
    let (world, tape) = with_model(ModelMode::Active).await;
    let (mut a, mut b) = world.pair().await;
    live(&world, &mut a, 6).await;
    tape.hold();
    world.ask().await;
    assert_eq!(world.method().await, "tape", "it still has time");
    world.driver.advance(Duration::from_secs(1));
    world.settle().await;
    assert_eq!(world.method().await, "ewma (tape: late)");
    let before = world.engine().stats().await.unwrap();
    logs.expect("tape is set aside: late 3 times in a row");
    for _ in 0..20 {
        a.beat(1.0).await;
        b.beat(0.1).await;
        world.pass(Duration::from_secs(5)).await;
    }
    let after = world.engine().stats().await.unwrap();
    assert_eq!((after.batches - before.batches, after.forecast.dropped), (40, 0));
    assert!(after.rounds > before.rounds, "rounds are held");
    world.await_that("every task turns", async |_| world.engine().is_alive()).await;
    assert_eq!(world.method().await, "ewma (tape: late 3 times in a row)");
    let answered = world.forecasting().await.answered;
    tape.release();
    world.await_that("the late answer", async |stats| stats.answered > answered).await;
    world.cycle().await;
    assert!(matches!(world.forecasting().await.report.standing, Standing::SetAside { .. }), "it has to do well first");
}

#[tokio::test]
async fn one_late_answer_costs_one_cycle() {
    let _logs = Logs::watch();
    let (world, tape) = with_model(ModelMode::Active).await;
    let mut a = world.agent("a", &[7]).await;
    live(&world, &mut a, 2).await;
    tape.hold();
    world.ask().await;
    world.driver.advance(Duration::from_secs(2));
    world.settle().await;
    assert_eq!(world.forecasting().await.late, 1);
    let answered = world.forecasting().await.answered;
    tape.release();
    world.await_that("the late answer", async |stats| stats.answered > answered).await;
    assert_eq!(world.method().await, "ewma (tape: late)");
    world.cycle().await;
    assert_eq!(world.method().await, "tape");
}

#[tokio::test]
async fn a_model_that_panics_is_set_aside_and_takes_nobody_with_it() {
    let mut logs = Logs::watch();
    logs.expect("tape is set aside: panicked: the tape is torn");
    let (world, tape) = with_model(ModelMode::Active).await;
    let mut a = world.agent("a", &[7]).await;
    live(&world, &mut a, 6).await;
    tape.panic();
    world.cycle().await;
    assert_eq!(world.method().await, "ewma (tape: panicked: the tape is torn)");
    assert!(world.forecasts().await.vms.contains_key(&vm(7)), "the fallback knows it");
    a.beat(1.0).await;
    world.cycle().await;
    world.await_that("every task turns", async |_| world.engine().is_alive()).await;
    let reloaded = world.engine().reload_model().await;
    assert!(matches!(reloaded, Reloaded::Newer { .. }), "the same content, but a whole model: {reloaded:?}");
    live(&world, &mut a, 2).await;
    assert_eq!(world.method().await, "tape");
}

#[tokio::test]
async fn forecasts_after_a_restart_are_those_without_one() {
    let _logs = Logs::watch();
    let mut all = Vec::new();
    for restarts in [false, true] {
        let (mut world, _tape) = with_model(ModelMode::Active).await;
        let mut a = world.agent("a", &[7, 8]).await;
        live(&world, &mut a, 20).await;
        if restarts {
            let inventory = a.inventory.clone();
            drop(a);
            world.restart().await;
            assert_eq!(world.forecasting().await.states_restored, 2);
            a = world.connect(Agent::hello(inventory, &world.clock)).await.unwrap();
        }
        live(&world, &mut a, 3).await;
        let forecasts = world.forecasts().await;
        assert_eq!((forecasts.method.as_str(), forecasts.others.len()), ("tape", 0));
        all.push(forecasts.vms);
    }
    assert_eq!(all[0], all[1]);
}

#[tokio::test]
async fn states_of_another_version_are_refused_with_a_reason_and_counted() {
    let mut logs = Logs::watch();
    let (mut world, _tape) = with_model(ModelMode::Active).await;
    let mut a = world.agent("a", &[7]).await;
    live(&world, &mut a, 4).await;
    drop(a);
    world.engine().stop().await;
    world.kill().await;
    fs::write(world.bundle(), "two").unwrap();
    logs.expect("it is of version one, not two");
    world.start().await.unwrap();
    let stats = world.forecasting().await;
    assert_eq!((stats.states_restored, stats.states_refused), (0, 1));
    assert_eq!(logs.count("the model refuses states"), 1);
}

#[tokio::test]
async fn how_a_model_has_done_is_known_after_a_restart() {
    let _logs = Logs::watch();
    let (mut world, _tape) = with_model(ModelMode::Shadow).await;
    let mut a = world.agent("a", &[7]).await;
    live(&world, &mut a, 40).await;
    let scored = world.forecasting().await.report.scores;
    drop(a);
    world.restart().await;
    assert_eq!(world.forecasting().await.report.scores, scored, "taken up from the store");
    assert_ne!(scored, Default::default());
}

#[tokio::test]
async fn a_bundle_that_changes_is_loaded_once_it_is_whole() {
    let logs = Logs::watch();
    let (world, _tape) = with_model(ModelMode::Active).await;
    world.agent("a", &[7]).await;
    fs::write(world.bundle(), "two").unwrap();
    world.look().await;
    assert_eq!(logs.count("a newer model is in place"), 0, "it may still be being written");
    world.look().await;
    assert_eq!(logs.count("a newer model is in place"), 1);
    assert_eq!(world.engine().reload_model().await, Reloaded::Same);
}

#[tokio::test]
async fn a_refused_bundle_leaves_everything_as_it_is_and_says_so_once() {
    let mut logs = Logs::watch();
    let (world, _tape) = with_model(ModelMode::Active).await;
    let mut a = world.agent("a", &[7]).await;
    live(&world, &mut a, 2).await;
    assert_eq!(world.engine().reload_model().await, Reloaded::Same);
    fs::write(world.bundle(), "bad").unwrap();
    logs.expect("the bundle is bad");
    for _ in 0..5 {
        world.look().await;
    }
    assert_eq!((world.forecasting().await.models_refused, logs.count("the bundle is bad")), (1, 1));
    assert_eq!(world.method().await, "tape");
}

#[tokio::test]
async fn a_bundle_that_cannot_be_used_at_the_start_leaves_a_scheduler_without_a_model() {
    let mut logs = Logs::watch();
    logs.expect("the forecaster's model is refused");
    let mut world = World::stopped(Mode::Recommend);
    let bundle = world.dir.path().join("model");
    fs::write(&bundle, "bad").unwrap();
    world.settings.forecast.model = Some(bundle.clone());
    world.models = models::of_files(Tape::default());
    world.start().await.unwrap();
    let method = world.method().await;
    assert!(method.starts_with("ewma (no model: ") && method.ends_with("the bundle is bad)"), "{method}");
    fs::write(&bundle, "one").unwrap();
    assert!(matches!(world.engine().reload_model().await, Reloaded::Newer { .. }));
    assert_eq!(world.method().await, "ewma (tape: in the shadow)");
}

#[tokio::test]
async fn without_a_deadline_the_model_is_waited_for_where_it_is_asked() {
    let _logs = Logs::watch();
    let mut world = World::stopped(Mode::Recommend);
    world.settings.forecast.deadline = None;
    world.settings.forecast.oversight.mode = ModelMode::Active;
    world.models = models::of_files(Tape::default());
    world.start().await.unwrap();
    let mut a = world.agent("a", &[7]).await;
    for _ in 0..3 {
        a.beat(1.0).await;
        world.pass(Duration::from_secs(5)).await;
    }
    assert_eq!(world.method().await, "tape");
    world.restart().await;
    assert_eq!(world.forecasting().await.states_restored, 1);
}

#[tokio::test]
async fn a_killed_scheduler_has_what_its_model_knew_ten_minutes_before() {
    let _logs = Logs::watch();
    let (mut world, _tape) = with_model(ModelMode::Active).await;
    let mut a = world.agent("a", &[7]).await;
    live(&world, &mut a, 42).await;
    // What was handed over before the newest batch is written once that is acknowledged.
    let newest = ToAgent::Ack(Seq(a.seq - 1));
    let mut acknowledged = false;
    while !acknowledged {
        world.driver.advance(Duration::from_millis(50));
        world.settle().await;
        acknowledged = a.waiting().contains(&newest);
    }
    drop(a);
    world.kill().await;
    world.start().await.unwrap();
    assert_eq!(world.forecasting().await.states_restored, 1);
}

#[tokio::test]
async fn a_model_that_hangs_does_not_hold_up_the_stop() {
    let _logs = Logs::watch();
    let (world, tape) = with_model(ModelMode::Active).await;
    let mut a = world.agent("a", &[7]).await;
    live(&world, &mut a, 2).await;
    tape.hold();
    world.ask().await;
    world.driver.advance(Duration::from_secs(1));
    world.settle().await;
    Clock::system().timeout(PATIENCE, world.engine().stop()).await.unwrap();
    tape.release();
}
