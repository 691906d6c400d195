//! What a chooser sees of a host, the fleet and a plan: shares and logarithms about as large as one, the same whatever the size of
//! the fleet.

use std::time::Duration;

use crate::{
    policy::{
        board::{Board, Slot},
        evacuation::Evacuation,
    },
    risk::{HostLoad, MOMENTS, Risk},
    units::count,
};

/// Features of a host and its fleet, the same for every plan.
pub const SHARED: usize = 20;

/// Features of one plan.
pub const OWN: usize = 14;

/// All features of a question about one plan.
pub const FEATURES: usize = SHARED + OWN;

/// Time over which what happened to a host and its vms counts as lately: four hours.
const LATELY: f64 = 4.0 * 3600.0;

/// What is the same for all questions of one round.
pub(super) struct Fleet {
    pool: HostLoad,
    hosts: f64,
    hot: f64,
    hour: (f64, f64),
}

impl Fleet {
    pub(super) fn of(board: &Board<'_>) -> Self {
        let (pool, hosts) = board.pool(|_, _| true);
        let limit = board.tuning().cpu_limit;
        let is_hot = |slot: &&Slot<'_>| slot.is_up() && slot.load.now() > slot.load.capacity * limit;
        let hot = count(board.slots.iter().filter(is_hot).count());
        let of_day = board.view.snapshot.taken_at.since(crate::units::Timestamp::EPOCH).as_secs() % 86_400;
        let angle = std::f64::consts::TAU * Duration::from_secs(of_day).as_secs_f64() / 86_400.0;
        Self { pool, hosts: count(hosts.max(1)), hot, hour: angle.sin_cos() }
    }

    /// Of the host in `slot`, and of the fleet.
    pub(super) fn shared(&self, board: &Board<'_>, slot: usize) -> [f32; SHARED] {
        let (tuning, now) = (board.tuning(), board.view.snapshot.taken_at);
        let slot = &board.slots[slot];
        let (host, load, power) = (slot.host, slot.remaining(), &slot.host.inventory.power);
        let pool = &self.pool;
        let capacity = pool.capacity.get().max(f64::MIN_POSITIVE);
        let lately = |since| (now.since(since).as_secs_f64() / LATELY).min(1.0);
        let youngest = slot.settled.iter().filter_map(|vm| vm.last_moved_at).map(lately).fold(1.0, f64::min);
        let price = tuning.overload_joules_per_core_second * load.capacity.get() / power.idle().get().max(1.0);
        let (ahead, last) = (load.ahead(&board.risk).ratio_of(load.capacity), MOMENTS - 1);
        floats([
            load.utilisation(0),
            ahead,
            load.mean_at(last) / load.capacity.get().max(f64::MIN_POSITIVE),
            load.memory.ratio_of(load.memory_capacity),
            count(load.vms) / 20.0,
            slot.cost - 1.0,
            lately(host.power_since),
            youngest,
            pool.now().get() / capacity,
            pool.mean_at(last) / capacity,
            pool.ahead(&board.risk).ratio_of(pool.capacity),
            pool.memory.ratio_of(pool.memory_capacity),
            10.0 * pool.deviation_at(1, board.risk.correlation) / capacity,
            self.hot / self.hosts,
            self.hour.0,
            self.hour.1,
            price.max(1.0).ln() / 5.0,
            power.break_even().as_secs_f64() / tuning.horizon.as_secs_f64().max(1.0),
            1.0 / self.hosts,
            board.risk.z / 3.0,
        ])
    }
}

/// Of one plan for emptying the host in `slot`.
pub(super) fn own(board: &Board<'_>, slot: usize, plan: &Evacuation) -> [f32; OWN] {
    let (tuning, expected) = (board.tuning(), &plan.expected);
    let idle = board.slots[slot].host.inventory.power.idle().get().max(1.0) * tuning.horizon.as_secs_f64().max(1.0);
    let saved = expected.energy_if_left - expected.energy_if_done;
    let unserved = (expected.overload_if_done - expected.overload_if_left) * tuning.overload_joules_per_core_second;
    let most = |of: &dyn Fn(&HostLoad) -> f64| plan.takers.iter().map(of).fold(0.0, f64::max);
    let bold = Risk { z: 1.0, times: 1.0, ..board.risk };
    let slack = |load: &HostLoad| {
        let (room, deviation) =
            (load.capacity.get() - load.base.get() - load.mean_at(1), load.deviation_at(1, bold.correlation));
        (room / deviation.max(1e-3 * load.capacity.get()).max(f64::MIN_POSITIVE)).clamp(-6.0, 6.0) / 6.0
    };
    let excess: f64 = plan.takers.iter().map(|load| load.unserved(&bold).get()).sum();
    let last = MOMENTS - 1;
    floats([
        plan.level / 2.0,
        expected.gain.get() / idle,
        saved.get() / idle,
        unserved / idle,
        expected.copy_time.as_secs_f64().ln_1p() / 8.0,
        (expected.copied.as_f64() / f64::from(1 << 30)).ln_1p() / 6.0,
        count(plan.moves.len()) / 20.0,
        count(plan.takers.len()) / 10.0,
        most(&|load| load.utilisation(0)),
        most(&|load| load.ahead(&bold).ratio_of(load.capacity)),
        plan.takers.iter().map(slack).fold(1.0, f64::min),
        10.0 * excess / board.slots[slot].load.capacity.get().max(f64::MIN_POSITIVE),
        most(&|load| load.memory.ratio_of(load.memory_capacity)),
        most(&|load| load.mean_at(last) / load.capacity.get().max(f64::MIN_POSITIVE)),
    ])
}

/// Features are bounded, and numbers: what a reading of nonsense would make is cut off.
#[allow(clippy::cast_possible_truncation)] // Seven digits are more than any feature has.
fn floats<const N: usize>(values: [f64; N]) -> [f32; N] {
    values.map(|value| if value.is_nan() { 0.0 } else { value.clamp(-8.0, 8.0) as f32 })
}
