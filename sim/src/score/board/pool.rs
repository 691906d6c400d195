//! Independent work on several threads, with its results in order.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use super::ScoreError;

/// Does `work` for every index below `number` on so many threads. What comes back is in the order of the indices, and the
/// error, where there is one, is that of the lowest index that failed: indices are taken in order and what was taken is
/// finished. After a failure nothing new is taken. `progress` is told how many are done.
pub(super) fn in_order<T: Send>(
    number: usize,
    threads: usize,
    progress: &(dyn Fn(usize) + Sync),
    work: &(dyn Fn(usize) -> Result<T, ScoreError> + Sync),
) -> Result<Vec<T>, ScoreError> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<T, ScoreError>)>> = Mutex::new(Vec::with_capacity(number));
    let turn = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= number {
                return;
            }
            let result = work(index);
            if result.is_err() {
                next.store(number, Ordering::Relaxed);
            }
            let mut done = held(&done);
            done.push((index, result));
            progress(done.len());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, number.max(1)) {
            scope.spawn(turn);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The results so far; a thread that panicked takes the whole scope with it, so that a poisoned lock is never read.
fn held<T>(done: &Mutex<T>) -> MutexGuard<'_, T> {
    done.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_number_of_threads() {
        let squares = |threads| in_order(50, threads, &|_| (), &|index| Ok(index * index));
        assert_eq!(squares(1), squares(7));
        assert_eq!(squares(3).unwrap()[49], 49 * 49);
        assert_eq!(in_order(0, 4, &|_| (), &|index| Ok(index)), Ok(vec![]));
    }

    #[test]
    fn the_error_is_that_of_the_first_that_failed() {
        let failed = |index: usize| ScoreError::Failed { job: index.to_string(), reason: String::new() };
        for threads in [1, 2, 8] {
            let work = |index| if index % 10 == 7 { Err(failed(index)) } else { Ok(index) };
            assert_eq!(in_order(100, threads, &|_| (), &work), Err(failed(7)));
        }
    }
}
