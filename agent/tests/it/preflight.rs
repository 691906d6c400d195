//! What agents answer before anything is ordered.

use std::time::Duration;

use ballast_core::{
    id::VmId,
    preflight::{Answer, Check},
};
use ballast_proto::{
    PREFLIGHT_CAPABILITY,
    convert::preflight_question,
    v1::{agent_message::Message as Up, scheduler_message::Message as Down},
};

use super::{rig::Rig, scheduler::Session};

/// Asks and waits for the answer.
async fn ask(session: &mut Session, number: u64, vm: VmId, passport: Option<&str>) -> Answer {
    let question = preflight_question(number, vm, false, passport.map(|json| (json, Duration::ZERO)));
    session.send(Down::Preflight(question)).await;
    loop {
        match session.next().await.expect("the stream ended") {
            Up::Batch(batch) => session.ack(batch.seq).await,
            Up::Preflight(answer) => return Answer::try_from(answer).unwrap(),
            _ => {}
        }
    }
}

fn checks(answer: &Answer) -> Vec<Check> {
    answer.refusals.iter().map(|refusal| refusal.check).collect()
}

#[tokio::test]
async fn the_destination_takes_a_vm_by_what_its_source_says_of_it() {
    let mut rig = Rig::new().await;
    let (source, vm, destination) = rig.vm();
    let _source = rig.agent(source);
    let mut session = rig.scheduler.welcome(1).await;
    assert!(session.hello.capabilities.iter().any(|capability| capability == PREFLIGHT_CAPABILITY));
    let answer = ask(&mut session, 5, vm, None).await;
    assert_eq!((answer.number, checks(&answer)), (5, Vec::new()));
    let passport = answer.passport.unwrap();
    let _destination = rig.agent(destination);
    let mut other = rig.scheduler.welcome(1).await;
    let answer = ask(&mut other, 6, vm, Some(&passport)).await;
    assert_eq!((answer.number, answer.refusals, answer.passport), (6, Vec::new(), None));
    rig.fleet.forget_machine(&rig.hosts[destination]);
    let answer = ask(&mut other, 7, vm, Some(&passport)).await;
    assert_eq!(checks(&answer), [Check::Machine]);
    assert_eq!(rig.fleet.with(|world| world.ledger().migrations), 0, "asking moves nothing");
}

#[tokio::test]
async fn a_vm_that_is_not_here_may_not_leave() {
    let mut rig = Rig::new().await;
    let (_, vm, destination) = rig.vm();
    let _agent = rig.agent(destination);
    let mut session = rig.scheduler.welcome(1).await;
    let answer = ask(&mut session, 1, vm, None).await;
    assert_eq!((checks(&answer), answer.passport), (vec![Check::State], None));
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused_and_the_link_goes_on() {
    let mut rig = Rig::new().await;
    let (source, vm, _) = rig.vm();
    let _agent = rig.agent(source);
    let mut session = rig.scheduler.welcome(1).await;
    let answer = ask(&mut session, 1, vm, Some("no JSON")).await;
    assert_eq!(checks(&answer), [Check::Answer]);
    assert_eq!(checks(&ask(&mut session, 2, vm, None).await), []);
}
