//! The command line: what an operator types. Everything is in the library, so that tests can read what it prints.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ballast::main()
}
