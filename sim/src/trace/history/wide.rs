//! The wide forms as histories: one row per vm and day, one column per slot.

use std::collections::BTreeMap;

use ballast_core::history::{CHANNELS, History, Observed, SLOTS_PER_DAY, Shape};

use crate::trace::{
    TraceError, planetlab,
    table::{Row, Table},
};

/// A day of `PlanetLab`, of CPU only. Its vms are named by `day` and their own name.
///
/// # Errors
/// [`TraceError`] with line and column of the first thing that is wrong.
pub fn planetlab(file: &str, day: &str, text: &str) -> Result<Vec<History>, TraceError> {
    let slot = |percent: u8| Observed { cpu: f32::from(percent) / 100.0, ..Observed::MISSING };
    let history = |vm: planetlab::VmDay| History {
        name: format!("{day}/{}", vm.name),
        shape: Shape::default(),
        first: 0,
        slots: vm.percent.map(slot).to_vec(),
    };
    Ok(planetlab::parse(file, text)?.vms.into_iter().map(history).collect())
}

/// The Google cluster trace as vms: rows named `vm_<job>_<day from 1>`, the features `cpu_pct` and `mem_pct`. The days of a job
/// that follow one another are one history.
///
/// # Errors
/// [`TraceError`] with line and column of the first thing that is wrong.
pub fn google(file: &str, text: &str) -> Result<Vec<History>, TraceError> {
    let table = Table::new(file, text, &["vm", "feature", "t0"])?;
    let mut jobs: BTreeMap<String, BTreeMap<u32, Vec<Observed>>> = BTreeMap::new();
    for row in table.rows() {
        let row = row?;
        let (job, day) = job_and_day(&row)?;
        let slots = jobs.entry(job).or_default().entry(day).or_default();
        slots.resize(row.len() - 2, Observed::MISSING);
        let channel = match row.text(1) {
            "cpu_pct" => 0,
            "mem_pct" => 1,
            other => return Err(row.error(1, format!("{other:?} found, cpu_pct or mem_pct is needed"))),
        };
        for (index, slot) in slots.iter_mut().enumerate() {
            let mut values: [f32; CHANNELS] = slot.channels();
            values[channel] = row.number(index + 2)? / 100.0;
            *slot = Observed::from_channels(values);
        }
    }
    if jobs.is_empty() {
        return Err(table.error(0, "-", "no rows"));
    }
    Ok(jobs.into_iter().flat_map(|(job, days)| joined(&job, days)).collect())
}

fn job_and_day(row: &Row<'_>) -> Result<(String, u32), TraceError> {
    let parts = row.text(0).rsplit_once('_').and_then(|(job, day)| Some((job, day.parse::<u32>().ok()?)));
    match parts {
        Some((job, day)) if (1..=366).contains(&day) => Ok((job.to_owned(), day - 1)),
        _ => Err(row.error(0, format!("{:?} found, vm_<job>_<day from 1> is needed", row.text(0)))),
    }
}

/// One history for each run of days.
fn joined(job: &str, days: BTreeMap<u32, Vec<Observed>>) -> Vec<History> {
    let mut all: Vec<History> = Vec::new();
    let mut next = None;
    for (day, slots) in days {
        match all.last_mut().filter(|_| next == Some(day)) {
            Some(history) => history.slots.extend(slots),
            None => all.push(History {
                name: format!("{job}_{}", day + 1),
                shape: Shape::default(),
                first: day * SLOTS_PER_DAY,
                slots,
            }),
        }
        next = Some(day + 1);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_days_of_a_job_that_follow_one_another_are_one_history() {
        let rows = ["vm_5_1,cpu_pct,10,20", "vm_5_1,mem_pct,1,2", "vm_5_2,cpu_pct,30,40", "vm_5_4,cpu_pct,50,60"];
        let all = google("g.csv", &format!("vm,feature,t0,t1\n{}\n", rows.join("\n"))).unwrap();
        let shape: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.first, one.slots.len())).collect();
        assert_eq!(shape, [("vm_5_1", 0, 4), ("vm_5_4", 3 * SLOTS_PER_DAY, 2)]);
        assert_eq!((all[0].slots[1].cpu, all[0].slots[1].memory, all[0].slots[2].cpu), (0.2, 0.02, 0.3));
        assert!(all[0].slots[2].memory.is_nan());
    }

    #[test]
    fn a_row_that_names_no_day_is_refused() {
        let error = google("g.csv", "vm,feature,t0\njob,cpu_pct,1\n").unwrap_err().to_string();
        assert_eq!(error, "g.csv, line 2, column vm: \"job\" found, vm_<job>_<day from 1> is needed");
    }

    #[test]
    fn a_day_of_planetlab_is_of_cpu_only() {
        let header: Vec<String> = (0..288).map(|slot| format!("t{slot}")).collect();
        let text = format!("vm,seen_in_dev,{}\na,1,{}\n", header.join(","), vec!["7"; 288].join(","));
        let all = planetlab("p.csv", "20110303", &text).unwrap();
        assert_eq!((all[0].name.as_str(), all[0].slots.len(), all[0].slots[5].cpu), ("20110303/a", 288, 0.07));
        assert!(all[0].slots[0].memory.is_nan());
    }
}
