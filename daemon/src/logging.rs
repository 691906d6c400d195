//! Logging to standard error: one place, so that both daemons and the command line look alike.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts logging. `RUST_LOG` overrides `filter` (as `info` or `ballast_agent=debug,info`). Under systemd the journal
/// stamps the time itself. A second call changes nothing.
pub fn init(filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let outcome =
        if under_systemd { registry.with(layer.without_time()).try_init() } else { registry.with(layer).try_init() };
    if outcome.is_err() {
        tracing::debug!("Logging was started already");
    }
}
