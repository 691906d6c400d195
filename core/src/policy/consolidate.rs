//! Consolidation: empties the hosts whose sleep saves most for the room their vms take elsewhere, all of a host or none.
//!
//! Planned anew every round: a host half emptied is cheaper still to finish, so an evacuation goes on by itself.

use crate::{
    inventory::SleepSupport,
    objective::Objective,
    policy::{
        Advice, aside,
        board::{Board, Slot},
        evacuation::{Evacuation, planned, units_of},
        loss, waiting,
    },
    proposal::{Action, Expectation, Motive, Proposal},
    risk::HostLoad,
    snapshot::VmView,
    units::{Joules, count},
};

/// Share of the fill limit up to which the rest of the fleet may be filled when hosts go to sleep: what lies between this
/// and the limit keeps sleeping and waking from taking turns.
pub(super) const HEADROOM: f64 = 0.9;

/// Evacuations in a row for which no place was found before the round gives up looking: what is left is harder still.
const FAILURES: usize = 32;

/// Hosts in a round for which it is looked whether somebody could step aside: that takes longer than looking for room.
const ASIDES: usize = 4;

/// Who says whether a host is emptied, and how cautiously.
pub(super) trait Judge {
    /// How cautiously evacuations are planned: multiples of the risk that the tuning asks for.
    fn levels(&self) -> &'static [f64];

    /// Which of the plans for emptying `slot` is followed; `None` leaves the host as it is.
    fn choose(&mut self, board: &Board<'_>, slot: usize, plans: &[Evacuation]) -> Option<usize>;
}

/// Empties a host where the model says that it pays.
pub(super) struct Gain;

impl Judge for Gain {
    fn levels(&self) -> &'static [f64] {
        &[1.0]
    }

    fn choose(&mut self, board: &Board<'_>, slot: usize, plans: &[Evacuation]) -> Option<usize> {
        plans.iter().position(|plan| pays(board, slot, &plan.expected))
    }
}

/// Proposes evacuations, at most as many as there may be moves at a time.
pub(super) fn consolidate(board: &mut Board<'_>, advice: &mut Advice, judge: &mut dyn Judge) {
    let (mut found, mut unplaced, mut unpaid, mut failures, mut asked) = (0, 0, 0, 0, 0);
    let mut rest = Rest::of(board);
    for slot in candidates(board) {
        // A host that others are emptied onto by now stays; one that is being relieved is not emptied behind that.
        if board.slots[slot].arriving > 0 || board.slots[slot].gives {
            continue;
        }
        if found == board.tuning().moves_in_fleet || failures == FAILURES || !rest.suffices_without(board, slot) {
            note_loss(board, slot, advice);
            break;
        }
        failures += 1;
        match evacuate(board, slot, judge) {
            Ok(proposal) => {
                advice.proposals.push(proposal);
                rest.empty(&board.slots[slot].load);
                (found, failures) = (found + 1, 0);
            }
            Err(NoWay::Unplaced) if asked < ASIDES => {
                asked += 1;
                match make_room(board, slot) {
                    Some(proposal) => {
                        advice.proposals.push(proposal);
                        found += 1;
                    }
                    None => unplaced += 1,
                }
            }
            Err(NoWay::Unplaced) => unplaced += 1,
            Err(NoWay::Unpaid) => unpaid += 1,
        }
    }
    if unplaced > 0 {
        advice.notes.push(format!("{unplaced} hosts could be emptied only where there is no room"));
    }
    if unpaid > 0 {
        advice.notes.push(format!("{unpaid} hosts could be emptied, but it would cost more than it saves"));
    }
}

enum NoWay {
    Unplaced,
    Unpaid,
}

/// Says where N+1 is what keeps hosts from being emptied.
fn note_loss(board: &Board<'_>, slot: usize, advice: &mut Advice) {
    let fill = board.tuning().cpu_fill_limit * HEADROOM;
    if let Some(lost) = loss::unborne(board, fill, |index, _| index != slot) {
        let host = board.slots[slot].host.id();
        advice.notes.push(format!("{host} is not emptied: without it the loss of {lost} could not be borne"));
    }
}

/// Hosts that may be emptied, the most rewarding first.
pub(super) fn candidates(board: &Board<'_>) -> Vec<usize> {
    let objective = board.objective();
    let may = |slot: &usize| may_be_emptied(board, &objective, &board.slots[*slot]);
    let mut ranked: Vec<(f64, usize)> =
        (0..board.slots.len()).filter(may).map(|slot| (room_over_saving(board, &board.slots[slot]), slot)).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    ranked.into_iter().map(|(_, slot)| slot).collect()
}

fn may_be_emptied(board: &Board<'_>, objective: &Objective<'_>, slot: &Slot<'_>) -> bool {
    let can_go = |vm: &&VmView| {
        board.is_movable(vm) && !board.is_resting(vm) && objective.copy(vm, slot.host, slot.host).converges
    };
    let sleeps = slot.host.inventory.sleep != SleepSupport::None;
    let open = slot.host.is_eligible_target() && sleeps && slot.arriving == 0 && !slot.settled.is_empty();
    open && slot.settled.iter().all(can_go)
}

/// Room that the host's vms take up elsewhere, over the power that its sleep saves: what it draws now, less what it draws
/// asleep, less what its load will draw where it is most efficient. Room is what runs out when hosts are emptied, so the
/// host that frees most power per room goes first; and room on an efficient host is worth more than on another, for what
/// is emptied frees room of its own kind.
fn room_over_saving(board: &Board<'_>, slot: &Slot<'_>) -> f64 {
    let load = slot.remaining();
    let elsewhere = board.best_marginal() * load.now().get();
    let power = &slot.host.inventory.power;
    let saved = (power.at(load.utilisation(0)) - power.asleep()).get() - elsewhere;
    board.room_of(&load) / (saved.max(1.0) * slot.cost)
}

/// What carries the fleet: the hosts that are up and not emptied, and those among them that hold vms.
pub(super) struct Rest {
    all: HostLoad,
    hosts: usize,
    inhabited: HostLoad,
}

impl Rest {
    fn of(board: &Board<'_>) -> Self {
        Self::with(board, None)
    }

    /// The same if the host in `taker`, which is empty, will hold vms.
    pub(super) fn joined_by(board: &Board<'_>, taker: usize) -> Self {
        Self::with(board, Some(taker))
    }

    fn with(board: &Board<'_>, taker: Option<usize>) -> Self {
        let carries = |index: usize, slot: &Slot<'_>| slot.is_inhabited() || Some(index) == taker;
        let ((all, hosts), (inhabited, _)) = (board.pool(|_, _| true), board.pool(carries));
        Self { all, hosts, inhabited }
    }

    /// A host is emptied by a proposal of this round.
    pub(super) fn empty(&mut self, host: &HostLoad) {
        self.all = self.all.without_host(host);
        self.inhabited = self.inhabited.without_host(host);
        self.hosts -= 1;
    }

    /// True where the fleet does without this host: the hosts that hold vms carry all demand, and with the empty ones there
    /// are spares enough.
    pub(super) fn suffices_without(&self, board: &Board<'_>, slot: usize) -> bool {
        let fill = board.tuning().cpu_fill_limit * HEADROOM;
        let host = &board.slots[slot].load;
        let (all, inhabited) = (self.all.without_host(host), self.inhabited.without_host(host));
        let carried = inhabited.ahead(&board.risk) <= inhabited.capacity * fill;
        let enough =
            board.cores_short(&all, self.hosts - 1, fill).get() <= 0.0 && self.hosts > board.tuning().min_awake;
        carried && enough && loss::unborne(board, fill, |index, _| index != slot).is_none()
    }
}

fn make_room(board: &mut Board<'_>, slot: usize) -> Option<Proposal> {
    let units = units_of(board, slot)?;
    aside::step_aside(board, slot, &units)
}

fn evacuate(board: &mut Board<'_>, slot: usize, judge: &mut dyn Judge) -> Result<Proposal, NoWay> {
    let units = units_of(board, slot).ok_or(NoWay::Unplaced)?;
    let levels = judge.levels();
    let mut plans: Vec<Evacuation> = Vec::with_capacity(levels.len());
    for level in levels {
        // More caution where less finds no room finds none either.
        let Some(mut plan) = planned(board, slot, &units, *level) else { break };
        plan.expected = waiting::asleep(board, slot, plan.expected);
        if plans.last().is_none_or(|before| before.moves != plan.moves) {
            plans.push(plan);
        }
    }
    if plans.is_empty() {
        return Err(NoWay::Unplaced);
    }
    let chosen = judge.choose(board, slot, &plans).filter(|chosen| *chosen < plans.len()).ok_or(NoWay::Unpaid)?;
    let Evacuation { moves, expected, .. } = plans.swap_remove(chosen);
    board.slots[slot].emptied = true;
    moves.iter().for_each(|one| board.play(one));
    let host = board.slots[slot].host.id().clone();
    let motive = Motive::Consolidation { host: host.clone() };
    Ok(Proposal { action: Action::Evacuate { host, moves }, motive, expected })
}

/// True where the gain is worth the disturbance and the host sleeps for longer than its sleep takes to pay.
pub(super) fn pays(board: &Board<'_>, slot: usize, expected: &Expectation) -> bool {
    let tuning = board.tuning();
    let copying = expected.copy_time.as_secs_f64() / count(tuning.moves_out_per_host.max(1));
    let power = &board.slots[slot].host.inventory.power;
    let asleep = tuning.horizon.as_secs_f64() - copying - tuning.sleep_after.as_secs_f64();
    expected.gain >= Joules(tuning.min_gain_joules) && asleep >= power.break_even().as_secs_f64()
}
