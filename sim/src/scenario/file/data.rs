//! What a scenario wants to read, and what whoever can read files hands in.

use crate::trace::recorded::RecordedFleet;

/// A file that was read for a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Its name without the folder.
    pub name: String,
    /// What is in it, packed or not.
    pub bytes: Vec<u8>,
}

/// All that was read for a scenario; empty where nothing was, for those that bring their own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Data {
    /// Its files.
    pub files: Vec<DataFile>,
    /// A recorded fleet, for scenarios whose demand is a telemetry log.
    pub recorded: Option<RecordedFleet>,
}

impl Data {
    /// The file that meets a need.
    pub(super) fn find(&self, need: &Need) -> Option<&DataFile> {
        self.files.iter().find(|file| need.accepts(&file.name))
    }
}

/// Which files of a folder are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileName {
    /// The one of this name, with or without `.gz`.
    Exactly(&'static str),
    /// `YYYYMMDD.csv`, with or without `.gz`: one per day.
    PerDay,
}

/// Files a scenario wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Folder they lie in, below the one that is named, where they do not lie in that itself.
    pub folder: &'static str,
    /// Which.
    pub file: FileName,
    /// What they are, for people.
    pub what: &'static str,
    /// What to do where they are missing: `true` says that the scenario brings a smaller cut of its own.
    pub has_cut: bool,
}

impl Need {
    /// True for a file of that name.
    pub fn accepts(&self, name: &str) -> bool {
        let plain = name.strip_suffix(".gz").unwrap_or(name);
        match self.file {
            FileName::Exactly(wanted) => plain == wanted,
            FileName::PerDay => day_of(name).is_some(),
        }
    }

    /// The name to look for, for people.
    pub fn name(&self) -> &'static str {
        match self.file {
            FileName::Exactly(name) => name,
            FileName::PerDay => "YYYYMMDD.csv.gz",
        }
    }
}

/// The day of a file named `YYYYMMDD.csv` or `YYYYMMDD.csv.gz`.
pub fn day_of(name: &str) -> Option<&str> {
    let day = name.strip_suffix(".gz").unwrap_or(name).strip_suffix(".csv")?;
    (day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit())).then_some(day)
}

/// Days from 1970 to a day written `YYYYMMDD`; `None` where there is no such day (Howard Hinnant's days-from-civil).
pub(super) fn days_since_1970(day: &str) -> Option<u64> {
    if day.len() != 8 || !day.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| day.get(range).and_then(|digits| digits.parse::<u64>().ok());
    let (year, month, date) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *longest.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    if year < 1970 || date == 0 || date > length {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + date - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_the_calendar_is_counted_and_another_is_none() {
        assert_eq!(days_since_1970("19700101"), Some(0));
        assert_eq!(days_since_1970("20000229"), Some(951_782_400 / 86_400));
        assert_eq!(days_since_1970("20110303"), Some(15_036));
        for none in ["20110229", "20111301", "2011033", "201103o3", "20110300"] {
            assert_eq!(days_since_1970(none), None, "{none}");
        }
    }

    #[test]
    fn a_need_knows_its_files_packed_or_not() {
        let per_day = Need { folder: "planetlab", file: FileName::PerDay, what: "days", has_cut: false };
        assert!(per_day.accepts("20110303.csv.gz") && per_day.accepts("20110303.csv"));
        assert!(!per_day.accepts("vms.csv") && !per_day.accepts("20110303.txt"));
        let exactly = Need { file: FileName::Exactly("arrivals.csv"), ..per_day };
        assert!(exactly.accepts("arrivals.csv.gz") && !exactly.accepts("arrivals.gz"));
    }
}
