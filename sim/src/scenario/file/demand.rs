//! Where the demand of a scenario file comes from: the keys of `[demand]`. What is made of them is in `loads`.

use std::time::Duration;

use super::{
    data::{FileName, Need, days_since_1970},
    keys::Keys,
};
use crate::generate::{ArrivalSpec, Bursty, Diurnal, QaSpec, Question, Storm, StormSpec, Tenants};

/// Where demand comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum DemandSpec {
    /// A `PlanetLab` day: one vm per row.
    PlanetLab,
    /// The Bitbrains recording: five-minute slots from 2013-07-01, by the clock of its data centre.
    Bitbrains(Window),
    /// The Google recording: days 1 to 10.
    Google(Window),
    /// Vms that come and go.
    Arrivals(ArrivalsFrom),
    /// Made from a seed.
    Generated {
        /// What kind of vms.
        kind: Generated,
        /// How many.
        vms: usize,
        /// How many different series there are; further vms replay one of them, each a little later than the one before.
        distinct: usize,
        /// Length of a slot.
        slot: Duration,
    },
    /// A question-answering service.
    Service(Box<ServiceSpec>),
    /// A recorded telemetry log, in slots of this length: hosts, vms and what they used.
    Telemetry(Duration),
    /// The demo's fleet: recordings of the repository, laid out as people do.
    Demo {
        /// How many hosts.
        hosts: usize,
        /// How many vms.
        vms: usize,
    },
}

/// Which part of a recording is played.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The day it begins on, `YYYYMMDD`, where none is asked for.
    pub day: String,
    /// The day where the recording that is part of the repository is played.
    pub cut_day: String,
    /// How often each vm is played.
    pub copies: usize,
    /// How often where the recording of the repository is played.
    pub cut_copies: usize,
    /// How much later every further copy of a vm begins.
    pub copy_shift: Duration,
    /// Vms of more memory than this, in GiB, are left out.
    pub memory_max_gib: f64,
}

/// Vms that come and go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArrivalsFrom {
    /// Made from a seed; `None` plays Azure's trace.
    pub made: Option<ArrivalSpec>,
    /// Of the trace, one batch of this many is played.
    pub one_in: u64,
    /// The same for the cut of the repository, of which all were taken as one in twenty.
    pub cut_one_in: u64,
    /// Largest batch; of larger ones the rest is left out.
    pub batch_max: usize,
    /// How long vms have been coming when the scenario begins.
    pub warm_up: Duration,
}

/// Kinds of made-up vms.
#[derive(Debug, Clone, PartialEq)]
pub enum Generated {
    /// Office hours.
    Diurnal(Diurnal),
    /// Bursts.
    Bursty(Bursty),
    /// Correlated tenants.
    Tenants(Tenants),
    /// Seconds and storms.
    Storm(StormSpec),
}

/// A question-answering service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSpec {
    /// The requests; the busiest hour is each group's own.
    pub qa: QaSpec,
    /// Length of a slot.
    pub slot: Duration,
    /// Virtual CPUs of a vm.
    pub vcpus: u32,
    /// Memory of a vm in GiB.
    pub memory_gib: f64,
    /// Groups of users, each with vms of its own.
    pub groups: Vec<ServiceGroup>,
}

/// Users of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceGroup {
    /// Their name.
    pub users: String,
    /// Vms that answer them.
    pub vms: usize,
    /// Their busiest hour, by the clock of the scenario.
    pub peak_h: f64,
}

const PLANETLAB: Need = Need { folder: "planetlab", file: FileName::PerDay, what: "PlanetLab days", has_cut: false };
const BITBRAINS: Need = Need {
    folder: "bitbrains",
    file: FileName::Exactly("rnd_dev_julaug.parquet"),
    what: "the Bitbrains recording",
    has_cut: true,
};
const BITBRAINS_VMS: Need =
    Need { file: FileName::Exactly("vms.csv"), what: "the table of the Bitbrains vms", ..BITBRAINS };
const GOOGLE: Need =
    Need { folder: "google_gcd", file: FileName::Exactly("gcd_vms.csv"), what: "the Google recording", has_cut: true };
const AZURE: Need =
    Need { folder: "azure_v1", file: FileName::Exactly("arrivals.csv"), what: "Azure's arrivals", has_cut: true };

impl DemandSpec {
    /// The files it is read from.
    pub fn needs(&self) -> &'static [Need] {
        match self {
            Self::PlanetLab => &[PLANETLAB],
            Self::Bitbrains(_) => &[BITBRAINS, BITBRAINS_VMS],
            Self::Google(_) => &[GOOGLE],
            Self::Arrivals(from) if from.made.is_none() => &[AZURE],
            Self::Arrivals(_) | Self::Generated { .. } | Self::Service(_) => &[],
            Self::Telemetry(_) | Self::Demo { .. } => &[],
        }
    }

    /// True where it brings hosts and vms of its own.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Self::Telemetry(_) | Self::Demo { .. })
    }

    pub(super) fn read(keys: Keys<'_>) -> Self {
        const ALL: [(&str, Source); 12] = [
            ("planetlab", Source::PlanetLab),
            ("bitbrains", Source::Bitbrains),
            ("google", Source::Google),
            ("azure", Source::Azure),
            ("arrivals", Source::Arrivals),
            ("diurnal", Source::Diurnal),
            ("bursty", Source::Bursty),
            ("tenants", Source::Tenants),
            ("storm", Source::Storm),
            ("service", Source::Service),
            ("telemetry", Source::Telemetry),
            ("demo", Source::Demo),
        ];
        if !keys.has("source") {
            let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
            keys.wrong("source", format!("is missing: one of {} is needed", names.join(", ")));
        }
        let spec = source(keys.choice("source", &ALL, Source::PlanetLab), &keys);
        keys.done();
        spec
    }
}

/// The word in the file.
#[derive(Debug, Clone, Copy)]
enum Source {
    PlanetLab,
    Bitbrains,
    Google,
    Azure,
    Arrivals,
    Diurnal,
    Bursty,
    Tenants,
    Storm,
    Service,
    Telemetry,
    Demo,
}

fn source(source: Source, keys: &Keys<'_>) -> DemandSpec {
    match source {
        Source::PlanetLab => DemandSpec::PlanetLab,
        Source::Bitbrains => DemandSpec::Bitbrains(window(keys, "20130805")),
        Source::Google => DemandSpec::Google(window(keys, "20110501")),
        Source::Azure => DemandSpec::Arrivals(arrivals(keys, None)),
        Source::Arrivals => {
            let made = ArrivalSpec {
                batches_per_h: keys.needed_number("batches_per_h", 0.1..=10_000.0),
                batch_max: u32::try_from(keys.whole("batch_max", 20, 1..=600)).unwrap_or(20),
                swing: keys.number("swing", 0.3, 0.0..=1.0),
                midnight_s: 0,
            };
            DemandSpec::Arrivals(arrivals(keys, Some(made)))
        }
        Source::Diurnal => generated(keys, 300.0, Generated::Diurnal(diurnal(keys))),
        Source::Bursty => generated(keys, 60.0, Generated::Bursty(bursts(keys))),
        Source::Tenants => generated(keys, 60.0, Generated::Tenants(tenants(keys))),
        Source::Storm => generated(keys, 10.0, Generated::Storm(storm(keys))),
        Source::Service => DemandSpec::Service(Box::new(service(keys))),
        Source::Telemetry => DemandSpec::Telemetry(keys.span("slot_s", 10.0, 0.1..=3600.0)),
        Source::Demo => {
            DemandSpec::Demo { hosts: keys.count("hosts", 1..=10_000), vms: keys.count("vms", 1..=300_000) }
        }
    }
}

fn window(keys: &Keys<'_>, first: &str) -> Window {
    let day = |key| {
        let day = keys.maybe_text(key).unwrap_or_else(|| first.into());
        if days_since_1970(&day).is_none() {
            keys.wrong(key, "a day as YYYYMMDD is needed");
        }
        day
    };
    let copies = |key| usize::try_from(keys.whole(key, 1, 1..=1000)).unwrap_or(1);
    Window {
        day: day("day"),
        cut_day: day("cut_day"),
        copies: copies("copies"),
        cut_copies: copies("cut_copies"),
        copy_shift: keys.span("copy_shift_h", 24.0, 0.0..=1000.0) * 3600,
        memory_max_gib: keys.number("memory_max_gib", 65_536.0, 0.1..=65_536.0),
    }
}

fn arrivals(keys: &Keys<'_>, made: Option<ArrivalSpec>) -> ArrivalsFrom {
    let trace = made.is_none();
    ArrivalsFrom {
        made,
        one_in: if trace { keys.whole("one_in", 20, 1..=100_000) } else { 1 },
        cut_one_in: if trace { keys.whole("cut_one_in", 1, 1..=1000) } else { 1 },
        batch_max: usize::try_from(keys.whole("batch_max", 600, 1..=600)).unwrap_or(600),
        warm_up: keys.span("warm_up_h", 0.0, 0.0..=48.0) * 3600,
    }
}

fn generated(keys: &Keys<'_>, slot_s: f64, kind: Generated) -> DemandSpec {
    let vms = keys.count("vms", 1..=300_000);
    let distinct = keys.whole("distinct", vms as u64, 1..=300_000);
    let distinct = usize::try_from(distinct).unwrap_or(vms).min(vms);
    DemandSpec::Generated { kind, vms, distinct, slot: keys.span("slot_s", slot_s, 1.0..=3600.0) }
}

fn diurnal(keys: &Keys<'_>) -> Diurnal {
    Diurnal {
        low: keys.number("low", 0.05, 0.0..=1.0),
        high: keys.number("high", 0.5, 0.0..=1.0),
        peak_h: keys.number("peak_h", 14.0, 0.0..=24.0),
        noise: keys.number("noise", 0.15, 0.0..=1.0),
        spread_h: keys.number("spread_h", 2.0, 0.0..=12.0),
    }
}

fn bursts(keys: &Keys<'_>) -> Bursty {
    Bursty {
        idle: keys.number("idle", 0.03, 0.0..=1.0),
        busy: keys.number("busy", 0.9, 0.0..=1.0),
        busy_least: keys.span("burst_s", 120.0, 1.0..=86_400.0),
        idle_least: keys.span("pause_s", 600.0, 1.0..=86_400.0),
        alpha: keys.number("alpha", 1.5, 1.05..=3.0),
    }
}

fn tenants(keys: &Keys<'_>) -> Tenants {
    Tenants {
        members: keys.whole("members", 4, 1..=10_000),
        mean: keys.number("mean", 0.25, 0.0..=1.0),
        deviation: keys.number("deviation", 0.08, 0.0..=1.0),
        correlation: keys.number("correlation", 0.5, 0.0..=1.0),
        memory: keys.span("wander_s", 300.0, 1.0..=86_400.0),
    }
}

fn storm(keys: &Keys<'_>) -> StormSpec {
    let one = |keys: Keys<'_>| {
        let storm = Storm {
            at: keys.span("at_s", 0.0, 0.0..=1e7),
            length: keys.span("length_s", 300.0, 1.0..=86_400.0),
            share: keys.number("share", 0.5, 0.0..=1.0),
            level: keys.number("level", 0.9, 0.0..=1.0),
            spread: keys.span("spread_s", 30.0, 0.0..=3600.0),
        };
        keys.done();
        storm
    };
    StormSpec {
        calm: tenants(keys),
        spikes_per_h: keys.number("spikes_per_h", 1.0, 0.0..=120.0),
        spike: keys.span("spike_s", 20.0, 1.0..=3600.0),
        spike_level: keys.number("spike_level", 0.8, 0.0..=1.0),
        storms: keys.sections("storms").into_iter().map(one).collect(),
    }
}

fn service(keys: &Keys<'_>) -> ServiceSpec {
    let group = |keys: Keys<'_>| {
        let (users, vms) = (keys.text("users"), keys.count("vms", 1..=100_000));
        let group = ServiceGroup { users, vms, peak_h: keys.number("peak_h", 14.0, 0.0..=24.0) };
        keys.done();
        group
    };
    let groups: Vec<ServiceGroup> = keys.sections("groups").into_iter().map(group).collect();
    if groups.is_empty() {
        keys.wrong("groups", "is missing: at least one [[demand.groups]] is needed");
    }
    ServiceSpec {
        qa: qa(keys),
        slot: keys.span("slot_s", 60.0, 1.0..=3600.0),
        vcpus: u32::try_from(keys.whole("vcpus", 8, 1..=1024)).unwrap_or(8),
        memory_gib: keys.number("memory_gib", 16.0, 0.5..=16_384.0),
        groups,
    }
}

fn qa(keys: &Keys<'_>) -> QaSpec {
    let tokens = |key, default| keys.number(key, default, 1.0..=1e6);
    QaSpec {
        low: keys.number("low", 0.2, 0.0..=1e5),
        high: keys.number("high", 1.0, 0.0..=1e5),
        peak_h: 14.0,
        burst_factor: keys.number("burst_factor", 2.0, 1.0..=100.0),
        bursts: Bursty { idle: 0.0, busy: 1.0, ..bursts(keys) },
        question: Question {
            prompt: tokens("prompt_tokens", 40.0),
            context: tokens("context_tokens", 600.0),
            answer: tokens("answer_tokens", 60.0),
            spread: keys.number("token_spread", 0.6, 0.0..=2.0),
            window: tokens("window_tokens", 4096.0),
        },
        read_rate: keys.number("read_tokens_per_core_s", 300.0, 0.1..=1e6),
        write_rate: keys.number("write_tokens_per_core_s", 25.0, 0.1..=1e6),
        bytes_per_token: keys.number("bytes_per_token", 98_304.0, 1.0..=1e8),
        model_bytes: keys.number("model_gib", 1.0, 0.01..=1000.0) * f64::from(1 << 30),
        patience: keys.span("patience_s", 30.0, 0.1..=3600.0),
    }
}
