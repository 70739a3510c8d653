// SPDX-License-Identifier: GPL-2.0-or-later
use super::*;

#[test]
fn only_containers_of_bars_are_taken() {
    assert_eq!(bar_of(b"vfio-user:/d/rc.sock base BAR 0"), Some(0));
    assert_eq!(bar_of(b"vfio-user:/d/rc.sock base BAR 5"), Some(5));
    for name in [
        "vfio-user:/d/rc.sock BAR 0",
        "vfio-user:/d/rc.sock base BAR x",
        "vfio-user:/d/rc.sock base BAR 10",
        "base BAR 1",
        "",
    ] {
        assert_eq!(bar_of(name.as_bytes()), None, "{name}");
    }
}
