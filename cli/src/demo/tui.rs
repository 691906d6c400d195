//! The live view: hosts as bars, migrations with their progress, the last decisions with their reasons, and what it saves.

use std::{collections::VecDeque, time::Duration};

use anyhow::Context;
use ballast_core::{outcome::Stage as Moving, snapshot::HostPower, units::Joules};
use ballast_daemon::clock::Clock;
use ballast_sim::observe::{FlightStatus, HostStatus};
use crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::{
    DefaultTerminal, Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Paragraph},
};

use super::{
    look::Look,
    news::{Kind, News},
    plain::{clock_of, mark},
};

/// Time between two pictures.
const PICTURE: Duration = Duration::from_millis(50);

/// News kept for the view.
const NEWS: usize = 200;

/// Load from which a bar warns: the default limit of the scheduler.
const WARM: f64 = 0.85;

/// The terminal, taken over until this is dropped.
pub(crate) struct Tui {
    terminal: DefaultTerminal,
    news: VecDeque<News>,
    next_picture: Duration,
}

impl Tui {
    /// Takes the terminal over.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let terminal = ratatui::try_init().context("take over the terminal; --no-tui does without")?;
        Ok(Self { terminal, news: VecDeque::new(), next_picture: Duration::ZERO })
    }

    /// Takes the news and, when it is time, draws a picture of what `look` sees.
    pub(crate) fn tell(&mut self, news: &[News], real: &Clock, look: impl FnOnce() -> Look) -> anyhow::Result<()> {
        self.news.extend(news.iter().cloned());
        while self.news.len() > NEWS {
            self.news.pop_front();
        }
        if real.elapsed() < self.next_picture {
            return Ok(());
        }
        self.next_picture = real.elapsed() + PICTURE;
        let (look, news) = (look(), &self.news);
        self.terminal.draw(|frame| draw(frame, &look, news)).context("draw the live view")?;
        Ok(())
    }

    /// True once the watcher has pressed q, Escape or Ctrl-C.
    pub(crate) fn is_left(&mut self) -> anyhow::Result<bool> {
        while event::poll(Duration::ZERO).context("read the keyboard")? {
            if let Event::Key(key) = event::read().context("read the keyboard")? {
                let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Drop for Tui {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn draw(frame: &mut Frame<'_>, look: &Look, news: &VecDeque<News>) {
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(4), Constraint::Min(8), Constraint::Percentage(35)]).areas(frame.area());
    let [left, right] = Layout::horizontal([Constraint::Percentage(52), Constraint::Percentage(48)]).areas(middle);
    frame.render_widget(Paragraph::new(balance(look)).block(Block::bordered().title(" ballast demo — q leaves ")), top);
    panel(frame, left, " hosts ", look.hosts.iter().map(|host| host_line(host, left.width)).collect());
    let mut moves: Vec<Line<'_>> = look.flights.iter().map(|flight| flight_line(flight, right.width)).collect();
    let ended = news.iter().rev().filter(|news| matches!(news.kind, Kind::Moved | Kind::Trouble));
    moves.extend(ended.take(usize::from(right.height)).map(news_line));
    panel(frame, right, " migrations ", moves);
    let room = usize::from(bottom.height.saturating_sub(2));
    panel(frame, bottom, " what happened, and why ", news.iter().rev().take(room).rev().map(news_line).collect());
}

fn panel(frame: &mut Frame<'_>, area: Rect, title: &'static str, lines: Vec<Line<'_>>) {
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
}

/// Energy and overload so far, beside the fleet left alone.
fn balance(look: &Look) -> Vec<Line<'static>> {
    let (ours, alone) = (&look.ledger, &look.left_alone);
    let saved = 100.0 * (1.0 - ours.energy.ratio_of(Joules(alone.energy.get().max(1.0))));
    let (now, alone_now) = (look.watts.get(), look.watts_left_alone.get());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let time = look.now.to_string().get(..16).unwrap_or_default().replace('T', " ");
    vec![
        Line::from(vec![
            Span::styled(format!("{time}  "), bold),
            Span::raw(format!("power {now:.0} W (left alone {alone_now:.0} W)   energy ")),
            Span::raw(format!("{:.2} kWh (left alone {:.2})   ", ours.energy.kwh(), alone.energy.kwh())),
            Span::styled(format!("saved {saved:.1} %"), bold.fg(Color::Green)),
        ]),
        Line::raw(format!(
            "overloaded {:.0} host-s (left alone {:.0})   migrations {}   sleeps {}   wakes {}",
            ours.overload_seconds, alone.overload_seconds, ours.migrations, ours.sleeps, ours.wakes
        )),
    ]
}

fn host_line(host: &HostStatus, width: u16) -> Line<'static> {
    let load = host.cpu_wanted.ratio_of(host.cpu_capacity);
    let dim = Style::new().fg(Color::DarkGray);
    let name = format!("{:<9}", host.host.as_str());
    let word = match host.power {
        HostPower::Awake => {
            let memory = 100.0 * host.memory_reserved.ratio_of(host.memory_capacity);
            let cells = usize::from(width).saturating_sub(42).clamp(5, 60);
            let color = if load > 1.0 {
                Color::Red
            } else if load > WARM {
                Color::Yellow
            } else {
                Color::Green
            };
            return Line::from(vec![
                Span::raw(name),
                Span::styled(bar(load, cells), Style::new().fg(color)),
                Span::raw(format!(
                    " {:>3.0} % mem {memory:>3.0} % {:>3} vms {:>4.0} W",
                    load * 100.0,
                    host.vms,
                    host.watts.get()
                )),
            ]);
        }
        HostPower::FallingAsleep => "falling asleep",
        HostPower::Asleep => "asleep",
        HostPower::Waking => "waking",
    };
    let style = if host.power == HostPower::Waking { Style::new().fg(Color::Cyan) } else { dim };
    Line::styled(format!("{name}{word} ({:.0} W)", host.watts.get()), style)
}

/// A bar of `cells` characters; what lies above 1 fills it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // The share is clamped to 0 to 1.
fn bar(share: f64, cells: usize) -> String {
    let filled = (share.clamp(0.0, 1.0) * ballast_core::units::count(cells)).round() as usize;
    "█".repeat(filled) + &"░".repeat(cells - filled.min(cells))
}

fn flight_line(flight: &FlightStatus, width: u16) -> Line<'static> {
    let progress = &flight.progress;
    let done = match progress.stage {
        Moving::Queued | Moving::Preparation => 0.0,
        _ => 1.0 - progress.remaining.ratio_of(progress.total),
    };
    let cells = usize::from(width).saturating_sub(52).clamp(4, 30);
    let color = if progress.stage == Moving::Switching { Color::Magenta } else { Color::Cyan };
    Line::from(vec![
        Span::raw(format!("{:<13}{} → {} ", flight.name, flight.source, flight.destination)),
        Span::styled(bar(done, cells), Style::new().fg(color)),
        Span::raw(format!(" {} {}", progress.stage, progress.copied)),
    ])
}

fn news_line(news: &News) -> Line<'static> {
    let color = match news.kind {
        Kind::Relief => Color::Yellow,
        Kind::Decided => Color::Reset,
        Kind::Moved => Color::Green,
        Kind::Trouble => Color::Red,
        Kind::Power => Color::Cyan,
    };
    Line::styled(format!("{} {} {}", clock_of(news), mark(news.kind), news.text), Style::new().fg(color))
}

#[cfg(test)]
mod tests {
    use ballast_core::{
        command::MigrationLimits,
        units::{Bytes, Timestamp},
    };
    use ballast_sim::{FleetSize, Scenario, World};
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;

    fn look(world: &World) -> Look {
        let watts = world.overview().iter().map(|host| host.watts).sum();
        Look {
            now: world.now(),
            hosts: world.overview(),
            flights: world.flights(),
            ledger: world.ledger(),
            left_alone: world.ledger(),
            watts,
            watts_left_alone: watts,
        }
    }

    fn picture(look: &Look, news: &VecDeque<News>) -> String {
        let mut terminal = Terminal::new(TestBackend::new(120, 30)).unwrap();
        terminal.draw(|frame| draw(frame, look, news)).unwrap();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(120);
        rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
    }

    #[test]
    fn hosts_migrations_and_reasons_are_in_the_picture() {
        let size = FleetSize { hosts: 3, vms: 9, duration: Duration::from_secs(3600) };
        let scenario = Scenario::fleet(size, 1).unwrap();
        let mut world = World::new(&scenario, 1);
        let vm = &scenario.vms()[0];
        let hosts = world.host_ids();
        let home = vm.home.unwrap();
        let (from, to) = (&hosts[home], &hosts[(home + 1) % 3]);
        world.begin_migration(from, vm.vm, to, MigrationLimits::for_memory(Bytes::from_gib(8))).unwrap();
        world.advance_to(world.now().after(Duration::from_secs(2)));
        let told = News { at: Timestamp::from_secs(3661), kind: Kind::Relief, text: "move web-1: too hot".into() };
        let picture = picture(&look(&world), &VecDeque::from([told]));
        let expected = ["host-01", "host-03", "vms", "01:01:01 ! move web-1: too hot", "saved 0.0 %", &vm.name];
        for words in expected.into_iter().chain([format!("{from} → {to}").as_str(), "migration "]) {
            assert!(picture.contains(words), "{words} is missing in\n{picture}");
        }
    }

    #[test]
    fn a_bar_never_leaves_its_room() {
        assert_eq!((bar(0.5, 4), bar(7.0, 2), bar(f64::NAN, 2)), ("██░░".into(), "██".into(), "░░".into()));
    }
}
