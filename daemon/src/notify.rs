//! Talking to systemd: ready, alive, stopping. Without systemd every call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The daemon serves.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What it is doing, for `systemctl status`.
pub fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// It is alive. To be called only when the parts that matter have shown that they are.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// It is about to end.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// How often [`alive`] is to be called: half the unit's `WatchdogSec`; `None` where there is no watchdog.
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
