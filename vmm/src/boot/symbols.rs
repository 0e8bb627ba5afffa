//! Names for addresses of the guest kernel, from its ELF symbol table.

use object::read::elf::ElfFile64;
use object::{Object, ObjectSymbol, SymbolKind};
use rustc_demangle::demangle;

/// The functions of a kernel, by address.
#[derive(Debug, Default)]
pub struct Symbols {
    /// Address, size in bytes, mangled name; ascending.
    functions: Vec<(u64, u64, String)>,
}

impl Symbols {
    /// The symbols of `elf`; none if it has no symbol table or is no ELF.
    #[must_use]
    pub fn parse(elf: &[u8]) -> Symbols {
        let Ok(file) = ElfFile64::<object::Endianness>::parse(elf) else {
            return Symbols::default();
        };
        let mut functions: Vec<_> = file
            .symbols()
            .filter(|symbol| matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Label) && symbol.is_definition())
            .filter_map(|symbol| Some((symbol.address(), symbol.size(), symbol.name().ok()?.to_owned())))
            .collect();
        functions.sort();
        Symbols { functions }
    }

    /// `function+0xoffset` for an address in a function, or past one that has no size (assembly labels).
    #[must_use]
    pub fn name(&self, address: u64) -> Option<String> {
        let after = self.functions.partition_point(|(start, ..)| *start <= address);
        let (start, size, name) = self.functions[..after].last()?;
        let offset = address - start;
        // A label without a size reaches to the next symbol, but not into nowhere.
        let reach = if *size == 0 { 4096 } else { *size };
        (offset < reach).then(|| format!("{:#}+{offset:#x}", demangle(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_the_name_of_the_function_around_them() {
        let functions = vec![
            (0x100, 0x20, "_ZN6kernel5fault17h0123456789abcdefE".to_owned()),
            (0x200, 0, "entry".to_owned()),
        ];
        let symbols = Symbols { functions };
        assert_eq!(symbols.name(0xff), None);
        assert_eq!(symbols.name(0x11f).as_deref(), Some("kernel::fault+0x1f"));
        assert_eq!(symbols.name(0x120), None, "past the end of the function");
        assert_eq!(symbols.name(0x210).as_deref(), Some("entry+0x10"));
        assert_eq!(symbols.name(0x1200), None, "far past a label without a size");
    }

    #[test]
    fn bytes_that_are_no_elf_have_no_symbols() {
        assert_eq!(Symbols::parse(b"not an elf").name(0), None);
    }
}
