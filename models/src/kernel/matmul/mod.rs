//! The two products everything here is made of: a packed matrix times a panel, and a sum of panels times panels.

mod multiply;
mod outer;
mod pack;

pub(super) use multiply::{accumulate, multiply};
#[cfg(test)]
pub(super) use outer::OUTER_RIGHT;
pub(super) use outer::{OUTER_LEFT, Panels, outer, outer_scratch};
pub(super) use pack::Packed;
