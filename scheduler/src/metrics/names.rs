//! Names of all metrics, in one place so that a dashboard can be checked against them: `ballast_` first, the unit last.
//!
//! A counter's `_total` is added by the encoder and stands in no name here.

/// Declares the names.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*

        /// Every name.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

names! {
    /// Batches of samples, by what became of them.
    BATCHES = "ballast_batches";
    /// Samples of vms taken.
    VM_SAMPLES = "ballast_vm_samples";
    /// Readings made missing as absurd.
    ABSURD_READINGS = "ballast_absurd_readings";
    /// Links of agents that are open.
    LINKS = "ballast_links";
    /// Links of agents opened.
    LINKS_OPENED = "ballast_links_opened";
    /// Links of agents refused.
    LINKS_REFUSED = "ballast_links_refused";
    /// Longest time from a batch to its acknowledgement in the last period.
    ACK_SECONDS_MAX = "ballast_batch_ack_max_seconds";
    /// What was dropped at a bound or by a fault.
    DROPPED = "ballast_dropped";
    /// Telemetry logged, before compression.
    LOG_BYTES = "ballast_telemetry_log_bytes";
    /// Times the store was damaged and rebuilt.
    STORE_REBUILT = "ballast_store_rebuilt";
    /// Records journalled.
    JOURNAL_RECORDS = "ballast_journal_records";
    /// Journal writes that failed.
    JOURNAL_FAILURES = "ballast_journal_failures";
    /// Looks at the fleet, by kind.
    ROUNDS = "ballast_rounds";
    /// Rounds in which the policy in the shadow was asked.
    SHADOW_ROUNDS = "ballast_shadow_rounds";
    /// Steps by which of the two policies wanted them.
    SHADOW_STEPS = "ballast_shadow_steps";
    /// What the objective expected of each policy's steps.
    SHADOW_GAIN = "ballast_shadow_gain_joules";
    /// Proposals of which it is known what they gained, by kind.
    SETTLED = "ballast_gains_settled";
    /// What was expected of them, and what came.
    GAIN = "ballast_gain_joules";
    /// Time of the newest round.
    ROUND_SECONDS = "ballast_round_duration_seconds";
    /// Decisions, by content.
    DECISIONS = "ballast_decisions";
    /// Steps chosen, by motive.
    STEPS_CHOSEN = "ballast_steps_chosen";
    /// Findings against proposals, by rule.
    PROPOSALS_DENIED = "ballast_proposals_denied";
    /// Migrations that agents were asked about beforehand, by answer.
    PREFLIGHTS = "ballast_preflights";
    /// What agents had against migrations, by what was looked at.
    PREFLIGHT_REFUSALS = "ballast_preflight_refusals";
    /// Commands given, by kind.
    COMMANDS = "ballast_commands";
    /// Commands that ended, by kind and ending.
    COMMANDS_ENDED = "ballast_commands_ended";
    /// Moves ordered to stop because what was left of them was not worth it, by reason.
    MOVES_GIVEN_UP = "ballast_moves_given_up";
    /// Commands repeated for want of an answer.
    COMMANDS_RESENT = "ballast_commands_resent";
    /// Commands without outcome.
    COMMANDS_OPEN = "ballast_commands_open";
    /// Reports of commands nobody gave.
    REPORTS_UNKNOWN = "ballast_reports_unknown";
    /// Time of completed migrations.
    MIGRATION_SECONDS = "ballast_migration_duration_seconds";
    /// Pause of vms that moved.
    DOWNTIME_SECONDS = "ballast_migration_downtime_seconds";
    /// Memory copied by migrations.
    COPIED_BYTES = "ballast_migration_copied_bytes";
    /// How copies on this fleet differ from the model's, by figure.
    COPY_FACTOR = "ballast_copy_factor";
    /// Time that destinations take to get ready.
    COPY_PREPARATION = "ballast_copy_preparation_seconds";
    /// Migrations under way.
    MIGRATIONS_RUNNING = "ballast_migrations_running";
    /// Calls refused, by status code.
    CALLS_REFUSED = "ballast_calls_refused";
    /// Calls refused and messages held back because one identity made too many.
    RATE_LIMITED = "ballast_rate_limited";
    /// Connections refused before any call, for want of a certificate.
    HANDSHAKES_REFUSED = "ballast_handshakes_refused";
    /// Watchers of migrations that were too slow and were given a fresh list.
    WATCHERS_BEHIND = "ballast_watchers_behind";
    /// The scheduler's epoch.
    EPOCH = "ballast_epoch";
    /// One for the mode in force, zero for the others.
    MODE = "ballast_mode";
    /// One for the forecaster in use.
    FORECAST_METHOD = "ballast_forecast_method";
    /// One for what the model may do now, zero for the others.
    FORECAST_MODE = "ballast_forecast_mode";
    /// One for the state of the breaker between the model and decisions, zero for the others.
    FORECAST_BREAKER = "ballast_forecast_breaker";
    /// One for the reason for which the model is set aside, zero for the others.
    FORECAST_SET_ASIDE = "ballast_forecast_set_aside";
    /// Running mean pinball loss, by resource, target and forecaster.
    FORECAST_PINBALL = "ballast_forecast_pinball";
    /// Share of values below the 95 % quantile, by resource, target and forecaster.
    FORECAST_COVERAGE = "ballast_forecast_coverage_ratio";
    /// Forecasts that have come due, by resource and target.
    FORECAST_SCORED = "ballast_forecast_scored";
    /// Time of the model's newest answer.
    FORECAST_SECONDS = "ballast_forecast_duration_seconds";
    /// Answers of the model, by whether they were in time.
    FORECAST_ANSWERS = "ballast_forecast_answers";
    /// Vms, by whose forecast they have.
    FORECAST_VMS = "ballast_forecast_vms";
    /// States of vms given to the model, by what it did with them.
    FORECAST_STATES = "ballast_forecast_states";
    /// Bundles that were refused.
    FORECAST_REFUSED = "ballast_forecast_models_refused";
    /// Promises to hosts that were judged, by whether they were kept.
    RISK_PROMISES = "ballast_risk_promises";
    /// Standard deviations above the mean that hosts are promised, by class of host.
    RISK_DEVIATIONS = "ballast_risk_deviations";
    /// When the scheduler's own certificate ends.
    CERTIFICATE_END = "ballast_certificate_not_after_timestamp_seconds";
    /// When the certificate ends that the agent of a host has shown.
    HOST_CERTIFICATE_END = "ballast_host_certificate_not_after_timestamp_seconds";
    /// One for each thing that does not work.
    IMPAIRED = "ballast_impaired";
    /// Energy of all hosts.
    ENERGY_JOULES = "ballast_fleet_energy_joules";
    /// Hosts, by power state.
    HOSTS = "ballast_hosts";
    /// Hosts whose figures are not acted on.
    HOSTS_DOUBTED = "ballast_hosts_doubted";
    /// Vms known.
    VMS = "ballast_vms";
    /// Power of a host.
    HOST_POWER_WATTS = "ballast_host_power_watts";
    /// CPU in use on a host.
    HOST_CPU_USED_CORES = "ballast_host_cpu_used_cores";
    /// CPU a host has for vms.
    HOST_CPU_CAPACITY_CORES = "ballast_host_cpu_capacity_cores";
    /// Memory promised to vms of a host.
    HOST_MEMORY_RESERVED_BYTES = "ballast_host_memory_reserved_bytes";
    /// Memory a host has for vms.
    HOST_MEMORY_CAPACITY_BYTES = "ballast_host_memory_capacity_bytes";
    /// Age of a host's newest sample.
    HOST_SAMPLE_AGE_SECONDS = "ballast_host_sample_age_seconds";
    /// CPU a vm uses.
    VM_CPU_USED_CORES = "ballast_vm_cpu_used_cores";
    /// Share of time a vm waits for a host CPU.
    VM_STEAL_RATIO = "ballast_vm_steal_ratio";
}
