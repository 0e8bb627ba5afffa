//! The private tracefs instance.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{HostEvent, HostEventKind, HostTrace};

/// Where tracefs may be mounted.
const MOUNTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// What the name of every instance begins with; the process's id follows.
const PREFIX: &str = "faultlab-";

/// KiB of buffer for each processor: some 50,000 events.
const BUFFER_KIB: u32 = 4096;

/// The events of one thread. Removed from the host when dropped.
#[derive(Debug)]
pub struct HostEvents {
    instance: PathBuf,
}

impl HostEvents {
    /// Makes an instance that records the thread `tid`, switched off.
    ///
    /// # Errors
    /// One line: tracefs is not mounted, or not permitted, with the remedy.
    pub fn open(tid: i32) -> Result<HostEvents, String> {
        let mounted = MOUNTS
            .iter()
            .map(Path::new)
            .find(|mount| readable(&mount.join("instances")));
        let Some(mount) = mounted else {
            return Err(
                "no tracefs that this user may use; as root: mount -t tracefs tracefs /sys/kernel/tracing, and run as root"
                    .to_owned(),
            );
        };
        remove_stale(mount);
        let instance = mount.join("instances").join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&instance)
            .map_err(|error| format!("cannot create {}: {error}; run as root", instance.display()))?;
        // From here on, dropping removes it.
        let events = HostEvents { instance };
        events.set_up(tid)?;
        Ok(events)
    }

    fn set_up(&self, tid: i32) -> Result<(), String> {
        self.write("tracing_on", "0")?;
        self.write("trace_clock", "x86-tsc")?;
        self.write("buffer_size_kb", &BUFFER_KIB.to_string())?;
        self.write("set_event_pid", &tid.to_string())?;
        for (_, group, name) in HostEventKind::ALL {
            self.write(&format!("events/{group}/{name}/enable"), "1")?;
        }
        Ok(())
    }

    /// Forgets what was recorded and begins.
    ///
    /// # Errors
    /// The file that refused.
    pub fn start(&self) -> Result<(), String> {
        self.write("trace", "")?;
        self.write("tracing_on", "1")
    }

    /// Ends recording and reads what there is.
    ///
    /// # Errors
    /// The file that refused.
    pub fn stop(&self) -> Result<HostTrace, String> {
        self.write("tracing_on", "0")?;
        let text = self.read("trace")?;
        let mut trace = HostTrace::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match HostEvent::parse(line) {
                Some(event) => trace.events.push(event),
                // How many a note about lost events means is in the statistics.
                None if line.is_empty() || line.starts_with("CPU:") => {}
                None => trace.lost += 1,
            }
        }
        trace.lost += self.dropped()?;
        Ok(trace)
    }

    /// Events that did not fit, on all processors, since [`HostEvents::start`].
    fn dropped(&self) -> Result<u64, String> {
        let directory = self.instance.join("per_cpu");
        let failed = |error| failed(&directory, &error);
        let mut dropped = 0;
        for processor in fs::read_dir(&directory).map_err(failed)? {
            let name = processor.map_err(failed)?.file_name();
            let stats = self.read(&format!("per_cpu/{}/stats", name.to_string_lossy()))?;
            dropped += lost_in(&stats);
        }
        Ok(dropped)
    }

    fn write(&self, file: &str, value: &str) -> Result<(), String> {
        let path = self.instance.join(file);
        fs::write(&path, value).map_err(|error| failed(&path, &error))
    }

    fn read(&self, file: &str) -> Result<String, String> {
        let path = self.instance.join(file);
        let bytes = fs::read(&path).map_err(|error| failed(&path, &error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for HostEvents {
    fn drop(&mut self) {
        // An instance with events on can be removed; what fails here is tried again by the next run.
        if let Err(error) = fs::remove_dir(&self.instance) {
            log::warn!("cannot remove {}: {error}", self.instance.display());
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn readable(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok()
}

/// The sum of what a processor's `stats` says was overwritten or dropped.
fn lost_in(stats: &str) -> u64 {
    let lost = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let counts = ["overrun", "commit overrun", "dropped events"].contains(&name.trim());
        value.trim().parse::<u64>().ok().filter(|_| counts)
    };
    stats.lines().filter_map(lost).sum()
}

/// Removes the instances of processes that are gone.
fn remove_stale(mount: &Path) {
    let Ok(instances) = fs::read_dir(mount.join("instances")) else {
        return;
    };
    for instance in instances.flatten() {
        let name = instance.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            let _ = fs::remove_dir(instance.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_events_are_those_that_did_not_fit() {
        let stats = "entries: 10\noverrun: 3\ncommit overrun: 1\nbytes: 52\ndropped events: 2\nread events: 9\n";
        assert_eq!(lost_in(stats), 6);
    }
}
