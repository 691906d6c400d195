//! `ballast top`: the fleet as it is, drawn anew every period until `q`.

mod view;

use std::{io::IsTerminal as _, time::Duration};

use anyhow::ensure;
use ballast_core::units::seconds;
use ballast_daemon::clock::Clock;
use ballast_proto::v1;
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::DefaultTerminal;
use tokio::sync::mpsc;

use crate::{args::Top, client::Operator, client::in_words};
use view::Picture;

/// Decisions shown.
const DECISIONS: u32 = 8;

/// Migrations shown.
const MIGRATIONS: u32 = 12;

/// How long the thread that reads keys waits for one before it looks whether it is still wanted.
const KEY_WAIT: Duration = Duration::from_millis(200);

/// Shows the fleet until the operator has seen enough.
pub(crate) async fn run(mut from: Operator, args: &Top, clock: &Clock) -> anyhow::Result<()> {
    ensure!(std::io::stdout().is_terminal(), "top needs a terminal; `ballast hosts --output json` does not");
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, &mut from, seconds(args.period), clock).await;
    ratatui::try_restore()?;
    shown
}

async fn show(
    terminal: &mut DefaultTerminal,
    from: &mut Operator,
    period: Duration,
    clock: &Clock,
) -> anyhow::Result<()> {
    let mut keys = keys();
    let mut ticks = clock.interval(period);
    let mut picture = Picture::default();
    loop {
        tokio::select! {
            key = keys.recv() => match key {
                Some(Key::Quit) | None => return Ok(()),
                Some(Key::Redraw) => {}
            },
            () = ticks.tick() => look(from, &mut picture).await,
        }
        terminal.draw(|frame| view::draw(frame, &picture))?;
    }
}

/// Looks at the fleet. What cannot be seen keeps its last picture, with the reason.
async fn look(from: &mut Operator, picture: &mut Picture) {
    match ask(from).await {
        Ok(seen) => *picture = seen,
        Err(status) => picture.trouble = Some(in_words(&status)),
    }
}

async fn ask(from: &mut Operator) -> Result<Picture, tonic::Status> {
    let hosts = from.list_hosts(v1::ListHostsRequest {}).await?.into_inner();
    let migrations = v1::ListMigrationsRequest { limit_count: MIGRATIONS, running_only: false };
    let migrations = from.list_migrations(migrations).await?.into_inner().migrations;
    let decisions = v1::ListDecisionsRequest { limit_count: DECISIONS, include_empty: false };
    let decisions = from.list_decisions(decisions).await?.into_inner().decisions;
    Ok(Picture::new(&hosts, &migrations, &decisions))
}

enum Key {
    Quit,
    Redraw,
}

/// Reads keys on a thread of its own, for the terminal has no asynchronous way; it ends when nobody listens any more.
fn keys() -> mpsc::Receiver<Key> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            match next_key() {
                Ok(Some(key)) => {
                    if sender.blocking_send(key).is_err() {
                        return;
                    }
                }
                Ok(None) => {}
                Err(_) => return,
            }
        }
    });
    receiver
}

fn next_key() -> std::io::Result<Option<Key>> {
    if !event::poll(KEY_WAIT)? {
        return Ok(None);
    }
    Ok(match event::read()? {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            let interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
            (interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)).then_some(Key::Quit)
        }
        Event::Resize(..) => Some(Key::Redraw),
        _ => None,
    })
}
