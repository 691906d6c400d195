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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::parquet::{
        basic::{Compression, ZstdLevel},
        data_type::{FloatType, Int32Type},
        file::{properties::WriterProperties, writer::SerializedFileWriter},
        schema::parser::parse_message_type,
    };

    use super::*;

    const VMS: &str = "vm,split,cores,cpu_cap_mhz,mem_cap_mib,coverage,off_frac\n7,dev,2,5200,1000,1,0\n";

    /// A file of two row groups like the recording's: vm 7, these steps, this CPU, everything else 500. `None` is an empty
    /// field.
    fn file(columns: &[&str], groups: [&[(i32, Option<f32>)]; 2]) -> Vec<u8> {
        let fields: String = columns
            .iter()
            .enumerate()
            .map(|(index, name)| format!("OPTIONAL {} {name};", if index < 2 { "INT32" } else { "FLOAT" }))
            .collect();
        let schema = Arc::new(parse_message_type(&format!("message rows {{ {fields} }}")).unwrap());
        let packed = Compression::ZSTD(ZstdLevel::default());
        let properties = Arc::new(WriterProperties::builder().set_compression(packed).build());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
        for rows in groups {
            let mut group = writer.next_row_group().unwrap();
            let all = vec![1; rows.len()];
            for index in 0..columns.len() {
                let mut column = group.next_column().unwrap().unwrap();
                if index < 2 {
                    let values: Vec<i32> = rows.iter().map(|(step, _)| if index == 0 { 7 } else { *step }).collect();
                    column.typed::<Int32Type>().write_batch(&values, Some(&all), None).unwrap();
                } else {
                    let values = rows.iter().map(|(_, cpu)| if index == 2 { *cpu } else { Some(500.0) });
                    let (values, levels): (Vec<_>, Vec<_>) =
                        values.map(|value| (value, i16::from(value.is_some()))).unzip();
                    let values: Vec<f32> = values.into_iter().flatten().collect();
                    column.typed::<FloatType>().write_batch(&values, Some(&levels), None).unwrap();
                }
                column.close().unwrap();
            }
            group.close().unwrap();
        }
        writer.into_inner().unwrap()
    }

    fn read(groups: [&[(i32, Option<f32>)]; 2]) -> Result<Vec<Recording>, TraceError> {
        bitbrains("rows.parquet", file(&COLUMNS, groups), VMS)
    }

    #[test]
    fn rows_of_all_groups_make_one_recording_and_a_gap_holds() {
        let all = read([&[(3, Some(50.0)), (4, Some(25.0))], &[(6, Some(100.0))]]).unwrap();
        let cpu: Vec<f32> = all[0].series.slots.iter().map(|slot| slot.cpu).collect();
        assert_eq!((all.len(), all[0].first, cpu), (1, 3, vec![0.5, 0.25, 0.25, 1.0]));
        assert_eq!((all[0].series.slots[0].memory, all[0].series.slots[0].net_tx), (0.5, 500_000.0));
    }

    #[test]
    fn malformed_rows_are_refused_with_row_and_column() {
        let error = |groups| read(groups).unwrap_err().to_string();
        assert_eq!(
            error([&[(3, Some(50.0))], &[(3, Some(50.0))]]),
            "rows.parquet, line 2, column step: step 3 after step 3, a rising one is needed"
        );
        assert_eq!(
            error([&[(3, Some(50.0))], &[(4, Some(-1.0))]]),
            "rows.parquet, line 2, column cpu_pct: -1 found, a number of at least 0 is needed"
        );
        assert_eq!(
            error([&[(-3, Some(50.0))], &[]]),
            "rows.parquet, line 1, column step: -3 found, a whole number is needed"
        );
        assert_eq!(
            error([&[(3, Some(50.0)), (4, None)], &[]]),
            "rows.parquet, line 0, column -: column cpu_pct: 1 of 2 values are there"
        );
        assert_eq!(error([&[], &[]]), "rows.parquet, line 0, column -: no rows");
    }

    #[test]
    fn another_file_is_refused() {
        let error = bitbrains("rows.parquet", b"vm,step\n7,1\n".to_vec(), VMS).unwrap_err().to_string();
        assert!(error.starts_with("rows.parquet, line 0, column -: cannot be read as Parquet"), "{error}");
        let short = file(&COLUMNS[..8], [&[(3, Some(50.0))], &[]]);
        let error = bitbrains("rows.parquet", short, VMS).unwrap_err().to_string();
        assert_eq!(error, "rows.parquet, line 0, column -: the column net_tx_kbs is missing");
    }
}
