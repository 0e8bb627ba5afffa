//! The machine's file system: this very program as `/init`, what it needs to run, and the files that its arguments
//! name, at the same paths as here.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::elf;
use super::error::RigError;
use super::files::{Input, directory_of};
use super::libraries::{self, libraries_of};
use super::plan::{PLAN_PATH, Plan};

/// Where the kernel looks for its first process.
pub(super) const INIT_PATH: &str = "/init";

/// Where modules are.
const MODULES_DIRECTORY: &str = "/.faultlab-rig/modules";

/// Builds it. `plan.modules` are paths here, and become paths in the machine.
pub(super) fn build(mut plan: Plan, inputs: Vec<Input>) -> Result<Archive, RigError> {
    let mut archive = Archive::default();
    archive.add_directory(&plan.directory, 0o755);
    for output in &plan.outputs {
        // A directory that is missing here is missing there, and the command says so.
        if directory_of(output).is_dir() {
            archive.add_directory(&plan.directory.join(directory_of(output)), 0o755);
        }
    }
    for input in inputs {
        archive.add_file(&plan.directory.join(input.path), input.permissions, input.contents);
    }
    archive.add_directory(Path::new("/tmp"), 0o1777);
    for directory in ["/dev", "/proc", "/sys", "/root"] {
        archive.add_directory(Path::new(directory), 0o755);
    }
    // The kernel gives it to the first process as its standard streams.
    archive.add_character_device(Path::new("/dev/console"), 0o600, (5, 1));
    add_init(&mut archive)?;
    if !plan.program.as_os_str().is_empty() {
        let contents = read(&plan.program)?;
        add_libraries(&mut archive, &plan.program, &contents)?;
    }
    if !plan.formatter.as_os_str().is_empty() {
        let contents = read(&plan.formatter)?;
        add_libraries(&mut archive, &plan.formatter, &contents)?;
        archive.add_file(&plan.formatter, 0o755, contents);
    }
    for modules in [&mut plan.modules, &mut plan.disk_modules] {
        for path in modules {
            *path = add_module(&mut archive, path)?;
        }
    }
    archive.add_file(Path::new(PLAN_PATH), 0o400, plan.encode());
    Ok(archive)
}

/// This program and its libraries.
fn add_init(archive: &mut Archive) -> Result<(), RigError> {
    // The path may name another file by now; this link does not.
    let program = read(Path::new("/proc/self/exe"))?;
    let path = env::current_exe().map_err(|source| cannot_read(Path::new("/proc/self/exe"), source))?;
    add_libraries(archive, &path, &program)?;
    archive.add_file(Path::new(INIT_PATH), 0o755, elf::loadable(program));
    Ok(())
}

/// The libraries of `program`, the contents of the file at `path`.
fn add_libraries(archive: &mut Archive, path: &Path, program: &[u8]) -> Result<(), RigError> {
    let libraries = libraries_of(path, program).map_err(|missing| RigError::Library {
        name: missing.name,
        needed_by: missing.needed_by,
    })?;
    if !libraries.is_empty()
        && let Ok(cache) = fs::read(libraries::CACHE)
    {
        archive.add_file(Path::new(libraries::CACHE), 0o644, cache);
    }
    for (path, contents) in libraries {
        archive.add_file(&path, 0o755, contents);
    }
    Ok(())
}

/// The module's path in the machine.
fn add_module(archive: &mut Archive, path: &Path) -> Result<PathBuf, RigError> {
    let target = Path::new(MODULES_DIRECTORY).join(path.file_name().unwrap_or(path.as_os_str()));
    archive.add_file(&target, 0o400, read(path)?);
    Ok(target)
}

fn read(path: &Path) -> Result<Vec<u8>, RigError> {
    fs::read(path).map_err(|source| cannot_read(path, source))
}

fn cannot_read(path: &Path, source: io::Error) -> RigError {
    let what = format!("read {}", path.display());
    RigError::Prepare {
        what,
        source,
        remedy: "the simulated machine runs a copy of it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_where_it_is_looked_for() {
        let directory = tempfile::tempdir().unwrap();
        let module = directory.path().join("kvm.ko");
        fs::write(&module, "module").unwrap();
        let plan = Plan {
            directory: "/somewhere/here".into(),
            modules: vec![module],
            outputs: vec![directory.path().join("out.json"), "/nonexistent/out.json".into()],
            ..Plan::default()
        };
        let input = Input {
            path: "../program".into(),
            permissions: 0o755,
            contents: vec![1],
        };
        let archive = build(plan, vec![input]).unwrap();
        for path in [
            "/init",
            PLAN_PATH,
            "/.faultlab-rig/modules/kvm.ko",
            "/dev/console",
            "/somewhere/program",
            "/tmp",
        ] {
            assert!(archive.contains(Path::new(path)), "{path}");
        }
        assert!(archive.contains(directory.path()) && !archive.contains(Path::new("/nonexistent")));
        assert!(archive.contains(Path::new("/somewhere/here")));
    }

    #[test]
    fn a_missing_module_is_one_line() {
        let plan = Plan {
            directory: "/".into(),
            modules: vec!["/nonexistent/kvm.ko".into()],
            ..Plan::default()
        };
        let error = build(plan, vec![]).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read /nonexistent/kvm.ko: No such file"),
            "{error}"
        );
    }
}
