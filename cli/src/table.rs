//! Columns for people: as wide as what is in them, figures to the right, nothing cut.

use std::io::{self, Write};

/// Writes a table with a head. A column whose name begins with `>` is aligned to the right.
pub(crate) fn write(out: &mut dyn Write, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let names: Vec<&str> = head.iter().map(|name| name.trim_start_matches('>')).collect();
    let widths: Vec<usize> = names.iter().enumerate().map(|(column, name)| width(rows, column, name)).collect();
    line(out, head, &widths, names.iter().copied())?;
    rows.iter().try_for_each(|row| line(out, head, &widths, row.iter().map(String::as_str)))
}

fn width(rows: &[Vec<String>], column: usize, name: &str) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
    cells.chain([name.chars().count()]).max().unwrap_or(0)
}

fn line<'c>(
    out: &mut dyn Write,
    head: &[&str],
    widths: &[usize],
    cells: impl Iterator<Item = &'c str>,
) -> io::Result<()> {
    let mut text = String::new();
    for ((name, width), cell) in head.iter().zip(widths).zip(cells) {
        let cell = if name.starts_with('>') { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
        text.push_str(&cell);
        text.push_str("  ");
    }
    writeln!(out, "{}", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut out = Vec::new();
        let rows = [vec!["kvm-1".to_owned(), "7".to_owned()], vec!["a".to_owned(), "12345".to_owned()]];
        write(&mut out, &["HOST", ">VMS"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "HOST     VMS\nkvm-1      7\na      12345\n");
    }
}
