//! The telemetry log: every batch, inventory, link and command event as it came, compressed, in order of receipt.
//!
//! The recorder writes it; replay and the demand of simulated fleets read it. A record is `kind:u8 at:u64` (little-endian
//! nanoseconds, the scheduler's clock) and its content: wire messages for what agents sent, JSON for the rest. Every
//! segment begins with the inventories of the hosts connected then, so that it can be read alone.

mod writer;

use ballast_core::{
    id::{BootId, HostId},
    inventory::Inventory,
    sample::Batch,
    snapshot::Event,
    units::Timestamp,
};
use ballast_proto::v1;
use prost::Message;

pub(crate) use writer::TelemetryLog;

/// Kind of the segments that hold telemetry.
pub const SEGMENT_KIND: u16 = 2;

/// One record of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// When it came, by the scheduler's clock.
    pub at: Timestamp,
    /// What came.
    pub content: Content,
}

/// What a record holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A batch as the agent sent it: not yet ordered, not yet doubted.
    Batch(Box<Batch>),
    /// A host opened its link.
    Opened(Box<Inventory>),
    /// A host's inventory changed.
    Inventory(Box<Inventory>),
    /// A link ended.
    Closed {
        /// Whose.
        host: HostId,
        /// Which boot of it.
        boot: BootId,
    },
    /// Something that telemetry does not tell: an order, an outcome, a wish of the operator.
    Event(Box<Event>),
    /// At the beginning of a segment: a host whose link was open already.
    Standing(Box<Inventory>),
}

impl Content {
    fn kind(&self) -> u8 {
        match self {
            Self::Batch(_) => 1,
            Self::Opened(_) => 2,
            Self::Inventory(_) => 3,
            Self::Closed { .. } => 4,
            Self::Event(_) => 5,
            Self::Standing(_) => 6,
        }
    }
}

/// A record of a batch, without a copy of it for the sake of the type.
pub(crate) fn encode_batch(at: Timestamp, batch: &Batch) -> Vec<u8> {
    framed(1, at, v1::Batch::from(batch.clone()).encode_to_vec())
}

impl LogRecord {
    /// The record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let content = match &self.content {
            Content::Batch(batch) => v1::Batch::from((**batch).clone()).encode_to_vec(),
            Content::Opened(inventory) | Content::Inventory(inventory) | Content::Standing(inventory) => {
                v1::Inventory::from((**inventory).clone()).encode_to_vec()
            }
            Content::Closed { host, boot } => json(&(host, boot)),
            Content::Event(event) => json(event),
        };
        framed(self.content.kind(), self.at, content)
    }

    /// The record of these bytes.
    ///
    /// # Errors
    /// In words, when they are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (head, rest) = bytes.split_at_checked(9).ok_or("it is shorter than its head")?;
        let mut nanos = [0; 8];
        nanos.copy_from_slice(&head[1..]);
        let content = match head[0] {
            1 => Content::Batch(Box::new(from_wire::<v1::Batch, Batch>(rest)?)),
            2 => Content::Opened(Box::new(from_wire::<v1::Inventory, Inventory>(rest)?)),
            3 => Content::Inventory(Box::new(from_wire::<v1::Inventory, Inventory>(rest)?)),
            4 => {
                let (host, boot) = from_json(rest)?;
                Content::Closed { host, boot }
            }
            5 => Content::Event(from_json(rest)?),
            6 => Content::Standing(Box::new(from_wire::<v1::Inventory, Inventory>(rest)?)),
            other => return Err(format!("kind {other} is not known: it was written by a newer version")),
        };
        Ok(Self { at: Timestamp(u64::from_le_bytes(nanos)), content })
    }
}

fn framed(kind: u8, at: Timestamp, content: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + content.len());
    bytes.push(kind);
    bytes.extend_from_slice(&at.nanos().to_le_bytes());
    bytes.extend_from_slice(&content);
    bytes
}

/// What is written here has only text keys and no numbers that JSON lacks but NaN, which becomes null: such an event
/// reads back as an error with its place, never as another event.
fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn from_json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

fn from_wire<W, C>(bytes: &[u8]) -> Result<C, String>
where
    W: Message + Default,
    C: TryFrom<W, Error: std::fmt::Display>,
{
    let wire = W::decode(bytes).map_err(|error| error.to_string())?;
    C::try_from(wire).map_err(|error| error.to_string())
}
