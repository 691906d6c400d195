//! Answers as people and programs read them. Every answer has one row type, which is both the line of a table and the
//! JSON object: the two never disagree.

use std::io::{self, Write};

use ballast_proto::v1;
use serde::Serialize;
use serde_json::json;

use crate::{args::Output, table};

pub(crate) mod decisions;
pub(crate) mod forecast;
pub(crate) mod hosts;
pub(crate) mod migrations;
mod vms;
pub(crate) mod words;

/// What the scheduler said to one command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Hosts(v1::ListHostsResponse),
    Vms(v1::ListVmsResponse),
    Ordered { dry_run: bool, response: v1::MigrateResponse },
    Cancelling { migration: String, response: v1::CancelMigrationResponse },
    Draining { host: String, response: v1::DrainResponse },
    InUse { host: String },
    Mode(v1::Mode),
    ModeSet { mode: v1::Mode, previous: v1::Mode },
    Approved { decision: String, response: v1::ApproveResponse },
    Migrations(Vec<v1::Migration>),
    Decisions(Vec<v1::DecisionSummary>),
    Explained(v1::ExplainResponse),
    Forecast { said: v1::GetForecastResponse, paper: forecast::Paper },
}

/// Writes an answer.
pub(crate) fn write(answer: &Answer, output: Output, out: &mut dyn Write) -> anyhow::Result<()> {
    match output {
        Output::Json => {
            let value = as_json(answer)?;
            serde_json::to_writer_pretty(&mut *out, &value)?;
            writeln!(out)?;
        }
        Output::Table => as_text(answer, out)?,
    }
    out.flush()?;
    Ok(())
}

/// One line of a table, and the same as JSON.
pub(crate) trait Row: Serialize {
    /// Names of the columns; those that begin with `>` are aligned to the right.
    const HEAD: &'static [&'static str];

    /// The cells.
    fn cells(&self) -> Vec<String>;
}

fn rows<'m, M, R: From<&'m M>>(messages: &'m [M]) -> Vec<R> {
    messages.iter().map(R::from).collect()
}

fn write_rows<R: Row>(out: &mut dyn Write, rows: &[R]) -> io::Result<()> {
    let cells: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
    table::write(out, R::HEAD, &cells)
}

fn as_json(answer: &Answer) -> anyhow::Result<serde_json::Value> {
    Ok(match answer {
        Answer::Hosts(said) => json!({
            "mode": words::mode(said.mode()),
            "epoch": said.epoch,
            "now": words::moment(said.now_unix_nanos),
            "hosts": rows::<_, hosts::HostRow>(&said.hosts),
        }),
        Answer::Vms(said) => json!({ "vms": rows::<_, vms::VmRow>(&said.vms) }),
        Answer::Ordered { dry_run, response } => json!({
            "dry_run": dry_run,
            "migration_id": words::some(&response.migration_id),
            "decision_id": words::some(&response.decision_id),
            "findings": response.findings,
        }),
        Answer::Cancelling { migration, response } => {
            json!({ "migration_id": migration, "command_id": response.command_id })
        }
        Answer::Draining { host, response } => json!({ "host": host, "draining": true, "vm_count": response.vm_count }),
        Answer::InUse { host } => json!({ "host": host, "draining": false }),
        Answer::Mode(mode) => json!({ "mode": words::mode(*mode) }),
        Answer::ModeSet { mode, previous } => {
            json!({ "mode": words::mode(*mode), "previous": words::mode(*previous) })
        }
        Answer::Approved { decision, response } => json!({
            "decision_id": decision,
            "command_ids": response.command_ids,
            "findings": response.findings,
        }),
        Answer::Migrations(said) => json!({ "migrations": rows::<_, migrations::MigrationRow>(said) }),
        Answer::Decisions(said) => json!({ "decisions": rows::<_, decisions::DecisionRow>(said) }),
        Answer::Explained(said) => decisions::explained(said)?,
        Answer::Forecast { said, .. } => forecast::json(said)?,
    })
}

fn as_text(answer: &Answer, out: &mut dyn Write) -> anyhow::Result<()> {
    match answer {
        Answer::Hosts(said) => {
            writeln!(out, "mode {}, epoch {}", words::mode(said.mode()), said.epoch)?;
            write_rows(out, &rows::<_, hosts::HostRow>(&said.hosts))?;
        }
        Answer::Vms(said) => write_rows(out, &rows::<_, vms::VmRow>(&said.vms))?,
        Answer::Ordered { dry_run, response } => ordered(*dry_run, response, out)?,
        Answer::Cancelling { migration, response } => {
            writeln!(out, "order {} to stop migration {migration} is given", response.command_id)?;
        }
        Answer::Draining { host, response } => {
            writeln!(out, "{host} is being drained, {} vms are still on it", response.vm_count)?;
        }
        Answer::InUse { host } => writeln!(out, "{host} is in use again")?,
        Answer::Mode(mode) => writeln!(out, "{}", words::mode(*mode))?,
        Answer::ModeSet { mode, previous } => {
            writeln!(out, "mode {}, was {}", words::mode(*mode), words::mode(*previous))?;
        }
        Answer::Approved { decision, response } => approved(decision, response, out)?,
        Answer::Migrations(said) => write_rows(out, &rows::<_, migrations::MigrationRow>(said))?,
        Answer::Decisions(said) => decisions::list(out, &rows::<_, decisions::DecisionRow>(said))?,
        Answer::Explained(said) => {
            writeln!(out, "{}", said.text.trim_end())?;
            if !said.migrations.is_empty() {
                writeln!(out, "\nwhat became of it:")?;
                write_rows(out, &rows::<_, migrations::MigrationRow>(&said.migrations))?;
            }
        }
        Answer::Forecast { said, paper } => forecast::text(said, *paper, out)?,
    }
    Ok(())
}

fn ordered(dry_run: bool, response: &v1::MigrateResponse, out: &mut dyn Write) -> io::Result<()> {
    if dry_run {
        let verdict = if response.findings.is_empty() { "nothing speaks against it" } else { "against it speaks:" };
        writeln!(out, "{verdict}")?;
    } else {
        writeln!(out, "migration {} is ordered (decision {})", response.migration_id, response.decision_id)?;
    }
    let mark = if dry_run { "" } else { "set aside: " };
    response.findings.iter().try_for_each(|finding| writeln!(out, "  - {mark}{finding}"))
}

fn approved(decision: &str, response: &v1::ApproveResponse, out: &mut dyn Write) -> io::Result<()> {
    match response.command_ids.as_slice() {
        [] => writeln!(out, "nothing of decision {decision} can be done any more")?,
        ids => writeln!(out, "decision {decision} is carried out by {}", ids.join(", "))?,
    }
    response.findings.iter().try_for_each(|finding| writeln!(out, "  - no longer allowed: {finding}"))
}

#[cfg(test)]
mod tests;
