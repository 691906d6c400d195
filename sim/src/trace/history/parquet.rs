//! The long form as a Parquet file, as data frames write it: any width of number, vms by number or by name, empty fields.

use std::collections::BTreeMap;

use ::parquet::{
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{ByteArray, DataType},
    errors::ParquetError,
    file::reader::{FileReader, RowGroupReader, SerializedFileReader},
};
use ballast_core::history::{CHANNELS, History, Shape};
use bytes::Bytes;

use super::long::{Assembly, CAPACITY, CORES, Row, VALUES};
use crate::trace::TraceError;

/// Reads a recording; columns as for [`super::csv`].
///
/// # Errors
/// [`TraceError`] with the row (as line, from 1) and column of the first thing that is wrong.
pub fn parquet(file: &str, bytes: Vec<u8>, shapes: &BTreeMap<String, Shape>) -> Result<Vec<History>, TraceError> {
    let wrong = |line, column: &str, what| TraceError { file: file.into(), line, column: column.into(), what };
    let damaged = |error: ParquetError| wrong(0, "-", format!("cannot be read as Parquet: {error}"));
    let reader = SerializedFileReader::new(Bytes::from(bytes)).map_err(damaged)?;
    let mut assembly = Assembly::default();
    let mut before = 0;
    for index in 0..reader.num_row_groups() {
        let group = reader.get_row_group(index).map_err(damaged)?;
        let columns = Columns::read(&*group).map_err(|(column, what)| wrong(0, column, what))?;
        for row in 0..columns.vm.len() {
            let read = columns.row(row).map_err(|(column, what)| wrong(before + row + 1, column, what))?;
            assembly.take(&columns.vm[row], read);
        }
        before += columns.vm.len();
    }
    assembly.finish(file, shapes)
}

/// Name of a column, and what is wrong with it.
type Wrong = (&'static str, String);

/// The columns of one row group.
struct Columns {
    vm: Vec<String>,
    step: Vec<Option<f64>>,
    values: [Option<Vec<Option<f64>>>; CHANNELS],
    cores: Option<Vec<Option<f64>>>,
    capacity: Option<Vec<Option<f64>>>,
}

impl Columns {
    fn read(group: &dyn RowGroupReader) -> Result<Self, Wrong> {
        let numbers = |name| read(group, name)?.map(|column| column.numbers(name)).transpose();
        let missing = |name| (name, "the column is missing".to_owned());
        let vm = read(group, "vm")?.ok_or_else(|| missing("vm"))?.names("vm")?;
        let step = numbers("step")?.ok_or_else(|| missing("step"))?;
        let mut values = [const { None }; CHANNELS];
        for (column, name) in values.iter_mut().zip(VALUES) {
            *column = numbers(name)?;
        }
        Ok(Self { vm, step, values, cores: numbers(CORES)?, capacity: numbers(CAPACITY)? })
    }

    fn row(&self, row: usize) -> Result<Row, Wrong> {
        let step = self.step[row].ok_or(("step", "is empty".to_owned()))?;
        if !(0.0..=f64::from(u32::MAX)).contains(&step) || step.fract() != 0.0 {
            return Err(("step", format!("{step} found, a whole number is needed")));
        }
        let mut values = [f32::NAN; CHANNELS];
        for ((value, column), name) in values.iter_mut().zip(&self.values).zip(VALUES) {
            *value = field(column.as_deref(), row, name)?;
        }
        let cores = field(self.cores.as_deref(), row, CORES)?;
        let capacity_mib = field(self.capacity.as_deref(), row, CAPACITY)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range, just checked")]
        let step = step as u32;
        Ok(Row { step, values, capacity_mib, cores })
    }
}

/// A value that may be missing; one below zero or infinite is none.
fn field(column: Option<&[Option<f64>]>, row: usize, name: &'static str) -> Result<f32, Wrong> {
    match column.and_then(|column| column[row]) {
        None => Ok(f32::NAN),
        Some(value) if value.is_nan() => Ok(f32::NAN),
        #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than any recording has")]
        Some(value) if value.is_finite() && value >= 0.0 => Ok(value as f32),
        Some(value) => Err((name, format!("{value} found, a number of at least 0 is needed"))),
    }
}

/// One column's values, `None` where a field is empty.
enum Column {
    Numbers(Vec<Option<f64>>),
    Names(Vec<Option<String>>),
}

impl Column {
    fn numbers(self, name: &'static str) -> Result<Vec<Option<f64>>, Wrong> {
        match self {
            Self::Numbers(numbers) => Ok(numbers),
            Self::Names(_) => Err((name, "numbers are needed".into())),
        }
    }

    /// Whole numbers are names too.
    fn names(self, name: &'static str) -> Result<Vec<String>, Wrong> {
        let texts: Vec<Option<String>> = match self {
            Self::Names(names) => names,
            Self::Numbers(numbers) => numbers.into_iter().map(|number| number.map(|n| n.to_string())).collect(),
        };
        texts.into_iter().map(|text| text.ok_or_else(|| (name, "a row has none".to_owned()))).collect()
    }
}

/// The column of that name, where there is one.
fn read(group: &dyn RowGroupReader, name: &'static str) -> Result<Option<Column>, Wrong> {
    let wrong = |what: String| (name, what);
    let rows = usize::try_from(group.metadata().num_rows()).map_err(|error| wrong(error.to_string()))?;
    let columns = group.metadata().columns();
    let Some(index) = columns.iter().position(|column| column.column_path().string() == name) else { return Ok(None) };
    let depth = columns[index].column_descr().max_def_level();
    let reader = group.get_column_reader(index).map_err(|error| wrong(error.to_string()))?;
    let at = |what: String| (name, what);
    Ok(Some(match reader {
        ColumnReader::Int32ColumnReader(reader) => {
            Column::Numbers(all(reader, rows, depth, |v| f64::from(*v)).map_err(at)?)
        }
        ColumnReader::Int64ColumnReader(reader) => Column::Numbers(all(reader, rows, depth, whole).map_err(at)?),
        ColumnReader::FloatColumnReader(reader) => {
            Column::Numbers(all(reader, rows, depth, |v| f64::from(*v)).map_err(at)?)
        }
        ColumnReader::DoubleColumnReader(reader) => Column::Numbers(all(reader, rows, depth, |v| *v).map_err(at)?),
        ColumnReader::ByteArrayColumnReader(reader) => Column::Names(all(reader, rows, depth, text).map_err(at)?),
        _ => return Err(wrong("numbers or text are needed".into())),
    }))
}

fn text(bytes: &ByteArray) -> String {
    String::from_utf8_lossy(bytes.data()).into_owned()
}

#[expect(clippy::cast_precision_loss, reason = "steps and ids are far below 2^53")]
fn whole(value: &i64) -> f64 {
    *value as f64
}

/// All values of a column, empty fields where its definition levels say so.
fn all<T: DataType, V>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
    depth: i16,
    value: impl Fn(&T::T) -> V,
) -> Result<Vec<Option<V>>, String> {
    let (mut values, mut levels) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    reader.read_records(rows, Some(&mut levels), None, &mut values).map_err(|error| error.to_string())?;
    let mut there = values.iter();
    if depth == 0 {
        return Ok(there.map(|v| Some(value(v))).collect());
    }
    let filled: Vec<Option<V>> =
        levels.iter().map(|level| if *level == depth { there.next().map(&value) } else { None }).collect();
    if filled.len() == rows { Ok(filled) } else { Err(format!("{} of {rows} rows are there", filled.len())) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::parquet::{
        basic::Compression,
        data_type::{ByteArrayType, DoubleType, Int64Type},
        file::{properties::WriterProperties, writer::SerializedFileWriter},
        schema::parser::parse_message_type,
    };

    use super::*;

    /// A file as a data frame writes it: vms by name, wide numbers, packed by Snappy, an empty field for `None`.
    fn file(rows: &[(&str, i64, Option<f64>)]) -> Vec<u8> {
        let schema = "message rows { OPTIONAL BYTE_ARRAY vm (UTF8); REQUIRED INT64 step; OPTIONAL DOUBLE cpu_pct; }";
        let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let names: Vec<ByteArray> = rows.iter().map(|row| ByteArray::from(row.0)).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&names, Some(&vec![1; rows.len()]), None).unwrap();
        column.close().unwrap();
        let steps: Vec<i64> = rows.iter().map(|row| row.1).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&steps, None, None).unwrap();
        column.close().unwrap();
        let levels: Vec<i16> = rows.iter().map(|row| i16::from(row.2.is_some())).collect();
        let values: Vec<f64> = rows.iter().filter_map(|row| row.2).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&values, Some(&levels), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.into_inner().unwrap()
    }

    fn read(rows: &[(&str, i64, Option<f64>)]) -> Result<Vec<History>, TraceError> {
        parquet("rows.parquet", file(rows), &BTreeMap::new())
    }

    #[test]
    fn a_data_frame_is_read_with_its_names_and_gaps() {
        let all = read(&[("b", 4, Some(50.0)), ("a", 7, Some(100.0)), ("b", 5, None), ("b", 7, Some(25.0))]).unwrap();
        let names: Vec<&str> = all.iter().map(|history| history.name.as_str()).collect();
        let cpu: Vec<f32> = all[1].slots.iter().map(|slot| slot.cpu).collect();
        assert_eq!((names, all[1].first, cpu.len()), (vec!["a", "b"], 4, 4));
        assert!(cpu[0] == 0.5 && cpu[1].is_nan() && cpu[2].is_nan() && cpu[3] == 0.25);
    }

    #[test]
    fn a_value_that_makes_no_sense_is_refused_with_row_and_column() {
        let error = read(&[("a", 1, Some(5.0)), ("a", 2, Some(-5.0))]).unwrap_err().to_string();
        assert_eq!(error, "rows.parquet, line 2, column cpu_pct: -5 found, a number of at least 0 is needed");
        let error = read(&[("a", -1, Some(5.0))]).unwrap_err().to_string();
        assert_eq!(error, "rows.parquet, line 1, column step: -1 found, a whole number is needed");
    }

    #[test]
    fn what_is_no_parquet_is_refused() {
        let error = parquet("rows.parquet", b"PAR1 and no more".to_vec(), &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.starts_with("rows.parquet, line 0, column -: cannot be read as Parquet"), "{error}");
    }
}
