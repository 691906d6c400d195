//! A vm that answers requests: how many come, how long they wait, and who gives up.
//!
//! Between two events requests come at a constant rate and take a constant mean of work. In-service time is processor
//! sharing; waiting in line follows Sakasegawa's approximation of the M/M/c queue (1977), and what overload leaves behind is
//! a backlog that is worked off first. Answer times are taken as exponential around their mean. Pure arithmetic: the world
//! says when time passes.

use std::{sync::Arc, time::Duration};

use ballast_core::units::seconds;

use crate::{demand::requests, ledger::Tally, scenario::Service};

/// Highest use at which the waiting-line formula is asked: above it the backlog says more than a steady state that is never
/// reached.
const BUSY_MAX: f64 = 0.98;

/// Points of the exponential distribution by which a mean answer time enters the percentiles.
const POINTS: usize = 10;

/// The requests of one vm.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    service: Arc<Service>,
    /// Requests per second, and core-seconds per request, now.
    rate: f64,
    work: f64,
    /// Core-seconds of requests that wait.
    backlog: f64,
    /// Cores it gets, and cores it could use if its host had them.
    served: f64,
    cores: f64,
}

/// What came of the requests of a span.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Answers {
    pub(crate) requests: f64,
    pub(crate) answered: f64,
}

impl Desk {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self { service, rate: 0.0, work: 0.0, backlog: 0.0, served: 0.0, cores: 0.0 }
    }

    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    /// Takes the requests of a slot; the cores it wants for them and for what waits, if that is to be gone within `step` seconds.
    pub(crate) fn want(&mut self, slot: f64, step: f64) -> f64 {
        (self.rate, self.work) = requests(&self.service, slot);
        self.rate * self.work + self.backlog / step.max(1.0)
    }

    /// It gets `served` cores of the `cores` that its vCPUs could use on this host now.
    pub(crate) fn serve(&mut self, served: f64, cores: f64) {
        (self.served, self.cores) = (served, cores);
    }

    /// Lets `span` pass; answer times go to `tally`.
    pub(crate) fn pass(&mut self, span: Duration, tally: &mut Tally) -> Answers {
        let time = span.as_secs_f64();
        let came = self.rate * time;
        if came <= 0.0 && self.backlog <= 0.0 {
            return Answers::default();
        }
        let patience = self.service.patience.as_secs_f64();
        let left = (self.backlog + (self.rate * self.work - self.served) * time).max(0.0);
        // Whoever would have to wait longer than they are willing to gives up.
        let bearable = self.served * patience;
        let given_up = (left - bearable).max(0.0) / self.work.max(f64::MIN_POSITIVE);
        let waited = f64::midpoint(self.backlog, left.min(bearable)) / self.served.max(f64::MIN_POSITIVE);
        self.backlog = left.min(bearable);
        let answered = (came - given_up).clamp(0.0, came);
        self.count(answered, waited.min(patience), tally);
        Answers { requests: came, answered }
    }

    /// Counts answers whose requests waited `waited` seconds behind a backlog.
    fn count(&self, answered: f64, waited: f64, tally: &mut Tally) {
        let mean = self.answer_time();
        for point in 0..POINTS {
            let level = (ballast_core::units::count(point) + 0.5) / ballast_core::units::count(POINTS);
            let time = waited - mean * (1.0 - level).ln();
            tally.latencies.add_weighted(seconds(time), answered / ballast_core::units::count(POINTS));
        }
    }

    /// Mean seconds from a request to its answer, backlog apart.
    fn answer_time(&self) -> f64 {
        let cores = self.cores.max(1e-6);
        let busy = (self.rate * self.work / cores).min(BUSY_MAX);
        // One request runs on one core at most; a starved host makes that a part of a core.
        let alone = self.work / cores.min(1.0);
        let line = busy.powf((2.0 * (cores + 1.0)).sqrt() - 1.0) / (1.0 - busy);
        alone + line * self.work / cores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk(rate: f32, work: f32) -> Desk {
        let service = Service { requests: vec![rate], work: vec![work], patience: Duration::from_secs(10) };
        let mut desk = Desk::new(Arc::new(service));
        desk.want(0.0, 10.0);
        desk
    }

    fn pass(desk: &mut Desk, served: f64, cores: f64, times: usize) -> (Answers, Tally) {
        let (mut sum, mut tally) = (Answers::default(), Tally::default());
        for _ in 0..times {
            desk.serve(served, cores);
            let one = desk.pass(Duration::from_secs(1), &mut tally);
            sum = Answers { requests: sum.requests + one.requests, answered: sum.answered + one.answered };
        }
        (sum, tally)
    }

    #[test]
    fn a_service_with_cores_to_spare_answers_in_the_time_of_its_work() {
        let (answers, tally) = pass(&mut desk(1.0, 0.2), 0.2, 8.0, 100);
        assert!((answers.answered - 100.0).abs() < 1e-9, "{answers:?}");
        let mean = tally.latencies.mean().as_secs_f64();
        assert!((0.17..0.21).contains(&mean), "{mean}");
    }

    #[test]
    fn the_waiting_line_agrees_with_the_single_server_queue() {
        // M/M/1 at 80 %: mean time in system 1 / (1 - 0.8) times the work.
        let mut one = desk(8.0, 0.1);
        one.serve(0.8, 1.0);
        assert!((one.answer_time() - 0.5).abs() < 1e-6, "{}", one.answer_time());
    }

    #[test]
    fn a_starved_service_keeps_its_askers_waiting_until_they_give_up() {
        let (answers, tally) = pass(&mut desk(10.0, 0.2), 1.0, 1.0, 200);
        let share = answers.answered / answers.requests;
        assert!((0.45..0.6).contains(&share), "half the work gets done: {share}");
        assert!(tally.latencies.percentile(0.95).unwrap() > Duration::from_secs(9));
    }

    #[test]
    fn a_backlog_is_worked_off_when_cores_come_back() {
        let mut one = desk(5.0, 0.2);
        pass(&mut one, 0.0, 4.0, 1);
        assert!(one.want(0.0, 10.0) >= 1.0);
        pass(&mut one, 4.0, 4.0, 5);
        assert_eq!(one.backlog, 0.0);
    }
}
