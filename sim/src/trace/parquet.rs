//! The Bitbrains recording as a Parquet file: the same columns as the text, five million rows.
//!
//! The bytes are handed in; a row group is read at a time, column by column. Parquet has no lines: complaints name the row,
//! from 1, in its place.

use ::parquet::{
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::DataType,
    errors::ParquetError,
    file::reader::{FileReader, RowGroupReader, SerializedFileReader},
};
use bytes::Bytes;

use super::{
    Recording, TraceError,
    bitbrains::{Assembly, COLUMNS},
};

/// Reads a recording; `vms` is the table of its vms, for their size.
///
/// # Errors
/// [`TraceError`] with the row (as line) and column of the first thing that is wrong.
pub fn bitbrains(file: &str, bytes: Vec<u8>, vms: &str) -> Result<Vec<Recording>, TraceError> {
    let whole = |what: String| TraceError { file: file.into(), line: 0, column: "-".into(), what };
    let damaged = |error: ParquetError| whole(format!("cannot be read as Parquet: {error}"));
    let reader = SerializedFileReader::new(Bytes::from(bytes)).map_err(damaged)?;
    let mut assembly = Assembly::new(vms)?;
    let mut before = 0;
    for index in 0..reader.num_row_groups() {
        let group = Group::read(&*reader.get_row_group(index).map_err(damaged)?).map_err(whole)?;
        for row in 0..group.vm.len() {
            let taken = group.give(row, &mut assembly);
            taken.map_err(|(column, what)| TraceError {
                file: file.into(),
                line: before + row + 1,
                column: COLUMNS[column].into(),
                what,
            })?;
        }
        before += group.vm.len();
    }
    assembly.finish().ok_or_else(|| whole("no rows".into()))
}

/// The columns of one row group.
struct Group {
    vm: Vec<i32>,
    step: Vec<i32>,
    values: Vec<Vec<f32>>,
}

impl Group {
    fn read(group: &dyn RowGroupReader) -> Result<Self, String> {
        let rows = usize::try_from(group.metadata().num_rows()).map_err(|error| error.to_string())?;
        let values = COLUMNS[2..].iter().map(|name| reals(group, name, rows)).collect::<Result<_, _>>()?;
        Ok(Self { vm: wholes(group, COLUMNS[0], rows)?, step: wholes(group, COLUMNS[1], rows)?, values })
    }

    /// Hands a row over.
    fn give(&self, row: usize, assembly: &mut Assembly) -> Result<(), (usize, String)> {
        let mut values = [0.0; 7];
        for (index, (value, column)) in values.iter_mut().zip(&self.values).enumerate() {
            *value = column[row];
            if !value.is_finite() || *value < 0.0 {
                return Err((index + 2, format!("{value} found, a number of at least 0 is needed")));
            }
        }
        let step = usize::try_from(self.step[row]);
        let step = step.map_err(|_| (1, format!("{} found, a whole number is needed", self.step[row])))?;
        assembly.take(&self.vm[row].to_string(), step, &values)
    }
}

/// The column of that name.
fn column(group: &dyn RowGroupReader, name: &str) -> Result<ColumnReader, String> {
    let columns = group.metadata().columns();
    let index = columns.iter().position(|column| column.column_path().string() == name);
    let index = index.ok_or_else(|| format!("the column {name} is missing"))?;
    group.get_column_reader(index).map_err(|error| format!("column {name}: {error}"))
}

fn wholes(group: &dyn RowGroupReader, name: &str, rows: usize) -> Result<Vec<i32>, String> {
    match column(group, name)? {
        ColumnReader::Int32ColumnReader(reader) => filled(reader, name, rows),
        _ => Err(format!("column {name}: whole numbers of 32 bits are needed")),
    }
}

fn reals(group: &dyn RowGroupReader, name: &str, rows: usize) -> Result<Vec<f32>, String> {
    match column(group, name)? {
        ColumnReader::FloatColumnReader(reader) => filled(reader, name, rows),
        _ => Err(format!("column {name}: numbers of 32 bits are needed")),
    }
}

/// All values of a column; one that is empty somewhere is an error.
fn filled<T: DataType>(mut reader: ColumnReaderImpl<T>, name: &str, rows: usize) -> Result<Vec<T::T>, String> {
    let (mut values, mut levels) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let read = reader.read_records(rows, Some(&mut levels), None, &mut values);
    read.map_err(|error| format!("column {name}: {error}"))?;
    if values.len() == rows {
        return Ok(values);
    }
    Err(format!("column {name}: {} of {rows} values are there", values.len()))
}
