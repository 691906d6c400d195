//! The simulated driver keeps the contracts that every driver keeps.

use super::{contract::Pair, rig::Rig};
use ballast_agent::hypervisor::simulated::SimulatedHypervisor;
use ballast_sim::observe::migration_uri;

fn pair(rig: &Rig) -> Pair<SimulatedHypervisor> {
    let (source, vm, destination) = rig.vm();
    Pair {
        source: rig.hypervisor(source),
        destination: rig.hypervisor(destination),
        destination_host: rig.hosts[destination].clone(),
        destination_uri: migration_uri(&rig.hosts[destination]),
        vm,
    }
}

macro_rules! keeps {
    ($($contract:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $contract() {
            let rig = Rig::new().await;
            pair(&rig).$contract().await;
        }
    )+};
}

keeps!(
    tells_who_is_here,
    counts_without_going_back,
    refuses_what_is_not_under_way,
    moves_a_vm_and_tells_its_stages,
    an_abort_leaves_the_vm_at_its_source,
    a_second_watcher_hears_of_the_end,
    a_change_is_told,
);
