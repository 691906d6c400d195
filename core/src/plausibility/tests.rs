//! What cannot be true is caught by name, and what can be is left as it is.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    id::{BootId, HostId, Seq},
    sample::{AgentHealth, PowerSource, VmState},
    units::Timestamp,
};

const CAPACITY: (Cores, Bytes) = (Cores(10.0), Bytes::from_gib(64));

fn vm(number: u128) -> VmId {
    VmId(Uuid::from_u128(number))
}

fn vm_sample(number: u128) -> VmSample {
    VmSample {
        vm: vm(number),
        state: VmState::Running,
        cpu_used: Reading::Measured(Cores(1.0)),
        steal: Reading::Measured(Ratio(0.02)),
        memory_used: Reading::Measured(Bytes::from_gib(1)),
        net_rx: Reading::Measured(BytesPerSec(1e6)),
        ..VmSample::default()
    }
}

fn batch() -> Batch {
    Batch {
        host: HostId::new("a").unwrap(),
        boot: BootId::default(),
        seq: Seq(1),
        taken_at: Timestamp::EPOCH,
        sample: HostSample {
            cpu_capacity: Cores(10.0),
            cpu_used: Reading::Measured(Cores(3.0)),
            memory_capacity: Bytes::from_gib(64),
            memory_used: Reading::Measured(Bytes::from_gib(20)),
            power: Reading::Estimated(Watts(120.0)),
            power_source: PowerSource::Curve,
            pressure: Pressure::default(),
            agent: AgentHealth::default(),
        },
        vms: vec![vm_sample(1), vm_sample(2)],
    }
}

#[test]
fn what_is_plausible_passes_unchanged() {
    assert_eq!(screen(batch(), Some(CAPACITY)), (batch(), vec![]));
    assert_eq!(screen(batch(), None), (batch(), vec![]));
}

#[test]
fn not_a_number_is_named_with_its_vm() {
    let mut wrong = batch();
    wrong.vms[1].cpu_used = Reading::Measured(Cores(f64::NAN));
    let (screened, absurd) = screen(wrong, Some(CAPACITY));
    assert_eq!(absurd, [format!("vms[{}].cpu_used = NaN: finite and >= 0 needed", vm(2))]);
    assert!(screened.vms[1].cpu_used.is_missing());
    assert_eq!(screened.vms[0], vm_sample(1));
}

#[test]
fn negative_and_infinite_readings_are_missing() {
    let mut wrong = batch();
    wrong.sample.power = Reading::Measured(Watts(-5.0));
    wrong.vms[0].net_rx = Reading::Measured(BytesPerSec(f64::INFINITY));
    let (screened, absurd) = screen(wrong, None);
    assert_eq!(absurd.len(), 2);
    assert!(screened.sample.power.is_missing() && screened.vms[0].net_rx.is_missing());
}

#[test]
fn readings_a_thousand_times_too_large_are_caught() {
    let mut wrong = batch();
    wrong.sample.cpu_used = wrong.sample.cpu_used.map(|used| used * 1000.0);
    wrong.sample.memory_used = wrong.sample.memory_used.map(|used| used.scale(1000.0));
    wrong.sample.power = wrong.sample.power.map(|power| power * 1000.0);
    wrong.vms[0].cpu_used = wrong.vms[0].cpu_used.map(|used| used * 1000.0);
    wrong.vms[0].memory_used = wrong.vms[0].memory_used.map(|used| used.scale(1000.0));
    let (screened, absurd) = screen(wrong, Some(CAPACITY));
    assert_eq!(absurd.len(), 5, "{absurd:?}");
    assert_eq!(absurd[0], "cpu_used = 3000: at most 13.5 possible");
    assert!(screened.vms[0].memory_used.is_missing());
}

#[test]
fn a_capacity_that_cannot_be_gives_way_to_the_known_one() {
    let mut wrong = batch();
    wrong.sample.cpu_capacity = Cores(f64::NAN);
    wrong.sample.memory_capacity = Bytes(u64::MAX);
    let (screened, absurd) = screen(wrong, Some(CAPACITY));
    assert_eq!(absurd.len(), 2);
    assert_eq!((screened.sample.cpu_capacity, screened.sample.memory_capacity), CAPACITY);
}

#[test]
fn shares_may_lie_outside_by_rounding_only() {
    let mut wrong = batch();
    wrong.vms[0].steal = Reading::Measured(Ratio(1.005));
    wrong.vms[1].steal = Reading::Measured(Ratio(1.5));
    wrong.sample.pressure.io_full = Reading::Measured(Ratio(f64::NAN));
    let (screened, absurd) = screen(wrong, None);
    assert_eq!(screened.vms[0].steal, Reading::Measured(Ratio(1.0)));
    assert!(screened.vms[1].steal.is_missing() && screened.sample.pressure.io_full.is_missing());
    assert_eq!(absurd.len(), 2);
}

#[test]
fn a_vm_that_comes_twice_counts_once() {
    let mut wrong = batch();
    wrong.vms.push(vm_sample(1));
    let (screened, absurd) = screen(wrong, None);
    assert_eq!((screened.vms.len(), absurd.len()), (2, 1));
}

#[test]
fn an_inventory_bounds_each_vm_by_its_own_size() {
    let mut inventory = crate::fleet::fixtures::inventory("a", &[(1, VmState::Running)]);
    inventory.memory_capacity = Bytes::from_gib(64);
    let mut wrong = batch();
    wrong.vms[0].cpu_used = Reading::Measured(Cores(4.1));
    wrong.vms[0].memory_used = Reading::Measured(Bytes::from_gib(3));
    wrong.sample.power = Reading::Measured(Watts(2_141.0));
    let (_, absurd) = screen_against(wrong, &inventory);
    assert_eq!(absurd.len(), 3, "{absurd:?}");
}

#[test]
fn a_flood_of_absurd_readings_is_counted_not_listed() {
    let mut wrong = batch();
    wrong.vms = (1..=100).map(|n| VmSample { cpu_used: Reading::Measured(Cores(-1.0)), ..vm_sample(n) }).collect();
    let (_, absurd) = screen(wrong, None);
    assert_eq!(absurd.len(), NAMED_MAX + 1);
    assert_eq!(absurd[NAMED_MAX], "68 more absurd readings");
}

proptest! {
    #[test]
    fn what_is_left_is_sane_and_screening_again_finds_nothing(
        cpu in prop::num::f64::ANY, net in prop::num::f64::ANY, share in prop::num::f64::ANY, memory in any::<u64>(),
    ) {
        let mut wrong = batch();
        wrong.sample.cpu_used = Reading::Measured(Cores(cpu));
        wrong.vms[0].cpu_used = Reading::Estimated(Cores(cpu));
        wrong.vms[0].net_tx = Reading::Measured(BytesPerSec(net));
        wrong.vms[0].steal = Reading::Measured(Ratio(share));
        wrong.vms[0].memory_resident = Reading::Measured(Bytes(memory));
        let (screened, _) = screen(wrong, Some(CAPACITY));
        prop_assert!(screened.vms[0].cpu_used.value().is_none_or(Cores::is_sane));
        prop_assert!(screened.vms[0].net_tx.value().is_none_or(BytesPerSec::is_sane));
        prop_assert_eq!(screen(screened.clone(), Some(CAPACITY)), (screened, vec![]));
    }
}
