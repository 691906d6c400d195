//! `ballast`, the operator's tool: thin, each command one or two calls of the scheduler's `Operator` service, or a call
//! into the crate that does the work.
//!
//! Answers go to a writer that is handed in; errors are one line on standard error. Exit status: 0 done, 1 it could not
//! be done, 2 wrong usage, 3 what a plan was asked for is infeasible.

#![forbid(unsafe_code)]

use std::{
    error::Error as _,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context as _;
use ballast_daemon::clock::Clock;
use clap::Parser as _;

pub mod args;
pub mod audit;
pub mod certs;
pub mod client;
mod commands;
pub mod demo;
pub mod history;
pub mod offline;
pub mod plan;
pub mod replay;
pub mod score;
mod show;
mod table;
mod top;
mod watch;
pub mod workload;

use args::{Args, Ask, Command, ForecastArgs};

/// Reads the arguments of this process, does what they say, and tells how it went.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = io::stdout().lock();
    match run(args, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let mut complaints = io::stderr().lock();
            // Where even standard error is closed, nobody is left to be told.
            let _told = writeln!(complaints, "ballast: {}", one_line(&error));
            error.downcast_ref::<plan::Stop>().map_or(ExitCode::FAILURE, plan::Stop::status)
        }
    }
}

/// Does what `args` say; answers go to `out`.
///
/// # Errors
/// Whatever kept it from being done, with its causes.
pub fn run(args: Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(dispatch(args, out))
}

async fn dispatch(args: Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let Args { connection, output, command } = args;
    match command {
        Command::Demo(demo) => demo::run(&demo, output, out).await,
        Command::Replay(args) => replay::run(&args, output, out),
        Command::History(args) => history::run(&args, out),
        Command::Score(args) => score::run(&args, output, out),
        Command::Plan(args) => plan::run(&args, out),
        Command::Certs(args) => certs::run(&args, output, &Clock::system(), out),
        Command::Audit(args) => audit::run(&args, output, out),
        Command::Top(top) => top::run(client::connect(&connection).await?, &top, &Clock::system()).await,
        Command::Watch => watch::run(client::connect(&connection).await?, output, out).await,
        Command::Forecast(ForecastArgs { vm: None, offline }) => offline::run(&offline, out),
        Command::Forecast(ForecastArgs { vm: Some(vm), .. }) => {
            let answer = commands::ask(client::connect(&connection).await?, Ask::Forecast { vm }).await?;
            show::write(&answer, output, out)
        }
        Command::Ask(ask) => {
            let answer = commands::ask(client::connect(&connection).await?, ask).await?;
            show::write(&answer, output, out)
        }
    }
}

/// The error with its causes in one line; a cause that repeats what was said already is left out.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let said = client::in_words(cause).replace(['\n', '\r'], " ");
        if line.contains(&said) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&said);
    }
    line
}

/// True where whoever read our output has had enough, as `head` does.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    // A status carries its transport's error as a source that `chain` walks; only our own writes count.
    error.chain().any(closed) && error.downcast_ref::<tonic::Status>().is_none_or(|status| status.source().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_that_says_nothing_twice() {
        let error = anyhow::anyhow!("connection refused\nreally").context("cannot reach it: connection refused really");
        assert_eq!(one_line(&error), "cannot reach it: connection refused really");
    }

    #[test]
    fn a_status_tells_its_kind_and_reason() {
        let error = anyhow::Error::new(tonic::Status::not_found("vm web-1 is not known"));
        assert_eq!(one_line(&error), "not found: vm web-1 is not known");
    }

    #[test]
    fn a_reader_that_has_had_enough_is_no_error() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&anyhow::Error::new(closed).context("write")));
        assert!(!is_closed_pipe(&anyhow::anyhow!("other")));
    }
}
