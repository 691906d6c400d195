//! `ballast replay`: recorded telemetry through the real ingest and decision path, as fast as it goes.
//!
//! Asks no scheduler. The numbers to decide by are a scheduler's own where its configuration is named, so that yesterday
//! is judged by what was in force.

use std::{io::Write, path::PathBuf};

use anyhow::Context as _;
use ballast_scheduler::{
    config::{Config, Strictness},
    replay::{Format, ReplaySettings, replay},
};
use clap::Args as ClapArgs;

use crate::args::Output;

/// What to replay, and with which policy.
#[derive(Debug, Clone, PartialEq, Eq, ClapArgs)]
pub struct ReplayArgs {
    /// Segments of a telemetry log, or directories of them, in order.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Policy that proposes [default: the configuration's, or risk-greedy].
    #[arg(long)]
    pub policy: Option<String>,
    /// The networks that the policy dqn judges by [default: the configuration's, or those that ship].
    #[arg(long, value_name = "FILE")]
    pub policy_bundle: Option<PathBuf>,
    /// Seed of every random choice [default: the configuration's, or 1].
    #[arg(long)]
    pub seed: Option<u64>,
    /// Scheduler configuration to take period, intervals and tuning from.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Replays; the decisions and a summary go to `out`.
pub(crate) fn run(args: &ReplayArgs, output: Output, out: &mut dyn Write) -> anyhow::Result<()> {
    let settings = settings(args)?;
    let format = match output {
        Output::Table => Format::Text,
        Output::Json => Format::JsonLines,
    };
    replay(&args.files, &settings, format, out)?;
    Ok(())
}

fn settings(args: &ReplayArgs) -> anyhow::Result<ReplaySettings> {
    let mut settings = match &args.config {
        Some(path) => {
            let (config, _unknown) = Config::load(path, Strictness::Lenient)
                .with_context(|| format!("take the settings from {}", path.display()))?;
            ReplaySettings::of_engine(&config.engine)
        }
        None => ReplaySettings::default(),
    };
    args.policy.iter().for_each(|policy| settings.policy.clone_from(policy));
    settings.policy_bundle = args.policy_bundle.clone().or(settings.policy_bundle);
    settings.seed = args.seed.unwrap_or(settings.seed);
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(policy: Option<&str>) -> ReplayArgs {
        let files = vec![PathBuf::from("missing.seg")];
        ReplayArgs { files, policy: policy.map(str::to_owned), policy_bundle: None, seed: Some(7), config: None }
    }

    #[test]
    fn what_was_typed_wins_over_the_defaults() {
        let settings = settings(&args(Some("none"))).unwrap();
        assert_eq!((settings.policy.as_str(), settings.seed), ("none", 7));
        assert_eq!(super::settings(&args(None)).unwrap().policy, "risk-greedy");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = run(&args(None), Output::Table, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("missing.seg"), "{error}");
    }
}
