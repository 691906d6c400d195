//! What agents' links call on the engine.
//!
//! Everything here hands over and returns; a link that is faster than the engine waits, and its flow control holds the
//! agent back.

use std::sync::Arc;

use ballast_core::{
    command::Report,
    id::{Epoch, HostId},
    inventory::Inventory,
    preflight::Answer,
    sample::Batch,
};

use ballast_proto::PREFLIGHT_CAPABILITY;

use super::{Engine, Hello, Refusal, Session, SessionError, SessionId, Welcome};
use crate::{
    counters::Counters,
    dispatch::Request,
    links::{LINKS_MAX, NoLink},
};

impl Engine {
    /// Opens a link; a link the host had before is closed. The reports of `hello` are taken as if they came after it.
    ///
    /// # Errors
    /// [`Refusal`] when this scheduler takes no links (any more).
    pub async fn hello(&self, hello: Hello) -> Result<Session, Refusal> {
        let result = self.open_link(hello).await;
        let counters = &self.shared().counters;
        Counters::add(if result.is_ok() { &counters.sessions_opened } else { &counters.sessions_refused }, 1);
        result
    }

    async fn open_link(&self, hello: Hello) -> Result<Session, Refusal> {
        let shared = self.shared();
        self.check_epoch(hello.highest_epoch)?;
        let host = hello.inventory.host.clone();
        let (id, outbox) = shared.links.open(&host).map_err(|refused| match refused {
            NoLink::Full => Refusal::TooMany { limit: LINKS_MAX },
            NoLink::Stopping => Refusal::Stopping,
        })?;
        if hello.capabilities.iter().any(|capability| capability == PREFLIGHT_CAPABILITY) {
            shared.links.may_ask_preflight(id);
        }
        let inventory = Arc::new(hello.inventory);
        let resume_from = self.inner.state.opened(id, inventory, hello.resume_from).await.ok_or(Refusal::Stopping)?;
        let connected = Request::Connected { session: id, host: host.clone(), reports: hello.reports };
        if !self.inner.dispatch.tell(connected).await {
            return Err(Refusal::Stopping);
        }
        tracing::info!(%host, capabilities = ?hello.capabilities, "connected");
        let (window, period) = (shared.settings.window, shared.settings.period);
        Ok(Session { id, welcome: Welcome { epoch: shared.epoch, resume_from, window, period }, outbox })
    }

    /// An agent that has seen a newer epoch has been told to deny us: whoever told it is in charge.
    fn check_epoch(&self, seen: Epoch) -> Result<(), Refusal> {
        let shared = self.shared();
        if shared.is_stopping() {
            return Err(Refusal::Stopping);
        }
        if seen > shared.epoch {
            shared.step_down(seen);
        }
        match shared.newer_epoch() {
            Some(seen) => Err(Refusal::SteppedDown { own: shared.epoch, seen }),
            None => Ok(()),
        }
    }

    /// The host of a link, which may speak of no other.
    fn own_host(&self, session: SessionId, named: &HostId) -> Result<HostId, SessionError> {
        let own = self.shared().links.host(session).ok_or(SessionError::Ended)?;
        if own == *named { Ok(own) } else { Err(SessionError::WrongHost { own, named: named.clone() }) }
    }

    /// Takes a batch; waits while the engine is behind, so that the link's flow control holds the agent back. Its
    /// acknowledgement comes through the outbox once it is in the telemetry log.
    ///
    /// # Errors
    /// [`SessionError`] when the link is over or the batch is another host's.
    pub async fn batch(&self, session: SessionId, batch: Batch) -> Result<(), SessionError> {
        self.own_host(session, &batch.host)?;
        let taken = self.inner.state.batch(session, Arc::new(batch)).await;
        taken.then_some(()).ok_or(SessionError::Stopping)
    }

    /// Takes a changed inventory.
    ///
    /// # Errors
    /// [`SessionError`] when the link is over or the inventory is another host's.
    pub async fn inventory(&self, session: SessionId, inventory: Inventory) -> Result<(), SessionError> {
        self.own_host(session, &inventory.host)?;
        let taken = self.inner.state.inventory(session, Arc::new(inventory)).await;
        taken.then_some(()).ok_or(SessionError::Stopping)
    }

    /// Takes what an agent says of a command. A final report is acknowledged through the outbox once it is journalled.
    ///
    /// # Errors
    /// [`SessionError`] when the link is over.
    pub async fn report(&self, session: SessionId, report: Report) -> Result<(), SessionError> {
        let host = self.shared().links.host(session).ok_or(SessionError::Ended)?;
        let taken = self.inner.dispatch.tell(Request::Report { host, report }).await;
        taken.then_some(()).ok_or(SessionError::Stopping)
    }

    /// Takes the answer to a preflight question.
    ///
    /// # Errors
    /// [`SessionError`] when the link is over.
    pub fn preflight(&self, session: SessionId, answer: Answer) -> Result<(), SessionError> {
        let host = self.shared().links.host(session).ok_or(SessionError::Ended)?;
        self.shared().preflights.answer(&host, answer);
        Ok(())
    }

    /// The host goes to sleep on our order: its silence is expected.
    ///
    /// # Errors
    /// [`SessionError`] when the link is over.
    pub async fn goodbye(&self, session: SessionId) -> Result<(), SessionError> {
        let host = self.shared().links.host(session).ok_or(SessionError::Ended)?;
        tracing::info!(%host, "goes to sleep");
        let taken = self.inner.dispatch.tell(Request::Goodbye { host }).await;
        taken.then_some(()).ok_or(SessionError::Stopping)
    }

    /// The link has ended, whoever ended it. Later calls with this session fail.
    pub async fn closed(&self, session: SessionId) {
        let Some(host) = self.shared().links.close(session) else { return };
        tracing::info!(%host, "disconnected");
        self.inner.state.closed(session, host.clone()).await;
        // A dispatcher that has ended asks nobody any more.
        let _ended = self.inner.dispatch.tell(Request::Disconnected { session, host }).await;
    }

    /// Counts a message of a link that could not be understood.
    pub fn malformed(&self, session: SessionId) {
        Counters::add(&self.shared().counters.malformed, 1);
        tracing::debug!(host = ?self.shared().links.host(session), "a message could not be understood");
    }
}
