//! The kernel as the check sees it: functions with their bytes.

use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol, SectionIndex, SectionKind, SymbolKind};

/// Section of code that runs in ring 3.
const RING3_SECTION: &str = ".user_text";

/// The one-byte instruction that linkers fill gaps in code with.
const INT3: u8 = 0xcc;

/// One function, or one labelled piece of assembly.
#[derive(Debug)]
pub(super) struct Function {
    /// Demangled, without hash; several names of one address are joined by `=`.
    pub name: String,
    /// Address of its first byte.
    pub start: u64,
    /// Its bytes.
    pub code: Vec<u8>,
}

impl Function {
    /// Address past its last byte.
    pub(super) fn end(&self) -> u64 {
        self.start + self.code.len() as u64
    }
}

/// What is checked.
#[derive(Debug, Default)]
pub(super) struct Image {
    /// All of ring 0's code but padding, as functions.
    pub functions: Vec<Function>,
}

impl Image {
    /// Reads a linked kernel.
    ///
    /// # Errors
    /// What is wrong with the file, in words.
    pub(super) fn parse(bytes: &[u8]) -> Result<Image, String> {
        let elf: ElfFile64 = ElfFile64::parse(bytes).map_err(|error| format!("not a 64-bit ELF file: {error}"))?;
        if elf.symbol_by_name("_start").is_none() {
            return Err("the kernel has no symbol `_start`: was it stripped, or not linked with linker.ld?".to_owned());
        }
        let mut image = Image::default();
        // Text: every section with SHF_EXECINSTR.
        for section in elf.sections().filter(|section| section.kind() == SectionKind::Text) {
            if section.name().map_err(|error| error.to_string())? != RING3_SECTION {
                let data = section.data().map_err(|error| error.to_string())?;
                image
                    .functions
                    .extend(functions(&symbols(&elf, section.index()), section.address(), data));
            }
        }
        if image.functions.is_empty() {
            return Err("the kernel's .text is empty".to_owned());
        }
        Ok(image)
    }
}

/// Address, size (0: unknown) and name of everything in a section that may be code.
fn symbols(elf: &ElfFile64, section: SectionIndex) -> Vec<(u64, u64, String)> {
    elf.symbols()
        .filter(|symbol| symbol.section_index() == Some(section))
        .filter(|symbol| {
            matches!(
                symbol.kind(),
                SymbolKind::Text | SymbolKind::Label | SymbolKind::Unknown
            )
        })
        .filter_map(|symbol| Some((symbol.address(), symbol.size(), demangle(symbol.name().ok()?))))
        // The bounds of sections are no functions.
        .filter(|(_, _, name)| !matches!(name.as_str(), "" | "__text_start" | "__text_end" | "__kernel_start"))
        .collect()
}

/// Cuts a section into functions, so that decoding begins anew at each. A symbol with a size ends there, one without,
/// as assembly labels are, at the next symbol. What lies between is a function without a name, unless it is padding.
pub(super) fn functions(symbols: &[(u64, u64, String)], start: u64, data: &[u8]) -> Vec<Function> {
    let end = start + data.len() as u64;
    let mut cuts: Vec<u64> = symbols
        .iter()
        .flat_map(|(address, size, _)| [*address, address + size])
        .collect();
    cuts.extend([start, end]);
    cuts.retain(|cut| (start..=end).contains(cut));
    cuts.sort_unstable();
    cuts.dedup();
    let pieces = cuts.windows(2).map(|cut| {
        let names: Vec<&str> = symbols
            .iter()
            .filter(|symbol| symbol.0 == cut[0])
            .map(|symbol| symbol.2.as_str())
            .collect();
        let name = if names.is_empty() {
            "(code without a symbol)".to_owned()
        } else {
            names.join("=")
        };
        let code = &data[(cut[0] - start) as usize..(cut[1] - start) as usize];
        // Without a size, the gap that follows the function is taken for a part of it.
        let padding = code.iter().rev().take_while(|byte| **byte == INT3).count();
        let sized = symbols.iter().any(|symbol| symbol.0 == cut[0] && symbol.1 != 0);
        let code = if sized { code } else { &code[..code.len() - padding] };
        Function {
            name,
            start: cut[0],
            code: code.to_vec(),
        }
    });
    pieces.filter(|function| !function.code.is_empty()).collect()
}

fn demangle(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}
