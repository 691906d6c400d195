//! Whether the host is awake, about to sleep or asleep, as the agent's tasks tell each other.
//!
//! The task that carries out a sleep order moves it; the link says goodbye and closes by it; the sampler rests by it.

use tokio::sync::watch;

/// Where the host is on its way to sleep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum PowerState {
    /// Awake.
    #[default]
    Awake,
    /// About to sleep: the link says goodbye.
    Leaving,
    /// The order was given: nothing is sampled, the link is closed.
    Asleep,
}

/// Returns once the state is `wanted`; never where the sender is gone first.
pub(crate) async fn reached(state: &mut watch::Receiver<PowerState>, wanted: PowerState) {
    if state.wait_for(|state| *state == wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}
