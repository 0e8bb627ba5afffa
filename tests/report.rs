//! Reports as files: what `run` wrote is shown, turned into other forms and compared; what is no report is refused.

use std::path::{Path, PathBuf};

use faultlab::report::schema;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Needs, Ran, Suite, faultlab};

/// A report from the simulated NPT machine, five scenarios, with stages.
const SAMPLE: &str = include_str!("reports/npt.json");

/// Contents of a file that is no report, and the words that its refusal must hold.
const NO_REPORTS: &[(&str, &[&str])] = &[
    ("", &["not whole JSON", "run --json"]),
    (
        "{\"schema\": \"faultlab.report/1\", \"ho",
        &["not whole JSON", "line 1", "run --json"],
    ),
    ("[1, 2]", &["schema not named", "faultlab.report/1"]),
    (
        "{\"schema\": \"faultlab.report/2\"}",
        &["faultlab.report/2", "the faultlab that wrote it"],
    ),
    (
        "{\"schema\": \"faultlab.report/1\", \"host\": 7}",
        &["report --schema", "column"],
    ),
    (
        "{\"schema\": \"faultlab.collection/1\", \"reports\": []}",
        &["without reports"],
    ),
];

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    suite.test("report::what run wrote is shown as run printed it", Needs::Kvm, round);
    suite.test("report::a sample is valid and readable", Needs::Nothing, sample);
    suite.test("report::every form at once", Needs::Nothing, forms);
    suite.test("report::all files or none", Needs::Nothing, all_or_none);
    for (number, (contents, words)) in NO_REPORTS.iter().enumerate() {
        suite.test(format!("report::no report {number}"), Needs::Nothing, || {
            let place = Place::with(contents);
            let file = place.path("a.json");
            faultlab("report").args([&file]).run().expect_refusal(2, words);
            faultlab("compare").args([&file, &file]).run().expect_refusal(2, words);
        });
    }
    suite.test("report::a file that is not there", Needs::Nothing, || {
        faultlab("report /nonexistent/r.json")
            .run()
            .expect_refusal(2, &["/nonexistent/r.json", "run --json"]);
    });
    suite.test("report::a report does not differ from itself", Needs::Nothing, itself);
    suite.test("report::slower is told, and fails where asked", Needs::Nothing, slower);
    suite.test("report::other units are refused", Needs::Nothing, units);
}

/// A directory with the file `a.json`.
struct Place(TempDir);

impl Place {
    fn with(contents: &str) -> Self {
        let place = Self(TempDir::new().expect("a temporary directory"));
        place.write("a.json", contents);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, contents: &str) {
        std::fs::write(self.path(name), contents).expect("a file can be written");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// Why `report` does not keep to the schema.
#[track_caller]
fn expect_valid(report: &Value) {
    let schema: Value = serde_json::from_str(&schema::text()).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let faults: Vec<String> = validator.iter_errors(report).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}");
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("valid JSON")
}

/// Report and collection, from a run on this host.
fn round() {
    let place = Place::with("");
    let file = place.path("a.json");
    let printed = faultlab("run --pages 16 --trace-level stages --json")
        .args([&file])
        .run()
        .expect(0)
        .stdout();
    let shown = faultlab("report").args([&file]).run().expect(0).stdout();
    assert_eq!(shown, printed);
    let report = parsed(&place.read("a.json"));
    expect_valid(&report);
    for row in report["scenarios"].as_array().expect("a list") {
        let points = row["percentiles_cycles"].as_array().expect("a list");
        let [first, last] = [points.first(), points.last()].map(|point| point.expect("16 samples"));
        assert_eq!(
            (&first[0], &first[1]),
            (&json!(0.0), &row["cycles"]["min"]),
            "{}",
            row["name"]
        );
        assert_eq!((&last[0], &last[1]), (&json!(100.0), &row["cycles"]["max"]));
    }
    let collection = json!({"schema": "faultlab.collection/1", "reports": [report, parsed(SAMPLE)]});
    expect_valid(&collection);
    place.write("c.json", &collection.to_string());
    let both = faultlab("report").args([place.path("c.json")]).run().expect(0).stdout();
    assert!(
        both.starts_with(&printed) && both.contains("second-level paging by NPT"),
        "{both}"
    );
}

fn sample() {
    expect_valid(&parsed(SAMPLE));
    let place = Place::with(SAMPLE);
    let table = faultlab("report").args([place.path("a.json")]).run().expect(0).stdout();
    assert!(table.contains("one cycle = one instruction"), "{table}");
    let rows = table
        .lines()
        .filter(|line| line.ends_with("0 ok") || line.ends_with("1 ok"));
    assert_eq!(rows.count(), 5, "{table}");
    let printed = faultlab("report --schema").run().expect(0).stdout();
    assert_eq!(printed, include_str!("../docs/report.schema.json"));
}

fn forms() {
    let place = Place::with(SAMPLE);
    place.write("r.csv", "older");
    let ran = faultlab("report")
        .args([place.path("a.json")])
        .args(["--html".into(), place.path("r.html")])
        .args(["--csv".into(), place.path("r.csv")])
        .args(["--markdown".into(), place.path("r.md")])
        .run()
        .expect(0);
    assert_eq!((ran.stdout(), ran.stderr()), (String::new(), String::new()));
    let (html, csv, markdown) = (place.read("r.html"), place.read("r.csv"), place.read("r.md"));
    assert_eq!(csv.lines().count(), 6, "{csv}");
    assert_eq!(
        markdown.lines().filter(|line| line.starts_with("| `")).count(),
        5,
        "{markdown}"
    );
    // Plots, and a bar for each of the three rows in which the guest itself faults: two are short, and drawn once more, magnified.
    assert_eq!(
        (html.matches("<svg").count(), html.matches("class=\"bar\"").count()),
        (5, 5)
    );
    assert!(html.contains("find_vma") && html.ends_with("</html>"));
}

fn all_or_none() {
    let place = Place::with(SAMPLE);
    place.write("r.csv", "older");
    let ran = faultlab("report")
        .args([place.path("a.json")])
        .args(["--csv".into(), place.path("r.csv")])
        .args(["--html".into(), place.path("missing/r.html")])
        .run();
    ran.expect_refusal(125, &["cannot write", "missing/r.html", "name a place"]);
    assert_eq!(place.read("r.csv"), "older");
    let left = std::fs::read_dir(place.0.path())
        .expect("the directory is there")
        .count();
    assert_eq!(left, 2, "nothing half-written is left behind");
}

/// Compares the sample with a copy after `edit`.
fn compare(edit: impl FnOnce(&mut Value), options: &str) -> Ran {
    let place = Place::with(SAMPLE);
    let mut edited = parsed(SAMPLE);
    edit(&mut edited);
    place.write("b.json", &edited.to_string());
    compare_files(&place.path("a.json"), &place.path("b.json"), options)
}

fn compare_files(a: &Path, b: &Path, options: &str) -> Ran {
    faultlab("compare")
        .args([a, b])
        .args(options.split_ascii_whitespace())
        .run()
}

fn itself() {
    let table = compare(|_| {}, "--fail-on slower --noise 0").expect(0).stdout();
    assert!(
        table.contains("\n0 slower, 0 faster, 5 the same\n") && !table.contains("WARNING"),
        "{table}"
    );
}

/// The row `minor` is three percent dearer.
fn dearer(report: &mut Value) {
    let row = &mut report["scenarios"][1];
    assert_eq!(row["name"], "minor");
    let p50 = row["cycles"]["p50"].as_u64().expect("a number") * 103 / 100;
    row["cycles"]["p50"] = json!(p50);
    row["p50_interval_cycles"] = json!([p50, p50]);
}

fn slower() {
    let told = |ran: Ran| {
        let table = ran.stdout();
        let line = table.lines().find(|line| line.starts_with("minor ")).expect("the row");
        assert!(line.ends_with(" slower"), "{table}");
    };
    told(compare(dearer, "").expect(0));
    told(compare(dearer, "--fail-on slower").expect(1));
    told(compare(dearer, "--fail-on slower:5").expect(0));
    assert!(compare(dearer, "--noise 4").expect(0).stdout().contains("\n0 slower, "));
    let json = parsed(&compare(dearer, "--json --fail-on slower:1").expect(1).stdout());
    assert_eq!(json["schema"], "faultlab.comparison/1");
    assert_eq!(json["pairs"][0]["rows"][1]["verdict"], "slower");
    let gone = compare(
        |report| drop(report["scenarios"].as_array_mut().map(|rows| rows.remove(0))),
        "",
    );
    assert!(gone.expect(0).stdout().contains("\nonly in A: warm-touch\n"));
    let unsound = compare(
        |report| report["scenarios"][0]["checks"][0]["ok"] = json!(false),
        "--fail-on slower",
    );
    assert!(unsound.expect(1).stdout().contains("1 not judged"));
}

fn units() {
    compare(|report| report["cost_unit"] = json!("cycles"), "")
        .expect_refusal(2, &["a.json", "b.json", "instructions", "cycles", "one unit"]);
}
