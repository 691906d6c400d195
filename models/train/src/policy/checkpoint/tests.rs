//! A run that is cut off and taken up again is the run that nobody disturbed, or it is refused with the reason.

use std::{fs, io};

use super::super::{
    PolicyArgs,
    cells::Days,
    run,
    tests::{args, days, numbers},
    trial::Trial,
};
use super::*;
use crate::policy::numbers::Numbers;

/// Takes lines until one begins with `turn`, as a process that is killed there.
struct Killed(Vec<u8>);

impl io::Write for Killed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        let is_over = self.0.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"turn "));
        if is_over { Err(io::Error::other("killed")) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn longer() -> Numbers {
    Numbers { turns: 4, ..numbers() }
}

#[test]
fn a_run_that_was_killed_goes_on_and_ends_in_the_same_bytes() {
    let folder = days();
    let whole = PolicyArgs { numbers: longer(), ..args(folder.path(), "whole") };
    run(&whole, &mut Vec::new()).unwrap();
    let checkpoint = Some(folder.path().join("run.checkpoint"));
    let cut = PolicyArgs { checkpoint, numbers: longer(), ..args(folder.path(), "cut") };
    run(&cut, &mut Killed(Vec::new())).unwrap_err();
    assert!(!cut.out.exists(), "the last turn was not over");
    let mut told = Vec::new();
    run(&PolicyArgs { resume: true, ..cut.clone() }, &mut told).unwrap();
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("run.checkpoint: going on after turn 3\n"), "{told}");
    assert_eq!(fs::read(&whole.out).unwrap(), fs::read(&cut.out).unwrap());
}

#[test]
fn what_a_checkpoint_holds_is_all_that_the_turns_to_come_depend_on() {
    let folder = days();
    let days = Days::read(folder.path(), &["20110303".into()]).unwrap();
    let (path, device, asked) = (folder.path().join("run.checkpoint"), Device::flex(), Vec::new());
    let mut run = Run::new(Training::new(&longer(), None, &device));
    let trial = Trial::new(&days, 2).unwrap();
    for _ in 0..2 {
        let error = run.turn(&longer(), &days).unwrap();
        run.try_out(&trial, error, &mut Vec::new()).unwrap();
    }
    save(&path, &run, &asked).unwrap();
    let mut again = load(&path, &asked, &device).unwrap().unwrap();
    for run in [&mut run, &mut again] {
        run.turn(&longer(), &days).unwrap();
    }
    let all = |run: &Run| {
        let Training { replay, seen, rng, steps, warm_up, .. } = &run.training;
        let best = run.best.as_ref().map(|best| (best.outcome, best.ensemble.clone(), best.turns));
        let weights: Vec<f64> = replay.iter().flat_map(|one| one.weights().to_vec()).collect();
        (run.training.ensemble(), best, seen.clone(), rng.clone(), (run.turns, *steps, *warm_up), weights)
    };
    assert_eq!(all(&run), all(&again));
}

#[test]
fn a_checkpoint_of_another_run_is_refused_with_what_differs() {
    let folder = days();
    let path = folder.path().join("run.checkpoint");
    let first = PolicyArgs { checkpoint: Some(path.clone()), ..args(folder.path(), "first") };
    let refused = |args: &PolicyArgs| run(args, &mut Vec::new()).unwrap_err().to_string();
    let error = refused(&PolicyArgs { resume: true, ..first.clone() });
    assert_eq!(error, format!("--resume: there is no checkpoint {}", path.display()));
    run(&first, &mut Vec::new()).unwrap();
    let error = refused(&PolicyArgs { numbers: Numbers { seed: 9, rate: 2e-3, ..numbers() }, ..first.clone() });
    let wanted = "a checkpoint of another run; remove it to begin anew\n rate is 0.001 there, and 0.002 is asked for\n seed is 1 there, and 9 is asked for";
    assert!(error.ends_with(wanted), "{error}");
    fs::copy(folder.path().join("20110403.csv.gz"), folder.path().join("20110303.csv.gz")).unwrap();
    let error = refused(&first);
    assert!(error.contains("\n data is ") && !error.contains("seed"), "{error}");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(refused(&first).contains("the checkpoint is damaged"));
}

#[test]
fn a_question_that_many_share_is_kept_once() {
    let (mut questions, one) = (Questions::default(), super::super::tests::step(0).asked);
    let other = Arc::new(Question::clone(&one));
    assert_eq!([&one, &one, &other].map(|question| questions.place(question)), [0, 0, 1]);
    assert_eq!(questions.kept.len(), 2);
}
