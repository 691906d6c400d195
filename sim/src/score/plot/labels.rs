//! Where texts go so that none covers another, a mark, or a line.
//!
//! Greedy: texts in the order given, each to the place around its mark that covers least, near before far. A text that had to
//! go far is joined to its mark by a thin line.

/// A rectangle in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Area {
    /// A square around a point.
    pub(super) fn around(x: f64, y: f64, half: f64) -> Self {
        Self { left: x - half, top: y - half, right: x + half, bottom: y + half }
    }

    /// How much of it another covers, square pixels.
    pub(super) fn shared_with(&self, other: &Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }

    fn size(&self) -> f64 {
        (self.right - self.left) * (self.bottom - self.top)
    }
}

/// A text to be placed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Label {
    /// Its mark.
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) text: String,
    /// Height of its letters, pixels.
    pub(super) height: f64,
}

/// A text with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub(super) area: Area,
    /// Far from its mark, so that a line should join them.
    pub(super) is_far: bool,
}

/// Directions tried, best liked first: right, left, above, below, then the diagonals and what lies between.
const DIRECTIONS: [(f64, f64); 16] = [
    (1.0, 0.0),
    (-1.0, 0.0),
    (0.0, -1.0),
    (0.0, 1.0),
    (0.7, -0.7),
    (0.7, 0.7),
    (-0.7, -0.7),
    (-0.7, 0.7),
    (0.9, -0.4),
    (0.9, 0.4),
    (-0.9, -0.4),
    (-0.9, 0.4),
    (0.4, -0.9),
    (0.4, 0.9),
    (-0.4, -0.9),
    (-0.4, 0.9),
];

/// Distances tried, pixels.
const DISTANCES: [f64; 10] = [9.0, 14.0, 20.0, 28.0, 38.0, 52.0, 70.0, 92.0, 118.0, 150.0];

/// Distance from which on a text is joined to its mark.
const FAR: f64 = 24.0;

/// Width of a letter, as a share of its height: sans-serif figures and small letters.
const LETTER: f64 = 0.58;

/// Width of a text, pixels.
pub(super) fn width(text: &str, height: f64) -> f64 {
    ballast_core::units::count(text.chars().count()) * height * LETTER
}

/// Places every label within `frame`, clear of `taken` where that is possible.
pub(super) fn place(labels: &[Label], mut taken: Vec<Area>, frame: Area) -> Vec<Placed> {
    let mut placed = Vec::with_capacity(labels.len());
    for label in labels {
        let best = best(label, &taken, frame);
        taken.push(best.area);
        placed.push(best);
    }
    placed
}

fn best(label: &Label, taken: &[Area], frame: Area) -> Placed {
    let places = DISTANCES.iter().flat_map(|distance| DIRECTIONS.map(|direction| (direction, *distance)));
    let rated = places.enumerate().map(|(rank, (direction, distance))| {
        let area = area(label, direction, distance);
        let covered: f64 = taken.iter().map(|other| area.shared_with(other)).sum();
        let outside = area.size() - area.shared_with(&frame);
        let rank = ballast_core::units::count(rank);
        (covered * 2.0 + outside * 4.0 + rank, Placed { area, is_far: distance >= FAR })
    });
    let best = rated.min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or_else(|| Placed { area: area(label, (1.0, 0.0), 0.0), is_far: false }, |(_, placed)| placed)
}

/// The area of a label whose nearest edge is `distance` from its mark.
fn area(label: &Label, direction: (f64, f64), distance: f64) -> Area {
    let (wide, high) = (width(&label.text, label.height), label.height * 1.15);
    let x = label.x + direction.0 * (distance + wide / 2.0);
    let y = label.y + direction.1 * (distance + high / 2.0);
    Area { left: x - wide / 2.0, right: x + wide / 2.0, top: y - high / 2.0, bottom: y + high / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_marks_in_a_heap_get_twenty_labels_apart() {
        let frame = Area { left: 0.0, top: 0.0, right: 900.0, bottom: 500.0 };
        let label = |index: i32| Label {
            x: 300.0 + f64::from(index % 5) * 14.0,
            y: 200.0 + f64::from(index / 5) * 13.0,
            text: format!("policy-{index}"),
            height: 12.0,
        };
        let labels: Vec<Label> = (0..20).map(label).collect();
        let marks = labels.iter().map(|label| Area::around(label.x, label.y, 5.0)).collect();
        let placed = place(&labels, marks, frame);
        for (index, one) in placed.iter().enumerate() {
            assert!(one.area.size() - one.area.shared_with(&frame) < 1e-9);
            let covered: f64 = placed[..index].iter().map(|other| one.area.shared_with(&other.area)).sum();
            assert!(covered < 1.0, "label {index} covers {covered} of others");
        }
    }
}
