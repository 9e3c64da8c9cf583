//! Files that are hard to read.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use insight::PageRequest;

use crate::lab::Lab;
use crate::spine::Spine;

#[test]
fn a_gigabyte_without_an_end_is_told_of_and_stepped_over() {
    let mut lab = Lab::new();
    let mut spine = Spine::begin(&lab.home(), "long", 100);
    spine.failing_turn(1);
    // A hole costs no disk.
    let mut file = OpenOptions::new().append(false).write(true).open(spine.path()).unwrap();
    file.seek(SeekFrom::End(1 << 30)).unwrap();
    file.write_all(b"x\n").unwrap();
    spine.failing_turn(2);
    lab.start();
    let done = lab.read_all();
    assert_eq!((done.findings, lab.signals(&spine.id).len()), (1, 2));
    let findings = lab.block_on(lab.insight().findings(None, PageRequest::default())).unwrap().items;
    assert_eq!(findings[0].code, "line_too_long");
}

#[test]
fn a_session_that_may_not_be_read_is_read_when_it_may() {
    let mut lab = Lab::new();
    lab.settings.poll_interval = std::time::Duration::from_millis(300);
    let mut spine = Spine::begin(&lab.home(), "secret", 100);
    spine.failing_turn(1);
    fs::set_permissions(spine.path(), fs::Permissions::from_mode(0o000)).unwrap();
    lab.start();
    lab.read_all();
    fs::set_permissions(spine.path(), fs::Permissions::from_mode(0o600)).unwrap();
    lab.until(async |insight| (insight.stats().await.unwrap().signals == 1).then_some(()));
}
