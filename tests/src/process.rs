//! A daemon on a thread and a runtime of its own, so that it can be stopped as by a signal or lost as in a crash.
//!
//! A crash drops every task where it stands: what was written is written, nothing more is.

use std::{future::Future, thread::JoinHandle};

use anyhow::{Context, Result, anyhow};
use tokio::sync::oneshot;

use crate::logs::Logs;

/// A running daemon.
#[derive(Debug)]
pub struct Process {
    name: String,
    stop: Option<oneshot::Sender<()>>,
    crash: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Process {
    /// Starts `daemon`; the future it is handed resolves when it is to stop. Its log is watched by `logs`.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub fn spawn<D, F>(name: &str, logs: &Logs, daemon: D) -> Result<Self>
    where
        D: FnOnce(oneshot::Receiver<()>) -> F + Send + 'static,
        F: Future<Output = Result<()>>,
    {
        let (stop, stopped) = oneshot::channel();
        let (crash, crashed) = oneshot::channel::<()>();
        let dispatch = logs.dispatch();
        let body = move || {
            let _guard = tracing::dispatcher::set_default(&dispatch);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let outcome = runtime.block_on(async {
                tokio::select! {
                    outcome = daemon(stopped) => outcome,
                    Ok(()) = crashed => Ok(()),
                }
            });
            runtime.shutdown_background();
            outcome
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body)?;
        Ok(Self { name: name.to_owned(), stop: Some(stop), crash: Some(crash), thread: Some(thread) })
    }

    /// Ends it as SIGTERM does. One that is gone already stays gone.
    ///
    /// # Errors
    /// What the daemon ended with.
    pub async fn stop(&mut self) -> Result<()> {
        // It may have ended by itself; then joining tells how.
        let _has_ended = self.stop.take().map(|stop| stop.send(()));
        self.join().await
    }

    /// Loses it. One that is gone already stays gone.
    ///
    /// # Errors
    /// Where it had failed before.
    pub async fn crash(&mut self) -> Result<()> {
        let _has_ended = self.crash.take().map(|crash| crash.send(()));
        self.join().await
    }

    async fn join(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await.context("wait for a daemon")?;
        let name = &self.name;
        joined.map_err(|_| anyhow!("{name} panicked"))?.with_context(|| format!("{name} ended badly"))
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}
