//! The check must catch each forbidden class, in every function.

use super::image::{Function, Image, functions};
use super::{Error, Violation, check_image};

const TEXT: u64 = 0xffff_ffff_8010_0000;
const RET: &[u8] = &[0xc3];
/// `pxor xmm0, xmm0; ret`.
const SSE: &[u8] = &[0x66, 0x0f, 0xef, 0xc0, 0xc3];

/// Functions 256 bytes apart.
fn image(functions: &[(&str, &[u8])]) -> Image {
    let function = |(index, (name, code)): (usize, &(&str, &[u8]))| Function {
        name: (*name).to_owned(),
        start: TEXT + 256 * index as u64,
        code: code.to_vec(),
    };
    Image {
        functions: functions.iter().enumerate().map(function).collect(),
    }
}

fn violations(image: &Image) -> Vec<Violation> {
    match check_image(image) {
        Ok(_) => Vec::new(),
        Err(Error::Refused(violations)) => violations,
        Err(error) => panic!("{error}"),
    }
}

fn guilty(image: &Image) -> Vec<String> {
    violations(image)
        .into_iter()
        .map(|violation| violation.symbol)
        .collect()
}

#[test]
fn every_forbidden_class_is_caught() {
    let forbidden: &[(&str, &[u8])] = &[
        ("pxor xmm0,xmm0", &[0x66, 0x0f, 0xef, 0xc0]),
        ("xorps xmm0,xmm0", &[0x0f, 0x57, 0xc0]),
        ("movd xmm0,eax", &[0x66, 0x0f, 0x6e, 0xc0]),
        ("movups xmm0,[rdi]", &[0x0f, 0x10, 0x07]),
        ("movsd xmm0,[rdi]", &[0xf2, 0x0f, 0x10, 0x07]),
        ("pinsrw xmm0,eax,1", &[0x66, 0x0f, 0xc4, 0xc0, 0x01]),
        ("pshufb xmm0,xmm1", &[0x66, 0x0f, 0x38, 0x00, 0xc1]),
        ("pextrd eax,xmm0,1", &[0x66, 0x0f, 0x3a, 0x16, 0xc0, 0x01]),
        ("vpxor ymm0,ymm0,ymm0", &[0xc5, 0xfd, 0xef, 0xc0]),
        ("vmovdqu64 zmm0,[rdi]", &[0x62, 0xf1, 0xfe, 0x48, 0x6f, 0x07]),
        ("movq mm0,rax", &[0x48, 0x0f, 0x6e, 0xc0]),
        ("emms", &[0x0f, 0x77]),
        ("fld1", &[0xd9, 0xe8]),
        ("fninit", &[0xdb, 0xe3]),
        ("aesenc xmm0,xmm1", &[0x66, 0x0f, 0x38, 0xdc, 0xc1]),
        ("popcnt rax,rax", &[0xf3, 0x48, 0x0f, 0xb8, 0xc0]),
        ("andn eax,eax,ecx", &[0xc4, 0xe2, 0x78, 0xf2, 0xc1]),
        ("blsr eax,ecx", &[0xc4, 0xe2, 0x78, 0xf3, 0xc9]),
        ("shlx rax,rdi,rcx", &[0xc4, 0xe2, 0xf1, 0xf7, 0xc7]),
        ("rorx eax,ecx,1", &[0xc4, 0xe3, 0x7b, 0xf0, 0xc1, 0x01]),
        ("adcx eax,ecx", &[0x66, 0x0f, 0x38, 0xf6, 0xc1]),
        ("crc32 eax,cl", &[0xf2, 0x0f, 0x38, 0xf0, 0xc1]),
        ("cmpxchg16b [rdi]", &[0x48, 0x0f, 0xc7, 0x0f]),
        ("rdtscp", &[0x0f, 0x01, 0xf9]),
        ("xgetbv", &[0x0f, 0x01, 0xd0]),
        ("xsetbv", &[0x0f, 0x01, 0xd1]),
        ("xsave64 [rdi]", &[0x48, 0x0f, 0xae, 0x27]),
        ("xrstor64 [rdi]", &[0x48, 0x0f, 0xae, 0x2f]),
        ("xsavec64 [rdi]", &[0x48, 0x0f, 0xc7, 0x27]),
        ("xsaves64 [rdi]", &[0x48, 0x0f, 0xc7, 0x2f]),
        ("xsaveopt64 [rdi]", &[0x48, 0x0f, 0xae, 0x37]),
        ("ldmxcsr [rdi]", &[0x0f, 0xae, 0x17]),
        ("stmxcsr [rdi]", &[0x0f, 0xae, 0x1f]),
        ("stac", &[0x0f, 0x01, 0xcb]),
        ("clac", &[0x0f, 0x01, 0xca]),
        ("invpcid rax,[rdi]", &[0x66, 0x0f, 0x38, 0x82, 0x07]),
        ("monitor", &[0x0f, 0x01, 0xc8]),
        ("mwait", &[0x0f, 0x01, 0xc9]),
        ("int3", &[0xcc]),
        ("int 0x80", &[0xcd, 0x80]),
        ("int1", &[0xf1]),
        ("movbe eax,[rdi]", &[0x0f, 0x38, 0xf0, 0x07]),
        ("rdpid rax", &[0xf3, 0x0f, 0xc7, 0xf8]),
        ("vmcall", &[0x0f, 0x01, 0xc1]),
        ("vmmcall", &[0x0f, 0x01, 0xd9]),
        ("sysretq", &[0x48, 0x0f, 0x07]),
        ("syscall", &[0x0f, 0x05]),
        ("invalid", &[0x06]),
    ];
    for (what, bytes) in forbidden {
        let code = [*bytes, RET].concat();
        let found = violations(&image(&[("_start", &code)]));
        assert_eq!(found.len(), 1, "{what}: {found:?}");
        assert_eq!((found[0].address, found[0].symbol.as_str()), (TEXT, "_start"), "{what}");
        assert!(!found[0].remedy.is_empty() && !found[0].reason.is_empty(), "{what}");
    }
}

#[test]
fn what_the_emulator_carries_out_is_allowed() {
    let allowed: &[(&str, &[u8])] = &[
        ("fxsave64 [rdi]", &[0x48, 0x0f, 0xae, 0x07]),
        ("fxrstor64 [rdi]", &[0x48, 0x0f, 0xae, 0x0f]),
        ("ud2", &[0x0f, 0x0b]),
        ("rep stosq", &[0xf3, 0x48, 0xab]),
        ("lock cmpxchg [rdi],rcx", &[0xf0, 0x48, 0x0f, 0xb1, 0x0f]),
        ("cmpxchg8b [rdi]", &[0x0f, 0xc7, 0x0f]),
        ("tzcnt eax,eax", &[0xf3, 0x0f, 0xbc, 0xc0]),
        ("lzcnt eax,eax", &[0xf3, 0x0f, 0xbd, 0xc0]),
        ("bsf eax,eax", &[0x0f, 0xbc, 0xc0]),
        ("rdtsc", &[0x0f, 0x31]),
        ("lfence", &[0x0f, 0xae, 0xe8]),
        ("mfence", &[0x0f, 0xae, 0xf0]),
        ("pause", &[0xf3, 0x90]),
        ("prefetcht0 [rdi]", &[0x0f, 0x18, 0x0f]),
        ("clflush [rdi]", &[0x0f, 0xae, 0x3f]),
        ("swapgs", &[0x0f, 0x01, 0xf8]),
        ("wrfsbase rax", &[0xf3, 0x48, 0x0f, 0xae, 0xd0]),
        ("wrmsr", &[0x0f, 0x30]),
        ("cpuid", &[0x0f, 0xa2]),
        ("invlpg [rdi]", &[0x0f, 0x01, 0x3f]),
        ("mov cr3,rax", &[0x0f, 0x22, 0xd8]),
        ("lgdt [rdi]", &[0x0f, 0x01, 0x17]),
        ("out dx,eax", &[0xef]),
        ("hlt", &[0xf4]),
        ("iretq", &[0x48, 0xcf]),
        ("retfq", &[0x48, 0xcb]),
        ("cmovae rax,rcx", &[0x48, 0x0f, 0x43, 0xc1]),
        ("nop word [rax+rax]", &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00]),
    ];
    for (what, bytes) in allowed {
        let code = [*bytes, RET].concat();
        assert_eq!(violations(&image(&[("_start", &code)])), [], "{what}");
    }
}

#[test]
fn native_functions_may_hold_what_needs_native_ring_0_but_no_vector_code() {
    let sysretq = &[0x48, 0x0f, 0x07];
    assert_eq!(guilty(&image(&[("native_exit", sysretq)])), [""; 0]);
    assert_eq!(guilty(&image(&[("kernel::gate::native_exit", sysretq)])), [""; 0]);
    assert_eq!(guilty(&image(&[("not_native_exit", sysretq)])), ["not_native_exit"]);
    assert_eq!(guilty(&image(&[("native_exit", SSE)])), ["native_exit"]);
}

#[test]
fn the_report_names_symbol_address_instruction_and_callers() {
    // call +0xfb: to 256 bytes after this function's begin.
    let call = [0xe8, 0xfb, 0x00, 0x00, 0x00, 0xc3];
    let found = violations(&image(&[("_start", &call), ("leaf", SSE), ("other", RET)]));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].callers, ["_start"]);
    let text = Error::Refused(found).to_string();
    assert!(
        text.contains("leaf at 0xffffffff80100100: `pxor xmm0,xmm0`: vector"),
        "{text}"
    );
    assert!(
        text.contains("called by _start\n") && text.contains("remedy: "),
        "{text}"
    );
}

#[test]
fn all_functions_are_checked_and_counted() {
    assert_eq!(guilty(&image(&[("a", RET), ("b", SSE), ("c", SSE)])), ["b", "c"]);
    assert_eq!(check_image(&image(&[("a", RET), ("b", &[0x90, 0xc3])])), Ok(3));
}

#[test]
fn code_is_cut_at_symbols_and_only_padding_is_left_out() {
    // sized: ret | gap: int3 int3 | label without size: nop, then int3 to the end.
    let data = [0xc3, 0xcc, 0xcc, 0x90, 0xcc];
    let symbols = [
        (TEXT, 1, "sized".to_owned()),
        (TEXT + 3, 0, "label".to_owned()),
        (TEXT + 3, 0, "alias".to_owned()),
    ];
    let cut = functions(&symbols, TEXT, &data);
    let shown: Vec<(&str, u64, &[u8])> = cut
        .iter()
        .map(|function| (function.name.as_str(), function.start - TEXT, function.code.as_slice()))
        .collect();
    assert_eq!(shown, [("sized", 0, &[0xc3][..]), ("label=alias", 3, &[0x90][..])]);
    // What a symbol's size covers is never padding, and code in a gap is code.
    let sized = [(TEXT, 5, "trap".to_owned())];
    assert_eq!(functions(&sized, TEXT, &[0xcc; 5])[0].code, [0xcc; 5]);
    let hidden = functions(&[(TEXT, 1, "sized".to_owned())], TEXT, &[0xc3, 0xcc, 0x0f, 0x05]);
    assert_eq!(hidden[1].name, "(code without a symbol)");
    assert_eq!(hidden[1].code, [0xcc, 0x0f, 0x05]);
}

#[test]
fn a_file_that_is_no_kernel_is_refused() {
    assert!(matches!(super::check(b"\x7fELF"), Err(Error::Image(_))));
    assert!(matches!(super::check(b""), Err(Error::Image(_))));
}
