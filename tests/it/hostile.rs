//! One hostile agent with a certificate of its own, doing all that it can at once: the others are served as before, and the
//! worst that comes of it is that its own host and the vm it claims are left alone.

use std::time::Duration;

use ballast_core::{
    command::CommandStatus,
    decision::Mode,
    id::{CommandId, Epoch, HostId},
    outcome::Ending,
    units::Timestamp,
};
use ballast_daemon::{
    clock::Clock,
    tls::{Role, TlsFiles},
};
use ballast_proto::v1::{self, agent_message::Message as Up, operator_client::OperatorClient};
use ballast_tests::{
    certificates::Authority,
    logs::Logs,
    scheduler::{SchedulerUnderTest, Time, quick},
    scripted::{ScriptedHost, ScriptedLink, secure, vm_named},
};
use tonic::Code;

const SECOND: Duration = Duration::from_secs(1);
/// Batches that a flood sends in each second of the fleet's time.
const FLOOD: u64 = 50;

/// A scheduler, three honest hosts and what the hostile one has.
struct Stage {
    scheduler: SchedulerUnderTest,
    time: Time,
    honest: Vec<(ScriptedHost, ScriptedLink)>,
    seq: u64,
    /// The hostile agent's own, good certificate.
    files: TlsFiles,
    operator: TlsFiles,
    logs: Logs,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let (logs, time, folder) = (Logs::watch(), Time::default(), tempfile::tempdir().unwrap());
        let authority = Authority::new(folder.path()).unwrap();
        let issue = |role, name: &str| authority.issue(role, name, Some("127.0.0.1".parse().unwrap())).unwrap();
        let mut config = quick(&folder.path().join("scheduler"), Mode::Recommend);
        config.tls = Some(issue(Role::Scheduler, "main"));
        let scheduler = SchedulerUnderTest::start(config, time.clock.clone(), &logs).await.unwrap();
        let mut honest = Vec::new();
        for (name, vm) in [("a", "claimed"), ("b", "free"), ("c", "other")] {
            let host = ScriptedHost::new(name).unwrap().with_vm(vm, 0.5);
            let files = issue(Role::Agent, name);
            let link = ScriptedLink::open_as(&files, &scheduler.authority(), &host).await.unwrap();
            honest.push((host, link));
        }
        let (files, operator) = (issue(Role::Agent, "m"), issue(Role::Operator, "ann"));
        Self { scheduler, time, honest, seq: 0, files, operator, logs, _folder: folder }
    }

    async fn link(&self, host: &ScriptedHost) -> anyhow::Result<ScriptedLink> {
        ScriptedLink::open_as(&self.files, &self.scheduler.authority(), host).await
    }

    /// A second in which every honest host sends, and `evil` what it likes.
    async fn second(&mut self, evil: impl AsyncFn(Timestamp)) {
        self.seq += 1;
        for (host, link) in &self.honest {
            link.batch(host.batch(self.seq, self.time.now())).await.unwrap();
        }
        evil(self.time.now()).await;
        self.time.pass(SECOND, Duration::from_millis(250)).await;
    }
}

/// The host `m`, which says that it runs `claimed` too.
fn liar() -> ScriptedHost {
    ScriptedHost::new("m").unwrap().with_vm("own", 0.5).with_vm("claimed", 3.9)
}

/// Opens a link, says one thing, and waits until it is put out for it.
async fn is_put_out_for(stage: &Stage, word: Up) {
    let mut link = stage.link(&liar()).await.unwrap();
    link.send(word).await.unwrap();
    let why = loop {
        if let Err(error) = link.next().await {
            break format!("{error:#}");
        }
    };
    assert!(!why.contains("no answer"), "it may go on: {why}");
}

#[tokio::test]
async fn a_hostile_agent_harms_nobody_but_its_own_host() {
    let mut stage = Stage::new().await;
    // What is said of it is no surprise, and none of it is an error of ours.
    stage.logs.expect("");
    stage.second(async |_| ()).await;
    let before = stage.scheduler.engine.epoch();

    // It speaks for another host, and calls what is for operators.
    let other = ScriptedHost::new("a").unwrap();
    assert!(format!("{:#}", stage.link(&other).await.unwrap_err()).contains("certificate is for m"));
    let channel = secure(&stage.files, &stage.scheduler.authority()).await.unwrap();
    let drain = v1::DrainRequest { host: "a".into() };
    let refused = OperatorClient::new(channel).drain(drain).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    // It sends what is no message, and what is none of an agent's.
    let garbage = v1::Batch { boot_uuid: vec![1, 2, 3], ..liar().batch(1, stage.time.now()).into() };
    is_put_out_for(&stage, Up::Batch(garbage)).await;
    let foreign = ScriptedHost::new("a").unwrap().with_vm("claimed", 0.1).batch(1, stage.time.now());
    is_put_out_for(&stage, Up::Batch(foreign.into())).await;
    let nobody = v1::CommandReport { command_id: "no command".into(), status: None };
    is_put_out_for(&stage, Up::Report(nobody)).await;

    // It floods, counts backwards and to the end of numbers, and says absurd things of itself and of the vm it claims.
    let (host, link, real) = (liar(), stage.link(&liar()).await.unwrap(), Clock::system());
    let forged = CommandId { epoch: Epoch(before.0), number: 1 };
    for second in 0..30_u64 {
        stage
            .second(async |now| {
                for (number, absurd) in (0..FLOOD).zip([f64::NAN, -1.0, 1e300, f64::INFINITY].into_iter().cycle()) {
                    let seq = match number % 4 {
                        0 => second * FLOOD + number + 1,
                        1 => 1,
                        2 => u64::MAX - number,
                        _ => 0,
                    };
                    let mut batch: v1::Batch = host.batch(seq, now).into();
                    let sample = batch.sample.as_mut().unwrap();
                    sample.cpu_used_cores.as_mut().unwrap().value = absurd;
                    // Where its window is full it stops reading itself: nobody else waits.
                    drop(real.timeout(Duration::from_millis(1), link.send(Up::Batch(batch))).await);
                }
                let denied = CommandStatus::Running(Default::default());
                drop(real.timeout(Duration::from_millis(1), link.report(forged, denied)).await);
            })
            .await;
    }

    // The others are as before: heard of in time, trusted, their vms where they were.
    let snapshot = stage.scheduler.engine.snapshot().await.unwrap();
    let name = |name: &str| HostId::new(name).unwrap();
    for honest in ["b", "c"] {
        let view = &snapshot.hosts[&name(honest)];
        assert!(view.is_trusted(), "{honest}: {:?}", view.doubts);
        let age = stage.time.now().since(view.heard_at.unwrap());
        assert!(age <= 2 * SECOND, "{honest} was heard of {age:?} ago");
    }
    assert!(snapshot.vms[&vm_named("claimed")].frozen.is_some(), "a vm that two claim is left alone");
    assert_eq!(snapshot.vms[&vm_named("free")].host, name("b"));
    assert!(!snapshot.hosts[&name("m")].is_trusted(), "its own host is believed");
    assert_eq!(stage.scheduler.engine.epoch(), before);
    assert!(stage.scheduler.engine.migrations(10, false).is_empty(), "something was ordered for it");
    assert!(stage.scheduler.engine.is_alive());

    // And they are given orders, which it cannot end for them.
    let operator = secure(&stage.operator, &stage.scheduler.authority()).await.unwrap();
    let wish = v1::MigrateRequest { vm: "free".into(), host: "c".into(), ..v1::MigrateRequest::default() };
    OperatorClient::new(operator).migrate(wish).await.unwrap();
    let command = stage.honest[1].1.command().await.unwrap();
    let ended = command.ended(Ending::Completed, stage.time.now());
    let link = stage.link(&ScriptedHost::new("m").unwrap()).await.unwrap();
    link.finished(ended).await.unwrap();
    stage.second(async |_| ()).await;
    let open = stage.scheduler.engine.migrations(10, true);
    assert!(open.iter().any(|migration| migration.id == command.id), "it ended another's command: {open:?}");
    stage.scheduler.stop().await.unwrap();
}
