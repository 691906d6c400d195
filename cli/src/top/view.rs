//! The picture that `top` draws: a pure function of what was last seen.

use ballast_proto::v1;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Block, Cell, Paragraph, Row as TableRow, Table},
};

use crate::show::{Row, decisions::DecisionRow, hosts::HostRow, migrations::MigrationRow, words};

/// Width of a bar, in characters.
const BAR: usize = 20;

// Load from which a bar is drawn as a warning, and from which as an alarm.
const WARN: f64 = 0.7;
const ALARM: f64 = 0.85;

/// What was seen at one look.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Picture {
    mode: &'static str,
    epoch: u64,
    now: String,
    hosts: Vec<HostRow>,
    migrations: Vec<MigrationRow>,
    decisions: Vec<DecisionRow>,
    /// Why the last look failed; the rest is from the look before.
    pub(crate) trouble: Option<String>,
}

impl Picture {
    pub(crate) fn new(
        hosts: &v1::ListHostsResponse,
        migrations: &[v1::Migration],
        decisions: &[v1::DecisionSummary],
    ) -> Self {
        let mut migrations: Vec<MigrationRow> = migrations.iter().map(MigrationRow::from).collect();
        migrations.sort_by_key(|migration| migration.ending.is_some());
        Self {
            mode: words::mode(hosts.mode()),
            epoch: hosts.epoch,
            now: words::time_of_day(hosts.now_unix_nanos),
            hosts: hosts.hosts.iter().map(HostRow::from).collect(),
            migrations,
            decisions: decisions.iter().map(DecisionRow::from).collect(),
            trouble: None,
        }
    }

    fn headline(&self) -> String {
        let awake = self.hosts.iter().filter(|host| host.power == "awake").count();
        let watts: f64 = self.hosts.iter().filter_map(|host| host.power_watts).sum();
        let vms: u32 = self.hosts.iter().map(|host| host.vm_count).sum();
        let of = self.hosts.len();
        format!("{}  mode {}  {awake} of {of} hosts awake  {vms} vms  {watts:.0} W  (q ends)", self.now, self.mode)
    }
}

/// Draws it.
pub(crate) fn draw(frame: &mut Frame<'_>, picture: &Picture) {
    let moving = u16::try_from(picture.migrations.len().clamp(1, 6)).unwrap_or(6) + 3;
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(5),
        Constraint::Length(moving),
        Constraint::Length(8),
    ]);
    let [head, hosts, migrations, decisions] = areas.areas(frame.area());
    draw_head(frame, head, picture);
    draw_hosts(frame, hosts, picture);
    draw_migrations(frame, migrations, picture);
    draw_decisions(frame, decisions, picture);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, picture: &Picture) {
    let line = match &picture.trouble {
        Some(trouble) => Line::from(format!("{}  {trouble}", picture.now)).style(Style::new().fg(Color::Red)),
        None => Line::from(picture.headline()).style(Style::new().add_modifier(Modifier::BOLD)),
    };
    frame.render_widget(Paragraph::new(line), area);
}

fn draw_hosts(frame: &mut Frame<'_>, area: Rect, picture: &Picture) {
    let head = ["HOST", "CPU", "", "CORES", "MEMORY PROMISED", "POWER", "VMS", "MOVING", "STATE"];
    let widths = [16, 21, 6, 15, 22, 8, 4, 7].map(Constraint::Length).into_iter().chain([Constraint::Min(10)]);
    let rows = picture.hosts.iter().map(host_row);
    let table = Table::new(rows, widths).header(TableRow::new(head).style(Style::new().add_modifier(Modifier::DIM)));
    frame.render_widget(table.block(Block::bordered().title("hosts")), area);
}

fn host_row(host: &HostRow) -> TableRow<'_> {
    let mut cells = host.cells();
    // The age of the sample is not shown: where it matters, it is among the doubts.
    cells.remove(7);
    let mut cells = cells.into_iter().map(Cell::from);
    let name = cells.next();
    let bar = Cell::from(bar(host.load().unwrap_or(0.0))).style(Style::new().fg(colour(host.load())));
    let row = TableRow::new(name.into_iter().chain([bar]).chain(cells));
    if host.power == "awake" { row } else { row.style(Style::new().add_modifier(Modifier::DIM)) }
}

fn colour(load: Option<f64>) -> Color {
    match load {
        Some(load) if load >= ALARM => Color::Red,
        Some(load) if load >= WARN => Color::Yellow,
        Some(_) => Color::Green,
        None => Color::DarkGray,
    }
}

/// A bar of [`BAR`] characters for a share from 0 to 1.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped to the width of the bar
fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * ballast_core::units::count(BAR)).round() as usize;
    format!("{}{}", "█".repeat(full), "·".repeat(BAR - full))
}

fn draw_migrations(frame: &mut Frame<'_>, area: Rect, picture: &Picture) {
    let rows = picture.migrations.iter().map(|migration| {
        let share = bar(migration.share().unwrap_or(0.0));
        let way = format!("{} -> {}", migration.source, migration.destination);
        let cells = [migration.migration_id.clone(), migration.name.clone(), way, share, migration.stands()];
        let row = TableRow::new(cells);
        if migration.ending.is_none() { row } else { row.style(Style::new().add_modifier(Modifier::DIM)) }
    });
    let widths = [9, 16, 28, 21].map(Constraint::Length).into_iter().chain([Constraint::Min(20)]);
    frame.render_widget(Table::new(rows, widths).block(Block::bordered().title("migrations")), area);
}

fn draw_decisions(frame: &mut Frame<'_>, area: Rect, picture: &Picture) {
    let lines = picture.decisions.iter().flat_map(|decision| {
        let time = decision.at.get(11..19).unwrap_or_default();
        decision.chosen.iter().map(move |chosen| Line::from(format!("{time}  {}  {chosen}", decision.decision_id)))
    });
    let text: Vec<Line<'_>> = lines.collect();
    frame.render_widget(Paragraph::new(text).block(Block::bordered().title("decisions")), area);
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;

    fn drawn(picture: &Picture) -> String {
        let mut terminal = Terminal::new(TestBackend::new(140, 24)).unwrap();
        terminal.draw(|frame| draw(frame, picture)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let lines = buffer.content().chunks(140).map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn picture() -> Picture {
        let sample = v1::HostSample {
            cpu_capacity_cores: 16.0,
            cpu_used_cores: Some(v1::Reading { value: 12.0, quality: v1::Quality::Measured.into() }),
            ..Default::default()
        };
        let host = v1::HostStatus {
            host: "kvm-1".into(),
            power: v1::HostPower::Awake.into(),
            sample: Some(sample),
            vm_count: 7,
            ..Default::default()
        };
        let asleep = v1::HostStatus { host: "kvm-2".into(), power: v1::HostPower::Asleep.into(), ..Default::default() };
        let hosts =
            v1::ListHostsResponse { hosts: vec![host, asleep], mode: v1::Mode::Auto.into(), ..Default::default() };
        let migration = v1::Migration {
            migration_id: "3-17".into(),
            name: "web-1".into(),
            source: "kvm-2".into(),
            destination: "kvm-1".into(),
            progress: Some(v1::Progress {
                stage: v1::Stage::Migration.into(),
                total_bytes: 4,
                remaining_bytes: 2,
                ..Default::default()
            }),
            ..Default::default()
        };
        let decision =
            v1::DecisionSummary { decision_id: "3-4".into(), chosen: vec!["wake kvm-2".into()], ..Default::default() };
        Picture::new(&hosts, &[migration], &[decision])
    }

    #[test]
    fn the_picture_shows_hosts_migrations_and_decisions() {
        let screen = drawn(&picture());
        assert!(screen.contains("mode auto  1 of 2 hosts awake  7 vms"), "{screen}");
        assert!(screen.contains("kvm-1            ███████████████·····  75 %"), "{screen}");
        assert!(screen.contains("web-1            kvm-2 -> kvm-1               ██████████··········"), "{screen}");
        assert!(screen.contains("3-4  wake kvm-2"), "{screen}");
    }

    #[test]
    fn trouble_is_shown_over_the_last_picture() {
        let mut picture = picture();
        picture.trouble = Some("the scheduler is not available".into());
        let screen = drawn(&picture);
        assert!(screen.contains("the scheduler is not available") && screen.contains("kvm-1"), "{screen}");
    }
}
