//! The labels that an operator puts into a domain's metadata: his wishes for a single vm (docs/labels.md).
//!
//! Pure. A vm with a label that cannot be understood stays where it is until that is put right: what was meant may have been
//! that it must not be where it would go, or how it must not be moved.

use std::str::FromStr;

use ballast_core::{
    convergence::{Compression, Convergence},
    id::HostId,
    inventory::{Obstacle, VmLabels},
};
use roxmltree::{Attribute, Node};

/// Namespace of the labels.
const LABELS: &str = "https://ballast.dev/vm/1";

/// The labels in a domain's metadata; what cannot be understood of them becomes an obstacle.
pub(super) fn read(metadata: Node<'_, '_>, obstacles: &mut Vec<Obstacle>) -> VmLabels {
    let mut labels = VmLabels::default();
    let ours = |node: &Node<'_, '_>| node.tag_name().namespace() == Some(LABELS);
    for label in metadata.children().filter(ours).flat_map(|vm| vm.children()).filter(ours) {
        let mut group =
            || named(label, "group", |group| (!group.trim().is_empty()).then(|| group.to_owned()), obstacles);
        match label.tag_name().name() {
            "pin" => labels.pinned_to.extend(named(label, "host", |host| HostId::new(host).ok(), obstacles)),
            "anti-affinity" => labels.anti_affinity.extend(group()),
            "affinity" => labels.affinity.extend(group()),
            "spread" => labels.spread.extend(group()),
            "users" => labels.users = group().or(labels.users),
            "immovable" => labels.immovable = true,
            "migration" => labels.convergence = convergence(label, obstacles),
            _ => {}
        }
    }
    labels
}

/// What a label's attribute says, as `read` understands it; where it does not, an obstacle that says so.
fn named<T>(
    label: Node<'_, '_>,
    attribute: &str,
    read: impl Fn(&str) -> Option<T>,
    obstacles: &mut Vec<Obstacle>,
) -> Option<T> {
    let (name, text) = (label.tag_name().name(), label.attribute(attribute));
    let value = text.and_then(read);
    if value.is_none() {
        let found = text.map_or_else(|| "is missing".to_owned(), |text| format!("is {text:?}"));
        let what = format!("has the label {name} of which {attribute} {found}, where a {attribute}'s name is needed");
        obstacles.push(Obstacle::Other(what));
    }
    value
}

/// How its copies are to go.
fn convergence(label: Node<'_, '_>, obstacles: &mut Vec<Obstacle>) -> Convergence {
    let mut wish = Convergence::default();
    let mut refuse = |what: String| obstacles.push(Obstacle::Other(format!("has the label migration of which {what}")));
    for attribute in label.attributes().filter(|attribute| attribute.namespace().is_none()) {
        if let Err(needed) = take(&mut wish, &attribute) {
            refuse(format!("{} is {:?}, where {needed} is needed", attribute.name(), attribute.value()));
        }
    }
    wish.problems().iter().for_each(|problem| refuse(problem.to_string()));
    wish
}

/// Takes one attribute of the label `migration`, or says what would be needed in its place.
fn take(wish: &mut Convergence, attribute: &Attribute<'_, '_>) -> Result<(), &'static str> {
    let text = attribute.value().trim();
    match attribute.name() {
        "max-downtime-ms" => wish.downtime_max_ms = Some(number(text)?),
        "bandwidth-mbit" => wish.bandwidth_mbit = Some(number(text)?),
        "timeout-seconds" => wish.timeout_seconds = Some(number(text)?),
        "parallel" => wish.parallel = Some(number(text)?),
        "auto-converge" => wish.auto_converge = yes(text)?,
        "compression" => {
            wish.compression = match text {
                "none" => Compression::None,
                "zstd" => Compression::Zstd,
                _ => return Err("none or zstd"),
            }
        }
        "post-copy" if yes(text)? => return Err("no (a vm whose post-copy fails is lost)"),
        "post-copy" => {}
        _ => return Err("one of the attributes of docs/labels.md"),
    }
    Ok(())
}

fn number(text: &str) -> Result<u32, &'static str> {
    u32::from_str(text).map_err(|_| "a whole number")
}

fn yes(text: &str) -> Result<bool, &'static str> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("yes or no"),
    }
}
