//! Scenarios as TOML files: what an operator can read, copy and change, and what the scoreboard plays.
//!
//! [`ScenarioFile::parse`] tells every problem of a file at once. [`ScenarioFile::needs`] says which recordings it wants;
//! whoever can read files hands them to [`ScenarioFile::build`]. The files of the repository are in [`BUILTINS`]; the
//! keys are explained in them, and all of them in `sim/scenarios/README.md`.

mod builtin;
mod data;
mod demand;
mod faithful;
mod fleet;
mod keys;
mod loads;
mod place;
mod terms;
mod vms;

use std::{cell::RefCell, time::Duration};

use thiserror::Error;

pub use builtin::{BUILTINS, Builtin, builtin};
pub use data::{Data, DataFile, FileName, Need, day_of};
pub use demand::{ArrivalsFrom, DemandSpec, Generated, ServiceGroup, ServiceSpec, Window};
pub use faithful::Faithful;
pub use fleet::{FleetSpec, HostGroup, Order};
pub use keys::Problem;
pub use place::{AtStart, PlacementSpec};
pub use vms::{Sized, VmType, VmsSpec};

use super::{FleetSize, InvalidScenario, Scenario, Terms};
use crate::{score::Pace, trace::TraceError};
use keys::Keys;

/// Why a file is no scenario.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidFile {
    /// It is no TOML.
    #[error("{file}: {what}")]
    Syntax {
        /// Which file.
        file: String,
        /// What is wrong, with line and column.
        what: String,
    },
    /// It says what cannot be.
    #[error("{file}: {}", list(problems))]
    Problems {
        /// Which file.
        file: String,
        /// All of it.
        problems: Vec<Problem>,
    },
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n  ")
}

fn one_of(days: &[String]) -> String {
    if days.is_empty() { "a day as YYYYMMDD".into() } else { format!("one of {}", days.join(", ")) }
}

/// Why a file's scenario cannot be made.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum BuildError {
    /// A recording is damaged.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The scenario makes no sense.
    #[error(transparent)]
    Scenario(#[from] InvalidScenario),
    /// A recording it cannot do without was not handed in.
    #[error("{what} are needed: {name}, in the folder of the data or in {folder}/ below it")]
    Missing {
        /// Name of the file.
        name: &'static str,
        /// Folder below the data's.
        folder: &'static str,
        /// What it is.
        what: &'static str,
    },
    /// No such day.
    #[error("day {day} is not there: {} is needed", one_of(days))]
    NoDay {
        /// What was asked for.
        day: String,
        /// What there is.
        days: Vec<String>,
    },
    /// Several days, and none was asked for.
    #[error("several days are there: one of {} is to be named", days.join(", "))]
    WhichDay {
        /// What there is.
        days: Vec<String>,
    },
    /// No recording covers the time asked for.
    #[error("no vm was recorded for {hours} hours from day {day} on")]
    NoVms {
        /// The day.
        day: String,
        /// How long.
        hours: f64,
    },
    /// The scenario is played by the faithful simulation.
    #[error("scenario {name} is played by the faithful simulation of the field's benchmark, not by the fleet's model")]
    IsFaithful {
        /// Which scenario.
        name: String,
    },
    /// Nothing was recorded.
    #[error("a recorded telemetry log is needed: name its files or its folder")]
    NoTelemetry,
    /// This program was built without a reader for the file.
    #[error("{name} is a Parquet file, which this program was built without a reader for")]
    NoParquet {
        /// Which file.
        name: String,
    },
}

/// A scenario as its file says.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioFile {
    name: String,
    description: String,
    policies: Vec<String>,
    seeds: Vec<u64>,
    days: Vec<String>,
    price: f64,
    kind: Kind,
}

/// What plays it.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// The faithful simulation.
    Faithful(Faithful),
    /// The model of the fleet.
    Fleet(Box<Plan>),
}

/// All that the model of the fleet is told.
#[derive(Debug, Clone, PartialEq)]
struct Plan {
    demand: DemandSpec,
    fleet: FleetSpec,
    vms: VmsSpec,
    placement: PlacementSpec,
    terms: Terms,
    pace: Pace,
    duration: Duration,
    begins: Duration,
}

impl ScenarioFile {
    /// Reads a file; `file` names it in complaints.
    ///
    /// # Errors
    /// [`InvalidFile`] with every problem at once.
    pub fn parse(file: &str, text: &str) -> Result<Self, InvalidFile> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| InvalidFile::Syntax {
            file: file.into(),
            what: error.to_string().trim().replace('\n', " "),
        })?;
        let problems = RefCell::default();
        let keys = Keys::new(&table, &problems);
        let read = Self::read(&keys);
        keys.done();
        let problems = problems.into_inner();
        if problems.is_empty() { Ok(read) } else { Err(InvalidFile::Problems { file: file.into(), problems }) }
    }

    fn read(keys: &Keys<'_>) -> Self {
        let seeds = keys.wholes("seeds");
        let kind = if keys.has("faithful") {
            Kind::Faithful(Faithful::read(keys.section("faithful")))
        } else {
            Kind::Fleet(Box::new(Plan::read(keys)))
        };
        let usual = kind.tuning_price();
        Self {
            name: keys.text("name"),
            description: keys.text("description"),
            policies: keys.texts("policies"),
            seeds: if seeds.is_empty() { vec![0] } else { seeds },
            days: days(keys),
            price: keys.number("price_joules_per_core_second", usual, 0.0..=1e9),
            kind,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it shows, for people.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The policies it is meant to compare, where none are asked for.
    pub fn policies(&self) -> &[String] {
        &self.policies
    }

    /// The seeds to play it with, where none are asked for; never empty.
    pub fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    /// What one core-second of unserved demand costs, in joules.
    pub fn price(&self) -> f64 {
        self.price
    }

    /// How often the fleet is read and decided on, and by which numbers; `None` for the faithful simulation.
    pub fn pace(&self) -> Option<&Pace> {
        self.plan().map(|plan| &plan.pace)
    }

    /// How long it runs; a day for the faithful simulation. A telemetry log runs as long as it was recorded.
    pub fn duration(&self) -> Duration {
        self.plan().map_or(Duration::from_secs(86_400), |plan| plan.duration)
    }

    /// What the faithful simulation is told, where it plays this.
    pub fn faithful(&self) -> Option<&Faithful> {
        match &self.kind {
            Kind::Faithful(faithful) => Some(faithful),
            Kind::Fleet(_) => None,
        }
    }

    /// Where its demand comes from.
    pub fn demand(&self) -> &DemandSpec {
        self.plan().map_or(&DemandSpec::PlanetLab, |plan| &plan.demand)
    }

    /// The files it wants to read; empty where it brings all it needs.
    pub fn needs(&self) -> &'static [Need] {
        self.demand().needs()
    }

    /// The days to play, where none are asked for: of files that are one day each, every one in `names` (that the file
    /// allows); else those the file names. Empty where days make no difference.
    pub fn days(&self, names: &[&str]) -> Vec<String> {
        let per_day = self.needs().iter().any(|need| need.file == FileName::PerDay);
        if !per_day {
            let is_read = self.needs().iter().all(|need| names.iter().any(|name| need.accepts(name)));
            return if is_read { self.days.clone() } else { Vec::new() };
        }
        let mut days: Vec<String> = names.iter().filter_map(|name| day_of(name)).map(str::to_owned).collect();
        days.retain(|day| self.days.is_empty() || self.days.contains(day));
        days.sort();
        days.dedup();
        days
    }

    /// The scenario on one of its days; without a day, on the only one there is or the one the file names. The same data, day
    /// and seed give the same scenario.
    ///
    /// # Errors
    /// [`BuildError`] where data is missing or damaged, or the vms find no room.
    pub fn build(&self, data: &Data, day: Option<&str>, seed: u64) -> Result<Scenario, BuildError> {
        let plan = self.plan().ok_or_else(|| BuildError::IsFaithful { name: self.name.clone() })?;
        plan.build(data, day, seed)
    }

    fn plan(&self) -> Option<&Plan> {
        match &self.kind {
            Kind::Faithful(_) => None,
            Kind::Fleet(plan) => Some(plan),
        }
    }
}

impl Kind {
    fn tuning_price(&self) -> f64 {
        match self {
            Self::Faithful(_) => Pace::default().tuning.overload_joules_per_core_second,
            Self::Fleet(plan) => plan.pace.tuning.overload_joules_per_core_second,
        }
    }
}

impl Plan {
    fn read(keys: &Keys<'_>) -> Self {
        let demand = DemandSpec::read(keys.section("demand"));
        let fleet = FleetSpec::read(keys);
        let faults = terms::faults(keys, &fleet);
        let plan = Self {
            vms: VmsSpec::read(keys),
            placement: PlacementSpec::read(keys),
            terms: Terms { faults, ..terms::terms(keys) },
            pace: terms::pace(keys, &fleet.sites),
            duration: keys.span("duration_h", 24.0, 0.01..=8760.0) * 3600,
            begins: keys.span("begins_h", 0.0, 0.0..=24.0) * 3600,
            demand,
            fleet,
        };
        plan.check(keys);
        plan
    }

    /// What no key alone shows.
    fn check(&self, keys: &Keys<'_>) {
        if self.fleet.is_empty() && !self.demand.is_whole() && !keys.has("hosts") {
            keys.wrong("hosts", "is missing: at least one [[hosts]] is needed");
        }
        let own = ["hosts", "fleet", "vms", "placement"].into_iter().filter(|key| keys.has(key));
        own.filter(|_| self.demand.is_whole())
            .for_each(|key| keys.wrong(key, "this demand brings hosts and vms of its own"));
        let sizes_known =
            matches!(self.demand, DemandSpec::Bitbrains(_) | DemandSpec::Arrivals(_) | DemandSpec::Service(_))
                || self.demand.is_whole();
        if !sizes_known && self.vms.types.is_empty() {
            keys.wrong("vms.types", "is missing: this demand does not say how large its vms are");
        }
    }

    fn build(&self, data: &Data, day: Option<&str>, seed: u64) -> Result<Scenario, BuildError> {
        let scenario = match &self.demand {
            DemandSpec::Demo { hosts, vms } => {
                let size = FleetSize { hosts: *hosts, vms: *vms, duration: self.duration };
                Scenario::fleet(size, seed)?
            }
            DemandSpec::Telemetry(slot) => data.recorded.as_ref().ok_or(BuildError::NoTelemetry)?.scenario(*slot)?,
            _ => self.fleet_scenario(data, day, seed)?,
        };
        Ok(scenario.with_terms(self.terms.clone())?)
    }

    fn fleet_scenario(&self, data: &Data, day: Option<&str>, seed: u64) -> Result<Scenario, BuildError> {
        let when = loads::When { day, begins: self.begins, duration: self.duration, seed };
        let loads = loads::loads(&self.demand, data, when)?;
        let (hosts, speeds) = self.fleet.hosts();
        let mut vms = self.vms.specs(loads.loads, seed);
        self.placement.place(&hosts, &speeds, &mut vms)?;
        let scenario = Scenario::new(loads.start, self.duration, hosts, vms, loads.series)?;
        Ok(scenario.with_services(loads.services)?)
    }
}

/// `days`: which to play.
fn days(keys: &Keys<'_>) -> Vec<String> {
    let days = keys.texts("days");
    if days.iter().any(|day| data::days_since_1970(day).is_none()) {
        keys.wrong("days", "days as \"YYYYMMDD\" are needed");
    }
    days
}

#[cfg(test)]
mod tests;
