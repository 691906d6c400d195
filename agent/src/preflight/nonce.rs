//! Proof that two hosts see the same storage at the same path: the source writes a small file beside the vm's disks, the
//! destination reads it, and the source removes it again.
//!
//! Only where the agent may: a folder that it must not write to proves nothing, and the kind of storage decides instead. A
//! disk may hang for minutes (a server of NFS that is away), so every access is made aside, on one of a few places.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use ballast_core::{
    id::HostId,
    preflight::{Nonce, NonceSeen, Passport},
    units::Timestamp,
};
use ballast_daemon::clock::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How the files are called. Nothing else is ever read or removed.
const PREFIX: &str = ".ballast-preflight-";
/// A file is removed after this: by then the destination has read it, or nobody asks any more.
const KEPT: Duration = Duration::from_secs(30);
/// One that an agent left behind when it was killed is removed by whoever comes after this.
const FORGOTTEN: Duration = Duration::from_secs(10 * 60);
/// Accesses that may hang at once.
const PLACES: usize = 4;
/// Longest wait for one; a disk that is slower proves nothing in time.
const PATIENCE: Duration = Duration::from_secs(3);
/// Folders of one vm that are looked at.
const FOLDERS_MAX: usize = 8;
/// Longest content that is read.
const CONTENT_MAX: u64 = 256;

/// The way to the files.
#[derive(Debug)]
pub(super) struct Files {
    clock: Clock,
    places: Arc<Semaphore>,
}

impl Files {
    /// Files by this clock.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// Writes a file into each folder with disks of the vm where that is allowed; each is removed in time.
    pub(super) async fn write(&self, host: &HostId, passport: &Passport) -> Vec<Nonce> {
        let now = self.clock.now();
        let mut written = Vec::new();
        for folder in folders(passport) {
            let name = format!("{PREFIX}{}-{:x}", passport.vm, now.nanos());
            let content = format!("{host} {} {}\n", passport.vm, now.nanos());
            let nonce = Nonce { path: format!("{folder}/{name}"), folder, content };
            let one = nonce.clone();
            if self.aside(move || put(&one, now)).await == Some(true) {
                self.remove_later(nonce.path.clone());
                written.push(nonce);
            }
        }
        written
    }

    /// Looks for the source's files; by folder.
    pub(super) async fn read(&self, passport: &Passport) -> BTreeMap<String, NonceSeen> {
        let mut seen = BTreeMap::new();
        for nonce in passport.nonces.iter().filter(|nonce| is_one(nonce)).take(FOLDERS_MAX) {
            let one = nonce.clone();
            let found = self.aside(move || look(&one)).await;
            seen.insert(nonce.folder.clone(), found.unwrap_or(NonceSeen::Unreadable));
        }
        seen
    }

    fn remove_later(&self, path: String) {
        let (clock, places) = (self.clock.clone(), Arc::clone(&self.places));
        tokio::spawn(async move {
            clock.sleep(KEPT).await;
            // A semaphore that is never closed always gives a place.
            let place = places.acquire_owned().await.ok();
            let removed = clock.aside(move || (fs::remove_file(&path), place).0).await;
            if !matches!(removed, Ok(Ok(()))) {
                tracing::debug!(?removed, "A file of a preflight was left; it is removed with the next");
            }
        });
    }

    /// Does work on a disk; `None` where no place is free or it takes too long. A place is held until the work is done.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let place: OwnedSemaphorePermit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let work = self.clock.aside(move || (work(), place).0);
        self.clock.timeout(PATIENCE, work).await.ok()?.ok()
    }
}

/// Folders of disks that are files, by what their paths look like; devices have none that could be written to.
fn folders(passport: &Passport) -> BTreeSet<String> {
    let folder = |path: &str| {
        let folder = Path::new(path).parent()?;
        let plain = folder.is_absolute() && !folder.starts_with("/dev") && folder != Path::new("/");
        plain.then(|| folder.to_str().map(str::to_owned)).flatten()
    };
    passport.disks.iter().filter_map(|disk| folder(&disk.path)).take(FOLDERS_MAX).collect()
}

/// Whether a passport names one of our files: nobody is to have others read.
fn is_one(nonce: &Nonce) -> bool {
    let path = Path::new(&nonce.path);
    let named = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
    named && path.parent() == Some(Path::new(&nonce.folder)) && path.is_absolute() && !nonce.path.contains("/../")
}

/// Writes one; false where that is not allowed.
fn put(nonce: &Nonce, now: Timestamp) -> bool {
    sweep(Path::new(&nonce.folder), now);
    let opened = fs::OpenOptions::new().write(true).create_new(true).open(&nonce.path);
    // Synced: another host reads it from the server, not from this host's memory.
    opened.and_then(|mut file| file.write_all(nonce.content.as_bytes()).and_then(|()| file.sync_all())).is_ok()
}

/// Removes what others left behind.
fn sweep(folder: &Path, now: Timestamp) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    for path in entries.flatten().map(|entry| entry.path()).filter(ours) {
        let written = path.metadata().and_then(|data| data.modified()).ok().and_then(moment);
        if written.is_some_and(|written| now.since(written) > FORGOTTEN) {
            // Whoever else sweeps may have been faster.
            let _gone_or_not_ours = fs::remove_file(&path).is_ok();
        }
    }
}

fn moment(time: SystemTime) -> Option<Timestamp> {
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|span| Timestamp::EPOCH.after(span))
}

fn look(nonce: &Nonce) -> NonceSeen {
    let mut content = String::new();
    let read = fs::File::open(&nonce.path).and_then(|file| file.take(CONTENT_MAX).read_to_string(&mut content));
    match read {
        Ok(_) if content == nonce.content => NonceSeen::Same,
        Ok(_) => NonceSeen::Different(format!("{} has another content", nonce.path)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            NonceSeen::Different(format!("the source's file is not in {}", nonce.folder))
        }
        Err(_) => NonceSeen::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use ballast_core::preflight::Disk;

    use super::*;

    fn host() -> HostId {
        HostId::new("kvm1").unwrap()
    }

    fn passport(folder: &Path) -> Passport {
        let path = folder.join("disk.qcow2").to_str().unwrap().to_owned();
        Passport { disks: vec![Disk { path, storage: None }], ..Passport::default() }
    }

    fn files() -> (Files, ballast_daemon::clock::Driver) {
        let (clock, driver) = Clock::driven(Timestamp::from_secs(1_000_000));
        (Files::new(clock), driver)
    }

    #[tokio::test]
    async fn a_file_that_one_wrote_is_seen_by_who_has_the_same_folder_only() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (files, _driver) = files();
        let mut vm = passport(here.path());
        vm.nonces = files.write(&host(), &vm).await;
        assert_eq!(vm.nonces.len(), 1);
        let seen: Vec<_> = files.read(&vm).await.into_values().collect();
        assert_eq!(seen, [NonceSeen::Same]);
        let folder = there.path().to_str().unwrap().to_owned();
        let name = Path::new(&vm.nonces[0].path).file_name().unwrap().to_str().unwrap().to_owned();
        vm.nonces[0].path = format!("{folder}/{name}");
        vm.nonces[0].folder = folder;
        let seen: Vec<_> = files.read(&vm).await.into_values().collect();
        assert!(matches!(&seen[..], [NonceSeen::Different(_)]), "{seen:?}");
    }

    #[tokio::test]
    async fn the_file_is_removed_once_it_has_been_read() {
        let folder = tempfile::tempdir().unwrap();
        let (files, driver) = files();
        files.write(&host(), &passport(folder.path())).await;
        let left = || fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left(), 1);
        for _ in 0..1000 {
            driver.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
            if left() == 0 {
                return;
            }
            Clock::system().sleep(Duration::from_millis(1)).await;
        }
        panic!("it is still there");
    }

    #[tokio::test]
    async fn no_other_file_is_ever_read_for_a_stranger() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret").to_str().unwrap().to_owned();
        fs::write(&path, "x").unwrap();
        let (files, _driver) = files();
        let nonce = Nonce { folder: folder.path().to_str().unwrap().to_owned(), path, content: "x".into() };
        let vm = Passport { nonces: vec![nonce], ..passport(folder.path()) };
        assert!(files.read(&vm).await.is_empty());
    }

    #[test]
    fn nothing_is_written_among_devices() {
        assert!(folders(&passport(Path::new("/dev/mapper"))).is_empty());
        let pool = Disk { path: "pool:rbd".into(), storage: None };
        assert!(folders(&Passport { disks: vec![pool], ..Passport::default() }).is_empty());
    }
}
