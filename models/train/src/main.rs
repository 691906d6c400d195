//! `ballast-train`: offline training and judging of ballast's models.

fn main() {}
