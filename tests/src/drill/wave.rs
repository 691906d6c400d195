//! One wave: every vm is sent to another host, and meanwhile somebody is killed and comes back.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::{Context, Result, ensure};
use ballast_daemon::clock::Clock;
use ballast_proto::v1::{self, operator_client::OperatorClient};
use tonic::transport::Channel;

use super::{
    HOSTS,
    course::{Course, Ears},
    plan::{Dice, Phase, Side, Strike, Victim},
    report::Report,
    witness::Witness,
};
use crate::{
    lab::Lab,
    lab_fleet::{LabFleet, eventually},
};

/// Rate of a copy in MiB per second: slow enough for several passes.
const COPY: &str = "24";
/// Between two looks for a moment to strike at; a switch-over lasts a tenth of a second.
const BEAT: Duration = Duration::from_millis(10);
/// Beats between two looks at who runs.
const WITNESS_BEATS: u32 = 30;
/// A phase that has not come by then does not come: the kill before has ended the move. The strike falls all the same.
const PATIENCE: Duration = Duration::from_secs(25);
/// A host may have been silent for a while, and a vm stays locked until it is confirmed where it is.
const ORDER_LIMIT: Duration = Duration::from_secs(120);

/// A vm of the drill.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    pub(super) name: String,
    pub(super) uuid: String,
    /// Where it ran when it was last verified.
    pub(super) host: String,
}

/// A move that was ordered.
#[derive(Debug, Clone)]
pub(super) struct Ordered {
    pub(super) guest: usize,
    pub(super) id: String,
    pub(super) source: String,
    pub(super) destination: String,
    /// The strike that is timed by it.
    pub(super) struck: Option<(Victim, Phase)>,
}

/// A drill under way.
pub(super) struct Drill<'a> {
    // The programs end before the lab they run in.
    pub(super) fleet: LabFleet,
    pub(super) operator: OperatorClient<Channel>,
    pub(super) guests: Vec<Guest>,
    pub(super) clock: Clock,
    pub(super) report: Report,
    pub(super) say: &'a dyn Fn(&dyn fmt::Display),
}

/// A strike with the move it is timed by.
struct Aim {
    strike: Strike,
    order: usize,
    state: State,
}

impl Aim {
    /// Whom it keeps down.
    fn down(&self) -> Option<(Victim, usize)> {
        match self.state {
            State::Down(number, _) => Some((self.strike.victim, number)),
            State::Waiting | State::Over => None,
        }
    }
}

enum State {
    Waiting,
    /// The victim is down; the host's number, and when it is to come back.
    Down(usize, Duration),
    Over,
}

impl Drill<'_> {
    /// Moves every vm and strikes meanwhile; then all must be as it was promised.
    pub(super) async fn wave(&mut self, strikes: &[Strike], dice: &mut Dice) -> Result<()> {
        let mut ears = Ears::open(&self.fleet.lab, HOSTS)?;
        let mut courses = BTreeMap::new();
        let mut orders = Vec::new();
        let targets = aimed_at(self.guests.len(), strikes, dice);
        for (guest, _) in &targets {
            let order = self.order(*guest, dice).await?;
            courses.insert(self.guests[*guest].name.clone(), Course::ordered(self.clock.elapsed()));
            orders.push(order);
        }
        let mut aims = Vec::new();
        for (order, (_, strike)) in targets.iter().enumerate() {
            aims.extend(strike.map(|strike| Aim { strike, order, state: State::Waiting }));
        }
        let mut witness = Witness::default();
        let began = self.clock.elapsed();
        let mut beats = 0;
        while aims.iter().any(|aim| !matches!(aim.state, State::Over)) {
            let now = self.clock.elapsed();
            ears.hear(&mut courses, now);
            for index in 0..aims.len() {
                // Who is down cannot be killed: a strike waits until its victim is back.
                let down: Vec<_> = aims.iter().filter_map(Aim::down).collect();
                self.advance(&mut aims[index], &mut orders, &courses, &down, now.saturating_sub(began) > PATIENCE)?;
            }
            beats += 1;
            if beats % WITNESS_BEATS == 0 {
                self.report.doubled(witness.look_again());
            }
            self.clock.sleep(BEAT).await;
        }
        self.settle(&orders, &mut witness).await
    }

    /// Sends a vm to another host, with a copy that is slow enough to be met.
    async fn order(&mut self, guest: usize, dice: &mut Dice) -> Result<Ordered> {
        let Guest { name, host, .. } = self.guests.get(guest).context("a guest")?.clone();
        let others: Vec<String> = (1..=HOSTS).map(Lab::host).filter(|other| *other != host).collect();
        let destination = others.get(dice.below(others.len())).context("another host")?.clone();
        self.fleet.lab.virsh(&host, &["migrate-setspeed", &name, COPY])?;
        let wish = v1::MigrateRequest {
            vm: name.clone(),
            host: destination.clone(),
            r#override: true,
            reason: "drill".into(),
            ..v1::MigrateRequest::default()
        };
        let mut refused = String::new();
        let ordered = eventually(ORDER_LIMIT, async || match self.operator.clone().migrate(wish.clone()).await {
            Ok(ordered) => Some(ordered.into_inner().migration_id),
            Err(status) => {
                refused = status.message().to_owned();
                None
            }
        });
        let id = ordered.await.with_context(|| format!("{name} cannot be moved: {refused}"))?;
        ensure!(!id.is_empty(), "no migration of {name} was ordered");
        Ok(Ordered { guest, id, source: host, destination, struck: None })
    }

    fn advance(
        &mut self,
        aim: &mut Aim,
        orders: &mut [Ordered],
        courses: &BTreeMap<String, Course>,
        down: &[(Victim, usize)],
        late: bool,
    ) -> Result<()> {
        let now = self.clock.elapsed();
        let order = orders.get_mut(aim.order).context("an order")?;
        match aim.state {
            State::Waiting => {
                let course = courses.get(&self.guests[order.guest].name).copied().unwrap_or_default();
                let due = course.began(aim.strike.phase).is_some_and(|at| now >= at + aim.strike.offset);
                let number = victim_of(&aim.strike, order)?;
                if (due || late) && !down.contains(&(aim.strike.victim, number)) {
                    let into = course.began(course.phase()).map_or(Duration::ZERO, |at| now.saturating_sub(at));
                    self.strike(&aim.strike, number, order, course.phase(), into)?;
                    aim.state = State::Down(number, now + aim.strike.down);
                }
            }
            State::Down(number, until) if now >= until => {
                self.bring_back(aim.strike.victim, number)?;
                aim.state = State::Over;
            }
            State::Down(..) | State::Over => {}
        }
        Ok(())
    }

    fn strike(
        &mut self,
        strike: &Strike,
        number: usize,
        order: &mut Ordered,
        phase: Phase,
        into: Duration,
    ) -> Result<()> {
        let Strike { victim, side, .. } = *strike;
        match victim {
            Victim::Agent => self.fleet.agents.get_mut(number - 1).context("an agent")?.crash()?,
            Victim::Scheduler => self.fleet.scheduler.crash()?,
            Victim::Libvirtd => self.fleet.lab.kill_libvirtd(&Lab::host(number))?,
        }
        order.struck = Some((victim, phase));
        self.report.struck(victim, phase, side);
        let name = &self.guests[order.guest].name;
        let (from, to, into) = (&order.source, &order.destination, into.as_secs_f64());
        let at = if victim == Victim::Scheduler { String::new() } else { format!(" of the {side}") };
        (self.say)(&format_args!("kill {victim}{at} {phase} ({into:.2} s) of {name}, {from} to {to}"));
        Ok(())
    }

    fn bring_back(&mut self, victim: Victim, number: usize) -> Result<()> {
        match victim {
            Victim::Agent => self.fleet.restart_agent(number),
            Victim::Scheduler => self.fleet.restart_scheduler(),
            Victim::Libvirtd => self.fleet.lab.restart_libvirtd(&Lab::host(number)),
        }
    }
}

/// Which vm moves when, and which strike it is the measure of. A strike before the copy needs its vm to be ordered last.
fn aimed_at(guests: usize, strikes: &[Strike], dice: &mut Dice) -> Vec<(usize, Option<Strike>)> {
    let first = dice.below(guests);
    let mut strikes = strikes.to_vec();
    strikes.sort_by_key(|strike| strike.phase == Phase::Before);
    let unstruck = guests.saturating_sub(strikes.len());
    let strikes = std::iter::repeat_n(None, unstruck).chain(strikes.into_iter().map(Some));
    strikes.enumerate().map(|(index, strike)| ((first + index) % guests, strike)).collect()
}

/// The number of the host whose victim a strike means; there is one scheduler.
fn victim_of(strike: &Strike, order: &Ordered) -> Result<usize> {
    match (strike.victim, strike.side) {
        (Victim::Scheduler, _) => Ok(0),
        (_, Side::Source) => number_of(&order.source),
        (_, Side::Destination) => number_of(&order.destination),
    }
}

pub(super) fn number_of(host: &str) -> Result<usize> {
    let number = (1..=HOSTS).find(|number| Lab::host(*number) == host);
    number.with_context(|| format!("{host} is not a host of the drill"))
}
