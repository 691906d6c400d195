//! What goes up the stream: two queues, of which the one with reports and keep-alives is always emptied first.

use std::task::Poll;

use ballast_core::{command::Report, preflight::Answer};
use ballast_proto::v1::{self, agent_message::Message};
use futures::{Stream, stream::poll_fn};
use tokio::sync::mpsc;

/// Messages that may wait to be written; more would only age.
const WAITING: usize = 16;
/// Single answers that may wait: as many as a scheduler may ask for at once.
const ANSWERS: usize = 1024;

/// The sending side.
#[derive(Debug)]
pub(super) struct Outbox {
    urgent: mpsc::Sender<Message>,
    bulk: mpsc::Sender<Message>,
}

/// Ways for single answers to what the scheduler asked.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) preflights: mpsc::Sender<Answer>,
}

/// The scheduler's side of the stream is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

impl Outbox {
    /// An outbox, the stream that empties it, and the ways for single answers into it.
    pub(super) fn new() -> (Self, impl Stream<Item = v1::AgentMessage> + Send + 'static, Answers) {
        let (urgent, mut from_urgent) = mpsc::channel(WAITING);
        let (bulk, mut from_bulk) = mpsc::channel(WAITING);
        let (reports, mut from_reports) = mpsc::channel::<Report>(ANSWERS);
        let (preflights, mut from_preflights) = mpsc::channel::<Answer>(WAITING);
        let stream = poll_fn(move |context| {
            if let Poll::Ready(Some(message)) = from_urgent.poll_recv(context) {
                return Poll::Ready(Some(wrap(message)));
            }
            if let Poll::Ready(Some(report)) = from_reports.poll_recv(context) {
                return Poll::Ready(Some(wrap(Message::Report(report.into()))));
            }
            if let Poll::Ready(Some(answer)) = from_preflights.poll_recv(context) {
                return Poll::Ready(Some(wrap(Message::Preflight(answer.into()))));
            }
            // The outbox drops both senders at once: the end of this queue is the end of the stream.
            from_bulk.poll_recv(context).map(|message| message.map(wrap))
        });
        (Self { urgent, bulk }, stream, Answers { reports, preflights })
    }

    /// Sends what must not wait behind samples.
    pub(super) async fn urgent(&self, message: Message) -> Result<(), Closed> {
        self.urgent.send(message).await.map_err(|_| Closed)
    }

    /// Sends samples.
    pub(super) async fn bulk(&self, message: Message) -> Result<(), Closed> {
        self.bulk.send(message).await.map_err(|_| Closed)
    }

    /// Returns once samples can be sent without waiting; never once the stream is gone.
    pub(super) async fn roomy(&self) {
        if self.bulk.reserve().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// True where samples can be sent without waiting.
    pub(super) fn has_room(&self) -> bool {
        self.bulk.capacity() > 0
    }
}

fn wrap(message: Message) -> v1::AgentMessage {
    v1::AgentMessage { message: Some(message) }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn a_report_overtakes_the_samples_that_wait() {
        let (outbox, stream, _answers) = Outbox::new();
        for seq in 1..=3 {
            outbox.bulk(Message::Batch(v1::Batch { seq, ..v1::Batch::default() })).await.unwrap();
        }
        outbox.urgent(Message::KeepAlive(v1::KeepAlive {})).await.unwrap();
        drop(outbox);
        let sent: Vec<_> = stream.map(|message| message.message).collect().await;
        assert!(matches!(sent[0], Some(Message::KeepAlive(_))));
        assert_eq!(sent.len(), 4);
    }
}
