//! What a bad network does to messages: loses, repeats and delays some, and brings old commands back.
//!
//! Only messages that the daemons themselves may lose (to a full outbox) are lost within a stream; anything else is lost
//! with its connection. Bugs of the wire are planted here too.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ballast_core::id::{CommandId, Epoch};
use ballast_proto::{
    convert::command_id,
    v1::{
        self, AgentMessage, SchedulerMessage, agent_message::Message as Up, command_report::Status,
        scheduler_message::Message as Down,
    },
};
use prost::Message;

use super::Way;
use crate::simulation::{
    dice::Dice,
    planted::{Bug, Bugs},
    trace::Trace,
};

/// What is noted when a message arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulation) enum Mark {
    /// A fresh batch reached the scheduler.
    Batch,
}

/// Meddles with messages.
#[derive(Debug)]
pub(in crate::simulation) struct Meddler {
    dice: Dice,
    trace: Trace,
    pub(in crate::simulation) bugs: Bugs,
    /// Share of messages that are lost, and that are repeated.
    loss: f64,
    repetition: f64,
    /// Whether anything is done at all.
    pub(super) meddles: bool,
    /// Every command that was ever sent.
    commands: Vec<(usize, CommandId, Vec<u8>)>,
    /// Those that their agents have spoken of as theirs.
    known: BTreeSet<CommandId>,
    /// The newest epoch that has welcomed each host.
    welcomed: BTreeMap<usize, Epoch>,
    /// The newest batch of each host.
    batches: BTreeMap<usize, v1::Batch>,
}

type Sent = Vec<(Vec<u8>, Option<Mark>)>;

impl Meddler {
    /// A meddler whose mood follows from its dice.
    pub(in crate::simulation) fn new(dice: Dice, trace: Trace, bugs: Bugs) -> Self {
        let moods = [0.0, 0.02, 0.1, 0.3];
        let mood = || moods[dice.below(moods.len())];
        let (loss, repetition) = (mood(), mood());
        Self {
            dice,
            trace,
            bugs,
            loss,
            repetition,
            meddles: true,
            commands: Vec::new(),
            known: BTreeSet::new(),
            welcomed: BTreeMap::new(),
            batches: BTreeMap::new(),
        }
    }

    /// How long a piece is on its way.
    pub(super) fn delay(&mut self) -> Duration {
        if self.meddles && self.dice.chance(0.002) {
            return self.dice.millis(100, 3_000);
        }
        self.dice.millis(0, 12)
    }

    /// Whether who dials reaches the scheduler that was replaced, as with names and addresses that move slowly.
    pub(super) fn leads_astray(&self) -> bool {
        self.meddles && self.dice.chance(0.3)
    }

    /// Takes a message; gives what is sent in its place.
    pub(super) fn take(&mut self, host: usize, way: Way, bytes: Vec<u8>) -> Sent {
        match way {
            Way::Up => self.up(host, bytes),
            Way::Down => self.down(host, bytes),
        }
    }

    fn up(&mut self, host: usize, bytes: Vec<u8>) -> Sent {
        let Ok(AgentMessage { message: Some(mut message) }) = AgentMessage::decode(bytes.as_slice()) else {
            return vec![(bytes, None)];
        };
        self.note_known(&message);
        if let (Up::Batch(batch), true) = (&message, self.bugs.has(Bug::StuckSampler)) {
            self.batches.insert(host, batch.clone());
        }
        self.bugs.clone().of_agent(host, &mut message);
        let mark = matches!(message, Up::Batch(_)).then_some(Mark::Batch);
        let (may_lose, may_repeat) = match &message {
            Up::Hello(_) | Up::Goodbye(_) => (false, false),
            Up::Report(_) | Up::Preflight(_) => (true, true),
            Up::Batch(_) | Up::Inventory(_) => (false, true),
            Up::KeepAlive(_) => (true, true),
        };
        let sent = (AgentMessage { message: Some(message.clone()) }.encode_to_vec(), mark);
        let copies = self.copies(may_lose, may_repeat);
        if !matches!(message, Up::Batch(_) | Up::KeepAlive(_)) {
            self.trace.note(format_args!("kvm{} > {} x{copies}", host + 1, said(&message)));
        }
        vec![sent; copies]
    }

    fn down(&mut self, host: usize, bytes: Vec<u8>) -> Sent {
        let Ok(SchedulerMessage { message: Some(mut message) }) = SchedulerMessage::decode(bytes.as_slice()) else {
            return vec![(bytes, None)];
        };
        if let Down::Welcome(welcome) = &message {
            let newest = self.welcomed.entry(host).or_default();
            *newest = (*newest).max(Epoch(welcome.epoch));
        }
        self.bugs.clone().of_scheduler(host, &mut message);
        let id = match &message {
            Down::Command(command) => command_id(&command.command_id, "command_id").ok(),
            _ => None,
        };
        let (may_lose, may_repeat) = match &message {
            Down::Welcome(_) | Down::Ack(_) => (false, false),
            Down::Command(_)
            | Down::Query(_)
            | Down::ReportAck(_)
            | Down::Preflight(_)
            | Down::GoodbyeHeard(_)
            | Down::KeepAlive(_) => (true, true),
        };
        let bytes = SchedulerMessage { message: Some(message.clone()) }.encode_to_vec();
        if let Some(id) = id {
            self.commands.push((host, id, bytes.clone()));
        }
        let copies = self.copies(may_lose, may_repeat);
        if !matches!(message, Down::Ack(_) | Down::KeepAlive(_)) {
            self.trace.note(format_args!("kvm{} < {} x{copies}", host + 1, heard(&message)));
        }
        vec![(bytes, None); copies]
    }

    fn copies(&self, may_lose: bool, may_repeat: bool) -> usize {
        if !self.meddles {
            return 1;
        }
        let (lost, repeated) = (self.dice.chance(self.loss), self.dice.chance(self.repetition));
        if may_lose && lost { 0 } else { 1 + usize::from(may_repeat && repeated) }
    }

    /// The newest batch of a host with the next number, and a second later.
    pub(super) fn next_batch(&mut self, host: usize) -> Option<Vec<u8>> {
        let batch = self.batches.get_mut(&host)?;
        batch.seq += 1;
        batch.taken_at_unix_nanos += 1_000_000_000;
        Some(AgentMessage { message: Some(Up::Batch(batch.clone())) }.encode_to_vec())
    }

    fn note_known(&mut self, message: &Up) {
        let Up::Report(report) = message else { return };
        let has_it = matches!(report.status, Some(Status::Accepted(_) | Status::Running(_) | Status::Finished(_)));
        self.known.extend(command_id(&report.command_id, "command_id").ok().filter(|_| has_it));
    }

    /// An old command that may come once more: one its agent has spoken of, for TCP itself loses and repeats nothing, or
    /// one of an epoch that is over.
    pub(super) fn old_command(&self) -> Option<(usize, CommandId, Vec<u8>)> {
        // Those that never arrived are few, and the ones that a fence is for: once its host has met a newer epoch.
        let newest = |host: &usize| self.welcomed.get(host).copied().unwrap_or_default();
        let lost = |host: &usize, id: &CommandId| !self.known.contains(id) && id.epoch < newest(host);
        let wants_lost = self.dice.chance(0.5) && self.commands.iter().any(|(host, id, _)| lost(host, id));
        let may = |(host, id, _): &&(usize, CommandId, Vec<u8>)| {
            if wants_lost { lost(host, id) } else { self.known.contains(id) }
        };
        let old: Vec<_> = self.commands.iter().filter(may).collect();
        let (host, id, bytes) = self.dice.pick(&old)?;
        self.trace.note(format_args!("kvm{} < once more {id}", host + 1));
        Some((*host, *id, bytes.clone()))
    }
}

fn said(message: &Up) -> String {
    match message {
        Up::Hello(hello) => format!("hello, {} commands, epoch {}", hello.commands.len(), hello.highest_epoch),
        Up::Report(report) => format!("report {} {}", report.command_id, status(report)),
        Up::Inventory(inventory) => format!("inventory {} complete {}", inventory.vms.len(), inventory.complete),
        Up::Batch(_) => "batch".to_owned(),
        Up::KeepAlive(_) => "alive".to_owned(),
        Up::Goodbye(_) => "goodbye".to_owned(),
        Up::Preflight(answer) => format!("preflight {}, {} refusals", answer.number, answer.refusals.len()),
    }
}

fn status(report: &ballast_proto::v1::CommandReport) -> String {
    let text = format!("{:?}", report.status);
    text.chars().filter(|letter| !letter.is_whitespace()).take(60).collect()
}

fn heard(message: &Down) -> String {
    match message {
        Down::Welcome(welcome) => format!("welcome, epoch {}", welcome.epoch),
        Down::Command(command) => format!("command {}", command.command_id),
        Down::Preflight(question) => {
            format!(
                "preflight {} {}",
                question.number,
                if question.passport_json.is_empty() { "leaves" } else { "arrives" }
            )
        }
        Down::Query(query) => format!("query {}", query.command_ids.join(" ")),
        Down::ReportAck(ack) => format!("heard of {}", ack.command_id),
        Down::GoodbyeHeard(_) => "heard goodbye".to_owned(),
        Down::Ack(_) => "ack".to_owned(),
        Down::KeepAlive(_) => "alive".to_owned(),
    }
}
