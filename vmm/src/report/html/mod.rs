//! The report as one page that needs nothing else: no network, no script, no file beside it.
//!
//! | file | what it draws |
//! |---|---|
//! | [`page`] | the page: one section a report, with its host, what is wrong, and what follows |
//! | [`rows`] | the table of rows, failures marked and explained |
//! | [`stages`] | where the time of traced faults went, as stacked bars |
//! | [`percentiles`] | the distributions, one plot a scenario |
//! | [`axis`] | scales and ticks of the plots |
//! | [`labelled`] | an axis with given ticks |
//! | [`palette`] | colours, each for light and for dark |
//!
//! # Invariants
//! All text of the report passes through the template's escaping ([`maud`]); what is inserted as it is, are the plots, which
//! hold numbers only. The page's own policy forbids scripts and connections besides. Any report that can be read
//! can be rendered: numbers are clamped before they become coordinates.

mod axis;
mod labelled;
mod page;
mod palette;
mod percentiles;
mod rows;
mod stages;

#[cfg(test)]
mod tests;

pub use page::render;
