//! Both agents are asked before a vm is ordered to move: what an inventory does not show keeps it where it is.

use ballast_core::{decision::Mode, finding::Finding, id::HostId, preflight::Check};
use ballast_scheduler::engine::{ManualMove, OperatorError};
use ballast_tests::fleet::{SimFleet, id, vm};

fn host(name: &str) -> HostId {
    HostId::new(name).unwrap()
}

fn to(host: HostId) -> ManualMove {
    ManualMove { vm: "busy-1".into(), host, who: "ada".into(), reason: String::new(), set_aside: false, dry_run: false }
}

#[tokio::test]
async fn a_host_that_cannot_take_the_vms_is_asked_once_and_nothing_moves() {
    let vms = [vm("busy-1", 0, 3.9), vm("busy-2", 0, 3.9)];
    let fleet = SimFleet::start(Mode::Auto, 2, &vms).await.unwrap();
    fleet.world.forget_machine(&host("kvm2"));
    fleet.trusted().await.unwrap();
    let refused = async |fleet: &SimFleet| fleet.scheduler.engine.stats().await.unwrap();
    assert!(!fleet.until(180, |fleet| fleet.moves() > 0).await, "moved all the same\n{}", fleet.logs.text());
    let stats = refused(&fleet).await;
    let asked = stats.preflights.get("refused").copied().unwrap_or_default();
    assert!((1..=2).contains(&asked), "each vm is asked about once: {:?}\n{}", stats.preflights, fleet.logs.text());
    assert_eq!(stats.preflight_refusals.get("machine"), Some(&asked));
    assert!(stats.commands.is_empty(), "nothing was ordered: {:?}", stats.commands);
    let decisions = fleet.scheduler.engine.decisions(1000, true);
    let says_why = |finding: &Finding| matches!(finding, Finding::Preflight { by, refusal, .. } if *by == host("kvm2") && refusal.check == Check::Machine);
    let denied =
        decisions.iter().find(|record| record.decision.denied.iter().flat_map(|denial| &denial.findings).any(says_why));
    let newest = &decisions[0].decision;
    let told =
        |note: &String| note.contains("is not sent to kvm2 until") && note.contains("the machine type is not known");
    assert!(newest.notes.iter().any(told), "a decision without proposals says why: {:?}", newest.notes);
    let decision = denied.expect("a decision that tells of it").decision.id;
    let explained = fleet.scheduler.engine.explain(&decision.to_string()).unwrap().text;
    assert!(
        explained.contains("cannot move to kvm2, says kvm2: machine: the machine type is not known here"),
        "{explained}"
    );
}

#[tokio::test]
async fn the_vm_goes_where_it_can_instead() {
    let vms = [vm("busy-1", 0, 3.9), vm("busy-2", 0, 3.9)];
    let fleet = SimFleet::start(Mode::Auto, 3, &vms).await.unwrap();
    fleet.world.forget_machine(&host("kvm2"));
    fleet.trusted().await.unwrap();
    let relieved = |fleet: &SimFleet| ["busy-1", "busy-2"].iter().any(|name| fleet.runs_on(name) == ["kvm3"]);
    assert!(fleet.until(300, relieved).await, "not relieved\n{}", fleet.logs.text());
    let stats = fleet.scheduler.engine.stats().await.unwrap();
    assert!(stats.preflights.get("clear").is_some_and(|count| *count > 0), "{:?}", stats.preflights);
}

#[tokio::test]
async fn an_operators_order_is_refused_by_name_and_asked_for_anew_each_time() {
    let vms = [vm("busy-1", 0, 1.0)];
    let fleet = SimFleet::start(Mode::Recommend, 2, &vms).await.unwrap();
    fleet.world.forget_machine(&host("kvm2"));
    fleet.trusted().await.unwrap();
    for times in 1..=2 {
        let refused = fleet.scheduler.engine.migrate(to(host("kvm2"))).await.unwrap_err();
        let OperatorError::Denied { findings } = refused else { panic!("{refused:?}") };
        assert!(matches!(&findings[..], [Finding::Preflight { .. }]), "{findings:?}");
        let stats = fleet.scheduler.engine.stats().await.unwrap();
        assert_eq!(stats.preflights.get("refused"), Some(&times));
    }
    assert_eq!(fleet.scheduler.engine.snapshot().await.unwrap().vms[&id("busy-1")].host, host("kvm1"));
    assert!(fleet.scheduler.engine.migrations(10, false).is_empty());
}
