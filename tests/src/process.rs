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
    stop: oneshot::Sender<()>,
    crash: oneshot::Sender<()>,
    thread: JoinHandle<Result<()>>,
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
        Ok(Self { name: name.to_owned(), stop, crash, thread })
    }

    /// Ends it as SIGTERM does, and returns what it ended with.
    ///
    /// # Errors
    /// What the daemon ended with.
    pub async fn stop(self) -> Result<()> {
        let Self { name, stop, crash, thread } = self;
        // It may have ended by itself; then joining tells how.
        let _has_ended = stop.send(());
        let outcome = join(&name, thread).await;
        drop(crash);
        outcome
    }

    /// Loses it.
    ///
    /// # Errors
    /// Where it had failed before.
    pub async fn crash(self) -> Result<()> {
        let Self { name, stop, crash, thread } = self;
        let _has_ended = crash.send(());
        let outcome = join(&name, thread).await;
        drop(stop);
        outcome
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

async fn join(name: &str, thread: JoinHandle<Result<()>>) -> Result<()> {
    let joined = tokio::task::spawn_blocking(move || thread.join()).await.context("wait for a daemon")?;
    joined.map_err(|_| anyhow!("{name} panicked"))?.with_context(|| format!("{name} ended badly"))
}
