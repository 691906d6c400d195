//! What can be typed.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::{
    audit::AuditArgs, certs::CertsArgs, demo::DemoArgs, history::HistoryArgs, offline::Offline, plan::PlanArgs,
    replay::ReplayArgs, score::ScoreArgs,
};

/// Keeps a fleet of libvirt hosts level: looks at it, moves its vms, explains why.
#[derive(Debug, Parser)]
#[command(name = "ballast", version, disable_help_subcommand = true)]
pub struct Args {
    /// Which scheduler, and how.
    #[command(flatten)]
    pub connection: Connection,
    /// How answers are printed.
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which scheduler, and how.
#[derive(Debug, Clone, Default, ClapArgs)]
#[group(skip)]
pub struct Connection {
    /// Address of the scheduler [default: $BALLAST_SCHEDULER, or http://127.0.0.1:7070].
    #[arg(long, global = true, value_name = "URL")]
    pub scheduler: Option<String>,
    /// Certificate of the authority that signed the scheduler's, PEM.
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Your certificate, PEM.
    #[arg(long, global = true, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Key of your certificate, PEM.
    #[arg(long, global = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: field names stay as they are.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a simulated fleet with its scheduler in this process, faster than real time, and shows what they do.
    Demo(DemoArgs),
    /// Recorded telemetry through the real decision path: what would have been decided, when, and why.
    Replay(ReplayArgs),
    /// Recorded telemetry as a table of five-minute means, to train a forecaster on.
    History(HistoryArgs),
    /// Policies played on a scenario, day by day and seed by seed, beside the least that was possible.
    Score(ScoreArgs),
    /// A fleet written down in a file: the whole plan for it, or why what is asked cannot be done.
    Plan(PlanArgs),
    /// Certificates for a first install: an authority of one's own, and who it signs.
    Certs(CertsArgs),
    /// Whether a journal is still what was written.
    Audit(AuditArgs),
    /// The fleet as it is, live; q ends it.
    Top(Top),
    /// Migrations as they go, one line for each change.
    Watch,
    /// What a vm used and is expected to want, drawn, with who says so; with --data, forecasts over a recording.
    Forecast(ForecastArgs),
    /// Commands with one answer.
    #[command(flatten)]
    Ask(Ask),
}

/// A vm of the fleet, or a recording.
#[derive(Debug, Clone, ClapArgs)]
pub struct ForecastArgs {
    /// The vm, by name or uuid.
    #[arg(required_unless_present = "data", conflicts_with = "data")]
    pub vm: Option<String>,
    /// Forecasts over a recording.
    #[command(flatten)]
    pub offline: Offline,
}

/// The live view.
#[derive(Debug, Clone, ClapArgs)]
pub struct Top {
    /// Time between two looks, in seconds.
    #[arg(long, default_value_t = 1.0, value_parser = period, value_name = "SECONDS")]
    pub period: f64,
}

fn period(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("from 0.1 to 3600 seconds are needed".to_owned()) }
}

/// Commands with one answer.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Ask {
    /// The hosts and how they are.
    Hosts,
    /// The vms and how they are.
    Vms {
        /// Only those of this host.
        #[arg(long)]
        host: Option<String>,
    },
    /// Move a vm to a host, past the same checks as the scheduler's own plans.
    Migrate {
        /// The vm, by name or uuid.
        vm: String,
        /// Where to.
        host: String,
        /// Check only.
        #[arg(long)]
        dry_run: bool,
        /// Set aside findings that are matters of comfort; it is recorded.
        #[arg(long = "override")]
        set_aside: bool,
        /// Why, for the record.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Stop a running migration; its vm stays where it is.
    Cancel {
        /// The migration, as in 3-17.
        migration: String,
    },
    /// Empty a host and keep it empty.
    Drain {
        /// Which.
        host: String,
    },
    /// Put a drained host back in use.
    Undrain {
        /// Which.
        host: String,
    },
    /// Show or set whether plans are carried out.
    Mode {
        /// What to set.
        #[arg(value_enum)]
        mode: Option<ModeArg>,
    },
    /// Carry out a recommended decision.
    Approve {
        /// The decision, as in 3-17.
        decision: String,
    },
    /// Migrations, newest first.
    Migrations {
        /// Only those still running.
        #[arg(long)]
        running: bool,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Decisions, newest first.
    Decisions {
        /// Also those that chose nothing.
        #[arg(long)]
        all: bool,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// A decision or a migration with all its reasons.
    Explain {
        /// Its id, as in 3-17.
        id: String,
    },
    /// What a vm used and is expected to want; typed as [`Command::Forecast`].
    #[command(skip)]
    Forecast {
        /// The vm, by name or uuid.
        vm: String,
    },
}

/// Whether plans are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeArg {
    /// Observe only.
    Off,
    /// Decide and show; act on approval.
    Recommend,
    /// Decide and act.
    Auto,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn global_options_may_follow_the_command() {
        let args = Args::try_parse_from(["ballast", "hosts", "--output", "json", "--scheduler", "http://s:1"]).unwrap();
        assert_eq!((args.output, args.connection.scheduler.as_deref()), (Output::Json, Some("http://s:1")));
        assert!(matches!(args.command, Command::Ask(Ask::Hosts)));
    }

    #[test]
    fn wrong_usage_ends_with_status_two() {
        for wrong in [&["ballast"][..], &["ballast", "migrate", "web-1"], &["ballast", "mode", "sometimes"]] {
            assert_eq!(Args::try_parse_from(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn the_word_for_override_is_override() {
        let args = Args::try_parse_from(["ballast", "migrate", "web-1", "kvm-2", "--override"]).unwrap();
        let Command::Ask(Ask::Migrate { set_aside, dry_run, .. }) = args.command else { panic!() };
        assert!(set_aside && !dry_run);
    }
}
