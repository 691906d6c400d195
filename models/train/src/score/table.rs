//! The report as tables for people.

use std::io::{self, Write};

use super::{
    compare::Difference,
    report::{Line, Panel, Report, Share},
};

const HEAD: [&str; 10] =
    ["method", "MAE", "MASE", "pin .9", "pin .95", "cov .9", "cov .95", "MAE vs", "pin .9 vs", "pin .95 vs"];

/// Writes one table per panel, in Markdown or in columns.
pub(super) fn write(report: &Report, markdown: bool, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "Against {}: difference in percent, its 95 % interval by vm, and by block of ten neighbouring vms where there are blocks.",
        report.reference
    )?;
    for panel in &report.panels {
        let title = title(panel);
        writeln!(out, "\n{}{title}\n", if markdown { "### " } else { "" })?;
        let mut rows = vec![HEAD.map(str::to_owned)];
        rows.extend(panel.lines.iter().map(cells));
        if markdown { pipes(&rows, out)? } else { columns(&rows, out)? }
    }
    Ok(())
}

fn title(panel: &Panel) -> String {
    let of = if panel.share == Share::Active { "active vms" } else { "vms" };
    let blocks = panel.blocks.map(|blocks| format!(" in {blocks} blocks")).unwrap_or_default();
    let Panel { set, resource, target, vms, forecasts, .. } = panel;
    format!("{set}, {resource}, {target}: {vms} {of}{blocks}, {forecasts} forecasts")
}

fn cells(line: &Line) -> [String; HEAD.len()] {
    let three = |value: f64| format!("{value:.3}");
    let percent = |share: f64| format!("{:.1}", 100.0 * share);
    let against = |of: fn(&super::Against) -> &Difference| {
        line.against.as_ref().map_or_else(|| "-".to_owned(), |against| difference(of(against)))
    };
    [
        line.method.clone(),
        three(line.mae),
        three(line.mase),
        three(line.pinball[0]),
        three(line.pinball[1]),
        percent(line.coverage[0]),
        percent(line.coverage[1]),
        against(|against| &against.mae),
        against(|against| &against.pinball[0]),
        against(|against| &against.pinball[1]),
    ]
}

/// In percent: the difference and its intervals.
fn difference(difference: &Difference) -> String {
    let interval = |[low, high]: [f64; 2]| format!("[{:+.1} {:+.1}]", 100.0 * low, 100.0 * high);
    let by_block = difference.by_block.map(|ends| format!(" {}", interval(ends))).unwrap_or_default();
    format!("{:+.1} {}{by_block}", 100.0 * difference.relative, interval(difference.by_vm))
}

fn pipes(rows: &[[String; HEAD.len()]], out: &mut dyn Write) -> io::Result<()> {
    for (index, row) in rows.iter().enumerate() {
        writeln!(out, "| {} |", row.join(" | "))?;
        if index == 0 {
            writeln!(out, "|---|{}", "---:|".repeat(HEAD.len() - 1))?;
        }
    }
    Ok(())
}

fn columns(rows: &[[String; HEAD.len()]], out: &mut dyn Write) -> io::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; HEAD.len()] = std::array::from_fn(width);
    for row in rows {
        write!(out, "{:<width$}", row[0], width = widths[0])?;
        for (cell, width) in row.iter().zip(widths).skip(1) {
            write!(out, "  {cell:>width$}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}
