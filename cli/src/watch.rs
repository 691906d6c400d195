//! `ballast watch`: one line for each change of a migration, until the scheduler ends the stream or the reader has had
//! enough.

use std::io::Write;

use ballast_proto::v1;

use crate::{
    args::Output,
    client::Operator,
    show::{migrations::MigrationRow, words},
};

pub(crate) async fn run(mut from: Operator, output: Output, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut events = from.watch_migrations(v1::WatchMigrationsRequest {}).await?.into_inner();
    while let Some(event) = events.message().await? {
        if let Some(migration) = &event.migration {
            write_event(&MigrationRow::from(migration), output, out)?;
        }
    }
    Ok(())
}

fn write_event(row: &MigrationRow, output: Output, out: &mut dyn Write) -> anyhow::Result<()> {
    match output {
        Output::Json => writeln!(out, "{}", serde_json::to_string(row)?)?,
        Output::Table => {
            let stands = row.stands();
            writeln!(out, "{}  {}  {} -> {}  {stands}", row.migration_id, row.name, row.source, row.destination)?;
            if row.ending.is_none() && row.stage == words::NOT_BEGUN {
                writeln!(out, "    because {}", row.motive)?;
            }
        }
    }
    // Whoever reads it through a pipe wants it now.
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(migration: &v1::Migration, output: Output) -> String {
        let mut out = Vec::new();
        write_event(&MigrationRow::from(migration), output, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_migration_that_begins_says_why() {
        let migration = v1::Migration {
            migration_id: "3-17".into(),
            name: "web-1".into(),
            source: "a".into(),
            destination: "b".into(),
            motive: "a is at 97 % of its CPU, limit 85 %".into(),
            ..v1::Migration::default()
        };
        let text = row(&migration, Output::Table);
        assert_eq!(text, "3-17  web-1  a -> b  queued\n    because a is at 97 % of its CPU, limit 85 %\n");
        assert_eq!(row(&migration, Output::Json).lines().count(), 1);
    }
}
