//! One life of a process: a runtime of its own on this thread, whose time moves only when it is told to.
//!
//! Losing it drops every task where it stands. A process that was stopped and goes on finds that time has passed.

use std::{future::Future, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::{Instant, advance, sleep_until},
};

/// A process that runs.
#[derive(Debug)]
pub(super) struct Life {
    runtime: Runtime,
    main: JoinHandle<Result<()>>,
    began: Instant,
    /// When it began, and how far it has come, by the run's time.
    born: Duration,
    reached: Duration,
}

impl Life {
    /// Begins a life at `now`.
    ///
    /// # Errors
    /// Where the system has no runtime to give.
    pub(super) fn begin<F>(now: Duration, main: impl FnOnce() -> F) -> Result<Self>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let (began, main) = {
            let _entered = runtime.enter();
            (Instant::now(), runtime.spawn(main()))
        };
        Ok(Self { runtime, main, began, born: now, reached: now })
    }

    /// Lets it live until `now`; what it ended with, where it has ended.
    pub(super) fn step(&mut self, now: Duration, longest: Duration) -> Option<Result<()>> {
        let gap = now.saturating_sub(self.reached);
        let until = self.began + (now - self.born);
        self.reached = now;
        self.runtime.block_on(async {
            // It was stopped meanwhile: all at once it is later.
            if gap > longest {
                advance(gap - longest).await;
            }
            sleep_until(until).await;
        });
        self.main.is_finished().then(|| self.ended())
    }

    fn ended(&mut self) -> Result<()> {
        self.runtime.block_on(&mut self.main).context("its main task panicked")?
    }

    /// Looks at something that lives by its time.
    pub(super) fn within<T>(&self, look: impl FnOnce() -> T) -> T {
        let _entered = self.runtime.enter();
        look()
    }

    /// Has it do something beside.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(task));
    }
}
