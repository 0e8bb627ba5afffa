//! `faultlab report`: shows a file of reports again, or writes it in another form.

use std::io;
use std::path::Path;

use faultlab::exit;
use faultlab::report::{Report, WholeFile, csv, header, html, markdown, schema, stage_table, table};

use super::{Failure, colours, print, read_reports};
use crate::cli::ReportArgs;

/// Prints or writes; the exit status. Rows that do not add up are shown as such and are no failure of this command.
pub(crate) fn report(args: &ReportArgs) -> Result<u8, Failure> {
    if let Some(file) = &args.file {
        let reports = read_reports(file)?;
        if write_all(args, &reports)? == 0 {
            print(&tables(&reports))?;
        }
    }
    if args.schema {
        print(&schema::text())?;
    }
    Ok(exit::OK)
}

/// One form of a report, as text.
type Render = fn(&[Report]) -> io::Result<String>;

/// Writes the files that were asked for; how many.
fn write_all(args: &ReportArgs, reports: &[Report]) -> Result<usize, Failure> {
    let wanted: [(_, Render); 3] = [
        (&args.html, |reports| Ok(html::render(reports))),
        (&args.csv, |reports| csv::render(reports).map_err(Into::into)),
        (&args.markdown, |reports| Ok(markdown::render(reports))),
    ];
    let wanted = wanted
        .iter()
        .filter_map(|(path, render)| Some((path.as_deref()?, render)));
    // All are claimed before one is written.
    let claimed = wanted.map(|(path, render)| Ok((path, render, claim(path)?)));
    let claimed = claimed.collect::<Result<Vec<_>, Failure>>()?;
    let count = claimed.len();
    for (path, render, file) in claimed {
        let written = render(reports).and_then(|text| file.write(&text));
        written.map_err(|source| cannot_write(path, source))?;
    }
    Ok(count)
}

fn claim(path: &Path) -> Result<WholeFile, Failure> {
    WholeFile::create(path).map_err(|source| cannot_write(path, source))
}

fn cannot_write(path: &Path, source: io::Error) -> Failure {
    let path = path.to_owned();
    Failure::Write { path, source }
}

/// The tables as `faultlab run` prints them.
fn tables(reports: &[Report]) -> String {
    let one = |report| table::render(report, &header::lines(report), colours()) + &stage_table::render(report);
    reports.iter().map(one).collect::<Vec<_>>().join("\n\n")
}
