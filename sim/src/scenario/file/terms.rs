//! The terms of a scenario file: how time passes, how often is decided by which numbers, and what goes wrong.

use std::{collections::BTreeMap, time::Duration};

use ballast_core::{migration_cost::Help, tuning::Tuning, units::Cores};
use serde::Deserialize as _;

use super::{fleet::FleetSpec, keys::Keys};
use crate::{
    scenario::{Between, Fault, FaultKind, Terms},
    score::Pace,
};

/// `[terms]`; faults are read apart.
pub(super) fn terms(file: &Keys<'_>) -> Terms {
    let keys = file.section("terms");
    let usual = Terms::default();
    let terms = Terms {
        step: keys.span("step_s", usual.step.as_secs_f64(), 0.1..=86_400.0),
        between: keys.choice("between", &[("line", Between::Line), ("hold", Between::Hold)], usual.between),
        jitter: keys.number("jitter", usual.jitter, 0.0..=1.0),
        own_cores: Cores(keys.number("own_cores", usual.own_cores.get(), 0.0..=64.0)),
        copy_slowdown: keys.number("copy_slowdown", usual.copy_slowdown, 0.0..=1.0),
        convergence: Help {
            auto_converge: keys.flag("auto_converge", false),
            post_copy_after: keys
                .maybe_whole("post_copy_after", 1..=1000)
                .and_then(|passes| u32::try_from(passes).ok()),
        },
        faults: Vec::new(),
    };
    keys.done();
    terms
}

/// Round-trip times to users, by site.
type Sites = BTreeMap<String, BTreeMap<String, Duration>>;

/// `[pace]` and `[tuning]`; the way to users is what `sites` have.
pub(super) fn pace(file: &Keys<'_>, sites: &Sites) -> Pace {
    let keys = file.section("pace");
    let usual = Pace::default();
    let period = keys.span("sample_s", usual.period.as_secs_f64(), 0.1..=3600.0);
    let round = keys.span("round_s", usual.round.as_secs_f64(), 0.1..=86_400.0);
    if round < period {
        keys.wrong("round_s", format!("at least sample_s, {} s, is needed", period.as_secs_f64()));
    }
    let acts_between = keys.flag("acts_between", usual.acts_between);
    keys.done();
    let mut tuning = tuning(file);
    if tuning.proximity.rtt_ms.is_empty() {
        let times = |times: &BTreeMap<String, Duration>| {
            times.iter().map(|(users, rtt)| (users.clone(), rtt.as_secs_f64() * 1000.0)).collect()
        };
        tuning.proximity.rtt_ms = sites.iter().map(|(site, rtt)| (site.clone(), times(rtt))).collect();
    }
    Pace { period, round, acts_between, tuning }
}

fn tuning(file: &Keys<'_>) -> Tuning {
    let Some(value) = file.value("tuning") else { return Tuning::default() };
    match Tuning::deserialize(value.clone()) {
        Ok(tuning) => {
            for problem in tuning.problems() {
                let what = format!("{} = {}: {}", problem.field, problem.value, problem.expected);
                file.wrong("tuning", what);
            }
            tuning
        }
        Err(error) => {
            file.wrong("tuning", error.to_string().trim().replace('\n', " "));
            Tuning::default()
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum What {
    Lost,
    HypervisorAway,
    AgentSilent,
    SlowLink,
    MeterStuck,
}

/// `[[faults]]`, in order of time. One that names a rack befalls all its hosts.
pub(super) fn faults(file: &Keys<'_>, fleet: &FleetSpec) -> Vec<Fault> {
    let (hosts, _) = fleet.hosts();
    let mut faults = Vec::new();
    for keys in file.sections("faults") {
        let (at, until, what) = fault(&keys);
        let named = keys.maybe_text("host");
        let rack = keys.maybe_text("rack");
        let befallen = |index: &usize| {
            let host = &hosts[*index];
            named.as_deref() == Some(host.host.as_str()) || (rack.is_some() && rack == host.fault_domain)
        };
        let befallen: Vec<usize> = (0..hosts.len()).filter(befallen).collect();
        if befallen.is_empty() {
            let last = hosts.last().map(|host| host.host.to_string()).unwrap_or_default();
            let key = if rack.is_some() { "rack" } else { "host" };
            keys.wrong(key, format!("a host of the fleet, up to {last}, or one of its racks is needed"));
        }
        faults.extend(befallen.into_iter().map(|host| Fault { at, until, host, what }));
        keys.done();
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}

fn fault(keys: &Keys<'_>) -> (Duration, Option<Duration>, FaultKind) {
    const WHAT: [(&str, What); 5] = [
        ("lost", What::Lost),
        ("hypervisor-away", What::HypervisorAway),
        ("agent-silent", What::AgentSilent),
        ("slow-link", What::SlowLink),
        ("meter-stuck", What::MeterStuck),
    ];
    keys.needed_number("at_s", 0.0..=1e8);
    let at = keys.span("at_s", 0.0, 0.0..=1e8);
    let until = keys.maybe_number("until_s", 0.0..=1e8).map(ballast_core::units::seconds);
    if until.is_some_and(|until| until <= at) {
        keys.wrong("until_s", "a later moment than at_s is needed");
    }
    if !keys.has("what") {
        keys.wrong("what", "is missing: one of lost, hypervisor-away, agent-silent, slow-link, meter-stuck is needed");
    }
    let what = match keys.choice("what", &WHAT, What::Lost) {
        What::Lost => FaultKind::Lost,
        What::HypervisorAway => FaultKind::HypervisorAway,
        What::AgentSilent => FaultKind::AgentSilent,
        What::SlowLink => FaultKind::SlowLink(keys.needed_number("share", 0.0..=1.0)),
        What::MeterStuck => FaultKind::MeterStuck,
    };
    (at, until, what)
}
