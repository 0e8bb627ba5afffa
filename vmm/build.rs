//! Tells the reports which commit they come from: `FAULTLAB_COMMIT`, the commit that was checked out when faultlab was
//! built, or `unknown` outside a git work tree. Whether files were changed since cannot be known here.
//! And which compiler: `FAULTLAB_TOOLCHAIN`, on which instruction counts depend.

use std::path::Path;
use std::process::Command;

/// Grows with every commit and checkout.
const REFLOG: &str = "../.git/logs/HEAD";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A path that does not exist would make every build run this again.
    if Path::new(REFLOG).exists() {
        println!("cargo::rerun-if-changed={REFLOG}");
    }
    println!(
        "cargo::rustc-env=FAULTLAB_COMMIT={}",
        commit().unwrap_or_else(|| "unknown".to_owned())
    );
    println!(
        "cargo::rustc-env=FAULTLAB_TOOLCHAIN={}",
        toolchain().unwrap_or_else(|| "unknown".to_owned())
    );
}

fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let commit = text.trim();
    (output.status.success() && commit.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| commit.to_owned())
}

/// Cargo runs this script again when the compiler changes.
fn toolchain() -> Option<String> {
    let output = Command::new(std::env::var_os("RUSTC")?)
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
