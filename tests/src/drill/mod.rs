//! The lab drill: agents, the scheduler and libvirtd are killed while real vms that write their memory are moved between
//! real libvirt hosts, and after each wave it is looked whether every vm is still there, once, and whole.
//!
//! `ballast-tests drill` calls it. It needs the lab (root); the moments and the sides follow from a seed, the machine's own
//! timing does not. Who runs is read off the machine's processes and asked of libvirt, never of ballast alone.

pub mod course;
mod plan;
mod report;
mod verify;
mod wave;
pub mod witness;

use std::fmt;

use anyhow::Result;
use ballast_daemon::clock::Clock;

pub use plan::{Phase, Side, Victim};
pub use report::Report;

use crate::{
    lab::{self, LEASE, Lab, NETWORK},
    lab_fleet::{LabFleet, Terms},
};
use plan::Dice;
use wave::{Drill, Guest};

/// Hosts of a drill.
const HOSTS: usize = 3;
/// Vms that move at once.
const GUESTS: usize = 4;
/// Kills of one wave of moves. That of a libvirtd ends the moves of its host, so that a second would find none to disturb.
fn kills_per_wave(victim: Victim) -> usize {
    if victim == Victim::Libvirtd { 1 } else { GUESTS }
}

/// What each vm writes, MiB per second, and over how many MiB: several passes, and a look over all of it every second or two.
const WRITES: (u32, u32) = (16, 24);
/// All may move at once, as in an evacuation.
const TUNING: &str = "moves_out_per_host = 4\nmoves_in_per_host = 4\nmoves_in_fleet = 8";

/// What is to be drilled.
#[derive(Debug, Clone)]
pub struct Options {
    /// Chooses the moments, the sides and the ways of the vms.
    pub seed: u64,
    /// Kills of each victim.
    pub kills: usize,
    /// Who is killed.
    pub victims: Vec<Victim>,
}

/// Drills on a lab of its own; `say` is told of every kill and of what came of it.
///
/// # Errors
/// Where the lab does not stand or the programs do not start. A fleet that does not come to rest after a wave is a broken
/// promise, and the end of the drill.
pub async fn run(options: &Options, say: &dyn Fn(&dyn fmt::Display)) -> Result<Report> {
    if let Some(why) = lab::lacks() {
        anyhow::bail!("no lab on this machine: {why}");
    }
    let lab = Lab::up(HOSTS)?;
    let guests = (1..=GUESTS).map(|number| guest(&lab, number)).collect::<Result<Vec<_>>>()?;
    let terms = Terms { tuning: TUNING, ..Terms::plain("recommend") };
    let fleet = LabFleet::start_on(lab, HOSTS, &terms)?;
    let operator = fleet.operator().await?;
    fleet.trusted(&operator, HOSTS).await?;
    let mut dice = Dice::new(options.seed);
    let mut drill = Drill { fleet, operator, guests, clock: Clock::system(), report: Report::default(), say };
    for victim in &options.victims {
        for strikes in dice.strikes(*victim, options.kills).chunks(kills_per_wave(*victim)) {
            let told = drill.report.broken().len();
            let stood = drill.wave(strikes, &mut dice).await;
            if let Err(error) = &stood {
                drill.report.stopped(&format!("{error:#}"));
            }
            drill.report.broken().iter().skip(told).for_each(|what| say(&format_args!("BROKEN: {what}")));
            if stood.is_err() {
                return Ok(drill.report);
            }
        }
    }
    Ok(drill.report)
}

fn guest(lab: &Lab, number: usize) -> Result<Guest> {
    let (name, host) = (format!("drilled-{number}"), Lab::host(1 + number % HOSTS));
    let address = format!("{NETWORK}.{}", 180 + number);
    // What libvirt by itself does not rule out where a libvirtd dies at the switch-over, its lock manager has to.
    lab.guest(&host, &name, &address, 96, 5, &[LEASE])?;
    lab.answers(&address)?;
    lab.writes(&name, WRITES.0, WRITES.1)?;
    let uuid = lab.virsh(&host, &["domuuid", &name])?.trim().to_owned();
    Ok(Guest { name, uuid, host })
}
