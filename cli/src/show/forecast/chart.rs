//! A fan chart in letters: what was used to the left of now, the quantiles ahead to the right, on one scale of time.
//!
//! Two columns are a step of five minutes. Between the steps that are forecast the quantiles are drawn on straight lines,
//! beginning at what was used last.

use std::fmt;

use ballast_core::{
    forecast::{Quantiles, ResourceForecast, STEP, STEPS},
    units::{count, nanos_of},
};

/// Rows of a chart: two of them fit on a terminal of 40 lines with the table below.
const ROWS: usize = 8;

/// Columns of a step.
const STEP_COLUMNS: usize = 2;

/// Columns ahead: the last step that is forecast.
const AHEAD: usize = STEPS[STEPS.len() - 1] * STEP_COLUMNS;

/// Columns of the scale at the left, the axis included.
const SCALE: usize = 11;

/// What was used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Past {
    /// The moment of the forecast, nanoseconds since 1970.
    pub(super) now: u64,
    /// Means by the beginning of their step.
    pub(super) steps: Vec<(u64, Option<f64>)>,
}

/// One resource, drawn.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) past: Past,
    pub(super) forecast: &'a ResourceForecast,
    pub(super) show: fn(f64) -> String,
    pub(super) width: usize,
    pub(super) is_fine: bool,
}

/// The signs of a chart.
struct Signs {
    /// What was used, as a column filled to so many parts of a row, from nothing to all of it.
    filled: &'static [char],
    median: char,
    /// Between the 10 and 90 % quantiles, up to 95, up to 99.
    bands: [char; 3],
    side: char,
    floor: char,
    now: char,
    corner: char,
}

const FINE: Signs = Signs {
    filled: &[' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
    median: '━',
    bands: ['▓', '▒', '░'],
    side: '│',
    floor: '─',
    now: '┴',
    corner: '└',
};

const PLAIN: Signs =
    Signs { filled: &[' ', '#'], median: '-', bands: ['=', '+', '.'], side: '|', floor: '-', now: '+', corner: '+' };

/// What the signs mean.
pub(super) fn legend(is_fine: bool) -> String {
    let Signs { filled, median, bands: [inner, upper, most], .. } = signs(is_fine);
    let used = filled[filled.len() - 1];
    format!("{used} used   {median} median   {inner} 10 to 90 %   {upper} to 95 %   {most} to 99 %")
}

fn signs(is_fine: bool) -> &'static Signs {
    if is_fine { &FINE } else { &PLAIN }
}

impl fmt::Display for Chart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signs = signs(self.is_fine);
        let (past, ahead) = (self.past_columns(), self.ahead_columns());
        let top = top(&past, &ahead);
        writeln!(f, "{}", self.title)?;
        for row in (0..ROWS).rev() {
            let (low, high) = (top * count(row) / count(ROWS), top * count(row + 1) / count(ROWS));
            let used = past.iter().map(|value| filled(*value, low, high, signs));
            let fan = ahead.iter().map(|quantiles| band(quantiles, low, high, signs));
            let line: String = used.chain(fan).collect();
            let scale = if row + 1 == ROWS || row + 1 == ROWS / 2 { (self.show)(high) } else { String::new() };
            writeln!(f, "{scale:>scale_width$} {}{}", signs.side, line.trim_end(), scale_width = SCALE - 2)?;
        }
        self.floor(f, signs, past.len())
    }
}

impl Chart<'_> {
    /// The line below, and its times.
    fn floor(&self, f: &mut fmt::Formatter<'_>, signs: &Signs, before: usize) -> fmt::Result {
        let repeated = |times| std::iter::repeat_n(signs.floor, times).collect::<String>();
        let (zero, left) = ((self.show)(0.0), repeated(before.saturating_sub(1)));
        writeln!(f, "{zero:>9} {}{left}{}{}", signs.corner, signs.now, repeated(AHEAD))?;
        let oldest = format!("-{} min", before * 5 / STEP_COLUMNS);
        let to_now = before.saturating_sub(oldest.len() + 2);
        let to_end = AHEAD.saturating_sub("now".len() + "+60 min".len() - 2);
        writeln!(f, "{:SCALE$}{oldest}{:to_now$}now{:to_end$}+60 min", "", "", "")
    }

    /// What was used, oldest first; what is not known is a gap.
    fn past_columns(&self) -> Vec<Option<f64>> {
        let columns = self.width.saturating_sub(SCALE + AHEAD) / STEP_COLUMNS * STEP_COLUMNS;
        let column = nanos_of(STEP) / STEP_COLUMNS as u64;
        let at = |back: usize| {
            // The middle of the column.
            let moment = self.past.now.checked_sub(column * back as u64 + column / 2)?;
            let step = self.past.steps.iter().rfind(|(from, _)| *from <= moment)?;
            (moment - step.0 < nanos_of(STEP)).then_some(step.1).flatten()
        };
        (0..columns).rev().map(at).collect()
    }

    /// The quantiles ahead, a column each.
    fn ahead_columns(&self) -> Vec<Quantiles> {
        let newest = self.past.steps.iter().rev().find_map(|(_, value)| *value);
        let begin = newest.map_or(self.forecast.steps[0], Quantiles::certain);
        let told = STEPS.iter().map(|step| count(*step)).zip(self.forecast.steps);
        let points: Vec<(f64, Quantiles)> = std::iter::once((0.0, begin)).chain(told).collect();
        let at = |column: usize| between(&points, (count(column) + 0.5) / count(STEP_COLUMNS));
        (0..AHEAD).map(at).collect()
    }
}

/// The quantiles at `steps` ahead, on the straight line between the two points around it.
fn between(points: &[(f64, Quantiles)], steps: f64) -> Quantiles {
    let around = points.windows(2).find(|pair| steps <= pair[1].0).unwrap_or(&points[points.len() - 2..]);
    let [(begin, from), (end, to)] = [around[0], around[1]];
    let share = ((steps - begin) / (end - begin)).clamp(0.0, 1.0);
    Quantiles(std::array::from_fn(|level| from.0[level] + share * (to.0[level] - from.0[level])))
}

/// The upper end of the scale: a little above everything that is drawn.
fn top(past: &[Option<f64>], ahead: &[Quantiles]) -> f64 {
    let drawn = past.iter().flatten().copied().chain(ahead.iter().flat_map(|quantiles| quantiles.0));
    let highest = drawn.filter(|value| value.is_finite()).fold(0.0, f64::max);
    if highest > 0.0 { highest * 1.05 } else { 1.0 }
}

/// How much of the row from `low` to `high` a value fills.
fn filled(value: Option<f64>, low: f64, high: f64, signs: &Signs) -> char {
    let Some(value) = value else { return ' ' };
    let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
    let parts = signs.filled.len() - 1;
    let full = (1..=parts).filter(|part| share * count(parts) + 0.5 >= count(*part)).count();
    signs.filled[full]
}

/// The sign of the row from `low` to `high` in a fan.
fn band(Quantiles([q10, q50, q90, q95, q99]): &Quantiles, low: f64, high: f64, signs: &Signs) -> char {
    let middle = f64::midpoint(low, high);
    let [inner, upper, most] = signs.bands;
    if (low..high).contains(q50) {
        signs.median
    } else if middle >= *q10 && middle <= *q90 {
        inner
    } else if middle > *q90 && middle <= *q95 {
        upper
    } else if middle > *q95 && middle <= *q99 {
        most
    } else {
        ' '
    }
}
