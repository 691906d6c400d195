//! What is written down about hosts and vms while time passes, and the measures of quality that come of it.
//!
//! A state counts from its moment to the next one that is written down; of two at the same moment the later one counts.

/// The states of one host so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostRecord {
    at: f64,
    is_active: bool,
    is_short: bool,
    /// Whether the state before the present one was active; before all of them a host counts as active.
    was_active: bool,
    /// Seconds of being active.
    pub(super) active: f64,
    /// Of these, seconds in which it gave less than was asked for.
    pub(super) short: f64,
    /// Times it went from active to not active.
    pub(super) shutdowns: u32,
}

impl HostRecord {
    pub(super) const NEW: Self =
        Self { at: -1.0, is_active: false, is_short: false, was_active: true, active: 0.0, short: 0.0, shutdowns: 0 };

    /// True where anything was written down.
    pub(super) fn is_begun(&self) -> bool {
        self.at >= 0.0
    }

    /// Writes down a state: MIPS given and asked for.
    pub(super) fn write(&mut self, at: f64, given: f64, asked: f64) {
        if at > self.at {
            self.settle(at);
        }
        self.at = at;
        self.is_active = given > 0.0;
        self.is_short = given < asked;
    }

    /// Counts the present state until `now`.
    fn settle(&mut self, now: f64) {
        if self.at < 0.0 {
            return;
        }
        if self.is_active {
            self.active += now - self.at;
            if self.is_short {
                self.short += now - self.at;
            }
        } else if self.was_active {
            self.shutdowns += 1;
        }
        self.was_active = self.is_active;
    }

    /// Counts the last state, which lasts no time.
    pub(super) fn close(&mut self) {
        self.settle(self.at);
    }
}

/// The states of one vm so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct VmRecord {
    at: f64,
    given_now: f64,
    asked_now: f64,
    is_migrating: bool,
    /// MIPS times seconds that it was given.
    pub(super) given: f64,
    /// MIPS times seconds that it asked for.
    pub(super) asked: f64,
    /// Of these, what it was not given.
    pub(super) missed: f64,
    /// Of these, what it was not given while it migrated.
    pub(super) missed_migrating: f64,
}

impl VmRecord {
    pub(super) const NEW: Self = Self {
        at: -1.0,
        given_now: 0.0,
        asked_now: 0.0,
        is_migrating: false,
        given: 0.0,
        asked: 0.0,
        missed: 0.0,
        missed_migrating: 0.0,
    };

    /// Writes down a state: MIPS given and asked for, and whether it migrates.
    pub(super) fn write(&mut self, at: f64, given: f64, asked: f64, is_migrating: bool) {
        if at > self.at && self.at >= 0.0 {
            let seconds = at - self.at;
            self.given += self.given_now * seconds;
            self.asked += self.asked_now * seconds;
            if self.given_now < self.asked_now {
                let missed = (self.asked_now - self.given_now) * seconds;
                self.missed += missed;
                if self.is_migrating {
                    self.missed_migrating += missed;
                }
            }
        }
        (self.at, self.given_now, self.asked_now, self.is_migrating) = (at, given, asked, is_migrating);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_short_only_for_as_long_as_its_state_lasts() {
        let mut host = HostRecord::NEW;
        host.write(300.0, 10.0, 20.0);
        host.write(300.0, 10.0, 10.0);
        host.write(310.0, 10.0, 11.0);
        host.write(330.0, 0.0, 0.0);
        host.write(600.0, 0.0, 0.0);
        host.close();
        assert_eq!((host.active, host.short, host.shutdowns), (30.0, 20.0, 1));
    }

    #[test]
    fn a_host_that_is_never_used_counts_as_shut_down_once() {
        let mut host = HostRecord::NEW;
        host.write(300.0, 0.0, 0.0);
        host.close();
        assert_eq!((host.active, host.shutdowns), (0.0, 1));
    }

    #[test]
    fn a_vm_misses_what_it_asked_for_and_was_not_given() {
        let mut vm = VmRecord::NEW;
        vm.write(300.0, 10.0, 10.0, false);
        vm.write(300.0, 9.0, 10.0, true);
        vm.write(310.0, 5.0, 10.0, false);
        vm.write(330.0, 10.0, 10.0, false);
        assert_eq!((vm.given, vm.asked, vm.missed, vm.missed_migrating), (190.0, 300.0, 110.0, 10.0));
    }
}
