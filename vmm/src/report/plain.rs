//! Tables of text without lines, as all that this program prints are: numbers to the right, words to the left.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// An empty table, as wide as its cells; coloured only when asked for.
pub(crate) fn table(colours: bool) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if colours {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}

/// Sets every column but the first `gap` spaces apart; the columns (of so many) that `is_text` names are words. To be called once the
/// rows are there.
pub(crate) fn align(table: &mut Table, gap: u16, is_text: impl Fn(usize, usize) -> bool) {
    let columns = table.column_count();
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if at == 0 { 0 } else { gap }, 0));
        column.set_cell_alignment(if is_text(at, columns) {
            CellAlignment::Left
        } else {
            CellAlignment::Right
        });
    }
}

/// Words in the first column and the last.
pub(crate) fn outer(at: usize, columns: usize) -> bool {
    at == 0 || at + 1 == columns
}
