//! How far the scoreboard is: one line on standard error, where that is a terminal.

use std::io::{self, IsTerminal as _, Write as _};

/// Cells of the bar.
const CELLS: usize = 30;

/// The line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    is_shown: bool,
}

impl Progress {
    /// Shown where somebody looks.
    pub(super) fn on_terminal() -> Self {
        Self { is_shown: io::stderr().is_terminal() }
    }

    /// So many of so many are done.
    pub(super) fn tell(self, done: usize, total: usize) {
        if self.is_shown {
            // A terminal that is gone needs no progress.
            let _told = write!(io::stderr().lock(), "\r{}", line(done, total));
        }
    }

    /// Clears the line.
    pub(super) fn end(self) {
        if self.is_shown {
            let _told = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn line(done: usize, total: usize) -> String {
    let filled = done * CELLS / total.max(1);
    format!("[{}{}] {done} of {total}", "#".repeat(filled), ".".repeat(CELLS.saturating_sub(filled)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_from_left_to_right() {
        assert_eq!(line(0, 4), format!("[{}] 0 of 4", ".".repeat(30)));
        assert_eq!(line(2, 4), format!("[{}{}] 2 of 4", "#".repeat(15), ".".repeat(15)));
        assert_eq!(line(4, 4), format!("[{}] 4 of 4", "#".repeat(30)));
        assert_eq!(line(0, 0), format!("[{}] 0 of 0", ".".repeat(30)));
    }
}
