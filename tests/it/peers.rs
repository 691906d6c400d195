//! The page of peers says what the catalogue says.

use std::time::Duration;

use ballast_core::policy::peers::{PEERS, Peer};
use ballast_tests::sources;

fn row(peer: &Peer) -> String {
    let Peer { name, source, period, defaults, .. } = peer;
    format!("| `{name}` | {source} | {} | {defaults} |", span(*period))
}

fn span(period: Duration) -> String {
    match period.as_secs() {
        hours if hours % 3600 == 0 => format!("{} h", hours / 3600),
        minutes if minutes % 60 == 0 => format!("{} min", minutes / 60),
        seconds => format!("{seconds} s"),
    }
}

#[test]
fn every_peer_stands_on_its_page_as_in_the_catalogue() {
    let page = std::fs::read_to_string(sources::root().join("docs/peers.md")).unwrap();
    let missing: Vec<String> = PEERS.iter().map(row).filter(|row| !page.lines().any(|line| line == row)).collect();
    assert!(missing.is_empty(), "rows that docs/peers.md lacks:\n{}", missing.join("\n"));
}
