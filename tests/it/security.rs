//! Who is believed: the real daemons with real certificates, right and wrong ones. The table of roles has its own test
//! (`roles::each_role_may_call_what_the_rules_say_and_nothing_else` of ballast-scheduler).

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use ballast::args::{Args, Command, Output};
use ballast_agent::config::Config as AgentConfig;
use ballast_core::{decision::Mode, id::HostId, units::Timestamp};
use ballast_daemon::{
    clock::Clock,
    tls::{Role, TlsFiles},
};
use ballast_proto::v1::{self, operator_client::OperatorClient};
use ballast_sim::scenario::HostSpec;
use ballast_tests::{
    certificates::Authority,
    fleet::{self, STEP},
    logs::Logs,
    process::Process,
    scheduler::{SchedulerUnderTest, Time, quick},
    scripted_scheduler::ScriptedScheduler,
    sources,
};
use clap::Parser as _;
use tonic::{Code, Status, transport::Endpoint};

const LOOPBACK: &str = "127.0.0.1";

/// One agent with certificates of its own, and the time that it and its scheduler live in.
struct Stage {
    logs: Logs,
    time: Time,
    world: ballast_agent::hypervisor::simulated::Fleet,
    host: HostSpec,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let (logs, time) = (Logs::watch(), Time::default());
        let (world, hosts) = fleet::pair(&time, &[]).unwrap();
        let host = hosts.into_iter().next().unwrap();
        Self { logs, time, world, host, folder: tempfile::tempdir().unwrap() }
    }

    fn agent(&self, scheduler: SocketAddr, files: &TlsFiles) -> Process {
        let capacity = (self.host.cpu_capacity, self.host.memory_capacity);
        let (address, data) = (format!("https://{scheduler}"), self.folder.path().join("agent"));
        let config = AgentConfig::embedded(self.host.host.clone(), address, data, capacity, self.host.power.clone());
        let config = AgentConfig { tls: Some(files.clone()), ..config };
        fleet::agent_with(config, &self.host, &self.world, &self.logs, &self.time).unwrap()
    }

    async fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let limit = Duration::from_secs(600);
        assert!(self.time.until(limit, STEP, async || done()).await, "in ten minutes of the fleet's time: no {what}");
    }
}

fn authority() -> (tempfile::TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path()).unwrap();
    (folder, authority)
}

fn issue(authority: &Authority, role: Role, name: &str) -> TlsFiles {
    authority.issue(role, name, Some(LOOPBACK.parse().unwrap())).unwrap()
}

#[tokio::test]
async fn an_agent_takes_orders_only_from_a_certificate_of_a_scheduler() {
    let (_folder, authority) = authority();
    for role in [Role::Agent, Role::Operator, Role::Viewer] {
        let stage = Stage::new();
        stage.logs.expect("No link to the scheduler");
        let impostor = issue(&authority, role, "kvm2");
        let impostor = ScriptedScheduler::listen_as(([127, 0, 0, 1], 0).into(), Some(&impostor)).await.unwrap();
        let agent = stage.agent(impostor.address, &issue(&authority, Role::Agent, "kvm1"));
        stage.until("refusal in the log", || stage.logs.say("only a scheduler's will do")).await;
        assert!(impostor.hello().is_none(), "the agent said hello to {role:?}");
        drop(agent);
    }
}

#[tokio::test]
async fn an_agent_takes_up_renewed_certificates_and_keeps_its_link() {
    let ((_old_folder, old), (_new_folder, new)) = (authority(), authority());
    let stage = Stage::new();
    stage.logs.expect("Changed certificates cannot be used").expect("No link to the scheduler");
    let first = issue(&old, Role::Scheduler, "first");
    let first = ScriptedScheduler::listen_as(([127, 0, 0, 1], 0).into(), Some(&first)).await.unwrap();
    let files = issue(&old, Role::Agent, "kvm1");
    let _agent = stage.agent(first.address, &files);
    stage.until("hello", || first.hello().is_some()).await;
    first.welcome(3).await.unwrap();

    let renewed = issue(&new, Role::Agent, "kvm1");
    fs::copy(&renewed.cert, &files.cert).unwrap();
    stage.until("refusal of half a pair", || stage.logs.say("do not go together")).await;
    fs::copy(&renewed.key, &files.key).unwrap();
    fs::copy(&renewed.ca, &files.ca).unwrap();
    stage.until("renewal", || stage.logs.say("Certificates renewed")).await;
    let before = first.batches().len();
    stage.until("samples over the old link", || first.batches().len() > before).await;
    assert!(first.hello().is_none(), "the link was opened anew");

    let address = first.address;
    first.close().await;
    let second = issue(&new, Role::Scheduler, "second");
    let second = ScriptedScheduler::listen_as(address, Some(&second)).await.unwrap();
    stage.until("hello with the new certificate", || second.hello().is_some()).await;
}

/// Types a line of `ballast certs` at some moment.
fn certs(line: &str, folder: &Path, at: Timestamp) {
    let words = format!("ballast certs {line} --out {}", folder.display());
    let Command::Certs(args) = Args::try_parse_from(words.split(' ')).unwrap().command else { panic!("{words}") };
    ballast::certs::run(&args, Output::Table, &Clock::driven(at).0, &mut Vec::new()).unwrap();
}

fn files(folder: &Path, stem: &str) -> TlsFiles {
    let at = |name: String| folder.join(name);
    TlsFiles { ca: at("ca.pem".into()), cert: at(format!("{stem}.pem")), key: at(format!("{stem}.key")) }
}

/// Asks for the hosts, which operators and viewers may.
async fn ask(scheduler: SocketAddr, files: &TlsFiles) -> Result<usize, Status> {
    let unreachable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    let endpoint = Endpoint::from_shared(format!("https://{scheduler}")).unwrap();
    let channel = files.secure(endpoint, LOOPBACK).unwrap().connect().await.map_err(unreachable)?;
    let answer = OperatorClient::new(channel).list_hosts(v1::ListHostsRequest {}).await?;
    Ok(answer.into_inner().hosts.len())
}

#[tokio::test]
async fn what_ballast_certs_makes_is_taken_by_the_daemons() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let now = Clock::system().now();
    let long_ago = Timestamp::EPOCH.after(now.since(Timestamp::from_secs(3 * 365 * 86_400)));
    certs("init --days 7300", ours.path(), long_ago);
    certs("operator late --days 1", ours.path(), long_ago);
    for line in ["scheduler s --san 127.0.0.1", "host kvm1", "operator alice", "viewer bob"] {
        certs(line, ours.path(), now);
    }
    for line in ["init", "operator mallory"] {
        certs(line, theirs.path(), now);
    }

    let stage = Stage::new();
    stage.logs.expect("Call refused");
    let mut config = quick(&stage.folder.path().join("scheduler"), Mode::Recommend);
    config.tls = Some(files(ours.path(), "scheduler-s"));
    let scheduler = SchedulerUnderTest::start(config, stage.time.clock.clone(), &stage.logs).await.unwrap();
    let address = scheduler.address;
    let _agent = stage.agent(address, &files(ours.path(), "agent-kvm1"));
    let host = HostId::new("kvm1").unwrap();
    let known = async || scheduler.engine.snapshot().await.is_ok_and(|snapshot| snapshot.hosts.contains_key(&host));
    assert!(stage.time.until(Duration::from_secs(600), STEP, known).await, "the agent is not let in");

    assert_eq!(ask(address, &files(ours.path(), "operator-alice")).await.unwrap(), 1);
    assert_eq!(ask(address, &files(ours.path(), "viewer-bob")).await.unwrap(), 1);
    let wrong_role = ask(address, &files(ours.path(), "agent-kvm1")).await.unwrap_err();
    assert_eq!(wrong_role.code(), Code::PermissionDenied, "{wrong_role:?}");
    // What it is told of the reason may be cut off with the connection; but for its end the certificate is as good as alice's.
    assert!(
        ask(address, &files(ours.path(), "operator-late")).await.is_err(),
        "a certificate that has ended is believed"
    );
    let stranger = TlsFiles { ca: ours.path().join("ca.pem"), ..files(theirs.path(), "operator-mallory") };
    assert!(ask(address, &stranger).await.is_err());
    let deceived = TlsFiles { ca: theirs.path().join("ca.pem"), ..files(ours.path(), "operator-alice") };
    assert!(ask(address, &deceived).await.is_err(), "a scheduler of another authority is believed");
}

#[test]
fn every_test_the_security_page_names_is_there() {
    let page = fs::read_to_string(sources::root().join("docs/security.md")).unwrap();
    let folders = ["tests/it", "tests/src", "core/src", "daemon/src", "agent/src", "agent/tests", "scheduler/src"];
    let folders = [&folders[..], &["scheduler/tests", "cli/src"]].concat();
    let code: String = sources::files(&folders, &["rs"]).unwrap().into_iter().map(|file| file.text).collect();
    let named = page.split('`').filter(|quoted| quoted.contains("::") && !quoted.contains([' ', '/', '(']));
    let named: Vec<&str> = named.map(|name| name.rsplit("::").next().unwrap_or(name)).collect();
    assert!(named.len() > 20, "{} tests named", named.len());
    let missing: Vec<&&str> = named.iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}
