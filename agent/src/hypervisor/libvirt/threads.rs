//! Threads for calls that block: one for every call, taken from those that have just done another.
//!
//! A stuck call keeps its thread and nothing else, so there is no limit here: the callers' slots are it. A thread that is
//! done waits a while for more, because the same few calls come at every beat and making a thread costs as much as a short call.
//! Knows nothing of libvirt.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use tokio::sync::oneshot;

use super::session::{Failure, lock};

type Job = Box<dyn FnOnce() + Send>;

/// A thread that waits for a job, and how to hand it one.
struct Waiting {
    thread: ThreadId,
    jobs: SyncSender<Job>,
}

/// Threads that wait, at most so many: two calls overlap now and then, more only in trouble.
const WAITING_MAX: usize = 2;
/// For so long: longer than the period of any call that is made regularly.
const PATIENCE: Duration = Duration::from_secs(30);

/// Last in, first out: the thread that has just run has its memory at hand.
static WAITING: Mutex<Vec<Waiting>> = Mutex::new(Vec::new());

/// Runs `work` on a thread that nothing else runs on. Dropping the future leaves the thread to its end.
pub(super) async fn on_thread<T, F>(work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Failure> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let job = move || {
        // `virt` panics where libvirt surprises it; that must not end the agent.
        let outcome = catch_unwind(AssertUnwindSafe(work));
        let outcome = outcome.unwrap_or_else(|_| Err(Failure::Refused("the libvirt binding panicked".into())));
        // Nobody waits any longer when the deadline is over.
        drop(sender.send(outcome));
    };
    hand_over(Box::new(job)).map_err(|error| Failure::Refused(format!("no thread for a call to libvirt: {error}")))?;
    receiver.await.unwrap_or_else(|_| Err(Failure::Refused("a call to libvirt was lost".into())))
}

fn hand_over(job: Job) -> std::io::Result<()> {
    let waiting = lock(&WAITING).pop();
    let job = match waiting {
        Some(waiting) => match waiting.jobs.send(job) {
            Ok(()) => return Ok(()),
            Err(refused) => refused.0,
        },
        None => job,
    };
    thread::Builder::new().name("libvirt-call".into()).spawn(move || work_on(job)).map(drop)
}

fn work_on(mut job: Job) {
    // One place: a job is sent only to a thread that was taken from those that wait.
    let (jobs, inbox) = sync_channel(1);
    loop {
        job();
        if !wait_with_others(&jobs) {
            return;
        }
        match next(&inbox) {
            Some(next) => job = next,
            None => return,
        }
    }
}

/// Whether there was room among those that wait.
fn wait_with_others(jobs: &SyncSender<Job>) -> bool {
    let mut waiting = lock(&WAITING);
    let has_room = waiting.len() < WAITING_MAX;
    if has_room {
        waiting.push(Waiting { thread: thread::current().id(), jobs: jobs.clone() });
    }
    has_room
}

/// The next job, `None` where none came for a long time.
fn next(inbox: &Receiver<Job>) -> Option<Job> {
    match inbox.recv_timeout(PATIENCE) {
        Ok(job) => Some(job),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => {
            let me = thread::current().id();
            let mut waiting = lock(&WAITING);
            let before = waiting.len();
            waiting.retain(|other| other.thread != me);
            let was_taken = waiting.len() == before;
            drop(waiting);
            // Somebody has taken this thread at the last moment: the job is on its way.
            if was_taken { inbox.recv().ok() } else { None }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// The thread that did it; tests run at once, so that of another call may be the same one later.
    async fn runs_on() -> ThreadId {
        on_thread(|| Ok(thread::current().id())).await.unwrap()
    }

    #[tokio::test]
    async fn a_panic_in_the_binding_is_an_error_not_an_end() {
        let outcome: Result<(), Failure> = on_thread(|| panic!("as virt does")).await;
        assert!(matches!(outcome, Err(Failure::Refused(why)) if why.contains("panicked")));
        assert!(on_thread(|| Ok(())).await.is_ok());
    }

    #[tokio::test]
    async fn a_stuck_call_has_its_thread_to_itself() {
        let (release, wait) = mpsc::sync_channel::<()>(0);
        let (began, running) = oneshot::channel();
        let stuck = tokio::spawn(on_thread(move || {
            began.send(thread::current().id()).unwrap();
            wait.recv().map_err(|_| Failure::Refused("nobody released it".into()))
        }));
        let stuck_on = running.await.unwrap();
        for _ in 0..4 * WAITING_MAX {
            assert_ne!(runs_on().await, stuck_on);
        }
        release.send(()).unwrap();
        stuck.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn calls_one_after_the_other_need_no_new_thread_each() {
        let mut threads = Vec::new();
        for _ in 0..100 {
            threads.push(runs_on().await);
        }
        threads.sort_unstable_by_key(|thread| format!("{thread:?}"));
        threads.dedup();
        assert!(threads.len() < 50, "{} threads for 100 calls", threads.len());
    }

    #[tokio::test]
    async fn no_more_wait_than_are_needed_at_once() {
        let calls: Vec<_> = (0..20).map(|_| tokio::spawn(runs_on())).collect();
        for call in calls {
            call.await.unwrap();
        }
        assert!(lock(&WAITING).len() <= WAITING_MAX);
    }
}
