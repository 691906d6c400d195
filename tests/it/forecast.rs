//! What the shipped forecaster is for: two fleets that look alike now and will not in an hour are not treated alike.

use ballast_core::{
    decide::{DecideInput, decide},
    decision::{Decision, Mode, Step, Trigger},
    forecast::{Forecaster as _, Forecasts},
    id::{DecisionId, Epoch, VmId},
    plan::Model,
    policy::{RiskGreedy, View},
    risk::FleetLoad,
    sample::{Reading, VmSample},
    units::{Cores, Timestamp},
};
use ballast_models::{bundle, stream::Streaming};

/// Thursday 5 February 2026, 09:55 UTC.
const NOW: u64 = 1_770_285_300;

/// Days of history before it.
const DAYS: u64 = 5;

/// Cores that the vm `nightly` uses now, and from ten to eleven where it has that habit.
const CALM: f64 = 1.0;
const BURST: f64 = 11.0;

/// Two hosts: one with a vm that uses one core of its twelve, one with a steady vm that could join it.
fn fleet() -> Model {
    let file = format!(
        r#"{{
        "taken_at_unix_seconds": {NOW},
        "hosts": [
            {{ "name": "h1", "cpu_cores": 16, "memory_gib": 64 }},
            {{ "name": "h2", "cpu_cores": 16, "memory_gib": 64 }}
        ],
        "vms": [
            {{ "name": "habit", "host": "h1", "vcpus": 12, "memory_gib": 8, "cpu_recent": [{CALM}] }},
            {{ "name": "steady", "host": "h2", "vcpus": 8, "memory_gib": 4, "cpu_recent": [6.0] }}
        ]
    }}"#
    );
    Model::of(&serde_json::from_str(&file).unwrap()).unwrap()
}

/// What the shipped forecaster says at `NOW` after days in which `habit` did or did not burst from ten to eleven.
fn forecasts(model: &Model, bursts: bool) -> Forecasts {
    let mut forecaster = Streaming::of(&bundle::shipped().unwrap());
    for view in model.snapshot.vms.values() {
        let record = &view.record;
        forecaster.resized(record.vm, record.vcpus, record.memory_max);
        let used = view.cpu_used().unwrap().get();
        let is_habit = record.name == "habit";
        for at in (NOW - DAYS * 86_400..NOW).step_by(300) {
            let cores = if is_habit && bursts && at % 86_400 / 3600 == 10 { BURST } else { used };
            forecaster.observe(&sample(record.vm, at, cores));
            forecaster.advance(Timestamp::from_secs(at));
        }
    }
    let now = Timestamp::from_secs(NOW);
    forecaster.advance(now);
    Forecasts::of(&forecaster, model.snapshot.vms.keys().copied(), now)
}

fn sample(vm: VmId, at: u64, cores: f64) -> VmSample {
    VmSample {
        vm,
        taken_at: Timestamp::from_secs(at),
        cpu_used: Reading::Measured(Cores(cores)),
        ..VmSample::default()
    }
}

fn decided(model: &Model, forecasts: &Forecasts) -> Decision {
    let load = FleetLoad::of(&model.snapshot, forecasts);
    let view = View { snapshot: &model.snapshot, forecasts, load: &load, tuning: &model.tuning, seed: 1 };
    let id = DecisionId { epoch: Epoch(1), number: 1 };
    decide(&DecideInput { view, id, trigger: Trigger::Round, mode: Mode::Auto }, &mut RiskGreedy)
}

#[test]
fn the_same_present_with_another_future_is_decided_otherwise() {
    let model = fleet();
    let (calm, bursting) = (forecasts(&model, false), forecasts(&model, true));
    let moves = |forecasts: &Forecasts| {
        decided(&model, forecasts).chosen.steps.iter().filter(|one| matches!(one.step, Step::Migrate(_))).count()
    };
    assert_eq!(moves(&calm), 1, "two hosts for seven cores are one too many");
    assert_eq!(moves(&bursting), 0, "at ten o'clock there would be no room for both");
}
