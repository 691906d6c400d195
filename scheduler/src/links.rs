//! Who is connected: one link per host, and the way to its agent.
//!
//! Shared by the handle (which opens and closes links), the dispatcher (orders) and the recorder (acknowledgements). A
//! second link of a host replaces the first; a message is never waited for: who does not read loses it and is asked again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ballast_core::id::HostId;
use tokio::sync::mpsc;

use crate::engine::{SessionId, ToAgent};

/// Messages that may wait for one agent: some commands and one acknowledgement per flush of the log.
const OUTBOX: usize = 256;

/// Links at a time: ten times the fleet one scheduler is made for.
pub(crate) const LINKS_MAX: usize = 10_000;

/// All open links.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_session: BTreeMap<SessionId, Link>,
    by_host: BTreeMap<HostId, SessionId>,
    closed: bool,
}

#[derive(Debug)]
struct Link {
    host: HostId,
    outbox: mpsc::Sender<ToAgent>,
    answers_preflight: bool,
}

/// Why no link is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoLink {
    /// Too many.
    Full,
    /// The scheduler stops.
    Stopping,
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, Open> {
        // Every change below is complete before anything in it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a link of `host`, ending the one it had.
    pub(crate) fn open(&self, host: &HostId) -> Result<(SessionId, mpsc::Receiver<ToAgent>), NoLink> {
        let mut open = self.lock();
        if open.closed {
            return Err(NoLink::Stopping);
        }
        if open.by_session.len() >= LINKS_MAX && !open.by_host.contains_key(host) {
            return Err(NoLink::Full);
        }
        if let Some(old) = open.by_host.remove(host)
            && let Some(link) = open.by_session.remove(&old)
        {
            say_goodbye(&link, "another link of this host replaced it");
        }
        open.next += 1;
        let (session, (outbox, messages)) = (SessionId(open.next), mpsc::channel(OUTBOX));
        open.by_session.insert(session, Link { host: host.clone(), outbox, answers_preflight: false });
        open.by_host.insert(host.clone(), session);
        Ok((session, messages))
    }

    /// The host of a link that is open.
    pub(crate) fn host(&self, session: SessionId) -> Option<HostId> {
        self.lock().by_session.get(&session).map(|link| link.host.clone())
    }

    /// Forgets a link; its host, where it was still open.
    pub(crate) fn close(&self, session: SessionId) -> Option<HostId> {
        let mut open = self.lock();
        let link = open.by_session.remove(&session)?;
        open.by_host.remove(&link.host);
        Some(link.host)
    }

    /// The agent of a link answers preflight questions.
    pub(crate) fn may_ask_preflight(&self, session: SessionId) {
        if let Some(link) = self.lock().by_session.get_mut(&session) {
            link.answers_preflight = true;
        }
    }

    /// True where `host` has a link and its agent answers preflight questions.
    pub(crate) fn answers_preflight(&self, host: &HostId) -> bool {
        let open = self.lock();
        let link = open.by_host.get(host).and_then(|session| open.by_session.get(session));
        link.is_some_and(|link| link.answers_preflight)
    }

    /// True where `host` has a link.
    pub(crate) fn has(&self, host: &HostId) -> bool {
        self.lock().by_host.contains_key(host)
    }

    /// Puts a message into the outbox of a host; false where it has no link or does not read.
    pub(crate) fn send(&self, host: &HostId, message: ToAgent) -> bool {
        let open = self.lock();
        let link = open.by_host.get(host).and_then(|session| open.by_session.get(session));
        link.is_some_and(|link| link.outbox.try_send(message).is_ok())
    }

    /// Puts a message into the outbox of a link; false where it is full. A link that is gone needs nothing any more.
    pub(crate) fn send_to(&self, session: SessionId, message: ToAgent) -> bool {
        let open = self.lock();
        let Some(link) = open.by_session.get(&session) else { return true };
        !matches!(link.outbox.try_send(message), Err(mpsc::error::TrySendError::Full(_)))
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.lock().by_session.len()
    }

    /// Ends all links and opens no more.
    pub(crate) fn close_all(&self, why: &str) {
        let mut open = self.lock();
        open.closed = true;
        open.by_session.values().for_each(|link| say_goodbye(link, why));
        open.by_session.clear();
        open.by_host.clear();
    }
}

/// Best effort: an agent that does not read sees the link end all the same, for its outbox is dropped.
fn say_goodbye(link: &Link, why: &str) {
    drop(link.outbox.try_send(ToAgent::Close { why: why.to_owned() }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostId {
        HostId::new(name).unwrap()
    }

    #[test]
    fn a_second_link_of_a_host_ends_the_first() {
        let links = Links::default();
        let (first, mut messages) = links.open(&host("a")).unwrap();
        let (second, _kept) = links.open(&host("a")).unwrap();
        assert!(matches!(messages.try_recv(), Ok(ToAgent::Close { .. })));
        assert_eq!(links.host(first), None);
        assert_eq!(links.close(first), None, "the end of a replaced link is nobody's");
        assert_eq!(links.host(second), Some(host("a")));
    }

    #[test]
    fn an_agent_that_does_not_read_is_not_waited_for() {
        let links = Links::default();
        let (session, _unread) = links.open(&host("a")).unwrap();
        let sent = (0..OUTBOX + 10).filter(|_| links.send(&host("a"), ToAgent::Query(Vec::new()))).count();
        assert_eq!(sent, OUTBOX);
        assert!(!links.send_to(session, ToAgent::Query(Vec::new())));
        assert!(!links.send(&host("b"), ToAgent::Query(Vec::new())));
    }

    #[test]
    fn no_link_is_opened_while_stopping() {
        let links = Links::default();
        let (_session, mut messages) = links.open(&host("a")).unwrap();
        links.close_all("stop");
        assert!(matches!(messages.try_recv(), Ok(ToAgent::Close { .. })));
        assert_eq!(links.open(&host("b")).err(), Some(NoLink::Stopping));
    }
}
