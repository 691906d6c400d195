//! Plain CSV with a header and without quotes, read so that every complaint names its line and column.

use std::io::Read;

use super::TraceError;

/// Most that a packed recording may unpack to: far above any real one, far below what would hurt.
const UNPACKED_MAX: u64 = 256 << 20;

/// How a gzip file begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The text of a file, unpacked where it is packed by gzip.
///
/// # Errors
/// [`TraceError`] where it cannot be unpacked, unpacks to more than 256 MiB, or is no text.
pub fn text_of(file: &str, bytes: &[u8]) -> Result<String, TraceError> {
    let wrong = |what: String| TraceError { file: file.into(), line: 0, column: "-".into(), what };
    if !bytes.starts_with(&GZIP) {
        return String::from_utf8(bytes.to_vec()).map_err(|error| wrong(format!("is no text: {error}")));
    }
    let mut text = String::new();
    let outcome = flate2::read::MultiGzDecoder::new(bytes).take(UNPACKED_MAX + 1).read_to_string(&mut text);
    outcome.map_err(|error| wrong(format!("cannot be unpacked: {error}")))?;
    if text.len() as u64 > UNPACKED_MAX {
        return Err(wrong(format!("unpacks to more than {UNPACKED_MAX} bytes")));
    }
    Ok(text)
}

/// A table: its header, and its rows one by one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    file: &'a str,
    header: &'a str,
    body: &'a str,
}

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Row<'a> {
    table: Table<'a>,
    line: usize,
    fields: Vec<&'a str>,
}

impl<'a> Table<'a> {
    /// A table whose header begins with the columns `expected`.
    pub(crate) fn new(file: &'a str, text: &'a str, expected: &[&str]) -> Result<Self, TraceError> {
        let (header, body) = text.split_once('\n').unwrap_or((text, ""));
        let table = Self { file, header: header.trim_end_matches('\r'), body };
        let found: Vec<&str> = table.header.split(',').collect();
        for (index, name) in expected.iter().enumerate() {
            if found.get(index) != Some(name) {
                let what = format!("{:?} found, the header {name:?} is needed", found.get(index).unwrap_or(&""));
                return Err(table.error(1, (index + 1).to_string(), what));
            }
        }
        Ok(table)
    }

    /// Index of the column of that name.
    pub(crate) fn column(self, name: &str) -> Result<usize, TraceError> {
        let found = self.header.split(',').position(|column| column.trim() == name);
        found.ok_or_else(|| self.error(1, name, "the column is missing"))
    }

    /// Its rows, empty lines left out; one with too few or too many fields is an error.
    pub(crate) fn rows(self) -> impl Iterator<Item = Result<Row<'a>, TraceError>> {
        let width = self.header.split(',').count();
        let lines = self.body.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines.map(move |(index, line)| {
            let fields: Vec<&str> = line.split(',').collect();
            if fields.len() == width {
                return Ok(Row { table: self, line: index + 2, fields });
            }
            let what = format!("{} fields found, {width} are needed", fields.len());
            Err(self.error(index + 2, fields.len().to_string(), what))
        })
    }

    /// A complaint about the table as a whole.
    pub(crate) fn error(&self, line: usize, column: impl Into<String>, what: impl Into<String>) -> TraceError {
        TraceError { file: self.file.into(), line, column: column.into(), what: what.into() }
    }
}

impl<'a> Row<'a> {
    /// The text of a field; the row's width was checked, so every index of the header is there.
    pub(crate) fn text(&self, index: usize) -> &'a str {
        self.fields.get(index).copied().unwrap_or_default().trim()
    }

    /// How many fields it has.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// A field that is a finite number of at least zero.
    pub(crate) fn number(&self, index: usize) -> Result<f32, TraceError> {
        match self.text(index).parse::<f32>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
            _ => Err(self.error(index, format!("{:?} found, a number of at least 0 is needed", self.text(index)))),
        }
    }

    /// A field that is a finite number of at least zero, in full precision.
    pub(crate) fn double(&self, index: usize) -> Result<f64, TraceError> {
        match self.text(index).parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
            _ => Err(self.error(index, format!("{:?} found, a number of at least 0 is needed", self.text(index)))),
        }
    }

    /// A field that is a whole number of at least zero.
    pub(crate) fn whole(&self, index: usize) -> Result<usize, TraceError> {
        self.text(index)
            .parse()
            .map_err(|_| self.error(index, format!("{:?} found, a whole number is needed", self.text(index))))
    }

    /// A complaint about a field.
    pub(crate) fn error(&self, index: usize, what: impl Into<String>) -> TraceError {
        let column = self.table.header.split(',').nth(index).unwrap_or("-");
        self.table.error(self.line, column, what)
    }
}
