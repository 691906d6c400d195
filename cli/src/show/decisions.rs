//! Decisions, in short and explained.

use std::io::{self, Write};

use anyhow::Context as _;
use ballast_proto::v1;
use serde::Serialize;
use serde_json::{Value, json};

use super::{migrations::MigrationRow, rows, words};

/// One decision in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DecisionRow {
    pub(crate) decision_id: String,
    pub(crate) at: String,
    pub(crate) trigger: String,
    pub(crate) policy: String,
    pub(crate) chosen: Vec<String>,
    pub(crate) considered_count: u32,
    pub(crate) denied_count: u32,
    pub(crate) executed: bool,
}

impl From<&v1::DecisionSummary> for DecisionRow {
    fn from(decision: &v1::DecisionSummary) -> Self {
        Self {
            decision_id: decision.decision_id.clone(),
            at: words::moment(decision.at_unix_nanos),
            trigger: decision.trigger.clone(),
            policy: decision.policy.clone(),
            chosen: decision.chosen.clone(),
            considered_count: decision.considered_count,
            denied_count: decision.denied_count,
            executed: decision.executed,
        }
    }
}

/// One paragraph per decision: what was chosen is too long for a column.
pub(crate) fn list(out: &mut dyn Write, rows: &[DecisionRow]) -> io::Result<()> {
    for row in rows {
        let DecisionRow { decision_id, at, trigger, policy, considered_count, denied_count, .. } = row;
        let executed = if row.executed { "carried out" } else { "not carried out" };
        writeln!(
            out,
            "{decision_id}  {at}  {trigger}, {policy}, {executed}, {considered_count} waiting, {denied_count} denied"
        )?;
        if row.chosen.is_empty() {
            writeln!(out, "    nothing")?;
        }
        row.chosen.iter().try_for_each(|chosen| writeln!(out, "    {chosen}"))?;
    }
    Ok(())
}

/// A decision with all its reasons, as JSON.
pub(crate) fn explained(said: &v1::ExplainResponse) -> anyhow::Result<Value> {
    let decision: Value = serde_json::from_str(&said.decision_json).context("the scheduler's decision is not JSON")?;
    let migrations = rows::<_, MigrationRow>(&said.migrations);
    // A scheduler of an older version says nothing of that.
    let came = if said.came_json.is_empty() { "[]" } else { &said.came_json };
    let came: Value = serde_json::from_str(came).context("the scheduler's account of what came is not JSON")?;
    Ok(json!({ "decision": decision, "text": said.text, "migrations": migrations, "came": came }))
}
