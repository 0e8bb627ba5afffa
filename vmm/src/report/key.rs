//! What makes a row that row: the key by which rows of two reports are paired, and a name that is no longer than needed.

use serde::Serialize;

use super::model::Scenario;

/// What was measured, without what came out. Rows with the same key can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowKey {
    /// The scenario's name.
    pub scenario: String,
    /// What backs guest memory.
    pub backing: String,
    /// Order of the touches.
    pub pattern: String,
    /// `store` or `load`.
    pub access: String,
    /// Bytes of the guest's pages.
    pub page_bytes: u64,
    /// vCPUs that touch.
    pub vcpus: u32,
}

impl RowKey {
    /// The key of `row`.
    #[must_use]
    pub fn of(row: &Scenario) -> Self {
        Self {
            scenario: row.name.clone(),
            backing: row.backing.clone(),
            pattern: row.pattern.clone(),
            access: row.access.clone(),
            page_bytes: row.page_bytes,
            vcpus: row.vcpus,
        }
    }

    /// What may stand behind the scenario's name, in this order.
    fn parts(&self) -> [String; 5] {
        let vcpus = format!("{} vCPU{}", self.vcpus, if self.vcpus == 1 { "" } else { "s" });
        let page = format!("{} pages", super::header::show_size(self.page_bytes));
        [
            self.backing.clone(),
            page,
            self.pattern.clone(),
            self.access.clone(),
            vcpus,
        ]
    }
}

/// How the rows of a table are named: by the scenario, and by that of the rest in which rows of one scenario differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    shown: [bool; 5],
}

impl Naming {
    /// The shortest that tells these rows apart.
    #[must_use]
    pub fn of(keys: &[RowKey]) -> Self {
        let mut shown = [false; 5];
        let parts: Vec<_> = keys.iter().map(|key| (&key.scenario, key.parts())).collect();
        for (at, (scenario, first)) in parts.iter().enumerate() {
            for (_, other) in parts[at + 1..].iter().filter(|(other, _)| other == scenario) {
                for (shown, (first, other)) in shown.iter_mut().zip(first.iter().zip(other)) {
                    *shown |= first != other;
                }
            }
        }
        Self { shown }
    }

    /// The same for the rows of a report.
    #[must_use]
    pub fn of_rows(rows: &[Scenario]) -> Self {
        Self::of(&rows.iter().map(RowKey::of).collect::<Vec<_>>())
    }

    /// What stands behind the scenario's name, with a space before it; often nothing.
    #[must_use]
    pub fn suffix(self, key: &RowKey) -> String {
        let parts = key.parts().into_iter().zip(self.shown);
        parts
            .filter(|(part, shown)| *shown && part != "none")
            .map(|(part, _)| format!(" {part}"))
            .collect()
    }

    /// The row's whole name.
    #[must_use]
    pub fn name(self, key: &RowKey) -> String {
        format!("{}{}", key.scenario, self.suffix(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scenario: &str, backing: &str, access: &str) -> RowKey {
        RowKey {
            scenario: scenario.to_owned(),
            backing: backing.to_owned(),
            pattern: "seq".to_owned(),
            access: access.to_owned(),
            page_bytes: 4096,
            vcpus: 1,
        }
    }

    #[test]
    fn a_name_is_as_long_as_it_must_be() {
        let keys = [key("minor", "anon", "store"), key("alloc-cold", "memfd", "store")];
        let naming = Naming::of(&keys);
        assert_eq!(keys.each_ref().map(|key| naming.name(key)), ["minor", "alloc-cold"]);
        let keys = [
            key("minor", "anon", "store"),
            key("minor", "memfd", "store"),
            key("minor", "anon", "load"),
        ];
        let naming = Naming::of(&keys);
        assert_eq!(
            keys.each_ref().map(|key| naming.name(key)),
            ["minor anon store", "minor memfd store", "minor anon load"]
        );
        let mut two = keys[0].clone();
        (two.vcpus, two.page_bytes) = (2, 2 << 20);
        let naming = Naming::of(&[keys[0].clone(), two.clone()]);
        assert_eq!(naming.name(&two), "minor 2M pages 2 vCPUs");
    }
}
