//! The agent's long-lived tasks by name: started, watched, and stopped together.

use tokio::task::{JoinError, JoinSet};

use crate::error::AgentError;

/// Tasks that live as long as the agent.
#[derive(Debug, Default)]
pub(crate) struct Tasks(JoinSet<&'static str>);

impl Tasks {
    /// Starts a task.
    pub(crate) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            task.await;
            name
        });
    }

    /// Returns once one of them has ended, which none should.
    pub(crate) async fn first_end(&mut self) -> AgentError {
        match self.0.join_next().await {
            Some(Ok(task)) => AgentError::Task { task, reason: "it returned".to_owned() },
            Some(Err(error)) => AgentError::Task { task: "unknown", reason: describe(&error) },
            None => AgentError::Task { task: "none", reason: "nothing was started".to_owned() },
        }
    }

    /// Stops them all; returns when they are gone.
    pub(crate) async fn stop(mut self) {
        self.0.shutdown().await;
    }
}

fn describe(error: &JoinError) -> String {
    if error.is_panic() { "it panicked; the log above says where".to_owned() } else { error.to_string() }
}
