//! What is promised and how it is judged, on small fleets; and which vms count as straying together.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    fixture::{Fleet, NOW, forecast_of, host_id, vm_id},
    forecast::Forecasts,
    id::{BootId, Seq},
    sample::{Batch, HostSample, Reading, VmSample, VmState},
    units::{Cores, Timestamp, count},
};

const MINUTE: Duration = Duration::from_secs(60);

/// A fleet whose risk is measured.
fn fleet(hosts: &[(&str, &[f64])]) -> Fleet {
    let mut fleet = Fleet::new(hosts);
    fleet.tuning.overload_share_max = Some(0.01);
    fleet.forecast(1.5);
    fleet
}

fn inform(risk: &mut HostRisk, fleet: &mut Fleet) -> Option<Kept> {
    risk.inform(&fleet.snapshot, &mut fleet.forecasts, &fleet.tuning)
}

/// What a host reports `minutes` after the promises were made: its vms by number, with their use.
fn batch(host: &str, minutes: u32, vms: &[(u32, f64)]) -> Batch {
    let taken_at = NOW.after(MINUTE * minutes);
    let vm = |(number, used): &(u32, f64)| VmSample {
        vm: vm_id(*number),
        taken_at,
        state: VmState::Running,
        cpu_used: Reading::Measured(Cores(*used)),
        ..VmSample::default()
    };
    let used = vms.iter().map(|(_, used)| used).sum();
    let sample = HostSample { cpu_used: Reading::Measured(Cores(used)), ..HostSample::default() };
    let vms = vms.iter().map(vm).collect();
    Batch { host: host_id(host), boot: BootId::default(), seq: Seq(u64::from(minutes)), taken_at, sample, vms }
}

/// What came of the promises made for `fleet`, where this was reported.
fn judged(mut fleet: Fleet, batches: &[Batch]) -> Kept {
    let mut risk = HostRisk::default();
    assert_eq!(inform(&mut risk, &mut fleet), None, "nothing is over yet");
    batches.iter().for_each(|batch| risk.observe(batch));
    fleet.snapshot.taken_at = NOW.after(PROMISED_FOR);
    inform(&mut risk, &mut fleet).unwrap()
}

#[test]
fn a_promise_is_broken_by_the_most_that_came_and_not_by_the_last() {
    let quiet = [batch("a", 1, &[(1, 1.0), (2, 1.0)]), batch("a", 5, &[(1, 1.1), (2, 1.1)])];
    assert_eq!(judged(fleet(&[("a", &[1.0, 1.0])]), &quiet), Kept { promises: 1, broken: 0 });
    let peak = [batch("a", 1, &[(1, 3.0), (2, 3.0)]), batch("a", 5, &[(1, 1.0), (2, 1.0)])];
    assert_eq!(judged(fleet(&[("a", &[1.0, 1.0])]), &peak), Kept { promises: 1, broken: 1 });
}

#[test]
fn what_comes_after_the_step_does_not_count() {
    let late = [batch("a", 5, &[(1, 1.0)]), batch("a", 6, &[(1, 4.0)])];
    assert_eq!(judged(fleet(&[("a", &[1.0])]), &late), Kept { promises: 1, broken: 0 });
}

#[test]
fn a_vm_that_comes_later_is_not_counted_against_the_host() {
    let come = [batch("a", 2, &[(1, 1.0), (2, 3.0)]), batch("b", 2, &[])];
    assert_eq!(judged(fleet(&[("a", &[1.0]), ("b", &[3.0])]), &come), Kept { promises: 2, broken: 0 });
}

#[test]
fn a_vm_that_leaves_is_followed_to_where_it_goes() {
    let leaves =
        [batch("a", 1, &[(1, 1.0), (2, 1.0)]), batch("a", 2, &[(1, 1.0)]), batch("b", 2, &[(2, 4.0), (3, 1.0)])];
    assert_eq!(judged(fleet(&[("a", &[1.0, 1.0]), ("b", &[1.0])]), &leaves), Kept { promises: 2, broken: 1 });
}

#[test]
fn nothing_is_promised_of_what_cannot_be_compared() {
    let report = [batch("a", 1, &[(1, 4.0)]), batch("b", 1, &[(2, 4.0)])];
    let hosts = || fleet(&[("a", &[1.0]), ("b", &[1.0])]);
    let judged_with = |change: fn(&mut Fleet)| {
        let mut fleet = hosts();
        change(&mut fleet);
        judged(fleet, &report).promises
    };
    assert_eq!(judged_with(|_| ()), 2);
    assert_eq!(judged_with(|fleet| fleet.fly(1, "b")), 0, "a vm in flight counts on both hosts");
    assert_eq!(judged_with(|fleet| fleet.forecasts.vms.retain(|vm, _| *vm != vm_id(1))), 1, "an unknown vm");
    assert_eq!(judged_with(|fleet| fleet.host("a").doubts.push(crate::snapshot::Doubt::Disconnected)), 1);
    assert_eq!(judged_with(|fleet| fleet.forecasts.vms.extend([(vm_id(1), forecast_of(1.0, 1.0))])), 1, "no spread");
}

#[test]
fn where_the_operator_fixes_the_risk_nothing_is_measured() {
    let mut fleet = fleet(&[("a", &[1.0])]);
    (fleet.tuning.overload_share_max, fleet.tuning.risk_priced) = (None, false);
    let mut risk = HostRisk::default();
    assert_eq!(inform(&mut risk, &mut fleet), None);
    assert_eq!((fleet.forecasts.risk, risk), (None, HostRisk::default()));
}

#[test]
fn what_nothing_was_measured_of_yet_is_promised_what_was_assumed() {
    let mut fleet = fleet(&[("a", &[1.0, 2.0, 3.0]), ("b", &[])]);
    let risk = Risk::of(&fleet.tuning);
    let ahead = |fleet: &Fleet, host| {
        FleetLoad::of(&fleet.snapshot, &fleet.forecasts).host(&host_id(host)).unwrap().ahead(&risk).get()
    };
    let assumed = ahead(&fleet, "a");
    inform(&mut HostRisk::default(), &mut fleet);
    assert!(fleet.forecasts.risk.is_some());
    assert!((ahead(&fleet, "a") - assumed).abs() < 1e-12, "{} {assumed}", ahead(&fleet, "a"));
    let pool = FleetLoad::of(&fleet.snapshot, &fleet.forecasts).pool(|_| true);
    assert!((pool.z.unwrap() - fleet.tuning.risk_z).abs() < 1e-12);
}

#[test]
fn what_was_learned_survives_a_restart() {
    let mut fleet = fleet(&[("a", &[1.0, 1.0]), ("b", &[1.0, 1.0])]);
    let mut risk = HostRisk::default();
    inform(&mut risk, &mut fleet);
    let high = |host, first: u32| batch(host, 1, &[(first, 3.0), (first + 1, 3.0)]);
    [high("a", 1), high("b", 3)].iter().for_each(|batch| risk.observe(batch));
    fleet.snapshot.taken_at = NOW.after(PROMISED_FOR);
    inform(&mut risk, &mut fleet);
    let measured = risk.measured().cloned().unwrap();
    assert!(measured.fleet_z > fleet.tuning.risk_z, "{measured:?}");
    let kept = serde_json::to_string(&risk).unwrap();
    let mut again: HostRisk = serde_json::from_str(&kept).unwrap();
    inform(&mut again, &mut fleet);
    assert_eq!((again.measured(), again.kept()), (Some(&measured), Kept { promises: 2, broken: 2 }));
}

/// Errors of `moments` moments: vms up to `clones` stray together, all others by themselves.
fn learned(vms: u32, clones: u32, moments: u64) -> Correlations {
    let mut correlations = Correlations::default();
    let mut seed = 1_u64;
    let mut luck = || {
        // A sum of twelve uniform numbers less six: nearly normal. The generator is Knuth's MMIX.
        let mut unit = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(seed >> 33).unwrap()) / 2_147_483_648.0
        };
        (0..12).map(|_| unit()).sum::<f64>() - 6.0
    };
    for _ in 0..moments {
        let common = luck();
        let error = |number| (vm_id(number), if number <= clones { 0.9 * common + 0.436 * luck() } else { luck() });
        let errors: Vec<_> = (1..=vms).map(error).collect();
        correlations.observe(&errors, &BTreeMap::new());
    }
    correlations
}

#[test]
fn a_host_of_clones_is_riskier_than_a_host_of_strangers() {
    let correlations = learned(40, 8, 3 * 288);
    let mut fleet = fleet(&[("clones", &[1.0; 8]), ("strangers", &[1.0; 8])]);
    fleet.forecasts.risk = Some(std::sync::Arc::new(MeasuredRisk {
        fleet_z: 2.0,
        loading: correlations.mean_loading(0.1),
        loadings: correlations.loadings(0.1),
        ..MeasuredRisk::default()
    }));
    let load = FleetLoad::of(&fleet.snapshot, &fleet.forecasts);
    let spread = |host| load.host(&host_id(host)).unwrap().spread(1, 0.1);
    let one = forecast_of(1.0, 1.5).steps[0].moments().deviation;
    let (clones, strangers) = (spread("clones") / one, spread("strangers") / one);
    // Eight clones stray by nearly eight deviations together (0.9² of it is common), eight strangers by the root of eight.
    assert!((5.5..8.0).contains(&clones), "{clones}");
    assert!((2.5..3.6).contains(&strangers), "{strangers}");
}

#[test]
fn strangers_are_found_to_be_strangers_and_nothing_is_made_of_chance() {
    let correlations = learned(60, 0, 288);
    let mean = correlations.mean(0.1);
    assert!(mean < 0.03, "what was assumed fades: {mean}");
    let clones = learned(60, 60, 288).mean(0.1);
    assert!((0.6..0.81).contains(&clones), "{clones}");
}

#[test]
fn a_vm_that_is_new_counts_as_the_average_one() {
    let mut correlations = learned(30, 30, 288);
    let known = correlations.mean_loading(0.1);
    let errors: Vec<_> = (1..=31).map(|number| (vm_id(number), 0.0)).collect();
    correlations.observe(&errors, &BTreeMap::new());
    let new = correlations.loadings(0.1)[&vm_id(31)];
    assert!((new / known - 1.0).abs() < 0.05, "{new} {known}");
}

#[test]
fn a_bundle_that_strays_together_is_riskier_than_its_vms_apart() {
    let mut correlations = Correlations::default();
    let bundles: BTreeMap<_, _> = (1..=4).map(|number| (vm_id(number), "web")).collect();
    for moment in 0..400_u32 {
        let sign = |bits: u32| if (moment / bits).is_multiple_of(2) { 1.0 } else { -1.0 };
        let error = |number: u32| (vm_id(number), if number <= 4 { sign(1) } else { sign(1 << (number % 5 + 1)) });
        correlations.observe(&(1..=20).map(error).collect::<Vec<_>>(), &bundles);
    }
    let mut fleet = fleet(&[("a", &[1.0; 4])]);
    (1..=4).for_each(|number| fleet.record(number).labels.affinity.extend(["web".to_owned()]));
    let measured = |bundles| MeasuredRisk { fleet_z: 2.0, loading: 0.2, bundles, ..MeasuredRisk::default() };
    let spread = |fleet: &mut Fleet, bundles| {
        fleet.forecasts.risk = Some(std::sync::Arc::new(measured(bundles)));
        FleetLoad::of(&fleet.snapshot, &fleet.forecasts).host(&host_id("a")).unwrap().spread(1, 0.1)
    };
    let (together, apart) = (spread(&mut fleet, correlations.bundles(0.1)), spread(&mut fleet, BTreeMap::new()));
    assert!(together > 1.5 * apart, "{together} {apart}");
}

fn step_of(kept: Kept) -> BTreeMap<HostClass, Kept> {
    let mut fleet = Fleet::new(&[("a", &[])]);
    BTreeMap::from([(HostClass::of(fleet.inventory("a")), kept)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever demand does: where no step is beyond the bound on one raise and z meets none of its ends, what was broken
    /// adds up to what was allowed but for the way that z has gone.
    #[test]
    fn broken_promises_add_up_to_what_was_allowed_but_for_the_change_of_z(
        broken in prop::collection::vec(0..6_u64, 50..400), allowed in 0.005..0.2f64,
    ) {
        let (mut calibration, mut sum) = (Calibration::default(), Kept::default());
        let mut ends = false;
        for broken in &broken {
            let kept = Kept { promises: 100, broken: *broken };
            calibration.observe(&step_of(kept), allowed, 5.0);
            sum.add(kept);
            ends |= calibration.fleet_z(5.0) <= 0.0 || calibration.fleet_z(5.0) >= Z_MAX;
        }
        let gain = 10.0_f64.min(0.2 / allowed);
        let moved = (calibration.fleet_z(5.0) - 5.0) / (gain * count(broken.len()));
        prop_assert!(ends || (sum.share() - allowed - moved).abs() < 1e-9, "{sum:?} {moved}");
    }

    /// However few hosts and however much is allowed, no single step throws z about.
    #[test]
    fn one_step_moves_z_by_little(
        hosts in 1..2000_u64, share in 0.0..=1.0f64, allowed in 0.0005..0.5f64, before in 0..20_usize,
    ) {
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Small counts.
        let broken = (share * hosts as f64) as u64;
        let mut calibration = Calibration::default();
        (0..=before).for_each(|_| calibration.observe(&step_of(Kept { promises: hosts, broken: 0 }), allowed, 5.0));
        let z = calibration.fleet_z(5.0);
        calibration.observe(&step_of(Kept { promises: hosts, broken }), allowed, 5.0);
        let moved = calibration.fleet_z(5.0) - z;
        prop_assert!((-0.2 - 1e-9..=2.0 + 1e-9).contains(&moved), "{moved}");
    }

    #[test]
    fn z_is_a_number_within_its_bounds_whatever_comes(
        steps in prop::collection::vec((0..5000_u64, 0..5000_u64), 0..200), allowed in 0.0005..0.5f64, start in 0.0..10.0f64,
    ) {
        let mut calibration = Calibration::default();
        for (promises, broken) in steps {
            calibration.observe(&step_of(Kept { promises, broken: broken.min(promises) }), allowed, start);
        }
        for class in step_of(Kept::default()).keys() {
            prop_assert!((0.0..=Z_MAX).contains(&calibration.z(class, start)));
        }
    }

    #[test]
    fn loadings_are_shares_whatever_errors_come(
        moments in prop::collection::vec(prop::collection::vec(prop::num::f64::ANY, 0..8), 0..40),
        assumed in 0.0..1.0f64,
    ) {
        let mut correlations = Correlations::default();
        for errors in moments {
            let errors: Vec<_> = (1..).map(vm_id).zip(errors).collect();
            let bundles = errors.iter().map(|(vm, _)| (*vm, "all")).collect();
            correlations.observe(&errors, &bundles);
        }
        let loadings = correlations.loadings(assumed).into_values().chain(correlations.bundles(assumed).into_values());
        for share in loadings.chain([correlations.mean(assumed)]) {
            prop_assert!((0.0..=1.0).contains(&share), "{share}");
        }
    }

    /// Taking vms on and off, whatever they have in common, leaves a host as it was; a spread is never less than nothing.
    #[test]
    fn a_measured_host_is_the_same_after_a_vm_has_come_and_gone(
        loadings in prop::collection::vec(0.0..0.95f64, 2..12), spread in 1.0..3.0f64, z in 0.0..10.0f64,
    ) {
        let uses = vec![1.0; loadings.len()];
        let mut fleet = Fleet::new(&[("a", &uses)]);
        fleet.forecast(spread);
        let by_vm: BTreeMap<_, _> = (1..).map(vm_id).zip(loadings).collect();
        let risk = MeasuredRisk { fleet_z: z, loadings: by_vm, ..MeasuredRisk::default() };
        fleet.forecasts = Forecasts { risk: Some(std::sync::Arc::new(risk)), ..fleet.forecasts };
        let load = FleetLoad::of(&fleet.snapshot, &fleet.forecasts);
        let (host, vm) = (load.host(&host_id("a")).unwrap(), load.vm(vm_id(1)).unwrap());
        let again = host.without(vm).with(vm);
        let risk = Risk::of(&fleet.tuning);
        prop_assert!((again.ahead(&risk).get() - host.ahead(&risk).get()).abs() < 1e-6);
        prop_assert!(host.without(vm).spread(1, 0.1) <= host.spread(1, 0.1) + 1e-9);
    }
}

#[test]
fn a_clock_that_was_set_back_ends_promises() {
    let mut fleet = fleet(&[("a", &[1.0])]);
    let mut risk = HostRisk::default();
    inform(&mut risk, &mut fleet);
    fleet.snapshot.taken_at = Timestamp::from_secs(10);
    assert_eq!(inform(&mut risk, &mut fleet), Some(Kept::default()));
}

/// A fleet with four vms of two cores, whose risk is priced.
fn priced() -> Fleet {
    let mut fleet = fleet(&[("a", &[2.0; 4]), ("b", &[])]);
    fleet.tuning.overload_share_max = None;
    fleet
}

/// The caution after steps in each of which every vm asked for so much.
fn cautious_after(steps: &[f64]) -> f64 {
    let (mut fleet, mut risk) = (priced(), HostRisk::default());
    inform(&mut risk, &mut fleet);
    for asked in steps {
        let at = fleet.snapshot.taken_at;
        let mut came = batch("a", 1, &[1, 2, 3, 4].map(|vm| (vm, *asked)));
        came.taken_at = at.after(Duration::from_secs(60));
        risk.observe(&came);
        fleet.snapshot.taken_at = at.after(PROMISED_FOR);
        inform(&mut risk, &mut fleet);
    }
    fleet.forecasts.risk.unwrap().fleet_z
}

#[test]
fn priced_risk_begins_where_the_operator_says() {
    assert_eq!(cautious_after(&[]), priced().tuning.risk_z);
}

#[test]
fn demand_that_comes_as_foretold_makes_less_cautious_and_demand_that_does_not_more() {
    let start = priced().tuning.risk_z;
    let (calm, wild) = (cautious_after(&[2.0; 48]), cautious_after(&[4.0; 48]));
    assert!(calm < start, "{calm}");
    assert!(wild > start, "{wild}");
}
