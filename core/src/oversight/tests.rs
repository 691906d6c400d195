//! The oversight against models that know, err, lie, dawdle and panic, over fleets whose demand is known.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;

use super::{
    breaker::{Breaker, Reason, Rival},
    resource::Target,
    *,
};
use crate::{
    ewma::EwmaForecaster,
    fixture::{Fleet, NOW, vm_id},
    forecast::{LEVELS, Quantiles, ResourceForecast, STEP, StateRefused},
    sample::{Reading, VmState},
    units::{Bytes, Cores, nanos_of},
};

const MINUTE: Duration = Duration::from_secs(60);
const GIB: f64 = 1_073_741_824.0;

/// What every vm uses in a step: jumps that nobody can know who does not know them.
fn demand(slot: u64) -> f64 {
    0.5 + f64::from(u32::try_from(slot.wrapping_mul(7919) % 6).unwrap()) / 2.0
}

fn slot_of(now: Timestamp) -> u64 {
    now.nanos() / nanos_of(STEP)
}

/// How a model behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    Knows,
    /// Wrong by this factor.
    Off(f64),
    /// Says that the last step comes again, and is sure of it.
    Repeats,
    NoNumber,
    Crossing,
    Absurd,
    Panics,
}

/// A model that has seen the future, and tells it in its own manner.
#[derive(Debug, Clone)]
struct Seer {
    manner: Arc<Mutex<Manner>>,
    /// The only vm it tells anything absurd of.
    odd: VmId,
    blind_to: Option<VmId>,
}

impl Seer {
    fn new(manner: Manner) -> (Self, Arc<Mutex<Manner>>) {
        let manner = Arc::new(Mutex::new(manner));
        (Self { manner: Arc::clone(&manner), odd: vm_id(1), blind_to: None }, manner)
    }
}

fn about(value: f64) -> Quantiles {
    Quantiles([0.98, 1.0, 1.01, 1.02, 1.03].map(|factor| factor * value))
}

fn resource(step: f64, hour: f64) -> ResourceForecast {
    ResourceForecast { steps: [about(step); 3], max_30_min: about(hour), max_60_min: about(hour), sums: None }
}

impl Forecaster for Seer {
    fn name(&self) -> &'static str {
        "seer"
    }

    fn observe(&mut self, _sample: &VmSample) {}

    fn forget(&mut self, _vm: VmId) {}

    fn forecast(&self, vm: VmId, now: Timestamp) -> Option<VmForecast> {
        if self.blind_to == Some(vm) {
            return None;
        }
        let manner = *self.manner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let slot = slot_of(now);
        let hour = (slot..slot + 12).map(demand).fold(0.0, f64::max);
        let factor = if let Manner::Off(factor) = manner { factor } else { 1.0 };
        let step = if manner == Manner::Repeats { demand(slot - 1) } else { demand(slot) * factor };
        let mut forecast =
            VmForecast { cpu: resource(step, hour * factor), memory: resource(GIB, GIB), ..VmForecast::default() };
        match manner {
            Manner::Panics => panic!("cannot see"),
            Manner::NoNumber => forecast.memory.steps[2].0[4] = f64::NAN,
            Manner::Crossing => forecast.cpu.max_30_min.0 = [0.5, 0.4, 0.6, 0.7, 0.8],
            Manner::Absurd if vm == self.odd => forecast.cpu.steps[0].0[4] = 1e6,
            Manner::Knows | Manner::Off(_) | Manner::Repeats | Manner::Absurd => {}
        }
        Some(forecast)
    }
}

/// A fleet in time, under oversight.
struct Play {
    fleet: Fleet,
    supervised: Supervised,
}

impl Play {
    fn new(vms: usize, settings: OversightSettings) -> Self {
        let mut fleet = Fleet::new(&[("a", vec![1.0; vms].as_slice())]);
        fleet.snapshot.taken_at = Timestamp(nanos_of(STEP) * slot_of(NOW));
        let oversight = Oversight::new(Box::new(EwmaForecaster::default()), settings);
        Self { fleet, supervised: Supervised::new(oversight) }
    }

    fn with(vms: usize, mode: ModelMode, seer: Seer) -> Self {
        let settings = OversightSettings { mode, scores_min: 20, ..OversightSettings::default() };
        let mut play = Self::new(vms, settings);
        play.load(seer, "1");
        play
    }

    fn load(&mut self, seer: Seer, identity: &str) {
        self.supervised.load(Box::new(seer), identity, self.now());
    }

    fn now(&self) -> Timestamp {
        self.fleet.snapshot.taken_at
    }

    /// Lets `span` pass, with a sample of each vm and a cycle every minute.
    fn pass(&mut self, span: Duration) {
        let end = self.now().after(span);
        while self.now() < end {
            let now = self.now().after(MINUTE);
            self.fleet.snapshot.taken_at = now;
            let used = demand(slot_of(Timestamp(now.nanos() - 1)));
            for vm in self.fleet.snapshot.vms.keys() {
                self.supervised.observe(&VmSample {
                    vm: *vm,
                    taken_at: now,
                    state: VmState::Running,
                    cpu_used: Reading::Measured(Cores(used)),
                    memory_used: Reading::Measured(Bytes::from_gib(1)),
                    ..VmSample::default()
                });
            }
            self.supervised.cycle(&self.fleet.snapshot);
        }
    }

    fn forecasts(&self) -> Forecasts {
        self.supervised.forecasts(&self.fleet.snapshot)
    }

    fn method(&self) -> String {
        self.forecasts().method
    }

    fn report(&self) -> Report {
        self.supervised.oversight.report()
    }

    fn why(&self) -> Option<Reason> {
        self.report().breaker.why().cloned()
    }

    fn notes(&mut self) -> Vec<Note> {
        self.supervised.oversight.take_notes()
    }
}

const HOURS: fn(u64) -> Duration = |hours| Duration::from_secs(hours * 3600);

#[test]
fn without_a_model_the_fallback_forecasts_and_is_scored_beside_persistence() {
    let mut play = Play::new(3, OversightSettings::default());
    play.pass(HOURS(3));
    assert_eq!(play.method(), "ewma");
    let report = play.report();
    let score = report.scores.of(Resource::Cpu, Target::Step);
    assert!(score.count >= 3 * 30 && score.fallback() > 0.0 && score.persistence() > 0.0, "{score:?}");
    assert_eq!(score.model(), 0.0);
}

#[test]
fn a_model_that_is_off_is_not_there() {
    let settings = OversightSettings { mode: ModelMode::Off, ..OversightSettings::default() };
    let mut play = Play::new(1, settings);
    play.supervised.oversight.model_loaded("seer", "1");
    play.pass(HOURS(1));
    assert_eq!((play.method().as_str(), play.report().mode), ("ewma", ModelMode::Off));
}

#[test]
fn a_model_that_knows_is_used_once_it_has_been_better_for_a_day_and_not_before() {
    let mut play = Play::with(4, ModelMode::Shadow, Seer::new(Manner::Knows).0);
    play.pass(HOURS(24));
    assert_eq!(play.method(), "ewma (seer: in the shadow)");
    assert_eq!(play.report().mode, ModelMode::Shadow);
    play.pass(HOURS(4));
    assert_eq!(play.method(), "seer");
    let forecast = play.forecasts().vms[&vm_id(1)];
    assert_eq!(forecast.steps[0], about(demand(slot_of(play.now()))));
    let notes = play.notes();
    assert!(notes.len() == 1 && !notes[0].is_warning && notes[0].text.contains("is used now"), "{notes:?}");
}

#[test]
fn a_model_that_is_no_better_stays_in_the_shadow() {
    for manner in [Manner::Repeats, Manner::Off(0.5), Manner::Off(1.6)] {
        let mut play = Play::with(4, ModelMode::Shadow, Seer::new(manner).0);
        play.pass(HOURS(48));
        assert_eq!(play.report().mode, ModelMode::Shadow, "{manner:?}");
        assert!(play.method().starts_with("ewma (seer: in the shadow"), "{}", play.method());
        assert!(play.notes().iter().all(|note| !note.is_warning), "to be worse is what the shadow is for");
    }
}

#[test]
fn a_model_in_use_that_goes_bad_is_set_aside_within_the_hour_and_says_why() {
    let (seer, manner) = Seer::new(Manner::Knows);
    let mut play = Play::with(4, ModelMode::Active, seer);
    play.pass(HOURS(12));
    assert_eq!(play.method(), "seer");
    *manner.lock().unwrap() = Manner::Off(0.1);
    play.pass(MINUTE * 45);
    let Some(Reason::Pinball { resource: Resource::Cpu, target: Target::Step, times, rival: Rival::Fallback }) =
        play.why()
    else {
        panic!("{:?}", play.report())
    };
    assert!(times > 1.25, "{times}");
    assert_eq!(play.method(), format!("ewma (seer: pinball {times:.1} times the fallback's for cpu in 5 min)"));
    let notes = play.notes();
    assert!(notes.len() == 1 && notes[0].is_warning && notes[0].text.contains("set aside"), "{notes:?}");
}

#[test]
fn a_model_that_has_recovered_is_on_probation_and_then_trusted_again() {
    let (seer, manner) = Seer::new(Manner::Off(0.1));
    let mut play = Play::with(4, ModelMode::Active, seer);
    play.pass(HOURS(2));
    assert_eq!(play.report().breaker.name(), "open");
    *manner.lock().unwrap() = Manner::Knows;
    let mut seen = Vec::new();
    for _ in 0..24 * 60 {
        play.pass(MINUTE);
        let name = play.report().breaker.name();
        if seen.last() != Some(&name) {
            seen.push(name);
        }
    }
    assert_eq!(seen, ["open", "half_open", "closed"]);
    assert_eq!(play.method(), "seer");
}

#[test]
fn a_model_that_fails_on_probation_waits_twice_as_long() {
    let mut breaker = Breaker::default();
    let late = || Reason::Late { times: 3 };
    let mut waits = Vec::new();
    let mut now = NOW;
    for _ in 0..8 {
        breaker.open(late(), now);
        let Breaker::Open { wait, .. } = breaker else { panic!("{breaker:?}") };
        waits.push(wait.as_secs() / 60);
        assert_eq!(breaker.pass(true, now), None, "not before its time");
        now = now.after(wait);
        assert_eq!(breaker.pass(false, now), None, "not before it has done well");
        breaker.pass(true, now);
    }
    assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1440, 1440]);
}

#[test]
fn forecasts_that_cannot_be_open_the_breaker_at_once_and_reach_nobody() {
    for (manner, words) in [
        (Manner::NoNumber, "ewma (seer: a forecast of memory is no number)"),
        (Manner::Crossing, "ewma (seer: quantiles of cpu cross)"),
        (Manner::Absurd, "ewma (seer: 1 of 4 forecasts are beyond what the vm could do)"),
        (Manner::Panics, "ewma (seer: panicked: cannot see)"),
    ] {
        let mut play = Play::with(4, ModelMode::Active, Seer::new(manner).0);
        play.pass(MINUTE * 5);
        assert_eq!(play.method(), words);
        let cpu = play.forecasts().vms[&vm_id(1)];
        assert!(cpu.steps[0].0.iter().all(|value| *value < 8.0), "{cpu:?}");
        assert!(play.notes().iter().any(|note| note.is_warning));
    }
}

#[test]
fn one_vm_whose_capacity_is_told_wrong_gets_the_fallbacks_and_blames_nobody() {
    let mut play = Play::with(200, ModelMode::Active, Seer::new(Manner::Absurd).0);
    play.pass(MINUTE * 5);
    let forecasts = play.forecasts();
    assert_eq!((forecasts.method.as_str(), forecasts.vms.len()), ("seer", 200));
    assert_eq!((forecasts.source(vm_id(1)), forecasts.source(vm_id(2))), ("ewma", "seer"));
    let sources = Sources::of(&forecasts, 201, &play.report());
    assert_eq!(sources, Sources { model: 199, fallback: 1, none: 1 });
}

#[test]
fn a_vm_the_model_knows_nothing_of_gets_the_fallbacks_forecast() {
    let (mut seer, _) = Seer::new(Manner::Knows);
    seer.blind_to = Some(vm_id(2));
    let mut play = Play::with(3, ModelMode::Active, seer);
    play.pass(MINUTE * 5);
    let forecasts = play.forecasts();
    assert_eq!(forecasts.vms.len(), 3);
    assert_eq!((forecasts.source(vm_id(2)), forecasts.source(vm_id(3))), ("ewma", "seer"));
}

#[test]
fn a_late_answer_is_not_used_and_three_in_a_row_set_the_model_aside() {
    let mut play = Play::with(2, ModelMode::Active, Seer::new(Manner::Knows).0);
    play.pass(MINUTE * 5);
    play.supervised.oversight.late(play.now());
    assert_eq!(play.method(), "ewma (seer: late)");
    play.supervised.oversight.on_time();
    assert_eq!(play.method(), "seer");
    for _ in 0..3 {
        play.supervised.oversight.late(play.now());
    }
    assert_eq!(play.method(), "ewma (seer: late 3 times in a row)");
    assert_eq!(play.notes().len(), 1);
}

#[test]
fn a_panicked_model_is_not_asked_again_and_a_new_one_begins_anew() {
    let (seer, manner) = Seer::new(Manner::Panics);
    let mut play = Play::with(2, ModelMode::Active, seer.clone());
    play.pass(HOURS(1));
    *manner.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Manner::Knows;
    play.pass(HOURS(6));
    assert_eq!(play.method(), "ewma (seer: panicked: cannot see)");
    play.load(Seer::new(Manner::Knows).0, "2");
    assert_eq!(play.method(), "ewma (seer: no forecast yet)");
    play.pass(MINUTE * 2);
    assert_eq!(play.method(), "seer");
}

#[test]
fn a_model_that_is_refused_is_told_of_with_the_reason() {
    let mut play = Play::new(1, OversightSettings::default());
    play.supervised.oversight.model_refused("no such file");
    play.pass(MINUTE);
    assert_eq!(play.method(), "ewma (no model: no such file)");
}

#[test]
fn coverage_far_off_opens_the_breaker_even_where_the_loss_is_small() {
    let settings = OversightSettings::default();
    let mut scores = Scores::default();
    let levels = |value: f64| Quantiles([value; LEVELS.len()]);
    for index in 0..200 {
        let came = if index % 2 == 0 { 1.1 } else { 0.9 };
        let due = score::Due { model: Some(levels(1.0)), fallback: levels(0.6), last: 2.0, came, ceiling: 1.0 };
        scores.add(Resource::Cpu, Target::Step, &due, NOW);
    }
    let Some(Reason::Coverage { share, .. }) = breaker::verdict(&scores, &settings) else { panic!("{scores:?}") };
    assert!((share - 0.5).abs() < 1e-9);
    let text = breaker::verdict(&scores, &settings).unwrap().to_string();
    assert_eq!(text, "50 % below the 95 % quantile for cpu in 5 min");
}

#[test]
fn flat_demand_that_everyone_foretells_speaks_against_nobody() {
    let mut scores = Scores::default();
    let levels = |value: f64| Quantiles([value; LEVELS.len()]);
    for _ in 0..500 {
        let due = score::Due { model: Some(levels(0.999)), fallback: levels(1.0), last: 1.0, came: 1.0, ceiling: 4.0 };
        scores.add(Resource::Memory, Target::Step, &due, NOW);
    }
    assert_eq!(breaker::verdict(&scores, &OversightSettings::default()), None);
}

#[test]
fn what_waits_to_come_due_is_bounded_whatever_the_fleet() {
    let mut play = Play::with(1000, ModelMode::Active, Seer::new(Manner::Knows).0);
    play.pass(HOURS(2));
    let pending = play.report().pending;
    assert!(pending > 256 && pending <= 256 * 5, "{pending}");
    let score = *play.report().scores.of(Resource::Cpu, Target::Step);
    assert!(score.count <= 256 * 24, "{score:?}");
}

#[test]
fn a_vm_that_is_gone_is_forgotten_by_all() {
    let mut play = Play::with(2, ModelMode::Active, Seer::new(Manner::Knows).0);
    play.pass(HOURS(1));
    play.fleet.snapshot.vms.remove(&vm_id(2));
    play.pass(MINUTE);
    assert!(!play.forecasts().vms.contains_key(&vm_id(2)));
    assert!(play.supervised.oversight.history(vm_id(2)).is_empty());
    assert!(!play.supervised.oversight.history(vm_id(1)).is_empty());
}

#[test]
fn a_model_need_not_prove_itself_anew_after_a_restart_but_another_one_must() {
    let mut before = Play::with(4, ModelMode::Shadow, Seer::new(Manner::Knows).0);
    before.pass(HOURS(30));
    assert_eq!(before.report().mode, ModelMode::Active);
    let kept = serde_json::to_string(&before.supervised.oversight.memory().unwrap()).unwrap();
    for (identity, mode) in [("1", ModelMode::Active), ("2", ModelMode::Shadow)] {
        let settings = OversightSettings::default();
        let mut after = Play::new(4, settings);
        after.load(Seer::new(Manner::Knows).0, identity);
        after.supervised.oversight.recall(serde_json::from_str(&kept).unwrap());
        assert_eq!(after.report().mode, mode, "{identity}");
    }
}

/// Sums what it saw: its forecast tells whether a restart lost or doubled anything.
#[derive(Debug, Default)]
struct Sums(BTreeMap<VmId, f64>);

impl Forecaster for Sums {
    fn name(&self) -> &'static str {
        "sums"
    }

    fn observe(&mut self, sample: &VmSample) {
        *self.0.entry(sample.vm).or_default() += sample.cpu_used.value().map_or(0.0, Cores::get);
    }

    fn forget(&mut self, vm: VmId) {
        self.0.remove(&vm);
    }

    fn forecast(&self, vm: VmId, _now: Timestamp) -> Option<VmForecast> {
        let sum = Quantiles([*self.0.get(&vm)?; LEVELS.len()]);
        let cpu = ResourceForecast { steps: [sum; 3], max_30_min: sum, max_60_min: sum, sums: None };
        Some(VmForecast { cpu, ..VmForecast::default() })
    }

    fn state(&self, vm: VmId) -> Option<Vec<u8>> {
        Some(self.0.get(&vm)?.to_be_bytes().to_vec())
    }

    fn restore(&mut self, vm: VmId, state: &[u8]) -> Result<(), StateRefused> {
        let bytes = state.try_into().map_err(|_| StateRefused { reason: format!("{} bytes", state.len()) })?;
        self.0.insert(vm, f64::from_be_bytes(bytes));
        Ok(())
    }
}

fn seen(vm: u32, second: u64) -> VmSample {
    let cpu_used = Reading::Measured(Cores(1.0));
    VmSample { vm: vm_id(vm), taken_at: NOW.after(Duration::from_secs(second)), cpu_used, ..VmSample::default() }
}

#[test]
fn a_restart_neither_loses_nor_doubles_what_a_model_has_seen() {
    let mut without = GuardedModel::new(Box::new(Sums::default()));
    let mut before = GuardedModel::new(Box::new(Sums::default()));
    (0..10).for_each(|second| {
        without.observe(&seen(1, second));
        before.observe(&seen(1, second));
    });
    let mut after = GuardedModel::new(Box::new(Sums::default()));
    let restored = after.restore(before.states(), NOW.after(MINUTE));
    assert_eq!(restored, Restored { taken: 1, ..Restored::default() });
    // The store gives the last samples once more.
    (5..12).for_each(|second| after.observe(&seen(1, second)));
    (10..12).for_each(|second| without.observe(&seen(1, second)));
    let vms = [(vm_id(1), Size::default())].into();
    assert_eq!(after.answer(&vms, NOW), without.answer(&vms, NOW));
}

#[test]
fn states_that_are_foreign_or_of_the_future_are_refused_with_a_reason_and_the_vm_begins_anew() {
    let mut model = GuardedModel::new(Box::new(Sums::default()));
    let state = |vm, second, state: &[u8]| SavedState {
        vm: vm_id(vm),
        at: NOW.after(Duration::from_secs(second)),
        state: state.to_vec(),
    };
    let states = vec![state(1, 0, b"too short"), state(2, 60, &[0; 8]), state(3, 0, &[0; 8])];
    let restored = model.restore(states, NOW);
    assert_eq!((restored.taken, restored.refused), (1, 2));
    assert!(restored.why.unwrap().contains("9 bytes"));
    model.observe(&seen(1, 0));
    let answer = model.answer(&[vm_id(1), vm_id(3)].map(|vm| (vm, Size::default())).into(), NOW).said.unwrap();
    assert_eq!(answer[&vm_id(1)].cpu.steps[0].median(), 1.0);
    assert_eq!(answer.len(), 2);
}

#[test]
fn a_replaced_model_hands_its_states_on() {
    let mut model = GuardedModel::new(Box::new(Sums::default()));
    (0..5).for_each(|second| model.observe(&seen(1, second)));
    let restored = model.replace(Box::new(Sums::default()), NOW.after(MINUTE));
    assert_eq!(restored.taken, 1);
    assert_eq!(
        model.answer(&[(vm_id(1), Size::default())].into(), NOW).said.unwrap()[&vm_id(1)].cpu.steps[0].median(),
        5.0
    );
}

#[test]
fn a_forecaster_that_keeps_no_state_refuses_every_state() {
    let refused = EwmaForecaster::default().restore(vm_id(1), &[1]).unwrap_err();
    assert_eq!(refused.to_string(), "ewma keeps no state of a vm");
}

fn manners() -> impl Strategy<Value = Manner> {
    prop_oneof![
        Just(Manner::Knows),
        (0.1..6.0f64).prop_map(Manner::Off),
        Just(Manner::Repeats),
        Just(Manner::NoNumber),
        Just(Manner::Crossing),
        Just(Manner::Absurd),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever a model does, and whenever: forecasts can be, every vm has one, and the same day gives the same bytes.
    #[test]
    fn no_model_makes_a_forecast_that_cannot_be_and_the_same_day_is_the_same(
        days in prop::collection::vec((manners(), 1..90u32, any::<bool>()), 1..8),
    ) {
        let run = || {
            let (seer, manner) = Seer::new(Manner::Knows);
            let mut play = Play::with(3, ModelMode::Active, seer);
            let mut all = Vec::new();
            for (now, minutes, late) in &days {
                *manner.lock().unwrap() = *now;
                play.pass(MINUTE * *minutes);
                if *late { play.supervised.oversight.late(play.now()) } else { play.supervised.oversight.on_time() }
                all.push((play.forecasts(), play.report()));
            }
            all
        };
        let (one, other) = (run(), run());
        prop_assert_eq!(&one, &other);
        for (forecasts, _) in one {
            for forecast in forecasts.vms.values() {
                for quantiles in &forecast.steps {
                    prop_assert!(quantiles.0.iter().all(|value| value.is_finite()) && quantiles.median() >= 0.0);
                    prop_assert!(quantiles.0.windows(2).all(|pair| pair[0] <= pair[1]));
                }
            }
        }
    }
}
