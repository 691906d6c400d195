//! A day of `PlanetLab`'s `CoMon` recording in wide form: one row per vm, whole percents of CPU, one column per slot.
//!
//! The rows are put in order of name: the benchmark of consolidation deals out kinds of vms by that order. It records CPU
//! only; the rest of a [`Slot`] is a stated proportion of it.

use super::{
    SLOTS_PER_DAY, Series, Slot, TraceError,
    table::{Row, Table},
};

/// Columns before the first slot: the vm's name, and whether it appears on other days too, which is not used.
const LEADING: [&str; 2] = ["vm", "seen_in_dev"];

/// Storage and network in bytes per second at full CPU, as for the other recording without them: an assumption.
const BYTES_PER_CPU: f32 = 2.0e6;

/// Share of its memory that a vm has in active use: an assumption, for the recording says nothing of memory.
const MEMORY_SHARE: f32 = 0.5;

/// Cuts of 40 vms of two days: enough to test by, too little to judge by.
const SHIPPED: [(&str, &[u8]); 2] = [
    ("planetlab-40vm-20110303.csv.gz", include_bytes!("../../traces/planetlab-40vm-20110303.csv.gz")),
    ("planetlab-40vm-20110403.csv.gz", include_bytes!("../../traces/planetlab-40vm-20110403.csv.gz")),
];

/// One vm's day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmDay {
    /// Its name in the recording: host and slice.
    pub name: String,
    /// CPU in percent of what it may use, 0 to 100, one value per slot.
    pub percent: [u8; SLOTS_PER_DAY],
}

/// One day of all vms, in order of name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// Its vms; at least one, no name twice.
    pub vms: Vec<VmDay>,
}

impl Day {
    /// The day as the ordinary simulation replays it.
    pub fn series(&self) -> Vec<Series> {
        let series = |vm: &VmDay| Series::new(vm.name.clone(), vm.percent.map(slot).to_vec());
        self.vms.iter().map(series).collect()
    }
}

fn slot(percent: u8) -> Slot {
    let cpu = f32::from(percent) / 100.0;
    let io = cpu * BYTES_PER_CPU;
    Slot { cpu, memory: MEMORY_SHARE, disk_read: io, disk_write: io, net_rx: io, net_tx: io }
}

/// The cuts of two days, of 40 vms each, that are part of the repository.
///
/// # Errors
/// [`TraceError`] when a file in the repository was damaged.
pub fn shipped() -> Result<Vec<Day>, TraceError> {
    SHIPPED.iter().map(|(file, packed)| parse_packed(file, packed)).collect()
}

/// Reads a day.
///
/// # Errors
/// [`TraceError`] with line and column of the first thing that is wrong.
pub fn parse(file: &str, text: &str) -> Result<Day, TraceError> {
    let slots: Vec<String> = (0..SLOTS_PER_DAY).map(|slot| format!("t{slot}")).collect();
    let columns: Vec<&str> = LEADING.into_iter().chain(slots.iter().map(String::as_str)).collect();
    let table = Table::new(file, text, &columns)?;
    let mut vms = Vec::new();
    for row in table.rows() {
        vms.push(vm(&row?)?);
    }
    vms.sort_by(|a, b| a.name.cmp(&b.name));
    let twice = vms.windows(2).find(|pair| pair[0].name == pair[1].name);
    match (vms.is_empty(), twice) {
        (true, _) => Err(table.error(0, "-", "no rows")),
        (_, Some(pair)) => Err(table.error(0, LEADING[0], format!("vm {:?} has more than one row", pair[0].name))),
        _ => Ok(Day { vms }),
    }
}

/// Reads a packed day, as the recordings are kept.
///
/// # Errors
/// [`TraceError`] where it cannot be unpacked or read.
pub fn parse_packed(file: &str, packed: &[u8]) -> Result<Day, TraceError> {
    parse(file, &super::text_of(file, packed)?)
}

fn vm(row: &Row<'_>) -> Result<VmDay, TraceError> {
    if row.len() != LEADING.len() + SLOTS_PER_DAY {
        let needed = LEADING.len() + SLOTS_PER_DAY;
        return Err(row.error(row.len() - 1, format!("{} columns found, {needed} are needed", row.len())));
    }
    let mut percent = [0; SLOTS_PER_DAY];
    for (slot, value) in percent.iter_mut().enumerate() {
        let index = LEADING.len() + slot;
        let read = row.text(index).parse::<u8>().ok().filter(|percent| *percent <= 100);
        let needed = || format!("{:?} found, a whole number from 0 to 100 is needed", row.text(index));
        *value = read.ok_or_else(|| row.error(index, needed()))?;
    }
    Ok(VmDay { name: row.text(0).into(), percent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> String {
        let slots: Vec<String> = (0..SLOTS_PER_DAY).map(|slot| format!("t{slot}")).collect();
        format!("vm,seen_in_dev,{}\n", slots.join(","))
    }

    fn row(name: &str, third: &str) -> String {
        let mut values = vec!["7"; SLOTS_PER_DAY];
        values[2] = third;
        format!("{name},1,{}\n", values.join(","))
    }

    fn read(rows: &[String]) -> Result<Day, TraceError> {
        parse("p.csv", &format!("{}{}", header(), rows.concat()))
    }

    #[test]
    fn the_shipped_cuts_are_whole() {
        let days = shipped().unwrap();
        assert_eq!(days.iter().map(|day| day.vms.len()).collect::<Vec<_>>(), [40, 40]);
        assert!(days.iter().all(|day| day.vms.is_sorted_by(|a, b| a.name < b.name)));
    }

    #[test]
    fn rows_are_put_in_order_of_name() {
        let day = read(&[row("b", "0"), row("a", "100")]).unwrap();
        let all: Vec<_> = day.vms.iter().map(|vm| (vm.name.as_str(), vm.percent[2])).collect();
        assert_eq!(all, [("a", 100), ("b", 0)]);
        let series = day.series();
        assert_eq!((series[0].slots[2].cpu, series[0].slots[3].cpu), (1.0, 0.07));
        assert_eq!(series[1].slots.len(), SLOTS_PER_DAY);
    }

    #[test]
    fn a_malformed_recording_is_refused_with_line_and_column() {
        let percent = "a whole number from 0 to 100 is needed";
        let cases = [
            (vec![row("a", "101")], format!("p.csv, line 2, column t2: \"101\" found, {percent}")),
            (vec![row("a", "1"), row("b", "1.5")], format!("p.csv, line 3, column t2: \"1.5\" found, {percent}")),
            (vec![row("a", "-1")], format!("p.csv, line 2, column t2: \"-1\" found, {percent}")),
            (vec!["a,1,7\n".into()], "p.csv, line 2, column 3: 3 fields found, 290 are needed".into()),
            (vec![row("a", "1"), row("a", "2")], "p.csv, line 0, column vm: vm \"a\" has more than one row".into()),
            (vec![], "p.csv, line 0, column -: no rows".into()),
        ];
        for (rows, expected) in cases {
            assert_eq!(read(&rows).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn another_table_is_refused_at_its_header() {
        let error = parse("p.csv", "vm,feature,t0\na,cpu,1\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "p.csv, line 1, column 2: \"feature\" found, the header \"seen_in_dev\" is needed"
        );
        let wide = header().replace("t287\n", "t287,t288\n") + &row("a", "1").replace("7\n", "7,7\n");
        let error = parse("p.csv", &wide).unwrap_err();
        assert_eq!(error.to_string(), "p.csv, line 2, column t288: 291 columns found, 290 are needed");
        assert!(parse_packed("p.csv.gz", b"\x1f\x8bno gzip").unwrap_err().to_string().contains("cannot be unpacked"));
    }
}
