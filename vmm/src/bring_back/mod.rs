//! Files that come back from the guest when its program has ended: `faultlab exec --out`.
//!
//! Everything is written to a temporary directory beside its place, and renamed when it is complete: what is at the place is whole, or what was
//! there before. The temporary goes with this object, whatever happened.
//!
//! The guest is hostile. It names one component at a time, below a directory that it had made before; what is made must not be there yet, so that
//! no link is ever followed; set-user-ID bits and owners stay behind. A file's pages come in order, so none is written twice; further names
//! of a file become links to it, so a place holds no more content than the guest's memory and swap do, and no more entries than would fit there.

mod tree;

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub(crate) use self::tree::Entry;
use self::tree::Tree;
use crate::error::OutError;
use crate::paths::{Named, directory_of, named};

/// Bytes of a path in the guest, its end counted. Source: Linux `PATH_MAX`.
const GUEST_PATH_MAX: usize = 4096;

/// What an entry of a directory takes in the guest's memory at least, in bytes.
const ENTRY_BYTES: u64 = 64;

/// What is to be brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutFile {
    /// Where it is in the guest: absolute.
    pub guest: Vec<u8>,
    /// Where it goes: a file, which is replaced, an empty directory, or nothing yet.
    pub host: PathBuf,
}

/// Something that was not brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotBrought {
    /// What was asked for.
    pub file: OutFile,
    /// Why not.
    pub reason: String,
}

impl std::fmt::Display for NotBrought {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (guest, host) = (String::from_utf8_lossy(&self.file.guest), self.file.host.display());
        write!(f, "cannot bring back {guest}: {}; {host} is as it was", self.reason)
    }
}

/// What a place can hold at most.
#[derive(Clone, Copy, Debug)]
struct Budget {
    pages: u64,
    entries: u64,
}

/// How far it is.
enum State {
    Waiting(TempDir),
    Open(Box<Tree>),
    Done,
    Failed(String),
}

/// All that is to be brought back, and how far that is.
pub struct BringBack {
    places: Vec<(OutFile, State)>,
    budget: Budget,
}

impl Default for BringBack {
    fn default() -> Self {
        BringBack {
            places: Vec::new(),
            budget: Budget { pages: 0, entries: 0 },
        }
    }
}

impl BringBack {
    /// Claims the places, so that whether they can be written is known before anything runs. `ram_bytes` and `swap_bytes` are what the guest has.
    ///
    /// # Errors
    /// A place that cannot be, or cannot be written.
    pub fn claim(files: &[OutFile], ram_bytes: u64, swap_bytes: u64) -> Result<BringBack, OutError> {
        let mut places: Vec<(OutFile, State)> = Vec::new();
        for file in files {
            let host = resolve(&file.host)?;
            if places.iter().any(|(other, _)| other.host == host) {
                return Err(OutError::unusable(
                    &file.host,
                    "is named twice: give each file its own place",
                ));
            }
            if file.guest.len() >= GUEST_PATH_MAX || !file.guest.starts_with(b"/") || file.guest.contains(&0) {
                return Err(OutError::unusable(
                    &file.host,
                    "is for a path that no guest can have: give an absolute one",
                ));
            }
            let claim = tempfile::Builder::new()
                .prefix(".faultlab-out-")
                .tempdir_in(directory_of(&host))
                .map_err(|source| OutError::Create {
                    path: file.host.clone(),
                    source,
                })?;
            let file = OutFile { host, ..file.clone() };
            places.push((file, State::Waiting(claim)));
        }
        let budget = Budget {
            pages: (ram_bytes + swap_bytes) / tree::PAGE_BYTES,
            entries: ram_bytes / ENTRY_BYTES,
        };
        Ok(BringBack { places, budget })
    }

    /// Whether there is anything to bring back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The next path; what was begun and is not complete is given up.
    pub(crate) fn next_path(&mut self) -> Option<Vec<u8>> {
        self.fail_open("the guest broke off".to_owned());
        let budget = self.budget;
        self.places.iter_mut().find_map(|(file, state)| {
            let State::Waiting(_) = state else { return None };
            if let State::Waiting(claim) = std::mem::replace(state, State::Done) {
                *state = State::Open(Box::new(Tree::new(claim, budget)));
            }
            Some(file.guest.clone())
        })
    }

    /// Carries out a step of the place that is open; afterwards that may be complete.
    ///
    /// # Errors
    /// The `errno` for the guest: `EINVAL` if nothing is open, `EEXIST` for a file that is there by another name now, `EIO` for all that ends
    /// the place.
    pub(crate) fn step(&mut self, step: impl FnOnce(&mut Tree) -> Result<(), Stop>) -> Result<(), i32> {
        let open = self.places.iter_mut().find_map(|(file, state)| match state {
            State::Open(tree) => Some((file, tree)),
            _ => None,
        });
        let (file, tree) = open.ok_or(libc::EINVAL)?;
        let result = step(tree);
        let complete = match &result {
            Ok(()) if tree.is_complete() => tree.put_in_place(&file.host).map(|()| true),
            Ok(()) | Err(Stop::Linked) => Ok(false),
            Err(Stop::Failed(reason)) => Err(reason.clone()),
        };
        match complete {
            Ok(false) => {}
            Ok(true) => self.finish_open(State::Done),
            Err(reason) => {
                self.finish_open(State::Failed(reason));
                return Err(libc::EIO);
            }
        }
        result.map_err(|_| libc::EEXIST)
    }

    /// Gives up what is open.
    pub(crate) fn fail_open(&mut self, reason: String) {
        self.finish_open(State::Failed(reason));
    }

    fn finish_open(&mut self, end: State) {
        let open = self
            .places
            .iter_mut()
            .find(|(_, state)| matches!(state, State::Open(_)));
        if let Some((_, state)) = open {
            *state = end;
        }
    }

    /// What is not where it should be, now that the guest has ended.
    pub(crate) fn not_brought(&mut self) -> Vec<NotBrought> {
        let places = std::mem::take(&mut self.places).into_iter();
        let failed = places.filter_map(|(file, state)| {
            let reason = match state {
                State::Done => return None,
                State::Failed(reason) => reason,
                State::Waiting(_) | State::Open(_) => "the guest ended before it was handed over".to_owned(),
            };
            Some(NotBrought { file, reason })
        });
        failed.collect()
    }
}

/// Why a step is not taken.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The file is there by another name.
    Linked,
    /// The place cannot be brought.
    Failed(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Failed(on_this_host(&error))
    }
}

/// A reason of this host's.
fn on_this_host(error: &io::Error) -> String {
    format!("{} on this host", plain(error))
}

/// The text of an error without its number.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// The path to rename to: that of the file itself, if it is a link to one.
fn resolve(host: &Path) -> Result<PathBuf, OutError> {
    let unusable = |what| Err(OutError::unusable(host, what));
    if host.symlink_metadata().is_err() {
        let Some(name) = host
            .file_name()
            .filter(|_| !host.as_os_str().as_bytes().ends_with(b"/"))
        else {
            return unusable("is not there, and names no file: give a path that ends in a name");
        };
        // By one name, however its directory was named; one that is not there is told when it is written to.
        let directory = directory_of(host);
        return Ok(directory
            .canonicalize()
            .unwrap_or_else(|_| directory.to_owned())
            .join(name));
    }
    if let Ok(Named::Descriptor(_)) = named(host) {
        return unusable("is what is open already, and no file of its own: give another place");
    }
    match host.canonicalize().and_then(|path| Ok((path.metadata()?, path))) {
        Ok((metadata, path)) if metadata.is_file() => Ok(path),
        Ok((metadata, path)) if metadata.is_dir() => {
            match path.read_dir().map(|mut entries| entries.next().is_none()) {
                Ok(true) => Ok(path),
                _ => unusable("is a directory that is not empty: give a name in it"),
            }
        }
        Ok(_) => unusable("is there, and is no file: give another place"),
        Err(_) => unusable("is a link to nowhere: give another place"),
    }
}

#[cfg(test)]
mod tests;
