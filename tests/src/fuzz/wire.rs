//! What comes over the network: messages of either side, converted as the daemons convert them, and certificates.

use anyhow::Result;
use ballast_agent::host::wake_address::WakeAddress;
use ballast_core::{
    command::{Command, Report},
    inventory::Inventory,
    preflight::{Answer, Question},
    sample::Batch,
    units::Timestamp,
};
use ballast_daemon::tls::{self, PeerIdentity};
use ballast_proto::v1::{self, agent_message::Message as Up, scheduler_message::Message as Down};
use prost::Message;
use rcgen::{CertificateParams, KeyPair, SanType};

use crate::{scripted::ScriptedHost, scripted_scheduler::order};

/// Converts, and what was understood must say the same after it has been on the wire.
fn there_and_back<W, C>(wire: W)
where
    W: Message + Default + From<C>,
    C: TryFrom<W> + Clone + std::fmt::Debug,
{
    let Ok(once) = C::try_from(wire) else { return };
    let sent = W::from(once.clone()).encode_to_vec();
    let again = W::decode(sent.as_slice()).ok().and_then(|wire| C::try_from(wire).ok());
    // Compared as text, for a figure that is no number differs from itself.
    assert_eq!(Some(format!("{once:?}")), again.map(|again| format!("{again:?}")));
}

/// What an agent says.
pub(super) fn agent_message(bytes: &[u8]) {
    let Ok(message) = v1::AgentMessage::decode(bytes) else { return };
    match message.message {
        Some(Up::Hello(hello)) => {
            hello.inventory.into_iter().for_each(there_and_back::<_, Inventory>);
            hello.commands.into_iter().for_each(there_and_back::<_, Report>);
        }
        Some(Up::Batch(batch)) => there_and_back::<_, Batch>(batch),
        Some(Up::Inventory(inventory)) => there_and_back::<_, Inventory>(inventory),
        Some(Up::Report(report)) => there_and_back::<_, Report>(report),
        Some(Up::Preflight(answer)) => drop(Answer::try_from(answer)),
        _ => {}
    }
}

/// One of each kind that carries something.
pub(super) fn agent_messages() -> Result<Vec<Vec<u8>>> {
    let host = ScriptedHost::new("kvm1")?.with_vm("web", 0.5).with_vm("db", 1.5);
    let command = order((1, 1), "kvm1", crate::scripted::vm_named("web"), "kvm2")?;
    let ended = command.ended(ballast_core::outcome::Ending::Completed, Timestamp::from_secs(9));
    let status = ballast_core::command::CommandStatus::Finished(ended);
    let report: v1::CommandReport = Report { id: command.id, status }.into();
    let hello = v1::Hello {
        protocol_version: ballast_proto::PROTOCOL_VERSION,
        agent_version: "1".into(),
        inventory: Some(host.inventory.clone().into()),
        resume_from_seq: 7,
        highest_epoch: 3,
        commands: vec![report.clone()],
        capabilities: vec!["any".into()],
    };
    let batch = host.batch(4, Timestamp::from_secs(1_780_000_000)).into();
    let said = [Up::Hello(hello), Up::Batch(batch), Up::Inventory(host.inventory.into()), Up::Report(report)];
    Ok(said.map(|message| v1::AgentMessage { message: Some(message) }.encode_to_vec()).into())
}

/// What a scheduler says.
pub(super) fn scheduler_message(bytes: &[u8]) {
    let Ok(message) = v1::SchedulerMessage::decode(bytes) else { return };
    match message.message {
        Some(Down::Command(command)) => there_and_back::<_, Command>(command),
        Some(Down::Preflight(question)) => drop(Question::try_from(question)),
        _ => {}
    }
}

/// An order and a welcome.
pub(super) fn scheduler_messages() -> Result<Vec<Vec<u8>>> {
    let command = order((1, 1), "kvm1", crate::scripted::vm_named("web"), "kvm2")?;
    let welcome = v1::Welcome { epoch: 3, resume_from_seq: 1, window_count: 64, period_millis: 1000 };
    let said = [Down::Command(command.into()), Down::Welcome(welcome)];
    Ok(said.map(|message| v1::SchedulerMessage { message: Some(message) }.encode_to_vec()).into())
}

/// What a host says wakes it, as whoever wakes it understands it.
pub(super) fn wake_address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(once) = text.parse::<WakeAddress>() else { return };
    assert_eq!(once.to_string().parse(), Ok(once));
}

/// One of each way.
pub(super) fn wake_addresses() -> Result<Vec<Vec<u8>>> {
    let said = ["0a:1b:2c:3d:4e:5f", "ipmi://192.0.2.7:6230", "redfish://[2001:db8::7]:8443/redfish/v1/Systems/1"];
    Ok(said.map(|text| text.as_bytes().to_vec()).into())
}

/// A certificate, as DER.
pub(super) fn certificate(bytes: &[u8]) {
    let identity = PeerIdentity::of_certificate(bytes);
    assert!(identity.is_err() || tls::ends_of_der(bytes).is_some(), "somebody whose end is not known: {identity:?}");
}

/// A certificate of an agent. Its key is another each time, its shape is not.
pub(super) fn certificates() -> Result<Vec<Vec<u8>>> {
    let mut params = CertificateParams::new(vec!["localhost".into()])?;
    params.subject_alt_names.push(SanType::URI("spiffe://ballast/agent/kvm1".try_into()?));
    Ok(vec![params.self_signed(&KeyPair::generate()?)?.der().to_vec()])
}
