//! Each method on vms whose way of life it should be able to learn.

use ballast_core::history::{History, Observed, Shape};
use ballast_models::{
    offline,
    predictor::{Predictor, is_known},
    simple::Simple,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

use super::{Effort, Material, Method, Trainer, plain_lstm::LstmEffort, rows};
use crate::{
    judge::{Tally, judge, pooled},
    split::Judged,
};

/// Little, for tests.
const EFFORT: Effort = Effort {
    rows: 2000,
    svr_rows: 200,
    trees_max: 25,
    lstm: LstmEffort { sizes: (12, 8), epochs: 30, slots_max: 100_000 },
};

/// What a vm did before, the slot, and a number drawn between 0 and 1: what it does next, CPU in percent.
type Life = fn(f32, usize, f32) -> f32;

/// Twenty vms of the same life, each begun at a moment of its own.
fn vms(seed: u64, life: Life) -> Vec<History> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut vm = |index: usize| {
        let offset = random.random_range(0..1000);
        let mut percent = random.random_range(10.0..40.0);
        let slots = (0..400).map(|slot| {
            percent = life(percent, slot + offset, random.random());
            Observed { cpu: percent / 100.0, ..Observed::MISSING }
        });
        History { name: index.to_string(), shape: Shape::default(), first: 0, slots: slots.collect() }
    };
    (0..20).map(&mut vm).collect()
}

fn trained(method: Method, histories: &[History]) -> Box<dyn Predictor> {
    let material = Material { histories: &[histories], short_weight: 1.0 };
    Trainer::new(material, EFFORT, 7).train(method).unwrap()
}

/// What a method does on CPU, one target, over all of `histories`.
fn on_cpu(predictor: &dyn Predictor, histories: &[History], target: usize) -> Tally {
    let mut asked = Judged::default();
    histories.iter().for_each(|history| asked.push(history.clone(), Some(100)));
    pooled(&judge(predictor, &asked.histories, &asked.origins))[0][target]
}

fn error(predictor: &dyn Predictor, histories: &[History]) -> f64 {
    let tally = on_cpu(predictor, histories, 0);
    tally.absolute / f64::from(tally.number)
}

/// Up and down from slot to slot.
fn alternating(_: f32, slot: usize, noise: f32) -> f32 {
    if slot.is_multiple_of(2) { 40.0 + 4.0 * noise } else { 20.0 + 4.0 * noise }
}

#[test]
fn what_alternates_is_learnt_by_all_that_learn() {
    let (seen, new) = (vms(1, alternating), vms(2, alternating));
    let naive = error(&Simple::LAST_VALUE, &new);
    // A cell that has seen twenty vms for a day has not learnt all of it.
    for (method, share) in [(Method::Linear, 0.3), (Method::Svr, 0.3), (Method::Trees, 0.3), (Method::PlainLstm, 0.6)] {
        let off = error(trained(method, &seen).as_ref(), &new);
        assert!(off < share * naive, "{method:?} is off by {off}, the last value by {naive}");
    }
}

#[test]
fn quantiles_of_noise_cover_their_share_on_vms_never_seen() {
    let noisy: Life = |_, _, noise| 20.0 + 10.0 * noise * noise;
    let (seen, new) = (vms(5, noisy), vms(6, noisy));
    let predictor = trained(Method::Linear, &seen);
    for target in [0, 4] {
        let tally = on_cpu(predictor.as_ref(), &new, target);
        let covered = f64::from(tally.covered[2]) / f64::from(tally.number);
        assert!((0.8..=0.98).contains(&covered), "target {target}: {covered} of nine tenths");
    }
}

#[test]
fn every_method_answers_in_order_and_for_a_vm_of_which_little_is_known() {
    let (seen, mut new) = (vms(7, alternating), vms(8, alternating));
    new.truncate(3);
    new[1].slots[1..40].fill(Observed::MISSING);
    new[2].slots[100].memory = 0.5;
    let origins = vec![vec![0, 1, 35, 200]; 3];
    for method in Method::ALL {
        let predictor = trained(method, &seen);
        let said = offline::answers(predictor.as_ref(), &new, &origins);
        assert_eq!(said.len(), 12, "{method:?}");
        for one in said {
            assert!(is_known(&one.answer), "{method:?}: {one:?}");
            assert!(one.answer.as_flattened().iter().all(|quantiles| quantiles.is_sorted()), "{method:?}: {one:?}");
        }
    }
}

#[test]
fn the_same_seed_learns_the_same() {
    let (seen, new) = (vms(9, alternating), vms(10, alternating));
    let origins: Vec<_> = new.iter().map(|_| vec![50, 120]).collect();
    for method in [Method::Linear, Method::Svr, Method::Trees] {
        let [one, other] = [0, 1].map(|_| offline::answers(trained(method, &seen).as_ref(), &new, &origins));
        assert_eq!(one, other, "{method:?}");
    }
}

#[test]
fn rows_are_drawn_by_weight_and_some_vms_are_kept_for_checking() {
    let (long, mut days) = (vms(11, alternating), vms(12, alternating));
    days.iter_mut().for_each(|day| day.slots.truncate(200));
    let of = |short_weight| rows::draw(Material { histories: &[&long, &days], short_weight }, 2000, 1);
    assert!([0.1, 1.0].map(of).iter().all(|drawn| (1800..2200).contains(&drawn.len())));
    // No row of the days is drawn: all come from the long ones, of which five in twenty are kept for checking.
    let long_alone = of(0.0);
    let check = long_alone.iter().filter(|row| row.is_check).count();
    assert!((300..700).contains(&check), "{check} of {}", long_alone.len());
}

#[test]
fn nothing_to_learn_from_is_said() {
    let material = Material { histories: &[], short_weight: 1.0 };
    let error = Trainer::new(material, EFFORT, 1).train(Method::Linear).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("nothing to learn from"), "{error}");
}
