//! Who is watched and who is left alone: a part of the fleet's state.

use std::collections::BTreeMap;

use crate::{id::HostId, id::VmId, sample::Batch, units::Timestamp};

use super::{Care, Cares, LEFT_ALONE_FOR, Moved, WATCHED_FOR, Watch};

/// All that is kept of vms that have moved.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Memory {
    watched: BTreeMap<VmId, Watch>,
    /// By vm, when it had been moved back.
    left_alone: BTreeMap<VmId, Timestamp>,
}

impl Memory {
    /// A vm has moved: it is watched, or, where that was its way back, left alone. A move that somebody orders ends an
    /// earlier watch.
    pub(crate) fn moved(&mut self, moved: &Moved) {
        self.watched.remove(&moved.vm);
        if moved.back {
            self.left_alone.insert(moved.vm, moved.at);
        } else if !self.left_alone.contains_key(&moved.vm) {
            self.watched.insert(moved.vm, Watch::new(moved.clone()));
        }
    }

    /// Takes a batch, and forgets what is over.
    pub(crate) fn batch(&mut self, batch: &Batch, now: Timestamp) {
        self.watched.retain(|_, watch| now.since(watch.moved.at) < WATCHED_FOR);
        self.left_alone.retain(|_, at| now.since(*at) < LEFT_ALONE_FOR);
        let here = self.watched.values_mut().filter(|watch| watch.moved.to == batch.host);
        here.for_each(|watch| watch.observe(batch, now));
    }

    /// What a snapshot shows at `now`; `place` tells where a vm is, for one that has gone elsewhere is not watched.
    pub(crate) fn at(&self, now: Timestamp, place: impl Fn(VmId) -> Option<HostId>) -> Cares {
        let counts = |watch: &Watch| {
            now.since(watch.moved.at) < WATCHED_FOR && place(watch.moved.vm).as_ref() == Some(&watch.moved.to)
        };
        let watched = self
            .watched
            .iter()
            .filter(|(_, watch)| counts(watch))
            .map(|(vm, watch)| (*vm, Care::Watched { from: watch.moved.from.clone(), worse: watch.verdict() }));
        let alone = self.left_alone.iter().filter(|(_, at)| now.since(**at) < LEFT_ALONE_FOR);
        watched.chain(alone.map(|(vm, at)| (*vm, Care::LeftAlone { until: at.after(LEFT_ALONE_FOR) }))).collect()
    }
}
