//! The cheapest cover with whole hosts, by branch and bound over how many hosts of each class are awake.
//!
//! Every node is a cover with limits on the hosts of each class; a fractional number of hosts is branched on. The node with
//! the least bound is always next, so that whenever the search ends, the least bound still open is one for the whole problem.

use super::{
    class::Class,
    cover::{Cover, Problem, Row},
};

/// Nodes looked at before the search ends with the bound it has; a fleet of a few classes needs about ten.
const NODES_MAX: usize = 200;

/// A number of hosts nearer to a whole one than this is whole.
const WHOLE: f64 = 1e-6;

/// Relative distance from the best known cover at which a node is not worth opening.
const CLOSE: f64 = 1e-9;

#[derive(Debug, Clone)]
struct Node {
    low: Vec<f64>,
    high: Vec<f64>,
    cover: Cover,
}

/// A lower bound on the power of whole hosts beyond that of a fleet asleep, watts: the optimum unless the search was cut
/// short. `None` where `hosts` do not suffice.
pub(super) fn least_watts(classes: &[Class], hosts: &[f64], cores: f64, row: &Row) -> Option<f64> {
    let node = |low: Vec<f64>, high: Vec<f64>| {
        let cover = Problem { classes, low: &low, high: &high, cores, row }.solve()?;
        Some(Node { low, high, cover })
    };
    let mut open = vec![node(vec![0.0; hosts.len()], hosts.to_vec())?];
    let mut known = f64::INFINITY;
    for _ in 0..NODES_MAX {
        let Some(next) = least(&open) else { return Some(known) };
        if open[next].cover.watts >= known * (1.0 - CLOSE) {
            return Some(open[next].cover.watts.min(known));
        }
        let here = open.swap_remove(next);
        let Some(class) = most_fractional(&here.cover.awake) else { return Some(here.cover.watts) };
        let up: Vec<f64> = here.cover.awake.iter().map(|awake| (awake - WHOLE).ceil()).collect();
        known = known.min(node(up.clone(), up).map_or(f64::INFINITY, |rounded| rounded.cover.watts));
        open.extend(split(&here, class).into_iter().filter_map(|(low, high)| node(low, high)));
    }
    Some(least(&open).map_or(known, |next| open[next].cover.watts.min(known)))
}

fn least(open: &[Node]) -> Option<usize> {
    (0..open.len()).min_by(|a, b| open[*a].cover.watts.total_cmp(&open[*b].cover.watts))
}

fn most_fractional(awake: &[f64]) -> Option<usize> {
    let distance = |class: &usize| (awake[*class] - awake[*class].round()).abs();
    let fractional = (0..awake.len()).filter(|class| distance(class) > WHOLE);
    fractional.max_by(|a, b| distance(a).total_cmp(&distance(b)))
}

/// The two halves of a node: at most the hosts below, or at least those above.
fn split(node: &Node, class: usize) -> [(Vec<f64>, Vec<f64>); 2] {
    let below = node.cover.awake[class].floor();
    let (mut fewer, mut more) = ((node.low.clone(), node.high.clone()), (node.low.clone(), node.high.clone()));
    fewer.1[class] = below;
    more.0[class] = below + 1.0;
    [fewer, more]
}
