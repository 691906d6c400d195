//! The life of one live migration: what its hypervisor reports goes in, what is to be done comes out.
//!
//! ```text
//!            start              iteration 1          suspended            returned
//!   Queued ─────────▶ Preparing ───────────▶ Copying ──────────▶ Switching ─────────▶ Verifying ──located──▶ Ended
//!      │ cancel           │ timeout, cancel     │ stall, timeout, cancel    │ 60 s           ▲  │ cannot tell
//!      ▼                  ▼                     ▼                           │                └──┘ ask again, later
//!    Ended              abort, wait for the call to return, at most 40 s    └──────▶ Verifying
//! ```
//!
//! The agent's migration task drives it and performs its effects. How the call returned decides nothing: the end state
//! is where the vm is found on both hosts, and while that cannot be told nothing is done but asking again.
//! No second `Begin` and no second `Finish` ever leave it.

mod stall;
#[cfg(test)]
mod tests;
mod whereabouts;

use std::time::Duration;

use crate::{
    command::{MigrationLimits, Progress},
    id::{CommandId, HostId, VmId},
    outcome::{Ending, Outcome, Stage, StageTimes},
    units::{Bytes, Timestamp, seconds},
};
use stall::StallDetector;
pub use whereabouts::Presence;
use whereabouts::{Doubt, Found, judge, pause_before_look};

/// A low mark older than this makes a copy stalled and earns it a longer pause (KubeVirt's figure).
const STALL_WINDOW: Duration = Duration::from_secs(40);
/// After an unsuccessful longer pause the next is this much longer.
const DOWNTIME_STEP: f64 = 1.5;
/// The switch-over lasts half a second; when nothing has been copied for a minute since and the call has not returned, the vm is
/// looked for. A vm that somebody paused in flight looks just like one that is switched over, and its copy may go on for long.
const SWITCHING_PATIENCE: Duration = Duration::from_secs(60);
/// An abort is repeated after this, for it may have been refused while the job was not yet there.
const ABORT_REPEAT: Duration = Duration::from_secs(10);
/// How often an abort is tried before the vm is looked for without the call having returned.
const ABORTS: u32 = 4;
/// An unanswered look is repeated after this.
const LOCATE_PATIENCE: Duration = Duration::from_secs(30);

/// Which migration it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Ticket {
    /// The command that ordered it.
    pub id: CommandId,
    /// The vm that moves.
    pub vm: VmId,
    /// Where it runs.
    pub source: HostId,
    /// Where it is to run.
    pub destination: HostId,
    /// Bounds to stay within.
    pub limits: MigrationLimits,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// It may begin.
    Start,
    /// A watch on a job that is under way was opened anew.
    Watching,
    /// A pass over memory begins; the first ends the preparation.
    Iteration(u64),
    /// How far the copy is.
    Progress(Progress),
    /// The vm is paused at the source for the switch-over.
    Suspended,
    /// Final figures of the hypervisor.
    Statistics {
        /// Pause of the vm.
        downtime: Option<Duration>,
        /// Data copied.
        copied: Bytes,
        /// Passes over memory.
        iterations: u64,
    },
    /// The hypervisor's call returned, with its words where it failed.
    Returned(Result<(), String>),
    /// Time passed.
    Tick,
    /// Somebody wants it stopped.
    CancelRequested {
        /// Who and why.
        reason: String,
    },
    /// Both hosts were asked where the vm is.
    Located {
        /// At the source.
        source: Presence,
        /// At the destination.
        destination: Presence,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Call the hypervisor's migration.
    Begin,
    /// Stop the migration; the vm goes on at its source.
    Abort {
        /// Why.
        reason: String,
    },
    /// Allow a pause of this length at the switch-over.
    AllowDowntime(Duration),
    /// Ask both hosts where the vm is and answer with [`Input::Located`].
    Locate,
    /// Say that nobody can tell yet where the vm runs: said once, then it is asked for again and again.
    Doubt {
        /// What is known.
        reason: String,
    },
    /// Say that a person has to look: it could not be told for so long that it will not be by itself. Said once.
    Plead {
        /// What is known, and what that person can do.
        reason: String,
    },
    /// It is over.
    Finish(Outcome),
}

/// Where it stands, with what only that state needs.
#[derive(Debug, Clone, PartialEq)]
enum State {
    Queued,
    Preparing,
    Copying { stall: StallDetector, downtime: Duration, relaxed_at: Timestamp },
    Switching { copied: Bytes, copied_at: Timestamp },
    Verifying { looks: u32, next_look: Timestamp, doubt: Doubt },
    Ended,
}

/// A stop that was asked for or that a bound demanded.
#[derive(Debug, Clone, PartialEq)]
struct Stop {
    reason: String,
    requested: bool,
    aborts: u32,
    last_abort: Timestamp,
}

/// One live migration.
#[derive(Debug, Clone, PartialEq)]
pub struct Migration {
    ticket: Ticket,
    state: State,
    began_at: Timestamp,
    entered_at: Timestamp,
    copy_began_at: Option<Timestamp>,
    times: StageTimes,
    stop: Option<Stop>,
    failure: Option<String>,
    /// The last look found the vm on neither host.
    seen_gone: bool,
    /// It was seen to be switched over: from then on its destination may run it, whatever its source does.
    switched: bool,
    progress: Progress,
    downtime: Option<Duration>,
}

impl Migration {
    /// A migration that was ordered and waits for [`Input::Start`].
    pub fn new(ticket: Ticket, now: Timestamp) -> Self {
        Self {
            ticket,
            state: State::Queued,
            began_at: now,
            entered_at: now,
            copy_began_at: None,
            times: StageTimes::default(),
            stop: None,
            failure: None,
            seen_gone: false,
            switched: false,
            progress: Progress::default(),
            downtime: None,
        }
    }

    /// A migration that an earlier life of the agent accepted: the vm is looked for first, nothing is begun.
    pub fn recovered(ticket: Ticket, began_at: Timestamp, now: Timestamp) -> Self {
        let mut migration = Self::new(ticket, began_at);
        migration.failure = Some("the agent was restarted while it was under way".to_owned());
        migration.enter(State::Verifying { looks: 0, next_look: now, doubt: Doubt::default() }, now);
        migration
    }

    /// Which migration it is.
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// The stage it is in, as people see it.
    pub fn stage(&self) -> Stage {
        match self.state {
            State::Queued => Stage::Queued,
            State::Preparing => Stage::Preparation,
            State::Copying { .. } => Stage::Migration,
            State::Switching { .. } | State::Verifying { .. } => Stage::Switching,
            State::Ended => Stage::Ended,
        }
    }

    /// How far it has come.
    pub fn progress(&self, now: Timestamp) -> Progress {
        Progress { stage: self.stage(), elapsed: now.since(self.began_at), ..self.progress }
    }

    /// True once its outcome is out.
    pub fn is_over(&self) -> bool {
        self.state == State::Ended
    }

    /// True while the vm is looked for.
    pub fn is_verifying(&self) -> bool {
        matches!(self.state, State::Verifying { .. })
    }

    /// Takes what happened at `now` and says what is to be done. What does not fit the state changes nothing: late
    /// and repeated events are expected.
    pub fn on(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        if self.is_over() {
            return Vec::new();
        }
        match input {
            Input::Start => self.start(now),
            Input::Watching => self.watch(now),
            Input::Iteration(number) => self.iterate(number, now),
            Input::Progress(progress) => self.advance(progress, now),
            Input::Suspended => self.suspend(now),
            Input::Statistics { downtime, copied, iterations } => self.keep(downtime, copied, iterations),
            Input::Returned(result) => self.returned(result, now),
            Input::Tick => self.tick(now),
            Input::CancelRequested { reason } => self.cancel(reason, now),
            Input::Located { source, destination } => self.located(source, destination, now),
        }
    }

    fn start(&mut self, now: Timestamp) -> Vec<Effect> {
        if self.state != State::Queued {
            return Vec::new();
        }
        self.began_at = now;
        self.enter(State::Preparing, now);
        vec![Effect::Begin]
    }

    fn watch(&mut self, now: Timestamp) -> Vec<Effect> {
        if self.is_verifying() {
            self.enter(self.copying(now), now);
        }
        Vec::new()
    }

    fn copying(&self, now: Timestamp) -> State {
        let limits = &self.ticket.limits;
        let window = STALL_WINDOW.min(limits.stall_timeout / 2);
        let stall = StallDetector::new(window, now);
        State::Copying { stall, downtime: limits.downtime_start, relaxed_at: now }
    }

    fn iterate(&mut self, number: u64, now: Timestamp) -> Vec<Effect> {
        self.progress.iteration = self.progress.iteration.max(number);
        if self.state == State::Preparing {
            self.copy_began_at = Some(now);
            self.enter(self.copying(now), now);
        }
        Vec::new()
    }

    fn advance(&mut self, progress: Progress, now: Timestamp) -> Vec<Effect> {
        let iteration = self.progress.iteration.max(progress.iteration);
        self.progress = Progress { iteration, ..progress };
        let reading = self.progress;
        match &mut self.state {
            State::Copying { stall, .. } => {
                stall.observe(&reading, now);
                return self.unstall(now);
            }
            State::Switching { copied, copied_at } if reading.copied > *copied => {
                (*copied, *copied_at) = (reading.copied, now);
            }
            _ => {}
        }
        Vec::new()
    }

    /// Relaxes the pause of a stalled copy step by step, and gives the copy up when that did not help either.
    fn unstall(&mut self, now: Timestamp) -> Vec<Effect> {
        let limits = self.ticket.limits;
        let needed = expected_downtime(&self.progress);
        let State::Copying { stall, downtime, relaxed_at } = &mut self.state else { return Vec::new() };
        if self.stop.is_some() || !stall.is_stalled(now) {
            return Vec::new();
        }
        if stall.idle_for(now) >= limits.stall_timeout {
            let reason = format!("no progress for {:?}, {} left", stall.idle_for(now), self.progress.remaining);
            return self.abort(reason, false, now);
        }
        let rested = now.since(*relaxed_at) >= STALL_WINDOW.min(limits.stall_timeout / 4);
        if *downtime >= limits.downtime_max || !rested {
            return Vec::new();
        }
        *downtime = downtime.mul_f64(DOWNTIME_STEP).max(needed).min(limits.downtime_max);
        *relaxed_at = now;
        vec![Effect::AllowDowntime(*downtime)]
    }

    fn suspend(&mut self, now: Timestamp) -> Vec<Effect> {
        if matches!(self.state, State::Preparing | State::Copying { .. }) {
            self.switched = true;
            self.enter(State::Switching { copied: self.progress.copied, copied_at: now }, now);
        }
        Vec::new()
    }

    fn keep(&mut self, downtime: Option<Duration>, copied: Bytes, iterations: u64) -> Vec<Effect> {
        self.downtime = downtime.or(self.downtime);
        self.progress.copied = self.progress.copied.max(copied);
        self.progress.iteration = self.progress.iteration.max(iterations);
        Vec::new()
    }

    fn returned(&mut self, result: Result<(), String>, now: Timestamp) -> Vec<Effect> {
        if matches!(self.state, State::Queued | State::Verifying { .. }) {
            return Vec::new();
        }
        self.failure = result.err();
        self.verify(now)
    }

    fn verify(&mut self, now: Timestamp) -> Vec<Effect> {
        self.enter(State::Verifying { looks: 1, next_look: now.after(LOCATE_PATIENCE), doubt: Doubt::default() }, now);
        vec![Effect::Locate]
    }

    fn cancel(&mut self, reason: String, now: Timestamp) -> Vec<Effect> {
        match self.state {
            State::Queued => self.finish(Ending::Cancelled { reason }, now),
            State::Preparing | State::Copying { .. } => self.abort(reason, true, now),
            // Its vCPUs are stopped or the call is over: what became of it is found out, not forced.
            State::Switching { .. } | State::Verifying { .. } | State::Ended => Vec::new(),
        }
    }

    fn abort(&mut self, reason: String, requested: bool, now: Timestamp) -> Vec<Effect> {
        if self.stop.is_some() {
            return Vec::new();
        }
        self.stop = Some(Stop { reason: reason.clone(), requested, aborts: 1, last_abort: now });
        vec![Effect::Abort { reason }]
    }

    fn tick(&mut self, now: Timestamp) -> Vec<Effect> {
        match &self.state {
            State::Queued | State::Ended => Vec::new(),
            State::Preparing => self.watch_preparation(now),
            State::Copying { .. } => self.watch_copy(now),
            State::Switching { copied_at, .. } if now.since(*copied_at) >= SWITCHING_PATIENCE => self.verify(now),
            State::Switching { .. } => Vec::new(),
            State::Verifying { .. } => self.look_again(now),
        }
    }

    fn watch_preparation(&mut self, now: Timestamp) -> Vec<Effect> {
        let limit = self.ticket.limits.prepare_timeout;
        if self.stop.is_none() && now.since(self.entered_at) >= limit {
            return self.abort(format!("the destination was not ready within {limit:?}"), false, now);
        }
        self.repeat_abort(now)
    }

    fn watch_copy(&mut self, now: Timestamp) -> Vec<Effect> {
        let limit = self.ticket.limits.completion_timeout;
        let began = self.copy_began_at.unwrap_or(self.entered_at);
        if self.stop.is_none() && now.since(began) >= limit {
            return self.abort(format!("the copy was not done within {limit:?}"), false, now);
        }
        let mut effects = self.unstall(now);
        effects.extend(self.repeat_abort(now));
        effects
    }

    fn repeat_abort(&mut self, now: Timestamp) -> Vec<Effect> {
        let Some(stop) = &mut self.stop else { return Vec::new() };
        if now.since(stop.last_abort) < ABORT_REPEAT {
            return Vec::new();
        }
        if stop.aborts >= ABORTS {
            self.failure = Some("the migration did not stop when told to".to_owned());
            return self.verify(now);
        }
        stop.aborts += 1;
        stop.last_abort = now;
        vec![Effect::Abort { reason: stop.reason.clone() }]
    }

    fn look_again(&mut self, now: Timestamp) -> Vec<Effect> {
        let State::Verifying { looks, next_look, .. } = &mut self.state else { return Vec::new() };
        if now < *next_look {
            return Vec::new();
        }
        *looks += 1;
        *next_look = now.after(LOCATE_PATIENCE);
        vec![Effect::Locate]
    }

    fn located(&mut self, source: Presence, destination: Presence, now: Timestamp) -> Vec<Effect> {
        let State::Verifying { looks, next_look, .. } = &mut self.state else { return Vec::new() };
        *next_look = now.after(pause_before_look(*looks));
        let judged = judge(source, destination, self.switched);
        let seen_gone = std::mem::replace(&mut self.seen_gone, judged == Ok(Found::Nowhere));
        match judged {
            // A hypervisor that has just restarted may not list its vms yet: one look proves no loss.
            Ok(Found::Nowhere) if !seen_gone => Vec::new(),
            Ok(Found::Nowhere) => self.finish(Ending::VmGone, now),
            Ok(Found::Destination) => self.finish(Ending::Completed, now),
            Ok(Found::Source) => self.finish(self.stayed(), now),
            Err(reason) => self.doubt(reason, now),
        }
    }

    fn doubt(&mut self, reason: &'static str, now: Timestamp) -> Vec<Effect> {
        let waited = now.since(self.entered_at);
        let State::Verifying { doubt, .. } = &mut self.state else { return Vec::new() };
        doubt.say(reason, waited).into_iter().collect()
    }

    fn stayed(&self) -> Ending {
        let failure = self.failure.clone();
        match &self.stop {
            Some(stop) if stop.requested => Ending::Cancelled { reason: stop.reason.clone() },
            Some(stop) => Ending::Failed { reason: stop.reason.clone() },
            None => {
                let reason =
                    failure.unwrap_or_else(|| "the vm runs at its source although the call succeeded".to_owned());
                Ending::Failed { reason }
            }
        }
    }

    fn finish(&mut self, ending: Ending, now: Timestamp) -> Vec<Effect> {
        self.enter(State::Ended, now);
        vec![Effect::Finish(Outcome {
            id: self.ticket.id,
            vm: Some(self.ticket.vm),
            source: self.ticket.source.clone(),
            destination: Some(self.ticket.destination.clone()),
            ending,
            began_at: self.began_at,
            ended_at: now,
            stages: self.times,
            downtime: self.downtime,
            copied: self.progress.copied,
            iterations: self.progress.iteration,
        })]
    }

    /// Leaves a state, books the time spent in it, and enters the next.
    fn enter(&mut self, next: State, now: Timestamp) {
        let spent = now.since(self.entered_at);
        match self.state {
            State::Preparing => self.times.preparation += spent,
            State::Copying { .. } => self.times.migration += spent,
            State::Switching { .. } => self.times.switching += spent,
            State::Queued | State::Verifying { .. } | State::Ended => {}
        }
        self.state = next;
        self.entered_at = now;
    }
}

/// Pause that would end the copy now: what is left at the current rate, with a tenth of reserve.
fn expected_downtime(progress: &Progress) -> Duration {
    if progress.rate.get() > 0.0 {
        seconds(progress.remaining.as_f64() / progress.rate.get() * 1.1)
    } else {
        Duration::ZERO
    }
}
