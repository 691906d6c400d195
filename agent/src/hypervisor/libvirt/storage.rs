//! Which paths of this host lie on storage that other hosts see as well.
//!
//! Pure over the text of `/proc/self/mountinfo`. Only what is known to be shared counts: a network or cluster
//! filesystem, a libvirt pool of such a kind, or a path that the operator vouches for.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Filesystems whose content is the same on every host that mounts the same source.
const SHARED_FILESYSTEMS: [&str; 14] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "ceph",
    "glusterfs",
    "fuse.glusterfs",
    "gfs2",
    "ocfs2",
    "lustre",
    "beegfs",
    "gpfs",
    "9p",
    "virtiofs",
];

/// Kinds of libvirt pools that other hosts can attach as well.
pub(super) const SHARED_POOLS: [&str; 6] = ["netfs", "iscsi", "iscsi-direct", "rbd", "sheepdog", "gluster"];

/// The shared storages of a host.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Storages {
    /// Mount points, with the storage's id where it is shared.
    mounts: BTreeMap<PathBuf, Option<String>>,
    /// Paths that the operator vouches for.
    vouched: Vec<PathBuf>,
    /// Active shared pools.
    pools: Vec<String>,
}

impl Storages {
    /// Reads the mounts from `mountinfo`.
    pub(super) fn new(mountinfo: &str, vouched: &[PathBuf], pools: Vec<String>) -> Self {
        Self { mounts: mountinfo.lines().filter_map(mount).collect(), vouched: vouched.to_vec(), pools }
    }

    /// The ids of all of them.
    pub(super) fn ids(&self) -> Vec<String> {
        let vouched = self.vouched.iter().map(|path| vouched_id(path));
        let pools = self.pools.iter().map(|pool| pool_id(pool));
        self.mounts.values().flatten().cloned().chain(vouched).chain(pools).collect()
    }

    /// The shared storage on which `path` lies; `None` where it is only this host's.
    pub(super) fn of_path(&self, path: &str) -> Option<String> {
        let path = Path::new(path);
        if let Some(vouched) = self.vouched.iter().find(|vouched| path.starts_with(vouched)) {
            return Some(vouched_id(vouched));
        }
        path.ancestors().find_map(|ancestor| self.mounts.get(ancestor))?.clone()
    }

    /// The id of a libvirt pool, where it is shared.
    pub(super) fn pool(&self, name: &str) -> Option<String> {
        self.pools.iter().any(|pool| pool == name).then(|| pool_id(name))
    }
}

fn vouched_id(path: &Path) -> String {
    format!("path:{}", path.display())
}

fn pool_id(name: &str) -> String {
    format!("pool:{name}")
}

/// One line of mountinfo: `id parent major:minor root mountpoint options [optional fields] - type source options`.
/// The id of a shared one carries its mount point: a definition names the path, so it must be the same elsewhere.
fn mount(line: &str) -> Option<(PathBuf, Option<String>)> {
    let (place, kind) = line.split_once(" - ")?;
    let point = unescape(place.split(' ').nth(4)?);
    let mut kind = kind.split(' ');
    let (filesystem, source) = (kind.next()?, unescape(kind.next()?));
    // NFS 3 and 4 of one export are one storage.
    let family = if filesystem == "nfs4" { "nfs" } else { filesystem };
    let shared = SHARED_FILESYSTEMS.contains(&filesystem).then(|| format!("{family}:{source} at {point}"));
    Some((PathBuf::from(point), shared))
}

/// mountinfo writes space, tab, newline and backslash as octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
36 24 0:32 / /var/lib/images rw,relatime shared:2 - nfs4 nas:/images rw,vers=4.2
37 36 8:17 / /var/lib/images/local\\040disk rw - xfs /dev/sdb1 rw
";

    fn storages() -> Storages {
        Storages::new(MOUNTS, &[PathBuf::from("/dev/mapper/san")], vec!["rbd".into()])
    }

    #[test]
    fn a_path_belongs_to_the_nearest_mount() {
        let storages = storages();
        let nas = Some("nfs:nas:/images at /var/lib/images".to_owned());
        assert_eq!(storages.of_path("/var/lib/images/a/b.qcow2"), nas);
        assert_eq!(storages.of_path("/var/lib/images/local disk/c.raw"), None);
        assert_eq!(storages.of_path("/srv/d.raw"), None);
        assert_eq!(storages.of_path("/var/lib/images2/e.raw"), None);
    }

    #[test]
    fn a_path_that_the_operator_vouches_for_is_shared() {
        assert_eq!(storages().of_path("/dev/mapper/san/lun7"), Some("path:/dev/mapper/san".into()));
    }

    #[test]
    fn all_shared_storages_are_listed_and_no_local_one() {
        let ids = storages().ids();
        assert_eq!(ids, ["nfs:nas:/images at /var/lib/images", "path:/dev/mapper/san", "pool:rbd"]);
    }
}
