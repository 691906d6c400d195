//! libvirtd goes down and comes back, again and again.

use ballast_proto::v1::{self, EndingKind};
use ballast_tests::{
    lab::Lab,
    trial::{ENDLESS, Trial, UNBOUNDED},
};

use super::{ended, trial};

/// How often every vm is ordered to move, and how often a libvirtd is killed each time.
const ROUNDS: usize = 3;
const KILLS: usize = 3;

#[tokio::test]
async fn a_libvirtd_restarted_again_and_again_while_moves_are_ordered_costs_moves_and_nothing_else() {
    let test = "libvirtd::a_libvirtd_restarted_again_and_again_while_moves_are_ordered_costs_moves_and_nothing_else";
    let vms = [("web", 1), ("db", 2)];
    let Some(mut trial) = trial(test, 2, &vms).await else { return };
    let mut killed = 0;
    for _ in 0..ROUNDS {
        let mut orders = Vec::new();
        for (vm, number) in vms {
            // Slow enough that none ends by itself meanwhile: at the switch-over libvirt is on its own.
            orders.push(trial.order(vm, &Lab::host(number), &Lab::host(3 - number), ENDLESS).await.unwrap());
        }
        // One that is killed while it makes ready for a vm may leave behind what was to take it: that is libvirt's own.
        for order in &orders {
            let is_copied =
                async |trial: &Trial| trial.fleet.lab.is_copied_from(&order.source).is_ok_and(|copied| copied);
            trial.until(&format!("{} is copied", order.vm), is_copied).await.unwrap();
        }
        for _ in 0..KILLS {
            killed += 1;
            let host = Lab::host(1 + killed % 2);
            trial.fleet.lab.kill_libvirtd(&host).unwrap();
            trial.fleet.lab.restart_libvirtd(&host).unwrap();
            trial.say(&format!("libvirtd of {host} was killed and is back"));
            nobody_is_missed(&trial, &vms).await;
        }
        for order in &orders {
            let outcome = trial.outcome(order).await.unwrap();
            trial.say(&format!("{:?} {}", outcome.ending(), outcome.reason));
            assert!(!matches!(outcome.ending(), EndingKind::Completed | EndingKind::VmGone), "{outcome:?}");
        }
    }
    for (vm, number) in vms {
        trial.lives_on(vm, &Lab::host(number)).await.unwrap();
    }
    // And the next move is one like any other.
    let order = trial.order("web", &Lab::host(1), &Lab::host(2), UNBOUNDED).await.unwrap();
    ended(&trial.outcome(&order).await.unwrap(), EndingKind::Completed);
    trial.lives_on("web", &Lab::host(2)).await.unwrap();
}

/// A libvirtd that is away or has just begun says nothing of its vms; nobody takes that for their end.
async fn nobody_is_missed(trial: &Trial, vms: &[(&str, usize)]) {
    let listed = trial.operator.clone().list_vms(v1::ListVmsRequest::default()).await.unwrap().into_inner().vms;
    for (vm, _) in vms {
        assert!(listed.iter().any(|one| one.name == *vm), "{vm} is taken for gone: {listed:?}");
    }
}
