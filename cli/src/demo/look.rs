//! What the live view shows of one moment.

use ballast_core::units::{Timestamp, Watts};
use ballast_sim::{
    Ledger,
    observe::{FlightStatus, HostStatus},
};

use super::stage::Stage;

/// The fleet at one moment, beside its twin that is left alone.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) now: Timestamp,
    pub(crate) hosts: Vec<HostStatus>,
    pub(crate) flights: Vec<FlightStatus>,
    pub(crate) ledger: Ledger,
    pub(crate) left_alone: Ledger,
    pub(crate) watts: Watts,
    pub(crate) watts_left_alone: Watts,
}

impl Look {
    /// Looks now.
    pub(crate) fn at(stage: &Stage) -> Self {
        let (hosts, flights, ledger) = stage.world(|world| (world.overview(), world.flights(), world.ledger()));
        let sum = |hosts: &[HostStatus]| hosts.iter().map(|host| host.watts).sum();
        Self {
            now: stage.now(),
            watts: sum(&hosts),
            watts_left_alone: sum(&stage.twin().overview()),
            hosts,
            flights,
            ledger,
            left_alone: stage.twin().ledger(),
        }
    }
}
