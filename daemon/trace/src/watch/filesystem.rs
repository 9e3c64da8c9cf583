//! Filesystems that do not tell of all that happens on them.

use std::path::Path;

/// The name of a filesystem whose changes may come without an event, such as those that other machines make; none
/// where events are complete, as far as anybody knows.
#[cfg(target_os = "linux")]
pub(crate) fn without_events(path: &Path) -> Option<&'static str> {
    // From linux/magic.h and the filesystems' own sources.
    let name = match u32::try_from(rustix::fs::statfs(path).ok()?.f_type).ok()? {
        0x0000_6969 => "NFS",
        0x0000_517b => "SMB",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 => "SMB2",
        0x0102_1997 => "9p",
        0x6573_5546 => "FUSE",
        0x00c3_6400 => "Ceph",
        0x5346_414f => "AFS",
        0x7375_7245 => "Coda",
        0x0bd0_0bd0 => "Lustre",
        0x4750_4653 => "GPFS",
        0x786f_4256 => "VirtualBox shared folder",
        0xbacb_acbc => "VMware shared folder",
        // What is written to a lower layer has no event in the merged one.
        0x794c_7630 => "overlay",
        _ => return None,
    };
    Some(name)
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn without_events(_path: &Path) -> Option<&'static str> {
    None
}
