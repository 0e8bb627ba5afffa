//! Cargo inside Cargo: compiles guest packages with their own flags, apart from whatever the outer build is.
//!
//! The outer build may be `cargo build`, `test`, `doc`, `clippy`, nextest or a coverage run; each hands its build
//! scripts variables meant for host code. They are removed, the flags are passed in `CARGO_ENCODED_RUSTFLAGS` (which
//! overrides every configuration file), and the target directory is the build script's own: Cargo locks target
//! directories, so sharing the outer one would deadlock.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::flags::{PROFILE, TARGET};

/// One nested build.
pub(crate) struct Nested<'a> {
    /// Root of the workspace: where Cargo runs.
    pub workspace: &'a Path,
    /// Target directory, one for each set of flags.
    pub target_dir: PathBuf,
    /// Package to build.
    pub package: &'a str,
    /// Its binaries to build.
    pub bins: &'a [&'a str],
    /// Compiler flags.
    pub flags: &'a [String],
}

impl Nested<'_> {
    /// Builds, and returns the directory that holds the binaries.
    ///
    /// # Errors
    /// The whole output of the nested Cargo, if it fails. If it succeeds its warnings are dropped: those of our code
    /// are clippy's to show, and the one about `sse2` is explained in `flags.rs`.
    pub(crate) fn build(&self) -> Result<PathBuf, String> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .current_dir(self.workspace)
            .args(["build", "--package", self.package]);
        command
            .args(["--profile", PROFILE, "--target", TARGET, "--target-dir"])
            .arg(&self.target_dir);
        for bin in self.bins {
            command.args(["--bin", bin]);
        }
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(belongs_to_the_outer_build) {
                command.env_remove(name);
            }
        }
        command.env("CARGO_ENCODED_RUSTFLAGS", self.flags.join("\x1f"));
        let output = command
            .output()
            .map_err(|error| format!("cannot start {command:?}: {error}"))?;
        if !output.status.success() {
            let stdout = String::from_utf8_lossy(&output.stdout);
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(format!(
                "{} while building {}:\n{stdout}{stderr}",
                output.status, self.package
            ));
        }
        Ok(self.target_dir.join(TARGET).join(PROFILE))
    }
}

/// Whether a variable describes the outer build and would spoil this one. `CARGO_HOME`, `CARGO_NET_OFFLINE`,
/// `CARGO_MAKEFLAGS` (the job server), `RUSTC` and `RUSTUP_TOOLCHAIN` stay.
fn belongs_to_the_outer_build(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_ENCODED_RUSTDOCFLAGS",
        "CARGO_INCREMENTAL",
        "CLIPPY_ARGS",
        "CLIPPY_CONF_DIR",
        "LLVM_PROFILE_FILE",
    ];
    // Also the build script's own CARGO_CFG_*, CARGO_FEATURE_* and CARGO_PKG_*, which Cargo sets afresh.
    const PREFIXES: &[&str] = &[
        "CARGO_BUILD_",
        "CARGO_CFG_",
        "CARGO_FEATURE_",
        "CARGO_LLVM_COV",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
        "NEXTEST",
        "__CARGO_LLVM_COV",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
