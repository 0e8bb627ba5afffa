//! The shape of the JSON as a JSON Schema, made of the types that write and read it.
//!
//! `docs/report.schema.json` holds this text; `faultlab report --schema` prints it. What a later version adds is allowed:
//! no object is closed to further members.
//!
//! Source: JSON Schema 2020-12, <https://json-schema.org/specification>.

use schemars::{JsonSchema, schema_for};

use super::json;
use super::model::{Collection, Report};

/// A file that faultlab's reports come in: one report, or a collection of them.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is used")]
enum ReportFile {
    One(Box<Report>),
    Several(Collection),
}

/// The schema as JSON, ended by a newline.
#[must_use]
pub fn text() -> String {
    // A schema has only string keys and finite numbers.
    let text = json::text(&schema_for!(ReportFile)).unwrap_or_default();
    // Links of the documentation that the descriptions come from.
    text.replace("[`", "`").replace("`]", "`")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json as value};

    use super::super::measured::Regime;
    use super::super::testing::report;
    use super::super::{Collection, Report};
    use super::*;

    /// Why `value` is no report.
    fn faults(value: &Value) -> Vec<String> {
        let schema: Value = serde_json::from_str(&text()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        validator.iter_errors(value).map(|fault| fault.to_string()).collect()
    }

    #[test]
    fn the_committed_file_is_what_the_types_make() {
        let committed = include_str!("../../../docs/report.schema.json");
        assert!(
            committed == text(),
            "write it again: faultlab report --schema > docs/report.schema.json"
        );
    }

    #[test]
    fn reports_and_collections_are_valid() {
        let one = report(Regime::Shadow);
        assert_eq!(faults(&serde_json::to_value(&one).unwrap()), [""; 0]);
        let two = Collection::of(vec![one.clone(), one]);
        assert_eq!(faults(&serde_json::to_value(&two).unwrap()), [""; 0]);
    }

    #[test]
    fn what_a_reader_refuses_is_invalid_and_the_other_way_round() {
        let good = serde_json::to_value(report(Regime::TwoDimensional)).unwrap();
        let edits: [fn(&mut Value); 8] = [
            |report| report["added"] = value!(1),
            |report| report["scenarios"][0]["count"] = value!(-1),
            |report| report["scenarios"][0]["cycles"]["p50"] = value!(1.5),
            |report| report["scenarios"][0]["percentiles_cycles"][0] = value!([1]),
            |report| report["scenarios"] = value!({}),
            |report| report["cost_unit"] = value!("parsecs"),
            |report| drop(report["host"].take()),
            |report| drop(report.as_object_mut().unwrap().remove("marks")),
        ];
        for (number, edit) in edits.iter().enumerate() {
            let mut edited = good.clone();
            edit(&mut edited);
            let valid = faults(&edited).is_empty();
            assert_eq!(valid, serde_json::from_value::<Report>(edited).is_ok(), "edit {number}");
        }
    }
}
