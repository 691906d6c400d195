//! `ballast audit verify`: whether a journal is still what was written, and if not, which record is the first that is not.
//!
//! Needs no scheduler: it reads a folder of segments, the live one or a copy, and changes nothing. The rules are
//! `ballast_core::journal::audit`'s.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, bail, ensure};
use ballast_core::journal::{
    Header,
    audit::{Audit, Head, Suspect},
};
use ballast_daemon::segments::{read_dir, segment_files};
use ballast_scheduler::journal::{Entry, SEGMENT_KIND};
use clap::{Args, Subcommand};

use crate::args::Output;

/// What is asked of a journal.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// Which question.
    #[command(subcommand)]
    pub what: Question,
}

/// A question to a journal.
#[derive(Debug, Clone, Subcommand)]
pub enum Question {
    /// Names the first record that was changed, dropped or moved; status 1 where there is one.
    Verify {
        /// The journal's folder, or the data directory it is in; a copy will do.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// What an earlier run printed as the head: the journal must still hold that record, unchanged.
        #[arg(long, value_name = "SEQ:HASH")]
        head: Option<NotedHead>,
    },
}

/// A head as it is printed and typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotedHead(Head);

impl std::fmt::Display for NotedHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.0.seq)?;
        self.0.chain.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for NotedHead {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "a number, a colon and 64 hexadecimal digits are needed, as an earlier run printed them";
        let (seq, hash) = text.split_once(':').ok_or(WANTED)?;
        let seq = seq.parse().map_err(|_| WANTED)?;
        let mut chain = [0; 32];
        if hash.len() != 64 || !hash.is_ascii() {
            return Err(WANTED);
        }
        for (index, byte) in chain.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hash[2 * index..2 * index + 2], 16).map_err(|_| WANTED)?;
        }
        Ok(Self(Head { seq, chain }))
    }
}

/// What a journal that is whole comes to.
#[derive(Debug)]
struct Whole {
    files: usize,
    first: u64,
    head: Head,
}

/// Answers.
///
/// # Errors
/// The first record that is not as it was written, with its file; or why the folder cannot be read.
pub fn run(args: &AuditArgs, output: Output, out: &mut dyn Write) -> anyhow::Result<()> {
    let Question::Verify { folder, head } = &args.what;
    let folder = journal_in(folder)?;
    let whole = verify(&folder, head.map(|noted| noted.0))?;
    let Whole { files, first, head } = whole;
    let (last, head) = (head.seq, NotedHead(head));
    match output {
        Output::Json => {
            let told = serde_json::json!({ "whole": true, "files": files, "first": first, "last": last, "head": head.to_string() });
            writeln!(out, "{told}")?;
        }
        Output::Table => {
            writeln!(out, "{}: records {first} to {last} in {files} files: whole", folder.display())?;
            writeln!(out, "head {head}")?;
            writeln!(out, "Note the head where nobody who can write here can: --head holds a later run against it.")?;
        }
    }
    Ok(())
}

fn journal_in(folder: &Path) -> anyhow::Result<PathBuf> {
    let below = folder.join("journal");
    let chosen = if below.is_dir() { below } else { folder.to_path_buf() };
    ensure!(chosen.is_dir(), "{} is no folder", chosen.display());
    Ok(chosen)
}

fn verify(folder: &Path, noted: Option<Head>) -> anyhow::Result<Whole> {
    let files = segment_files(folder)?;
    let mut audit = Audit::against(noted);
    let mut kind = SEGMENT_KIND;
    for (index, path) in files.iter().enumerate() {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        if index == 0 {
            kind = kind_of(&bytes);
        }
        audit.segment(&bytes, kind).map_err(|suspect| complaint(&suspect, path))?;
    }
    audit.end().map_err(|suspect| complaint(&suspect, folder))?;
    let (Some(first), Some(head)) = (audit.first(), audit.head()) else {
        bail!("{} holds no record of a journal", folder.display())
    };
    if kind == SEGMENT_KIND {
        check_entries(folder)?;
    }
    Ok(Whole { files: files.len(), first, head })
}

/// The scheduler's journal, unless the first file says that it is an agent's.
fn kind_of(bytes: &[u8]) -> u16 {
    let agents = ballast_agent::JOURNAL_KIND;
    if Header::decode(bytes, agents).is_ok() { agents } else { SEGMENT_KIND }
}

/// A record that is whole must also mean something.
fn check_entries(folder: &Path) -> anyhow::Result<()> {
    let mut wrong = None;
    read_dir(folder, SEGMENT_KIND, |raw| {
        if let Err(why) = Entry::decode(&raw.bytes) {
            wrong.get_or_insert((raw.path, raw.offset, why));
        }
    })?;
    match wrong {
        None => Ok(()),
        Some((path, offset, why)) => {
            bail!("{}: the record at byte {offset} is not one of this version: {why}", path.display())
        }
    }
}

fn complaint(suspect: &Suspect, path: &Path) -> anyhow::Error {
    let Suspect { seq, damage, offset } = suspect;
    anyhow::anyhow!("record {seq}: {damage} (seen in {} at byte {offset})", path.display())
}

#[cfg(test)]
mod tests {
    use ballast_core::units::Timestamp;
    use ballast_daemon::segments::{Options, SegmentWriter};
    use ballast_scheduler::journal::Record;

    use super::*;

    /// A journal of five synced records, each in a file of its own, below a data directory.
    fn journal() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let options =
            Options { kind: SEGMENT_KIND, compress: false, sync: true, segment_bytes_max: 200, total_bytes_max: None };
        let (mut writer, _) = SegmentWriter::open(&dir.path().join("journal"), options).unwrap();
        for number in 1..=5 {
            let who = format!("operator {number}");
            let record = Record::Mode { mode: ballast_core::decision::Mode::Auto, who };
            let entry = Entry { at: Timestamp::from_secs(number), record };
            writer.push(&entry.encode().unwrap()).unwrap();
            writer.commit(Timestamp::from_secs(number)).unwrap();
        }
        assert!(segment_files(&dir.path().join("journal")).unwrap().len() == 5);
        dir
    }

    fn ask(folder: &Path, head: Option<&str>) -> Result<String, String> {
        let head = head.map(|head| head.parse().unwrap());
        let args = AuditArgs { what: Question::Verify { folder: folder.into(), head } };
        let mut out = Vec::new();
        run(&args, Output::Table, &mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn head_of(said: &str) -> String {
        said.lines().find_map(|line| line.strip_prefix("head ")).unwrap().to_owned()
    }

    #[test]
    fn a_whole_journal_is_said_to_be_with_its_head() {
        let dir = journal();
        let said = ask(dir.path(), None).unwrap();
        assert!(said.contains("records 1 to 5 in"), "{said}");
        assert_eq!(ask(&dir.path().join("journal"), Some(&head_of(&said))).unwrap(), said);
    }

    #[test]
    fn a_changed_record_is_named_with_its_file() {
        let dir = journal();
        let file = segment_files(&dir.path().join("journal")).unwrap().remove(1);
        let mut bytes = fs::read(&file).unwrap();
        let place = bytes.windows(10).position(|window| window == b"operator 2").unwrap();
        bytes[place + 9] = b'9';
        fs::write(&file, bytes).unwrap();
        let error = ask(dir.path(), None).unwrap_err();
        assert!(error.starts_with("record 2: it was changed") && error.contains(file.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_dropped_file_is_named_by_its_records() {
        let dir = journal();
        let files = segment_files(&dir.path().join("journal")).unwrap();
        fs::remove_file(&files[1]).unwrap();
        let error = ask(dir.path(), None).unwrap_err();
        assert!(error.contains("it was dropped, and all up to record"), "{error}");
    }

    #[test]
    fn a_journal_that_was_shortened_is_found_by_the_noted_head() {
        let dir = journal();
        let head = head_of(&ask(dir.path(), None).unwrap());
        fs::remove_file(segment_files(&dir.path().join("journal")).unwrap().pop().unwrap()).unwrap();
        assert!(ask(dir.path(), None).is_ok(), "what is left is whole in itself");
        let error = ask(dir.path(), Some(&head)).unwrap_err();
        assert!(error.contains("it was dropped: the journal ends at record"), "{error}");
    }

    #[test]
    fn a_folder_without_a_journal_is_no_whole_journal() {
        let dir = tempfile::tempdir().unwrap();
        assert!(ask(dir.path(), None).unwrap_err().contains("holds no record"));
        assert!(ask(&dir.path().join("none"), None).unwrap_err().contains("is no folder"));
    }

    #[test]
    fn a_head_is_typed_as_it_is_printed() {
        let head = NotedHead(Head { seq: 12, chain: [0xa7; 32] });
        assert_eq!(head.to_string().parse(), Ok(head));
        for wrong in ["", "12", "12:", "x:00", "12:zz"] {
            assert!(wrong.parse::<NotedHead>().is_err(), "{wrong}");
        }
    }
}
