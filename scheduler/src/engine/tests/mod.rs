//! The engine as a whole, with scripted agents, a driven clock and a directory of its own; no network.

mod aftercare;
mod commands;
mod forecasts;
mod harness;
mod operators;
mod restart;
mod risk;
mod rounds;
mod telemetry;
mod trouble;
mod worth;
