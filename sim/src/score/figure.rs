//! The figures of a score by name: one list from which tables, means and comparisons are made.
//!
//! Names are those of the JSON; `docs/scoring.md` defines each.

use super::Score;

/// One figure of a score.
#[derive(Clone, Copy)]
pub struct Figure {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its head in tables, with the unit.
    pub head: &'static str,
    /// Digits behind the point in tables.
    pub digits: usize,
    /// What it is multiplied by for tables: shares are shown in per cent.
    pub scale: f64,
    /// Its value, where it applies.
    pub of: fn(&Score) -> Option<f64>,
}

impl std::fmt::Debug for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Figure {
    /// The figure of that name in JSON.
    pub fn named(name: &str) -> Option<&'static Self> {
        FIGURES.iter().find(|figure| figure.name == name)
    }

    /// A value as tables show it; `-` where it does not apply.
    pub fn show(&self, value: Option<f64>) -> String {
        value.map_or_else(|| "-".into(), |value| format!("{:.*}", self.digits, value * self.scale))
    }
}

const fn share(name: &'static str, head: &'static str, digits: usize, of: fn(&Score) -> Option<f64>) -> Figure {
    Figure { name, head, digits, scale: 100.0, of }
}

const fn plain(name: &'static str, head: &'static str, digits: usize, of: fn(&Score) -> Option<f64>) -> Figure {
    Figure { name, head, digits, scale: 1.0, of }
}

const fn scaled(name: &'static str, head: &'static str, scale: f64, of: fn(&Score) -> Option<f64>) -> Figure {
    Figure { name, head, digits: 1, scale, of }
}

#[allow(clippy::cast_precision_loss)] // Counts of a run stay far below 2^53.
const fn number(count: u64) -> Option<f64> {
    Some(count as f64)
}

/// Every figure, in the order of [`Score`].
pub const FIGURES: &[Figure] = &[
    plain("energy_kwh", "kWh", 2, |score| Some(score.energy_kwh)),
    plain("bound_kwh", "BOUND kWh", 2, |score| score.bound_kwh),
    share("gap", "GAP %", 1, |score| score.gap),
    scaled("cost_joules", "COST MJ", 1e-6, |score| Some(score.cost_joules)),
    share("unserved_cpu_share", "UNSERVED %", 3, |score| Some(score.unserved_cpu_share)),
    share("unserved_io_share", "UNSERVED IO %", 3, |score| Some(score.unserved_io_share)),
    share("overload_time_share", "OVERLOAD %", 2, |score| Some(score.overload_time_share)),
    plain("overload_p95_s", "OVERLOAD p95 s", 0, |score| Some(score.overload_p95_s)),
    share("slatah", "SLATAH %", 2, |score| Some(score.slatah)),
    share("pdm", "PDM %", 4, |score| Some(score.pdm)),
    scaled("slav", "SLAV 1e-5", 1e5, |score| Some(score.slav)),
    scaled("esv", "ESV 1e-3", 1e3, |score| Some(score.esv)),
    plain("migrations", "MOVES", 0, |score| number(score.migrations)),
    plain("migrations_failed", "FAILED", 0, |score| number(score.migrations_failed)),
    scaled("moved_bytes", "MOVED GiB", 1.0 / 1_073_741_824.0, |score| number(score.moved_bytes)),
    plain("downtime_s", "DOWNTIME s", 1, |score| Some(score.downtime_s)),
    plain("wakes", "WAKES", 0, |score| number(score.wakes)),
    plain("shutdowns", "SHUTDOWNS", 0, |score| number(score.shutdowns)),
    plain("mean_awake_hosts", "AWAKE", 1, |score| Some(score.mean_awake_hosts)),
    plain("fault_domain_breach_h", "BREACH h", 2, |score| Some(score.fault_domain_breach_h)),
    plain("mean_user_rtt_ms", "RTT ms", 2, |score| score.mean_user_rtt_ms),
    plain("start_wait_p95_s", "WAIT p95 s", 1, |score| score.start_wait_p95_s),
    plain("start_wait_mean_s", "WAIT s", 2, |score| score.start_wait_mean_s),
    share("answered_share", "ANSWERED %", 2, |score| score.answered_share),
    plain("latency_p95_ms", "LATENCY p95 ms", 0, |score| score.latency_p95_ms),
    plain("denied", "DENIED", 0, |score| number(score.denied)),
    share("came_true", "CAME TRUE %", 0, |score| score.came_true),
    share("broken_share", "BROKEN %", 2, |score| score.broken_share),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_a_score_is_a_figure_and_is_documented() {
        let docs = include_str!("../../../docs/scoring.md");
        let debug = format!("{:?}", Score::default());
        let fields: Vec<&str> = debug.split([' ', '{']).filter_map(|word| word.strip_suffix(':')).collect();
        assert_eq!(fields[..3], ["policy", "day", "seed"]);
        assert_eq!(fields[3..], FIGURES.iter().map(|figure| figure.name).collect::<Vec<_>>()[..]);
        for field in fields {
            assert!(docs.contains(&format!("`{field}`")), "docs/scoring.md does not define `{field}`");
        }
    }

    #[test]
    fn figures_are_shown_in_the_unit_of_their_head() {
        assert_eq!(Figure::named("gap").unwrap().show(Some(0.294)), "29.4");
        assert_eq!(Figure::named("moved_bytes").unwrap().show(Some(1_610_612_736.0)), "1.5");
        assert_eq!(Figure::named("latency_p95_ms").unwrap().show(None), "-");
        assert!(Figure::named("luck").is_none());
    }
}
