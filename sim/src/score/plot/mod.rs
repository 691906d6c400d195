//! The energy-overload frontier as a picture that a person can read: SVG, written by hand.
//!
//! Every policy is a mark with its name beside it and its intervals as thin bars; a policy with a risk knob is a curve over it;
//! the bounds are lines. Colours follow the reader's light or dark theme. Pure: the same scores give the same bytes. The
//! scoreboard calls it; it computes no figure of its own.

mod axis;
mod labels;

use std::fmt::Write as _;

use super::stats::Estimate;
use axis::Axis;
use labels::{Area, Label, Placed};

/// Size of the picture and of the margins around the plot, pixels.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 600.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 936.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 528.0;

/// Height of the letters of names and of knob values, pixels.
const NAME: f64 = 13.0;
const KNOB: f64 = 11.0;

/// Colours of policies, told apart by the colour-blind too (Okabe and Ito 2008); light theme, dark theme.
const COLOURS: [(&str, &str); 7] = [
    ("#0072b2", "#56b4e9"),
    ("#d55e00", "#ff9d4d"),
    ("#009e73", "#3ddbaa"),
    ("#b0468a", "#e99bcb"),
    ("#8a6d00", "#e6c229"),
    ("#4b4f8f", "#a9aef0"),
    ("#5a5a5a", "#c0c0c0"),
];

/// What one policy came to at one setting of its knob.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Its risk knob; `None` where it has none or it was left alone.
    pub knob: Option<f64>,
    /// Share of the hosts' time overloaded, 0 to 1.
    pub overload: Estimate,
    /// Energy, kWh.
    pub energy: Estimate,
}

/// One policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Its name.
    pub policy: String,
    /// Its marks; more than one are joined in this order.
    pub marks: Vec<Mark>,
}

impl Curve {
    /// What stands before the value of a knob: measured risk is set as a share, fixed risk in standard deviations.
    fn sign(&self) -> &'static str {
        if self.policy.ends_with("@alpha") { "α" } else { "z" }
    }
}

/// A limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// What it is, for people.
    pub name: String,
    /// Energy, kWh.
    pub energy_kwh: f64,
}

/// The picture.
pub fn frontier(title: &str, curves: &[Curve], limits: &[Limit]) -> String {
    let mut canvas = Canvas::new(curves, limits);
    canvas.begin(title);
    canvas.axes();
    let mut from_above: Vec<&Limit> = limits.iter().collect();
    from_above.sort_by(|a, b| b.energy_kwh.total_cmp(&a.energy_kwh));
    from_above.into_iter().for_each(|limit| canvas.limit(limit));
    for (index, curve) in curves.iter().enumerate() {
        canvas.curve(curve, index % COLOURS.len());
    }
    canvas.names();
    canvas.svg.push_str("</svg>\n");
    canvas.svg
}

#[derive(Debug)]
struct Canvas {
    svg: String,
    x: Axis,
    y: Axis,
    /// What texts must keep clear of.
    taken: Vec<Area>,
    /// Names and knob values, each with the class it is drawn in.
    labels: Vec<(Label, String)>,
}

impl Canvas {
    fn new(curves: &[Curve], limits: &[Limit]) -> Self {
        let marks = || curves.iter().flat_map(|curve| &curve.marks);
        let reach = |estimate: Estimate| [estimate.value].into_iter().chain(estimate.interval.into_iter().flatten());
        let shares = marks().flat_map(|mark| reach(mark.overload)).map(|share| share * 100.0).chain([0.0]);
        let energies = marks().flat_map(|mark| reach(mark.energy)).chain(limits.iter().map(|limit| limit.energy_kwh));
        let (x, y) = (Axis::around(shares, LEFT, RIGHT), Axis::around(energies, BOTTOM, TOP));
        Self { svg: String::new(), x, y, taken: Vec::new(), labels: Vec::new() }
    }

    fn draw(&mut self, element: &str) {
        self.svg.push_str(element);
        self.svg.push('\n');
    }

    fn begin(&mut self, title: &str) {
        let mut style = String::new();
        for (index, (light, _)) in COLOURS.iter().enumerate() {
            // Writing to a string cannot fail.
            let _written = write!(style, ".c{index}{{fill:{light};stroke:{light}}}");
        }
        let mut dark = String::new();
        for (index, (_, colour)) in COLOURS.iter().enumerate() {
            let _written = write!(dark, ".c{index}{{fill:{colour};stroke:{colour}}}");
        }
        self.draw(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {HEIGHT:.0}\" width=\"{WIDTH:.0}\" \
             height=\"{HEIGHT:.0}\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"{NAME:.0}\">"
        ));
        self.draw(&format!("<title>{}</title>", escaped(title)));
        self.draw(&format!(
            "<style>.bg{{fill:#fff}}.ink{{fill:#1c1c1c}}.soft{{fill:#5a5a5a}}.grid{{stroke:#e3e3e3}}.axis{{stroke:#8a8a8a}}\
             .limit{{stroke:#1c1c1c;stroke-dasharray:7 5}}{style}@media (prefers-color-scheme:dark){{.bg{{fill:#15181c}}\
             .ink{{fill:#ececec}}.soft{{fill:#a8a8a8}}.grid{{stroke:#2c3138}}.axis{{stroke:#7d838b}}.limit{{stroke:#ececec}}\
             {dark}}}.line{{fill:none;stroke-width:2}}.bar{{stroke-opacity:.45}}.lead{{stroke-opacity:.5;stroke-width:.8}}\
             .text{{stroke:none}}</style>"
        ));
        self.draw(&format!("<rect class=\"bg\" width=\"{WIDTH:.0}\" height=\"{HEIGHT:.0}\"/>"));
        self.draw(&format!(
            "<text class=\"ink\" x=\"{LEFT:.0}\" y=\"34\" font-size=\"17\" font-weight=\"600\">{}</text>",
            escaped(title)
        ));
        self.draw(&format!(
            "<text class=\"soft\" x=\"{RIGHT:.0}\" y=\"34\" text-anchor=\"end\">lower left is better</text>"
        ));
    }

    fn axes(&mut self) {
        for (value, text) in self.x.ticks() {
            let x = self.x.at(value);
            self.draw(&format!("<path class=\"grid\" d=\"M{x:.1} {TOP:.1}V{BOTTOM:.1}\"/>"));
            self.draw(&format!(
                "<text class=\"soft\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                BOTTOM + 20.0
            ));
        }
        for (value, text) in self.y.ticks() {
            let y = self.y.at(value);
            self.draw(&format!("<path class=\"grid\" d=\"M{LEFT:.1} {y:.1}H{RIGHT:.1}\"/>"));
            self.draw(&format!(
                "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 8.0,
                y + 4.5
            ));
        }
        self.draw(&format!("<path class=\"axis\" fill=\"none\" d=\"M{LEFT:.1} {TOP:.1}V{BOTTOM:.1}H{RIGHT:.1}\"/>"));
        let middle = f64::midpoint(LEFT, RIGHT);
        self.draw(&format!(
            "<text class=\"ink\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">overloaded time, % of host time awake</text>",
            BOTTOM + 48.0
        ));
        let middle = f64::midpoint(TOP, BOTTOM);
        self.draw(&format!(
            "<text class=\"ink\" transform=\"translate(22 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">energy, kWh</text>"
        ));
    }

    /// A dashed line with its name at the right end: above the line, or below it where another limit's name is.
    fn limit(&mut self, limit: &Limit) {
        let y = self.y.at(limit.energy_kwh);
        self.draw(&format!("<path class=\"limit\" stroke-width=\"1.3\" d=\"M{LEFT:.1} {y:.1}H{RIGHT:.1}\"/>"));
        let text = format!("{}: {:.1} kWh", limit.name, limit.energy_kwh);
        let (left, right) = (RIGHT - 6.0 - labels::width(&text, NAME), RIGHT - 6.0);
        let above = Area { left, right, top: y - 6.0 - NAME, bottom: y - 2.0 };
        let is_free = self.taken.iter().all(|taken| taken.shared_with(&above) == 0.0);
        let baseline = if is_free { y - 6.0 } else { y + NAME + 3.0 };
        self.taken.push(Area { left: LEFT, right: RIGHT, top: y - 1.5, bottom: y + 1.5 });
        self.taken.push(Area { left, right, top: baseline - NAME, bottom: baseline + 4.0 });
        let text = escaped(&text);
        self.draw(&format!(
            "<text class=\"ink\" x=\"{right:.1}\" y=\"{baseline:.1}\" text-anchor=\"end\">{text}</text>"
        ));
    }

    fn curve(&mut self, curve: &Curve, colour: usize) {
        let at: Vec<(f64, f64)> = curve
            .marks
            .iter()
            .map(|mark| (self.x.at(mark.overload.value * 100.0), self.y.at(mark.energy.value)))
            .collect();
        for pair in at.windows(2) {
            self.taken.extend((0..=20).map(|step| {
                let share = f64::from(step) / 20.0;
                Area::around(
                    pair[0].0 + (pair[1].0 - pair[0].0) * share,
                    pair[0].1 + (pair[1].1 - pair[0].1) * share,
                    2.0,
                )
            }));
        }
        if at.len() > 1 {
            let points: Vec<String> = at.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            self.draw(&format!("<polyline class=\"c{colour} line\" points=\"{}\"/>", points.join(" ")));
        }
        for (mark, (x, y)) in curve.marks.iter().zip(&at) {
            self.mark(curve, mark, (*x, *y), colour);
        }
        self.name(curve, &at, colour);
    }

    fn mark(&mut self, curve: &Curve, mark: &Mark, (x, y): (f64, f64), colour: usize) {
        if let Some([low, high]) = mark.overload.interval {
            let (low, high) = (self.x.at(low * 100.0), self.x.at(high * 100.0));
            self.draw(&format!("<path class=\"c{colour} bar\" d=\"M{low:.1} {y:.1}H{high:.1}\"/>"));
            self.taken.push(Area { left: low, right: high, top: y - 1.0, bottom: y + 1.0 });
        }
        if let Some([low, high]) = mark.energy.interval {
            let (low, high) = (self.y.at(low), self.y.at(high));
            self.draw(&format!("<path class=\"c{colour} bar\" d=\"M{x:.1} {low:.1}V{high:.1}\"/>"));
            self.taken.push(Area { left: x - 1.0, right: x + 1.0, top: high, bottom: low });
        }
        self.taken.push(Area::around(x, y, 5.0));
        let knob = mark.knob.map(|knob| format!(", risk {knob}")).unwrap_or_default();
        self.draw(&format!(
            "<circle class=\"c{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"><title>{}{knob}: {:.1} kWh, {:.2} % overloaded</title></circle>",
            escaped(&curve.policy),
            mark.energy.value,
            mark.overload.value * 100.0
        ));
        if let (Some(knob), true) = (mark.knob, curve.marks.len() > 1) {
            self.labels.push((Label { x, y, text: format!("{}={knob}", curve.sign()), height: KNOB }, "soft".into()));
        }
    }

    /// The name of a curve goes to the end that is further up and to the left, where there is usually most room.
    fn name(&mut self, curve: &Curve, at: &[(f64, f64)], colour: usize) {
        let ends = [at.first(), at.last()].into_iter().flatten();
        if let Some((x, y)) = ends.min_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1))) {
            let label = Label { x: *x, y: *y, text: curve.policy.clone(), height: NAME };
            self.labels.push((label, format!("c{colour} text")));
        }
    }

    /// Names first, for they matter most; then the knob values.
    fn names(&mut self) {
        let mut labels = std::mem::take(&mut self.labels);
        labels.sort_by(|(a, _), (b, _)| b.height.total_cmp(&a.height));
        let frame = Area { left: LEFT + 2.0, top: TOP, right: RIGHT, bottom: BOTTOM - 2.0 };
        let texts: Vec<Label> = labels.iter().map(|(label, _)| label.clone()).collect();
        let placed = labels::place(&texts, std::mem::take(&mut self.taken), frame);
        for ((label, class), place) in labels.iter().zip(&placed) {
            self.text(label, class, place);
        }
    }

    fn text(&mut self, label: &Label, class: &str, place: &Placed) {
        let (x, y) =
            (f64::midpoint(place.area.left, place.area.right), f64::midpoint(place.area.top, place.area.bottom));
        if place.is_far {
            let (to_x, to_y) =
                (label.x.clamp(place.area.left, place.area.right), label.y.clamp(place.area.top, place.area.bottom));
            self.draw(&format!("<path class=\"axis lead\" d=\"M{:.1} {:.1}L{to_x:.1} {to_y:.1}\"/>", label.x, label.y));
        }
        let baseline = y + label.height * 0.35;
        self.draw(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{baseline:.1}\" font-size=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            label.height,
            escaped(&label.text)
        ));
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(knob: Option<f64>, overload: f64, energy: f64) -> Mark {
        let around = |value: f64| Estimate { value, interval: Some([value * 0.93, value * 1.07]) };
        Mark { knob, overload: around(overload), energy: around(energy) }
    }

    fn picture() -> String {
        let knobs = [(1.0, 0.0815, 134.3), (1.5, 0.0476, 140.9), (2.0, 0.0287, 148.0), (3.0, 0.0112, 163.8)];
        let greedy = knobs.map(|(knob, overload, energy)| mark(Some(knob), overload, energy)).to_vec();
        let one =
            |policy: &str, overload, energy| Curve { policy: policy.into(), marks: vec![mark(None, overload, energy)] };
        let curves = [
            Curve { policy: "risk-greedy".into(), marks: greedy },
            one("lr-mmt-1.2", 0.0828, 151.7),
            one("thr-mmt-0.8", 0.071, 168.0),
            one("iqr-mmt-1.5", 0.069, 167.1),
            one("mad-mmt-2.5", 0.070, 166.0),
            one("lr-mc-1.2", 0.0815, 152.9),
            one("lr-mu-1.2", 0.0840, 153.4),
            one("best-fit <&>", 0.1, 140.0),
            one("oracle", 0.0003, 133.0),
        ];
        let limit = |name: &str, energy_kwh| Limit { name: name.into(), energy_kwh };
        frontier("Energy and overload", &curves, &[limit("fluid bound", 117.3), limit("clairvoyant", 120.2)])
    }

    #[test]
    fn the_picture_names_every_policy_limit_and_axis_and_is_the_same_each_time() {
        let svg = picture();
        let texts =
            ["risk-greedy", "lr-mmt-1.2", "best-fit &lt;&amp;&gt;", "fluid bound: 117.3 kWh", "energy, kWh", "z=1.5"];
        for text in texts {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg.matches("<polyline").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!(svg, picture());
    }

    #[test]
    fn every_element_is_closed() {
        let svg = picture();
        for name in ["svg", "text", "title", "style", "circle"] {
            assert_eq!(svg.matches(&format!("<{name}")).count(), svg.matches(&format!("</{name}>")).count(), "{name}");
        }
    }

    #[test]
    fn nothing_to_show_is_an_empty_plot() {
        assert!(frontier("nothing", &[], &[]).ends_with("</svg>\n"));
    }
}
