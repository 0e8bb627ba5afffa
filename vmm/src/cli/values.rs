//! The values of options: their ranges, and what is said about one outside.

use faultlab::memory::Backing;
use faultlab::swap_file::SWAP_MIN_BYTES;
use faultlab_abi::layout::{PAGE_SIZE, RAM_MAX_BYTES, RAM_MIN_BYTES, WINDOW_MAX_BYTES};
use faultlab_abi::scenario;

use super::{Pages, Pattern, show_size};

/// What a sparse temporary file may promise.
const SWAP_MAX_BYTES: u64 = 64 << 30;

/// Linux takes a command line of 2,048 bytes and cuts off the rest.
const KERNEL_WORDS_MAX_BYTES: usize = 1024;

/// The most samples that one phase can hand over ([`faultlab_abi::dev::Samples::count`]).
const PAGES_MAX: u64 = 65_536;

/// Bytes of `text`: digits with an optional suffix K, M or G (either case), binary multiples.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let remedy = "give bytes or a number with K, M or G, such as 64M";
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    // `u64::from_str` alone would accept a leading `+`.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("not a size; {remedy}"));
    }
    let units: u64 = digits.parse().map_err(|_| format!("larger than 64 bits; {remedy}"))?;
    units
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("larger than 64 bits; {remedy}"))
}

/// A size of whole pages within `min..=max`.
pub(super) fn parse_pages_within(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let bytes = parse_size(text)?;
    if bytes < min || bytes > max {
        return Err(format!("out of range; give {} to {}", show_size(min), show_size(max)));
    }
    if !bytes.is_multiple_of(PAGE_SIZE) {
        return Err(format!(
            "not a multiple of the page size; give {} or a multiple of 4K",
            show_size(min)
        ));
    }
    Ok(bytes)
}

pub(super) fn parse_memory(text: &str) -> Result<u64, String> {
    parse_pages_within(text, RAM_MIN_BYTES, RAM_MAX_BYTES)
}

pub(super) fn parse_window(text: &str) -> Result<u64, String> {
    if parse_size(text)? == 0 {
        return Ok(0);
    }
    parse_pages_within(text, PAGE_SIZE, WINDOW_MAX_BYTES).map_err(|reason| format!("{reason}, or 0 for none"))
}

pub(super) fn parse_swap(text: &str) -> Result<u64, String> {
    if parse_size(text)? == 0 {
        return Ok(0);
    }
    parse_pages_within(text, SWAP_MIN_BYTES, SWAP_MAX_BYTES).map_err(|reason| format!("{reason}, or 0 for none"))
}

pub(super) fn parse_ring(text: &str) -> Result<u64, String> {
    let (min, max) = (256 << 10, 16 << 20);
    match parse_size(text)? {
        bytes if bytes.is_power_of_two() && (min..=max).contains(&bytes) => Ok(bytes),
        _ => Err(format!(
            "not a power of two from {} to {}; give one, such as 1M",
            show_size(min),
            show_size(max)
        )),
    }
}

pub(super) fn parse_pattern(text: &str) -> Result<Pattern, String> {
    let step = |text: &str| text.parse().ok().filter(|step| (1..=PAGES_MAX as u32).contains(step));
    match (text, text.strip_prefix("stride:")) {
        ("seq", _) => Ok(Pattern::Seq),
        ("rand", _) => Ok(Pattern::Rand),
        (_, Some(pages)) => step(pages)
            .map(Pattern::Stride)
            .ok_or_else(|| format!("not a stride; give stride:N with N from 1 to {PAGES_MAX}")),
        _ => Err("not a pattern; give seq, rand or stride:N".to_owned()),
    }
}

pub(super) fn scenario_names() -> Vec<&'static str> {
    scenario::ALL.iter().map(|scenario| scenario.name()).collect()
}

pub(super) fn backing_names() -> Vec<&'static str> {
    Backing::ALL.iter().map(|backing| backing.name()).collect()
}

pub(super) fn with_groups(names: Vec<&'static str>) -> Vec<&'static str> {
    let mut names = with_all(names);
    names.splice(1..1, scenario::Group::ALL.map(scenario::Group::name));
    names
}

pub(super) fn with_all(mut names: Vec<&'static str>) -> Vec<&'static str> {
    names.insert(0, "all");
    names
}

pub(super) fn parse_pages(text: &str) -> Result<Pages, String> {
    if text == "auto" {
        return Ok(Pages::Auto);
    }
    match text.parse() {
        Ok(pages @ 1..=PAGES_MAX) => Ok(Pages::Exactly(pages)),
        _ => Err(format!("not a number of pages; give 1 to {PAGES_MAX}, or auto")),
    }
}

/// Words for a kernel's command line. Quotes are the boot loader's.
pub(super) fn parse_kernel_words(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic() && !matches!(byte, b'\'' | b'"' | b'\\');
    match text.bytes().all(is_plain) && text.len() <= KERNEL_WORDS_MAX_BYTES {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "not words for a kernel; give at most {KERNEL_WORDS_MAX_BYTES} printable ASCII characters without quotes"
        )),
    }
}

/// Percent, 0 to 1000.
pub(super) fn parse_percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..=1000.0).contains(&percent) => Ok(percent),
        _ => Err("not a number of percent; give 0 to 1000, such as 2.5".to_owned()),
    }
}

/// `slower` or `slower:PERCENT`, as percent.
pub(super) fn parse_fail_on(text: &str) -> Result<f64, String> {
    match text.split_once(':') {
        None if text == "slower" => Ok(0.0),
        Some(("slower", percent)) => parse_percent(percent),
        _ => Err("give slower, or slower and percent, such as slower:5".to_owned()),
    }
}
