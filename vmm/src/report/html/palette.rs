//! Colours: each has a value for light and one for dark pages, and a name under which the style sheet has it.
//!
//! The lines' colours stay apart for people who do not see red and green alike. Plots are drawn in the light values; in the
//! page, the style sheet replaces each by its variable.
//!
//! Source: Okabe and Ito 2008, "Color Universal Design"; the dark values are lighter shades of the same.

use std::fmt::Write;

use plotters::style::RGBColor;

/// A colour as (light, dark), each 0xRRGGBB.
type Shades = (u32, u32);

/// Of lines and of the parts of bars, in the order they are used.
const SERIES: [Shades; 18] = [
    (0x0072b2, 0x5ab4e6),
    (0xd55e00, 0xff8c42),
    (0x009e73, 0x2fd0a2),
    (0xcc79a7, 0xe7a3c8),
    (0xb8860b, 0xe6b93c),
    (0x56459e, 0xa89bea),
    (0x7a7a7a, 0xb0b0b0),
    (0x8c4a2f, 0xc98d72),
    (0x3a8fb7, 0x8fd3f4),
    (0x6b8e23, 0xaed15a),
    (0xa83250, 0xf0799a),
    (0x2f6f6f, 0x74c7c7),
    (0x444466, 0xd0d0ee),
    (0x9c6b00, 0xf2c14e),
    (0x7b2d8b, 0xc98be0),
    (0x1f7a4d, 0x69d6a0),
    (0xc0392b, 0xff9b8f),
    (0x4a6fa5, 0xa3c4f3),
];

/// Text in plots, and the lines behind it.
const INK: Shades = (0x333333, 0xcccccc);
const GRID: Shades = (0xdddddd, 0x3a3f46);

/// The colours of a plot's line number `at`.
pub(super) fn series(at: usize) -> RGBColor {
    rgb(SERIES[at % SERIES.len()].0)
}

/// The style sheet's name for the same.
pub(super) fn series_variable(at: usize) -> String {
    format!("var(--s{})", at % SERIES.len())
}

/// The colour of text in plots.
pub(super) fn ink() -> RGBColor {
    rgb(INK.0)
}

/// The colour of the lines behind.
pub(super) fn grid() -> RGBColor {
    rgb(GRID.0)
}

fn rgb(colour: u32) -> RGBColor {
    let [_, red, green, blue] = colour.to_be_bytes();
    RGBColor(red, green, blue)
}

/// The part of the style sheet that names the colours and puts them into the plots.
pub(super) fn style_sheet() -> String {
    let series = SERIES
        .iter()
        .enumerate()
        .map(|(at, shades)| (format!("s{at}"), *shades));
    let named: Vec<(String, Shades)> = series
        .chain([("ink".to_owned(), INK), ("grid".to_owned(), GRID)])
        .collect();
    let variables = |pick: fn(Shades) -> u32| {
        let variable = |(name, shades): &(String, Shades)| format!("--{name}:#{:06x};", pick(*shades));
        named.iter().map(variable).collect::<String>()
    };
    let (light, dark) = (variables(|shades| shades.0), variables(|shades| shades.1));
    let mut text = format!(":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n");
    for (name, (light, _)) in &named {
        // As the SVG backend writes it.
        let _ = writeln!(
            text,
            "svg [stroke=\"#{light:06X}\"]{{stroke:var(--{name})}}svg [fill=\"#{light:06X}\"]{{fill:var(--{name})}}"
        );
    }
    text
}
