//! The two products everything here is made of: a packed matrix times a panel, and a sum of panels times panels.

mod multiply;
mod outer;
mod pack;

pub(super) use multiply::{accumulate, multiply};
pub(super) use outer::{OUTER_LEFT, OUTER_RIGHT, Panels, outer};
pub(super) use pack::Packed;
