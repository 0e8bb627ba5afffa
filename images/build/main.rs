//! Builds what the library embeds: the guest kernel, checked instruction by instruction, and the programs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs, process};

// Public in the library, which shares it.
#[allow(unreachable_pub)]
#[path = "../src/catalog.rs"]
mod catalog;
mod flags;
mod nested;
mod ring0;

use nested::Nested;

fn main() {
    if let Err(message) = run() {
        eprintln!("{message}");
        process::exit(1);
    }
}

fn run() -> Result<(), String> {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest_dir
        .parent()
        .ok_or("the images crate has no parent directory")?;
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    for input in [
        "guest",
        "Cargo.toml",
        "Cargo.lock",
        "rust-toolchain.toml",
        "images/build",
        "images/src/catalog.rs",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    let target = variable("TARGET")?;
    if target != flags::TARGET {
        return Err(format!(
            "the guest is x86-64 Linux only: build for {} instead of {target}",
            flags::TARGET
        ));
    }

    let kernel = build_kernel(workspace, &out_dir)?;
    let programs = build_programs(workspace, &out_dir)?;
    let embedded = out_dir.join("embedded.rs");
    fs::write(&embedded, embed(&kernel, &programs)).map_err(|error| format!("{}: {error}", embedded.display()))
}

/// Compiles the guest kernel and refuses one with instructions that ring 0 must not contain.
fn build_kernel(workspace: &Path, out_dir: &Path) -> Result<PathBuf, String> {
    let script = linker_script(workspace, out_dir)?;
    let nested = Nested {
        workspace,
        target_dir: out_dir.join("kernel"),
        package: "faultlab-kernel",
        bins: &["faultlab-kernel"],
        flags: &flags::kernel(&script),
    };
    let path = nested.build()?.join("faultlab-kernel");
    let elf = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    ring0::check(&elf).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// Copies the linker script to a name that depends on its contents. Cargo does not know that the flags name a file, and
/// would not link again when only that file changed.
fn linker_script(workspace: &Path, out_dir: &Path) -> Result<String, String> {
    let original = workspace.join("guest/kernel/linker.ld");
    let script = fs::read_to_string(&original).map_err(|error| format!("{}: {error}", original.display()))?;
    let mut hasher = DefaultHasher::new();
    script.hash(&mut hasher);
    let copy = out_dir.join(format!("linker-{:016x}.ld", hasher.finish()));
    fs::write(&copy, script).map_err(|error| format!("{}: {error}", copy.display()))?;
    copy.into_os_string()
        .into_string()
        .map_err(|path| format!("{}: the path is not UTF-8", path.display()))
}

/// Compiles the programs of the catalog; the order of the result is the catalog's.
fn build_programs(workspace: &Path, out_dir: &Path) -> Result<Vec<PathBuf>, String> {
    let bins: Vec<&str> = catalog::CATALOG.iter().map(|(name, _)| *name).collect();
    let nested = Nested {
        workspace,
        target_dir: out_dir.join("programs"),
        package: "faultlab-programs",
        bins: &bins,
        flags: &flags::programs(),
    };
    let directory = nested.build()?;
    Ok(bins.iter().map(|name| directory.join(name)).collect())
}

/// The source that the library includes.
fn embed(kernel: &Path, programs: &[PathBuf]) -> String {
    let mut source = format!(
        "/// The guest kernel: an ELF file for the Linux 64-bit boot protocol, entered at its (physical) `e_entry`.\n\
         pub static KERNEL: &[u8] = include_bytes!({kernel:?});\n\
         /// The bundled programs: name and static Linux x86-64 ELF, in the order of [`CATALOG`].\n\
         pub static PROGRAMS: &[(&str, &[u8])] = &[\n"
    );
    for ((name, _), path) in catalog::CATALOG.iter().zip(programs) {
        source.push_str(&format!("    ({name:?}, include_bytes!({path:?})),\n"));
    }
    source.push_str("];\n");
    source
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: this is a Cargo build script"))
}
