//! What is read from files: the daemons' own, configurations, scenarios, plans, bundles, recordings.

use std::path::Path;

use anyhow::Result;
use ballast_agent::config as agent;
use ballast_core::{
    id::Epoch,
    journal::{self, HEADER_BYTES, Header, Tail, audit::Audit},
    plan::{Model, file::PlanFile},
    units::{Bytes, Timestamp},
};
use ballast_daemon::{config::File, segments};
use ballast_scheduler::{
    config::{Config, Strictness},
    journal::{Entry, Ledger, Record},
    telemetry_log::{self, Content, LogRecord},
};
use ballast_sim::{scenario::file::ScenarioFile, trace};

use crate::{damage, scripted::ScriptedHost, sources};

const KIND: u16 = telemetry_log::SEGMENT_KIND;

/// A file of the repository.
fn shipped(path: &str) -> Result<Vec<u8>> {
    Ok(std::fs::read(sources::root().join(path))?)
}

/// A whole segment, its end judged.
pub(super) fn segment(bytes: &[u8]) {
    let mut audit = Audit::against(None);
    let is_whole = audit.segment(bytes, KIND).is_ok();
    let Ok(scan) = journal::scan(bytes, KIND) else { return };
    assert!(scan.end <= bytes.len() && scan.end >= HEADER_BYTES);
    let payloads: usize = scan.records.iter().map(|record| record.payload.len() + journal::RECORD_BYTES).sum();
    assert_eq!(HEADER_BYTES + payloads, scan.end, "records lie side by side");
    assert_eq!(is_whole, scan.tail == Tail::Clean, "audit and reader differ: {:?}", scan.tail);
}

/// Two segments: whole, and cut off.
pub(super) fn segments() -> Result<Vec<Vec<u8>>> {
    let whole = framed([&b"one"[..], b"two", b"three"]);
    let cut = whole[..whole.len() - 3].to_vec();
    Ok(vec![whole, cut])
}

/// A segment of these payloads.
fn framed<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let header = Header { kind: KIND, created: Timestamp::from_secs(1), first: 1, chain: [0; 32] };
    let (mut bytes, mut chain) = (header.encode().to_vec(), header.chain);
    for (seq, payload) in (1..).zip(payloads) {
        chain = journal::encode_record(seq, seq - 1, &chain, payload, &mut bytes).unwrap_or(chain);
    }
    bytes
}

/// The content of a record that is whole: blocks, packed or not, and what the telemetry log has in them.
pub(super) fn blocks(bytes: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join("0000000000000001.seg");
    if std::fs::write(&path, framed([bytes])).is_err() {
        return;
    }
    drop(segments::read_file(&path, KIND, |entry| telemetry_record(&entry.bytes)));
}

/// Records of the telemetry log in blocks.
pub(super) fn block_payloads() -> Result<Vec<Vec<u8>>> {
    let records = telemetry_records()?;
    let block = |record: &Vec<u8>| {
        let length = u32::try_from(record.len()).unwrap_or_default();
        [&[0][..], &length.to_le_bytes(), record].concat()
    };
    Ok(records.iter().map(block).collect())
}

/// A record of the telemetry log.
pub(super) fn telemetry_record(bytes: &[u8]) {
    let Ok(record) = LogRecord::decode(bytes) else { return };
    let again = LogRecord::decode(&record.encode()).map(|again| format!("{again:?}"));
    assert_eq!(Ok(format!("{record:?}")), again);
}

/// One of each kind.
pub(super) fn telemetry_records() -> Result<Vec<Vec<u8>>> {
    let host = ScriptedHost::new("kvm1")?.with_vm("web", 0.5);
    let at = Timestamp::from_secs(1_780_000_000);
    let (inventory, boot) = (host.inventory.clone(), host.inventory.boot);
    let contents = [
        Content::Batch(Box::new(host.batch(1, at))),
        Content::Opened(Box::new(inventory.clone())),
        Content::Closed { host: inventory.host.clone(), boot },
        Content::Standing(Box::new(inventory)),
    ];
    Ok(contents.map(|content| LogRecord { at, content }.encode()).into())
}

/// An entry of the scheduler's journal, folded into what it comes to.
pub(super) fn journal_record(bytes: &[u8]) {
    let Ok(entry) = Entry::decode(bytes) else { return };
    let mut ledger = Ledger::new(10);
    ledger.apply(&entry);
    drop(ledger.events());
    if let Ok(bytes) = entry.encode() {
        assert_eq!(Entry::decode(&bytes).map(|again| format!("{again:?}")), Ok(format!("{entry:?}")));
    }
}

/// An epoch, and a checkpoint of nothing.
pub(super) fn journal_records() -> Result<Vec<Vec<u8>>> {
    let ledger = Box::new(Ledger::new(0));
    let records = [Record::EpochStart { epoch: Epoch(7) }, Record::Checkpoint { ledger }];
    let entry = |record| Entry { at: Timestamp::from_secs(5), record }.encode().map_err(anyhow::Error::msg);
    records.into_iter().map(entry).collect()
}

/// A bundle of either kind.
pub(super) fn bundle(bytes: &[u8]) {
    drop(ballast_models::bundle::Bundle::from_bytes(bytes));
    drop(ballast_models::policy::bundle::Bundle::from_bytes(bytes));
}

/// Those that ship.
pub(super) fn bundles() -> Result<Vec<Vec<u8>>> {
    ["models/bundles/forecaster.safetensors", "models/bundles/policy.safetensors"].map(shipped).into_iter().collect()
}

/// The scheduler's configuration; what is understood must be understood again as it is printed.
pub(super) fn scheduler_toml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = |text: &str| Config::parse(text, Path::new("scheduler.toml"), Strictness::AsStarted);
    let Ok((config, _)) = read(text) else { return };
    let Ok(printed) = config.to_toml() else { return };
    let again = read(&printed).map(|(again, _)| again.to_toml().unwrap_or_default());
    assert_eq!(again.ok().as_ref(), Some(&printed));
}

/// The example, with and without its values.
pub(super) fn scheduler_tomls() -> Result<Vec<Vec<u8>>> {
    let example = shipped("systemd/scheduler.toml")?;
    Ok(vec![with_values(&example), example])
}

/// Every commented value put in.
fn with_values(example: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(example);
    let bare = text.lines().map(|line| line.strip_prefix('#').filter(|bare| bare.contains(" = ")).unwrap_or(line));
    bare.collect::<Vec<_>>().join("\n").into_bytes()
}

/// The agent's configuration.
pub(super) fn agent_toml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let machine = agent::Machine { name: "kvm1".into(), cores: 8.0, memory: Bytes::from_gib(32) };
    let Ok(file) = File::parse(text, Path::new("agent.toml")) else { return };
    let Ok((config, _)) = agent::Config::from_file(file, &machine, false) else { return };
    assert!(!config.to_string().is_empty());
}

/// The example, with and without its values.
pub(super) fn agent_tomls() -> Result<Vec<Vec<u8>>> {
    let example = shipped("systemd/agent.toml")?;
    Ok(vec![with_values(&example), example])
}

/// A scenario.
pub(super) fn scenario_toml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    drop(ScenarioFile::parse("scenario.toml", text));
}

/// Those that ship.
pub(super) fn scenario_tomls() -> Result<Vec<Vec<u8>>> {
    all_of("sim/scenarios", ".toml")
}

/// Every file of a folder whose name ends so.
fn all_of(folder: &str, end: &'static str) -> Result<Vec<Vec<u8>>> {
    let files = damage::files(&sources::root().join(folder), |name| name.ends_with(end))?;
    files.into_iter().map(|path| Ok(std::fs::read(path)?)).collect()
}

/// A fleet written down, and its plan where it is a small one.
pub(super) fn plan_json(bytes: &[u8]) {
    let Ok(file) = serde_json::from_slice::<PlanFile>(bytes) else { return };
    if let Ok(model) = Model::of(&file) {
        assert!(serde_json::to_vec(&model.plan()).is_ok());
    }
}

/// Those of the tests.
pub(super) fn plan_jsons() -> Result<Vec<Vec<u8>>> {
    all_of("tests/scenarios", ".json")
}

/// A recording in any of the formats.
pub(super) fn trace(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (file, vms) = ("trace.csv", "vm,split,cores,cpu_cap_mhz,mem_cap_mib\n7,dev,2,5200,1000\n");
    drop(trace::planetlab::parse(file, text));
    drop(trace::parse_bitbrains(file, text, vms));
    drop(trace::parse_bitbrains(file, "", text));
    drop(trace::parse_google(file, text));
    drop(trace::parse_azure(file, text));
    drop(trace::history::planetlab(file, "day", text));
    drop(trace::history::google(file, text));
    if let Ok(shapes) = trace::history::shapes(file, text) {
        drop(trace::history::csv(file, text, &shapes));
    }
    drop(trace::history::csv(file, text, &std::collections::BTreeMap::new()));
}

/// The first lines of those that ship.
pub(super) fn traces() -> Result<Vec<Vec<u8>>> {
    let mut seeds = vec![shipped("sim/traces/bitbrains-vms.csv")?];
    for packed in all_of("sim/traces", ".csv.gz")? {
        let text = trace::text_of("trace", &packed)?;
        seeds.push(text.split_inclusive('\n').take(8).collect::<String>().into_bytes());
    }
    Ok(seeds)
}

/// A file that may be packed.
pub(super) fn packed_text(bytes: &[u8]) {
    drop(trace::text_of("trace", bytes));
}

/// One that is.
pub(super) fn packed_texts() -> Result<Vec<Vec<u8>>> {
    Ok(vec![shipped("sim/traces/azure-1d.csv.gz")?])
}
