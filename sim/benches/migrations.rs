//! The migration model against measured migrations: `cargo bench -p ballast-sim --bench migrations` prints how far off it is.

// A program for people.
#![allow(clippy::print_stdout)]

use ballast_sim::{measured, trace::TraceError};

fn main() -> Result<(), TraceError> {
    println!("| set-up | GiB | judged | median s | model s | median error | RAM / bandwidth errs by |");
    println!("|---|---|---|---|---|---|---|");
    for row in measured::openstack()? {
        println!(
            "| {} | {} | {} | {:.1} | {:.1} | {:.1} % | {:.0} % |",
            row.set_up,
            row.gib,
            row.judged,
            row.median_s,
            row.model_s,
            row.error * 100.0,
            row.thumb_error * 100.0
        );
    }
    Ok(())
}
